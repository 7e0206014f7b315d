export * from './activation.js';
export { unfold, type UnfoldOptions } from './fold.js';
export { pad, type PadMode, type PadOptions } from './padding.js';
export {
  batchNorm,
  groupNorm,
  layerNorm,
  logSoftmax,
  normalize,
  rmsNorm,
  softmax,
  type NormalizeOptions,
  type NormOptions,
  type RMSNormOptions,
} from './normalization.js';
export { embedding, oneHot, type EmbeddingCallOptions } from './sparse.js';
export { interpolate, type InterpolateMode, type InterpolateOptions } from './upsampling.js';
