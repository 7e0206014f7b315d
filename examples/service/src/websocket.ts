// Live streams over a WebSocket: GET /v2/models/{model}/stream?sequence_id=…
//
// The client sends steps, and gets an answer to each message, in order. Text is JSON, {"data": [1, 2], "start": true,
// "end": true}, where all but one may be missing; bytes are the numbers of some steps as the protocol's binary form has
// them. Answers are {"steps": 2, "shape": [2, 256], "data": […]}, or with format=binary a uint64 and float32s, all
// little-endian. `steps` counts the steps that the stream has taken. The first message of the server has it alone, and
// {"error": "…"} comes before the connection is closed because of an error.
//
// Who connects again, to any instance, says with last=… how many steps it has the outputs of, and sends again what was
// not answered. It is not taken twice.
import websocket, { type WebSocket } from '@fastify/websocket';
import type { Tensor } from 'dynaquant';
import type { FastifyInstance, FastifyRequest } from 'fastify';
import { on } from 'node:events';
import { setTimeout as sleep } from 'node:timers/promises';
import { describe, RequestError } from './errors.js';
import type { LiveStreams, StepAnswer } from './live-streams.js';
import { memoryOf, MemoryBudget } from './memory.js';
import type { Model } from './models.js';
import { checkValues, fromJSON, tensorOf, type Numbers } from './v2-tensors.js';

export interface SocketOptions {
  /** By the name of the model. */
  readonly streams: ReadonlyMap<string, LiveStreams>;
  /** Bytes of a message. */
  readonly maxMessage?: number;
  readonly memory?: MemoryBudget;
  /** Milliseconds between two pings. Who has not answered one when the next is due has gone. */
  readonly pingInterval?: number;
  readonly onOpen?: (socket: WebSocket, request: FastifyRequest) => void;
  /** Milliseconds for a client to take its last answer, and to answer the close frame. */
  readonly patience?: number;
}

interface Query {
  readonly sequence_id: string;
  readonly start?: 'true' | 'false';
  readonly last?: string;
  readonly format?: 'json' | 'binary';
}
const querySchema = {
  type: 'object',
  required: ['sequence_id'],
  additionalProperties: false,
  properties: {
    sequence_id: { type: 'string' },
    start: { enum: ['true', 'false'] },
    last: { type: 'string', pattern: '^\\d{1,15}$' },
    format: { enum: ['json', 'binary'] },
  },
};

/** Close codes, by the HTTP status that says the same. 4000 and above are for applications to choose. */
const closeCodes: Readonly<Record<number, number>> = { 400: 1007, 404: 4404, 409: 4409, 503: 1013 };
const restarts = 1012;
const idle = 4408;

/** A Fastify plugin: `await app.register(streamSockets, { streams })`. */
export async function streamSockets(
  app: FastifyInstance,
  {
    streams,
    maxMessage = 2 ** 18,
    memory = new MemoryBudget(Infinity),
    pingInterval = 30_000,
    patience = 3000,
    onOpen,
  }: SocketOptions,
): Promise<void> {
  const connections = new Map<Connection, Promise<void>>();
  const pings = setInterval(() => {
    for (const connection of connections.keys()) connection.ping();
  }, pingInterval);
  await app.register(websocket, {
    options: { maxPayload: maxMessage },
    errorHandler: (error, _socket, request) => {
      // A message that is too long, or breaks the WebSocket protocol: ws closes with the code for that by itself.
      request.log.info({ error: error.message }, 'websocket');
    },
    async preClose() {
      clearInterval(pings);
      for (const connection of connections.keys()) connection.stop();
      await Promise.allSettled(connections.values());
    },
  });
  app.route<{ Params: { model: string }; Querystring: Query }>({
    method: 'GET',
    url: '/v2/models/:model/stream',
    schema: { querystring: querySchema },
    async preHandler({ params: { model }, query }) {
      if (!streams.has(model))
        throw new RequestError(
          404,
          `model should be one of ${[...streams.keys()].join(', ')}, got ${describe(model)}`,
        );
      if (query.start === 'true' && query.last !== undefined)
        throw new RequestError(400, `last should not be there with start=true, got ${query.last}`);
    },
    handler: () => {
      throw new RequestError(426, 'the request should open a WebSocket, but has no "Upgrade: websocket"');
    },
    wsHandler: async (socket, request) => {
      onOpen?.(socket, request as FastifyRequest);
      const { model } = request.params;
      const { query } = request;
      const connection = new Connection(socket, streams.get(model)!, query, memory, patience);
      const served = connection.serve();
      connections.set(connection, served);
      await served.finally(() => connections.delete(connection));
    },
  });
}

