/**
 * The hot calls: how their arguments and results travel. native/bindings/call.h is the other side, and nobody else
 * knows slots or words.
 *
 * V8 keeps small arrays on its heap, at a tenth of the cost of others, until native code asks for their address. That
 * costs more than either. So small arrays travel by copy through slots of shared memory, and a call's numbers as words
 * of it. A call writes slots and words and runs at once. An asynchronous call, which runs later, has memory of its own,
 * because the next call writes over this.
 */
import { rangeError } from '../errors.js';
import { computeHere } from '../turn.js';
import { native } from './addon.js';
import { callLater, isForHere, statusError } from './call-async.js';
import type {
  CallMemory,
  EmbeddingTable,
  IndexBags,
  LinearHandle,
  RNNHandle,
  Slotted,
  Status,
} from './handles.js';

let memory: CallMemory | undefined;
/** Whether all other memory is copied for each call, as into that of WebAssembly. */
let isApart = false;

/** The shared memory. Cached, because reading a property of the addon is slow: it has many. */
export function callMemory(): CallMemory {
  if (memory === undefined) {
    const { callMemory, callSlots, callWords, callLayout, statusNames } = native();
    isApart = callMemory !== undefined;
    memory = callMemory ?? { callSlots, callWords, callLayout, statusNames };
  }
  return memory;
}

/** V8 keeps arrays of up to this many floats on its own heap. */
const heapSize = 16;

/**
 * The i-th argument, an input: itself, or a copy in its slot. Copying so few floats costs less than asking for the
 * address of an array.
 */
export function input({ callSlots, callLayout }: CallMemory, i: number, data: Float32Array | null): Slotted {
  if (data === null) return undefined;
  if (data.length > callLayout.slotFloats) return data;
  const slot = i * callLayout.slotFloats;
  if (data.length > heapSize) callSlots.set(data, slot);
  else for (let j = 0; j < data.length; j++) callSlots[slot + j] = data[j]!;
  return undefined;
}

/** An output: a new array for `count` results, or `undefined` for its slot when they are few. */
export function output(count: number): Slotted {
  return count <= heapSize ? undefined : newFloats(count);
}

/** A new array, with anything in it if it is large. */
export function newFloats(count: number): Float32Array {
  // Large buffers are not zeroed, because that costs as much as writing the results, or twice as much in pages that
  // were never touched.
  if (count < unzeroedFrom) return new Float32Array(count);
  try {
    return new Float32Array(Buffer.allocUnsafeSlow(4 * count).buffer);
  } catch (cause) {
    throw rangeError('ERR_TOO_LARGE', `cannot allocate ${4 * count} bytes for the results`, { cause });
  }
}
const unzeroedFrom = 16384;

/** The bit of the i-th argument if it is an array. */
export function arrayBit(argument: Slotted, i: number): number {
  return argument === undefined ? 0 : 1 << i;
}

/** The results of the i-th argument: its array, or a copy of what its slot holds. */
export function resultOf(
  { callSlots, callLayout }: CallMemory,
  i: number,
  array: Slotted,
  count: number,
): Float32Array {
  if (array !== undefined) return array;
  const slot = i * callLayout.slotFloats;
  const copy = new Float32Array(count);
  for (let j = 0; j < count; j++) copy[j] = callSlots[slot + j]!;
  return copy;
}

export function throwUnlessOk(status: Status, hidden: string): void {
  if (status !== 0) throw statusError(status, hidden);
}

/** Runs a Linear on `rows` rows; `count` is the number of its results. */
export function callLinear(handle: LinearHandle, x: Float32Array, rows: number, count: number): Float32Array {
  const memory = callMemory();
  const { callWords, callLayout } = memory;
  const xIn = input(memory, 0, x);
  const out = output(count);
  callWords[callLayout.arrays] = arrayBit(xIn, 0) + arrayBit(out, 1);
  callWords[callLayout.linearRows] = rows;
  throwUnlessOk(handle.forward(xIn, out), '');
  return resultOf(memory, 1, out, count);
}

