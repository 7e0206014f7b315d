// Live streams that move between instances: a step is answered once its state is in the store.
import { randomUUID } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { Tensor } from 'dynaquant';
import type { BatcherEvents } from './batcher.js';
import { clientHasGone, instanceCloses, RequestError } from './errors.js';
import { damaged, LocalStreams, type LocalStreamsOptions, type Stream } from './local-streams.js';
import type { Model } from './models.js';
import type { StateStore, StreamRecord } from './state-store.js';
import {
  checkName,
  checkRequest,
  comesAgain,
  digestOf,
  isElsewhere,
  type StepRequest,
} from './step-request.js';

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

/** How long the last answer of a stream that has ended is kept, for a client who asks again. */
const keptAfterEnd = 60_000;
/** How often a request is tried when other instances step its stream at the same time. */
const mostAttempts = 8;

export type StreamCounts = Readonly<
  Record<'steps' | 'replays' | 'conflicts' | 'loads' | 'evictions', number>
>;
type NamedRequest = StepRequest & { readonly requestId: string };

/** The live streams of one model, on this instance. */
export class LiveStreams {
  private readonly done = { steps: 0, replays: 0, conflicts: 0, loads: 0 };
  private readonly held: LocalStreams;
  /** The last request of each stream that has one. */
  private readonly turns = new Map<string, Promise<unknown>>();
  private pendingSteps = 0;
  private closing = false;

  constructor(
    readonly model: Model,
    readonly store: StateStore,
    readonly options: LiveStreamsOptions,
    events: BatcherEvents = {},
  ) {
    this.held = new LocalStreams(model, options, events);
  }

  /** How many streams have their state here as well. */
  get local(): number {
    return this.held.size;
  }
  /** For metrics: what was done since the beginning. Streams evicted had to leave for others, or were idle for too long. */
  get counts(): StreamCounts {
    return { ...this.done, evictions: this.held.evictions };
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
    checkRequest(request, rows, this.model, this.options.maxSteps);
    const count = rows.shape[0]!;
    if (this.closing) throw instanceCloses();
    if (this.pendingSteps >= this.options.maxQueue) {
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
      if (request.hasGone?.() === true) throw clientHasGone();
      const answer = await this.attempt(request, rows);
      if (answer !== 'conflict') return answer;
      this.done.conflicts++;
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
    if (stream !== undefined && (mayComeAgain(stream, request) || isElsewhere(stream.steps, request))) {
      this.held.close(stream);
      stream = undefined;
    }
    if (stream === undefined) {
      const record = await this.store.load(key);
      this.done.loads++;
      if (record !== undefined && comesAgain(request, digest, record, this.stepsBefore(record))) {
        this.done.replays++;
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
    const { sequenceId, requestId, position, end, hasGone } = request;
    if (isElsewhere(stream.steps, request)) {
      const sentence = `sequence '${sequenceId}' should have taken ${position} steps before these, but has taken ${stream.steps}`;
      throw new RequestError(409, sentence);
    }
    const count = rows.shape[0]!;
    const none = new Tensor(new Float32Array(0), [0, this.model.output.features]);
    const output = count === 0 ? none : await this.held.step(stream, rows, hasGone);
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
    this.done.steps += count;
    if (end) this.held.close(stream);
    else this.held.keep(sequenceId, stream, record);
    return { output, steps: record.steps, replayed: false };
  }

  /** How many steps a stream had taken before its last request. */
  private stepsBefore({ steps, output }: StreamRecord): number {
    return steps - output.length / (4 * this.model.output.features);
  }

  private answerIn({ output, steps }: StreamRecord, sequenceId: string): StepAnswer {
    const { features } = this.model.output;
    if (output.length % (4 * features) !== 0)
      throw damaged(sequenceId, `its last answer has ${output.length} bytes`);
    const floats = new Float32Array(new Uint8Array(output).buffer);
    if (!Number.isSafeInteger(steps) || steps < floats.length / features)
      throw damaged(sequenceId, 'its number of steps is none');
    return {
      output: new Tensor(floats, [floats.length / features, features]),
      steps,
      replayed: true,
    };
  }

  private unknown(sequenceId: string): RequestError {
    const seconds = this.options.idleTimeout / 1000;
    const sentence = `sequence '${sequenceId}' should be live, but was not started, has ended or had no step for ${seconds} s: send sequence_start`;
    return new RequestError(404, sentence);
  }
}

function isEnded({ state }: StreamRecord): boolean {
  return state.length === 0;
}

/** Whether the store may have the answer already. A request that goes on where the stream is is a new one. */
function mayComeAgain({ requestId }: Stream, { requestId: id, position, start }: NamedRequest): boolean {
  return id === requestId && (position === undefined || start === true);
}

function bytesOf({ data }: Tensor): Buffer {
  return Buffer.from(data.buffer, data.byteOffset, data.byteLength);
}
