import { isMap } from '../../errors.js';
import type { StateDict } from '../../nn/module.js';
import { int8, isTensor, qint8, Tensor } from '../../tensor/index.js';
import type { OpaqueValue } from '../opaque-value.js';

// Linear layers that torchao quantized: a matrix of int8 `qdata`, one `scale` a row (of shape [rows, 1]), and zero
// points. torch.save writes a tensor of a class of its own, Int8Tensor. torchao's safetensors files have the parts of
// `fc.weight` under `fc._weight_qdata`, `fc._weight_scale` and `fc._weight_zero_point`, and notes beside them.

export interface Int8Weight {
  readonly tensor: Tensor;
  /** Whether torchao quantizes the layer's input too. */
  readonly dynamic: boolean;
}

/** The weight that an object of a checkpoint is; undefined if it is something else, or has parts that are not known. */
export function int8Weight({ type, state }: OpaqueValue): Int8Weight | undefined {
  if (!/^torchao\.(\w+\.)*Int8Tensor$/.test(type) || !isMap(state)) return undefined;
  const unknown = ['act_pre_scale', 'act_quant_scale', 'act_quant_zero_point'];
  if (unknown.some((part) => (state.get(part) ?? null) !== null)) return undefined;
  const tensor = quantized(state.get('qdata'), state.get('scale'), state.get('zero_point'));
  return tensor && { tensor, dynamic: (state.get('act_quant_kwargs') ?? null) !== null };
}

function quantized(codes: unknown, scale: unknown, zeroPoint: unknown): Tensor | undefined {
  if (!isTensor(codes) || codes.dtype !== int8 || codes.dim() !== 2 || !isTensor(scale)) return undefined;
  const perRow = scale.numel === codes.shape[0] && scale.shape[0] === codes.shape[0];
  if (!perRow && scale.numel !== 1) return undefined;
  const zeroPoints = isTensor(zeroPoint)
    ? Int32Array.from(zeroPoint.data as Int8Array, Number)
    : new Int32Array(scale.numel);
  try {
    return new Tensor(codes.data, codes.shape, {
      dtype: qint8,
      qscheme: perRow ? 'per_channel_affine' : 'per_tensor_affine',
      scales: Float64Array.from(scale.float().data as Float32Array),
      zeroPoints,
      axis: 0,
    });
  } catch {
    return undefined;
  }
}

/** Says of each layer that has one of these weights what it is, and what is not as torchao has it. */
export function describeInt8Weights(state: StateDict, weights: ReadonlyMap<unknown, Int8Weight>): void {
  for (const [key, tensor] of state) {
    const weight = weights.get(tensor);
    const [, prefix] = /^(.*\.)?weight$/s.exec(key) ?? [];
    if (weight === undefined || !/(^|\.)weight$/.test(key)) continue;
    const name = prefix?.slice(0, -1) ?? '';
    state.metadata.set(name, {
      type: 'DynamicQuantizedLinear',
      inFeatures: tensor.shape[1]!,
      outFeatures: tensor.shape[0]!,
      bias: state.has(`${prefix ?? ''}bias`),
      dtype: qint8,
      qscheme: tensor.quantization!.qscheme,
      activation: 'perRow',
      reduceRange: false,
    });
    const torchao = weight.dynamic ? 'has no zero points for its input' : 'leaves its input float';
    state.assumptions.push(
      `${name === '' ? 'the root' : name} (DynamicQuantizedLinear): torchao ${torchao}; here each row of it is quantized with a scale and a zero point`,
    );
  }
}

/** Puts the weights of torchao's safetensors files together, in place, and describes them. */
export function joinInt8Weights(state: StateDict): StateDict {
  const joined = new Map<string, Tensor>(state);
  const weights = new Map<unknown, Int8Weight>();
  for (const [key, codes] of state) {
    const [, prefix = '', name] = /^(.*\.)?_(\w+)_qdata$/s.exec(key) ?? [];
    if (name === undefined) continue;
    const parts = ['scale', 'zero_point'].map((part) => `${prefix}_${name}_${part}`);
    const [scale, zeroPoint] = parts.map((part) => state.get(part));
    const tensor = quantized(codes, scale, zeroPoint);
    const whole = `${prefix}${name}`;
    if (tensor === undefined || state.has(whole)) continue;
    joined.set(key, tensor);
    for (const part of parts) joined.delete(part);
    weights.set(tensor, { tensor, dynamic: !/"act_quant_kwargs": null/.test(state.notes.get(whole) ?? '') });
  }
  if (weights.size === 0) return state;
  state.clear();
  for (const [key, tensor] of joined)
    state.set(weights.has(tensor) ? key.replace(/_(\w+)_qdata$/, '$1') : key, tensor);
  // They say how torchao's own reader puts tensors together.
  for (const key of [...state.keys(), 'tensor_names']) state.notes.delete(key);
  describeInt8Weights(state, weights);
  return state;
}
