/** The hot calls of reductions, softmax and normalization: see call.ts. */
import { cached } from './addon.js';
import { arrayBit, callMemory, input, output, resultOf } from './call.js';
import type { Lines } from './handles.js';

const functions = cached('reduce', 'softmax', 'normalize', 'scaleChannels');

/** In the order of native code's numbers for them. */
const reductions = [
  'sum',
  'sumOfMagnitudes',
  'sumOfSquares',
  'squaredDeviations',
  'product',
  'least',
  'largest',
  'logSumExp',
] as const;

/** What becomes of a line of numbers. `squaredDeviations` is the sum of `(x - mean)^2`. */
export type Reduction = (typeof reductions)[number];

/** A number for each line. Lines must not be empty. */
export function callReduce(reduction: Reduction, x: Float32Array, lines: Lines): Float32Array {
  return callLines('reduce', reductions.indexOf(reduction), x, lines, lines.outer * lines.inner);
}

/** Each line's softmax, or its logarithm. Lines must not be empty. */
export function callSoftmax(log: boolean, x: Float32Array, lines: Lines): Float32Array {
  return callLines('softmax', log ? 1 : 0, x, lines, x.length);
}

function callLines(
  name: 'reduce' | 'softmax',
  what: number,
  x: Float32Array,
  { outer, length, inner }: Lines,
  count: number,
): Float32Array {
  const memory = callMemory();
  const { callWords, callLayout } = memory;
  const xIn = input(memory, 0, x);
  const out = output(count);
  callWords[callLayout.arrays] = arrayBit(xIn, 0) + arrayBit(out, 1);
  callWords[callLayout.reduceOuter] = outer;
  callWords[callLayout.reduceLength] = length;
  callWords[callLayout.reduceInner] = inner;
  callWords[callLayout.reduction] = what;
  functions()[name](xIn, out);
  return resultOf(memory, 1, out, count);
}

/** Rows to normalize, and their parameters. */
export interface Normalization {
  /** By mean and variance, or by the root of the mean square. */
  readonly norm: 'layer' | 'rms';
  readonly rows: number;
  /** Elements of a row, at least 1. */
  readonly length: number;
  /** Rows that follow each other have the parameters of the 1st, 2nd, … of so many groups. */
  readonly groups: number;
  /** Neighbours that share a parameter; divides `length`. */
  readonly repeat: number;
  /** `groups * length / repeat` of them, as of `bias`. */
  readonly weight: Float32Array | null;
  readonly bias: Float32Array | null;
  readonly eps: number;
}

/** Each row's `(x - mean) / sqrt(variance + eps) * weight + bias`, or `x / sqrt(mean of x^2 + eps) * weight + bias`. */
export function callNormalize(x: Float32Array, call: Normalization): Float32Array {
  const memory = callMemory();
  const { callWords, callLayout } = memory;
  const xIn = input(memory, 0, x);
  const weight = input(memory, 1, call.weight);
  const bias = input(memory, 2, call.bias);
  const out = output(x.length);
  callWords[callLayout.arrays] =
    arrayBit(xIn, 0) + arrayBit(weight, 1) + arrayBit(bias, 2) + arrayBit(out, 3);
  callWords[callLayout.given] = (call.weight === null ? 0 : 1 << 1) + (call.bias === null ? 0 : 1 << 2);
  callWords[callLayout.reduceOuter] = call.rows;
  callWords[callLayout.reduceLength] = call.length;
  callWords[callLayout.reduceInner] = call.repeat;
  callWords[callLayout.reduction] = call.norm === 'rms' ? 1 : 0;
  callWords[callLayout.normGroups] = call.groups;
  callWords[callLayout.normEps] = call.eps;
  functions().normalize(xIn, weight, bias, out);
  return resultOf(memory, 3, out, x.length);
}

/** `(x - mean) * weight + bias` of each channel of `[rows][channels][repeat]` elements. */
export function callScaleChannels(
  x: Float32Array,
  means: Float32Array,
  weights: Float32Array,
  biases: Float32Array,
  repeat: number,
): Float32Array {
  const memory = callMemory();
  const { callWords, callLayout } = memory;
  const xIn = input(memory, 0, x);
  const mean = input(memory, 1, means);
  const weight = input(memory, 2, weights);
  const bias = input(memory, 3, biases);
  const out = output(x.length);
  callWords[callLayout.arrays] =
    arrayBit(xIn, 0) + arrayBit(mean, 1) + arrayBit(weight, 2) + arrayBit(bias, 3) + arrayBit(out, 4);
  callWords[callLayout.reduceOuter] = x.length / (means.length * repeat);
  callWords[callLayout.reduceLength] = means.length;
  callWords[callLayout.reduceInner] = repeat;
  functions().scaleChannels(xIn, mean, weight, bias, out);
  return resultOf(memory, 4, out, x.length);
}
