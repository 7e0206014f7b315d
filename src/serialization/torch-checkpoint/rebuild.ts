import { CheckpointError, describe } from '../../errors.js';
import {
  bfloat16,
  bool,
  emptyArray,
  float16,
  float32,
  float64,
  int16,
  int32,
  int64,
  int8,
  qint8,
  quint4x2,
  quint8,
  Tensor,
  uint8,
  type DType,
  type Quantization,
  type TensorData,
} from '../../tensor/index.js';
import { readInto, type Budget, type OpenFile, type Steps } from '../file.js';
import { Dict, Global, List, nameOf, setItem, slotCost, Tuple, type Fail } from './pickle.js';

// What the names in a checkpoint stand for. A call of `torch._utils._rebuild_*` gives a TensorRef: all of it is
// checked at once, but the elements are read when everything else is known to be good.

/** Bytes an element; quint4x2 counts bytes. complex tensors come as pairs of floats. */
const elementBytes: Readonly<Record<string, number>> = {
  [float32]: 4,
  [float64]: 8,
  [float16]: 2,
  [bfloat16]: 2,
  [int8]: 1,
  [uint8]: 1,
  [int16]: 2,
  [int32]: 4,
  [int64]: 8,
  [bool]: 1,
  [qint8]: 1,
  [quint8]: 1,
  [quint4x2]: 1,
  complex64: 8,
  complex128: 16,
};
const complexParts: Readonly<Record<string, DType>> = { complex64: float32, complex128: float64 };

/** `torch.<X>Storage` and, in tar files, `torch.<X>Tensor`. */
const storageTypes: Readonly<Record<string, string>> = {
  Float: float32,
  Double: float64,
  Half: float16,
  BFloat16: bfloat16,
  Long: int64,
  Int: int32,
  Short: int16,
  Char: int8,
  Byte: uint8,
  Bool: bool,
  ComplexFloat: 'complex64',
  ComplexDouble: 'complex128',
  QInt8: qint8,
  QUInt8: quint8,
  QInt32: 'qint32',
  QUInt4x2: quint4x2,
  QUInt2x4: 'quint2x4',
  Untyped: 'untyped',
};

/** `torch.float32` and the like, as values. */
export class DTypeName extends Global {}
/** `torch.per_tensor_affine` and the like. */
class QSchemeName extends Global {}
class StorageType extends Global {
  constructor(
    name: string,
    readonly dtype: string,
  ) {
    super(name);
  }
}

/** The bytes that tensors are views of; maybe a part of another storage's. */
export class Storage {
  /** All of it, once a view needed that. It begins its array buffer. */
  bytes: Uint8Array | undefined;
  /** The arrays made of it, by what they are views of. */
  readonly views = new Map<string, TensorData>();

  constructor(
    readonly key: string,
    readonly dtype: string,
    /** Elements; of quint4x2 and untyped storages bytes. */
    readonly count: number,
    readonly size: number,
    readonly base: Storage | null = null,
    readonly begin = 0,
  ) {}
}

export interface TensorRef {
  readonly storage: Storage;
  /** Maybe none that tensors here have. */
  readonly dtype: string;
  readonly offset: number;
  readonly shape: readonly number[];
  readonly strides: readonly number[];
  readonly quantizer: Quantizer | null;
}
type Quantizer =
  | { readonly scale: number; readonly zeroPoint: number }
  | { readonly scales: TensorRef | List; readonly zeroPoints: TensorRef | List; readonly axis: number };

const tensorRefs = new WeakSet<object>();

export function isTensorRef(value: unknown): value is TensorRef {
  return typeof value === 'object' && value !== null && tensorRefs.has(value);
}

/** The storages of a file, by key. */
export class Storages {
  private readonly byKey = new Map<string, Storage>();