/** The same at once, or on another thread. By then the input is copied. */
export function callLinearAsync(
  handle: LinearHandle,
  x: Float32Array,
  rows: number,
  count: number,
  signal: AbortSignal | undefined,
): Float32Array | Promise<Float32Array> {
  if (isForHere(rows * handle.rowNanoseconds)) {
    return computeHere(() => callLinear(handle, x, rows, count));
  }
  const out = newFloats(count);
  return callLater(out, '', signal, (settle) => handle.start(x, out, settle, rows));
}

/** What a recurrent handle should run. */
export interface RNNCall {
  readonly x: Float32Array;
  readonly h0: Float32Array | null;
  readonly c0: Float32Array | null;
  readonly steps: number;
  readonly batch: number;
  /** Null unless the sequences are packed. */
  readonly batchSizes: BigInt64Array | null;
  readonly firstLayer: number;
  readonly layers: number;
  /** Elements of y, hn and cn; `cFloats` is 0 if the mode has no c. */
  readonly yFloats: number;
  readonly hFloats: number;
  readonly cFloats: number;
}

/** y, hn, cn. Index it, because destructuring is slow. */
export type RNNOutputs = [y: Float32Array, hn: Float32Array, cn: Float32Array];

const keptStates = new WeakMap<Float32Array, readonly Float32Array[]>();

/**
 * Says where the next states go when `h0` is the hidden state of a call: into these arrays, and not into new ones. For
 * a caller that keeps memory for its states, because new arrays take a tenth of such a call's time.
 */
export function keepStates(h0: Float32Array, next: readonly Float32Array[]): void {
  keptStates.set(h0, next);
}

/** Runs a recurrent handle. */
export function callRNN(handle: RNNHandle, call: RNNCall): RNNOutputs {
  const { batchSizes, yFloats, hFloats, cFloats } = call;
  const memory = callMemory();
  const { callWords, callLayout } = memory;
  const x = input(memory, 0, call.x);
  const h0 = input(memory, 1, call.h0);
  const c0 = input(memory, 2, call.c0);
  const kept = call.h0 === null || hFloats <= heapSize ? undefined : keptStates.get(call.h0);
  const joined = kept === undefined ? joinedOutputs(yFloats, hFloats, cFloats) : 0;
  const states = hFloats + cFloats;
  const y = output(joined === allJoined ? yFloats + states : yFloats);
  const hn =
    kept?.[0] ?? (joined === allJoined ? undefined : output(joined === statesJoined ? states : hFloats));
  const cn = kept?.[1] ?? (joined === 0 ? output(cFloats) : undefined);
  callWords[callLayout.arrays] =
    arrayBit(x, 0) + arrayBit(h0, 1) + arrayBit(c0, 2) + arrayBit(y, 3) + arrayBit(hn, 4) + arrayBit(cn, 5);
  callWords[callLayout.given] = (call.h0 === null ? 0 : 1 << 1) + (call.c0 === null ? 0 : 1 << 2);
  callWords[callLayout.joined] = joined;
  callWords[callLayout.rnnSteps] = call.steps;
  callWords[callLayout.rnnBatch] = call.batch;
  callWords[callLayout.rnnFirstLayer] = call.firstLayer;
  callWords[callLayout.rnnLayers] = call.layers;
  // Two methods, because Node-API charges about 100 ns for a seventh argument (Zen 4).
  const status =
    batchSizes === null
      ? handle.forward(x, h0, c0, y, hn, cn)
      : handle.forwardPacked(x, h0, c0, y, hn, cn, batchSizes);
  throwUnlessOk(status, cFloats === 0 ? 'hidden' : 'hidden[0]');
  if (joined === 0) {
    return [
      resultOf(memory, 3, y, yFloats),
      resultOf(memory, 4, hn, hFloats),
      resultOf(memory, 5, cn, cFloats),
    ];
  }
  const { buffer } = (joined === allJoined ? y : hn)!;
  const hiddenAt = joined === allJoined ? yFloats : 0;
  return [
    joined === allJoined ? new Float32Array(buffer, 0, yFloats) : resultOf(memory, 3, y, yFloats),
    new Float32Array(buffer, 4 * hiddenAt, hFloats),
    new Float32Array(buffer, 4 * (hiddenAt + hFloats), cFloats),
  ];
}

const statesJoined = 1 << 5; // cn lies behind hn
const allJoined = statesJoined | (1 << 4); // and hn behind y

