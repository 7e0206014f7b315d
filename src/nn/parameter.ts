import { describe, rangeError, typeError } from '../errors.js';
import { emptyArray, float32 } from '../tensor/dtype.js';
import { noData } from '../tensor/meta.js';
import { unchecked } from '../tensor/options.js';
import { sameShape } from '../tensor/shape.js';
import { isTensor, Tensor } from '../tensor/tensor.js';
import { isOnMeta } from './meta.js';

/** A tensor that a module counts among its parameters. */
export class Parameter extends Tensor {
  /** Marks parameters for copies of this package in other realms. */
  readonly isParameter = true;
}

/** Whether a value is a Parameter, of this copy of the package or another. */
export function isParameter(value: unknown): value is Parameter {
  return isTensor(value) && (value as { isParameter?: unknown }).isParameter === true;
}

/** A new float32 parameter, not initialised; without data while modules are made on meta. */
export function emptyParameter(shape: readonly number[]): Parameter {
  const count = shape.reduce((product, n) => product * n, 1);
  if (!Number.isSafeInteger(count))
    throw rangeError('ERR_SHAPE', `a parameter of shape [${shape.join(', ')}] is too large`);
  if (isOnMeta()) return new Parameter(noData, shape, unchecked);
  return new Parameter(emptyArray(float32, count), shape, { dtype: float32 });
}

/**
 * A parameter's numbers. It is checked because anyone may have replaced the property.
 *
 * @throws {TypeError} when it is not a float32 tensor @throws {RangeError} when it is not of that shape
 */
export function parameterData(name: string, value: unknown, shape: readonly number[]): Float32Array {
  if (!isTensor(value) || value.dtype !== float32) {
    throw typeError(
      isTensor(value) ? 'ERR_DTYPE' : 'ERR_INVALID_ARG_TYPE',
      `${name} should be a float32 Parameter, got ${isTensor(value) ? value.dtype : describe(value)}`,
    );
  }
  if (!sameShape(value.shape, shape)) {
    throw rangeError(
      'ERR_SHAPE',
      `${name} should have the shape [${shape.join(', ')}], got [${value.shape.join(', ')}]`,
    );
  }
  return value.checked(name) as Float32Array;
}
