import { CheckpointError, describe, rangeError, typeError } from '../errors.js';
import { nextTurn } from '../turn.js';
import type { Unpacked } from '../serialization/file-node-inflate.js';
import type { Steps } from '../serialization/file.js';

// The files of browsers, in place of the file-node modules: bytes, Blobs and Responses, and the web's streams. There is
// no file system.

export function fileName(path: string | URL): never {
  const sentence = `a browser has no file ${describe(String(path))}: load takes bytes, a Blob or a Response, save a WritableStream`;
  throw typeError('ERR_INVALID_ARG_TYPE', sentence);
}

export const openFile = fileName;
export const openFileSync = fileName;
export const handleFile = fileName as (handle: unknown) => never;
export const replaceFile = fileName as (...args: unknown[]) => never;
export const writeToHandle = fileName as (...args: unknown[]) => never;
export const asyncFileSystem = undefined;
export const syncFileSystem = undefined;

export const isHandle = (): boolean => false;
export const isWritableHandle = (): boolean => false;

export function isStream(value: unknown): value is WritableStream<Uint8Array> {
  return value instanceof WritableStream;
}

/** Writes pieces to a stream as fast as it takes them, and closes it. */
export function* endStream(stream: WritableStream<Uint8Array>, pieces: Iterable<Uint8Array>): Steps<void> {
  if (stream.locked) {
    const sentence = 'target should be a stream that can be written, but it is locked';
    throw rangeError('ERR_INVALID_ARG_VALUE', sentence);
  }
  yield new ReadableStream({
    async start(controller) {
      for (const piece of pieces) {
        controller.enqueue(piece.slice()); // a stream may keep what it took
        await nextTurn();
      }
      controller.close();
    },
  }).pipeTo(stream);
}

export function inflateSync(): never {
  throw new CheckpointError(
    'it is compressed, which takes a browser time to undo: give load a Blob instead of bytes',
  );
}

/** What raw deflate data unpacks to. Its size is checked, its CRC-32 is not. */
export async function inflate(packed: Uint8Array<ArrayBuffer>, { size }: Unpacked): Promise<Uint8Array> {
  const bytes = new Uint8Array(size);
  let done = 0;
  const reader = new Blob([packed]).stream().pipeThrough(new DecompressionStream('deflate-raw')).getReader();
  for (let part = await reader.read(); !part.done; part = await reader.read()) {
    if (done + part.value.length > size) {
      await reader.cancel();
      throw new CheckpointError(`it should have ${size} bytes`);
    }
    bytes.set(part.value, done);
    done += part.value.length;
  }
  if (done !== size) throw new CheckpointError(`it should have ${size} bytes`);
  return bytes;
}
