import { describe } from '../../errors.js';
import {
  bytesFile,
  failAt,
  latin1,
  readBytes,
  type Budget,
  type Fail,
  type OpenFile,
  type Steps,
} from '../file.js';

// Zip archives. Sizes come from the central directory at the end, because local headers need not have them.

export interface ZipRecord {
  readonly name: string;
  /** Where its local header begins. */
  readonly offset: number;
  readonly size: number;
  /** Whether it is neither compressed nor encrypted. */
  readonly plain: boolean;
  /** Whether it is compressed by deflate, and not encrypted. */
  readonly deflated: boolean;
  /** The size and CRC-32 of what it holds. */
  readonly unpacked: number;
  readonly crc: number;
  /** Where the next record, or the central directory, begins. */
  limit: number;
}

const endSize = 22;
const locatorSize = 20;
const end64Size = 56;
const entrySize = 46;
const localSize = 30;
/** Roughly what a record takes in memory beside its name. */
const recordCost = 320;

/** Bytes that are not UTF-8 become U+FFFD. A byte order mark is kept. */
const utf8 = new TextDecoder('utf-8', { ignoreBOM: true });

/** Whether a file begins as a zip archive does: with a record or, if it has none, with the end record. */
export function isZip([p, k, a, b]: Uint8Array): boolean {
  return p === 0x50 && k === 0x4b && ((a === 3 && b === 4) || (a === 5 && b === 6));
}

/** The name of a zip's first record, by the first bytes of the file. */
export function firstName(head: Uint8Array): string {
  if (head.length < localSize) return '';
  const length = head[26]! + 256 * head[27]!;
  return latin1(head.subarray(localSize, localSize + length));
}

/** The records of the central directory by name, in its order. Refuses records that overlap. */
export function* readDirectory(file: OpenFile, budget: Budget): Steps<ReadonlyMap<string, ZipRecord>> {
  const { begin, end, count } = yield* findDirectory(file);
  const directory = new DataView((yield* readBytes(file, begin, end - begin)).buffer);
  budget.earn(directory.byteLength);
  const records = new Map<string, ZipRecord>();
  let at = 0;
  for (let i = 0; i < count; i++) {
    const { record, next } = readEntry(directory, at, begin, budget);
    if (records.has(record.name)) failAt(begin + at)(`record ${describe(record.name)} stands twice`);
    records.set(record.name, record);
    at = next;
  }
  if (at !== directory.byteLength) failAt(begin + at)(`${count} entries should fill the central directory`);

  const sorted = [...records.values()].sort((a, b) => a.offset - b.offset);
  sorted.forEach((record, i) => {
    record.limit = sorted[i + 1]?.offset ?? begin;
    checkEnd(record, record.offset + localSize + record.size);
  });
  return records;
}

/** The record at `at` in the directory, and where the next one is. The directory begins at `begin` in the file. */
function readEntry(
  directory: DataView<ArrayBuffer>,
  at: number,
  begin: number,
  budget: Budget,
): { record: ZipRecord; next: number } {
  const fail = failAt(begin + at);
  if (at + entrySize > directory.byteLength || directory.getUint32(at, true) !== 0x02014b50)
    return fail('an entry of the central directory should begin');
  const nameEnd = at + entrySize + directory.getUint16(at + 28, true);
  const extraEnd = nameEnd + directory.getUint16(at + 30, true);
  const next = extraEnd + directory.getUint16(at + 32, true);
  if (next > directory.byteLength) return fail('an entry of the central directory is cut off');
  budget.spend(recordCost + 2 * (nameEnd - at), () => `offset ${begin + at}`);
  const name = utf8.decode(new Uint8Array(directory.buffer, at + entrySize, nameEnd - at - entrySize));
  if (/\\|\0|^\/|(^|\/)\.{1,2}(\/|$)/.test(name)) fail(`record name ${describe(name)} is refused`);
  const method = directory.getUint16(at + 10, true);
  const isEncrypted = (directory.getUint16(at + 8, true) & 0x2041) !== 0;
  const plain = !isEncrypted && method === 0;
  const deflated = !isEncrypted && method === 8;
  const extra = new DataView(directory.buffer, nameEnd, extraEnd - nameEnd);
  const fields = [24, 20, 42].map((field) => directory.getUint32(at + field, true));
  const [size, stored, offset] = zip64Fields(fields, extra, fail) as [number, number, number];
  if (plain && size !== stored) fail(`record ${describe(name)} has two sizes, ${size} and ${stored}`);
  if (!(offset + localSize + stored <= begin)) fail(`record ${describe(name)} should end before ${begin}`);
  const crc = directory.getUint32(at + 16, true);
  return { record: { name, offset, size: stored, plain, deflated, unpacked: size, crc, limit: begin }, next };
}

