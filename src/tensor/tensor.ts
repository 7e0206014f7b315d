/* eslint max-lines: ['error', 1000] -- A class is one file. Each method that computes is one call of a function beside. */
import { checkNumber, checkOneOf, checkOptions, describe, rangeError, typeError } from '../errors.js';
import {
  emptyArray,
  float32,
  isDType,
  plainView,
  quint4x2,
  trueLength,
  type DType,
  type TensorData,
} from './dtype.js';
import { checkMovable, checkPlain, converted, fill, lostData, notLoaded, numbersOf } from './elements.js';
import {
  chosen,
  clamped,
  combined,
  compared,
  comparedBack,
  filledWhere,
  isFiniteOf,
  isNaNOf,
  logical,
  mapped,
  mappedReal,
  power,
  remainderOf,
  roundedQuotient,
  scaledSum,
} from './elementwise.js';
import { noData } from './meta.js';
import { batchProduct, dotProduct, matrixProduct, plainProduct, vectorProduct } from './matrix.js';
import { checkedOptions, unchecked, type TensorOptions } from './options.js';
import { dequantized, unpacked, type QScheme, type Quantization } from './quantization.js';
import { gathered, indexSelected, interleaved, takenAlong } from './index-select.js';
import { isPrintable, nested, type NestedArray } from './nested.js';
import {
  checkedCount,
  checkedOrder,
  chunkSizes,
  dimensionsMoved,
  distinct,
  expanded,
  flattened,
  flipped,
  listed,
  narrowed,
  part,
  partSizes,
  parts,
  permuted,
  repeated,
  rolled,
  rolledAsRow,
  sliced,
  transposed,
  triangle,
  unflattened,
  windows,
} from './rearrange.js';
import {
  cumsumAlong,
  deviationAlong,
  extremeAlong,
  logSumExpAlong,
  meanAlong,
  normAlong,
  prodAlong,
  softmaxAlong,
  sumAlong,
  truthAlong,
  type DeviationOptions,
  type Dims,
  type DTypeOptions,
} from './reduce.js';
import type { Result } from './result.js';
import {
  completed,
  dimension,
  formatShape,
  indexAlong,
  maxRank,
  numelOf,
  sameShape,
  sizes,
  without,
} from './shape.js';
import { bestAlong, sorted, topK, type Chosen, type SortOptions, type TopKOptions } from './sort.js';

/** Elements along a dimension, and their indices (int64) there. */
export interface ValuesAndIndices {
  /** The elements. */
  values: Tensor;
  /** Where they are along the dimension. */
  indices: Tensor;
}

/**
 * A dense row-major array with a shape. `reshape` and `view` share memory; every other operation returns
 * new data. float32 operations round each result to float32 as PyTorch does.
 */
export class Tensor {
  /** The elements, row by row. After a direct write call `repack()` of the modules whose parameter this is. */
  readonly data: TensorData;
  /** The size of each dimension. */
  readonly shape: readonly number[];
  /** The type of the elements. */
  readonly dtype: DType;
  /** How the integers of a quantized dtype represent reals; undefined for the others. */
  readonly quantization: Quantization | undefined;
  /** Counts the library's own writes into `data`; modules repack their weights when it changes. */
  version = 0;

  /**
   * @param data - kept, not copied; one of a subclass or another realm is kept as a plain view of its memory
   * @param shape - non-negative integers whose product is the number of elements
   * @throws {TypeError} when `data` is not a typed array, or not the one `dtype` needs
   * @throws {RangeError} when `shape` and the number of elements differ
   */
  constructor(data: TensorData, shape: readonly number[], options?: TensorOptions) {
    if (options === unchecked) {
      this.data = data;
      this.shape = shape;
      this.dtype = float32;
      this.quantization = undefined;
    } else {
      // The checks are in a function of their own, because V8 inlines only a small constructor.
      const known = checkedOptions(data, shape, options);
      this.data = known.data;
      this.shape = known.shape;
      this.dtype = known.dtype;
      this.quantization = known.quantization;
    }
  }

  /** A Tensor over what `postMessage` or `structuredClone` made of one. @throws what the constructor throws */
  static from(posted: Pick<Tensor, 'data' | 'shape' | 'dtype' | 'quantization'>): Tensor {
    if (typeof posted !== 'object' || posted === null)
      throw typeError('ERR_INVALID_ARG_TYPE', `posted should be a Tensor's copy, got ${describe(posted)}`);
    const { data, shape, dtype, quantization } = posted;
    return new Tensor(data, shape, { dtype, ...quantization });
  }

  /** Which elements share a scale; undefined unless quantized. */
  get qscheme(): QScheme | undefined {
    return this.quantization?.qscheme;
  }
  /** The scales; undefined unless quantized. */
  get scales(): Float64Array | undefined {
    return this.quantization?.scales;
  }
  /** The zero points; undefined unless quantized. */
  get zeroPoints(): Int32Array | Float32Array | undefined {
    return this.quantization?.zeroPoints;
  }
  /** The dimension that the scales belong to; undefined unless quantized. */
  get axis(): number | undefined {
    return this.quantization?.axis;
  }

