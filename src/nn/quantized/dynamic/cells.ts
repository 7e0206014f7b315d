import type { RNNMode } from '../../../native.js';
import type { Tensor } from '../../../tensor/index.js';
import {
  cellConfig,
  cellMetadata,
  cellRepr,
  forwardCell,
  GRUCell as FloatGRUCell,
  LSTMCell as FloatLSTMCell,
  RNNCell as FloatRNNCell,
  type CellOptions,
  type RNNCellOptions,
} from '../../cells.js';
import { cellParameters, type LayerParameter, type RNNCellSizes } from '../../layer-parameters.js';
import type { ModuleMetadata } from '../../module.js';
import { kindOf, nonlinearityOf } from '../../rnn-config.js';
import type { LSTMState } from '../../rnn-forward.js';
import type { QuantizedMatrix } from './dynamic-module.js';
import { dynamicOptionNames, type DynamicMode, type DynamicOptions, type QConfig } from '../qconfig.js';
import { newRNNHandle, RecurrentModule, type QuantizedRNNHandle } from './rnn-base.js';

/** The float LSTMCell's and GRUCell's options, and how weights and activations are quantized. */
export interface QuantizedCellOptions extends CellOptions, DynamicOptions {}

/** The float RNNCell's options, and how weights and activations are quantized. */
export interface QuantizedRNNCellOptions extends RNNCellOptions, DynamicOptions {}

/** What the quantized cells share. Not public. */
abstract class RNNCellBase extends RecurrentModule implements RNNCellSizes {
  declare readonly mode: RNNMode;
  declare readonly inputSize: number;
  declare readonly hiddenSize: number;
  declare readonly bias: boolean;

  constructor(config: RNNCellSizes, options: DynamicOptions) {
    super();
    Object.assign(this, config);
    this.initialise(options);
  }

  protected override parameterList(): LayerParameter[] {
    return cellParameters(this);
  }
  protected override newHandle(mode: DynamicMode, matrices: readonly QuantizedMatrix[]): QuantizedRNNHandle {
    return newRNNHandle(this, 0, 1, 1, mode, matrices);
  }
  protected override reprName(): string {
    return `DynamicQuantized${kindOf(this.mode)}Cell`;
  }
  override extraRepr(): string {
    return cellRepr(this) + this.modeRepr();
  }
  protected override metadata(): ModuleMetadata {
    return this.quantizedMetadata(cellMetadata(this));
  }
  protected step(input: Tensor, state: LSTMState | Tensor | null | undefined): Tensor | [Tensor, Tensor] {
    return forwardCell(this, this.handle(), input, state, true);
  }
}

/**
 * An LSTMCell with INT8 or float16 weights, as `torch.ao.nn.quantized.dynamic.LSTMCell` (fbgemm): at each call
 * input and hidden state are quantized, each with a range of its own (so a cell called step by step is not an
 * LSTM, whose input has one range for the whole sequence, unless `activation` is `'perRow'`). Unlike PyTorch's
 * it takes `bias: false` and unbatched input.
 */
export class LSTMCell extends RNNCellBase {
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
}

/** A GRUCell with INT8 or float16 weights; see the quantized {@link LSTMCell}. */
export class GRUCell extends RNNCellBase {
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
}

/** An RNNCell with INT8 or float16 weights; see the quantized {@link LSTMCell}. */
export class RNNCell extends RNNCellBase {
  /** Weights of zeros; `fromFloat` or `loadStateDict` fill them. */
  constructor(inputSize: number, hiddenSize: number, options: QuantizedRNNCellOptions = {}) {
    super(cellConfig('RNN', inputSize, hiddenSize, options, dynamicOptionNames), options);
  }
  /** Throws what the quantized LSTM's does. */
  static fromFloat(module: FloatRNNCell, qconfig: QConfig): RNNCell {
    return this.convert(RNNCell, FloatRNNCell, module, qconfig);
  }
  get nonlinearity(): 'tanh' | 'relu' {
    return nonlinearityOf(this.mode);
  }
  /** @see {@link FloatRNNCell.forward} */
  override forward(input: Tensor, state?: Tensor | null): Tensor {
    return this.step(input, state) as Tensor;
  }
}
