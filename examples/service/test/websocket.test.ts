import assert from 'node:assert/strict';
import { once } from 'node:events';
import { connect } from 'node:net';
import { test, type TestContext } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { fastify, type FastifyInstance } from 'fastify';
import { Tensor } from 'dynaquant';
import { WebSocket } from 'ws';
import type { LiveStreams, LiveStreamsOptions } from '../src/live-streams.js';
import { MemoryStore, type StateStore, type Write } from '../src/state-store.js';
import { streamSockets, type SocketOptions } from '../src/websocket.js';
import { alone, floats, liveStreams, model, until } from './support.js';

interface Served {
  readonly app: FastifyInstance;
  readonly live: LiveStreams;
  readonly port: number;
}

async function serve(
  t: TestContext,
  store: StateStore = new MemoryStore(),
  options: Partial<LiveStreamsOptions & SocketOptions> = {},
): Promise<Served> {
  const app = fastify({ ajv: { customOptions: { removeAdditional: false } } });
  const live = liveStreams(model('lstm-256'), store, options);
  const streams = new Map([
    ['lstm-256', live],
    ['char-lm', liveStreams(model('char-lm'), store)],
  ]);
  await app.register(streamSockets, { ...options, streams });
  await app.listen({ host: '127.0.0.1', port: 0 });
  t.after(() => app.close());
  const { port } = app.server.address() as { port: number };
  return { app, live, port };
}

type Answer = { steps: number; shape?: number[]; data?: number[]; error?: string };

/** A client that keeps what comes until it is asked for. */
class Client {
  readonly socket: WebSocket;
  readonly closed: Promise<{ code: number; reason: string }>;
  private readonly came: (Buffer | Answer)[] = [];

  constructor(port: number, query: string, name = 'lstm-256') {
    this.socket = new WebSocket(`ws://127.0.0.1:${port}/v2/models/${name}/stream?${query}`);
    this.socket.on('message', (data: Buffer, isBinary) => {
      this.came.push(isBinary ? data : (JSON.parse(data.toString()) as Answer));
      this.socket.emit('kept');
    });
    this.closed = new Promise((resolve) =>
      this.socket.on('close', (code, reason) => {
        resolve({ code, reason: reason.toString() });
        this.socket.emit('kept');
      }),
    );
  }

  async next<T extends Buffer | Answer = Answer>(): Promise<T> {
    while (this.came.length === 0) {
      if (this.socket.readyState === WebSocket.CLOSED) throw new Error('closed without another message');
      await once(this.socket, 'kept');
    }
    return this.came.shift() as T;
  }

  send(message: object | string): void {
    const isText = typeof message === 'string' || ArrayBuffer.isView(message);
    this.socket.send(isText ? (message as string) : JSON.stringify(message));
  }
}

async function open(t: TestContext, port: number, query: string, name?: string): Promise<Client> {
  const client = new Client(port, query, name);
  t.after(() => client.socket.terminate());
  await once(client.socket, 'open');
  return client;
}

const data = floats(256 * 6, 1);
const row = (i: number, n = 1) => data.slice(256 * i, 256 * (i + n));
const expected = alone('lstm-256', data);
const output = (i: number, n = 1) => Array.from(expected.slice(256 * i, 256 * (i + n)));

test('messages are answered in order, in JSON', async (t) => {
  const { port } = await serve(t);
  const client = await open(t, port, 'sequence_id=a&start=true');
  assert.deepEqual(await client.next(), { steps: 0 });
  client.send({ data: Array.from(row(0)) });
  client.send({ data: [Array.from(row(1)), Array.from(row(2))] });
  client.send({ data: Array.from(row(3)), end: true });
  assert.deepEqual(await client.next(), { steps: 1, shape: [1, 256], data: output(0) });
  assert.deepEqual(await client.next(), { steps: 3, shape: [2, 256], data: output(1, 2) });
  assert.deepEqual(await client.next(), { steps: 4, shape: [1, 256], data: output(3) });
  assert.deepEqual(await client.closed, { code: 1000, reason: 'the sequence has ended' });
});

