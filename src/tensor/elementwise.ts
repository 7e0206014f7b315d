import { rangeError, typeError } from '../errors.js';
import {
  callBinary,
  callCompare,
  callSelect,
  callUnary,
  type BinaryName,
  type ComparisonName,
  type UnaryName,
} from '../native/call-elementwise.js';
import { broadcastPair, broadcastTriple, walk } from './broadcast.js';
import {
  bfloat16,
  bool,
  emptyArray,
  float16,
  float32,
  float64,
  int64,
  isFloat,
  promoted,
  type DType,
} from './dtype.js';
import {
  checkPlain,
  checkIntegerOperand,
  converted,
  fill,
  numbersOf,
  refuseBool,
  roundToBfloat16,
  roundToHalf,
  write,
} from './elements.js';
import { erf } from './erf.js';
import * as exact from './integers.js';
import type { Result, Source } from './result.js';

/** An operand: a tensor, or a number as PyTorch combines it with tensors. */
export type Operand = Source | number;

// Functions of one ----------------------------------------------------------------------------------------------------

/** In double, what integers stay integers of. */
const keeping = {
  abs: Math.abs,
  neg: (x: number) => -x,
  square: (x: number) => x * x,
  cube: (x: number) => x * x * x,
  floor: Math.floor,
  ceil: Math.ceil,
  round: roundToEven,
  trunc: Math.trunc,
  sign: (x: number) => Number(x > 0) - Number(x < 0),
  relu: (x: number) => (x < 0 ? 0 : x),
};
/** The same of integers of at most 32 bits whose result a number does not hold. */
const wrapping: Partial<typeof keeping> = {
  square: (x) => Math.imul(x, x),
  cube: (x) => Math.imul(x, Math.imul(x, x)),
};
/** In double, what makes floats of integers. */
const real = {
  sqrt: Math.sqrt,
  rsqrt: (x: number) => 1 / Math.sqrt(x),
  reciprocal: (x: number) => 1 / x,
  exp: Math.exp,
  log: Math.log,
  erf,
  sigmoid: (x: number) => 1 / (1 + Math.exp(-x)),
  tanh: Math.tanh,
};

/** A function of each element. Integers stay integers. */
export function mapped(name: keyof typeof keeping, x: Source): Result {
  checkPlain(name, x);
  if (x.dtype === float32) return mappedFloats(name, x);
  if (name === 'neg' || name === 'square' || name === 'cube') refuseBool(name, x.dtype);
  if (x.dtype === int64) return mappedIntegers(x, exact.ofOne[name]);
  return mappedNumbers(x, x.dtype, (isFloat(x.dtype) ? undefined : wrapping[name]) ?? keeping[name]);
}

/** A function of each element, float32 of integers. */
export function mappedReal(name: keyof typeof real, x: Source): Result {
  checkPlain(name, x);
  return x.dtype === float64 ? mappedNumbers(x, float64, real[name]) : mappedFloats(name, x);
}

/** The native function, whose numbers are a and b. */
function mappedFloats(name: UnaryName, x: Source, a = 0, b = 0): Result {
  return floats(callUnary(name, floatsOf(x), a, b), x.shape.slice());
}

function mappedNumbers(x: Source, dtype: DType, f: (x: number) => number): Result {
  const values = numbersOf(x);
  const data = emptyArray(dtype, values.length);
  for (let i = 0; i < values.length; i++) write(data, i, f(values[i]!));
  return { data, shape: x.shape.slice(), dtype };
}

function mappedIntegers(x: Source, f: (x: bigint) => bigint): Result {
  return { data: exact.bigintsOf(x).map(f), shape: x.shape.slice(), dtype: int64 };
}

function roundToEven(x: number): number {
  const rounded = Math.round(x);
  return rounded - x === 0.5 && rounded % 2 !== 0 ? rounded - 1 : rounded;
}

/** Whether each element is NaN. */
export function isNaNOf(x: Source): Result {
  checkPlain('isnan', x);
  return compared('ne', x, x);
}

/** Whether each element is neither NaN nor infinite. */
export function isFiniteOf(x: Source): Result {
  checkPlain('isfinite', x);
  return compared('lt', sourceOfResult(mapped('abs', x)), Infinity);
}

// Functions of two ----------------------------------------------------------------------------------------------------

const arithmetic: Record<BinaryName, (a: number, b: number) => number> = {
  add: (a, b) => a + b,
  sub: (a, b) => a - b,
  mul: (a, b) => a * b,
  div: (a, b) => a / b,
  minimum: (a, b) => (Number.isNaN(a) || a < b ? a : b),
  maximum: (a, b) => (Number.isNaN(a) || a > b ? a : b),
};
const comparisons: Record<ComparisonName, (a: number, b: number) => number> = {
  eq: (a, b) => Number(a === b),
  ne: (a, b) => Number(a !== b),
  lt: (a, b) => Number(a < b),
  le: (a, b) => Number(a <= b),
};

