import { CheckpointError, describe } from '../../../errors.js';
import { StateDict } from '../../../nn/module.js';
import {
  emptyArray,
  float32,
  int32,
  int64,
  int8,
  isTensor,
  numelOf,
  qint8,
  quint4x2,
  quint8,
  rawBits,
  RawTensor,
  Tensor,
  uint8,
  type DType,
} from '../../../tensor/index.js';
import { readInto, type Budget, type OpenFile, type Steps } from '../../file.js';
import type { Format } from '../format.js';
import { readHeader } from './header.js';

export const safetensors: Format = {
  name: 'safetensors',
  // There is no magic number, so any file is tried. Reading says what is wrong with it.
  recognises: () => true,
  *read(file, { budget }) {
    const state = new StateDict();
    return assemble(yield* readTensors(file, budget, state), state);
  },
};

/** A tensor as the file has it; a quantized tensor consists of several. */
export type Part = Tensor | RawTensor;
export type Parts = ReadonlyMap<string, Part>;

/** The tensors as the file has them. The whole header is checked before the first tensor is made. */
export function* readTensors(
  file: OpenFile,
  budget: Budget,
  state: StateDict,
  isWanted: (key: string) => boolean = () => true,
): Steps<Parts> {
  const { entries, dataAt } = yield* readHeader(file, budget, state);
  const tensors = new Map<string, Part>();
  for (const [key, { dtype, shape, begin, end }] of entries) {
    if (!isWanted(key)) continue;
    const isRaw = rawBits(dtype) !== undefined;
    const data = isRaw ? new Uint8Array(end - begin) : emptyArray(dtype as DType, numelOf(shape));
    yield* readInto(file, data, dataAt + begin);
    tensors.set(
      key,
      isRaw
        ? new RawTensor(dtype, shape, data as Uint8Array)
        : new Tensor(data, shape, { dtype: dtype as DType }),
    );
  }
  return tensors;
}

/** Adds the tensors to `state`. Parts of a quantized tensor are put together. */
export function assemble(tensors: Parts, state: StateDict): StateDict {
  for (const [key, tensor] of tensors) {
    if (isCompanion(tensors, key)) continue;
    if (!isTensor(tensor)) state.raw.set(key, tensor);
    else state.set(key, isQuantized(tensors, key) ? quantizedTensor(key, tensor, tensors) : tensor);
  }
  return state;
}

function isQuantized(tensors: Parts, key: string): boolean {
  const dtype = tensors.get(key)?.dtype;
  return (
    (dtype === int8 || dtype === uint8) && (tensors.has(`${key}.scale`) || tensors.has(`${key}.zero_point`))
  );
}

/** Whether this is the scale, zero point or shape of a quantized tensor. */
function isCompanion(tensors: Parts, key: string): boolean {
  const [, owner, part] = /^(.*)\.(scale|zero_point|shape)$/s.exec(key) ?? [];
  if (owner === undefined || !isQuantized(tensors, owner)) return false;
  return part !== 'shape' || tensors.get(owner)!.dtype === uint8;
}

function quantizedTensor(key: string, { data, shape: stored, dtype }: Tensor, tensors: Parts): Tensor {
  const sizes = dtype === uint8 ? tensors.get(`${key}.shape`) : undefined;
  if (sizes !== undefined && !(isTensor(sizes) && sizes.dtype === int64 && sizes.dim() === 1)) {
    throw new CheckpointError(`key ${describe(`${key}.shape`)}: should be int64 of one dimension`);
  }
  const shape = sizes === undefined ? stored : Array.from(sizes.data as BigInt64Array, Number);
  const companion = (name: string, dtypes: readonly DType[]): Tensor => {
    const tensor = tensors.get(`${key}.${name}`);
    if (tensor === undefined) throw new CheckpointError(`key ${describe(key)}: its ${name} is missing`);
    const perChannel = tensor.shape.length === 1 && tensor.shape[0] === shape[0];
    const fits = perChannel || tensor.shape.length === 0;
    if (!isTensor(tensor) || !dtypes.includes(tensor.dtype) || !fits) {
      throw new CheckpointError(
        `key ${describe(`${key}.${name}`)}: should be ${dtypes.join(' or ')} of shape [] or [${shape[0]}], got ${tensor.dtype} of [${tensor.shape.join(', ')}]`,
      );
    }
    return tensor;
  };
  const scales = companion('scale', [float32]);
  const perChannel = scales.dim() > 0;
  const zeroPoints = companion('zero_point', perChannel ? [int32, float32] : [int32]);
  const perChannelScheme =
    zeroPoints.dtype === float32 ? 'per_channel_affine_float_qparams' : 'per_channel_affine';
  try {
    return new Tensor(data, shape, {
      dtype: sizes !== undefined ? quint4x2 : dtype === uint8 ? quint8 : qint8,
      qscheme: perChannel ? perChannelScheme : 'per_tensor_affine',
      scales: Float64Array.from(scales.data as Float32Array),
      zeroPoints: zeroPoints.data as Int32Array | Float32Array,
      axis: 0,
    });
  } catch (error) {
    throw new CheckpointError(`key ${describe(key)}: ${(error as Error).message}`, { cause: error });
  }
}
