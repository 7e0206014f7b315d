import { randomBytes } from 'node:crypto';
import { renameSync, rmSync, writeFileSync } from 'node:fs';
import { rename, rm, writeFile } from 'node:fs/promises';

import { CheckpointError, describe } from '../errors.js';
import { StateDict, type ModuleMetadata } from '../nn/module.js';
import {
  emptyArray,
  float32,
  int32,
  int64,
  int8,
  isTensor,
  qint8,
  quint4x2,
  quint8,
  Tensor,
  uint8,
  type DType,
} from '../tensor/index.js';
import { Budget, fileName, readBytes, readInto, type OpenFile, type Opener, type Steps } from './file.js';

// A safetensors file: 8 bytes little-endian length of the header, the header (JSON: name -> dtype, shape,
// data_offsets; and `__metadata__`, string to string), then the data without holes.
//
// A quantized tensor `w` is three entries: its integers under `w` (I8 of qint8, U8 of quint8 and quint4x2), `w.scale`
// (F32, one or one a row) and `w.zero_point` (I32, or F32 of float qparams). Of quint4x2 `w` is the bytes, two
// values each, the first in the low half, and `w.shape` (I64) the tensor's shape. `__metadata__.dynaquant` is the JSON
// of the state dict's module metadata, a list of [name, what it is] (an object would not keep the order of names
// such as "0").

