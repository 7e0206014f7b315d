// What requests take of the memory, in sum.
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import { test, type TestContext } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { WebSocket } from 'ws';
import { MemoryStore, type Write } from '../src/state-store.js';
import {
  alone,
  binaryAnswer,
  binaryRequest,
  infer,
  liveStreams,
  model,
  readMetric,
  start,
  until,
} from './support.js';

const models = [model('char-lm')];
const width = models[0]!.output.features;
const path = '/v2/models/char-lm/infer';
const pending = 'service_pending_bytes';
const metadata = { name: 'tokens', datatype: 'INT64' };
const one = { inputs: [{ ...metadata, shape: [1], data: [1] }] };

/** So many sequences of tokens 1, whose answer comes as bytes. */
function many(sequences: number, steps: number): { headers: Record<string, string>; body: Buffer } {
  const data = new BigInt64Array(sequences * steps).fill(1n);
  const input = { ...metadata, shape: [sequences, steps], parameters: { binary_data_size: data.byteLength } };
  return binaryRequest({ inputs: [input], parameters: { binary_data_output: true } }, data);
}

/** A client that sends something and reads nothing. */
function deafClient(t: TestContext, port: number, headers: object, body: Buffer | string): Socket {
  const socket = connect(port, '127.0.0.1').on('error', () => {});
  t.after(() => socket.destroy());
  const lines = Object.entries({ host: 'x', ...headers }).map(([name, value]) => `${name}: ${value}\r\n`);
  socket.write(`POST ${path} HTTP/1.1\r\n${lines.join('')}\r\n`);
  socket.write(body);
  return socket;
}

test('bodies that are under way are bounded in sum, whatever their path', async (t) => {
  const { port, url } = await start(t, { models, maxBody: 100_000, maxPending: 250_000 });
  const known = deafClient(t, port, { 'content-length': 100_000 }, '{');
  const unknown = deafClient(t, port, { 'transfer-encoding': 'chunked' }, '1\r\n{\r\n');
  await until(async () => (await readMetric(url, pending)) === 200_000);
  for (const anyPath of [path, '/nowhere']) {
    const refused = await fetch(url + anyPath, { method: 'POST', body: 'x'.repeat(60_000) });
    assert.deepEqual([refused.status, refused.headers.get('retry-after')], [503, '1']);
    const { error } = (await refused.json()) as { error: string };
    const sentence =
      'all requests should take at most 250000 bytes of memory, but take 200000 already: retry later';
    assert.equal(error, sentence);
  }
  assert.equal((await infer(url, 'char-lm', one)).status, 200, 'there is room for a small one');
  known.destroy();
  unknown.destroy();
  await until(async () => (await readMetric(url, pending)) === 0);
});

test('answers that nobody reads are bounded in sum', async (t) => {
  const steps = 1000;
  const size = 64 * steps * width * 8;
  const computing = 64 * steps * (8 + 4 * 4 * 256);
  const { port, url } = await start(t, { models, maxPending: 2.5 * size + computing, maxBody: size });
  const { headers, body } = many(64, steps);
  const deaf: Socket[] = [];
  for (const computed of [1, 2]) {
    deaf.push(deafClient(t, port, { ...headers, 'content-length': body.length }, body).pause());
    await until(async () => (await readMetric(url, pending)) === computed * (size + body.length));
  }
  const again = await fetch(url + path, { method: 'POST', ...many(64, steps) });
  assert.equal(again.status, 503);
  deaf.forEach((socket) => socket.destroy());
  await until(async () => (await readMetric(url, pending)) === 0);
  const last = await binaryAnswer(await fetch(url + path, { method: 'POST', ...many(1, 3) }));
  assert.deepEqual(last.data, alone('char-lm', new BigInt64Array(3).fill(1n)));
});

test('an answer that is too long for JSON, or for the memory, is refused before it is computed', async (t) => {
  const { url } = await start(t, { models, maxJSONNumbers: 3 * width, maxPending: 100_000, maxBody: 50_000 });
  const json = (steps: number): object => ({
    inputs: [{ ...metadata, shape: [steps], data: new Array(steps).fill(1) }],
  });
  assert.equal((await infer(url, 'char-lm', json(3))).status, 200);
  const long = await infer(url, 'char-lm', json(4));
  assert.equal(long.status, 400);
  const sentence = `parameters.binary_data_output should be true for more than ${3 * width} numbers of output, got ${4 * width} in JSON`;
  assert.equal(long.json.error, sentence);
  assert.equal((await fetch(url + path, { method: 'POST', ...many(1, 4) })).status, 200);
  const huge = await fetch(url + path, { method: 'POST', ...many(4, 200) });
  assert.equal(huge.status, 400);
  const { error } = (await huge.json()) as { error: string };
  assert.match(
    error,
    /^a request with its answer should take at most 100000 bytes of memory, but takes \d+: send fewer/,
  );
  assert.equal(await readMetric(url, 'service_batch_rows_count{model="char-lm",kind="infer"}'), 2);
});

test('messages of WebSockets that wait are bounded in sum', async (t) => {
  let release = (): void => {};
  const released = new Promise<void>((resolve) => (release = resolve));
  class HeldStore extends MemoryStore {
    override async save(write: Write): Promise<boolean> {
      await released;
      return super.save(write);
    }
  }
  const streams = new Map([['char-lm', liveStreams(models[0]!, new HeldStore())]]);
  const { port, url } = await start(t, { models, streams, maxPending: 500_000, maxBody: 100_000 });
  const open = async (name: string): Promise<WebSocket> => {
    const query = `sequence_id=${name}&start=true`;
    const socket = new WebSocket(`ws://127.0.0.1:${port}/v2/models/char-lm/stream?${query}`);
    await once(socket, 'message');
    return socket;
  };
  const message = `{"data": [1]${' '.repeat(90_000)}}`;
  const [first, second] = [await open('a'), await open('b')];
  const answersOf = (socket: WebSocket): { steps?: number; error?: string }[] => {
    const answers: object[] = [];
    socket.on('message', (data: Buffer) => answers.push(JSON.parse(data.toString())));
    return answers;
  };
  const [answers, refused] = [answersOf(first), answersOf(second)];
  for (let i = 0; i < 4; i++) first.send(message);
  await until(async () => (await readMetric(url, pending)) > 4 * 90_000);
  const closed = once(second, 'close');
  for (let i = 0; i < 2; i++) second.send(message);
  await sleep(50);
  release();
  assert.equal((await closed)[0], 1013);
  assert.equal(refused[0]!.steps, 1, 'what had begun is answered');
  assert.match(
    refused[1]!.error!,
    /^all requests should take at most 500000 bytes of memory, but take \d+ already/,
  );
  await until(() => answers.length === 4);
  assert.equal(answers[3]!.steps, 4);
  await until(async () => (await readMetric(url, pending)) === 0);
});
