import { describe } from '../../../errors.js';
import {
  bfloat16,
  bool,
  emptyArray,
  float16,
  float32,
  float64,
  int16,
  int32,
  int64,
  int8,
  Tensor,
  uint8,
  type DType,
  type TensorData,
} from '../../../tensor/index.js';
import { failAt, openPart, readInto, type OpenFile, type Steps } from '../../file.js';
import type { Cursor, MessageReader } from './protobuf.js';

/** A TensorProto: what it is, and where its elements are. */
export interface StoredTensor {
  readonly dtype: DType | undefined;
  readonly shape: readonly number[];
  /** Where the message begins. */
  readonly at: number;
  /** Where its fields with elements are: raw bytes, or a list of numbers in one or more pieces. */
  readonly raw: Cursor | undefined;
  readonly lists: readonly Cursor[];
  /** `location`, `offset`, `length` if the elements are in another file. */
  readonly external: ReadonlyMap<string, string> | undefined;
}

function dtypeOf(dataType: number): DType | undefined {
  switch (dataType) {
    case 1:
      return float32;
    case 2:
      return uint8;
    case 3:
      return int8;
    case 5:
      return int16;
    case 6:
      return int32;
    case 7:
      return int64;
    case 9:
      return bool;
    case 10:
      return float16;
    case 11:
      return float64;
    case 16:
      return bfloat16;
    default:
      return undefined;
  }
}

/** The fields that list elements: floats, small integers (and the bits of half floats), int64, doubles. */
const listFields: readonly number[] = [4, 5, 7, 10];
const mostDimensions = 32;

export function* readTensorProto(
  reader: MessageReader,
  message: Cursor,
): Steps<{ name: string; tensor: StoredTensor }> {
  const at = message.at;
  let name = '';
  let dataType = 0;
  let isExternal = false;
  let raw: Cursor | undefined;
  const shape: number[] = [];
  const lists: Cursor[] = [];
  const external = new Map<string, string>();
  while (yield* reader.next(message)) {
    const { number, begin } = message;
    if (number === 1) yield* reader.integers(message, shape);
    else if (number === 2) dataType = message.varint;
    else if (number === 8) name = yield* reader.text(message);
    else if (number === 9) raw = { ...message };
    else if (number === 13) yield* readNote(reader, reader.message(message), external);
    else if (number === 14) isExternal = message.varint === 1;
    else if (listFields.includes(number)) {
      reader.budget.spend(64, () => `offset ${begin}`);
      lists.push({ ...message });
    }
  }
  const areSizes = shape.every((size) => Number.isSafeInteger(size) && size >= 0);
  const count = shape.reduce((product, size) => product * Math.max(size, 1), 1);
  if (shape.length > mostDimensions || !areSizes || !Number.isSafeInteger(count))
    failAt(at)(
      `tensor ${describe(name)} should have at most ${mostDimensions} sizes, none of them negative or huge`,
    );
  const tensor = {
    dtype: dtypeOf(dataType),
    shape,
    at,
    raw,
    lists,
    external: isExternal ? external : undefined,
  };
  return { name, tensor };
}

/** A key and a value. Only short values are kept, because exporters note whole stack traces. */
export function* readNote(reader: MessageReader, message: Cursor, notes: Map<string, string>): Steps<void> {
  let key = '';
  let value = '';
  while (yield* reader.next(message)) {
    if (message.number === 1) key = yield* reader.text(message);
    else if (message.number === 2 && message.at - message.begin < 2 ** 12)
      value = yield* reader.text(message);
  }
  notes.set(key, value);
}

/** A byte of a file may be an integer that becomes a float, in addition to what it takes itself. */
const asFloats = 4;

/** Reads stored tensors, from this file and from those beside it. */
export class TensorFiles {
  private readonly opened = new Map<string, OpenFile>();

  constructor(private readonly reader: MessageReader) {
    reader.budget.allow(asFloats * reader.file.size);
  }

  /** The size of all files opened so far. */
  get size(): number {
    let size = this.reader.file.size;
    for (const file of this.opened.values()) size += file.size;
    return size;
  }

