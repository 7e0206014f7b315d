import { arange, cat, nn, tensor, type Tensor } from 'dynaquant';

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

/** What BERT adds to the square root of a variance. */
const layerNormEps = 1e-12;

/** Children have the names of BERT's state dict. */
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
    this.LayerNorm = new nn.LayerNorm(width, { eps: layerNormEps });
  }
  forward(words: Tensor): Tensor {
    const positions = this.position_embeddings.forward(arange(words.size(1)));
    const places = positions.add(this.token_type_embeddings.forward(tensor([0], { dtype: 'int64' })));
    return this.LayerNorm.forward(this.word_embeddings.forward(words).add(places));
  }
}

/** BERT, and the mean of its outputs as a sentence's vector of length 1. */
export class SentenceEncoder extends nn.Module {
  readonly embeddings: Embeddings;
  readonly encoder: nn.TransformerEncoder;

  constructor(sizes: BertSizes = miniLM) {
    super();
    const { width, heads, inner, layers } = sizes;
    this.embeddings = new Embeddings(sizes);
    const layer = new nn.TransformerEncoderLayer(width, heads, {
      dimFeedforward: inner,
      activation: 'gelu',
      layerNormEps,
      batchFirst: true,
    });
    this.encoder = new nn.TransformerEncoder(layer, layers);
  }

  /** Turns words `(B, T)`, with zeros after the end of a sentence, into vectors `(B, width)`. */
  forward(words: Tensor): Tensor {
    const x = this.embeddings.forward(words);
    const isPadding = words.eq(0);
    if (!isPadding.any().item()) return normalize(this.encoder.forward(x).mean(1));
    const real = isPadding.eq(0).float();
    const y = this.encoder.forward(x, { srcKeyPaddingMask: isPadding }).mul(real.unsqueeze(2));
    return normalize(y.sum(1).div(real.sum(1, true)));
  }
}

/** Rows of length 1. */
function normalize(x: Tensor): Tensor {
  return x.div(x.norm(2, 1, true));
}

/** The modules of a layer, by BERT's names for them. */
const layerNames: Readonly<Record<string, string>> = {
  'attention.output.dense': 'self_attn.out_proj',
  'attention.output.LayerNorm': 'norm1',
  'intermediate.dense': 'linear1',
  'output.dense': 'linear2',
  'output.LayerNorm': 'norm2',
};

/** A BERT's state dict by the names of PyTorch's encoder, which has queries, keys and values in one matrix. */
function renamed(state: nn.StateDict, layers: number): nn.StateDictLike {
  const own = new Map([...state].filter(([name]) => name.startsWith('embeddings.')));
  own.delete('embeddings.position_ids');
  const take = (name: string): Tensor => {
    const value = state.get(name);
    if (value === undefined) throw new Error(`${name} is missing`);
    return value;
  };
  for (let i = 0; i < layers; i++) {
    const [theirs, ours] = [`encoder.layer.${i}`, `encoder.layers.${i}`];
    for (const kind of ['weight', 'bias']) {
      const parts = ['query', 'key', 'value'].map((part) => take(`${theirs}.attention.self.${part}.${kind}`));
      own.set(`${ours}.self_attn.in_proj_${kind}`, cat(parts));
      for (const [from, to] of Object.entries(layerNames))
        own.set(`${ours}.${to}.${kind}`, take(`${theirs}.${from}.${kind}`));
    }
  }
  return own;
}

/** The encoder of a BERT's state dict, of which the mean needs no pooler. */
export function sentenceEncoder(state: nn.StateDict, sizes: BertSizes = miniLM): SentenceEncoder {
  const model = nn.utils.skipInit(SentenceEncoder, sizes);
  model.loadStateDict(renamed(state, sizes.layers));
  return model.eval();
}
