// What the load tests send, and what has to come back.
import { nn, Tensor } from 'dynaquant';
import { buildModel } from '../src/models.js';
import { Connection, type Answer } from './http.js';
import type { Service } from './service.js';

/** What is sent, and what has to come back. */
export interface Sample {
  readonly input: Uint8Array;
  readonly output: Buffer;
}

/** Samples of so many steps of a model, with the answers that it gives to each alone. */
export function samplesOf(modelName: string, steps: number, count = 32): Sample[] {
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
export class Tally {
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

/** Prints a run's counts. What was wrong fails the program. */
export function report(what: string, tally: Tally, more: string): void {
  const [p50, p99] = [tally.percentile(0.5), tally.percentile(0.99)];
  const counts = `${tally.right} right, ${tally.refused} refused, ${tally.wrong.length} wrong`;
  console.log(`${what}: ${counts}; p50 ${p50.toFixed(2)} ms, p99 ${p99.toFixed(2)} ms; ${more}`);
  for (const sentence of new Set(tally.wrong)) console.log(`  ${sentence}`);
  if (tally.wrong.length > 0) process.exitCode = 1;
}

export function median(numbers: readonly number[]): number {
  return [...numbers].sort((a, b) => a - b)[Math.floor(numbers.length / 2)]!;
}

/** Clients that ask again as soon as they have their answer. Returns requests a second. */
export async function closedLoop(
  service: Service,
  clients: number,
  seconds: number,
  tally: Tally,
): Promise<number> {
  const begin = performance.now();
  const before = tally.right;
  await Promise.all(
    Array.from({ length: clients }, async () => {
      let connection = await Connection.open(service.port);
      while (performance.now() - begin < 1000 * seconds) {
        if (!connection.isOpen) connection = await Connection.open(service.port);
        await tally.request(connection, performance.now());
      }
      connection.close();
    }),
  );
  return (tally.right - before) / ((performance.now() - begin) / 1000);
}
