/**
 * Every code of this package's errors, with its meaning. Codes are part of the public interface: sentences may be
 * improved, codes stay. TypeErrors are about kinds, RangeErrors about sizes and values.
 */
export const errorCodes = {
  /** TypeError. */
  ERR_INVALID_ARG_TYPE: 'An argument is of the wrong kind.',
  /** TypeError. */
  ERR_UNKNOWN_OPTION: 'An options object has a key that the call does not know.',
  /** TypeError. */
  ERR_TOO_MANY_ARGUMENTS: 'A call has more arguments than it takes.',
  /** TypeError. */
  ERR_DTYPE: 'A tensor or array has elements of another type than the call takes.',
  /** TypeError. */
  ERR_READ_ONLY: 'A size or option of a module was written after construction.',
  /** RangeError. */
  ERR_INVALID_ARG_VALUE: 'An argument has a value that the call does not allow.',
  /** RangeError. */
  ERR_OUT_OF_RANGE: 'An index, dimension or name is not among those that there are.',
  /** RangeError. */
  ERR_DETACHED:
    "A tensor's memory is gone or no longer fits its shape: its array was transferred or resized.",
  /** RangeError. */
  ERR_NOT_LOADED: 'A parameter that `skipInit` left without numbers is used before it was loaded.',
  /** RangeError. */
  ERR_SHAPE: 'The sizes of a tensor do not fit the module, the other arguments or its data.',
  /** RangeError. */
  ERR_TOO_LARGE: 'There is no memory for so many elements, or no array can hold them.',
  /** RangeError. */
  ERR_NOT_FINITE: 'A value is NaN or infinity where INT8 or float16 arithmetic needs finite ones.',
  /** RangeError. */
  ERR_OVERFLOW: 'The inputs are finite, but a result overflows float32.',
  /** RangeError. */
  ERR_STATE_DICT: 'A state dict does not fit the module that should load it; nothing was changed.',
  /** RangeError. */
  ERR_UNSUPPORTED: 'PyTorch knows this combination, dynaquant does not have it.',
  /** RangeError. */
  ERR_STREAM: 'There is no such live stream, or its saved state is damaged or of another model.',
  /** CheckpointError. */
  ERR_CHECKPOINT: 'A file is broken, truncated, hostile or of a kind that cannot be read.',
  /** Error. */
  ERR_DISPOSED: 'A module, one below it, or live streams are used after `dispose()`.',
  /** Error. */
  ERR_NATIVE_ADDON: 'There is no native build for this machine, or it cannot be loaded.',
  /** Error. */
  ERR_ENVIRONMENT: 'An environment variable that begins with DYNAQUANT_ has an unusable value.',
} as const;
/** One of the keys of {@link errorCodes}. */
export type ErrorCode = keyof typeof errorCodes;

/** An error with one of {@link errorCodes}. */
export type Coded<E extends Error> = E & { readonly code: ErrorCode };

function coded<E extends Error>(error: E, code: ErrorCode, caller: (...args: never[]) => Error): Coded<E> {
  Error.captureStackTrace(error, caller);
  return Object.assign(error, { code });
}

/** A value of the wrong kind. */
export function typeError(code: ErrorCode, message: string, options?: ErrorOptions): Coded<TypeError> {
  return coded(new TypeError(message, options), code, typeError);
}

/** A wrong size or value. */
export function rangeError(code: ErrorCode, message: string, options?: ErrorOptions): Coded<RangeError> {
  return coded(new RangeError(message, options), code, rangeError);
}

/** What each public function calls that is given more arguments than it has parameters: scripts/strict-arguments.cjs. */
export function surplus(name: string, most: number, given: number): never {
  const takes = most === 0 ? 'no arguments' : `at most ${most} argument${most === 1 ? '' : 's'}`;
  const hint = most === 1 && given === 3 ? ' (map passes three)' : '';
  const error = new TypeError(`${name}() takes ${takes}, got ${given}${hint}`);
  throw coded(error, 'ERR_TOO_MANY_ARGUMENTS', surplus);
}

/** A use of what is gone. */
export function disposedError(message: string): Coded<Error> {
  return coded(new Error(message), 'ERR_DISPOSED', disposedError);
}

/** What is wrong with the installation or its environment. */
export function setupError(code: ErrorCode, message: string, options?: ErrorOptions): Coded<Error> {
  return coded(new Error(message, options), code, setupError);
}

