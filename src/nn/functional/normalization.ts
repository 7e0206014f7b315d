import { checkNumber, checkOptions, checkSize, describe, rangeError, typeError } from '../../errors.js';
import { callNormalize, callScaleChannels } from '../../native/call-reduce.js';
import type { Dims, DTypeOptions } from '../../tensor/index.js';
import { checkedShape, formatShape, numelOf, sameShape } from '../../tensor/shape.js';
import { checkTensor, resultTensor, type Tensor } from '../../tensor/tensor.js';
import { floatInput } from '../arguments.js';

/** A parameter of a function: a tensor, or nothing. */
type Optional = Tensor | null | undefined;

/** Options of `layerNorm`, `groupNorm` and `batchNorm`. */
export interface NormOptions {
  /** Added to the variance. Default: 1e-5. */
  eps?: number;
}

/** Options of `rmsNorm`. */
export interface RMSNormOptions {
  /** Added to the mean square. Default: the distance from 1 to the next float32, 2^-23. */
  eps?: number | null;
}

/** Options of `normalize`. */
export interface NormalizeOptions {
  /** The order of the norm. Default: 2. */
  p?: number;
  /** The dimension that vectors are along, or several. Default: 1. */
  dim?: Dims;
  /** The least that is divided by. Default: 1e-12. */
  eps?: number;
}

/** `exp(x_i) / sum_j exp(x_j)` along `dim`: {@link Tensor.softmax}. */
export function softmax(input: Tensor, dim: number, options?: DTypeOptions): Tensor {
  return floats('softmax', input).softmax(dim, options);
}

/** `x_i - log(sum_j exp(x_j))` along `dim`: {@link Tensor.logSoftmax}. */
export function logSoftmax(input: Tensor, dim: number, options?: DTypeOptions): Tensor {
  return floats('logSoftmax', input).logSoftmax(dim, options);
}

/** `x / max(norm(x), eps)` along `dim`. */
export function normalize(input: Tensor, options?: NormalizeOptions): Tensor {
  floats('normalize', input);
  if (options !== undefined) checkOptions('normalize', options, ['p', 'dim', 'eps']);
  const { p = 2, dim = 1, eps = 1e-12 } = options ?? {};
  checkNumber('eps', eps);
  const norm = input.norm(p, dim, true);
  const lengths = norm.data as Float32Array | Float64Array;
  for (let i = 0; i < lengths.length; i++) lengths[i] = Math.max(lengths[i]!, eps);
  return input.div(norm);
}

/**
 * `(x - mean) / sqrt(variance + eps) * weight + bias` over the last dimensions, those of `normalizedShape`.
 *
 * Shape: float32 `(*, ...normalizedShape)` to the same; `weight` and `bias` have `normalizedShape`.
 */
export function layerNorm(
  input: Tensor,
  normalizedShape: readonly number[],
  weight?: Tensor | null,
  bias?: Tensor | null,
  options?: NormOptions,
): Tensor {
  const shape = listedShape(normalizedShape);
  const eps = epsOf('layerNorm', options);
  const call = { weight: parameter('weight', weight, shape), bias: parameter('bias', bias, shape), eps };
  return overLast('layer', 'layerNorm', input, shape, call);
}

/**
 * `x / sqrt(mean of x^2 + eps) * weight` over the last dimensions, those of `normalizedShape`.
 *
 * Shape: float32 `(*, ...normalizedShape)` to the same; `weight` has `normalizedShape`.
 */
export function rmsNorm(
  input: Tensor,
  normalizedShape: readonly number[],
  weight?: Tensor | null,
  options?: RMSNormOptions,
): Tensor {
  const shape = listedShape(normalizedShape);
  if (options !== undefined) checkOptions('rmsNorm', options, ['eps']);
  const eps = options?.eps ?? float32Epsilon;
  checkNumber('eps', eps);
  return overLast('rms', 'rmsNorm', input, shape, {
    weight: parameter('weight', weight, shape),
    bias: null,
    eps,
  });
}

/** PyTorch's default for what is added to a mean square. */
export const float32Epsilon = 2 ** -23;

/**
 * `(x - mean) / sqrt(variance + eps) * weight + bias`, mean and variance over each of `numGroups` groups of channels
 * and all that follows them; a weight and a bias for each channel.
 *
 * Shape: float32 `(N, C, *)` to the same; `weight` and `bias` `(C)`.
 */
export function groupNorm(
  input: Tensor,
  numGroups: number,
  weight?: Tensor | null,
  bias?: Tensor | null,
  options?: NormOptions,
): Tensor {
  const { shape } = floatInput('groupNorm', input);
  const eps = epsOf('groupNorm', options);
  checkNumber('numGroups', numGroups);
  const channels = channelsOf(shape);
  return groupsNormalized('groupNorm', input, numGroups, {
    weight: parameter('weight', weight, [channels]),
    bias: parameter('bias', bias, [channels]),
    eps,
  });
}

/**
 * `(x - runningMean) / sqrt(runningVar + eps) * weight + bias`, all of them for each channel: what batch normalization
 * does in evaluation.
 *
 * Shape: float32 `(N, C, *)` to the same; the others `(C)`.
 */
export function batchNorm(
  input: Tensor,
  runningMean: Tensor,
  runningVar: Tensor,
  weight?: Tensor | null,
  bias?: Tensor | null,
  options?: NormOptions,
): Tensor {
  const { shape } = floatInput('batchNorm', input);
  const eps = epsOf('batchNorm', options);
  const channels = [channelsOf(shape)];
  return channelsScaled('batchNorm', input, {
    mean: required('runningMean', runningMean, channels),
    variance: required('runningVar', runningVar, channels),
    weight: parameter('weight', weight, channels),
    bias: parameter('bias', bias, channels),
    eps,
  });
}