  /** Whether the elements have no numbers yet, as on PyTorch's device `meta`: those of `nn.utils.skipInit`'s modules. */
  get isMeta(): boolean {
    return this.data === noData;
  }

  /** The number of elements. */
  get numel(): number {
    return numelOf(this.shape);
  }

  /** The number of dimensions. */
  dim(): number {
    return this.shape.length;
  }

  /** The shape. */
  size(): readonly number[];
  /** The size of one dimension; a negative one counts from the end. */
  size(dim: number): number;
  size(dim?: number): number | readonly number[] {
    if (dim === undefined) return this.shape;
    const size = this.shape[dimension('dim', dim, this.dim())];
    if (size !== undefined) return size;
    throw rangeError('ERR_OUT_OF_RANGE', `Dimension specified as ${dim} but tensor has no dimensions`);
  }

  // Elementwise ------------------------------------------------------------------------------------------

  /** `|this|`. */
  abs(): Tensor {
    return tensorOf(mapped('abs', this));
  }
  /** `-this`. */
  neg(): Tensor {
    return tensorOf(mapped('neg', this));
  }
  /** `this * this`. */
  square(): Tensor {
    return tensorOf(mapped('square', this));
  }
  /** The largest integer that is not above each element. */
  floor(): Tensor {
    return tensorOf(mapped('floor', this));
  }
  /** The smallest integer that is not below each element. */
  ceil(): Tensor {
    return tensorOf(mapped('ceil', this));
  }
  /** The nearest integer, of two the even one. */
  round(): Tensor {
    return tensorOf(mapped('round', this));
  }
  /** Each element without its fraction. */
  trunc(): Tensor {
    return tensorOf(mapped('trunc', this));
  }
  /** -1, 0 or 1, as each element is negative, zero (or NaN) or positive. */
  sign(): Tensor {
    return tensorOf(mapped('sign', this));
  }
  /** The larger of each element and 0; a NaN stays NaN. */
  relu(): Tensor {
    return tensorOf(mapped('relu', this));
  }
  /** The square root; here and in the functions below integers become float32. */
  sqrt(): Tensor {
    return tensorOf(mappedReal('sqrt', this));
  }
  /** `1 / sqrt(this)`. */
  rsqrt(): Tensor {
    return tensorOf(mappedReal('rsqrt', this));
  }
  /** `1 / this`. */
  reciprocal(): Tensor {
    return tensorOf(mappedReal('reciprocal', this));
  }
  /** `e^this`, in float32 within 2 ulp. */
  exp(): Tensor {
    return tensorOf(mappedReal('exp', this));
  }
  /** The natural logarithm, in float32 within 1 ulp. */
  log(): Tensor {
    return tensorOf(mappedReal('log', this));
  }
  /** `2 / sqrt(pi) * integral of exp(-t^2) from 0 to this`, in float32 within 2.5 ulp. */
  erf(): Tensor {
    return tensorOf(mappedReal('erf', this));
  }
  /** `1 / (1 + exp(-this))`, in float32 within 3.5 ulp, or 6 ulp below -20. */
  sigmoid(): Tensor {
    return tensorOf(mappedReal('sigmoid', this));
  }
  /** The hyperbolic tangent, in float32 within 3.5 ulp. */
  tanh(): Tensor {
    return tensorOf(mappedReal('tanh', this));
  }
  /** `this^exponent`, broadcasting. */
  pow(exponent: Tensor | number): Tensor {
    return tensorOf(power(this, operand('pow: exponent', exponent)));
  }
  /**
   * Each element, but `min` where it is less and `max` where it is more, broadcasting; all become `max` where `min` is
   * above it. NaN where the element or a bound is.
   *
   * @param min - undefined or null for none
   * @param max - undefined or null for none
   * @throws {TypeError} when there is neither
   */
  clamp(min?: Tensor | number | null, max?: Tensor | number | null): Tensor {
    const least = min === undefined || min === null ? undefined : operand('clamp: min', min);
    const most = max === undefined || max === null ? undefined : operand('clamp: max', max);
    return tensorOf(clamped(this, least, most));
  }
  /** `this + alpha * other`, broadcasting; `other` may be a number. @param options.alpha - Default: 1. */
  add(other: Tensor | number, options?: { alpha?: number }): Tensor {
    return this.sumWith('add', other, options);
  }
  /** `this - alpha * other`, broadcasting. @param options.alpha - Default: 1. */
  sub(other: Tensor | number, options?: { alpha?: number }): Tensor {
    return this.sumWith('sub', other, options);
  }
  /** `this * other`, broadcasting. */
  mul(other: Tensor | number): Tensor {
    return tensorOf(combined('mul', this, operand('mul: other', other)));
  }
  /**
   * `this / other`, broadcasting; of integers float32.
   *
   * @param options.roundingMode - `'trunc'` leaves out the quotient's fraction, `'floor'` rounds it down; then integers
   *   stay integers. Default: null, a true division.
   * @throws {RangeError} when such an integer is divided by 0
   */
  div(other: Tensor | number, options?: { roundingMode?: 'trunc' | 'floor' | null }): Tensor {
    const by = operand('div: other', other);
    if (options !== undefined) checkOptions('div', options, ['roundingMode']);
    const mode = options?.roundingMode ?? null;
    if (mode === null) return tensorOf(combined('div', this, by));
    checkOneOf('roundingMode', mode, ['trunc', 'floor']);
    return tensorOf(roundedQuotient(this, by, mode));
  }
  /** `this - floor(this / other) * other`, broadcasting: with the sign of `other`. */
  remainder(other: Tensor | number): Tensor {
    return tensorOf(remainderOf(this, operand('remainder: other', other)));
  }
  /** The smaller of each pair of elements, broadcasting; NaN where one is. */
  minimum(other: Tensor): Tensor {
    return tensorOf(combined('minimum', this, tensorOperand('minimum: other', other)));
  }
  /** The larger of each pair of elements, broadcasting; NaN where one is. */
  maximum(other: Tensor): Tensor {
    return tensorOf(combined('maximum', this, tensorOperand('maximum: other', other)));
  }
  /** `this == other` as a bool tensor, broadcasting. */
  eq(other: Tensor | number): Tensor {
    return tensorOf(compared('eq', this, operand('eq: other', other)));
  }
  /** `this != other` as a bool tensor, broadcasting. */
  ne(other: Tensor | number): Tensor {
    return tensorOf(compared('ne', this, operand('ne: other', other)));
  }
  /** `this < other` as a bool tensor, broadcasting. */
  lt(other: Tensor | number): Tensor {
    return tensorOf(compared('lt', this, operand('lt: other', other)));
  }
  /** `this <= other` as a bool tensor, broadcasting. */
  le(other: Tensor | number): Tensor {
    return tensorOf(compared('le', this, operand('le: other', other)));
  }
  /** `this > other` as a bool tensor, broadcasting. */
  gt(other: Tensor | number): Tensor {
    return tensorOf(comparedBack('lt', this, operand('gt: other', other)));
  }
  /** `this >= other` as a bool tensor, broadcasting. */
  ge(other: Tensor | number): Tensor {
    return tensorOf(comparedBack('le', this, operand('ge: other', other)));
  }
  /** Whether each element is 0, as a bool tensor. */
  logicalNot(): Tensor {
    return tensorOf(compared('eq', this, 0));
  }
  /** Whether both elements of a pair are not 0, as a bool tensor, broadcasting. */
  logicalAnd(other: Tensor): Tensor {
    return tensorOf(logical('and', this, tensorOperand('logicalAnd: other', other)));
  }
  /** Whether an element of a pair is not 0, as a bool tensor, broadcasting. */
  logicalOr(other: Tensor): Tensor {
    return tensorOf(logical('or', this, tensorOperand('logicalOr: other', other)));
  }
  /** Whether each element is NaN, as a bool tensor. */
  isnan(): Tensor {
    return tensorOf(isNaNOf(this));
  }
  /** Whether each element is neither NaN nor infinite, as a bool tensor. */
  isfinite(): Tensor {
    return tensorOf(isFiniteOf(this));
  }
  /** This where `condition`, a bool tensor, is true, else `other`, broadcasting. */
  where(condition: Tensor, other: Tensor | number): Tensor {
    return tensorOf(
      chosen(tensorOperand('where: condition', condition), this, operand('where: other', other)),
    );
  }
  /** This, but `value` (a number or a tensor without dimensions) where `mask`, a bool tensor, is true, broadcasting. */
  maskedFill(mask: Tensor, value: Tensor | number): Tensor {
    return tensorOf(
      filledWhere(this, tensorOperand('maskedFill: mask', mask), operand('maskedFill: value', value)),
    );
  }

