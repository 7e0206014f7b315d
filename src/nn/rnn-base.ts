import { takeSignal } from '../async-options.js';
import { native } from '../native/addon.js';
import type { RNNHandle, RNNMode } from '../native/handles.js';
import type { Tensor } from '../tensor/index.js';
import { uniform_ } from './init.js';
import { rnnParameters, type LayerParameter, type RNNCellSizes } from './layer-parameters.js';
import { closed, fixed } from './closed.js';
import { isForwardReplaced } from './hooks.js';
import { Module, pack, type ModuleMetadata } from './module.js';
import { emptyParameter, parameterData } from './parameter.js';
import { freeHandle, packedHandle } from './native-weights.js';
import type { PackedSequence } from './packed-sequence.js';
import { configOfCall, rnnMetadata, rnnRepr, type RNNConfig } from './rnn-config.js';
import { forwardRNN, forwardRNNAsync, type LSTMState, type RNNResult } from './rnn-forward.js';

/** Makes a float layer's parameters, all from U(-s, s) with `s = 1 / sqrt(hiddenSize)`. */
export function initParameters(
  module: Module,
  parameters: readonly LayerParameter[],
  hiddenSize: number,
): void {
  const bound = 1 / Math.sqrt(hiddenSize);
  for (const { name, shape } of parameters) {
    const parameter = uniform_(emptyParameter(shape), -bound, bound);
    (module as unknown as Record<string, Tensor>)[name] = parameter;
  }
}

const parametersOf = new WeakMap<Module, readonly LayerParameter[]>();

/** The handle of a float layer as its parameters are now. */
export function floatHandle<M extends Module & RNNCellSizes>(
  module: M,
  list: (module: M) => LayerParameter[],
  projSize: number,
  numLayers: number,
  directions: number,
): RNNHandle {
  // The names are computed once; the properties are read at each call, because they may be replaced.
  let parameters = parametersOf.get(module);
  if (parameters === undefined) parametersOf.set(module, (parameters = list(module)));
  const tensors = new Array<Tensor>(parameters.length);
  for (let i = 0; i < tensors.length; i++) {
    tensors[i] = (module as unknown as Record<string, Tensor>)[parameters[i]!.name]!;
  }
  return packedHandle(module, tensors, () => {
    const matrices: { weight: Float32Array; bias: Float32Array | null }[] = [];
    parameters.forEach(({ name, kind, shape, matrix }, i) => {
      const data = parameterData(name, tensors[i], shape);
      if (kind === 'weight') matrices[matrix] = { weight: data, bias: null };
      else matrices[matrix]!.bias = data;
    });
    const { mode, inputSize, hiddenSize } = module;
    const sizes = { mode, inputSize, hiddenSize, projSize, numLayers, directions };
    return new (native().FloatRNN)(sizes, matrices);
  });
}

/** What the float LSTM, GRU and RNN share, as PyTorch's `RNNBase`. Sizes and options are fixed there. Not public. */
export abstract class RNNBase extends Module implements RNNConfig {
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

  constructor(config: RNNConfig) {
    super();
    closed(this, config);
    const { dropout, numLayers } = config;
    if (dropout > 0 && numLayers === 1) {
      process.emitWarning(
        `dropout option adds dropout after all but last recurrent layer, so non-zero dropout expects num_layers greater than 1, but got dropout=${dropout} and num_layers=1`,
      );
    }
    initParameters(this, rnnParameters(config), config.hiddenSize);
  }

  /** Call this after a direct write into a parameter's `.data`, so that the next forward packs the weights again. */
  repack(): void {
    freeHandle(this);
  }
  override extraRepr(): string {
    return rnnRepr(this);
  }
  protected override metadata(): ModuleMetadata {
    return rnnMetadata(this);
  }
  protected run(input: Tensor | PackedSequence, state: LSTMState | Tensor | null | undefined): RNNResult {
    return forwardRNN(configOfCall(this[fixed], this.training), this.handle(), input, state, false);
  }
  /** {@link run} on another thread. The arguments are those of forwardAsync. */
  protected async runAsync(args: unknown[]): Promise<RNNResult> {
    if (isForwardReplaced(this)) return (await super.forwardAsync(...args)) as RNNResult;
    const signal = takeSignal(args, 2);
    const [input, state] = args as Parameters<RNNBase['run']>;
    const config = configOfCall(this[fixed], this.training);
    return await forwardRNNAsync(config, this.handle(), input, state, false, signal);
  }
  private handle(): RNNHandle {
    const { projSize, numLayers, bidirectional } = this[fixed];
    return floatHandle(this, rnnParameters, projSize, numLayers, bidirectional ? 2 : 1);
  }
  /** @internal */
  override [pack](): void {
    this.handle();
  }
}