class Connection {
  private readonly gone = new AbortController();
  private readonly stopping = new AbortController();
  /** How many steps the stream has taken, as far as this connection knows. */
  private steps = 0;
  private isAlive = true;
  private lastMessage = performance.now();
  /** Give back the memory of the messages that wait. */
  private readonly taken: (() => void)[] = [];

  constructor(
    private readonly socket: WebSocket,
    private readonly live: LiveStreams,
    private readonly query: Query,
    private readonly memory: MemoryBudget,
    private readonly patience: number,
  ) {
    socket.on('message', this.takeMemory);
    for (const sign of ['pong', 'message']) socket.on(sign, () => (this.isAlive = true));
    socket.on('close', () => this.gone.abort());
  }

  /** Until the connection is closed. Never throws. */
  async serve(): Promise<void> {
    try {
      await this.answerAll().finally(() => this.giveBackMemory());
    } catch (error) {
      const { cause = error } = error as Error; // the iterator's AbortError has the reason as its cause
      await this.fail(cause as Error);
    }
    this.socket.resume(); // for the client's close frame
    await sleep(this.patience, undefined, { signal: this.gone.signal }).catch(() => {});
    this.socket.terminate();
  }

  ping(): void {
    const { idleTimeout } = this.live.options;
    // Nothing is read while messages wait to be computed, not even a pong.
    if (this.socket.isPaused && this.socket.bufferedAmount === 0) this.isAlive = true;
    if (!this.isAlive) return this.socket.terminate();
    if (performance.now() - this.lastMessage > idleTimeout)
      return this.socket.close(idle, `no step for ${idleTimeout / 1000} s`);
    this.isAlive = false;
    this.socket.ping();
  }

  /** Finishes the step that runs, and closes. */
  stop(): void {
    this.stopping.abort();
    setTimeout(() => this.socket.terminate(), this.patience).unref(); // it may be sending to a client that does not read
  }

  /** For a message that has come. */
  private readonly takeMemory = (message: Buffer): void => {
    try {
      this.taken.push(this.memory.take(message.length));
    } catch (error) {
      this.stopping.abort(error);
    }
  };

  /** Nobody keeps the messages that come, or have come. */
  private giveBackMemory(): void {
    this.socket.off('message', this.takeMemory);
    for (const giveBack of this.taken.splice(0)) giveBack();
  }

  private async answerAll(): Promise<void> {
    // The iterator pauses the socket while some messages wait, so a client that sends too fast is slowed down by TCP.
    const messages = on(this.socket, 'message', {
      close: ['close'],
      signal: this.stopping.signal,
      highWaterMark: 8,
      lowWaterMark: 1,
    });
    const { sequence_id: sequenceId } = this.query;
    let startsNext = this.query.start === 'true';
    if (startsNext) await this.send(JSON.stringify({ steps: 0 }));
    else if ((await this.resume()) === 'ended') return this.end();
    for await (const [data, isBinary] of messages as AsyncIterable<[Buffer, boolean]>) {
      this.stopping.signal.throwIfAborted();
      this.lastMessage = performance.now();
      const message = isBinary
        ? { rows: rowsOfBytes(this.live.model, data) }
        : parseText(this.live.model, data);
      const { rows, end = false, start = startsNext } = message;
      startsNext = false;
      const position = start ? 0 : this.steps;
      // Who was cut off during a step sends it again, perhaps before it has been saved.
      const requestId = `ws:${position}`;
      const hasGone = (): boolean => this.gone.signal.aborted;
      const giveBack = this.memory.take(this.bytesOf(rows));
      try {
        const answer = await this.live.step({ sequenceId, start, end, requestId, position, hasGone }, rows);
        this.steps = answer.steps;
        await this.sendAnswer(answer);
      } finally {
        giveBack();
        this.taken.shift()?.();
      }
      this.isAlive = true; // it takes its answers
      if (end) return this.end();
    }
  }

  /** Of memory, that some steps and their answer take. */
  private bytesOf({ data, shape }: Tensor): number {
    const inJSON = this.query.format !== 'binary';
    const { computing, answer } = memoryOf(this.live.model, data.byteLength, shape[0]!, inJSON);
    return computing + answer;
  }

