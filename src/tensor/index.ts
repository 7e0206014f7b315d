import { describe } from '../errors.js';

export const float32 = 'float32';
export const float64 = 'float64';
export const float16 = 'float16';
export const bfloat16 = 'bfloat16';
export const int8 = 'int8';
export const uint8 = 'uint8';
export const int16 = 'int16';
export const int32 = 'int32';
export const int64 = 'int64';
export const bool = 'bool';
export const qint8 = 'qint8';
export const quint8 = 'quint8';
export const quint4x2 = 'quint4x2';

export type TensorData =
  | Float32Array
  | Float64Array
  | Int8Array
  | Uint8Array
  | Int16Array
  | Uint16Array
  | Int32Array
  | BigInt64Array;

/** The array a dtype's elements live in. float16 and bfloat16 are raw bits; quint4x2 has two values a byte. */
const arrayOf = {
  float32: Float32Array,
  float64: Float64Array,
  float16: Uint16Array,
  bfloat16: Uint16Array,
  int8: Int8Array,
  uint8: Uint8Array,
  int16: Int16Array,
  int32: Int32Array,
  int64: BigInt64Array,
  bool: Uint8Array,
  qint8: Int8Array,
  quint8: Uint8Array,
  quint4x2: Uint8Array,
} as const;

export type DType = keyof typeof arrayOf;

/** The dtype an array has when none is named. */
const dtypeOf: Record<string, DType | undefined> = {
  Float32Array: float32,
  Float64Array: float64,
  Int8Array: int8,
  Uint8Array: uint8,
  Int16Array: int16,
  Int32Array: int32,
  BigInt64Array: int64,
};

const qschemes = ['per_tensor_affine', 'per_channel_affine', 'per_channel_affine_float_qparams'] as const;
export type QScheme = (typeof qschemes)[number];

/** How a quantized tensor's integers stand for reals: `real = scales[i] * (q - zeroPoints[i])`. */
export interface Quantization {
  readonly qscheme: QScheme;
  /** One for the tensor, or one for each index of `axis`. */
  readonly scales: Float64Array;
  /** Whole numbers; of `per_channel_affine_float_qparams` (embedding tables) any, in a Float32Array. */
  readonly zeroPoints: Int32Array | Float32Array;
  /** The dimension the scales belong to; 0 per tensor. */
  readonly axis: number;
}

export interface TensorOptions extends Partial<Quantization> {
  /** Default: the array's own type. Quantized dtypes need `qscheme`, `scales`, `zeroPoints`, and per channel `axis`. */
  dtype?: DType;
}

export type NestedArray = number | bigint | boolean | readonly NestedArray[];

/** Options of a float32 tensor that checks and copies nothing. */
export const unchecked: TensorOptions = {};

interface KnownTensor {
  readonly shape: readonly number[];
  readonly dtype: DType;
  readonly quantization: Quantization | undefined;
}

/**
 * A dense row-major array with a shape. `reshape` and `view` share memory; every other operation returns
 * new data. float32 operations round each result to float32 as PyTorch does.
 */
export class Tensor {
  readonly data: TensorData;
  readonly shape: readonly number[];
  readonly dtype: DType;
  readonly quantization: Quantization | undefined;
  /** Counts the library's own writes into `data`; modules repack their weights when it changes. */
  version = 0;

  /**
   * @param data - kept, not copied
   * @param shape - non-negative integers whose product is the number of elements
   * @throws {TypeError} when `data` is no typed array, or not the one `dtype` needs
   * @throws {RangeError} when `shape` and the number of elements differ
   */
  constructor(data: TensorData, shape: readonly number[], options?: TensorOptions) {
    this.data = data;
    if (options === unchecked) {
      this.shape = shape;
      this.dtype = float32;
      this.quantization = undefined;
    } else {
      // The checks stand apart: a constructor that is small enough to be inlined saves 15 ns.
      const known = checkTensor(data, shape, options);
      this.shape = known.shape;
      this.dtype = known.dtype;
      this.quantization = known.quantization;
    }
  }

  get qscheme(): QScheme | undefined {
    return this.quantization?.qscheme;
  }
  get scales(): Float64Array | undefined {
    return this.quantization?.scales;
  }
  get zeroPoints(): Int32Array | Float32Array | undefined {
    return this.quantization?.zeroPoints;
  }
  get axis(): number | undefined {
    return this.quantization?.axis;
  }

  /** The number of elements. */
  get numel(): number {
    return numelOf(this.shape);
  }

  dim(): number {
    return this.shape.length;
  }

