import { describe, isBytes, rangeError, typeError, type Coded } from '../../errors.js';
import { native } from '../../native/addon.js';
import type { Tensor } from '../../tensor/tensor.js';
import { metadataOf, type Module } from '../module.js';
import type { Stage } from './stages.js';

// A stream's state outside of its process. Numbers are little-endian, as every platform of this package is:
//    0  'DQST'
//    4  uint32   the version of this format
//    8  uint64   the model's fingerprint
//   16  uint32   the number of floats
//   20  uint32   0
//   24  float32  the states
//   at the end   uint64: the hash of everything before it
const magic = 0x54535144;
const version = 1;
const headBytes = 24;
const hashSize = 8;

/** The bytes that hold `states`. */
export function savedState(states: Float32Array, fingerprint: bigint): Uint8Array {
  const bytes = new Uint8Array(headBytes + states.byteLength + hashSize);
  const view = new DataView(bytes.buffer);
  view.setUint32(0, magic, true);
  view.setUint32(4, version, true);
  view.setBigUint64(8, fingerprint, true);
  view.setUint32(16, states.length, true);
  new Float32Array(bytes.buffer, headBytes, states.length).set(states);
  view.setBigUint64(bytes.length - hashSize, hashBytes(bytes.subarray(0, -hashSize), 0n), true);
  return bytes;
}

/**
 * The states that the bytes hold.
 *
 * @throws {TypeError} when `given` is no Uint8Array
 * @throws {RangeError} (`ERR_STREAM`) when the bytes are damaged, or of another model than the fingerprint's
 */
export function loadedState(given: unknown, floats: number, fingerprint: bigint): Float32Array {
  if (!isBytes(given))
    throw typeError('ERR_INVALID_ARG_TYPE', `bytes should be a Uint8Array, got ${describe(given)}`);
  const size = headBytes + 4 * floats + hashSize;
  // A copy, because the floats must be aligned, and shared memory could change after the checks. Not of more than is
  // needed to say what is wrong.
  const bytes = new Uint8Array(given.subarray(0, size));
  const view = new DataView(bytes.buffer);
  if (bytes.length < headBytes || view.getUint32(0, true) !== magic)
    throw damaged('they do not begin as toBuffer begins them');
  if (view.getUint32(4, true) !== version)
    throw damaged(`their format has version ${view.getUint32(4, true)}, and this is version ${version}`);
  const length = headBytes + 4 * view.getUint32(16, true) + hashSize;
  if (given.length !== length) throw damaged(`they should be ${length}, but are ${given.length}`);
  if (view.getBigUint64(8, true) !== fingerprint || length !== size)
    throw damaged("they are of another model: its modules' types, options or weights are others");
  if (view.getBigUint64(size - hashSize, true) !== hashBytes(bytes.subarray(0, -hashSize), 0n))
    throw damaged('they were changed: their checksum is wrong');
  const states = new Float32Array(bytes.buffer, headBytes, floats);
  if (!areFinite(states)) throw damaged('a state is NaN or infinity');
  return states;
}

/** Whether no number is NaN or infinity: only then is `x * 0` zero. Several times as fast as a callback for each. */
export function areFinite(floats: Float32Array): boolean {
  let sum = 0;
  for (let i = 0; i < floats.length; i++) sum += floats[i]! * 0;
  return sum === 0;
}

function damaged(why: string): Coded<RangeError> {
  return rangeError('ERR_STREAM', `bytes are no state of such a stream: ${why}`);
}

function hashBytes(bytes: Uint8Array, seed: bigint): bigint {
  return native().hashBytes(bytes, seed);
}

/** A model's fingerprint, computed again only when its weights have changed. */
export class Fingerprint {
  private hash = 0n;
  /** What the hash was computed from. Weak, so that weights that were replaced are not kept. */
  private seen: { of: WeakRef<object>; version: unknown }[] | undefined;

  of(stages: readonly Stage[]): bigint {
    const now = stages.flatMap(({ module }) => [...module.modules()].flatMap(weightsOf));
    const { seen } = this;
    const same =
      seen?.length === now.length &&
      now.every((object, i) => seen[i]!.of.deref() === object && seen[i]!.version === versionOf(object));
    if (!same) {
      this.hash = stages.reduce((hash, { module }) => hashModule(module, hash), 0n);
      this.seen = now.map((object) => ({ of: new WeakRef(object), version: versionOf(object) }));
    }
    return this.hash;
  }
}

/**
 * The objects that a module holds: float modules hold their parameters, with versions, and quantized ones a record
 * that is replaced when they load.
 */
function weightsOf(module: Module): object[] {
  return Object.values(module).filter(
    (value): value is object => typeof value === 'object' && value !== null,
  );
}

function versionOf(object: object): unknown {
  return (object as Partial<Tensor>).version;
}

/** Options that do not change what a module computes from a state. */
const withoutEffect = new Set(['batchFirst', 'dropout']);

/** Continues a hash with a module: what it is, and its weights. */
function hashModule(module: Module, before: bigint): bigint {
  const encoder = new TextEncoder();
  const state = module.stateDict();
  let hash = before;
  const add = (bytes: Uint8Array): void => void (hash = hashBytes(bytes, hash));
  const describeTo = (value: unknown): void => add(encoder.encode(JSON.stringify(value)));
  for (const [name, metadata] of metadataOf(state)) {
    const entries = Object.entries(metadata).filter(([key]) => !withoutEffect.has(key));
    // An activation's options are not in its metadata.
    describeTo([name, entries, entries.length === 1 ? module.getSubmodule(name).extraRepr() : '']);
  }
  for (const [name, tensor] of state) {
    const { data, scales, zeroPoints } = tensor;
    describeTo([name, tensor.dtype, tensor.shape, tensor.qscheme]);
    for (const array of [data, scales, zeroPoints])
      if (array !== undefined) add(new Uint8Array(array.buffer, array.byteOffset, array.byteLength));
  }
  return hash;
}
