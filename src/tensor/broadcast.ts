import { rangeError } from '../errors.js';
import { numelOf, sameShape } from './shape.js';

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
  const strides = operands.map(() => 1);
  const axes: number[][] = []; // the innermost first
  for (let d = 1; d <= shape.length; d++) {
    const size = shape[shape.length - d]!;
    if (size === 1) continue;
    const axis = [size];
    operands.forEach((sizes, i) => {
      const own = sizes[sizes.length - d] ?? 1;
      axis.push(own === 1 ? 0 : strides[i]!);
      strides[i]! *= own;
    });
    const inner = axes.at(-1);
    if (inner !== undefined && axis.every((stride, i) => i === 0 || stride === inner[i]! * inner[0]!)) {
      inner[0]! *= size;
    } else axes.push(axis);
  }
  return axes.length === 0 ? new Array<number>(each).fill(1) : axes.reverse().flat();
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
