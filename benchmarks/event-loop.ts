// `npm run bench:event-loop`: what `forwardAsync` costs, what it leaves to the event loop, and how much it gets done.
import { execFileSync } from 'node:child_process';
import { randomFill } from 'node:crypto';
import { closeSync, mkdtempSync, openSync, read, rmSync, writeSync } from 'node:fs';
import { availableParallelism, cpus, tmpdir } from 'node:os';
import { join } from 'node:path';
import { monitorEventLoopDelay, performance } from 'node:perf_hooks';
import { setImmediate as nextTurn, setTimeout as sleep } from 'node:timers/promises';

import { getNumThreads, nn, quantization, randn, setNumThreads, type Tensor } from 'dynaquant';

import { median, quantile } from './statistics.js';

const { quantizeDynamic } = quantization;
const windowMs = 250; // of one measurement; all take turns, so that slow moments of the machine meet everybody
const rounds = 5;

/** Nothing else in these trials takes a turn's time, so after this a small call goes to another thread. */
const filler = new nn.ReLU();
const large = randn(200_000);
function leaveNoTime(): Promise<Tensor> {
  return filler.forwardAsync(large) as Promise<Tensor>;
}

function table(title: string, rows: Record<string, Record<string, string | number>>): void {
  console.log(`\n${title}`);
  console.table(rows);
}
const us = (ms: number): string => (1000 * ms).toFixed(1);

/** Milliseconds of a call. */
async function timed(call: () => unknown): Promise<number> {
  const start = performance.now();
  await call();
  return performance.now() - start;
}

/** An INT8 LSTM and what it is called with. */
function lstm(hidden: number, steps: number): { layer: nn.LSTM; x: Tensor } {
  return { layer: quantizeDynamic(new nn.LSTM(hidden, hidden)), x: randn(steps, 1, hidden) };
}

/** forward and forwardAsync of one step, by size: as it decides by itself, and always on another thread. */
async function costs(): Promise<void> {
  const rows: Record<string, Record<string, string>> = {};
  for (const hidden of [8, 64, 128, 256, 384, 512, 768, 1024, 2048]) {
    const { layer, x } = lstm(hidden, 1);
    const times = { forward: [] as number[], forwardAsync: [] as number[], onThread: [] as number[] };
    for (let round = 0; round < 40; round++) {
      await nextTurn();
      for (let i = 0; i < 10; i++) times.forward.push(await timed(() => void layer.forward(x)));
      for (let i = 0; i < 10; i++) times.forwardAsync.push(await timed(() => layer.forwardAsync(x)));
      const filled = leaveNoTime();
      times.onThread.push(await timed(() => layer.forwardAsync(x)));
      await filled;
    }
    const [forward, asynchronous, onThread] = Object.values(times).map(median) as [number, number, number];
    rows[`LSTM ${hidden}`] = {
      'forward, us': us(forward),
      'forwardAsync, us': us(asynchronous),
      'over forward, us': us(asynchronous - forward),
      'on another thread, us': us(onThread),
    };
  }
  table('One step of an INT8 LSTM, medians', rows);
}

interface Load {
  readonly threads: number;
  readonly callers: number;
  readonly call: () => unknown;
}

/** Calls a millisecond while callers call back to back. */
async function rateOf({ threads, callers, call }: Load): Promise<number> {
  setNumThreads(threads);
  await call();
  const start = performance.now();
  let count = 0;
  const caller = async (): Promise<void> => {
    while (performance.now() < start + windowMs) {
      await call();
      count++;
    }
  };
  if (callers === 0) await sleep(windowMs);
  await Promise.all(Array.from({ length: callers }, caller));
  return count / (performance.now() - start);
}

/** And how long a timer of a millisecond takes meanwhile. Not at the same time, because it takes a share of a CPU. */
async function run(load: Load): Promise<{ rate: number; delays: number[] }> {
  const rate = await rateOf(load);
  const delay = monitorEventLoopDelay({ resolution: 1 });
  delay.enable();
  await rateOf(load);
  delay.disable();
  return { rate, delays: [50, 99, 100].map((percent) => delay.percentile(percent) / 1e6) };
}

