import { closeSync, fstatSync, openSync, readSync } from 'node:fs';
import { open, type FileHandle } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';

import { CheckpointError, describe, tagOf } from '../errors.js';

/**
 * Readers are generators, written once for both ways to run: what they yield may be a promise. {@link runSync}
 * hands it back as it is (files opened synchronously answer with values), {@link runAsync} awaits it.
 */
export type Steps<T> = Generator<unknown, T, unknown>;

export function runSync<T>(steps: Steps<T>): T {
  let step = steps.next();
  while (!step.done) step = steps.next(step.value);
  return step.value;
}

export async function runAsync<T>(steps: Steps<T>): Promise<T> {
  let step = steps.next();
  while (!step.done) {
    let value: unknown;
    try {
      value = await step.value;
    } catch (error) {
      step = steps.throw(error);
      continue;
    }
    step = steps.next(value);
  }
  return step.value;
}

/** The path of a string or file URL. */
export function fileName(path: unknown): string {
  if (typeof path === 'string') return path;
  if (tagOf(path) === 'URL') return fileURLToPath(path as URL);
  throw new TypeError(`path should be a string or a URL, got ${describe(path)}`);
}

/** A file as readers see it; what `read` and `close` return may be a promise. */
export interface OpenFile {
  readonly size: number;
  /** Reads at most `target.length` bytes from `position` on; gives their number. */
  read(target: Uint8Array, position: number): unknown;
  close(): unknown;
}

/** Opens a file for reading: an {@link OpenFile}, or the promise of one. */
export type Opener = (path: string) => unknown;

export function openFileSync(path: string): OpenFile {
  const fd = openSync(path, 'r');
  try {
    return {
      size: sizeOf(path, fstatSync(fd)),
      read: (target, position) => readSync(fd, target, 0, target.length, position),
      close: () => closeSync(fd),
    };
  } catch (error) {
    closeSync(fd);
    throw error;
  }
}

export async function openFile(path: string): Promise<OpenFile> {
  const handle = await open(path);
  try {
    return await handleFile(handle, path);
  } catch (error) {
    await handle.close();
    throw error;
  }
}

export async function handleFile(handle: FileHandle, name = 'the file'): Promise<OpenFile> {
  return {
    size: sizeOf(name, await handle.stat()),
    read: async (target, position) => (await handle.read(target, 0, target.length, position)).bytesRead,
    close: () => handle.close(),
  };
}

export function bytesFile(bytes: Uint8Array): OpenFile {
  return {
    size: bytes.length,
    read: (target, position) => {
      const part = bytes.subarray(position, position + target.length);
      target.set(part);
      return part.length;
    },
    close: () => undefined,
  };
}

function sizeOf(name: string, stats: { size: number; isFile(): boolean }): number {
  if (!stats.isFile()) throw new CheckpointError(`${name} is no regular file`);
  return stats.size;
}

/** What one call is asked for: the operating system gives less than 2 GB at once. */
const largestRead = 2 ** 30;

/** Fills `target` from `position` on. */
export function* readInto(file: OpenFile, target: Uint8Array, position: number): Steps<void> {
  for (let done = 0; done < target.length;) {
    const count = (yield file.read(target.subarray(done, done + largestRead), position + done)) as number;
    if (count === 0) throw new CheckpointError(`offset ${position + done}: the file ends here`);
    done += count;
  }
}

/** Some bytes of the file. Nothing is allocated for bytes that it does not have. */
export function* readBytes(file: OpenFile, position: number, length: number): Steps<Uint8Array> {
  if (!(position >= 0 && length >= 0 && position + length <= file.size)) {
    throw new CheckpointError(
      `offset ${position}: ${length} bytes should follow, but the file has ${file.size} bytes`,
    );
  }
  const target = new Uint8Array(length);
  yield* readInto(file, target, position);
  return target;
}

/** Room for values, and for views that repeat elements, beside the bytes of the file itself. */
const headroom = 2 ** 25;

/**
 * The memory that loading may take, so that no file unfolds to much more than it is: what stands in a file once
 * may be meant often, by memo or by view.
 */
export class Budget {
  left: number;

  constructor(file: OpenFile) {
    this.left = file.size + headroom;
  }
  /** Takes room, or throws; `where` gives the beginning of the sentence. */
  spend(bytes: number, where: () => string): void {
    this.left -= bytes;
    if (this.left < 0) {
      throw new CheckpointError(`${where()}: the file unfolds to far more than its own size`);
    }
  }
}
