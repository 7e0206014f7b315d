import { takeSignal, type AsyncArguments, type AsyncOptions } from '../async-options.js';
import {
  checkBoolean,
  checkOneOf,
  checkOptions,
  checkSize,
  describe,
  checkNumber,
  rangeError,
  typeError,
} from '../errors.js';
import { bagModes, callBags, callLookup, newFloats } from '../native/call.js';
import type { EmbeddingTable, IndexBags } from '../native/handles.js';
import { float32, int32, int64, emptyArray, float64 } from '../tensor/dtype.js';
import { sameShape, formatShape } from '../tensor/shape.js';
import { isTensor, resultTensor, type Tensor, checkTensor } from '../tensor/tensor.js';
import { computeInSlices } from '../turn.js';
import { normal_ } from './init.js';
import { closed, fixed } from './closed.js';
import type { LayerParameter, Tensors } from './layer-parameters.js';
import { isForwardReplaced } from './hooks.js';
import { Module, pythonFloat, type ModuleMetadata } from './module.js';
import { emptyParameter, parameterData, type Parameter } from './parameter.js';

/** Options of Embedding. */
export interface EmbeddingOptions {
  /**
   * The row of the padding index; a negative one counts from the end. It starts as zeros, and bags leave it out.
   * Default: none.
   */
  paddingIdx?: number | null;
  /** A looked-up row with a larger norm is scaled down to this one, in the table itself. Default: none. */
  maxNorm?: number | null;
  /** The p of the p-norm that `maxNorm` limits. Default: 2. */
  normType?: number;
}

/** How the vectors of a bag are combined: `sum`, `mean` or `max`. */
export type BagMode = (typeof bagModes)[number];

/** Options of both kinds of EmbeddingBag, float and quantized. */
export interface BagOptions {
  /** Default: `'mean'`. */
  mode?: BagMode;
  /** Whether `offsets` has one more element, the end of the last bag. Default: false. */
  includeLastOffset?: boolean;
}

/** Options of EmbeddingBag. */
export interface EmbeddingBagOptions extends EmbeddingOptions, BagOptions {}

const tableOptionNames = ['paddingIdx', 'maxNorm', 'normType'];
export const bagOptionNames = ['mode', 'includeLastOffset'];

/** The sizes and options of a table. */
interface TableSizes {
  readonly numEmbeddings: number;
  readonly embeddingDim: number;
  readonly paddingIdx: number | null;
  readonly maxNorm: number | null;
  readonly normType: number;
}

/** What Embedding and EmbeddingBag share: the table. */
abstract class TableModule extends Module {
  /** @internal */
  declare readonly [fixed]: TableSizes;
  /** The number of rows, which is the number of indices. */
  declare readonly numEmbeddings: number;
  /** The number of values of a row. */
  declare readonly embeddingDim: number;
  /** The index that counts for nothing: a row of zeros in an Embedding, left out of a bag. Null if there is none. */
  declare readonly paddingIdx: number | null;
  /** Longer rows are scaled down to this norm, in place, when they are looked up. Null for no limit. */
  declare readonly maxNorm: number | null;
  /** The p of the p-norm that `maxNorm` limits. */
  declare readonly normType: number;
  /** Of shape (numEmbeddings, embeddingDim). */
  readonly weight: Parameter;

  constructor(
    numEmbeddings: number,
    embeddingDim: number,
    { paddingIdx, maxNorm = null, normType = 2 }: EmbeddingOptions,
  ) {
    super();
    checkSize('num_embeddings', numEmbeddings);
    checkSize('embedding_dim', embeddingDim);
    const padding = checkPaddingIdx(paddingIdx, numEmbeddings);
    if (maxNorm !== null && typeof maxNorm !== 'number') {
      const sentence = `max_norm should be a number or null, got ${describe(maxNorm)}`;
      throw typeError('ERR_INVALID_ARG_TYPE', sentence);
    }
    checkNumber('norm_type', normType);
    if ((maxNorm !== null && !(maxNorm >= 0)) || !(normType > 0)) {
      throw rangeError(
        'ERR_INVALID_ARG_VALUE',
        `max_norm should not be negative, norm_type be positive, got ${maxNorm} and ${normType}`,
      );
    }
    closed(this, { numEmbeddings, embeddingDim, paddingIdx: padding, maxNorm, normType });
    this.weight = emptyParameter([numEmbeddings, embeddingDim]);
    normal_(this.weight);
    const start = (padding ?? numEmbeddings) * embeddingDim;
    this.weight.data.fill(0 as never, start, start + embeddingDim);
  }

