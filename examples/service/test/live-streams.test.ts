import assert from 'node:assert/strict';
import { test, type TestContext } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { Tensor } from 'dynaquant';
import type { LiveStreams, LiveStreamsOptions, StepAnswer } from '../src/live-streams.js';
import { Metrics } from '../src/metrics.js';
import { MemoryStore, RedisStore, type StateStore, type Write } from '../src/state-store.js';
import { startRedis, withoutRedis } from './redis.js';
import { alone, floats, liveStreams, model } from './support.js';

function open(
  t: TestContext,
  store: StateStore = new MemoryStore(),
  options: Partial<LiveStreamsOptions> = {},
  name = 'lstm-256',
): LiveStreams {
  const live = liveStreams(model(name), store, options);
  t.after(() => live.close());
  return live;
}

/** Rows of lstm-256. */
function rowsOf(data: Float32Array): Tensor {
  return new Tensor(data, [data.length / 256, 256]);
}
function bytes({ buffer, byteOffset, byteLength }: ArrayBufferView): Buffer {
  return Buffer.from(buffer, byteOffset, byteLength);
}
function join(answers: readonly StepAnswer[]): Buffer {
  return Buffer.concat(answers.map(({ output }) => bytes(output.data)));
}

/** Input for one stream, in requests of one to three steps. */
function requestsOf(seed: number, count: number): { all: Float32Array; parts: Tensor[] } {
  const lengths = Array.from({ length: count }, (_, i) => 1 + ((seed + i) % 3));
  const all = floats(256 * lengths.reduce((a, b) => a + b), seed);
  let at = 0;
  const parts = lengths.map((length) => rowsOf(all.slice(at, (at += 256 * length))));
  return { all, parts };
}

test('streams that share batches answer as each alone', async (t) => {
  const live = open(t);
  const run = async (i: number): Promise<void> => {
    const { all, parts } = requestsOf(i, 5);
    const answers: StepAnswer[] = [];
    for (const [k, rows] of parts.entries())
      answers.push(await live.step({ sequenceId: `s${i}`, start: k === 0 }, rows));
    assert.equal(answers.at(-1)!.steps, all.length / 256);
    assert.ok(join(answers).equals(bytes(alone('lstm-256', all))));
  };
  await Promise.all(Array.from({ length: 20 }, (_, i) => run(i)));
  assert.equal(live.pending, 0);
});

test('requests of one stream that are sent without waiting run in their order', async (t) => {
  const live = open(t);
  const { all, parts } = requestsOf(7, 8);
  const answers = await Promise.all(
    parts.map((rows, k) => live.step({ sequenceId: 'a', start: k === 0 }, rows)),
  );
  assert.ok(join(answers).equals(bytes(alone('lstm-256', all))));
});

test('a language model takes tokens', async (t) => {
  const live = open(t, undefined, undefined, 'char-lm');
  const tokens = BigInt64Array.from([1n, 5n, 9n]);
  const answer = await live.step({ sequenceId: 'a', start: true }, new Tensor(tokens, [3]));
  assert.ok(join([answer]).equals(bytes(alone('char-lm', tokens))));
  const wrong = live.step({ sequenceId: 'a' }, new Tensor(BigInt64Array.of(4096n), [1]));
  await assert.rejects(wrong, { statusCode: 400 });
});

test('any instance continues any stream, through Redis', { skip: withoutRedis }, async (t) => {
  const redis = await startRedis();
  const stores = [1, 2, 3].map(() => new RedisStore(redis.url));
  t.after(() => redis.stop());
  t.after(() => Promise.all(stores.map((store) => store.close())));
  const instances = stores.map((store) => open(t, store));
  await Promise.all(
    Array.from({ length: 10 }, async (_, i) => {
      const { all, parts } = requestsOf(i, 9);
      const answers: StepAnswer[] = [];
      for (const [k, rows] of parts.entries())
        answers.push(
          await instances[((k * k + i) >> 1) % 3]!.step({ sequenceId: `s${i}`, start: k === 0 }, rows),
        );
      assert.ok(join(answers).equals(bytes(alone('lstm-256', all))));
    }),
  );
});

