import { describe, isMap, itemsOf, rangeError, typeError } from '../../../errors.js';
import { metadataOf, type ModuleMetadata, type StateDict } from '../../../nn/module.js';
import {
  byteLengthOf,
  bytesOf,
  isRawTensor,
  isTensor,
  quint4x2,
  rawBits,
  RawTensor,
  Tensor,
  type Quantization,
  type TensorData,
} from '../../../tensor/index.js';
import { pause, type Steps } from '../../file.js';
import { dtypeNames, metadataKey, modulesKey, rawNames } from './header.js';

const nameOfDType = new Map<string, string>(
  Object.entries({ ...dtypeNames, ...rawNames }).map(([name, dtype]) => [dtype, name]),
);

/** A piece of the file has at most so many bytes: a copy takes a millisecond, and no system refuses to write it. */
const largestPiece = 2 ** 22;
/** So many tensors, or texts of the header, take a millisecond. */
const mostAtOnce = 256;

interface Keyed {
  readonly key: string;
  readonly tensor: Tensor | RawTensor;
}

/** A tensor of the file. */
interface Entry extends Keyed {
  /** Bytes of its elements. */
  readonly size: number;
  /** Where they begin, from the beginning of the data. */
  begin: number;
}
const unplaced = -1;

/**
 * A safetensors file that holds a state dict, in pieces, of which each is overwritten by the next. All of the state is
 * checked first, with pauses; a tensor's elements are read when it is its turn.
 */
export function* safetensorsPieces(
  state: Iterable<readonly [string, Tensor]>,
): Steps<IterableIterator<Uint8Array>> {
  const entries = yield* entriesToWrite(state);
  const dataOrder = yield* laidOut(entries);
  const head = yield* encoded(headerTexts(state, entries));
  const textSize = head.reduce((sum, { length }) => sum + length, 0);
  const padding = new Uint8Array(-textSize & 7).fill(0x20);
  const headerSize = textSize + padding.length;
  const last = dataOrder.at(-1);
  const dataSize = last === undefined ? 0 : last.begin + last.size;
  const parts = [new BigInt64Array([BigInt(headerSize)]), ...head, padding, ...dataOrder];
  return pieces(parts, Math.min(8 + headerSize + dataSize, largestPiece));
}

/**
 * The entries in the order of their data, which is that of falling element sizes, so that every tensor is aligned. The
 * header keeps the state's order.
 */
function* laidOut(entries: readonly Entry[]): Steps<Entry[]> {
  const order: Entry[] = [];
  let steps = 0;
  let begin = 0;
  for (const bytes of [16, 8, 4, 2, 1, 0]) {
    for (const entry of entries) {
      if (++steps % mostAtOnce === 0) yield pause;
      if (entry.begin !== unplaced || elementSize(entry.tensor) < bytes) continue;
      entry.begin = begin;
      begin += entry.size;
      order.push(entry);
    }
  }
  return order;
}

/** Bytes of an element, less than 1 for some raw ones. */
function elementSize(tensor: Tensor | RawTensor): number {
  return isTensor(tensor) ? tensor.data.BYTES_PER_ELEMENT : (rawBits(tensor.dtype) ?? 0) / 8;
}

/** The header, in texts that follow each other. */
function* headerTexts(
  state: Iterable<readonly [string, Tensor]>,
  entries: readonly Entry[],
): Generator<string> {
  let before = '{';
  const notes = notesOf(state);
  const metadata = metadataOf(state);
  if (notes.length > 0 || metadata.size > 0) {
    yield `${before}${JSON.stringify(metadataKey)}:{`;
    yield notes.map(([name, text]) => `${JSON.stringify(name)}:${JSON.stringify(text)}`).join(',');
    if (metadata.size > 0) {
      if (notes.length > 0) yield ',';
      yield* metadataTexts(metadata);
    }
    yield '}';
    before = ',';
  }
  for (const { key, tensor, begin, size } of entries) {
    const dtype = nameOfDType.get(tensor.dtype)!;
    const shape = dtype === 'F4' ? [...tensor.shape.slice(0, -1), 2 * tensor.shape.at(-1)!] : tensor.shape;
    const fields = { dtype, shape, data_offsets: [begin, begin + size] };
    yield `${before}${JSON.stringify(key)}:${JSON.stringify(fields)}`;
    before = ',';
  }
  yield before === '{' ? '{}' : '}';
}

/** The metadata of modules: a text, which is JSON itself. */
function* metadataTexts(metadata: ReadonlyMap<string, ModuleMetadata>): Generator<string> {
  let before = `${JSON.stringify(modulesKey)}:"[`;
  for (const entry of metadata) {
    yield before + JSON.stringify(jsonOf(entry)).slice(1, -1);
    before = ',';
  }
  yield ']"';
}

/** Texts as bytes, with pauses. */
function* encoded(texts: Iterable<string>): Steps<Uint8Array[]> {
  const encoder = new TextEncoder();
  const bytes: Uint8Array[] = [];
  let some: string[] = [];
  for (const text of texts) {
    some.push(text);
    if (some.length < mostAtOnce) continue;
    bytes.push(encoder.encode(some.join('')));
    some = [];
    yield pause;
  }
  bytes.push(encoder.encode(some.join('')));
  return bytes;
}

