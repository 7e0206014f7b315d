import type { AsyncArguments } from '../async-options.js';
import { closedGetters } from './closed.js';
import type { Tensor } from '../tensor/index.js';
import type { PackedSequence } from './packed-sequence.js';
import { RNNBase } from './rnn-base.js';
import { nonlinearityOf, rnnConfig, type RNNOptions } from './rnn-config.js';
import type { OutputOf } from './rnn-forward.js';

/**
 * An Elman network, as `torch.nn.RNN`. Sizes and options are fixed at construction. For each step of each layer:
 *
 * ```
 * h' = tanh(W_ih x + b_ih + W_hh h + b_hh)
 * ```
 *
 * or `relu` in place of `tanh`.
 *
 * Parameters of layer `k` (and `_reverse`), with H the hiddenSize: `weight_ih_l{k}` `[H, in]`, `weight_hh_l{k}`
 * `[H, H]`, `bias_ih_l{k}` and `bias_hh_l{k}` `[H]`, at first all from U(-s, s) with `s = 1 / sqrt(H)`. `in` is
 * the inputSize in layer 0, and the features of the layer before in deeper ones.
 */
export class RNN extends RNNBase {
  /** @throws {TypeError | RangeError} for sizes that are not positive integers, or unknown or wrong options */
  constructor(inputSize: number, hiddenSize: number, options: RNNOptions = {}) {
    super(rnnConfig('RNN', inputSize, hiddenSize, options));
  }

  /** What is applied to the sums. */
  get nonlinearity(): 'tanh' | 'relu' {
    return nonlinearityOf(this.mode);
  }
  static {
    closedGetters(this.prototype, 'nonlinearity');
  }

  /** Runs the sequence. Arguments, results and errors are {@link GRU}'s. */
  override forward<X extends Tensor | PackedSequence>(
    input: X,
    state?: Tensor | null,
  ): [OutputOf<X>, Tensor] {
    return this.run(input, state) as [OutputOf<X>, Tensor];
  }

  /** {@link forward} while the event loop goes on: see {@link Module.forwardAsync}. */
  override forwardAsync<X extends Tensor | PackedSequence>(
    input: X,
    ...rest: AsyncArguments<[state?: Tensor | null]>
  ): Promise<[OutputOf<X>, Tensor]> {
    return this.runAsync([input, ...rest]) as Promise<[OutputOf<X>, Tensor]>;
  }
}
