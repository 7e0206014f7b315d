import { CheckpointError, describe } from '../../../errors.js';
import { StateDict } from '../../../nn/module.js';
import {
  emptyArray,
  float32,
  int32,
  int64,
  int8,
  qint8,
  quint4x2,
  quint8,
  Tensor,
  uint8,
  type DType,
} from '../../../tensor/index.js';
import { readInto, type Budget, type OpenFile, type Steps } from '../../file.js';
import type { Format } from '../format.js';
import { readHeader } from './header.js';
import { restoreTied } from './tied.js';

export const safetensors: Format = {
  name: 'safetensors',
  // There is no magic number, so any file is tried. Reading says what is wrong with it.
  recognises: () => true,
  *read(file, { budget }) {
    const state = new StateDict();
    return assemble(yield* readTensors(file, budget, state), state);
  },
};

/** The tensors as the file has them. The whole header is checked before the first tensor is made. */
export function* readTensors(file: OpenFile, budget: Budget, state: StateDict): Steps<Map<string, Tensor>> {
  const { entries, dataAt } = yield* readHeader(file, budget, state);
  const tensors = new Map<string, Tensor>();
  for (const [key, { dtype, shape, begin }] of entries) {
    const count = shape.reduce((product, n) => product * n, 1);
    const data = emptyArray(dtype, count);
    yield* readInto(file, new Uint8Array(data.buffer), dataAt + begin);
    tensors.set(key, new Tensor(data, shape, { dtype }));
  }
  return tensors;
}

/** Adds the tensors to `state`. Parts of a quantized tensor are put together. */
export function assemble(tensors: ReadonlyMap<string, Tensor>, state: StateDict): StateDict {
  for (const [key, tensor] of tensors) {
    if (isCompanion(tensors, key)) continue;
    state.set(key, isQuantized(tensors, key) ? quantizedTensor(key, tensors) : tensor);
  }
  restoreTied(state);
  return state;
}

function isQuantized(tensors: ReadonlyMap<string, Tensor>, key: string): boolean {
  const dtype = tensors.get(key)?.dtype;
  return (
    (dtype === int8 || dtype === uint8) && (tensors.has(`${key}.scale`) || tensors.has(`${key}.zero_point`))
  );
}

/** Whether this is the scale, zero point or shape of a quantized tensor. */
function isCompanion(tensors: ReadonlyMap<string, Tensor>, key: string): boolean {
  const [, owner, part] = /^(.*)\.(scale|zero_point|shape)$/s.exec(key) ?? [];
  if (owner === undefined || !isQuantized(tensors, owner)) return false;
  return part !== 'shape' || tensors.get(owner)!.dtype === uint8;
}

function quantizedTensor(key: string, tensors: ReadonlyMap<string, Tensor>): Tensor {
  const { data, shape: stored, dtype } = tensors.get(key)!;
  const sizes = dtype === uint8 ? tensors.get(`${key}.shape`) : undefined;
  if (sizes !== undefined && (sizes.dtype !== int64 || sizes.dim() !== 1)) {
    throw new CheckpointError(`key ${describe(`${key}.shape`)}: should be int64 of one dimension`);
  }
  const shape = sizes === undefined ? stored : Array.from(sizes.data as BigInt64Array, Number);
  const companion = (name: string, dtypes: readonly DType[]): Tensor => {
    const tensor = tensors.get(`${key}.${name}`);
    if (tensor === undefined) throw new CheckpointError(`key ${describe(key)}: its ${name} is missing`);
    const perChannel = tensor.dim() === 1 && tensor.shape[0] === shape[0];
    if (!dtypes.includes(tensor.dtype) || (!perChannel && tensor.dim() !== 0)) {
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
