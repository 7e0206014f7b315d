// The live streams whose states are in this process: stepped in batches, and let go of when others need their place.
import type { Link } from '@opentelemetry/api';
import { nn, zeros, type Tensor } from 'dynaquant';
import { Batcher, type BatcherEvents, type BatcherOptions } from './batcher.js';
import { refusedNumbers, RequestError } from './errors.js';
import type { Model } from './models.js';
import { linkToRequest, stepTogether } from './packing.js';
import type { StreamRecord } from './state-store.js';
import type { Numbers } from './v2-tensors.js';

export interface LocalStreamsOptions extends BatcherOptions {
  /** How many states are kept between steps: those that were used last. */
  readonly maxLocal: number;
  /** Milliseconds after which a stream without steps is forgotten. */
  readonly idleTimeout: number;
}

/** A stream whose state is in `nn.Streams`, and what the store has of it. */
export interface Stream {
  /** In `nn.Streams`. */
  readonly id: number;
  /** '' if the store has nothing. */
  readonly version: string;
  readonly steps: number;
  /** Of the last request. */
  readonly requestId: string;
}

interface Job {
  readonly id: number;
  readonly rows: Tensor;
  /** The span of the request. */
  readonly link: Link | undefined;
}

export class LocalStreams {
  evictions = 0;
  private readonly states: nn.Streams;
  private readonly batcher: Batcher<Job, Tensor>;
  /** The streams that no request has taken. Who was used last stands last. */
  private readonly idle = new Map<string, { readonly stream: Stream; readonly lastUse: number }>();

  constructor(
    private readonly model: Model,
    private readonly options: LocalStreamsOptions,
    events: BatcherEvents,
  ) {
    this.states = new nn.Streams(model.layers);
    this.batcher = new Batcher((jobs) => this.compute(jobs), options, events);
    // So that the fingerprint of the model is computed now rather than at the first request.
    const id = this.states.open();
    this.states.toBuffer(id);
    this.states.close(id);
  }

  /** How many states are here. */
  get size(): number {
    return this.states.size;
  }

  /** Opens a stream at its beginning. The caller keeps or closes it, as those that he takes or restores. */
  open(version = ''): Stream {
    return { id: this.states.open(), version, steps: 0, requestId: '' };
  }

  /** Opens a stream as the store has it. @throws {RequestError} 409 when it cannot go on */
  restore(sequenceId: string, { version, steps, requestId, state }: StreamRecord): Stream {
    if (!Number.isSafeInteger(steps) || steps < 1) throw damaged(sequenceId, 'its number of steps is none');
    try {
      return { id: this.states.fromBuffer(state), version, steps, requestId };
    } catch (error) {
      throw damaged(sequenceId, (error as Error).message);
    }
  }

  /** Takes a stream that was kept. */
  take(sequenceId: string): Stream | undefined {
    const kept = this.idle.get(sequenceId);
    this.idle.delete(sequenceId);
    return kept?.stream;
  }

  /** Keeps a stream, with what the store has of it now, for its next request. */
  keep(sequenceId: string, { id }: Stream, { version, steps, requestId }: StreamRecord): void {
    const now = performance.now();
    this.idle.set(sequenceId, { stream: { id, version, steps, requestId }, lastUse: now });
    for (const [oldest, { stream, lastUse }] of this.idle) {
      if (this.idle.size <= this.options.maxLocal && now - lastUse < this.options.idleTimeout) break;
      this.idle.delete(oldest);
      this.close(stream);
      this.evictions++;
    }
  }

  /** Puts a stream back to its beginning. */
  reset(stream: Stream): Stream {
    this.states.reset(stream.id);
    return { ...stream, steps: 0 };
  }

  save({ id }: Stream): Buffer {
    const { buffer, byteOffset, byteLength } = this.states.toBuffer(id);
    return Buffer.from(buffer, byteOffset, byteLength);
  }

  close({ id }: Stream): void {
    this.states.close(id);
  }

  dispose(): void {
    this.idle.clear();
    this.states.dispose();
  }

  /**
   * Steps a stream, in a batch with others that wait.
   *
   * @throws {RequestError} 400 when the model does not take the rows, 503 when too many wait
   */
  async step({ id }: Stream, rows: Tensor, hasGone?: () => boolean): Promise<Tensor> {
    try {
      return await this.batcher.submit({ id, rows, link: linkToRequest() }, 1, hasGone);
    } catch (error) {
      throw refusedNumbers(error);
    }
  }

  private async compute(jobs: readonly Job[]): Promise<Tensor[]> {
    const { features } = this.model.output;
    const outputs = jobs.map(({ rows }) => zeros(rows.shape[0]!, features));
    const parts = jobs.map(({ id, rows }, i) => ({
      id,
      input: rows.data as Numbers,
      output: outputs[i]!.data as Float32Array,
    }));
    const links = jobs.map(({ link }) => link);
    await stepTogether(this.states, this.model, parts, links);
    return outputs;
  }
}

export function damaged(sequenceId: string, why: string): RequestError {
  const sentence = `sequence '${sequenceId}' cannot go on, because what the store has of it is damaged or of another model: ${why}. Send sequence_start`;
  return new RequestError(409, sentence);
}
