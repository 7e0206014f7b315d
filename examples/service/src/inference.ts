import type { Link } from '@opentelemetry/api';
import { getNumThreads, nn } from 'dynaquant';
import { Batcher, type BatcherEvents, type BatcherOptions } from './batcher.js';
import { refusedNumbers, type RequestError } from './errors.js';
import type { Model } from './models.js';
import { linkToRequest, stepTogether, type Part } from './packing.js';
import type { Sequences } from './v2-tensors.js';

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

  /** Why a request need not be read, if the queue is full. */
  refusal(): RequestError | undefined {
    return this.batcher.isFull ? this.batcher.refusal() : undefined;
  }

  /**
   * The outputs of all steps, sequence after sequence: the same bits whoever shares the batch.
   *
   * @throws {RequestError} 400 when the model does not take the numbers, 503 when too many wait, 499 when the client has
   * gone before its turn
   */
  async infer(sequences: Sequences, hasGone?: () => boolean): Promise<Float32Array> {
    const link = linkToRequest();
    try {
      return await this.batcher.submit({ sequences, link }, sequences.batch, hasGone);
    } catch (error) {
      throw refusedNumbers(error, 'inputs[0].data');
    }
  }

  private async run(jobs: readonly Job[]): Promise<Float32Array[]> {
    const { features } = this.model.output;
    const outputs = jobs.map(({ sequences: { batch, steps } }) => new Float32Array(batch * steps * features));
    const parts = jobs.flatMap(({ sequences }, i) => this.partsOf(sequences, outputs[i]!));
    const links = jobs.map(({ link }) => link);
    try {
      await stepTogether(this.streams, this.model, parts, links);
      return outputs;
    } finally {
      for (const { id } of parts) this.streams.close(id);
    }
  }

  /** Opens a stream for each sequence. */
  private partsOf({ batch, data }: Sequences, output: Float32Array): Part[] {
    const [width, outputWidth] = [data.length / batch, output.length / batch];
    return Array.from({ length: batch }, (_, i) => ({
      id: this.streams.open(),
      input: data.subarray(i * width, (i + 1) * width),
      output: output.subarray(i * outputWidth, (i + 1) * outputWidth),
    }));
  }

  dispose(): void {
    this.streams.dispose();
  }
}
