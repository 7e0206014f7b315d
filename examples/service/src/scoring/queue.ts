// Chunks on their way: from one process that has the dataset, through Redis, to workers on any machine, and back.
import { setTimeout as sleep } from 'node:timers/promises';
import { Job, Queue, Worker } from 'bullmq';
import { type Redis } from 'ioredis';

import { buildModel } from '../models.js';
import { type Chunk } from './dataset.js';
import { type Line, Scorer } from './rows.js';

/** All runs share one queue, by whose length workers are scaled (kubernetes/score.yaml). */
const queueName = 'score';

/** A chunk as a worker gets it. It has the lines themselves, so that workers need no file. */
export interface Task {
  readonly model: string;
  readonly fingerprint: string;
  readonly lines: readonly Line[];
}

const attempts = 5;
/** A chunk that so many workers died of is given up. Some die of other reasons, as with a deploy. */
const maxStalledCount = 10;
/** How long a worker may be silent, in milliseconds, until its chunk goes to another. */
const lockDuration = 5000;
/** What nobody fetches, because its run was given up, is forgotten after so many seconds. */
const keptFor = { age: 7 * 24 * 3600 };

export interface QueueRun {
  /** Part of the jobs' names, so that a chunk of one run is never taken for another's. */
  readonly run: string;
  readonly chunks: readonly Chunk[];
  /** How many chunks are in Redis at a time. */
  readonly ahead: number;
  readonly task: (chunk: Chunk) => Promise<Task>;
  /** Keeps a chunk's answer. Only afterwards is it removed from Redis. */
  readonly keep: (chunk: Chunk, answer: string) => Promise<void>;
}

/**
 * Sends chunks and collects the answers until all are there. It asks Redis what is finished rather than listening for
 * events, so nothing is missed when a connection breaks, and a run that was killed goes on with what workers did
 * meanwhile.
 *
 * @param redis - connected; it is not closed
 * @throws {Error} when a chunk was tried too often, and when Redis does not answer
 */
export async function scoreThroughQueue(redis: Redis, run: QueueRun, signal: AbortSignal): Promise<void> {
  // BullMQ's stream of events, which nobody reads here, would otherwise keep thousands of answers.
  const streams = { events: { maxLen: 100 } };
  const queue: ScoreQueue = new Queue(queueName, { connection: redis, streams });
  queue.on('error', () => undefined); // Whatever call failed rejects as well.
  try {
    await new Sender(queue, run).run(signal);
  } finally {
    await queue.close();
  }
}

type ScoreQueue = Queue<Task, string>;

class Sender {
  private readonly sent = new Map<string, Chunk>();

  constructor(
    private readonly queue: ScoreQueue,
    private readonly plan: QueueRun,
  ) {}

  async run(signal: AbortSignal): Promise<void> {
    await this.removeLeftovers();
    let next = 0;
    let idle = 0;
    while (next < this.plan.chunks.length || this.sent.size > 0) {
      signal.throwIfAborted();
      const fresh = this.plan.chunks.slice(next, next + Math.min(this.plan.ahead - this.sent.size, 64));
      await this.send(fresh);
      next += fresh.length;
      const collected = await this.collect();
      idle = fresh.length + collected > 0 ? 0 : idle + 1;
      if (idle === 0) continue;
      await this.checkFailed();
      // A Redis that was restarted may have lost its jobs.
      if (idle % 40 === 0) await this.send(await this.missing());
      await sleep(50);
    }
  }

  private nameOf(chunk: Chunk): string {
    return `${this.plan.run}-${chunk.number}`;
  }

  /** A job whose name is in Redis already is not added again. */
  private async send(chunks: readonly Chunk[]): Promise<void> {
    if (chunks.length === 0) return;
    const jobs = chunks.map(async (chunk) => ({
      name: 'chunk',
      data: await this.plan.task(chunk),
      opts: {
        jobId: this.nameOf(chunk),
        attempts,
        backoff: { type: 'exponential', delay: 500 },
        removeOnComplete: keptFor,
        removeOnFail: keptFor,
      },
    }));
    await this.queue.addBulk(await Promise.all(jobs));
    for (const chunk of chunks) this.sent.set(this.nameOf(chunk), chunk);
  }

  /** Keeps what is finished, some at a time. */
  private async collect(): Promise<number> {
    const finished = (await this.queue.getRanges(['completed'])).filter((name) => this.sent.has(name));
    const some = finished.slice(0, 32);
    await Promise.all(
      some.map(async (name) => {
        const job = await Job.fromId<Task, string>(this.queue, name);
        if (job === undefined) return;
        try {
          await this.plan.keep(this.sent.get(name)!, job.returnvalue);
          this.sent.delete(name);
        } finally {
          // If it could not be kept, because it was none perhaps, the next start of this run asks anew.
          await job.remove();
        }
      }),
    );
    return some.length;
  }

  private async checkFailed(): Promise<void> {
    const name = (await this.queue.getRanges(['failed'])).find((each) => this.sent.has(each));
    if (name === undefined) return;
    const reason = (await Job.fromId(this.queue, name))?.failedReason;
    throw cannotScore(this.sent.get(name)!, `${reason} (tried ${attempts} times)`);
  }

  private async missing(): Promise<Chunk[]> {
    const there = new Set(await this.queue.getRanges(['wait', 'active', 'delayed', 'completed', 'failed']));
    return [...this.sent].filter(([name]) => !there.has(name)).map(([, chunk]) => chunk);
  }

  /** What an earlier start of this run left behind: failures, which are tried again, and what was kept already. */
  private async removeLeftovers(): Promise<void> {
    const wanted = new Set(this.plan.chunks.map((chunk) => this.nameOf(chunk)));
    const own = (name: string): boolean => name.startsWith(`${this.plan.run}-`);
    const failed = (await this.queue.getRanges(['failed'])).filter(own);
    const kept = (await this.queue.getRanges(['completed'])).filter((name) => own(name) && !wanted.has(name));
    await Promise.all([...failed, ...kept].map((name) => this.queue.remove(name)));
  }
}

export const cannotScore = ({ firstLine, lastLine }: Chunk, reason: string): Error =>
  new Error(`lines ${firstLine} to ${lastLine} could not be scored: ${reason}`);

/** Scores the chunks that come, one after the other, until it is closed. */
export function startWorker(
  redis: Redis,
  log: (sentence: string) => void,
  score: (task: Task) => Promise<string> = taskScorer(),
): Worker<Task, string> {
  const worker = new Worker<Task, string>(queueName, ({ data }) => score(data), {
    connection: redis,
    lockDuration,
    stalledInterval: lockDuration / 2,
    maxStalledCount,
  });
  worker.on('failed', (job, error) => log(`chunk ${job?.id} failed: ${error.message}`));
  worker.on('error', (error) => log(`${error.message || error.name}`));
  return worker;
}

/** Builds each model when the first chunk for it comes. */
export function taskScorer(): (task: Task) => Promise<string> {
  const scorers = new Map<string, Scorer>();
  return async ({ model, fingerprint, lines }) => {
    const scorer = scorers.get(model) ?? new Scorer(buildModel(model));
    scorers.set(model, scorer);
    if (scorer.fingerprint !== fingerprint)
      throw new Error(`the ${model} of this worker is another model than that of the run`);
    return scorer.score(lines);
  };
}
