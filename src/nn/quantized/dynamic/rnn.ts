import type { AsyncArguments } from '../../../async-options.js';
import { closedGetters } from '../../closed.js';
import type { Tensor } from '../../../tensor/index.js';
import type { PackedSequence } from '../../packed-sequence.js';
import { nonlinearityOf, rnnConfig, type RNNOptions } from '../../rnn-config.js';
import type { OutputOf } from '../../rnn-forward.js';
import { RNN as FloatRNN } from '../../rnn.js';
import { dynamicOptionNames, type DynamicOptions, type QConfig } from '../qconfig.js';
import { QuantizedRNNBase } from './rnn-base.js';

/** The float RNN's options, and how weights and activations are quantized. */
export interface QuantizedRNNOptions extends RNNOptions, DynamicOptions {}

/**
 * An RNN with INT8 or float16 weights; PyTorch has none. It quantizes as the quantized {@link LSTM} does and has its
 * modes; the equation and shapes are the float RNN's. Sizes and options are fixed at construction.
 */
export class RNN extends QuantizedRNNBase {
  /** Weights of zeros; `fromFloat` or `loadStateDict` fill them. */
  constructor(inputSize: number, hiddenSize: number, options: QuantizedRNNOptions = {}) {
    super(rnnConfig('RNN', inputSize, hiddenSize, options, dynamicOptionNames), options);
  }

  /** Throws what the quantized LSTM's does. */
  static fromFloat(module: FloatRNN, qconfig: QConfig): RNN {
    return this.convert(RNN, FloatRNN, module, qconfig);
  }

  /** What is applied to the sums. */
  get nonlinearity(): 'tanh' | 'relu' {
    return nonlinearityOf(this.mode);
  }
  static {
    closedGetters(this.prototype, 'nonlinearity');
  }

  /** @see {@link FloatRNN.forward} */
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
