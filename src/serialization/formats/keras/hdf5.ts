import { describe } from '../../../errors.js';
import { failAt, readBytes, type Budget, type OpenFile, type Steps } from '../../file.js';
import { attributesOf, datasetOf, readAttribute, type Dataset } from './hdf5-messages.js';

// HDF5 as h5py writes it for Keras: superblock 0, object headers 1, groups as symbol tables, contiguous datasets. The
// libraries for it (jsfive, h5wasm) want the whole file in memory. jsfive throws what is no Error for broken files,
// prints their bytes, and follows whatever a file claims; h5wasm cannot start synchronously. This reader reads only
// what is asked for, pays for all of it, and refuses everything that h5py does not write for Keras.

const utf8 = new TextDecoder('utf-8', { ignoreBOM: true });

/** A part of the file. What is read beyond its end refuses the file. */
export class Block {
  /**
   * @param memory - what was read of the file
   * @param offset - where `memory` begins in the file that the user gave
   */
  constructor(
    private readonly memory: Uint8Array,
    private readonly offset: number,
    private readonly begin = 0,
    readonly length = memory.length,
  ) {}
  /** Where it begins in the file that the user gave. */
  get origin(): number {
    return this.offset + this.begin;
  }
  u8(at: number): number {
    return this.memory[this.place(at, 1)]!;
  }
  u16(at: number): number {
    const i = this.place(at, 2);
    return this.memory[i]! + 2 ** 8 * this.memory[i + 1]!;
  }
  u32(at: number): number {
    return this.u16(at) + 2 ** 16 * this.u16(at + 2);
  }
  /** An address or length. One above 2^53 is not exact, but then it is beyond the end of any file. */
  u64(at: number): number {
    return this.u32(at) + 2 ** 32 * this.u32(at + 4);
  }
  part(at: number, length = this.length - at): Block {
    return new Block(this.memory, this.offset, this.place(at, length), length);
  }
  bytes(): Uint8Array {
    return this.memory.subarray(this.begin, this.begin + this.length);
  }
  /** Text up to the first NUL, or to the end. */
  text(at = 0, length = this.length - at): string {
    const begin = this.place(at, length);
    const bytes = this.memory.subarray(begin, begin + length);
    const end = bytes.indexOf(0);
    return utf8.decode(end < 0 ? bytes : bytes.subarray(0, end));
  }
  fail(what: string): never {
    return failAt(this.origin)(what);
  }
  /** Refuses the file unless this text stands at the block's beginning. */
  expect(signature: string): void {
    if (this.length < signature.length || this.text(0, signature.length) !== signature)
      this.fail(`${signature} should begin here`);
  }
  private place(at: number, length: number): number {
    if (!(at >= 0 && length >= 0 && at + length <= this.length)) {
      failAt(this.origin + this.length)('a structure of HDF5 is cut off here');
    }
    return this.begin + at;
  }
}

/** A piece of an object's header. */
export interface Message {
  readonly type: number;
  /** Whether it only points at another object's message. */
  readonly shared: boolean;
  readonly body: Block;
}

/** What is paid for each piece of structure: a file may point at one piece many times. */
export const pieceCost = 128;
/** What is paid for each read beside its bytes. */
const readCost = 384;
const headerPrefix = 16;
const continuation = 0x10;
const symbolTable = 0x11;

/** An HDF5 file, which may be a part of another file. */
export class Hdf5 {
  private readonly heaps = new Map<number, ReadonlyMap<number, Block>>();
  private readonly objects = new Map<number, Hdf5Object>();

  constructor(
    readonly file: OpenFile,
    /** Where it begins in the file. */
    readonly begin: number,
    readonly size: number,
    readonly budget: Budget,
  ) {}

  /** Some of the file's structure. `at` is an address in the HDF5 file. */
  *block(at: number, length: number): Steps<Block> {
    const offset = this.begin + at;
    if (!(at >= 0 && length >= 0 && at + length <= this.size))
      failAt(offset)(`${length} bytes should follow, but the HDF5 file has ${this.size} bytes`);
    this.budget.spend(length + readCost, () => `offset ${offset}`);
    return new Block(yield* readBytes(this.file, offset, length), offset);
  }

  *root(): Steps<Hdf5Object> {
    const superblock = yield* this.block(0, Math.min(96, this.size));
    const version = superblock.u8(8);
    if (version !== 0) {
      superblock.fail(`HDF5’s superblock should have version 0, which Keras writes, got ${version}`);
    }
    if (superblock.u8(13) !== 8 || superblock.u8(14) !== 8 || superblock.u64(24) !== 0)
      superblock.fail('HDF5 addresses should have 8 bytes and begin at 0');
    return yield* this.object(superblock.u64(64));
  }

  *object(at: number): Steps<Hdf5Object> {
    this.budget.spend(pieceCost, () => `offset ${this.begin + at}`);
    let object = this.objects.get(at);
    if (object === undefined)
      this.objects.set(at, (object = new Hdf5Object(this, at, yield* this.messages(at))));
    return object;
  }

  private *messages(at: number): Steps<Message[]> {
    const head = yield* this.block(at, headerPrefix);
    if (head.u8(0) !== 1) head.fail('an object header of version 1, which Keras writes, should begin here');
    const count = head.u16(2);
    const pieces: [at: number, length: number][] = [[at + headerPrefix, head.u32(8)]];
    const messages: Message[] = [];
    for (let n = 0; n < pieces.length && messages.length < count; n++) {
      const piece = yield* this.block(...pieces[n]!);
      for (let i = 0; i + 8 <= piece.length && messages.length < count;) {
        const body = piece.part(i + 8, piece.u16(i + 2));
        const message = { type: piece.u16(i), shared: (piece.u8(i + 4) & 2) !== 0, body };
        this.budget.spend(pieceCost, () => `offset ${this.begin + at}`);
        messages.push(message);
        if (message.type === continuation) pieces.push([body.u64(0), body.u64(8)]);
        i += 8 + body.length;
      }
    }
    return messages;
  }

