// Requests with an Upgrade header, and connections that end in an unusual way.
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { connect } from 'node:net';
import { test } from 'node:test';
import { WebSocket } from 'ws';
import { floats, model, readMetric, sendRaw, start, until } from './support.js';

const tokens = { name: 'tokens', shape: [1], datatype: 'INT64', data: [1] };
const body = JSON.stringify({ inputs: [tokens] });
const upgrade = (protocol: string): string => `host: x\r\nconnection: upgrade\r\nupgrade: ${protocol}\r\n`;
const key = 'sec-websocket-version: 13\r\nsec-websocket-key: AAAAAAAAAAAAAAAAAAAAAA==\r\n';
const models = [model('char-lm')];

test('a request that offers to go on as HTTP/2 is answered as HTTP/1.1', async (t) => {
  const { port } = await start(t, { models });
  const head = `POST /v2/models/char-lm/infer HTTP/1.1\r\n${upgrade('h2c')}`;
  const posted = await sendRaw(port, `${head}content-length: ${body.length}\r\n\r\n${body}`);
  assert.match(posted, /^HTTP\/1\.1 200 [^]*connection: close[^]*"model_name":"char-lm"/i);
  const got = await sendRaw(port, `GET /v2/health/live HTTP/1.1\r\n${upgrade('h2c')}\r\n`);
  assert.match(got, /^HTTP\/1\.1 200 [^]*connection: close[^]*\{"live":true\}$/i);
});

test('a route without WebSockets answers who asks for one, and no such request runs on', async (t) => {
  const { app, port, url } = await start(t, { models });
  for (const [path, status] of [
    ['/v2', 200],
    ['/nowhere', 404],
    ['/v2/models/nobody/stream?sequence_id=a', 404],
  ] as const) {
    const answer = await sendRaw(port, `GET ${path} HTTP/1.1\r\n${upgrade('websocket')}${key}\r\n`);
    assert.ok(answer.startsWith(`HTTP/1.1 ${status} `), answer);
  }
  const silent = connect(port, '127.0.0.1').on('error', () => {});
  await once(silent, 'connect');
  await until(async () => (await readMetric(url, 'service_running_requests')) === 1); // the one for the metrics
  await app.close();
});

test('a request that waits behind another one ends with its connection', async (t) => {
  const { port, url } = await start(t, { models: [model('slow')] });
  const data = [...floats(4000, 1)];
  const long = JSON.stringify({ inputs: [{ name: 'x', shape: [1000, 4], datatype: 'FP32', data }] });
  const socket = connect(port, '127.0.0.1').on('error', () => {});
  socket.write(
    `POST /v2/models/slow/infer HTTP/1.1\r\nhost: x\r\ncontent-length: ${long.length}\r\n\r\n${long}`,
  );
  socket.write('GET /v2 HTTP/1.1\r\nhost: x\r\n\r\n');
  await until(async () => (await readMetric(url, 'service_running_requests')) === 3);
  socket.destroy();
  await until(async () => (await readMetric(url, 'service_running_requests')) === 1); // the one for the metrics
});

test('a WebSocket is 101 in the log, and has metrics of its own', async (t) => {
  const lines: string[] = [];
  const stream = { write: (line: string) => void lines.push(line) };
  const { port, url } = await start(t, { models, logger: { level: 'info', stream } });
  const path = '/v2/models/char-lm/stream?sequence_id=a&start=true';
  const socket = new WebSocket(`ws://127.0.0.1:${port}${path}`);
  await once(socket, 'message');
  assert.equal(await readMetric(url, 'service_websockets'), 1);
  socket.send('no JSON');
  const [code] = (await once(socket, 'close')) as [number];
  assert.equal(code, 1007);
  await until(() => lines.some((line) => line.includes('"msg":"request"')));
  const statuses = lines.map((line) => (JSON.parse(line) as { status?: number }).status);
  assert.ok(statuses.includes(101) && !statuses.includes(499), lines.join(''));
  assert.equal(await readMetric(url, 'service_websockets'), 0);
  assert.equal(await readMetric(url, 'service_websocket_closes_total{code="1007"}'), 1);
});
