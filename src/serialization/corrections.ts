import { describe, listOf, rangeError, someOf, tagOf, typeError } from '../errors.js';
import { isTensor } from '../tensor/index.js';

/** What a caller says about modules: options by the module's dotted name, in which `*` is any text. */
export type MetadataOption =
  | Iterable<readonly [string, Readonly<Record<string, unknown>>]>
  | { readonly [name: string]: Readonly<Record<string, unknown>> };

interface Row {
  readonly name: string;
  readonly pattern: RegExp;
  readonly option: string;
  readonly value: unknown;
  used: boolean;
}

/** The `metadata` of a call: what a file cannot tell, or tells wrongly. */
export class Corrections {
  private readonly rows: Row[] = [];
  /** The names and types of the modules that were asked for. */
  private readonly types = new Map<string, string>();

  constructor(given: MetadataOption = []) {
    for (const [name, options] of entriesOf(given)) {
      // A name stands for itself too, because a `*` may be in it.
      const text = name.replace(/[\\^$.+?()[\]{}|]/g, '\\$&').replace(/\*+/g, '.*');
      const pattern = new RegExp(`^${text}$`, 's');
      for (const [option, value] of Object.entries(options)) {
        this.rows.push({ name, pattern, option, value, used: false });
      }
    }
  }

  /** The class that a module is said to be of. */
  typeOf(name: string): string | undefined {
    const type = this.take(name, (option) => option === 'type')['type'];
    if (type === undefined || typeof type === 'string') return type;
    throw typeError('ERR_INVALID_ARG_TYPE', `type in metadata should be a string, got ${describe(type)}`);
  }

  /** What is said of the options that a module has. */
  optionsOf(name: string, type: string, has: (option: string) => boolean): Record<string, unknown> {
    this.types.set(name, type);
    return this.take(name, (option) => option !== 'type' && has(option));
  }

  /** Whether an option of a module is said. */
  says(name: string, option: string): boolean {
    return this.rows.some((row) => row.option === option && (row.name === name || row.pattern.test(name)));
  }

  /** Refuses what was said of no module. @throws {RangeError} */
  checkUsed(): void {
    for (const { name, pattern, option, used } of this.rows) {
      if (used) continue;
      const [known] = [...this.types].filter(([each]) => pattern.test(each));
      const names = [...this.types.keys()].map((each) => (each === '' ? "''" : each));
      throw rangeError(
        'ERR_OUT_OF_RANGE',
        known === undefined
          ? `there is no module ${describe(name)} of a known class; there are ${someOf(names, 12)}`
          : `module ${describe(known[0])} is ${known[1]}, which has no option ${describe(option)}`,
      );
    }
  }

  private take(name: string, wanted: (option: string) => boolean): Record<string, unknown> {
    if (this.rows.length === 0) return {};
    const taken: [string, unknown][] = [];
    for (const row of this.rows) {
      if (!wanted(row.option) || !(row.name === name || row.pattern.test(name))) continue;
      row.used = true;
      taken.push([row.option, row.value]);
    }
    return Object.fromEntries(taken);
  }
}

function entriesOf(given: unknown): [string, object][] {
  const sentence = `metadata should be a Map or an object of options by module, got ${describe(given)}`;
  const isObject = typeof given === 'object' && given !== null;
  if (!isObject || ArrayBuffer.isView(given) || isTensor(given))
    throw typeError('ERR_INVALID_ARG_TYPE', sentence);
  const entries = Symbol.iterator in given ? listOf('metadata', given, sentence) : Object.entries(given);
  for (const entry of entries) {
    const [name, options] = Array.isArray(entry) ? (entry as unknown[]) : [];
    const isRecord = tagOf(options) === 'Object';
    if (typeof name !== 'string' || !isRecord) {
      const got = typeof name === 'string' ? `${describe(options)} under ${describe(name)}` : describe(entry);
      throw typeError('ERR_INVALID_ARG_TYPE', `metadata should hold options by module, got ${got}`);
    }
  }
  return entries as [string, object][];
}
