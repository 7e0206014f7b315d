import { nn, quantization, setNumThreads, Tensor } from 'dynaquant';

import { layerModel } from '../contenders/onnx-layer.js';
import { loadOnnxRuntime } from '../contenders/onnxruntime.js';
import { Skip } from '../contenders/subject.js';
import { floatModule } from '../data.js';
import { median } from '../statistics.js';
import type { Trial } from '../trials.js';
import { answer, isSkip, runScript, type Service, type ServiceRow } from './service.js';

const streams = 10_000;
const trial: Trial = {
  kind: 'lstm',
  input: 128,
  output: 128,
  batch: 64,
  steps: 1,
  weights: 'trained',
  threads: 1,
};
const size = trial.output;

interface Contender {
  /** What it calls the streams. */
  readonly ids: Float64Array;
  /** Takes the next step of these streams. */
  step(ids: Float64Array, x: Float32Array): unknown;
}

const indices = Float64Array.from({ length: streams }, (_, i) => i);

function quantized(): nn.LSTM {
  const qconfig = quantization.perRowDynamicQConfig;
  return quantization.quantizeDynamic(floatModule(trial), new Map([['', qconfig]])).eval() as nn.LSTM;
}

function oursAsStreams(): Contender {
  const all = new nn.Streams(quantized());
  return {
    ids: Float64Array.from({ length: streams }, () => all.open()),
    step: (ids, x) => all.step(ids, new Tensor(x, [ids.length, size])),
  };
}

function oursOneByOne(): Contender {
  const lstm = quantized();
  const states: (nn.LSTMState | undefined)[] = Array.from({ length: streams });
  return {
    ids: indices,
    step: (ids, x) =>
      ids.forEach((id, i) => {
        const own = new Tensor(x.subarray(i * size, (i + 1) * size), [1, 1, size]);
        states[id] = lstm.forward(own, states[id])[1];
      }),
  };
}

/** The same batch without streams: what a step could cost at least. */
function oursWithoutStates(): Contender {
  const lstm = quantized();
  let state: nn.LSTMState | undefined;
  return {
    ids: indices,
    step: (ids, x) => (state = lstm.forward(new Tensor(x, [1, ids.length, size]), state)[1]),
  };
}

/** All states in two arrays, as a user of ONNX Runtime would keep them. */
async function onnxruntime(type: 'int8' | 'uint8'): Promise<Contender> {
  const ort = loadOnnxRuntime();
  const parameters = floatModule(trial).stateDict();
  const get = (name: string): Float32Array => parameters.get(name)!.data as Float32Array;
  const { model } = layerModel({ kind: 'lstm', input: size, output: size, type, get });
  const session = await ort.InferenceSession.create(model, { intraOpNumThreads: 1, interOpNumThreads: 1 });
  const states = { h0: new Float32Array(streams * size), c0: new Float32Array(streams * size) };
  const step: Contender['step'] = async (ids, x) => {
    const gather = (from: Float32Array): object => {
      const rows = new Float32Array(ids.length * size);
      ids.forEach((id, i) => rows.set(from.subarray(id * size, (id + 1) * size), i * size));
      return new ort.Tensor('float32', rows, [1, ids.length, size]);
    };
    const { Y_h, Y_c } = await session.run({
      x: new ort.Tensor('float32', x, [1, ids.length, size]),
      h0: gather(states.h0),
      c0: gather(states.c0),
    });
    const scatter = (to: Float32Array, rows: Float32Array): void =>
      ids.forEach((id, i) => to.set(rows.subarray(i * size, (i + 1) * size), id * size));
    scatter(states.h0, Y_h!.data);
    scatter(states.c0, Y_c!.data);
  };
  return { ids: indices, step };
}

const contenders: Readonly<Record<string, () => Contender | Promise<Contender>>> = {
  'dynaquant nn.Streams': oursAsStreams,
  'dynaquant forward of one batch': oursWithoutStates,
  'dynaquant forward one by one': oursOneByOne,
  'onnxruntime int8': () => onnxruntime('int8'),
  'onnxruntime uint8': () => onnxruntime('uint8'),
};

export const liveStreams: Service = {
  name: 'live-streams',
  title:
    '10,000 streams of an INT8 LSTM of 128 on one thread, those with input stepped in batches of 64, in random order',
  measure(_folder, rounds) {
    const perStep = new Map<string, { least: number[]; medians: number[] }>();
    const skips = new Map<string, string>();
    for (let round = 0; round < rounds; round++) {
      for (const contender of Object.keys(contenders).filter((each) => !skips.has(each))) {
        const figures = runScript('live-streams', [contender]);
        if (isSkip(figures)) {
          skips.set(contender, figures.skip);
          continue;
        }
        const own = perStep.get(contender) ?? { least: [], medians: [] };
        own.least.push(figures['least']!);
        own.medians.push(figures['median']!);
        perStep.set(contender, own);
      }
    }
    const least = (contender: string): number => Math.min(...perStep.get(contender)!.least);
    const [ours] = Object.keys(contenders) as [string];
    return Object.keys(contenders).map((contender): ServiceRow => {
      const skip = skips.get(contender);
      if (skip !== undefined) return { contender, skip };
      return {
        contender,
        figures: {
          'least µs a step': least(contender),
          'median µs a step': median(perStep.get(contender)!.medians),
          'thousand steps/s': 1000 / least(contender),
          ...(perStep.has(ours) && { 'nn.Streams is × faster': least(contender) / least(ours) }),
        },
      };
    });
  },
};

/** For how long a process steps streams, in milliseconds, and before it begins to measure. */
const duration = 2000;
const warmUp = 500;

/** Steps all streams again and again, each time in another order. Prints µs a stream's step over one such pass. */
async function main(contender: string): Promise<void> {
  setNumThreads(1);
  let made: Contender;
  try {
    made = await contenders[contender]!();
  } catch (error) {
    if (!(error instanceof Skip)) throw error;
    return answer({ skip: error.message });
  }
  const { ids, step } = made;
  let seed = 1;
  const random = (n: number): number => {
    seed = (Math.imul(seed, 1664525) + 1013904223) >>> 0;
    return Math.floor((seed / 2 ** 32) * n);
  };
  const x = Float32Array.from({ length: trial.batch * size }, () => random(2000) / 1000 - 1);
  const passes: number[] = [];
  const begin = performance.now();
  while (performance.now() - begin < duration) {
    const order = ids.slice();
    for (let i = streams - 1; i > 0; i--) {
      const other = random(i + 1);
      [order[i], order[other]] = [order[other]!, order[i]!];
    }
    const batches = Array.from({ length: Math.floor(streams / trial.batch) }, (_, i) =>
      order.slice(i * trial.batch, (i + 1) * trial.batch),
    );
    const start = performance.now();
    for (const batch of batches) await step(batch, x);
    const microseconds = ((performance.now() - start) * 1000) / (batches.length * trial.batch);
    if (start - begin > warmUp) passes.push(microseconds);
  }
  answer({ least: Math.min(...passes), median: median(passes) });
}

if (require.main === module) void main(process.argv[2]!);
