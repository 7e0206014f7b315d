import { checkInteger, rangeError, typeError } from '../errors.js';
import { broadcastShape } from './broadcast.js';
import { bytesOf, int32, int64, type TensorData } from './dtype.js';
import type { Result, Source } from './result.js';
import { formatShape, numelOf, resized, splitAt, without } from './shape.js';
import { newArray, stepsOf, walked } from './strided.js';

/** What is wrong with an index. */
type Outside = (index: number) => string;

/** The elements of an index tensor as numbers, all of them from 0 up to and without `size`. */
export function indicesOf(
  name: string,
  index: Source,
  size: number,
  outside: Outside,
): Int32Array | Float64Array {
  const data = index.checked('index');
  if (index.dtype !== int64 && index.dtype !== int32)
    throw typeError('ERR_DTYPE', `${name}(): Expected dtype int32/int64 for index, got ${index.dtype}`);
  const indices = index.dtype === int32 ? (data as Int32Array) : indexNumbers(data as BigInt64Array);
  for (let i = 0; i < indices.length; i++) {
    const at = indices[i]!;
    if (at < 0 || at >= size) throw rangeError('ERR_OUT_OF_RANGE', outside(at));
  }
  return indices;
}

/** As numbers, from their halves, because a BigInt for each would cost ten times as much. */
function indexNumbers(data: BigInt64Array): Float64Array {
  const out = new Float64Array(data.length);
  const halves = new Int32Array(data.buffer, data.byteOffset, 2 * data.length);
  for (let i = 0; i < out.length; i++) out[i] = halves[2 * i + 1]! * 2 ** 32 + (halves[2 * i]! >>> 0);
  return out;
}

/** An array's elements as integers, several for one where they are large: floats could lose the bits of a NaN. */
function wordsOf(data: TensorData): Int32Array | Uint16Array | Uint8Array {
  const { buffer, byteOffset, byteLength, BYTES_PER_ELEMENT: bytes } = data;
  if (bytes >= 4) return new Int32Array(buffer, byteOffset, byteLength / 4);
  return bytes === 2 ? new Uint16Array(buffer, byteOffset, byteLength / 2) : bytesOf(data);
}

/** The elements at the indices of dimension `at` that `index` holds. */
export function gathered(tensor: Source, at: number, index: Source): Result {
  const { dtype } = tensor;
  const [own, shape] = [tensor.shape, index.shape];
  if (Math.max(own.length, 1) !== Math.max(shape.length, 1)) {
    const sentence = 'Index tensor must have the same number of dimensions as input tensor';
    throw rangeError('ERR_SHAPE', sentence);
  }
  if (shape.some((size, dim) => dim !== at && size > own[dim]!) && numelOf(shape) > 0) {
    const sentence = `Size does not match at dimension ${shape.findIndex((size, dim) => dim !== at && size > own[dim]!)} expected index ${formatShape(shape)} to be no larger than self ${formatShape(own)} apart from dimension ${at}`;
    throw rangeError('ERR_SHAPE', sentence);
  }
  const size = own[at] ?? 1;
  const indices = indicesOf(
    'gather',
    index,
    size,
    (i) => `index ${i} is out of bounds for dimension ${at} with size ${size}`,
  );
  const data = tensor.checked();
  const out = newArray(dtype, indices.length);
  if (indices.length > 0) gatherInto(out, data, indices, { own, shape, at });
  return { data: out, shape, dtype };
}

/** Every place of the result has its row in `data`, whose other indices are its own. */
function gatherInto(
  out: TensorData,
  data: TensorData,
  indices: ArrayLike<number>,
  { own, shape, at }: { own: readonly number[]; shape: readonly number[]; at: number },
): void {
  const [from, to] = [wordsOf(data), wordsOf(out)];
  const width = from.length / data.length;
  const steps = stepsOf(own);
  const along = steps[at] ?? 1;
  const place = new Array<number>(shape.length).fill(0);
  const last = shape.length - 1;
  const row = shape[last] ?? 1;
  const step = last === at || last < 0 ? 0 : 1;
  for (let i = 0; i < indices.length; i += row) {
    let begin = 0;
    for (let dim = 0; dim < last; dim++) if (dim !== at) begin += place[dim]! * steps[dim]!;
    for (let j = 0; j < row; j++) {
      const source = (begin + j * step + indices[i + j]! * along) * width;
      for (let k = 0; k < width; k++) to[(i + j) * width + k] = from[source + k]!;
    }
    for (let dim = last - 1; dim >= 0 && ++place[dim]! === shape[dim]; dim--) place[dim] = 0;
  }
}

