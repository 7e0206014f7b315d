import { native } from '../src/native/addon.js';
import { unaryNames, type UnaryName } from '../src/native/call-elementwise.js';
import type { CallLayout, LinearHandle, RNNHandle, Slotted, StatusName } from '../src/native/handles.js';
import { withIsa } from './support.js';

export const isas = native().isas();

/** Runs a kernel on every instruction set; all must leave the same bytes as scalar. */
export function everywhere(run: () => ArrayBufferView[]): Uint8Array[] {
  const all = ['scalar', ...isas.filter((isa) => isa !== 'scalar')].map((isa) =>
    withIsa(isa, () => run().map((a) => new Uint8Array(a.buffer, a.byteOffset, a.byteLength).slice())),
  );
  all.forEach((arrays) => arrays.forEach((bytes, i) => expect(Buffer.compare(bytes, all[0]![i]!)).toBe(0)));
  return all[0]!;
}

// Calls as call.ts makes them, but on arrays of the test's own, between guards, and of wrong sizes if it likes.

type Words = Partial<Record<Exclude<keyof CallLayout, 'slotFloats'>, number>>;

export function writeWords(words: Words): void {
  const { callWords, callLayout } = native();
  callWords.fill(0);
  for (const [name, value] of Object.entries(words)) callWords[callLayout[name as keyof Words]] = value;
}

function bitsOf(array: readonly unknown[]): number {
  return array.reduce((bits: number, each, i) => (each === undefined ? bits : bits | (1 << i)), 0);
}

/** A function of each element, with its numbers. */
export function runUnary(name: UnaryName, x: Slotted, out: Slotted, count: number, a = 0, b = 0): void {
  writeWords({
    arrays: bitsOf([x, out]),
    elementwiseFunction: unaryNames.indexOf(name),
    elementwiseCount: count,
    elementwiseNumbers: a,
  });
  const { callWords, callLayout } = native();
  callWords[callLayout.elementwiseNumbers + 1] = b;
  native().unary(x, out);
}

/** Each argument is an array, or `undefined` for what its slot holds. */
export function runLinear(handle: LinearHandle, x: Slotted, rows: number, out: Slotted): StatusName {
  writeWords({ arrays: bitsOf([x, out]), linearRows: rows });
  return native().statusNames[handle.forward(x, out)]!;
}

export interface RawRNNCall {
  steps: number;
  batch: number;
  firstLayer?: number;
  layers?: number;
  x: Slotted;
  h0?: Slotted;
  c0?: Slotted;
  y: Slotted;
  hn: Slotted;
  cn?: Slotted;
  batchSizes?: BigInt64Array | undefined;
  /** States that are given though they are no arrays: their slots hold them. */
  inSlots?: readonly ('h0' | 'c0')[];
  /** Outputs that lie behind the one before. */
  joined?: readonly ('hn' | 'cn')[];
}

export function runRNN(handle: RNNHandle, call: RawRNNCall): StatusName {
  const { steps, batch, firstLayer = 0, layers = 1, batchSizes, inSlots = [], joined = [] } = call;
  const { x, h0, c0, y, hn, cn } = call;
  const there = (name: 'h0' | 'c0'): 1 | undefined =>
    call[name] !== undefined || inSlots.includes(name) ? 1 : undefined;
  const behind = (name: 'hn' | 'cn'): 1 | undefined => (joined.includes(name) ? 1 : undefined);
  writeWords({
    arrays: bitsOf([x, h0, c0, y, hn, cn]),
    given: bitsOf([1, there('h0'), there('c0')]),
    joined: bitsOf([undefined, undefined, undefined, undefined, behind('hn'), behind('cn')]),
    rnnSteps: steps,
    rnnBatch: batch,
    rnnFirstLayer: firstLayer,
    rnnLayers: layers,
  });
  const status =
    batchSizes === undefined
      ? handle.forward(x, h0, c0, y, hn, cn)
      : handle.forwardPacked(x, h0, c0, y, hn, cn, batchSizes);
  return native().statusNames[status]!;
}
