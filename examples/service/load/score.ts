// Scores chunks while their workers are killed at random, and compares every byte with what one process writes:
//   node build/load/score.js [--chunks 10000] [--seconds 600]
// 1. four workers
// 2. two workers, one with the slowest instruction set and one with the best
import { setTimeout as sleep } from 'node:timers/promises';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { startRedis } from '../test/redis.js';
import {
  read,
  score,
  start,
  temporaryFolder,
  texts,
  writeLines,
  type Command,
} from '../test/score-support.js';

const { values } = parseArgs({
  options: { chunks: { type: 'string', default: '10000' }, seconds: { type: 'string', default: '600' } },
});
const [chunks, seconds] = [Number(values.chunks), Number(values.seconds)];
if (!(chunks >= 1 && chunks <= 1e6 && seconds >= 1))
  throw new RangeError('--chunks should be a number up to 1000000, --seconds a positive number');

const rowsPerChunk = 4;
const folder = temporaryFolder();
const file = writeLines(join(folder, 'texts'), texts(chunks * rowsPerChunk));

/** Workers of these instruction sets, of which one after the other is killed and replaced until the run has ended. */
class Victims {
  kills = 0;
  private readonly workers: Command[];

  constructor(
    private readonly isas: readonly string[],
    private readonly redisUrl: string,
  ) {
    this.workers = isas.map((isa) => this.start(isa));
  }

  async killUntil(isOver: () => boolean): Promise<void> {
    while (!isOver()) {
      await sleep(200 + 1800 * Math.random());
      const i = Math.floor(Math.random() * this.isas.length);
      this.workers[i]!.process.kill('SIGKILL');
      this.workers[i] = this.start(this.isas[i]!);
      this.kills++;
    }
  }

  async stop(): Promise<void> {
    for (const { process } of this.workers) process.kill('SIGKILL');
    await Promise.all(this.workers.map(({ ended }) => ended));
  }

  private start(isa: string): Command {
    return start('score-worker', [], {
      REDIS_URL: this.redisUrl,
      DYNAQUANT_ISA: isa,
      DYNAQUANT_NUM_THREADS: '1',
    });
  }
}

async function run(name: string, isas: readonly string[], expected: string): Promise<void> {
  const output = join(folder, name);
  const redis = await startRedis();
  const victims = new Victims(isas, redis.url);
  const began = performance.now();
  const args = [file, '--chunk', String(rowsPerChunk), '--output', output, '--remote', '--redis', redis.url];
  const command = start('score', args);
  const limit = setTimeout(() => command.process.kill('SIGKILL'), 1000 * seconds);
  try {
    let isOver = false;
    const ended = command.ended.finally(() => (isOver = true));
    await victims.killUntil(() => isOver);
    const code = await ended;
    if (code !== 0) throw new Error(`score ended with ${code}: ${command.said()}`);
    compare(read(output), expected);
    const took = (performance.now() - began) / 1000;
    console.log(
      `${name}: ${chunks} chunks, ${isas.length} workers, ${victims.kills} killed, ${took.toFixed(0)} s: ` +
        'every byte is that of one process, no row missing or doubled',
    );
  } finally {
    clearTimeout(limit);
    await victims.stop();
    await redis.stop();
  }
}

function compare(output: string, expected: string): void {
  const lines = output
    .trimEnd()
    .split('\n')
    .map((line) => (JSON.parse(line) as { line: number }).line);
  const wrong = lines.findIndex((line, i) => line !== i + 1);
  if (wrong !== -1 || lines.length !== chunks * rowsPerChunk)
    throw new Error(`row ${wrong + 1} is missing or doubled; there are ${lines.length}`);
  if (output !== expected) throw new Error('the output differs from that of one process');
}

const began = performance.now();
const { code, said } = await score([file, '--workers', '0', '--chunk', '1000']);
if (code !== 0) throw new Error(said);
console.log(
  `one process: ${chunks * rowsPerChunk} rows, ${((performance.now() - began) / 1000).toFixed(0)} s`,
);
const expected = read(`${file}.scores.jsonl`);
await run('four workers', ['', '', '', ''], expected);
await run('scalar and best', ['scalar', ''], expected);
