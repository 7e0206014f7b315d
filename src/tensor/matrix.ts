import { arrayName, rangeError, typeError } from '../errors.js';
import { callBinary } from '../native/call-elementwise.js';
import { callProduct, type BatchDim, type ProductSizes } from '../native/call-matrix.js';
import { callReduce } from '../native/call-reduce.js';
import { broadcastShape, broadcastStrides } from './broadcast.js';
import { emptyArray, float32, type TensorData } from './dtype.js';
import { checkPlain, isBigInt, refuseBool } from './elements.js';
import type { Result, Source } from './result.js';
import { formatShape, numelOf, sameShape } from './shape.js';

/**
 * PyTorch's `matmul`: the dot product of two vectors, the product of a matrix and a vector, or of two matrices. More
 * dimensions before these are a batch, and broadcast.
 */
export function matrixProduct(a: Source, b: Source): Result {
  const [aRank, bRank] = [a.shape.length, b.shape.length];
  if (aRank === 0 || bRank === 0) {
    const sentence = `both arguments to matmul need to be at least 1D, but they are ${aRank}D and ${bRank}D`;
    throw rangeError('ERR_SHAPE', sentence);
  }
  if (aRank === 1 && bRank === 1) return dotProduct(a, b);
  const rows = aRank === 1 ? 1 : a.shape[aRank - 2]!;
  const depth = a.shape[aRank - 1]!;
  const columns = bRank === 1 ? 1 : b.shape[bRank - 1]!;
  if (depth !== b.shape[Math.max(bRank - 2, 0)]) throw unfit(a.shape, b.shape);
  checkDTypes('expected m1 and m2', a, b);
  const aBatch = a.shape.slice(0, -2);
  const bBatch = b.shape.slice(0, -2);
  const batch = broadcastShape(aBatch, bBatch);
  const shape = [...batch, ...(aRank === 1 ? [] : [rows]), ...(bRank === 1 ? [] : [columns])];
  const sizes = { rows, depth, columns, transposed: false };
  return multiplied('matmul', { a, b }, sizes, batchDims(batch, aBatch, bBatch, sizes), shape);
}

/** PyTorch's `mm`: the product of two matrices. */
export function plainProduct(a: Source, b: Source): Result {
  for (const [name, { shape }] of [['self', a] as const, ['mat2', b] as const]) {
    if (shape.length === 2) continue;
    throw rangeError('ERR_SHAPE', `mm: ${name} must be a matrix, got ${shape.length}-D tensor`);
  }
  return matrixProduct(a, b);
}

/** PyTorch's `bmm`: the products of two batches of matrices. */
export function batchProduct(a: Source, b: Source): Result {
  for (const [name, { shape }] of [['batch1', a] as const, ['batch2', b] as const]) {
    if (shape.length !== 3) throw rangeError('ERR_SHAPE', `${name} must be a 3D tensor`);
  }
  const expected = [a.shape[0]!, a.shape[2]!];
  const given = b.shape.slice(0, 2);
  if (!sameShape(expected, given)) throw unfitBatch(expected, given);
  return matrixProduct(a, b);
}

/** PyTorch's `mv`: the product of a matrix and a vector. */
export function vectorProduct(a: Source, vec: Source): Result {
  if (a.shape.length !== 2 || vec.shape.length !== 1) {
    const ranks = `${a.shape.length}, ${vec.shape.length}`;
    throw rangeError('ERR_SHAPE', `matrix @ vector expected, got ${ranks}`);
  }
  return matrixProduct(a, vec);
}

/**
 * PyTorch's `dot`: the sum of the products of two vectors' elements. In float32 each product is rounded and the sum is a
 * reduction's, because the error of one chain, which an element of a matrix product is, grows with the length.
 */