  size(): readonly number[];
  size(dim: number): number;
  size(dim?: number): number | readonly number[] {
    return dim === undefined ? this.shape : this.shape[dimension(dim, this.dim())]!;
  }

  // Elementwise ------------------------------------------------------------------------------------------

  abs(): Tensor {
    return this.map((x) => Math.abs(x));
  }
  neg(): Tensor {
    return this.map((x) => -x);
  }
  /** `this + other`, broadcasting; `other` may be a number. */
  add(other: Tensor | number): Tensor {
    return this.combine(other, 'add', (a, b) => a + b);
  }
  sub(other: Tensor | number): Tensor {
    return this.combine(other, 'sub', (a, b) => a - b);
  }
  mul(other: Tensor | number): Tensor {
    return this.combine(other, 'mul', (a, b) => a * b);
  }
  div(other: Tensor | number): Tensor {
    if (!isFloat(this.dtype))
      throw new TypeError(`div should be called on a floating tensor, got ${this.dtype}`);
    return this.combine(other, 'div', (a, b) => a / b);
  }
  /** Elementwise equality as a bool tensor, broadcasting. */
  eq(other: Tensor | number): Tensor {
    return this.combine(other, 'eq', (a, b) => (a === b ? 1 : 0), bool);
  }

  // Reductions -------------------------------------------------------------------------------------------

  /** The sum of all elements, accumulated in double; int64 for integers. */
  sum(): Tensor {
    const values = this.numbers();
    let sum = 0;
    for (let i = 0; i < values.length; i++) sum += values[i]!;
    return isFloat(this.dtype) ? scalar(sum, this.dtype) : scalar(sum, int64);
  }
  /** The mean of all elements, accumulated in double; NaN of none. */
  mean(): Tensor {
    if (!isFloat(this.dtype)) {
      throw new TypeError(
        `mean(): could not infer output dtype. Input dtype must be a floating point dtype, got ${this.dtype}`,
      );
    }
    const values = this.numbers();
    let sum = 0;
    for (let i = 0; i < values.length; i++) sum += values[i]!;
    return scalar(sum / values.length, this.dtype);
  }
  min(): Tensor {
    return this.extreme('min', (a, b) => a < b);
  }
  max(): Tensor {
    return this.extreme('max', (a, b) => a > b);
  }
  /** The index of the largest element, the first of equals (a NaN is largest): of all, or along `dim`. int64. */
  argmax(dim?: number, keepdim = false): Tensor {
    const flat = dim === undefined;
    const source = flat ? this.reshape([this.numel]) : this;
    const { outer, length, inner, rank } = source.along(flat ? 0 : dim);
    if (length === 0) throw new RangeError('argmax(): Expected reduction dim to have non-zero size');
    const values = this.numbers();
    const out = new BigInt64Array(outer * inner);
    for (let o = 0; o < outer; o++) {
      for (let i = 0; i < inner; i++) {
        let best = 0;
        let bestValue = values[o * length * inner + i]!;
        for (let k = 1; k < length && bestValue === bestValue; k++) {
          const value = values[(o * length + k) * inner + i]!;
          if (value > bestValue || value !== value) {
            best = k;
            bestValue = value;
          }
        }
        out[o * inner + i] = BigInt(best);
      }
    }
    if (flat) return new Tensor(out, keepdim ? this.shape.map(() => 1) : []);
    const shape = keepdim
      ? source.shape.map((n, i) => (i === rank ? 1 : n))
      : source.shape.filter((_, i) => i !== rank);
    return new Tensor(out, shape);
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
    const wanted = sizes(shape);
    const unknown = wanted.indexOf(-1);
    if (unknown >= 0) {
      const rest = numelOf(wanted.filter((_, i) => i !== unknown));
      if (rest === 0 || this.numel % rest !== 0) {
        throw new RangeError(`shape '[${wanted.join(', ')}]' is invalid for input of size ${this.numel}`);
      }
      wanted[unknown] = this.numel / rest;
    }
    if (numelOf(wanted) !== this.numel) {
      throw new RangeError(`shape '[${wanted.join(', ')}]' is invalid for input of size ${this.numel}`);
    }
    return this.like(this.data, wanted);
  }
  view(...shape: readonly number[] | [readonly number[]]): Tensor {
    return this.reshape(...shape);
  }
  flatten(): Tensor {
    return this.reshape([this.numel]);
  }
  unsqueeze(dim: number): Tensor {
    const at = dimension(dim, this.dim() + 1);
    return this.reshape([...this.shape.slice(0, at), 1, ...this.shape.slice(at)]);
  }
  /** Without dimensions of size 1, or without `dim` if its size is 1. */
  squeeze(dim?: number): Tensor {
    const only = dim === undefined ? undefined : dimension(dim, this.dim());
    return this.reshape(this.shape.filter((n, i) => n !== 1 || (only !== undefined && i !== only)));
  }
  /** A copy with two dimensions exchanged. */
  transpose(dim0: number, dim1: number): Tensor {
    const a = dimension(dim0, this.dim());
    const b = dimension(dim1, this.dim());
    const first = Math.min(a, b);
    const last = Math.max(a, b);
    if (first === last) return this.clone();
    this.checkMovable('transpose');
    const shape = [...this.shape];
    [shape[first], shape[last]] = [shape[last]!, shape[first]!];
    const outer = numelOf(this.shape.slice(0, first));
    const rows = this.shape[first]!;
    const middle = numelOf(this.shape.slice(first + 1, last));
    const columns = this.shape[last]!;
    const inner = numelOf(this.shape.slice(last + 1));
    const data = this.checked();
    const out = emptyArray(this.dtype, data.length);
    let to = 0;
    for (let o = 0; o < outer; o++) {
      for (let c = 0; c < columns; c++) {
        for (let m = 0; m < middle; m++) {
          for (let r = 0; r < rows; r++) {
            const from = (((o * rows + r) * middle + m) * columns + c) * inner;
            for (let i = 0; i < inner; i++) out[to++] = data[from + i]!;
          }
        }
      }
    }
    return this.like(out, shape);
  }
  /** The transpose of a matrix. */
  t(): Tensor {
    if (this.dim() !== 2)
      throw new RangeError(`t() expects a tensor with 2 dimensions, but self is ${this.dim()}D`);
    return this.transpose(0, 1);
  }
  /** A copy of one index of a dimension, which disappears. */
  select(dim: number, index: number): Tensor {
    const at = dimension(dim, this.dim());
    const size = this.shape[at]!;
    if (!Number.isInteger(index) || index < -size || index >= size) {
      throw new RangeError(
        `select(): index ${index} out of range for tensor of size [${this.shape.join(', ')}] at dimension ${at}`,
      );
    }
    const start = index < 0 ? index + size : index;
    return this.slice(at, start, start + 1).reshape(this.shape.filter((_, i) => i !== at));
  }
  /** A copy of the indices `start` (default 0) up to and without `end` (default all) of a dimension. */
  slice(dim: number, start = 0, end?: number): Tensor {
    this.checkMovable('slice');
    const { outer, length, inner, rank } = this.along(dim);
    const clamp = (index: number): number =>
      Math.min(Math.max(index < 0 ? index + length : index, 0), length);
    if (!Number.isInteger(start) || (end !== undefined && !Number.isInteger(end))) {
      throw new TypeError(
        `slice(): start and end should be integers, got ${describe(start)} and ${describe(end)}`,
      );
    }
    const from = clamp(start);
    const count = Math.max(clamp(end ?? length) - from, 0);
    const data = this.checked();
    const out = emptyArray(this.dtype, outer * count * inner);
    for (let o = 0; o < outer; o++) {
      const begin = (o * length + from) * inner;
      out.set(data.subarray(begin, begin + count * inner) as never, o * count * inner);
    }
    return this.like(
      out,
      this.shape.map((n, i) => (i === rank ? count : n)),
    );
  }

