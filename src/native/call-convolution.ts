/** The hot calls of convolutions: see call.ts. */
import { computeHere } from '../turn.js';
import { callLater, isForHere } from './call-async.js';
import { arrayBit, callMemory, input, newFloats, output, resultOf, throwUnlessOk } from './call.js';
import type { ConvolutionHandle } from './handles.js';

/** The planes of an input, and how many numbers the output has. */
export interface ConvolutionCall {
  readonly batch: number;
  readonly rows: number;
  readonly columns: number;
  readonly count: number;
  /** Positions of the output, each with all channels. */
  readonly positions: number;
}

/** Runs a convolution. */
export function callConvolution(
  handle: ConvolutionHandle,
  x: Float32Array,
  call: ConvolutionCall,
): Float32Array {
  const { batch, rows, columns, count } = call;
  const memory = callMemory();
  const { callWords, callLayout } = memory;
  const xIn = input(memory, 0, x);
  const out = output(count);
  callWords[callLayout.arrays] = arrayBit(xIn, 0) + arrayBit(out, 1);
  callWords[callLayout.convolutionBatch] = batch;
  callWords[callLayout.convolutionRows] = rows;
  callWords[callLayout.convolutionColumns] = columns;
  throwUnlessOk(handle.forward(xIn, out), '');
  return resultOf(memory, 1, out, count);
}

/** The same at once, or on another thread. By then the input is copied. */
export function callConvolutionAsync(
  handle: ConvolutionHandle,
  x: Float32Array,
  call: ConvolutionCall,
  signal: AbortSignal | undefined,
): Float32Array | Promise<Float32Array> {
  const { batch, rows, columns, count, positions } = call;
  if (isForHere(positions * handle.rowNanoseconds)) {
    return computeHere(() => callConvolution(handle, x, call));
  }
  const out = newFloats(count);
  return callLater(out, '', signal, (settle) => handle.start(x, out, settle, batch, rows, columns));
}
