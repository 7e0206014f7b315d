// What the command `score` is told.
import { lstatSync, realpathSync, statSync } from 'node:fs';
import { dirname } from 'node:path';
import { parseArgs } from 'node:util';
import { getNumThreads } from 'dynaquant';

import { modelNames } from '../models.js';
import { integerOf, redisOf } from '../option-values.js';
import { maxChunkRows } from './dataset.js';

export const help = `score FILE [options]   scores a dataset of JSON Lines, one row a line

  --model NAME      ${modelNames.join(', ')}; char-lm unless given
  --workers N       worker processes on this machine, 0 to 256; one for each CPU that this may use,
                    unless given.
                    0 scores in this process, without Redis
  --remote          start no workers: those of other machines do the work (score-worker)
  --redis URL       Redis, rather than REDIS_URL. Without either, or with local, one is started for this run
  --output FILE     FILE.scores.jsonl unless given
  --chunk ROWS      rows of a chunk, 1 to ${maxChunkRows}; 100 unless given
  --ahead CHUNKS    how many chunks are in Redis at a time, 1 to 10000; 256 unless given
  --skip-invalid    leave out lines that are no rows, rather than end with an error

A row of char-lm is {"text": "…"}, one of an lstm {"x": [[…], …]}; an "id" comes back.
A run that was stopped or killed goes on where it was when the same command is given again.`;

export interface Options {
  readonly file: string;
  readonly model: string;
  /** 0 scores in this process. */
  readonly workers: number;
  readonly remote: boolean;
  /** Undefined where one is to be started. */
  readonly redis: string | undefined;
  readonly output: string;
  readonly chunkRows: number;
  readonly ahead: number;
  readonly skipInvalid: boolean;
}

/** @throws {Error} with a sentence for the user */
export function optionsOf(
  args: readonly string[],
  env: Readonly<Record<string, string | undefined>>,
): Options | 'help' {
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
  const workers = integerOf('--workers', values.workers ?? String(Math.min(getNumThreads(), 256)), 0, 256);
  if (workers === 0 && values.redis !== undefined)
    throw new RangeError('--workers 0 scores in this process, so --redis should not be given beside it');
  const given =
    values.redis === undefined ? redisOf('REDIS_URL', env['REDIS_URL']) : redisOf('--redis', values.redis);
  const redis = given === 'local' ? undefined : given;
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
    chunkRows: integerOf('--chunk', values.chunk, 1, maxChunkRows),
    ahead: integerOf('--ahead', values.ahead, 1, 10_000),
    skipInvalid: values['skip-invalid'],
  };
}

function checkOutput(file: string, output: string): void {
  const there = statSync(output, { throwIfNoEntry: false });
  if (output === '' || there?.isDirectory() === true)
    throw new RangeError(`--output should be a file, but '${output}' is ${there ? 'a folder' : 'no name'}`);
  if (lstatSync(output, { throwIfNoEntry: false })?.isFile() === false)
    throw new RangeError(
      `--output should be a file of its own, because it is replaced, but '${output}' is none`,
    );
  if (statSync(dirname(output), { throwIfNoEntry: false })?.isDirectory() !== true)
    throw new RangeError(`--output should be in a folder that exists, got '${output}'`);
  const isInput = there !== undefined && statSync(file, { throwIfNoEntry: false })?.ino === there.ino;
  if (isInput && realpathSync(file) === realpathSync(output))
    throw new RangeError(`--output should be another file than FILE, but it is ${output} too`);
}
