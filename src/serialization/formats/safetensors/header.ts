import { CheckpointError, describe } from '../../../errors.js';
import type { ModuleMetadata, StateDict } from '../../../nn/module.js';
import { emptyArray, maxRank, rawBits, type DType } from '../../../tensor/index.js';
import { readBytes, type Budget, type OpenFile, type Steps } from '../../file.js';
import { isRecord, parseJson } from './json.js';

// A safetensors file: the length of the header (8 bytes, little-endian), the header (JSON: name -> dtype, shape,
// data_offsets; and `__metadata__`, string to string), then the data without holes.
//
// A quantized tensor `w` is three entries: its integers under `w` (I8 for qint8, U8 for quint8 and quint4x2), `w.scale`
// (F32, one or one a row) and `w.zero_point` (I32, or F32 for float qparams). For quint4x2, `w` holds the bytes, two
// values each, the first in the low half, and `w.shape` (I64) the tensor's shape. `__metadata__.dynaquant` is the
// JSON of the state dict's module metadata, a list of [name, metadata] (an object would not keep the order of names
// such as "0").

export const dtypeNames: Readonly<Record<string, DType>> = {
  F64: 'float64',
  F32: 'float32',
  F16: 'float16',
  BF16: 'bfloat16',
  I64: 'int64',
  I32: 'int32',
  I16: 'int16',
  I8: 'int8',
  U8: 'uint8',
  BOOL: 'bool',
};
/** The names of dtypes that tensors here do not have, in {@link RawTensor} and in files. */
export const rawNames: Readonly<Record<string, string>> = {
  F4: 'float4_e2m1fn_x2',
  F6_E2M3: 'F6_E2M3',
  F6_E3M2: 'F6_E3M2',
  F8_E4M3: 'float8_e4m3fn',
  F8_E4M3FNUZ: 'float8_e4m3fnuz',
  F8_E5M2: 'float8_e5m2',
  F8_E5M2FNUZ: 'float8_e5m2fnuz',
  F8_E8M0: 'float8_e8m0fnu',
  U16: 'uint16',
  U32: 'uint32',
  U64: 'uint64',
  C64: 'complex64',
};
/** Whether a file can hold tensors of this dtype. */
export function canSave(dtype: string): boolean {
  return [dtypeNames, rawNames].some((names) => Object.values(names).includes(dtype));
}
export const metadataKey = '__metadata__';
/** The name of the note that holds the metadata of modules. */
export const modulesKey = 'dynaquant';

/** The reference implementation's limit on the header, 100 MB. */
export const maxHeader = 100_000_000;
/** Whether a file begins with the length of a header below that limit, and with what begins one. */
export function beginsAsSafetensors(head: Uint8Array): boolean {
  const [high = 1, ...rest] = head.subarray(3, 8).values();
  return high < 6 && rest.every((byte) => byte === 0) && [0x7b, 0x20, 9, 10, 13].includes(head[8] ?? 0);
}
/** Roughly what a tensor takes in memory in addition to its data. */
const tensorCost = 512;

/** A tensor in the file. */
export interface Entry {
  /** The name in PyTorch, that of a {@link RawTensor} included. */
  readonly dtype: string;
  readonly shape: number[];
  /** Bytes from the beginning of the data. */
  readonly begin: number;
  readonly end: number;
}

export interface Header {
  readonly entries: ReadonlyMap<string, Entry>;
  /** Where the data begins. */
  readonly dataAt: number;
}

/** The header of a file, checked. Notes and metadata go into `state`. */
export function* readHeader(file: OpenFile, budget: Budget, state: StateDict): Steps<Header> {
  if (file.size < 8) throw new CheckpointError(`a safetensors file has at least 8 bytes, got ${file.size}`);
  const length = new DataView((yield* readBytes(file, 0, 8)).buffer).getBigUint64(0, true);
  const limit = Math.min(file.size - 8, maxHeader);
  if (length > BigInt(maxHeader)) {
    const what = `no file of weights begins like this (a header of safetensors would have ${length} bytes)`;
    throw new CheckpointError(`offset 0: ${what}`);
  }
  if (length > BigInt(limit)) {
    throw new CheckpointError(`offset 0: the header should have at most ${limit} bytes, got ${length}`);
  }
  const dataAt = 8 + Number(length);
  const header = parseJson(yield* readBytes(file, 8, Number(length)), 8, budget);
  const entries = new Map<string, Entry>();
  for (const [key, value] of Object.entries(header)) {
    if (key === metadataKey) readNotes(value, state);
    else {
      budget.spend(tensorCost, () => `key ${describe(key)}`);
      entries.set(key, checkEntry(key, value, file.size - dataAt));
    }
  }
  checkCoverage(entries, file.size - dataAt);
  return { entries, dataAt };
}