  // Comparison and access --------------------------------------------------------------------------------

  /** Whether shape, and every element, are the same (NaN equals nothing). */
  equal(other: Tensor): boolean {
    const a = this.checked();
    const b = other.checked();
    return (
      sameShape(this.shape, other.shape) && a.every((value: number | bigint, i: number) => value === b[i])
    );
  }
  /** Whether `|this - other| <= atol + rtol * |other|` everywhere. */
  allclose(other: Tensor, { rtol = 1e-5, atol = 1e-8 }: { rtol?: number; atol?: number } = {}): boolean {
    const a = this.numbers();
    const b = other.numbers();
    return (
      sameShape(this.shape, other.shape) &&
      a.every((x: number, i: number) => x === b[i] || Math.abs(x - b[i]!) <= atol + rtol * Math.abs(b[i]!))
    );
  }
  /** The only element, as a number. */
  item(): number {
    if (this.numel !== 1) {
      throw new RangeError(`a Tensor with ${this.numel} elements cannot be converted to Scalar`);
    }
    return this.numbers()[0]!;
  }
  /** Nested arrays of numbers (a number for a scalar). */
  toArray(): NestedArray {
    const values = this.numbers();
    const build = (dim: number, offset: number, count: number): NestedArray => {
      if (dim === this.dim()) return values[offset]!;
      const size = this.shape[dim]!;
      const step = size === 0 ? 0 : count / size;
      return Array.from({ length: size }, (_, i) => build(dim + 1, offset + i * step, step));
    };
    return build(0, 0, values.length);
  }
  clone(): Tensor {
    return this.like(this.checked().slice(), this.shape);
  }
  /** Copies another tensor's values into this one; its shape must be the same, half types are widened. */
  copy_(other: Tensor): this {
    if (!sameShape(this.shape, other.shape)) {
      throw new RangeError(`copy_ of shape [${other.shape.join(', ')}] into [${this.shape.join(', ')}]`);
    }
    const source = other.dtype === this.dtype ? other.checked() : other.to(this.dtype).data;
    this.checked().set(source as never);
    this.version++;
    return this;
  }
  fill_(value: number): this {
    const data = this.checked();
    data.fill((isBigInt(data) ? toBigInt(value) : value) as never);
    this.version++;
    return this;
  }
  zero_(): this {
    return this.fill_(0);
  }
  /** The values in another dtype; the same tensor if it has it already. */
  to(dtype: DType): Tensor {
    if (dtype === this.dtype) return this;
    if (!isPlain(dtype)) {
      throw new RangeError(`to(): dtype should be a plain float or integer type, got ${describe(dtype)}`);
    }
    const values = this.numbers();
    const out = emptyArray(dtype, values.length);
    for (let i = 0; i < values.length; i++)
      write(out, i, dtype === bool ? Number(values[i] !== 0) : values[i]!);
    return new Tensor(out, this.shape, { dtype });
  }
  float(): Tensor {
    return this.to(float32);
  }
  /** A quantized tensor's integers; quint4x2's one a byte (PyTorch's stay packed). */
  intRepr(): Tensor {
    this.quantized();
    return new Tensor(this.integers().slice(), this.shape);
  }
  /** A quantized tensor's reals: `scale * (q - zero_point)`, float32. */
  dequantize(): Tensor {
    const { scales, zeroPoints, axis } = this.quantized();
    const inner = numelOf(this.shape.slice(axis + 1));
    const data = this.integers();
    const out = new Float32Array(data.length);
    for (let i = 0; i < out.length; i++) {
      const channel = scales.length === 1 ? 0 : Math.floor(i / inner) % scales.length;
      out[i] = Math.fround(Number(data[i]) - zeroPoints[channel]!) * Math.fround(scales[channel]!);
    }
    return new Tensor(out, this.shape);
  }
  toString(): string {
    return `tensor(${JSON.stringify(this.toArray())}, shape=[${this.shape.join(', ')}], dtype=${this.dtype})`;
  }