  // Reductions -------------------------------------------------------------------------------------------

  // `dim` is one dimension, an array of them or, if there is none, all. A reduced dimension disappears, or stays with
  // size 1 if `keepdim`. float32 is reduced natively: the order of a sum depends on nothing but its length.

  /** The sum. In int64 for integers and bool, unless `dtype` says to which the elements are converted first. */
  sum(dim?: Dims, keepdim?: boolean, options?: DTypeOptions): Tensor {
    return tensorOf(sumAlong(this, dim, keepdim, options));
  }
  /** The mean of floats, or of what is converted to floats of `dtype`; NaN if there are no elements. */
  mean(dim?: Dims, keepdim?: boolean, options?: DTypeOptions): Tensor {
    return tensorOf(meanAlong(this, dim, keepdim, options));
  }
  /** The product, of all elements or along one dimension. In int64 for integers and bool, unless `dtype` is given. */
  prod(dim?: number | null, keepdim?: boolean, options?: DTypeOptions): Tensor {
    return tensorOf(prodAlong(this, dim, keepdim, options));
  }
  /** The largest element, or a NaN. @throws {RangeError} without elements */
  amax(dim?: Dims, keepdim?: boolean): Tensor {
    return tensorOf(extremeAlong('amax', this, dim, keepdim));
  }
  /** The least element, or a NaN. @throws {RangeError} without elements */
  amin(dim?: Dims, keepdim?: boolean): Tensor {
    return tensorOf(extremeAlong('amin', this, dim, keepdim));
  }
  /** The largest of all elements, or a NaN. */
  max(): Tensor;
  /** Along a dimension: the largest elements (the first of equals, or a NaN), and where they are. */
  max(dim: number, keepdim?: boolean): ValuesAndIndices;
  max(dim?: number | null, keepdim?: boolean): Tensor | ValuesAndIndices {
    return this.extreme('max', dim, keepdim);
  }
  /** The least of all elements, or a NaN. */
  min(): Tensor;
  /** Along a dimension: the least elements (the first of equals, or a NaN), and where they are. */
  min(dim: number, keepdim?: boolean): ValuesAndIndices;
  min(dim?: number | null, keepdim?: boolean): Tensor | ValuesAndIndices {
    return this.extreme('min', dim, keepdim);
  }
  /** The index of the largest element, of all or along `dim`, as int64: the first of equals; a NaN is the largest. */
  argmax(dim?: number | null, keepdim?: boolean): Tensor {
    return tensorOf(bestAlong('argmax', this, dim, keepdim).indices);
  }
  /** The index of the least element, of all or along `dim`, as int64: the first of equals; a NaN is the least. */
  argmin(dim?: number | null, keepdim?: boolean): Tensor {
    return tensorOf(bestAlong('argmin', this, dim, keepdim).indices);
  }
  /** The variance of floats: the sum of `(x - mean)^2`, divided by `max(0, n - correction)`, `correction` 1 by default. */
  var(dim?: Dims, options?: DeviationOptions): Tensor {
    return tensorOf(deviationAlong('var', this, dim, options));
  }
  /** The standard deviation of floats: the root of {@link var}. */
  std(dim?: Dims, options?: DeviationOptions): Tensor {
    return tensorOf(deviationAlong('std', this, dim, options));
  }
  /**
   * The vector norm of floats: `(sum of |x|^p)^(1 / p)`; the number of elements that are not 0 for `p` 0, the largest
   * or least `|x|` for an infinite one. Default: 2, which is `'fro'` too.
   */
  norm(p?: number | 'fro', dim?: Dims, keepdim?: boolean, options?: DTypeOptions): Tensor {
    return tensorOf(normAlong(this, p, dim, keepdim, options));
  }
  /** `log(sum of exp(x))`; in float32 for integers. */
  logsumexp(dim: number | readonly number[], keepdim?: boolean): Tensor {
    return tensorOf(logSumExpAlong(this, dim, keepdim));
  }
  /** Whether all elements are true, as all but 0 are: a bool, or a uint8 of uint8. */
  all(dim?: Dims, keepdim?: boolean): Tensor {
    return tensorOf(truthAlong('all', this, dim, keepdim));
  }
  /** Whether any element is true, as all but 0 are: a bool, or a uint8 of uint8. */
  any(dim?: Dims, keepdim?: boolean): Tensor {
    return tensorOf(truthAlong('any', this, dim, keepdim));
  }
  /** Each element's sum with those before it along `dim`, accumulated in double; int64 for integers. */
  cumsum(dim: number, options?: DTypeOptions): Tensor {
    return tensorOf(cumsumAlong(this, dim, options));
  }
  /** `exp(x_i) / sum_j exp(x_j)` along `dim`. Where x is -infinity it is 0, but NaN where all of them are. */
  softmax(dim: number, options?: DTypeOptions): Tensor {
    return tensorOf(softmaxAlong('softmax', this, dim, options));
  }
  /** `x_i - log(sum_j exp(x_j))` along `dim`. */
  logSoftmax(dim: number, options?: DTypeOptions): Tensor {
    return tensorOf(softmaxAlong('logSoftmax', this, dim, options));
  }
  /** The `k` largest elements along `dim` (default -1), the largest first, and where they are; NaN is the largest. */
  topk(k: number, dim?: number, options?: TopKOptions): ValuesAndIndices {
    return bothOf(topK(this, k, dim, options));
  }
  /** The elements along `dim` (default -1) in order, and where they were. NaN is the largest; equals keep their order. */
  sort(dim?: number, options?: SortOptions): ValuesAndIndices {
    return bothOf(sorted('sort', this, dim, options));
  }
  /** The indices of {@link sort}. */
  argsort(dim?: number, options?: SortOptions): Tensor {
    return tensorOf(sorted('argsort', this, dim, options).indices);
  }

