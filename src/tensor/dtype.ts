import { arrayName, describe, rangeError, typeError } from '../errors.js';

/** 32-bit floats, in a Float32Array: what layers compute with. */
export const float32 = 'float32';
/** 64-bit floats, in a Float64Array. */
export const float64 = 'float64';
/** Half floats: raw bits in a Uint16Array. `float()` widens them. */
export const float16 = 'float16';
/** Brain floats: raw bits in a Uint16Array. `float()` widens them. */
export const bfloat16 = 'bfloat16';
/** Integers, in an Int8Array. */
export const int8 = 'int8';
/** Integers, in a Uint8Array. */
export const uint8 = 'uint8';
/** Integers, in an Int16Array. */
export const int16 = 'int16';
/** Integers, in an Int32Array. */
export const int32 = 'int32';
/** Integers, in a BigInt64Array: PyTorch's usual indices. */
export const int64 = 'int64';
/** 0 or 1, in a Uint8Array. */
export const bool = 'bool';
/** Quantized to signed 8 bits, in an Int8Array. */
export const qint8 = 'qint8';
/** Quantized to unsigned 8 bits, in a Uint8Array. */
export const quint8 = 'quint8';
/** Quantized to unsigned 4 bits, two values a byte of a Uint8Array, the first in the low half. */
export const quint4x2 = 'quint4x2';

/** An array that holds the elements of a tensor. */
export type TensorData =
  | Float32Array
  | Float64Array
  | Int8Array
  | Uint8Array
  | Int16Array
  | Uint16Array
  | Int32Array
  | BigInt64Array;

/** The array that holds a dtype's elements. float16 and bfloat16 are raw bits; quint4x2 has two values a byte. */
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

/** The type of a tensor's elements, by its name in PyTorch: {@link float32}, {@link int64}, …. */
export type DType = keyof typeof arrayOf;

const classes: Record<string, new (buffer: ArrayBuffer, at: number, length: number) => TensorData> =
  Object.fromEntries(Object.values(arrayOf).map((Class) => [Class.name, Class]));

/** The dtype of an array if none is given. */
const dtypeOf: Record<string, DType | undefined> = {
  Float32Array: float32,
  Float64Array: float64,
  Int8Array: int8,
  Uint8Array: uint8,
  Int16Array: int16,
  Int32Array: int32,
  BigInt64Array: int64,
};

// What a typed array really is. Its own properties, or those of a subclass, may say something else.
const typedArrayPrototype = Object.getPrototypeOf(Uint8Array.prototype) as object;
function getterOf<T>(key: keyof Uint8Array): (this: unknown) => T {
  return Object.getOwnPropertyDescriptor(typedArrayPrototype, key)!.get as (this: unknown) => T;
}
const lengthGetter = getterOf<number>('length');
const bufferGetter = getterOf<ArrayBufferLike>('buffer');
const offsetGetter = getterOf<number>('byteOffset');
const byteLengthGetter = getterOf<number>('byteLength');

/** The number of a typed array's elements; -1 for everything else. */
export function trueLength(value: unknown): number {
  try {
    return lengthGetter.call(value);
  } catch {
    return -1;
  }
}

/** The size of a typed array's memory. */
export function byteLengthOf(data: TensorData): number {
  return byteLengthGetter.call(data);
}

/** The memory of a typed array as bytes, all or a part: Node 20 has no array of more than 2^32 elements. */
export function bytesOf(data: TensorData, begin = 0, end = byteLengthGetter.call(data)): Uint8Array {
  return new Uint8Array(bufferGetter.call(data), offsetGetter.call(data) + begin, end - begin);
}

/** A typed array of a class of this realm: the array itself, or for a subclass another view of its memory. */
export function plainView<T extends TensorData>(data: T): T {
  const Class = classes[arrayName(data)]!;
  const length = lengthGetter.call(data);
  // Its memory may be detached: then each of its methods would throw.
  if (length === 0) return new Class(new ArrayBuffer(0), 0, 0) as T;
  if (Object.getPrototypeOf(data) === Class.prototype && data.length === length) return data;
  return new Class(bufferGetter.call(data) as ArrayBuffer, offsetGetter.call(data), length) as T;
}

