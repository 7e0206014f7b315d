import { checkInteger, rangeError } from '../errors.js';
import { isBigInt } from './elements.js';
import type { Result, Source } from './result.js';
import {
  checkedShape,
  completed,
  dimension,
  formatShape,
  integersOf,
  maxRank,
  numelOf,
  resized,
} from './shape.js';
import { merged, moveInto, newArray, stepsOf, walked } from './strided.js';

/** The shape with the dimensions from `start` to `end` as one. */
export function flattened(shape: readonly number[], start: unknown = 0, end: unknown = -1): number[] {
  const first = dimension('startDim', start, shape.length);
  const last = dimension('endDim', end, shape.length);
  if (first > last) {
    const sentence = 'flatten() has invalid args: start_dim cannot come after end_dim';
    throw rangeError('ERR_INVALID_ARG_VALUE', sentence);
  }
  return [...shape.slice(0, first), numelOf(shape.slice(first, last + 1)), ...shape.slice(last + 1)];
}

/** The shape with one dimension as several. */
export function unflattened(shape: readonly number[], at: number, wanted: unknown): number[] {
  const given = checkedShape(wanted);
  if (given.length === 0) throw rangeError('ERR_SHAPE', 'unflatten: sizes must be non-empty');
  const size = shape[at]!;
  const sentence = `unflatten: Provided sizes ${formatShape(given)} don't multiply up to the size of dim ${at} (${size}) in the input tensor`;
  return [...shape.slice(0, at), ...completed(given, size, sentence), ...shape.slice(at + 1)];
}

/** A copy with the dimensions in the order of `order`. */
export function permuted(tensor: Source, order: readonly number[]): Result {
  const own = stepsOf(tensor.shape);
  const shape: number[] = [];
  const steps: number[] = [];
  for (let i = 0; i < order.length; i++) {
    shape.push(tensor.shape[order[i]!]!);
    steps.push(own[order[i]!]!);
  }
  return walked(tensor, { shape, steps, begin: 0 });
}

/** A copy with two dimensions exchanged. */
export function transposed(tensor: Source, a: number, b: number): Result {
  const order: number[] = [];
  for (let dim = 0; dim < tensor.shape.length; dim++) order.push(dim === a ? b : dim === b ? a : dim);
  return permuted(tensor, order);
}

/** Each dimension of a permutation, counted from 0. */
export function checkedOrder(dims: readonly number[], rank: number): number[] {
  if (dims.length !== rank) {
    const sentence =
      'number of dimensions in the tensor input does not match the length of the desired ordering of dimensions';
    throw rangeError(
      'ERR_SHAPE',
      `permute(): ${sentence} i.e. input.dim() = ${rank} is not equal to len(dims) = ${dims.length}`,
    );
  }
  return distinct(dims, rank, () => 'permute(): duplicate dims are not allowed.');
}

/** Different dimensions, counted from 0. */
export function distinct(
  dims: readonly number[],
  rank: number,
  sentence = (dim: number): string => `dim ${dim} appears multiple times in the list of dims`,
): number[] {
  const known: number[] = [];
  for (let i = 0; i < dims.length; i++) {
    const dim = dimension('dims', dims[i], rank);
    if (known.includes(dim)) throw rangeError('ERR_INVALID_ARG_VALUE', sentence(dim));
    known.push(dim);
  }
  return known;
}

/** The integers of `(0, 1)` or `([0, 1])`, in a list of their own. */
export function listed(name: string, args: readonly unknown[]): number[] {
  return integersOf(name, args.length === 1 && Array.isArray(args[0]) ? args[0] : args, maxRank);
}

/** A copy with the dimensions of `source` at the places `destination`, the others in their order. */
export function dimensionsMoved(
  rank: number,
  source: readonly number[],
  destination: readonly number[],
): number[] {
  if (source.length !== destination.length) {
    const sentence = `movedim: Invalid source or destination dims: source (${formatShape(source)} dims) should contain the same number of dims as destination (${formatShape(destination)} dims)`;
    throw rangeError('ERR_INVALID_ARG_VALUE', sentence);
  }
  const repeated = (name: string, dims: readonly number[]) => (): string =>
    `movedim: repeated dim in \`${name}\` (${formatShape(dims)})`;
  const from = distinct(source, rank, repeated('source', source));
  const to = distinct(destination, rank, repeated('destination', destination));
  const order = new Array<number>(rank).fill(-1);
  to.forEach((place, i) => (order[place] = from[i]!));
  const rest = Array.from({ length: rank }, (_, i) => i).filter((dim) => !from.includes(dim));
  return order.map((dim) => (dim < 0 ? rest.shift()! : dim));
}