  get(key: string): Storage | undefined {
    return this.byKey.get(key);
  }
  declare(key: unknown, type: unknown, count: unknown, fail: Fail): Storage {
    if (typeof key !== 'string' || !(type instanceof StorageType) || !isSize(count)) {
      return fail(`a storage should have a key, a type and a size, got ${describe(key)}, ${nameOf(type)}`);
    }
    const size = count * (type.dtype === 'untyped' ? 1 : bytesOf(type.dtype, fail));
    return this.add(new Storage(key, type.dtype, count, size), fail);
  }
  declareView(base: Storage, key: unknown, offset: unknown, count: unknown, fail: Fail): Storage {
    if (typeof key !== 'string' || !isSize(offset) || !isSize(count))
      return fail(`a view of a storage should have a key, an offset and a size, got ${describe(key)}`);
    const bytes = bytesOf(base.dtype, fail);
    if (!((offset + count) * bytes <= base.size))
      fail(`storage ${describe(key)} is a view beyond ${describe(base.key)}, which has ${base.size} bytes`);
    return this.add(new Storage(key, base.dtype, count, count * bytes, base, offset * bytes), fail);
  }
  /** `('storage', type, key, location, numel)`; in a stream followed by None or a view `(key, offset, numel)`. */
  readonly persistentLoad = (id: unknown, fail: Fail): Storage => {
    const [kind, type, key, , count, view] = id instanceof Tuple ? id.items : [];
    if (kind === 'module')
      fail('a whole module is refused: save its state dict, torch.save(model.state_dict(), path)');
    if (kind !== 'storage') fail(`a persistent id should be that of a storage, got ${nameOf(kind)}`);
    const storage = this.declare(key, type, count, fail);
    if (!(view instanceof Tuple)) return storage;
    return this.declareView(storage, view.items[0], view.items[1], view.items[2], fail);
  };

  /** All that a file says of a key should agree. */
  private add(storage: Storage, fail: Fail): Storage {
    const { key, dtype, size, base, begin } = storage;
    const known = this.byKey.get(key);
    if (known === undefined) {
      if (!Number.isSafeInteger(size)) fail(`storage ${describe(key)} is too large`);
      this.byKey.set(key, storage);
      return storage;
    }
    if (known.dtype !== dtype || known.size !== size || known.base !== base || known.begin !== begin) {
      fail(
        `storage ${describe(key)} is twice, as ${known.size} bytes of ${known.dtype} and ${size} of ${dtype}`,
      );
    }
    return known;
  }
}

const call = (
  name: string,
  f: (args: readonly unknown[], fail: Fail) => unknown,
): readonly [string, Global] => [name, new Global(name, f)];

const rebuildTensor = (args: readonly unknown[], fail: Fail): TensorRef => {
  const [storage, offset, size, stride] = args;
  if (args[6] instanceof Dict && args[6].entries.size > 0)
    fail('a conjugate or negated view is not supported');
  return tensorRef(storage, undefined, offset, size, stride, null, fail);
};
const first = ([value]: readonly unknown[], fail: Fail): TensorRef =>
  isTensorRef(value) ? value : fail(`a parameter should be a tensor, got ${nameOf(value)}`);
const newDict = ([items]: readonly unknown[], fail: Fail): Dict => {
  const dict = new Dict();
  if (items instanceof Dict) items.entries.forEach((value, key) => dict.entries.set(key, value));
  else if (items instanceof List || items instanceof Tuple) {
    for (const pair of items.items) {
      const [key, value] = pair instanceof List || pair instanceof Tuple ? pair.items : [];
      setItem(dict, key, value, fail);
    }
  } else if (items !== undefined) fail(`a dict should be made of pairs, got ${nameOf(items)}`);
  return dict;
};

