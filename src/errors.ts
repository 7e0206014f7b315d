/** A file that is broken, truncated or hostile. The message names the offset or the key. */
export class CheckpointError extends Error {
  override readonly name = 'CheckpointError';
}

/** A value as an error sentence shows it: short, and never the data itself. */
export function describe(value: unknown): string {
  if (value === null || value === undefined) return String(value);
  if (typeof value === 'string') return value.length > 60 ? `'${value.slice(0, 57)}…'` : `'${value}'`;
  if (typeof value === 'bigint') return `${value}n`;
  if (typeof value === 'function') return `function ${value.name || '(anonymous)'}`;
  if (typeof value !== 'object') return String(value);
  if (Array.isArray(value)) return `an array of ${value.length}`;
  const name: unknown = (value as { constructor?: { name?: unknown } }).constructor?.name;
  return typeof name === 'string' && name !== '' ? name : 'an object';
}

/** What kind of object a value is, of any realm: `Map`, `Set`, `URL`… */
export function tagOf(value: unknown): string {
  return Object.prototype.toString.call(value).slice(8, -1);
}

/** Refuses option keys that do not exist, so that a typo is not a silent default. */
export function checkOptions(where: string, options: unknown, known: readonly string[]): void {
  if (typeof options !== 'object' || options === null) {
    throw new TypeError(`${where}: options should be an object, got ${describe(options)}`);
  }
  for (const key of Object.keys(options)) {
    if (!known.includes(key)) {
      throw new TypeError(`${where}: unknown option '${key}'; the options are ${known.join(', ')}`);
    }
  }
}

/** A module's size: a positive integer, or PyTorch's sentence. */
export function checkSize(name: string, value: unknown): asserts value is number {
  if (typeof value !== 'number')
    throw new TypeError(`${name} should be of type int, got: ${describe(value)}`);
  if (!Number.isSafeInteger(value)) throw new TypeError(`${name} should be of type int, got: ${value}`);
  if (value <= 0) throw new RangeError(`${name} must be greater than zero, got: ${value}`);
}

/** An option that is true or false. */
export function checkBoolean(name: string, value: unknown): asserts value is boolean {
  if (typeof value !== 'boolean') throw new TypeError(`${name} should be a boolean, got ${describe(value)}`);
}

/** An option that is one of a few strings. */
export function checkOneOf<T extends string>(
  name: string,
  value: unknown,
  known: readonly T[],
): asserts value is T {
  if (known.some((each) => each === value)) return;
  const sentence = `${name} should be '${known.join("' or '")}', got ${describe(value)}`;
  throw typeof value === 'string' ? new RangeError(sentence) : new TypeError(sentence);
}
