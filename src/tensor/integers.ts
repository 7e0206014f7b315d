/** Functions of elements of int64, of which numbers would lose the last digits. What is written wraps around. */
import { numbersOf, isBigInt } from './elements.js';
import type { Source } from './result.js';

type OfOne = (x: bigint) => bigint;
type OfTwo = (x: bigint, y: bigint) => bigint;

const itself: OfOne = (x) => x;

export const ofOne = {
  abs: (x: bigint) => (x < 0n ? -x : x),
  neg: (x: bigint) => -x,
  square: (x: bigint) => x * x,
  cube: (x: bigint) => x * x * x,
  floor: itself,
  ceil: itself,
  round: itself,
  trunc: itself,
  sign: (x: bigint) => (x > 0n ? 1n : x < 0n ? -1n : 0n),
  relu: (x: bigint) => (x < 0n ? 0n : x),
} satisfies Record<string, OfOne>;

export const ofTwo = {
  add: (x: bigint, y: bigint) => x + y,
  sub: (x: bigint, y: bigint) => x - y,
  mul: (x: bigint, y: bigint) => x * y,
  minimum: (x: bigint, y: bigint) => (x < y ? x : y),
  maximum: (x: bigint, y: bigint) => (x > y ? x : y),
  trunc: (x: bigint, y: bigint) => x / y,
  floor: (x: bigint, y: bigint) => (x - remainderOf(x, y)) / y,
  remainder: remainderOf,
  pow: powerOf,
} satisfies Record<string, OfTwo>;

function remainderOf(x: bigint, y: bigint): bigint {
  const rest = x % y;
  return rest !== 0n && rest < 0n !== y < 0n ? rest + y : rest;
}

/** By squaring, wrapped around to 64 bits. A negative power is a fraction, which is 0 but for those of 1 and -1. */
function powerOf(x: bigint, y: bigint): bigint {
  if (y < 0n) return x === 1n ? 1n : x === -1n ? (y % 2n === 0n ? 1n : -1n) : 0n;
  let result = 1n;
  for (let [base, left] = [x, y]; left > 0n; left >>= 1n) {
    if (left & 1n) result = BigInt.asIntN(64, result * base);
    base = BigInt.asIntN(64, base * base);
  }
  return result;
}

/** The elements of a tensor of integers or bools. */
export function bigintsOf(tensor: Source): BigInt64Array {
  const data = tensor.checked();
  return isBigInt(data) ? data : BigInt64Array.from(numbersOf(tensor) as Int32Array, BigInt);
}
