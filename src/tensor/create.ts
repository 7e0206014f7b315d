import { checkNumber, checkOptions, describe, rangeError, typeError } from '../errors.js';
import { bool, checkPlainDType, emptyArray, float32, int64, type DType } from './dtype.js';
import { fill, write, writeChecked } from './elements.js';
import { canNest, mostNested, type NestedArray } from './nested.js';
import { joined } from './rearrange.js';
import {
  dimension,
  formatShape,
  maxRank,
  numelOf,
  sizeArguments,
  sizes,
  type SizeArguments,
} from './shape.js';
import { checkTensor, Tensor } from './tensor.js';

/** Options of functions that make tensors. */
export interface CreateOptions {
  /** Default: float32, if the function does not say otherwise. */
  dtype?: DType;
}

/**
 * A tensor from nested arrays. Default dtype: float32; int64 for bigints, bool for booleans.
 *
 * @throws {RangeError} for arrays that differ in length, more than 2^27 elements, or what does not fit the dtype
 */
export function tensor(values: NestedArray, options: CreateOptions = {}): Tensor {
  checkOptions('tensor', options, ['dtype']);
  const shape = nestedShape(values);
  const count = numelOf(shape);
  // Few arrays can stand for many, where they hold each other more than once.
  if (count > mostNested || (count === 0 && !canNest(shape)))
    throw rangeError(
      'ERR_TOO_LARGE',
      `values should hold at most ${mostNested} elements, got the shape ${formatShape(shape)}`,
    );
  const kind = typeof firstOf(values, shape);
  const { dtype = kind === 'bigint' ? int64 : kind === 'boolean' ? bool : float32 } = options;
  checkPlainDType('tensor', dtype);
  const out = emptyArray(dtype, count);
  let written = 0;
  const walk = (value: NestedArray, dim: number): void => {
    const length = lengthAt(value, dim, shape);
    if (length === undefined) writeChecked(out, written++, value as number, dtype);
    else for (let i = 0; i < length; i++) walk((value as NestedArray[])[i]!, dim + 1);
  };
  walk(values, 0);
  return new Tensor(out, shape, { dtype });
}

/** The shape, from the length of the first array of each level. */
function nestedShape(values: NestedArray): number[] {
  const shape: number[] = [];
  for (let level: NestedArray = values; Array.isArray(level); level = level[0] as NestedArray) {
    if (shape.length === maxRank)
      throw rangeError('ERR_SHAPE', `values should be nested at most ${maxRank} deep`);
    shape.push(level.length);
    if (level.length === 0) break;
  }
  return shape;
}

/** The first element; undefined if there is none. */
function firstOf(values: NestedArray, shape: readonly number[]): NestedArray | undefined {
  let value: NestedArray | undefined = values;
  for (let dim = 0; dim < shape.length; dim++) value = (value as NestedArray[] | undefined)?.[0];
  return value;
}

/**
 * The length of a value at some depth; undefined if it is an element.
 *
 * @throws {TypeError | RangeError} when it is of another kind, or not of that shape
 */
function lengthAt(value: NestedArray, dim: number, shape: readonly number[]): number | undefined {
  const isArray = Array.isArray(value);
  if (isArray !== dim < shape.length || (isArray && value.length !== shape[dim])) {
    throw rangeError(
      'ERR_SHAPE',
      `values should be nested arrays of equal lengths, but differ at dimension ${dim}`,
    );
  }
  if (isArray) return shape[dim];
  if (['number', 'bigint', 'boolean'].includes(typeof value)) return undefined;
  const sentence = `values should be numbers, bigints or booleans, got ${describe(value)}`;
  throw typeError('ERR_INVALID_ARG_TYPE', sentence);
}

/** A tensor of one value everywhere. */
export function full(shape: number | readonly number[], value: number, options: CreateOptions = {}): Tensor {
  checkOptions('full', options, ['dtype']);
  checkNumber('value', value);
  return filled('full', sizes('full', [shape]), value, options);
}