/**
 * The parts one after the other, in pieces of at most `size` bytes. They are copies, because somebody else may free a
 * tensor's memory while the operating system reads it.
 */
function* pieces(
  parts: readonly (TensorData | Keyed)[],
  size: number,
): Generator<Uint8Array, undefined, undefined> {
  const piece = new Uint8Array(size);
  let filled = 0;
  let begun = 0;
  for (const part of parts) {
    const length = byteLengthOf(dataOf(part));
    for (let done = 0; done < length;) {
      // Asked for again, because it may have been detached since the last piece.
      const data = dataOf(part);
      if (byteLengthOf(data) !== length)
        throw rangeError('ERR_SHAPE', 'a tensor of state changed its size meanwhile');
      const some = bytesOf(data, done, Math.min(length, done + size - filled));
      piece.set(some, filled);
      filled += some.length;
      done += some.length;
      if (filled < size) continue;
      yield piece;
      filled = 0;
    }
    if (++begun % mostAtOnce > 0 || filled === 0) continue;
    yield piece.subarray(0, filled);
    filled = 0;
  }
  if (filled > 0) yield piece.subarray(0, filled);
}

function dataOf(part: TensorData | Keyed): TensorData {
  if (!('tensor' in part)) return part;
  return isTensor(part.tensor) ? part.tensor.checked(part.key) : part.tensor.bytes;
}

/** The tensors of the file: those of a state dict, with quantized ones taken apart, and its raw ones. */
function* entriesToWrite(state: unknown): Steps<Entry[]> {
  const entries: Entry[] = [];
  const keys = new Set<string>([metadataKey]);
  const add = (key: string, tensor: Tensor | RawTensor): void => {
    if (keys.has(key))
      throw rangeError('ERR_INVALID_ARG_VALUE', `key ${describe(key)} stands twice or is reserved`);
    if (!nameOfDType.has(tensor.dtype))
      throw rangeError('ERR_UNSUPPORTED', `key ${describe(key)}: ${tensor.dtype} cannot be saved`);
    keys.add(key);
    const size = byteLengthOf(dataOf({ key, tensor }));
    entries.push({ key, tensor, size, begin: unplaced });
  };
  let checked = 0;
  for (const entry of itemsOf('state', state, `state should be a Map of tensors, got ${describe(state)}`)) {
    if (!Array.isArray(entry) || typeof entry[0] !== 'string' || !isTensor(entry[1])) {
      throw typeError('ERR_INVALID_ARG_TYPE', 'state should hold [name, Tensor] pairs');
    }
    const [key, tensor] = entry as [string, Tensor];
    const { quantization } = tensor;
    if (quantization === undefined) add(key, tensor);
    else for (const [name, part] of quantizedParts(key, tensor, quantization)) add(name, part);
    if (++checked % mostAtOnce === 0) yield pause;
  }
  const { raw } = state as Partial<StateDict>;
  for (const [name, tensor] of isMap(raw) ? raw : []) {
    if (typeof name !== 'string' || !isRawTensor(tensor))
      throw typeError('ERR_INVALID_ARG_TYPE', 'raw of state should map names to RawTensors');
    // Checked again, because it may be another copy's.
    add(name, new RawTensor(tensor.dtype, tensor.shape, tensor.bytes));
    if (++checked % mostAtOnce === 0) yield pause;
  }
  return entries;
}

function quantizedParts(
  key: string,
  tensor: Tensor,
  { qscheme, scales, zeroPoints, axis }: Quantization,
): (readonly [string, Tensor])[] {
  if (axis !== 0) {
    throw rangeError(
      'ERR_UNSUPPORTED',
      `key ${describe(key)}: only tensors quantized along axis 0 can be saved, got ${axis}`,
    );
  }
  const data = tensor.checked(key);
  const nibbles = tensor.dtype === quint4x2;
  const shape = qscheme === 'per_tensor_affine' ? [] : [scales.length];
  const parts: [string, Tensor][] = [[key, new Tensor(data, nibbles ? [data.length] : tensor.shape)]];
  if (nibbles)
    parts.push([`${key}.shape`, new Tensor(BigInt64Array.from(tensor.shape, BigInt), [tensor.dim()])]);
  parts.push([`${key}.scale`, new Tensor(new Float32Array(scales), shape)]);
  parts.push([`${key}.zero_point`, new Tensor(zeroPoints, shape)]);
  return parts;
}

/** A {@link StateDict}'s notes. */
function notesOf(state: Iterable<readonly [string, Tensor]>): [string, string][] {
  const { notes } = state as Partial<StateDict>;
  const texts: [string, string][] = [];
  for (const [name, text] of isMap(notes) ? notes : []) {
    if (typeof name !== 'string' || typeof text !== 'string')
      throw typeError('ERR_INVALID_ARG_TYPE', `notes of state should be texts, got ${describe(text)}`);
    if (name === modulesKey)
      throw rangeError('ERR_INVALID_ARG_VALUE', `notes of state: ${describe(name)} is reserved`);
    texts.push([name, text]);
  }
  return texts;
}

function jsonOf(metadata: unknown): string {
  try {
    return JSON.stringify(metadata);
  } catch (error) {
    throw typeError(
      'ERR_INVALID_ARG_TYPE',
      `metadata of state should be JSON values: ${(error as Error).message}`,
      { cause: error },
    );
  }
}