test('a request that comes again is answered from the store, by any instance', async (t) => {
  const store = new MemoryStore();
  const [a, b] = [open(t, store), open(t, store)];
  const rows = rowsOf(floats(512, 1));
  const request = { sequenceId: 's', start: true, requestId: 'r1' };
  const first = await a!.step(request, rows);
  for (const live of [a!, b!]) {
    const again = await live.step(request, rows);
    assert.deepEqual(again, { ...first, replayed: true });
  }
  assert.equal(a!.counts.replays + b!.counts.replays, 2);
  await assert.rejects(b!.step(request, rowsOf(floats(512, 2))), {
    statusCode: 409,
    message: /^id should be/,
  });
  const next = await b!.step({ sequenceId: 's', requestId: 'r2' }, rows);
  assert.equal(next.steps, 4);
});

test('where all requests have one id, their positions tell them apart', async (t) => {
  const store = new MemoryStore();
  const [a, b] = [open(t, store), open(t, store)];
  const data = new Float32Array([1, 2, 3].flatMap(() => Array.from(floats(256, 3)))); // three equal steps
  const step = (live: LiveStreams, position: number, row = 0) =>
    live.step(
      { sequenceId: 's', requestId: 'x', start: position === 0, position },
      rowsOf(data.slice(256 * row, 256 * (row + 1))),
    );
  const answers = [await step(a!, 0), await step(a!, 1), await step(b!, 2)];
  assert.deepEqual(
    answers.map(({ steps, replayed }) => [steps, replayed]),
    [1, 2, 3].map((steps) => [steps, false]),
  );
  assert.ok(join(answers).equals(bytes(alone('lstm-256', data))));
  for (const live of [a!, b!]) assert.deepEqual(await step(live, 2), { ...answers[2], replayed: true });
  for (const position of [1, 4])
    await assert.rejects(step(a!, position), {
      statusCode: 409,
      message: new RegExp(`should have taken ${position} steps before these, but has taken 3`),
    });
  const others = a!.step({ sequenceId: 's', requestId: 'x', position: 2 }, rowsOf(floats(256, 4)));
  await assert.rejects(others, { statusCode: 409, message: /should have taken 2 steps/ });
});

test('what was done is in the metrics', async (t) => {
  const live = open(t, undefined, { maxLocal: 1 });
  const metrics = new Metrics();
  metrics.watchStreams('lstm-256', live);
  const rows = rowsOf(floats(512, 1));
  for (const sequenceId of ['a', 'b', 'b'])
    await live.step({ sequenceId, start: true, requestId: 'r' }, rows);
  const expected = { steps: 4, replays: 1, conflicts: 0, loads: 3, evictions: 1 };
  for (let reading = 0; reading < 2; reading++) {
    const text = await metrics.text();
    for (const [event, count] of Object.entries(expected))
      assert.ok(
        text.includes(`service_stream_events_total{model="lstm-256",event="${event}"} ${count}\n`),
        text,
      );
  }
});

test('a stream lives from start to end', async (t) => {
  const live = open(t);
  const rows = rowsOf(floats(256, 1));
  const step = (request: object) => live.step({ sequenceId: 's', ...request }, rows);
  const missing = { statusCode: 404, message: /sequence 's' should be live.*send sequence_start/ };
  await assert.rejects(step({}), missing);
  const first = await step({ start: true });
  const second = await step({});
  assert.notDeepEqual(second.output, first.output);
  assert.deepEqual(await step({ start: true }), first);
  assert.deepEqual(await step({ end: true, requestId: 'last' }), second);
  assert.equal(live.local, 0);
  await assert.rejects(step({}), missing);
  assert.deepEqual(await step({ end: true, requestId: 'last' }), { ...second, replayed: true });
  assert.deepEqual(await step({ start: true }), first);
  const none = new Tensor(new Float32Array(0), [0, 256]);
  assert.equal((await live.step({ sequenceId: 's', end: true }, none)).steps, 1);
  await assert.rejects(step({}), missing);
  assert.deepEqual(await step({ start: true, end: true }), first);
});

