import { statSync } from 'node:fs';

import { rangeError } from '../errors.js';
import { quantization, quint4x2, quint8, saveSync, type nn, type Tensor } from '../index.js';
import { quantizeWeight } from '../nn/quantized/dynamic/weight.js';
import { checkChoices, choose, mixedModules, type Choice, type ChoiceOptions } from './choices.js';
import { inputHelp, Inputs } from './inputs.js';
import {
  difference,
  dottedName,
  layersOf,
  moduleOf,
  numbersOf,
  rename,
  run,
  stack,
  titleOf,
  totalBytes,
  type Difference,
  type Layer,
  type Results,
} from './layers.js';
import { foundLines, modelOptionsHelp, openModel, type ModelOptions } from './open-model.js';
import {
  breathe,
  columns,
  formatBytes,
  formatPercent,
  printable,
  ProgressBar,
  UsageError,
} from './terminal.js';

export const quantizeHelp = `Usage: dynaquant quantize IN -o OUT [options]

Quantizes the layers of a checkpoint that have a quantized class (or, to 8 or 4 bits, its embeddings), and
writes everything as safetensors. IN may be safetensors, or of PyTorch, NumPy, ONNX or Keras. For each layer it runs the
float and the quantized one on the same input and prints how far they are apart, in % of the output's magnitude.

  -o, --output OUT  the file to write: to a temporary one beside it first, so that OUT is never half a file
  --dtype NAME      qint8 (default) or float16 for layers; quint8 or quint4x2 for embeddings
  --per-channel     a scale for each row of a weight, instead of one for all: about half the error
  --per-row         a range for each row of activations: results do not depend on who shares the batch
  --full-range      255 levels of activations instead of 127
  --best            all three: the most accurate
  --only NAME       quantize this module and what is in it, nothing else; may be repeated
  --exclude NAME    leave this module and what is in it as it is; may be repeated
  --layer NAME=MODE quantize this module and what is in it to another mode, which is float, qint8 (PyTorch's default),
                    best, float16, quint8 or quint4x2; may be repeated
  --strict          exit code 1 if a layer stays float that no --only, --exclude or --layer leaves so
  --input FILE      run layers on real input instead of random numbers
${modelOptionsHelp}
  --json            one JSON document instead of text

NAME may be a layer of a stacked LSTM, GRU or RNN: lstm.0 is the first of lstm. Layers of different modes become modules
of these names in an nn.RNNStack.

${inputHelp}

Examples
  dynaquant quantize model.pt -o model.int8.safetensors
  dynaquant quantize model.pt -o model.int8.safetensors --best --exclude decoder
  dynaquant quantize model.pt -o model.int8.safetensors --best --layer lstm.0=float16 --input mels.npy
  dynaquant quantize model.int8.safetensors -o small.safetensors --dtype quint8 --only embedding

In Node, the result loads into a model of your own class that quantizeDynamic has converted, or without a class:
  const { model } = modelFromStateDict(await load('model.int8.safetensors'));
`;

export interface QuantizeOptions extends ChoiceOptions, ModelOptions {
  output: string;
  input: string | undefined;
  strict: boolean;
}

interface LayerReport extends Difference {
  name: string;
  layer: number | null;
  type: string;
  bytes: number;
  quantizedBytes: number;
  /** What it was run on. */
  input: 'random' | 'real';
}

/** A layer that stays float. */
interface FloatLayer {
  name: string;
  layer: number | null;
  type: string;
  bytes: number;
  reason: string;
  /** Whether the options say so. */
  chosen: boolean;
}

