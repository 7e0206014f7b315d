import { rangeError } from '../errors.js';
import type { Numbers } from './elements.js';
import type { Split } from './shape.js';

/** The sum, accumulated in double. */
export function sumOf(values: Numbers): number {
  let sum = 0;
  for (let i = 0; i < values.length; i++) sum += values[i]!;
  return sum;
}

/** The element that is better than all others, or a NaN if there is one. @throws {RangeError} when there is none */
export function extremeOf(name: string, values: Numbers, better: (a: number, b: number) => boolean): number {
  if (values.length === 0) throw rangeError('ERR_SHAPE', `${name}(): expected a tensor that is not empty`);
  let best = values[0]!;
  for (let i = 1; i < values.length && best === best; i++) {
    const value = values[i]!;
    if (value !== value || better(value, best)) best = value;
  }
  return best;
}

/** The index of each column's largest element: the first of equals, or a NaN. @throws {RangeError} without elements */
export function argmaxAlong(values: Numbers, { outer, length, inner }: Split): BigInt64Array {
  if (length === 0) throw rangeError('ERR_SHAPE', 'argmax(): Expected reduction dim to have non-zero size');
  const out = new BigInt64Array(outer * inner);
  for (let column = 0; column < out.length; column++) {
    const first = Math.floor(column / inner) * length * inner + (column % inner);
    let best = 0;
    let bestValue = values[first]!;
    for (let k = 1; k < length && bestValue === bestValue; k++) {
      const value = values[first + k * inner]!;
      if (value > bestValue || value !== value) {
        best = k;
        bestValue = value;
      }
    }
    out[column] = BigInt(best);
  }
  return out;
}

/** From a column's largest element and its sum of `exp(x - max)`, the function that normalizes each x of it. */
export type Normalization = (max: number, sum: number) => (x: number) => number;

/** Writes each column's normalized elements into `out`. */
export function normalizeAlong(
  values: Float32Array | Float64Array,
  { outer, length, inner }: Split,
  f: Normalization,
  out: Float32Array | Float64Array,
): void {
  if (values.length === 0) return;
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
}
