import { manualSeed, nn, quantization, Tensor } from 'dynaquant';
import type { FastifyInstance } from 'fastify';
import { once } from 'node:events';
import { connect, type AddressInfo } from 'node:net';
import type { TestContext } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { readConfig } from '../src/config.js';
import { LiveStreams, type LiveStreamsOptions } from '../src/live-streams.js';
import { Metrics } from '../src/metrics.js';
import { buildModel, type Model } from '../src/models.js';
import { buildServer, type Served, type ServerOptions } from '../src/server.js';
import { MemoryStore, type StateStore } from '../src/state-store.js';

/** Floats that look random, the same in every run. */
export function floats(count: number, seed: number): Float32Array {
  let state = seed;
  return Float32Array.from({ length: count }, () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return state / 2 ** 31 - 1;
  });
}

/** Little to send, much to compute. */
function slow(): Model {
  manualSeed(1);
  const layers = [new nn.LSTM(4, 1024), new nn.Linear(1024, 4)].map((layer) =>
    quantization.quantizeDynamic(
      layer,
      new Map([[layer.constructor as never, quantization.bestDynamicQConfig]]),
    ),
  );
  const input = { name: 'x', datatype: 'FP32', features: 4 } as const;
  return { name: 'slow', input, output: { ...input, name: 'output' }, layers, widestLayer: 1024 };
}

const built = new Map<string, Model>();
export function model(name: string): Model {
  const known = built.get(name) ?? (name === 'slow' ? slow() : buildModel(name));
  built.set(name, known);
  return known;
}

/** What a model answers to one sequence when it runs alone. */
export function alone(name: string, data: Float32Array | BigInt64Array): Float32Array {
  const { input, layers } = model(name);
  const streams = new nn.Streams(layers);
  const width = Math.max(1, input.features);
  const outputs: number[] = [];
  const id = streams.open();
  for (let t = 0; t < data.length; t += width) {
    const row = new Tensor(data.slice(t, t + width), input.features === 0 ? [1] : [1, width]);
    outputs.push(...(streams.step([id], row).data as Float32Array));
  }
  streams.dispose();
  return Float32Array.from(outputs);
}

export interface Started {
  readonly app: FastifyInstance;
  readonly port: number;
  readonly url: string;
}

/** The live streams of a model, as the service has them unless options say otherwise. */
export function liveStreams(
  model: Model,
  store: StateStore = new MemoryStore(),
  options: Partial<LiveStreamsOptions> = {},
): LiveStreams {
  const config = readConfig({});
  return new LiveStreams(model, store, { ...config, maxQueue: config.maxLiveSteps, ...options });
}

/** A server that listens, until the test has ended. */
export async function start(
  t: TestContext,
  options: Partial<ServerOptions & Served> = {},
  at = 0,
): Promise<Started> {
  const { models = [model('char-lm'), model('lstm-256')] } = options;
  const config = readConfig({ LOG_LEVEL: 'silent', MAX_RATE: '0' });
  const store = new MemoryStore();
  const streams = new Map(models.map((model) => [model.name, liveStreams(model, store)]));
  const all = { ...config, models, streams, isReady: () => true, metrics: new Metrics(), ...options };
  const app = await buildServer(all, all);
  t.after(() => app.close());
  await app.listen({ host: '127.0.0.1', port: at });
  const { port } = app.server.address() as AddressInfo;
  return { app, port, url: `http://127.0.0.1:${port}` };
}

/** Sends bytes to a port as they are. Resolves with everything that comes back until the socket closes. */
export async function sendRaw(
  port: number,
  ...parts: readonly (string | Buffer | number)[]
): Promise<string> {
  const socket = connect(port, '127.0.0.1');
  const received: Buffer[] = [];
  socket.on('data', (chunk) => received.push(chunk));
  socket.on('error', () => {}); // a reset is a closed socket too
  const closed = once(socket, 'close');
  for (const part of parts) {
    if (typeof part === 'number') await sleep(part);
    else socket.write(part);
  }
  await closed;
  return Buffer.concat(received).toString();
}

/** The value of a metric, named as in the text of /metrics. 0 if it is not there. */
export async function readMetric(url: string, name: string): Promise<number> {
  const lines = (await (await fetch(`${url}/metrics`)).text()).split('\n');
  return Number(lines.find((line) => line.startsWith(`${name} `))?.slice(name.length + 1) ?? 0);
}

/** Posts to infer, and reads the JSON of the answer. */
export async function infer(
  url: string,
  name: string,
  body: unknown,
): Promise<{ status: number; headers: Headers; json: Record<string, never> & { error?: string } }> {
  const response = await fetch(`${url}/v2/models/${name}/infer`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: typeof body === 'string' ? body : JSON.stringify(body),
  });
  return { status: response.status, headers: response.headers, json: (await response.json()) as never };
}

/** An infer request in the protocol's binary form. */
export function binaryRequest(
  json: object,
  ...tensors: ArrayBufferView[]
): { headers: Record<string, string>; body: Buffer } {
  const head = Buffer.from(JSON.stringify(json));
  const parts = tensors.map(
    ({ buffer, byteOffset, byteLength }) => new Uint8Array(buffer, byteOffset, byteLength),
  );
  return {
    headers: {
      'inference-header-content-length': String(head.length),
      'content-type': 'application/octet-stream',
    },
    body: Buffer.concat([head, ...parts]),
  };
}

/** The JSON and the bytes of an answer in the protocol's binary form. */
export async function binaryAnswer(
  response: Response,
): Promise<{ json: Record<string, unknown>; data: Float32Array }> {
  const body = Buffer.from(await response.arrayBuffer());
  const length = Number(response.headers.get('inference-header-content-length'));
  const bytes = new Uint8Array(body.subarray(length));
  return {
    json: JSON.parse(body.subarray(0, length).toString()) as Record<string, unknown>,
    data: new Float32Array(bytes.buffer),
  };
}

/** Waits until something holds, for ten seconds at most. */
export async function until(holds: () => boolean | Promise<boolean>): Promise<void> {
  const end = performance.now() + 10_000;
  while (!(await holds())) {
    if (performance.now() > end) throw new Error(`it never came to hold: ${String(holds)}`);
    await sleep(2);
  }
}
