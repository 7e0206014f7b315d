// PyTorch's tutorial "Dynamic Quantization on an LSTM Word Language Model" in TypeScript, at its sizes. The tutorial's
// trained weights are not available, so the weights are seeded. Modules, file sizes and speed can be compared with what
// the tutorial prints, the loss only with our own float model's.
// https://docs.pytorch.org/tutorials/advanced/dynamic_quantization_tutorial.html
import { parseArgs } from 'node:util';

import { manualSeed, nn, qint8, quantization, randint, setNumThreads, type Tensor } from 'dynaquant';

import { orExit, wholeNumber } from './options.js';
import { savedBytes } from './saved-bytes.js';

/** What the tutorial prints, for a MacBook Pro and one thread. */
const tutorial = { megabytes: [113.944064, 79.738484], seconds: [200.1, 111.7], loss: [5.167, 5.168] };
/** The number of words in WikiText-2's test set, which the tutorial evaluates, and how many it takes at once. */
const testWords = 245569;
const bptt = 25;

const help = `Usage: npm run word-language-model -- [options]

  --words N      words to evaluate (default 1000; the tutorial's test set has ${testWords})
  --threads N    threads (default 1, as in the tutorial)
  --json         print one JSON document instead of text
  --help         this text
`;

interface Options {
  words: number;
  threads: number;
  json: boolean;
}

function parseOptions(): Options {
  const text = { type: 'string' } as const;
  const flag = { type: 'boolean', default: false } as const;
  const { values } = parseArgs({ options: { words: text, threads: text, json: flag, help: flag } });
  if (values.help) {
    process.stdout.write(help);
    process.exit(0);
  }
  return {
    words: wholeNumber('words', values.words, 1000, testWords),
    threads: wholeNumber('threads', values.threads, 1, 256),
    json: values.json,
  };
}

const options = orExit('word-language-model', parseOptions);

/** Text goes to the terminal as it comes, or nowhere with --json. */
function say(text: string): void {
  if (!options.json) process.stdout.write(`${text}\n`);
}

class LSTMModel extends nn.Module {
  readonly drop: nn.Dropout;
  readonly encoder: nn.Embedding;
  readonly rnn: nn.LSTM;
  readonly decoder: nn.Linear;

  constructor(ntoken: number, ninp: number, nhid: number, nlayers: number, dropout = 0.5) {
    super();
    this.drop = new nn.Dropout(dropout);
    this.encoder = new nn.Embedding(ntoken, ninp);
    this.rnn = new nn.LSTM(ninp, nhid, { numLayers: nlayers, dropout });
    this.decoder = new nn.Linear(nhid, ntoken);
    nn.init.uniform_(this.encoder.weight, -0.1, 0.1);
    nn.init.zeros_(this.decoder.bias!);
    nn.init.uniform_(this.decoder.weight, -0.1, 0.1);
  }
  forward(input: Tensor, hidden?: nn.LSTMState): [Tensor, nn.LSTMState] {
    const embedded = this.drop.forward(this.encoder.forward(input));
    const [output, next] = this.rnn.forward(embedded, hidden);
    return [this.decoder.forward(this.drop.forward(output)), next];
  }
}

interface Evaluation {
  /** Mean cross-entropy, nats a word. */
  loss: number;
  /** The time of the whole loop, the tutorial's "elapsed time". */
  seconds: number;
  /** The time of the model alone. */
  modelSeconds: number;
  /** The likeliest next words. */
  choices: number[];
}

/** The tutorial's evaluation loop: 25 words at a time, the state passed on, cross-entropy over the vocabulary. */
function evaluate(model: LSTMModel, words: Tensor): Evaluation {
  let hidden: nn.LSTMState | undefined;
  let loss = 0;
  let modelSeconds = 0;
  const choices: number[] = [];
  const count = words.size(0) - 1;
  const start = performance.now();
  for (let first = 0; first < count; first += bptt) {
    const last = Math.min(first + bptt, count);
    const before = performance.now();
    const [logits, next] = model.forward(words.slice(0, first, last), hidden);
    modelSeconds += (performance.now() - before) / 1000;
    hidden = next;
    const probabilities = logits.logSoftmax(-1);
    const targets = words.slice(0, first + 1, last + 1);
    const vocabulary = probabilities.size(-1);
    for (let i = 0; i < last - first; i++) {
      loss -= Number(probabilities.data[i * vocabulary + Number(targets.data[i])]);
    }
    choices.push(...Array.from(logits.argmax(-1).data as BigInt64Array, Number));
  }
  return { loss: loss / count, seconds: (performance.now() - start) / 1000, modelSeconds, choices };
}

function main(): object {
  setNumThreads(options.threads);
  manualSeed(1234);
  const vocabulary = 33278;
  const model = new LSTMModel(vocabulary, 512, 256, 5).eval();
  say(`${String(model)}\n`);

  const { floatQParamsWeightOnlyQConfig, defaultDynamicQConfig, quantizeDynamic } = quantization;
  const quantized = quantizeDynamic(model, new Set([nn.LSTM, nn.Linear]), { dtype: qint8 });
  say(`${String(quantized)}\n`);
  // The part that the tutorial leaves float is more than half of its model.
  const whole = quantizeDynamic(
    model,
    new Map<quantization.ModuleClass, quantization.QConfig>([
      [nn.LSTM, defaultDynamicQConfig],
      [nn.Linear, defaultDynamicQConfig],
      [nn.Embedding, floatQParamsWeightOnlyQConfig],
    ]),
  );
  const models = Object.entries({ FP32: model, INT8: quantized, 'INT8, embedding too': whole });

  const words = randint(0, vocabulary, [options.words + 1, 1]);
  for (const [, each] of models) evaluate(each, words.slice(0, 0, bptt + 1)); // packs, warms up
  const results = models.map(([name, each]) => ({ name, bytes: savedBytes(each), ...evaluate(each, words) }));
  const reference = results[0]!;

  const seconds = (value: number): string => `${((value / options.words) * testWords).toFixed(1)} s`;
  const line = (cells: string[]): void =>
    say(cells.map((cell, i) => (i === 0 ? cell.padEnd(21) : cell.padStart(14))).join(''));
  line(['', 'size', 'loss', 'same choice', 'elapsed', 'model alone']);
  for (const { name, bytes, loss, choices, ...times } of results) {
    const same = choices.filter((choice, i) => choice === reference.choices[i]).length / choices.length;
    line([
      name,
      `${(bytes / 1e6).toFixed(3)} MB`,
      loss.toFixed(3),
      `${(100 * same).toFixed(1)} %`,
      seconds(times.seconds),
      seconds(times.modelSeconds),
    ]);
  }
  ['FP32', 'INT8'].forEach((name, i) => {
    const { megabytes, loss, seconds: elapsed } = tutorial;
    line([
      `the tutorial's ${name}`,
      `${megabytes[i]!.toFixed(3)} MB`,
      loss[i]!.toFixed(3),
      '',
      `${elapsed[i]!.toFixed(1)} s`,
      '',
    ]);
  });
  say(`\nTimes are for the test set's ${testWords.toLocaleString('en')} words, from ${options.words} here.`);
  return {
    models: models.map(([, each]) => String(each)),
    words: options.words,
    threads: options.threads,
    results: results.map(({ choices: _, ...result }) => result),
    tutorial,
  };
}

const result = main();
if (options.json) process.stdout.write(`${JSON.stringify(result, null, 2)}\n`);
