import { failAt, readBytes, type Budget, type OpenFile, type Steps } from '../../file.js';

// Protobuf's wire format: a message is a row of fields, each a tag (number and wire type) and a value. No library reads
// it from a file without holding all of it, and what is needed of it is this file.

/** How a value is written: as a varint, in 8 bytes, as bytes with their length before them, or in 4 bytes. */
export const wire = { varint: 0, eight: 1, bytes: 2, four: 5 } as const;

/** A place in a message. After {@link MessageReader.next} it says what the field there is. */
export interface Cursor {
  /** Where the next field begins. */
  at: number;
  /** Where the message ends. */
  readonly end: number;
  number: number;
  wire: number;
  /** The value of a varint, as int64. Not exact beyond 2^53. */
  varint: number;
  /** Where the value is in the file, without its length. */
  begin: number;
}

/** The bytes that are read at once. */
const windowSize = 2 ** 16;
/** A tag of at most 5 bytes and a varint of at most 10. */
const longestHead = 15;

/** Reads messages from their place in a file. */
export class MessageReader {
  private bytes = new Uint8Array(0);
  private begin = 0;

  constructor(
    readonly file: OpenFile,
    readonly budget: Budget,
  ) {}

  /** Steps over fields that are not needed, so that only heads are read. False at the end of the message. */
  *next(cursor: Cursor): Steps<boolean> {
    const start = cursor.at;
    if (start >= cursor.end) return false;
    yield* this.load(start, Math.min(longestHead, cursor.end - start));
    const tag = this.varint(cursor);
    cursor.number = Math.floor(tag / 8);
    cursor.wire = tag & 7;
    if (tag < 8 || tag > 0xffffffff) failAt(start)('a field of a protobuf message should begin');
    cursor.varint = 0;
    cursor.begin = cursor.at;
    if (cursor.wire === wire.varint) cursor.varint = this.varint(cursor);
    else if (cursor.wire === wire.eight) cursor.at += 8;
    else if (cursor.wire === wire.four) cursor.at += 4;
    else if (cursor.wire === wire.bytes) {
      const length = this.varint(cursor);
      cursor.begin = cursor.at;
      if (!(length >= 0 && length <= cursor.end - cursor.at))
        failAt(start)(
          `a field of ${length} bytes does not fit into its message, which ends at ${cursor.end}`,
        );
      cursor.at += length;
    } else failAt(start)(`wire type ${cursor.wire} of protobuf is unknown`);
    if (cursor.at > cursor.end) failAt(start)(`a field should end before ${cursor.end}`);
    return true;
  }

  /** A cursor over the message that the field is. */
  message(field: Cursor): Cursor {
    if (field.wire !== wire.bytes) failAt(field.begin)(`field ${field.number} should be a message`);
    return cursorOver(field.begin, field.at);
  }

  /** The field as text. */
  *text(field: Cursor): Steps<string> {
    return utf8.decode(yield* this.take(field));
  }

  /** The field's bytes. They may be overwritten by the next step. */
  *take(field: Cursor): Steps<Uint8Array> {
    const length = field.at - field.begin;
    this.budget.spend(2 * length, () => `offset ${field.begin}`);
    yield* this.load(field.begin, length);
    return this.bytes.subarray(field.begin - this.begin, field.at - this.begin);
  }

  /** Integers of a repeated field, one or packed, added to `list`. */
  *integers(field: Cursor, list: number[]): Steps<void> {
    this.budget.spend(8 * (field.at - field.begin), () => `offset ${field.begin}`);
    yield* this.eachInteger(field, (value) => list.push(value));
  }

  /** Calls a function for each integer of a repeated field, one or packed. */
  *eachInteger({ number, wire: type, begin, at }: Cursor, take: (value: number) => void): Steps<void> {
    if (type !== wire.varint && type !== wire.bytes) failAt(begin)(`field ${number} should hold integers`);
    const inner = cursorOver(begin, at);
    while (inner.at < inner.end) {
      yield* this.load(inner.at, Math.min(longestHead, inner.end - inner.at));
      take(this.varint(inner));
    }
  }

  /** A float32 field. */
  *float(field: Cursor): Steps<number> {
    if (field.wire !== wire.four) failAt(field.begin)(`field ${field.number} should be a float`);
    yield* this.load(field.begin, 4);
    return new DataView(this.bytes.buffer, field.begin - this.begin, 4).getFloat32(0, true);
  }

  /** Makes sure that these bytes are in the window. */
  private *load(begin: number, length: number): Steps<void> {
    if (begin >= this.begin && begin + length <= this.begin + this.bytes.length) return;
    const size = Math.max(length, Math.min(windowSize, this.file.size - begin));
    this.bytes = yield* readBytes(this.file, begin, size);
    this.begin = begin;
  }

  /** A varint as int64. Its bytes are in the window, or the message ends before. */
  private varint(cursor: Cursor): number {
    let low = 0;
    let high = 0;
    const last = Math.min(cursor.end, cursor.at + 10);
    for (let i = cursor.at, shift = 0; i < last; i++, shift += 7) {
      const byte = this.bytes[i - this.begin]!;
      if (shift < 28) low |= (byte & 127) << shift;
      else if (shift === 28) {
        low |= (byte & 15) << 28;
        high = (byte & 127) >> 4;
      } else high |= (byte & 127) << (shift - 32);
      if (byte < 128) {
        cursor.at = i + 1;
        return (high | 0) * 2 ** 32 + (low >>> 0);
      }
    }
    return failAt(cursor.at)('a number of at most 10 bytes should end here');
  }
}

export function cursorOver(begin: number, end: number): Cursor {
  return { at: begin, end, number: 0, wire: 0, varint: 0, begin };
}

/** Bytes that are not UTF-8 become U+FFFD. */
const utf8 = new TextDecoder('utf-8', { ignoreBOM: true });
