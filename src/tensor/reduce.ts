import { checkBoolean, checkNumber, checkOptions, describe, rangeError, typeError } from '../errors.js';
import { callReduce, callSoftmax, type Reduction } from '../native/call-reduce.js';
import {
  bool,
  checkPlainDType,
  emptyArray,
  float32,
  int64,
  isFloat,
  uint8,
  type DType,
  type TensorData,
} from './dtype.js';
import {
  checkFloat,
  checkPlain,
  converted,
  isBigInt,
  numbersOf,
  refuseBool,
  write,
  type Numbers,
} from './elements.js';
import { distinct, permuted } from './rearrange.js';
import type { Result, Source } from './result.js';
import { dimension, numelOf, resized, splitAt, without, type Split } from './shape.js';

/** The dimensions of a reduction: one, several, or all (an empty list, null or undefined). */
export type Dims = number | readonly number[] | null | undefined;

/** Options of a reduction that computes in a dtype of choice. */
export interface DTypeOptions {
  /** The dtype that the elements are converted to first, which is also the result's. Default: see the method. */
  dtype?: DType;
}

/** Options of `std` and `var`. */
export interface DeviationOptions {
  /** What is subtracted from the number of elements before the sum of squares is divided by it. Default: 1. */
  correction?: number;
  /** Whether reduced dimensions stay, with size 1. Default: false. */
  keepdim?: boolean;
}

/** A tensor whose lines along `split` are to be reduced, and the shape of the result. */
interface Reduced {
  readonly source: Source;
  readonly split: Split;
  readonly shape: readonly number[];
}

function over(tensor: Source, dims: Dims, keepdim: boolean | undefined): Reduced {
  if (keepdim !== undefined) checkBoolean('keepdim', keepdim);
  const { shape } = tensor;
  if (typeof dims === 'number') return overOne(tensor, dimension('dim', dims, shape.length), keepdim);
  if (dims !== undefined && dims !== null && !Array.isArray(dims)) {
    const sentence = `dim should be an integer or an array of integers, got ${describe(dims)}`;
    throw typeError('ERR_INVALID_ARG_TYPE', sentence);
  }
  if (dims === undefined || dims === null || dims.length === 0) {
    const split = { outer: 1, length: numelOf(shape), inner: 1 };
    return { source: tensor, split, shape: keepdim === true ? shape.map(() => 1) : [] };
  }
  const sorted = distinct(dims, shape.length).sort((a, b) => a - b);
  if (sorted.length === 1) return overOne(tensor, sorted[0]!, keepdim);
  const isReduced = (dim: number): boolean => sorted.includes(dim);
  const result =
    keepdim === true
      ? shape.map((size, dim) => (isReduced(dim) ? 1 : size))
      : shape.filter((_, dim) => !isReduced(dim));
  const [first, last] = [sorted[0]!, sorted.at(-1)!];
  const length = numelOf(sorted.map((dim) => shape[dim]!));
  if (last - first === sorted.length - 1) {
    const outer = numelOf(shape.slice(0, first));
    return { source: tensor, split: { outer, length, inner: numelOf(shape.slice(last + 1)) }, shape: result };
  }
  const kept = [...shape.keys()].filter((dim) => !isReduced(dim));
  const { dtype, data } = permuted(tensor, [...kept, ...sorted]);
  const source = { dtype, quantization: tensor.quantization, checked: () => data, shape };
  return {
    source,
    split: { outer: numelOf(kept.map((dim) => shape[dim]!)), length, inner: 1 },
    shape: result,
  };
}

function overOne(tensor: Source, at: number, keepdim = false): Reduced {
  const { shape } = tensor;
  return {
    source: tensor,
    split: splitAt(shape, at),
    shape: keepdim ? resized(shape, at, 1) : without(shape, at),
  };
}

/** The tensor itself, or its elements in another dtype. */
function inDType(tensor: Source, dtype: DType | undefined): Source {
  if (dtype === undefined || dtype === tensor.dtype) return tensor;
  const data = converted(tensor, dtype);
  return { dtype, quantization: undefined, shape: tensor.shape, checked: () => data };
}

function dtypeOption(name: string, options: DTypeOptions | undefined): DType | undefined {
  if (options === undefined) return undefined;
  checkOptions(name, options, ['dtype']);
  if (options.dtype !== undefined) checkPlainDType(name, options.dtype);
  return options.dtype;
}

// Lines -----------------------------------------------------------------------------------------------------

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

