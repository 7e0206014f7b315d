import { CheckpointError, describe } from '../../../errors.js';
import { kindOfGates } from '../../../nn/layer-parameters.js';
import type { ModuleMetadata } from '../../../nn/module.js';
import { float16, float32, qint8, quint4x2, quint8 } from '../../../tensor/index.js';
import type { ReadContext } from '../format.js';
import { plainName } from './globals.js';
import { isTensorRef, type TensorRef } from './tensor-ref.js';
import { Dict, itemsOf, ScriptObject, Tuple } from './values.js';

// Turns the state of PyTorch's dynamically quantized modules into what those here save: the float module's keys, and
// metadata with sizes and the activation mode. To add a module: a row in the list, and the function that it names.

interface PackedModule {
  /** The key of the dict that gives the module away, after the module's name and a dot. */
  readonly key: string;
  unpack(dict: Dict, place: Place, context: ReadContext): UnpackedModule;
}

/** No key may be the end of another one. */
const packedModules: readonly PackedModule[] = [
  // Linear, LinearReLU: (weight, bias), then `_packed_params.dtype` and the leftovers `scale` 1 and `zero_point` 0.
  { key: '_packed_params._packed_params', unpack: linear },
  // The same in the oldest files: also `_packed_params.bias`.
  { key: '_packed_params.weight', unpack: linear },
  // LSTM, GRU: `_all_weight_values.{k}.param`, k = layer * directions + direction.
  { key: '_all_weight_values.0.param', unpack: recurrent },
  // Cells: also `_packed_weight_hh`.
  { key: '_packed_weight_ih', unpack: cell },
  // Embedding, EmbeddingBag: also `_packed_params.dtype`.
  { key: '_packed_params._packed_weight', unpack: embedding },
];

/** Where a module is in the dict. */
interface Place {
  readonly name: string;
  /** What its keys begin with: the name and a dot, or nothing for the root. */
  readonly prefix: string;
}

/** A float32 tensor that holds the values of float16 weights, as PyTorch saves them. */
export class HalfRef {
  constructor(readonly ref: TensorRef) {}
}

/** What replaces a packed module. */
interface UnpackedModule {
  /** The keys that it was packed in. Some of them may not exist. */
  readonly keys: readonly string[];
  readonly tensors: readonly (readonly [key: string, value: TensorRef | HalfRef])[];
  readonly metadata: ModuleMetadata;
  /** What the file does not tell. */
  readonly assumed?: string | undefined;
  /** Scale and zero point of the output, as the file has them: 1 and 0 where it was quantized dynamically. */
  readonly output?: readonly unknown[];
}

/** A dict after unpacking: its entries in order, and the metadata of the modules that were unpacked. */
interface Unpacked {
  readonly entries: Iterable<readonly [unknown, unknown]>;
  readonly metadata: ReadonlyMap<string, ModuleMetadata>;
  /** Sentences for {@link StateDict.assumptions}. */
  readonly assumptions: string[];
  /** The `output` of each module that has one, with the sentence that holds if it is not 1 and 0. */
  readonly outputs: readonly (readonly [sentence: string, output: readonly unknown[]])[];
}

export function unpackModules(dict: Dict, context: ReadContext): Unpacked {
  const metadata = new Map<string, ModuleMetadata>();
  const moduleOf = new Map<unknown, UnpackedModule>();
  const assumptions: string[] = [];
  const outputs: [string, readonly unknown[]][] = [];
  for (const key of dict.entries.keys()) {
    if (typeof key !== 'string') continue;
    const packed = packedModules.find((known) => key.endsWith(known.key));
    if (packed === undefined) continue;
    const prefix = key.slice(0, -packed.key.length);
    const name = prefix.replace(/\.$/, '');
    const module = packed.unpack(dict, { name, prefix }, context);
    if (metadata.has(name)) fail(key, `module ${describe(name)} is packed twice`);
    metadata.set(name, module.metadata);
    for (const ownKey of module.keys) moduleOf.set(ownKey, module);
    const title = `${name === '' ? 'the model' : name} (${module.metadata.type})`;
    if (module.assumed !== undefined) assumptions.push(`${title}: ${module.assumed}`);
    if (module.output !== undefined) outputs.push([`${title}: ${wasStatic}`, module.output]);
  }
  const entries = metadata.size === 0 ? dict.entries : replacedEntries(dict, moduleOf);
  return { entries, metadata, assumptions, outputs };
}

