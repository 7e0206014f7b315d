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
} from './activation.js';
export { GRUCell, LSTMCell, RNNCell, type CellOptions, type RNNCellOptions } from './cells.js';
export { ModuleDict, ModuleList, Sequential } from './container.js';
export {
  Conv1d,
  Conv2d,
  ConvTranspose1d,
  type ConvOptions,
  type ConvTransposeOptions,
} from './convolution.js';
export type {
  ConvolutionSettings,
  PaddingMode,
  SpatialSize,
  TransposedSettings,
} from './convolution-sizes.js';
export { Dropout } from './dropout.js';
export {
  Embedding,
  EmbeddingBag,
  type BagMode,
  type BagOptions,
  type EmbeddingBagOptions,
  type EmbeddingOptions,
} from './embedding.js';
export { Flatten, Unflatten, type FlattenOptions } from './flatten.js';
/** Operations as functions, as PyTorch's `torch.nn.functional`. */
export * as functional from './functional/index.js';
export type { GELUOptions } from './functional/activation.js';
export { GRU } from './gru.js';
/** Initial values of parameters, as PyTorch's `torch.nn.init`. */
export * as init from './init.js';
/** Modules that are computed as one, as PyTorch's `torch.ao.nn.intrinsic`. */
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
  type LoadStateDictOptions,
  type ModuleMetadata,
  type RemovableHandle,
  type StateDictLike,
} from './module.js';
export {
  BatchNorm1d,
  BatchNorm2d,
  GroupNorm,
  LayerNorm,
  RMSNorm,
  type BatchNormOptions,
  type GroupNormOptions,
  type LayerNormOptions,
  type RMSNormOptions,
} from './normalization.js';
export {
  CircularPad1d,
  CircularPad2d,
  ConstantPad1d,
  ConstantPad2d,
  ReflectionPad1d,
  ReflectionPad2d,
  ReplicationPad1d,
  ReplicationPad2d,
  ZeroPad1d,
  ZeroPad2d,
  type Padding,
} from './padding.js';
export {
  AdaptiveAvgPool1d,
  AdaptiveAvgPool2d,
  AdaptiveMaxPool1d,
  AvgPool1d,
  AvgPool2d,
  MaxPool1d,
  MaxPool2d,
  type AvgPool1dOptions,
  type AvgPool2dOptions,
  type MaxPoolOptions,
} from './pooling.js';
export type { AttentionForwardOptions } from './attention-forward.js';
export { MultiheadAttention, type MultiheadAttentionOptions } from './multihead-attention.js';
export type { OutputSize, Pooled, PoolSettings } from './pooling-sizes.js';
/** Quantized modules, as PyTorch's `torch.ao.nn.quantized`. */
export * as quantized from './quantized/index.js';
export type { RNNMode } from '../native/handles.js';
export type { LSTMOptions, RNNBaseOptions, RNNOptions } from './rnn-config.js';
export type { LSTMState, OutputOf } from './rnn-forward.js';
export { RNN } from './rnn.js';
export { RNNStack } from './rnn-stack.js';
export { Upsample, type UpsampleOptions } from './upsample.js';
export type { AsyncArguments, AsyncOptions } from '../async-options.js';
export {
  generateSquareSubsequentMask,
  TransformerEncoder,
  TransformerEncoderLayer,
  type EncoderForwardOptions,
  type EncoderLayerForwardOptions,
  type TransformerEncoderLayerOptions,
  type TransformerEncoderOptions,
} from './transformer.js';
export { Streams, type StreamIds } from './streams/streams.js';
/** Functions around modules, as PyTorch's `torch.nn.utils`. */
export * as utils from './utils/index.js';
