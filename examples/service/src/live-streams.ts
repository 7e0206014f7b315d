// Live streams that move between instances: a step is answered once its state is in the store.
import type { Tensor } from 'dynaquant';
import type { Model } from './models.js';
import type { StateStore } from './state-store.js';

export interface StepRequest {
  /** 1 to 256 letters, digits and any of `._:-`. */
  readonly sequenceId: string;
  /** Begins the stream, anew if it is there. */
  readonly start?: boolean;
  /** Frees the stream after this step. */
  readonly end?: boolean;
  /** A request that comes again with the id (and rows) of the stream's last one gets that one's answer: no second step. */
  readonly requestId?: string;
  /** How many steps the stream should have taken before; a stream that has taken others is a conflict. */
  readonly position?: number;
  /** Who has gone leaves the queue; a step that computes already goes on. */
  readonly signal?: AbortSignal;
}

export interface StepAnswer {
  /** (T, features) */
  readonly output: Tensor;
  /** How many steps the stream has taken, these included. */
  readonly steps: number;
  /** Whether this is the stored answer to a request that came again. */
  readonly replayed: boolean;
}

export interface LiveStreamsOptions {
  /** Streams of one batch. */
  readonly maxBatch?: number;
  /** Milliseconds that a batch may wait for more. */
  readonly maxDelay?: number;
  /** Requests that wait; more are refused with 503. */
  readonly maxQueue?: number;
  /** Steps of one request. */
  readonly maxSteps?: number;
  /** Streams whose states are kept here as well; those that were used last stay. */
  readonly maxLocal?: number;
  /** Milliseconds after which a stream without steps is forgotten. */
  readonly idleTimeout?: number;
}

/** A request that a stream cannot take: a 4xx, with a sentence. Or 503 when this instance closes. */
export class StreamError extends Error {
  override readonly name = 'StreamError';
  constructor(
    readonly statusCode: 400 | 404 | 409 | 503,
    message: string,
  ) {
    super(message);
  }
}

/** The live streams of one model, on this instance. */
export class LiveStreams {
  /** For metrics: what was done since the start. */
  readonly counts = { steps: 0, batches: 0, replays: 0, conflicts: 0, loads: 0, evictions: 0 };

  constructor(
    readonly model: Model,
    readonly store: StateStore,
    readonly options: LiveStreamsOptions = {},
  ) {}

  /** How many streams have their state here as well. */
  get local(): number {
    return 0;
  }
  /** How many requests wait or run. */
  get pending(): number {
    return 0;
  }

  /**
   * Steps a stream, in a batch with others that wait.
   *
   * @param rows - (T, features) float32, or (T) int64 tokens
   * @throws {StreamError | StoreError | Overloaded} each with its HTTP `statusCode`
   */
  step(_request: StepRequest, _rows: Tensor): Promise<StepAnswer> {
    return Promise.reject(new StreamError(503, 'live streams are not there yet'));
  }

  /** What a client who connects again needs: where the stream is, and the last answer. */
  last(_sequenceId: string): Promise<StepAnswer | undefined> {
    return Promise.resolve(undefined);
  }

  /** Refuses new requests, waits for those that run, and frees the states here. The store keeps them. */
  async close(): Promise<void> {}
}