const wasStatic =
  'quantized statically, taken for dynamic: its output is not rounded to the scale and zero point in the file, nor cut off at the ends of their range (where a fused ReLU is)';

/** The entries of a dict. Each module's tensors take the place of the first of its keys. */
function replacedEntries(
  dict: Dict,
  moduleOf: ReadonlyMap<unknown, UnpackedModule>,
): ReadonlyMap<unknown, unknown> {
  const entries = new Map<unknown, unknown>();
  const add = (key: unknown, value: unknown): void => {
    if (entries.has(key)) fail(key as string, 'stands twice, packed and unpacked');
    entries.set(key, value);
  };
  const done = new Set<UnpackedModule>();
  for (const [key, value] of dict.entries) {
    const module = moduleOf.get(key);
    if (module === undefined) add(key, value);
    else if (!done.has(module)) {
      done.add(module);
      for (const [name, tensor] of module.tensors) add(name, tensor);
    }
  }
  return entries;
}

function linear(dict: Dict, { name, prefix }: Place): UnpackedModule {
  const parts = ['_packed_params', 'weight', 'bias', 'dtype'].map(
    (part) => `${prefix}_packed_params.${part}`,
  );
  const leftovers = [`${prefix}scale`, `${prefix}zero_point`];
  const [packedKey, weightKey, biasKey, dtypeKey] = parts as [string, string, string, string];
  const packed = dict.entries.get(packedKey);
  const weight = dict.entries.get(weightKey);
  const { matrix, bias } =
    packed === undefined
      ? weightAndBias(weightKey, new Tuple([weight, dict.entries.get(biasKey) ?? null]))
      : weightAndBias(packedKey, packed);
  const half = plainName(dict.entries.get(dtypeKey)) === float16;
  if (half !== (matrix.dtype === float32)) fail(dtypeKey, `should fit a weight of ${matrix.dtype}`);
  // Before version 4 the input had 255 levels. A copied dict has lost its versions; then the layout tells.
  const told = versionOf(dict, name);
  const version = told ?? (packed === undefined ? 1 : 4);
  const lost = told === undefined && packed !== undefined && !half;
  return {
    keys: [...parts, ...leftovers],
    assumed: lost
      ? 'assumed reduceRange = true, as since PyTorch 1.7; the dict has lost its versions'
      : undefined,
    output: leftovers.map((key) => dict.entries.get(key)),
    tensors: [
      [`${prefix}weight`, half ? new HalfRef(matrix) : matrix],
      ...(bias === null ? [] : [[`${prefix}bias`, bias] as const]),
    ],
    metadata: {
      type: 'DynamicQuantizedLinear',
      inFeatures: matrix.shape[1]!,
      outFeatures: matrix.shape[0]!,
      bias: bias !== null,
      ...weightMetadata(matrix, version >= 4),
    },
  };
}

interface Cell {
  readonly input: WeightAndBias;
  readonly hidden: WeightAndBias;
}

function cell(dict: Dict, { prefix }: Place): UnpackedModule {
  const keys = [`${prefix}_packed_weight_ih`, `${prefix}_packed_weight_hh`] as const;
  const [input, hidden] = keys.map((key) => linearParams(key, dict.entries.get(key)));
  const parts = { input: input!, hidden: hidden! };
  const { inputSize, hiddenSize, kind } = cellSizes(keys[0], parts);
  return {
    keys,
    tensors: cellTensors(parts, prefix, ''),
    metadata: {
      type: `DynamicQuantized${kind}Cell`,
      inputSize,
      hiddenSize,
      bias: parts.input.bias !== null,
      ...weightMetadata(parts.input.matrix, true),
    },
  };
}

