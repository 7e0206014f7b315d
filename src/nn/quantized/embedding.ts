import { takeSignal, type AsyncArguments, type AsyncOptions } from '../../async-options.js';
import { checkOneOf, checkOptions, checkSize, rangeError } from '../../errors.js';
import { native } from '../../native/addon.js';
import type { EmbeddingTable, IndexBags } from '../../native/handles.js';
import { emptyArray, quint4x2, quint8 } from '../../tensor/dtype.js';
import { notLoaded, roundToHalf } from '../../tensor/elements.js';
import { sameShape } from '../../tensor/shape.js';
import { Tensor } from '../../tensor/tensor.js';
import {
  asyncBagArguments,
  bagArguments,
  bagOptionNames,
  checkBagOptions,
  checkPaddingIdx,
  Embedding as FloatEmbedding,
  EmbeddingBag as FloatEmbeddingBag,
  limitNorm,
  lookup,
  lookupBags,
  lookupBagsInSlices,
  lookupInSlices,
  tableIndices,
  type BagMode,
  type BagOptions,
} from '../embedding.js';
import { closed, closedGetters, fixed } from '../closed.js';
import { isForwardReplaced } from '../hooks.js';
import { Module, sizeMismatch, type ModuleMetadata } from '../module.js';
import { parameterData } from '../parameter.js';
import { checkFloat, type QConfig } from './qconfig.js';

const tableDTypes = [quint8, quint4x2] as const;
type TableDType = (typeof tableDTypes)[number];
const floatQParams = 'per_channel_affine_float_qparams';

/** Options of the quantized Embedding. */
export interface QuantizedEmbeddingOptions {
  /** The row of the padding index, which bags leave out; a negative one counts from the end. Default: none. */
  paddingIdx?: number | null;
  /** `'quint8'` has 8 bits, `'quint4x2'` 4. `loadStateDict` takes it from the weight. Default: `'quint8'`. */
  dtype?: TableDType;
}
/** The default mode is `'sum'`, as in PyTorch's quantized EmbeddingBag. */
export interface QuantizedEmbeddingBagOptions extends QuantizedEmbeddingOptions, BagOptions {}

/** A loaded table. It is never written again, so copies of a module may share it. */
interface LoadedTable {
  readonly dtype: TableDType;
  readonly weight: Tensor;
  readonly table: EmbeddingTable;
  /** No value of the table has a larger magnitude. */
  readonly largest: number;
}

/** The sizes of a table. */
interface TableSizes {
  readonly numEmbeddings: number;
  readonly embeddingDim: number;
  readonly paddingIdx: number | null;
}

/** What the quantized Embedding and EmbeddingBag share: the table. Sizes and options are fixed at construction. */
abstract class QuantizedTable extends Module {
  /** @internal */
  declare readonly [fixed]: TableSizes;
  /** The number of rows, which is the number of indices. */
  declare readonly numEmbeddings: number;
  /** The number of values of a row. */
  declare readonly embeddingDim: number;
  /** The index that counts for nothing: a row of zeros in an Embedding, left out of a bag. Null if there is none. */
  declare readonly paddingIdx: number | null;
  protected loaded: LoadedTable;

  constructor(
    numEmbeddings: number,
    embeddingDim: number,
    { paddingIdx, dtype = quint8 }: QuantizedEmbeddingOptions,
  ) {
    super();
    checkSize('num_embeddings', numEmbeddings);
    checkSize('embedding_dim', embeddingDim);
    checkOneOf('dtype', dtype, tableDTypes);
    closed(this, { numEmbeddings, embeddingDim, paddingIdx: checkPaddingIdx(paddingIdx, numEmbeddings) });
    const shape = [numEmbeddings, embeddingDim];
    const table = emptyTable(shape, dtype);
    const scales = new Float32Array(numEmbeddings).fill(1);
    const zeroPoints = new Float32Array(numEmbeddings);
    this.loaded = loadTable(tableTensor(table, shape, dtype, scales, zeroPoints));
  }

  /** The type of the rows' values: `quint8` or `quint4x2`. */
  get dtype(): TableDType {
    return this.loaded.dtype;
  }
  static {
    closedGetters(this.prototype, 'dtype');
  }

