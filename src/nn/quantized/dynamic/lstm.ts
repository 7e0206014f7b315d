import type { AsyncArguments } from '../../../async-options.js';
import type { Tensor } from '../../../tensor/index.js';
import { LSTM as FloatLSTM } from '../../lstm.js';
import type { PackedSequence } from '../../packed-sequence.js';
import { rnnConfig, type LSTMOptions } from '../../rnn-config.js';
import type { LSTMState, OutputOf } from '../../rnn-forward.js';
import { dynamicOptionNames, type DynamicOptions, type QConfig } from '../qconfig.js';
import { QuantizedRNNBase } from './rnn-base.js';

/** The float LSTM's options, and how weights and activations are quantized. */
export interface QuantizedLSTMOptions extends LSTMOptions, DynamicOptions {}

/**
 * An LSTM with INT8 weights, as `torch.ao.nn.quantized.dynamic.LSTM` (fbgemm). It quantizes the input of a layer
 * once for the whole sequence and the hidden state once a step, by default each with one range over the batch, in
 * 127 levels. The sums are exact int32; gates, biases and states stay float32. As in PyTorch, results therefore
 * depend on the other sequences of the batch and on how a sequence is cut.
 *
 * `activation: 'perRow'` gives each vector its own range: x_t of each sequence, h_{t-1} of each sequence, and
 * between layers the vector of both directions. The results of a sequence then have the same bits alone and in
 * any batch and, in one direction, however it is cut into chunks that pass `[hn, cn]` on.
 * `reduceRange: false` takes 255 levels. See `quantization.ActivationMode`. With `projSize` the vector that enters
 * `weight_hr` is quantized as the hidden state is.
 *
 * `dtype: 'float16'` rounds the weights to float16 and computes in float32. Then nothing depends on the batch.
 *
 * Equations and shapes are the float LSTM's. Unlike PyTorch's it takes `projSize`, `bias: false` and unbatched input.
 * NaN or infinity in an INT8 layer's input or state is a `RangeError` with the code `ERR_NOT_FINITE`. Sizes and
 * options are fixed at construction.
 */
export class LSTM extends QuantizedRNNBase {
  /** Weights of zeros; `fromFloat` or `loadStateDict` fill them. */
  constructor(inputSize: number, hiddenSize: number, options: QuantizedLSTMOptions = {}) {
    super(rnnConfig('LSTM', inputSize, hiddenSize, options, dynamicOptionNames), options);
  }

  /**
   * @throws {TypeError | RangeError} when `module` is not an LSTM, or `qconfig` is not for an LSTM
   * @throws {RangeError} when a weight or bias is not finite, or for INT8 a weight deeper than 131,071 (65,793
   * with the full range)
   */
  static fromFloat(module: FloatLSTM, qconfig: QConfig): LSTM {
    return this.convert(LSTM, FloatLSTM, module, qconfig);
  }

  /** @see {@link FloatLSTM.forward} */
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
