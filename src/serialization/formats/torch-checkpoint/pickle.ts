import { CheckpointError, describe, isBytes } from '../../../errors.js';
import { readBytes, type Budget, type Fail, type OpenFile, type Steps } from '../../file.js';
import { findGlobal } from './globals.js';
import {
  checkHashable,
  Dict,
  dictCost,
  Global,
  List,
  markCost,
  memoCost,
  nameOf,
  objectCost,
  Opaque,
  Distinct,
  scalarCost,
  ScriptObject,
  setItem,
  slotCost,
  tensorCost,
  Tuple,
  UnknownGlobal,
} from './values.js';

// Pickle is a program for a stack machine whose GLOBAL and REDUCE import and call anything. This machine calls only
// the functions of globals.ts, which make plain values. What a file would do with any other name becomes an Opaque, a
// record of what the file says; strict files may not have any.

export interface PickleContext {
  readonly budget: Budget;
  readonly strict: boolean;
  persistentLoad(id: unknown, fail: Fail): unknown;
}

/** The bytes ended before the pickle did. */
class Unfinished extends CheckpointError {}

/** Names of the opcodes that the machine does not have, for the sentence that refuses them. */
const refused: Readonly<Record<number, string>> = {
  0x32: 'DUP',
  0x46: 'FLOAT',
  0x49: 'INT',
  0x4c: 'LONG',
  0x50: 'PERSID',
  0x53: 'STRING',
  0x56: 'UNICODE',
  0x64: 'DICT',
  0x67: 'GET',
  0x69: 'INST',
  0x6c: 'LIST',
  0x6f: 'OBJ',
  0x70: 'PUT',
  0x82: 'EXT1',
  0x83: 'EXT2',
  0x84: 'EXT4',
  0x8b: 'LONG4',
  0x97: 'NEXT_BUFFER',
  0x98: 'READONLY_BUFFER',
};

const utf8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });

/**
 * Runs the pickle that begins at `position` and ends before `end`. Returns its value, and where it ended. A pickle does
 * not tell its length, so a little is read first, and more if that was not enough.
 */
export function* readPickle(
  file: OpenFile,
  position: number,
  end: number,
  context: PickleContext,
): Steps<{ value: unknown; end: number }> {
  for (let length = 512; ; length *= 4) {
    const rest = Math.max(end - position, 0);
    const bytes = yield* readBytes(file, position, Math.min(length, rest));
    const undo = context.budget.mark();
    context.budget.earn(bytes.length);
    const machine = new Machine(bytes, position, context);
    try {
      return { value: machine.run(), end: position + machine.position };
    } catch (error) {
      if (length >= rest || !(error instanceof Unfinished)) throw error;
      undo();
    }
  }
}

class Machine {
  position = 0;
  private readonly view: DataView;
  private readonly stack: unknown[] = [];
  private readonly marks: number[] = [];
  private readonly memo: unknown[] = [];
  private opcodeAt = 0;
  private readonly where = (): string => `offset ${this.base + this.opcodeAt}`;
  private readonly fail: Fail = (what) => {
    throw new CheckpointError(`${this.where()}: ${what}`);
  };

  constructor(
    private readonly bytes: Uint8Array,
    private readonly base: number,
    private readonly context: PickleContext,
  ) {
    this.view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  }

  run(): unknown {
    for (;;) {
      this.opcodeAt = this.position;
      const opcode = this.uint8();
      if (this.opcodeAt === 0 && opcode !== 0x80) this.fail('a pickle should begin here');
      if (opcode === 0x2e) break; // STOP
      this.step(opcode);
    }
    const value = this.pop();
    if (this.stack.length > 0) this.fail(`${this.stack.length} values are left on the stack`);
    return value;
  }

  private step(opcode: number): void {
    const run = Machine.opcodes[opcode];
    if (run !== undefined) return run(this);
    const name = Object.hasOwn(refused, opcode) ? ` (${refused[opcode]})` : '';
    this.fail(`opcode 0x${opcode.toString(16).padStart(2, '0')}${name} is refused`);
  }

