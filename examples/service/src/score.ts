// Scores a dataset, in this process or in many: see README.md.
import { createHash } from 'node:crypto';
import { realpathSync, statSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { dirname } from 'node:path';
import { parseArgs } from 'node:util';
import { Redis } from 'ioredis';

import { startLocalRedis } from './local-redis.js';
import { buildModel, modelNames } from './models.js';
import { type Chunk, type Dataset, maxChunkRows, readChunk, readDataset } from './scoring/dataset.js';
import { LocalWorkers } from './scoring/local-workers.js';
import { Parts } from './scoring/parts.js';
import { cannotScore, scoreThroughQueue } from './scoring/queue.js';
import { outputFormat, Scorer } from './scoring/rows.js';

const help = `score FILE [options]   scores a dataset of JSON Lines, one row a line

  --model NAME      ${modelNames.join(', ')}; char-lm unless given
  --workers N       worker processes on this machine, 0 to 256; one for each CPU unless given.
                    0 scores in this process, without Redis
  --remote          start no workers: those of other machines do the work (score-worker)
  --redis URL       Redis, rather than REDIS_URL. Without either, one is started for this run
  --output FILE     FILE.scores.jsonl unless given
  --chunk ROWS      rows of a chunk, 1 to ${maxChunkRows}; 100 unless given
  --ahead CHUNKS    how many chunks are in Redis at a time, 1 to 10000; 256 unless given
  --skip-invalid    leave out lines that are no rows, rather than end with an error

A row of char-lm is {"text": "…"}, one of an lstm {"x": [[…], …]}; an "id" comes back.
A run that was stopped or killed goes on where it was when the same command is given again.`;

interface Options {
  readonly file: string;
  readonly model: string;
  /** 0 scores in this process. */
  readonly workers: number;
  readonly remote: boolean;
  readonly redis: string | undefined;
  readonly output: string;
  readonly chunkRows: number;
  readonly ahead: number;
  readonly skipInvalid: boolean;
}

/** @throws {Error} with a sentence for the user */
function optionsOf(args: readonly string[]): Options | 'help' {
  const { values, positionals } = parseArgs({
    args: [...args],
    allowPositionals: true,
    options: {
      model: { type: 'string', default: 'char-lm' },
      workers: { type: 'string' },
      remote: { type: 'boolean', default: false },
      redis: { type: 'string' },
      output: { type: 'string' },
      chunk: { type: 'string', default: '100' },
      ahead: { type: 'string', default: '256' },
      'skip-invalid': { type: 'boolean', default: false },
      help: { type: 'boolean', default: false },
    },
  });
  if (values.help) return 'help';
  const [file, ...more] = positionals;
  if (file === undefined || file === '' || more.length > 0)
    throw new RangeError(
      `score takes one FILE, got ${positionals.length === 0 ? 'none' : positionals.join(' ')}`,
    );
  if (!modelNames.includes(values.model))
    throw new RangeError(`--model should be one of ${modelNames.join(', ')}, got '${values.model}'`);
  if (values.remote && values.workers !== undefined)
    throw new RangeError('--remote starts no workers, so --workers should not be given beside it');
  const workers = integer('--workers', values.workers ?? String(availableParallelism()), 0, 256);
  if (workers === 0 && values.redis !== undefined)
    throw new RangeError('--workers 0 scores in this process, so --redis should not be given beside it');
  const redis = redisOf(values.redis ?? process.env['REDIS_URL']);
  if (values.remote && redis === undefined)
    throw new RangeError('--remote needs the Redis of the workers: --redis URL or REDIS_URL');
  const output = values.output ?? `${file}.scores.jsonl`;
  checkOutput(file, output);
  return {
    file,
    model: values.model,
    workers,
    remote: values.remote,
    redis,
    output,
    chunkRows: integer('--chunk', values.chunk, 1, maxChunkRows),
    ahead: integer('--ahead', values.ahead, 1, 10_000),
    skipInvalid: values['skip-invalid'],
  };
}

function integer(name: string, text: string, least: number, most: number): number {
  const value = /^\d{1,9}$/.test(text) ? Number(text) : NaN;
  if (!(value >= least && value <= most))
    throw new RangeError(`${name} should be a whole number from ${least} to ${most}, got '${text}'`);
  return value;
}

function redisOf(url: string | undefined): string | undefined {
  if (!url) return undefined;
  if (!/^(rediss?:\/\/.|\/.)/.test(url))
    throw new RangeError(`--redis should be redis://…, rediss://… or the path of a socket, got '${url}'`);
  return url;
}

function checkOutput(file: string, output: string): void {
  const there = statSync(output, { throwIfNoEntry: false });
  if (output === '' || there?.isDirectory() === true)
    throw new RangeError(`--output should be a file, but '${output}' is ${there ? 'a folder' : 'no name'}`);
  if (statSync(dirname(output), { throwIfNoEntry: false })?.isDirectory() !== true)
    throw new RangeError(`--output should be in a folder that exists, got '${output}'`);
  const isInput = there !== undefined && statSync(file, { throwIfNoEntry: false })?.ino === there.ino;
  if (isInput && realpathSync(file) === realpathSync(output))
    throw new RangeError(`--output should be another file than FILE, but it is ${output} too`);
}

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

async function scoreInWorkers(run: Run, stopping: AbortController): Promise<void> {
  const { options, scorer, dataset, name, missing } = run;
  const local = options.redis === undefined ? await startLocalRedis() : undefined;
  const url = local?.url ?? options.redis!;
  const redis = new Redis(url, { maxRetriesPerRequest: 10 });
  let problem = '';
  redis.on('error', (error: Error) => (problem = error.message));
  let workers: LocalWorkers | undefined;
  try {
    await redis.ping();
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
    if ((error as Error).name !== 'MaxRetriesPerRequestError') throw error;
    throw new Error(`Redis does not answer: ${problem}`, { cause: error });
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
  const parties = [outputFormat, options.model, scorer.fingerprint, dataset.fingerprint];
  const name = createHash('sha256').update(JSON.stringify(parties)).digest('hex').slice(0, 32);
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
    options = optionsOf(args);
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
