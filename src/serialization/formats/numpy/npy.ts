import { CheckpointError, describe } from '../../../errors.js';
import {
  bool,
  emptyArray,
  float16,
  float32,
  float64,
  formatShape,
  int16,
  int32,
  int64,
  int8,
  maxRank,
  RawTensor,
  Tensor,
  uint8,
  type DType,
  type TensorData,
} from '../../../tensor/index.js';
import {
  latin1,
  readBytes,
  readInto,
  type Budget,
  type Fail,
  type OpenFile,
  type Steps,
} from '../../file.js';
import type { Format } from '../format.js';

// An array of NumPy: `\x93NUMPY`, a version, the length of the header, the header (a Python dict: descr, fortran_order,
// shape), then the elements.

const magic = '\x93NUMPY';

/** A file of one array, as `numpy.save` writes it. It becomes a Tensor, or a RawTensor. */
export const npy: Format = {
  name: 'NumPy array',
  recognises: (head) => latin1(head.subarray(0, magic.length)) === magic,
  *read(file, { budget }) {
    const array = yield* readArray(file, null, budget, 'offset 0');
    if (typeof array === 'string') throw new CheckpointError(`offset 0: ${array}`);
    return array;
  },
};

/** NumPy's own limit on the header, which it parses as Python. */
const maxArrayHeader = 10_000;

/** What a header says. */
interface ArrayHeader {
  readonly elements: Elements;
  readonly isFortran: boolean;
  readonly shape: readonly number[];
  /** Where the elements begin. */
  readonly dataAt: number;
}

/** What the elements are. */
interface Elements {
  /** A dtype of tensors; undefined for other elements, which are called `name`. */
  readonly dtype: DType | undefined;
  readonly name: string;
  /** The bytes of an element. */
  readonly size: number;
  /** So many bytes at a time have to be turned round; 1 for none. */
  readonly swapped: number;
}

/**
 * The array in a .npy file, or why it can be none. If `bytes` are the file, in memory that nobody else has, the tensor is
 * in that memory.
 *
 * @param where - the beginning of an error's sentence
 */
export function* readArray(
  file: OpenFile,
  bytes: Uint8Array | null,
  budget: Budget,
  where: string,
): Steps<Tensor | RawTensor | string> {
  const fail: Fail = (what) => {
    throw new CheckpointError(`${where}: ${what}`);
  };
  const header = yield* readArrayHeader(file, fail);
  if (typeof header === 'string') return header;
  const { elements, isFortran, shape, dataAt } = header;
  const length = shape.reduce((product, n) => product * n, elements.size);
  if (length !== file.size - dataAt) {
    const what = `${elements.name} of shape ${formatShape(shape)} needs ${length} bytes`;
    return fail(`${what}, but ${file.size - dataAt} follow`);
  }
  const isScattered = isFortran && shape.filter((n) => n !== 1).length > 1;
  let data: Uint8Array;
  const alignment = elements.dtype === undefined ? 1 : elements.size;
  if (bytes === null || isScattered || (bytes.byteOffset + dataAt) % alignment !== 0) {
    if (bytes !== null) budget.spend(length, () => where);
    data = emptyArray(uint8, length);
    if (isScattered) yield* scatter(file, header, data);
    else yield* readInto(file, data, dataAt);
  } else data = bytes.subarray(dataAt);
  if (elements.swapped > 1) turnRound(data, elements.swapped);
  const { dtype, name } = elements;
  if (dtype === undefined) return new RawTensor(name, shape, data);
  const ArrayType = emptyArray(dtype, 0).constructor as new (
    buffer: ArrayBufferLike,
    begin: number,
    count: number,
  ) => TensorData;
  return new Tensor(new ArrayType(data.buffer, data.byteOffset, length / elements.size), shape, { dtype });
}

