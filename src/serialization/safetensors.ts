import { randomUUID } from 'node:crypto';
import { closeSync, fstatSync, fsyncSync, openSync, readSync, renameSync, rmSync, writeSync } from 'node:fs';
import { open, rename, rm, type FileHandle } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';

import { CheckpointError, describe } from '../errors.js';
import { StateDict, type ModuleMetadata, type StateDictLike } from '../nn/module.js';
import { emptyArray, isTensor, numelOf, sameShape, Tensor, type DType, type TensorData } from '../tensor.js';

/** The dtypes that both sides have. Elements are little-endian, as every machine is that Node runs well on. */
const dtypeNames = {
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
} as const satisfies Record<string, DType>;

const fileNames = new Map<DType, string>(Object.entries(dtypeNames).map(([file, dtype]) => [dtype, file]));

/** The entry of `__metadata__` that holds `StateDict.metadata` as JSON. */
const ownEntry = 'dynaquant';

/** The reference implementation's limit. */
const maxHeaderBytes = 100_000_000;

/** Read and write calls take at most 2^31 - 1 bytes. */
const maxCallBytes = 2 ** 30;

// Public ---------------------------------------------------------------------------------------------------

/**
 * Writes tensors in the safetensors format: to a temporary file beside `path` first, which then takes its
 * name, so that a failure leaves what was there. The tensors must not change before the promise settles.
 *
 * A quantized tensor `k` becomes three: its integers `k`, `k.scale` and `k.zero_point` (scalars per tensor,
 * vectors per channel). `state.metadata` and `state.notes` go into the header.
 *
 * @throws {TypeError} when `state` holds anything but tensors, or a dtype the format has no place for
 * @throws {RangeError} when a name is taken twice, or a tensor lost its data
 */
export async function save(state: StateDictLike, path: string | URL): Promise<void> {
  const target = pathOf(path);
  const chunks = encode(state);
  const temporary = temporaryName(target);
  const file = await open(temporary, 'wx');
  try {
    try {
      for (const chunk of chunks) {
        for (let done = 0; done < chunk.length;) {
          const { bytesWritten } = await file.write(chunk, done, Math.min(chunk.length - done, maxCallBytes));
          done += bytesWritten;
        }
      }
      await file.sync();
    } finally {
      await file.close();
    }
    await rename(temporary, target);
  } catch (error) {
    await rm(temporary, { force: true });
    throw error;
  }
}

/** {@link save}, blocking. */
export function saveSync(state: StateDictLike, path: string | URL): void {
  const target = pathOf(path);
  const chunks = encode(state);
  const temporary = temporaryName(target);
  const file = openSync(temporary, 'wx');
  try {
    try {
      for (const chunk of chunks) {
        for (let done = 0; done < chunk.length;) {
          done += writeSync(file, chunk, done, Math.min(chunk.length - done, maxCallBytes));
        }
      }
      fsyncSync(file);
    } finally {
      closeSync(file);
    }
    renameSync(temporary, target);
  } catch (error) {
    rmSync(temporary, { force: true });
    throw error;
  }
}

/**
 * Reads a safetensors file into new tensors, in the order of its header.
 *
 * @param source - a path, a `file:` URL, the bytes, or an open file (which stays open)
 * @throws {CheckpointError} when the file is no safetensors file, is damaged, or holds a dtype that has no
 * place here; the message names the offset or the key. Nothing is allocated for bytes that are not there.
 */
export async function load(source: string | URL | Uint8Array | FileHandle): Promise<StateDict> {
  if (isBytes(source)) return loadSync(source);
  if (isFileHandle(source)) return readFile(source);
  const file = await open(pathOf(source), 'r');
  try {
    return await readFile(file);
  } finally {
    await file.close();
  }
}

/** {@link load}, blocking. */
export function loadSync(source: string | URL | Uint8Array): StateDict {
  if (isBytes(source)) {
    return run(decode(source.length), ({ offset, into }) =>
      into.set(source.subarray(offset, offset + into.length)),
    );
  }
  const file = openSync(pathOf(source), 'r');
  try {
    return run(decode(fstatSync(file).size), ({ offset, into }) => {
      for (let done = 0; done < into.length;) {
        const count = readSync(file, into, done, Math.min(into.length - done, maxCallBytes), offset + done);
        if (count === 0) throw endOfFile(offset + done);
        done += count;
      }
    });
  } finally {
    closeSync(file);
  }
}

// Reading --------------------------------------------------------------------------------------------------

/** Bytes that `decode` wants, and where it wants them. */
interface Read {
  offset: number;
  into: Uint8Array;
}

