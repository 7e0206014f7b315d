import assert from 'node:assert/strict';
import { once } from 'node:events';
import { connect } from 'node:net';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import {
  alone,
  binaryAnswer,
  binaryRequest,
  floats,
  infer,
  model,
  readMetric,
  sendRaw,
  start,
  until,
} from './support.js';

const request = (steps: number, seed = 1): object => ({
  inputs: [{ name: 'x', shape: [steps, 256], datatype: 'FP32', data: [...floats(steps * 256, seed)] }],
});

/** A request of one sequence for the model 'slow', in the protocol's binary form. */
function binary(steps: number, seed: number, id = ''): { headers: Record<string, string>; body: Buffer } {
  const parameters = { binary_data_size: steps * 4 * 4 };
  const input = { name: 'x', shape: [steps, 4], datatype: 'FP32', parameters };
  return binaryRequest(
    { id, inputs: [input], parameters: { binary_data_output: true } },
    floats(steps * 4, seed),
  );
}

test('more than the queue holds is 503 with Retry-After, and nobody gets the answer of another', async (t) => {
  const { url } = await start(t, { models: [model('slow')], maxQueue: 4, maxRows: 4, maxBatch: 2 });
  const requests = Array.from({ length: 40 }, (_, i) => binary(300, i + 1, `${i}`));
  requests.forEach(({ headers }, i) => (headers['x-request-id'] = `${i}`));
  let refused = 0;
  // Compared later, because the server, which shares this event loop, would have time meanwhile.
  const answers: [data: Float32Array, i: number][] = [];
  await Promise.all(
    requests.map(async (request, i) => {
      const response = await fetch(`${url}/v2/models/slow/infer`, { method: 'POST', ...request });
      assert.equal(response.headers.get('x-request-id'), `${i}`);
      if (response.status === 503) {
        refused++;
        assert.ok(Number(response.headers.get('retry-after')) >= 1);
        const { error } = (await response.json()) as { error: string };
        assert.match(error, /^the queue should hold at most 4 rows, but \d wait already: retry later$/);
      } else {
        const { json, data } = await binaryAnswer(response);
        assert.equal(json['id'], `${i}`);
        answers.push([data, i]);
      }
    }),
  );
  for (const [data, i] of answers) assert.deepEqual(data, alone('slow', floats(300 * 4, i + 1)));
  assert.ok(refused > 0 && refused < 40, `${refused} refused`);
  const route = 'method="POST",route="/v2/models/:model/infer",status="503"';
  assert.equal(await readMetric(url, `service_request_seconds_count{${route}}`), refused);
  assert.equal(await readMetric(url, 'service_refused_total{status="503"}'), refused);
});

test('a full queue refuses infer requests to its model alone, and counts no others', async (t) => {
  const gone = new AbortController();
  const options = { models: [model('slow'), model('char-lm')], maxQueue: 1, maxRows: 1, maxBatch: 1 };
  const { url } = await start(t, { ...options, isReady: () => false });
  const long = binary(1000, 1);
  const post = (path: string, more: object): Promise<number> =>
    fetch(url + path, { method: 'POST', ...more }).then(({ status }) => status);
  const all = Array.from({ length: 20 }, () =>
    post('/v2/models/slow/infer', { ...long, signal: gone.signal }).catch(() => 0),
  );
  await until(async () => (await post('/v2/models/slow/infer', long)) === 503);
  const refused = await readMetric(url, 'service_refused_total{status="503"}');
  assert.equal((await fetch(`${url}/v2/models/slow/infer`)).status, 404);
  assert.equal(await post('/v2/models/slow/versions/9/infer', long), 404);
  assert.equal(await post('/v2/models/char-lm/infer', { body: '{}' }), 400);
  assert.equal((await fetch(`${url}/v2/health/ready`)).status, 503);
  assert.equal((await fetch(`${url}/v2/models/slow/ready`)).status, 503);
  assert.equal(await readMetric(url, 'service_refused_total{status="503"}'), refused);
  assert.equal(await post('/v2/models/slow/versions/1/infer', long), 503);
  gone.abort();
  await Promise.all(all);
});

test('a request that comes while the server closes is 503 with a sentence', async (t) => {
  const { app, port } = await start(t);
  const body = JSON.stringify(request(1));
  const head = `POST /v2/models/lstm-256/infer HTTP/1.1\r\nhost: x\r\ncontent-length: ${body.length}\r\n`;
  const begun = sendRaw(port, `${head}\r\n`, 200, body); // it holds the server open
  const late = sendRaw(port, head, 100, `\r\n${body}`);
  await sleep(50);
  const closed = app.close();
  const answer = await late;
  assert.match(
    answer,
    /^HTTP\/1\.1 503 [^]*\{"error":"this instance closes: send the request to another one"\}$/,
  );
  assert.match(answer, /\r\nretry-after: 1\r\n/);
  assert.match(await begun, /^HTTP\/1\.1 200 /);
  await closed;
});

