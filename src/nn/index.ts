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
export { ModuleDict, ModuleList, Sequential } from './container.js';
export { Dropout } from './dropout.js';
export {
  Embedding,
  EmbeddingBag,
  type BagMode,
  type EmbeddingBagOptions,
  type EmbeddingOptions,
} from './embedding.js';
export * as init from './init.js';
export { Linear, type LinearOptions } from './linear.js';
export { LSTM, type LSTMOptions, type LSTMState } from './lstm.js';
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