  /** The members of a group by name, in the alphabetical order of the file. */
  *members(table: Block): Steps<Map<string, number>> {
    const heap = yield* this.block(table.u64(8), 32);
    heap.expect('HEAP');
    const names = yield* this.block(heap.u64(24), heap.u64(8));
    const members = new Map<string, number>();
    yield* this.addMembers(members, names, table.u64(0), null);
    return members;
  }

  /** Adds what is below a node of a B-tree. Levels go down, so the recursion ends. */
  private *addMembers(
    members: Map<string, number>,
    names: Block,
    at: number,
    level: number | null,
  ): Steps<void> {
    const head = yield* this.block(at, 24);
    head.expect('TREE');
    const own = head.u8(5);
    if (head.u8(4) !== 0 || (level !== null && own !== level)) head.fail('a node of a group should be here');
    const used = head.u16(6);
    const entries = yield* this.block(at + 24, 16 * used + 8);
    for (let i = 0; i < used; i++) {
      const child = entries.u64(16 * i + 8);
      if (own > 0) yield* this.addMembers(members, names, child, own - 1);
      else yield* this.addSymbols(members, names, child);
    }
  }

  private *addSymbols(members: Map<string, number>, names: Block, at: number): Steps<void> {
    const head = yield* this.block(at, 8);
    head.expect('SNOD');
    const count = head.u16(6);
    const symbols = yield* this.block(at + 8, 40 * count);
    for (let i = 0; i < count; i++) {
      const nameAt = symbols.u64(40 * i);
      // A name ends at a NUL; what lies behind it is other names.
      const name = names.text(nameAt, Math.min(names.length - nameAt, longestName));
      this.budget.spend(pieceCost + 2 * name.length, () => `offset ${this.begin + at}`);
      if (members.has(name)) symbols.fail(`member ${describe(name)} stands twice`);
      members.set(name, symbols.u64(40 * i + 8));
    }
  }

  /** An object of a global heap, where texts of any length are. */
  *heapObject(at: number, index: number): Steps<Block> {
    let heap = this.heaps.get(at);
    if (heap === undefined) {
      const head = yield* this.block(at, headerPrefix);
      head.expect('GCOL');
      heap = heapObjects(yield* this.block(at, head.u64(8)), this.budget);
      this.heaps.set(at, heap);
    }
    return heap.get(index) ?? failAt(this.begin + at)(`object ${index} should be in this heap`);
  }
}

const longestName = 2 ** 12;

function heapObjects(heap: Block, budget: Budget): Map<number, Block> {
  const objects = new Map<number, Block>();
  for (let i = headerPrefix; i + headerPrefix <= heap.length;) {
    const index = heap.u16(i);
    if (index === 0) break; // the free space, which is last
    const object = heap.part(i + headerPrefix, heap.u64(i + 8));
    budget.spend(pieceCost, () => 'a heap of texts');
    objects.set(index, object);
    i += headerPrefix + 8 * Math.ceil(object.length / 8);
  }
  return objects;
}

/** A group or dataset. */
export class Hdf5Object {
  private group: ReadonlyMap<string, number> | undefined;
  private attributes: ReadonlyMap<string, Block> | undefined;

  constructor(
    readonly hdf5: Hdf5,
    readonly at: number,
    private readonly messages: readonly Message[],
  ) {}

  /** What a group holds, by name; nothing for a dataset. */
  *members(): Steps<ReadonlyMap<string, number>> {
    const table = this.messages.find(({ type }) => type === symbolTable);
    this.group ??= table === undefined ? new Map<string, number>() : yield* this.hdf5.members(table.body);
    return this.group;
  }

  /** The member of a group with this name. */
  *member(name: string): Steps<Hdf5Object | undefined> {
    const at = (yield* this.members()).get(name);
    return at === undefined ? undefined : yield* this.hdf5.object(at);
  }

  /** The object at a path of names below this group. */
  *find(path: string): Steps<Hdf5Object | undefined> {
    const [first, ...others] = path.split('/') as [string, ...string[]];
    let object = yield* this.member(first);
    for (const name of others) object = object && (yield* object.member(name));
    return object;
  }

  /** The texts of an attribute: one, or a list. Undefined if there is none of this name. */
  *texts(name: string): Steps<Block[] | undefined> {
    this.attributes ??= attributesOf(this.messages);
    const attribute = this.attributes.get(name);
    if (attribute === undefined) return undefined;
    const { type, count, data } = readAttribute(name, attribute);
    if (count === 0) return [];
    if (type.kind !== 'text' && type.kind !== 'long text')
      return data.fail(`attribute ${describe(name)} should hold texts`);
    const texts: Block[] = [];
    for (let i = 0; i < count; i++) {
      let item = data.part(i * type.size, type.size);
      if (type.kind === 'long text') {
        const length = item.u32(0);
        item =
          length === 0
            ? item.part(0, 0)
            : (yield* this.hdf5.heapObject(item.u64(4), item.u32(12))).part(0, length);
      }
      // Many may refer to one text.
      this.hdf5.budget.spend(pieceCost + 2 * item.length, () => `attribute ${describe(name)}`);
      texts.push(item);
    }
    return texts;
  }

  /** The array that this object is; undefined for a group. */
  dataset(): Dataset | undefined {
    return datasetOf(this.messages, this.hdf5);
  }
}