/** A tensor as the header describes it; offsets count from the end of the header. */
interface Entry {
  dtype: keyof typeof dtypeNames;
  shape: number[];
  begin: number;
  end: number;
}

async function readFile(file: FileHandle): Promise<StateDict> {
  const steps = decode((await file.stat()).size);
  let step = steps.next();
  for (; !step.done; step = steps.next()) {
    const { offset, into } = step.value;
    for (let done = 0; done < into.length;) {
      const length = Math.min(into.length - done, maxCallBytes);
      const { bytesRead } = await file.read(into, done, length, offset + done);
      if (bytesRead === 0) throw endOfFile(offset + done);
      done += bytesRead;
    }
  }
  return step.value;
}

function run(steps: Generator<Read, StateDict>, read: (request: Read) => void): StateDict {
  let step = steps.next();
  for (; !step.done; step = steps.next()) read(step.value);
  return step.value;
}

/** Yields what it wants read, so that the blocking and the asynchronous reader share it. */
function* decode(size: number): Generator<Read, StateDict, void> {
  if (size < 8)
    throw new CheckpointError(`a safetensors file has at least 8 bytes, this one ends at offset ${size}`);
  const prefix = new Uint8Array(8);
  yield { offset: 0, into: prefix };
  const length = new DataView(prefix.buffer).getBigUint64(0, true);
  if (length > BigInt(maxHeaderBytes)) {
    throw new CheckpointError(
      `offset 0: the header length is ${length}, more than the allowed ${maxHeaderBytes}`,
    );
  }
  if (length > BigInt(size - 8)) {
    throw new CheckpointError(`offset 0: the header length is ${length}, but only ${size - 8} bytes follow`);
  }
  const header = new Uint8Array(Number(length));
  yield { offset: 8, into: header };

  const { entries, metadata } = parseHeader(header);
  const dataStart = 8 + header.length;
  checkLayout(entries, size - dataStart);
  const plain = new Map<string, Tensor>();
  for (const [key, { dtype, shape, begin }] of entries) {
    const data = emptyArray(dtypeNames[dtype], numelOf(shape));
    yield { offset: dataStart + begin, into: bytesOf(data) };
    plain.set(key, new Tensor(data, shape, { dtype: dtypeNames[dtype] }));
  }

  const state = new StateDict();
  for (const [key, value] of metadata) {
    if (key === ownEntry) readModules(value, state.metadata);
    else state.notes.set(key, value);
  }
  joinQuantized(plain, state);
  return state;
}

function endOfFile(offset: number): CheckpointError {
  return new CheckpointError(`offset ${offset}: the file ended while it was read`);
}

function parseHeader(bytes: Uint8Array): { entries: Map<string, Entry>; metadata: Map<string, string> } {
  let text: string;
  try {
    text = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes);
  } catch {
    throw new CheckpointError('offset 8: the header is not UTF-8');
  }
  const scanner = new HeaderScanner(text);
  const entries = new Map<string, Entry>();
  const metadata = new Map<string, string>();
  scanner.object((key) => {
    if (key === '__metadata__') scanner.object((name) => metadata.set(name, scanner.string()));
    else entries.set(key, parseEntry(scanner, key));
  });
  scanner.end();
  return { entries, metadata };
}

function parseEntry(scanner: HeaderScanner, key: string): Entry {
  let dtype: string | undefined;
  let shape: number[] | undefined;
  let offsets: number[] | undefined;
  scanner.object((field) => {
    if (field === 'dtype') dtype = scanner.string();
    else if (field === 'shape') shape = scanner.integers();
    else if (field === 'data_offsets') offsets = scanner.integers();
    else throw scanner.error(`'${key}' has an unknown field ${describe(field)}`);
  });
  if (dtype === undefined || shape === undefined || offsets === undefined) {
    throw new CheckpointError(`'${key}' should have dtype, shape and data_offsets`);
  }
  if (!Object.hasOwn(dtypeNames, dtype)) {
    throw new CheckpointError(
      `'${key}' has the dtype ${describe(dtype)}; supported are ${Object.keys(dtypeNames).join(', ')}`,
    );
  }
  if (offsets.length !== 2) {
    throw new CheckpointError(`'${key}' should have two data_offsets, got ${offsets.length}`);
  }
  return { dtype: dtype as Entry['dtype'], shape, begin: offsets[0]!, end: offsets[1]! };
}

