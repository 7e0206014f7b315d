export * from './activation.js';
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
