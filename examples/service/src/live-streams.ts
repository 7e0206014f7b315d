// Live streams that move between instances: a step is answered once its state is in the store.
import { createHash, randomUUID } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { Tensor } from 'dynaquant';
import type { BatcherEvents } from './batcher.js';
import { describe, RequestError } from './errors.js';
import { damaged, LocalStreams, type LocalStreamsOptions, type Stream } from './local-streams.js';
import type { Model } from './models.js';
import type { StateStore, StreamRecord } from './state-store.js';

export interface StepRequest {
  /** 1 to 256 letters, digits and any of `._:-`. */
  readonly sequenceId: string;
  /** Begins the stream, anew if it is there. */
  readonly start?: boolean;
  /** Frees the stream after this request, which may then have no steps. */
  readonly end?: boolean;
  /** A request that comes again with the id of the stream's last one gets that one's answer, and no second step. */
  readonly requestId?: string | undefined;
  /** How many steps the stream should have taken before. One that has taken others is a conflict. */
  readonly position?: number | undefined;
  /** Its abort takes a request that does not compute yet out of the queue. */
  readonly signal?: AbortSignal;
}

export interface StepAnswer {
  /** (T, features) */
  readonly output: Tensor;
  /** How many steps the stream has taken, these included. */
  readonly steps: number;
  /** Whether this is the stored answer of a request that came before. */
  readonly replayed: boolean;
}

export interface LiveStreamsOptions extends LocalStreamsOptions {
  /** The most steps of one request. */
  readonly maxSteps: number;
}

export const defaultLiveStreams: LiveStreamsOptions = {
  maxBatch: 64,
  maxDelay: 2,
  maxQueue: 4096,
  maxSteps: 256,
  maxLocal: 10_000,
  idleTimeout: 600_000,
};

/** How long the last answer of a stream that has ended is kept, for a client who asks again. */
const keptAfterEnd = 60_000;
/** How often a request is tried when other instances step its stream at the same time. */
const mostAttempts = 8;

type NamedRequest = StepRequest & { readonly requestId: string };

/** The live streams of one model, on this instance. */
export class LiveStreams {
  /** For metrics: what was done since the beginning. */
  readonly counts = { steps: 0, replays: 0, conflicts: 0, loads: 0 };
  readonly options: LiveStreamsOptions;
  private readonly held: LocalStreams;
  /** The last request of each stream that has one. */
  private readonly turns = new Map<string, Promise<unknown>>();
  private pendingSteps = 0;
  private closing = false;

  constructor(
    readonly model: Model,
    readonly store: StateStore,
    options: Partial<LiveStreamsOptions> = {},
    private readonly events: BatcherEvents = {},
  ) {
    this.options = { ...defaultLiveStreams, ...options };
    this.held = new LocalStreams(model, this.options, events);
  }

  /** How many streams have their state here as well. */
  get local(): number {
    return this.held.size;
  }
  /** How many of them had to leave for others, or were idle for too long. */
  get evictions(): number {
    return this.held.evictions;
  }
  /** How many steps wait or run. */
  get pending(): number {
    return this.pendingSteps;
  }

  /**
   * Steps a stream, in a batch with others that wait.
   *
   * @param rows - (T, features) float32, or (T) int64 tokens
   * @throws {RequestError} with the HTTP status
   */
  async step(request: StepRequest, rows: Tensor): Promise<StepAnswer> {
    this.check(request, rows);
    const count = rows.shape[0]!;
    if (this.closing) throw new RequestError(503, 'this instance closes: send the request to another one', 1);
    if (this.pendingSteps >= this.options.maxQueue) {
      this.events.refused?.();
      const sentence = `fewer than ${this.options.maxQueue} steps of live streams should wait, but ${this.pendingSteps} do: retry later`;
      throw new RequestError(503, sentence, 1);
    }
    // A client's id, or one of our own: a write whose answer got lost is then known again as well.
    const named = { ...request, requestId: request.requestId ?? randomUUID() };
    this.pendingSteps += count;
    try {
      return await this.inTurn(request.sequenceId, () => this.stepInTurn(named, rows));
    } finally {
      this.pendingSteps -= count;
    }
  }