  /** Returns undefined if the library has no such dtype. */
  *read(name: string, { dtype, shape, at, raw, lists, external }: StoredTensor): Steps<Tensor | undefined> {
    if (dtype === undefined) return undefined;
    const fail = (what: string): never => failAt(at)(`tensor ${describe(name)} ${what}`);
    const { file } = this.reader;
    const count = shape.reduce((product, size) => product * size, 1);
    const bytes = count * emptyArray(dtype, 0).BYTES_PER_ELEMENT;
    if (external !== undefined) {
      const found = yield* this.locate(external, bytes, fail);
      return new Tensor(yield* elementsAt(found.file, found.begin, dtype, count), shape, { dtype });
    }
    if (raw !== undefined) {
      if (raw.at - raw.begin !== bytes)
        fail(`of ${count} elements should have ${bytes} bytes, got ${raw.at - raw.begin}`);
      return new Tensor(yield* elementsAt(file, raw.begin, dtype, count), shape, { dtype });
    }
    // A listed element has at least one byte.
    if (count > file.size) fail(`of ${count} elements is larger than the file`);
    const data = emptyArray(dtype, count);
    let filled = 0;
    for (const list of lists) filled = yield* this.fill(data, filled, dtype, list);
    if (filled !== count) fail(`should have ${count} elements, got ${filled}`);
    return new Tensor(data, shape, { dtype });
  }

  /** Opens the file that holds a tensor's bytes. */
  private *locate(
    external: ReadonlyMap<string, string>,
    bytes: number,
    fail: (what: string) => never,
  ): Steps<{ file: OpenFile; begin: number }> {
    const location = external.get('location') ?? '';
    const { openBeside } = this.reader.file;
    if (!/^[^/\\:\0]+$/.test(location) || /^\.+$/.test(location))
      return fail(`should be in a file of the same folder, got ${describe(location)}`);
    let file = this.opened.get(location);
    if (file === undefined) {
      if (openBeside === null)
        return fail(`is in ${describe(location)} beside the file: load the file by its path`);
      file = yield* openPart(openBeside, location, ({ message }) =>
        fail(`is in ${describe(location)}, which cannot be opened: ${message}`),
      );
      this.opened.set(location, file);
      this.reader.budget.allow((1 + asFloats) * file.size);
    }
    const begin = Number(external.get('offset') ?? 0);
    const length = Number(external.get('length') ?? bytes);
    if (!(Number.isSafeInteger(begin) && begin >= 0 && length === bytes && begin + bytes <= file.size)) {
      const found = `${describe(external.get('length') ?? 'the rest')} bytes from ${describe(external.get('offset') ?? '0')} on`;
      return fail(`should have ${bytes} bytes in ${describe(location)}, got ${found} of ${file.size}`);
    }
    return { file, begin };
  }

  /** Writes listed elements, and returns how many there are now. */
  private *fill(data: TensorData, from: number, dtype: DType, list: Cursor): Steps<number> {
    const fail = failAt(list.begin);
    const width = list.number === 4 ? 4 : list.number === 10 ? 8 : undefined;
    const wanted = dtype === float32 ? 4 : dtype === float64 ? 10 : dtype === int64 ? 7 : 5;
    if (list.number !== wanted) return fail(`elements of ${dtype} should not be in field ${list.number}`);
    if (width === undefined) {
      let at = from;
      yield* this.reader.eachInteger(list, (value) => {
        if (at === data.length) fail('the elements should be those of the shape');
        data[at++] = (dtype === int64 ? BigInt(value) : value) as never;
      });
      return at;
    }
    const count = (list.at - list.begin) / width;
    if (!Number.isInteger(count) || from + count > data.length)
      return fail('the elements should be those of the shape');
    const part = data.subarray(from, from + count);
    yield* readInto(
      this.reader.file,
      new Uint8Array(part.buffer, part.byteOffset, part.byteLength),
      list.begin,
    );
    return from + count;
  }

  *close(): Steps<void> {
    for (const file of this.opened.values()) yield file.close();
  }
}

function* elementsAt(file: OpenFile, begin: number, dtype: DType, count: number): Steps<TensorData> {
  const data = emptyArray(dtype, count);
  yield* readInto(file, data, begin);
  return data;
}