  private static readonly opcodes: Readonly<Record<number, ((machine: Machine) => void) | undefined>> = {
    0x80: (m) => m.protocol(m.uint8()),
    0x95: (m) => m.take(8), // FRAME: how much a reader might fetch at once
    // Numbers, strings and other constants
    0x4e: (m) => m.push(null), // NONE
    0x88: (m) => m.push(true), // NEWTRUE
    0x89: (m) => m.push(false), // NEWFALSE
    0x4a: (m) => m.push(m.view.getInt32(m.take(4), true)), // BININT
    0x4b: (m) => m.push(m.uint8()), // BININT1
    0x4d: (m) => m.push(m.view.getUint16(m.take(2), true)), // BININT2
    0x8a: (m) => m.push(m.long(m.uint8())), // LONG1
    0x47: (m) => m.push(m.view.getFloat64(m.take(8))), // BINFLOAT
    0x58: (m) => m.push(m.text(m.uint32())), // BINUNICODE
    0x8c: (m) => m.push(m.text(m.uint8())), // SHORT_BINUNICODE
    0x8d: (m) => m.push(m.text(m.uint64())), // BINUNICODE8
    0x54: (m) => m.push(m.oldText(m.uint32())), // BINSTRING
    0x55: (m) => m.push(m.oldText(m.uint8())), // SHORT_BINSTRING
    0x42: (m) => m.push(m.copy(m.uint32())), // BINBYTES
    0x43: (m) => m.push(m.copy(m.uint8())), // SHORT_BINBYTES
    0x8e: (m) => m.push(m.copy(m.uint64())), // BINBYTES8
    0x96: (m) => m.push(m.copy(m.uint64())), // BYTEARRAY8
    // The stack
    0x30: (m) => m.pop(), // POP
    0x31: (m) => m.popMark(), // POP_MARK
    // Tuples, lists, dicts and sets
    0x28: (m) => m.mark(), // MARK
    0x29: (m) => m.push(new Tuple([]), objectCost), // EMPTY_TUPLE
    0x85: (m) => m.push(new Tuple(m.popSome(1)), objectCost), // TUPLE1
    0x86: (m) => m.push(new Tuple(m.popSome(2)), objectCost), // TUPLE2
    0x87: (m) => m.push(new Tuple(m.popSome(3)), objectCost), // TUPLE3
    0x74: (m) => m.push(new Tuple(m.popMark()), objectCost), // TUPLE
    0x5d: (m) => m.push(new List(), objectCost), // EMPTY_LIST
    0x61: (m) => m.append(m.popSome(1)), // APPEND
    0x65: (m) => m.append(m.popMark()), // APPENDS
    0x7d: (m) => m.push(new Dict(), dictCost), // EMPTY_DICT
    0x73: (m) => m.setItems(m.popSome(2)), // SETITEM
    0x75: (m) => m.setItems(m.popMark()), // SETITEMS
    0x8f: (m) => m.push(new Distinct(), dictCost), // EMPTY_SET
    0x90: (m) => m.addItems(m.popMark()), // ADDITEMS
    0x91: (m) => m.frozenSet(m.popMark()), // FROZENSET
    // The memo
    0x71: (m) => m.remember(m.uint8()), // BINPUT
    0x72: (m) => m.remember(m.uint32()), // LONG_BINPUT
    0x94: (m) => m.remember(m.memo.length), // MEMOIZE
    0x68: (m) => m.recall(m.uint8()), // BINGET
    0x6a: (m) => m.recall(m.uint32()), // LONG_BINGET
    // Names, calls and objects
    0x63: (m) => m.global([m.line(), m.line()]), // GLOBAL
    0x93: (m) => m.global(m.popSome(2)), // STACK_GLOBAL
    0x52: (m) => m.reduce(), // REDUCE
    0x81: (m) => m.newObject(m.popSome(2)), // NEWOBJ
    0x92: (m) => m.newObject(m.popSome(3)), // NEWOBJ_EX
    0x62: (m) => m.build(m.pop()), // BUILD
    0x51: (m) => m.push(m.context.persistentLoad(m.pop(), m.fail), tensorCost), // BINPERSID
  };

