/** How asynchronous calls start and settle. native/bindings/async.h is the other side. */
import { ignoreAbort, onAbort } from '../async-options.js';
import { rangeError } from '../errors.js';
import { hasTime } from '../turn.js';
import { native } from './addon.js';
import type { Settle, Status } from './handles.js';

/**
 * A call that is estimated to take longer than this runs on another thread. A handover and the way back take the
 * calling thread about 10 µs, and the answer comes 10 to 90 µs later than it would (2 CPUs of a virtual machine).
 */
const handoverNanoseconds = 20_000;

/**
 * Whether a call should run at once in the calling thread, inside `computeHere`, because to hand it over would take
 * longer.
 */
export function isForHere(nanoseconds: number): boolean {
  return nanoseconds <= handoverNanoseconds && hasTime();
}

/** Starts a call on another thread that fills `outputs`; `hidden` is the name of h0 in its errors. */
export function callLater<Outputs>(
  outputs: Outputs,
  hidden: string,
  signal: AbortSignal | undefined,
  start: (settle: Settle) => number,
): Promise<Outputs> {
  const caller: { stack?: string } = {};
  Error.captureStackTrace(caller, callLater);
  return new Promise((resolve, reject) => {
    const settle: Settle = (status, bytes) => {
      if (signal !== undefined) ignoreAbort(signal, cancel);
      if (status === 0) resolve(outputs);
      else reject(calledFrom(statusError(status, hidden, bytes), caller));
    };
    const cancel = (): boolean => {
      const cancelled = native().cancelCall(number);
      if (cancelled) reject(signal!.reason as Error);
      return cancelled;
    };
    const number = start(settle);
    if (signal !== undefined) onAbort(signal, cancel);
  });
}

/** The same error, as if it had been made where `caller` was. */
function calledFrom(error: Error, caller: { readonly stack?: string }): Error {
  const lines = caller.stack?.indexOf('\n') ?? -1;
  if (lines >= 0) error.stack = `${error.name}: ${error.message}${caller.stack!.slice(lines)}`;
  return error;
}

/** The error for a status that is not 0. `hidden` is the name of h0 in it, `bytes` what could not be allocated. */
export function statusError(status: Status, hidden: string, bytes = 0): RangeError {
  const name = native().statusNames[status];
  if (name === 'noMemory') {
    return rangeError('ERR_TOO_LARGE', `cannot allocate ${bytes === 0 ? 'more memory' : `${bytes} bytes`}`);
  }
  if (name === 'overflow') {
    return rangeError('ERR_OVERFLOW', 'the output overflows float32: input, state or weights are too large');
  }
  const culprit = name === 'inputNotFinite' ? 'input' : name === 'hiddenNotFinite' ? hidden : 'hidden[1]';
  return rangeError(
    'ERR_NOT_FINITE',
    `${culprit} should be finite for an INT8 layer, but holds NaN or infinity`,
  );
}
