import { checkBoolean, checkOptions, checkSize, describe, rangeError, typeError } from '../errors.js';
import type { RNNMode } from '../native/handles.js';
import type { RNNSizes } from './layer-parameters.js';
import { pythonFloat, type ModuleMetadata } from './module.js';

/** The options that all recurrent modules take. */
export interface RNNBaseOptions {
  /** The number of layers. Each gets the output of the one before. Default: 1. */
  numLayers?: number;
  /** Use `bias_ih` and `bias_hh`. Default: true. */
  bias?: boolean;
  /** Input and output are `(batch, steps, features)`; states are not affected. Default: false. */
  batchFirst?: boolean;
  /** In training, the dropout probability between layers. Default: 0. */
  dropout?: number;
  /** Whether a second direction reads each sequence backwards. Default: false. */
  bidirectional?: boolean;
}

export interface LSTMOptions extends RNNBaseOptions {
  /** Features to which `weight_hr` projects each hidden state; 0 for no projection. Default: 0. */
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

/** More layers are a mistake, or a file's attack: their parameters alone would fill the memory. */
const mostLayers = 65536;

/**
 * The properties of a recurrent module, from its constructor's arguments.
 *
 * @throws {TypeError | RangeError} for sizes that are not positive integers, or unknown or wrong options
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
    throw rangeError(
      'ERR_INVALID_ARG_VALUE',
      'proj_size argument is only supported for LSTM, not RNN or GRU',
    );
  }
  const own = { LSTM: ['projSize'], GRU: [], RNN: ['nonlinearity'] }[kind];
  const common = ['numLayers', 'bias', 'batchFirst', 'dropout', 'bidirectional'];
  checkOptions(kind, options, [...common, ...own, ...moreOptions]);
  const { numLayers = 1, bias = true, batchFirst = false, dropout = 0, bidirectional = false } = options;
  const { projSize = 0, nonlinearity = 'tanh' } = options;
  checkSize('num_layers', numLayers);
  if (numLayers > mostLayers) {
    throw rangeError('ERR_INVALID_ARG_VALUE', `num_layers should be at most ${mostLayers}, got ${numLayers}`);
  }
  checkBoolean('bias', bias);
  checkBoolean('batchFirst', batchFirst);
  checkBoolean('bidirectional', bidirectional);
  if (typeof dropout !== 'number' || !(dropout >= 0 && dropout <= 1)) {
    const sentence = `dropout should be a number in range [0, 1] representing the probability of an element being zeroed, got ${describe(dropout)}`;
    throw typeof dropout === 'number'
      ? rangeError('ERR_INVALID_ARG_VALUE', sentence)
      : typeError('ERR_INVALID_ARG_TYPE', sentence);
  }
  if (!Number.isSafeInteger(projSize)) {
    throw typeError('ERR_INVALID_ARG_TYPE', `proj_size should be of type int, got: ${describe(projSize)}`);
  }
  if (projSize < 0) {
    throw rangeError(
      'ERR_INVALID_ARG_VALUE',
      `proj_size should be a positive integer or zero to disable projections, got ${projSize}`,
    );
  }
  if (projSize >= hiddenSize) {
    throw rangeError(
      'ERR_INVALID_ARG_VALUE',
      `proj_size has to be smaller than hidden_size, got ${projSize} and ${hiddenSize}`,
    );
  }
  const mode = kind === 'RNN' ? nonlinearMode(nonlinearity) : kind;
  return { mode, inputSize, hiddenSize, projSize, numLayers, bias, batchFirst, dropout, bidirectional };
}

/** The config of a forward: without dropout unless the module is in training. */
export function configOfCall(config: RNNConfig, training: boolean): RNNConfig {
  if (training || config.dropout === 0) return config;
  // Not `{ ...config }`, which is slow for a frozen object.
  const { mode, inputSize, hiddenSize, projSize, numLayers, bias, batchFirst, bidirectional } = config;
  return {
    mode,
    inputSize,
    hiddenSize,
    projSize,
    numLayers,
    bias,
    batchFirst,
    dropout: 0,
    bidirectional,
  };
}

/** The mode of an RNN or RNNCell. */
export function nonlinearMode(nonlinearity: unknown): RNNMode {
  if (nonlinearity === 'tanh') return 'RNN_TANH';
  if (nonlinearity === 'relu') return 'RNN_RELU';
  throw rangeError(
    'ERR_INVALID_ARG_VALUE',
    `Unknown nonlinearity ${describe(nonlinearity)}. Select from 'tanh' or 'relu'.`,
  );
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

/** What a state dict says about a recurrent module: its type and its constructor's arguments. */
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
