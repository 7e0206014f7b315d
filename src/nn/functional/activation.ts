import { checkBoolean, checkOneOf, checkOptions, rangeError } from '../../errors.js';
import { callUnary, type UnaryName } from '../../native/call-elementwise.js';
import { bernoulli } from '../../random.js';
import { checkTensor, resultTensor, type Tensor } from '../../tensor/tensor.js';
import { checkProbability, floatInput, numberOptions } from '../arguments.js';

/** `max(x, 0)`; a NaN stays NaN. The shape stays; `input` is float32, here and in the functions below. */
export function relu(input: Tensor): Tensor {
  return activation('relu', 'relu', input);
}

/** `1 / (1 + exp(-x))`, within 3.5 ulp, or 6 ulp below -20, where it is almost 0. */
export function sigmoid(input: Tensor): Tensor {
  return activation('sigmoid', 'sigmoid', input);
}

/** `tanh(x)`, within 3.5 ulp. */
export function tanh(input: Tensor): Tensor {
  return activation('tanh', 'tanh', input);
}

/** Options of GELU. */
export interface GELUOptions {
  /** `'none'` for the exact formula, `'tanh'` for the approximation. Default: `'none'`. */
  approximate?: 'none' | 'tanh';
}

/**
 * `x * Phi(x)`, where Phi is the normal distribution's cumulative function, within 10 ulp, also where it is small; or,
 * with `approximate: 'tanh'`, `0.5 * x * (1 + tanh(sqrt(2 / pi) * (x + 0.044715 * x^3)))`.
 */
export function gelu(input: Tensor, options?: GELUOptions): Tensor {
  if (options === undefined) return activation('gelu', 'gelu', input);
  checkOptions('gelu', options, ['approximate']);
  const { approximate = 'none' } = options;
  checkOneOf('approximate', approximate, ['none', 'tanh']);
  return activation('gelu', approximate === 'tanh' ? 'geluTanh' : 'gelu', input);
}

/** `x / (1 + exp(-x))`, within 4 ulp. */
export function silu(input: Tensor): Tensor {
  return activation('silu', 'silu', input);
}

/** `x` where it is positive, else `negativeSlope * x`. @param options - Default: `negativeSlope` 0.01. */
export function leakyRelu(input: Tensor, options?: { negativeSlope?: number }): Tensor {
  const { negativeSlope } = numberOptions('leakyRelu', { negativeSlope: 0.01 }, options);
  return activation('leakyRelu', 'leakyRelu', input, negativeSlope);
}

/** `x` where it is positive, else `alpha * (exp(x) - 1)`. @param options - Default: `alpha` 1. */
export function elu(input: Tensor, options?: { alpha?: number }): Tensor {
  const { alpha } = numberOptions('elu', { alpha: 1 }, options);
  return activation('elu', 'elu', input, alpha);
}

/**
 * `log(1 + exp(beta * x)) / beta`; `x` where `beta * x` is above the threshold.
 *
 * @param options - Default: `beta` 1, `threshold` 20.
 */
export function softplus(input: Tensor, options?: { beta?: number; threshold?: number }): Tensor {
  const { beta, threshold } = numberOptions('softplus', { beta: 1, threshold: 20 }, options);
  return activation('softplus', 'softplus', input, beta, threshold);
}

/**
 * `x` clamped to `minVal`..`maxVal`; a NaN stays NaN.
 *
 * @param options - Default: `minVal` -1, `maxVal` 1.
 * @throws {RangeError} when `minVal` is above `maxVal`
 */
export function hardtanh(input: Tensor, options?: { minVal?: number; maxVal?: number }): Tensor {
  const { minVal, maxVal } = numberOptions('hardtanh', { minVal: -1, maxVal: 1 }, options);
  if (!(minVal <= maxVal)) {
    const got = `got ${minVal} and ${maxVal}`;
    throw rangeError('ERR_INVALID_ARG_VALUE', `hardtanh: minVal should not be above maxVal, ${got}`);
  }
  return activation('hardtanh', 'clamp', input, minVal, maxVal);
}

/** `min(max(x + 3, 0), 6) / 6`. */
export function hardsigmoid(input: Tensor): Tensor {
  return activation('hardsigmoid', 'hardsigmoid', input);
}

/** `x * min(max(x + 3, 0), 6) / 6`. */
export function hardswish(input: Tensor): Tensor {
  return activation('hardswish', 'hardswish', input);
}

/**
 * Zeroes elements with probability `p` and scales the others by `1 / (1 - p)`, with PyTorch's random stream; returns
 * its input when `training` is false.
 *
 * @param options - Default: `p` 0.5, `training` true, as in PyTorch.
 */
export function dropout(input: Tensor, options?: { p?: number; training?: boolean }): Tensor {
  if (options !== undefined) checkOptions('dropout', options, ['p', 'training']);
  const { p = 0.5, training = true } = options ?? {};
  checkTensor('input', input);
  input.checked('input');
  checkProbability('p', p);
  checkBoolean('training', training);
  if (!training || p === 0 || input.numel === 0) return input;
  if (p === 1) return input.mul(0);
  return bernoulli(1 - p, input.shape)
    .div(1 - p)
    .mul(input);
}

function activation(where: string, name: UnaryName, input: Tensor, a?: number, b?: number): Tensor {
  const { data, shape } = floatInput(where, input);
  return resultTensor(callUnary(name, data, a ?? 0, b ?? 0), shape.slice());
}
