import { rangeError } from '../errors.js';
import type { TensorData } from './dtype.js';
import { write } from './elements.js';
import { sameShape } from './shape.js';

/** One of two tensors that are combined. */
export interface Operand {
  readonly values: ArrayLike<number>;
  readonly shape: readonly number[];
}

/** The shape of the result of two operands. */
export function broadcastShape(a: readonly number[], b: readonly number[]): number[] {
  const rank = Math.max(a.length, b.length);
  return Array.from({ length: rank }, (_, i) => {
    const x = a[i - rank + a.length] ?? 1;
    const y = b[i - rank + b.length] ?? 1;
    if (x !== y && x !== 1 && y !== 1) {
      throw rangeError(
        'ERR_SHAPE',
        `The size of tensor a (${x}) must match the size of tensor b (${y}) at non-singleton dimension ${i}`,
      );
    }
    return x === 1 ? y : x;
  });
}

/** Writes `f` of each pair of elements into `out`, which has the broadcast shape. */
export function combine(
  a: Operand,
  b: Operand,
  f: (a: number, b: number) => number,
  shape: readonly number[],
  out: TensorData,
): void {
  if (sameShape(a.shape, b.shape)) {
    for (let i = 0; i < out.length; i++) write(out, i, f(a.values[i]!, b.values[i]!));
    return;
  }
  const aStrides = broadcastStrides(a.shape, shape);
  const bStrides = broadcastStrides(b.shape, shape);
  const index = new Array<number>(shape.length).fill(0);
  let ai = 0;
  let bi = 0;
  for (let i = 0; i < out.length; i++) {
    write(out, i, f(a.values[ai]!, b.values[bi]!));
    for (let d = shape.length - 1; d >= 0; d--) {
      ai += aStrides[d]!;
      bi += bStrides[d]!;
      if (++index[d]! < shape[d]!) break;
      ai -= aStrides[d]! * shape[d]!;
      bi -= bStrides[d]! * shape[d]!;
      index[d] = 0;
    }
  }
}

/** How many elements of `shape` lie between neighbours along each dimension of a shape that it is broadcast to. */
export function broadcastStrides(shape: readonly number[], to: readonly number[]): number[] {
  const strides = new Array<number>(to.length).fill(0);
  let stride = 1;
  for (let i = shape.length - 1; i >= 0; i--) {
    if (shape[i] !== 1) strides[i + to.length - shape.length] = stride;
    stride *= shape[i]!;
  }
  return strides;
}
