// `npm run bench:wasm`: the WebAssembly build against onnxruntime-web, INT8 LSTMs on one thread, and in processes of
// their own its module without relaxed SIMD (plain) and our own native code. Minima of short turns, in microseconds.
import { execFileSync } from 'node:child_process';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { performance } from 'node:perf_hooks';
import { setFlagsFromString } from 'node:v8';

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

/** What a cell takes in a process with other variables and flags. */
function apart(cell: number, variables: NodeJS.ProcessEnv, ...flags: string[]): number {
  const env = { ...process.env, ...variables };
  const args = [...flags, process.argv[1]!, String(cell)];
  return Number(execFileSync(process.execPath, args, { env, encoding: 'utf8' }));
}

async function main(): Promise<void> {
  // Node 20 has relaxed SIMD, but not by default.
  if (process.version.startsWith('v20.')) setFlagsFromString('--experimental-wasm-relaxed-simd');
  setNumThreads(1);
  const alone = process.argv[2];
  if (alone !== undefined) {
    console.log((await least([ours(cells[Number(alone)]!)]))[0]);
    return;
  }
  const table = [];
  for (const [i, cell] of cells.entries()) {
    const [wasm, web] = (await least([ours(cell), await theirs(cell)])) as [number, number];
    const plain = apart(i, {}, '--no-enable-fma3'); // a relaxed multiply-add then rounds twice
    const scalar = apart(i, { DYNAQUANT_BINARY: '', DYNAQUANT_ISA: 'scalar' });
    const best = apart(i, { DYNAQUANT_BINARY: '' });
    const ratio = (other: number, ours = wasm): string => (other / ours).toFixed(2);
    table.push({
      ...cell,
      wasm: wasm.toFixed(1),
      web: web.toFixed(1),
      'web / wasm': ratio(web),
      plain: plain.toFixed(1),
      'web / plain': ratio(web, plain),
      scalar: scalar.toFixed(1),
      'scalar / wasm': ratio(scalar),
      'best native': best.toFixed(1),
    });
  }
  console.table(table);
}

void main();