/** A number for each line, natively if `values` are float32 and lines have elements; else in double by `f`. */
function reduced(
  { source, split, shape }: Reduced,
  kernel: Reduction | undefined,
  f: (values: Numbers, line: Line) => number,
  finish?: (value: number) => number,
  dtype: DType = source.dtype,
): Result {
  const count = split.outer * split.inner;
  const isNative = kernel !== undefined && source.dtype === float32 && split.length > 0 && count > 0;
  if (isNative) {
    const values = source.checked() as Float32Array;
    const data = callReduce(kernel, values, split);
    for (let i = 0; finish !== undefined && i < count; i++) {
      // The root of what float32 does not hold may be a float32.
      const overflows = kernel === 'squaredDeviations' && data[i] === Infinity;
      data[i] = finish(overflows ? f(values, lineAt(split, i)) : data[i]!);
    }
    return { data, shape, dtype };
  }
  const values = numbersOf(source);
  const data = emptyArray(dtype, count);
  if (split.length === 0) {
    const value = f(values, { first: 0, end: 0, step: 1 });
    return { data: data.fill((finish === undefined ? value : finish(value)) as never), shape, dtype };
  }
  for (let i = 0; i < count; i++) {
    const value = f(values, lineAt(split, i));
    write(data, i, finish === undefined ? value : finish(value));
  }
  return { data, shape, dtype };
}

function fold(
  start: number,
  join: (a: number, b: number) => number,
): (values: Numbers, line: Line) => number {
  return (values, { first, end, step }) => {
    let result = start;
    for (let k = first; k < end; k += step) result = join(result, values[k]!);
    return result;
  };
}

const sumOf = fold(0, (a, b) => a + b);
const productOf = fold(1, (a, b) => a * b);
// A NaN is the result, whichever argument it is.
const leastOf = fold(Infinity, (a, b) => Math.min(a, b));
const largestOf = fold(-Infinity, (a, b) => Math.max(a, b));

/** Integers, exact: as numbers while they can be, else as bigints. Wraps around as the dtype does. */
function integersReduced(
  { source, split, shape }: Reduced,
  dtype: DType,
  start: number,
  join: (a: number, b: number) => number,
  joinBig: (a: bigint, b: bigint) => bigint,
): Result {
  const data = source.checked();
  const out = emptyArray(dtype, split.outer * split.inner);
  const bits = 8 * out.BYTES_PER_ELEMENT;
  for (let i = 0; i < out.length; i++) {
    const { first, end, step } = lineAt(split, i);
    let result = start;
    let k = first;
    for (; k < end && Number.isSafeInteger(result); k += step) result = join(result, Number(data[k]!));
    if (Number.isSafeInteger(result)) {
      write(out, i, result);
      continue;
    }
    let big = BigInt(start);
    for (k = first; k < end; k += step) big = joinBig(big, BigInt(data[k]!));
    big = BigInt.asIntN(bits, big);
    if (isBigInt(out)) out[i] = big;
    else out[i] = Number(big);
  }
  return { data: out, shape, dtype };
}

// Sums ------------------------------------------------------------------------------------------------------

export function sumAlong(tensor: Source, dims: Dims, keepdim?: boolean, options?: DTypeOptions): Result {
  const dtype = dtypeOption('sum', options);
  checkPlain('sum', tensor);
  const lines = over(inDType(tensor, dtype), dims, keepdim);
  if (isFloat(lines.source.dtype)) return reduced(lines, 'sum', sumOf);
  if (dtype === bool) return reduced(lines, undefined, largestOf, (x) => Number(x === 1));
  return integersReduced(
    lines,
    dtype ?? int64,
    0,
    (a, b) => a + b,
    (a, b) => a + b,
  );
}

export function prodAlong(
  tensor: Source,
  dim?: number | null,
  keepdim?: boolean,
  options?: DTypeOptions,
): Result {
  const dtype = dtypeOption('prod', options);
  checkPlain('prod', tensor);
  const lines = over(inDType(tensor, dtype), oneOrAll('prod', dim), keepdim);
  if (isFloat(lines.source.dtype)) return reduced(lines, 'product', productOf);
  if (dtype === bool) return reduced(lines, undefined, leastOf, (x) => Number(x >= 1));
  return integersReduced(
    lines,
    dtype ?? int64,
    1,
    (a, b) => a * b,
    (a, b) => a * b,
  );
}

/** The dimension of a reduction that takes no list of them. */
function oneOrAll(name: string, dim: unknown): number | undefined {
  if (dim === undefined || dim === null || typeof dim === 'number') return dim ?? undefined;
  throw typeError('ERR_INVALID_ARG_TYPE', `${name}(): dim should be an integer, got ${describe(dim)}`);
}

