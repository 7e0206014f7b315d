// The output, chunk by chunk: what is there already, what is still missing, and all of it in order.
import { randomUUID } from 'node:crypto';
import { createWriteStream } from 'node:fs';
import { mkdir, readdir, readFile, rename, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { pipeline } from 'node:stream/promises';

import { type Chunk } from './dataset.js';

const nameOf = (number: number): string => `${String(number).padStart(9, '0')}.jsonl`;

/** Files of a folder beside the output, one for each chunk that was scored. It survives whatever is killed. */
export class Parts {
  private readonly folder: string;

  /** @param run - the fingerprint of dataset and model, so that no other run's parts are taken for this one's */
  constructor(
    private readonly output: string,
    run: string,
    private readonly chunks: readonly Chunk[],
  ) {
    this.folder = `${output}.${run.slice(0, 16)}.parts`;
  }

  /** Makes the folder, or finds out which chunks are there already. */
  async begin(): Promise<Set<number>> {
    await mkdir(this.folder).catch((error: NodeJS.ErrnoException) => {
      if (error.code !== 'EEXIST') throw error;
    });
    const names = new Set(await readdir(this.folder));
    const there = this.chunks.filter(({ number }) => names.has(nameOf(number)));
    return new Set(there.map(({ number }) => number));
  }

  /**
   * Writes a chunk's output, all of it or nothing. Whoever writes it again writes the same bytes.
   *
   * @throws {Error} when it is not the output of this chunk
   */
  async write(chunk: Chunk, text: string): Promise<void> {
    checkPart(chunk, text);
    await this.writeWhole(join(this.folder, nameOf(chunk.number)), [text]);
  }

  /**
   * Puts all parts together in the order of the dataset, and removes them.
   *
   * @throws {Error} when one is missing or damaged
   */
  async merge(): Promise<void> {
    await this.writeWhole(this.output, this.texts());
    await rm(this.folder, { recursive: true });
  }

  private async *texts(): AsyncGenerator<string> {
    for (const chunk of this.chunks) {
      const text = await readFile(join(this.folder, nameOf(chunk.number)), 'utf8');
      checkPart(chunk, text);
      yield text;
    }
  }

  /** Writes a file under another name, and gives it its own when all of it is on the disk. */
  private async writeWhole(path: string, texts: Iterable<string> | AsyncIterable<string>): Promise<void> {
    const unfinished = join(this.folder, `${randomUUID()}.unfinished`);
    try {
      await pipeline(texts, createWriteStream(unfinished, { flags: 'wx', flush: true }));
      await rename(unfinished, path);
    } catch (error) {
      await rm(unfinished, { force: true });
      throw error;
    }
  }
}

/** A part has as many lines as its chunk, and begins and ends with the chunk's first and last. Their numbers rise. */
function checkPart({ number, rows, firstLine, lastLine }: Chunk, text: string): void {
  const lines = text.split('\n');
  const end = lines.pop();
  // An id may hold U+2028, which is the end of a line for `.` and `^`.
  const numbers = lines.map((line) => Number(/^\{"line":(\d+),.*\}$/s.exec(line)?.[1] ?? NaN));
  const isRising = numbers.every((line, i) => i === 0 || line > numbers[i - 1]!);
  const isWhole = end === '' && numbers.length === rows;
  if (!isRising || !isWhole || numbers[0] !== firstLine || numbers.at(-1) !== lastLine)
    throw new Error(
      `chunk ${number} should have an answer for each of the ${rows} rows of lines ${firstLine} to ${lastLine}, ` +
        `but it has ${numbers.length}, of lines ${numbers[0]} to ${numbers.at(-1)}`,
    );
}
