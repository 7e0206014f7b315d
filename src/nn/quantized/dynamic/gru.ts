import type { AsyncArguments } from '../../../async-options.js';
import type { Tensor } from '../../../tensor/index.js';
import { GRU as FloatGRU } from '../../gru.js';
import type { PackedSequence } from '../../packed-sequence.js';
import { rnnConfig, type RNNBaseOptions } from '../../rnn-config.js';
import type { OutputOf } from '../../rnn-forward.js';
import { dynamicOptionNames, type DynamicOptions, type QConfig } from '../qconfig.js';
import { QuantizedRNNBase } from './rnn-base.js';

/** The float GRU's options, and how weights and activations are quantized. */
export interface QuantizedGRUOptions extends RNNBaseOptions, DynamicOptions {}

/**
 * A GRU with INT8 or float16 weights, as `torch.ao.nn.quantized.dynamic.GRU` (fbgemm). It quantizes as the quantized
 * {@link LSTM} does and has its modes; equations and shapes are the float GRU's. Unlike PyTorch's it takes
 * `bias: false` and unbatched input. Sizes and options are fixed at construction.
 */
export class GRU extends QuantizedRNNBase {
  /** Weights of zeros; `fromFloat` or `loadStateDict` fill them. */
  constructor(inputSize: number, hiddenSize: number, options: QuantizedGRUOptions = {}) {
    super(rnnConfig('GRU', inputSize, hiddenSize, options, dynamicOptionNames), options);
  }

  /** Throws what the quantized LSTM's does. */
  static fromFloat(module: FloatGRU, qconfig: QConfig): GRU {
    return this.convert(GRU, FloatGRU, module, qconfig);
  }

  /** @see {@link FloatGRU.forward} */
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
