import { arange, nn, tensor, type Tensor } from 'dynaquant';

const { gelu, scaledDotProductAttention } = nn.functional;

/** The sizes of a BERT. The default is MiniLM's. */
export interface BertSizes {
  readonly words: number;
  readonly positions: number;
  readonly width: number;
  readonly inner: number;
  readonly heads: number;
  readonly layers: number;
}
export const miniLM: BertSizes = {
  words: 30522,
  positions: 512,
  width: 384,
  inner: 1536,
  heads: 12,
  layers: 6,
};

// Children have the names of BERT's state dict.

const layerNorm = (width: number): nn.LayerNorm => new nn.LayerNorm(width, { eps: 1e-12 });

class Embeddings extends nn.Module {
  readonly word_embeddings: nn.Embedding;
  readonly position_embeddings: nn.Embedding;
  readonly token_type_embeddings: nn.Embedding;
  readonly LayerNorm: nn.LayerNorm;

  constructor({ words, positions, width }: BertSizes) {
    super();
    this.word_embeddings = new nn.Embedding(words, width);
    this.position_embeddings = new nn.Embedding(positions, width);
    this.token_type_embeddings = new nn.Embedding(2, width);
    this.LayerNorm = layerNorm(width);
  }
  forward(words: Tensor): Tensor {
    const positions = this.position_embeddings.forward(arange(words.size(1)));
    const places = positions.add(this.token_type_embeddings.forward(tensor([0], { dtype: 'int64' })));
    return this.LayerNorm.forward(this.word_embeddings.forward(words).add(places));
  }
}

class SelfAttention extends nn.Module {
  readonly query: nn.Linear;
  readonly key: nn.Linear;
  readonly value: nn.Linear;

  constructor(
    { width }: BertSizes,
    readonly heads: number,
  ) {
    super();
    this.query = new nn.Linear(width, width);
    this.key = new nn.Linear(width, width);
    this.value = new nn.Linear(width, width);
  }
  forward(x: Tensor, mask?: Tensor): Tensor {
    const [batch, time, width] = x.shape as [number, number, number];
    const split = (y: Tensor): Tensor =>
      y.reshape(batch, time, this.heads, width / this.heads).transpose(1, 2);
    const query = split(this.query.forward(x));
    const key = split(this.key.forward(x));
    const value = split(this.value.forward(x));
    const mixed = scaledDotProductAttention(query, key, value, { attnMask: mask });
    return mixed.transpose(1, 2).reshape(batch, time, width);
  }
}

/** A Linear, what went around it, and a LayerNorm. */
class Output extends nn.Module {
  readonly dense: nn.Linear;
  readonly LayerNorm: nn.LayerNorm;

  constructor(inputs: number, width: number) {
    super();
    this.dense = new nn.Linear(inputs, width);
    this.LayerNorm = layerNorm(width);
  }
  forward(y: Tensor, x: Tensor): Tensor {
    return this.LayerNorm.forward(this.dense.forward(y).add(x));
  }
}

class Attention extends nn.Module {
  readonly self: SelfAttention;
  readonly output: Output;

  constructor(sizes: BertSizes) {
    super();
    this.self = new SelfAttention(sizes, sizes.heads);
    this.output = new Output(sizes.width, sizes.width);
  }
  forward(x: Tensor, mask?: Tensor): Tensor {
    return this.output.forward(this.self.forward(x, mask), x);
  }
}

class Intermediate extends nn.Module {
  readonly dense: nn.Linear;

  constructor({ width, inner }: BertSizes) {
    super();
    this.dense = new nn.Linear(width, inner);
  }
  forward(x: Tensor): Tensor {
    return gelu(this.dense.forward(x));
  }
}

class Layer extends nn.Module {
  readonly attention: Attention;
  readonly intermediate: Intermediate;
  readonly output: Output;

  constructor(sizes: BertSizes) {
    super();
    this.attention = new Attention(sizes);
    this.intermediate = new Intermediate(sizes);
    this.output = new Output(sizes.inner, sizes.width);
  }
  forward(x: Tensor, mask?: Tensor): Tensor {
    const mixed = this.attention.forward(x, mask);
    return this.output.forward(this.intermediate.forward(mixed), mixed);
  }
}

class Encoder extends nn.Module {
  readonly layer: nn.ModuleList;

  constructor(sizes: BertSizes) {
    super();
    this.layer = new nn.ModuleList(Array.from({ length: sizes.layers }, () => new Layer(sizes)));
  }
  forward(x: Tensor, mask?: Tensor): Tensor {
    for (const layer of this.layer) x = (layer as Layer).forward(x, mask);
    return x;
  }
}

/** BERT, and the mean of its outputs as a sentence's vector of length 1. */
export class SentenceEncoder extends nn.Module {
  readonly embeddings: Embeddings;
  readonly encoder: Encoder;

  constructor(sizes: BertSizes = miniLM) {
    super();
    this.embeddings = new Embeddings(sizes);
    this.encoder = new Encoder(sizes);
  }

  /** The outputs for words `(B, T)`: `(B, T, width)`. */
  hidden(words: Tensor, mask?: Tensor): Tensor {
    return this.encoder.forward(this.embeddings.forward(words), mask);
  }

  /** Turns words `(B, T)`, with zeros after the end of a sentence, into vectors `(B, width)`. */
  forward(words: Tensor): Tensor {
    const [batch, time] = words.shape as [number, number];
    const isPadding = words.eq(0);
    if (!isPadding.any().item()) return normalize(this.hidden(words).mean(1));
    const real = isPadding.eq(0);
    const x = this.hidden(words, real.reshape(batch, 1, 1, time)).mul(real.float().unsqueeze(2));
    return normalize(x.sum(1).div(real.float().sum(1, true)));
  }
}

/** Rows of length 1. */
function normalize(x: Tensor): Tensor {
  return x.div(x.norm(2, 1, true));
}

/** The encoder of a BERT's state dict, of which the mean needs no pooler. */
export function sentenceEncoder(state: nn.StateDict, sizes?: BertSizes): SentenceEncoder {
  const model = nn.utils.skipInit(SentenceEncoder, sizes);
  const own = new Set(model.stateDict().keys());
  model.loadStateDict(new Map([...state].filter(([name]) => own.has(name))));
  return model.eval();
}
