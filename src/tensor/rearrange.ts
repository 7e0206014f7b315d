import { describe, rangeError, typeError } from '../errors.js';
import { emptyArray, type TensorData } from './dtype.js';
import type { Numbers } from './elements.js';
import type { Result, Source } from './result.js';
import { dimension, formatShape, numelOf, resized, splitAt, type Split } from './shape.js';

/** A copy with the dimensions in the order of `order`. */
export function permuted(tensor: Source, order: readonly number[]): Result {
  const { dtype } = tensor;
  const shape = order.map((dim) => tensor.shape[dim]!);
  const steps = order.map((dim) => numelOf(tensor.shape.slice(dim + 1)));
  const data = tensor.checked();
  const out = emptyArray(dtype, data.length);
  const index = shape.map(() => 0);
  let from = 0;
  for (let to = 0; to < out.length; to++) {
    out[to] = data[from]!;
    for (let d = shape.length - 1; d >= 0; d--) {
      from += steps[d]!;
      if (++index[d]! < shape[d]!) break;
      from -= steps[d]! * shape[d]!;
      index[d] = 0;
    }
  }
  return { data: out, shape, dtype };
}

/** Different dimensions, counted from 0. */
export function distinct(dims: readonly unknown[], rank: number): number[] {
  const known = dims.map((dim) => dimension('dims', dim, rank));
  known.forEach((dim, i) => {
    if (known.indexOf(dim) === i) return;
    const sentence = `dim ${dim} appears multiple times in the list of dims`;
    throw rangeError('ERR_INVALID_ARG_VALUE', sentence);
  });
  return known;
}

/** A copy with the dimensions `first` < `last` exchanged. */
export function transposed(tensor: Source, first: number, last: number): Result {
  const shape = [...tensor.shape];
  [shape[first], shape[last]] = [shape[last]!, shape[first]!];
  const data = tensor.checked();
  const out = emptyArray(tensor.dtype, data.length);
  transposeInto(out, data, tensor.shape, first, last);
  return { data: out, shape, dtype: tensor.dtype };
}

/** A copy of the indices from `start` up to and without `end` of a dimension. Negative ones count from the end. */
export function sliced(tensor: Source, at: number, start: number, end: number | undefined): Result {
  if (!Number.isInteger(start) || (end !== undefined && !Number.isInteger(end))) {
    throw typeError(
      'ERR_INVALID_ARG_TYPE',
      `slice(): start and end should be integers, got ${describe(start)} and ${describe(end)}`,
    );
  }
  const split = splitAt(tensor.shape, at);
  const { length } = split;
  const clamp = (index: number): number => Math.min(Math.max(index < 0 ? index + length : index, 0), length);
  const from = clamp(start);
  const shape = resized(tensor.shape, at, Math.max(clamp(end ?? length) - from, 0));
  const data = tensor.checked();
  const out = emptyArray(tensor.dtype, numelOf(shape));
  sliceInto(out, data, split, from);
  return { data: out, shape, dtype: tensor.dtype };
}

function transposeInto(
  out: TensorData,
  data: TensorData,
  shape: readonly number[],
  first: number,
  last: number,
): void {
  if (data.length === 0) return;
  const outer = numelOf(shape.slice(0, first));
  const rows = shape[first]!;
  const middle = numelOf(shape.slice(first + 1, last));
  const columns = shape[last]!;
  const inner = numelOf(shape.slice(last + 1));
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
}

/** Copies indices of the split's dimension, beginning with `from`, as many as `out` has room for. */
function sliceInto(out: TensorData, data: TensorData, { outer, length, inner }: Split, from: number): void {
  if (out.length === 0) return;
  const block = out.length / outer;
  for (let o = 0; o < outer; o++) {
    const begin = (o * length + from) * inner;
    out.set(data.subarray(begin, begin + block) as never, o * block);
  }
}

/** Writes the parts into `out` in turn: the first block of each, then the second of each, up to `outer` blocks. */
export function joinInto(out: TensorData, parts: readonly TensorData[], outer: number): void {
  if (out.length === 0) return;
  let to = 0;
  for (let o = 0; o < outer; o++) {
    for (const part of parts) {
      const block = part.length / outer;
      out.set(part.subarray(o * block, (o + 1) * block) as never, to);
      to += block;
    }
  }
}

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
