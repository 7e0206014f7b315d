// A dataset: a file of JSON Lines, cut into chunks.
import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { open, stat } from 'node:fs/promises';

import { type Line, type Scorer } from './rows.js';

/** What a chunk may hold at most, of input and of output each, because both travel through Redis. */
export const maxChunkBytes = 2 ** 20;
export const maxChunkRows = 1000;

export interface Chunk {
  /** From 0. */
  readonly number: number;
  /** Its place in the file, in bytes. */
  readonly start: number;
  readonly end: number;
  /** Numbers of lines, from 1. */
  readonly firstLine: number;
  readonly lastLine: number;
  readonly rows: number;
  readonly digest: string;
}

export interface DatasetOptions {
  readonly chunkRows: number;
  readonly skipInvalid: boolean;
}

export interface Dataset {
  readonly path: string;
  readonly chunks: readonly Chunk[];
  readonly rows: number;
  /** How many lines were left out, and what is wrong with the first of them. */
  readonly invalid: number;
  readonly firstProblem: string | undefined;
  /** The same for the same bytes that are cut in the same way. */
  readonly fingerprint: string;
}

/** A line without its end, or undefined where it is too long to be kept. */
interface RawLine {
  readonly number: number;
  readonly start: number;
  readonly end: number;
  readonly bytes: Buffer | undefined;
}

/** The lines of a file, of which none takes more memory than a chunk may. */
async function* rawLines(path: string, onBytes: (bytes: Buffer) => void): AsyncGenerator<RawLine> {
  let number = 1;
  let start = 0;
  let length = 0;
  let parts: Buffer[] = [];
  const keep = (part: Buffer): void => {
    length += part.length;
    if (length <= maxChunkBytes) parts.push(part);
    else parts = [];
  };
  const take = (): RawLine => {
    const bytes = length > maxChunkBytes ? undefined : Buffer.concat(parts);
    const line = { number, start, end: start + length, bytes };
    number++;
    start += length + 1;
    length = 0;
    parts = [];
    return line;
  };
  for await (const bytes of createReadStream(path) as AsyncIterable<Buffer>) {
    onBytes(bytes);
    let from = 0;
    for (let to; (to = bytes.indexOf(newline, from)) !== -1; from = to + 1) {
      keep(bytes.subarray(from, to));
      yield take();
    }
    keep(bytes.subarray(from));
  }
  if (length > 0) yield take();
}

const newline = '\n'.charCodeAt(0);
const utf8 = new TextDecoder('utf-8', { fatal: true });

/** A row, or undefined if the line is empty. @throws {RangeError} when it is not what the model takes */
function checkedText(bytes: Buffer | undefined, scorer: Scorer): string | undefined {
  if (bytes === undefined) throw new RangeError(`should have at most ${maxChunkBytes} bytes`);
  let text: string;
  try {
    text = utf8.decode(bytes).trim();
  } catch {
    throw new RangeError('should be UTF-8');
  }
  if (text === '') return undefined;
  scorer.check(text);
  return text;
}

/** Cuts rows into chunks as they come. */
class Cutter {
  readonly chunks: Chunk[] = [];
  rows = 0;
  private chunk: Omit<Chunk, 'digest'> | undefined;
  private digest = createHash('sha256');

  constructor(private readonly rowsPerChunk: number) {}

  add({ number, start, end, bytes }: RawLine): void {
    if (this.chunk?.rows === this.rowsPerChunk || end - (this.chunk?.start ?? start) > maxChunkBytes)
      this.finish();
    this.chunk = {
      number: this.chunks.length,
      start: this.chunk?.start ?? start,
      end,
      firstLine: this.chunk?.firstLine ?? number,
      lastLine: number,
      rows: (this.chunk?.rows ?? 0) + 1,
    };
    this.digest.update(bytes!).update('\n');
    this.rows++;
  }

  finish(): void {
    if (this.chunk !== undefined) this.chunks.push({ ...this.chunk, digest: this.digest.digest('hex') });
    this.chunk = undefined;
    this.digest = createHash('sha256');
  }
}

/**
 * Reads a dataset once, checks every line and cuts it into chunks. Nothing of it stays in memory but where its chunks
 * are.
 *
 * @throws {RangeError} with a sentence that names the line when one is invalid, unless they are to be skipped
 */
export async function readDataset(path: string, scorer: Scorer, options: DatasetOptions): Promise<Dataset> {
  const { chunkRows, skipInvalid } = options;
  const found = await stat(path).catch(() => undefined);
  if (found?.isFile() !== true)
    throw new RangeError(`FILE should be a file, but ${path} is ${found ? 'no file' : 'not there'}`);
  const cutter = new Cutter(Math.min(chunkRows, Math.ceil(maxChunkBytes / scorer.bytesPerLine)));
  const hash = createHash('sha256').update(JSON.stringify([chunkRows, skipInvalid, maxChunkBytes]));
  let invalid = 0;
  let firstProblem: string | undefined;
  for await (const line of rawLines(path, (bytes) => hash.update(bytes))) {
    try {
      if (checkedText(line.bytes, scorer) !== undefined) cutter.add(line);
    } catch (error) {
      const problem = `line ${line.number} of ${path}: ${(error as Error).message}`;
      if (!skipInvalid) throw new RangeError(problem, { cause: error });
      firstProblem ??= problem;
      invalid++;
    }
  }
  cutter.finish();
  const { chunks, rows } = cutter;
  if (rows === 0) {
    const why = firstProblem === undefined ? '' : `: ${firstProblem}`;
    throw new RangeError(`FILE should have a line that can be scored, but ${path} has none${why}`);
  }
  return { path, chunks, rows, invalid, firstProblem, fingerprint: hash.digest('hex') };
}

/** The rows of a chunk. @throws {Error} when the file is no longer what it was */
export async function readChunk({ path }: Dataset, chunk: Chunk, scorer: Scorer): Promise<readonly Line[]> {
  const bytes = Buffer.alloc(chunk.end - chunk.start);
  const file = await open(path);
  try {
    await file.read(bytes, 0, bytes.length, chunk.start);
  } finally {
    await file.close();
  }
  const digest = createHash('sha256');
  const lines: Line[] = [];
  let from = 0;
  for (let number = chunk.firstLine; from <= bytes.length; number++) {
    const end = bytes.indexOf(newline, from);
    const line = bytes.subarray(from, end === -1 ? bytes.length : end);
    from += line.length + 1;
    let text: string | undefined;
    try {
      text = checkedText(line, scorer);
    } catch {
      continue; // Left out, or the digest tells that the file was changed.
    }
    if (text === undefined) continue;
    digest.update(line).update('\n');
    lines.push([number, text]);
  }
  if (digest.digest('hex') !== chunk.digest)
    throw new Error(`${path} was changed while it was scored, in line ${chunk.firstLine} or after it`);
  return lines;
}