  /** A stream's last answer, for a client who connects again; and whether it was the end. */
  async last(sequenceId: string): Promise<StepAnswer & { readonly ended: boolean }> {
    checkName('sequence_id', sequenceId);
    const record = await this.store.load(this.keyOf(sequenceId));
    if (record === undefined) throw this.unknown(sequenceId);
    return { ...this.answerIn(record, sequenceId), ended: isEnded(record) };
  }

  /** Refuses new requests, waits for those that are here, and frees the states. The store keeps them. */
  async close(): Promise<void> {
    this.closing = true;
    while (this.turns.size > 0) await Promise.allSettled(this.turns.values());
    this.held.dispose();
  }

  private keyOf(sequenceId: string): string {
    return `dynaquant:${this.model.name}:${sequenceId}`;
  }

  /** Runs the requests of a stream one after the other. */
  private async inTurn<T>(sequenceId: string, run: () => Promise<T>): Promise<T> {
    const before = this.turns.get(sequenceId);
    const mine = before === undefined ? run() : before.then(run, run);
    this.turns.set(sequenceId, mine);
    try {
      return await mine;
    } finally {
      if (this.turns.get(sequenceId) === mine) this.turns.delete(sequenceId);
    }
  }

  private async stepInTurn(request: NamedRequest, rows: Tensor): Promise<StepAnswer> {
    for (let attempt = 0; attempt < mostAttempts; attempt++) {
      request.signal?.throwIfAborted();
      const answer = await this.attempt(request, rows);
      if (answer !== 'conflict') return answer;
      this.counts.conflicts++;
      await sleep(Math.random() * 2 ** attempt); // or an instance that is a little slower would lose each time
    }
    const sentence = `sequence '${request.sequenceId}' should be stepped by one client, but others stepped it ${mostAttempts} times meanwhile`;
    throw new RequestError(409, sentence);
  }

  private async attempt(request: NamedRequest, rows: Tensor): Promise<StepAnswer | 'conflict'> {
    const key = this.keyOf(request.sequenceId);
    const { sequenceId } = request;
    const digest = digestOf(request, rows);
    let stream = this.held.take(sequenceId);
    // The store has the answer to a request that came before, or the steps that others took meanwhile.
    if (stream !== undefined && (stream.requestId === request.requestId || isElsewhere(stream, request))) {
      this.held.close(stream);
      stream = undefined;
    }
    if (stream === undefined) {
      const record = await this.store.load(key);
      this.counts.loads++;
      if (record?.requestId === request.requestId) {
        if (record.digest !== digest) throw sameId(request);
        this.counts.replays++;
        return this.answerIn(record, sequenceId);
      }
      if (request.start) stream = this.held.open(record?.version);
      else if (record === undefined || isEnded(record)) throw this.unknown(sequenceId);
      else stream = this.held.restore(sequenceId, record);
    } else if (request.start) {
      stream = this.held.reset(stream);
    }
    const answer = await this.advance(stream, request, rows, digest).catch((error: unknown) => {
      this.held.close(stream); // the store's state is the one that counts
      throw error;
    });
    if (answer === 'conflict') this.held.close(stream);
    return answer;
  }

