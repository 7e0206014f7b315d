import type { Tensor } from '../tensor/index.js';
import { fileName } from './file-node.js';
import { runAsync, runSync } from './file.js';
import { safetensorsPieces } from './formats/safetensors/write.js';
import { asyncFileSystem, replaceFile, syncFileSystem } from './file-node-replace.js';

/** What {@link save} takes: a state dict, or anything that lists names and tensors. */
export type Saveable = Iterable<readonly [string, Tensor]>;

/**
 * Writes a state dict as a safetensors file, whole or not at all: it writes a temporary file beside it, which is on the
 * disk when it takes the name. A link's target is replaced; a file's mode is kept.
 *
 * It copies and writes a few megabytes at a time, and the event loop runs in between. So leave the tensors as they are
 * until it is done.
 *
 * @throws {TypeError} when `state` holds anything but names and tensors
 * @throws {RangeError} for a tensor that the format cannot hold, or a path that is no place for a file
 */
export async function save(state: Saveable, path: string | URL): Promise<void> {
  await runAsync(replaceFile(asyncFileSystem, fileName(path), safetensorsPieces(state)));
}

/** {@link save}, synchronously. */
export function saveSync(state: Saveable, path: string | URL): void {
  runSync(replaceFile(syncFileSystem, fileName(path), safetensorsPieces(state)));
}