/**
 * Whether hn and cn share one ArrayBuffer, because a buffer is expensive, mostly at collection. The output joins them
 * if it is no longer than they are, as after a single step. A longer one does not, because whoever keeps the states
 * would keep it too.
 */
function joinedOutputs(yFloats: number, hFloats: number, cFloats: number): number {
  const onHeap = hFloats <= heapSize || (cFloats > 0 && cFloats <= heapSize);
  const states = hFloats + cFloats;
  if (onHeap || states > largestShared) return 0;
  if (yFloats <= states) return allJoined;
  return cFloats > 0 ? statesJoined : 0;
}
const largestShared = 8192;

/** The same at once, or on another thread. By then inputs are copied. */
export function callRNNAsync(
  handle: RNNHandle,
  call: RNNCall,
  signal: AbortSignal | undefined,
): RNNOutputs | Promise<RNNOutputs> {
  const { x, h0, c0, steps, batch, batchSizes, firstLayer, layers, yFloats, hFloats, cFloats } = call;
  const rows = batchSizes === null ? steps * batch : totalOf(batchSizes);
  if (isForHere(rows * layers * handle.rowNanoseconds)) {
    return computeHere(() => callRNN(handle, call));
  }
  const outputs: RNNOutputs = [newFloats(yFloats), newFloats(hFloats), newFloats(cFloats)];
  const hidden = cFloats === 0 ? 'hidden' : 'hidden[0]';
  return callLater(outputs, hidden, signal, (settle) =>
    handle.start(x, h0, c0, ...outputs, settle, steps, batch, firstLayer, layers, batchSizes),
  );
}

function totalOf(batchSizes: BigInt64Array): number {
  return batchSizes.reduce((sum, size) => sum + Number(size), 0);
}

/** `out` = the rows of `indices`. All indices must be inside the table. */
export function callLookup(table: EmbeddingTable, indices: Int32Array, out: Float32Array): void {
  const memory = callMemory();
  passTable(memory, table);
  const near = isFar(table) ? nearRows(table, indices, -1) : { table, indices };
  native().embeddingLookup(near.table.data, near.table.affines, near.indices, out);
}

/** In the order of native code's numbers for them. */
export const bagModes = ['sum', 'mean', 'max'] as const;

/** `out` = each bag's sum, mean or maximum. `padding` is an index that is left out, or -1. */
export function callBags(
  table: EmbeddingTable,
  { indices, bounds, weights }: IndexBags,
  mode: (typeof bagModes)[number],
  padding: number,
  out: Float32Array,
): void {
  const memory = callMemory();
  const { callWords, callLayout } = memory;
  passTable(memory, table);
  const near = isFar(table) ? nearRows(table, indices, padding) : { table, indices, padding };
  callWords[callLayout.bagMode] = bagModes.indexOf(mode);
  callWords[callLayout.bagPadding] = near.padding;
  native().embeddingBag(near.table.data, near.table.affines, near.indices, bounds, weights, out);
}

/** Whether a call would copy the whole table, and its rows are whole bytes. */
function isFar({ bits, width }: EmbeddingTable): boolean {
  return isApart && (bits * width) % 8 === 0;
}

/** The rows of `indices` as a table of their own. The last row stands for `padding`. */
function nearRows(table: EmbeddingTable, indices: Int32Array, padding: number) {
  const size = table.bits === 32 ? table.width : (table.width * table.bits) / 8;
  const last = indices.length;
  const data = new (table.data.constructor as typeof Uint8Array)((last + 1) * size);
  const affines = table.affines && new Float32Array(2 * (last + 1));
  indices.forEach((index, i) => {
    data.set(table.data.subarray(index * size, (index + 1) * size), i * size);
    affines?.set(table.affines!.subarray(2 * index, 2 * index + 2), 2 * i);
  });
  return {
    table: { ...table, data, affines },
    indices: indices.map((index, i) => (index === padding ? last : i)),
    padding: padding < 0 ? padding : last,
  };
}

function passTable({ callWords, callLayout }: CallMemory, { bits, width }: EmbeddingTable): void {
  callWords[callLayout.tableBits] = bits;
  callWords[callLayout.tableWidth] = width;
}