/** The best of all rounds: on a machine that others use too, the rest says more about them. */
async function loads(
  loads: Record<string, Load>,
): Promise<Record<string, { rate: number; delays: number[] }>> {
  const results: Record<string, { rate: number; delays: number[] }> = {};
  for (let round = 0; round < rounds; round++) {
    for (const [name, load] of Object.entries(loads)) {
      const { rate, delays } = await run(load);
      const best = results[name] ?? { rate, delays };
      results[name] = {
        rate: Math.max(best.rate, rate),
        delays: delays.map((delay, i) => Math.min(delay, best.delays[i]!)),
      };
    }
  }
  return results;
}

async function throughput(hidden: number, steps: number, int8: boolean): Promise<void> {
  const layer = int8 ? lstm(hidden, steps).layer : new nn.LSTM(hidden, hidden);
  const x = randn(steps, 1, hidden);
  const all = getNumThreads();
  const async = (): unknown => layer.forwardAsync(x);
  const sync = (): void => void layer.forward(x);
  const results = await loads({
    'an idle process': { threads: all, callers: 0, call: sync },
    'one caller, 1 thread': { threads: 1, callers: 1, call: async },
    [`one caller, ${all} threads`]: { threads: all, callers: 1, call: async },
    [`8 callers, ${all} threads`]: { threads: all, callers: 8, call: async },
    'forward, 1 thread': { threads: 1, callers: 1, call: sync },
    [`forward, ${all} threads`]: { threads: all, callers: 1, call: sync },
  });
  setNumThreads(all);
  const one = results['one caller, 1 thread']!.rate;
  const best = Math.max(
    results[`forward, ${all} threads`]!.rate,
    results[`one caller, ${all} threads`]!.rate,
  );
  const rows = Object.entries(results).map(([name, { rate, delays }]) => {
    // Nothing else runs between calls of forward, so no timer fires.
    const [p50, p99, most] = name.startsWith('forward') ? ['', '', ''] : delays.map((ms) => ms.toFixed(2));
    const figures = {
      'calls/s': Math.round(1000 * rate),
      '/ one caller, 1 thread': (rate / one).toFixed(2),
      '/ best of one at a time': (rate / best).toFixed(2),
      'timer of 1 ms, p50': p50!,
      p99: p99!,
      max: most!,
    };
    return [name, figures] as const;
  });
  table(`${int8 ? 'INT8' : 'float'} LSTM ${hidden}, ${steps} steps`, Object.fromEntries(rows));
}

/** Four reads that wait for data occupy libuv's pool; what else it has to do waits for them. */
async function besideFiles(): Promise<void> {
  const folder = mkdtempSync(join(tmpdir(), 'dynaquant-bench-'));
  const { layer, x } = lstm(512, 8);
  const bytes = Buffer.alloc(16);
  const random = (): Promise<unknown> => new Promise((resolve) => randomFill(bytes, resolve));
  const pipes = Array.from({ length: 4 }, (_, i) => {
    const path = join(folder, String(i));
    execFileSync('mkfifo', [path]);
    return openSync(path, 'r+');
  });
  const rows: Record<string, Record<string, string>> = {};
  for (const name of ['idle', 'with 4 reads that take 100 ms']) {
    const times = { forwardAsync: [] as number[], randomFill: [] as number[] };
    for (let i = 0; i < 10; i++) {
      const busy = name === 'idle' ? [] : pipes;
      const reads = busy.map((fd) => new Promise((done) => read(fd, Buffer.alloc(1), 0, 1, null, done)));
      const ends = sleep(100).then(() => busy.forEach((fd) => writeSync(fd, 'x')));
      const both = [timed(() => layer.forwardAsync(x)), timed(random)] as const;
      times.forwardAsync.push(await both[0]);
      times.randomFill.push(await both[1]);
      await Promise.all([...reads, ends]);
    }
    rows[name] = {
      'forwardAsync, ms': quantile(times.forwardAsync, 0.5).toFixed(2),
      'crypto.randomFill, ms': quantile(times.randomFill, 0.5).toFixed(2),
    };
  }
  pipes.forEach(closeSync);
  rmSync(folder, { recursive: true });
  table("Beside libuv's pool of 4, medians", rows);
}

async function main(): Promise<void> {
  console.log(`${cpus()[0]!.model}, ${availableParallelism()} CPUs, Node ${process.version}`);
  await costs();
  await throughput(1024, 32, true);
  await throughput(512, 32, true);
  await throughput(512, 32, false);
  await throughput(256, 16, true);
  await besideFiles();
}

void main();