  /** The data, after a check that it was not detached (a transferred buffer has no elements left). */
  checked(name = 'the tensor'): TensorData {
    const expected = this.dtype === quint4x2 ? Math.ceil(this.numel / 2) : this.numel;
    if (this.data.length !== expected) {
      throw new RangeError(
        `${name} has lost its data: ${this.data.length} of ${expected} elements are left (its buffer was detached or resized)`,
      );
    }
    return this.data;
  }

  private quantized(): Quantization {
    if (this.quantization === undefined)
      throw new TypeError(`expected a quantized tensor, got ${this.dtype}`);
    return this.quantization;
  }
  /** A quantized tensor's data, one integer an element. */
  private integers(): TensorData {
    const data = this.checked();
    if (this.dtype !== quint4x2) return data;
    return Uint8Array.from({ length: this.numel }, (_, i) => (Number(data[i >> 1]) >> (4 * (i & 1))) & 15);
  }
  /** Refuses tensors whose elements cannot be moved one by one. */
  private checkMovable(name: string): void {
    if (this.dtype === quint4x2 || (this.quantization?.scales.length ?? 1) !== 1) {
      throw new TypeError(
        `${name} is not defined for ${this.dtype} with a scale a channel: dequantize() or intRepr() first`,
      );
    }
  }
  private like(data: TensorData, shape: readonly number[]): Tensor {
    return new Tensor(data, shape, { dtype: this.dtype, ...this.quantization });
  }
  /** The elements as numbers; the data itself where it is a float or small integer array. */
  private numbers(): ArrayLike<number> & { every: (f: (x: number, i: number) => boolean) => boolean } {
    const data = this.checked();
    if (this.quantization !== undefined) {
      throw new TypeError(`this operation is not defined for ${this.dtype}: dequantize() or intRepr() first`);
    }
    if (isBigInt(data)) return Float64Array.from(data, Number);
    if (this.dtype === float16) return Float32Array.from(data as Uint16Array, halfToNumber);
    if (this.dtype === bfloat16) return Float32Array.from(data as Uint16Array, bfloat16ToNumber);
    return data as Float32Array;
  }
  private map(f: (x: number) => number): Tensor {
    const values = this.numbers();
    const out = emptyArray(this.dtype, values.length);
    for (let i = 0; i < values.length; i++) write(out, i, f(values[i]!));
    return new Tensor(out, this.shape, { dtype: this.dtype });
  }
  private combine(
    other: Tensor | number,
    name: string,
    f: (a: number, b: number) => number,
    result?: DType,
  ): Tensor {
    if (typeof other === 'number') {
      const b = this.dtype === float32 ? Math.fround(other) : other;
      if (result === undefined) {
        if (!isFloat(this.dtype) && !Number.isInteger(other)) {
          throw new TypeError(
            `${name}: the second operand of an ${this.dtype} tensor should be an integer, got ${other}`,
          );
        }
        return this.map((a) => f(a, b));
      }
      const values = this.numbers();
      return new Tensor(
        Uint8Array.from(values, (a) => f(a, b)),
        this.shape,
        { dtype: result },
      );
    }
    if (!isTensor(other))
      throw new TypeError(`${name}: other should be a Tensor or a number, got ${describe(other)}`);
    const dtype = promoted(this.dtype, other.dtype);
    const a = this.numbers();
    const b = other.numbers();
    const shape = broadcastShape(this.shape, other.shape);
    const out = emptyArray(result ?? dtype, numelOf(shape));
    if (sameShape(this.shape, other.shape)) {
      for (let i = 0; i < out.length; i++) write(out, i, f(a[i]!, b[i]!));
    } else {
      const aStrides = broadcastStrides(this.shape, shape);
      const bStrides = broadcastStrides(other.shape, shape);
      const index = new Array<number>(shape.length).fill(0);
      let ai = 0;
      let bi = 0;
      for (let i = 0; i < out.length; i++) {
        write(out, i, f(a[ai]!, b[bi]!));
        for (let d = shape.length - 1; d >= 0; d--) {
          ai += aStrides[d]!;
          bi += bStrides[d]!;
          if (++index[d]! < shape[d]!) break;
          ai -= aStrides[d]! * shape[d]!;
          bi -= bStrides[d]! * shape[d]!;
          index[d] = 0;
        }
      }
    }
    return new Tensor(out, shape, { dtype: result ?? dtype });
  }
  private extreme(name: string, better: (a: number, b: number) => boolean): Tensor {
    const values = this.numbers();
    if (values.length === 0) throw new RangeError(`${name}(): expected a tensor that is not empty`);
    let best = values[0]!;
    for (let i = 1; i < values.length && best === best; i++) {
      const value = values[i]!;
      if (value !== value || better(value, best)) best = value;
    }
    return scalar(best, this.dtype);
  }
  /** A dimension as `outer x length x inner`. */
  private along(dim: number): { outer: number; length: number; inner: number; rank: number } {
    const rank = dimension(dim, this.dim());
    return {
      outer: numelOf(this.shape.slice(0, rank)),
      length: this.shape[rank]!,
      inner: numelOf(this.shape.slice(rank + 1)),
      rank,
    };
  }
  /** `f` gives, for the largest element and the sum of `exp(x - max)` along `dim`, what becomes of each x there. */
  private normalized(
    name: string,
    dim: number,
    f: (max: number, sum: number) => (x: number) => number,
  ): Tensor {
    if (!isFloat(this.dtype))
      throw new TypeError(`${name} should be called on a floating tensor, got ${this.dtype}`);
    const { outer, length, inner } = this.along(dim);
    const values = this.checked() as Float32Array | Float64Array;
    const out = emptyArray(this.dtype, values.length) as Float32Array | Float64Array;
    for (let o = 0; o < outer; o++) {
      for (let i = 0; i < inner; i++) {
        const first = o * length * inner + i;
        const end = first + length * inner;
        let max = -Infinity;
        for (let k = first; k < end; k += inner) max = Math.max(max, values[k]!);
        let sum = 0;
        for (let k = first; k < end; k += inner) sum += Math.exp(values[k]! - max);
        const normalize = f(max, sum);
        for (let k = first; k < end; k += inner) out[k] = normalize(values[k]!);
      }
    }
    return new Tensor(out, this.shape, { dtype: this.dtype });
  }
}

