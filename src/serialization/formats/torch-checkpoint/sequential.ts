import { CheckpointError, describe } from '../../../errors.js';
import { readBytes, type OpenFile, type Steps } from '../../file.js';
import type { Storage } from './storages.js';
import { Dict } from './values.js';

// What the formats before zip archives share.

/** Refuses files that another kind of machine wrote. */
export function checkSystem(info: unknown): void {
  if (!(info instanceof Dict) || info.entries.get('little_endian') !== true) {
    throw new CheckpointError('the file should have been written by a little-endian machine');
  }
}

/** Where storages begin. They follow one another, each after its number of elements. */
export class StoragePositions {
  private readonly positions = new Map<Storage, number>();

  constructor(private readonly file: OpenFile) {}

  has(storage: Storage): boolean {
    return this.positions.has(storage);
  }
  /** Notes where a storage begins whose number of elements is at `position`. Returns where it ends. */
  *skip(storage: Storage, position: number, end: number): Steps<number> {
    const bytes = yield* readBytes(this.file, position, 8);
    const count = new DataView(bytes.buffer).getBigInt64(0, true);
    const begin = position + 8;
    if (count !== BigInt(storage.count) || begin + storage.size > end) {
      throw new CheckpointError(
        `offset ${position}: ${storage.count} elements of storage ${describe(storage.key)} should follow, got ${count}, of which ${end - begin} bytes are there`,
      );
    }
    this.positions.set(storage, begin);
    return begin + storage.size;
  }
  *locate(storage: Storage): Steps<number> {
    const position = this.positions.get(storage);
    if (position === undefined) throw new CheckpointError(`storage ${describe(storage.key)} is missing`);
    return position;
  }
}
