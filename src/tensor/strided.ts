import { callRearrange, type Movable, type MovedDim } from '../native/call-rearrange.js';
import { newFloats } from '../native/call.js';
import { arrayName } from '../errors.js';
import { emptyArray, float32, type DType, type TensorData } from './dtype.js';
import type { Result, Source } from './result.js';
import { numelOf } from './shape.js';

/** Elements of a tensor in a new order: those at `begin + sum of i * step` for all indices i of `shape`. */
export interface Walk {
  readonly shape: readonly number[];
  readonly steps: readonly number[];
  readonly begin: number;
}

/** How far apart the elements of each dimension lie. */
export function stepsOf(shape: readonly number[]): number[] {
  const steps = new Array<number>(shape.length);
  let step = 1;
  for (let i = shape.length - 1; i >= 0; i--) {
    steps[i] = step;
    step *= shape[i]!;
  }
  return steps;
}

/** A copy of the elements of a walk, bit for bit. */
export function walked(source: Source, { shape, steps, begin }: Walk): Result {
  const data = source.checked();
  const { dtype } = source;
  const count = numelOf(shape);
  const dims = merged(shape, steps, stepsOf(shape));
  if (0 < count && count <= mostHere && data.length <= mostHere && data.BYTES_PER_ELEMENT >= 4)
    return { data: movedHere(data as Movable, begin, dims, count), shape, dtype };
  const out = newArray(dtype, count);
  if (count > 0) moveInto(out, 0, data, begin, dims);
  return { data: out, shape, dtype };
}

/** A new array all of whose elements will be written. */
export function newArray(dtype: DType, count: number): TensorData {
  // Node 20 gives no more than 4 GB without zeros.
  return dtype === float32 && count < 2 ** 30 ? newFloats(count) : emptyArray(dtype, count);
}

/** The dimensions, fewer where elements of several follow each other in even steps here and there. */
export function merged(shape: readonly number[], from: readonly number[], to: readonly number[]): MovedDim[] {
  const dims: MovedDim[] = [];
  for (let i = 0; i < shape.length; i++) {
    const size = shape[i]!;
    if (size === 1) continue;
    const dim = { size, from: from[i]!, to: to[i]! };
    const before = dims[dims.length - 1];
    if (before !== undefined && before.from === dim.from * size && before.to === dim.to * size) {
      dim.size *= before.size;
      dims[dims.length - 1] = dim;
    } else dims.push(dim);
  }
  return dims;
}

/** Moves elements between arrays of one kind. No dimension is empty. */
export function moveInto(
  out: TensorData,
  outBegin: number,
  data: TensorData,
  begin: number,
  dims: readonly MovedDim[],
): void {
  const [first] = dims;
  if (first === undefined || (dims.length === 1 && first.from === 1 && first.to === 1))
    out.set(data.subarray(begin, begin + (first?.size ?? 1)) as never, outBegin);
  else if (data.BYTES_PER_ELEMENT >= 4) callRearrange(data as Movable, begin, out as Movable, outBegin, dims);
  else move(data as Uint8Array, begin, out as Uint8Array, outBegin, dims);
}

/** Arrays of up to so many elements are moved in JavaScript, because a native call takes as long. */
const mostHere = 128;

// Elements travel as integers, because as numbers they could lose the bits of a NaN. Small arrays travel through these
// two, because a view of an array's own memory costs more.
const source = viewsOf(new Int32Array(2 * mostHere));
const target = viewsOf(new Int32Array(2 * mostHere));

function viewsOf(integers: Int32Array): { integers: Int32Array; arrays: Record<string, Movable> } {
  const { buffer } = integers;
  const arrays = [new Float32Array(buffer), integers, new Float64Array(buffer), new BigInt64Array(buffer)];
  return { integers, arrays: Object.fromEntries(arrays.map((array) => [array.constructor.name, array])) };
}

/** `count` elements of a small array of which there are at most so many. */
function movedHere(data: Movable, begin: number, dims: readonly MovedDim[], count: number): Movable {
  const name = arrayName(data);
  source.arrays[name]!.set(data as never);
  if (data.BYTES_PER_ELEMENT === 4) move(source.integers, begin, target.integers, 0, dims);
  else move(source.integers, 2 * begin, target.integers, 0, inHalves(dims));
  return target.arrays[name]!.slice(0, count);
}

/** The dimensions of elements of 8 bytes in elements of 4. */
function inHalves(dims: readonly MovedDim[]): MovedDim[] {
  const doubled = dims.map(({ size, from, to }) => ({ size, from: 2 * from, to: 2 * to }));
  return [...doubled, { size: 2, from: 1, to: 1 }];
}

/** Moves integers. Recursive over all dimensions but the last. */
function move(
  data: ArrayLike<number>,
  begin: number,
  out: { [index: number]: number },
  outBegin: number,
  dims: readonly MovedDim[],
  dim = 0,
): void {
  const { size, from, to } = dims[dim] ?? { size: 1, from: 0, to: 0 };
  if (dim + 1 < dims.length) {
    for (let i = 0; i < size; i++) move(data, begin + i * from, out, outBegin + i * to, dims, dim + 1);
  } else {
    for (let i = 0; i < size; i++) out[outBegin + i * to] = data[begin + i * from]!;
  }
}
