// `npm run bench:wasm`: the WebAssembly build against onnxruntime-web, INT8 LSTMs on one thread, and against our own
// native code in processes of their own. Minima of short turns, in microseconds.
import { execFileSync } from 'node:child_process';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { performance } from 'node:perf_hooks';

import { manualSeed, nn, quantization, randn, setNumThreads } from 'dynaquant';

import { layerModel } from './contenders/onnx-layer.js';
import type { OnnxRuntime } from './contenders/onnxruntime.js';
import { packageRoot } from './run.js';

type Call = () => unknown;
interface Cell {
  readonly hidden: number;
  readonly batch: number;
  readonly steps: number;
}
const cells: Cell[] = [8, 128, 512].flatMap((hidden) =>
  [1, 8].flatMap((batch) => [1, 20].map((steps) => ({ hidden, batch, steps }))),
);
const turns = 12;
const turnMs = 25;

function layerOf({ hidden, batch, steps }: Cell) {
  manualSeed(0);
  const lstm = new nn.LSTM(hidden, hidden);
  const x = randn(steps, batch, hidden);
  const states: [h: typeof x, c: typeof x] = [randn(1, batch, hidden), randn(1, batch, hidden)];
  return { lstm, x, states };
}

function ours(cell: Cell): Call {
  const { lstm, x, states } = layerOf(cell);
  const quantized = quantization.quantizeDynamic(lstm);
  return () => quantized.forward(x, states);
}

async function theirs(cell: Cell): Promise<Call> {
  const beside = createRequire(join(packageRoot, 'benchmarks', 'package.json'));
  const runtime = beside('onnxruntime-web') as OnnxRuntime & { env: { wasm: { numThreads: number } } };
  runtime.env.wasm.numThreads = 1;
  const { lstm, x, states } = layerOf(cell);
  const state = lstm.stateDict();
  const { hidden: input } = cell;
  const get = (name: string): Float32Array => state.get(name)!.data as Float32Array;
  const { model } = layerModel({ kind: 'lstm', input, output: input, type: 'int8', get });
  const session = await runtime.InferenceSession.create(model, {});
  const feeds = Object.fromEntries(
    Object.entries({ x, h0: states[0], c0: states[1] }).map(([name, { data, shape }]) => [
      name,
      new runtime.Tensor('float32', data as Float32Array, shape),
    ]),
  );
  return () => session.run(feeds);
}

/** The least microseconds that each call took, over turns in which all are called. */
async function least(calls: readonly Call[]): Promise<number[]> {
  const result = calls.map(() => Infinity);
  for (let turn = 0; turn <= turns; turn++) {
    for (const [i, call] of calls.entries()) {
      const begin = performance.now();
      let count = 0;
      let now: number;
      do {
        await call();
        count++;
      } while ((now = performance.now()) < begin + turnMs);
      if (turn > 0) result[i] = Math.min(result[i]!, (1000 * (now - begin)) / count);
    }
  }
  return result;
}

function native(isa: string, cell: number): number {
  const env = { ...process.env, DYNAQUANT_BINARY: '', DYNAQUANT_ISA: isa };
  return Number(execFileSync(process.execPath, [process.argv[1]!, String(cell)], { env, encoding: 'utf8' }));
}

async function main(): Promise<void> {
  setNumThreads(1);
  const alone = process.argv[2];
  if (alone !== undefined) {
    console.log((await least([ours(cells[Number(alone)]!)]))[0]);
    return;
  }
  const table = [];
  for (const [i, cell] of cells.entries()) {
    const [wasm, web] = (await least([ours(cell), await theirs(cell)])) as [number, number];
    const scalar = native('scalar', i);
    const best = native('', i);
    const ratio = (other: number): string => (other / wasm).toFixed(2);
    table.push({
      ...cell,
      wasm: wasm.toFixed(1),
      web: web.toFixed(1),
      'web / wasm': ratio(web),
      scalar: scalar.toFixed(1),
      'scalar / wasm': ratio(scalar),
      'best native': best.toFixed(1),
    });
  }
  console.table(table);
}

void main();
