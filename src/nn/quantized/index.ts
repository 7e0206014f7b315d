export * as dynamic from './dynamic/index.js';
export {
  Embedding,
  EmbeddingBag,
  type QuantizedEmbeddingBagOptions,
  type QuantizedEmbeddingOptions,
} from './embedding.js';