  /** The table, after the rows of these indices were limited to `maxNorm`. */
  protected table(indices: Int32Array): EmbeddingTable {
    const { embeddingDim: width, maxNorm, normType } = this[fixed];
    const table = this.tableOf(this.weight);
    const data = table.data as Float32Array;
    if (maxNorm !== null) {
      for (const index of new Set(indices)) {
        const row = data.subarray(index * width, (index + 1) * width);
        if (limitNorm(row, maxNorm, normType)) this.weight.version++;
      }
    }
    return table;
  }
  /** The same, and then what gives the table again at a later time, if it is still there. */
  protected tableForSlices(indices: Int32Array): () => EmbeddingTable {
    this.table(indices);
    const { weight } = this;
    return () => this.tableOf(weight);
  }
  private tableOf(weight: Tensor): EmbeddingTable {
    const { numEmbeddings, embeddingDim: width } = this[fixed];
    const data = parameterData('weight', weight, [numEmbeddings, width]);
    return { data, affines: null, bits: 32, width };
  }
  protected normRepr(): string {
    const { maxNorm, normType } = this;
    const max = maxNorm === null ? '' : `, max_norm=${pythonFloat(maxNorm)}`;
    return max + (normType === 2 ? '' : `, norm_type=${pythonFloat(normType)}`);
  }
  protected override metadata(): ModuleMetadata {
    const { numEmbeddings, embeddingDim, paddingIdx, maxNorm, normType } = this;
    return { type: this.reprName(), numEmbeddings, embeddingDim, paddingIdx, maxNorm, normType };
  }
}

/**
 * A table of vectors: `out[..., :] = weight[index[...], :]`.
 *
 * Shape: indices int32 or int64 of any shape `(*)` to float32 `(*, embeddingDim)`. `weight` is
 * `[numEmbeddings, embeddingDim]`, at first from N(0, 1). Sizes and options are fixed at construction.
 */
export class Embedding extends TableModule {
  /** @throws {TypeError | RangeError} for sizes that are not positive integers, or `paddingIdx` outside the table */
  constructor(numEmbeddings: number, embeddingDim: number, options: EmbeddingOptions = {}) {
    checkOptions('Embedding', options, tableOptionNames);
    super(numEmbeddings, embeddingDim, options);
  }

  /** @throws {TypeError} for other index types @throws {RangeError} for an index outside the table */
  override forward(indices: Tensor): Tensor {
    const list = tableIndices('indices', indices, this[fixed].numEmbeddings);
    return lookup(this.table(list), list, indices.shape);
  }

  /** {@link forward} in slices, between which the event loop goes on: see {@link Module.forwardAsync}. */
  override async forwardAsync(indices: Tensor, options?: AsyncOptions): Promise<Tensor> {
    if (isForwardReplaced(this)) return (await super.forwardAsync(indices, options)) as Tensor;
    takeSignal([indices, options], 1);
    const list = tableIndices('indices', indices, this[fixed].numEmbeddings);
    return await lookupInSlices(this.tableForSlices(list), list, indices.shape);
  }

  override extraRepr(): string {
    const padding = this.paddingIdx === null ? '' : `, padding_idx=${this.paddingIdx}`;
    return `${this.numEmbeddings}, ${this.embeddingDim}${padding}${this.normRepr()}`;
  }
}

/**
 * Sums, means or maxima of a table's vectors: for each bag of indices `i_1 … i_n`,
 * `out[bag, :] = reduce(weight[i_1, :] * w_1, …, weight[i_n, :] * w_n)`. An empty bag gives zeros. Indices equal
 * to `paddingIdx` are left out, and a mean does not count them. Sizes and options are fixed at construction.
 *
 * Shape: indices `(B, N)`, B bags of N; or `(M)` with `offsets` `(B)`, which say where each bag begins. Both are int32
 * or int64. `perSampleWeights` (only for sums) is float32 of the indices' shape. Output: float32 `(B, embeddingDim)`.
 */
export class EmbeddingBag extends TableModule {
  /** @internal */
  declare readonly [fixed]: TableSizes & Required<BagOptions>;
  /** How the rows of a bag become one. */
  declare readonly mode: BagMode;
  /** Whether `offsets` ends with the number of all indices. */
  declare readonly includeLastOffset: boolean;

