import {
  arrayName,
  checkBoolean,
  checkInteger,
  checkOptions,
  describe,
  rangeError,
  typeError,
} from '../errors.js';
import { emptyArray, int64, type TensorData } from './dtype.js';
import { isBigInt, numbersOf } from './elements.js';
import type { Result, Source } from './result.js';
import { dimension, numelOf, resized, splitAt, without, type Split } from './shape.js';

/** Elements of a tensor, and where they are along a dimension. */
export interface Chosen {
  readonly values: Result;
  readonly indices: Result;
}

/** Options of `sort` and `argsort`. */
export interface SortOptions {
  /** Whether the largest comes first. Default: false. */
  descending?: boolean;
  /** Equal elements keep their order in either case; here as in PyTorch. Default: false. */
  stable?: boolean;
}

/** Options of `topk`. */
export interface TopKOptions {
  /** Whether the largest are taken, and not the least. Default: true. */
  largest?: boolean;
  /** The elements are in order in either case; here as in PyTorch. Default: true. */
  sorted?: boolean;
}

/** Elements that can be compared. */
type Keys = ArrayLike<number | bigint>;

function keysOf(tensor: Source): Keys {
  const data = tensor.checked();
  return isBigInt(data) ? data : numbersOf(tensor);
}

/** Whether element a comes before element b. A NaN is larger than all numbers. Equals are in the order they have. */
function isBefore(keys: Keys, a: number, b: number, descending: boolean): boolean {
  const x = keys[a]!;
  const y = keys[b]!;
  if (x < y) return !descending;
  if (x > y) return descending;
  const xIsNaN = x !== x;
  if (xIsNaN === (y !== y)) return a < b;
  return xIsNaN === descending;
}

/** The first `k` elements of each line in order, and their indices. */
function firstAlong(tensor: Source, at: number, k: number, descending: boolean): Chosen {
  const split = splitAt(tensor.shape, at);
  const keys = keysOf(tensor);
  const shape = tensor.shape.length === 0 ? [] : resized(tensor.shape, at, k);
  const indices = new BigInt64Array(numelOf(shape));
  const from = new Float64Array(indices.length);
  const { length, inner } = split;
  for (let line = 0; k > 0 && line < indices.length / k; line++) {
    const block = Math.floor(line / inner);
    const column = line % inner;
    const first = block * length * inner + column;
    const chosen = firstOf(keys, first, split, k, descending);
    for (let i = 0; i < k; i++) {
      const to = (block * k + i) * inner + column;
      from[to] = chosen[i]!;
      indices[to] = BigInt((chosen[i]! - first) / inner);
    }
  }
  return { values: picked(tensor, from, shape), indices: { data: indices, shape, dtype: int64 } };
}

/** The places of the first `k` elements of one line, in order. */
function firstOf(
  keys: Keys,
  first: number,
  { length, inner }: Split,
  k: number,
  descending: boolean,
): ArrayLike<number> {
  const compare = (a: number, b: number): number => (isBefore(keys, a, b, descending) ? -1 : 1);
  // A few of many are kept in order while the others pass: the usual one is compared with the last of them only.
  if (k <= mostKept && 8 * k <= length) {
    const kept: number[] = [];
    for (let i = 0; i < length; i++) {
      const place = first + i * inner;
      if (kept.length === k && !isBefore(keys, place, kept[k - 1]!, descending)) continue;
      if (kept.length === k) kept.pop();
      let at = kept.length;
      while (at > 0 && isBefore(keys, place, kept[at - 1]!, descending)) at--;
      kept.splice(at, 0, place);
    }
    return kept;
  }
  if (arrayName(keys) === 'Float32Array' && length <= mostPacked)
    return packedSort(keys as Float32Array, first, { length, inner }, descending).subarray(0, k);
  const places = Float64Array.from({ length }, (_, i) => first + i * inner);
  return places.sort(compare).subarray(0, k);
}
const mostKept = 64;
const mostPacked = 2 ** 21;

/**
 * The places of a line's floats in order, three times as fast as with a comparison in JavaScript: a float's bits, made an
 * integer of the same order, and its index in the line together are a number that a double holds exactly.
 */
