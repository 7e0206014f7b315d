import { describe } from '../../../errors.js';
import type { Fail } from '../../file.js';

// The values that a pickle builds. Nothing in a file can name code.

export class Tuple {
  constructor(readonly items: readonly unknown[]) {}
}
export class List {
  readonly items: unknown[] = [];
}
export class Dict {
  readonly entries = new Map<unknown, unknown>();
  /** The attributes that BUILD set, such as a state dict's `_metadata`. */
  attributes: Dict | null = null;
}
/** A TorchScript object: the name of its class, and what its `__getstate__` returned. */
export class ScriptObject {
  type = '';
  state: unknown = null;
}
/** A name that files may mention, and its function if files may call it. */
export class Global {
  constructor(
    readonly name: string,
    readonly call?: (args: readonly unknown[], fail: Fail) => unknown,
  ) {}
}

// Roughly what values take in memory, in bytes.
export const dictCost = 320;
export const objectCost = 96;
export const slotCost = 32;
export const memoCost = 64;
export const scalarCost = 16;

/** Adds to a dict. Refuses what cannot be the key of a Map, and a second value for a key. */
export function setItem(dict: Dict, key: unknown, value: unknown, fail: Fail): void {
  if (!['string', 'number', 'bigint', 'boolean'].includes(typeof key)) {
    fail(`a key of a dict should be a string, a number or a boolean, got ${nameOf(key)}`);
  }
  if (dict.entries.has(key)) fail(`key ${describe(key)} stands twice`);
  dict.entries.set(key, value);
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
  return value instanceof Global ? value.name : describe(value);
}
