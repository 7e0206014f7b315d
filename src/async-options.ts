import { checkOptions, describe, surplus, typeError } from './errors.js';

/** The last argument of `forwardAsync`, after those of `forward`. */
export interface AsyncOptions {
  /** Its `abort` cancels a call that has not begun to compute: the promise rejects with the signal's reason. */
  signal?: AbortSignal;
}

/** The optional arguments of a `forwardAsync`: those of `forward`, then options, also where others are left out. */
export type AsyncArguments<Optional extends unknown[]> = [
  ...{ [K in keyof Optional]: Optional[K] | AsyncOptions },
  options?: AsyncOptions,
];

/**
 * Takes the options off the arguments of a `forwardAsync`, if they are there: a plain object with nothing but `signal`, or
 * undefined. `most` other arguments may be left.
 *
 * @throws the signal's reason, if it is aborted @throws {TypeError} if it is no AbortSignal, or too many are left
 */
export function takeSignal(args: unknown[], most = Infinity): AbortSignal | undefined {
  const last = args[args.length - 1];
  const given = args.length;
  if (last === undefined || isOptions(last)) args.pop();
  if (args.length > most) {
    if (given === most + 1) checkOptions('forwardAsync', last, ['signal']);
    surplus('forwardAsync', most + 1, given);
  }
  if (!isOptions(last)) return undefined;
  const { signal } = last;
  if (signal === undefined) return undefined;
  if (!isSignal(signal)) {
    throw typeError('ERR_INVALID_ARG_TYPE', `signal should be an AbortSignal, got ${describe(signal)}`);
  }
  if (signal.aborted) throw signal.reason;
  return signal;
}

function isOptions(value: unknown): value is { readonly signal?: unknown } {
  if (typeof value !== 'object' || value === null) return false;
  const prototype = Object.getPrototypeOf(value) as object | null;
  const isPlain = prototype === null || Object.getPrototypeOf(prototype) === null;
  return isPlain && Object.keys(value).every((key) => key === 'signal');
}

/** Whether a value is an AbortSignal, of any realm. */
function isSignal(value: unknown): value is AbortSignal {
  const signal = value as Partial<AbortSignal> | null;
  return (
    typeof signal === 'object' &&
    typeof signal?.aborted === 'boolean' &&
    typeof signal.addEventListener === 'function' &&
    typeof signal.removeEventListener === 'function'
  );
}

/** Cancels a call; whether it could. */
type Cancel = () => boolean;

// One listener for all calls of a signal, because adding and removing one for each takes longer the more there are.
const callsOf = new WeakMap<AbortSignal, Set<Cancel>>();

/** Calls `cancel` when the signal is aborted, unless `ignoreAbort` is called before. */
export function onAbort(signal: AbortSignal, cancel: Cancel): void {
  let calls = callsOf.get(signal);
  if (calls === undefined) {
    callsOf.set(signal, (calls = new Set()));
    signal.addEventListener('abort', cancelAll);
  }
  calls.add(cancel);
}

export function ignoreAbort(signal: AbortSignal, cancel: Cancel): void {
  const calls = callsOf.get(signal);
  if (calls === undefined || !calls.delete(cancel) || calls.size > 0) return;
  callsOf.delete(signal);
  signal.removeEventListener('abort', cancelAll);
}

function cancelAll(this: AbortSignal): void {
  for (const cancel of callsOf.get(this) ?? []) if (cancel()) ignoreAbort(this, cancel);
}
