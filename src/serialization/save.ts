import { checkBoolean, checkOptions, describe, tagOf, typeError } from '../errors.js';
import type { Tensor } from '../tensor/index.js';
import { asyncFileSystem, replaceFile, syncFileSystem } from './file-node-replace.js';
import { endStream, isStream, isWritableHandle, writeToHandle, type SaveTarget } from './file-node-write.js';
import { fileName } from './file-node.js';
import { runAsync, runSync, type Steps } from './file.js';
import { safetensorsPieces } from './formats/safetensors/write.js';

/** What {@link save} takes: a state dict, or anything that lists names and tensors. */
export type Saveable = Iterable<readonly [string, Tensor]>;

export type { SaveTarget };

/** Options of {@link save} and {@link saveSync}. */
export interface SaveOptions {
  /**
   * Whether to wait until a file, and the folder that names it, are on the disk. Without, it is faster, but a file may be
   * lost if the power fails soon after. Default: true
   */
  flush?: boolean;
}

/**
 * Writes a state dict as a safetensors file.
 *
 * To a path it writes whole or not at all: a temporary file beside it, which is on the disk when it takes the name. A
 * link's target is replaced; a file's mode is kept. What killed calls left there is removed.
 *
 * An open file is written from its position on, and stays open. A stream is written as fast as it takes the bytes, and
 * ended. If either fails, a part has been written; the stream is then destroyed.
 *
 * It copies and writes a few megabytes at a time, and the event loop runs in between. So leave the state as it is until
 * it is done.
 *
 * @throws {TypeError} when `state` holds anything but names and tensors, or `target` is of the wrong kind
 * @throws {RangeError} for a tensor that the format cannot hold, a path that is no place for a file, or a stream that
 * has ended
 */
export async function save(state: Saveable, target: SaveTarget, options: SaveOptions = {}): Promise<void> {
  const write = writerTo(target, flushOf('save', options));
  await runAsync(saving(state, write));
}

/** {@link save} to a path, synchronously. */
export function saveSync(state: Saveable, path: string | URL, options: SaveOptions = {}): void {
  const flush = flushOf('saveSync', options);
  const name = fileName(path);
  runSync(saving(state, (pieces) => replaceFile(syncFileSystem, name, pieces, flush)));
}

type Writer = (pieces: Iterable<Uint8Array>) => Steps<void>;

function* saving(state: Saveable, write: Writer): Steps<void> {
  yield* write(yield* safetensorsPieces(state));
}

function writerTo(target: unknown, flush: boolean): Writer {
  if (isWritableHandle(target)) return (pieces) => writeToHandle(target, pieces, flush);
  if (isStream(target)) return (pieces) => endStream(target, pieces);
  if (typeof target !== 'string' && tagOf(target) !== 'URL') {
    const sentence = `target should be a path, a URL, a FileHandle or a writable stream, got ${describe(target)}`;
    throw typeError('ERR_INVALID_ARG_TYPE', sentence);
  }
  const name = fileName(target);
  return (pieces) => replaceFile(asyncFileSystem, name, pieces, flush);
}

function flushOf(where: string, options: SaveOptions): boolean {
  checkOptions(where, options, ['flush']);
  const { flush = true } = options;
  checkBoolean('flush', flush);
  return flush;
}
