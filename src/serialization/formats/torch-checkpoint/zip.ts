import { CheckpointError, describe } from '../../../errors.js';
import { failAt, readBytes, type OpenFile, type Steps } from '../../file.js';
import type { Format, ReadContext } from '../format.js';
import { isZip, locateRecord, readDirectory, type ZipRecord } from '../zip-archive.js';
import { whatZipIs } from '../refused.js';
import { findGlobal } from './globals.js';
import { readPickle } from './pickle.js';
import { toPlain } from './plain.js';
import { Storages, type Storage } from './storages.js';

/** A checkpoint of PyTorch 1.6 or newer: a zip of `<root>/data.pkl` and, for each storage, `<root>/data/<key>`. */
export const torchZip: Format = {
  name: 'PyTorch zip',
  recognises: isZip,
  read: readZip,
};

function* readZip(file: OpenFile, context: ReadContext): Steps<unknown> {
  const { budget } = context;
  const records = yield* readDirectory(file, budget);
  const root = checkRecords(records);
  const byteOrder = records.get(`${root}/byteorder`);
  if (byteOrder !== undefined) {
    const bytes = yield* readBytes(file, yield* locateRecord(file, byteOrder), byteOrder.size);
    const text = new TextDecoder('utf-8', { ignoreBOM: true }).decode(bytes);
    if (text !== 'little') throw new CheckpointError(`byteorder should be little, got ${describe(text)}`);
  }
  const pickle = records.get(`${root}/data.pkl`)!;
  const begin = yield* locateRecord(file, pickle);
  const storages = new Storages();
  const pickles = { budget, findGlobal, persistentLoad: storages.persistentLoad };
  const { value } = yield* readPickle(file, begin, begin + pickle.size, pickles);
  const locate = function* ({ key, size }: Storage): Steps<number> {
    const record = records.get(`${root}/data/${key}`);
    if (record?.size !== size) {
      const got = record === undefined ? 'none' : `${record.size}`;
      throw new CheckpointError(`record data/${key} should have ${size} bytes, got ${got}`);
    }
    return yield* locateRecord(file, record);
  };
  return yield* toPlain(value, { ...context, file, locate });
}

/** The root folder of the checkpoint in these records. */
function checkRecords(records: ReadonlyMap<string, ZipRecord>): string {
  const names = [...records.keys()];
  const root = names[0]?.split('/')[0] ?? '';
  if (names.some((name) => name === `${root}/constants.pkl` || name.startsWith(`${root}/code/`))) {
    throw new CheckpointError(
      'a TorchScript archive is refused, for it holds code: save the state dict, torch.save(model.state_dict(), path)',
    );
  }
  if (!records.has(`${root}/data.pkl`)) {
    throw new CheckpointError(whatZipIs(names));
  }
  for (const [name, { plain, offset }] of records) {
    if (!plain) {
      failAt(offset)(
        `record ${describe(name)} is compressed or encrypted: write the file with torch.save, as it is`,
      );
    }
  }
  const stranger = names.find((name) => !name.startsWith(`${root}/`));
  if (stranger !== undefined)
    throw new CheckpointError(`record ${describe(stranger)} should be in ${describe(root)}`);
  return root;
}