test('bytes are answered with bytes', async (t) => {
  const { port } = await serve(t);
  const client = await open(t, port, 'sequence_id=a&start=true&format=binary');
  await client.next();
  client.send(row(0, 2));
  const answer = await client.next<Buffer>();
  assert.equal(answer.readBigUInt64LE(0), 2n);
  assert.deepEqual(new Float32Array(new Uint8Array(answer.subarray(8)).buffer), expected.slice(0, 512));
  client.send({ end: true });
  assert.equal((await client.next<Buffer>()).length, 8);
  assert.equal((await client.closed).code, 1000);
});

test('a message may begin the stream anew', async (t) => {
  const { port } = await serve(t);
  const client = await open(t, port, 'sequence_id=a', 'char-lm').then(async (first) => {
    assert.equal((await first.closed).code, 4404); // it was never started
    return open(t, port, 'sequence_id=a&start=true', 'char-lm');
  });
  await client.next();
  client.send({ data: [1, 2, 3] });
  const first = await client.next();
  client.send({ data: [1, 2, 3] });
  assert.notDeepEqual((await client.next()).data, first.data);
  client.send({ start: true, data: [1, 2, 3] });
  assert.deepEqual(await client.next(), first);
});

test('who connects again, to another instance, goes on', async (t) => {
  const store = new MemoryStore();
  const [a, b] = [await serve(t, store), await serve(t, store)];
  const first = await open(t, a.port, 'sequence_id=s&start=true');
  await first.next();
  first.send({ data: Array.from(row(0)) });
  first.send({ data: Array.from(row(1, 2)) });
  assert.equal((await first.next()).steps, 1);
  assert.equal((await first.next()).steps, 3);
  first.socket.terminate();
  for (const [has, resent] of [[1, output(1, 2)] as const, [2, output(2)] as const]) {
    const again = await open(t, b.port, `sequence_id=s&last=${has}`);
    assert.deepEqual(await again.next(), { steps: 3 });
    assert.deepEqual(await again.next(), { steps: 3, shape: [3 - has, 256], data: resent });
    again.socket.close();
    await again.closed;
  }
  const last = await open(t, b.port, 'sequence_id=s&last=3');
  await last.next();
  last.send({ data: Array.from(row(3)), end: true });
  assert.deepEqual((await last.next()).data, output(3));
  const after = await open(t, a.port, 'sequence_id=s&last=3');
  assert.deepEqual(await after.next(), { steps: 4 });
  assert.deepEqual((await after.next()).data, output(3));
  assert.equal((await after.closed).code, 1000);
  for (const has of [0, 2, 5]) {
    const lost = await open(t, a.port, `sequence_id=s&last=${has}`);
    assert.match((await lost.next()).error!, new RegExp(`last should be from 3 to 4,.*got ${has}`));
    assert.equal((await lost.closed).code, 4409);
  }
});

test('of two connections to one stream, the second to step is told', async (t) => {
  const { port } = await serve(t);
  const first = await open(t, port, 'sequence_id=s&start=true');
  await first.next();
  first.send({ data: Array.from(row(0)) });
  await first.next();
  const second = await open(t, port, 'sequence_id=s');
  await second.next();
  second.send({ data: Array.from(row(1)) });
  assert.deepEqual((await second.next()).data, output(1));
  first.send({ data: Array.from(row(2)) });
  assert.match((await first.next()).error!, /should have taken 1 steps before these, but has taken 2/);
  assert.equal((await first.closed).code, 4409);
});

/** Takes its time for each write. */
class SlowStore extends MemoryStore {
  constructor(private readonly milliseconds: number) {
    super();
  }
  override async save(write: Write): Promise<boolean> {
    await sleep(this.milliseconds);
    return super.save(write);
  }
}

test('who connects again while a step is being saved may send it again', async (t) => {
  const store = new SlowStore(300);
  const [a, b] = [await serve(t, store), await serve(t, store)];
  for (const [id, { port }] of Object.entries({ same: a, other: b })) {
    const first = await open(t, a.port, `sequence_id=${id}&start=true`);
    await first.next();
    first.send({ data: Array.from(row(0)) });
    await first.next();
    first.send({ data: Array.from(row(1)) });
    await until(() => a.live.pending === 1);
    first.socket.terminate();
    const again = await open(t, port, `sequence_id=${id}&last=1`);
    assert.deepEqual(await again.next(), { steps: 1 });
    for (const i of [1, 2]) {
      again.send({ data: Array.from(row(i)) });
      assert.deepEqual(await again.next(), { steps: i + 1, shape: [1, 256], data: output(i) });
    }
  }
});

