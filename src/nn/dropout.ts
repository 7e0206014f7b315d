import type { Tensor } from '../tensor/tensor.js';
import { checkProbability } from './arguments.js';
import { closed } from './closed.js';
import { dropout } from './functional/activation.js';
import { fusable } from './fusable.js';
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
    checkProbability('p', p);
    closed(this, { p });
  }
  /** @throws {TypeError} when `input` is not a Tensor */
  override forward(input: Tensor): Tensor {
    return dropout(input, { p: this.p, training: this.training });
  }
  override extraRepr(): string {
    return `p=${this.p}, inplace=False`;
  }
}
fusable(Dropout);