function checkEntry(key: string, value: unknown, dataLength: number): Entry {
  const fail = (what: string): never => {
    throw new CheckpointError(`key ${describe(key)}: ${what}`);
  };
  if (!isRecord(value)) return fail('should be an object');
  const { dtype: name, shape, data_offsets: offsets } = value;
  const known = { ...dtypeNames, ...rawNames };
  const dtype = typeof name === 'string' && Object.hasOwn(known, name) ? known[name] : undefined;
  if (dtype === undefined)
    return fail(`dtype should be one of ${Object.keys(known).join(', ')}, got ${describe(name)}`);
  const isSize = (n: unknown): n is number => Number.isSafeInteger(n) && (n as number) >= 0;
  if (!Array.isArray(shape) || shape.length > maxRank || !shape.every(isSize))
    return fail(`shape should be an array of at most ${maxRank} sizes`);
  if (!Array.isArray(offsets) || offsets.length !== 2 || !offsets.every(isSize)) {
    return fail('data_offsets should be two sizes');
  }
  const [begin, end] = offsets as [number, number];
  if (begin > end || end > dataLength) {
    return fail(`data_offsets should be within 0 and ${dataLength}, got [${begin}, ${end}]`);
  }
  const sizes = name === 'F4' ? pairs(shape as number[], fail) : (shape as number[]);
  const bits = rawBits(dtype) ?? 8 * emptyArray(dtype as DType, 0).BYTES_PER_ELEMENT;
  const size = sizes.reduce((product, n) => product * n, bits) / 8;
  if (size !== end - begin)
    return fail(`shape [${shape.join(', ')}] needs ${size} bytes, got ${end - begin}`);
  return { dtype, shape: sizes, begin, end };
}

/** The shape in PyTorch of a tensor whose bytes hold two values each: it counts bytes, the file counts values. */
function pairs(shape: readonly number[], fail: (what: string) => never): number[] {
  const last = shape.at(-1);
  if (last === undefined || last % 2 !== 0) fail('the last size of an F4 tensor should be even');
  return [...shape.slice(0, -1), last! / 2];
}

/** Every byte of the data belongs to exactly one tensor. */
function checkCoverage(entries: ReadonlyMap<string, Entry>, dataLength: number): void {
  let position = 0;
  const inOrder = [...entries].sort(([, a], [, b]) => a.begin - b.begin || a.end - b.end);
  for (const [key, { begin, end }] of inOrder) {
    if (begin !== position) {
      const what = begin < position ? 'overlaps another tensor' : 'leaves a hole before it';
      throw new CheckpointError(
        `key ${describe(key)}: data_offsets [${begin}, ${end}] ${what} (expected ${position})`,
      );
    }
    position = end;
  }
  if (position !== dataLength) {
    throw new CheckpointError(
      `the tensors have ${position} bytes, but the file has ${dataLength} bytes of data`,
    );
  }
}

function readNotes(value: unknown, state: StateDict): void {
  if (value === null) return;
  if (!isRecord(value) || !Object.values(value).every((text) => typeof text === 'string')) {
    throw new CheckpointError(`${metadataKey} should map strings to strings`);
  }
  for (const [key, text] of Object.entries(value as Record<string, string>)) {
    if (key === modulesKey) readModules(text, state);
    else state.notes.set(key, text);
  }
}

function readModules(text: string, state: StateDict): void {
  let modules: unknown;
  try {
    modules = JSON.parse(text);
  } catch (error) {
    throw new CheckpointError(`${metadataKey}.${modulesKey} is no JSON`, { cause: error });
  }
  if (!Array.isArray(modules)) throw new CheckpointError(`${metadataKey}.${modulesKey} should be a list`);
  for (const entry of modules as unknown[]) {
    const [name, module] = Array.isArray(entry) ? (entry as unknown[]) : [];
    if (typeof name !== 'string' || !isRecord(module) || typeof module['type'] !== 'string') {
      throw new CheckpointError(
        `${metadataKey}.${modulesKey} should list [name, object with a type], got ${describe(name)}`,
      );
    }
    state.metadata.set(name, module as ModuleMetadata);
  }
}
