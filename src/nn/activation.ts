import { checkInteger, checkOneOf, checkOptions, rangeError } from '../errors.js';
import { checkTensor, type Tensor } from '../tensor/tensor.js';
import { numberOptions } from './arguments.js';
import { closed, fixed } from './closed.js';
import {
  elu,
  gelu,
  hardsigmoid,
  hardswish,
  hardtanh,
  leakyRelu,
  relu,
  sigmoid,
  silu,
  softplus,
  tanh,
  type GELUOptions,
} from './functional/activation.js';
import { Module, pythonFloat } from './module.js';

/** `max(x, 0)`; a NaN stays NaN. */
export class ReLU extends Module {
  /** The same shape; `input` is float32. */
  override forward(input: Tensor): Tensor {
    return relu(input);
  }
}

/** `1 / (1 + exp(-x))`, within 3.5 ulp, or 6 ulp below -20, where it is almost 0. */
export class Sigmoid extends Module {
  /** The same shape; `input` is float32. */
  override forward(input: Tensor): Tensor {
    return sigmoid(input);
  }
}

/** `tanh(x)`, within 3.5 ulp. */
export class Tanh extends Module {
  /** The same shape; `input` is float32. */
  override forward(input: Tensor): Tensor {
    return tanh(input);
  }
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
    return gelu(input, this[fixed]);
  }
  override extraRepr(): string {
    return `approximate='${this.approximate}'`;
  }
}

/** `x / (1 + exp(-x))`. */
export class SiLU extends Module {
  /** The same shape; `input` is float32. */
  override forward(input: Tensor): Tensor {
    return silu(input);
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
    return leakyRelu(input, this[fixed]);
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
    return elu(input, this[fixed]);
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
    return softplus(input, this[fixed]);
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
    return hardtanh(input, this[fixed]);
  }
  override extraRepr(): string {
    return `min_val=${pythonFloat(this.minVal)}, max_val=${pythonFloat(this.maxVal)}`;
  }
}

/** `min(max(x + 3, 0), 6) / 6`. */
export class Hardsigmoid extends Module {
  /** The same shape; `input` is float32. */
  override forward(input: Tensor): Tensor {
    return hardsigmoid(input);
  }
}

/** `x * min(max(x + 3, 0), 6) / 6`. */
export class Hardswish extends Module {
  /** The same shape; `input` is float32. */
  override forward(input: Tensor): Tensor {
    return hardswish(input);
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
  /** Takes any arguments, so that it can stand in for any module, and uses none. */
  constructor(..._args: unknown[]) {
    super();
  }
  /** The same shape; `input` is float32. */
  override forward(input: Tensor): Tensor {
    return input;
  }
}
