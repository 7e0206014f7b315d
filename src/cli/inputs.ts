import { isMap, rangeError, someOf } from '../errors.js';
import { float32, load, type nn, type Tensor } from '../index.js';
import { isFloatingPoint, isRawTensor, isTensor } from '../tensor/index.js';
import { dottedName, floatType, layersOf, randomInput, type Layer } from './layers.js';

export const inputHelp = `FILE of --input holds real input, as safetensors or .npy: a tensor under the name of each module that takes it
(lstm, encoder.rnn), or one tensor alone or as 'input'. The first module that takes its kind of numbers gets that:
integers the first embedding, others the first recurrent or linear module. A recurrent module's layers pass their float
output on, and an embedding does to a recurrent module right after it. Other layers get random input.`;

/** What a layer is run on. */
export interface LayerInput {
  /** Undefined if the layer cannot be run. */
  readonly input: Tensor | undefined;
  readonly isReal: boolean;
}

/** The inputs of a model's layers. `next` is called for them in their order. */
export class Inputs {
  /** By the layers' dotted names. */
  private readonly real = new Map<string, Tensor>();

  private readonly layers: readonly Layer[];

  private constructor(private readonly state: nn.StateDict) {
    this.layers = layersOf(state);
  }

  /** @param file - with real input; if there is none, all is random */
  static async read(file: string | undefined, state: nn.StateDict): Promise<Inputs> {
    const inputs = new Inputs(state);
    if (file === undefined) return inputs;
    const tensors = tensorsOf(file, await load<unknown>(file));
    for (const [name, tensor] of tensors) {
      const layer = inputs.takerOf(file, name, tensor, tensors.length === 1);
      inputs.real.set(dottedName(layer), checked(file, layer, tensor));
    }
    return inputs;
  }

  of(layer: Layer): LayerInput {
    const input = this.real.get(dottedName(layer));
    return { input: input ?? randomInput(layer.metadata), isReal: input !== undefined };
  }

  /** Passes the float output of a layer that had real input to the next one, where that is certain. */
  pass(layer: Layer, output: Tensor): void {
    const next = this.nextOf(layer);
    if (next !== undefined && output.shape.at(-1) === inputSize(next))
      this.real.set(dottedName(next), output);
  }

  /** Whether a layer's output is another one's input. */
  isPassed(layer: Layer): boolean {
    return this.nextOf(layer) !== undefined;
  }

  private nextOf(layer: Layer): Layer | undefined {
    const name = dottedName(layer);
    const next = this.layers[this.layers.findIndex((each) => dottedName(each) === name) + 1];
    if (next === undefined || !this.real.has(name) || this.real.has(dottedName(next))) return undefined;
    const isNextLayer = moduleName(this.state, next) === moduleName(this.state, layer);
    const isFed = floatType(layer.metadata) === 'Embedding' && isRecurrent(next);
    return isNextLayer || isFed ? next : undefined;
  }

  /** The layer that takes a tensor of the file. */
  private takerOf(file: string, name: string, tensor: Tensor, isOnly: boolean): Layer {
    const isInteger = !isFloatingPoint(tensor.dtype);
    const runnable = this.layers.filter(({ metadata }) => randomInput(metadata) !== undefined);
    const found =
      runnable.find((layer) => moduleName(this.state, layer) === name || layer.name === name) ??
      (isOnly || name === 'input' ? runnable.find((layer) => takes(layer, isInteger)) : undefined);
    if (found !== undefined) return found;
    const names = [...new Set(runnable.map((layer) => moduleName(this.state, layer) || "''"))];
    throw rangeError(
      'ERR_INVALID_ARG_VALUE',
      `${file}: no module takes '${name}' (${tensor.dtype}); there are ${someOf(names, 12)}`,
    );
  }
}

/** The module that a layer belongs to: its stack, if that has a module for each layer. */
function moduleName({ metadata }: nn.StateDict, { name }: Layer): string {
  const above = name.slice(0, Math.max(0, name.lastIndexOf('.')));
  return name !== '' && metadata.get(above)?.type === 'RNNStack' ? above : name;
}

/** The tensors of an input file by name. */
function tensorsOf(file: string, loaded: unknown): [name: string, tensor: Tensor][] {
  if (isTensor(loaded)) return [['input', loaded]];
  if (isRawTensor(loaded))
    throw rangeError('ERR_INVALID_ARG_VALUE', `${file} holds ${loaded.dtype}: save it as int64 or float32`);
  const entries = isMap(loaded) ? [...loaded] : [];
  if (entries.length > 0 && entries.every(([name, value]) => typeof name === 'string' && isTensor(value)))
    return entries as [string, Tensor][];
  throw rangeError('ERR_INVALID_ARG_VALUE', `${file} should hold a tensor, or tensors by module`);
}

function isTable(layer: Layer): boolean {
  return /^Embedding/.test(floatType(layer.metadata));
}

function isRecurrent({ metadata }: Layer): boolean {
  return metadata['hiddenSize'] !== undefined;
}

/** Whether a layer takes input of this kind, and is more than a norm. */
function takes(layer: Layer, isInteger: boolean): boolean {
  return isInteger ? isTable(layer) : !isTable(layer) && inputSize(layer) !== undefined;
}

function inputSize({ metadata }: Layer): number | undefined {
  return (metadata['inputSize'] ?? metadata['inFeatures']) as number | undefined;
}

/** A layer's input as its `forward` takes it. */
function checked(file: string, layer: Layer, tensor: Tensor): Tensor {
  const fail = (expected: string): Error =>
    rangeError(
      'ERR_SHAPE',
      `${file}: the input of ${layer.name || 'the model'} should be ${expected}, got ${tensor.dtype} [${tensor.shape.join(', ')}]`,
    );
  const { metadata } = layer;
  if (isTable(layer)) {
    const { numEmbeddings } = metadata as unknown as { numEmbeddings: number };
    const isIndex = (value: unknown): boolean => Number(value) >= 0 && Number(value) < numEmbeddings;
    const fits = /^u?int/.test(tensor.dtype) && Array.from<unknown>(tensor.data).every(isIndex);
    if (!fits) throw fail(`integers from 0 to ${numEmbeddings - 1}`);
    return tensor;
  }
  const size = inputSize(layer);
  const isLayer = metadata['batchFirst'] !== undefined;
  const ranks = isLayer ? [2, 3] : isRecurrent(layer) ? [1, 2] : undefined;
  const fits =
    tensor.quantization === undefined &&
    (size === undefined || tensor.shape.at(-1) === size) &&
    (ranks === undefined || ranks.includes(tensor.dim())) &&
    tensor.numel > 0;
  const form = isLayer ? 'two or three' : isRecurrent(layer) ? 'one or two' : 'some';
  if (!fits) throw fail(`numbers in ${form} dimensions, the last of ${size ?? 'its features'}`);
  return tensor.to(float32);
}
