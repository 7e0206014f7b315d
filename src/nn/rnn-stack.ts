import { takeSignal, type AsyncArguments } from '../async-options.js';
import { describe, rangeError, typeError } from '../errors.js';
import type { RNNMode } from '../native/handles.js';
import { cat } from '../tensor/create.js';
import { isTensor, type Tensor } from '../tensor/tensor.js';
import { closed, fixed } from './closed.js';
import { Container } from './container.js';
import { isForwardReplaced } from './hooks.js';
import { rnnModes } from './layer-parameters.js';
import { isModule, type Module } from './module.js';
import type { PackedSequence } from './packed-sequence.js';
import type { RNNConfig } from './rnn-config.js';
import { checkInitialState, type LSTMState, type OutputOf, type RNNResult } from './rnn-forward.js';

/** A state as a recurrent module takes it: h0, or `[h0, c0]` for an LSTM. */
type State = LSTMState | Tensor | null | undefined;

/** What all layers of a stack have in common. */
const common = ['mode', 'hiddenSize', 'projSize', 'batchFirst', 'bidirectional'] as const;

/**
 * A stacked LSTM, GRU or RNN whose layers are modules of their own, named `'0'`, `'1'`, …: each of one layer, with both
 * directions if there are two, float or quantized in a way of its own. `quantizeDynamic` makes it of a recurrent
 * module whose layers have different qconfigs. `forward` takes and returns what the stacked module does, with the bits
 * of the layers called one after the other. There is no dropout between the layers.
 *
 * ```ts
 * const spec = new Map([[nn.LSTM, bestDynamicQConfig], ['lstm.0', null]]); // the first layer stays float
 * const quantized = quantizeDynamic(model, spec);
 * ```
 */
export class RNNStack extends Container {
  /** @internal */
  declare readonly [fixed]: RNNConfig;
  /** `LSTM`, `GRU`, `RNN_TANH` or `RNN_RELU`, as in PyTorch. */
  declare readonly mode: RNNMode;
  /** The number of features of one step of the input. */
  declare readonly inputSize: number;
  /** The number of units, which is the width of the cell state, and of the hidden state unless it is projected. */
  declare readonly hiddenSize: number;
  /** Features to which the hidden state is projected; 0 without projection. */
  declare readonly projSize: number;
  /** The number of layers. */
  declare readonly numLayers: number;
  /** Whether every layer has biases. */
  declare readonly bias: boolean;
  /** Whether input and output are (batch, steps, features) instead of (steps, batch, features). */
  declare readonly batchFirst: boolean;
  /** Always 0. */
  declare readonly dropout: number;
  /** Whether a second direction reads each sequence from its end. */
  declare readonly bidirectional: boolean;

  /**
   * @param layers - LSTMs, GRUs or RNNs of one layer, float or quantized; each takes the output of the one before
   * @throws {TypeError} when one of them is no recurrent module @throws {RangeError} when they do not fit together
   */
  constructor(...layers: Module[]) {
    super();
    closed(this, configOf(layers));
    layers.forEach((layer, i) => this.add(String(i), layer));
  }

  /**
   * @param state - h0, or `[h0, c0]` for an LSTM, of all layers; default: zeros
   * @throws what the stacked LSTM, GRU or RNN does
   */
  override forward<X extends Tensor | PackedSequence>(
    input: X,
    state?: LSTMState | Tensor | null,
  ): [OutputOf<X>, Tensor | [Tensor, Tensor]] {
    const states = this.statesOfLayers(input, state);
    const last: RNNResult[1][] = [];
    let value: Tensor | PackedSequence = input;
    for (const layer of this.items.values()) {
      const result = layer.forward(value, states[last.length]) as RNNResult;
      value = result[0];
      last.push(result[1]);
    }
    return [value as OutputOf<X>, together(last)];
  }

  /** {@link forward} while the event loop goes on: see {@link Module.forwardAsync}. */
  override async forwardAsync<X extends Tensor | PackedSequence>(
    input: X,
    ...rest: AsyncArguments<[state?: LSTMState | Tensor | null]>
  ): Promise<[OutputOf<X>, Tensor | [Tensor, Tensor]]> {
    const args: unknown[] = [input, ...rest];
    if (isForwardReplaced(this)) return (await super.forwardAsync(...args)) as never;
    const signal = takeSignal(args, 2);
    const options = signal === undefined ? [] : [{ signal }];
    // Copies. The first layer copies the input before anything is awaited.
    const states = this.statesOfLayers(input, args[1] as State);
    const last: RNNResult[1][] = [];
    let value: Tensor | PackedSequence = input;
    for (const layer of [...this.items.values()]) {
      const result = (await layer.forwardAsync(value, states[last.length], ...options)) as RNNResult;
      value = result[0];
      last.push(result[1]);
    }
    return [value as OutputOf<X>, together(last)];
  }

  /** Each layer's part of a state. Input that is wrong is left to the first layer, which says so. */
  private statesOfLayers(input: unknown, state: State): State[] {
    const { numLayers, bidirectional } = this;
    if (state === undefined || state === null || !checkInitialState(this, input, state))
      return new Array<null>(numLayers).fill(null);
    const directions = bidirectional ? 2 : 1;
    return Array.from({ length: numLayers }, (_, i): State => {
      const part = (whole: Tensor): Tensor => whole.slice(0, i * directions, (i + 1) * directions);
      return isTensor(state) ? part(state) : [part(state[0]), part(state[1])];
    });
  }
}

/** The last states of all layers. */
function together(states: readonly RNNResult[1][]): RNNResult[1] {
  if (isTensor(states[0])) return cat(states as Tensor[]);
  const pairs = states as [Tensor, Tensor][];
  return [cat(pairs.map(([h]) => h)), cat(pairs.map(([, c]) => c))];
}

/** The sizes of a stack of these layers. */
function configOf(layers: readonly Module[]): RNNConfig {
  const configs = layers.map((layer, i) => {
    const { mode, numLayers } = (layer ?? {}) as Partial<RNNConfig>;
    if (!isModule(layer) || mode === undefined || !Object.hasOwn(rnnModes, mode) || numLayers !== 1) {
      const sentence = `layer ${i} should be an LSTM, GRU or RNN of one layer, got ${describe(layer)}`;
      throw typeError('ERR_INVALID_ARG_TYPE', sentence);
    }
    return layer as Module & RNNConfig;
  });
  const [first] = configs;
  if (first === undefined)
    throw rangeError('ERR_INVALID_ARG_VALUE', 'RNNStack should have a layer, got none');
  const { mode, inputSize, hiddenSize, projSize, batchFirst, bidirectional } = first;
  const features = (bidirectional ? 2 : 1) * (projSize || hiddenSize);
  configs.forEach((config, i) => {
    const expected = { ...first, inputSize: i === 0 ? inputSize : features };
    for (const name of [...common, 'inputSize'] as const) {
      if (config[name] === expected[name]) continue;
      const sentence = `layer ${i} should have ${name} ${expected[name]} to fit the layers before it, got ${config[name]}`;
      throw rangeError('ERR_INVALID_ARG_VALUE', sentence);
    }
  });
  const bias = configs.every((each) => each.bias);
  const numLayers = layers.length;
  return { mode, inputSize, hiddenSize, projSize, numLayers, bias, batchFirst, dropout: 0, bidirectional };
}
