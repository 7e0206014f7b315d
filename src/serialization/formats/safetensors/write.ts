import { describe, isMap, listOf, rangeError, typeError } from '../../../errors.js';
import { metadataOf, type StateDict } from '../../../nn/module.js';
import {
  bytesOf,
  isRawTensor,
  isTensor,
  quint4x2,
  rawBits,
  RawTensor,
  Tensor,
  type Quantization,
} from '../../../tensor/index.js';
import { dtypeNames, metadataKey, modulesKey, rawNames } from './header.js';

const nameOfDType = new Map<string, string>(
  Object.entries({ ...dtypeNames, ...rawNames }).map(([name, dtype]) => [dtype, name]),
);

/** A piece of the file has at most so many bytes: a copy takes a millisecond, and no system refuses to write it. */
const largestPiece = 2 ** 22;

/**
 * A safetensors file that holds a state dict, in pieces, of which each is overwritten by the next. All of the state is
 * checked at the call; a tensor's elements are read when it is its turn.
 */
export function safetensorsPieces(state: Iterable<readonly [string, Tensor]>): Iterable<Uint8Array> {
  const tensors = tensorsToWrite(state);
  // The data is in falling order of element sizes, so that every tensor is aligned; the header keeps the state's order.
  const dataOrder = [...tensors].sort(([, a], [, b]) => elementSize(b) - elementSize(a));
  const offsets = new Map<string, readonly [begin: number, end: number]>();
  let dataLength = 0;
  for (const [key, tensor] of dataOrder) {
    const begin = dataLength;
    dataLength += bytesIn(key, tensor).length;
    offsets.set(key, [begin, dataLength]);
  }

  const fields: [string, string][] = [];
  const notes = notesOf(state);
  if (notes.length > 0) fields.push([metadataKey, jsonObject(notes)]);
  for (const [key, { dtype, shape }] of tensors) {
    const name = nameOfDType.get(dtype);
    if (name === undefined)
      throw rangeError('ERR_UNSUPPORTED', `key ${describe(key)}: ${dtype} cannot be saved`);
    const sizes = name === 'F4' ? [...shape.slice(0, -1), 2 * shape.at(-1)!] : shape;
    fields.push([key, JSON.stringify({ dtype: name, shape: sizes, data_offsets: offsets.get(key) })]);
  }
  const head = headOf(jsonObject(fields));
  const parts = dataOrder.map(
    ([key, tensor]) =>
      () =>
        bytesIn(key, tensor),
  );
  return pieces([() => head, ...parts], Math.min(head.length + dataLength, largestPiece));
}

function bytesIn(key: string, tensor: Tensor | RawTensor): Uint8Array {
  return isTensor(tensor) ? bytesOf(tensor.checked(key)) : bytesOf(tensor.bytes);
}

/** Bytes of an element, less than 1 for some raw ones. */
function elementSize(tensor: Tensor | RawTensor): number {
  return isTensor(tensor) ? tensor.data.BYTES_PER_ELEMENT : (rawBits(tensor.dtype) ?? 0) / 8;
}

/** The header's size, the header, and spaces up to a multiple of 8. */
function headOf(json: string): Uint8Array {
  const header = new TextEncoder().encode(json);
  const head = new Uint8Array(8 + Math.ceil(header.length / 8) * 8).fill(0x20);
  new DataView(head.buffer).setBigUint64(0, BigInt(head.length - 8), true);
  head.set(header, 8);
  return head;
}

/**
 * The parts one after the other, in pieces of one size. They are copies, because somebody else may free a tensor's
 * memory while the operating system reads it.
 */
function* pieces(parts: readonly (() => Uint8Array)[], size: number): IterableIterator<Uint8Array> {
  const piece = new Uint8Array(size);
  let filled = 0;
  for (const part of parts) {
    const { length } = part();
    for (let done = 0; done < length;) {
      // Asked for again, because it may have been detached since the last piece.
      const bytes = part();
      if (bytes.length !== length)
        throw rangeError('ERR_SHAPE', 'a tensor of state changed its size meanwhile');
      const some = bytes.subarray(done, done + size - filled);
      piece.set(some, filled);
      filled += some.length;
      done += some.length;
      if (filled < size) continue;
      yield piece;
      filled = 0;
    }
  }
  if (filled > 0) yield piece.subarray(0, filled);
}

/** The tensors of the file: those of a state dict, with quantized ones taken apart, and its raw ones. */
function tensorsToWrite(state: unknown): Map<string, Tensor | RawTensor> {
  const tensors = new Map<string, Tensor | RawTensor>();
  const add = (name: string, part: Tensor | RawTensor): void => {
    if (tensors.has(name) || name === metadataKey)
      throw rangeError('ERR_INVALID_ARG_VALUE', `key ${describe(name)} stands twice or is reserved`);
    tensors.set(name, part);
  };
  for (const entry of listOf('state', state, `state should be a Map of tensors, got ${describe(state)}`)) {
    if (!Array.isArray(entry) || typeof entry[0] !== 'string' || !isTensor(entry[1])) {
      throw typeError('ERR_INVALID_ARG_TYPE', 'state should hold [name, Tensor] pairs');
    }
    const [key, tensor] = entry as [string, Tensor];
    const { quantization } = tensor;
    if (quantization === undefined) add(key, tensor);
    else for (const [name, part] of quantizedParts(key, tensor, quantization)) add(name, part);
  }
  const { raw } = state as Partial<StateDict>;
  for (const [name, tensor] of isMap(raw) ? raw : []) {
    if (typeof name !== 'string' || !isRawTensor(tensor))
      throw typeError('ERR_INVALID_ARG_TYPE', 'raw of state should map names to RawTensors');
    // Checked again, because it may be another copy's.
    add(name, new RawTensor(tensor.dtype, tensor.shape, tensor.bytes));
  }
  return tensors;
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
  parts.push([`${key}.scale`, new Tensor(Float32Array.from(scales), shape)]);
  parts.push([`${key}.zero_point`, new Tensor(zeroPoints, shape)]);
  return parts;
}

/** A {@link StateDict}'s notes and metadata, as names with JSON. */
function notesOf(state: Iterable<readonly [string, Tensor]>): [string, string][] {
  const { notes } = state as Partial<StateDict>;
  const texts: [string, string][] = [];
  for (const [name, text] of isMap(notes) ? notes : []) {
    if (typeof name !== 'string' || typeof text !== 'string')
      throw typeError('ERR_INVALID_ARG_TYPE', `notes of state should be texts, got ${describe(text)}`);
    if (name === modulesKey)
      throw rangeError('ERR_INVALID_ARG_VALUE', `notes of state: ${describe(name)} is reserved`);
    texts.push([name, JSON.stringify(text)]);
  }
  const metadata = metadataOf(state);
  if (metadata.size > 0) texts.push([modulesKey, JSON.stringify(jsonOf([...metadata]))]);
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

/** JSON of an object with these fields in this order. Names such as `__proto__` or `1` are keys like any other. */
function jsonObject(fields: readonly (readonly [name: string, json: string])[]): string {
  return `{${fields.map(([name, json]) => `${JSON.stringify(name)}:${json}`).join(',')}}`;
}