  // Matrices ---------------------------------------------------------------------------------------------

  /**
   * The matrix product, as PyTorch's: `(n) (n)` gives `()`, `(n, k) (k)` gives `(n)`, `(k) (k, m)` gives `(m)` and
   * `(*, n, k) (*, k, m)` gives `(*, n, m)`, where the dimensions before the last two broadcast. Each float32 element
   * is summed in float32, one fused multiply-add a term. Integers wrap around.
   *
   * @throws {TypeError} when the dtypes differ, or are half or bool @throws {RangeError} when the shapes do not fit
   */
  matmul(other: Tensor): Tensor {
    checkTensor('other', other);
    return tensorOf(matrixProduct(this, other));
  }
  /** {@link matmul} of two matrices: `(n, k) (k, m)` gives `(n, m)`. */
  mm(mat2: Tensor): Tensor {
    checkTensor('mat2', mat2);
    return tensorOf(plainProduct(this, mat2));
  }
  /** {@link matmul} of two batches of matrices: `(b, n, k) (b, k, m)` gives `(b, n, m)`. */
  bmm(mat2: Tensor): Tensor {
    checkTensor('mat2', mat2);
    return tensorOf(batchProduct(this, mat2));
  }
  /** {@link matmul} of a matrix and a vector: `(n, k) (k)` gives `(n)`. */
  mv(vec: Tensor): Tensor {
    checkTensor('vec', vec);
    return tensorOf(vectorProduct(this, vec));
  }
  /** {@link matmul} of two vectors: `(n) (n)` gives `()`. */
  dot(other: Tensor): Tensor {
    checkTensor('other', other);
    return tensorOf(dotProduct(this, other));
  }