/** Thrown for a file that is broken, truncated or hostile. The message names the offset or the key. */
export class CheckpointError extends Error {
  /** `CheckpointError`, which is known across copies of the package and worker threads. */
  override readonly name = 'CheckpointError';
  /** `ERR_CHECKPOINT`. */
  readonly code = 'ERR_CHECKPOINT' satisfies ErrorCode;

  constructor(message?: string, options?: ErrorOptions) {
    super(message === undefined || typeof message === 'string' ? message : describe(message), options);
  }
}

/** A value as an error sentence shows it: short, and never the data itself. */
export function describe(value: unknown): string {
  try {
    return description(value);
  } catch {
    return `a ${typeof value} that cannot be read`; // a getter that throws, or a revoked Proxy
  }
}

function description(value: unknown): string {
  if (value === null || value === undefined) return String(value);
  if (typeof value === 'string') return value.length > 60 ? `'${value.slice(0, 57)}…'` : `'${value}'`;
  if (typeof value === 'bigint')
    return BigInt.asIntN(128, value) === value ? `${value}n` : 'a bigint of more than 128 bits';
  if (typeof value === 'function') {
    const name: unknown = value.name; // a class may have a static member of that name
    return `function ${typeof name === 'string' && name !== '' ? name : '(anonymous)'}`;
  }
  if (typeof value !== 'object') return String(value);
  if (Array.isArray(value)) return `an array of ${value.length}`;
  const name: unknown = (value as { constructor?: { name?: unknown } }).constructor?.name;
  if (name === 'OpaqueValue')
    return `OpaqueValue(${String((value as { type?: unknown }).type).slice(0, 100)})`;
  return typeof name === 'string' && name !== '' ? name : 'an object';
}

/** What to do with an OpaqueValue that stands where tensors should; `''` for any other value. */
export function opaqueAdvice(value: unknown): string {
  return describe(value).startsWith('OpaqueValue(')
    ? ', which only Python could make: save a state dict, torch.save(model.state_dict(), path), or take the tensors out of its state'
    : '';
}

/** At most so many items of a list; if there are more, the last says so, with their number where `more` has it. */
export function someOf(
  items: readonly string[],
  most: number,
  more: (rest: number) => string = () => '…',
): string {
  if (items.length <= most) return items.join(', ');
  return [...items.slice(0, most - 1), more(items.length - most + 1)].join(', ');
}

/** So many names of a list, `and 3 more`. */
export function firstOf(names: readonly string[], most: number): string {
  const rest = names.length - most;
  return names.slice(0, most).join(', ') + (rest > 0 ? ` and ${rest} more` : '');
}

/** What kind of object a value is, in any realm: `Map`, `Set`, `URL`… */
export function tagOf(value: unknown): string {
  return Object.prototype.toString.call(value).slice(8, -1);
}

const sizeOfMap = Object.getOwnPropertyDescriptor(Map.prototype, 'size')!.get!;
const sizeOfSet = Object.getOwnPropertyDescriptor(Set.prototype, 'size')!.get!;

function hasSize(getter: () => unknown, value: unknown): boolean {
  try {
    getter.call(value);
    return true;
  } catch {
    return false;
  }
}

/** Whether a value is a Map, of any realm. A tag could be anybody's; only a Map has the slot behind `size`. */
export function isMap(value: unknown): value is ReadonlyMap<unknown, unknown> {
  return hasSize(sizeOfMap, value);
}

/** Whether a value is a Set, of any realm. */
export function isSet(value: unknown): value is ReadonlySet<unknown> {
  return hasSize(sizeOfSet, value);
}

const typedArrayName = Object.getOwnPropertyDescriptor(
  Object.getPrototypeOf(Uint8Array.prototype),
  Symbol.toStringTag,
)!.get as (this: unknown) => string | undefined;

/** The name of a typed array's class, in any realm, whatever the array says of itself; `''` for everything else. */
export function arrayName(value: unknown): string {
  return typedArrayName.call(value) ?? '';
}

/** Whether a value is a Uint8Array, of any realm. */
export function isBytes(value: unknown): value is Uint8Array {
  return arrayName(value) === 'Uint8Array';
}