function packedSort(
  keys: Float32Array,
  first: number,
  { length, inner }: Pick<Split, 'length' | 'inner'>,
  descending: boolean,
): Float64Array {
  const packed = new Float64Array(length);
  const float = new Float32Array(1);
  const bits = new Uint32Array(float.buffer);
  for (let i = 0; i < length; i++) {
    const key = keys[first + i * inner]!;
    float[0] = key + 0; // -0 and 0 are equal
    const magnitude = bits[0]! & 0x7fffffff;
    const order = key !== key ? 2 ** 31 : bits[0]! >= 2 ** 31 ? -magnitude : magnitude;
    packed[i] = (descending ? -order : order) * mostPacked + i;
  }
  packed.sort();
  for (let i = 0; i < length; i++) {
    const index = packed[i]! - Math.floor(packed[i]! / mostPacked) * mostPacked;
    packed[i] = first + index * inner;
  }
  return packed;
}

/** A tensor's elements at these places. */
function picked(tensor: Source, places: Float64Array, shape: readonly number[]): Result {
  const { dtype } = tensor;
  const data = tensor.checked();
  const out = emptyArray(dtype, places.length);
  for (let i = 0; i < out.length; i++) out[i] = data[places[i]!]!;
  return { data: out, shape, dtype };
}

export function sorted(
  name: 'sort' | 'argsort',
  tensor: Source,
  dim = -1,
  options: SortOptions = {},
): Chosen {
  checkOptions(name, options, ['descending', 'stable']);
  const { descending = false, stable = false } = options;
  checkBoolean('descending', descending);
  checkBoolean('stable', stable);
  const at = dimension('dim', dim, tensor.shape.length);
  return firstAlong(tensor, at, tensor.shape[at] ?? 1, descending);
}

/** @throws {RangeError} unless `k` is from 0 to the dimension's size */
export function topK(tensor: Source, k: number, dim = -1, options: TopKOptions = {}): Chosen {
  checkOptions('topk', options, ['largest', 'sorted']);
  const { largest = true, sorted: inOrder = true } = options;
  checkBoolean('largest', largest);
  checkBoolean('sorted', inOrder);
  checkInteger('k', k);
  const at = dimension('dim', dim, tensor.shape.length);
  const size = tensor.shape[at] ?? 1;
  if (k < 0 || k > size) {
    throw rangeError(
      'ERR_OUT_OF_RANGE',
      `topk(): selected index k out of range: k is ${k}, the size ${size}`,
    );
  }
  return firstAlong(tensor, at, k, largest);
}

/** The best element of each line and its index: the first of equals, or a NaN. */
export function bestAlong(
  name: 'max' | 'min' | 'argmax' | 'argmin',
  tensor: Source,
  dim: number | null | undefined,
  keepdim = false,
): Chosen {
  checkBoolean('keepdim', keepdim);
  if (dim !== undefined && dim !== null && typeof dim !== 'number') {
    throw typeError('ERR_INVALID_ARG_TYPE', `${name}(): dim should be an integer, got ${describe(dim)}`);
  }
  const all = dim === undefined || dim === null;
  const { shape } = tensor;
  const at = all ? 0 : dimension('dim', dim, shape.length);
  const split = all ? { outer: 1, length: numelOf(shape), inner: 1 } : splitAt(shape, at);
  if (split.length === 0) {
    throw rangeError('ERR_SHAPE', `${name}(): Expected reduction dim to have non-zero size`);
  }
  const keys = keysOf(tensor);
  const ones = (): number[] => (all ? shape.map(() => 1) : resized(shape, at, 1));
  const result = keepdim ? ones() : all ? [] : without(shape, at);
  const places = new Float64Array(split.outer * split.inner);
  const indices = new BigInt64Array(places.length);
  for (let line = 0; line < places.length; line++) {
    const first = Math.floor(line / split.inner) * split.length * split.inner + (line % split.inner);
    const index = bestOf(keys, first, split, name.endsWith('max'));
    indices[line] = BigInt(index);
    places[line] = first + index * split.inner;
  }
  const values = name.startsWith('arg') ? undefined : picked(tensor, places, result);
  const found = { data: indices as TensorData, shape: result, dtype: int64 } as const;
  return { values: values ?? found, indices: found };
}

function bestOf(keys: Keys, first: number, { length, inner }: Split, isMax: boolean): number {
  let best = 0;
  let bestValue = keys[first]!;
  for (let i = 1; i < length && bestValue === bestValue; i++) {
    const value = keys[first + i * inner]!;
    if ((isMax ? value > bestValue : value < bestValue) || value !== value) {
      best = i;
      bestValue = value;
    }
  }
  return best;
}