/** A function of each pair of elements, broadcasting. */
export function combined(name: BinaryName, a: Source, other: Operand): Result {
  const b = sourceOf(name, other, name === 'div' ? realOf(a.dtype) : a.dtype);
  checkPlain(name, a);
  checkPlain(name, b);
  if (name === 'sub') for (const { dtype: own } of [a, b]) refuseBool(name, own);
  const dtype = name === 'div' ? realOf(resultDType(a, b)) : resultDType(a, b);
  if (dtype === float32) {
    const { shape, count, axes } = broadcastPair(a.shape, b.shape);
    const [x, y] = [floatsOf(a), floatsOf(b)];
    return floats(count === 0 ? new Float32Array(0) : callBinary(name, x, y, axes, count), shape);
  }
  if (dtype === int64) return combinedIntegers(a, b, exact.ofTwo[name as Exclude<BinaryName, 'div'>]);
  const f = name === 'mul' && !isFloat(dtype) ? Math.imul : arithmetic[name];
  // Of two bools, the sum is whether there is any, the product whether there are both.
  return combinedNumbers(a, b, dtype === bool ? (x, y) => Number(f(x, y) !== 0) : f, dtype);
}

function combinedNumbers(a: Source, b: Source, f: (a: number, b: number) => number, dtype: DType): Result {
  const { shape, count, axes } = broadcastPair(a.shape, b.shape);
  const data = emptyArray(dtype, count);
  const elements = dtype === float32 ? floatsOf : numbersOf;
  const [x, y] = [elements(a), elements(b)];
  walk(axes, 2, count, (i, xi, yi) => write(data, i, f(x[xi]!, y[yi]!)));
  return { data, shape, dtype };
}

/** The same in int64. */
function combinedIntegers(a: Source, b: Source, f: (a: bigint, b: bigint) => bigint): Result {
  const { shape, count, axes } = broadcastPair(a.shape, b.shape);
  const data = emptyArray(int64, count);
  const [x, y] = [exact.bigintsOf(a), exact.bigintsOf(b)];
  walk(axes, 2, count, (i, xi, yi) => (data[i] = f(x[xi]!, y[yi]!)));
  return { data, shape, dtype: int64 };
}

/** `a + alpha * b` or `a - alpha * b`; each operation is rounded. */
export function scaledSum(name: 'add' | 'sub', a: Source, other: Operand, alpha: number): Result {
  const b = sourceOf(name, other, a.dtype);
  if (!isFloat(resultDType(a, b)) && !Number.isInteger(alpha)) {
    const sentence = 'For integral input tensors, argument alpha must not be a floating point number.';
    throw typeError('ERR_DTYPE', sentence);
  }
  return combined(name, a, sourceOfResult(combined('mul', b, alpha)));
}

/** `a / b` without its fraction, in the dtype of the operands. */
export function roundedQuotient(a: Source, other: Operand, mode: 'trunc' | 'floor'): Result {
  const b = sourceOf('div', other, a.dtype);
  const dtype = divisionDType('div', a, b);
  if (dtype === int64) return combinedIntegers(a, b, exact.ofTwo[mode]);
  const round = dtype === float32 ? Math.fround : (x: number): number => x;
  const f = mode === 'trunc' ? (x: number, y: number) => Math.trunc(round(x / y)) : floorOfQuotient;
  return combinedNumbers(a, b, f, dtype);
}

/** As Python has it: the quotient of what the remainder leaves, so that an infinite one is NaN. */
function floorOfQuotient(x: number, y: number): number {
  if (y === 0) return x / y;
  const rest = x % y;
  const quotient = (x - rest) / y;
  return Math.round(rest !== 0 && rest < 0 !== y < 0 ? quotient - 1 : quotient);
}

function remainder(x: number, y: number): number {
  const rest = x % y;
  return rest !== 0 && rest < 0 !== y < 0 ? rest + y : rest;
}

/** What `a / b`, rounded down, leaves: it has the sign of b. */
export function remainderOf(a: Source, other: Operand): Result {
  const b = sourceOf('remainder', other, a.dtype);
  const dtype = divisionDType('remainder', a, b);
  if (dtype === int64) return combinedIntegers(a, b, exact.ofTwo.remainder);
  return combinedNumbers(a, b, remainder, dtype);
}

/** The dtype of a quotient that is rounded. Integers have none by zero. */
function divisionDType(name: string, a: Source, b: Source): DType {
  checkPlain(name, a);
  checkPlain(name, b);
  const dtype = resultDType(a, b);
  refuseBool(name, dtype);
  if (!isFloat(dtype) && !numbersOf(b).every((y) => y !== 0))
    throw rangeError('ERR_INVALID_ARG_VALUE', `${name}: ZeroDivisionError, an integer is divided by 0`);
  return dtype;
}

