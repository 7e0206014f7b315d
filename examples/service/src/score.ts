// Scores a dataset, in this process or in many: see docs/from-one-process-to-a-fleet.md.
import { createHash } from 'node:crypto';
import { Redis } from 'ioredis';

import { startLocalRedis } from './local-redis.js';
import { buildModel } from './models.js';
import { type Chunk, type Dataset, readChunk, readDataset } from './scoring/dataset.js';
import { LocalWorkers } from './scoring/local-workers.js';
import { help, optionsOf, type Options } from './scoring/options.js';
import { Parts } from './scoring/parts.js';
import { cannotScore, scoreThroughQueue } from './scoring/queue.js';
import { outputFormat, Scorer } from './scoring/rows.js';

const say = (sentence: string): void => console.error(`score: ${sentence}`);

class Progress {
  private readonly began = performance.now();
  private said = performance.now();
  private scored = 0;

  constructor(
    private readonly chunks: number,
    private readonly before: number,
  ) {
    if (before > 0) say(`goes on: ${before} of ${chunks} chunks are there already`);
  }

  get done(): number {
    return this.before + this.scored;
  }

  add(): void {
    this.scored++;
    const now = performance.now();
    if (now - this.said < 2000) return;
    this.said = now;
    const perSecond = (1000 * this.scored) / (now - this.began);
    const left = Math.round((this.chunks - this.done) / perSecond);
    say(`${this.done} of ${this.chunks} chunks, ${perSecond.toFixed(1)} a second, ${left} s to go`);
  }
}

/** What there is of a run, whoever computes. */
interface Run {
  readonly options: Options;
  readonly scorer: Scorer;
  readonly dataset: Dataset;
  /** The fingerprint of the dataset, the model and the output's form. */
  readonly name: string;
  readonly missing: readonly Chunk[];
  readonly keep: (chunk: Chunk, answer: string) => Promise<void>;
}

async function scoreHere({ scorer, dataset, missing, keep }: Run, signal: AbortSignal): Promise<void> {
  for (const chunk of missing) {
    signal.throwIfAborted();
    const lines = await readChunk(dataset, chunk, scorer);
    const answer = await scorer.score(lines).catch((error: Error) => {
      throw cannotScore(chunk, error.message);
    });
    await keep(chunk, answer);
  }
}

/** Fails at once where there is no Redis. One that was there may be away for about a minute. */
function connectionTo(url: string, onError: (error: Error) => void): Redis {
  let wasThere = false;
  const redis = new Redis(url, {
    lazyConnect: true,
    maxRetriesPerRequest: 60,
    retryStrategy: (times) => (wasThere ? Math.min(100 * times, 1000) : null),
  });
  redis.on('error', onError);
  redis.on('ready', () => (wasThere = true));
  return redis;
}

async function scoreInWorkers(run: Run, stopping: AbortController): Promise<void> {
  const { options, scorer, dataset, name, missing } = run;
  const local = options.redis === undefined ? await startLocalRedis() : undefined;
  const url = local?.url ?? options.redis!;
  let problem: Error | undefined;
  const redis = connectionTo(url, (error) => (problem = error));
  let workers: LocalWorkers | undefined;
  try {
    await redis.connect();
    if (!options.remote) workers = new LocalWorkers(url, options.workers, (error) => stopping.abort(error));
    const queueRun = {
      run: name,
      chunks: missing,
      ahead: options.ahead,
      task: async (chunk: Chunk) => ({
        model: options.model,
        fingerprint: scorer.fingerprint,
        lines: await readChunk(dataset, chunk, scorer),
      }),
      keep: async (chunk: Chunk, answer: string) => {
        await run.keep(chunk, answer);
        workers?.succeeded();
      },
    };
    await scoreThroughQueue(redis, queueRun, stopping.signal);
  } catch (error) {
    if (redis.status === 'ready' || stopping.signal.aborted) throw error;
    throw new Error(`Redis does not answer: ${problem?.message}`, { cause: error });
  } finally {
    await workers?.stop();
    redis.disconnect();
    await local?.stop();
  }
}

async function score(options: Options, stopping: AbortController): Promise<void> {
  const began = performance.now();
  const scorer = new Scorer(buildModel(options.model));
  const dataset = await readDataset(options.file, scorer, options);
  if (dataset.invalid > 0) say(`leaves out ${dataset.invalid} lines, the first is ${dataset.firstProblem}`);
  const ingredients = [outputFormat, options.model, scorer.fingerprint, dataset.fingerprint];
  const name = createHash('sha256').update(JSON.stringify(ingredients)).digest('hex').slice(0, 32);
  const parts = new Parts(options.output, name, dataset.chunks);
  const there = await parts.begin();
  const progress = new Progress(dataset.chunks.length, there.size);
  const run = {
    options,
    scorer,
    dataset,
    name,
    missing: dataset.chunks.filter(({ number }) => !there.has(number)),
    keep: async (chunk: Chunk, answer: string) => {
      await parts.write(chunk, answer);
      progress.add();
    },
  };
  try {
    if (options.workers === 0) await scoreHere(run, stopping.signal);
    else if (run.missing.length > 0) await scoreInWorkers(run, stopping);
  } catch (error) {
    say(`${progress.done} of ${dataset.chunks.length} chunks are there; the same command goes on from here`);
    throw error;
  }
  await parts.merge();
  const seconds = ((performance.now() - began) / 1000).toFixed(1);
  say(`${dataset.rows} rows in ${dataset.chunks.length} chunks are in ${options.output}, after ${seconds} s`);
}

async function main(args: readonly string[]): Promise<number> {
  let options;
  try {
    options = optionsOf(args, process.env);
  } catch (error) {
    say((error as Error).message);
    say('--help lists the options');
    return 2;
  }
  if (options === 'help') {
    console.log(help);
    return 0;
  }
  const stopping = new AbortController();
  const onSignal = (signal: NodeJS.Signals): void => {
    if (stopping.signal.aborted) process.exit(1);
    stopping.abort(new Error(`stopped by ${signal}`));
  };
  process.on('SIGINT', onSignal);
  process.on('SIGTERM', onSignal);
  try {
    await score(options, stopping);
    return 0;
  } catch (error) {
    say((error as Error).message);
    return 1;
  }
}

process.exit(await main(process.argv.slice(2)));
