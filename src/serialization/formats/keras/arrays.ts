import { CheckpointError, describe } from '../../../errors.js';
import type { StateDict } from '../../../nn/module.js';
import { emptyArray, isFloatingPoint, Tensor, type DType, type TensorData } from '../../../tensor/index.js';
import { readInto, type Steps } from '../../file.js';
import type { Dataset } from './hdf5-messages.js';
import type { LayerArray } from './model.js';

// Arrays of the file as tensors. Keras multiplies from the left, so its matrices are PyTorch's transposed ones.

/** How much of a matrix is read at once before it is transposed. */
const pieceBytes = 2 ** 20;

/** The dtype of an array, if tensors have it. */
export function dtypeOf({ dataset: { type } }: LayerArray): DType | undefined {
  return type.kind === 'text' || type.kind === 'long text' || type.kind === 'unknown' ? undefined : type.kind;
}

export function isFloating(array: LayerArray): boolean {
  const dtype = dtypeOf(array);
  return dtype !== undefined && isFloatingPoint(dtype);
}

/** Memory for an array, paid from the budget. */
function allocate(array: LayerArray, key: string): TensorData {
  const { hdf5, shape, type } = array.dataset;
  const count = shape.reduce((product, n) => product * n, 1);
  hdf5.budget.spend(count * type.size, () => `key ${describe(key)}`);
  return emptyArray(dtypeOf(array)!, count);
}

function bytesOf({ buffer, byteOffset, byteLength }: TensorData): Uint8Array {
  return new Uint8Array(buffer, byteOffset, byteLength);
}

export function* readArray(array: LayerArray, key: string): Steps<Tensor> {
  const { hdf5, shape, at } = array.dataset;
  const data = allocate(array, key);
  yield* readInto(hdf5.file, data, hdf5.begin + at);
  return new Tensor(data, shape, { dtype: dtypeOf(array)! });
}

/**
 * A matrix, transposed.
 *
 * @param order - which of the equal blocks of columns becomes which block of rows; Keras's order if absent
 */
export function* readTransposed(array: LayerArray, key: string, order?: readonly number[]): Steps<Tensor> {
  const { hdf5, shape, at, type }: Dataset = array.dataset;
  const [rows, columns] = shape as [number, number];
  const data = allocate(array, key);
  const target = columnTargets(columns, order);
  const rowBytes = columns * type.size;
  const most = Math.max(1, Math.floor(pieceBytes / rowBytes));
  for (let first = 0; first < rows; first += most) {
    const count = Math.min(most, rows - first);
    const piece = emptyArray(dtypeOf(array)!, count * columns);
    yield* readInto(hdf5.file, bytesOf(piece), hdf5.begin + at + first * rowBytes);
    for (let column = 0; column < columns; column++) {
      const begin = target(column) * rows + first;
      for (let row = 0; row < count; row++) data[begin + row] = piece[row * columns + column]!;
    }
  }
  return new Tensor(data, [columns, rows], { dtype: dtypeOf(array)! });
}

/** Rows of a matrix (a vector is one row) as vectors, with their blocks in another order. */
export function* readVectors(array: LayerArray, key: string, order?: readonly number[]): Steps<Tensor[]> {
  const whole = yield* readArray(array, key);
  const length = whole.shape.at(-1)!;
  const target = columnTargets(length, order);
  return Array.from({ length: whole.numel / length }, (_, row) => {
    const data = emptyArray(whole.dtype, length);
    for (let i = 0; i < length; i++) data[target(i)] = whole.data[row * length + i]!;
    return new Tensor(data, [length], { dtype: whole.dtype });
  });
}

/** Where a column goes if block `order[i]` becomes block `i`. */
function columnTargets(columns: number, order?: readonly number[]): (column: number) => number {
  if (order === undefined) return (column) => column;
  const size = columns / order.length;
  const targets = Int32Array.from({ length: columns }, (_, column) => {
    return order.indexOf(Math.floor(column / size)) * size + (column % size);
  });
  return (column) => targets[column]!;
}

export function filled(value: 0 | 1, like: Tensor): Tensor {
  const data = emptyArray(like.dtype, like.numel);
  const bits = { float16: 0x3c00, bfloat16: 0x3f80 }[like.dtype as string];
  if (value === 1) (data as Float32Array).fill(bits ?? 1);
  return new Tensor(data, like.shape, { dtype: like.dtype });
}

export function put(state: StateDict, key: string, tensor: Tensor): void {
  if (state.has(key)) throw new CheckpointError(`key ${describe(key)} stands twice`);
  state.set(key, tensor);
}

export function refuse(layer: string, className: string, why: string): never {
  throw new CheckpointError(`layer ${describe(layer)} (${className}): ${why}`);
}
