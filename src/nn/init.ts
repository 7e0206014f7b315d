import { checkNumber, checkOneOf, checkOptions, describe, rangeError } from '../errors.js';
import { fillNormal, fillUniform, type Generator } from '../random.js';
import { checkTensor, numelOf, type Tensor } from '../tensor/index.js';
import { isOnMeta } from './meta.js';

/** Options of {@link kaimingUniform_} and {@link kaimingNormal_}. */
export interface KaimingOptions {
  /** The slope of leaky_relu's negative side. Default: 0. */
  a?: number;
  /** Keep the variance of activations (`'fan_in'`, the default) or of gradients (`'fan_out'`). */
  mode?: 'fan_in' | 'fan_out';
  /** Default: `'leaky_relu'`. */
  nonlinearity?: Nonlinearity;
  /** Default: the global generator. */
  generator?: Generator;
}

const nonlinearities = ['linear', 'sigmoid', 'tanh', 'relu', 'leaky_relu', 'selu'] as const;
/** A function of known gain: `linear`, `sigmoid`, `tanh`, `relu`, `leaky_relu`, `selu` ({@link calculateGain}). */
export type Nonlinearity = (typeof nonlinearities)[number];

/** Fills in place from U(a, b). Default: U(0, 1). */
export function uniform_<T extends Tensor>(tensor: T, a = 0, b = 1, generator?: Generator): T {
  checkTensor('tensor', tensor);
  checkNumber('a', a);
  checkNumber('b', b);
  return isSkipped(tensor) ? tensor : fillUniform(tensor, a, b, generator);
}

/** Fills in place from N(mean, std^2). Default: N(0, 1). */
export function normal_<T extends Tensor>(tensor: T, mean = 0, std = 1, generator?: Generator): T {
  checkTensor('tensor', tensor);
  return isSkipped(tensor) ? tensor : fillNormal(tensor, mean, std, generator);
}

/** Fills with one value. */
export function constant_<T extends Tensor>(tensor: T, value: number): T {
  checkTensor('tensor', tensor);
  return isSkipped(tensor) ? tensor : tensor.fill_(value);
}
/** Fills with 0. */
export function zeros_<T extends Tensor>(tensor: T): T {
  return constant_(tensor, 0);
}
/** Fills with 1. */
export function ones_<T extends Tensor>(tensor: T): T {
  return constant_(tensor, 1);
}

/** Glorot and Bengio 2010: U(-a, a), `a = gain * sqrt(6 / (fan_in + fan_out))`. */
export function xavierUniform_<T extends Tensor>(tensor: T, gain = 1, generator?: Generator): T {
  const [fanIn, fanOut] = fans(tensor);
  checkNumber('gain', gain);
  const bound = Math.sqrt(3) * (gain * Math.sqrt(2 / (fanIn + fanOut)));
  return uniform_(tensor, -bound, bound, generator);
}

/** Glorot and Bengio 2010: N(0, std^2), `std = gain * sqrt(2 / (fan_in + fan_out))`. */
export function xavierNormal_<T extends Tensor>(tensor: T, gain = 1, generator?: Generator): T {
  const [fanIn, fanOut] = fans(tensor);
  checkNumber('gain', gain);
  return normal_(tensor, 0, gain * Math.sqrt(2 / (fanIn + fanOut)), generator);
}

/** He et al. 2015: U(-b, b), `b = sqrt(3) * gain / sqrt(fan)`, computed in PyTorch's order. */
export function kaimingUniform_<T extends Tensor>(tensor: T, options: KaimingOptions = {}): T {
  const bound = Math.sqrt(3) * kaimingStd(tensor, options);
  return uniform_(tensor, -bound, bound, options.generator);
}

/** He et al. 2015: N(0, std^2), `std = gain / sqrt(fan)`. */
export function kaimingNormal_<T extends Tensor>(tensor: T, options: KaimingOptions = {}): T {
  return normal_(tensor, 0, kaimingStd(tensor, options), options.generator);
}

/** The factor by which weights should be larger before this nonlinearity. */
export function calculateGain(nonlinearity: Nonlinearity, a = 0.01): number {
  const sentence = `Unsupported nonlinearity ${describe(nonlinearity)}`;
  checkOneOf('nonlinearity', nonlinearity, nonlinearities, sentence);
  checkNumber('a', a);
  switch (nonlinearity) {
    case 'linear':
    case 'sigmoid':
      return 1;
    case 'tanh':
      return 5 / 3;
    case 'relu':
      return Math.sqrt(2);
    case 'leaky_relu':
      return Math.sqrt(2 / (1 + a ** 2));
    case 'selu':
      return 3 / 4;
  }
}

/** Whether a tensor is to stay without numbers. */
function isSkipped(tensor: Tensor): boolean {
  return isOnMeta() && tensor.isMeta;
}

function kaimingStd(tensor: Tensor, options: KaimingOptions): number {
  checkOptions('kaiming', options, ['a', 'mode', 'nonlinearity', 'generator']);
  const { a = 0, mode = 'fan_in', nonlinearity = 'leaky_relu' } = options;
  const sentence = `Mode ${describe(mode)} not supported, please use one of fan_in, fan_out`;
  checkOneOf('mode', mode, ['fan_in', 'fan_out'], sentence);
  const [fanIn, fanOut] = fans(tensor);
  return calculateGain(nonlinearity, a) / Math.sqrt(mode === 'fan_in' ? fanIn : fanOut);
}

/** `[fan_in, fan_out]` of a weight `[out, in, ...receptive field]`. */
function fans(tensor: Tensor): [number, number] {
  checkTensor('tensor', tensor);
  if (tensor.dim() < 2) {
    throw rangeError(
      'ERR_SHAPE',
      `Fan in and fan out can not be computed for tensor with fewer than 2 dimensions, got ${tensor.dim()}`,
    );
  }
  const field = numelOf(tensor.shape.slice(2));
  return [tensor.shape[1]! * field, tensor.shape[0]! * field];
}