/** Refuses unknown option keys, so that a typo does not silently mean the default. */
export function checkOptions(where: string, options: unknown, known: readonly string[]): void {
  const isObject =
    typeof options === 'object' &&
    options !== null &&
    !Array.isArray(options) &&
    !ArrayBuffer.isView(options);
  const keys = isObject ? Object.keys(options) : [];
  // A Map of options, a Date or a Promise has no keys either.
  if (!isObject || (keys.length === 0 && tagOf(options) !== 'Object')) {
    throw typeError(
      'ERR_INVALID_ARG_TYPE',
      `${where}: options should be an object, got ${describe(options)}`,
    );
  }
  for (const key of keys) {
    if (!known.includes(key)) {
      throw typeError(
        'ERR_UNKNOWN_OPTION',
        `${where}: unknown option '${key}'; the options are ${known.join(', ')}`,
      );
    }
  }
}

/** A module's size: a positive integer, or PyTorch's sentence. */
export function checkSize(name: string, value: unknown): asserts value is number {
  if (typeof value !== 'number' || !Number.isSafeInteger(value))
    throw typeError('ERR_INVALID_ARG_TYPE', `${name} should be of type int, got: ${describe(value)}`);
  if (value <= 0)
    throw rangeError('ERR_INVALID_ARG_VALUE', `${name} must be greater than zero, got: ${value}`);
}

/** A number, NaN and infinities included. */
export function checkNumber(name: string, value: unknown): asserts value is number {
  if (typeof value !== 'number')
    throw typeError('ERR_INVALID_ARG_TYPE', `${name} should be a number, got ${describe(value)}`);
}

/** A whole number of any sign. */
export function checkInteger(name: string, value: unknown): asserts value is number {
  if (!Number.isInteger(value))
    throw typeError('ERR_INVALID_ARG_TYPE', `${name} should be an integer, got ${describe(value)}`);
}

export function checkString(name: string, value: unknown): asserts value is string {
  if (typeof value !== 'string')
    throw typeError('ERR_INVALID_ARG_TYPE', `${name} should be a string, got ${describe(value)}`);
}

export function checkFunction(name: string, value: unknown): asserts value is (...args: never[]) => unknown {
  if (typeof value !== 'function')
    throw typeError('ERR_INVALID_ARG_TYPE', `${name} should be a function, got ${describe(value)}`);
}

/** An option that is true or false. */
export function checkBoolean(name: string, value: unknown): asserts value is boolean {
  if (typeof value !== 'boolean')
    throw typeError('ERR_INVALID_ARG_TYPE', `${name} should be a boolean, got ${describe(value)}`);
}

/** An option that is one of a few strings; otherwise PyTorch's sentence. */
export function checkOneOf<T extends string>(
  name: string,
  value: unknown,
  known: readonly T[],
  sentence = `${name} should be '${known.join("' or '")}', got ${describe(value)}`,
): asserts value is T {
  if (known.some((each) => each === value)) return;
  throw typeof value === 'string'
    ? rangeError('ERR_INVALID_ARG_VALUE', sentence)
    : typeError('ERR_INVALID_ARG_TYPE', sentence);
}

/** What an iterable object holds; a typed array is none of what is listed here, and throws if it is detached. */
export function listOf(name: string, value: unknown, sentence?: string): unknown[] {
  return [...itemsOf(name, value, sentence)];
}

/** {@link listOf}, one by one. */
export function* itemsOf(
  name: string,
  value: unknown,
  sentence = `${name} should be an iterable, got ${describe(value)}`,
): Generator<unknown, void, undefined> {
  // Read once, because a Proxy may say something else the second time.
  const iterate: unknown =
    typeof value === 'object' && value !== null && !ArrayBuffer.isView(value)
      ? (value as Partial<Iterable<unknown>>)[Symbol.iterator]
      : undefined;
  if (typeof iterate !== 'function') throw typeError('ERR_INVALID_ARG_TYPE', sentence);
  const iterator = iterate.call(value) as Partial<Iterator<unknown>> | null;
  if (typeof iterator?.next !== 'function') throw typeError('ERR_INVALID_ARG_TYPE', sentence);
  for (let count = 0; ; count++) {
    const step: unknown = iterator.next();
    if (typeof step !== 'object' || step === null) throw typeError('ERR_INVALID_ARG_TYPE', sentence);
    const { done, value: each } = step as IteratorResult<unknown>;
    if (done) return;
    if (count === longestList) {
      iterator.return?.();
      throw rangeError('ERR_TOO_LARGE', `${name} should have at most ${longestList} entries`);
    }
    yield each;
  }
}

/** An iterable need not end. */
export const longestList = 2 ** 20;