const globals: ReadonlyMap<string, Global> = new Map([
  call('collections.OrderedDict', newDict),
  call('collections.Counter', newDict),
  call('torch._utils._rebuild_tensor', rebuildTensor),
  call('torch._utils._rebuild_tensor_v2', rebuildTensor),
  call('torch._utils._rebuild_tensor_v3', (args, fail) => {
    const [storage, offset, size, stride, , , dtype] = args;
    if (!(dtype instanceof DTypeName)) return fail(`a tensor should have a dtype, got ${nameOf(dtype)}`);
    if (args[7] instanceof Dict && args[7].entries.size > 0)
      fail('a conjugate or negated view is not supported');
    return tensorRef(storage, dtype.name.slice('torch.'.length), offset, size, stride, null, fail);
  }),
  call('torch._utils._rebuild_qtensor', ([storage, offset, size, stride, quantizer], fail) =>
    tensorRef(storage, undefined, offset, size, stride, quantizerOf(quantizer, size, fail), fail),
  ),
  call('torch._utils._rebuild_parameter', first),
  call('torch._utils._rebuild_parameter_with_state', first),
  call('torch.Size', ([sizes], fail) =>
    sizes instanceof Tuple ? sizes : fail(`torch.Size should be of a tuple, got ${nameOf(sizes)}`),
  ),
  call('torch.device', ([type, index], fail) => {
    if (typeof type !== 'string' || (index !== undefined && !isSize(index)))
      return fail('torch.device should be a name and an index');
    return index === undefined ? type : `${type}:${index}`;
  }),
  ['torch.ScriptObject', new Global('torch.ScriptObject')],
  ...['per_tensor_affine', 'per_channel_affine', 'per_channel_affine_float_qparams'].map(
    (scheme) => [`torch.${scheme}`, new QSchemeName(`torch.${scheme}`)] as const,
  ),
]);

/** The globals of checkpoints. */
export function findGlobal(module: string, name: string): Global | undefined {
  const known = globals.get(`${module}.${name}`);
  if (known !== undefined) return known;
  if (module === 'torch' || module === 'torch.cuda' || module === 'torch.storage') {
    const [, type, kind] = /^(\w+?)(Storage|Tensor)$/.exec(name) ?? [];
    if (kind !== undefined && Object.hasOwn(storageTypes, type!))
      return new StorageType(`${module}.${name}`, storageTypes[type!]!);
  }
  if (module === 'torch' && /^(q?u?int\d+(x\d+)?|b?float\d+(_\w+)?|complex\d+|bool)$/.test(name)) {
    return new DTypeName(`torch.${name}`);
  }
  return undefined;
}

/** A value that is one of these names: without `torch.`. */
export function plainName(value: unknown): string | undefined {
  return value instanceof DTypeName || value instanceof QSchemeName
    ? value.name.slice('torch.'.length)
    : undefined;
}

function bytesOf(dtype: string, fail: Fail): number {
  return Object.hasOwn(elementBytes, dtype)
    ? elementBytes[dtype]!
    : fail(`tensors of ${dtype} are not supported`);
}

function isSize(value: unknown): value is number {
  return Number.isSafeInteger(value) && (value as number) >= 0;
}

/** PyTorch's own limit. */
const maxDimensions = 64;

/** @param dtype - if it is not the storage's own */
export function tensorRef(
  storage: unknown,
  dtype: string | undefined,
  offset: unknown,
  size: unknown,
  stride: unknown,
  quantizer: Quantizer | null,
  fail: Fail,
): TensorRef {
  if (!(storage instanceof Storage)) return fail(`a tensor should have a storage, got ${nameOf(storage)}`);
  const shape = size instanceof Tuple ? size.items : [];
  const strides = stride instanceof Tuple ? stride.items : [];
  if (
    !(size instanceof Tuple && stride instanceof Tuple && isSize(offset)) ||
    !(shape.length === strides.length && shape.length <= maxDimensions) ||
    !(shape.every(isSize) && strides.every(isSize))
  ) {
    return fail('a tensor should have an offset, and sizes with strides that are not negative');
  }
  const type = dtype ?? storage.dtype;
  const ref: TensorRef = { storage, dtype: type, offset, shape, strides, quantizer };
  if (type.startsWith('q') !== (quantizer !== null)) {
    fail(`a quantized tensor should have a quantizer, and no other, got a tensor of ${type}`);
  }
  const count = countOf(shape);
  const available = Math.floor(storage.size / bytesOf(type, fail));
  let needed: number;
  if (count === 0) needed = 0;
  else if (type === quint4x2) {
    if (offset !== 0 || !isContiguous(ref)) fail('a view of a quint4x2 tensor is not supported');
    needed = Math.ceil(count / 2);
  } else {
    needed = offset + 1;
    shape.forEach((n, i) => (needed += (n - 1) * strides[i]!));
  }
  if (!(needed <= available) || !Number.isSafeInteger(count)) {
    fail(
      `a tensor of shape [${shape.join(', ')}] with strides [${strides.join(', ')}] from ${offset} on is beyond its storage, which has ${available} elements`,
    );
  }
  tensorRefs.add(ref);
  return ref;
}

