// `node build/benchmarks/streams.js`: live streams in batches, by nn.Streams, against each alone through `forward`, and
// against a plain `forward` of one batch whose states stay where they are. An INT8 LSTM with a range for each row. Two
// numbers in the table must hold: at least 6 times the steps of one by one, at most 1.25 times the time of a plain
// forward. They are of minima. Words: streams, batch, units (10000 64 128).
import { getNumThreads, nn, quantization, randn, type Tensor } from 'dynaquant';

import { timing, type Round } from './statistics.js';

const [count = 10_000, batch = 64, units = 128] = process.argv.slice(2).map(Number);
const rounds = 30;
const roundMs = 40;

const lstm = quantization.quantizeDynamic(
  new nn.LSTM(units, units),
  new Map([[nn.LSTM, quantization.bestDynamicQConfig]]),
);
const rows = randn(batch, units);

/** Which streams have input is random, so that their states lie apart. */
function shuffled(): Float64Array {
  const order = Float64Array.from({ length: count }, (_, i) => i);
  for (let i = count - 1; i > 0; i--) {
    const j = Math.floor(Math.random() * (i + 1));
    [order[i], order[j]] = [order[j]!, order[i]!];
  }
  return order;
}

/** Each step of a batch takes the next of `count / batch` sets of streams. */
function inBatches(): () => void {
  const streams = new nn.Streams(lstm);
  const opened = Float64Array.from({ length: count }, () => streams.open());
  const order = shuffled().map((i) => opened[i]!);
  const sets = Array.from({ length: Math.floor(count / batch) }, (_, i) =>
    order.slice(i * batch, (i + 1) * batch),
  );
  let next = 0;
  return () => {
    streams.step(sets[next]!, rows);
    next = (next + 1) % sets.length;
  };
}

function oneByOne(): () => void {
  const zero = (): Tensor => randn(1, 1, units).mul(0);
  const states = Array.from({ length: count }, (): nn.LSTMState => [zero(), zero()]);
  const inputs = Array.from({ length: batch }, (_, i) => rows.slice(0, i, i + 1).reshape(1, 1, units));
  const order = shuffled();
  let next = 0;
  return () => {
    for (const input of inputs) {
      const stream = order[next]!;
      states[stream] = lstm.forward(input, states[stream])[1];
      next = (next + 1) % count;
    }
  };
}

function plain(): () => void {
  const input = rows.reshape(1, batch, units);
  let state: nn.LSTMState | undefined;
  return () => {
    state = lstm.forward(input, state)[1];
  };
}

/** Microseconds a batch, of batches for some milliseconds. */
function measure(call: () => void): Round {
  const times: number[] = [];
  for (const begin = performance.now(); performance.now() - begin < roundMs;) {
    const start = performance.now();
    for (let i = 0; i < 8; i++) call();
    times.push(((performance.now() - start) * 1000) / 8);
  }
  times.sort((a, b) => a - b);
  // The whole round, because collections of garbage belong to it.
  const mean = times.reduce((sum, time) => sum + time, 0) / times.length;
  return { minimum: times[0]!, median: mean };
}

const contenders = { 'nn.Streams': inBatches(), 'one by one': oneByOne(), 'plain forward': plain() };
const measured = new Map<string, Round[]>(Object.keys(contenders).map((name) => [name, []]));
for (let round = 0; round < rounds; round++)
  for (const [name, call] of Object.entries(contenders)) measured.get(name)!.push(measure(call));

const results = [...measured].map(([name, list]) => ({ name, ...timing(list) }));
const [streams] = results;
console.log(
  `${count} streams of an LSTM-${units}, batches of ${batch}, ${getNumThreads()} thread(s), ${process.arch}`,
);
console.log(
  '                   µs a batch: min  median   steps/s of the median   time ÷ nn.Streams: min  median',
);
for (const { name, minimum, median } of results) {
  const perSecond = Math.round((batch / median) * 1e6);
  const ratios = [minimum / streams!.minimum, median / streams!.median].map((x) => x.toFixed(2).padStart(8));
  console.log(
    `${name.padEnd(20)}${minimum.toFixed(1).padStart(15)}${median.toFixed(1).padStart(8)}${String(perSecond).padStart(24)}${ratios.join('').padStart(31)}`,
  );
}
