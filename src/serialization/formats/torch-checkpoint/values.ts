import { describe } from '../../../errors.js';
import type { Fail } from '../../file.js';

// The values that a pickle builds. Nothing in a file can name code.

export class Tuple {
  constructor(readonly items: readonly unknown[]) {}
}
export class List {
  constructor(readonly items: unknown[] = []) {}
}
export class Dict {
  readonly entries = new Map<unknown, unknown>();
  /** The attributes that BUILD set, such as a state dict's `_metadata`. */
  attributes: Dict | null = null;
}
/** Python's set. */
export class Distinct {
  readonly items = new Set<unknown>();
}
/** What a class or function that files may not call would have made: how it would have been made, and what of. */
export class Opaque {
  state: unknown = null;
  /** What SETITEMS and APPENDS added. */
  readonly entries = new Map<unknown, unknown>();
  readonly items: unknown[] = [];

  constructor(
    readonly type: string,
    readonly args: readonly unknown[],
  ) {}
}
/** A TorchScript object: the name of its class, and what its `__getstate__` returned. */
export class ScriptObject {
  state: unknown = null;

  /** @param type - in a TorchScript archive; elsewhere its state brings it */
  constructor(public type = '') {}
}
/** A name that files may mention, and its function if files may call it. */
export class Global {
  constructor(
    readonly name: string,
    readonly call?: (args: readonly unknown[], fail: Fail) => unknown,
  ) {}
}

/** A name that files may mention, but nothing here knows. */
export class UnknownGlobal extends Global {}

// Roughly what values take in memory, in bytes.
export const dictCost = 224;
export const tensorCost = 320;
export const objectCost = 96;
export const slotCost = 32;
export const memoCost = 72;
export const scalarCost = 16;
/** What a mark takes until it is closed. */
export const markCost = 128;

/** Adds to a dict. Refuses what Python cannot have as a key, and a second value for a key. */
export function setItem(dict: Dict | Opaque, key: unknown, value: unknown, fail: Fail): void {
  checkHashable(key, fail);
  if (dict.entries.has(key)) fail(`key ${describe(key)} stands twice`);
  dict.entries.set(key, value);
}

/** Refuses what Python cannot have in a set, or as the key of a dict. */
export function checkHashable(key: unknown, fail: Fail): void {
  if (key instanceof List || key instanceof Dict || key instanceof Distinct)
    fail(`a key of a dict, or an item of a set, should be hashable, got ${nameOf(key)}`);
}

/** The items of a tuple or list; none for anything else. */
export function itemsOf(value: unknown): readonly unknown[] {
  return value instanceof Tuple || value instanceof List ? value.items : [];
}

export function isSize(value: unknown): value is number {
  return Number.isSafeInteger(value) && (value as number) >= 0;
}

/** A value in an error sentence. */
export function nameOf(value: unknown): string {
  if (value instanceof Distinct) return 'a set';
  return value instanceof Global ? value.name : value instanceof Opaque ? value.type : describe(value);
}