/** Every byte of data must belong to exactly one tensor, and every tensor have the bytes its shape needs. */
function checkLayout(entries: ReadonlyMap<string, Entry>, dataBytes: number): void {
  for (const [key, { dtype, shape, begin, end }] of entries) {
    const range = `[${begin}, ${end})`;
    if (begin > end || end > dataBytes) {
      throw new CheckpointError(`'${key}' has data_offsets ${range} outside the ${dataBytes} bytes of data`);
    }
    let needed = emptyArray(dtypeNames[dtype], 0).BYTES_PER_ELEMENT;
    for (const n of shape) {
      needed *= n;
      if (needed > Number.MAX_SAFE_INTEGER)
        throw new CheckpointError(`'${key}' has a shape that is too large`);
    }
    if (needed !== end - begin) {
      throw new CheckpointError(
        `'${key}' has ${end - begin} bytes at ${range}, but ${dtype} of shape [${shape.join(', ')}] needs ${needed}`,
      );
    }
  }
  let position = 0;
  for (const [key, { begin, end }] of [...entries].sort(
    ([, a], [, b]) => a.begin - b.begin || a.end - b.end,
  )) {
    if (begin !== position) {
      const what = begin < position ? 'overlaps the tensor before it' : 'leaves a hole before it';
      throw new CheckpointError(`'${key}' ${what}: it begins at offset ${begin}, expected ${position}`);
    }
    position = end;
  }
  if (position !== dataBytes) {
    throw new CheckpointError(
      `the tensors end at offset ${position}, but there are ${dataBytes} bytes of data`,
    );
  }
}

function readModules(json: string, modules: Map<string, ModuleMetadata>): void {
  const isObject = (value: unknown): value is object =>
    typeof value === 'object' && value !== null && !Array.isArray(value);
  let parsed: unknown;
  try {
    parsed = JSON.parse(json);
  } catch {
    throw new CheckpointError(`__metadata__.${ownEntry} is not JSON`);
  }
  if (!isObject(parsed)) throw new CheckpointError(`__metadata__.${ownEntry} should be an object`);
  for (const [name, module] of Object.entries(parsed)) {
    if (!isObject(module) || typeof (module as { type?: unknown }).type !== 'string') {
      throw new CheckpointError(
        `__metadata__.${ownEntry}: module ${describe(name)} should be an object with a type`,
      );
    }
    modules.set(name, module as ModuleMetadata);
  }
}

/** Moves tensors over; int8 tensors with a scale and a zero point become quantized ones. */
function joinQuantized(plain: ReadonlyMap<string, Tensor>, state: StateDict): void {
  const isInt8 = (key: string): boolean => plain.get(key)?.dtype === 'int8';
  const companion = /\.(?:scale|zero_point)$/;
  for (const [key, tensor] of plain) {
    const scale = plain.get(`${key}.scale`);
    const zeroPoint = plain.get(`${key}.zero_point`);
    const module = state.metadata.get(key.slice(0, Math.max(key.lastIndexOf('.'), 0)));
    const promised = module?.['dtype'] === 'qint8';
    if (isInt8(key) && (promised || scale !== undefined || zeroPoint !== undefined)) {
      state.set(key, quantized(key, tensor, scale, zeroPoint));
    } else if (!(companion.test(key) && isInt8(key.replace(companion, '')))) {
      state.set(key, tensor);
    }
  }
}

function quantized(
  key: string,
  tensor: Tensor,
  scale: Tensor | undefined,
  zeroPoint: Tensor | undefined,
): Tensor {
  for (const [name, part] of Object.entries({ scale, zero_point: zeroPoint })) {
    if (part === undefined)
      throw new CheckpointError(`'${key}' is quantized, but '${key}.${name}' is missing`);
  }
  const perChannel = scale!.dim() > 0;
  const shape = perChannel ? tensor.shape.slice(0, 1) : [];
  for (const [name, part, dtypes] of [
    ['scale', scale!, ['float32', 'float64']],
    ['zero_point', zeroPoint!, ['int32']],
  ] as const) {
    if (!(dtypes as readonly string[]).includes(part.dtype) || !sameShape(part.shape, shape)) {
      throw new CheckpointError(
        `'${key}.${name}' should be ${dtypes[0]} of shape [${shape.join(', ')}], got ${part.dtype} of shape [${part.shape.join(', ')}]`,
      );
    }
  }
  const scales = Float64Array.from(scale!.data as Float32Array);
  // As the float32 numbers that arithmetic uses: a double may be too small or too large for one.
  const bad = scales.findIndex((value) => !(Math.fround(value) > 0 && Math.fround(value) < Infinity));
  if (bad >= 0) {
    throw new CheckpointError(
      `'${key}.scale' should be positive and finite, got ${scales[bad]} at index ${bad}`,
    );
  }
  const zeroPoints = zeroPoint!.data as Int32Array;
  const far = zeroPoints.findIndex((value) => value < -128 || value > 127);
  if (far >= 0) {
    throw new CheckpointError(
      `'${key}.zero_point' should be in [-128, 127], got ${zeroPoints[far]} at index ${far}`,
    );
  }
  const qscheme = perChannel ? 'per_channel_affine' : 'per_tensor_affine';
  return new Tensor(tensor.data, tensor.shape, { dtype: 'qint8', qscheme, scales, zeroPoints, axis: 0 });
}

