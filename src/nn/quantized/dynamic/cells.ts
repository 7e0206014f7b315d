import { takeSignal, type AsyncArguments } from '../../../async-options.js';
import type { RNNMode } from '../../../native/handles.js';
import type { Tensor } from '../../../tensor/index.js';
import {
  cellConfig,
  cellMetadata,
  cellRepr,
  forwardCell,
  forwardCellAsync,
  GRUCell as FloatGRUCell,
  LSTMCell as FloatLSTMCell,
  RNNCell as FloatRNNCell,
  type CellOptions,
  type RNNCellOptions,
} from '../../cells.js';
import { cellParameters, type LayerParameter, type RNNCellSizes } from '../../layer-parameters.js';
import { closed, closedGetters, fixed } from '../../closed.js';
import { isForwardReplaced } from '../../hooks.js';
import type { ModuleMetadata } from '../../module.js';
import { kindOf, nonlinearityOf } from '../../rnn-config.js';
import type { LSTMState } from '../../rnn-forward.js';
import type { QuantizedMatrix } from './dynamic-module.js';
import {
  dynamicOptionNames,
  type DynamicQuantization,
  type DynamicOptions,
  type QConfig,
} from '../qconfig.js';
import { newRNNHandle, QuantizedRecurrent, type QuantizedRNNHandle } from './rnn-base.js';

/** The float LSTMCell's and GRUCell's options, and how weights and activations are quantized. */
export interface QuantizedCellOptions extends CellOptions, DynamicOptions {}

/** The float RNNCell's options, and how weights and activations are quantized. */
export interface QuantizedRNNCellOptions extends RNNCellOptions, DynamicOptions {}

/** What the quantized cells share. Their sizes and options are fixed at construction. Not public. */
abstract class QuantizedRNNCellBase extends QuantizedRecurrent implements RNNCellSizes {
  /** @internal */
  declare readonly [fixed]: RNNCellSizes;
  /** `LSTM`, `GRU`, `RNN_TANH` or `RNN_RELU`, as in PyTorch. */
  declare readonly mode: RNNMode;
  /** The number of features of the input. */
  declare readonly inputSize: number;
  /** The number of units, which is the width of the state. */
  declare readonly hiddenSize: number;
  /** Whether there are `bias_ih` and `bias_hh`. */
  declare readonly bias: boolean;

  constructor(config: RNNCellSizes, options: DynamicOptions) {
    super();
    closed(this, config);
    this.initialise(options);
  }

  protected override parameterList(): LayerParameter[] {
    return cellParameters(this);
  }
  protected override newHandle(
    quantization: DynamicQuantization,
    matrices: readonly QuantizedMatrix[],
  ): QuantizedRNNHandle {
    return newRNNHandle(this, { projSize: 0, numLayers: 1, directions: 1 }, quantization, matrices);
  }
  protected override reprName(): string {
    return `DynamicQuantized${kindOf(this.mode)}Cell`;
  }
  override extraRepr(): string {
    return cellRepr(this) + this.quantizationRepr();
  }
  protected override metadata(): ModuleMetadata {
    return this.quantizedMetadata(cellMetadata(this));
  }
  protected step(input: Tensor, state: LSTMState | Tensor | null | undefined): Tensor | [Tensor, Tensor] {
    return forwardCell(this[fixed], this.handle(), input, state, true);
  }
  /** {@link step} on another thread. The arguments are those of forwardAsync. */
  protected async stepAsync(args: unknown[]): Promise<Tensor | [Tensor, Tensor]> {
    if (isForwardReplaced(this)) return (await super.forwardAsync(...args)) as Tensor;
    const signal = takeSignal(args, 2);
    return await forwardCellAsync(this[fixed], this.handle(), args, signal, true);
  }
}

