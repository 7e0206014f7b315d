import { CheckpointError } from '../../../errors.js';
import {
  bfloat16,
  emptyArray,
  float16,
  float32,
  float64,
  int32,
  int64,
  RawTensor,
  Tensor,
  uint8,
  type DType,
  type Quantization,
  type TensorData,
} from '../../../tensor/index.js';
import { readInto, type OpenFile, type Steps } from '../../file.js';
import type { ReadContext } from '../format.js';
import { elementBytes, rawBytes, type Storage } from './storages.js';
import { countOf, isContiguous, type Quantizer, type TensorRef } from './tensor-ref.js';
import { List, slotCost } from './values.js';

/** Where elements are read from. */
export interface TensorSource extends ReadContext {
  readonly file: OpenFile;
  /** Where a storage (not a view) begins, after a check that all of it is there. */
  locate(storage: Storage): Steps<number>;
}

/** Returns the beginning of an error's sentence. */
type Where = () => string;

/**
 * The tensor that a reference describes. A contiguous tensor is read straight into its own memory. For any other, the
 * whole storage is read, once for all such views. Views of the same elements in the same order share memory; every
 * other tensor has its own. complex tensors become floats with a last dimension of 2, as in `torch.view_as_real`.
 */
export function* readTensor(ref: TensorRef, source: TensorSource, where: Where): Steps<Tensor | RawTensor> {
  let data = yield* readElements(ref, source, where);
  if (ref.negative || ref.conjugate) data = computedView(ref, data, source, where);
  const { dtype, parts } = storedAs(ref.dtype);
  if (!Object.hasOwn(elementBytes, ref.dtype)) return new RawTensor(ref.dtype, ref.shape, data as Uint8Array);
  if (parts > 1) return new Tensor(data, [...ref.shape, parts], { dtype });
  if (ref.quantizer === null) return new Tensor(data, ref.shape, { dtype });
  const quantization = yield* readQuantizer(ref.quantizer, source, where);
  try {
    return new Tensor(data, ref.shape, { dtype, ...quantization });
  } catch (error) {
    throw new CheckpointError(`${where()}: ${(error as Error).message}`, { cause: error });
  }
}

function* readQuantizer(quantizer: Quantizer, source: TensorSource, where: Where): Steps<Quantization> {
  if ('scale' in quantizer) {
    return {
      qscheme: 'per_tensor_affine',
      scales: Float64Array.of(quantizer.scale),
      zeroPoints: wholeNumbers([quantizer.zeroPoint], where),
      axis: 0,
    };
  }
  const { axis } = quantizer;
  const { values } = yield* readNumbers(quantizer.scales, source, where);
  const zeroPoints = yield* readNumbers(quantizer.zeroPoints, source, where);
  const scales = Float64Array.from(values);
  // PyTorch's files call float zero points per_channel_affine too.
  return zeroPoints.isFloat
    ? {
        qscheme: 'per_channel_affine_float_qparams',
        scales,
        zeroPoints: Float32Array.from(zeroPoints.values),
        axis,
      }
    : { qscheme: 'per_channel_affine', scales, zeroPoints: wholeNumbers(zeroPoints.values, where), axis };
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
  const { dtype, parts } = storedAs(ref.dtype);
  const count = countOf(shape) * parts;
  if (count === 0) return emptyArray(dtype, 0);

  const contiguous = isContiguous(ref);
  const view = contiguous
    ? `${ref.dtype} ${offset} ${count}`
    : `${ref.dtype} ${offset} ${shape.join()} ${strides.join()}`;
  const known = storage.views.get(view);
  if (known !== undefined) return known;

  source.budget.spend(count * elementBytes[dtype]!, where);
  const position = yield* locate(storage, source);
  let data: TensorData;
  if (contiguous && storage.bytes === undefined) {
    data = emptyArray(dtype, count);
    yield* readInto(source.file, data, position + offset * parts * elementBytes[dtype]!);
    if (data.byteLength === storage.size) storage.bytes = data;
  } else {
    if (storage.bytes === undefined) {
      storage.bytes = new Uint8Array(storage.size);
      yield* readInto(source.file, storage.bytes, position);
    }
    data = gather(ref, storage.bytes);
  }
  storage.views.set(view, data);
  return data;
}

function* locate(storage: Storage, source: TensorSource): Steps<number> {
  if (storage.base === null) return yield* source.locate(storage);
  return storage.begin + (yield* locate(storage.base, source));
}

/** A view's elements in row-major order; `bytes` are all of its storage, from the beginning of an array buffer. */
function gather(ref: TensorRef, bytes: TensorData): TensorData {
  const { dtype, parts } = storedAs(ref.dtype);
  const shape = parts === 1 ? ref.shape : [...ref.shape, parts];
  const strides = parts === 1 ? ref.strides : [...ref.strides.map((stride) => parts * stride), 1];
  const out = emptyArray(dtype, countOf(shape));
  const ArrayType = out.constructor as new (
    buffer: ArrayBufferLike,
    begin: number,
    count: number,
  ) => TensorData;
  const elements = new ArrayType(bytes.buffer, 0, Math.floor(bytes.byteLength / out.BYTES_PER_ELEMENT));
  let from = parts * ref.offset;
  if (isContiguous(ref)) {
    if (out.length === elements.length) return elements;
    out.set(elements.subarray(from, from + out.length) as never);
    return out;
  }
  const last = shape.length - 1;
  const inner = shape[last]!;
  const stride = strides[last]!;
  const index = new Array<number>(last).fill(0);
  for (let to = 0; to < out.length; to += inner) {
    for (let i = 0; i < inner; i++) out[to + i] = elements[from + i * stride]!;
    for (let d = last - 1; d >= 0; d--) {
      from += strides[d]!;
      if (++index[d]! < shape[d]!) break;
      from -= strides[d]! * shape[d]!;
      index[d] = 0;
    }
  }
  return out;
}

/** The dtype of the array that holds a tensor's elements, and how many of its own an element takes, one after the other. */
function storedAs(dtype: string): { dtype: DType; parts: number } {
  if (dtype === 'complex64') return { dtype: float32, parts: 2 };
  if (dtype === 'complex128') return { dtype: float64, parts: 2 };
  const bytes = Object.hasOwn(elementBytes, dtype) ? undefined : rawBytes(dtype);
  return bytes === undefined ? { dtype: dtype as DType, parts: 1 } : { dtype: uint8, parts: bytes };
}

/** The bytes of a real number, where only its sign has to change in a negative or conjugate view. */
const realBytes: Readonly<Record<string, number>> = {
  [float32]: 4,
  [float64]: 8,
  [float16]: 2,
  [bfloat16]: 2,
  complex32: 2,
  complex64: 4,
  complex128: 8,
};

/** The elements of a negative view, or of a conjugate one: a copy with other signs. */
function computedView(ref: TensorRef, data: TensorData, source: TensorSource, where: Where): TensorData {
  const size = Object.hasOwn(realBytes, ref.dtype) ? realBytes[ref.dtype]! : 0;
  if (size === 0) throw new CheckpointError(`${where()}: a negative view of ${ref.dtype} is not supported`);
  source.budget.spend(data.byteLength, where);
  const copy = data.slice();
  const bytes = new Uint8Array(copy.buffer);
  const isPair = ref.dtype.startsWith('complex');
  for (let part = 0; (part + 1) * size <= bytes.length; part++) {
    const isImaginary = isPair && part % 2 === 1;
    if (ref.negative !== (ref.conjugate && isImaginary)) bytes[(part + 1) * size - 1]! ^= 0x80;
  }
  return copy;
}