/**
 * Reads the little of JSON that a header may hold: objects, strings, and arrays of non-negative integers.
 * `JSON.parse` would hide duplicate keys, move keys that look like numbers and round big integers.
 */
class HeaderScanner {
  private position = 0;

  constructor(private readonly text: string) {}

  /** Calls `value` after each key, to read what follows it. */
  object(value: (key: string) => void): void {
    const keys = new Set<string>();
    this.list('{', '}', () => {
      const at = this.position;
      const key = this.string();
      if (keys.has(key)) throw this.error(`the key ${describe(key)} occurs twice`, at);
      keys.add(key);
      this.expect(':');
      value(key);
    });
  }
  integers(): number[] {
    const values: number[] = [];
    this.list('[', ']', () => values.push(this.integer()));
    return values;
  }
  string(): string {
    this.skipSpace();
    const begin = this.position;
    if (this.text[begin] !== '"') throw this.unexpected('a string');
    let end = begin + 1;
    for (; end < this.text.length && this.text[end] !== '"'; end++) if (this.text[end] === '\\') end++;
    try {
      const value = JSON.parse(this.text.slice(begin, end + 1)) as string;
      this.position = end + 1;
      return value;
    } catch {
      throw this.error('a string is malformed');
    }
  }
  /** After the outer object, only the padding may follow. */
  end(): void {
    this.skipSpace();
    if (this.position < this.text.length) throw this.unexpected('the end of the header');
  }
  error(problem: string, position = this.position): CheckpointError {
    const offset = 8 + Buffer.byteLength(this.text.slice(0, position));
    return new CheckpointError(`offset ${offset}: ${problem}`);
  }

  private integer(): number {
    this.skipSpace();
    const digits = /0|[1-9][0-9]*/y;
    digits.lastIndex = this.position;
    const match = digits.exec(this.text)?.[0];
    if (match === undefined) throw this.unexpected('a non-negative integer');
    if (match.length > 16 || !Number.isSafeInteger(Number(match))) {
      throw this.error(`the integer ${match.slice(0, 24)} is too large`);
    }
    this.position += match.length;
    return Number(match);
  }
  private list(open: string, close: string, item: () => void): void {
    this.expect(open);
    this.skipSpace();
    if (this.text[this.position] !== close) {
      do item();
      while (this.took(','));
    }
    this.expect(close);
  }
  private took(character: string): boolean {
    this.skipSpace();
    if (this.text[this.position] !== character) return false;
    this.position++;
    return true;
  }
  private expect(character: string): void {
    if (!this.took(character)) throw this.unexpected(`'${character}'`);
  }
  private unexpected(wanted: string): CheckpointError {
    const found = this.text[this.position];
    return this.error(
      `expected ${wanted} in the header, got ${found === undefined ? 'its end' : describe(found)}`,
    );
  }
  private skipSpace(): void {
    while (' \t\n\r'.includes(this.text[this.position] ?? '-')) this.position++;
  }
}

// Writing --------------------------------------------------------------------------------------------------

/** The file's bytes: the header, then views of the tensors' own memory. */
function encode(state: StateDictLike): Uint8Array[] {
  const tensors = splitQuantized(state);
  // Wider elements first, so that every tensor is aligned without padding, which the format forbids.
  const sorted = [...tensors].sort(([, a], [, b]) => b.data.BYTES_PER_ELEMENT - a.data.BYTES_PER_ELEMENT);
  const begins = new Map<string, number>();
  let position = 0;
  for (const [key, { data }] of sorted) {
    begins.set(key, position);
    position += data.byteLength;
  }

  const fields: string[] = [];
  const field = (key: string, value: unknown): void => {
    fields.push(`${JSON.stringify(key)}:${JSON.stringify(value)}`);
  };
  const metadata = metadataOf(state);
  if (metadata.size > 0) field('__metadata__', Object.fromEntries(metadata));
  // The header keeps the state dict's order; readers go by the offsets.
  for (const [key, { dtype, shape, data }] of tensors) {
    const begin = begins.get(key)!;
    field(key, { dtype: fileNames.get(dtype), shape, data_offsets: [begin, begin + data.byteLength] });
  }
  const json = Buffer.from(`{${fields.join(',')}}`);
  const length = Math.ceil(json.length / 8) * 8;
  if (length > maxHeaderBytes)
    throw new RangeError(`the header would have ${length} bytes, more than ${maxHeaderBytes}`);
  const head = Buffer.alloc(8 + length, ' ');
  head.writeBigUInt64LE(BigInt(length));
  json.copy(head, 8);
  return [head, ...sorted.map(([, { data }]) => bytesOf(data))];
}

