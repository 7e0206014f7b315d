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
export { conv1d, conv2d, convTranspose1d } from './convolution.js';
export {
  adaptiveAvgPool1d,
  adaptiveAvgPool2d,
  adaptiveMaxPool1d,
  avgPool1d,
  avgPool2d,
  maxPool1d,
  maxPool2d,
} from './pooling.js';
export { scaledDotProductAttention, type AttentionOptions } from './attention.js';
export { linear } from './linear.js';