/** What a new Tensor's arguments say, or why they do not fit. */
function checkTensor(data: TensorData, shape: readonly number[], options?: TensorOptions): KnownTensor {
  const tag = ArrayBuffer.isView(data) ? (data as { [Symbol.toStringTag]: string })[Symbol.toStringTag] : '';
  const named = options?.dtype;
  const dtype = named ?? dtypeOf[tag];
  if (dtype === undefined || (named !== undefined && arrayOf[named]?.name !== tag)) {
    const expected = dtype === undefined ? 'a typed array' : (arrayOf[dtype]?.name ?? 'a known dtype');
    throw new TypeError(
      `data should be ${expected}, got ${options?.dtype ?? ''} ${describe(data)}`.replace('  ', ' '),
    );
  }
  const count = numelOf(shape);
  const needed = dtype === quint4x2 ? Math.ceil(count / 2) : count;
  if (data.length !== needed) {
    throw new RangeError(`shape [${shape.join(', ')}] needs ${needed} elements, but data has ${data.length}`);
  }
  const own = shape.slice();
  let quantization: Quantization | undefined;
  if (options?.qscheme !== undefined) {
    const { qscheme, scales, zeroPoints, axis = 0 } = options;
    quantization = checkQuantization({ qscheme, scales: scales!, zeroPoints: zeroPoints!, axis }, own);
  }
  const quantized = named !== undefined && named.startsWith('q');
  if (quantized !== (quantization !== undefined)) {
    throw new TypeError(
      `qscheme, scales and zeroPoints should be given for quantized dtypes and no other, got ${dtype}`,
    );
  }
  return { shape: own, dtype, quantization };
}

