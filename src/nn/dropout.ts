import { checkNumber, rangeError } from '../errors.js';
import { bernoulli } from '../random.js';
import { type Tensor, checkTensor } from '../tensor/tensor.js';
import { closed } from './closed.js';
import { Module } from './module.js';

/**
 * In training, zeroes elements with probability `p` and scales the others by `1 / (1 - p)`, with PyTorch's
 * random stream. In evaluation it returns its input. `p` is fixed at construction.
 */
export class Dropout extends Module {
  /** The probability with which an element becomes zero. */
  declare readonly p: number;

  /** @throws {TypeError | RangeError} when `p` is not a probability */
  constructor(p = 0.5) {
    super();
    checkNumber('p', p);
    if (!(p >= 0 && p <= 1)) {
      throw rangeError(
        'ERR_INVALID_ARG_VALUE',
        `dropout probability has to be between 0 and 1, but got ${p}`,
      );
    }
    closed(this, { p });
  }
  /** @throws {TypeError} when `input` is not a Tensor */
  override forward(input: Tensor): Tensor {
    checkTensor('input', input);
    input.checked('input');
    return this.training ? dropout(input, this.p) : input;
  }
  override extraRepr(): string {
    return `p=${this.p}, inplace=False`;
  }
}

/** Dropout as training does it: `x * bernoulli(1 - p) / (1 - p)`. */
export function dropout(input: Tensor, p: number): Tensor {
  if (p === 0 || input.numel === 0) return input;
  if (p === 1) return input.mul(0);
  return bernoulli(1 - p, input.shape)
    .div(1 - p)
    .mul(input);
}
