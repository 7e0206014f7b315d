import assert from 'node:assert/strict';
import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import { test, type TestContext } from 'node:test';
import { WebSocket } from 'ws';
import { readConfig } from '../src/config.js';
import { withoutRedis } from './redis.js';
import { infer, until } from './support.js';

interface Run {
  readonly child: ChildProcess;
  readonly port: number;
  /** What it has logged, and anything else. */
  readonly output: () => string;
  readonly exit: Promise<unknown[]>;
}

/** Starts main.ts as a process, which is killed if it still runs as the test ends. */
async function run(t: TestContext, env: Record<string, string>): Promise<Run> {
  const main = new URL('../src/main.js', import.meta.url).pathname;
  const defaults = { PORT: '0', MODELS: 'char-lm', REDIS_URL: '' };
  const child = spawn(process.execPath, [main], { env: { ...process.env, ...defaults, ...env } });
  t.after(() => child.kill('SIGKILL'));
  let text = '';
  for (const stream of [child.stdout, child.stderr]) stream.on('data', (chunk) => (text += String(chunk)));
  const exit = once(child, 'exit');
  const address = /listening at http:\/\/127\.0\.0\.1:(\d+)/;
  await until(() => address.test(text) || child.exitCode !== null);
  return { child, port: Number(address.exec(text)?.[1]), output: () => text, exit };
}

const body = JSON.stringify({ inputs: [{ name: 'tokens', shape: [1], datatype: 'INT64', data: [1] }] });

/** A request whose last byte has not been sent. */
async function almostSent(port: number): Promise<{ socket: Socket; answer: () => string }> {
  const socket = connect(port, '127.0.0.1');
  let answer = '';
  socket.on('data', (chunk) => (answer += String(chunk)));
  socket.on('error', () => {});
  const head = `POST /v2/models/char-lm/infer HTTP/1.1\r\nhost: x\r\ncontent-length: ${body.length}\r\n\r\n`;
  socket.write(head + body.slice(0, -1));
  return { socket, answer: () => answer };
}

const requests = async (port: number): Promise<number> => {
  const text = await (await fetch(`http://127.0.0.1:${port}/metrics`)).text();
  return Number(/^service_running_requests (\d+)/m.exec(text)![1]);
};

test('SIGTERM: not ready, then finishes what runs, and ends with 0', async (t) => {
  const { child, port, exit, output } = await run(t, { DRAIN_DELAY_MS: '300' });
  const { socket, answer } = await almostSent(port);
  await until(async () => (await requests(port)) === 2); // and that for the metrics
  child.kill('SIGTERM');
  await until(async () => (await fetch(`http://127.0.0.1:${port}/v2/health/ready`)).status === 503);
  assert.equal((await fetch(`http://127.0.0.1:${port}/v2/health/live`)).status, 200);
  // Until the delay is over it serves those who have not seen that yet.
  const late = await fetch(`http://127.0.0.1:${port}/v2/models/char-lm/infer`, { method: 'POST', body });
  assert.equal(late.status, 200);
  await until(() =>
    fetch(`http://127.0.0.1:${port}/v2`).then(
      () => false,
      () => true,
    ),
  );
  assert.equal(child.exitCode, null);
  socket.write(body.slice(-1));
  assert.deepEqual(await exit, [0, null]);
  assert.match(answer(), /^HTTP\/1\.1 200 OK[^]*"model_name":"char-lm"/);
  assert.match(output(), /"msg":"ended"/);
});

test('a request that does not end is given up after the deadline', async (t) => {
  const { child, port, exit, output } = await run(t, { SHUTDOWN_TIMEOUT_MS: '300' });
  await almostSent(port);
  await until(async () => (await requests(port)) === 2);
  child.kill('SIGTERM');
  assert.deepEqual(await exit, [1, null]);
  assert.match(output(), /after 300 ms requests still run/);
});

test('an open WebSocket is told that this instance ends, and does not hold the end up', async (t) => {
  const { child, port, exit } = await run(t, {});
  const socket = new WebSocket(`ws://127.0.0.1:${port}/v2/models/char-lm/stream?sequence_id=a&start=true`);
  await once(socket, 'message');
  const begin = performance.now();
  child.kill('SIGTERM');
  const [code] = (await once(socket, 'close')) as [number];
  assert.equal(code, 1012);
  assert.deepEqual(await exit, [0, null]);
  assert.ok(performance.now() - begin < 3000);
});

test('a second signal ends it at once', async (t) => {
  const { child, exit, output } = await run(t, { DRAIN_DELAY_MS: '60000' });
  child.kill('SIGTERM');
  await until(() => output().includes('finishing what runs'));
  child.kill('SIGINT');
  assert.deepEqual(await exit, [1, null]);
});

