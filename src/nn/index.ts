export {
  ELU,
  GELU,
  Hardsigmoid,
  Hardswish,
  Hardtanh,
  Identity,
  LeakyReLU,
  LogSoftmax,
  ReLU,
  Sigmoid,
  SiLU,
  Softmax,
  Softplus,
  Tanh,
  type GELUOptions,
} from './activation.js';
export { GRUCell, LSTMCell, RNNCell, type CellOptions, type RNNCellOptions } from './cells.js';
export { ModuleDict, ModuleList, Sequential } from './container.js';
export { Dropout } from './dropout.js';
export {
  Embedding,
  EmbeddingBag,
  type BagMode,
  type BagOptions,
  type EmbeddingBagOptions,
  type EmbeddingOptions,
} from './embedding.js';
export { GRU } from './gru.js';
export * as init from './init.js';
export * as intrinsic from './intrinsic.js';
export { Linear, type LinearOptions } from './linear.js';
export { LSTM } from './lstm.js';
export {
  Module,
  Parameter,
  StateDict,
  type ForwardHook,
  type ForwardPreHook,
  type IncompatibleKeys,
  type ModuleMetadata,
  type RemovableHandle,
  type StateDictLike,
} from './module.js';
export { LayerNorm, type LayerNormOptions } from './normalization.js';
export * as quantized from './quantized/index.js';
export type { LSTMOptions, RNNBaseOptions, RNNOptions } from './rnn-config.js';
export type { LSTMState, OutputOf } from './rnn-forward.js';
export { RNN } from './rnn.js';
export { Streams, type StreamIds } from './streams/streams.js';
export * as utils from './utils/index.js';
