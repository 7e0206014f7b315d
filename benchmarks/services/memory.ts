import { setImmediate } from 'node:timers/promises';

import {
  cat,
  modelFromStateDict,
  nn,
  quantization,
  randint,
  randn,
  setNumThreads,
  type Tensor,
} from 'dynaquant';

import { answer, runScript, type Service } from './service.js';

const calls = 1_000_000;
const warmUp = 300_000;
/** V8 gives its young objects 3 MB and leaves it at that; otherwise it takes more at some moment of a long run. */
const flags = ['--expose-gc', '--max-semi-space-size=1'];
/** Between two readings of the resident memory. */
const interval = 50_000;

export const memory: Service = {
  name: 'memory',
  title: 'Resident memory over 10^6 mixed calls in one process, after 300,000 to warm up',
  measure: () => [{ contender: 'dynaquant', figures: runScript('memory', [], flags) as never }],
};

/** Calls of every kind that a service makes: layers of every type, with and without states, tensors, new modules. */
function mixture(): (() => unknown)[] {
  const { quantizeDynamic, bestDynamicQConfig, float16DynamicQConfig } = quantization;
  const small = new nn.LSTM(8, 16, { numLayers: 2 }).eval();
  const lstm = quantizeDynamic(small);
  const best = quantizeDynamic(small, new Map([['', bestDynamicQConfig]]));
  const half = quantizeDynamic(small, new Map([['', float16DynamicQConfig]]));
  const gru = quantizeDynamic(new nn.GRU(8, 16, { bidirectional: true }).eval());
  const cell = quantizeDynamic(new nn.LSTMCell(8, 16).eval());
  const linear = quantizeDynamic(new nn.Linear(16, 40).eval());
  const embedding = new nn.Embedding(100, 8).eval();
  const x = randn(4, 3, 8);
  const packed = nn.utils.rnn.packPaddedSequence(randn(4, 3, 8), [4, 2, 1]);
  const rows = randn(200, 16);
  const words = randint(0, 100, [4, 3]);
  const states = new Map<nn.Module, unknown>();
  const withState = (layer: nn.LSTM): unknown => {
    const [y, state] = layer.forward(x, states.get(layer) as nn.LSTMState | undefined);
    states.set(layer, state);
    return y;
  };
  const saved = lstm.stateDict();
  return [
    () => withState(lstm as nn.LSTM),
    () => withState(best as nn.LSTM),
    () => withState(half as nn.LSTM),
    () => small.forward(x),
    () => gru.forward(x),
    () => lstm.forward(packed),
    () => cell.forward(randn(5, 8)),
    () => linear.forward(rows).argmax(1),
    () => embedding.forward(words),
    () => cat([rows, rows.mul(2)]).softmax(1),
    () => (lstm.forward(embedding.forward(words))[0] as Tensor).toArray(),
    () => {
      try {
        return linear.forward(x);
      } catch (error) {
        return (error as Error).message;
      }
    },
    // A thousandth of the calls: new weights.
    once(1000, () => quantizeDynamic(new nn.LSTM(8, 16)).forward(x)),
    once(1000, () => modelFromStateDict(saved).model.forward(x)),
    once(1000, () => lstm.loadStateDict(saved)),
  ];
}

/** Every n-th call does something. */
function once(n: number, f: () => unknown): () => unknown {
  let count = 0;
  return () => (++count % n === 0 ? f() : undefined);
}

async function main(): Promise<void> {
  setNumThreads(1);
  const mixed = mixture();
  const megabytes: number[] = [];
  for (let i = 0; i <= calls + warmUp; i++) {
    mixed[i % mixed.length]!();
    // A service's calls come in many turns of the event loop.
    if (i % 100 === 0) await setImmediate();
    if (i < warmUp || (i - warmUp) % interval !== 0) continue;
    (globalThis as unknown as { gc(): void }).gc();
    megabytes.push(process.memoryUsage.rss() / 2 ** 20);
  }
  const first = megabytes[0]!;
  answer({
    'MB after warm-up': first,
    'most MB over that': Math.max(...megabytes) - first,
    'least MB over that': Math.min(...megabytes) - first,
    'MB over that at the end': megabytes.at(-1)! - first,
  });
}

if (require.main === module) void main();
