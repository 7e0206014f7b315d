import type { AsyncArguments } from '../async-options.js';
import type { Tensor } from '../tensor/index.js';
import type { PackedSequence } from './packed-sequence.js';
import { RNNBase } from './rnn-base.js';
import { rnnConfig, type LSTMOptions } from './rnn-config.js';
import type { LSTMState, OutputOf } from './rnn-forward.js';

/**
 * A long short-term memory, as `torch.nn.LSTM`. Sizes and options are fixed at construction. For each step of each
 * layer, with gate rows in the order i, f, g, o:
 *
 * ```
 * i, f, o = sigmoid(W_i* x + b_i* + W_h* h + b_h*)     g = tanh(W_ig x + b_ig + W_hg h + b_hg)
 * c' = f * c + i * g                                   h' = o * tanh(c')
 * ```
 *
 * and with `projSize` (P) `h' = W_hr (o * tanh(c'))`.
 *
 * Parameters of layer `k` (and `_reverse`), with H the hiddenSize: `weight_ih_l{k}` `[4 * H, in]`,
 * `weight_hh_l{k}` `[4 * H, P or H]`, `bias_ih_l{k}` and `bias_hh_l{k}` `[4 * H]`, `weight_hr_l{k}` `[P, H]`,
 * at first all from U(-s, s) with `s = 1 / sqrt(H)`. `in` is the inputSize in layer 0, and the features of the
 * layer before in deeper ones.
 */
export class LSTM extends RNNBase {
  /** @throws {TypeError | RangeError} for sizes that are not positive integers, or unknown or wrong options */
  constructor(inputSize: number, hiddenSize: number, options: LSTMOptions = {}) {
    super(rnnConfig('LSTM', inputSize, hiddenSize, options));
  }

  /**
   * Runs the sequence.
   *
   * @param input - `(T, B, inputSize)`, or `(B, T, inputSize)` with `batchFirst`, or unbatched
   * `(T, inputSize)`, or a packed sequence; float32, T at least 1
   * @param state - `[h0, c0]`: h0 `(numLayers * directions, B, P or H)`, c0 `(numLayers * directions, B, H)`
   * (unbatched: without B; packed: in the caller's order); absent: zeros
   * @returns `[output, [hn, cn]]`: output `(T, B, directions * (P or H))`, forward features first, packed if
   * the input is, and the last states in the shape of the first. After a short sequence the three may share one
   * `ArrayBuffer`: `clone()` before transferring one of them to another thread.
   * @throws {TypeError} when an argument is not a float32 tensor (`ERR_INVALID_ARG_TYPE`, `ERR_DTYPE`)
   * @throws {RangeError} for wrong shapes (`ERR_SHAPE`)
   */
  override forward<X extends Tensor | PackedSequence>(
    input: X,
    state?: LSTMState | null,
  ): [OutputOf<X>, [Tensor, Tensor]] {
    return this.run(input, state) as [OutputOf<X>, [Tensor, Tensor]];
  }

  /** {@link forward} while the event loop goes on: see {@link Module.forwardAsync}. */
  override forwardAsync<X extends Tensor | PackedSequence>(
    input: X,
    ...rest: AsyncArguments<[state?: LSTMState | null]>
  ): Promise<[OutputOf<X>, [Tensor, Tensor]]> {
    return this.runAsync([input, ...rest]) as Promise<[OutputOf<X>, [Tensor, Tensor]]>;
  }
}