/** For a layer's own results: a float32 Tensor that keeps `shape` too, and checks nothing (50 ns a tensor). */
export function resultTensor(data: Float32Array, shape: readonly number[]): Tensor {
  return new Tensor(data, shape, unchecked);
}

/** Whether a value is a Tensor, of this copy of the package or another. */
export function isTensor(value: unknown): value is Tensor {
  if (value instanceof Tensor) return true;
  const t = value as Partial<Tensor> | null | undefined;
  return (
    typeof t === 'object' &&
    t !== null &&
    ArrayBuffer.isView(t.data) &&
    Array.isArray(t.shape) &&
    typeof t.dtype === 'string' &&
    typeof t.checked === 'function'
  );
}

/** A tensor of nested arrays: float32, or int64 of bigints, or bool of booleans, if no dtype is given. */
export function tensor(values: NestedArray, options: { dtype?: DType } = {}): Tensor {
  const shape: number[] = [];
  for (let level: NestedArray = values; Array.isArray(level); level = level[0] as NestedArray) {
    shape.push(level.length);
    if (level.length === 0) break;
  }
  const flat: (number | bigint | boolean)[] = [];
  const walk = (value: NestedArray, dim: number): void => {
    if (
      Array.isArray(value) !== dim < shape.length ||
      (Array.isArray(value) && value.length !== shape[dim])
    ) {
      throw new RangeError(`values should be nested arrays of equal lengths, but differ at dimension ${dim}`);
    }
    if (Array.isArray(value)) value.forEach((v: NestedArray) => walk(v, dim + 1));
    else if (['number', 'bigint', 'boolean'].includes(typeof value)) flat.push(value as number);
    else throw new TypeError(`values should be numbers, bigints or booleans, got ${describe(value)}`);
  };
  walk(values, 0);
  const kind = typeof flat[0];
  const dtype = options.dtype ?? (kind === 'bigint' ? int64 : kind === 'boolean' ? bool : float32);
  const out = newArray('tensor', dtype, flat.length);
  flat.forEach((value, i) => write(out, i, Number(value)));
  return new Tensor(out, shape, { dtype });
}

export function full(
  shape: number | readonly number[],
  value: number,
  options: { dtype?: DType } = {},
): Tensor {
  const dtype = options.dtype ?? float32;
  const dims = sizes([shape as number]);
  const out = newArray('full', dtype, numelOf(dims));
  out.fill((isBigInt(out) ? toBigInt(value) : value) as never);
  return new Tensor(out, dims, { dtype });
}

/** `zeros(2, 3)` or `zeros([2, 3], { dtype })`. */
export function zeros(...args: SizeArguments<{ dtype?: DType }>): Tensor {
  const [shape, options] = sizeArguments(args, ['dtype'], 'zeros');
  return full(shape, 0, options);
}

export function ones(...args: SizeArguments<{ dtype?: DType }>): Tensor {
  const [shape, options] = sizeArguments(args, ['dtype'], 'ones');
  return full(shape, 1, options);
}

/** 0, 1, …, end - 1: int64, as PyTorch has it, unless another dtype is named. */
export function arange(end: number, options: { dtype?: DType } = {}): Tensor {
  if (!Number.isSafeInteger(end) || end < 0)
    throw new RangeError(`end should be a size, got ${describe(end)}`);
  const dtype = options.dtype ?? int64;
  const out = newArray('arange', dtype, end);
  for (let i = 0; i < end; i++) write(out, i, i);
  return new Tensor(out, [end], { dtype });
}

