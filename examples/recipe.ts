// PyTorch's recipe "Dynamic Quantization" in TypeScript: build an LSTM, quantize it, and compare the two in
// size, latency and accuracy. https://docs.pytorch.org/tutorials/recipes/recipes/dynamic_quantization.html
import { parseArgs } from 'node:util';

import { manualSeed, nn, quantization, qint8, randn, type Tensor } from 'dynaquant';

import {
  compare,
  evaluate,
  heldOutText,
  loadCharLM,
  modes,
  quantize,
  sample,
  type Kind,
} from './char-lm/char-lm.js';
import { orExit, wholeNumber } from './options.js';
import { savedBytes } from './saved-bytes.js';

const help = `Usage: npm run recipe -- [options]

  --dim N        size of the LSTM's input and hidden state (default 8)
  --layers N     its layers (default 1)
  --sequence N   steps of the input (default 20)
  --batch N      sequences in the batch (default 1)
  --model NAME   'lstm', the recipe's (default), or 'char-lm', two trained language models on real text
  --json         print one JSON document instead of text
  --help         this text
`;

interface Options {
  dim: number;
  layers: number;
  sequence: number;
  batch: number;
  model: string;
  json: boolean;
}

function parseOptions(): Options {
  const text = { type: 'string' } as const;
  const flag = { type: 'boolean', default: false } as const;
  const { values } = parseArgs({
    options: { dim: text, layers: text, sequence: text, batch: text, model: text, json: flag, help: flag },
  });
  if (values.help) {
    process.stdout.write(help);
    process.exit(0);
  }
  const size = (name: 'dim' | 'layers' | 'sequence' | 'batch', byDefault: number): number => {
    const value = wholeNumber(name, values[name], byDefault, 999999);
    if (values[name] !== undefined && values.model === 'char-lm') {
      throw new Error(`--${name} does not go with --model char-lm`);
    }
    return value;
  };
  const model = values.model ?? 'lstm';
  if (model !== 'lstm' && model !== 'char-lm') {
    throw new Error(`--model should be lstm or char-lm, got '${model}'`);
  }
  return {
    dim: size('dim', 8),
    layers: size('layers', 1),
    sequence: size('sequence', 20),
    batch: size('batch', 1),
    model,
    json: values.json,
  };
}

const options = orExit('recipe', parseOptions);

/** Text goes to the terminal as it comes, or nowhere with --json. */
function say(text: string): void {
  if (!options.json) process.stdout.write(`${text}\n`);
}

// The recipe's model ------------------------------------------------------------------------------------------

class LSTMForDemonstration extends nn.Module {
  readonly lstm: nn.LSTM;

  constructor(inDim: number, outDim: number, depth: number) {
    super();
    this.lstm = new nn.LSTM(inDim, outDim, { numLayers: depth });
  }
  forward(inputs: Tensor, hidden: nn.LSTMState) {
    return this.lstm.forward(inputs, hidden);
  }
}

function recipe(): object {
  const { dim, layers, sequence, batch } = options;

  say('1. Set-up');
  manualSeed(29592);
  const inputs = randn(sequence, batch, dim);
  const hidden: nn.LSTMState = [randn(layers, batch, dim), randn(layers, batch, dim)];
  const floatLSTM = new LSTMForDemonstration(dim, dim, layers);
  say(`   an LSTM of ${layers} layer(s) of ${dim}, and ${batch} sequence(s) of ${sequence} steps\n`);

  say('2. Quantization');
  const quantizedLSTM = quantization.quantizeDynamic(floatLSTM, new Set([nn.LSTM, nn.Linear]), {
    dtype: qint8,
  });
  say(`Here is the floating point version of this module:\n${String(floatLSTM)}\n`);
  say(`and now the quantized version:\n${String(quantizedLSTM)}\n`);

  const size = compareSizes(floatLSTM, { INT8: quantizedLSTM });

  say('4. Latency');
  const latency = compareLatencies({
    FP32: () => floatLSTM.forward(inputs, hidden),
    INT8: () => quantizedLSTM.forward(inputs, hidden),
  });

  say('5. Accuracy');
  const [output] = floatLSTM.forward(inputs, hidden);
  const [quantizedOutput] = quantizedLSTM.forward(inputs, hidden);
  const magnitude = output.abs().mean().item();
  const quantizedMagnitude = quantizedOutput.abs().mean().item();
  const difference = output.sub(quantizedOutput).abs().mean().item();
  const percent = (difference / magnitude) * 100;
  say(`   mean absolute value of output tensor values in the FP32 model is ${magnitude.toFixed(5)}`);
  say(`   mean absolute value of output tensor values in the INT8 model is ${quantizedMagnitude.toFixed(5)}`);
  say(
    `   mean absolute value of the difference between the output tensors is ${difference.toFixed(5)} or ${percent.toFixed(2)} percent`,
  );
  const accuracy = { float: magnitude, int8: quantizedMagnitude, difference, percent };
  return {
    dim,
    layers,
    sequence,
    batch,
    models: [String(floatLSTM), String(quantizedLSTM)],
    size,
    latency,
    accuracy,
  };
}

