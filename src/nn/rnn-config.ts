import { checkBoolean, checkOptions, checkSize, describe } from '../errors.js';
import type { RNNMode } from '../native/handles.js';
import type { RNNSizes } from './layer-parameters.js';
import { pythonFloat, type ModuleMetadata } from './module.js';

/** The options that all recurrent modules take. */
export interface RNNBaseOptions {
  /** Layers, each fed with the one before. Default: 1. */
  numLayers?: number;
  /** Use `bias_ih` and `bias_hh`. Default: true. */
  bias?: boolean;
  /** Input and output are `(batch, steps, features)`; states are not affected. Default: false. */
  batchFirst?: boolean;
  /** In training, the dropout probability between layers. Default: 0. */
  dropout?: number;
  /** A second one reads each sequence backwards. Default: false. */
  bidirectional?: boolean;
}

export interface LSTMOptions extends RNNBaseOptions {
  /** Features that each hidden state is projected to, by `weight_hr`; 0 for none. Default: 0. */
  projSize?: number;
}

export interface RNNOptions extends RNNBaseOptions {
  /** Default: `'tanh'`. */
  nonlinearity?: 'tanh' | 'relu';
}

/** What float and quantized recurrent modules are made of. */
export interface RNNConfig extends RNNSizes {
  readonly batchFirst: boolean;
  readonly dropout: number;
}

/** More is a mistake, or a file that means harm: their parameters alone would fill the memory. */
const mostLayers = 65536;

/**
 * The properties of a recurrent module, from its constructor's arguments.
 *
 * @throws {TypeError | RangeError} for sizes that are no positive integers, or unknown or wrong options
 */
export function rnnConfig(
  kind: 'LSTM' | 'GRU' | 'RNN',
  inputSize: number,
  hiddenSize: number,
  options: LSTMOptions & RNNOptions,
  moreOptions: readonly string[] = [],
): RNNConfig {
  checkSize('input_size', inputSize);
  checkSize('hidden_size', hiddenSize);
  if (kind !== 'LSTM' && Object.hasOwn(options ?? {}, 'projSize')) {
    throw new RangeError('proj_size argument is only supported for LSTM, not RNN or GRU');
  }
  const own = { LSTM: ['projSize'], GRU: [], RNN: ['nonlinearity'] }[kind];
  const common = ['numLayers', 'bias', 'batchFirst', 'dropout', 'bidirectional'];
  checkOptions(kind, options, [...common, ...own, ...moreOptions]);
  const { numLayers = 1, bias = true, batchFirst = false, dropout = 0, bidirectional = false } = options;
  const { projSize = 0, nonlinearity = 'tanh' } = options;
  checkSize('num_layers', numLayers);
  if (numLayers > mostLayers) {
    throw new RangeError(`num_layers should be at most ${mostLayers}, got ${numLayers}`);
  }
  checkBoolean('bias', bias);
  checkBoolean('batchFirst', batchFirst);
  checkBoolean('bidirectional', bidirectional);
  if (typeof dropout !== 'number' || !(dropout >= 0 && dropout <= 1)) {
    const sentence = `dropout should be a number in range [0, 1] representing the probability of an element being zeroed, got ${describe(dropout)}`;
    throw typeof dropout === 'number' ? new RangeError(sentence) : new TypeError(sentence);
  }
  if (!Number.isSafeInteger(projSize)) {
    throw new TypeError(`proj_size should be of type int, got: ${describe(projSize)}`);
  }
  if (projSize < 0) {
    throw new RangeError(
      `proj_size should be a positive integer or zero to disable projections, got ${projSize}`,
    );
  }
  if (projSize >= hiddenSize) {
    throw new RangeError(`proj_size has to be smaller than hidden_size, got ${projSize} and ${hiddenSize}`);
  }
  const mode = kind === 'RNN' ? nonlinearMode(nonlinearity) : kind;
  return { mode, inputSize, hiddenSize, projSize, numLayers, bias, batchFirst, dropout, bidirectional };
}

/** The mode of an RNN or RNNCell. */
export function nonlinearMode(nonlinearity: unknown): RNNMode {
  if (nonlinearity === 'tanh') return 'RNN_TANH';
  if (nonlinearity === 'relu') return 'RNN_RELU';
  throw new RangeError(`Unknown nonlinearity ${describe(nonlinearity)}. Select from 'tanh' or 'relu'.`);
}

/** The nonlinearity of an RNN or RNNCell. */
export function nonlinearityOf(mode: RNNMode): 'tanh' | 'relu' {
  return mode === 'RNN_RELU' ? 'relu' : 'tanh';
}

/** `LSTM`, `GRU` or `RNN`. */
export function kindOf(mode: RNNMode): 'LSTM' | 'GRU' | 'RNN' {
  return mode === 'LSTM' || mode === 'GRU' ? mode : 'RNN';
}

/** PyTorch's `RNNBase.extra_repr`. */
export function rnnRepr(config: RNNConfig): string {
  const { inputSize, hiddenSize, projSize, numLayers, bias, batchFirst, dropout, bidirectional } = config;
  return [
    `${inputSize}, ${hiddenSize}`,
    projSize !== 0 && `proj_size=${projSize}`,
    numLayers !== 1 && `num_layers=${numLayers}`,
    !bias && 'bias=False',
    batchFirst && 'batch_first=True',
    dropout !== 0 && `dropout=${pythonFloat(dropout)}`,
    bidirectional && 'bidirectional=True',
  ]
    .filter(Boolean)
    .join(', ');
}

/** What a state dict says of a recurrent module: its type and its constructor's arguments. */
export function rnnMetadata(config: RNNConfig): ModuleMetadata {
  const { mode, inputSize, hiddenSize, projSize, numLayers, bias, batchFirst, dropout, bidirectional } =
    config;
  const type = kindOf(mode);
  return {
    type,
    inputSize,
    hiddenSize,
    numLayers,
    bias,
    batchFirst,
    dropout,
    bidirectional,
    ...(type === 'LSTM' && { projSize }),
    ...(type === 'RNN' && { nonlinearity: nonlinearityOf(mode) }),
  };
}
