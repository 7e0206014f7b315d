// Measures what a core holds, and what a second one adds, in the tables of docs/from-one-process-to-a-fleet.md:
//   node build/load/capacity.js [--seconds 1]    (the larger, the longer: 1 takes two minutes)
// Let nothing else run meanwhile: `uptime` tells.
import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { nn, quantization, setNumThreads, Tensor } from 'dynaquant';
import { buildModel } from '../src/models.js';

const stepsPerSecond = 50;
/** What of a core is planned with. The rest is for the event loop, the network and bursts. */
const share = 0.7;
/** More streams than a batch has, so that states come from memory as they do in a service. */
const open = 1024;
/** The fastest is what counts, because on a shared machine others take part of the rest. */
const rounds = 20;

interface Subject {
  readonly name: string;
  readonly layers: readonly nn.Module[];
  /** Of a vector; 0 for a token. */
  readonly features: number;
}

function lstm(units: number): Subject {
  const perRow = new Map([[nn.LSTM, quantization.bestDynamicQConfig]]);
  const layers = [quantization.quantizeDynamic(new nn.LSTM(units, units), perRow)];
  return { name: `LSTM of ${units}`, layers, features: units };
}

const subjects = new Map<string, () => Subject>([
  ['128', () => lstm(128)],
  ['256', () => lstm(256)],
  ['512', () => lstm(512)],
  ['1024', () => lstm(1024)],
  ['char-lm', () => ({ name: 'char-lm', layers: buildModel('char-lm').layers, features: 0 })],
]);

/** Streams of a model, and batches of them with an input for each. */
class Load {
  readonly streams: nn.Streams;
  private readonly ids: number[];
  private readonly inputs: Tensor[];
  private next = 0;

  constructor(
    { layers, features }: Subject,
    readonly batch: number,
  ) {
    this.streams = new nn.Streams(layers);
    this.ids = Array.from({ length: open }, () => this.streams.open());
    this.inputs = Array.from({ length: 8 }, () =>
      features === 0
        ? new Tensor(
            BigInt64Array.from({ length: batch }, () => BigInt(Math.floor(60 * Math.random()))),
            [batch],
          )
        : new Tensor(
            Float32Array.from({ length: batch * features }, () => 2 * Math.random() - 1),
            [batch, features],
          ),
    );
  }

  /** The batch whose turn it is. */
  take(): [number[], Tensor] {
    const start = (this.next * this.batch) % open;
    return [this.ids.slice(start, start + this.batch), this.inputs[this.next++ % this.inputs.length]!];
  }

  step(): void {
    this.streams.step(...this.take());
  }
}

/** Microseconds of a stream's step in batches: the fastest of some rounds. */
function microseconds(load: Load, seconds: number): number {
  load.step();
  let best = Infinity;
  for (let round = 0; round < rounds; round++) {
    const began = performance.now();
    let [steps, took] = [0, 0];
    while (took < (1000 * seconds) / rounds) {
      load.step();
      steps += load.batch;
      took = performance.now() - began;
    }
    best = Math.min(best, (1000 * took) / steps);
  }
  return best;
}

/** Steps a second of streams in batches of 64, of which some are under way at a time. */
async function stepsAsync(subject: Subject, underWay: number, seconds: number): Promise<number> {
  // Streams are stepped by one of these only. The weights are the same.
  const loads = Array.from({ length: underWay }, () => new Load(subject, 64));
  for (const load of loads) load.step();
  const began = performance.now();
  let steps = 0;
  const run = async (load: Load): Promise<void> => {
    while (performance.now() - began < 1000 * seconds) {
      await load.streams.stepAsync(...load.take());
      steps += load.batch;
    }
  };
  await Promise.all(loads.map(run));
  return (1000 * steps) / (performance.now() - began);
}

/** What a child is to measure. */
interface Task {
  readonly subject: string;
  readonly underWay: number;
  readonly seconds: number;
}

/** Some processes that measure at the same time: the steps a second of all, and the memory of all in MB. */
async function inProcesses(
  count: number,
  threads: number,
  task: Task,
): Promise<{ steps: number; memory: number }> {
  const env = { ...process.env, DYNAQUANT_NUM_THREADS: String(threads) };
  const children = Array.from({ length: count }, () => fork(fileURLToPath(import.meta.url), [], { env }));
  const answer = async (child: ChildProcess): Promise<unknown> => (await once(child, 'message'))[0];
  await Promise.all(children.map(answer)); // ready
  const results = children.map(answer);
  for (const child of children) child.send(task);
  const all = (await Promise.all(results)) as { steps: number; memory: number }[];
  for (const child of children) child.kill();
  return {
    steps: all.reduce((sum, { steps }) => sum + steps, 0),
    memory: all.reduce((sum, { memory }) => sum + memory, 0),
  };
}

async function serveAsChild(): Promise<void> {
  const answer = once(process, 'message');
  process.send!('ready');
  const [{ subject, underWay, seconds }] = (await answer) as [Task];
  const steps = await stepsAsync(subjects.get(subject)!(), underWay, seconds);
  process.send!({ steps, memory: process.memoryUsage().rss / 2 ** 20 });
}

function measureCore(seconds: number): void {
  setNumThreads(1);
  const batches = [1, 8, 64, 256];
  console.log(
    `| model | ${batches.map((batch) => `batch of ${batch}`).join(' | ')} | state, bytes | streams a core |`,
  );
  console.log(`| :-- | ${batches.map(() => '--:').join(' | ')} | --: | --: |`);
  for (const build of subjects.values()) {
    const subject = build();
    const times = batches.map((batch) => microseconds(new Load(subject, batch), seconds));
    const state = new Load(subject, 1).streams;
    const bytes = state.toBuffer(state.open()).length;
    const streams = (share * 1e6) / (stepsPerSecond * times[batches.indexOf(64)]!);
    const cells = [...times.map((time) => time.toFixed(1)), bytes, Math.floor(streams)];
    console.log(`| ${subject.name} | ${cells.join(' | ')} |`);
  }
}

async function measureProcesses(seconds: number): Promise<void> {
  console.log('| model | 1 process, 1 thread | 1 process, 2 threads | 2 processes, 1 thread each | MB |');
  console.log('| :-- | --: | --: | --: | --: |');
  for (const [subject, build] of subjects) {
    const ways = [
      [1, 1, 1],
      [1, 2, 2],
      [2, 1, 1],
    ] as const;
    const best = ways.map(() => ({ steps: 0, memory: 0 }));
    for (let round = 0; round < rounds / 2; round++) {
      for (const [i, [processes, threads, underWay]] of ways.entries()) {
        const result = await inProcesses(processes, threads, { subject, underWay, seconds: seconds / 3 });
        if (result.steps > best[i]!.steps) best[i] = result;
      }
    }
    const cells = [
      ...best.map(({ steps }) => Math.round(steps)),
      best.map(({ memory }) => Math.round(memory)).join(', '),
    ];
    console.log(`| ${build().name} | ${cells.join(' | ')} |`);
  }
}

if (process.send !== undefined) {
  await serveAsChild();
} else {
  const { values } = parseArgs({ options: { seconds: { type: 'string', default: '1' } } });
  const seconds = Number(values.seconds);
  if (!(seconds > 0 && seconds <= 60)) throw new RangeError('--seconds should be a number up to 60');
  console.log(
    `µs of a stream's step; streams that a core steps ${stepsPerSecond} times a second, at ${share * 100} %`,
  );
  measureCore(seconds);
  console.log('\nsteps a second in batches of 64');
  await measureProcesses(seconds);
}