function quantizerOf(value: unknown, size: unknown, fail: Fail): Quantizer {
  const items = value instanceof Tuple ? value.items : [];
  const scheme = plainName(items[0]);
  if (scheme === 'per_tensor_affine') {
    const [, scale, zeroPoint] = items;
    if (typeof scale === 'number' && typeof zeroPoint === 'number') return { scale, zeroPoint };
  } else if (scheme !== undefined) {
    const [, scales, zeroPoints, axis] = items;
    const isList = (list: unknown): list is TensorRef | List => list instanceof List || isTensorRef(list);
    const rank = size instanceof Tuple ? size.items.length : 0;
    if (isList(scales) && isList(zeroPoints) && isSize(axis) && axis < rank)
      return { scales, zeroPoints, axis };
  }
  return fail('a quantizer should be a scheme with scales, zero points and an axis');
}

/** The product of sizes, 0 even where others overflow. */
function countOf(shape: readonly number[]): number {
  return shape.includes(0) ? 0 : shape.reduce((product, n) => product * n, 1);
}

function isContiguous({ shape, strides }: TensorRef): boolean {
  let expected = 1;
  for (let i = shape.length - 1; i >= 0; i--) {
    if (shape[i] !== 1 && strides[i] !== expected) return false;
    expected *= shape[i]!;
  }
  return true;
}

/** Gives the beginning of an error's sentence. */
type Where = () => string;

/** Where the elements are read from, and for how much. */
export interface TensorSource {
  readonly file: OpenFile;
  readonly budget: Budget;
  /** Where a storage (that is no view) begins, after a check that all of it is there. */
  locate(storage: Storage): Steps<number>;
}

/**
 * The tensor that a reference stands for. A contiguous one is read by its range, straight into its own memory; of
 * another its storage is read, once for all such views. Views of the same elements in the same order share memory,
 * every other has its own. complex tensors become floats with a last dimension of 2, as `torch.view_as_real`.
 */
export function* readTensor(ref: TensorRef, source: TensorSource, where: Where): Steps<Tensor> {
  const { quantizer } = ref;
  const data = yield* readElements(ref, source, where);
  const part = complexParts[ref.dtype];
  if (part !== undefined) return new Tensor(data, [...ref.shape, 2], { dtype: part });
  const dtype = ref.dtype as DType;
  if (quantizer === null) return new Tensor(data, ref.shape, { dtype });
  let quantization: Quantization;
  if ('scale' in quantizer) {
    quantization = {
      qscheme: 'per_tensor_affine',
      scales: Float64Array.of(quantizer.scale),
      zeroPoints: wholeNumbers([quantizer.zeroPoint], where),
      axis: 0,
    };
  } else {
    const { axis } = quantizer;
    const scales = yield* readNumbers(quantizer.scales, source, where);
    const zeroPoints = yield* readNumbers(quantizer.zeroPoints, source, where);
    // PyTorch's files call float zero points per_channel_affine too.
    quantization = zeroPoints.isFloat
      ? {
          qscheme: 'per_channel_affine_float_qparams',
          scales: Float64Array.from(scales.values),
          zeroPoints: Float32Array.from(zeroPoints.values),
          axis,
        }
      : {
          qscheme: 'per_channel_affine',
          scales: Float64Array.from(scales.values),
          zeroPoints: wholeNumbers(zeroPoints.values, where),
          axis,
        };
  }
  try {
    return new Tensor(data, ref.shape, { dtype, ...quantization });
  } catch (error) {
    throw new CheckpointError(`${where()}: ${(error as Error).message}`, { cause: error });
  }
}