  private protocol(version: number): void {
    if (version < 2 || version > 5) this.fail(`pickle protocol ${version} is not supported`);
  }
  private global([module, name]: readonly unknown[]): void {
    if (typeof module !== 'string' || typeof name !== 'string')
      return this.fail('GLOBAL should be two names');
    const found = findGlobal(module, name);
    if (found instanceof UnknownGlobal && this.context.strict) {
      return this.fail(
        `${describe(`${module}.${name}`)} is refused: a checkpoint holds tensors and plain data, for a class or function could run code. Save the state dict of a module: torch.save(model.state_dict(), path)`,
      );
    }
    this.push(found, objectCost);
  }
  private reduce(): void {
    const args = this.pop();
    const callee = this.pop();
    if (!(args instanceof Tuple))
      return this.fail(`REDUCE should have a tuple of arguments, got ${nameOf(args)}`);
    const value = this.call(callee, args.items);
    this.push(value, tensorCost);
    // The parts of a value may be memoised, and so be copied many times.
    if (value instanceof Dict) this.spend(2 * slotCost * value.entries.size);
    if (value instanceof Distinct) this.spend(2 * slotCost * value.items.size);
    if (isBytes(value)) this.spend(value.length);
    if (value instanceof Opaque) this.spend(slotCost * value.args.length);
  }
  private call(callee: unknown, args: readonly unknown[]): unknown {
    if (callee instanceof UnknownGlobal) return new Opaque(callee.name, args);
    if (callee instanceof Opaque) return new Opaque(callee.type, [callee, ...args]);
    if (callee instanceof Global && callee.call !== undefined) return callee.call(args, this.fail);
    return this.fail(`REDUCE should call a function, got ${nameOf(callee)}`);
  }
  private newObject([callee, ...args]: readonly unknown[]): void {
    const [items, named] = args;
    if (items instanceof Tuple && (named === undefined || named instanceof Dict)) {
      if (callee instanceof UnknownGlobal && callee.name.startsWith('__torch__.torch.classes.'))
        return this.push(new ScriptObject(callee.name), tensorCost);
      if (callee instanceof UnknownGlobal) {
        const given = named === undefined || named.entries.size === 0 ? items.items : [...items.items, named];
        return this.push(new Opaque(callee.name, given), tensorCost);
      }
      if (callee instanceof Global && callee.name === 'torch.ScriptObject' && items.items.length === 0)
        return this.push(new ScriptObject(), objectCost);
    }
    this.fail(`NEWOBJ should make an object of a class, got ${nameOf(callee)}`);
  }
  private build(state: unknown): void {
    const object = this.top();
    if (object instanceof Opaque) {
      object.state = state;
    } else if (object instanceof ScriptObject && object.type !== '') {
      object.state = state;
    } else if (object instanceof Dict && state instanceof Dict) {
      object.attributes = state;
    } else if (
      object instanceof ScriptObject &&
      state instanceof Tuple &&
      typeof state.items[1] === 'string'
    ) {
      object.state = state.items[0];
      object.type = state.items[1];
    } else {
      this.fail(`BUILD should give state to a dict or an object, got ${nameOf(object)}`);
    }
  }
  private append(items: readonly unknown[]): void {
    const list = this.top();
    if (!(list instanceof List || list instanceof Opaque))
      return this.fail(`APPEND should extend a list, got ${nameOf(list)}`);
    for (const item of items) list.items.push(item);
  }
  private setItems(items: readonly unknown[]): void {
    const dict = this.top();
    if (!(dict instanceof Dict || dict instanceof Opaque))
      return this.fail(`SETITEM should extend a dict, got ${nameOf(dict)}`);
    if (items.length % 2 !== 0) this.fail('SETITEMS should take keys with values');
    this.spend((slotCost * items.length) / 2);
    for (let i = 0; i < items.length; i += 2) setItem(dict, items[i], items[i + 1], this.fail);
  }
  private addItems(items: readonly unknown[]): void {
    const set = this.top();
    if (!(set instanceof Distinct)) return this.fail(`ADDITEMS should extend a set, got ${nameOf(set)}`);
    this.spend(slotCost * items.length);
    for (const item of items) {
      checkHashable(item, this.fail);
      set.items.add(item);
    }
  }
  private frozenSet(items: readonly unknown[]): void {
    if (this.context.strict) this.fail('opcode 0x91 (FROZENSET) is refused');
    this.push(new Opaque('builtins.frozenset', [new Tuple(items)]), tensorCost);
  }
  private remember(index: number): void {
    // Memos are numbered in turn, and each took at least a byte of the pickle, so no number exceeds the position.
    if (index > this.position) this.fail(`memo ${index} is out of turn`);
    this.spend(memoCost);
    this.memo[index] = this.top();
  }
  private recall(index: number): void {
    const value = this.memo[index];
    if (value === undefined) this.fail(`memo ${index} is empty`);
    this.push(value);
  }

