import { clientHasGone, RequestError } from './errors.js';

export interface BatcherOptions {
  /** The most rows that are computed together. */
  readonly maxBatch: number;
  /** The milliseconds between the beginnings of two batches that are not full, where jobs come often. 0: none. */
  readonly maxDelay: number;
  /** The most rows that wait. More are refused. */
  readonly maxQueue: number;
  /** The most batches that compute at once. 1 by default. Only full ones join another: the others gain by waiting. */
  readonly maxRunning?: number;
}

/** What a batcher tells its metrics. Times are in seconds. */
export interface BatcherEvents {
  started?(rows: number, waits: readonly number[]): void;
  ended?(seconds: number): void;
}

interface Waiting<Job, Result> {
  readonly job: Job;
  readonly rows: number;
  readonly since: number;
  readonly hasGone: () => boolean;
  readonly resolve: (result: Result) => void;
  readonly reject: (reason: unknown) => void;
}

/**
 * Computes together what waits together. While a batch computes, jobs queue, and the next batch takes as many as fit:
 * the more load, the larger the batches. A job that comes alone is computed at once.
 */
export class Batcher<Job, Result> {
  private readonly queue: Waiting<Job, Result>[] = [];
  private queuedRows = 0;
  private running = 0;
  private timer: NodeJS.Timeout | undefined;
  private immediate: NodeJS.Immediate | undefined;
  /** Of the last batch. */
  private last = { rows: 1, begin: 0, milliseconds: 0 };

  /** @param run - the results of some jobs, in their order. If it rejects it has changed nothing, and is tried again. */
  constructor(
    private readonly run: (jobs: readonly Job[]) => Promise<readonly Result[]>,
    private readonly options: BatcherOptions,
    private readonly events: BatcherEvents = {},
  ) {}

  /** How many rows wait. */
  get depth(): number {
    return this.queuedRows;
  }

  /**
   * The result of a job of so many rows.
   *
   * @param hasGone - asked when the job's turn has come. Not an AbortSignal, because Node 20 frees one for each request
   * by slow collections only (findings/node20-short-lived-objects-born-old.sh).
   * @throws {RequestError} 503 when too many wait, 499 when the client has gone
   */
  submit(job: Job, rows = 1, hasGone = (): boolean => false): Promise<Result> {
    const { maxQueue } = this.options;
    if (this.queuedRows + rows > maxQueue) return Promise.reject(this.refusal());
    return new Promise((resolve, reject) => {
      this.queue.push({ job, rows, since: performance.now(), hasGone, resolve, reject });
      this.queuedRows += rows;
      this.schedule();
    });
  }

  /** Whether there is no room for another row. */
  get isFull(): boolean {
    return this.queuedRows >= this.options.maxQueue;
  }

  /** Why a job is refused. */
  refusal(): RequestError {
    const sentence = `the queue should hold at most ${this.options.maxQueue} rows, but ${this.queuedRows} wait already: retry later`;
    return new RequestError(503, sentence, this.retryAfter());
  }

  /** Seconds until what waits now will have been computed, at the last batch's speed. */
  private retryAfter(): number {
    const { rows, milliseconds } = this.last;
    return Math.max(1, Math.ceil((this.queuedRows / rows) * (milliseconds / 1000)));
  }

  /** Starts a batch at the end of this turn of the event loop, or a little later if others are about to come. */
  private schedule(): void {
    const { maxBatch, maxRunning = 1 } = this.options;
    if (this.immediate !== undefined || this.queue.length === 0 || this.running >= maxRunning) return;
    if (this.running > 0 && this.queuedRows < maxBatch) return;
    const wait = this.usefulWait();
    if (wait === 0) {
      clearTimeout(this.timer);
      this.immediate = setImmediate(() => void this.start());
    } else this.timer ??= setTimeout(() => void this.start(), wait);
  }

  /**
   * The milliseconds for which waiting pays. Where jobs come so often that the last batch had several, batches begin
   * `maxDelay` apart, unless they are full: more rows share the price of a batch. Where a batch takes longer than that
   * the next one begins at once, because enough has gathered meanwhile; and so does who comes alone.
   */
  private usefulWait(): number {
    const { maxBatch, maxDelay } = this.options;
    const { rows, begin } = this.last;
    if (rows === 1 || this.queuedRows >= maxBatch) return 0;
    return Math.max(0, Math.round(begin + maxDelay - performance.now()));
  }

  private async start(): Promise<void> {
    clearTimeout(this.timer);
    this.timer = undefined;
    this.immediate = undefined;
    const batch = this.take();
    if (batch.length === 0) return;
    const begin = performance.now();
    const rows = batch.reduce((sum, waiting) => sum + waiting.rows, 0);
    this.last = { ...this.last, rows, begin };
    this.running++;
    this.schedule(); // another full one
    this.events.started?.(
      rows,
      batch.map(({ since }) => (begin - since) / 1000),
    );
    await this.settle(batch);
    const end = performance.now();
    this.last.milliseconds = end - begin;
    this.running--;
    this.events.ended?.((end - begin) / 1000);
    this.schedule();
  }

  /** Where a batch fails, each of its halves is tried alone, and so on, so that only those jobs fail that are to blame. */
  private async settle(batch: readonly Waiting<Job, Result>[]): Promise<void> {
    try {
      const results = await this.run(batch.map(({ job }) => job));
      batch.forEach(({ resolve }, i) => resolve(results[i]!));
    } catch (error) {
      if (batch.length === 1) batch[0]!.reject(error);
      else {
        const half = batch.length >> 1;
        await this.settle(batch.slice(0, half));
        await this.settle(batch.slice(half));
      }
    }
  }

  /** The first jobs that fit into a batch, at least one if there is one whose client has not gone. */
  private take(): Waiting<Job, Result>[] {
    const batch: Waiting<Job, Result>[] = [];
    let rows = 0;
    let count = 0;
    for (const waiting of this.queue) {
      if (waiting.hasGone()) waiting.reject(clientHasGone());
      else if (batch.length > 0 && rows + waiting.rows > this.options.maxBatch) break;
      else {
        rows += waiting.rows;
        batch.push(waiting);
      }
      this.queuedRows -= waiting.rows;
      count++;
    }
    this.queue.splice(0, count);
    return batch;
  }
}
