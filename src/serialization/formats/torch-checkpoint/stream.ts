import { CheckpointError, describe } from '../../../errors.js';
import { failAt, type OpenFile, type Steps } from '../../file.js';
import type { Format, ReadContext } from '../format.js';
import { readPickle } from './pickle.js';
import { toPlain } from './plain.js';
import { checkSystem, StoragePositions } from './sequential.js';
import { Storages } from './storages.js';
import { List } from './values.js';

/** The number 0x1950a86a20f9469cfc6c as a pickle begins with it, after the protocol's byte. */
const magic = [0x8a, 0x0a, 0x6c, 0xfc, 0x9c, 0x46, 0xf9, 0x20, 0x6a, 0xa8, 0x50, 0x19];
const protocolVersion = 1001;

/**
 * A checkpoint of PyTorch before 1.6. It is pickles one after the other: a magic number, a protocol version, a
 * description of the writing system, the value, and a list of storage keys. For each key an int64 number of elements
 * and the bytes follow.
 */
export const torchStream: Format = {
  name: 'PyTorch stream',
  recognises: (head) => head[0] === 0x80 && magic.every((byte, i) => head[2 + i] === byte),
  read: readStream,
};

function* readStream(file: OpenFile, context: ReadContext): Steps<unknown> {
  const storages = new Storages();
  const pickles = { ...context, persistentLoad: storages.persistentLoad };
  let position = 0;
  const next = function* (): Steps<unknown> {
    const { value, end } = yield* readPickle(file, position, file.size, pickles);
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
  const positions = new StoragePositions(file);
  for (const key of keys instanceof List ? keys.items : []) {
    const storage = typeof key === 'string' ? storages.get(key) : undefined;
    if (storage === undefined || storage.base !== null || positions.has(storage)) {
      return failAt(keysAt)(`storage ${describe(key)} is unknown or stands twice`);
    }
    position = yield* positions.skip(storage, position, file.size);
  }
  return yield* toPlain(value, { ...context, file, locate: (storage) => positions.locate(storage) });
}
