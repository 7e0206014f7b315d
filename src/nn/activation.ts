import { checkOneOf, checkOptions, checkInteger, checkNumber, rangeError } from '../errors.js';
import { native } from '../native/addon.js';
import { float32 } from '../tensor/dtype.js';
import { checkTensor, isTensor, resultTensor, Tensor } from '../tensor/tensor.js';
import { closed, fixed } from './closed.js';
import { Module, pythonFloat } from './module.js';

/** `max(x, 0)`; a NaN stays NaN. */
export class ReLU extends Module {
  /** The same shape; `input` is float32. */
  override forward(input: Tensor): Tensor {
    return map('ReLU', input, (x) => (x < 0 ? 0 : x));
  }
}

/** `1 / (1 + exp(-x))`, within 3.5 ulp, or 6 ulp below -20, where it is almost 0. */
export class Sigmoid extends Module {
  /** The same shape; `input` is float32. */
  override forward(input: Tensor): Tensor {
    const { data, shape } = floatInput('Sigmoid', input);
    const out = new Float32Array(data.length);
    native().sigmoid(data, out);
    return new Tensor(out, shape);
  }
}

/** `tanh(x)`, within 3.5 ulp. */
export class Tanh extends Module {
  /** The same shape; `input` is float32. */
  override forward(input: Tensor): Tensor {
    const { data, shape } = floatInput('Tanh', input);
    const out = new Float32Array(data.length);
    native().tanh(data, out);
    return new Tensor(out, shape);
  }
}

/** Options of GELU. */
export interface GELUOptions {
  /** `'none'` for the exact formula, `'tanh'` for the approximation. Default: `'none'`. */
  approximate?: 'none' | 'tanh';
}

/**
 * `x * Phi(x)`, where Phi is the normal distribution's cumulative function; or, with `approximate: 'tanh'`,
 * `0.5 * x * (1 + tanh(sqrt(2 / pi) * (x + 0.044715 * x^3)))`.
 */
export class GELU extends Module {
  /** @internal */
  declare readonly [fixed]: Pick<GELU, 'approximate'>;
  /** Whether the normal distribution is exact (`none`) or approximated with tanh. */
  declare readonly approximate: 'none' | 'tanh';
  constructor(options: GELUOptions = {}) {
    super();
    checkOptions('GELU', options, ['approximate']);
    const { approximate = 'none' } = options;
    checkOneOf('approximate', approximate, ['none', 'tanh']);
    closed(this, { approximate });
  }
  /** The same shape; `input` is float32. */
  override forward(input: Tensor): Tensor {
    if (this[fixed].approximate === 'none')
      return map('GELU', input, (x) => 0.5 * x * erfc(-x * Math.SQRT1_2));
    const factor = Math.sqrt(2 / Math.PI);
    return map('GELU', input, (x) => 0.5 * x * (1 + Math.tanh(factor * (x + 0.044715 * x ** 3))));
  }
  override extraRepr(): string {
    return `approximate='${this.approximate}'`;
  }
}

/** `x / (1 + exp(-x))`. */
export class SiLU extends Module {
  /** The same shape; `input` is float32. */
  override forward(input: Tensor): Tensor {
    return map('SiLU', input, (x) => x / (1 + Math.exp(-x)));
  }
}

/** `x` where it is positive, else `negativeSlope * x`. */
export class LeakyReLU extends Module {
  /** @internal */
  declare readonly [fixed]: Pick<LeakyReLU, 'negativeSlope'>;
  /** The slope below zero. */
  declare readonly negativeSlope: number;
  /** @param options.negativeSlope - Default: 0.01. */
  constructor(options: { negativeSlope?: number } = {}) {
    super();
    closed(this, numberOptions('LeakyReLU', { negativeSlope: 0.01 }, options));
  }
  /** The same shape; `input` is float32. */
  override forward(input: Tensor): Tensor {
    const slope = Math.fround(this[fixed].negativeSlope);
    return map('LeakyReLU', input, (x) => (x > 0 ? x : x * slope));
  }
  override extraRepr(): string {
    return `negative_slope=${pythonFloat(this.negativeSlope)}`;
  }
}

