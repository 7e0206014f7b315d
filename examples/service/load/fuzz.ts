// Sends what no client should, for a while, and checks that every answer is a 4xx with a sentence or a closed
// connection, that right requests in between get right answers, and that the service lives on:
//   node build/load/fuzz.js [--seconds 60] [--seed 1]
import { connect } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import { startService } from './service.js';

const { values } = parseArgs({
  options: { seconds: { type: 'string', default: '60' }, seed: { type: 'string', default: '1' } },
});

let state = Number(values.seed) >>> 0;
/** From 0 to below `n`: splitmix32, so that a seed repeats a run. */
function below(n: number): number {
  state = (state + 0x9e3779b9) >>> 0;
  let z = Math.imul(state ^ (state >>> 16), 0x21f0aaad);
  z = Math.imul(z ^ (z >>> 15), 0x735a2d97);
  return ((z ^ (z >>> 15)) >>> 0) % n;
}
const pick = <T>(list: readonly T[]): T => list[below(list.length)]!;
const bytes = (n: number): Buffer => Buffer.from(Array.from({ length: n }, () => below(256)));

const infer = '/v2/models/lstm-256/infer';
const row = Array.from({ length: 256 }, (_, i) => i / 256);
const right = { id: 'a', inputs: [{ name: 'x', shape: [1, 256], datatype: 'FP32', data: row }] };

function post(path: string, body: string | Buffer, headers: readonly string[] = []): Buffer {
  const lines = [
    `POST ${path} HTTP/1.1`,
    'host: x',
    'connection: close',
    `content-length: ${Buffer.byteLength(body)}`,
  ];
  return Buffer.concat([Buffer.from([...lines, ...headers, '', ''].join('\r\n')), Buffer.from(body)]);
}

const strange: readonly unknown[] = [
  null,
  true,
  0,
  -1,
  0.5,
  1e308,
  2 ** 53,
  '',
  'x',
  '\u0000',
  '__proto__',
  'é'.repeat(300),
  [],
  [[]],
  {},
  [null],
  [1, 2],
  { __proto__: null, constructor: 1 },
  Array.from({ length: 300 }, () => []),
];

/** Some value within a JSON value is another one, or missing, or there is one more. */
function distorted(value: unknown): unknown {
  if (typeof value !== 'object' || value === null || below(4) === 0) return pick(strange);
  const copy: Record<string, unknown> = structuredClone(value) as Record<string, unknown>;
  const key = pick([...Object.keys(copy).slice(0, 8), 'parameters', 'outputs']);
  copy[key] = below(5) === 0 ? undefined : distorted(copy[key]);
  return copy;
}

function mutated(request: Buffer): Buffer {
  const copy = Buffer.from(request);
  for (let i = 1 + below(4); i > 0; i--) copy[below(copy.length)] = below(256);
  return below(3) === 0 ? copy.subarray(0, below(copy.length)) : copy;
}

/** A request in the binary form whose sizes do not fit, or whose numbers are any. */
function binary(): Buffer {
  const shape = pick([[1, 256], [2, 256], [0, 256], [-1, 256], [2 ** 31, 256], [1, 1, 1, 256], [256], []]);
  const size = pick([1024, 1023, 0, -4, 2 ** 40, '1024', 2048]);
  const input = {
    name: 'x',
    shape,
    datatype: pick(['FP32', 'FP64', 'BYTES']),
    parameters: { binary_data_size: size },
  };
  const json = JSON.stringify({ inputs: [input], parameters: { binary_data_output: pick([true, 1]) } });
  const length = pick([json.length, json.length - 1, 0, -1, 10 ** 9, 'x', `${json.length}, 3`]);
  const body = Buffer.concat([Buffer.from(json), bytes(pick([1024, 0, 1, 2048, 1025]))]);
  return post(infer, body, [`inference-header-content-length: ${length}`]);
}

const head = (...lines: string[]): Buffer => Buffer.from([...lines, '', ''].join('\r\n'));
const attacks: Readonly<Record<string, () => readonly (Buffer | number)[]>> = {
  'distorted JSON': () => [post(infer, JSON.stringify(distorted(right)))],
  'a distorted live stream': () => {
    const parameters = distorted({ sequence_id: 'a', sequence_start: true, sequence_end: true });
    return [post(infer, JSON.stringify({ ...right, parameters }))];
  },
  'mutated bytes': () => [mutated(post(infer, JSON.stringify(right)))],
  'deep JSON': () => [post(infer, pick(['[', '{"a":', '{"inputs":[{"data":[']).repeat(1 + below(50_000)))],
  'a wrong binary form': () => [binary()],
  garbage: () => [bytes(1 + below(4000))],
  'an oversized body': () => [post(infer, Buffer.alloc(300_000, 'a'))],
  'an oversized body in chunks': () => [
    head(`POST ${infer} HTTP/1.1`, 'host: x', 'transfer-encoding: chunked'),
    ...Array.from({ length: 5 }, () => Buffer.from(`10000\r\n${'a'.repeat(65536)}\r\n`)),
  ],
  'two lengths': () => [
    head(
      `POST ${infer} HTTP/1.1`,
      'host: x',
      'content-length: 5',
      pick(['content-length: 6', 'transfer-encoding: chunked']),
    ),
    Buffer.from('0\r\n\r\nGET / HTTP/1.1\r\n\r\n'),
  ],
  'headers without end': () => [
    head('GET / HTTP/1.1', ...Array.from({ length: below(3000) }, (_, i) => `x${i}: y`)),
  ],
  'another path': () => [
    head(
      `${pick(['GET', 'PUT', 'DELETE', 'PATCH', 'FOO'])} /${bytes(20).toString('latin1').replace(/\s/g, '')} HTTP/1.1`,
      'host: x',
      'connection: close',
    ),
  ],
  'a slow head': () => [
    Buffer.from('GET / HT'),
    300,
    Buffer.from('TP/1.1\r\n'),
    300,
    Buffer.from('a: b\r\n'),
    3000,
  ],
  'a slow body': () => [
    head(`POST ${infer} HTTP/1.1`, 'host: x', 'content-length: 99'),
    300,
    Buffer.from('{'),
    3000,
  ],
  'a body cut off': () => [post(infer, JSON.stringify(right)).subarray(0, 500)],
  'an upgrade of a plain request': () => [
    post(pick([infer, '/nowhere', '/v2/models/lstm-256/stream']), JSON.stringify(distorted(right)), [
      `upgrade: ${pick(['h2c', 'websocket', 'TLS/1.0', ''])}`,
      `connection: ${pick(['upgrade', 'upgrade, http2-settings'])}`,
    ]),
  ],
  'garbage in a WebSocket': () => [
    head(
      'GET /v2/models/lstm-256/stream?sequence_id=fuzz&start=true HTTP/1.1',
      'host: x',
      'connection: upgrade',
      'upgrade: websocket',
      'sec-websocket-version: 13',
      'sec-websocket-key: AAAAAAAAAAAAAAAAAAAAAA==',
    ),
    50,
    bytes(1 + below(2000)),
    300,
  ],
};