/** Tensors one after the other along a dimension that exists. */
export function cat(tensors: readonly Tensor[], dim = 0): Tensor {
  const first = tensors[0];
  if (first === undefined) throw new RangeError('cat(): expected a non-empty list of Tensors');
  const at = dimension(dim, first.dim());
  for (const t of tensors) {
    if (t.dtype !== first.dtype || t.quantization !== undefined) {
      throw new TypeError(`cat(): expected plain tensors of one dtype, got ${first.dtype} and ${t.dtype}`);
    }
    if (t.dim() !== first.dim() || t.shape.some((n, i) => i !== at && n !== first.shape[i])) {
      throw new RangeError(
        `cat(): sizes must match except in dimension ${at}, got [${first.shape.join(', ')}] and [${t.shape.join(', ')}]`,
      );
    }
  }
  const shape = first.shape.map((n, i) => (i === at ? tensors.reduce((sum, t) => sum + t.shape[at]!, 0) : n));
  const outer = numelOf(shape.slice(0, at));
  const inner = numelOf(shape.slice(at + 1));
  const out = emptyArray(first.dtype, numelOf(shape));
  let to = 0;
  for (let o = 0; o < outer; o++) {
    for (const t of tensors) {
      const block = t.shape[at]! * inner;
      out.set(t.checked().subarray(o * block, (o + 1) * block) as never, to);
      to += block;
    }
  }
  return new Tensor(out, shape, { dtype: first.dtype });
}

/** Tensors of one shape along a new dimension. */
export function stack(tensors: readonly Tensor[], dim = 0): Tensor {
  return cat(
    tensors.map((t) => t.unsqueeze(dim)),
    dimension(dim, (tensors[0]?.dim() ?? 0) + 1),
  );
}

// For the library ------------------------------------------------------------------------------------------

/** `(2, 3)` or `([2, 3])`, then options. */
export type SizeArguments<Options> =
  readonly number[] | readonly [...number[], Options] | readonly [readonly number[], Options?];

/** Splits size arguments into shape and options. */
export function sizeArguments<Options extends object>(
  args: SizeArguments<Options>,
  known: readonly string[],
  where: string,
): [number[], Options] {
  const last: unknown = args.at(-1);
  const hasOptions = typeof last === 'object' && last !== null && !Array.isArray(last);
  const options = (hasOptions ? last : {}) as Options;
  for (const key of Object.keys(options)) {
    if (!known.includes(key))
      throw new TypeError(`${where}: unknown option '${key}'; the options are ${known.join(', ')}`);
  }
  return [
    sizes(
      (hasOptions || last === undefined ? args.slice(0, hasOptions ? -1 : args.length) : args) as number[],
    ),
    options,
  ];
}

function sizes(args: readonly unknown[]): number[] {
  return [...(Array.isArray(args[0]) ? (args[0] as number[]) : (args as number[]))];
}

/** The product of the sizes. */
export function numelOf(shape: readonly number[]): number {
  let count = 1;
  for (let i = 0; i < shape.length; i++) {
    const n = shape[i]!;
    if (!Number.isSafeInteger(n) || n < 0) {
      throw new RangeError(`shape should hold sizes, got ${describe(n)} in [${shape.join(', ')}]`);
    }
    count *= n;
  }
  if (count > Number.MAX_SAFE_INTEGER) throw new RangeError(`shape [${shape.join(', ')}] is too large`);
  return count;
}

export function sameShape(a: readonly number[], b: readonly number[]): boolean {
  return a.length === b.length && a.every((n, i) => n === b[i]);
}

/** A new array for `count` elements of a dtype. */
export function emptyArray(dtype: DType, count: number): TensorData {
  return new arrayOf[dtype](dtype === quint4x2 ? Math.ceil(count / 2) : count);
}

function newArray(where: string, dtype: DType, count: number): TensorData {
  if (!isPlain(dtype)) {
    throw new RangeError(`${where}: dtype should be a plain float or integer type, got ${describe(dtype)}`);
  }
  return emptyArray(dtype, count);
}

/** Whether numbers can be written into a tensor of that dtype: it is known, not quantized and no half. */
export function isPlain(dtype: unknown): dtype is DType {
  const known = typeof dtype === 'string' && Object.hasOwn(arrayOf, dtype);
  return known && !dtype.startsWith('q') && dtype !== float16 && dtype !== bfloat16;
}

export function isFloat(dtype: DType): boolean {
  return dtype === float32 || dtype === float64;
}