/** A field with all bits set is in the zip64 extra field instead. They are there in this order. */
function zip64Fields(fields: readonly number[], extra: DataView, fail: Fail): number[] {
  if (fields.every((field) => field !== 0xffffffff)) return [...fields];
  let at = 0;
  while (at + 4 <= extra.byteLength && extra.getUint16(at, true) !== 1)
    at += 4 + extra.getUint16(at + 2, true);
  const end = at + 4 + (at + 4 <= extra.byteLength ? extra.getUint16(at + 2, true) : 0);
  at += 4;
  return fields.map((field) => {
    if (field !== 0xffffffff) return field;
    if (at + 8 > end || end > extra.byteLength) return fail('a zip64 size is missing');
    const wide = extra.getBigUint64(at, true);
    at += 8;
    return Number(wide);
  });
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
    return failAt(Math.max(endAt, 0))('a zip archive should end here: it is cut off, or something was added');
  }
  let end = endAt;
  // Disk, disk of the directory, entries on this disk, entries, size, begin.
  let fields = [4, 6, 8, 10].map((field) => view.getUint16(at + field, true));
  fields.push(view.getUint32(at + 12, true), view.getUint32(at + 16, true));
  if (at >= locatorSize && view.getUint32(at - locatorSize, true) === 0x07064b50) {
    end = endAt - locatorSize - end64Size;
    if (Number(view.getBigUint64(at - locatorSize + 8, true)) !== end)
      return failAt(endAt - locatorSize)(`the zip64 record should be at ${end}`);
    fields = yield* readEnd64(file, end, fields);
  }
  const [disk, firstDisk, here, count, size, begin] = fields as [
    ...[disk: number, firstDisk: number, here: number, count: number, size: number, begin: number],
  ];
  const fail = failAt(endAt);
  if (disk !== 0 || firstDisk !== 0 || here !== count) return fail('the archive should be one file');
  if (begin + size !== end) return fail(`the central directory should end at ${end}, got ${begin + size}`);
  if (count * entrySize > size) return fail(`${count} entries should have more than ${size} bytes`);
  return { begin, end, count };
}

/** The fields of the zip64 record at `at`. The archive's end record must say the same, or have all bits set. */
function* readEnd64(file: OpenFile, at: number, fields: readonly number[]): Steps<number[]> {
  const record = new DataView((yield* readBytes(file, at, end64Size)).buffer);
  if (record.getUint32(0, true) !== 0x06064b50 || record.getBigUint64(4, true) !== BigInt(end64Size - 12))
    return failAt(at)('a zip64 record should begin');
  const wide = [
    ...[16, 20].map((field) => record.getUint32(field, true)),
    ...[24, 32, 40, 48].map((field) => Number(record.getBigUint64(field, true))),
  ];
  const full = [0xffff, 0xffff, 0xffff, 0xffff, 0xffffffff, 0xffffffff];
  if (wide.some((value, i) => fields[i] !== value && fields[i] !== full[i]))
    return failAt(at)('the zip64 record should say what the end of the archive says');
  return wide;
}

/** Where a record's bytes begin: after its local header, which must have the same name. */
export function* locateRecord(file: OpenFile, record: ZipRecord): Steps<number> {
  const name = new TextEncoder().encode(record.name);
  const bytes = yield* readBytes(file, record.offset, localSize + name.length);
  const header = new DataView(bytes.buffer);
  const same =
    header.getUint32(0, true) === 0x04034b50 &&
    header.getUint16(26, true) === name.length &&
    name.every((byte, i) => bytes[localSize + i] === byte);
  if (!same) failAt(record.offset)(`the local header of ${describe(record.name)} should begin`);
  const begin = record.offset + bytes.length + header.getUint16(28, true);
  checkEnd(record, begin + record.size);
  return begin;
}

/** How often its own size a compressed record may unfold to without taking from the budget: weights pack badly. */
const honestRatio = 4;

/** What a record holds, as a file. If it is compressed it is unpacked, into `bytes` that nobody else has. */
export function* openRecord(
  file: OpenFile,
  record: ZipRecord,
  budget: Budget,
): Steps<{ file: OpenFile; bytes: Uint8Array | null }> {
  const { name, size, plain, deflated, unpacked, offset } = record;
  const fail = failAt(offset);
  if (!plain && !deflated) fail(`record ${describe(name)} is encrypted, or compressed in a rare way`);
  const begin = yield* locateRecord(file, record);
  if (plain) return { file: partOf(file, begin, size), bytes: null };
  budget.allow((honestRatio - 1) * size);
  budget.spend(unpacked, () => `record ${describe(name)}`);
  const packed = yield* readBytes(file, begin, size);
  try {
    const bytes = (yield file.inflate(packed, { size: unpacked, crc: record.crc })) as Uint8Array;
    return { file: bytesFile(bytes), bytes };
  } catch (error) {
    return fail(`record ${describe(name)} cannot be unpacked: ${(error as Error).message}`);
  }
}

/** A part of a file as a file of its own. */
function partOf(file: OpenFile, begin: number, size: number): OpenFile {
  const read = (target: Uint8Array, position: number): unknown =>
    file.read(target.subarray(0, Math.max(size - position, 0)), begin + position);
  return { ...file, size, read, close: () => undefined, openBeside: null };
}

function checkEnd({ name, limit, offset }: ZipRecord, end: number): void {
  if (end > limit) failAt(offset)(`record ${describe(name)} overlaps what begins at ${limit}`);
}
