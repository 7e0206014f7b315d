import { CheckpointError, describe } from '../../errors.js';
import { readBytes, type Budget, type OpenFile, type Steps } from '../file.js';

// Pickle is a program for a stack machine whose GLOBAL and REDUCE import and call anything. This machine knows
// the opcodes that checkpoints need and the globals it is given, and builds the values below: nothing in a file
// can name code.

export class Tuple {
  constructor(readonly items: readonly unknown[]) {}
}
export class List {
  readonly items: unknown[] = [];
}
export class Dict {
  readonly entries = new Map<unknown, unknown>();
  /** What BUILD gave it: of a state dict `_metadata`. */
  attributes: Dict | null = null;
}
/** An object of TorchScript's: the name of its class, and what its `__getstate__` returned. */
export class ScriptObject {
  type = '';
  state: unknown = null;
}
/** Throws a CheckpointError that names the offset. */
export type Fail = (what: string) => never;
/** A name that files may mention, and what a call of it gives. */
export class Global {
  constructor(
    readonly name: string,
    readonly call?: (args: readonly unknown[], fail: Fail) => unknown,
  ) {}
}

export interface PickleContext {
  readonly budget: Budget;
  findGlobal(module: string, name: string): Global | undefined;
  persistentLoad(id: unknown, fail: Fail): unknown;
}

/** The bytes ended before the pickle did. */
class Unfinished extends CheckpointError {}

/** Opcodes of pickle that the machine does not have, for the sentence that refuses them. */
const refused: Readonly<Record<number, string>> = {
  0x30: 'POP',
  0x31: 'POP_MARK',
  0x32: 'DUP',
  0x42: 'BINBYTES',
  0x43: 'SHORT_BINBYTES',
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
  0x8d: 'BINUNICODE8',
  0x8e: 'BINBYTES8',
  0x8f: 'EMPTY_SET',
  0x90: 'ADDITEMS',
  0x91: 'FROZENSET',
  0x92: 'NEWOBJ_EX',
  0x96: 'BYTEARRAY8',
  0x97: 'NEXT_BUFFER',
  0x98: 'READONLY_BUFFER',
};

// What values take in memory, about, in bytes.
export const dictCost = 320;
export const objectCost = 96;
export const slotCost = 32;
const memoCost = 64;
const scalarCost = 16;

const utf8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });

/**
 * Runs the pickle that begins at `position` and ends before `end`: its value, and where it ended. Pickles in a
 * stream do not tell their length, so as little is read as is needed.
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
    const before = context.budget.left;
    const machine = new Machine(bytes, position, context);
    try {
      return { value: machine.run(), end: position + machine.position };
    } catch (error) {
      if (length >= rest || !(error instanceof Unfinished)) throw error;
      context.budget.left = before;
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
    switch (opcode) {
      case 0x80: {
        const protocol = this.uint8();
        if (protocol < 2 || protocol > 5) this.fail(`pickle protocol ${protocol} is not supported`);
        return;
      }
      case 0x95: // FRAME: how much a reader might fetch at once
        this.take(8);
        return;
      case 0x28: // MARK
        this.spend(slotCost);
        this.marks.push(this.stack.length);
        return;
      case 0x4e: // NONE
        return this.push(null);
      case 0x88: // NEWTRUE
        return this.push(true);
      case 0x89: // NEWFALSE
        return this.push(false);
      case 0x4a: // BININT
        return this.push(this.view.getInt32(this.take(4), true));
      case 0x4b: // BININT1
        return this.push(this.uint8());
      case 0x4d: // BININT2
        return this.push(this.view.getUint16(this.take(2), true));
      case 0x8a: // LONG1
        return this.push(this.long(this.uint8()));
      case 0x47: // BINFLOAT
        return this.push(this.view.getFloat64(this.take(8)));
      case 0x58: // BINUNICODE
      case 0x54: // BINSTRING, of Python 2
        return this.push(this.text(this.uint32()));
      case 0x8c: // SHORT_BINUNICODE
      case 0x55: // SHORT_BINSTRING, of Python 2
        return this.push(this.text(this.uint8()));
      case 0x29: // EMPTY_TUPLE
        return this.push(new Tuple([]), objectCost);
      case 0x85: // TUPLE1
      case 0x86:
      case 0x87: {
        const items = Array.from({ length: opcode - 0x84 }, () => this.pop()).reverse();
        return this.push(new Tuple(items), objectCost);
      }
      case 0x74: // TUPLE
        return this.push(new Tuple(this.popMark()), objectCost);
      case 0x5d: // EMPTY_LIST
        return this.push(new List(), objectCost);
      case 0x61: // APPEND
        return this.append([this.pop()]);
      case 0x65: // APPENDS
        return this.append(this.popMark());
      case 0x7d: // EMPTY_DICT
        return this.push(new Dict(), dictCost);
      case 0x73: // SETITEM
        return this.setItems([this.pop(), this.pop()].reverse());
      case 0x75: // SETITEMS
        return this.setItems(this.popMark());
      case 0x71: // BINPUT
        return this.remember(this.uint8());
      case 0x72: // LONG_BINPUT
        return this.remember(this.uint32());
      case 0x94: // MEMOIZE
        return this.remember(this.memo.length);
      case 0x68: // BINGET
        return this.recall(this.uint8());
      case 0x6a: // LONG_BINGET
        return this.recall(this.uint32());
      case 0x63: // GLOBAL
        return this.global([this.line(), this.line()]);
      case 0x93: // STACK_GLOBAL
        return this.global([this.pop(), this.pop()].reverse());
      case 0x52: // REDUCE
        return this.reduce();
      case 0x81: // NEWOBJ
        return this.newObject();
      case 0x62: // BUILD
        return this.build(this.pop());
      case 0x51: // BINPERSID
        return this.push(this.context.persistentLoad(this.pop(), this.fail), dictCost);
      default: {
        const name = Object.hasOwn(refused, opcode) ? ` (${refused[opcode]})` : '';
        this.fail(`opcode 0x${opcode.toString(16).padStart(2, '0')}${name} is refused`);
      }
    }
  }

  private global([module, name]: unknown[]): void {
    if (typeof module !== 'string' || typeof name !== 'string')
      return this.fail('GLOBAL should be two names');
    const found = this.context.findGlobal(module, name);
    if (found === undefined) {
      return this.fail(
        `${describe(`${module}.${name}`)} is refused: a checkpoint holds tensors and plain data, for a class or function could run code. Save the state dict of a module: torch.save(model.state_dict(), path)`,
      );
    }
    this.push(found);
  }
  private reduce(): void {
    const args = this.pop();
    const callee = this.pop();
    if (!(callee instanceof Global) || callee.call === undefined || !(args instanceof Tuple)) {
      return this.fail(`REDUCE should call a function, got ${nameOf(callee)}`);
    }
    const value = callee.call(args.items, this.fail);
    this.push(value, dictCost);
    // A dict that was made of what may be memoised.
    if (value instanceof Dict) this.spend(2 * slotCost * value.entries.size);
  }
  private newObject(): void {
    const args = this.pop();
    const callee = this.pop();
    const empty = args instanceof Tuple && args.items.length === 0;
    if (!(callee instanceof Global) || callee.name !== 'torch.ScriptObject' || !empty) {
      return this.fail(`NEWOBJ should make a torch.ScriptObject, got ${nameOf(callee)}`);
    }
    this.push(new ScriptObject(), objectCost);
  }
  private build(state: unknown): void {
    const object = this.top();
    if (object instanceof Dict && state instanceof Dict) {
      object.attributes = state;
    } else if (
      object instanceof ScriptObject &&
      state instanceof Tuple &&
      typeof state.items[1] === 'string'
    ) {
      object.state = state.items[0];
      object.type = state.items[1];
    } else {
      this.fail(`BUILD should give state to a dict or a torch.ScriptObject, got ${nameOf(object)}`);
    }
  }
  private append(items: readonly unknown[]): void {
    const list = this.top();
    if (!(list instanceof List)) return this.fail(`APPEND should extend a list, got ${nameOf(list)}`);
    for (const item of items) list.items.push(item);
  }
  private setItems(items: readonly unknown[]): void {
    const dict = this.top();
    if (!(dict instanceof Dict)) return this.fail(`SETITEM should extend a dict, got ${nameOf(dict)}`);
    if (items.length % 2 !== 0) this.fail('SETITEMS should take keys with values');
    this.spend(slotCost * items.length);
    for (let i = 0; i < items.length; i += 2) setItem(dict, items[i], items[i + 1], this.fail);
  }
  private remember(index: number): void {
    // Whoever numbers memos in turn has written a byte for each before.
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
  private popMark(): unknown[] {
    const mark = this.marks.pop();
    return mark === undefined ? this.fail('there is no mark') : this.stack.splice(mark);
  }
  private spend(bytes: number): void {
    this.context.budget.spend(bytes, this.where);
  }

  /** Where the next `count` bytes begin, which then are behind. */
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
  private text(length: number): string {
    const at = this.take(length);
    this.spend(slotCost + 2 * length);
    return this.decode(at, at + length);
  }
  private line(): string {
    const at = this.position;
    while (this.uint8() !== 0x0a) if (this.position - at > 256) this.fail('a name of GLOBAL is too long');
    return this.decode(at, this.position - 1);
  }
  private decode(begin: number, end: number): string {
    try {
      return utf8.decode(this.bytes.subarray(begin, end));
    } catch {
      return this.fail('a string should be UTF-8');
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

/** Refuses what no Map key can stand for, and a second value for a key. */
export function setItem(dict: Dict, key: unknown, value: unknown, fail: Fail): void {
  if (!['string', 'number', 'bigint', 'boolean'].includes(typeof key)) {
    fail(`a key of a dict should be a string, a number or a boolean, got ${nameOf(key)}`);
  }
  if (dict.entries.has(key)) fail(`key ${describe(key)} stands twice`);
  dict.entries.set(key, value);
}

/** A value in an error sentence. */
export function nameOf(value: unknown): string {
  return value instanceof Global ? value.name : describe(value);
}