/** The report, and whether all is as `strict` wants it. */
export async function quantize(
  file: string,
  options: QuantizeOptions,
  json: boolean,
): Promise<{ text: string; passed: boolean }> {
  const { output, dtype } = options;
  if (/\.(pt|pth|bin|ckpt)$/.test(output)) {
    throw new UsageError(`-o should name a safetensors file, got '${output}'`);
  }
  const inputFileBytes = statSync(file).size;
  const bar = new ProgressBar();
  bar.update(0, `reading ${file}`);
  const { state, assumptions, keys, prefix } = await openModel(file, options);
  const choices = choose(state, layersOf(state), options);
  checkChoices(file, dtype, choices);
  const inputs = await Inputs.read(options.input, state);
  for (const name of mixedModules(choices)) stack(state, name);
  const floatBytes = totalBytes(state);
  const reports = await quantizeLayers(state, choices, inputs, bar);
  await breathe();
  bar.update(1, `writing ${output}`);
  const quantizedBytes = totalBytes(state);
  saveSync(state, output);
  bar.end();
  const { layers, floatLayers } = reports;
  const outputFileBytes = statSync(output).size;
  const sizes = { floatBytes, quantizedBytes, inputFileBytes, outputFileBytes };
  const result = { input: file, output, dtype, ...sizes, layers, floatLayers, assumptions, keys, prefix };
  const passed = !options.strict || floatLayers.every(({ chosen }) => chosen);
  return { text: json ? JSON.stringify(result, null, 2) : text(result, options.input), passed };
}

/** Quantizes layers of a state, one after the other. */
async function quantizeLayers(
  state: nn.StateDict,
  choices: readonly Choice[],
  inputs: Inputs,
  bar: ProgressBar,
): Promise<{ layers: LayerReport[]; floatLayers: FloatLayer[] }> {
  const sizeOf = (keys: Iterable<string>): number => {
    let total = 0;
    for (const key of keys) total += state.get(key)!.data.byteLength;
    return total;
  };
  const choiceOf = new Map(choices.map((choice) => [dottedName(choice.layer), choice]));
  const allBytes = sizeOf(state.keys());
  const layers: LayerReport[] = [];
  const floatLayers: FloatLayer[] = [];
  let done = 0;
  for (const layer of layersOf(state)) {
    bar.update(done / allBytes, titleOf(layer));
    await breathe();
    const { name, layer: number } = layer;
    const bytes = sizeOf(layer.keys.values());
    const { qconfig, reason = '', chosen = false } = choiceOf.get(dottedName(layer)) ?? {};
    if (qconfig) {
      const { type, keys, ...errors } = await quantizeLayer(state, layer, qconfig, inputs);
      layers.push({ name, layer: number, type, bytes, quantizedBytes: sizeOf(keys.values()), ...errors });
    } else {
      if (inputs.isPassed(layer))
        inputs.pass(layer, run(moduleOf(state, layer, true), inputs.of(layer).input!).output);
      const { type } = layer.metadata;
      if (qconfig === null) floatLayers.push({ name, layer: number, type, bytes, reason, chosen });
    }
    done += bytes;
  }
  for (const [key, { dtype, shape, bytes }] of state.raw) {
    if (shape.length < 2) continue;
    const reason = `${dtype} cannot be quantized`;
    floatLayers.push({
      name: key,
      layer: null,
      type: 'Tensor',
      bytes: bytes.byteLength,
      reason,
      chosen: false,
    });
  }
  return { layers, floatLayers };
}

/**
 * Replaces a layer's float tensors and metadata by quantized ones. It works matrix by matrix, not by quantizeDynamic,
 * because a packed layer would take too much memory beside a large checkpoint.
 */