  override extraRepr(): string {
    const { numEmbeddings, embeddingDim, dtype } = this;
    return `num_embeddings=${numEmbeddings}, embedding_dim=${embeddingDim}, dtype=torch.${dtype}, qscheme=torch.${floatQParams}`;
  }
  protected override metadata(): ModuleMetadata {
    const { numEmbeddings, embeddingDim, paddingIdx, dtype } = this;
    return { type: this.reprName(), numEmbeddings, embeddingDim, paddingIdx, dtype, qscheme: floatQParams };
  }
  protected override *ownState(): IterableIterator<[string, Tensor]> {
    yield ['weight', this.loaded.weight.clone()];
  }
  protected override *ownNames(): IterableIterator<string> {
    yield 'weight';
  }
  protected override checkOwnState(state: ReadonlyMap<string, Tensor>, prefix: string): string[] {
    const weight = state.get('weight');
    const problem =
      weight && weightProblem(`${prefix}weight`, weight, [this.numEmbeddings, this.embeddingDim]);
    return problem === undefined ? [] : [problem];
  }
  protected override releaseWeights(): void {
    const { dtype } = this.loaded;
    const shape = [0, this.embeddingDim];
    const none = new Float32Array(0);
    this.loaded = loadTable(tableTensor(new Uint8Array(0), shape, dtype, none, none));
  }
  protected override loadOwnState(
    state: ReadonlyMap<string, Tensor>,
    _metadata?: ModuleMetadata,
    assign?: boolean,
  ): void {
    const weight = state.get('weight');
    if (weight !== undefined) this.loaded = loadTable(assign === true ? weight : weight.clone());
  }
}

/**
 * An Embedding with 8 or 4 bits a value and a scale and a float zero point for each row, as
 * `torch.ao.nn.quantized.Embedding`: `out = fma(q, scale, offset)`, `offset = -(zero_point * scale)`. With 4 bits,
 * scale and offset are rounded to float16. Equal to PyTorch bit for bit. (PyTorch leaves `quint4x2` Embeddings
 * float, and reads wrong memory where `embeddingDim` is odd.)
 *
 * Shape: indices int32 or int64 of any shape `(*)` to float32 `(*, embeddingDim)`. Sizes and options are fixed at
 * construction.
 */
export class Embedding extends QuantizedTable {
  /** A table of zeros; `fromFloat` or `loadStateDict` fill it. */
  constructor(numEmbeddings: number, embeddingDim: number, options: QuantizedEmbeddingOptions = {}) {
    checkOptions('Embedding', options, ['paddingIdx', 'dtype']);
    super(numEmbeddings, embeddingDim, options);
  }

  /**
   * @throws {TypeError | RangeError} when `module` is not an Embedding, or `qconfig` is not for embeddings
   * @throws {RangeError} when a weight is not finite, or a row's range is beyond what its scale can hold
   */
  static fromFloat(module: FloatEmbedding, qconfig: QConfig): Embedding {
    const loaded = quantizeTable(FloatEmbedding, module, qconfig);
    const { numEmbeddings, embeddingDim, paddingIdx } = module;
    const result = new Embedding(numEmbeddings, embeddingDim, { paddingIdx });
    result.loaded = loaded;
    return result;
  }

  /** @throws {TypeError} for other index types @throws {RangeError} for an index outside the table */
  override forward(indices: Tensor): Tensor {
    const list = tableIndices('indices', indices, this[fixed].numEmbeddings);
    return lookup(this.loaded.table, list, indices.shape);
  }

  /** {@link forward} in slices, between which the event loop goes on: see {@link Module.forwardAsync}. */
  override async forwardAsync(indices: Tensor, options?: AsyncOptions): Promise<Tensor> {
    if (isForwardReplaced(this)) return (await super.forwardAsync(indices, options)) as Tensor;
    takeSignal([indices, options], 1);
    const list = tableIndices('indices', indices, this[fixed].numEmbeddings);
    const { table } = this.loaded;
    return await lookupInSlices(() => table, list, indices.shape);
  }

  protected override reprName(): string {
    return 'QuantizedEmbedding';
  }
}

/**
 * An EmbeddingBag with 8 or 4 bits a value: see {@link Embedding}. The terms of a sum are added in the bag's order,
 * each as `sum = fma(q, w * scale, sum + w * offset)`. Equal to PyTorch bit for bit.
 *
 * PyTorch's always sums, whatever the float module's mode, and treats `paddingIdx` as any other row. Here the mode
 * and `paddingIdx` stay what they were.
 *
 * Shapes are the float EmbeddingBag's. Sizes and options are fixed at construction.
 */
export class EmbeddingBag extends QuantizedTable {
  /** @internal */
  declare readonly [fixed]: TableSizes & Required<BagOptions>;
  /** How the rows of a bag become one. */
  declare readonly mode: BagMode;
  /** Whether `offsets` ends with the number of all indices. */
  declare readonly includeLastOffset: boolean;

