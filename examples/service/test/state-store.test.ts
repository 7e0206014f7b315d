import assert from 'node:assert/strict';
import { setTimeout as sleep } from 'node:timers/promises';
import { after, before, test } from 'node:test';
import { Redis } from 'ioredis';
import { MemoryStore, RedisStore, type StateStore, type StreamRecord } from '../src/state-store.js';
import { startRedis, withoutRedis, type TestRedis } from './redis.js';

let redis: TestRedis;
before(async () => {
  if (withoutRedis === false) redis = await startRedis();
});
after(() => redis?.stop());

function record(version: string): StreamRecord {
  const bytes = Buffer.from([0, 255, 128, 10, 13]); // no valid UTF-8
  return { version, steps: 3, requestId: 'ä \n', digest: 'd', output: bytes, state: bytes };
}

const stores: [string, string | false, () => StateStore][] = [
  ['MemoryStore', false, () => new MemoryStore()],
  ['RedisStore', withoutRedis, () => new RedisStore(redis.url)],
];

for (const [name, skip, open] of stores) {
  test(`${name} returns what was saved`, { skip }, async (t) => {
    const store = open();
    t.after(() => store.close());
    assert.equal(await store.load('a'), undefined);
    assert.equal(await store.save({ key: 'a', before: '', record: record('1'), keepFor: 60_000 }), true);
    assert.deepEqual(await store.load('a'), record('1'));
    assert.equal(await store.ready(), true);
  });

  test(`${name} writes over the version that the writer knows only`, { skip }, async (t) => {
    const store = open();
    t.after(() => store.close());
    const save = (before: string, version: string) =>
      store.save({ key: 'b', before, record: record(version), keepFor: 60_000 });
    assert.equal(await save('1', '2'), false);
    assert.equal(await save('', '1'), true);
    assert.equal(await save('', '2'), false);
    const racers = await Promise.all(['2', '3', '4', '5'].map((version) => save('1', version)));
    assert.deepEqual(racers, [true, false, false, false]);
    assert.equal((await store.load('b'))?.version, '2');
  });

  test(`${name} forgets what nobody writes`, { skip }, async (t) => {
    const store = open();
    t.after(() => store.close());
    await store.save({ key: 'c', before: '', record: record('1'), keepFor: 30 });
    await sleep(60);
    assert.equal(await store.load('c'), undefined);
    assert.equal(await store.save({ key: 'c', before: '1', record: record('2'), keepFor: 30 }), false);
    assert.equal(await store.save({ key: 'c', before: '', record: record('2'), keepFor: 30 }), true);
  });
}

test('MemoryStore refuses more streams than its limit, and makes room for them when others have expired', async () => {
  const store = new MemoryStore(2);
  const save = (key: string, keepFor: number) =>
    store.save({ key, before: '', record: record('1'), keepFor });
  await save('a', 60_000);
  await save('b', 30);
  await assert.rejects(save('c', 30), { statusCode: 503, message: /at most 2 streams/ });
  assert.equal(await store.save({ key: 'a', before: '1', record: record('2'), keepFor: 60_000 }), true);
  await sleep(1100);
  assert.equal(await save('c', 30), true);
});

test('MemoryStore refuses more bytes than its limit, and counts those that went', async () => {
  const store = new MemoryStore(100, 35); // a record has 10
  const save = (key: string, before: string, keepFor = 60_000, bytes = 5) => {
    const output = Buffer.alloc(bytes);
    return store.save({ key, before, record: { ...record(`${before}+`), output }, keepFor });
  };
  const full = { statusCode: 503, message: /at most 35 bytes of streams, and has no room for \d+ more/ };
  for (const key of ['a', 'b', 'c']) await save(key, '', key === 'a' ? 60_000 : 30);
  await assert.rejects(save('d', ''), full);
  await assert.rejects(save('a', '+', 60_000, 11), full);
  assert.equal(await save('a', '+', 60_000, 10), true);
  assert.equal(await save('a', '++', 60_000, 5), true);
  await sleep(1100);
  for (const key of ['d', 'e']) assert.equal(await save(key, ''), true);
  await assert.rejects(save('f', ''), full);
});

test(
  'RedisStore says 409 where Redis has something else under the key',
  { skip: withoutRedis },
  async (t) => {
    const store = new RedisStore(redis.url);
    const other = new Redis(redis.url);
    t.after(() => (other.disconnect(), store.close()));
    await other.set('text', 'x');
    const sentence = { statusCode: 409, message: /a live stream under 'text', but has something else/ };
    await assert.rejects(store.load('text'), sentence);
    const save = store.save({ key: 'text', before: '', record: record('1'), keepFor: 1000 });
    await assert.rejects(save, sentence);
  },
);

test('RedisStore sends the calls of a turn together', { skip: withoutRedis }, async (t) => {
  const store = new RedisStore(redis.url);
  const watcher = new Redis(redis.url);
  t.after(() => (watcher.disconnect(), store.close()));
  await store.ready();
  const reads = async () => Number(/total_reads_processed:(\d+)/.exec(await watcher.info('stats'))![1]);
  const before = await reads();
  const keys = Array.from({ length: 64 }, (_, i) => `together:${i}`);
  const results = await Promise.all(
    keys.map((key) => store.save({ key, before: '', record: record('1'), keepFor: 1000 })),
  );
  assert.ok(results.every(Boolean));
  assert.ok((await reads()) - before <= 4, `${(await reads()) - before} reads`);
});

test(
  'RedisStore says 503 when Redis hangs or is gone, and goes on when it is back',
  { skip: withoutRedis },
  async (t) => {
    const own = await startRedis();
    const store = new RedisStore(own.url, { timeout: 200 });
    t.after(async () => {
      await store.close();
      await own.stop();
    });
    const save = () => store.save({ key: 'a', before: '', record: record('1'), keepFor: 1000 });
    const sentence = {
      statusCode: 503,
      message: 'the store of live streams should answer, but did not, or too late. Send the request again',
    };
    assert.equal(await store.load('a'), undefined);
    process.kill(own.pid, 'SIGSTOP');
    await assert.rejects(save(), sentence);
    assert.equal(await store.ready(), false);
    process.kill(own.pid, 'SIGCONT');
    assert.equal(await store.ready(), true);
    await own.stop();
    await assert.rejects(store.load('a'), sentence);
  },
);

test('RedisStore says 503 when Redis is full', { skip: withoutRedis }, async (t) => {
  const own = await startRedis('--maxmemory', '1kb', '--maxmemory-policy', 'noeviction');
  const store = new RedisStore(own.url);
  t.after(async () => {
    await store.close();
    await own.stop();
  });
  const save = store.save({ key: 'a', before: '', record: record('1'), keepFor: 1000 });
  await assert.rejects(save, { statusCode: 503, message: /OOM/ });
});
