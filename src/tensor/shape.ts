import { checkInteger, checkOptions, describe, rangeError, surplus, typeError } from '../errors.js';
import type { Lines } from '../native/handles.js';

/** The most dimensions of a tensor, as in PyTorch. */
export const maxRank = 64;

/** A copy of a list of sizes, each read once. {@link numelOf} looks at them one by one. */
export function checkedShape(shape: unknown): number[] {
  if (!Array.isArray(shape)) {
    throw typeError('ERR_INVALID_ARG_TYPE', `shape should be an array of sizes, got ${describe(shape)}`);
  }
  const { length } = shape;
  if (!(length <= maxRank)) {
    throw rangeError('ERR_SHAPE', `shape should have at most ${maxRank} sizes, got ${describe(length)}`);
  }
  const copy = new Array<number>(length);
  for (let i = 0; i < length; i++) copy[i] = (shape as number[])[i]!;
  return copy;
}

/** A copy of a list of at most so many integers, each read once: an array may say that it has any length. */
export function integersOf(name: string, list: readonly unknown[], most: number): number[] {
  const { length } = list;
  if (!(length <= most)) {
    const sentence = `${name} should have at most ${most} integers, got ${describe(length)}`;
    throw rangeError('ERR_SHAPE', sentence);
  }
  const copy: number[] = [];
  for (let i = 0; i < length; i++) {
    const each = list[i];
    checkInteger(name, each);
    copy.push(each);
  }
  return copy;
}

/** The product of the sizes. */
export function numelOf(shape: readonly number[]): number {
  let count = 1;
  for (let i = 0; i < shape.length; i++) {
    const n = shape[i]!;
    if (!Number.isSafeInteger(n) || n < 0) throw noSize(n, shape);
    count *= n;
  }
  if (!(count <= Number.MAX_SAFE_INTEGER)) {
    if (shape.includes(0)) return 0; // infinity times zero is NaN
    throw rangeError('ERR_TOO_LARGE', `shape ${formatShape(shape)} is too large`);
  }
  return count;
}

function noSize(n: unknown, shape: readonly unknown[]): Error {
  const sentence = `shape should hold sizes, got ${describe(n)} in ${formatShape(shape)}`;
  return typeof n === 'number'
    ? rangeError('ERR_SHAPE', sentence)
    : typeError('ERR_INVALID_ARG_TYPE', sentence);
}

/** `[2, 3]`, from whatever the caller gave as sizes. */
export function formatShape(shape: readonly unknown[]): string {
  return `[${Array.from(shape, (n) => (typeof n === 'number' ? String(n) : describe(n))).join(', ')}]`;
}

export function sameShape(a: readonly number[], b: readonly number[]): boolean {
  if (a.length !== b.length) return false;
  // A loop, because methods of a frozen array cost 80 ns.
  for (let i = 0; i < a.length; i++) if (a[i] !== b[i]) return false;
  return true;
}

/** A dimension, counted from 0: a negative one counts from the end. */
export function dimension(name: string, dim: unknown, rank: number): number {
  checkInteger(name, dim);
  const limit = Math.max(rank, 1);
  if (dim < -limit || dim >= limit) {
    throw rangeError(
      'ERR_OUT_OF_RANGE',
      `Dimension out of range (expected to be in range of [${-limit}, ${limit - 1}], but got ${dim})`,
    );
  }
  return dim < 0 ? dim + limit : dim;
}

/** A shape seen from one of its dimensions: `outer` blocks of `length` rows of `inner` elements. */
export type Split = Lines;

/** A shape seen from dimension `at`. A scalar is one row of one element. */
export function splitAt(shape: readonly number[], at: number): Split {
  return {
    outer: numelOf(shape.slice(0, at)),
    length: shape[at] ?? 1,
    inner: numelOf(shape.slice(at + 1)),
  };
}

/** A shape with another size in dimension `at`. */
export function resized(shape: readonly number[], at: number, size: number): number[] {
  return shape.map((n, i) => (i === at ? size : n));
}

/** A shape without dimension `at`. */
export function without(shape: readonly number[], at: number): number[] {
  return shape.filter((_, i) => i !== at);
}

/** The index along a dimension, counted from 0: a negative one counts from the end. */
export function indexAlong(name: string, index: unknown, shape: readonly number[], at: number): number {
  checkInteger('index', index);
  const size = shape[at]!;
  if (index < -size || index >= size) {
    throw rangeError(
      'ERR_OUT_OF_RANGE',
      `${name}(): index ${index} out of range for tensor of size ${formatShape(shape)} at dimension ${at}`,
    );
  }
  return index < 0 ? index + size : index;
}

/** The sizes of `numel` elements in another shape, of which one size may be -1. The sentence is for one that is none. */
export function completed(
  wanted: readonly number[],
  numel: number,
  sentence = `shape '${formatShape(wanted)}' is invalid for input of size ${numel}`,
): readonly number[] {
  const unknown = wanted.indexOf(-1);
  const known = numelOf(unknown < 0 ? wanted : without(wanted, unknown));
  if (unknown < 0 ? known !== numel : known === 0 || numel % known !== 0)
    throw rangeError('ERR_SHAPE', sentence);
  return unknown < 0 ? wanted : resized(wanted, unknown, numel / known);
}

// Arguments -------------------------------------------------------------------------------------------------

/** `(2, 3)` or `([2, 3])`, then options. */
export type SizeArguments<Options> =
  readonly number[] | readonly [...number[], Options] | readonly [readonly number[], Options?];

/** Splits size arguments into shape and options. */
export function sizeArguments<Options extends object>(
  args: SizeArguments<Options>,
  known: readonly string[],
  where: string,
): [number[], Options] {
  const last: unknown = args.at(-1);
  if (Array.isArray(args[0])) {
    if (args.length > 2) surplus(where, 2, args.length);
    const given = (args as readonly unknown[])[1];
    const options = (given === undefined ? {} : given) as Options;
    checkOptions(where, options, known);
    return [checkedShape(args[0]), options];
  }
  const hasOptions = typeof last === 'object' && last !== null;
  const options = (hasOptions ? last : {}) as Options;
  checkOptions(where, options, known);
  return [checkedShape(hasOptions ? args.slice(0, -1) : args), options];
}

/** A copy of the sizes in `(2, 3)` or `([2, 3])`. */
export function sizes(where: string, args: readonly unknown[]): number[] {
  if (!Array.isArray(args[0])) return checkedShape(args);
  if (args.length > 1) surplus(where, 1, args.length);
  return checkedShape(args[0]);
}