  /** Finds where the stream is, and sends what the client does not have of the last answer. */
  private async resume(): Promise<'live' | 'ended'> {
    const answer = await this.live.last(this.query.sequence_id);
    const { steps, output, ended } = answer;
    this.steps = steps;
    const has = Number(this.query.last ?? steps);
    const first = steps - output.shape[0]!;
    if (has < first || has > steps)
      throw new RequestError(
        409,
        `last should be from ${first} to ${steps}, because the outputs of these steps are kept, got ${has}`,
      );
    await this.send(JSON.stringify({ steps }));
    if (has < steps) await this.sendAnswer({ ...answer, output: output.slice(0, has - first) });
    return ended ? 'ended' : 'live';
  }

  private sendAnswer({ output, steps }: StepAnswer): Promise<void> {
    const data = output.data as Float32Array;
    if (this.query.format !== 'binary')
      return this.send(JSON.stringify({ steps, shape: output.shape, data: Array.from(data) }));
    const bytes = Buffer.alloc(8 + data.byteLength);
    bytes.writeBigUInt64LE(BigInt(steps));
    bytes.set(new Uint8Array(data.buffer, data.byteOffset, data.byteLength), 8);
    return this.send(bytes);
  }

  /** Ends when the system has taken the message. So nothing piles up for a client that does not read. */
  private send(message: string | Buffer): Promise<void> {
    return new Promise((resolve, reject) =>
      this.socket.send(message, (error) => (error ? reject(error) : resolve())),
    );
  }

  private end(): void {
    this.socket.close(1000, 'the sequence has ended');
  }

  private restart(): void {
    this.socket.close(restarts, `this instance ends: connect again with last=${this.steps}`);
  }

  /** Tells the client why the connection ends. */
  private async fail(error: Error & { statusCode?: number }): Promise<void> {
    if (this.gone.signal.aborted) return;
    if (error.name === 'AbortError') return this.restart();
    const code = closeCodes[error.statusCode ?? 500] ?? 1011;
    const sentence = code === 1011 ? 'the server failed' : error.message;
    await this.send(JSON.stringify({ error: sentence })).catch(() => {});
    this.socket.close(code, Buffer.from(sentence).subarray(0, 120).toString()); // a close frame has room for 123 bytes
  }
}

interface Flags {
  readonly start?: boolean | undefined;
  readonly end?: boolean | undefined;
}
type Message = Flags & { readonly rows: Tensor };

/** @throws {RequestError} 400 */
function parseText(model: Model, text: Buffer): Message {
  const wrong = (sentence: string): RequestError => new RequestError(400, sentence);
  let message: unknown;
  try {
    message = JSON.parse(text.toString());
  } catch (error) {
    throw wrong(`a message should be JSON: ${(error as Error).message}`);
  }
  if (typeof message !== 'object' || message === null || Array.isArray(message))
    throw wrong(`a message should be an object such as {"data": […]}, got ${describe(message)}`);
  const { data = [], start, end, ...others } = message as Record<string, unknown> & Flags;
  const [other] = Object.keys(others);
  if (other !== undefined)
    throw wrong(`a message should have data, start and end alone, got ${describe(other)}`);
  for (const [name, value] of Object.entries({ start, end }))
    if (value !== undefined && typeof value !== 'boolean')
      throw wrong(`${name} should be true or false, got ${describe(value)}`);
  if (!Array.isArray(data)) throw wrong(`data should be an array of numbers, got ${describe(data)}`);
  const { features, datatype } = model.input;
  const width = Math.max(1, features);
  // All numbers in one array, or an array for each step.
  const steps = Array.isArray(data[0]) ? data.length : data.length / width;
  if (!Number.isInteger(steps))
    throw wrong(`data should be steps of ${width} numbers each, got ${data.length}`);
  const shape = features === 0 ? [steps] : [steps, features];
  return { start, end, rows: rowsOf(model, fromJSON({ name: '', data, shape, datatype }, 'data')) };
}

function rowsOfBytes(model: Model, bytes: Buffer): Tensor {
  const { datatype, features } = model.input;
  const size = (datatype === 'FP32' ? 4 : 8) * Math.max(1, features);
  if (bytes.length === 0 || bytes.length % size !== 0)
    throw new RequestError(
      400,
      `a binary message should be steps of ${size} bytes each, got ${bytes.length} bytes`,
    );
  const { buffer } = new Uint8Array(bytes); // aligned
  return rowsOf(model, datatype === 'FP32' ? new Float32Array(buffer) : new BigInt64Array(buffer));
}

function rowsOf(model: Model, data: Numbers): Tensor {
  checkValues(model, data, 'data');
  return tensorOf(model, data);
}
