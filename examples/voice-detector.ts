// A voice detector that listens to live sound: Silero's, of which the convolutions stay float, as in PyTorch, and the
// LSTM cell is quantized in every mode, beside PyTorch's figures.
import { readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';

import { cat, loadSync, nn, quantization, saveSync, Tensor } from 'dynaquant';

import { modes, pytorchs, table } from './modes.js';
import { modelOptions, orExit } from './options.js';
import { chunksOf, voiceDetector, type VoiceDetector } from './voice-detector/model.js';
import { rate, speak, voices } from './voice.js';
import { wheelFolder } from './wheels.js';

const what =
  "Finds speech in sounds that it makes itself with Silero's detector, in every mode, and in live streams.";
const options = modelOptions('voice-detector', what);
const here = join(dirname(require.resolve('dynaquant/package.json')), 'examples', 'voice-detector');
const say = (text: string): void => void (options.json || process.stdout.write(`${text}\n`));

/** What is compared with float. */
interface Figures {
  /** How many chunks are on the same side of 0.5 as in float. */
  same: number;
  /** The largest difference of a probability. */
  largest: number;
}

/** The chunks of one sound of each voice: `(T, B, 576)`. */
const chunks = chunksOf(voices.map((voice, i) => speak(voice, 6.5, i)));
if (options.inputs !== undefined) saveSync(new Map([['chunks', chunks]]), options.inputs);
else compare();

function compare(): void {
  const file = orExit('voice-detector', () =>
    join(wheelFolder('silero_vad'), 'silero_vad', 'data', 'silero_vad_16k.safetensors'),
  );
  const model = voiceDetector(loadSync(file));
  const expected = JSON.parse(readFileSync(join(here, 'expected.json'), 'utf8')) as { torch: string };
  say(`Silero's voice detector; ${voices.length} voices, ${chunks.numel / 576} chunks of 32 ms\n`);

  const reference = listen(model);
  const quantized = Object.entries(modes).map(([mode, qconfig]) => {
    return [mode, quantization.quantizeDynamic(model, new Map([[nn.LSTMCell, qconfig]]))] as const;
  });
  const results = [['float', model] as const, ...quantized].map(([mode, variant]) => {
    const start = performance.now();
    const probabilities = listen(variant);
    const milliseconds = (performance.now() - start) / (chunks.numel / 576);
    return {
      mode,
      ...compared(probabilities, reference),
      pytorch: pytorchs<Figures>(expected, mode),
      milliseconds,
    };
  });
  const shown = (f?: Figures): string[] => (f ? [`${f.same}`, f.largest.toFixed(4)] : ['', '']);
  const header = ['', 'as float', 'largest error', 'PyTorch: as float', 'largest error', 'ms a chunk'];
  const rows = results.map(({ mode, pytorch, milliseconds, ...own }) => [
    mode,
    ...shown(own),
    ...shown(pytorch),
    milliseconds.toFixed(3),
  ]);
  say(`${table([header, ...rows])}\n`);
  say('as float: chunks on the same side of 0.5; largest error: of a probability.');
  say(`PyTorch is version ${expected.torch}.\n`);

  const live = quantized.find(([mode]) => mode === 'INT8 best')![1];
  const streamed = listenLive(live);
  const alone = listen(live);
  say(
    `Live streams, INT8 best: ${streamed.equal(alone) ? 'the same probabilities, bit for bit' : 'they differ'}.`,
  );
  voices.forEach(({ pitch }, i) => say(`  the voice at ${pitch} Hz speaks ${phrases(streamed, i)}`));
  if (options.json) {
    const document = { results, streamsAreEqual: streamed.equal(alone) };
    process.stdout.write(`${JSON.stringify(document, null, 2)}\n`);
  }
}

/** The probabilities of speech `(T, B)`: all sounds in one batch, chunk after chunk. */
function listen(model: VoiceDetector): Tensor {
  let state: [Tensor, Tensor] | undefined;
  const steps = Array.from({ length: chunks.size(0) }, (_, t) => {
    const [probabilities, next] = model.forward(chunks.select(0, t), state);
    state = next;
    return probabilities.unsqueeze(0);
  });
  return cat(steps);
}

/** The same as a service would: each sound a stream, with a chunk now and then, and whoever has one in the batch. */
function listenLive(model: VoiceDetector): Tensor {
  const streams = new nn.Streams(model.lstm_cell);
  const ids = voices.map(() => streams.open());
  const [steps, count] = chunks.shape as [number, number];
  const out = new Float32Array(steps * count);
  const heard = ids.map(() => 0);
  for (let turn = 0; heard.some((t) => t < steps); turn++) {
    // The second voice has a chunk at every turn, the others at two of three.
    const now = ids.map((_, i) => i).filter((i) => heard[i]! < steps && (i === 1 || (turn + i) % 3 > 0));
    if (now.length === 0) continue;
    const batch = cat(now.map((i) => chunks.select(0, heard[i]!).slice(0, i, i + 1)));
    const h = streams.step(
      now.map((i) => ids[i]!),
      model.features(batch),
    );
    const probabilities = model.probabilities(h).data;
    now.forEach((i, row) => (out[heard[i]!++ * count + i] = Number(probabilities[row])));
  }
  streams.dispose();
  return new Tensor(out, [steps, count]);
}

function compared(probabilities: Tensor, reference: Tensor): Figures {
  const wanted = reference.data as Float32Array;
  const same = (probabilities.data as Float32Array).filter((p, i) => p > 0.5 === wanted[i]! > 0.5);
  return { same: same.length, largest: probabilities.sub(reference).abs().max().item() };
}

/** When a voice speaks. */
function phrases(probabilities: Tensor, voice: number): string {
  const speaks = Array.from(probabilities.select(1, voice).data as Float32Array, (p) => p > 0.5);
  const at = (chunk: number): string => ((chunk * 512) / rate).toFixed(1);
  const found: string[] = [];
  for (let t = 0; t < speaks.length; t++) {
    const start = t;
    while (speaks[t]) t++;
    if (t > start) found.push(`from ${at(start)} to ${at(t)} s`);
  }
  return found.join(', ');
}
