export * as dynamic from './dynamic/index.js';
export {
  Embedding,
  EmbeddingBag,
  type QuantizedEmbeddingBagOptions,
  type QuantizedEmbeddingOptions,
  type TableQConfig,
} from './embedding.js';