  /** Steps a stream and writes it through. When it fails or loses a race, the state here is not to be used any more. */
  private async advance(
    stream: Stream,
    request: NamedRequest,
    rows: Tensor,
    digest: string,
  ): Promise<StepAnswer | 'conflict'> {
    const { sequenceId, requestId, position, end, signal } = request;
    if (isElsewhere(stream, request)) {
      const sentence = `sequence '${sequenceId}' should have taken ${position} steps before these, but has taken ${stream.steps}`;
      throw new RequestError(409, sentence);
    }
    const count = rows.shape[0]!;
    const none = new Tensor(new Float32Array(0), [0, this.model.output.features]);
    const output = count === 0 ? none : await this.held.step(stream, rows, signal);
    const record: StreamRecord = {
      version: randomUUID(),
      steps: stream.steps + count,
      requestId,
      digest,
      output: bytesOf(output),
      state: end ? Buffer.alloc(0) : this.held.save(stream),
    };
    const keepFor = end ? Math.min(keptAfterEnd, this.options.idleTimeout) : this.options.idleTimeout;
    const key = this.keyOf(sequenceId);
    if (!(await this.store.save({ key, before: stream.version, record, keepFor }))) return 'conflict';
    this.counts.steps += count;
    if (end) this.held.close(stream);
    else this.held.keep(sequenceId, stream, record);
    return { output, steps: record.steps, replayed: false };
  }

  private answerIn({ output, steps }: StreamRecord, sequenceId: string): StepAnswer {
    const { features } = this.model.output;
    if (output.length % (4 * features) !== 0)
      throw damaged(sequenceId, `its last answer has ${output.length} bytes`);
    const floats = new Float32Array(new Uint8Array(output).buffer);
    return {
      output: new Tensor(floats, [floats.length / features, features]),
      steps,
      replayed: true,
    };
  }

  private check({ sequenceId, requestId, end }: StepRequest, rows: Tensor): void {
    checkName('sequence_id', sequenceId);
    if (requestId !== undefined && !(requestId.length > 0 && requestId.length <= 256))
      throw new RequestError(
        400,
        `id should have 1 to 256 characters, got ${requestId.length}: ${describe(requestId)}`,
      );
    const { name, datatype, features } = this.model.input;
    const [dtype, row] = datatype === 'INT64' ? ['int64', []] : ['float32', [features]];
    const { shape } = rows;
    if (
      rows.dtype !== dtype ||
      shape.length !== 1 + row.length ||
      row.some((size, i) => size !== shape[i + 1])
    )
      throw new RequestError(
        400,
        `${name} should be ${datatype} of shape [${['steps', ...row].join(', ')}], got ${rows.dtype} of shape [${shape.join(', ')}]`,
      );
    const least = end === true ? 0 : 1;
    if (shape[0]! < least || shape[0]! > this.options.maxSteps)
      throw new RequestError(
        400,
        `${name} should have ${least} to ${this.options.maxSteps} steps, got ${shape[0]}`,
      );
  }

  private unknown(sequenceId: string): RequestError {
    const seconds = this.options.idleTimeout / 1000;
    const sentence = `sequence '${sequenceId}' should be live, but was not started, has ended or had no step for ${seconds} s: send sequence_start`;
    return new RequestError(404, sentence);
  }
}

function checkName(argument: string, name: string): void {
  if (/^[\w.:-]{1,256}$/.test(name)) return;
  const sentence = `${argument} should be 1 to 256 letters, digits or any of . _ : -, got ${describe(name)}`;
  throw new RequestError(400, sentence);
}

/** Whether a request is for a stream that has taken more or fewer steps. */
function isElsewhere({ steps }: Stream, { position, start }: StepRequest): boolean {
  return position !== undefined && position !== (start ? 0 : steps);
}

function isEnded({ state }: StreamRecord): boolean {
  return state.length === 0;
}

function sameId({ sequenceId, requestId }: NamedRequest): RequestError {
  const sentence = `id should be another for each request of sequence '${sequenceId}', but its last one had the id ${describe(requestId)} and other steps`;
  return new RequestError(409, sentence);
}

function digestOf({ start, end }: StepRequest, { data }: Tensor): string {
  const bytes = new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
  return createHash('sha256')
    .update(`${start === true} ${end === true} `)
    .update(bytes)
    .digest('base64');
}

function bytesOf({ data }: Tensor): Buffer {
  return Buffer.from(data.buffer, data.byteOffset, data.byteLength);
}
