import { describe } from '../../../errors.js';
import {
  bfloat16,
  emptyArray,
  float16,
  float32,
  float64,
  int16,
  int32,
  int64,
  int8,
  uint8,
  type DType,
} from '../../../tensor/index.js';
import type { Block, Hdf5, Message } from './hdf5.js';

// What the messages of an HDF5 object header say: datatypes, shapes, attributes, and where an array's elements are.

const dataspaceMessage = 0x01;
const datatypeMessage = 0x03;
const layoutMessage = 0x08;
const attributeMessage = 0x0c;
const mostDimensions = 32;
const longestDimension = 2 ** 40;

/** The type of elements. `long text` is a reference to a text in a global heap. */
export interface Hdf5Type {
  readonly kind: DType | 'text' | 'long text' | 'unknown';
  /** Bytes of an element. */
  readonly size: number;
  /** How a sentence names a type that is none of these. */
  readonly title: string;
}

/** An array in the file. */
export interface Dataset {
  readonly hdf5: Hdf5;
  readonly type: Hdf5Type;
  readonly shape: readonly number[];
  /** Address of the elements in the HDF5 file. They follow each other without a gap. */
  readonly at: number;
}

function typeOf(block: Block): Hdf5Type {
  const kind = block.u8(0) & 15;
  const flags = block.u8(1);
  const size = block.u32(4);
  const as = (known: Hdf5Type['kind'] | undefined, title: string): Hdf5Type => {
    return { kind: known ?? 'unknown', size, title };
  };
  const littleEndian = (flags & 1) === 0;
  if (kind === 0) {
    const signed = (flags & 8) !== 0;
    const bySize: Record<number, DType> = { 1: signed ? int8 : uint8, 2: int16, 4: int32, 8: int64 };
    const usable = littleEndian && (signed || size === 1);
    return as(usable ? bySize[size] : undefined, `${signed ? 'int' : 'uint'}${8 * size}`);
  }
  if (kind === 1) {
    // Bits of the exponent and of the fraction.
    const bits = `${block.u8(13)} ${block.u8(15)}`;
    const byBits: Record<string, DType> = {
      '5 10': float16,
      '8 7': bfloat16,
      '8 23': float32,
      '11 52': float64,
    };
    const known = byBits[bits];
    const fits = littleEndian && known !== undefined && emptyArray(known, 0).BYTES_PER_ELEMENT === size;
    return as(fits ? known : undefined, `float${8 * size}`);
  }
  if (kind === 3) return as('text', 'text');
  // Keras stores bfloat16 as two bytes without a meaning; where it says what they are, it says bfloat16.
  if (kind === 5) return as(size === 2 ? bfloat16 : undefined, `${size} bytes without a type`);
  if (kind === 9 && (flags & 15) === 1 && size === 16) return as('long text', 'text');
  return as(undefined, `HDF5's class ${kind} of ${size} bytes`);
}

function shapeOf(block: Block): number[] {
  const version = block.u8(0);
  const rank = block.u8(1);
  if ((version !== 1 && version !== 2) || rank > mostDimensions) return block.fail('a shape should be here');
  // Type 2 of version 2 is no element at all.
  if (version === 2 && block.u8(3) === 2) return [0];
  const shape = Array.from({ length: rank }, (_, i) => block.u64((version === 1 ? 8 : 4) + 8 * i));
  if (shape.some((n) => n > longestDimension)) block.fail(`a shape of [${shape.join(', ')}] is too large`);
  return shape;
}

function countOf(shape: readonly number[]): number {
  return shape.reduce((product, n) => product * n, 1);
}

export interface Attribute {
  readonly type: Hdf5Type;
  readonly count: number;
  readonly data: Block;
}

/** The attributes of an object by name, not yet read. */
export function attributesOf(messages: readonly Message[]): Map<string, Block> {
  const attributes = new Map<string, Block>();
  for (const { type, shared, body } of messages) {
    if (type !== attributeMessage || shared) continue;
    const version = body.u8(0);
    if (version < 1 || version > 3) body.fail(`an attribute should have version 1 to 3, got ${version}`);
    attributes.set(body.text(nameOffset(version), body.u16(2)), body);
  }
  return attributes;
}

function nameOffset(version: number): number {
  return version === 3 ? 9 : 8;
}

export function readAttribute(name: string, body: Block): Attribute {
  const version = body.u8(0);
  const [nameSize, typeSize, shapeSize] = [body.u16(2), body.u16(4), body.u16(6)] as const;
  const padded = (size: number): number => (version === 1 ? 8 * Math.ceil(size / 8) : size);
  const typeAt = nameOffset(version) + padded(nameSize);
  const shapeAt = typeAt + padded(typeSize);
  const type = typeOf(body.part(typeAt, typeSize));
  const count = countOf(shapeOf(body.part(shapeAt, shapeSize)));
  const data = body.part(shapeAt + padded(shapeSize));
  if (!(count * type.size <= data.length))
    body.fail(`attribute ${describe(name)} has ${data.length} bytes, too few for ${count} elements`);
  return { type, count, data };
}

export function datasetOf(messages: readonly Message[], hdf5: Hdf5): Dataset | undefined {
  const bodyOf = (wanted: number): Block | undefined => {
    const message = messages.find(({ type }) => type === wanted);
    return message?.shared === true ? message.body.fail('a named datatype is refused') : message?.body;
  };
  const [space, datatype, layout] = [dataspaceMessage, datatypeMessage, layoutMessage].map(bodyOf);
  if (space === undefined || datatype === undefined || layout === undefined) return undefined;
  const type = typeOf(datatype);
  const shape = shapeOf(space);
  const kind = layout.u8(1);
  if (layout.u8(0) !== 3 || kind !== 1) {
    const how =
      layout.u8(0) === 3 && kind === 2 ? 'in chunks or compressed' : 'in another way than Keras does';
    return layout.fail(`an array is stored ${how}: load the model in Keras and save it again`);
  }
  const at = layout.u64(2);
  const count = countOf(shape);
  const bytes = count * type.size;
  if (count === 0) return { hdf5, type, shape, at: 0 };
  if (bytes !== layout.u64(10))
    layout.fail(`an array of ${count} elements should have ${bytes} bytes, got ${layout.u64(10)}`);
  if (!(at + bytes <= hdf5.size)) layout.fail(`an array should end before ${hdf5.size}, got ${at + bytes}`);
  return { hdf5, type, shape, at };
}