export function isDType(value: unknown): value is DType {
  return typeof value === 'string' && Object.hasOwn(arrayOf, value);
}

/** The dtype of a tensor over `data`: the given one, which must fit, or the array's own. */
export function dtypeFor(data: unknown, named: unknown): DType {
  const name = arrayName(data);
  if (named === undefined) {
    const dtype = dtypeOf[name];
    if (dtype !== undefined) return dtype;
    throw typeError('ERR_INVALID_ARG_TYPE', `data should be a typed array, got ${describe(data)}`);
  }
  if (!isDType(named)) {
    const sentence = `data should be a known dtype, got ${describe(named)} ${describe(data)}`;
    throw typeError(typeof named === 'string' ? 'ERR_DTYPE' : 'ERR_INVALID_ARG_TYPE', sentence);
  }
  const expected = arrayOf[named].name;
  if (expected === name) return named;
  const sentence = `data should be ${expected}, got ${named} ${describe(data)}`;
  throw typeError(name === '' ? 'ERR_INVALID_ARG_TYPE' : 'ERR_DTYPE', sentence);
}

/** How many elements an array needs to hold `count` values. */
export function arrayLength(dtype: DType, count: number): number {
  return dtype === quint4x2 ? Math.ceil(count / 2) : count;
}

/** Arrays of fewer elements are small enough that memory for them never fails alone. */
const smallCount = 65536;

/**
 * A new array for `count` elements of a dtype.
 *
 * @throws {RangeError} when there is no memory for it
 */
export function emptyArray<D extends DType>(dtype: D, count: number): InstanceType<(typeof arrayOf)[D]>;
export function emptyArray(dtype: DType, count: number): TensorData {
  // The usual small ones directly: a constructor out of a table costs some 50 ns more.
  if (dtype === float32 && count < smallCount) return new Float32Array(count);
  const array = arrayOf[dtype];
  const length = arrayLength(dtype, count);
  try {
    return new array(length);
  } catch (cause) {
    const sentence = `cannot allocate ${count} elements of ${dtype} (${length * array.BYTES_PER_ELEMENT} bytes)`;
    throw rangeError('ERR_TOO_LARGE', sentence, { cause });
  }
}

/** Whether numbers can be written into a tensor of this dtype: it is known, not quantized and no half type. */
export function isPlain(dtype: unknown): dtype is DType {
  return isDType(dtype) && !dtype.startsWith('q') && dtype !== float16 && dtype !== bfloat16;
}

/** A dtype into which numbers can be written. */
export function checkPlainDType(where: string, dtype: unknown): asserts dtype is DType {
  if (!isPlain(dtype)) throw wrongDType(where, 'a plain float or integer type', dtype);
}

/** One of a few dtypes. */
export function checkDTypeAmong(where: string, dtype: unknown, allowed: readonly DType[]): void {
  if (!allowed.some((each) => each === dtype)) throw wrongDType(where, allowed.join(' or '), dtype);
}

function wrongDType(where: string, expected: string, dtype: unknown): Error {
  const sentence = `${where}: dtype should be ${expected}, got ${describe(dtype)}`;
  return typeof dtype === 'string'
    ? rangeError('ERR_INVALID_ARG_VALUE', sentence)
    : typeError('ERR_INVALID_ARG_TYPE', sentence);
}

export function isFloat(dtype: DType): boolean {
  return dtype === float32 || dtype === float64;
}

/** Whether a dtype is of numbers with a fraction, as PyTorch's `is_floating_point`: half precisions too. */
export function isFloatingPoint(dtype: DType): boolean {
  return /^b?float/.test(dtype);
}

/** The dtype in which elements of two dtypes are computed. */
export function promoted(a: DType, b: DType): DType {
  if (a === b) return a;
  const order: DType[] = [bool, uint8, int8, int16, int32, int64, float32, float64];
  if (!order.includes(a) || !order.includes(b))
    throw typeError('ERR_DTYPE', `operands should have one dtype, got ${a} and ${b}`);
  if ((a === uint8 && b === int8) || (a === int8 && b === uint8)) return int16;
  return order.indexOf(a) > order.indexOf(b) ? a : b;
}
