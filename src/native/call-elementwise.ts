/** The hot calls of functions of each element. native/bindings/elementwise_binding.cc is the other side. */
import { cached } from './addon.js';
import { arrayBit, callMemory, input, newFloats, output, resultOf } from './call.js';

/** In the order of native code's numbers for them: `Unary` in kernels.h says what each is. */
export const unaryNames = [
  ...([
    'abs',
    'neg',
    'square',
    'cube',
    'sqrt',
    'rsqrt',
    'reciprocal',
    'floor',
    'ceil',
    'round',
    'trunc',
  ] as const),
  ...(['sign', 'clamp', 'relu', 'leakyRelu', 'hardsigmoid', 'hardswish', 'exp', 'log', 'erf'] as const),
  ...(['sigmoid', 'tanh', 'gelu', 'geluTanh', 'silu', 'softplus', 'elu'] as const),
];
export const binaryNames = ['add', 'sub', 'mul', 'div', 'minimum', 'maximum'] as const;
export const comparisonNames = ['eq', 'ne', 'lt', 'le'] as const;

export type UnaryName = (typeof unaryNames)[number];
export type BinaryName = (typeof binaryNames)[number];
export type ComparisonName = (typeof comparisonNames)[number];

function numbered<Name extends string>(names: readonly Name[]): Readonly<Record<Name, number>> {
  return Object.fromEntries(names.map((name, i) => [name, i])) as Record<Name, number>;
}
const unaryNumbers = numbered(unaryNames);
const binaryNumbers = numbered(binaryNames);
const comparisonNumbers = numbered(comparisonNames);

/**
 * How operands are broadcast: for each dimension of the result, the outermost first, its size and how far apart each
 * operand's elements are along it, 0 or 1 along the last.
 */
export type Axes = readonly number[];

const functions = cached('unary', 'binary', 'compare', 'select');

/** `name` of each element. `a` and `b` are the numbers that it has. */
export function callUnary(name: UnaryName, x: Float32Array, a: number, b: number): Float32Array {
  const count = x.length;
  if (count === 0) return new Float32Array(0);
  const memory = callMemory();
  const { callWords, callLayout } = memory;
  const xIn = input(memory, 0, x);
  const out = output(count);
  callWords[callLayout.arrays] = arrayBit(xIn, 0) + arrayBit(out, 1);
  callWords[callLayout.elementwiseFunction] = unaryNumbers[name];
  callWords[callLayout.elementwiseCount] = count;
  callWords[callLayout.elementwiseNumbers] = a;
  callWords[callLayout.elementwiseNumbers + 1] = b;
  functions().unary(xIn, out);
  return resultOf(memory, 1, out, count);
}

/** `name` of each pair of elements; `count` is the number of results, not 0. */
export function callBinary(
  name: BinaryName,
  a: Float32Array,
  b: Float32Array,
  axes: Axes,
  count: number,
): Float32Array {
  const memory = callMemory();
  const { callWords, callLayout } = memory;
  const aIn = input(memory, 0, a);
  const bIn = input(memory, 1, b);
  const out = output(count);
  callWords[callLayout.arrays] = arrayBit(aIn, 0) + arrayBit(bIn, 1) + arrayBit(out, 2);
  callWords[callLayout.elementwiseFunction] = binaryNumbers[name];
  functions().binary(aIn, bIn, out, passed(axes, 2));
  return resultOf(memory, 2, out, count);
}

/** `out` = 1 where `name` is true of a pair of elements, else 0; it is not empty. */
export function callCompare(
  name: ComparisonName,
  a: Float32Array,
  b: Float32Array,
  axes: Axes,
  out: Uint8Array,
): void {
  const memory = callMemory();
  const { callWords, callLayout } = memory;
  const aIn = input(memory, 0, a);
  const bIn = input(memory, 1, b);
  callWords[callLayout.arrays] = arrayBit(aIn, 0) + arrayBit(bIn, 1);
  callWords[callLayout.elementwiseFunction] = comparisonNumbers[name];
  functions().compare(aIn, bIn, out, passed(axes, 2));
}

/** `yes` where `condition` is not 0, else `no`. */
export function callSelect(
  condition: Uint8Array,
  yes: Float32Array,
  no: Float32Array,
  axes: Axes,
  count: number,
): Float32Array {
  const memory = callMemory();
  const { callWords, callLayout } = memory;
  const yesIn = input(memory, 1, yes);
  const noIn = input(memory, 2, no);
  const out = newFloats(count);
  callWords[callLayout.arrays] = arrayBit(yesIn, 1) + arrayBit(noIn, 2) + arrayBit(out, 3);
  functions().select(condition, yesIn, noIn, out, passed(axes, 3));
  return out;
}

/** One dimension goes through words, more through an array. */
function passed(axes: Axes, operands: number): Float64Array | undefined {
  const { callWords, callLayout } = callMemory();
  if (axes.length > 1 + operands) return Float64Array.from(axes);
  for (let i = 0; i <= operands; i++) callWords[callLayout.elementwiseCount + i] = axes[i]!;
  return undefined;
}