/** A copy of every `step`-th index from `start` up to and without `end` of a dimension. Negative ones count from the end. */
export function sliced(
  tensor: Source,
  at: number,
  start: unknown = 0,
  end: unknown = tensor.shape[at]!,
  step: unknown = 1,
): Result {
  const length = tensor.shape[at]!;
  checkInteger('start', start);
  checkInteger('end', end);
  checkInteger('step', step);
  if (step <= 0) throw rangeError('ERR_INVALID_ARG_VALUE', `slice step must be positive, got ${step}`);
  const clamp = (index: number): number => Math.min(Math.max(index < 0 ? index + length : index, 0), length);
  const from = clamp(start);
  return part(tensor, at, from, Math.max(Math.ceil((clamp(end) - from) / step), 0), step);
}

/** A copy of `length` indices of a dimension. */
export function part(tensor: Source, at: number, start: number, length: number, every = 1): Result {
  const steps = stepsOf(tensor.shape);
  const begin = start * steps[at]!;
  return walked(tensor, {
    shape: resized(tensor.shape, at, length),
    steps: every === 1 ? steps : resized(steps, at, every * steps[at]!),
    begin,
  });
}

/** A copy of `length` indices of a dimension, from `start` on, which may count from the end. */
export function narrowed(tensor: Source, at: number, start: unknown, length: unknown): Result {
  const size = tensor.shape[at]!;
  checkInteger('start', start);
  checkInteger('length', length);
  if (length < 0) throw rangeError('ERR_INVALID_ARG_VALUE', 'narrow(): length must be non-negative.');
  if (start < -size || start > size) {
    const sentence = `start out of range (expected to be in range of [${-size}, ${size}], but got ${start})`;
    throw rangeError('ERR_OUT_OF_RANGE', sentence);
  }
  const from = start < 0 ? start + size : start;
  if (from + length > size) {
    const sentence = `start (${from}) + length (${length}) exceeds dimension size (${size}).`;
    throw rangeError('ERR_OUT_OF_RANGE', sentence);
  }
  return part(tensor, at, from, length);
}

/** The sizes of the parts of `split`: all of one size but the last, or as listed. */
export function partSizes(size: number, wanted: unknown, at: number): number[] {
  if (Array.isArray(wanted)) {
    const list = integersOf('splitSize', wanted, mostParts);
    if (list.some((each) => each < 0)) {
      const sentence = `split_with_sizes expects split_sizes have only non-negative entries, but got split_sizes=${formatShape(list)}`;
      throw rangeError('ERR_INVALID_ARG_VALUE', sentence);
    }
    if (list.reduce((a, b) => a + b, 0) !== size) {
      const sentence = `split_with_sizes expects split_sizes to sum exactly to ${size} (input tensor's size at dimension ${at}), but got split_sizes=${formatShape(list)}`;
      throw rangeError('ERR_SHAPE', sentence);
    }
    return list;
  }
  checkInteger('splitSize', wanted);
  if (wanted < 0) {
    const sentence = `split expects split_size be non-negative, but got split_size=${wanted}`;
    throw rangeError('ERR_INVALID_ARG_VALUE', sentence);
  }
  if (wanted === 0 && size > 0) {
    const sentence = `split_size can only be 0 if dimension size is 0, but got dimension size of ${size}`;
    throw rangeError('ERR_INVALID_ARG_VALUE', sentence);
  }
  const count = checkedCount('split', Math.max(Math.ceil(size / Math.max(wanted, 1)), 1));
  return Array.from({ length: count }, (_, i) => Math.min(wanted, size - i * wanted));
}

/** The sizes of the parts of `chunk`: so many, or fewer where they would be empty. */
export function chunkSizes(size: number, chunks: unknown, at: number): number[] {
  checkInteger('chunks', chunks);
  if (chunks <= 0) {
    const sentence = `chunk expects \`chunks\` to be greater than 0, got: ${chunks}`;
    throw rangeError('ERR_INVALID_ARG_VALUE', sentence);
  }
  if (size === 0) return new Array<number>(checkedCount('chunk', chunks)).fill(0);
  return partSizes(size, Math.ceil(size / chunks), at);
}