/** What the header says, or why the array is refused. */
function* readArrayHeader(file: OpenFile, fail: Fail): Steps<ArrayHeader | string> {
  const start = yield* readBytes(file, 0, Math.min(12, file.size));
  if (start.length < 12 || latin1(start.subarray(0, magic.length)) !== magic)
    return fail('an array of NumPy should begin here');
  const view = new DataView(start.buffer);
  const version = start[6]!;
  if (version < 1 || version > 3) return fail(`version ${version} of the format is unknown`);
  const at = version === 1 ? 10 : 12;
  const length = version === 1 ? view.getUint16(8, true) : view.getUint32(8, true);
  if (length > maxArrayHeader)
    return fail(`the header should have at most ${maxArrayHeader} bytes, got ${length}`);
  const text = latin1(yield* readBytes(file, at, length)).replaceAll('"', "'");
  const [, descr] = /'descr'\s*:\s*(?:'([^']*)'|[[(])/.exec(text) ?? fail('the header has no descr');
  if (descr === undefined) return 'a structured array: save each of its fields as an array';
  if (/^\|?O/.test(descr)) return 'an array of Python objects, which is a pickle: save arrays of numbers';
  const [, order] =
    /'fortran_order'\s*:\s*(True|False)/.exec(text) ?? fail('the header has no fortran_order');
  const [, sizes] = /'shape'\s*:\s*\(([\d\sL,]*)\)/.exec(text) ?? fail('the header has no shape');
  const shape = (sizes!.match(/\d+/g) ?? []).map(Number);
  if (shape.length > maxRank || !shape.every(Number.isSafeInteger))
    return fail(`shape should have at most ${maxRank} sizes, got (${describe(sizes)})`);
  return { elements: elementsOf(descr, fail), isFortran: order === 'True', shape, dataAt: at + length };
}

const dtypes: Readonly<Record<string, DType>> = {
  b1: bool,
  i1: int8,
  i2: int16,
  i4: int32,
  i8: int64,
  u1: uint8,
  f2: float16,
  f4: float32,
  f8: float64,
};
/** The beginnings of the names that other kinds have. */
const kinds: Readonly<Record<string, string>> = {
  i: 'int',
  u: 'uint',
  f: 'float',
  c: 'complex',
  M: 'datetime64',
  m: 'timedelta64',
};

/** What a dtype's description says. */
function elementsOf(descr: string, fail: Fail): Elements {
  const [, order, kind, digits, unit = ''] =
    /^([<>|=]?)([biufcSUVMm])([1-9]\d{0,8})(\[\w+\])?$/.exec(descr) ??
    fail(`the dtype ${describe(descr)} is unknown`);
  const size = kind === 'U' ? 4 * Number(digits) : Number(digits);
  const part = kind === 'U' ? 4 : kind === 'c' ? size / 2 : /[bSV]/.test(kind!) ? 1 : size;
  const bits = /[Mm]/.test(kind!) ? unit : `${8 * size}`;
  const name = Object.hasOwn(kinds, kind!) ? kinds[kind!]! + bits : `${kind}${digits}`;
  const key = `${kind}${digits}`;
  return {
    dtype: Object.hasOwn(dtypes, key) ? dtypes[key] : undefined,
    name,
    size,
    swapped: order === '>' ? part : 1,
  };
}

/** How many bytes of a scattered array are read at a time. */
const pieceSize = 2 ** 20;

/** Reads elements of which the first index runs fastest, and writes them so that the last one does. */
function* scatter(file: OpenFile, { elements, shape, dataAt }: ArrayHeader, out: Uint8Array): Steps<void> {
  const { size } = elements;
  const strides = shape.map((_, d) => shape.slice(d + 1).reduce((product, n) => product * n, size));
  const index = shape.map(() => 0);
  let to = 0;
  const step = Math.max(Math.floor(pieceSize / size), 1) * size;
  for (let done = 0; done < out.length; done += step) {
    const piece = yield* readBytes(file, dataAt + done, Math.min(step, out.length - done));
    for (let from = 0; from < piece.length; from += size) {
      for (let i = 0; i < size; i++) out[to + i] = piece[from + i]!;
      for (let d = 0; d < shape.length; d++) {
        to += strides[d]!;
        if (++index[d]! < shape[d]!) break;
        to -= strides[d]! * shape[d]!;
        index[d] = 0;
      }
    }
  }
}

/** Reverses each so many bytes. */
function turnRound(bytes: Uint8Array, size: number): void {
  for (let at = 0; at < bytes.length; at += size) {
    for (let i = at, j = at + size - 1; i < j; i++, j--) {
      const first = bytes[i]!;
      bytes[i] = bytes[j]!;
      bytes[j] = first;
    }
  }
}