/** `x` where it is positive, else `alpha * (exp(x) - 1)`. */
export class ELU extends Module {
  /** @internal */
  declare readonly [fixed]: Pick<ELU, 'alpha'>;
  /** What the output approaches far below zero, negated. */
  declare readonly alpha: number;
  /** @param options.alpha - Default: 1. */
  constructor(options: { alpha?: number } = {}) {
    super();
    closed(this, numberOptions('ELU', { alpha: 1 }, options));
  }
  /** The same shape; `input` is float32. */
  override forward(input: Tensor): Tensor {
    const { alpha } = this[fixed];
    return map('ELU', input, (x) => (x > 0 ? x : alpha * Math.expm1(x)));
  }
  override extraRepr(): string {
    return `alpha=${pythonFloat(this.alpha)}`;
  }
}

/** `log(1 + exp(beta * x)) / beta`; `x` where `beta * x` is above the threshold. */
export class Softplus extends Module {
  /** @internal */
  declare readonly [fixed]: Pick<Softplus, 'beta' | 'threshold'>;
  /** How sharp the bend is. */
  declare readonly beta: number;
  /** Where `beta * x` is larger, the output is x itself. */
  declare readonly threshold: number;
  /** @param options - Default: `beta` 1, `threshold` 20. */
  constructor(options: { beta?: number; threshold?: number } = {}) {
    super();
    closed(this, numberOptions('Softplus', { beta: 1, threshold: 20 }, options));
  }
  /** The same shape; `input` is float32. */
  override forward(input: Tensor): Tensor {
    const { beta, threshold } = this[fixed];
    return map('Softplus', input, (x) => (x * beta > threshold ? x : Math.log1p(Math.exp(x * beta)) / beta));
  }
  override extraRepr(): string {
    return `beta=${pythonFloat(this.beta)}, threshold=${pythonFloat(this.threshold)}`;
  }
}

/** `x` clamped to `minVal`..`maxVal`. */
export class Hardtanh extends Module {
  /** @internal */
  declare readonly [fixed]: Pick<Hardtanh, 'minVal' | 'maxVal'>;
  /** The least output. */
  declare readonly minVal: number;
  /** The largest output. */
  declare readonly maxVal: number;
  /**
   * @param options - Default: `minVal` -1, `maxVal` 1
   * @throws {RangeError} unless `minVal` is below `maxVal`
   */
  constructor(options: { minVal?: number; maxVal?: number } = {}) {
    super();
    const { minVal, maxVal } = numberOptions('Hardtanh', { minVal: -1, maxVal: 1 }, options);
    if (!(minVal < maxVal)) {
      throw rangeError('ERR_INVALID_ARG_VALUE', `minVal should be below maxVal, got ${minVal} and ${maxVal}`);
    }
    closed(this, { minVal, maxVal });
  }
  /** The same shape; `input` is float32. */
  override forward(input: Tensor): Tensor {
    const { minVal, maxVal } = this[fixed];
    return map('Hardtanh', input, (x) => Math.min(Math.max(x, minVal), maxVal));
  }
  override extraRepr(): string {
    return `min_val=${pythonFloat(this.minVal)}, max_val=${pythonFloat(this.maxVal)}`;
  }
}

/** `min(max(x + 3, 0), 6) / 6`. */
export class Hardsigmoid extends Module {
  /** The same shape; `input` is float32. */
  override forward(input: Tensor): Tensor {
    return map('Hardsigmoid', input, hardsigmoid);
  }
}

/** `x * min(max(x + 3, 0), 6) / 6`. */
export class Hardswish extends Module {
  /** The same shape; `input` is float32. */
  override forward(input: Tensor): Tensor {
    return map('Hardswish', input, (x) => x * hardsigmoid(x));
  }
}