function* readNumbers(
  from: TensorRef | List,
  source: TensorSource,
  where: Where,
): Steps<{ values: number[]; isFloat: boolean }> {
  if (from instanceof List) {
    source.budget.spend(slotCost * from.items.length, where);
    if (!from.items.every((item) => typeof item === 'number'))
      throw new CheckpointError(`${where()}: scales and zero points should be numbers`);
    return { values: from.items, isFloat: false };
  }
  const isFloat = from.dtype === float32 || from.dtype === float64;
  if (!isFloat && from.dtype !== int64 && from.dtype !== int32) {
    throw new CheckpointError(`${where()}: scales and zero points should be numbers, got ${from.dtype}`);
  }
  const data = yield* readElements(from, source, where);
  source.budget.spend(slotCost * data.length, where);
  return { values: Array.from(data, Number), isFloat };
}

function wholeNumbers(values: readonly number[], where: Where): Int32Array {
  const out = Int32Array.from(values);
  if (!out.every((value, i) => value === values[i]))
    throw new CheckpointError(`${where()}: zero points should be int32`);
  return out;
}

function* readElements(ref: TensorRef, source: TensorSource, where: Where): Steps<TensorData> {
  const { storage, shape, strides, offset } = ref;
  const part = complexParts[ref.dtype];
  const dtype = part ?? (ref.dtype as DType);
  const count = countOf(shape) * (part === undefined ? 1 : 2);
  if (count === 0) return emptyArray(dtype, 0);

  const contiguous = isContiguous(ref);
  const view = contiguous
    ? `${dtype} ${offset} ${count}`
    : `${dtype} ${offset} ${shape.join()} ${strides.join()}`;
  const known = storage.views.get(view);
  if (known !== undefined) return known;

  source.budget.spend(count * elementBytes[dtype]!, where);
  const position = yield* locate(storage, source);
  let data: TensorData;
  if (contiguous && storage.bytes === undefined) {
    data = emptyArray(dtype, count);
    const target = new Uint8Array(data.buffer);
    yield* readInto(source.file, target, position + offset * elementBytes[ref.dtype]!);
    if (target.length === storage.size) storage.bytes = target;
  } else {
    if (storage.bytes === undefined) {
      storage.bytes = new Uint8Array(storage.size);
      yield* readInto(source.file, storage.bytes, position);
    }
    data = gather(ref, dtype, storage.bytes);
  }
  storage.views.set(view, data);
  return data;
}

function* locate(storage: Storage, source: TensorSource): Steps<number> {
  if (storage.base === null) return yield* source.locate(storage);
  return storage.begin + (yield* locate(storage.base, source));
}

/** A view's elements in row-major order; `bytes` are all of its storage, and begin an array buffer. */
function gather(ref: TensorRef, dtype: DType, bytes: Uint8Array): TensorData {
  // A complex element is two floats that stand together.
  const parts = ref.dtype === dtype ? 1 : 2;
  const shape = parts === 1 ? ref.shape : [...ref.shape, 2];
  const strides = parts === 1 ? ref.strides : [...ref.strides.map((stride) => 2 * stride), 1];
  const out = emptyArray(dtype, countOf(shape));
  const ArrayType = out.constructor as new (
    buffer: ArrayBufferLike,
    begin: number,
    count: number,
  ) => TensorData;
  const elements = new ArrayType(bytes.buffer, 0, Math.floor(bytes.length / out.BYTES_PER_ELEMENT));
  let from = parts * ref.offset;
  if (isContiguous(ref)) {
    if (out.length === elements.length) return elements;
    out.set(elements.subarray(from, from + out.length) as never);
    return out;
  }
  const last = shape.length - 1;
  const inner = shape[last]!;
  const step = strides[last]!;
  const index = new Array<number>(last).fill(0);
  for (let to = 0; to < out.length; to += inner) {
    for (let i = 0; i < inner; i++) out[to + i] = elements[from + i * step]!;
    for (let d = last - 1; d >= 0; d--) {
      from += strides[d]!;
      if (++index[d]! < shape[d]!) break;
      from -= strides[d]! * shape[d]!;
      index[d] = 0;
    }
  }
  return out;
}