  /**
   * @throws {TypeError | RangeError} for sizes that are not positive integers, `paddingIdx` outside the table, or
   * another mode
   */
  constructor(numEmbeddings: number, embeddingDim: number, options: EmbeddingBagOptions = {}) {
    checkOptions('EmbeddingBag', options, [...bagOptionNames, ...tableOptionNames]);
    const { mode, includeLastOffset } = checkBagOptions(options, 'mean');
    super(numEmbeddings, embeddingDim, options);
    closed(this, { mode, includeLastOffset });
  }

  /**
   * @throws {TypeError} for tensors of another kind
   * @throws {RangeError} for an index outside the table, offsets that do not rise from 0 within the indices, or
   * weights of another shape or for another mode than `'sum'`
   */
  override forward(input: Tensor, offsets?: Tensor | null, perSampleWeights?: Tensor | null): Tensor {
    const bags = bagArguments(this[fixed], input, offsets, perSampleWeights);
    return lookupBags(this.table(bags.indices), bags, this[fixed]);
  }

  /** {@link forward} in slices, between which the event loop goes on: see {@link Module.forwardAsync}. */
  override async forwardAsync(
    input: Tensor,
    ...rest: AsyncArguments<[offsets?: Tensor | null, perSampleWeights?: Tensor | null]>
  ): Promise<Tensor> {
    if (isForwardReplaced(this)) return (await super.forwardAsync(input, ...rest)) as Tensor;
    const bags = asyncBagArguments(this[fixed], input, rest);
    return await lookupBagsInSlices(this.tableForSlices(bags.indices), bags, this[fixed]);
  }

  override extraRepr(): string {
    const padding = this.paddingIdx === null ? '' : `, padding_idx=${this.paddingIdx}`;
    return `${this.numEmbeddings}, ${this.embeddingDim}${this.normRepr()}, mode='${this.mode}'${padding}`;
  }
  protected override metadata(): ModuleMetadata {
    return { ...super.metadata(), mode: this.mode, includeLastOffset: this.includeLastOffset };
  }
}

// What the quantized twins share ---------------------------------------------------------------------------

/** The sizes and options that a bag's arguments are checked against. */
export interface BagModule extends Required<BagOptions> {
  readonly numEmbeddings: number;
  readonly paddingIdx: number | null;
}

/** The row that `paddingIdx` means, or null. */
export function checkPaddingIdx(padding: number | null | undefined, numEmbeddings: number): number | null {
  if (padding === null || padding === undefined) return null;
  const sentence = `Padding_idx must be within num_embeddings, got ${describe(padding)}`;
  if (typeof padding !== 'number') throw typeError('ERR_INVALID_ARG_TYPE', sentence);
  if (!Number.isInteger(padding) || padding < -numEmbeddings || padding >= numEmbeddings)
    throw rangeError('ERR_OUT_OF_RANGE', sentence);
  return padding < 0 ? padding + numEmbeddings : padding;
}

export function checkBagOptions(options: BagOptions, defaultMode: BagMode): Required<BagOptions> {
  const { mode = defaultMode, includeLastOffset = false } = options;
  checkOneOf('mode', mode, bagModes);
  checkBoolean('includeLastOffset', includeLastOffset);
  return { mode, includeLastOffset };
}

/** Scales a row down to a norm if its own is larger, as PyTorch's embedding_renorm_. Returns whether it did. */
export function limitNorm(row: Float32Array, maxNorm: number, normType: number): boolean {
  let norm = 0;
  if (normType === Infinity) norm = row.reduce((largest, x) => Math.max(largest, Math.abs(x)), 0);
  else norm = row.reduce((sum, x) => sum + Math.abs(x) ** normType, 0) ** (1 / normType);
  if (!(norm > maxNorm)) return false;
  const scale = Math.fround(maxNorm / (norm + 1e-7));
  for (let i = 0; i < row.length; i++) row[i]! *= scale;
  return true;
}

/**
 * Indices as native code takes them, each inside the table. Always a copy, because shared memory could change after
 * the check.
 */
export function tableIndices(name: string, indices: Tensor, numEmbeddings: number): Int32Array {
  const data = integers(name, indices);
  const out = new Int32Array(data.length);
  for (let i = 0; i < data.length; i++) {
    const index = Number(data[i]);
    if (index < 0 || index >= numEmbeddings) {
      throw rangeError(
        'ERR_OUT_OF_RANGE',
        `index out of range in self: got ${index}, expected 0 to ${numEmbeddings - 1}`,
      );
    }
    out[i] = index;
  }
  return out;
}

