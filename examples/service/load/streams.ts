// Live streams over several instances that are killed and started again:
//   node build/load/streams.js [--seconds 60] [--streams 1000] [--instances 3] [--every 4] [--pause 500]
// Half of the clients use the infer route, half a WebSocket. Whoever has no answer asks another instance. Every output
// is compared with that of this process, byte for byte. The first instance computes without SIMD.
import { nn, setNumThreads, Tensor } from 'dynaquant';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { buildModel } from '../src/models.js';
import { startRedis } from '../test/redis.js';
import { startService, type Service } from './service.js';
import { Fatal, OverHttp, OverWebSocket, type Answer } from './stream-clients.js';

setNumThreads(1);

export interface ChaosOptions {
  readonly seconds: number;
  readonly streams: number;
  readonly instances: number;
  /** Seconds between two kills. */
  readonly every: number;
  /** The most milliseconds for which a client waits before its next request. */
  readonly pause: number;
}

export interface Report {
  streams: number;
  requests: number;
  steps: number;
  kills: number;
  /** Requests that were sent again, because no answer came, or 503. */
  retries: number;
  /** Answers that a client got from the store, because the first answer was lost. */
  replays: number;
  /** How often a stream went on at another instance. */
  moves: number;
  /** Outputs with other bytes than in this process, or a wrong number of steps. */
  mismatches: number;
  /** What went wrong otherwise: the first few sentences. */
  errors: string[];
}

const model = buildModel('lstm-256');
const { features } = model.input;

/** The instances that run; null while one is dead. */
class Fleet {
  private readonly services: (Service | null)[] = [];
  kills = 0;

  constructor(
    private readonly redisUrl: string,
    private readonly count: number,
  ) {}

  async start(): Promise<void> {
    await Promise.all(Array.from({ length: this.count }, (_, i) => this.startOne(i)));
  }

  private async startOne(i: number): Promise<void> {
    const isa: Record<string, string> = i === 0 ? { DYNAQUANT_ISA: 'scalar' } : {};
    this.services[i] = await startService({ REDIS_URL: this.redisUrl, MODELS: model.name, ...isa });
  }

  /** The port of an instance that runs, not that of `but` if there is another. */
  port(but: number): number {
    const ports = this.services.flatMap((service) => (service === null ? [] : service.port));
    const others = ports.filter((port) => port !== but);
    const list = others.length > 0 ? others : ports;
    return list[Math.floor(Math.random() * list.length)] ?? but;
  }

  /** Kills one after the other, until the time is over. */
  async killUntil(end: number, every: number): Promise<void> {
    for (let i = 0; performance.now() + 1000 * every < end; i = (i + 1) % this.count) {
      await sleep(1000 * every);
      const victim = this.services[i]!;
      this.services[i] = null;
      await victim.kill();
      this.kills++;
      await this.startOne(i);
    }
  }

  async stop(): Promise<void> {
    await Promise.all(this.services.flatMap((service) => service?.stop() ?? []));
  }
}

/** One stream, from its start to its end. */
async function stream(
  i: number,
  local: nn.Streams,
  fleet: Fleet,
  end: number,
  pause: number,
  report: Report,
): Promise<void> {
  const sequenceId = `s${i}`;
  const client = i % 2 === 0 ? new OverHttp(model.name, features) : new OverWebSocket(model.name);
  const id = local.open();
  let port = fleet.port(0);
  let steps = 0;
  let isLast = false;
  await sleep(Math.random() * pause);
  for (let number = 0; !isLast; number++) {
    isLast = performance.now() >= end;
    const rows = Float32Array.from({ length: features * (1 + (number % 3)) }, () => 2 * Math.random() - 1);
    const request = { sequenceId, number, position: steps, rows, end: isLast };
    if (number % 10 === 9) port = move(port);
    let answer: Answer | undefined;
    for (let attempt = 0; answer === undefined; attempt++) {
      try {
        answer = await client.ask(port, request);
      } catch (error) {
        if (error instanceof Fatal || attempt === 100) throw error;
        report.retries++;
        await sleep(50 + Math.random() * 100);
        port = move(port);
      }
    }
    steps += rows.length / features;
    check(answer, rows);
    await sleep(Math.random() * pause);
  }

  function move(from: number): number {
    const to = fleet.port(from);
    if (to !== from) report.moves++;
    return to;
  }

  function check({ output, steps: taken, replayed }: Answer, rows: Float32Array): void {
    const expected: Buffer[] = [];
    for (let t = 0; t < rows.length; t += features) {
      const { data } = local.step([id], new Tensor(rows.slice(t, t + features), [1, features]));
      expected.push(Buffer.copyBytesFrom(data as Float32Array));
    }
    if (!output.equals(Buffer.concat(expected)) || taken !== steps) report.mismatches++;
    if (replayed) report.replays++;
    report.requests++;
    report.steps += expected.length;
  }
}

/** Runs the whole test. */
export async function runChaos(options: ChaosOptions): Promise<Report> {
  const { seconds, streams, instances, every, pause } = options;
  const counts = { requests: 0, steps: 0, kills: 0, retries: 0, replays: 0, moves: 0, mismatches: 0 };
  const report: Report = { streams, ...counts, errors: [] };
  const local = new nn.Streams(model.layers);
  const redis = await startRedis();
  const fleet = new Fleet(redis.url, instances);
  try {
    await fleet.start();
    const end = performance.now() + 1000 * seconds;
    const all = Array.from({ length: streams }, (_, i) =>
      stream(i, local, fleet, end, pause, report).catch((error: Error) => {
        report.errors.push(`stream s${i}: ${error.message}`);
      }),
    );
    await fleet.killUntil(end, every);
    await Promise.all(all);
    report.kills = fleet.kills;
  } finally {
    await fleet.stop();
    await redis.stop();
    local.dispose();
  }
  return report;
}

async function main(): Promise<void> {
  const defaults = { seconds: '60', streams: '1000', instances: '3', every: '4', pause: '500' };
  const { values } = parseArgs({
    options: Object.fromEntries(
      Object.entries(defaults).map(([name, value]) => [name, { type: 'string' as const, default: value }]),
    ),
  });
  const options = Object.fromEntries(Object.entries(values).map(([name, value]) => [name, Number(value)]));
  const report = await runChaos(options as unknown as ChaosOptions);
  console.log({ ...report, stepsPerSecond: Math.round(report.steps / options['seconds']!) });
  if (report.mismatches > 0 || report.errors.length > 0) process.exitCode = 1;
}

if (process.argv[1] === fileURLToPath(import.meta.url)) await main();