/** `zeros(2, 3)` or `zeros([2, 3], { dtype })`. */
export function zeros(...args: SizeArguments<CreateOptions>): Tensor {
  const [shape, options] = sizeArguments(args, ['dtype'], 'zeros');
  return filled('zeros', shape, 0, options);
}

/** `ones(2, 3)` or `ones([2, 3], { dtype })`. */
export function ones(...args: SizeArguments<CreateOptions>): Tensor {
  const [shape, options] = sizeArguments(args, ['dtype'], 'ones');
  return filled('ones', shape, 1, options);
}

function filled(
  where: string,
  shape: readonly number[],
  value: number,
  { dtype = float32 }: CreateOptions,
): Tensor {
  checkPlainDType(where, dtype);
  const out = emptyArray(dtype, numelOf(shape));
  if (!Object.is(value, 0)) fill(out, value, dtype);
  return new Tensor(out, shape, { dtype });
}

/** 0, 1, …, end - 1. Default dtype: int64, as in PyTorch. */
export function arange(end: number, options: CreateOptions = {}): Tensor {
  checkNumber('end', end);
  if (!Number.isSafeInteger(end) || end < 0)
    throw rangeError('ERR_INVALID_ARG_VALUE', `end should be a size, got ${end}`);
  checkOptions('arange', options, ['dtype']);
  const { dtype = int64 } = options;
  checkPlainDType('arange', dtype);
  if (dtype === bool) throw rangeError('ERR_UNSUPPORTED', `"arange_cpu" not implemented for 'Bool'`);
  const out = emptyArray(dtype, end);
  for (let i = 0; i < end; i++) write(out, i, i);
  return new Tensor(out, [end], { dtype });
}

/** Joins tensors along a dimension that they have. */
export function cat(tensors: readonly Tensor[], dim = 0): Tensor {
  checkTensors('cat', tensors);
  const first = tensors[0]!;
  const at = dimension('dim', dim, first.dim());
  tensors.forEach((t, i) => checkJoinable(t, i, first, at));
  const parts = tensors.map((t, i) => ({ data: t.checked(`tensors[${i}]`), shape: t.shape }));
  const { data, shape, dtype } = joined(first, parts, at);
  return new Tensor(data, shape, { dtype });
}

/** Joins tensors of one shape along a new dimension. */
export function stack(tensors: readonly Tensor[], dim = 0): Tensor {
  checkTensors('stack', tensors);
  const at = dimension('dim', dim, tensors[0]!.dim() + 1);
  return cat(
    tensors.map((t) => t.reshape([...t.shape.slice(0, at), 1, ...t.shape.slice(at)])),
    at,
  );
}

function checkTensors(where: string, tensors: unknown): void {
  if (!Array.isArray(tensors)) {
    const sentence = `${where}(): tensors should be an array of Tensors, got ${describe(tensors)}`;
    throw typeError('ERR_INVALID_ARG_TYPE', sentence);
  }
  if (tensors.length === 0)
    throw rangeError('ERR_INVALID_ARG_VALUE', `${where}(): expected a non-empty list of Tensors`);
  for (let i = 0; i < tensors.length; i++) checkTensor(`tensors[${i}]`, tensors[i]);
}

/** Checks that `cat` can put a tensor behind the first one. */
function checkJoinable(t: Tensor, i: number, first: Tensor, at: number): void {
  if (t.dtype !== first.dtype || t.quantization !== undefined) {
    throw typeError(
      'ERR_DTYPE',
      `cat(): expected plain tensors of one dtype, got ${first.dtype} and ${t.dtype}`,
    );
  }
  if (t.dim() === 0) {
    const sentence = `zero-dimensional tensor (at position ${i}) cannot be concatenated`;
    throw rangeError('ERR_SHAPE', sentence);
  }
  if (t.dim() !== first.dim() || t.shape.some((n, d) => d !== at && n !== first.shape[d])) {
    throw rangeError(
      'ERR_SHAPE',
      `cat(): sizes must match except in dimension ${at}, got ${formatShape(first.shape)} and ${formatShape(t.shape)}`,
    );
  }
}