export function dotProduct(a: Source, b: Source): Result {
  if (a.shape.length !== 1 || b.shape.length !== 1) {
    const sentence = `1D tensors expected, but got ${a.shape.length}D and ${b.shape.length}D tensors`;
    throw rangeError('ERR_SHAPE', sentence);
  }
  const [depth, other] = [a.shape[0]!, b.shape[0]!];
  if (depth !== other) {
    throw rangeError(
      'ERR_SHAPE',
      `inconsistent tensor size, expected tensor [${depth}] and src [${other}] to have the same number of elements, but got ${depth} and ${other} elements respectively`,
    );
  }
  checkDTypes('dot : expected both vectors', a, b);
  if (a.dtype === float32 && depth > 0) {
    const [x, y] = [a.checked('input') as Float32Array, b.checked('other') as Float32Array];
    const products = callBinary('mul', x, y, [depth, 1, 1], depth);
    const data = callReduce('sum', products, { outer: 1, length: depth, inner: 1 });
    return { data, shape: [], dtype: float32 };
  }
  return multiplied('dot', { a, b }, { rows: 1, depth, columns: 1, transposed: false }, [], []);
}

/** PyTorch's `linear`: `x w^T + b` for the rows of x. */
export function linearProduct(x: Source, w: Source, bias?: Source): Result {
  if (w.shape.length === 0 || w.shape.length > 2) {
    const sentence = `linear: weight should have 1 or 2 dimensions, got ${formatShape(w.shape)}`;
    throw rangeError('ERR_SHAPE', sentence);
  }
  const isRow = w.shape.length === 1;
  const columns = isRow ? 1 : w.shape[0]!;
  const depth = x.shape.at(-1);
  if (depth === undefined || depth !== w.shape.at(-1)) throw unfit(x.shape, [w.shape.at(-1)!, columns]);
  checkDTypes('expected m1 and m2', x, w);
  if (bias !== undefined) {
    checkDTypes('expected input and bias', x, bias);
    if (!sameShape(bias.shape, w.shape.slice(0, -1))) {
      const [given, expected] = [formatShape(bias.shape), formatShape(w.shape.slice(0, -1))];
      throw rangeError('ERR_SHAPE', `linear: bias should have the shape ${expected}, got ${given}`);
    }
  }
  const before = x.shape.slice(0, -1);
  const sizes = { rows: numelOf(before), depth, columns, transposed: true };
  return multiplied('linear', { a: x, b: w, bias }, sizes, [], isRow ? before : [...before, columns]);
}

function checkDTypes(subject: string, a: Source, b: Source): void {
  if (a.dtype !== b.dtype) {
    throw typeError('ERR_DTYPE', `${subject} to have the same dtype, but got: ${a.dtype} and ${b.dtype}`);
  }
}

/** What is wrong with two shapes whose depths differ. */
function unfit(a: readonly number[], b: readonly number[]): Error {
  if (b.length > 2) {
    const batch = numelOf(b.slice(0, -2));
    return unfitBatch([batch, a.at(-1)!], [batch, b.at(-2)!]);
  }
  const [rows, depth] = [numelOf(a.slice(0, -1)), a.at(-1) ?? 0];
  const sentence =
    b.length === 1
      ? `size mismatch, got input (${rows}), mat (${rows}x${depth}), vec (${b[0]})`
      : `mat1 and mat2 shapes cannot be multiplied (${rows}x${depth} and ${b[0]}x${b[1]})`;
  return rangeError('ERR_SHAPE', sentence);
}

function unfitBatch(expected: readonly number[], given: readonly number[]): Error {
  return rangeError(
    'ERR_SHAPE',
    `Expected size for first two dimensions of batch2 tensor to be: ${formatShape(expected)} but got: ${formatShape(given)}.`,
  );
}