  // Shapes -----------------------------------------------------------------------------------------------

  /** Another shape over the same memory; one size may be -1. */
  reshape(...shape: readonly number[] | [readonly number[]]): Tensor {
    const wanted = completed(sizes('reshape', shape), this.numel);
    return this.like(this.checked(), wanted);
  }
  /** The same as {@link reshape}. */
  view(...shape: readonly number[] | [readonly number[]]): Tensor {
    return this.reshape(...shape);
  }
  /** The dimensions from `startDim` (default 0) to `endDim` (default the last) as one, over the same memory. */
  flatten(startDim?: number, endDim?: number): Tensor {
    return this.reshape(flattened(this.shape, startDim, endDim));
  }
  /** One dimension as several, over the same memory; one size may be -1. */
  unflatten(dim: number, sizes: readonly number[]): Tensor {
    const at = this.dimensionFor('unflatten', dim);
    return this.reshape(unflattened(this.shape, at, sizes));
  }
  /** With a new dimension of size 1 before `dim`, over the same memory. */
  unsqueeze(dim: number): Tensor {
    const at = dimension('dim', dim, this.dim() + 1);
    return this.reshape([...this.shape.slice(0, at), 1, ...this.shape.slice(at)]);
  }
  /** Without dimensions of size 1: all of them, or those of `dim` that are. */
  squeeze(dim?: number | readonly number[]): Tensor {
    const only = dim === undefined ? undefined : distinct(listed('dim', [dim]), this.dim());
    return this.reshape(this.shape.filter((n, i) => n !== 1 || (only !== undefined && !only.includes(i))));
  }
  /** A copy with the dimensions in another order: `x.permute(2, 0, 1)` or `x.permute([2, 0, 1])`. */
  permute(...dims: readonly number[] | [readonly number[]]): Tensor {
    const order = checkedOrder(listed('dims', dims), this.dim());
    checkMovable('permute', this);
    return this.moved(permuted(this, order));
  }
  /** A copy with two dimensions exchanged. */
  transpose(dim0: number, dim1: number): Tensor {
    const a = dimension('dim0', dim0, this.dim());
    const b = dimension('dim1', dim1, this.dim());
    if (a === b) return this.clone();
    checkMovable('transpose', this);
    return this.moved(transposed(this, a, b));
  }
  /** The same as {@link transpose}. */
  swapaxes(axis0: number, axis1: number): Tensor {
    return this.transpose(axis0, axis1);
  }
  /** The transpose of a matrix. A copy, of a tensor with fewer dimensions too. */
  t(): Tensor {
    if (this.dim() > 2)
      throw rangeError('ERR_SHAPE', `t() expects a tensor with <= 2 dimensions, but self is ${this.dim()}D`);
    return this.dim() < 2 ? this.clone() : this.transpose(0, 1);
  }
  /** A copy with the dimensions `source` at the places `destination`, the others in their order. */
  movedim(source: number | readonly number[], destination: number | readonly number[]): Tensor {
    return this.permute(
      dimensionsMoved(this.dim(), listed('source', [source]), listed('destination', [destination])),
    );
  }
  /** A copy of one index of a dimension, without that dimension. */
  select(dim: number, index: number): Tensor {
    const at = this.dimensionFor('select', dim);
    const start = indexAlong('select', index, this.shape, at);
    checkMovable('select', this);
    return this.like(part(this, at, start, 1).data, without(this.shape, at));
  }
  /** A copy of every `step`-th (default 1) index from `start` (default 0) up to and without `end` (default all). */
  slice(dim: number, start?: number, end?: number, step?: number): Tensor {
    checkMovable('slice', this);
    return this.moved(sliced(this, this.dimensionFor('slice', dim), start, end, step));
  }
  /** A copy of `length` indices of a dimension from `start` on, which may count from the end. */
  narrow(dim: number, start: number, length: number): Tensor {
    checkMovable('narrow', this);
    return this.moved(narrowed(this, this.dimensionFor('narrow', dim), start, length));
  }
  /** Copies of parts of dimension `dim` (default 0): of one size but the last, or of the listed sizes. */
  split(splitSize: number | readonly number[], dim?: number): Tensor[] {
    const at = this.dimensionFor('split', dim === undefined ? 0 : dim);
    checkMovable('split', this);
    return parts(this, at, partSizes(this.shape[at]!, splitSize, at)).map((each) => this.moved(each));
  }
  /** Copies of `chunks` parts of dimension `dim` (default 0), all of one size but the last; fewer if it is short. */
  chunk(chunks: number, dim?: number): Tensor[] {
    const at = this.dimensionFor('chunk', dim === undefined ? 0 : dim);
    checkMovable('chunk', this);
    return parts(this, at, chunkSizes(this.shape[at]!, chunks, at)).map((each) => this.moved(each));
  }
  /** Copies of each index of dimension `dim` (default 0), without that dimension. */
  unbind(dim?: number): Tensor[] {
    const at = this.dimensionFor('unbind', dim === undefined ? 0 : dim);
    checkMovable('unbind', this);
    const ones = checkedCount('unbind', this.shape[at]!);
    const shape = without(this.shape, at);
    return parts(this, at, new Array<number>(ones).fill(1)).map(({ data }) => this.like(data, shape));
  }
  /** A copy with dimensions of size 1 repeated, and new ones before them; -1 keeps a size. */
  expand(...sizes: readonly number[] | [readonly number[]]): Tensor {
    checkMovable('expand', this);
    return this.moved(expanded(this, listed('sizes', sizes)));
  }
  /** `expand` to the shape of `other`. */
  expandAs(other: Tensor): Tensor {
    checkTensor('other', other);
    return this.expand(other.shape);
  }
  /** A copy that holds the tensor so many times along each dimension; more of them than it has come first. */
  repeat(...repeats: readonly number[] | [readonly number[]]): Tensor {
    checkMovable('repeat', this);
    return this.moved(repeated(this, listed('repeats', repeats)));
  }
  /** A copy with each index of `dim` so many times in a row; without `dim` each of all elements. */
  repeatInterleave(repeats: number | Tensor, dim?: number): Tensor {
    if (typeof repeats !== 'number') checkTensor('repeats', repeats);
    checkMovable('repeatInterleave', this);
    const whole = dim === undefined ? this.flatten() : this;
    const at = dim === undefined ? 0 : dimension('dim', dim, this.dim());
    return this.moved(interleaved(whole.dim() === 0 ? whole.flatten() : whole, repeats, at));
  }
  /** A copy with the order of some dimensions reversed. */
  flip(...dims: readonly number[] | [readonly number[]]): Tensor {
    checkMovable('flip', this);
    return this.moved(flipped(this, distinct(listed('dims', dims), this.dim())));
  }
  /** A copy whose elements moved by `shifts` along `dims`, from the end to the start; without `dims` as one row. */
  roll(shifts: number | readonly number[], dims?: number | readonly number[]): Tensor {
    checkMovable('roll', this);
    if (dims === undefined) return this.moved(rolledAsRow(this, listed('shifts', [shifts])));
    return this.moved(rolled(this, listed('shifts', [shifts]), listed('dims', [dims])));
  }
  /** The elements on and below the `diagonal`-th (default 0) diagonal of the last two dimensions; 0 above. */
  tril(diagonal?: number): Tensor {
    checkPlain('tril', this);
    return this.moved(triangle('tril', this, diagonal));
  }
  /** The elements on and above the `diagonal`-th (default 0) diagonal of the last two dimensions; 0 below. */
  triu(diagonal?: number): Tensor {
    checkPlain('triu', this);
    return this.moved(triangle('triu', this, diagonal));
  }
  /** A copy of windows of `size` indices of `dim`, `step` apart: a window's elements are the new last dimension. */
  unfold(dim: number, size: number, step: number): Tensor {
    checkMovable('unfold', this);
    return this.moved(windows(this, dimension('dim', dim, this.dim()), size, step));
  }
  /** The elements at the indices (int64 or int32) of `dim` that `index` holds, in its shape. */
  gather(dim: number, index: Tensor): Tensor {
    checkTensor('index', index);
    checkMovable('gather', this);
    return this.moved(gathered(this, dimension('dim', dim, this.dim()), index));
  }
  /** Copies of the indices of `dim` that `index`, one row of int64 or int32, holds. */
  indexSelect(dim: number, index: Tensor): Tensor {
    checkTensor('index', index);
    checkMovable('indexSelect', this);
    return this.moved(indexSelected(this, dimension('dim', dim, this.dim()), index));
  }
  /** As {@link gather}, with the other dimensions broadcast; without `dim` of all elements as one row. */
  takeAlongDim(indices: Tensor, dim?: number): Tensor {
    checkTensor('indices', indices);
    indices.checked('indices');
    checkMovable('takeAlongDim', this);
    if (dim === undefined) return this.moved(gathered(this.flatten(), 0, indices.flatten()));
    return this.moved(takenAlong(this, dimension('dim', dim, this.dim()), indices));
  }

