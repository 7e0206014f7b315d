export { scaledDotProductAttention, type AttentionOptions } from './attention.js';
export { linear } from './linear.js';
