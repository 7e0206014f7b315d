import assert from 'node:assert/strict';
import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { before, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { Redis } from 'ioredis';
import { type Chunk } from '../src/scoring/dataset.js';
import { Parts } from '../src/scoring/parts.js';
import { scoreThroughQueue, startWorker, taskScorer, type Task } from '../src/scoring/queue.js';
import { startRedis, withoutRedis } from './redis.js';
import {
  childrenOf,
  commandOf,
  read,
  score,
  start,
  temporaryFolder,
  texts,
  writeLines,
} from './score-support.js';

const folder = temporaryFolder();
// They wait most of the time, for locks that expire and attempts that come later.
const skip = withoutRedis || (process.platform !== 'linux' && 'it looks into /proc');
const options = { skip, timeout: 60_000, concurrency: 4 };

const file = writeLines(join(folder, 'texts'), texts(400));
/** What a single process writes. */
let expected: string;
before(async () => {
  const { code, said } = await score([file, '--workers', '0']);
  assert.equal(code, 0, said);
  expected = read(`${file}.scores.jsonl`);
});

/** Arguments for 200 chunks. */
const argsFor = (output: string): string[] => [file, '--chunk', '2', '--output', output];

const partsOf = (output: string): string[] =>
  readdirSync(folder)
    .filter((name) => join(folder, name).startsWith(`${output}.`) && name.endsWith('.parts'))
    .flatMap((name) => readdirSync(join(folder, name)));

async function killWorkers(): Promise<void> {
  const output = join(folder, 'killed');
  const command = start('score', [...argsFor(output), '--workers', '2'], { REDIS_URL: '' });
  let kills = 0;
  let before = 0;
  while (command.process.exitCode === null) {
    await sleep(50);
    const workers = childrenOf(command.process).filter((pid) => commandOf(pid).includes('score-worker'));
    const parts = partsOf(output).length;
    if (parts < before + 20 || parts > 160 || workers.length === 0) continue;
    before = parts;
    process.kill(workers[kills++ % workers.length]!, 'SIGKILL');
  }
  assert.equal(await command.ended, 0, command.said());
  assert.ok(kills >= 3, `${kills} kills`);
  assert.ok(read(output) === expected);
}

async function killEverything(): Promise<void> {
  const output = join(folder, 'resumed');
  const args = [...argsFor(output), '--workers', '2'];
  const first = start('score', args, { REDIS_URL: '' });
  while (partsOf(output).length < 20) await sleep(5);
  const children = childrenOf(first.process);
  first.process.kill('SIGKILL');
  await first.ended;
  const there = partsOf(output).filter((name) => name.endsWith('.jsonl')).length;
  // Nothing that it started outlives it.
  for (const pid of children) while (commandOf(pid) !== '') await sleep(20);

  const second = start('score', args, { REDIS_URL: '' });
  while (partsOf(output).length < there + 20) await sleep(5);
  second.process.kill('SIGTERM');
  assert.equal(await second.ended, 1);
  assert.match(second.said(), new RegExp(`^score: goes on: ${there} of 200 chunks are there already$`, 'm'));
  assert.match(second.said(), /^score: \d+ of 200 chunks are there; the same command goes on from here$/m);
  assert.match(second.said(), /^score: stopped by SIGTERM$/m);

  const { code, said } = await score(args, { REDIS_URL: '' });
  assert.equal(code, 0, said);
  assert.ok(read(output) === expected);
  assert.deepEqual(partsOf(output), []);
}

async function workElsewhere(): Promise<void> {
  const output = join(folder, 'remote');
  const redis = await startRedis();
  const client = new Redis(redis.url);
  const env = { REDIS_URL: redis.url };
  const isas = ['scalar', ''];
  const workers = isas.map((isa) => start('score-worker', [], { ...env, DYNAQUANT_ISA: isa }));
  try {
    const command = start('score', [...argsFor(output), '--remote', '--ahead', '50'], env);
    while (partsOf(output).length < 20) await sleep(5);
    await client.flushall();
    assert.equal(await command.ended, 0, command.said());
    assert.ok(read(output) === expected);
    assert.deepEqual(await client.keys('bull:score:[0-9a-f]*-[0-9]*'), []);
    for (const worker of workers) worker.process.kill('SIGTERM');
    assert.deepEqual(await Promise.all(workers.map(({ ended }) => ended)), [0, 0]);
  } finally {
    for (const worker of workers) worker.process.kill('SIGKILL');
    client.disconnect();
    await redis.stop();
  }
}

const chunk = (number: number): Chunk => ({
  number,
  start: 0,
  end: 0,
  firstLine: number + 1,
  lastLine: number + 1,
  rows: 1,
  digest: '',
});

/** Sends chunks of a line each to a worker that answers as told, and gives what came back. */
async function sendTo(answer: (task: Task) => Promise<string>, count: number): Promise<Map<number, string>> {
  const redis = await startRedis();
  const [sender, receiver] = [1, 2].map(() => new Redis(redis.url, { maxRetriesPerRequest: null }));
  const worker = startWorker(receiver!, () => undefined, answer);
  const answers = new Map<number, string>();
  try {
    const run = {
      run: 'test',
      chunks: Array.from({ length: count }, (_, i) => chunk(i)),
      ahead: 10,
      task: (each: Chunk) =>
        Promise.resolve({ model: 'm', fingerprint: 'f', lines: [[each.firstLine, '']] as const }),
      keep: (each: Chunk, text: string) => {
        assert.ok(!answers.has(each.number), 'an answer came twice');
        answers.set(each.number, text);
        return Promise.resolve();
      },
    };
    await scoreThroughQueue(sender!, run, new AbortController().signal);
    return answers;
  } finally {
    await worker.close(true);
    sender!.disconnect();
    receiver!.disconnect();
    await redis.stop();
  }
}

async function failTwice(): Promise<void> {
  const tries = new Map<number, number[]>();
  const answers = await sendTo(async ({ lines: [line] }) => {
    const times = tries.get(line![0]) ?? [];
    tries.set(line![0], [...times, performance.now()]);
    if (line![0] % 10 === 0 && times.length < 2) throw new Error('out of luck');
    return `answer ${line![0]}`;
  }, 30);
  assert.deepEqual(
    [...answers].sort(([a], [b]) => a - b),
    Array.from({ length: 30 }, (_, i) => [i, `answer ${i + 1}`]),
  );
  for (const [line, times] of tries) {
    assert.equal(times.length, line % 10 === 0 ? 3 : 1);
    if (times.length === 3) assert.ok(times[1]! - times[0]! > 400 && times[2]! - times[1]! > 800);
  }
}

const failAlways = (): Promise<void> =>
  assert.rejects(
    sendTo(({ lines: [line] }) => {
      return line![0] === 3 ? Promise.reject(new Error('no luck')) : Promise.resolve('an answer');
    }, 5),
    { message: 'lines 3 to 3 could not be scored: no luck (tried 5 times)' },
  );

test('chunks on their way', options, async (t) => {
  await Promise.all([
    t.test('200 of them, while workers are killed, are those of a single process', killWorkers),
    t.test('the same command goes on where everything was killed, or was stopped', killEverything),
    t.test('workers of any instruction set elsewhere, and a Redis that loses everything', workElsewhere),
    t.test('one that fails is tried again, later', failTwice),
    t.test('one that always fails ends the run with its reason', failAlways),
  ]);
});

test('an answer that cannot be kept ends the run, and is not in Redis any more', options, async () => {
  const redis = await startRedis();
  const [sender, receiver] = [1, 2].map(() => new Redis(redis.url, { maxRetriesPerRequest: null }));
  const worker = startWorker(
    receiver!,
    () => undefined,
    () => Promise.resolve('nonsense'),
  );
  try {
    const run = {
      run: 'kept',
      chunks: [chunk(0)],
      ahead: 1,
      task: () => Promise.resolve({ model: 'm', fingerprint: 'f', lines: [] }),
      keep: () => Promise.reject(new Error('the disk is full')),
    };
    const outcome = scoreThroughQueue(sender!, run, new AbortController().signal);
    await assert.rejects(outcome, { message: 'the disk is full' });
    assert.equal(await sender!.exists('bull:score:kept-0'), 0);
  } finally {
    await worker.close(true);
    sender!.disconnect();
    receiver!.disconnect();
    await redis.stop();
  }
});

test('a worker with another model refuses a chunk', async () => {
  const task = { model: 'char-lm', fingerprint: 'of another model', lines: [[1, '{"text": "a"}']] as const };
  await assert.rejects(
    taskScorer()(task),
    /^Error: the char-lm of this worker is another model than that of the run$/,
  );
});

test('a part that is not the chunk’s is refused', async () => {
  const parts = new Parts(join(folder, 'parts.out'), 'run', [{ ...chunk(0), rows: 2, lastLine: 3 }]);
  await parts.begin();
  const [whole] = [{ ...chunk(0), rows: 2, lastLine: 3 }];
  for (const lines of [[], [1], [1, 2], [3, 1], [1, 1, 3], [2, 3]])
    await assert.rejects(
      parts.write(whole, lines.map((line) => `{"line":${line},"x":1}\n`).join('')),
      /chunk 0 should have an answer for each of the 2 rows of lines 1 to 3/,
    );
  await assert.rejects(parts.write(whole, '{"line":1,"x":1}\n{"line":3,"x":1'), /should have an answer/);
  await assert.rejects(parts.merge(), /ENOENT/);
  await parts.write(whole, '{"line":1,"x":1}\n{"line":3,"x":1}\n');
  await parts.merge();
  assert.equal(read(join(folder, 'parts.out')), '{"line":1,"x":1}\n{"line":3,"x":1}\n');
});