test('last returns the last answer, and whether it was the end', async (t) => {
  const live = open(t);
  await assert.rejects(live.last('s'), { statusCode: 404 });
  const first = await live.step({ sequenceId: 's', start: true }, rowsOf(floats(512, 1)));
  assert.deepEqual(await live.last('s'), { ...first, replayed: true, ended: false });
  const second = await live.step({ sequenceId: 's', end: true }, rowsOf(floats(256, 1)));
  assert.deepEqual(await live.last('s'), { ...second, replayed: true, ended: true });
});

test('of two instances that race from one position, one wins', async (t) => {
  const store = new MemoryStore();
  const [a, b] = [open(t, store), open(t, store)];
  const data = floats(256 * 9, 3);
  const row = (i: number) => rowsOf(data.slice(256 * i, 256 * (i + 1)));
  const answers = [await a!.step({ sequenceId: 's', start: true }, row(0))];
  for (let position = 1; position < 9; position++) {
    const race = await Promise.allSettled(
      [a!, b!].map((live) => live.step({ sequenceId: 's', position }, row(position))),
    );
    const won = race.filter((result) => result.status === 'fulfilled');
    const lost = race.filter((result) => result.status === 'rejected');
    assert.equal(won.length, 1);
    assert.match(String(lost[0]!.reason), /should have taken \d steps before these, but has taken \d/);
    answers.push(won[0]!.value);
  }
  assert.ok(a!.counts.conflicts + b!.counts.conflicts > 0);
  assert.ok(join(answers).equals(bytes(alone('lstm-256', data))));
});

test('a position is compared with the store when the state here is older', async (t) => {
  const store = new MemoryStore();
  const [a, b] = [open(t, store), open(t, store)];
  const data = floats(256 * 4, 3);
  const answers: StepAnswer[] = [];
  for (const [position, live] of [a!, b!, b!, a!].entries()) {
    const row = rowsOf(data.slice(256 * position, 256 * (position + 1)));
    answers.push(await live.step({ sequenceId: 's', start: position === 0, position }, row));
  }
  assert.ok(join(answers).equals(bytes(alone('lstm-256', data))));
  const wrong = a!.step({ sequenceId: 's', position: 3 }, rowsOf(floats(256, 1)));
  await assert.rejects(wrong, { statusCode: 409 });
});

test('of racing requests without a position, each is one step', async (t) => {
  const store = new MemoryStore();
  const instances = [open(t, store), open(t, store), open(t, store)];
  const rows = rowsOf(floats(256, 3));
  await instances[0]!.step({ sequenceId: 's', start: true }, rows);
  const answers = await Promise.all(
    Array.from({ length: 6 }, (_, i) => instances[i % 3]!.step({ sequenceId: 's' }, rows)),
  );
  const steps = answers.map((answer) => answer.steps).sort((x, y) => x - y);
  assert.deepEqual(steps, [2, 3, 4, 5, 6, 7]);
});

/** Fails some writes: before they happen, or after, so that nobody knows. */
class FlakyStore extends MemoryStore {
  failures = 0;
  constructor(private readonly plan: () => 'fine' | 'before' | 'after') {
    super();
  }
  override async save(write: Write): Promise<boolean> {
    const plan = this.plan();
    await sleep(Math.random() * 3);
    if (plan !== 'fine') this.failures++;
    if (plan === 'before') throw Object.assign(new Error('lost'), { statusCode: 503 });
    const saved = await super.save(write);
    if (plan === 'after') throw Object.assign(new Error('lost'), { statusCode: 503 });
    return saved;
  }
}

