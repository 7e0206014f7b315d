import type { FileHandle } from 'node:fs/promises';
import type { Writable } from 'node:stream';
import type { WritableStream } from 'node:stream/web';

import { describe, rangeError } from '../errors.js';
import { nextTurn } from '../turn.js';
import type { Steps } from './file.js';

// How pieces of a file get into what the caller has opened.

type ByteStream = Writable | WritableStream<Uint8Array>;
/** Where `save` writes to: a path, a file URL, an open file, or a stream of Node's or of the web's. */
export type SaveTarget = string | URL | FileHandle | Writable | WritableStream<Uint8Array>;

export function isStream(value: unknown): value is ByteStream {
  return hasMethods(value, ['write', 'end', 'on']) || isWebStream(value);
}

export function isWritableHandle(value: unknown): value is FileHandle {
  return hasMethods(value, ['write', 'stat', 'sync']);
}

function isWebStream(value: unknown): value is WritableStream<Uint8Array> {
  return hasMethods(value, ['getWriter', 'close', 'abort']);
}

function hasMethods(value: unknown, names: readonly string[]): boolean {
  if (typeof value !== 'object' || value === null) return false;
  return names.every((name) => typeof (value as Record<string, unknown>)[name] === 'function');
}

/** Writes pieces with a function that writes at most what it is given, and returns how many bytes it wrote. */
export function* writeAll(pieces: Iterable<Uint8Array>, write: (bytes: Uint8Array) => unknown): Steps<void> {
  for (const piece of pieces) {
    for (let done = 0; done < piece.length;) {
      const count = (yield write(piece.subarray(done))) as number;
      // A handle of the caller's own may answer anything.
      if (!(Number.isInteger(count) && count > 0 && count <= piece.length - done)) {
        const sentence = `target should write 1 to ${piece.length - done} bytes, but wrote ${describe(count)}`;
        throw rangeError('ERR_INVALID_ARG_VALUE', sentence);
      }
      done += count;
    }
  }
}

/** Writes pieces from where the file stands, and leaves it open. */
export function* writeToHandle(
  handle: FileHandle,
  pieces: Iterable<Uint8Array>,
  flush: boolean,
): Steps<void> {
  yield* writeAll(pieces, async (bytes) => (await handle.write(bytes)).bytesWritten);
  // What a pipe has taken is on no disk.
  if (flush && ((yield handle.stat()) as { isFile(): boolean }).isFile()) yield handle.sync();
}

/** Writes pieces to a stream as fast as it takes them, and ends it. An error destroys the stream. */
export function* endStream(stream: ByteStream, pieces: Iterable<Uint8Array>): Steps<void> {
  // Loaded here, because it takes 2 ms at the start of a program that has no stream.
  const { pipeline } = process.getBuiltinModule('node:stream/promises');
  if (isWebStream(stream) ? stream.locked : !stream.writable) {
    const sentence = `target should be a stream that can be written, but it ${isWebStream(stream) ? 'is locked' : 'has ended'}`;
    throw rangeError('ERR_INVALID_ARG_VALUE', sentence);
  }
  // The types of the web's streams do not know what Node takes.
  yield pipeline(copies(pieces), stream as Writable);
}

/** A stream may keep what it took, and one that takes it at once leaves no turn to the event loop. */
async function* copies(pieces: Iterable<Uint8Array>): AsyncGenerator<Uint8Array> {
  for (const piece of pieces) {
    yield piece.slice();
    await nextTurn();
  }
}