/** The dimensions of a batch: as few as tell where each product's matrices are. */
function batchDims(
  batch: readonly number[],
  aBatch: readonly number[],
  bBatch: readonly number[],
  { rows, depth, columns }: ProductSizes,
): BatchDim[] {
  if (batch.length === 0) return [];
  const aSteps = broadcastStrides(aBatch, batch);
  const bSteps = broadcastStrides(bBatch, batch);
  const dims: BatchDim[] = [];
  batch.forEach((size, i) => {
    if (size === 1) return;
    const dim = { size, aStep: aSteps[i]! * rows * depth, bStep: bSteps[i]! * depth * columns };
    const before = dims.at(-1);
    if (before?.aStep === dim.aStep * size && before.bStep === dim.bStep * size) {
      dims[dims.length - 1] = { ...dim, size: before.size * size };
    } else dims.push(dim);
  });
  return dims;
}

interface Factors {
  readonly a: Source;
  readonly b: Source;
  readonly bias?: Source | undefined;
}

function multiplied(
  name: string,
  { a, b, bias }: Factors,
  sizes: ProductSizes,
  batch: readonly BatchDim[],
  shape: readonly number[],
): Result {
  const { dtype } = a;
  checkPlain(name, a);
  refuseBool(name, dtype);
  const x = a.checked('input');
  const y = b.checked('other');
  const start = bias?.checked('bias') ?? null;
  const count = numelOf(shape);
  if (count === 0) return { data: emptyArray(dtype, 0), shape, dtype };
  const [only] = batch;
  // A batch that shares b is one product with more rows.
  const isTall = batch.length === 1 && only!.bStep === 0 && only!.aStep === sizes.rows * sizes.depth;
  const whole = isTall ? { ...sizes, rows: sizes.rows * only!.size } : sizes;
  const dims = isTall ? [] : batch;
  const data =
    dtype === float32
      ? callProduct(x as Float32Array, y as Float32Array, whole, dims, start as Float32Array | null)
      : productHere({ x, y, start }, emptyArray(dtype, count), whole, dims);
  return { data, shape, dtype };
}

/** The same for other dtypes. Integers wrap around, as in PyTorch. */
function productHere(
  { x, y, start }: { x: TensorData; y: TensorData; start: TensorData | null },
  out: TensorData,
  { rows, depth, columns, transposed }: ProductSizes,
  batch: readonly BatchDim[],
): TensorData {
  const dot = isBigInt(x) ? bigDot(x, y as BigInt64Array) : numberDot(x, y);
  const none = isBigInt(x) ? 0n : 0;
  let at = 0;
  const visit = (dim: number, aFrom: number, bFrom: number): void => {
    const { size, aStep, bStep } = batch[dim] ?? { size: 0, aStep: 0, bStep: 0 };
    for (let i = 0; i < size; i++) visit(dim + 1, aFrom + i * aStep, bFrom + i * bStep);
    if (dim < batch.length) return;
    for (let row = 0; row < rows; row++) {
      for (let column = 0; column < columns; column++) {
        const from = bFrom + column * (transposed ? depth : 1);
        const first = (start?.[column] ?? none) as never;
        out[at++] = dot(first, aFrom + row * depth, from, transposed ? 1 : columns, depth);
      }
    }
  };
  visit(0, 0, 0);
  return out;
}

/** The sum of `first` and `depth` products, of which the first is of the elements at `aFrom` and `bFrom`. */
type Dot = (first: never, aFrom: number, bFrom: number, bStep: number, depth: number) => never;

function bigDot(a: BigInt64Array, b: BigInt64Array): Dot {
  return (first: bigint, aFrom, bFrom, bStep, depth) => {
    let sum = first;
    for (let k = 0; k < depth; k++) sum += a[aFrom + k]! * b[bFrom + k * bStep]!;
    return BigInt.asIntN(64, sum) as never;
  };
}

function numberDot(a: TensorData, b: TensorData): Dot {
  const isExact = arrayName(a) !== 'Float64Array';
  const multiply = isExact ? Math.imul : (x: number, y: number) => x * y;
  return (first: number, aFrom, bFrom, bStep, depth) => {
    let sum = first;
    for (let k = 0; k < depth; k++) {
      sum += multiply(a[aFrom + k] as number, b[bFrom + k * bStep] as number);
      if (isExact) sum |= 0;
    }
    return sum as never;
  };
}
