import { rangeError } from '../errors.js';
import { callSoftmax } from '../native/call-reduce.js';
import { emptyArray, float32 } from './dtype.js';
import { checkFloat, type Numbers } from './elements.js';
import type { Result, Source } from './result.js';
import { splitAt, type Split } from './shape.js';

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

/** The softmax along dimension `at`, or its logarithm. float32 natively, the other floats in double. */
export function softmaxAlong(tensor: Source, at: number, log: boolean): Result {
  checkFloat(log ? 'logSoftmax' : 'softmax', tensor);
  const { dtype, shape } = tensor;
  const split = splitAt(shape, at);
  const values = tensor.checked() as Float32Array | Float64Array;
  if (dtype === float32 && values.length > 0)
    return { data: callSoftmax(log, values as Float32Array, split), shape, dtype };
  const out = emptyArray(dtype, values.length) as Float32Array | Float64Array;
  for (let line = 0; line < out.length / split.length; line++)
    softmaxOf(values, lineAt(split, line), log, out);
  return { data: out, shape, dtype };
}

/** Where the elements of a line are. */
interface Line {
  readonly first: number;
  readonly end: number;
  readonly step: number;
}

function lineAt({ length, inner }: Split, line: number): Line {
  const first = Math.floor(line / inner) * length * inner + (line % inner);
  return { first, end: first + length * inner, step: inner };
}

function softmaxOf(
  values: ArrayLike<number>,
  { first, end, step }: Line,
  log: boolean,
  out: Float32Array | Float64Array,
): void {
  let max = -Infinity;
  for (let k = first; k < end; k += step) max = Math.max(max, values[k]!);
  let sum = 0;
  for (let k = first; k < end; k += step) sum += Math.exp(values[k]! - max);
  const logSum = Math.log(sum);
  for (let k = first; k < end; k += step) {
    const x = values[k]! - max;
    out[k] = log ? x - logSum : Math.exp(x) / sum;
  }
}
