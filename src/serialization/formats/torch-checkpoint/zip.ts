import { CheckpointError, describe } from '../../../errors.js';
import { StateDict } from '../../../nn/module.js';
import { failAt, readBytes, type OpenFile, type Steps } from '../../file.js';
import type { Format, ReadContext } from '../format.js';
import { isZip, locateRecord, readDirectory, type ZipRecord } from '../zip-archive.js';
import { whatZipIs } from '../refused.js';
import { readPickle } from './pickle.js';
import { toPlain } from './plain.js';
import { Storages, type Storage } from './storages.js';
import { scriptedState } from './torchscript.js';

/**
 * A checkpoint of PyTorch 1.6 or newer: a zip of `<root>/data.pkl` and, for each storage, `<root>/data/<key>`. A
 * TorchScript archive has `constants.pkl` and `constants/<key>` too, and code, whose records are not looked at.
 */
export const torchZip: Format = {
  name: 'PyTorch zip',
  recognises: isZip,
  read: readZip,
};

function* readZip(file: OpenFile, context: ReadContext): Steps<unknown> {
  const records = yield* readDirectory(file, context.budget);
  const root = records.keys().next().value?.split('/')[0] ?? '';
  const archive = new Archive(file, context, records, root);
  const scripted = records.has(`${root}/constants.pkl`);
  checkRecords(records, root, scripted && !context.strict);
  const byteOrder = records.get(`${root}/byteorder`);
  if (byteOrder !== undefined) {
    const bytes = yield* readBytes(file, yield* locateRecord(file, byteOrder), byteOrder.size);
    const text = new TextDecoder('utf-8', { ignoreBOM: true }).decode(bytes);
    if (text !== 'little') throw new CheckpointError(`byteorder should be little, got ${describe(text)}`);
  }
  const value = yield* archive.readPickle('data');
  if (!scripted) return yield* archive.toPlain(value, 'data');
  const constants = yield* archive.readPickle('constants');
  const { dict, isFrozen, assumptions } = scriptedState(value, constants, context);
  const plain = yield* archive.toPlain(dict, isFrozen ? 'constants' : 'data');
  const state = dict.entries.size === 0 ? new StateDict() : plain;
  if (state instanceof StateDict) state.assumptions.push(...assumptions);
  return state;
}

class Archive {
  constructor(
    private readonly file: OpenFile,
    private readonly context: ReadContext,
    private readonly records: ReadonlyMap<string, ZipRecord>,
    private readonly root: string,
  ) {}

  /** The value of `<root>/<name>.pkl`. */
  *readPickle(name: string): Steps<unknown> {
    const pickle = this.records.get(`${this.root}/${name}.pkl`)!;
    const begin = yield* locateRecord(this.file, pickle);
    const { persistentLoad } = new Storages();
    const end = begin + pickle.size;
    return (yield* readPickle(this.file, begin, end, { ...this.context, persistentLoad })).value;
  }
  /** The value with the tensors whose storages are in `<root>/<folder>/`. */
  *toPlain(value: unknown, folder: string): Steps<unknown> {
    const { file, records, root } = this;
    const locate = function* ({ key, size }: Storage): Steps<number> {
      const record = records.get(`${root}/${folder}/${key}`);
      if (record?.size !== size) {
        const got = record === undefined ? 'none' : `${record.size}`;
        throw new CheckpointError(`record ${folder}/${key} should have ${size} bytes, got ${got}`);
      }
      return yield* locateRecord(file, record);
    };
    return yield* toPlain(value, { ...this.context, file, locate });
  }
}

/** Checks that the records of the checkpoint are all there and can be read where they are. */
function checkRecords(records: ReadonlyMap<string, ZipRecord>, root: string, mayHaveCode: boolean): void {
  const names = [...records.keys()];
  const isCode = (name: string): boolean => name.startsWith(`${root}/code/`);
  if (!mayHaveCode && names.some((name) => name === `${root}/constants.pkl` || isCode(name))) {
    throw new CheckpointError(
      'a TorchScript archive is refused, for it holds code: save the state dict, torch.save(model.state_dict(), path)',
    );
  }
  if (!records.has(`${root}/data.pkl`)) {
    throw new CheckpointError(whatZipIs(names));
  }
  for (const [name, { plain, offset }] of records) {
    if (!plain && !isCode(name)) {
      failAt(offset)(
        `record ${describe(name)} is compressed or encrypted: write the file with torch.save, as it is`,
      );
    }
  }
  const stranger = names.find((name) => !name.startsWith(`${root}/`));
  if (stranger !== undefined)
    throw new CheckpointError(`record ${describe(stranger)} should be in ${describe(root)}`);
}