/** As {@link gathered}, with the other dimensions of both broadcast. */
export function takenAlong(tensor: Source, at: number, index: Source): Result {
  const [own, shape] = [tensor.shape, index.shape];
  if (own.length !== shape.length) {
    const sentence = `torch.take_along_dim(): input and indices should have the same number of dimensions, but got ${own.length} dimensions for input, and ${shape.length} dimensions for indices`;
    throw rangeError('ERR_SHAPE', sentence);
  }
  if (own.length === 0) return gathered(tensor, at, index);
  const common = broadcastShape(without(own, at), without(shape, at));
  const whole = (source: Source): Source => {
    const sizes = [...common.slice(0, at), source.shape[at]!, ...common.slice(at)];
    const steps = stepsOf(source.shape).map((step, dim) => (source.shape[dim] === 1 ? 0 : step));
    const { data } = walked(source, { shape: sizes, steps, begin: 0 });
    const { dtype, quantization } = source;
    return { dtype, quantization, shape: sizes, checked: () => data };
  };
  return gathered(whole(tensor), at, whole(index));
}

/** Copies of the indices of dimension `at` that `index` holds. */
export function indexSelected(tensor: Source, at: number, index: Source): Result {
  if (index.shape.length > 1)
    throw rangeError('ERR_SHAPE', 'index_select(): Index is supposed to be a vector');
  const count = numelOf(index.shape);
  if (tensor.shape.length === 0 && count !== 1) {
    const sentence = `index_select(): Index to scalar can have only 1 value, got ${count} value(s)`;
    throw rangeError('ERR_SHAPE', sentence);
  }
  const size = tensor.shape[at] ?? 1;
  const outside: Outside = (i) => `INDICES element is out of DATA bounds, id=${i} axis_dim=${size}`;
  return rowsAt(tensor, at, indicesOf('index_select', index, size, outside));
}

/** Copies of indices of dimension `at`. */
function rowsAt(tensor: Source, at: number, indices: ArrayLike<number>): Result {
  const { shape: own, dtype } = tensor;
  const data = tensor.checked();
  const shape = own.length === 0 ? [] : resized(own, at, indices.length);
  const out = newArray(dtype, numelOf(shape));
  const { outer, length, inner } = splitAt(own, at);
  if (out.length === 0) return { data: out, shape, dtype };
  const [from, to] = [wordsOf(data), wordsOf(out)];
  const block = (from.length / data.length) * inner;
  let begin = 0;
  for (let o = 0; o < outer; o++) {
    for (let i = 0; i < indices.length; i++, begin += block) {
      const source = (o * length + indices[i]!) * block;
      if (block > longRow) to.set(from.subarray(source, source + block), begin);
      else for (let k = 0; k < block; k++) to[begin + k] = from[source + k]!;
    }
  }
  return { data: out, shape, dtype };
}
/** A row of more integers is copied at once. */
const longRow = 48;

/** Copies of each index of dimension `at`, so many times in a row; `repeats` may say it for each. */
export function interleaved(tensor: Source, repeats: number | Source, at: number): Result {
  const length = tensor.shape[at]!;
  if (typeof repeats === 'number') return interleavedBy(tensor, repeats, at);
  const counts = countsOf(repeats);
  if (counts.length === 1) return interleavedBy(tensor, counts[0]!, at);
  if (counts.length !== length) {
    const sentence = `repeats must have the same size as input along dim, but got repeats.size(0) = ${counts.length} and input.size(${at}) = ${length}`;
    throw rangeError('ERR_SHAPE', sentence);
  }
  let total = 0;
  for (let i = 0; i < length; i++) total += counts[i]!;
  numelOf(resized(tensor.shape, at, total));
  const indices = newArray(int32, total) as Int32Array;
  let end = 0;
  for (let i = 0; i < length; i++) indices.fill(i, end, (end += counts[i]!));
  return rowsAt(tensor, at, indices);
}

function countsOf(repeats: Source): Int32Array | Float64Array {
  return indicesOf('repeat_interleave', repeats, Infinity, () => 'repeats can not be negative');
}

function interleavedBy(tensor: Source, repeats: number, at: number): Result {
  checkInteger('repeats', repeats);
  if (repeats < 0) throw rangeError('ERR_INVALID_ARG_VALUE', 'Repeats must be non-negative');
  const { shape, dtype } = tensor;
  const steps = stepsOf(shape);
  const spread = [...shape.slice(0, at + 1), repeats, ...shape.slice(at + 1)];
  const { data } = walked(tensor, {
    shape: spread,
    steps: [...steps.slice(0, at + 1), 0, ...steps.slice(at + 1)],
    begin: 0,
  });
  return { data, shape: resized(shape, at, shape[at]! * repeats), dtype };
}