/** A half's value: 1 sign, 5 exponent, 10 fraction bits. Exact. */
export function halfToNumber(bits: number): number {
  const sign = bits & 0x8000 ? -1 : 1;
  const exponent = (bits >> 10) & 0x1f;
  const fraction = bits & 0x3ff;
  if (exponent === 0) return sign * fraction * 2 ** -24;
  if (exponent === 31) return fraction === 0 ? sign * Infinity : NaN;
  return sign * (1 + fraction / 1024) * 2 ** (exponent - 15);
}

const scratch = new DataView(new ArrayBuffer(4));

/** A bfloat16 is the upper half of a float32. */
export function bfloat16ToNumber(bits: number): number {
  scratch.setUint16(0, bits);
  scratch.setUint16(2, 0);
  return scratch.getFloat32(0);
}

function isBigInt(data: TensorData): data is BigInt64Array {
  return data[Symbol.toStringTag] === 'BigInt64Array';
}

function write(out: TensorData, i: number, value: number): void {
  if (isBigInt(out)) out[i] = toBigInt(value);
  else out[i] = value;
}

/** Without its fraction; what is not finite becomes what PyTorch, as the processor, makes of it. */
function toBigInt(value: number): bigint {
  return Number.isFinite(value) ? BigInt(Math.trunc(value)) : -(2n ** 63n);
}

function scalar(value: number, dtype: DType): Tensor {
  const out = emptyArray(dtype, 1);
  write(out, 0, value);
  return new Tensor(out, [], { dtype });
}

function dimension(dim: number, rank: number): number {
  const limit = Math.max(rank, 1);
  if (!Number.isInteger(dim) || dim < -limit || dim >= limit) {
    throw new RangeError(
      `Dimension out of range (expected to be in range of [${-limit}, ${limit - 1}], but got ${describe(dim)})`,
    );
  }
  return dim < 0 ? dim + limit : dim;
}

function promoted(a: DType, b: DType): DType {
  if (a === b) return a;
  const order: DType[] = [bool, uint8, int8, int16, int32, int64, float32, float64];
  if (!order.includes(a) || !order.includes(b))
    throw new TypeError(`operands should have one dtype, got ${a} and ${b}`);
  if ((a === uint8 && b === int8) || (a === int8 && b === uint8)) return int16;
  return order.indexOf(a) > order.indexOf(b) ? a : b;
}

function broadcastShape(a: readonly number[], b: readonly number[]): number[] {
  const rank = Math.max(a.length, b.length);
  return Array.from({ length: rank }, (_, i) => {
    const x = a[i - rank + a.length] ?? 1;
    const y = b[i - rank + b.length] ?? 1;
    if (x !== y && x !== 1 && y !== 1) {
      throw new RangeError(
        `The size of tensor a (${x}) must match the size of tensor b (${y}) at non-singleton dimension ${i}`,
      );
    }
    return x === 1 ? y : x;
  });
}

function broadcastStrides(shape: readonly number[], to: readonly number[]): number[] {
  const strides = new Array<number>(to.length).fill(0);
  let stride = 1;
  for (let i = shape.length - 1; i >= 0; i--) {
    if (shape[i] !== 1) strides[i + to.length - shape.length] = stride;
    stride *= shape[i]!;
  }
  return strides;
}

/** Whether a scale is positive and finite, as float32 too. */
export function isFloatScale(scale: number): boolean {
  return Math.fround(scale) > 0 && Number.isFinite(Math.fround(scale));
}

function checkQuantization(quantization: Quantization, shape: readonly number[]): Quantization {
  const { qscheme, scales, zeroPoints, axis } = quantization;
  if (!qschemes.includes(qscheme)) {
    throw new TypeError(`qscheme should be one of ${qschemes.join(', ')}, got ${describe(qscheme)}`);
  }
  const count = qscheme === 'per_tensor_affine' ? 1 : shape[axis];
  if (scales?.length !== count || zeroPoints?.length !== count) {
    throw new RangeError(
      `scales and zeroPoints should have ${count} elements, got ${scales?.length} and ${zeroPoints?.length}`,
    );
  }
  // PyTorch has been seen to save float qparams that were freed memory, of any sign.
  const fits = qscheme === 'per_channel_affine_float_qparams' ? Number.isFinite : isFloatScale;
  if (!scales.every((scale) => fits(Math.fround(scale)))) {
    throw new RangeError('scales should be positive finite numbers');
  }
  if (!Array.prototype.every.call(zeroPoints, Number.isFinite)) {
    throw new RangeError('zeroPoints should be finite numbers');
  }
  return quantization;
}
