/**
 * The hot calls of `forwardAsync`. A small one runs at once, because to hand it over to another thread would take
 * longer than the call; a larger one starts, and settles later. Such a call never uses the slots and words of call.ts.
 */
import { ignoreAbort, onAbort } from '../async-options.js';
import { computeHere, hasTime } from '../turn.js';
import { native } from './addon.js';
import { callLinear, callRNN, newFloats, statusError, type RNNCall, type RNNOutputs } from './call.js';
import type { LinearHandle, RNNHandle, Settle } from './handles.js';

/**
 * A call runs on another thread if it is estimated to take longer than this there. A handover and the way back take the
 * calling thread about 10 µs, and the answer comes 10 to 90 µs later than it would (2 CPUs of a virtual machine).
 */
const handoverNanoseconds = 20_000;

/** Runs a recurrent handle: at once, or later. Inputs are copied. */
export function callRNNAsync(
  handle: RNNHandle,
  call: RNNCall,
  signal: AbortSignal | undefined,
): RNNOutputs | Promise<RNNOutputs> {
  const { x, h0, c0, steps, batch, batchSizes, firstLayer, layers, yFloats, hFloats, cFloats } = call;
  const rows = batchSizes === null ? steps * batch : totalOf(batchSizes);
  if (rows * layers * handle.rowNanoseconds <= handoverNanoseconds && hasTime()) {
    return computeHere(() => callRNN(handle, call));
  }
  const outputs: RNNOutputs = [newFloats(yFloats), newFloats(hFloats), newFloats(cFloats)];
  const hidden = cFloats === 0 ? 'hidden' : 'hidden[0]';
  return started(outputs, hidden, signal, (settle) =>
    handle.start(x, h0, c0, ...outputs, settle, steps, batch, firstLayer, layers, batchSizes),
  );
}

/** Runs a Linear: at once, or later. The input is copied. */
export function callLinearAsync(
  handle: LinearHandle,
  x: Float32Array,
  rows: number,
  count: number,
  signal: AbortSignal | undefined,
): Float32Array | Promise<Float32Array> {
  if (rows * handle.rowNanoseconds <= handoverNanoseconds && hasTime()) {
    return computeHere(() => callLinear(handle, x, rows, count));
  }
  const out = newFloats(count);
  return started(out, '', signal, (settle) => handle.start(x, out, settle, rows));
}

function totalOf(batchSizes: BigInt64Array): number {
  return batchSizes.reduce((sum, size) => sum + Number(size), 0);
}

/** Starts a call that gives `outputs`; `hidden` is the name of h0 in its errors. */
function started<Outputs>(
  outputs: Outputs,
  hidden: string,
  signal: AbortSignal | undefined,
  start: (settle: Settle) => number,
): Promise<Outputs> {
  const caller: { stack?: string } = {};
  Error.captureStackTrace(caller, started);
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