// What modules share ----------------------------------------------------------------------------------------

/** The parameters of a normalization. */
export interface NormParameters {
  readonly weight: Float32Array | null;
  readonly bias: Float32Array | null;
  readonly eps: number;
}

/** Normalizes over the last dimensions, which must be `normalizedShape`. */
export function overLast(
  norm: 'layer' | 'rms',
  where: string,
  input: Tensor,
  normalizedShape: readonly number[],
  { weight, bias, eps }: NormParameters,
): Tensor {
  const { data: x, shape } = floatInput(where, input);
  const start = shape.length - normalizedShape.length;
  let fits = start >= 0;
  let length = 1;
  // A loop, because methods of a frozen array are slow.
  for (let i = 0; i < normalizedShape.length; i++) {
    fits &&= normalizedShape[i] === shape[start + i];
    length *= normalizedShape[i]!;
  }
  if (!fits) {
    const expected = normalizedShape.join(', ');
    throw rangeError(
      'ERR_SHAPE',
      `Given normalized_shape=[${expected}], expected input with shape [*, ${expected}], but got input of size${formatShape(shape)}`,
    );
  }
  if (x.length === 0) return resultTensor(new Float32Array(0), shape.slice());
  const call = { norm, rows: x.length / length, length, groups: 1, repeat: 1, weight, bias, eps };
  return resultTensor(callNormalize(x, call), shape.slice());
}

/** Normalizes each group of channels. */
export function groupsNormalized(
  where: string,
  input: Tensor,
  groups: number,
  { weight, bias, eps }: NormParameters,
): Tensor {
  const { data: x, shape } = floatInput(where, input);
  const channels = channelsOf(shape);
  if (!Number.isInteger(groups) || groups < 1 || channels % groups !== 0) {
    throw rangeError(
      'ERR_SHAPE',
      `Expected number of channels in input to be divisible by num_groups, but got input of shape ${formatShape(shape)} and num_groups=${groups}`,
    );
  }
  if (x.length === 0) return resultTensor(new Float32Array(0), shape.slice());
  const repeat = numelOf(shape.slice(2));
  const length = (channels / groups) * repeat;
  const call = {
    norm: 'layer',
    rows: shape[0]! * groups,
    length,
    groups,
    repeat,
    weight,
    bias,
    eps,
  } as const;
  return resultTensor(callNormalize(x, call), shape.slice());
}

/** The statistics and parameters of channels. */
export interface ChannelParameters extends NormParameters {
  readonly mean: Float32Array;
  readonly variance: Float32Array;
}

/** Scales each channel by its statistics and parameters. */
export function channelsScaled(where: string, input: Tensor, channels: ChannelParameters): Tensor {
  const { data: x, shape } = floatInput(where, input);
  if (x.length === 0) return resultTensor(new Float32Array(0), shape.slice());
  const { mean, variance, weight, bias, eps } = channels;
  const scale = new Float32Array(mean.length);
  for (let i = 0; i < scale.length; i++) scale[i] = (weight?.[i] ?? 1) / Math.sqrt(variance[i]! + eps);
  const shift = bias ?? new Float32Array(mean.length);
  return resultTensor(callScaleChannels(x, mean, scale, shift, numelOf(shape.slice(2))), shape.slice());
}

/** The number of channels of `(N, C, *)`. */
function channelsOf(shape: readonly number[]): number {
  if (shape.length >= 2) return shape[1]!;
  const sentence = `Expected at least 2 dimensions for input tensor but received ${shape.length}`;
  throw rangeError('ERR_SHAPE', sentence);
}

// Arguments -------------------------------------------------------------------------------------------------

function floats(where: string, input: unknown): Tensor {
  checkTensor(`${where}: input`, input);
  input.checked('input');
  return input;
}

function epsOf(where: string, options: NormOptions = {}): number {
  checkOptions(where, options, ['eps']);
  const { eps = 1e-5 } = options;
  checkNumber('eps', eps);
  return eps;
}

/** A shape to normalize over. */
function listedShape(normalizedShape: unknown): number[] {
  if (!Array.isArray(normalizedShape) || normalizedShape.length === 0) {
    const sentence = `normalizedShape should be an array of at least one size, got ${describe(normalizedShape)}`;
    throw Array.isArray(normalizedShape)
      ? rangeError('ERR_SHAPE', sentence)
      : typeError('ERR_INVALID_ARG_TYPE', sentence);
  }
  const shape = checkedShape(normalizedShape);
  shape.forEach((size) => checkSize('normalizedShape', size));
  return shape;
}

/** The numbers of a float32 tensor of that shape, or null if there is none. */
function parameter(name: string, value: Optional, shape: readonly number[]): Float32Array | null {
  return value === null || value === undefined ? null : required(name, value, shape);
}

function required(name: string, value: unknown, shape: readonly number[]): Float32Array {
  checkTensor(name, value, 'float32');
  if (!sameShape(value.shape, shape)) {
    const sentence = `Expected ${name} to be of shape ${formatShape(shape)}, but got ${name} of shape ${formatShape(value.shape)}`;
    throw rangeError('ERR_SHAPE', sentence);
  }
  return value.checked(name) as Float32Array;
}