function metadataOf(state: StateDictLike): Map<string, string> {
  const { metadata, notes } = state as Partial<StateDict>;
  const result = new Map(tagOf(notes) === 'Map' ? notes : []);
  if (tagOf(metadata) === 'Map' && metadata!.size > 0) {
    result.set(ownEntry, JSON.stringify(Object.fromEntries(metadata!)));
  }
  return result;
}

/** Checks the state and turns each quantized tensor into the three that a file holds. */
function splitQuantized(state: StateDictLike): Map<string, Tensor> {
  if (typeof state !== 'object' || state === null) {
    throw new TypeError(`state should be a Map of tensors, got ${describe(state)}`);
  }
  const entries =
    Symbol.iterator in state ? (state as Iterable<readonly [string, Tensor]>) : Object.entries(state);
  const tensors = new Map<string, Tensor>();
  const plainInt8: string[] = [];
  const put = (key: string, tensor: Tensor): void => {
    if (key === '__metadata__' || tensors.has(key)) {
      throw new RangeError(
        `the name ${describe(key)} is ${key === '__metadata__' ? 'reserved' : 'taken twice'}`,
      );
    }
    tensors.set(key, tensor);
  };
  for (const entry of entries) {
    if (!Array.isArray(entry) || typeof entry[0] !== 'string' || !isTensor(entry[1])) {
      throw new TypeError(`state should hold [name, Tensor] pairs, got ${describe(entry?.[1] ?? entry)}`);
    }
    const [key, tensor] = entry as [string, Tensor];
    const { dtype, shape, quantization } = tensor;
    const data = tensor.checked(`'${key}'`);
    if (quantization === undefined) {
      if (dtype === 'int8') plainInt8.push(key);
      put(key, tensor);
      continue;
    }
    if (dtype !== 'qint8')
      throw new TypeError(`'${key}' should be qint8 to be saved quantized, got ${dtype}`);
    const { scales, zeroPoints, qscheme, axis } = quantization;
    const perChannel = qscheme === 'per_channel_affine';
    if (perChannel && axis !== 0)
      throw new RangeError(`'${key}' should be quantized along axis 0, got ${axis}`);
    const vector = perChannel ? [scales.length] : [];
    const narrow = Float32Array.from(scales);
    // float32 is all that quantizeDynamic makes; other scales keep their bits in float64.
    const exact = narrow.every((value, i) => value === scales[i]);
    put(key, new Tensor(data, shape));
    put(`${key}.scale`, new Tensor(exact ? narrow : scales, vector));
    put(`${key}.zero_point`, new Tensor(zeroPoints, vector));
  }
  for (const key of plainInt8) {
    if (tensors.has(`${key}.scale`) || tensors.has(`${key}.zero_point`)) {
      throw new RangeError(
        `'${key}' is int8 and would be read as quantized, because '${key}.scale' or '${key}.zero_point' is there too`,
      );
    }
  }
  return tensors;
}

// Both -----------------------------------------------------------------------------------------------------

function bytesOf(data: TensorData): Uint8Array {
  return new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
}

function pathOf(path: unknown): string {
  if (typeof path === 'string') return path;
  if (tagOf(path) === 'URL') return fileURLToPath(path as URL);
  throw new TypeError(`path should be a string or a file: URL, got ${describe(path)}`);
}

function temporaryName(path: string): string {
  return `${path}.${randomUUID()}.tmp`;
}

function isBytes(value: unknown): value is Uint8Array {
  return ArrayBuffer.isView(value) && tagOf(value) === 'Uint8Array';
}

function isFileHandle(value: unknown): value is FileHandle {
  const file = value as Partial<FileHandle> | null;
  return (
    typeof file === 'object' &&
    file !== null &&
    typeof file.fd === 'number' &&
    typeof file.stat === 'function'
  );
}

function tagOf(value: unknown): string {
  return Object.prototype.toString.call(value).slice(8, -1);
}