  // Comparison and access --------------------------------------------------------------------------------

  /** Whether the shape and every element are the same (NaN equals nothing). */
  equal(other: Tensor): boolean {
    checkTensor('other', other);
    const a = this.checked();
    const b = other.checked('other');
    return (
      sameShape(this.shape, other.shape) && a.every((value: number | bigint, i: number) => value === b[i])
    );
  }
  /** Whether `|this - other| <= atol + rtol * |other|` everywhere. */
  allclose(other: Tensor, options: { rtol?: number; atol?: number } = {}): boolean {
    checkTensor('other', other);
    checkOptions('allclose', options, ['rtol', 'atol']);
    const { rtol = 1e-5, atol = 1e-8 } = options;
    checkNumber('rtol', rtol);
    checkNumber('atol', atol);
    const a = numbersOf(this);
    const b = numbersOf(other, 'other');
    return (
      sameShape(this.shape, other.shape) &&
      a.every((x: number, i: number) => x === b[i] || Math.abs(x - b[i]!) <= atol + rtol * Math.abs(b[i]!))
    );
  }
  /** The only element, as a number. */
  item(): number {
    if (this.numel !== 1) {
      throw rangeError('ERR_SHAPE', `a Tensor with ${this.numel} elements cannot be converted to Scalar`);
    }
    return numbersOf(this)[0]!;
  }
  /** Nested arrays of numbers (a number for a scalar). */
  toArray(): NestedArray {
    return nested(numbersOf(this), this.shape);
  }
  /** A copy with memory of its own. */
  clone(): Tensor {
    const data = this.checked().slice();
    const { quantization: own } = this;
    const copied = own && { ...own, scales: own.scales.slice(), zeroPoints: own.zeroPoints.slice() };
    return new Tensor(data, this.shape, { dtype: this.dtype, ...copied });
  }
  /** Copies another tensor's values into this one. The shapes must be the same; half types are widened. */
  copy_(other: Tensor): this {
    checkTensor('other', other);
    if (!sameShape(this.shape, other.shape)) {
      throw rangeError(
        'ERR_SHAPE',
        `copy_ of shape ${formatShape(other.shape)} into ${formatShape(this.shape)}`,
      );
    }
    const source = other.dtype === this.dtype ? other.checked('other') : converted(other, this.dtype);
    writable(this).set(source as never);
    this.version++;
    return this;
  }
  /** Writes one value everywhere; integers take it without its fraction. @throws {RangeError} when it does not fit */
  fill_(value: number): this {
    checkNumber('value', value);
    checkPlain('fill_', this);
    fill(writable(this), value, this.dtype);
    this.version++;
    return this;
  }
  /** Writes 0 everywhere. */
  zero_(): this {
    return this.fill_(0);
  }
  /** The values in another dtype; the same tensor if it has it already. */
  to(dtype: DType): Tensor {
    if (dtype === this.dtype) return this;
    return new Tensor(converted(this, dtype), this.shape, { dtype });
  }
  /** The values in float32: `to(float32)`. */
  float(): Tensor {
    return this.to(float32);
  }
  /** A quantized tensor's integers. Those of quint4x2 have a byte each (in PyTorch they stay packed). */
  intRepr(): Tensor {
    this.quantized();
    return new Tensor(this.integers().slice(), this.shape);
  }
  /** A quantized tensor's reals: `scale * (q - zero_point)`, float32. */
  dequantize(): Tensor {
    const quantization = this.quantized();
    return new Tensor(dequantized(this.integers(), this.shape, quantization), this.shape);
  }
  /** The elements (unless there are very many), the shape and the dtype. */
  toString(): string {
    const elements = isPrintable(this.shape) ? JSON.stringify(this.toArray()) : '[…]';
    return `tensor(${elements}, shape=${formatShape(this.shape)}, dtype=${this.dtype})`;
  }