/** `exp(x_i) / sum_j exp(x_j)` along `dim`. */
export class Softmax extends Module {
  /** @internal */
  declare readonly [fixed]: Pick<Softmax, 'dim'>;
  /** The dimension along which the outputs (or their exponentials) sum to 1. */
  declare readonly dim: number;
  constructor(dim: number) {
    super();
    checkInteger('Softmax: dim', dim);
    closed(this, { dim });
  }
  /** The same shape; `input` is float32. */
  override forward(input: Tensor): Tensor {
    checkTensor('Softmax: input', input);
    input.checked('Softmax: input');
    return input.softmax(this[fixed].dim);
  }
  override extraRepr(): string {
    return `dim=${this.dim}`;
  }
}

/** `x_i - log(sum_j exp(x_j))` along `dim`. */
export class LogSoftmax extends Module {
  /** @internal */
  declare readonly [fixed]: Pick<LogSoftmax, 'dim'>;
  /** The dimension along which the outputs (or their exponentials) sum to 1. */
  declare readonly dim: number;
  constructor(dim: number) {
    super();
    checkInteger('LogSoftmax: dim', dim);
    closed(this, { dim });
  }
  /** The same shape; `input` is float32. */
  override forward(input: Tensor): Tensor {
    checkTensor('LogSoftmax: input', input);
    input.checked('LogSoftmax: input');
    return input.logSoftmax(this[fixed].dim);
  }
  override extraRepr(): string {
    return `dim=${this.dim}`;
  }
}

/** Returns its input. */
export class Identity extends Module {
  /** The same shape; `input` is float32. */
  override forward(input: Tensor): Tensor {
    return input;
  }
}

function map(where: string, input: Tensor, f: (x: number) => number): Tensor {
  const { data, shape } = floatInput(where, input);
  const out = new Float32Array(data.length);
  for (let i = 0; i < data.length; i++) out[i] = f(data[i]!);
  return resultTensor(out, shape.slice());
}

/** The defaults, replaced by the options that are given. All are numbers. */
function numberOptions<T extends Record<string, number>>(where: string, defaults: T, options: Partial<T>): T {
  checkOptions(where, options, Object.keys(defaults));
  const result: Record<string, number> = { ...defaults };
  for (const [name, value] of Object.entries(options) as [string, unknown][]) {
    if (value === undefined) continue;
    checkNumber(`${where}: ${name}`, value);
    result[name] = value;
  }
  return result as T;
}

function hardsigmoid(x: number): number {
  return Math.min(Math.max(x + 3, 0), 6) / 6;
}

// log(erfc(z) * exp(z^2) / t) as a polynomial in t = 1 / (1 + z / 2), z in 0..11, by least squares: 1e-8.
const erfcTerms = [
  -1.265567181, 1.001567659, 0.355683863, 0.2189875361, -0.6869118971, 1.605924692, -3.451372282, 4.129996795,
  -2.715159806, 0.9440863251, -0.1372356992,
];

/** 1 - erf(x) with a relative error of 1e-8, also where it is so small that a subtraction would leave no digits. */
function erfc(x: number): number {
  const z = Math.abs(x);
  const t = 1 / (1 + z / 2);
  const value = t * Math.exp(erfcTerms.reduceRight((sum, term) => sum * t + term, 0) - z * z);
  return x < 0 ? 2 - value : value;
}

/** A float32 tensor's numbers and shape. @throws {TypeError} for anything else */
export function floatInput(where: string, input: Tensor): { data: Float32Array; shape: readonly number[] } {
  // First what is cheap: to join the two texts takes longer than to map a few elements.
  if (!isTensor(input) || input.dtype !== float32) checkTensor(`${where}: input`, input, float32);
  return { data: input.checked('input') as Float32Array, shape: input.shape };
}
