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
/** Modules: layers, containers, state dicts, and what belongs to them, as PyTorch's `torch.nn`. */
export * as nn from './nn/index.js';
/** From float modules to dynamically quantized ones, as PyTorch's `torch.ao.quantization`. */
export * as quantization from './quantization/index.js';
export { Generator, manualSeed, rand, randint, randn, randperm, type RandomOptions } from './random.js';
export { load, loadSync, type LoadOptions } from './serialization/load.js';
export {
  modelFromStateDict,
  StateDictModule,
  type MetadataOption,
  type ModelFromStateDict,
  type ModelFromStateDictOptions,
} from './serialization/model-from-state-dict.js';
export { OpaqueValue } from './serialization/opaque-value.js';
export type { LoadSource, SyncLoadSource } from './serialization/source.js';
export { save, saveSync, type Saveable, type SaveOptions, type SaveTarget } from './serialization/save.js';
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
  RawTensor,
  stack,
  Tensor,
  tensor,
  uint8,
  where,
  zeros,
  type CreateOptions,
  type DeviationOptions,
  type Dims,
  type DType,
  type DTypeOptions,
  type NestedArray,
  type QScheme,
  type Quantization,
  type SizeArguments,
  type SortOptions,
  type TensorData,
  type TensorOptions,
  type TopKOptions,
  type ValuesAndIndices,
} from './tensor/index.js';
export { setNativeBinary } from './native/addon.js';
export { getNumThreads, setNumThreads } from './threads.js';