/** More tensors are of no use to anybody. */
const mostParts = 2 ** 20;

/** How many tensors a dimension becomes. */
export function checkedCount(name: string, size: number): number {
  if (size > mostParts)
    throw rangeError('ERR_TOO_LARGE', `${name}() should give at most 2^20 tensors, got ${size}`);
  return size;
}

/** Copies of parts of a dimension, one after the other. */
export function parts(tensor: Source, at: number, lengths: readonly number[]): Result[] {
  let start = 0;
  return lengths.map((length) => part(tensor, at, (start += length) - length, length));
}

/** Repeats dimensions of size 1; a size of -1 keeps what there is. */
export function expanded(tensor: Source, wanted: readonly number[]): Result {
  const { shape } = tensor;
  const more = wanted.length - shape.length;
  if (more < 0) {
    const sentence = `expand(size=${formatShape(wanted)}): the number of sizes provided (${wanted.length}) must be greater or equal to the number of dimensions in the tensor (${shape.length})`;
    throw rangeError('ERR_SHAPE', sentence);
  }
  const own = stepsOf(shape);
  const sizes = wanted.map((size, i) => {
    if (size === -1 && i < more) {
      const sentence = `The expanded size of the tensor (-1) isn't allowed in a leading, non-existing dimension ${i}`;
      throw rangeError('ERR_SHAPE', sentence);
    }
    const had = shape[i - more] ?? 1;
    if (size === -1 || size === had) return had;
    if (i >= more && had !== 1) {
      const sentence = `The expanded size of the tensor (${size}) must match the existing size (${had}) at non-singleton dimension ${i}.  Target sizes: ${formatShape(wanted)}.  Tensor sizes: ${formatShape(shape)}`;
      throw rangeError('ERR_SHAPE', sentence);
    }
    return size;
  });
  const steps = sizes.map((_, i) => ((shape[i - more] ?? 1) === 1 ? 0 : own[i - more]!));
  return walked(tensor, { shape: sizes, steps, begin: 0 });
}

/** The tensor so many times along each dimension. */
export function repeated(tensor: Source, repeats: readonly number[]): Result {
  const { shape } = tensor;
  const more = repeats.length - shape.length;
  if (more < 0) {
    const sentence =
      'Number of dimensions of repeat dims can not be smaller than number of dimensions of tensor';
    throw rangeError('ERR_SHAPE', sentence);
  }
  repeats.forEach((times) => {
    if (times < 0) throw rangeError('ERR_INVALID_ARG_VALUE', `repeats should not be negative, got ${times}`);
  });
  const own = stepsOf(shape);
  const sizes = repeats.flatMap((times, i) => (i < more ? [times] : [times, shape[i - more]!]));
  const steps = repeats.flatMap((_, i) => (i < more ? [0] : [0, own[i - more]!]));
  const { data } = walked(tensor, { shape: sizes, steps, begin: 0 });
  const out = repeats.map((times, i) => times * (shape[i - more] ?? 1));
  return { data, shape: out, dtype: tensor.dtype };
}

/** A copy with the order of some dimensions reversed. */
export function flipped(tensor: Source, dims: readonly number[]): Result {
  const { shape } = tensor;
  const steps = stepsOf(shape);
  let begin = 0;
  for (const dim of dims) {
    if (shape.length === 0) break;
    begin += (shape[dim]! - 1) * steps[dim]!;
    steps[dim]! *= -1;
  }
  return walked(tensor, { shape, steps, begin: Math.max(begin, 0) });
}

/** A copy whose elements moved on along dimensions; those beyond an end begin anew. */
export function rolled(tensor: Source, shifts: readonly number[], dims: readonly number[]): Result {
  if (shifts.length !== dims.length || shifts.length === 0) {
    const sentence = `shifts and dimensions must align. shifts: ${shifts.length}, dims:${dims.length}`;
    throw rangeError('ERR_INVALID_ARG_VALUE', sentence);
  }
  let result: Result = { data: tensor.checked(), shape: tensor.shape, dtype: tensor.dtype };
  shifts.forEach((shift, i) => {
    const at = dimension('dims', dims[i], tensor.shape.length);
    result = rolledAlong(result, shift, at);
  });
  return result;
}