/** `a^b`, broadcasting; rounded once but for the powers that PyTorch computes by other functions. */
export function power(a: Source, exponent: Operand): Result {
  checkPlain('pow', a);
  if (isFloat(a.dtype) && typeof exponent === 'number') {
    if (exponent === 2) return mapped('square', a);
    if (exponent === 3) return mapped('cube', a);
    const name = realPowers.get(exponent);
    if (name !== undefined) return mappedReal(name, a);
  }
  const b = sourceOf('pow', exponent, a.dtype);
  checkPlain('pow', b);
  const dtype = resultDType(a, b);
  refuseBool('pow', dtype);
  if (!isFloat(dtype)) {
    if (typeof exponent === 'number' && exponent < 0)
      throw rangeError('ERR_INVALID_ARG_VALUE', 'Integers to negative integer powers are not allowed.');
    const whole = combinedIntegers(a, b, exact.ofTwo.pow);
    return dtype === int64 ? whole : { ...whole, data: converted(sourceOfResult(whole), dtype), dtype };
  }
  // In PyTorch 1 to any power is 1, and so is -1 to an infinite one.
  const f = (x: number, y: number): number =>
    x === 1 || (x === -1 && Math.abs(y) === Infinity) ? 1 : x ** y;
  return combinedNumbers(a, b, f, dtype);
}

const realPowers = new Map<number, keyof typeof real>([
  [0.5, 'sqrt'],
  [-0.5, 'rsqrt'],
  [-1, 'reciprocal'],
]);

/** `min(max(x, least), most)`, of which one may be missing; NaN where one of the three is. */
export function clamped(x: Source, least: Operand | undefined, most: Operand | undefined): Result {
  if (least === undefined && most === undefined)
    throw typeError('ERR_INVALID_ARG_TYPE', "torch.clamp: At least one of 'min' or 'max' must not be None");
  const numbers = typeof least !== 'object' && typeof most !== 'object';
  if (numbers && x.dtype === float32 && !Number.isNaN(least) && !Number.isNaN(most))
    return mappedFloats('clamp', x, least ?? -Infinity, most ?? Infinity);
  let result: Source = x;
  if (least !== undefined) result = sourceOfResult(combined('maximum', result, least));
  return most === undefined ? (result as Source & Result) : combined('minimum', result, most);
}

// Truth values --------------------------------------------------------------------------------------------------------

/** Whether `name` is true of each pair of elements, broadcasting. */
export function compared(name: ComparisonName, a: Source, other: Operand): Result {
  if (typeof other === 'number' && isHalf(a)) return compared(name, widened(a), halfOf(a, other));
  const b = sourceOf(name, other, a.dtype);
  if (isHalf(a) || isHalf(b)) return compared(name, widened(a), widened(b));
  const dtype = resultDType(a, b);
  const { shape, count, axes } = broadcastPair(a.shape, b.shape);
  const data = emptyArray(bool, count) as Uint8Array;
  if (dtype === float32 && count > 0) {
    callCompare(name, floatsOf(a), floatsOf(b), axes, data);
    return { data, shape, dtype: bool };
  }
  const f = comparisons[name];
  // Large integers differ in digits that a number does not have.
  const elements = dtype === int64 ? exact.bigintsOf : numbersOf;
  const [x, y] = [elements(a) as ArrayLike<number>, elements(b) as ArrayLike<number>];
  walk(axes, 2, count, (i, xi, yi) => (data[i] = f(x[xi]!, y[yi]!)));
  return { data, shape, dtype: bool };
}

/** The same with the operands exchanged: `gt` is the `lt`, and `ge` the `le` of them. */
export function comparedBack(name: 'lt' | 'le', a: Source, other: Operand): Result {
  if (typeof other === 'number' && isHalf(a)) return comparedBack(name, widened(a), halfOf(a, other));
  return compared(name, sourceOf(name, other, a.dtype), a);
}

function isHalf({ dtype }: Source): boolean {
  return dtype === float16 || dtype === bfloat16;
}

/** The elements of a half type in float32. */
function widened(x: Source): Source {
  if (!isHalf(x)) return x;
  return sourceOfResult(floats(numbersOf(x) as Float32Array, x.shape));
}

/** A number rounded to the half type of a tensor. */
function halfOf({ dtype }: Source, x: number): number {
  return dtype === float16 ? roundToHalf(Math.fround(x)) : roundToBfloat16(x);
}

