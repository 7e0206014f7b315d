export { Identity, LogSoftmax, ReLU, Sigmoid, Softmax, Tanh } from './activation.js';
export { Dropout } from './dropout.js';
export { Embedding, type EmbeddingOptions } from './embedding.js';
export * as init from './init.js';
export { Linear, type LinearOptions } from './linear.js';
export { LSTM, type LSTMOptions, type LSTMState } from './lstm.js';
export {
  Module,
  Parameter,
  StateDict,
  type IncompatibleKeys,
  type ModuleMetadata,
  type StateDictLike,
} from './module.js';
export * as quantized from './quantized/index.js';
export { Sequential } from './sequential.js';
