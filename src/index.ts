/**
 * PyTorch's dynamic quantization for Node.
 *
 * ```ts
 * import { manualSeed, nn, quantization, randn } from 'dynaquant';
 *
 * manualSeed(0);
 * const model = new nn.LSTM(8, 8);
 * const quantized = quantization.quantizeDynamic(model);
 * const [output, [h, c]] = quantized.forward(randn(20, 1, 8));
 * ```
 *
 * @packageDocumentation
 */
export { CheckpointError, errorCodes, type ErrorCode } from './errors.js';
export * as nn from './nn/index.js';
export * as quantization from './quantization/index.js';
export { Generator, manualSeed, rand, randint, randn, randperm } from './random.js';
export { load, loadSync, type LoadOptions } from './serialization/load.js';
export {
  modelFromStateDict,
  StateDictModule,
  type ModelFromStateDict,
} from './serialization/model-from-state-dict.js';
export { save, saveSync } from './serialization/save.js';
export { fromShared, share, type FromSharedOptions, type SharedModel } from './serialization/share.js';
export {
  arange,
  bfloat16,
  bool,
  cat,
  float16,
  float32,
  float64,
  full,
  int16,
  int32,
  int64,
  int8,
  ones,
  qint8,
  quint4x2,
  quint8,
  stack,
  Tensor,
  tensor,
  uint8,
  zeros,
  type DType,
  type QScheme,
  type Quantization,
  type TensorData,
  type TensorOptions,
} from './tensor/index.js';
export { getNumThreads, setNumThreads } from './threads.js';
