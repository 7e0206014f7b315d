/** The hot calls of pooling: see call.ts. */
import { cached } from './addon.js';
import { arrayBit, callMemory, input, output, resultOf, throwUnlessOk } from './call.js';

const functions = cached('pool');

/** The planes of an input, and what native code's `pool` does with them. */
export interface PoolingCall {
  readonly planes: number;
  readonly rows: number;
  readonly columns: number;
  readonly sizes: Float64Array;
  /** Numbers of the output. */
  readonly count: number;
}

/** Pools; `indices`, of `count` numbers, gets where each maximum is in its plane. */
export function callPooling(
  x: Float32Array,
  { planes, rows, columns, sizes, count }: PoolingCall,
  indices: BigInt64Array | null,
): Float32Array {
  const memory = callMemory();
  const { callWords, callLayout } = memory;
  const xIn = input(memory, 0, x);
  const out = output(count);
  callWords[callLayout.arrays] = arrayBit(xIn, 0) + arrayBit(out, 1);
  callWords[callLayout.poolingPlanes] = planes;
  callWords[callLayout.poolingRows] = rows;
  callWords[callLayout.poolingColumns] = columns;
  throwUnlessOk(functions().pool(xIn, out, sizes, indices), '');
  return resultOf(memory, 1, out, count);
}