  /** A table of zeros; `fromFloat` or `loadStateDict` fill it. */
  constructor(numEmbeddings: number, embeddingDim: number, options: QuantizedEmbeddingBagOptions = {}) {
    checkOptions('EmbeddingBag', options, [...bagOptionNames, 'paddingIdx', 'dtype']);
    const { mode, includeLastOffset } = checkBagOptions(options, 'sum');
    super(numEmbeddings, embeddingDim, options);
    closed(this, { mode, includeLastOffset });
  }

  /** Throws what {@link Embedding.fromFloat} does. */
  static fromFloat(module: FloatEmbeddingBag, qconfig: QConfig): EmbeddingBag {
    const loaded = quantizeTable(FloatEmbeddingBag, module, qconfig);
    const { numEmbeddings, embeddingDim, paddingIdx, mode, includeLastOffset } = module;
    const result = new EmbeddingBag(numEmbeddings, embeddingDim, { paddingIdx, mode, includeLastOffset });
    result.loaded = loaded;
    return result;
  }

  /**
   * @throws {TypeError} for tensors of another kind
   * @throws {RangeError} for an index outside the table, offsets that do not rise from 0 within the indices,
   * weights of another shape, not finite or for another mode than `'sum'`, or a sum beyond float32
   */
  override forward(input: Tensor, offsets?: Tensor | null, perSampleWeights?: Tensor | null): Tensor {
    const bags = bagArguments(this[fixed], input, offsets, perSampleWeights);
    const largest = this.largestSum(bags);
    return finite(lookupBags(this.loaded.table, bags, this[fixed]), largest);
  }

  /** {@link forward} in slices, between which the event loop goes on: see {@link Module.forwardAsync}. */
  override async forwardAsync(
    input: Tensor,
    ...rest: AsyncArguments<[offsets?: Tensor | null, perSampleWeights?: Tensor | null]>
  ): Promise<Tensor> {
    if (isForwardReplaced(this)) return (await super.forwardAsync(input, ...rest)) as Tensor;
    const bags = asyncBagArguments(this[fixed], input, rest);
    const largest = this.largestSum(bags);
    const { table } = this.loaded;
    return finite(await lookupBagsInSlices(() => table, bags, this[fixed]), largest);
  }

  /** No sum of these bags has a larger magnitude. */
  private largestSum(bags: IndexBags): number {
    const factor = bags.weights?.reduce((most, weight) => Math.max(most, Math.abs(weight)), 0) ?? 1;
    if (!Number.isFinite(factor)) {
      throw rangeError('ERR_NOT_FINITE', 'per_sample_weights should be finite, but holds NaN or infinity');
    }
    return this.loaded.largest * factor * bags.indices.length;
  }

  protected override reprName(): string {
    return 'QuantizedEmbeddingBag';
  }
  /** As EmbeddingBag's, with the mode and the padding that PyTorch's quantized bag does not have. */
  override extraRepr(): string {
    const mode = this.mode === 'sum' ? '' : `, mode='${this.mode}'`;
    return `${super.extraRepr()}${mode}${this.paddingIdx === null ? '' : `, padding_idx=${this.paddingIdx}`}`;
  }
  protected override metadata(): ModuleMetadata {
    return { ...super.metadata(), mode: this.mode, includeLastOffset: this.includeLastOffset };
  }
}

/** The same tensor. `largest` proves that it is finite, or every value is looked at. */
function finite(out: Tensor, largest: number): Tensor {
  if (!(largest < 1e38) && !(out.data as Float32Array).every(Number.isFinite)) {
    throw rangeError(
      'ERR_OVERFLOW',
      'the output overflows float32: table or per_sample_weights are too large',
    );
  }
  return out;
}

