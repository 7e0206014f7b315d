// Loads the infer route over loopback, and checks every byte of every answer:
//   node build/load/infer.js [--seconds 60]
// 1. saturation: how many requests a second so many clients get that ask again at once
// 2. 70 % of it: latencies when requests come at random times
// 3. 200 % of it: what is refused, and what memory it takes
// 4. micro-batching against one by one
import { nn, setNumThreads, Tensor } from 'dynaquant';
import { setTimeout as sleep } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import { buildModel } from '../src/models.js';
import { Connection, type Answer } from './http.js';
import { startService, type Service } from './service.js';

setNumThreads(1);

/** Of an open loop, at most. */
const connections = 768;

/** What is sent, and what has to come back. */
interface Sample {
  readonly input: Uint8Array;
  readonly output: Buffer;
}

/** Samples of so many steps of a model, with the answers that it gives to each alone. */
function samplesOf(modelName: string, steps: number, count = 32): Sample[] {
  const { layers, input } = buildModel(modelName);
  const streams = new nn.Streams(layers);
  return Array.from({ length: count }, () => {
    const rows = Float32Array.from({ length: steps * input.features }, () => 2 * Math.random() - 1);
    const id = streams.open();
    const outputs: Buffer[] = [];
    for (let t = 0; t < steps; t++) {
      const row = rows.slice(t * input.features, (t + 1) * input.features);
      const { data } = streams.step([id], new Tensor(row, [1, input.features]));
      outputs.push(Buffer.copyBytesFrom(data as Float32Array));
    }
    return { input: new Uint8Array(rows.buffer), output: Buffer.concat(outputs) };
  });
}

/** Counts of one run. Every request is in one of the first three. */
class Tally {
  right = 0;
  refused = 0;
  /** Lost, answered twice, with another's answer, other bytes or another status. */
  readonly wrong: string[] = [];
  readonly latencies: number[] = [];
  private sent = 0;

  constructor(
    private readonly path: string,
    private readonly steps: number,
    private readonly samples: readonly Sample[],
  ) {}

  /** Sends a request that should have been sent at `due`, and judges its answer. */
  async request(connection: Connection, due: number): Promise<void> {
    const number = this.sent++;
    const { input, output } = this.samples[number % this.samples.length]!;
    const features = input.length / 4 / this.steps;
    const tensor = `"name":"x","shape":[${this.steps},${features}],"datatype":"FP32"`;
    const sized = `{${tensor},"parameters":{"binary_data_size":${input.length}}}`;
    const json = `{"id":"${number}","inputs":[${sized}],"parameters":{"binary_data_output":true}}`;
    const lengths = `content-length: ${json.length + input.length}\r\ninference-header-content-length: ${json.length}`;
    const head = `POST ${this.path} HTTP/1.1\r\nhost: x\r\ncontent-type: application/octet-stream\r\n${lengths}\r\n\r\n`;
    try {
      const answer = await connection.send(head + json, input);
      if (this.judge(answer, String(number), output)) this.latencies.push(performance.now() - due);
    } catch (error) {
      this.wrong.push((error as Error).message);
    }
    if (connection.surplus > 0) this.wrong.push(`${connection.surplus} bytes more than one answer`);
  }

  /** Whether it is the answer. */
  private judge({ status, headers, body }: Answer, id: string, output: Buffer): boolean {
    if (status === 503 && headers.has('retry-after')) {
      this.refused++;
      return false;
    }
    const length = Number(headers.get('inference-header-content-length') ?? NaN);
    if (status !== 200 || Number.isNaN(length)) throw new Error(`status ${status}: ${body.toString()}`);
    const json = JSON.parse(body.toString('utf8', 0, length)) as { id: string };
    if (json.id !== id) throw new Error(`the answer to ${json.id} for ${id}`);
    if (!body.subarray(length).equals(output)) throw new Error('other bytes than a lone call gives');
    this.right++;
    return true;
  }

  percentile(p: number): number {
    const sorted = Float64Array.from(this.latencies).sort();
    return sorted[Math.min(sorted.length - 1, Math.floor(p * sorted.length))]!;
  }
}

/** Clients that ask again as soon as they have their answer. Returns requests a second. */
async function closedLoop(service: Service, clients: number, seconds: number, tally: Tally): Promise<number> {
  const begin = performance.now();
  await Promise.all(
    Array.from({ length: clients }, async () => {
      const connection = await Connection.open(service.port);
      while (performance.now() - begin < 1000 * seconds) await tally.request(connection, performance.now());
      connection.close();
    }),
  );
  return tally.right / ((performance.now() - begin) / 1000);
}