/** Whether both, or any, of two elements are not 0, broadcasting. */
export function logical(name: 'and' | 'or', a: Source, b: Source): Result {
  const f =
    name === 'and'
      ? (x: number, y: number) => Number(x !== 0 && y !== 0)
      : (x: number, y: number) => Number(x !== 0 || y !== 0);
  return combinedNumbers(a, b, f, bool);
}

/** `yes` where the condition is true, else `no`, broadcasting. */
export function chosen(condition: Source, yes: Operand, no: Operand): Result {
  if (condition.dtype !== bool) {
    const sentence = `where expected condition to be a boolean tensor, but got a tensor with dtype ${condition.dtype}`;
    throw typeError('ERR_DTYPE', sentence);
  }
  const a = sourceOf('where', yes, typeof no === 'number' ? dtypeOfNumber(no) : no.dtype);
  const b = sourceOf('where', no, a.dtype);
  checkPlain('where', a);
  checkPlain('where', b);
  return selected(condition, a, b, resultDType(a, b));
}

/** `x`, but `value` where the mask is true, broadcasting. */
export function filledWhere(x: Source, mask: Source, value: Operand): Result {
  if (mask.dtype !== bool) {
    const sentence = `masked_fill only supports boolean masks, but got mask with dtype ${mask.dtype}`;
    throw typeError('ERR_DTYPE', sentence);
  }
  if (typeof value !== 'number' && value.shape.length !== 0) {
    const got = `tensor with ${value.shape.length} dimension(s).`;
    throw rangeError('ERR_SHAPE', `masked_fill only supports a 0-dimensional value tensor, but got ${got}`);
  }
  checkPlain('maskedFill', x);
  if (typeof value !== 'number' && value.dtype === x.dtype) return selected(mask, value, x, x.dtype);
  const data = emptyArray(x.dtype, 1);
  fill(data, typeof value === 'number' ? value : numbersOf(value)[0]!, x.dtype);
  return selected(mask, sourceOfResult({ data, shape: [], dtype: x.dtype }), x, x.dtype);
}

function selected(condition: Source, yes: Source, no: Source, dtype: DType): Result {
  const { shape, count, axes } = broadcastTriple(condition.shape, yes.shape, no.shape);
  const truth = condition.checked() as Uint8Array;
  if (dtype === float32 && count > 0)
    return floats(callSelect(truth, floatsOf(yes), floatsOf(no), axes, count), shape);
  const data = emptyArray(dtype, count);
  const a = yes.dtype === dtype ? yes.checked() : converted(yes, dtype);
  const b = no.dtype === dtype ? no.checked() : converted(no, dtype);
  walk(axes, 3, count, (i, ci, ai, bi) => (data[i] = truth[ci] !== 0 ? a![ai]! : b![bi]!));
  return { data, shape, dtype };
}

// Operands ------------------------------------------------------------------------------------------------------------

function dtypeOfNumber(value: number): DType {
  return Number.isInteger(value) ? int64 : float32;
}

/**
 * A number among operands of a dtype: of that dtype unless it needs another kind of it. What it is compared with does
 * not lose digits by it.
 */
function sourceOf(name: string, operand: Operand, among: DType): Source {
  if (typeof operand !== 'number') return operand;
  let dtype = among;
  const isCompared = name in comparisons;
  const isInteger = Number.isInteger(operand) && (!isCompared || Math.abs(operand) < 2 ** 63);
  if (!isFloat(among) && !isInteger) dtype = float32;
  else if (among === bool) dtype = int64;
  if (!isFloat(dtype) && !isCompared) checkIntegerOperand(name, operand, dtype);
  const data = emptyArray(dtype, 1);
  write(data, 0, operand); // what does not fit wraps around, as in PyTorch
  return { dtype, shape: [], quantization: undefined, checked: () => data };
}

function sourceOfResult(result: Result): Source & Result {
  return { ...result, quantization: undefined, checked: () => result.data };
}

/** The dtype in which two operands are combined. One without dimensions only decides if it is of a higher kind. */
function resultDType(a: Source, b: Source): DType {
  const alone = promoted(a.dtype, b.dtype);
  if ((a.shape.length === 0) === (b.shape.length === 0)) return alone;
  const [higher, lower] = a.shape.length === 0 ? [b.dtype, a.dtype] : [a.dtype, b.dtype];
  return isFloat(higher) || (higher !== bool && !isFloat(lower)) ? higher : alone;
}

function realOf(dtype: DType): DType {
  return isFloat(dtype) ? dtype : float32;
}

/** The elements in float32. */
function floatsOf(x: Source): Float32Array {
  const data = x.checked();
  return (x.dtype === float32 ? data : converted(x, float32)) as Float32Array;
}

function floats(data: Float32Array, shape: readonly number[]): Result {
  return { data, shape, dtype: float32 };
}