test('a stream whose record was damaged is not resumed', async (t) => {
  const store = new MemoryStore();
  const { live, port } = await serve(t, store);
  await live.step({ sequenceId: 's', start: true }, new Tensor(row(0), [1, 256]));
  const key = 'dynaquant:lstm-256:s';
  const record = (await store.load(key))!;
  await store.save({ key, before: record.version, record: { ...record, steps: NaN }, keepFor: 1000 });
  const client = await open(t, port, 'sequence_id=s');
  assert.match((await client.next()).error!, /damaged.*: its number of steps is none/);
  assert.equal((await client.closed).code, 4409);
});

test('a bad message closes its connection with a code and a sentence', async (t) => {
  const { port } = await serve(t, undefined, { maxSteps: 4, maxMessage: 50_000 });
  const zeros = (n: number) => new Array<number>(n).fill(0);
  const bad: [object | string, number, RegExp][] = [
    ['', 1007, /a message should be JSON/],
    ['\0\0\0', 1007, /a message should be JSON/],
    ['[1, 2]', 1007, /a message should be an object/],
    ['null', 1007, /a message should be an object/],
    [{ data: 'x' }, 1007, /data should be an array of numbers, got "x"/],
    [{ data: [...zeros(255), '1'] }, 1007, /data\[255\] should be a number, got "1"/],
    [{ data: [...zeros(255), null] }, 1007, /data\[255\] should be a number, got null/],
    [{ data: [...zeros(255), 1e300] }, 1007, /data\[255\] should be a finite float32/],
    [{ data: zeros(255) }, 1007, /data should be steps of 256 numbers each, got 255/],
    [{ data: zeros(256 * 5) }, 1007, /x should have 1 to 4 steps, got 5/],
    [{ data: [] }, 1007, /x should have 1 to 4 steps, got 0/],
    [{}, 1007, /x should have 1 to 4 steps, got 0/],
    [{ data: zeros(256), stop: true }, 1007, /data, start and end alone, got "stop"/],
    [{ data: zeros(256), ['ä'.repeat(500)]: true }, 1007, /data, start and end alone, got "ä/],
    [{ data: zeros(256), end: 'yes' }, 1007, /end should be true or false, got "yes"/],
    [Buffer.alloc(0), 1007, /a binary message should be steps of 1024 bytes each, got 0 bytes/],
    [Buffer.alloc(1023), 1007, /a binary message should be steps of 1024 bytes each, got 1023/],
    [Buffer.alloc(1024, 0xff), 1007, /data\[0\] should be a finite float32, got NaN/],
  ];
  const nested = [
    [[zeros(256), zeros(255)], /data\[1\] should have 256 elements .+, got 255/],
    [[zeros(256), 0], /data\[1\] should be an array, got 0/],
    [[0, ...zeros(254), [0]], /data\[255\] should be a number, got an array of 1/],
  ] as const;
  bad.push(...nested.map(([data, sentence]): (typeof bad)[0] => [{ data }, 1007, sentence]));
  for (const [message, code, sentence] of bad) {
    const client = await open(t, port, 'sequence_id=a&start=true');
    await client.next();
    client.send(message);
    assert.match((await client.next()).error!, sentence);
    const closed = await client.closed;
    assert.equal(closed.code, code);
    assert.ok(closed.reason.length > 20);
  }
  const client = await open(t, port, 'sequence_id=a&start=true');
  client.send(Buffer.alloc(60_000));
  assert.equal((await client.closed).code, 1009);
});

test('what is no WebSocket is closed, and hurts nobody else', async (t) => {
  const { port } = await serve(t);
  const client = await open(t, port, 'sequence_id=a&start=true');
  await client.next();
  const head = `GET /v2/models/lstm-256/stream?sequence_id=b&start=true HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: ${'A'.repeat(22)}==\r\n\r\n`;
  for (let i = 0; i < 20; i++) {
    const raw = connect(port, '127.0.0.1');
    raw.write(head);
    raw.write(Buffer.from(floats(100, i).buffer));
    raw.resume();
    raw.on('error', () => {});
    await Promise.race([once(raw, 'close'), sleep(5000).then(() => assert.fail('still open'))]);
  }
  client.send({ data: Array.from(row(0)) });
  assert.deepEqual((await client.next()).data, output(0));
});

test('what is wrong with the request is said before the connection opens', async (t) => {
  const { port } = await serve(t);
  const bad: [string, string, number][] = [
    ['lstm-256', '', 400],
    ['lstm-256', 'sequence_id=a&last=-1', 400],
    ['lstm-256', 'sequence_id=a&last=1&start=true', 400],
    ['lstm-256', 'sequence_id=a&start=maybe', 400],
    ['lstm-256', 'sequence_id=a&format=xml', 400],
    ['lstm-256', 'sequence_id=a&other=1', 400],
    ['none', 'sequence_id=a', 404],
  ];
  for (const [name, query, status] of bad) {
    const { socket } = new Client(port, query, name);
    const [error] = (await once(socket, 'error')) as [Error];
    assert.match(error.message, new RegExp(`Unexpected server response: ${status}`));
  }
  const plain = await fetch(`http://127.0.0.1:${port}/v2/models/lstm-256/stream?sequence_id=a`);
  assert.equal(plain.status, 426);
  const named = await open(t, port, 'sequence_id=a%20b&start=true');
  await named.next();
  named.send({ data: Array.from(row(0)) });
  assert.match((await named.next()).error!, /sequence_id should be/);
  assert.equal((await named.closed).code, 1007);
});

test('a client that does not read is not computed for', async (t) => {
  const { port, live } = await serve(t);
  const client = await open(t, port, 'sequence_id=a&start=true');
  await client.next();
  client.socket.pause();
  const message = JSON.stringify({ data: Array.from(floats(256 * 40, 1)) });
  for (let i = 0; i < 150; i++) client.send(message);
  let steps = -1;
  while (steps !== live.counts.steps) {
    steps = live.counts.steps;
    await sleep(300);
  }
  assert.ok(steps < 150 * 40, `${steps} steps`);
  assert.ok(client.socket.bufferedAmount > 0); // the server has stopped reading as well
  client.socket.resume();
  for (let i = 1; i <= 150; i++) assert.equal((await client.next()).steps, 40 * i);
});

test('a client that does not answer pings, or does not step for long, is closed', async (t) => {
  const dead = await serve(t, undefined, { pingInterval: 50 });
  const silent = await open(t, dead.port, 'sequence_id=a&start=true');
  silent.socket.pause();
  await sleep(300);
  silent.socket.resume();
  assert.equal((await silent.closed).code, 1006);
  const impatient = await serve(t, undefined, { pingInterval: 50, idleTimeout: 100 });
  const idle = await open(t, impatient.port, 'sequence_id=a&start=true');
  const answering = await idle.closed;
  assert.deepEqual(answering, { code: 4408, reason: 'no step for 0.1 s' });
});

test('a client that sends faster than it is answered is not taken for dead', async (t) => {
  const run = async (delay: number, count: number): Promise<void> => {
    const { port } = await serve(t, new SlowStore(delay), { pingInterval: 50 });
    const client = await open(t, port, 'sequence_id=a&start=true&format=binary');
    await client.next();
    for (let i = 0; i < count; i++) client.send(floats(256 * 256, i)); // more than the system buffers
    for (let i = 1; i <= count; i++)
      assert.equal((await client.next<Buffer>()).readBigUInt64LE(0), BigInt(256 * i));
  };
  await Promise.all([run(30, 40), run(150, 20)]); // a step takes less time than is between pings, or more
});

test('a closing server finishes the step that runs, and says where to go on', async (t) => {
  const store = new MemoryStore();
  const { app, port } = await serve(t, store, { patience: 300 });
  const client = await open(t, port, 'sequence_id=a&start=true');
  const deaf = await open(t, port, 'sequence_id=b&start=true');
  deaf.socket.pause();
  await client.next();
  for (let i = 0; i < 6; i++) client.send({ data: Array.from(row(i)) });
  const first = await client.next();
  const closing = app.close();
  const { code, reason } = await client.closed;
  assert.equal(code, 1012);
  const has = Number(/connect again with last=(\d)$/.exec(reason)![1]);
  let got = first;
  while (got.steps < has) got = await client.next();
  assert.equal((await store.load('dynaquant:lstm-256:a'))!.steps, has);
  await closing;
});
