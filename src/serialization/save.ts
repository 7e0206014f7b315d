import type { Tensor } from '../tensor/index.js';
import { fileName, writeWhole, writeWholeSync } from './file-node.js';
import { safetensorsBytes } from './formats/safetensors/write.js';

/** What {@link save} takes: a state dict, or anything that lists names and tensors. */
export type Saveable = Iterable<readonly [string, Tensor]>;

/**
 * Writes a state dict as a safetensors file. It writes a temporary file beside it, and renames that when complete.
 *
 * @throws {TypeError} when `state` holds anything but names and tensors
 * @throws {RangeError} for a tensor that the format cannot hold
 */
export async function save(state: Saveable, path: string | URL): Promise<void> {
  const bytes = safetensorsBytes(state);
  await writeWhole(fileName(path), bytes);
}

/** {@link save}, synchronously. */
export function saveSync(state: Saveable, path: string | URL): void {
  const bytes = safetensorsBytes(state);
  writeWholeSync(fileName(path), bytes);
}