  /** The data, after a check that it was not detached (a transferred buffer has no elements left). */
  checked(name = 'the tensor'): TensorData {
    const expected = this.dtype === quint4x2 ? Math.ceil(this.numel / 2) : this.numel;
    const length = trueLength(this.data);
    if (length !== expected) throw this.isMeta ? notLoaded(name) : lostData(name, length, expected);
    if (this.quantization !== undefined) this.checkScales(name, this.quantization);
    return length > 0 && this.data.length === length ? this.data : plainView(this.data);
  }
  private checkScales(name: string, { qscheme, scales, zeroPoints, axis }: Quantization): void {
    const count = qscheme === 'per_tensor_affine' ? 1 : this.shape[axis]!;
    if (scales.length !== count) throw lostData(`${name}'s scales`, scales.length, count);
    if (zeroPoints.length !== count) throw lostData(`${name}'s zeroPoints`, zeroPoints.length, count);
  }

  private quantized(): Quantization {
    if (this.quantization === undefined)
      throw typeError('ERR_DTYPE', `expected a quantized tensor, got ${this.dtype}`);
    return this.quantization;
  }
  /** A quantized tensor's data, one integer an element. */
  private integers(): TensorData {
    return unpacked(this.checked(), this.dtype, this.numel);
  }
  /** A dimension of a tensor that must have one. */
  private dimensionFor(name: string, dim: number): number {
    if (this.dim() === 0) throw rangeError('ERR_SHAPE', `${name}() cannot be applied to a 0-dim tensor.`);
    return dimension('dim', dim, this.dim());
  }
  private like(data: TensorData, shape: readonly number[]): Tensor {
    if (this.dtype === float32 && shape.length <= maxRank) return new Tensor(data, shape, unchecked);
    return new Tensor(data, shape, { dtype: this.dtype, ...this.quantization });
  }
  /** Some of this tensor's elements in another order. */
  private moved({ data, shape }: Result): Tensor {
    return this.like(data, [...shape]);
  }
  private sumWith(name: 'add' | 'sub', other: Tensor | number, options?: { alpha?: number }): Tensor {
    const by = operand(`${name}: other`, other);
    if (options === undefined) return tensorOf(combined(name, this, by));
    checkOptions(name, options, ['alpha']);
    const { alpha = 1 } = options;
    checkNumber('alpha', alpha);
    return tensorOf(alpha === 1 ? combined(name, this, by) : scaledSum(name, this, by, alpha));
  }
  private extreme(
    name: 'max' | 'min',
    dim: number | null | undefined,
    keepdim: boolean | undefined,
  ): Tensor | ValuesAndIndices {
    if (isTensor(dim)) {
      const sentence = `${name}(): of two tensors ${name}imum() gives the ${name}imum, got a Tensor for dim`;
      throw typeError('ERR_INVALID_ARG_TYPE', sentence);
    }
    if (dim !== undefined && dim !== null) return bothOf(bestAlong(name, this, dim, keepdim));
    return tensorOf(extremeAlong(name, this, dim, keepdim));
  }
}