/** Quantizes a float table, each row over its own range, as PyTorch's PerChannelMinMaxObserver with float qparams. */
function quantizeTable(
  Float: typeof FloatEmbedding | typeof FloatEmbeddingBag,
  module: FloatEmbedding | FloatEmbeddingBag,
  qconfig: QConfig,
): LoadedTable {
  checkFloat(module, Float, qconfig);
  const { dtype = 'qint8' } = qconfig.weight;
  if (dtype !== quint8 && dtype !== quint4x2) {
    throw rangeError(
      'ERR_INVALID_ARG_VALUE',
      `${Float.name} quantization is only supported with float_qparams_weight_only_qconfig. Its weight should be quint8 or quint4x2, got ${dtype}`,
    );
  }
  const { weight, numEmbeddings, embeddingDim: width, maxNorm, normType } = module;
  if ((weight as Partial<Tensor> | null | undefined)?.isMeta === true) return tableOnMeta(dtype, weight);
  let data = parameterData('weight', weight, [numEmbeddings, width]);
  if (maxNorm !== null) {
    data = data.slice();
    for (let at = 0; at < data.length; at += width) {
      limitNorm(data.subarray(at, at + width), maxNorm, normType);
    }
  }
  const out = emptyTable(weight.shape, dtype);
  const scales = new Float32Array(numEmbeddings);
  const zeroPoints = new Float32Array(numEmbeddings);
  if (!native().quantizeTable(data, width, dtype === quint8 ? 8 : 4, out, scales, zeroPoints)) {
    throw data.every(Number.isFinite)
      ? rangeError('ERR_OVERFLOW', 'weight has a row whose range is beyond float32')
      : rangeError('ERR_NOT_FINITE', 'weight should be finite to be quantized, but holds NaN or infinity');
  }
  const result = tableTensor(out, weight.shape, dtype, scales, zeroPoints);
  const problem = weightProblem('weight', result, weight.shape);
  if (problem !== undefined) throw rangeError('ERR_OVERFLOW', problem);
  return loadTable(result);
}

function emptyTable(shape: readonly number[], dtype: TableDType): Uint8Array {
  const count = shape[0]! * shape[1]!;
  return emptyArray(dtype, count);
}

function tableTensor(
  data: Uint8Array,
  shape: readonly number[],
  dtype: TableDType,
  scales: Float32Array,
  zeroPoints: Float32Array,
): Tensor {
  return new Tensor(data, shape, {
    dtype,
    qscheme: floatQParams,
    scales: Float64Array.from(scales),
    zeroPoints,
    axis: 0,
  });
}

/** Why a tensor cannot be a module's table of this shape; undefined if it can. */
function weightProblem(name: string, weight: Tensor, shape: readonly number[]): string | undefined {
  if (!sameShape(weight.shape, shape)) return sizeMismatch(name, weight.shape, shape);
  weight.checked(name);
  if (weight.dtype !== quint8 && weight.dtype !== quint4x2) {
    return `${name} should be quint8 or quint4x2, got ${weight.dtype}: quantize the float model with quantizeDynamic instead.`;
  }
  if (weight.qscheme !== floatQParams || weight.axis !== 0) {
    return `${name} should be ${floatQParams} along axis 0, got ${weight.qscheme} along ${weight.axis}.`;
  }
  if (!weight.scales!.every((scale) => scale > 0)) return `${name} should have positive scales.`;
  if (!Number.isFinite(largestOf(affinesOf(weight), weight.dtype))) {
    return `${name} has a row whose scale or offset is beyond ${weight.dtype === quint8 ? 'float32' : 'float16'}.`;
  }
  return undefined;
}

function loadTable(weight: Tensor): LoadedTable {
  const affines = affinesOf(weight);
  const bits = weight.dtype === quint8 ? 8 : 4;
  const table = { data: weight.data as Uint8Array, affines, bits, width: weight.shape[1]! } as const;
  return { dtype: weight.dtype as TableDType, weight, table, largest: largestOf(affines, weight.dtype) };
}

/** What a module has whose float module had no numbers yet: everything that reads the table throws. */
function tableOnMeta(dtype: TableDType, weight: Tensor): LoadedTable {
  return {
    dtype,
    weight,
    get table(): never {
      throw notLoaded('weight');
    },
    largest: 0,
  };
}

/** Each row's scale and offset, as lookups use them. */
function affinesOf({ dtype, quantization }: Tensor): Float32Array {
  const { scales, zeroPoints } = quantization!;
  const affines = new Float32Array(2 * scales.length);
  for (let row = 0; row < scales.length; row++) {
    const scale = Math.fround(scales[row]!);
    affines[2 * row] = scale;
    affines[2 * row + 1] = -Math.fround(zeroPoints[row]! * scale);
  }
  return dtype === quint8 ? affines : affines.map(roundToHalf);
}

/** The largest magnitude that a table with these scales and offsets can hold, or infinity beyond float32. */
function largestOf(affines: Float32Array, dtype: string): number {
  const levels = dtype === quint8 ? 255 : 15;
  let largest = 0;
  for (let i = 0; i < affines.length; i += 2) {
    const low = affines[i + 1]!;
    largest = Math.max(largest, Math.abs(low), Math.abs(Math.fround(levels * affines[i]! + low)));
  }
  return largest;
}
