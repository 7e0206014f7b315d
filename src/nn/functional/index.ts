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