test('a connection that says nothing does not hold the end up', async (t) => {
  const { child, port, exit } = await run(t, {});
  const socket = connect(port, '127.0.0.1');
  await once(socket, 'connect');
  child.kill('SIGTERM');
  const begin = performance.now();
  assert.deepEqual(await exit, [0, null]);
  assert.ok(performance.now() - begin < 3000);
});

test('open WebSockets are told to connect again, and do not hold the end up', async (t) => {
  const { child, port, exit } = await run(t, {});
  const open = async (id: string): Promise<WebSocket> => {
    const socket = new WebSocket(
      `ws://127.0.0.1:${port}/v2/models/char-lm/stream?sequence_id=${id}&start=true`,
    );
    t.after(() => socket.terminate());
    socket.on('error', () => {});
    await once(socket, 'message');
    return socket;
  };
  const [client, deaf] = [await open('a'), await open('b')];
  client.send('{"data": [1]}');
  await once(client, 'message');
  deaf.pause();
  const closed = once(client, 'close');
  const begin = performance.now();
  child.kill('SIGTERM');
  const [code, reason] = (await closed) as [number, Buffer];
  assert.equal(code, 1012);
  assert.equal(String(reason), 'this instance ends: connect again with last=1');
  assert.deepEqual(await exit, [0, null]);
  assert.ok(performance.now() - begin < 6000);
});

test('REDIS_URL=local brings a Redis along, and takes it down', { skip: withoutRedis }, async (t) => {
  const { child, port, exit, output } = await run(t, { REDIS_URL: 'local' });
  assert.equal((await fetch(`http://127.0.0.1:${port}/v2/health/ready`)).status, 200);
  const parameters = { sequence_id: 'a', sequence_start: true };
  const { status } = await infer(`http://127.0.0.1:${port}`, 'char-lm', { ...JSON.parse(body), parameters });
  assert.equal(status, 200);
  child.kill('SIGTERM');
  assert.deepEqual(await exit, [0, null]);
  assert.doesNotMatch(output(), /kept in memory/);
});

test('options that are wrong end the start with a sentence', async (t) => {
  const { exit, output } = await run(t, { PORT: '80 80' });
  assert.deepEqual(await exit, [1, null]);
  assert.equal(
    output(),
    "The service did not start: PORT should be an integer from 0 to 65535, got '80 80'\n",
  );
  const taken = await run(t, {});
  const second = await run(t, { PORT: String(taken.port) });
  assert.deepEqual(await second.exit, [1, null]);
  assert.match(second.output(), /The service did not start: listen EADDRINUSE/);
});

test('each option is checked', () => {
  for (const [name, value, sentence] of [
    ['PORT', '65536', /^PORT should be an integer from 0 to 65535, got '65536'$/],
    ['MAX_BATCH', '0', /^MAX_BATCH should be an integer from 1 to 4096, got '0'$/],
    ['MAX_DELAY_MS', '1.5', /^MAX_DELAY_MS should be an integer from 0 to 1000, got '1\.5'$/],
    ['MAX_QUEUE', '-1', /^MAX_QUEUE should be an integer/],
    ['MAX_ROWS', '2000', /^MAX_ROWS should be at most MAX_QUEUE, which is 512, got '2000'$/],
    ['MODELS', 'char-lm,gpt', /^MODELS should be some of char-lm,lstm-256,lstm-512, got 'char-lm,gpt'$/],
    ['LOG_LEVEL', 'loud', /^LOG_LEVEL should be one of info, trace, .+, got 'loud'$/],
    [
      'MAX_PENDING_BYTES',
      '5000',
      /^MAX_BODY_BYTES should be at most MAX_PENDING_BYTES, which is 5000, got '4194304'$/,
    ],
    ['MAX_JSON_NUMBERS', '0', /^MAX_JSON_NUMBERS should be an integer from 1 to /],
    ['TRUST_PROXY', 'true', /^TRUST_PROXY should be an integer from 0 to 100, got 'true'$/],
    ['REDIS_URL', 'http://user:secret@x', /^REDIS_URL should be redis:[^@]+ or local$/],
  ] as [string, string, RegExp][])
    assert.throws(() => readConfig({ [name]: value }), { name: 'RangeError', message: sentence });
  assert.equal(readConfig({ PORT: '' }).port, 8080);
  assert.equal(readConfig({ REDIS_URL: '/run/redis.sock' }).redisUrl, '/run/redis.sock');
  assert.deepEqual(readConfig({ MODELS: 'lstm-256, char-lm' }).models, ['lstm-256', 'char-lm']);
});