/** The same of all elements in a row. */
export function rolledAsRow(tensor: Source, shifts: readonly number[]): Result {
  const { shape, dtype } = tensor;
  if (shifts.length !== 1) {
    const sentence = `shifts and dimensions must align. shifts: ${shifts.length}, dims:0`;
    throw rangeError('ERR_INVALID_ARG_VALUE', sentence);
  }
  const data = tensor.checked();
  return { ...rolledAlong({ data, shape: [data.length], dtype }, shifts[0]!, 0), shape };
}

function rolledAlong({ data, shape, dtype }: Result, shift: number, at: number): Result {
  if (data.length === 0 || shape.length === 0) return { data: data.slice(), shape, dtype };
  const size = shape[at]!;
  const by = ((shift % size) + size) % size;
  const steps = stepsOf(shape);
  const out = newArray(dtype, data.length);
  const row = (from: number, to: number, length: number): void => {
    if (length > 0)
      moveInto(
        out,
        to * steps[at]!,
        data,
        from * steps[at]!,
        merged(resized(shape, at, length), steps, steps),
      );
  };
  row(size - by, 0, by);
  row(0, by, size - by);
  return { data: out, shape, dtype };
}

/** Windows of `size` indices, `step` apart, of a dimension: their elements are the new last dimension. */
export function windows(tensor: Source, at: number, size: unknown, step: unknown): Result {
  const shape = tensor.shape.length === 0 ? [1] : tensor.shape;
  const steps = stepsOf(shape);
  const length = shape[at]!;
  checkInteger('size', size);
  checkInteger('step', step);
  if (size < 0) throw rangeError('ERR_INVALID_ARG_VALUE', `size is ${size} but must be >= 0`);
  if (size > length) {
    const sentence = `maximum size for tensor at dimension ${at} is ${length} but size is ${size}`;
    throw rangeError('ERR_SHAPE', sentence);
  }
  if (step <= 0) throw rangeError('ERR_INVALID_ARG_VALUE', `step is ${step} but must be > 0`);
  const count = Math.floor((length - size) / step) + 1;
  const whole = tensor.shape.length > 0;
  return walked(tensor, {
    shape: whole ? [...resized(shape, at, count), size] : [size],
    steps: whole ? [...resized(steps, at, steps[at]! * step), steps[at]!] : [1],
    begin: 0,
  });
}

/** The parts one behind the other along a dimension. All have one dtype and fit. */
export function joined(
  { dtype }: Pick<Source, 'dtype'>,
  tensors: readonly Pick<Result, 'data' | 'shape'>[],
  at: number,
): Result {
  const size = tensors.reduce((sum, { shape }) => sum + shape[at]!, 0);
  const shape = resized(tensors[0]!.shape, at, size);
  const count = numelOf(shape);
  const data = newArray(dtype, count);
  const steps = stepsOf(shape);
  let place = 0;
  for (const each of tensors) {
    if (each.data.length > 0)
      moveInto(data, place, each.data, 0, merged(each.shape, stepsOf(each.shape), steps));
    place += each.shape[at]! * steps[at]!;
  }
  return { data, shape, dtype };
}

/** The elements on and below (`lower`), or on and above a diagonal of the last two dimensions; 0 elsewhere. */
export function triangle(name: 'tril' | 'triu', tensor: Source, diagonal: unknown = 0): Result {
  const lower = name === 'tril';
  const { shape, dtype } = tensor;
  checkInteger('diagonal', diagonal);
  if (shape.length < 2)
    throw rangeError('ERR_SHAPE', `${name}: input tensor must have at least 2 dimensions`);
  const data = tensor.checked().slice();
  const [rows, columns] = shape.slice(-2) as [number, number];
  for (let begin = 0; begin < data.length; begin += columns) {
    const row = (begin / columns) % rows;
    const edge = Math.min(Math.max(row + diagonal + (lower ? 1 : 0), 0), columns);
    const [from, to] = lower ? [edge, columns] : [0, edge];
    data.fill((isBigInt(data) ? 0n : 0) as never, begin + from, begin + to);
  }
  return { data, shape, dtype };
}
