import { CheckpointError, describe } from '../../errors.js';
import { Budget, readBytes, type OpenFile, type Steps } from '../file.js';
import { readPickle, slotCost } from './pickle.js';
import { toPlain } from './plain.js';
import { findGlobal, Storages, type Storage } from './rebuild.js';

// A checkpoint of PyTorch 1.6 or newer: a zip of stored records, `<root>/data.pkl` and for each storage
// `<root>/data/<key>`. Local headers tell no sizes, so the central directory at the end does.

interface Record {
  readonly name: string;
  /** Of its local header. */
  readonly offset: number;
  readonly size: number;
  /** Neither compressed nor encrypted. */
  readonly plain: boolean;
  /** Where the next record, or the central directory, begins. */
  limit: number;
}

const endSize = 22;
const locatorSize = 20;
const end64Size = 56;
const entrySize = 46;
const localSize = 30;

export function* readZip(file: OpenFile, bidirectional: ReadonlySet<string>): Steps<unknown> {
  const budget = new Budget(file);
  const records = yield* readDirectory(file, budget);
  const root = checkRecords(records);
  const byteOrder = records.get(`${root}/byteorder`);
  if (byteOrder !== undefined) {
    const text = Buffer.from(
      yield* readBytes(file, yield* locate(file, byteOrder), byteOrder.size),
    ).toString();
    if (text !== 'little') throw new CheckpointError(`byteorder should be little, got ${describe(text)}`);
  }
  const pickle = records.get(`${root}/data.pkl`)!;
  const begin = yield* locate(file, pickle);
  const storages = new Storages();
  const context = { budget, findGlobal, persistentLoad: storages.persistentLoad };
  const { value } = yield* readPickle(file, begin, begin + pickle.size, context);
  const source = {
    file,
    budget,
    *locate({ key, size }: Storage): Steps<number> {
      const record = records.get(`${root}/data/${key}`);
      if (record?.size !== size) {
        const got = record === undefined ? 'none' : `${record.size}`;
        throw new CheckpointError(`record data/${key} should have ${size} bytes, got ${got}`);
      }
      return yield* locate(file, record);
    },
  };
  return yield* toPlain(value, source, bidirectional);
}

/** The records of the central directory by name, once it is known that they do not overlap. */
function* readDirectory(file: OpenFile, budget: Budget): Steps<Map<string, Record>> {
  const { begin, end, count } = yield* findDirectory(file);
  const bytes = yield* readBytes(file, begin, end - begin);
  const view = new DataView(bytes.buffer);
  const records = new Map<string, Record>();
  let at = 0;
  for (let i = 0; i < count; i++) {
    const fail = (what: string): never => failAt(begin + at, what);
    if (at + entrySize > bytes.length || view.getUint32(at, true) !== 0x02014b50)
      return fail('an entry of the central directory should begin');
    const nameEnd = at + entrySize + view.getUint16(at + 28, true);
    const extraEnd = nameEnd + view.getUint16(at + 30, true);
    const next = extraEnd + view.getUint16(at + 32, true);
    if (next > bytes.length) return fail('an entry of the central directory is cut off');
    budget.spend(10 * slotCost + 2 * (nameEnd - at), () => `offset ${begin + at}`);
    const name = Buffer.from(bytes.subarray(at + entrySize, nameEnd)).toString();
    if (/\\|\0|^\/|(^|\/)\.{1,2}(\/|$)/.test(name)) fail(`record name ${describe(name)} is refused`);
    if (records.has(name)) fail(`record ${describe(name)} stands twice`);
    const plain = (view.getUint16(at + 8, true) & 0x2041) === 0 && view.getUint16(at + 10, true) === 0;
    const extra = new DataView(bytes.buffer, nameEnd, extraEnd - nameEnd);
    const sizes = [24, 20, 42].map((field) => view.getUint32(at + field, true));
    const [size, stored, offset] = zip64Sizes(sizes, extra, fail) as [number, number, number];
    if (plain && size !== stored) fail(`record ${describe(name)} has two sizes, ${size} and ${stored}`);
    if (!(offset + localSize + stored <= begin)) fail(`record ${describe(name)} should end before ${begin}`);
    records.set(name, { name, offset, size: stored, plain, limit: begin });
    at = next;
  }
  if (at !== bytes.length) failAt(begin + at, `${count} entries should fill the central directory`);

  const sorted = [...records.values()].sort((a, b) => a.offset - b.offset);
  sorted.forEach((record, i) => {
    record.limit = sorted[i + 1]?.offset ?? begin;
    checkEnd(record, record.offset + localSize + record.size);
  });
  return records;
}

