// A speaker encoder: Resemblyzer's three LSTM layers, of which the first must not be INT8, beside PyTorch's figures.
import { readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';

import { loadSync, nn, quantization, saveSync, stack, type Tensor } from 'dynaquant';

import { modes, pytorchs, table } from './modes.js';
import { modelOptions, orExit } from './options.js';
import { savedBytes } from './saved-bytes.js';
import { melSpectrum } from './speaker-encoder/mel.js';
import { speakerEncoder, type SpeakerEncoder } from './speaker-encoder/model.js';
import { speak, voices } from './voice.js';
import { wheelFolder } from './wheels.js';

const what =
  'Tells apart voices that it makes itself with Resemblyzer, in every mode, and with one for each layer.';
const options = modelOptions('speaker-encoder', what);
const here = join(dirname(require.resolve('dynaquant/package.json')), 'examples', 'speaker-encoder');
const say = (text: string): void => void (options.json || process.stdout.write(`${text}\n`));

/** What is compared with float. */
interface Figures {
  /** The mean of 1 - cosine to the float vector of the same utterance. */
  error: number;
  /** How many utterances are nearest to one of the same voice. */
  right: number;
}

const utterancesOfEach = 3;
/** Each utterance as overlapping windows of 1.6 s: `(windows, 160, 40)`. */
const utterances = voices.flatMap((voice, i) =>
  Array.from({ length: utterancesOfEach }, (_, j) => windows(melSpectrum(speak(voice, 5, 10 * i + j)))),
);
if (options.inputs !== undefined) saveSync(new Map([['mels', stack(utterances)]]), options.inputs);
else compare();

function compare(): void {
  const file = orExit('speaker-encoder', () =>
    join(wheelFolder('Resemblyzer'), 'resemblyzer', 'pretrained.pt'),
  );
  const model = speakerEncoder(loadSync<Map<string, nn.StateDict>>(file).get('model_state')!);
  const expected = JSON.parse(readFileSync(join(here, 'expected.json'), 'utf8')) as { torch: string };
  say(`Resemblyzer; ${voices.length} voices, ${utterances.length} utterances of 5 s\n`);

  const reference = encode(model);
  const results = Object.entries(variants(model)).map(([mode, variant]) => {
    const start = performance.now();
    const vectors = encode(variant);
    const milliseconds = (performance.now() - start) / utterances.length;
    const figures = { error: errorOf(vectors, reference), right: nearestIsSame(vectors) };
    const megabytes = savedBytes(variant) / 1e6;
    return { mode, ...figures, pytorch: pytorchs<Figures>(expected, mode), milliseconds, megabytes };
  });
  const shown = (f?: Figures): string[] =>
    f ? [f.error === 0 ? '0' : f.error.toExponential(1), `${f.right}`] : ['', ''];
  const header = ['', '1 - cosine', 'right', 'PyTorch: 1 - cosine', 'right', 'ms an utterance', 'MB'];
  const rows = results.map(({ mode, pytorch, milliseconds, megabytes, ...own }) => [
    mode,
    ...shown(own),
    ...shown(pytorch),
    milliseconds.toFixed(1),
    megabytes.toFixed(2),
  ]);
  say(`${table([header, ...rows])}\n`);
  say(
    `1 - cosine: to the float vector; right: how many of the ${utterances.length} are nearest to the same voice.`,
  );
  say(`PyTorch is version ${expected.torch}.`);
  if (options.json) process.stdout.write(`${JSON.stringify({ results }, null, 2)}\n`);
}

/** The model in every mode, and in one that is chosen layer by layer. */
function variants(model: SpeakerEncoder): Record<string, SpeakerEncoder> {
  const { bestDynamicQConfig, float16DynamicQConfig, quantizeDynamic } = quantization;
  const quantized = Object.entries(modes).map(([mode, qconfig]) => {
    const layers = [nn.LSTM, nn.Linear].map((Class) => [Class, qconfig] as const);
    return [mode, quantizeDynamic(model, new Map<quantization.ModuleClass, quantization.QConfig>(layers))];
  });
  // The power of a voice has a heavy tail, which only the first layer sees.
  const byLayer = new Map<quantization.ModuleClass | string, quantization.QConfig>([
    [nn.LSTM, bestDynamicQConfig],
    [nn.Linear, bestDynamicQConfig],
    ['lstm.0', float16DynamicQConfig],
  ]);
  return {
    float: model,
    ...(Object.fromEntries(quantized) as Record<string, SpeakerEncoder>),
    'INT8 best, layer 0 float16': quantizeDynamic(model, byLayer),
  };
}

/** Half overlapping. */
function windows(mels: Tensor): Tensor {
  const count = Math.floor((mels.size(0) - 160) / 80) + 1;
  return stack(Array.from({ length: count }, (_, i) => mels.slice(0, 80 * i, 80 * i + 160)));
}

/** A vector of length 1 for each utterance: the mean of its windows'. */
function encode(model: SpeakerEncoder): Tensor {
  const means = stack(utterances.map((each) => model.forward(each).mean(0)));
  return means.div(means.norm(2, 1, true));
}

function errorOf(vectors: Tensor, reference: Tensor): number {
  return Math.max(0, 1 - vectors.mul(reference).sum(1).mean().item());
}

function nearestIsSame(vectors: Tensor): number {
  const cosines = vectors.matmul(vectors.t()).toArray() as number[][];
  const voiceOf = (i: number): number => Math.floor(i / utterancesOfEach);
  return cosines.filter((row, i) => {
    const others = row.map((cosine, j) => (i === j ? -1 : cosine));
    return voiceOf(others.indexOf(Math.max(...others))) === voiceOf(i);
  }).length;
}