function recurrent(dict: Dict, { name, prefix }: Place, { bidirectional }: ReadContext): UnpackedModule {
  const keyOf = (k: number): string => `${prefix}_all_weight_values.${k}.param`;
  const keys: string[] = [];
  while (dict.entries.has(keyOf(keys.length))) keys.push(keyOf(keys.length));
  const cells = keys.map((key) => cellParams(key, dict.entries.get(key)));
  const sizes = cells.map((parts, k) => cellSizes(keys[k]!, parts));
  const { inputSize, hiddenSize, kind } = sizes[0]!;
  if (kind === 'RNN') fail(keys[0]!, `an LSTM's or a GRU's cell should have 4 or 3 rows a hidden unit`);

  const directions = directionsOf(sizes, bidirectional.has(name));
  const tensors = cells.flatMap((parts, k) => {
    const layer = Math.floor(k / directions);
    const expected = layer === 0 ? inputSize : directions * hiddenSize;
    const own = sizes[k]!;
    if (own.inputSize !== expected || own.hiddenSize !== hiddenSize || own.kind !== kind)
      fail(
        keys[k]!,
        `should fit an input of ${expected} and the cells before it, got one of ${own.inputSize}`,
      );
    return cellTensors(parts, prefix, `_l${layer}${k % directions === 1 ? '_reverse' : ''}`);
  });
  const [first] = cells as [(typeof cells)[0]];
  const odd = cells.findIndex(({ reduceRange }) => reduceRange !== first.reduceRange);
  if (cells.length % directions !== 0 || odd >= 0) {
    fail(
      keys[odd >= 0 ? odd : keys.length - 1]!,
      'should have the other direction, and one range for all cells',
    );
  }
  const isEither = cells.length === 2 && directions === 1 && inputSize === hiddenSize;
  return {
    keys,
    tensors,
    assumed: isEither
      ? 'taken for two layers; two directions of one layer look the same (option bidirectional of load)'
      : undefined,
    metadata: {
      type: `DynamicQuantized${kind}`,
      inputSize,
      hiddenSize,
      numLayers: cells.length / directions,
      bias: first.input.bias !== null,
      bidirectional: directions === 2,
      ...weightMetadata(first.input.matrix, first.reduceRange),
    },
  };
}

/** 1 if the second cell is layer 1, whose input is the hidden state; 2 if it is the other direction of layer 0. */
function directionsOf(sizes: readonly CellSizes[], bidirectional: boolean): 1 | 2 {
  const [{ inputSize, hiddenSize }, second, third] = sizes as [CellSizes, ...(CellSizes | undefined)[]];
  if (second === undefined) return 1;
  if (second.inputSize !== hiddenSize) return 2;
  if (second.inputSize !== inputSize) return 1;
  // Both fit. The third cell is in layer 1 if there are two directions, and then its input is twice as wide.
  if (third !== undefined) return third.inputSize === hiddenSize ? 1 : 2;
  return bidirectional ? 2 : 1;
}

function embedding(dict: Dict, { prefix }: Place): UnpackedModule {
  const key = `${prefix}_packed_params._packed_weight`;
  const dtypeKey = `${prefix}_packed_params.dtype`;
  const weight = dict.entries.get(key);
  if (!isTensorRef(weight) || weight.shape.length !== 2) return fail(key, 'should be a matrix');
  const dtype = weight.dtype;
  if ((dtype !== quint8 && dtype !== quint4x2) || plainName(dict.entries.get(dtypeKey)) !== dtype)
    return fail(key, `should be quint8 or quint4x2 and what its dtype says, got ${dtype}`);
  return {
    keys: [key, dtypeKey],
    tensors: [[`${prefix}weight`, weight]],
    assumed: dtype === quint8 ? 'an EmbeddingBag has the same tensors' : undefined,
    metadata: {
      // PyTorch has no 4-bit Embedding, and saves both classes alike with 8 bits.
      type: dtype === quint4x2 ? 'QuantizedEmbeddingBag' : 'QuantizedEmbedding',
      numEmbeddings: weight.shape[0]!,
      embeddingDim: weight.shape[1]!,
      dtype,
      qscheme: 'per_channel_affine_float_qparams',
    },
  };
}