/**
 * An LSTMCell with INT8 or float16 weights, as `torch.ao.nn.quantized.dynamic.LSTMCell` (fbgemm). At each call it
 * quantizes input and hidden state, each with a range of its own. An LSTM has one range for the input of the whole
 * sequence, so a cell called step by step gives the same results only if `activation` is `'perRow'`. Unlike PyTorch's
 * it takes `bias: false` and unbatched input. Sizes and options are fixed at construction.
 */
export class LSTMCell extends QuantizedRNNCellBase {
  /** Weights of zeros; `fromFloat` or `loadStateDict` fill them. */
  constructor(inputSize: number, hiddenSize: number, options: QuantizedCellOptions = {}) {
    super(cellConfig('LSTM', inputSize, hiddenSize, options, dynamicOptionNames), options);
  }
  /** Throws what the quantized LSTM's does. */
  static fromFloat(module: FloatLSTMCell, qconfig: QConfig): LSTMCell {
    return this.convert(LSTMCell, FloatLSTMCell, module, qconfig);
  }
  /** @see {@link FloatLSTMCell.forward} */
  override forward(input: Tensor, state?: LSTMState | null): [Tensor, Tensor] {
    return this.step(input, state) as [Tensor, Tensor];
  }

  /** {@link forward} while the event loop goes on: see {@link Module.forwardAsync}. */
  override forwardAsync(
    input: Tensor,
    ...rest: AsyncArguments<[state?: LSTMState | null]>
  ): Promise<[Tensor, Tensor]> {
    return this.stepAsync([input, ...rest]) as Promise<[Tensor, Tensor]>;
  }
}

/** A GRUCell with INT8 or float16 weights; see the quantized {@link LSTMCell}. */
export class GRUCell extends QuantizedRNNCellBase {
  /** Weights of zeros; `fromFloat` or `loadStateDict` fill them. */
  constructor(inputSize: number, hiddenSize: number, options: QuantizedCellOptions = {}) {
    super(cellConfig('GRU', inputSize, hiddenSize, options, dynamicOptionNames), options);
  }
  /** Throws what the quantized LSTM's does. */
  static fromFloat(module: FloatGRUCell, qconfig: QConfig): GRUCell {
    return this.convert(GRUCell, FloatGRUCell, module, qconfig);
  }
  /** @see {@link FloatGRUCell.forward} */
  override forward(input: Tensor, state?: Tensor | null): Tensor {
    return this.step(input, state) as Tensor;
  }

  /** {@link forward} while the event loop goes on: see {@link Module.forwardAsync}. */
  override forwardAsync(input: Tensor, ...rest: AsyncArguments<[state?: Tensor | null]>): Promise<Tensor> {
    return this.stepAsync([input, ...rest]) as Promise<Tensor>;
  }
}

/** An RNNCell with INT8 or float16 weights; see the quantized {@link LSTMCell}. */
export class RNNCell extends QuantizedRNNCellBase {
  /** Weights of zeros; `fromFloat` or `loadStateDict` fill them. */
  constructor(inputSize: number, hiddenSize: number, options: QuantizedRNNCellOptions = {}) {
    super(cellConfig('RNN', inputSize, hiddenSize, options, dynamicOptionNames), options);
  }
  /** Throws what the quantized LSTM's does. */
  static fromFloat(module: FloatRNNCell, qconfig: QConfig): RNNCell {
    return this.convert(RNNCell, FloatRNNCell, module, qconfig);
  }
  /** What is applied to the sums. */
  get nonlinearity(): 'tanh' | 'relu' {
    return nonlinearityOf(this.mode);
  }
  static {
    closedGetters(this.prototype, 'nonlinearity');
  }
  /** @see {@link FloatRNNCell.forward} */
  override forward(input: Tensor, state?: Tensor | null): Tensor {
    return this.step(input, state) as Tensor;
  }

  /** {@link forward} while the event loop goes on: see {@link Module.forwardAsync}. */
  override forwardAsync(input: Tensor, ...rest: AsyncArguments<[state?: Tensor | null]>): Promise<Tensor> {
    return this.stepAsync([input, ...rest]) as Promise<Tensor>;
  }
}
