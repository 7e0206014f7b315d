import { describe, isBytes, rangeError, typeError } from '../errors.js';
import { bytesOf } from './dtype.js';
import { checkedShape, formatShape, numelOf } from './shape.js';

const bitsOf: Readonly<Record<string, number>> = {
  F6_E2M3: 6,
  F6_E3M2: 6,
  float4_e2m1fn_x2: 8,
  float8_e4m3fn: 8,
  float8_e4m3fnuz: 8,
  float8_e5m2: 8,
  float8_e5m2fnuz: 8,
  float8_e8m0fnu: 8,
  uint16: 16,
  uint32: 32,
  uint64: 64,
  qint32: 32,
  complex32: 32,
  complex64: 64,
  complex128: 128,
};

/** How many bits an element has; undefined for a dtype that has no name in PyTorch or safetensors. */
export function rawBits(dtype: string): number | undefined {
  return Object.hasOwn(bitsOf, dtype) ? bitsOf[dtype] : undefined;
}

/**
 * A tensor of a dtype with which this library does not compute, as a file has it: a name, a shape and bytes.
 * `StateDict.raw` holds those of a file.
 */
export class RawTensor {
  /**
   * PyTorch's name of the dtype: `float8_e4m3fn`, `uint16`, `complex64`…. A dtype that PyTorch does not know has its
   * name in NumPy (`U12`, `datetime64[D]`) or safetensors (`F6_E2M3`).
   */
  readonly dtype: string;
  /** The size of each dimension. */
  readonly shape: readonly number[];
  /** The elements, row by row, little endian. */
  readonly bytes: Uint8Array;

  /**
   * @param bytes - kept, not copied
   * @throws {TypeError} when an argument is of the wrong kind
   * @throws {RangeError} when `shape` and the number of bytes do not fit `dtype`
   */
  constructor(dtype: string, shape: readonly number[], bytes: Uint8Array) {
    if (typeof dtype !== 'string')
      throw typeError('ERR_INVALID_ARG_TYPE', `dtype should be a string, got ${describe(dtype)}`);
    if (!isBytes(bytes))
      throw typeError('ERR_INVALID_ARG_TYPE', `bytes should be a Uint8Array, got ${describe(bytes)}`);
    this.dtype = dtype;
    this.shape = checkedShape(shape);
    this.bytes = bytesOf(bytes);
    const count = numelOf(this.shape);
    const { length } = this.bytes;
    const bits = rawBits(dtype);
    const fits = bits === undefined ? length % (count || Infinity) === 0 : length * 8 === count * bits;
    if (!fits) {
      const sentence = `bytes should hold ${dtype} of shape ${formatShape(this.shape)}, got ${length} bytes`;
      throw rangeError('ERR_SHAPE', sentence);
    }
  }

  /** As PyTorch prints a tensor that it does not show: `RawTensor(float8_e4m3fn, [2, 3])`. */
  toString(): string {
    return `RawTensor(${this.dtype}, [${this.shape.join(', ')}])`;
  }
}

/** Whether a value is a RawTensor, of any copy of the package. */
export function isRawTensor(value: unknown): value is RawTensor {
  if (value instanceof RawTensor) return true;
  const { dtype, shape, bytes } = (value ?? {}) as Partial<RawTensor>;
  return typeof dtype === 'string' && Array.isArray(shape) && isBytes(bytes);
}