const rightRequests: Readonly<Record<string, Buffer>> = {
  'a right request': post(infer, JSON.stringify(right)),
  'a right request that offers HTTP/2': post(infer, JSON.stringify(right), [
    'upgrade: h2c',
    'connection: upgrade, http2-settings',
    'http2-settings: AAEAAEAAAAIAAAABAAMAAABkAAQBAAAAAAUAAEAA',
  ]),
};

/** Sends parts, with pauses where they are numbers. All that came back until the connection closed, or `hangs`. */
function exchange(port: number, parts: readonly (Buffer | number)[]): Promise<Buffer | 'hangs'> {
  return new Promise((resolve) => {
    const socket = connect({ port, host: '127.0.0.1', allowHalfOpen: true });
    const received: Buffer[] = [];
    const end = (answer: Buffer | 'hangs'): void => {
      clearTimeout(timer);
      socket.destroy();
      resolve(answer);
    };
    const timer = setTimeout(() => end('hangs'), 10_000);
    socket.on('data', (chunk) => received.push(chunk));
    socket.on('error', () => end(Buffer.concat(received)));
    socket.on('end', () => end(Buffer.concat(received)));
    void (async () => {
      for (const part of parts) {
        if (typeof part === 'number') await sleep(part);
        else if (!socket.destroyed) socket.write(part);
      }
      socket.end();
    })();
  });
}

/** Attacks that may be right by chance, or change nothing that counts. */
const mayBeRight = new Set([
  'distorted JSON',
  'a distorted live stream',
  'mutated bytes',
  'a wrong binary form',
  'another path',
  'an upgrade of a plain request',
]);

/** What is wrong with an answer to what no client should send; undefined if nothing is. */
function complaint(name: string, answer: Buffer | 'hangs'): string | undefined {
  if (answer === 'hangs') return 'the connection hangs';
  const text = answer.toString();
  if (text === '' || (mayBeRight.has(name) && text.startsWith('HTTP/1.1 200 '))) return undefined;
  if (name === 'garbage in a WebSocket' && text.startsWith('HTTP/1.1 101 ')) return undefined;
  const [, status, body] = /^HTTP\/1\.1 (4\d\d) [^]*?\r\n\r\n([^]*)/.exec(text) ?? [];
  if (status === undefined) return `no 4xx: ${text.slice(0, 300)}`;
  try {
    const { error } = JSON.parse(body!) as { error: unknown };
    return typeof error === 'string' && error.length > 5 ? undefined : `no sentence: ${body}`;
  } catch {
    return `no JSON: ${body!.slice(0, 300)}`;
  }
}

const service = await startService({
  MODELS: 'lstm-256',
  MAX_BODY_BYTES: '200000',
  REQUEST_TIMEOUT_MS: '1000',
  MAX_LOCAL_STREAMS: '100',
});
const expected = await exchange(service.port, [post(infer, JSON.stringify(right))]);
const bodyOf = (answer: Buffer | 'hangs'): string => String(answer).split('\r\n\r\n')[1] ?? '';
if (!bodyOf(expected).includes('"model_name":"lstm-256"')) throw new Error(`no answer: ${String(expected)}`);
const counts = new Map<string, number>();
const complaints = new Set<string>();
const end = performance.now() + 1000 * Number(values.seconds);
await Promise.all(
  Array.from({ length: 16 }, async () => {
    while (performance.now() < end && service.alive()) {
      const name = pick([...Object.keys(attacks), ...Object.keys(rightRequests)]);
      const isRight = name in rightRequests;
      const answer = await exchange(service.port, isRight ? [rightRequests[name]!] : attacks[name]!());
      counts.set(name, (counts.get(name) ?? 0) + 1);
      const wrong = isRight ? bodyOf(answer) !== bodyOf(expected) && String(answer) : complaint(name, answer);
      if (wrong) complaints.add(`${name}: ${wrong}`);
    }
  }),
);
if (!service.alive()) complaints.add('the service has died');
else if (bodyOf(await exchange(service.port, [post(infer, JSON.stringify(right))])) !== bodyOf(expected))
  complaints.add('afterwards a right request gets another answer');
console.table(Object.fromEntries(counts));
console.log(
  `memory ${(service.memory() / 2 ** 20).toFixed(0)} MiB; ${complaints.size} kinds of wrong answers`,
);
for (const text of complaints) console.log(text);
if (complaints.size > 0) process.exitCode = 1;
await service.stop();