test('a client that goes leaves the queue', async (t) => {
  const { url } = await start(t, { models: [model('slow')], maxBatch: 1 });
  const long = binary(1000, 1);
  const gone = new AbortController();
  const post = (signal?: AbortSignal): Promise<Response> =>
    fetch(`${url}/v2/models/slow/infer`, { method: 'POST', ...long, ...(signal && { signal }) });
  const metric = async (line: RegExp): Promise<string | undefined> =>
    line.exec(await (await fetch(`${url}/metrics`)).text())?.[1];
  const depth = /^service_queue_rows\{model="slow",kind="infer"\} (\d+)/m;

  const others = Promise.allSettled(Array.from({ length: 20 }, () => post(gone.signal)));
  await until(async () => Number(await metric(depth)) >= 3);
  gone.abort();
  await others;
  await until(async () => (await metric(depth)) === '0');
  assert.equal((await post()).status, 200);
  const left = await metric(/^service_request_seconds_count\{.*status="499"\} (\d+)/m);
  assert.ok(Number(left) >= 3, `${left} left`);
  const computed = Number(await metric(/^service_batch_rows_count\{model="slow",kind="infer"\} (\d+)/m));
  assert.ok(computed < 20, `${computed} batches`);
});

test('limits: the size of a body, its encoding, the length of a URL', async (t) => {
  const { url } = await start(t, { maxBody: 5000 });
  const large = await infer(url, 'lstm-256', request(1));
  assert.deepEqual([large.status, large.json], [413, { error: 'the body should have at most 5000 bytes' }]);
  const zipped = await fetch(`${url}/v2/models/lstm-256/infer`, {
    method: 'POST',
    headers: { 'content-encoding': 'gzip' },
    body: 'x',
  });
  assert.equal(zipped.status, 415);
  assert.deepEqual(await zipped.json(), { error: 'Content-Encoding should be identity, got "gzip"' });
  const long = await fetch(`${url}/v2/models/${'m'.repeat(1000)}`);
  assert.ok([404, 414].includes(long.status));
});

test('what is not there is 404 with a sentence', async (t) => {
  const { url } = await start(t);
  for (const [path, sentence] of [
    ['/v2/models/lstm', 'the model should be one of char-lm, lstm-256, got "lstm"'],
    ['/v2/models/lstm-256/versions/2', 'the version of \'lstm-256\' should be 1, got "2"'],
    ['/v3', 'there is no GET "/v3"'],
    ['/v2/models/lstm-256/infer', 'there is no GET "/v2/models/lstm-256/infer"'],
  ]) {
    const response = await fetch(url + path!);
    assert.equal(response.status, 404);
    assert.deepEqual(await response.json(), { error: sentence });
  }
  const { status, json } = await infer(url, 'nobody', 'no JSON either');
  assert.deepEqual([status, Object.keys(json)], [404, ['error']]);
  const broken = await fetch(`${url}/v2/models/%ff`);
  assert.equal(broken.status, 400);
  assert.match(((await broken.json()) as { error: string }).error, /./);
});

test('a client that sends too often gets 429, health does not', async (t) => {
  const { url } = await start(t, { maxRate: 5 });
  const statuses = new Set<number>();
  for (let i = 0; i < 12; i++) {
    const response = await fetch(`${url}/v2`);
    statuses.add(response.status);
    const body = (await response.json()) as { error?: string };
    if (response.status !== 429) continue;
    assert.ok(Number(response.headers.get('retry-after')) >= 1);
    assert.equal(body.error, 'a client should send at most 5 requests a second: retry later');
  }
  assert.deepEqual([...statuses].sort(), [200, 429]);
  assert.equal((await fetch(`${url}/nowhere`)).status, 429);
  assert.equal((await fetch(`${url}/v2/health/live`)).status, 200);
  await sleep(1100);
  assert.equal((await fetch(`${url}/v2`)).status, 200);
});

test('behind a proxy an address is the one that the proxy wrote, not one that the client did', async (t) => {
  const { url } = await start(t, { maxRate: 2, trustProxy: 1 });
  const get = async (addresses: string): Promise<number> =>
    (await fetch(`${url}/v2`, { headers: { 'x-forwarded-for': addresses } })).status;
  const spoofed: number[] = [];
  for (const i of [1, 2, 3, 4]) spoofed.push(await get(`10.0.0.${i}, 192.0.2.7`));
  assert.ok(spoofed.includes(429), `${spoofed.join()}`);
  assert.equal(await get('192.0.2.8'), 200);
});

