import { rangeError } from '../errors.js';
import { numelOf, sameShape } from './shape.js';

/** The shape of the result of two operands. */
export function broadcastShape(a: readonly number[], b: readonly number[]): number[] {
  const rank = Math.max(a.length, b.length);
  const shape = new Array<number>(rank);
  for (let i = 0; i < rank; i++) {
    const x = a[i - rank + a.length] ?? 1;
    const y = b[i - rank + b.length] ?? 1;
    if (x !== y && x !== 1 && y !== 1) {
      throw rangeError(
        'ERR_SHAPE',
        `The size of tensor a (${x}) must match the size of tensor b (${y}) at non-singleton dimension ${i}`,
      );
    }
    shape[i] = x === 1 ? y : x;
  }
  return shape;
}

/** A result's shape, its number of elements, and how operands are walked: see {@link axesOf}. */
export interface Broadcast {
  readonly shape: readonly number[];
  readonly count: number;
  readonly axes: readonly number[];
}

/** Two operands broadcast to one shape. */
export function broadcastPair(a: readonly number[], b: readonly number[]): Broadcast {
  if (sameShape(a, b)) {
    const count = numelOf(a);
    return { shape: a.slice(), count, axes: [count, 1, 1] };
  }
  if (b.length === 0) {
    const count = numelOf(a);
    return { shape: a.slice(), count, axes: [count, 1, 0] };
  }
  const shape = broadcastShape(a, b);
  return { shape, count: numelOf(shape), axes: axesOf(shape, [a, b]) };
}

/** Three operands broadcast to one shape. */
export function broadcastTriple(a: readonly number[], b: readonly number[], c: readonly number[]): Broadcast {
  const shape = broadcastShape(a, broadcastShape(b, c));
  return { shape, count: numelOf(shape), axes: axesOf(shape, [a, b, c]) };
}

/**
 * The fewest dimensions in which all operands can be walked: of each, the outermost first, its size and how far apart
 * the elements of each operand are along it, 0 where it is broadcast. Along the last one they are 0 or 1.
 */
function axesOf(shape: readonly number[], operands: readonly (readonly number[])[]): number[] {
  const each = 1 + operands.length;
  // Filled from its end. Loops, because small tensors take less time than closures.
  const axes = new Array<number>(each * Math.max(shape.length, 1)).fill(1);
  const strides = new Array<number>(operands.length).fill(1);
  let begin = axes.length;
  for (let d = 1; d <= shape.length; d++) {
    const size = shape[shape.length - d]!;
    if (size === 1) continue;
    // The dimension continues the one within it if every operand's elements do.
    let continues = begin < axes.length;
    for (let i = 0; i < operands.length; i++) {
      const sizes = operands[i]!;
      const own = d <= sizes.length ? sizes[sizes.length - d]! : 1;
      const stride = own === 1 ? 0 : strides[i]!;
      strides[i]! *= own;
      axes[begin - each + 1 + i] = stride;
      continues &&= stride === axes[begin + 1 + i]! * axes[begin]!;
    }
    if (continues) axes[begin]! *= size;
    else {
      begin -= each;
      axes[begin] = size;
    }
  }
  return axes.slice(Math.min(begin, axes.length - each));
}

/** Calls `visit` with the index of each of `count` results and those of its operands; two of them, or three. */
export function walk(
  axes: readonly number[],
  operands: 2 | 3,
  count: number,
  visit: (i: number, a: number, b: number, c: number) => void,
): void {
  const each = 1 + operands;
  const index = new Array<number>(axes.length / each).fill(0);
  const at: [number, number, number] = [0, 0, 0];
  for (let i = 0; i < count; i++) {
    visit(i, at[0], at[1], at[2]);
    for (let d = index.length - 1; d >= 0; d--) {
      const size = axes[d * each]!;
      const by = ++index[d]! < size ? 1 : 1 - size;
      for (let k = 1; k < each; k++) at[k - 1]! += by * axes[d * each + k]!;
      if (by === 1) break;
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
