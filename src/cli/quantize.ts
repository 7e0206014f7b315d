import { statSync } from 'node:fs';

import { rangeError } from '../errors.js';
import { quantization, quint4x2, quint8, saveSync, type DType, type nn, type Tensor } from '../index.js';
import { quantizeWeight } from '../nn/quantized/dynamic/weight.js';
import {
  difference,
  isQuantizable,
  layersOf,
  moduleOf,
  numbersOf,
  randomInput,
  run,
  select,
  titleOf,
  totalBytes,
  type Difference,
  type Layer,
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
writes everything as safetensors. IN may be safetensors, or what torch.save wrote. For each layer it runs the float
and the quantized one on random input and prints how far they are apart, in % of the output's magnitude.

  -o, --output OUT  the file to write: to a temporary one beside it first, so that OUT is never half a file
  --dtype NAME      qint8 (default) or float16 for layers; quint8 or quint4x2 for embeddings
  --per-channel     a scale for each row of a weight, instead of one for all: about half the error
  --per-row         a range for each row of activations: results do not depend on who shares the batch
  --full-range      255 levels of activations instead of 127
  --best            all three: the most accurate
  --only NAME       quantize this module and what is in it, nothing else; may be repeated
  --exclude NAME    leave this module and what is in it as it is; may be repeated
${modelOptionsHelp}
  --json            one JSON document instead of text

Examples
  dynaquant quantize model.pt -o model.int8.safetensors
  dynaquant quantize model.pt -o model.int8.safetensors --best --exclude decoder
  dynaquant quantize model.int8.safetensors -o small.safetensors --dtype quint8 --only embedding

In Node, the result loads into a model of your own class that quantizeDynamic has converted, or without a class:
  const { model } = modelFromStateDict(await load('model.int8.safetensors'));
`;

export interface QuantizeOptions extends ModelOptions {
  output: string;
  dtype: string;
  perChannel: boolean;
  perRow: boolean;
  fullRange: boolean;
  only: string[];
  exclude: string[];
}

interface LayerReport extends Difference {
  name: string;
  layer: number | null;
  type: string;
  bytes: number;
  quantizedBytes: number;
}

const floatQParams = 'per_channel_affine_float_qparams';

function qconfigOf({ dtype, perChannel, perRow, fullRange }: QuantizeOptions): quantization.QConfig {
  switch (dtype) {
    case 'qint8':
      return {
        weight: { qscheme: perChannel ? 'per_channel_symmetric' : 'per_tensor_symmetric' },
        activation: perRow ? 'perRow' : 'perTensor',
        reduceRange: !fullRange,
      };
    case 'float16':
    case 'quint8':
    case 'quint4x2':
      if (perChannel || perRow || fullRange) {
        throw new UsageError(`--per-channel, --per-row, --full-range and --best go with --dtype qint8 only`);
      }
      return { weight: dtype === 'float16' ? { dtype } : { dtype, qscheme: floatQParams } };
    default:
      throw new UsageError(`--dtype should be qint8, float16, quint8 or quint4x2, got '${dtype}'`);
  }
}

export async function quantize(input: string, options: QuantizeOptions, json: boolean): Promise<string> {
  const { output, dtype, only, exclude } = options;
  const qconfig = qconfigOf(options);
  if (/\.(pt|pth|bin|ckpt)$/.test(output)) {
    throw new UsageError(`-o should name a safetensors file, got '${output}'`);
  }
  const inputFileBytes = statSync(input).size;
  const bar = new ProgressBar();
  bar.update(0, `reading ${input}`);
  const { state, assumptions, keys, prefix } = await openModel(input, options);
  const layers = select(state, layersOf(state), only, exclude).filter(({ metadata }) =>
    isQuantizable(metadata, dtype as DType),
  );
  if (layers.length === 0) {
    throw rangeError(
      'ERR_INVALID_ARG_VALUE',
      `${input} has nothing to quantize to ${dtype} in what was chosen`,
    );
  }
  const floatBytes = totalBytes(state);
  const reports = await quantizeLayers(state, layers, qconfig, bar);
  await breathe();
  bar.update(1, `writing ${output}`);
  const quantizedBytes = totalBytes(state);
  saveSync(state, output);
  bar.end();
  const result = {
    input,
    output,
    dtype,
    floatBytes,
    quantizedBytes,
    inputFileBytes,
    outputFileBytes: statSync(output).size,
    layers: reports,
    assumptions,
    keys,
    prefix,
  };
  return json ? JSON.stringify(result, null, 2) : text(result);
}

/** Quantizes layers of a state, one after the other. */
async function quantizeLayers(
  state: nn.StateDict,
  layers: readonly Layer[],
  qconfig: quantization.QConfig,
  bar: ProgressBar,
): Promise<LayerReport[]> {
  const sizeOf = (keys: Iterable<string>): number => {
    let total = 0;
    for (const key of keys) total += state.get(key)!.data.byteLength;
    return total;
  };
  const allBytes = layers.reduce((sum, { keys }) => sum + sizeOf(keys.values()), 0);
  const reports: LayerReport[] = [];
  let done = 0;
  for (const layer of layers) {
    bar.update(done / allBytes, titleOf(layer));
    await breathe();
    const bytes = sizeOf(layer.keys.values());
    const { type, keys, ...errors } = await quantizeLayer(state, layer, qconfig);
    reports.push({
      name: layer.name,
      layer: layer.layer,
      type,
      bytes,
      quantizedBytes: sizeOf(keys.values()),
      ...errors,
    });
    done += bytes;
  }
  return reports;
}

/**
 * Replaces a layer's float tensors and metadata by quantized ones. It works matrix by matrix, not by quantizeDynamic,
 * because a packed layer would take too much memory beside a large checkpoint.
 */
async function quantizeLayer(
  state: nn.StateDict,
  layer: Layer,
  qconfig: quantization.QConfig,
): Promise<Difference & { type: string; keys: ReadonlyMap<string, string> }> {
  try {
    const isWeight = (local: string): boolean => local.startsWith('weight');
    for (const [local, key] of layer.keys) {
      if (!isWeight(local) && !numbersOf(state.get(key)!).every(Number.isFinite)) {
        throw rangeError('ERR_NOT_FINITE', `${local} should be finite, but holds NaN or infinity`);
      }
    }
    const input = randomInput(layer.metadata)!;
    const { float, metadata, table } = convert(moduleOf(state, layer), input, qconfig);
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
    const quantized = moduleOf(state, { ...layer, keys, metadata: sized(layer.metadata) });
    return { type: metadata.type, keys, ...difference(run(quantized, input), float) };
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
  const entries = [...state];
  state.clear();
  for (const [key, tensor] of entries) state.set(renamed.get(key) ?? key, tensor);
  for (const child of ['0', '1']) state.metadata.delete(prefix + child);
  return united;
}

/** A float layer's results, the metadata of its quantized module and, for an embedding, the quantized table. */
function convert(
  module: nn.Module,
  input: Tensor,
  qconfig: quantization.QConfig,
): { float: Float32Array[]; metadata: nn.ModuleMetadata; table: Tensor | undefined } {
  const float = run(module, input);
  const options = { inplace: true };
  const state = quantization.quantizeDynamic(module, new Map([['', qconfig]]), options).stateDict();
  const metadata = state.metadata.get('')!;
  const isTable = metadata['dtype'] === quint8 || metadata['dtype'] === quint4x2;
  return { float, metadata, table: isTable ? state.get('weight') : undefined };
}

function text(result: {
  input: string;
  output: string;
  dtype: string;
  floatBytes: number;
  quantizedBytes: number;
  inputFileBytes: number;
  outputFileBytes: number;
  layers: LayerReport[];
  assumptions: string[];
  keys: readonly string[];
  prefix: string;
}): string {
  const { input, output, inputFileBytes, outputFileBytes } = result;
  const rows = result.layers.map((layer) => [
    titleOf(layer),
    layer.type,
    `${formatBytes(layer.bytes)} to ${formatBytes(layer.quantizedBytes)}`,
    `error ${formatPercent(layer.error)}`,
  ]);
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
