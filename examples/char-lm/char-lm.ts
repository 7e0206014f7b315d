// Character language models, trained with PyTorch (train.py): Embedding, LSTM or GRU, Linear.
import { readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';

import { Generator, loadSync, nn, quantization, rand, tensor, Tensor } from 'dynaquant';

export { modes } from '../modes.js';

const folder = join(dirname(require.resolve('dynaquant/package.json')), 'examples', 'char-lm');

export type Kind = 'lstm' | 'gru';
type State = nn.LSTMState | Tensor;

export class CharLM extends nn.Module {
  readonly embedding: nn.Embedding;
  /** One of the two. */
  readonly lstm: nn.LSTM | null;
  readonly gru: nn.GRU | null;
  readonly decoder: nn.Linear;

  constructor(kind: Kind, vocabularySize: number, embeddingDim = 48, hiddenSize = 256) {
    super();
    this.embedding = new nn.Embedding(vocabularySize, embeddingDim);
    this.lstm = kind === 'lstm' ? new nn.LSTM(embeddingDim, hiddenSize) : null;
    this.gru = kind === 'gru' ? new nn.GRU(embeddingDim, hiddenSize) : null;
    this.decoder = new nn.Linear(hiddenSize, vocabularySize);
  }

  /** Turns tokens `(T, B)` into logits `(T, B, vocabulary)` of the next character, and returns the next call's state. */
  forward(tokens: Tensor, state?: State): [Tensor, State] {
    const vectors = this.embedding.forward(tokens);
    const [output, next] = this.lstm
      ? this.lstm.forward(vectors, state as nn.LSTMState | undefined)
      : this.gru!.forward(vectors, state as Tensor | undefined);
    return [this.decoder.forward(output), next];
  }
}

/** The trained model and its characters, from the file that PyTorch's side wrote. */
export function loadCharLM(kind: Kind): { model: CharLM; vocabulary: string[] } {
  const state = loadSync(join(folder, kind === 'lstm' ? 'char-lm.safetensors' : 'char-lm-gru.safetensors'));
  const vocabulary = [...state.notes.get('vocabulary')!];
  const model = new CharLM(kind, vocabulary.length);
  model.loadStateDict(state);
  return { model: model.eval(), vocabulary };
}

/** The recurrent layer and the decoder quantized, the small embedding left float. */
export function quantize(model: CharLM, qconfig: quantization.QConfig): CharLM {
  const layers = [model.lstm ? 'lstm' : 'gru', 'decoder'];
  return quantization.quantizeDynamic(model, new Map(layers.map((name) => [name, qconfig])));
}

/** Held-out text as 16 equal streams: inputs `(T, 16)` and the characters that follow them. */
export function heldOutText(
  vocabulary: readonly string[],
  streams = 16,
): { inputs: Tensor; targets: Tensor } {
  const index = new Map(vocabulary.map((character, i) => [character, i]));
  const text = Array.from(readFileSync(join(folder, 'valid.txt'), 'utf8'), (c) => index.get(c)!);
  const steps = Math.floor((text.length - 1) / streams);
  const cut = (from: number): Tensor =>
    new Tensor(Int32Array.from(text.slice(from, from + steps * streams)), [streams, steps]).transpose(0, 1);
  return { inputs: cut(0), targets: cut(1) };
}

export interface Evaluation {
  /** Mean cross-entropy, nats a character. */
  loss: number;
  /** `exp(loss)`. */
  perplexity: number;
  /** How often the likeliest character is the right one. */
  top1: number;
  charactersPerSecond: number;
  /** The logits, by which models are compared. */
  logits: Tensor;
}

/** Runs the whole text through a model, from a zero state. */
export function evaluate(model: CharLM, inputs: Tensor, targets: Tensor): Evaluation {
  const start = performance.now();
  const [logits] = model.forward(inputs);
  const seconds = (performance.now() - start) / 1000;
  const logProbabilities = logits.logSoftmax(-1);
  const size = logits.size(-1);
  let loss = 0;
  targets.data.forEach((target: number | bigint, i: number) => {
    loss -= Number(logProbabilities.data[i * size + Number(target)]);
  });
  loss /= targets.numel;
  return {
    loss,
    perplexity: Math.exp(loss),
    top1: agreement(logits.argmax(-1), targets),
    charactersPerSecond: targets.numel / seconds,
    logits,
  };
}

/** How far a model is from another: how often both find the same character likeliest, and their logits' difference. */
export function compare(a: Evaluation, b: Evaluation): { agreement: number; meanLogitError: number } {
  return {
    agreement: agreement(a.logits.argmax(-1), b.logits.argmax(-1)),
    meanLogitError: a.logits.sub(b.logits).abs().mean().item(),
  };
}

/** The share of equal elements. */
function agreement(a: Tensor, b: Tensor): number {
  return a.eq(b).float().mean().item();
}

/** Writes text one character at a time, each drawn from the model's distribution; a seed gives one text. */
export function* sample(
  model: CharLM,
  vocabulary: readonly string[],
  {
    prompt,
    length,
    seed,
    temperature = 0.7,
  }: { prompt: string; length: number; seed: number; temperature?: number },
): IterableIterator<string> {
  const generator = new Generator().manualSeed(seed);
  let tokens = tensor(
    Array.from(prompt, (c) => [vocabulary.indexOf(c)]),
    { dtype: 'int32' },
  );
  let state: State | undefined;
  for (let i = 0; i < length; i++) {
    const [logits, next] = model.forward(tokens, state);
    const probabilities = logits.select(0, -1).select(0, 0).div(temperature).softmax(0);
    const choice = draw(probabilities, rand([], { generator }).item());
    yield vocabulary[choice]!;
    tokens = tensor([[choice]], { dtype: 'int32' });
    state = next;
  }
}

/** The index at which the running sum of the probabilities passes `threshold`. */
function draw(probabilities: Tensor, threshold: number): number {
  let sum = 0;
  const last = probabilities.numel - 1;
  for (let i = 0; i < last; i++) {
    sum += Number(probabilities.data[i]);
    if (threshold < sum) return i;
  }
  return last;
}
