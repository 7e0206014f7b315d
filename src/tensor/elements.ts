import { describe, rangeError, typeError } from '../errors.js';
import {
  bfloat16,
  bool,
  checkPlainDType,
  emptyArray,
  float16,
  isFloat,
  isPlain,
  quint4x2,
  type DType,
  type TensorData,
} from './dtype.js';
import type { Quantization } from './quantization.js';

/** Elements as numbers. */
export type Numbers = ArrayLike<number> & { every(f: (x: number, i: number) => boolean): boolean };

/** What these functions need of a tensor. */
export interface Elements {
  readonly dtype: DType;
  readonly quantization: Quantization | undefined;
  checked(name?: string): TensorData;
}

/**
 * A tensor's elements as numbers: the data itself if it holds floats or small integers, else a copy.
 *
 * @param name - what errors call the tensor
 */
export function numbersOf(tensor: Elements, name?: string): Numbers {
  const data = tensor.checked(name);
  const { dtype } = tensor;
  if (tensor.quantization !== undefined) throw notForQuantized(dtype);
  if (isBigInt(data)) return Float64Array.from(data, Number);
  if (dtype === float16) return Float32Array.from(data as Uint16Array, halfToNumber);
  if (dtype === bfloat16) return Float32Array.from(data as Uint16Array, bfloat16ToNumber);
  return data as Float32Array;
}

/** The elements in another dtype, into which numbers can be written. */
export function converted(tensor: Elements, dtype: DType): TensorData {
  checkPlainDType('to()', dtype);
  const values = numbersOf(tensor);
  const out = emptyArray(dtype, values.length);
  for (let i = 0; i < values.length; i++)
    write(out, i, dtype === bool ? Number(values[i] !== 0) : values[i]!);
  return out;
}

/** Refuses tensors into which numbers cannot be written. */
export function checkPlain(name: string, { dtype, quantization }: Elements): void {
  if (quantization !== undefined) throw notForQuantized(dtype);
  if (!isPlain(dtype)) throw typeError('ERR_DTYPE', `${name} is not defined for ${dtype}: float() first`);
}

export function checkFloat(name: string, { dtype }: Elements): void {
  if (!isFloat(dtype))
    throw typeError('ERR_DTYPE', `${name} should be called on a floating tensor, got ${dtype}`);
}

/** Refuses tensors whose elements cannot be moved one by one. */
export function checkMovable(name: string, { dtype, quantization }: Elements): void {
  if (dtype === quint4x2 || (quantization?.scales.length ?? 1) !== 1) {
    throw typeError(
      'ERR_DTYPE',
      `${name} is not defined for ${dtype} with a scale a channel: dequantize() or intRepr() first`,
    );
  }
}

/** Refuses the dimension of a reduction that is of all elements. */
export function refuseDimension(name: string, dim: unknown): void {
  if (dim !== undefined)
    throw rangeError('ERR_UNSUPPORTED', `${name}() is of all elements, but got dim ${describe(dim)}`);
}

/** The error for a tensor whose buffer was detached or resized. */
export function lostData(name: unknown, data: { length: number }, expected: number): Error {
  return rangeError(
    'ERR_DETACHED',
    `${typeof name === 'string' ? name : 'the tensor'} has lost its data: ${data.length} of ${expected} elements are left (its buffer was detached or resized)`,
  );
}

function notForQuantized(dtype: DType): Error {
  const sentence = `this operation is not defined for ${dtype}: dequantize() or intRepr() first`;
  return typeError('ERR_DTYPE', sentence);
}

export function isBigInt(data: TensorData): data is BigInt64Array {
  return data[Symbol.toStringTag] === 'BigInt64Array';
}

export function write(out: TensorData, i: number, value: number): void {
  if (isBigInt(out)) out[i] = toBigInt(value);
  else out[i] = value;
}

export function fill(out: TensorData, value: number): void {
  if (isBigInt(out)) out.fill(toBigInt(value));
  else out.fill(value);
}

/** A number without its fraction. NaN and infinities become -2^63, as in PyTorch. */
function toBigInt(value: number): bigint {
  return Number.isFinite(value) ? BigInt(Math.trunc(value)) : -(2n ** 63n);
}

/** The value of a half: 1 sign bit, 5 exponent bits, 10 fraction bits. Exact. */
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
