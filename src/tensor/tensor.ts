/* eslint max-lines: ['error', 800] -- A class is one file. Each method that computes is one call of a function beside. */
import {
  checkBoolean,
  checkNumber,
  checkOneOf,
  checkOptions,
  describe,
  rangeError,
  typeError,
} from '../errors.js';
import {
  emptyArray,
  float32,
  int64,
  isDType,
  isFloat,
  plainView,
  quint4x2,
  trueLength,
  type DType,
  type TensorData,
} from './dtype.js';
import {
  checkFloat,
  checkMovable,
  checkPlain,
  converted,
  fill,
  lostData,
  numbersOf,
  refuseDimension,
  write,
  type Numbers,
} from './elements.js';
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
import { checkedOptions, unchecked, type TensorOptions } from './options.js';
import { dequantized, unpacked, type QScheme, type Quantization } from './quantization.js';
import { isPrintable, nested, sliced, transposed, type NestedArray } from './rearrange.js';
import { argmaxAlong, extremeOf, normalizeAlong, sumOf, type Normalization } from './reduce.js';
import type { Result } from './result.js';
import {
  completed,
  dimension,
  formatShape,
  indexAlong,
  numelOf,
  resized,
  sameShape,
  sizes,
  splitAt,
  without,
} from './shape.js';

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
    return made(mapped('abs', this));
  }
  /** `-this`. */
  neg(): Tensor {
    return made(mapped('neg', this));
  }
  /** `this * this`. */
  square(): Tensor {
    return made(mapped('square', this));
  }
  /** The largest integer that is not above each element. */
  floor(): Tensor {
    return made(mapped('floor', this));
  }
  /** The smallest integer that is not below each element. */
  ceil(): Tensor {
    return made(mapped('ceil', this));
  }
  /** The nearest integer, of two the even one. */
  round(): Tensor {
    return made(mapped('round', this));
  }
  /** Each element without its fraction. */
  trunc(): Tensor {
    return made(mapped('trunc', this));
  }
  /** -1, 0 or 1, as each element is negative, zero (or NaN) or positive. */
  sign(): Tensor {
    return made(mapped('sign', this));
  }
  /** The larger of each element and 0; a NaN stays NaN. */
  relu(): Tensor {
    return made(mapped('relu', this));
  }
  /** The square root; here and in the functions below integers become float32. */
  sqrt(): Tensor {
    return made(mappedReal('sqrt', this));
  }
  /** `1 / sqrt(this)`. */
  rsqrt(): Tensor {
    return made(mappedReal('rsqrt', this));
  }
  /** `1 / this`. */
  reciprocal(): Tensor {
    return made(mappedReal('reciprocal', this));
  }
  /** `e^this`, in float32 within 2 ulp. */
  exp(): Tensor {
    return made(mappedReal('exp', this));
  }
  /** The natural logarithm, in float32 within 1 ulp. */
  log(): Tensor {
    return made(mappedReal('log', this));
  }
  /** `2 / sqrt(pi) * integral of exp(-t^2) from 0 to this`, in float32 within 2.5 ulp. */
  erf(): Tensor {
    return made(mappedReal('erf', this));
  }
  /** `1 / (1 + exp(-this))`, in float32 within 3.5 ulp, or 6 ulp below -20. */
  sigmoid(): Tensor {
    return made(mappedReal('sigmoid', this));
  }
  /** The hyperbolic tangent, in float32 within 3.5 ulp. */
  tanh(): Tensor {
    return made(mappedReal('tanh', this));
  }
  /** `this^exponent`, broadcasting. */
  pow(exponent: Tensor | number): Tensor {
    return made(power(this, operand('pow: exponent', exponent)));
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
    return made(clamped(this, least, most));
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
    return made(combined('mul', this, operand('mul: other', other)));
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
    if (mode === null) return made(combined('div', this, by));
    checkOneOf('roundingMode', mode, ['trunc', 'floor']);
    return made(roundedQuotient(this, by, mode));
  }
  /** `this - floor(this / other) * other`, broadcasting: with the sign of `other`. */
  remainder(other: Tensor | number): Tensor {
    return made(remainderOf(this, operand('remainder: other', other)));
  }
  /** The smaller of each pair of elements, broadcasting; NaN where one is. */
  minimum(other: Tensor): Tensor {
    return made(combined('minimum', this, tensorOperand('minimum: other', other)));
  }
  /** The larger of each pair of elements, broadcasting; NaN where one is. */
  maximum(other: Tensor): Tensor {
    return made(combined('maximum', this, tensorOperand('maximum: other', other)));
  }
  /** `this == other` as a bool tensor, broadcasting. */
  eq(other: Tensor | number): Tensor {
    return made(compared('eq', this, operand('eq: other', other)));
  }
  /** `this != other` as a bool tensor, broadcasting. */
  ne(other: Tensor | number): Tensor {
    return made(compared('ne', this, operand('ne: other', other)));
  }
  /** `this < other` as a bool tensor, broadcasting. */
  lt(other: Tensor | number): Tensor {
    return made(compared('lt', this, operand('lt: other', other)));
  }
  /** `this <= other` as a bool tensor, broadcasting. */
  le(other: Tensor | number): Tensor {
    return made(compared('le', this, operand('le: other', other)));
  }
  /** `this > other` as a bool tensor, broadcasting. */
  gt(other: Tensor | number): Tensor {
    return made(comparedBack('lt', this, operand('gt: other', other)));
  }
  /** `this >= other` as a bool tensor, broadcasting. */
  ge(other: Tensor | number): Tensor {
    return made(comparedBack('le', this, operand('ge: other', other)));
  }
  /** Whether each element is 0, as a bool tensor. */
  logicalNot(): Tensor {
    return made(compared('eq', this, 0));
  }
  /** Whether both elements of a pair are not 0, as a bool tensor, broadcasting. */
  logicalAnd(other: Tensor): Tensor {
    return made(logical('and', this, tensorOperand('logicalAnd: other', other)));
  }
  /** Whether an element of a pair is not 0, as a bool tensor, broadcasting. */
  logicalOr(other: Tensor): Tensor {
    return made(logical('or', this, tensorOperand('logicalOr: other', other)));
  }
  /** Whether each element is NaN, as a bool tensor. */
  isnan(): Tensor {
    return made(isNaNOf(this));
  }
  /** Whether each element is neither NaN nor infinite, as a bool tensor. */
  isfinite(): Tensor {
    return made(isFiniteOf(this));
  }
  /** This where `condition`, a bool tensor, is true, else `other`, broadcasting. */
  where(condition: Tensor, other: Tensor | number): Tensor {
    return made(chosen(tensorOperand('where: condition', condition), this, operand('where: other', other)));
  }
  /** This, but `value` (a number or a tensor without dimensions) where `mask`, a bool tensor, is true, broadcasting. */
  maskedFill(mask: Tensor, value: Tensor | number): Tensor {
    return made(
      filledWhere(this, tensorOperand('maskedFill: mask', mask), operand('maskedFill: value', value)),
    );
  }

  // Reductions -------------------------------------------------------------------------------------------

  /** The sum of all elements, accumulated in double; int64 for integers. */
  sum(dim?: undefined): Tensor {
    refuseDimension('sum', dim);
    const sum = sumOf(this.plainNumbers('sum'));
    return scalar(sum, isFloat(this.dtype) ? this.dtype : int64);
  }
  /** The mean of all elements, accumulated in double; NaN if there are none. */
  mean(dim?: undefined): Tensor {
    refuseDimension('mean', dim);
    if (!isFloat(this.dtype)) {
      throw typeError(
        'ERR_DTYPE',
        `mean(): could not infer output dtype. Input dtype must be a floating point dtype, got ${this.dtype}`,
      );
    }
    const values = numbersOf(this);
    return scalar(sumOf(values) / values.length, this.dtype);
  }
  /** The least of all elements. */
  min(dim?: undefined): Tensor {
    refuseDimension('min', dim);
    return this.extreme('min', (a, b) => a < b);
  }
  /** The largest of all elements. */
  max(dim?: undefined): Tensor {
    refuseDimension('max', dim);
    return this.extreme('max', (a, b) => a > b);
  }
  /** The index of the largest element, of all or along `dim`, as int64: the first of equals; a NaN is the largest. */
  argmax(dim?: number, keepdim = false): Tensor {
    checkBoolean('keepdim', keepdim);
    const shape = dim === undefined ? [this.numel] : this.shape;
    const at = dimension('dim', dim ?? 0, shape.length);
    const out = argmaxAlong(numbersOf(this), splitAt(shape, at));
    if (dim === undefined) return new Tensor(out, keepdim ? this.shape.map(() => 1) : []);
    return new Tensor(out, keepdim ? resized(shape, at, 1) : without(shape, at));
  }
  /** `exp(x_i) / sum_j exp(x_j)` along `dim`. */
  softmax(dim: number): Tensor {
    return this.normalized('softmax', dim, (max, sum) => (x) => Math.exp(x - max) / sum);
  }
  /** `x_i - log(sum_j exp(x_j))` along `dim`. */
  logSoftmax(dim: number): Tensor {
    return this.normalized('logSoftmax', dim, (max, sum) => {
      const logSum = Math.log(sum);
      return (x) => x - max - logSum;
    });
  }

  // Shapes -----------------------------------------------------------------------------------------------

  /** Another shape over the same memory; one size may be -1. */
  reshape(...shape: readonly number[] | [readonly number[]]): Tensor {
    const wanted = completed(sizes(shape), this.numel);
    return this.like(this.checked(), wanted);
  }
  /** The same as {@link reshape}. */
  view(...shape: readonly number[] | [readonly number[]]): Tensor {
    return this.reshape(...shape);
  }
  /** One dimension, over the same memory. */
  flatten(): Tensor {
    return this.reshape([this.numel]);
  }
  /** With a new dimension of size 1 before `dim`, over the same memory. */
  unsqueeze(dim: number): Tensor {
    const at = dimension('dim', dim, this.dim() + 1);
    return this.reshape([...this.shape.slice(0, at), 1, ...this.shape.slice(at)]);
  }
  /** Without dimensions of size 1, or without `dim` if its size is 1. */
  squeeze(dim?: number): Tensor {
    const only = dim === undefined ? undefined : dimension('dim', dim, this.dim());
    return this.reshape(this.shape.filter((n, i) => n !== 1 || (only !== undefined && i !== only)));
  }
  /** A copy with two dimensions exchanged. */
  transpose(dim0: number, dim1: number): Tensor {
    const a = dimension('dim0', dim0, this.dim());
    const b = dimension('dim1', dim1, this.dim());
    if (a === b) return this.clone();
    checkMovable('transpose', this);
    return this.moved(transposed(this, Math.min(a, b), Math.max(a, b)));
  }
  /** The transpose of a matrix. */
  t(): Tensor {
    if (this.dim() !== 2)
      throw rangeError('ERR_SHAPE', `t() expects a tensor with 2 dimensions, but self is ${this.dim()}D`);
    return this.transpose(0, 1);
  }
  /** A copy of one index of a dimension, without that dimension. */
  select(dim: number, index: number): Tensor {
    const at = this.dimensionFor('select', dim);
    const start = indexAlong('select', index, this.shape, at);
    return this.slice(at, start, start + 1).reshape(without(this.shape, at));
  }
  /** A copy of the indices `start` (default 0) up to and without `end` (default all) of a dimension. */
  slice(dim: number, start = 0, end?: number): Tensor {
    checkMovable('slice', this);
    return this.moved(sliced(this, this.dimensionFor('slice', dim), start, end));
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
    this.checked().set(source as never);
    this.version++;
    return this;
  }
  /** Writes one value everywhere; integers take it without its fraction. @throws {RangeError} when it does not fit */
  fill_(value: number): this {
    checkNumber('value', value);
    checkPlain('fill_', this);
    fill(this.checked(), value, this.dtype);
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
    if (length !== expected) throw lostData(name, length, expected);
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
    return new Tensor(data, shape, { dtype: this.dtype, ...this.quantization });
  }
  /** Some of this tensor's elements in another order. */
  private moved({ data, shape }: Result): Tensor {
    return this.like(data, shape);
  }
  /** The elements as numbers. Throws unless numbers can be written in this dtype. */
  private plainNumbers(name: string): Numbers {
    checkPlain(name, this);
    return numbersOf(this);
  }
  private sumWith(name: 'add' | 'sub', other: Tensor | number, options?: { alpha?: number }): Tensor {
    const by = operand(`${name}: other`, other);
    if (options === undefined) return made(combined(name, this, by));
    checkOptions(name, options, ['alpha']);
    const { alpha = 1 } = options;
    checkNumber('alpha', alpha);
    return made(alpha === 1 ? combined(name, this, by) : scaledSum(name, this, by, alpha));
  }
  private extreme(name: string, better: (a: number, b: number) => boolean): Tensor {
    return scalar(extremeOf(name, this.plainNumbers(name), better), this.dtype);
  }
  private normalized(name: string, dim: number, f: Normalization): Tensor {
    checkFloat(name, this);
    const split = splitAt(this.shape, dimension('dim', dim, this.dim()));
    const values = this.checked() as Float32Array | Float64Array;
    const out = emptyArray(this.dtype, values.length) as Float32Array | Float64Array;
    normalizeAlong(values, split, f, out);
    return new Tensor(out, this.shape, { dtype: this.dtype });
  }
}

/** A new tensor of what an operation gives. */
export function made({ data, shape, dtype }: Result): Tensor {
  return dtype === float32 ? new Tensor(data, shape, unchecked) : new Tensor(data, shape, { dtype });
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

/** The methods that this library calls on tensors that it is given. */
const methods = [
  ...(['checked', 'clone', 'dequantize', 'dim', 'fill_', 'logSoftmax', 'mul', 'reshape'] as const),
  ...(['select', 'size', 'slice', 'softmax', 'to', 'toArray', 'transpose'] as const),
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

function scalar(value: number, dtype: DType): Tensor {
  const out = emptyArray(dtype, 1);
  write(out, 0, value);
  return new Tensor(out, [], { dtype });
}