/** Up to this many rows are copied here, because that takes no longer than a call of native code. */
const fewIndices = 3;

/** The rows of these indices. All indices must be inside the table; `shape` is their shape. */
export function lookup(table: EmbeddingTable, indices: Int32Array, shape: readonly number[]): Tensor {
  const { width } = table;
  const out = newFloats(indices.length * width);
  if (width > 0) lookupInto(table, indices, out);
  return resultTensor(out, [...shape, width]);
}

/** The same in slices. `table` is asked before each of them, because its memory may be gone by then. */
export async function lookupInSlices(
  table: () => EmbeddingTable,
  indices: Int32Array,
  shape: readonly number[],
): Promise<Tensor> {
  const { width } = table();
  const resultShape = [...shape, width];
  const out = newFloats(indices.length * width);
  const rows = rowsOfSlice(width);
  const slice = (begin: number): void => {
    const part = indices.subarray(begin, begin + rows);
    lookupInto(table(), part, out.subarray(begin * width, begin * width + part.length * width));
  };
  await computeInSlices(
    (function* () {
      for (let begin = 0; begin < indices.length; begin += rows) yield () => slice(begin);
    })(),
  );
  return resultTensor(out, resultShape);
}

/** How many rows of a table are read in a slice: in less than a millisecond, even if none is in a cache. */
function rowsOfSlice(width: number): number {
  return Math.max(1, Math.min(4096, Math.floor(2 ** 17 / width)));
}

function lookupInto(table: EmbeddingTable, indices: Int32Array, out: Float32Array): void {
  const { data, affines, width } = table;
  if (width === 0) return;
  if (affines === null && indices.length <= fewIndices) {
    for (let i = 0; i < indices.length; i++) {
      const start = indices[i]! * width;
      out.set(data.subarray(start, start + width), i * width);
    }
  } else {
    callLookup(table, indices, out);
  }
}

/** The arguments of a bag layer's `forwardAsync`, checked as those of its `forward`. */
export function asyncBagArguments(module: BagModule, input: Tensor, rest: readonly unknown[]): IndexBags {
  const args = [input, ...rest];
  takeSignal(args, 3);
  const [, offsets, weights] = args as [Tensor, Tensor | null, Tensor | null];
  return bagArguments(module, input, offsets, weights);
}

/** The arguments of a bag layer, after checks with PyTorch's sentences. */
export function bagArguments(
  { numEmbeddings, mode, includeLastOffset }: BagModule,
  input: Tensor,
  offsets: Tensor | null | undefined,
  perSampleWeights: Tensor | null | undefined,
): IndexBags {
  const indices = tableIndices('input', input, numEmbeddings);
  let bounds: Float64Array;
  if (input.dim() === 2) {
    if (offsets !== undefined && offsets !== null) {
      throw rangeError(
        'ERR_INVALID_ARG_VALUE',
        `if input is 2D, then offsets has to be None, as input is treated is a mini-batch of fixed length sequences. However, found offsets of type ${describe(offsets)}`,
      );
    }
    const [bags, length] = input.shape as [number, number];
    bounds = emptyArray(float64, bags + 1);
    for (let i = 0; i < bounds.length; i++) bounds[i] = i * length;
  } else if (input.dim() === 1) {
    bounds = offsetBounds(offsets, indices.length, includeLastOffset);
  } else {
    throw rangeError(
      'ERR_SHAPE',
      `input has to be 1D or 2D Tensor, but got Tensor of dimension ${input.dim()}`,
    );
  }
  if (perSampleWeights === undefined || perSampleWeights === null) return { indices, bounds, weights: null };
  checkTensor('per_sample_weights', perSampleWeights, float32);
  if (!sameShape(perSampleWeights.shape, input.shape)) {
    throw rangeError(
      'ERR_SHAPE',
      `embedding_bag: If per_sample_weights (torch.Size(${formatShape(perSampleWeights.shape)})) is not None, then it must have the same shape as the input (torch.Size(${formatShape(input.shape)}))`,
    );
  }
  if (mode !== 'sum') {
    throw rangeError(
      'ERR_INVALID_ARG_VALUE',
      `embedding_bag: per_sample_weights was not None. per_sample_weights is only supported for mode='sum' (got mode='${mode}').`,
    );
  }
  return { indices, bounds, weights: perSampleWeights.checked('per_sample_weights') as Float32Array };
}