/** `(tag, tensors, doubles, ints, [packed weights])` of a `CellParamsBase`. */
function cellParams(key: string, value: unknown): Cell & { reduceRange: boolean } {
  const [tag, , , ints, packed] = itemsOf(scriptState(key, value, 'rnn.CellParamsBase'));
  if (tag !== 'quantized_dynamic' && tag !== 'quantized_fp16')
    fail(key, `should be a cell of tag quantized_dynamic or quantized_fp16, got ${describe(tag)}`);
  const [first, second] = itemsOf(packed);
  const input = linearParams(key, first);
  const hidden = linearParams(key, second);
  if ((tag === 'quantized_fp16') !== (input.matrix.dtype === float32))
    fail(key, `a cell of tag ${tag} has weights of ${input.matrix.dtype}`);
  return { input, hidden, reduceRange: itemsOf(ints)[0] === 1 };
}

/** `(weight, bias)` of a `LinearPackedParamsBase`. */
function linearParams(key: string, value: unknown): WeightAndBias {
  return weightAndBias(key, scriptState(key, value, 'quantized.LinearPackedParamsBase'));
}

interface WeightAndBias {
  readonly matrix: TensorRef;
  readonly bias: TensorRef | null;
}

function weightAndBias(key: string, value: unknown): WeightAndBias {
  const [matrix, bias] = itemsOf(value);
  if (!isTensorRef(matrix) || matrix.shape.length !== 2) return fail(key, 'should have a matrix for weight');
  if (matrix.dtype !== qint8 && matrix.dtype !== float32)
    fail(key, `should have a weight of qint8, or of float16 as float32, got ${matrix.dtype}`);
  if (bias !== null && !(isTensorRef(bias) && bias.shape.length === 1 && bias.shape[0] === matrix.shape[0]))
    return fail(key, `should have a bias of ${matrix.shape[0]} elements or None`);
  return { matrix, bias };
}

interface CellSizes {
  readonly inputSize: number;
  readonly hiddenSize: number;
  readonly kind: string;
}

function cellSizes(key: string, { input, hidden }: Cell): CellSizes {
  const [rows, inputSize] = input.matrix.shape as [number, number];
  const [hiddenRows, hiddenSize] = hidden.matrix.shape as [number, number];
  const kind = kindOfGates(rows / hiddenSize);
  if (
    kind === undefined ||
    hiddenRows !== rows ||
    input.matrix.dtype !== hidden.matrix.dtype ||
    (input.bias === null) !== (hidden.bias === null)
  ) {
    return fail(
      key,
      `weights of [${rows}, ${inputSize}] and [${hiddenRows}, ${hiddenSize}] should be those of one cell`,
    );
  }
  return { inputSize, hiddenSize, kind };
}

function cellTensors({ input, hidden }: Cell, prefix: string, suffix: string): UnpackedModule['tensors'] {
  const weight = ({ matrix }: WeightAndBias): TensorRef | HalfRef =>
    matrix.dtype === float32 ? new HalfRef(matrix) : matrix;
  const weights = [
    [`${prefix}weight_ih${suffix}`, weight(input)],
    [`${prefix}weight_hh${suffix}`, weight(hidden)],
  ] as const;
  if (input.bias === null || hidden.bias === null) return weights;
  return [...weights, [`${prefix}bias_ih${suffix}`, input.bias], [`${prefix}bias_hh${suffix}`, hidden.bias]];
}

function weightMetadata({ dtype, quantizer }: TensorRef, reduceRange: boolean): Record<string, unknown> {
  if (dtype === float32) return { dtype: float16 };
  const qscheme = quantizer !== null && 'scale' in quantizer ? 'per_tensor_affine' : 'per_channel_affine';
  return { dtype, qscheme, activation: 'perTensor', reduceRange };
}

/** The version that a state dict's `_metadata` gives a module. */
function versionOf({ attributes }: Dict, name: string): number | undefined {
  const versions = attributes?.entries.get('_metadata');
  const own = versions instanceof Dict ? versions.entries.get(name) : undefined;
  const version = own instanceof Dict ? own.entries.get('version') : undefined;
  return typeof version === 'number' ? version : undefined;
}

function scriptState(key: string, value: unknown, type: string): unknown {
  if (value instanceof ScriptObject && value.type === `__torch__.torch.classes.${type}`) return value.state;
  return fail(
    key,
    `should be a ${type}, got ${value instanceof ScriptObject ? value.type : describe(value)}`,
  );
}

function fail(key: string, what: string): never {
  throw new CheckpointError(`key ${describe(key)}: ${what}`);
}
