import type { AsyncArguments } from '../async-options.js';
import type { Tensor } from '../tensor/index.js';
import type { PackedSequence } from './packed-sequence.js';
import { RNNBase } from './rnn-base.js';
import { rnnConfig, type RNNBaseOptions } from './rnn-config.js';
import type { OutputOf } from './rnn-forward.js';

/**
 * A gated recurrent unit, as `torch.nn.GRU`. Sizes and options are fixed at construction. For each step of each layer,
 * with gate rows in the order r, z, n:
 *
 * ```
 * r, z = sigmoid(W_i* x + b_i* + W_h* h + b_h*)
 * n = tanh(W_in x + b_in + r * (W_hn h + b_hn))     h' = (h - n) * z + n
 * ```
 *
 * (The reset gate multiplies the whole recurrent term, its bias included.)
 *
 * Parameters of layer `k` (and `_reverse`), with H the hiddenSize: `weight_ih_l{k}` `[3 * H, in]`,
 * `weight_hh_l{k}` `[3 * H, H]`, `bias_ih_l{k}` and `bias_hh_l{k}` `[3 * H]`, at first all from U(-s, s) with
 * `s = 1 / sqrt(H)`. `in` is the inputSize in layer 0, and the features of the layer before in deeper ones.
 */
export class GRU extends RNNBase {
  /** @throws {TypeError | RangeError} for sizes that are not positive integers, or unknown or wrong options */
  constructor(inputSize: number, hiddenSize: number, options: RNNBaseOptions = {}) {
    super(rnnConfig('GRU', inputSize, hiddenSize, options));
  }

  /**
   * Runs the sequence.
   *
   * @param input - `(T, B, inputSize)`, or `(B, T, inputSize)` with `batchFirst`, or unbatched
   * `(T, inputSize)`, or a packed sequence; float32, T at least 1
   * @param state - h0 `(numLayers * directions, B, H)` (unbatched: without B; packed: in the caller's order);
   * absent: zeros
   * @returns `[output, hn]`: output `(T, B, directions * H)`, forward features first, packed if the input is, and
   * the last state in the shape of the first. After a short sequence both may share one `ArrayBuffer`:
   * `clone()` before transferring one of them to another thread.
   * @throws {TypeError} when an argument is not a float32 tensor (`ERR_INVALID_ARG_TYPE`, `ERR_DTYPE`)
   * @throws {RangeError} for wrong shapes (`ERR_SHAPE`)
   */
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
