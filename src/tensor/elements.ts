import { arrayName, describe, rangeError, typeError } from '../errors.js';
import {
  bfloat16,
  bool,
  checkPlainDType,
  emptyArray,
  float16,
  float32,
  float64,
  isFloat,
  isPlain,
  quint4x2,
  uint8,
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
  if (isBigInt(data)) return doublesOf(data, Number);
  if (dtype === float16) return Float32Array.from(data as Uint16Array, halfToNumber);
  if (dtype === bfloat16) return Float32Array.from(data as Uint16Array, bfloat16ToNumber);
  return data as Float32Array;
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

/** What is wrong with a tensor whose data has another number of elements; -1 if it is no typed array. */
export function lostData(name: unknown, left: number, expected: number): Error {
  const subject = typeof name === 'string' ? name : 'the tensor';
  if (left < 0) return typeError('ERR_INVALID_ARG_TYPE', `the data of ${subject} should be a typed array`);
  return rangeError(
    'ERR_DETACHED',
    `${subject} has lost its data: ${left} of ${expected} elements are left (its buffer was detached or resized)`,
  );
}

/** What is wrong with a tensor that has no numbers yet. */
export function notLoaded(name: unknown): Error {
  const subject = typeof name === 'string' ? name : 'the tensor';
  const sentence = `${subject} has no numbers yet, because its module was built by skipInit: call loadStateDict first`;
  return rangeError('ERR_NOT_LOADED', sentence);
}

/** Refuses what PyTorch does not compute with truth values. */
export function refuseBool(name: string, dtype: DType): void {
  if (dtype === bool)
    throw typeError('ERR_DTYPE', `${name} is not supported on a bool tensor: to('uint8') first`);
}

/** A number that an integer tensor is combined with. */
export function checkIntegerOperand(name: string, other: number, dtype: DType): void {
  if (Number.isSafeInteger(other)) return;
  const sentence = `${name}: the second operand of an ${dtype} tensor should be an integer below 2^53, got ${other}`;
  throw Number.isInteger(other)
    ? rangeError('ERR_INVALID_ARG_VALUE', sentence)
    : typeError('ERR_DTYPE', sentence);
}

function notForQuantized(dtype: DType): Error {
  const sentence = `this operation is not defined for ${dtype}: dequantize() or intRepr() first`;
  return typeError('ERR_DTYPE', sentence);
}

export function isBigInt(data: TensorData): data is BigInt64Array {
  return arrayName(data) === 'BigInt64Array';
}

export function write(out: TensorData, i: number, value: number): void {
  if (isBigInt(out)) out[i] = toBigInt(value);
  else out[i] = value;
}

/**
 * Fills with a number, which PyTorch's rules make an element: integers take it without its fraction.
 *
 * @throws {RangeError} when it does not fit the dtype
 */
export function fill(out: TensorData, value: number, dtype: DType): void {
  if (dtype === float32 && Math.abs(value) > largestFloat32 && Number.isFinite(value))
    throw overflow('value', value, dtype);
  const element = isFloat(dtype) ? value : integerOf('value', value, dtype);
  if (isBigInt(out)) out.fill(BigInt(element));
  else out.fill(element);
}

/** Writes a number, bigint or boolean as {@link fill} does, but what is too large for a float becomes infinite. */
export function writeChecked(
  out: TensorData,
  i: number,
  value: number | bigint | boolean,
  dtype: DType,
): void {
  if (isFloat(dtype)) write(out, i, Number(value));
  else if (isBigInt(out) && typeof value === 'bigint') {
    if (BigInt.asIntN(64, value) !== value) throw overflow('values', value, dtype);
    out[i] = value;
  } else write(out, i, integerOf('values', Number(value), dtype));
}

export const largestFloat32 = 3.4028234663852886e38;

const integerRange: Partial<Record<DType, readonly [least: number, most: number]>> = {
  uint8: [0, 255],
  int8: [-128, 127],
  int16: [-(2 ** 15), 2 ** 15 - 1],
  int32: [-(2 ** 31), 2 ** 31 - 1],
  int64: [-(2 ** 63), 2 ** 63 - 1024], // the largest number below 2^63
};

/** A number without its fraction, for a dtype of integers or bool. */
function integerOf(name: string, value: number, dtype: DType): number {
  if (dtype === bool) return Number(value !== 0);
  const [least, most] = integerRange[dtype]!;
  const integer = Math.trunc(value);
  // In PyTorch -1 is the largest of an unsigned type.
  const wraps = dtype === uint8 && integer === value && integer >= -most;
  if (!(integer <= most && (integer >= least || wraps))) throw overflow(name, value, dtype);
  return integer;
}

function overflow(name: string, value: number | bigint, dtype: DType): Error {
  const sentence = `${name} cannot be converted to type ${dtype} without overflow, got ${describe(value)}`;
  return rangeError('ERR_INVALID_ARG_VALUE', sentence);
}

/** A number without its fraction. NaN and what does not fit become -2^63, as in PyTorch. */
function toBigInt(value: number): bigint {
  return Math.abs(value) < 2 ** 63 ? BigInt(Math.trunc(value)) : -(2n ** 63n);
}

/** The elements in another dtype, into which numbers can be written. What does not fit wraps around, as in PyTorch. */
export function converted(tensor: Elements, dtype: DType): TensorData {
  checkPlainDType('to()', dtype);
  const data = tensor.checked();
  const values = isBigInt(data) ? numbersFor(dtype, data) : numbersOf(tensor);
  const out = emptyArray(dtype, values.length);
  for (let i = 0; i < values.length; i++)
    write(out, i, dtype === bool ? Number(values[i] !== 0) : values[i]!);
  return out;
}

/** Numbers that become of another dtype what the integers would. */
function numbersFor(dtype: DType, data: BigInt64Array): ArrayLike<number> {
  if (dtype === float32) return doublesOf(data, floatOf);
  if (dtype === float64 || dtype === bool) return doublesOf(data, Number);
  const halves = new Int32Array(data.buffer, data.byteOffset, 2 * data.length);
  const low = new Int32Array(data.length); // what does not fit wraps around
  for (let i = 0; i < low.length; i++) low[i] = halves[2 * i]!;
  return low;
}

/** In a loop, because `from` takes ten times as long. */
function doublesOf(data: BigInt64Array, f: (x: bigint) => number): Float64Array {
  const out = new Float64Array(data.length);
  for (let i = 0; i < out.length; i++) out[i] = f(data[i]!);
  return out;
}

/** Rounded to float32 once: a double would round before, so it gets one bit for all that it cannot hold. */
function floatOf(x: bigint): number {
  const value = Number(x);
  if (Number.isSafeInteger(value)) return value;
  const rest = BigInt.asUintN(10, x);
  return Number(rest === 0n ? x : (x - rest) | 1024n);
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

/** A float32 rounded to the nearest float16, ties to even; infinity beyond 65,504. */
export function roundToHalf(x: number): number {
  const magnitude = Math.abs(x);
  let unit = 2 ** -24; // a half's last digit: 2^-24 below 2^-13, then doubling with each power of two
  for (let limit = 2 ** -13; magnitude >= limit && unit <= 32; limit *= 2) unit *= 2;
  const digits = magnitude / unit;
  const floor = Math.floor(digits);
  const rest = digits - floor;
  const rounded = (floor + Number(rest > 0.5 || (rest === 0.5 && floor % 2 === 1))) * unit;
  return Math.sign(x) * (rounded > 65504 ? Infinity : rounded);
}

/** A number rounded to the nearest bfloat16, ties to even. */
export function roundToBfloat16(x: number): number {
  scratch.setFloat32(0, x);
  const bits = scratch.getUint32(0);
  return Number.isFinite(x) ? bfloat16ToNumber((bits + 0x7fff + ((bits >>> 16) & 1)) >>> 16) : x;
}