/** An operand: a Tensor or a number. The name is that of the method and its parameter. */
export function operand(name: string, value: Tensor | number): Tensor | number {
  if (typeof value === 'number') return value;
  if (isTensor(value)) {
    value.checked(name);
    return value;
  }
  throw typeError('ERR_INVALID_ARG_TYPE', `${name} should be a Tensor or a number, got ${describe(value)}`);
}

/** An operand that must be a Tensor. */
export function tensorOperand(name: string, value: Tensor): Tensor {
  checkTensor(name, value);
  value.checked(name);
  return value;
}

/** A layer's own result: a float32 Tensor that also keeps `shape`, not a copy, and checks nothing, to save time. */
export function resultTensor(data: Float32Array, shape: readonly number[]): Tensor {
  return new Tensor(data, shape, unchecked);
}

/** The data of a tensor all of whose elements are written next. One on meta gets memory. */
export function writable(tensor: Tensor): TensorData {
  if (tensor.isMeta) setData(tensor, emptyArray(tensor.dtype, tensor.numel));
  return tensor.checked();
}

/** Tensors whose memory is also that of another, which is not written when they get other numbers. */
const adopted = new WeakSet<Tensor>();

/** Makes the memory of `other` that of `tensor`; a conversion of it if it has another dtype. */
export function adopt(tensor: Tensor, other: Tensor): void {
  setData(tensor, other.dtype === tensor.dtype ? other.checked('other') : converted(other, tensor.dtype));
  adopted.add(tensor);
  tensor.version++;
}

/** Whether a tensor's memory is not its own to write: it has none, or also that of another tensor. */
export function isAdopted(tensor: Tensor): boolean {
  return tensor.isMeta || adopted.has(tensor);
}

function setData(tensor: Tensor, data: TensorData): void {
  (tensor as { data: TensorData }).data = data;
}

/** The methods that this library calls on tensors that it is given. */
const methods = [
  ...([
    'add',
    'checked',
    'clone',
    'copy_',
    'dequantize',
    'dim',
    'div',
    'expand',
    'fill_',
    'flatten',
  ] as const),
  ...(['logSoftmax', 'matmul', 'mean', 'mul', 'norm', 'repeatInterleave', 'reshape', 'select'] as const),
  ...(['size', 'slice', 'softmax', 'to', 'toArray', 'transpose', 'unflatten', 'unsqueeze'] as const),
];

/** Whether a value is a Tensor, of this copy of the package or another. */
export function isTensor(value: unknown): value is Tensor {
  try {
    // A bare object of this class has no shape. The rest is in a function of its own, so that V8 inlines this one.
    return value instanceof Tensor ? value.shape !== undefined : isLikeTensor(value);
  } catch {
    return false; // a getter that throws, or a revoked Proxy
  }
}

function isLikeTensor(value: unknown): boolean {
  const t = value as Partial<Tensor> | null | undefined;
  return (
    typeof t === 'object' &&
    t !== null &&
    ArrayBuffer.isView(t.data) &&
    Array.isArray(t.shape) &&
    isDType(t.dtype) &&
    typeof t.numel === 'number' &&
    methods.every((name) => typeof t[name] === 'function')
  );
}

/** A Tensor, of the given dtype if there is one. */
export function checkTensor(name: string, value: unknown, dtype?: DType): asserts value is Tensor {
  if (isTensor(value) && (dtype === undefined || value.dtype === dtype)) return;
  const expected = dtype === undefined ? 'a Tensor' : `a ${dtype} Tensor`;
  throw isTensor(value)
    ? typeError('ERR_DTYPE', `${name} should be ${expected}, got ${value.dtype}`)
    : typeError('ERR_INVALID_ARG_TYPE', `${name} should be ${expected}, got ${describe(value)}`);
}

/** A Tensor of what an operation gives, with a shape of its own. */
export function tensorOf({ data, shape, dtype }: Result): Tensor {
  if (dtype === float32) return resultTensor(data as Float32Array, [...shape]);
  return new Tensor(data, shape, { dtype });
}

function bothOf({ values, indices }: Chosen): ValuesAndIndices {
  return { values: tensorOf(values), indices: tensorOf(indices) };
}
