export { unfold, type UnfoldOptions } from './fold.js';
export { pad, type PadMode, type PadOptions } from './padding.js';
export { embedding, oneHot, type EmbeddingCallOptions } from './sparse.js';
export { interpolate, type InterpolateMode, type InterpolateOptions } from './upsampling.js';