export function meanAlong(tensor: Source, dims: Dims, keepdim?: boolean, options?: DTypeOptions): Result {
  const source = inDType(tensor, dtypeOption('mean', options));
  if (!isFloat(source.dtype)) {
    throw typeError(
      'ERR_DTYPE',
      `mean(): could not infer output dtype. Input dtype must be a floating point dtype, got ${source.dtype}`,
    );
  }
  const lines = over(source, dims, keepdim);
  const { length } = lines.split;
  return reduced(lines, 'sum', sumOf, (sum) => sum / length);
}

/** The variance, or its root. */
export function deviationAlong(
  name: 'std' | 'var',
  tensor: Source,
  dims: Dims,
  options: DeviationOptions = {},
): Result {
  checkOptions(name, options, ['correction', 'keepdim']);
  const { correction = 1, keepdim } = options;
  checkNumber('correction', correction);
  if (!isFloat(tensor.dtype)) {
    const sentence = `std and var only support floating point and complex dtypes, got ${tensor.dtype}`;
    throw typeError('ERR_DTYPE', sentence);
  }
  const lines = over(tensor, dims, keepdim);
  const { length } = lines.split;
  const divisor = Math.max(0, length - correction);
  return reduced(lines, 'squaredDeviations', squaredDeviationsOf, (squares) => {
    const variance = length === 0 ? NaN : squares / divisor;
    return name === 'std' ? Math.sqrt(variance) : variance;
  });
}

function squaredDeviationsOf(values: Numbers, line: Line): number {
  const mean = sumOf(values, line) / ((line.end - line.first) / line.step);
  return fold(0, (sum, x) => sum + (x - mean) ** 2)(values, line);
}

export function normAlong(
  tensor: Source,
  p: number | 'fro' = 2,
  dims?: Dims,
  keepdim?: boolean,
  options?: DTypeOptions,
): Result {
  const order = p === 'fro' ? 2 : p;
  if (typeof order !== 'number' || Number.isNaN(order)) {
    throw typeError('ERR_INVALID_ARG_TYPE', `norm(): p should be a number or 'fro', got ${describe(p)}`);
  }
  const source = inDType(tensor, dtypeOption('norm', options));
  if (!isFloat(tensor.dtype) || !isFloat(source.dtype)) {
    const { dtype } = isFloat(tensor.dtype) ? source : tensor;
    const sentence = `linalg.vector_norm: Expected a floating point or complex tensor as input. Got ${dtype}`;
    throw typeError('ERR_DTYPE', sentence);
  }
  const lines = over(source, dims, keepdim);
  if (lines.split.length === 0 && (order < 0 || order === Infinity)) {
    throw rangeError(
      'ERR_SHAPE',
      `linalg.vector_norm cannot compute the ${order} norm on an empty tensor because the operation does not have an identity`,
    );
  }
  if (order === 1) return reduced(lines, 'sumOfMagnitudes', (values, line) => powersOf(1)(values, line));
  if (order === 2) return reduced(lines, 'sumOfSquares', powersOf(2), Math.sqrt);
  if (order === 0)
    return reduced(
      lines,
      undefined,
      fold(0, (sum, x) => sum + (x === 0 ? 0 : 1)),
    );
  if (order === Infinity)
    return reduced(
      lines,
      undefined,
      fold(0, (a, b) => Math.max(a, Math.abs(b))),
    );
  if (order === -Infinity)
    return reduced(
      lines,
      undefined,
      fold(Infinity, (a, b) => Math.min(a, Math.abs(b))),
    );
  return reduced(lines, undefined, powersOf(order), (sum) => sum ** (1 / order));
}

function powersOf(p: number): (values: Numbers, line: Line) => number {
  return fold(0, (sum, x) => sum + Math.abs(x) ** p);
}

export function logSumExpAlong(tensor: Source, dims: Dims, keepdim?: boolean): Result {
  if (dims === undefined || dims === null) {
    const sentence = 'logsumexp(): dim should be an integer or an array of integers';
    throw typeError('ERR_INVALID_ARG_TYPE', `${sentence}, got ${describe(dims)}`);
  }
  checkPlain('logsumexp', tensor);
  const source = isFloat(tensor.dtype) ? tensor : inDType(tensor, float32);
  return reduced(over(source, dims, keepdim), 'logSumExp', (values, line) => {
    const largest = largestOf(values, line);
    if (!Number.isFinite(largest)) return largest;
    return largest + Math.log(fold(0, (sum, x) => sum + Math.exp(x - largest))(values, line));
  });
}

// Extremes and truth ----------------------------------------------------------------------------------------