const dtypeNames: Record<string, DType | undefined> = {
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
const fileNames = new Map(Object.entries(dtypeNames).map(([file, dtype]) => [dtype, file]));

/** The reference implementation's limit on the header, 100 MB. */
const maxHeader = 100_000_000;
/** What a tensor takes in memory beside its data, about. */
const tensorCost = 512;
const metadataKey = '__metadata__';

/** What {@link save} takes: a state dict, or anything that lists names and tensors. */
export type Saveable = Iterable<readonly [string, Tensor]>;

/**
 * Writes a state dict as a safetensors file: to a temporary file beside it, renamed when complete.
 *
 * @throws {TypeError} when `state` holds something else than names and tensors
 * @throws {RangeError} for a tensor that the format cannot hold
 */
export async function save(state: Saveable, path: string | URL): Promise<void> {
  const bytes = serialize(state);
  const target = fileName(path);
  const temporary = temporaryName(target);
  try {
    await writeFile(temporary, bytes);
    await rename(temporary, target);
  } catch (error) {
    await rm(temporary, { force: true });
    throw error;
  }
}

/** {@link save}, synchronously. */
export function saveSync(state: Saveable, path: string | URL): void {
  const bytes = serialize(state);
  const target = fileName(path);
  const temporary = temporaryName(target);
  try {
    writeFileSync(temporary, bytes);
    renameSync(temporary, target);
  } catch (error) {
    rmSync(temporary, { force: true });
    throw error;
  }
}

interface Entry {
  readonly dtype: DType;
  readonly shape: number[];
  readonly begin: number;
  readonly end: number;
  tensor?: Tensor;
}

/** Everything is checked before a tensor is made. */
export function* readSafetensors(file: OpenFile): Steps<StateDict> {
  const state = new StateDict();
  return assemble(yield* readEntries(file, state), state);
}

/** The `weight_map` of an index: which key is in which file. */
export function* readIndex(file: OpenFile): Steps<Map<string, string>> {
  if (file.size > maxHeader) throw new CheckpointError(`an index should have at most ${maxHeader} bytes`);
  const { weight_map: map } = parseJson(yield* readBytes(file, 0, file.size), 0, new Budget(file));
  if (!isRecord(map)) throw new CheckpointError('an index should have a weight_map');
  for (const [key, name] of Object.entries(map)) {
    if (typeof name !== 'string' || !/^[^/\\:\0]+\.safetensors$/.test(name)) {
      throw new CheckpointError(
        `key ${describe(key)}: should be in a .safetensors file beside the index, got ${describe(name)}`,
      );
    }
  }
  return new Map(Object.entries(map as Record<string, string>));
}

/** A state dict in parts; the index's order is its order. */
export function* readShards(index: ReadonlyMap<string, string>, open: Opener): Steps<StateDict> {
  const state = new StateDict();
  const shards = new Map<string, Map<string, Entry>>();
  for (const name of new Set(index.values())) {
    const file = (yield open(name)) as OpenFile;
    try {
      shards.set(name, yield* readEntries(file, state));
    } finally {
      yield file.close();
    }
  }
  const entries = new Map<string, Entry>();
  for (const [key, name] of index) {
    const entry = shards.get(name)!.get(key);
    if (entry === undefined) throw new CheckpointError(`key ${describe(key)}: is not in ${describe(name)}`);
    entries.set(key, entry);
  }
  for (const [name, shard] of shards) {
    for (const key of shard.keys()) {
      if (index.get(key) !== name)
        throw new CheckpointError(`key ${describe(key)}: is in ${describe(name)}, but not in the index`);
    }
  }
  return assemble(entries, state);
}

function* readEntries(file: OpenFile, state: StateDict): Steps<Map<string, Entry>> {
  if (file.size < 8) throw new CheckpointError(`a safetensors file has at least 8 bytes, got ${file.size}`);
  const length = new DataView((yield* readBytes(file, 0, 8)).buffer).getBigUint64(0, true);
  const limit = Math.min(file.size - 8, maxHeader);
  if (length > BigInt(limit)) {
    throw new CheckpointError(`offset 0: the header should have at most ${limit} bytes, got ${length}`);
  }
  const start = 8 + Number(length);
  const budget = new Budget(file);
  const header = parseJson(yield* readBytes(file, 8, Number(length)), 8, budget);
  const entries = new Map<string, Entry>();
  for (const [key, value] of Object.entries(header)) {
    if (key === metadataKey) readMetadata(value, state);
    else {
      budget.spend(tensorCost, () => `key ${describe(key)}`);
      entries.set(key, checkEntry(key, value, file.size - start));
    }
  }
  checkCoverage(entries, file.size - start);
  for (const entry of entries.values()) {
    const { dtype, shape, begin } = entry;
    const data = emptyArray(
      dtype,
      shape.reduce((product, n) => product * n, 1),
    );
    yield* readInto(file, new Uint8Array(data.buffer), start + begin);
    entry.tensor = new Tensor(data, shape, { dtype });
  }
  return entries;
}

function assemble(entries: ReadonlyMap<string, Entry>, state: StateDict): StateDict {
  const read = (entry: Entry): Tensor => entry.tensor!;
  for (const [key, entry] of entries) {
    if (isCompanion(entries, key)) continue;
    state.set(key, isQuantized(entries, key) ? readQuantized(key, entries, read) : read(entry));
  }
  return state;
}

/** JSON that begins at an offset of the file. */
function parseJson(bytes: Uint8Array, offset: number, budget: Budget): Record<string, unknown> {
  let value: unknown;
  try {
    const text = new TextDecoder('utf-8', { fatal: true }).decode(bytes);
    checkJson(text, offset, budget);
    value = JSON.parse(text);
  } catch (error) {
    if ((error as Error).name === 'CheckpointError') throw error;
    throw new CheckpointError(`offset ${offset}: the header is no JSON: ${(error as Error).message}`, {
      cause: error,
    });
  }
  if (!isRecord(value)) throw new CheckpointError(`offset ${offset}: the header should be a JSON object`);
  return value;
}

/**
 * Refuses what would become much larger than it is, and keys that stand twice: JSON.parse keeps the last of them, but
 * two readers must not see two files.
 */
function checkJson(text: string, offset: number, budget: Budget): void {
  const open: (Set<string> | null)[] = [];
  let i = 0;
  const where = (): string => `offset ${offset + i}`;
  for (; i < text.length; i++) {
    const c = text[i];
    if (c === '{' || c === '[' || c === ',') budget.spend(c === ',' ? 32 : 160, where);
    if (c === '{') open.push(new Set());
    else if (c === '[') open.push(null);
    else if (c === '}' || c === ']') open.pop();
    else if (c === '"') {
      const begin = i++;
      while (i < text.length && text[i] !== '"') i += text[i] === '\\' ? 2 : 1;
      let next = i + 1;
      while (/\s/.test(text[next] ?? '')) next++;
      const keys = open.at(-1);
      if (text[next] !== ':' || !keys) continue;
      const key = JSON.parse(text.slice(begin, i + 1)) as string;
      if (keys.has(key))
        throw new CheckpointError(`offset ${offset + begin}: key ${describe(key)} stands twice`);
      keys.add(key);
      budget.spend(160, where);
    }
  }
}

function readMetadata(value: unknown, state: StateDict): void {
  if (!isRecord(value) || !Object.values(value).every((text) => typeof text === 'string')) {
    throw new CheckpointError(`${metadataKey} should map strings to strings`);
  }
  for (const [key, text] of Object.entries(value as Record<string, string>)) {
    if (key !== 'dynaquant') {
      state.notes.set(key, text);
      continue;
    }
    let modules: unknown;
    try {
      modules = JSON.parse(text);
    } catch (error) {
      throw new CheckpointError(`${metadataKey}.dynaquant is no JSON`, { cause: error });
    }
    if (!Array.isArray(modules)) throw new CheckpointError(`${metadataKey}.dynaquant should be a list`);
    for (const entry of modules as unknown[]) {
      const [name, module] = Array.isArray(entry) ? (entry as unknown[]) : [];
      if (typeof name !== 'string' || !isRecord(module) || typeof module['type'] !== 'string') {
        throw new CheckpointError(
          `${metadataKey}.dynaquant should list [name, object with a type], got ${describe(name)}`,
        );
      }
      state.metadata.set(name, module as ModuleMetadata);
    }
  }
}

function checkEntry(key: string, value: unknown, dataLength: number): Entry {
  const fail = (what: string): never => {
    throw new CheckpointError(`key ${describe(key)}: ${what}`);
  };
  if (!isRecord(value)) return fail('should be an object');
  const { dtype: name, shape, data_offsets: offsets } = value;
  const dtype = typeof name === 'string' && Object.hasOwn(dtypeNames, name) ? dtypeNames[name]! : undefined;
  if (dtype === undefined) {
    return fail(`dtype should be one of ${Object.keys(dtypeNames).join(', ')}, got ${describe(name)}`);
  }
  const isSize = (n: unknown): n is number => Number.isSafeInteger(n) && (n as number) >= 0;
  if (!Array.isArray(shape) || !shape.every(isSize)) return fail('shape should be an array of sizes');
  if (!Array.isArray(offsets) || offsets.length !== 2 || !offsets.every(isSize)) {
    return fail('data_offsets should be two sizes');
  }
  const [begin, end] = offsets as [number, number];
  if (begin > end || end > dataLength) {
    return fail(`data_offsets should be within 0 and ${dataLength}, got [${begin}, ${end}]`);
  }
  const size = shape.reduce(
    (product: number, n: number) => product * n,
    emptyArray(dtype, 0).BYTES_PER_ELEMENT,
  );
  if (size !== end - begin)
    return fail(`shape [${shape.join(', ')}] needs ${size} bytes, got ${end - begin}`);
  return { dtype, shape: shape as number[], begin, end };
}

/** Every byte of the data belongs to exactly one tensor. */
function checkCoverage(entries: ReadonlyMap<string, Entry>, dataLength: number): void {
  let position = 0;
  for (const [key, { begin, end }] of [...entries].sort(
    ([, a], [, b]) => a.begin - b.begin || a.end - b.end,
  )) {
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

function isQuantized(entries: ReadonlyMap<string, Entry>, key: string): boolean {
  const dtype = entries.get(key)?.dtype;
  return (
    (dtype === int8 || dtype === uint8) && (entries.has(`${key}.scale`) || entries.has(`${key}.zero_point`))
  );
}

/** Whether an entry is a part of a quantized tensor's. */
function isCompanion(entries: ReadonlyMap<string, Entry>, key: string): boolean {
  const [, owner, part] = /^(.*)\.(scale|zero_point|shape)$/s.exec(key) ?? [];
  if (owner === undefined || !isQuantized(entries, owner)) return false;
  return part !== 'shape' || entries.get(owner)!.dtype === uint8;
}

function readQuantized(
  key: string,
  entries: ReadonlyMap<string, Entry>,
  read: (entry: Entry) => Tensor,
): Tensor {
  const companion = (name: string, rows: number | undefined, dtypes: readonly DType[]): Tensor => {
    const entry = entries.get(`${key}.${name}`);
    if (entry === undefined) throw new CheckpointError(`key ${describe(key)}: its ${name} is missing`);
    const perChannel = entry.shape.length === 1 && entry.shape[0] === rows;
    if (!dtypes.includes(entry.dtype) || (!perChannel && entry.shape.length !== 0)) {
      throw new CheckpointError(
        `key ${describe(`${key}.${name}`)}: should be ${dtypes.join(' or ')} of shape [] or [${rows}], got ${entry.dtype} of [${entry.shape.join(', ')}]`,
      );
    }
    return read(entry);
  };
  const { data, shape: stored, dtype } = read(entries.get(key)!);
  const sizes = dtype === uint8 ? entries.get(`${key}.shape`) : undefined;
  if (sizes !== undefined && (sizes.dtype !== int64 || sizes.shape.length !== 1)) {
    throw new CheckpointError(`key ${describe(`${key}.shape`)}: should be int64 of one dimension`);
  }
  const shape = sizes === undefined ? stored : Array.from(read(sizes).data as BigInt64Array, Number);
  const scales = companion('scale', shape[0], [float32]);
  const perChannel = scales.dim() > 0;
  const zeroPoints = companion('zero_point', shape[0], perChannel ? [int32, float32] : [int32]);
  const floatQParams = zeroPoints.dtype === float32;
  try {
    return new Tensor(data, shape, {
      dtype: sizes !== undefined ? quint4x2 : dtype === uint8 ? quint8 : qint8,
      qscheme: floatQParams
        ? 'per_channel_affine_float_qparams'
        : perChannel
          ? 'per_channel_affine'
          : 'per_tensor_affine',
      scales: Float64Array.from(scales.data as Float32Array),
      zeroPoints: zeroPoints.data as Int32Array | Float32Array,
      axis: 0,
    });
  } catch (error) {
    throw new CheckpointError(`key ${describe(key)}: ${(error as Error).message}`, { cause: error });
  }
}

function serialize(state: Saveable): Uint8Array {
  if (typeof state !== 'object' || state === null || !(Symbol.iterator in state)) {
    throw new TypeError(`state should be a Map of tensors, got ${describe(state)}`);
  }
  const tensors = new Map<string, Tensor>();
  const add = (key: string, tensor: Tensor): void => {
    if (tensors.has(key) || key === metadataKey)
      throw new RangeError(`key ${describe(key)} stands twice or is reserved`);
    tensors.set(key, tensor);
  };
  for (const entry of state) {
    if (!Array.isArray(entry) || typeof entry[0] !== 'string' || !isTensor(entry[1])) {
      throw new TypeError('state should hold [name, Tensor] pairs');
    }
    const [key, tensor] = entry as [string, Tensor];
    if (tensor.quantization === undefined) {
      add(key, tensor);
      continue;
    }
    const { qscheme, scales, zeroPoints, axis } = tensor.quantization;
    if (axis !== 0) {
      throw new RangeError(
        `key ${describe(key)}: only tensors quantized along axis 0 can be saved, got ${axis}`,
      );
    }
    const shape = qscheme === 'per_tensor_affine' ? [] : [scales.length];
    const data = tensor.checked(key);
    const packed = tensor.dtype === quint4x2;
    add(key, new Tensor(data, packed ? [data.length] : tensor.shape));
    if (packed) add(`${key}.shape`, new Tensor(BigInt64Array.from(tensor.shape, BigInt), [tensor.dim()]));
    add(`${key}.scale`, new Tensor(Float32Array.from(scales), shape));
    add(`${key}.zero_point`, new Tensor(zeroPoints, shape));
  }

  // Data in falling element size, so that every tensor is aligned; the header keeps the state's order.
  const order = [...tensors].sort(([, a], [, b]) => b.data.BYTES_PER_ELEMENT - a.data.BYTES_PER_ELEMENT);
  const offsets = new Map<string, [number, number]>();
  let length = 0;
  for (const [key, tensor] of order) {
    const size = tensor.checked(key).byteLength;
    offsets.set(key, [length, (length += size)]);
  }
  const texts = state instanceof StateDict ? [...state.notes] : [];
  if (state instanceof StateDict && state.metadata.size > 0) {
    texts.push(['dynaquant', JSON.stringify([...state.metadata])]);
  }
  const fields: [string, unknown][] = [];
  if (texts.length > 0) fields.push([metadataKey, new RawJson(jsonObject(texts))]);
  for (const [key, { dtype, shape }] of tensors) {
    const name = fileNames.get(dtype);
    if (name === undefined) throw new RangeError(`key ${describe(key)}: ${dtype} cannot be saved`);
    fields.push([key, { dtype: name, shape, data_offsets: offsets.get(key) }]);
  }
  const json = new TextEncoder().encode(jsonObject(fields));
  const headerLength = Math.ceil(json.length / 8) * 8;
  const bytes = new Uint8Array(8 + headerLength + length);
  new DataView(bytes.buffer).setBigUint64(0, BigInt(headerLength), true);
  bytes.fill(0x20, 8, 8 + headerLength);
  bytes.set(json, 8);
  for (const [key, { data }] of order) {
    bytes.set(
      new Uint8Array(data.buffer, data.byteOffset, data.byteLength),
      8 + headerLength + offsets.get(key)![0],
    );
  }
  return bytes;
}

class RawJson {
  constructor(readonly text: string) {}
}

/** An object's JSON in the given order; names such as `__proto__` or `1` are keys like any other. */
function jsonObject(entries: readonly (readonly [string, unknown])[]): string {
  const fields = entries.map(
    ([key, value]) =>
      `${JSON.stringify(key)}:${value instanceof RawJson ? value.text : JSON.stringify(value)}`,
  );
  return `{${fields.join(',')}}`;
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function temporaryName(target: string): string {
  return `${target}.${randomBytes(6).toString('hex')}.tmp`;
}