test('a socket that sends garbage gets a 4xx and is closed', async (t) => {
  const { port, url } = await start(t);
  for (const bytes of [Buffer.from([0, 255, 1, 254, 13, 10]), Buffer.alloc(3000, 0x16), 'GET\r\n\r\n']) {
    const answer = await sendRaw(port, bytes);
    assert.match(
      answer,
      /^HTTP\/1\.1 400 Bad Request\r\n[^]*\r\n\r\n\{"error":"the request should be HTTP\/1\.1: /,
    );
  }
  const headers = await sendRaw(port, `GET / HTTP/1.1\r\nx: ${'y'.repeat(20_000)}\r\n\r\n`);
  assert.match(headers, /^HTTP\/1\.1 431 [^]*\{"error":"the headers should have at most 16 kB"\}$/);
  const hostless = await sendRaw(port, 'GET /v2 HTTP/1.1\r\nconnection: close\r\n\r\n');
  assert.match(
    hostless,
    /^HTTP\/1\.1 400 [^]*\{"error":"the request should have a Host header, got none"\}$/,
  );
  assert.equal((await fetch(`${url}/v2/health/live`)).status, 200);
});

test('a client that sends slowly is cut off', async (t) => {
  const { port, url } = await start(t, { requestTimeout: 200 });
  const begin = performance.now();
  const answers = await Promise.all([
    sendRaw(port, 'GET / HTTP/1.1\r\nHost: x\r\n'),
    sendRaw(
      port,
      'POST /v2/models/lstm-256/infer HTTP/1.1\r\nHost: x\r\nContent-Length: 99\r\n\r\n{',
      50,
      '"',
    ),
    sendRaw(port), // says nothing at all
  ]);
  assert.ok(performance.now() - begin < 2000);
  for (const answer of answers.slice(0, 2))
    assert.match(answer, /^HTTP\/1\.1 408 [^]*\{"error":"the request took too long to arrive"\}$/);
  assert.equal((await fetch(`${url}/v2/health/live`)).status, 200);
});

test('more connections than allowed are closed', async (t) => {
  const { port } = await start(t, { maxConnections: 2 });
  const sockets = Array.from({ length: 4 }, () => connect(port, '127.0.0.1'));
  t.after(() => sockets.forEach((socket) => socket.destroy()));
  const closed = await Promise.all(
    sockets.map((socket) => {
      socket.on('error', () => {});
      return Promise.race([once(socket, 'close').then(() => true), sleep(300, false)]);
    }),
  );
  assert.equal(closed.filter(Boolean).length, 2);
});

test('metrics count requests and batches', async (t) => {
  const { url } = await start(t);
  await infer(url, 'lstm-256', request(2));
  await infer(url, 'lstm-256', {});
  const text = await (await fetch(`${url}/metrics`)).text();
  const value = (line: string): string | undefined =>
    text
      .split('\n')
      .find((other) => other.startsWith(line))
      ?.slice(line.length + 1);
  const route = '{method="POST",route="/v2/models/:model/infer",status="200"}';
  assert.equal(value(`service_request_seconds_count${route}`), '1');
  assert.equal(value(`service_request_seconds_count${route.replace('200', '400')}`), '1');
  assert.equal(value('service_batch_rows_count{model="lstm-256",kind="infer"}'), '1');
  assert.equal(value('service_queue_seconds_count{model="lstm-256",kind="infer"}'), '1');
  assert.equal(value('service_queue_rows{model="lstm-256",kind="infer"}'), '0');
});

test('a request has one id: in its answer and in its line of the log', async (t) => {
  const lines: string[] = [];
  const stream = { write: (line: string) => void lines.push(line) };
  const { url } = await start(t, { logger: { level: 'info', stream } });
  const named = await fetch(`${url}/v2`, { headers: { 'x-request-id': 'from-the-client' } });
  const unsafe = await fetch(`${url}/v2`, { headers: { 'x-request-id': 'a b"c' } });
  await fetch(`${url}/v2/health/live`);
  assert.equal(named.headers.get('x-request-id'), 'from-the-client');
  assert.match(unsafe.headers.get('x-request-id')!, /^[0-9a-f-]{36}$/);
  await sleep(20);
  const logged = lines.map((line) => JSON.parse(line) as Record<string, unknown>);
  const requests = logged.filter(({ msg }) => msg === 'request');
  assert.deepEqual(
    requests.map(({ reqId, method, url, status }) => [reqId, method, url, status]),
    ['from-the-client', unsafe.headers.get('x-request-id')].map((id) => [id, 'GET', '/v2', 200]),
  );
});