/**
 * Requests at random times, so many a second on average, whether or not earlier ones were answered. Where all
 * connections are busy a request waits for one, and its latency counts the wait.
 */
async function openLoop(
  service: Service,
  rate: number,
  seconds: number,
  tally: Tally,
  watch = (): void => {},
): Promise<void> {
  const idle = await Promise.all(Array.from({ length: connections }, () => Connection.open(service.port)));
  const waiting: number[] = [];
  let running = 0;
  const send = async (): Promise<void> => {
    while (waiting.length > 0 && idle.length > 0) {
      const connection = idle.pop()!;
      running++;
      await tally.request(connection, waiting.shift()!);
      running--;
      idle.push(connection);
    }
  };
  const begin = performance.now();
  let due = begin;
  while (due < begin + 1000 * seconds || running > 0) {
    const now = performance.now();
    for (; due <= now && due < begin + 1000 * seconds; due += (-Math.log(1 - Math.random()) * 1000) / rate) {
      waiting.push(now);
      void send();
    }
    watch();
    await sleep(1);
  }
  for (const connection of idle) connection.close();
}

function report(what: string, tally: Tally, more: string): void {
  const [p50, p99] = [tally.percentile(0.5), tally.percentile(0.99)];
  const latencies = `p50 ${p50.toFixed(2)} ms, p99 ${p99.toFixed(2)} ms`;
  console.log(
    `${what}: ${tally.right} right, ${tally.refused} refused, ${tally.wrong.length} wrong; ${latencies}; ${more}`,
  );
  for (const sentence of new Set(tally.wrong)) console.log(`  ${sentence}`);
  if (tally.wrong.length > 0) process.exitCode = 1;
}

async function loadOne(name: string, steps: number, clients: number, seconds: number): Promise<void> {
  const samples = samplesOf(name, steps);
  const tallyOf = (): Tally => new Tally(`/v2/models/${name}/infer`, steps, samples);
  const service = await startService({ MODELS: name });
  await closedLoop(service, clients, 1, tallyOf()); // warm
  const full = tallyOf();
  const saturation = await closedLoop(service, clients, seconds, full);
  report(`${name}, ${steps} steps, ${clients} clients`, full, `${saturation.toFixed(0)} a second`);
  const most = tallyOf();
  await openLoop(service, 0.7 * saturation, seconds, most);
  report('70 %', most, `p99 / p50 ${(most.percentile(0.99) / most.percentile(0.5)).toFixed(1)}`);
  const over = tallyOf();
  const before = service.memory();
  let peak = 0;
  await openLoop(service, 2 * saturation, seconds, over, () => (peak = Math.max(peak, service.memory())));
  const mib = (bytes: number): string => `${(bytes / 2 ** 20).toFixed(0)} MiB`;
  await sleep(1000);
  report('200 %', over, `memory ${mib(before)} before, ${mib(peak)} at most, ${mib(service.memory())} after`);
  await service.stop();
}

async function compareBatching(name: string, steps: number, clients: number, seconds: number): Promise<void> {
  const samples = samplesOf(name, steps);
  const rates: number[] = [];
  for (const MAX_BATCH of ['1', '64']) {
    const service = await startService({ MODELS: name, MAX_BATCH });
    const path = `/v2/models/${name}/infer`;
    await closedLoop(service, clients, 1, new Tally(path, steps, samples));
    const tally = new Tally(path, steps, samples);
    rates.push(await closedLoop(service, clients, seconds, tally));
    report(
      `${name}, ${steps} steps, ${clients} clients, batches of ${MAX_BATCH}`,
      tally,
      `${rates.at(-1)!.toFixed(0)} a second`,
    );
    await service.stop();
  }
  console.log(`micro-batching: ${(rates[1]! / rates[0]!).toFixed(1)} times the throughput`);
}

const { values } = parseArgs({
  options: {
    seconds: { type: 'string', default: '40' },
    steps: { type: 'string', default: '16' },
    clients: { type: 'string', default: '64' },
  },
});
const slice = Number(values.seconds) / 5;
await loadOne('lstm-256', Number(values.steps), Number(values.clients), slice);
await compareBatching('lstm-512', 1, 64, slice);