for (const when of ['before', 'after'] as const) {
  test(`a write that fails ${when} it happened is a 503, and no step is lost or doubled`, async (t) => {
    let plan: 'fine' | typeof when = 'fine';
    const live = open(t, new FlakyStore(() => plan));
    const data = floats(256 * 3, 4);
    const step = (i: number) =>
      live.step(
        { sequenceId: 's', start: i === 0, requestId: `r${i}` },
        rowsOf(data.slice(256 * i, 256 * (i + 1))),
      );
    const answers = [await step(0)];
    plan = when;
    await assert.rejects(step(1), { statusCode: 503 });
    assert.equal(live.local, 0);
    plan = 'fine';
    answers.push(await step(1), await step(2));
    assert.equal(answers[1]!.replayed, when === 'after');
    assert.ok(join(answers).equals(bytes(alone('lstm-256', data))));
  });
}

test('streams that move at random between instances over a store that fails at random answer as alone', async (t) => {
  let failing = 0;
  const store = new FlakyStore(
    () => (['before', 'after'] as const)[(failing = (failing + 7) % 20)] ?? 'fine',
  );
  const instances = [2, 5, 100].map((maxLocal) => open(t, store, { maxLocal }));
  const run = async (i: number): Promise<void> => {
    const { all, parts } = requestsOf(i, 12);
    const answers: StepAnswer[] = [];
    while (answers.length < parts.length) {
      const k = answers.length;
      const request = { sequenceId: `s${i}`, start: k === 0, requestId: `r${k}` };
      const live = instances[Math.floor(Math.random() * 3)]!;
      await live.step(request, parts[k]!).then(
        (answer) => answers.push(answer),
        (error: { statusCode: number }) => assert.equal(error.statusCode, 503),
      );
    }
    assert.ok(join(answers).equals(bytes(alone('lstm-256', all))));
  };
  await Promise.all(Array.from({ length: 16 }, (_, i) => run(i)));
  assert.ok(store.failures > 5);
  assert.ok(instances[0]!.local <= 2);
  assert.ok(instances[0]!.counts.evictions > 0);
});

test('a state that was tampered with, or is of another model, is an error of that stream only', async (t) => {
  const store = new MemoryStore();
  const live = open(t, store, { maxLocal: 0 });
  const rows = rowsOf(floats(256, 1));
  const ids = ['flipped', 'short', 'counted', 'other', 'fine'];
  const first = await Promise.all(ids.map((sequenceId) => live.step({ sequenceId, start: true }, rows)));
  const other = open(t, store, {}, 'lstm-512');
  await other.step({ sequenceId: 'x', start: true }, new Tensor(floats(512, 1), [1, 512]));
  const otherState = (await store.load('dynaquant:lstm-512:x'))!.state;
  for (const id of ids) {
    const key = `dynaquant:lstm-256:${id}`;
    const record = (await store.load(key))!;
    const state = Buffer.from(record.state);
    if (id === 'flipped') state[100]! ^= 1;
    const changes = {
      flipped: { state },
      short: { state: state.subarray(1) },
      counted: { steps: NaN },
      other: { state: otherState },
      fine: {},
    }[id];
    await store.save({ key, before: record.version, record: { ...record, ...changes }, keepFor: 1000 });
  }
  const next = await Promise.allSettled(ids.map((sequenceId) => live.step({ sequenceId }, rows)));
  for (const [i, result] of next.slice(0, 4).entries()) {
    assert.equal(result.status, 'rejected', ids[i]);
    assert.equal(result.reason.statusCode, 409);
    assert.match(result.reason.message, new RegExp(`sequence '${ids[i]}' cannot go on.*Send sequence_start`));
  }
  await assert.rejects(live.last('counted'), { statusCode: 409, message: /its number of steps is none/ });
  assert.equal(next[4]!.status, 'fulfilled');
  assert.deepEqual(await live.step({ sequenceId: 'flipped', start: true }, rows), first[0]);
});

test('a stream without steps is forgotten after a while', async (t) => {
  const live = open(t, undefined, { idleTimeout: 50 });
  const step = (sequenceId: string, start: boolean) =>
    live.step({ sequenceId, start }, rowsOf(floats(256, 1)));
  await step('a', true);
  await sleep(80);
  await assert.rejects(step('a', false), { statusCode: 404, message: /no step for 0.05 s/ });
  await step('b', true);
  await sleep(80);
  await step('c', true);
  assert.equal(live.local, 1);
});