async function quantizeLayer(
  state: nn.StateDict,
  layer: Layer,
  qconfig: quantization.QConfig,
  inputs: Inputs,
): Promise<Omit<LayerReport, 'name' | 'layer' | 'bytes' | 'quantizedBytes'> & Pick<Layer, 'keys'>> {
  try {
    const isWeight = (local: string): boolean => local.startsWith('weight');
    for (const [local, key] of layer.keys) {
      if (!isWeight(local) && !numbersOf(state.get(key)!).every(Number.isFinite)) {
        throw rangeError('ERR_NOT_FINITE', `${local} should be finite, but holds NaN or infinity`);
      }
    }
    const { input, isReal } = inputs.of(layer);
    const { float, metadata, table } = convert(moduleOf(state, layer, isReal), input!, qconfig);
    inputs.pass(layer, float.output);
    await breathe();
    for (const [local, key] of layer.keys) {
      if (isWeight(local)) state.set(key, table ?? quantizeWeight(local, state.get(key)!, qconfig));
    }
    // The quantized module's keys in its order, with the values of `whole`: what ran may have fewer units and layers.
    const sized = (whole: nn.ModuleMetadata): nn.ModuleMetadata => {
      const entries = Object.entries(metadata).map(([key, value]) => [key, whole[key] ?? value] as const);
      return { ...Object.fromEntries(entries), type: metadata.type };
    };
    state.metadata.set(layer.name, sized({ ...layer.metadata, ...state.metadata.get(layer.name)! }));
    const keys = layer.metadata.type === 'LinearReLU' ? unite(state, layer) : layer.keys;
    const quantized = moduleOf(state, { ...layer, keys, metadata: sized(layer.metadata) }, isReal);
    const errors = difference(run(quantized, input!).numbers, float.numbers);
    return { type: metadata.type, keys, ...errors, input: isReal ? 'real' : 'random' };
  } catch (error) {
    throw rangeError('ERR_INVALID_ARG_VALUE', `${titleOf(layer)}: ${(error as Error).message}`, {
      cause: error,
    });
  }
}

/** Renames the tensors of a LinearReLU: quantized, it is one module without children. Returns its keys. */
function unite(state: nn.StateDict, { name, keys }: Layer): Map<string, string> {
  const prefix = name === '' ? '' : `${name}.`;
  const united = new Map(Array.from(keys.keys(), (local) => [local, prefix + local]));
  const renamed = new Map(Array.from(keys, ([local, key]) => [key, prefix + local]));
  rename(state, renamed);
  for (const child of ['0', '1']) state.metadata.delete(prefix + child);
  return united;
}

/** A float layer's results, the metadata of its quantized module and, for an embedding, the quantized table. */
function convert(
  module: nn.Module,
  input: Tensor,
  qconfig: quantization.QConfig,
): { float: Results; metadata: nn.ModuleMetadata; table: Tensor | undefined } {
  const float = run(module, input);
  const options = { inplace: true };
  const state = quantization.quantizeDynamic(module, new Map([['', qconfig]]), options).stateDict();
  const metadata = state.metadata.get('')!;
  const isTable = metadata['dtype'] === quint8 || metadata['dtype'] === quint4x2;
  return { float, metadata, table: isTable ? state.get('weight') : undefined };
}

function text(
  result: {
    input: string;
    output: string;
    inputFileBytes: number;
    outputFileBytes: number;
    layers: LayerReport[];
    floatLayers: FloatLayer[];
    assumptions: string[];
    keys: readonly string[];
    prefix: string;
  },
  inputFile: string | undefined,
): string {
  const { input, output, inputFileBytes, outputFileBytes } = result;
  const rows = result.layers.map((layer) => [
    titleOf(layer),
    layer.type,
    `${formatBytes(layer.bytes)} to ${formatBytes(layer.quantizedBytes)}`,
    `error ${formatPercent(layer.error)}${inputFile === undefined ? '' : ` on ${layer.input} input`}`,
  ]);
  for (const layer of result.floatLayers) {
    const stays = `stays float${layer.chosen ? ',' : ':'} ${layer.reason}`;
    rows.push([titleOf(layer), layer.type, formatBytes(layer.bytes), stays]);
  }
  const lines = [...foundLines(result), columns(rows.map((row) => row.map(printable))), ''];
  if (result.assumptions.length > 0) {
    lines.push('Assumed:', ...result.assumptions.map((each) => `  ${printable(each)}`), '');
  }
  const ratio = (inputFileBytes / outputFileBytes).toFixed(2);
  lines.push(
    `${input}, ${formatBytes(inputFileBytes)}, became ${output}, ${formatBytes(outputFileBytes)}: ${ratio} times smaller`,
  );
  return lines.join('\n');
}