/** The least or largest element of each line; a NaN if there is one. */
export function extremeAlong(
  name: 'amin' | 'amax' | 'min' | 'max',
  tensor: Source,
  dims: Dims,
  keepdim?: boolean,
): Result {
  checkPlain(name, tensor);
  const lines = over(tensor, dims, keepdim);
  if (lines.split.length === 0) {
    throw rangeError('ERR_SHAPE', `${name}(): expected a tensor that is not empty`);
  }
  if (isBigInt(tensor.checked())) return bigExtreme(name.endsWith('max'), lines);
  return name.endsWith('max') ? reduced(lines, 'largest', largestOf) : reduced(lines, 'least', leastOf);
}

function bigExtreme(isMax: boolean, { source, split, shape }: Reduced): Result {
  const data = source.checked() as BigInt64Array;
  const out = new BigInt64Array(split.outer * split.inner);
  for (let i = 0; i < out.length; i++) {
    const { first, end, step } = lineAt(split, i);
    let best = data[first]!;
    for (let k = first; k < end; k += step) if (isMax ? data[k]! > best : data[k]! < best) best = data[k]!;
    out[i] = best;
  }
  return { data: out, shape, dtype: int64 };
}

/** Whether all elements of each line are true, which is all but 0; or any. uint8 for uint8, else bool. */
export function truthAlong(name: 'all' | 'any', tensor: Source, dims: Dims, keepdim?: boolean): Result {
  // In PyTorch an empty list of dimensions reduces all of them but here.
  const isEach = Array.isArray(dims) && dims.length === 0;
  const each = { outer: numelOf(tensor.shape), length: 1, inner: 1 };
  const all = over(tensor, dims, keepdim);
  const lines = isEach ? { source: tensor, split: each, shape: tensor.shape } : all;
  const isAll = name === 'all';
  const f = isAll ? fold(1, (so, x) => (x === 0 ? 0 : so)) : fold(0, (so, x) => (x === 0 ? so : 1));
  return reduced(lines, undefined, f, undefined, tensor.dtype === uint8 ? uint8 : bool);
}

// Along a dimension, with a result for each element ---------------------------------------------------------

export function cumsumAlong(tensor: Source, dim: number, options?: DTypeOptions): Result {
  const wanted = dtypeOption('cumsum', options);
  checkPlain('cumsum', tensor);
  const dtype = wanted ?? (isFloat(tensor.dtype) ? tensor.dtype : int64);
  refuseBool('cumsum', dtype);
  const source = inDType(tensor, dtype);
  const { shape } = tensor;
  const split = splitAt(shape, dimension('dim', dim, shape.length));
  const data = source.checked();
  const out = emptyArray(dtype, data.length);
  for (let i = 0; split.length > 0 && i < data.length / split.length; i++)
    accumulate(data, lineAt(split, i), out);
  return { data: out, shape, dtype };
}

function accumulate(data: TensorData, { first, end, step }: Line, out: TensorData): void {
  if (isBigInt(data)) {
    let sum = 0n;
    for (let k = first; k < end; k += step) out[k] = sum = BigInt.asIntN(64, sum + data[k]!);
    return;
  }
  let sum = 0;
  for (let k = first; k < end; k += step) out[k] = sum += data[k]!;
}

/** The softmax along a dimension, or its logarithm. float32 natively, float64 in double. */
export function softmaxAlong(
  name: 'softmax' | 'logSoftmax',
  tensor: Source,
  dim: number,
  options?: DTypeOptions,
): Result {
  const source = inDType(tensor, dtypeOption(name, options));
  checkFloat(name, source);
  const { dtype, shape } = source;
  const split = splitAt(shape, dimension('dim', dim, shape.length));
  const log = name === 'logSoftmax';
  const values = source.checked() as Float32Array | Float64Array;
  if (dtype === float32 && values.length > 0)
    return { data: callSoftmax(log, values as Float32Array, split), shape, dtype };
  const out = emptyArray(dtype, values.length) as Float32Array | Float64Array;
  for (let i = 0; i < out.length / split.length; i++) softmaxOf(values, lineAt(split, i), log, out);
  return { data: out, shape, dtype };
}

function softmaxOf(values: Numbers, line: Line, log: boolean, out: Float32Array | Float64Array): void {
  const max = largestOf(values, line);
  const sum = fold(0, (total, x) => total + Math.exp(x - max))(values, line);
  const logSum = Math.log(sum);
  for (let k = line.first; k < line.end; k += line.step) {
    const x = values[k]! - max;
    out[k] = log ? x - logSum : Math.exp(x) / sum;
  }
}
