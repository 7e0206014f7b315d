import { checkOptions, checkSize, describe } from '../errors.js';
import { int32, int64, isTensor, Tensor } from '../tensor.js';
import { normal_ } from './init.js';
import { emptyParameter, Module, type ModuleMetadata, type Parameter } from './module.js';

export interface EmbeddingOptions {
  /** The row that starts as zeros; negative counts from the end. Default: none. */
  paddingIdx?: number | null;
}

/**
 * A table of vectors: `out[..., :] = weight[index[...], :]`.
 *
 * Shape: indices int32 or int64 of any shape `(*)` to float32 `(*, embeddingDim)`. `weight` is
 * `[numEmbeddings, embeddingDim]`, at first from N(0, 1).
 */
export class Embedding extends Module {
  readonly weight: Parameter;
  readonly paddingIdx: number | null;

  /** @throws {TypeError | RangeError} for sizes that are no positive integers, or `paddingIdx` outside the table */
  constructor(
    readonly numEmbeddings: number,
    readonly embeddingDim: number,
    options: EmbeddingOptions = {},
  ) {
    super();
    checkSize('num_embeddings', numEmbeddings);
    checkSize('embedding_dim', embeddingDim);
    checkOptions('Embedding', options, ['paddingIdx']);
    const padding = options.paddingIdx ?? null;
    if (
      padding !== null &&
      (!Number.isInteger(padding) || padding < -numEmbeddings || padding >= numEmbeddings)
    ) {
      throw new RangeError(`Padding_idx must be within num_embeddings, got ${describe(padding)}`);
    }
    this.paddingIdx = padding !== null && padding < 0 ? padding + numEmbeddings : padding;
    this.weight = emptyParameter([numEmbeddings, embeddingDim]);
    normal_(this.weight);
    if (this.paddingIdx !== null) {
      this.weight.data.fill(0 as never, this.paddingIdx * embeddingDim, (this.paddingIdx + 1) * embeddingDim);
    }
  }

  /** @throws {TypeError} for other index types @throws {RangeError} for an index outside the table */
  override forward(indices: Tensor): Tensor {
    if (!isTensor(indices) || (indices.dtype !== int64 && indices.dtype !== int32)) {
      throw new TypeError(
        `Expected tensor for argument #1 'indices' to have one of the following scalar types: Long, Int; but got ${isTensor(indices) ? indices.dtype : describe(indices)} instead`,
      );
    }
    const { numEmbeddings, embeddingDim: width } = this;
    const table = this.weight.checked('weight') as Float32Array;
    const data = indices.checked('indices');
    const out = new Float32Array(data.length * width);
    for (let i = 0; i < data.length; i++) {
      const index = Number(data[i]);
      if (index < 0 || index >= numEmbeddings) {
        throw new RangeError(`index out of range in self: got ${index}, expected 0 to ${numEmbeddings - 1}`);
      }
      out.set(table.subarray(index * width, (index + 1) * width), i * width);
    }
    return new Tensor(out, [...indices.shape, width]);
  }

  override extraRepr(): string {
    const padding = this.paddingIdx === null ? '' : `, padding_idx=${this.paddingIdx}`;
    return `${this.numEmbeddings}, ${this.embeddingDim}${padding}`;
  }
  protected override metadata(): ModuleMetadata {
    const { numEmbeddings, embeddingDim, paddingIdx } = this;
    return { type: 'Embedding', numEmbeddings, embeddingDim, paddingIdx };
  }
}
