import { SpanStatusCode, context, trace, type Link } from '@opentelemetry/api';
import { getNumThreads, nn, type Tensor } from 'dynaquant';
import { Batcher, type BatcherEvents, type BatcherOptions } from './batcher.js';
import type { Model } from './models.js';
import { tracer } from './observe.js';
import { tensorOf, type Sequences } from './v2-tensors.js';

const { packSequence, unpackSequence } = nn.utils.rnn;

interface Job {
  readonly sequences: Sequences;
  /** The span of the request. */
  readonly link: Link | undefined;
}

/** Whole sequences, each from zero states. Those of requests that wait together are computed together. */
export class Inference {
  private readonly streams: nn.Streams;
  private readonly batcher: Batcher<Job, Float32Array>;

  constructor(
    private readonly model: Model,
    options: BatcherOptions,
    events: BatcherEvents,
  ) {
    // Compute threads need not wait for the event loop where it is busy with full batches.
    const maxRunning = 3 + getNumThreads();
    this.streams = new nn.Streams(model.layers);
    this.batcher = new Batcher((jobs) => this.run(jobs), { ...options, maxRunning }, events);
  }

  /** How many sequences wait. */
  get depth(): number {
    return this.batcher.depth;
  }

  /** Refuses a request before its body is read. @throws {RequestError} 503 when the queue is full */
  checkRoom(): void {
    this.batcher.checkRoom();
  }

  /** The outputs of all steps, sequence after sequence: the same bits whoever shares the batch. */
  infer(sequences: Sequences, signal: AbortSignal): Promise<Float32Array> {
    const span = trace.getSpanContext(context.active());
    const link = span === undefined ? undefined : { context: span };
    return this.batcher.submit({ sequences, link }, sequences.batch, signal);
  }

  private async run(jobs: readonly Job[]): Promise<Float32Array[]> {
    const list = jobs.flatMap(({ sequences: { batch, data } }) => {
      const width = data.length / batch;
      return Array.from({ length: batch }, (_, i) =>
        tensorOf(this.model, data.subarray(i * width, (i + 1) * width)),
      );
    });
    const attributes = { model: this.model.name, rows: list.length };
    const links = jobs.flatMap(({ link }) => link ?? []);
    const span = tracer.startSpan('batch', { attributes, links });
    const ids = list.map(() => this.streams.open());
    try {
      const outputs = await this.step(ids, list);
      let next = 0;
      return jobs.map(({ sequences: { batch } }) => concat(outputs.slice(next, (next += batch))));
    } catch (error) {
      span.setStatus({ code: SpanStatusCode.ERROR, message: (error as Error).message });
      throw error;
    } finally {
      for (const id of ids) this.streams.close(id);
      span.end();
    }
  }

  /** The output of each sequence. */
  private async step(ids: readonly number[], sequences: readonly Tensor[]): Promise<Float32Array[]> {
    const packed = packSequence(sequences, { enforceSorted: false });
    const output = await this.streams.stepAsync(ids, packed);
    return unpackSequence(output).map(({ data }) => data as Float32Array);
  }

  dispose(): void {
    this.streams.dispose();
  }
}

function concat(arrays: readonly Float32Array[]): Float32Array {
  if (arrays.length === 1) return arrays[0]!;
  const all = new Float32Array(arrays.reduce((sum, { length }) => sum + length, 0));
  let at = 0;
  for (const array of arrays) {
    all.set(array, at);
    at += array.length;
  }
  return all;
}
