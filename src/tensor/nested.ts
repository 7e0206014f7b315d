import { rangeError } from '../errors.js';
import type { Numbers } from './elements.js';
import { formatShape } from './shape.js';

/** Arrays in arrays, as deep as a tensor has dimensions. */
export type NestedArray = number | bigint | boolean | readonly NestedArray[];

/** The most elements of nested arrays. V8 cannot hold many more: trying would end the process, not throw. */
export const mostNested = 2 ** 27;

/** Whether the nested arrays of a shape are few enough. Where none has elements, they are built for nothing. */
export function canNest(shape: readonly number[], most = mostNested): boolean {
  const mostEntries = shape.includes(0) ? Math.min(most, 2 ** 20) : most;
  let entries = 1;
  return shape.every((size) => size <= 2 ** 25 && (entries *= size) <= mostEntries);
}

/** Whether a tensor is printed with its elements. No string could hold those of a larger one. */
export function isPrintable(shape: readonly number[]): boolean {
  return canNest(shape, shape.includes(0) ? 64 : 2 ** 24);
}

/** The elements as nested arrays; a number for a scalar. */
export function nested(values: Numbers, shape: readonly number[]): NestedArray {
  if (!canNest(shape)) {
    const sentence = `toArray(): ${formatShape(shape)} is too large for nested arrays: read data instead`;
    throw rangeError('ERR_TOO_LARGE', sentence);
  }
  const build = (dim: number, offset: number, count: number): NestedArray => {
    if (dim === shape.length) return values[offset]!;
    const size = shape[dim]!;
    const step = size === 0 ? 0 : count / size;
    return Array.from({ length: size }, (_, i) => build(dim + 1, offset + i * step, step));
  };
  return build(0, 0, values.length);
}