  private push(value: unknown, cost = scalarCost): void {
    this.spend(cost);
    this.stack.push(value);
  }
  private pop(): unknown {
    const value = this.top();
    this.stack.pop();
    return value;
  }
  private top(): unknown {
    if (this.stack.length <= (this.marks.at(-1) ?? 0)) this.fail('the stack is empty');
    return this.stack.at(-1);
  }
  /** The last values, in the order in which they were pushed. */
  private popSome(count: number): unknown[] {
    const from = this.stack.length - count;
    if (from < (this.marks.at(-1) ?? 0)) this.fail('the stack is empty');
    return this.stack.splice(from);
  }
  private mark(): void {
    this.spend(markCost);
    this.marks.push(this.stack.length);
  }
  private popMark(): unknown[] {
    const mark = this.marks.pop();
    if (mark === undefined) return this.fail('there is no mark');
    this.spend(-markCost);
    return this.stack.splice(mark);
  }
  private spend(bytes: number): void {
    this.context.budget.spend(bytes, this.where);
  }

  /** Moves past the next `count` bytes and returns where they begin. */
  private take(count: number): number {
    const at = this.position;
    if (at + count > this.bytes.length) {
      throw new Unfinished(`${this.where()}: the pickle is cut off`);
    }
    this.position = at + count;
    return at;
  }
  private uint8(): number {
    return this.bytes[this.take(1)]!;
  }
  private uint32(): number {
    return this.view.getUint32(this.take(4), true);
  }
  private uint64(): number {
    return Number(this.view.getBigUint64(this.take(8), true));
  }
  private text(length: number): string {
    const at = this.take(length);
    this.spend(slotCost + 2 * length);
    return this.decode(at, at + length);
  }
  /** A string of Python 2, which may be text or bytes. */
  private oldText(length: number): string | Uint8Array {
    const at = this.take(length);
    this.spend(slotCost + 2 * length);
    try {
      return utf8.decode(this.bytes.subarray(at, at + length));
    } catch {
      return this.bytes.slice(at, at + length);
    }
  }
  private copy(length: number): Uint8Array {
    const at = this.take(length);
    this.spend(objectCost + length);
    return this.bytes.slice(at, at + length);
  }
  private line(): string {
    const at = this.position;
    while (this.uint8() !== 0x0a) if (this.position - at > 256) this.fail('a name of GLOBAL is too long');
    return this.decode(at, this.position - 1);
  }
  private decode(begin: number, end: number): string {
    const bytes = this.bytes.subarray(begin, end);
    try {
      return utf8.decode(bytes);
    } catch {
      return surrogatesPassed(bytes) ?? this.fail('a string should be UTF-8');
    }
  }
  private long(length: number): number | bigint {
    const at = this.take(length);
    let value = 0n;
    for (let i = length - 1; i >= 0; i--) value = (value << 8n) | BigInt(this.bytes[at + i]!);
    value = BigInt.asIntN(8 * length, value);
    const number = Number(value);
    return Number.isSafeInteger(number) ? number : value;
  }
}

/** Text with halves of surrogate pairs, which Python writes as if they were characters; undefined if it is no text. */
function surrogatesPassed(bytes: Uint8Array): string | undefined {
  let text = '';
  let from = 0;
  try {
    for (let i = bytes.indexOf(0xed); i >= 0; i = bytes.indexOf(0xed, i + 1)) {
      const [second = 0, third = 0] = bytes.subarray(i + 1, i + 3);
      if (second < 0xa0 || second > 0xbf || third < 0x80 || third > 0xbf) continue;
      text += utf8.decode(bytes.subarray(from, i));
      text += String.fromCharCode(0xd000 | ((second & 0x3f) << 6) | (third & 0x3f));
      from = i + 3;
    }
    return text + utf8.decode(bytes.subarray(from));
  } catch {
    return undefined;
  }
}
