import { takeSignal } from '../../../async-options.js';
import { rangeError } from '../../../errors.js';
import { native } from '../../../native/addon.js';
import type {
  HalfMatrix,
  HalfRNNHandle,
  Int8Matrix,
  Int8RNNHandle,
  RNNMode,
} from '../../../native/handles.js';
import { float16 } from '../../../tensor/dtype.js';
import { type Tensor } from '../../../tensor/tensor.js';
import { rnnParameters, type LayerParameter, type RNNCellSizes } from '../../layer-parameters.js';
import { closed, fixed } from '../../closed.js';
import { isForwardReplaced } from '../../hooks.js';
import type { Module, ModuleMetadata } from '../../module.js';
import type { PackedSequence } from '../../packed-sequence.js';
import { configOfCall, kindOf, rnnMetadata, rnnRepr, type RNNConfig } from '../../rnn-config.js';
import { forwardRNN, forwardRNNAsync, type LSTMState, type RNNResult } from '../../rnn-forward.js';
import { DynamicModule, type QuantizedMatrix } from './dynamic-module.js';
import { checkFloat, type DynamicQuantization, type DynamicOptions, type QConfig } from '../qconfig.js';

/** The native handle of a quantized recurrent layer or cell. */
export type QuantizedRNNHandle = HalfRNNHandle | Int8RNNHandle;

export function newRNNHandle(
  { mode, inputSize, hiddenSize }: RNNCellSizes,
  { projSize, numLayers, directions }: { projSize: number; numLayers: number; directions: number },
  quantization: DynamicQuantization,
  matrices: readonly QuantizedMatrix[],
): QuantizedRNNHandle {
  const { HalfRNN, Int8RNN } = native();
  const sizes = { mode, inputSize, hiddenSize, projSize, numLayers, directions };
  if (quantization.dtype === float16) return new HalfRNN(sizes, matrices as readonly HalfMatrix[]);
  const { activation, reduceRange } = quantization;
  return new Int8RNN(sizes, matrices as readonly Int8Matrix[], activation === 'perRow', reduceRange);
}

/** What the quantized recurrent modules and cells share. Not public. */
export abstract class QuantizedRecurrent extends DynamicModule<QuantizedRNNHandle> {
  /** `fromFloat`: the float module's metadata are its constructor's arguments. */
  protected static convert<Q extends QuantizedRecurrent>(
    Quantized: new (inputSize: number, hiddenSize: number, options: never) => Q,
    Float: abstract new (...args: never[]) => Module & RNNCellSizes,
    module: Module & RNNCellSizes,
    qconfig: QConfig,
  ): Q {
    checkFloat(module, Float, qconfig);
    const { weight, activation, reduceRange } = qconfig;
    const { dtype = 'qint8' } = weight;
    if (dtype !== 'qint8' && dtype !== float16) {
      throw rangeError('ERR_INVALID_ARG_VALUE', `Unsupported dtype for dynamic RNN quantization: ${dtype}`);
    }
    const state = module.stateDict();
    const { inputSize, hiddenSize, ...options } = state.metadata.get('')!;
    delete (options as { type?: string }).type;
    const all = { ...options, dtype, activation, reduceRange };
    return new Quantized(inputSize as number, hiddenSize as number, all as never).quantize(state, qconfig);
  }

  protected override unpackWeight(
    handle: QuantizedRNNHandle,
    matrix: number,
    out: Int8Array | Uint16Array,
  ): void {
    handle.unpackWeight(matrix, out as never);
  }
}

/** What the quantized LSTM, GRU and RNN share. Their sizes and options are fixed at construction. Not public. */
export abstract class QuantizedRNNBase extends QuantizedRecurrent implements RNNConfig {
  /** @internal */
  declare readonly [fixed]: RNNConfig;
  /** `LSTM`, `GRU`, `RNN_TANH` or `RNN_RELU`, as in PyTorch. */
  declare readonly mode: RNNMode;
  /** The number of features of one step of the input. */
  declare readonly inputSize: number;
  /** The number of units, which is the width of the cell state, and of the hidden state unless it is projected. */
  declare readonly hiddenSize: number;
  declare readonly projSize: number;
  /** How many layers are stacked; each takes the outputs of the one before. */
  declare readonly numLayers: number;
  /** Whether there are `bias_ih` and `bias_hh`. */
  declare readonly bias: boolean;
  /** Whether input and output are (batch, steps, features) instead of (steps, batch, features). */
  declare readonly batchFirst: boolean;
  /** The dropout between layers, in training mode only. */
  declare readonly dropout: number;
  /** Whether a second direction reads each sequence from its end. */
  declare readonly bidirectional: boolean;

  constructor(config: RNNConfig, options: DynamicOptions) {
    super();
    closed(this, config);
    this.training = false;
    this.initialise(options);
  }

  protected override parameterList(): LayerParameter[] {
    return rnnParameters(this);
  }
  protected override newHandle(
    quantization: DynamicQuantization,
    matrices: readonly QuantizedMatrix[],
  ): QuantizedRNNHandle {
    const { projSize, numLayers, bidirectional } = this;
    const directions = bidirectional ? 2 : 1;
    return newRNNHandle(this, { projSize, numLayers, directions }, quantization, matrices);
  }
  protected override reprName(): string {
    return `DynamicQuantized${kindOf(this.mode)}`;
  }
  override extraRepr(): string {
    return rnnRepr(this) + this.quantizationRepr();
  }
  protected override metadata(): ModuleMetadata {
    return this.quantizedMetadata(rnnMetadata(this));
  }
  protected run(input: Tensor | PackedSequence, state: LSTMState | Tensor | null | undefined): RNNResult {
    return forwardRNN(configOfCall(this[fixed], this.training), this.handle(), input, state, true);
  }
  /** {@link run} on another thread. The arguments are those of forwardAsync. */
  protected async runAsync(args: unknown[]): Promise<RNNResult> {
    if (isForwardReplaced(this)) return (await super.forwardAsync(...args)) as RNNResult;
    const signal = takeSignal(args, 2);
    const [input, state] = args as Parameters<QuantizedRNNBase['run']>;
    const config = configOfCall(this[fixed], this.training);
    return await forwardRNNAsync(config, this.handle(), input, state, true, signal);
  }
}