test('more steps than the queue holds are refused', async (t) => {
  const live = open(t, undefined, { maxQueue: 5 });
  const steps = Array.from({ length: 8 }, (_, i) =>
    live.step({ sequenceId: `s${i}`, start: true }, rowsOf(floats(256, 1))),
  );
  const results = await Promise.allSettled(steps);
  const refused = results.filter((result) => result.status === 'rejected');
  assert.equal(refused.length, 3);
  for (const { reason } of refused) {
    assert.equal(reason.statusCode, 503);
    assert.equal(reason.retryAfter, 1);
    assert.match(reason.message, /fewer than 5 steps .* should wait, but 5 do/);
  }
  assert.equal(live.pending, 0);
});

test('who has gone leaves the queue, and the stream stays where it was', async (t) => {
  const live = open(t);
  const rows = rowsOf(floats(256, 1));
  await live.step({ sequenceId: 's', start: true }, rows);
  let gone = false;
  const steps = [1, 2].map(() => live.step({ sequenceId: 's', hasGone: () => gone }, rows));
  gone = true;
  for (const step of steps) await assert.rejects(step, { statusCode: 499 });
  assert.equal((await live.step({ sequenceId: 's' }, rows)).steps, 2);
});

test('what a request should not be is a 400 with a sentence, and fails nobody else', async (t) => {
  const live = open(t, undefined, { maxSteps: 4 });
  const rows = rowsOf(floats(256, 1));
  const bad: [object, Tensor, RegExp][] = [
    [{ sequenceId: '' }, rows, /^sequence_id should be 1 to 256 letters.*got ""/],
    [{ sequenceId: 'a b' }, rows, /^sequence_id should be.*got "a b"/],
    [{ sequenceId: 'x'.repeat(257) }, rows, /^sequence_id should be/],
    [{ sequenceId: 'a\n' }, rows, /^sequence_id should be/],
    [{ requestId: '' }, rows, /^id should have 1 to 256 characters, got 0/],
    [{ requestId: 'x'.repeat(257) }, rows, /^id should have 1 to 256 characters, got 257/],
    [{}, new Tensor(floats(255, 1), [1, 255]), /^x should be FP32 of shape \[steps, 256\].*\[1, 255\]/],
    [{}, new Tensor(floats(256, 1), [256]), /^x should be FP32/],
    [{}, new Tensor(new BigInt64Array(256), [1, 256]), /^x should be FP32.*got int64/],
    [{}, rowsOf(floats(256 * 5, 1)), /^x should have 1 to 4 steps, got 5/],
    [{}, rowsOf(new Float32Array(0)), /^x should have 1 to 4 steps, got 0/],
    [{}, rowsOf(new Float32Array(256).fill(NaN)), /./],
    [{}, rowsOf(new Float32Array(256).fill(Infinity)), /./],
  ];
  const failing = bad.map(([request, x, message]) =>
    assert.rejects(live.step({ sequenceId: 'bad', start: true, ...request }, x), {
      statusCode: 400,
      message,
    }),
  );
  const fine = Array.from({ length: 5 }, (_, i) => live.step({ sequenceId: `s${i}`, start: true }, rows));
  await Promise.all(failing);
  for (const answer of await Promise.all(fine))
    assert.ok(join([answer]).equals(bytes(alone('lstm-256', floats(256, 1)))));
  assert.equal(live.local, 5);
});

test('close finishes what runs, and refuses what comes', async () => {
  const store = new MemoryStore();
  const live = liveStreams(model('lstm-256'), store);
  const rows = rowsOf(floats(256, 1));
  const running = [live.step({ sequenceId: 's', start: true }, rows), live.step({ sequenceId: 's' }, rows)];
  const closed = live.close();
  await assert.rejects(live.step({ sequenceId: 's' }, rows), { statusCode: 503, message: /closes/ });
  assert.equal((await Promise.all(running))[1]!.steps, 2);
  await closed;
  assert.equal((await store.load('dynaquant:lstm-256:s'))!.steps, 2);
});