/** Each bag's sum, mean or maximum. */
export function lookupBags(table: EmbeddingTable, bags: IndexBags, { mode, paddingIdx }: BagModule): Tensor {
  const count = bags.bounds.length - 1;
  const out = emptyArray(float32, count * table.width);
  callBags(table, bags, mode, paddingIdx ?? -1, out);
  return resultTensor(out, [count, table.width]);
}

/** The same in slices of whole bags: see {@link lookupInSlices}. */
export async function lookupBagsInSlices(
  table: () => EmbeddingTable,
  { indices, bounds, weights: given }: IndexBags,
  { mode, paddingIdx }: BagModule,
): Promise<Tensor> {
  const count = bounds.length - 1;
  const weights = given && given.slice(); // the caller's own
  const { width } = table();
  const out = emptyArray(float32, count * width);
  const rows = rowsOfSlice(width);
  const slice = (begin: number, end: number): void => {
    const first = bounds[begin]!;
    const last = bounds[end]!;
    const part: IndexBags = {
      indices: indices.subarray(first, last),
      bounds: bounds.slice(begin, end + 1).map((bound) => bound - first),
      weights: weights && weights.subarray(first, last),
    };
    callBags(table(), part, mode, paddingIdx ?? -1, out.subarray(begin * width, end * width));
  };
  await computeInSlices(
    (function* () {
      for (let begin = 0, end = 0; begin < count; begin = end) {
        const last = bounds[begin]! + rows;
        while (end < count && end - begin < rows && (end === begin || bounds[end + 1]! <= last)) end++;
        const bags = [begin, end] as const;
        yield () => slice(...bags);
      }
    })(),
  );
  return resultTensor(out, [count, width]);
}

function offsetBounds(
  offsets: Tensor | null | undefined,
  length: number,
  includeLastOffset: boolean,
): Float64Array {
  if (offsets === undefined || offsets === null) {
    throw typeError('ERR_INVALID_ARG_TYPE', 'offsets has to be a 1D Tensor but got None');
  }
  const starts = Float64Array.from(integers('offsets', offsets), Number);
  if (offsets.dim() !== 1)
    throw rangeError('ERR_SHAPE', `offsets has to be a 1D Tensor, got ${offsets.dim()}D`);
  if (includeLastOffset && starts.length === 0) {
    throw rangeError('ERR_SHAPE', 'include_last_offset: number of offset should be at least 1');
  }
  if (starts.length > 0 && starts[0] !== 0) {
    throw rangeError(
      'ERR_INVALID_ARG_VALUE',
      `offsets[0] has to be 0, i.e., the first sequence in the mini-batch has to start from position 0. However, got ${starts[0]}`,
    );
  }
  starts.forEach((start, i) => {
    if (i > 0 && start < starts[i - 1]!) {
      const sentence = `offsets should not decrease, got ${start} after ${starts[i - 1]}`;
      throw rangeError('ERR_INVALID_ARG_VALUE', sentence);
    }
  });
  const last = starts.at(-1) ?? 0;
  if (last > length) {
    throw rangeError(
      'ERR_OUT_OF_RANGE',
      `offsets[-1] can not be greater than input's length ${length} but got offsets[-1] of ${last}`,
    );
  }
  if (includeLastOffset) return starts;
  return Float64Array.of(...starts, starts.length === 0 ? 0 : length);
}

function integers(name: string, indices: Tensor): Int32Array | BigInt64Array {
  const given = isTensor(indices);
  if (!given || (indices.dtype !== int64 && indices.dtype !== int32)) {
    throw typeError(
      given ? 'ERR_DTYPE' : 'ERR_INVALID_ARG_TYPE',
      `Expected tensor for argument #1 '${name}' to have one of the following scalar types: Long, Int; but got ${given ? indices.dtype : describe(indices)} instead`,
    );
  }
  return indices.checked(name) as Int32Array | BigInt64Array;
}

/** What the table of an Embedding or EmbeddingBag depends on. */
export interface TableShape {
  readonly numEmbeddings: number;
  readonly embeddingDim: number;
}

export function tableParameters({ numEmbeddings, embeddingDim }: TableShape): LayerParameter[] {
  return [{ name: 'weight', kind: 'weight', shape: [numEmbeddings, embeddingDim], matrix: 0 }];
}

export function tableSizes(tensors: Tensors): TableShape | undefined {
  const weight = tensors.get('weight');
  if (weight?.dim() !== 2) return undefined;
  const [numEmbeddings, embeddingDim] = weight.shape as [number, number];
  return { numEmbeddings, embeddingDim };
}