/** Where the central directory is. The archive has no comment and ends where its last record says. */
function* findDirectory(file: OpenFile): Steps<{ begin: number; end: number; count: number }> {
  const endAt = file.size - endSize;
  const tail = yield* readBytes(
    file,
    Math.max(endAt - locatorSize, 0),
    Math.min(file.size, endSize + locatorSize),
  );
  const view = new DataView(tail.buffer);
  const at = tail.length - endSize;
  if (at < 0 || view.getUint32(at, true) !== 0x06054b50 || view.getUint16(at + 20, true) !== 0) {
    return failAt(Math.max(endAt, 0), 'a zip archive should end here: it is cut off, or something was added');
  }
  let end = endAt;
  // Disk, disk of the directory, entries on this disk, entries, size, begin.
  let fields = [4, 6, 8, 10].map((field) => view.getUint16(at + field, true));
  fields.push(view.getUint32(at + 12, true), view.getUint32(at + 16, true));
  if (at >= locatorSize && view.getUint32(at - locatorSize, true) === 0x07064b50) {
    end = endAt - locatorSize - end64Size;
    if (Number(view.getBigUint64(at - locatorSize + 8, true)) !== end)
      return failAt(endAt - locatorSize, `the zip64 record should be at ${end}`);
    const record = new DataView((yield* readBytes(file, end, end64Size)).buffer);
    if (record.getUint32(0, true) !== 0x06064b50 || record.getBigUint64(4, true) !== BigInt(end64Size - 12))
      return failAt(end, 'a zip64 record should begin');
    const wide = [
      ...[16, 20].map((field) => record.getUint32(field, true)),
      ...[24, 32, 40, 48].map((field) => Number(record.getBigUint64(field, true))),
    ];
    const full = [0xffff, 0xffff, 0xffff, 0xffff, 0xffffffff, 0xffffffff];
    if (wide.some((value, i) => fields[i] !== value && fields[i] !== full[i]))
      return failAt(end, 'the zip64 record should say what the end of the archive says');
    fields = wide;
  }
  const [disk, firstDisk, here, count, size, begin] = fields as [
    number,
    number,
    number,
    number,
    number,
    number,
  ];
  if (disk !== 0 || firstDisk !== 0 || here !== count) return failAt(endAt, 'the archive should be one file');
  if (begin + size !== end)
    return failAt(endAt, `the central directory should end at ${end}, got ${begin + size}`);
  if (count * entrySize > size) return failAt(endAt, `${count} entries should have more than ${size} bytes`);
  return { begin, end, count };
}

/** Sizes of which those that are all ones stand in the zip64 extra field, in this order. */
function zip64Sizes(sizes: readonly number[], extra: DataView, fail: (what: string) => never): number[] {
  if (sizes.every((size) => size !== 0xffffffff)) return [...sizes];
  let at = 0;
  while (at + 4 <= extra.byteLength && extra.getUint16(at, true) !== 1)
    at += 4 + extra.getUint16(at + 2, true);
  const end = at + 4 + (at + 4 <= extra.byteLength ? extra.getUint16(at + 2, true) : 0);
  at += 4;
  return sizes.map((size) => {
    if (size !== 0xffffffff) return size;
    if (at + 8 > end || end > extra.byteLength) return fail('a zip64 size is missing');
    const wide = extra.getBigUint64(at, true);
    at += 8;
    return Number(wide);
  });
}

/** What the records are of: the root folder of a checkpoint. */
function checkRecords(records: ReadonlyMap<string, Record>): string {
  const names = [...records.keys()];
  const root = names[0]?.split('/')[0] ?? '';
  if (names.some((name) => name === `${root}/constants.pkl` || name.startsWith(`${root}/code/`))) {
    throw new CheckpointError(
      'a TorchScript archive is refused, for it holds code: save the state dict, torch.save(model.state_dict(), path)',
    );
  }
  if (!records.has(`${root}/data.pkl`)) {
    throw new CheckpointError(
      `a zip archive without ${describe(`${root}/data.pkl`)} is no checkpoint of PyTorch's`,
    );
  }
  for (const [name, { plain, offset }] of records) {
    if (!plain)
      failAt(
        offset,
        `record ${describe(name)} is compressed or encrypted: write the file with torch.save, as it is`,
      );
  }
  const stranger = names.find((name) => !name.startsWith(`${root}/`));
  if (stranger !== undefined)
    throw new CheckpointError(`record ${describe(stranger)} should be in ${describe(root)}`);
  return root;
}

/** Where a record's bytes begin: behind its local header, which is to name it too. */
function* locate(file: OpenFile, record: Record): Steps<number> {
  const name = Buffer.from(record.name);
  const bytes = Buffer.from(yield* readBytes(file, record.offset, localSize + name.length));
  const same =
    bytes.readUInt32LE(0) === 0x04034b50 &&
    bytes.readUInt16LE(26) === name.length &&
    bytes.subarray(localSize).equals(name);
  if (!same) failAt(record.offset, `the local header of ${describe(record.name)} should begin`);
  const begin = record.offset + bytes.length + bytes.readUInt16LE(28);
  checkEnd(record, begin + record.size);
  return begin;
}

function checkEnd({ name, limit, offset }: Record, end: number): void {
  if (end > limit) failAt(offset, `record ${describe(name)} overlaps what begins at ${limit}`);
}

function failAt(offset: number, what: string): never {
  throw new CheckpointError(`offset ${offset}: ${what}`);
}
