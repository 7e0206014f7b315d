/** Modules that quantize their activations at each call, as PyTorch's `torch.ao.nn.quantized.dynamic`. */
export * as dynamic from './dynamic/index.js';
export {
  Embedding,
  EmbeddingBag,
  type QuantizedEmbeddingBagOptions,
  type QuantizedEmbeddingOptions,
} from './embedding.js';
