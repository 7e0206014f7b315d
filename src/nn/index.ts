export { Identity, LogSoftmax, ReLU, Sigmoid, Softmax, Tanh } from './activation.js';
export { GRUCell, LSTMCell, RNNCell, type CellOptions, type RNNCellOptions } from './cells.js';
export { Dropout } from './dropout.js';
export { Embedding, type EmbeddingOptions } from './embedding.js';
export { GRU } from './gru.js';
export * as init from './init.js';
export * as intrinsic from './intrinsic.js';
export { Linear, type LinearOptions } from './linear.js';
export { LSTM } from './lstm.js';
export {
  Module,
  Parameter,
  StateDict,
  type IncompatibleKeys,
  type ModuleMetadata,
  type StateDictLike,
} from './module.js';
export type { LSTMOptions, LSTMState, RNNBaseOptions, RNNOptions } from './rnn-base.js';
export { RNN } from './rnn.js';
export * as quantized from './quantized/index.js';
export { Sequential } from './sequential.js';
export * as utils from './utils/index.js';