// The trained model -------------------------------------------------------------------------------------------

function charLM(): object {
  const lstm = compareModes('lstm');
  const gru = compareModes('gru');

  const { model, vocabulary } = loadCharLM('gru');
  const prompt = 'And ';
  say('Some text, sampled from the INT8 GRU:\n');
  let text = prompt;
  if (!options.json) process.stdout.write(prompt);
  const writer = quantize(model, modes['INT8 best']!);
  for (const character of sample(writer, vocabulary, { prompt, length: 400, seed: 7 })) {
    text += character;
    if (!options.json) process.stdout.write(character);
  }
  say('');
  return { lstm, gru, text };
}

function compareModes(kind: Kind): object {
  const { model, vocabulary } = loadCharLM(kind);

  say('2. Quantization');
  const quantized = Object.fromEntries(
    Object.entries(modes).map(([name, qconfig]) => [name, quantize(model, qconfig)]),
  );
  say(`Here is the floating point version of this module:\n${String(model)}\n`);
  say(`and now the quantized version:\n${String(quantized['INT8 per tensor'])}\n`);

  const size = compareSizes(model, quantized);

  say('4. and 5. Latency and accuracy, on held-out text');
  const { inputs, targets } = heldOutText(vocabulary);
  const models = Object.entries({ FP32: model, ...quantized });
  const reference = evaluate(model, inputs, targets);
  const sayRow = (name: string, ...columns: string[]): void =>
    say(`   ${name.padEnd(18)}${columns.map((column) => column.padStart(13)).join('')}`);
  sayRow('model', 'loss', 'perplexity', 'top-1', 'agreement', 'logit error', 'characters/s');
  const results = models.map(([name, candidate]) => {
    const evaluation = evaluate(candidate, inputs, targets);
    const { loss, perplexity, top1, charactersPerSecond } = evaluation;
    const { agreement, meanLogitError } = compare(evaluation, reference);
    const accuracy = [perplexity, top1, agreement, meanLogitError].map((value) => value.toFixed(4));
    sayRow(name, loss.toFixed(5), ...accuracy, Math.round(charactersPerSecond).toLocaleString('en'));
    return { name, loss, perplexity, top1, agreement, meanLogitError, charactersPerSecond };
  });
  say('');
  return { models: models.map(([, candidate]) => String(candidate)), size, results };
}

// Shared steps ------------------------------------------------------------------------------------------------

function compareSizes(model: nn.Module, others: Record<string, nn.Module>): object[] {
  say('3. Model size');
  const floatBytes = savedBytes(model);
  const rows = Object.entries({ FP32: model, ...others }).map(([name, module]) => {
    const bytes = savedBytes(module);
    const ratio = floatBytes / bytes;
    const times = name === 'FP32' ? '' : `, ${ratio.toFixed(2)} times smaller`;
    say(`   ${`${name}:`.padEnd(18)}${(bytes / 1000).toFixed(3).padStart(10)} KB${times}`);
    return { name, bytes, ratio };
  });
  say('');
  return rows;
}

/** Microseconds a call. The two take turns, so that the machine's slow moments meet both. */
function compareLatencies(runs: { FP32: () => unknown; INT8: () => unknown }): object {
  const rounds = 61;
  const time = (run: () => unknown, calls: number): number => {
    const start = performance.now();
    for (let i = 0; i < calls; i++) run();
    return ((performance.now() - start) * 1000) / calls;
  };
  const names = ['FP32', 'INT8'] as const;
  // Warms up, then chooses the number of calls so that a round takes about 5 ms.
  const calls = names.map((name) => {
    for (let warm = 0; warm < 20; warm++) time(runs[name], 1 + Math.floor(2000 / (1 + time(runs[name], 1))));
    return Math.max(1, Math.round(5000 / time(runs[name], 10)));
  });
  const samples = names.map((): number[] => []);
  for (let round = 0; round < rounds; round++) {
    names.forEach((name, i) => samples[i]!.push(time(runs[name], calls[i]!)));
  }
  const [float, int8] = samples.map((values) => {
    values.sort((a, b) => a - b);
    const at = (share: number): number => values[Math.round(share * (values.length - 1))]!;
    return { median: at(0.5), low: at(0.1), high: at(0.9), minimum: at(0) };
  }) as [Latency, Latency];
  const show = ({ median, low, high }: Latency): string =>
    `${median.toFixed(1)} µs (median; 10 % to 90 %: ${low.toFixed(1)} to ${high.toFixed(1)})`;
  const ratio = float.median / int8.median;
  say(`   FP32: ${show(float)}\n   INT8: ${show(int8)}\n   FP32 / INT8: ${ratio.toFixed(2)}\n`);
  return { float, int8, ratio };
}

interface Latency {
  median: number;
  low: number;
  high: number;
  minimum: number;
}

const result = options.model === 'char-lm' ? charLM() : recipe();
if (options.json) process.stdout.write(`${JSON.stringify(result, null, 2)}\n`);
