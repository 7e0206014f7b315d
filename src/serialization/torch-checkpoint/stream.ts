import { CheckpointError, describe } from '../../errors.js';
import { Budget, readBytes, type OpenFile, type Steps } from '../file.js';
import { Dict, List, readPickle } from './pickle.js';
import { toPlain } from './plain.js';
import { findGlobal, Storages, type Storage } from './rebuild.js';

// A checkpoint of PyTorch before 1.6: pickles one after the other, of a magic number, a protocol version, what the
// writing system was, the value, and a list of storage keys; then for each key an int64 number of elements and
// the bytes.

/** The number 0x1950a86a20f9469cfc6c as a pickle begins with it, after the protocol's byte. */
const magic = [0x8a, 0x0a, 0x6c, 0xfc, 0x9c, 0x46, 0xf9, 0x20, 0x6a, 0xa8, 0x50, 0x19];
const protocolVersion = 1001;

export function isStream(head: Uint8Array): boolean {
  return head[0] === 0x80 && magic.every((byte, i) => head[2 + i] === byte);
}

export function* readStream(file: OpenFile, bidirectional: ReadonlySet<string>): Steps<unknown> {
  const budget = new Budget(file);
  const storages = new Storages();
  const context = { budget, findGlobal, persistentLoad: storages.persistentLoad };
  let position = 0;
  const next = function* (): Steps<unknown> {
    const { value, end } = yield* readPickle(file, position, file.size, context);
    position = end;
    return value;
  };
  yield* next();
  const protocol = yield* next();
  if (protocol !== protocolVersion) {
    throw new CheckpointError(`protocol version should be ${protocolVersion}, got ${describe(protocol)}`);
  }
  checkSystem(yield* next());
  const value = yield* next();
  const keysAt = position;
  const keys = yield* next();
  const positions = new Map<Storage, number>();
  for (const key of keys instanceof List ? keys.items : []) {
    const storage = typeof key === 'string' ? storages.get(key) : undefined;
    if (storage === undefined || storage.base !== null || positions.has(storage)) {
      throw new CheckpointError(`offset ${keysAt}: storage ${describe(key)} is unknown or stands twice`);
    }
    position = yield* skipStorage(file, storage, position, file.size, positions);
  }
  return yield* toPlain(value, { file, budget, locate: locateIn(positions) }, bidirectional);
}

/** Refuses what was written by another kind of machine. */
export function checkSystem(info: unknown): void {
  if (!(info instanceof Dict) || info.entries.get('little_endian') !== true) {
    throw new CheckpointError('the file should have been written by a little-endian machine');
  }
}

/** Notes where the bytes of a storage begin, behind their number of elements; gives where they end. */
export function* skipStorage(
  file: OpenFile,
  storage: Storage,
  position: number,
  end: number,
  positions: Map<Storage, number>,
): Steps<number> {
  const bytes = yield* readBytes(file, position, 8);
  const count = new DataView(bytes.buffer).getBigInt64(0, true);
  const begin = position + 8;
  if (count !== BigInt(storage.count) || begin + storage.size > end) {
    throw new CheckpointError(
      `offset ${position}: ${storage.count} elements of storage ${describe(storage.key)} should follow, got ${count}, of which ${end - begin} bytes are there`,
    );
  }
  positions.set(storage, begin);
  return begin + storage.size;
}

export function locateIn(positions: ReadonlyMap<Storage, number>): (storage: Storage) => Steps<number> {
  return function* (storage) {
    const position = positions.get(storage);
    if (position === undefined) throw new CheckpointError(`storage ${describe(storage.key)} is missing`);
    return position;
  };
}
