import { describe, rangeError, type Coded } from '../../../errors.js';
import { native } from '../../../native/addon.js';
import {
  emptyArray,
  float16,
  float32,
  int8,
  isFloatScale,
  numelOf,
  qint8,
  sameShape,
  Tensor,
  type Quantization,
} from '../../../tensor/index.js';
import type { LayerParameter } from '../../layer-parameters.js';
import { sizeMismatch } from '../../module.js';
import type { DynamicQuantization, QConfig } from '../qconfig.js';

/**
 * Quantizes a float weight `[rows, ...depth]`.
 *
 * qint8 is symmetric, as in PyTorch's MinMaxObserver: `scale = max(max|w| / 127.5, 2^-23)`,
 * `q = clamp(rne(w * (1 / scale)), -128, 127)`, with one scale for all rows or one for each. float16 is rounded;
 * values beyond +-65504 become that number. What shares a scale shares it within one of `parts` equal blocks of rows.
 *
 * @throws {RangeError} when a weight is NaN or infinite
 */
export function quantizeWeight(name: string, weight: Tensor, { weight: target }: QConfig, parts = 1): Tensor {
  if (target.dtype === float16) return halfWeight(name, weight);
  const rows = weight.shape[0]!;
  const perChannel = target.qscheme === 'per_channel_symmetric';
  const data = weight.checked(name) as Float32Array;
  const out = new Int8Array(data.length);
  if (perChannel || parts === 1) {
    const scales = new Float32Array(perChannel ? rows : 1);
    if (!native().quantizeWeight(data, rows, out, scales)) throw notQuantizable(name);
    return qint8Weight(out, weight.shape, scales, perChannel);
  }
  const scales = new Float32Array(rows);
  for (let part = 0; part < parts; part++) {
    const block = <Data extends Float32Array | Int8Array>(array: Data): Data =>
      array.subarray((part * array.length) / parts, ((part + 1) * array.length) / parts) as Data;
    const scale = new Float32Array(1);
    if (!native().quantizeWeight(block(data), rows / parts, block(out), scale)) throw notQuantizable(name);
    block(scales).fill(scale[0]!);
  }
  return qint8Weight(out, weight.shape, scales, true);
}

function halfWeight(name: string, weight: Tensor): Tensor {
  const data = weight.checked(name) as Float32Array;
  const out = new Uint16Array(data.length);
  if (!native().quantizeHalf(data, out)) throw notQuantizable(name);
  return new Tensor(out, weight.shape, { dtype: float16 });
}

function notQuantizable(name: string): Coded<RangeError> {
  return rangeError('ERR_NOT_FINITE', `${name} should be finite to be quantized, but holds NaN or infinity`);
}

/** A qint8 tensor of these integers and scales. Its zero points are 0. */
export function qint8Weight(
  data: Int8Array,
  shape: readonly number[],
  scales: Float32Array,
  perChannel: boolean,
): Tensor {
  return new Tensor(data, shape, {
    dtype: qint8,
    qscheme: perChannel ? 'per_channel_affine' : 'per_tensor_affine',
    scales: Float64Array.from(scales),
    zeroPoints: new Int32Array(scales.length),
    axis: 0,
  });
}

/** What a quantized module keeps of an INT8 weight; the integers live in the handle. */
export interface WeightScales {
  readonly scales: Float32Array;
  readonly perChannel: boolean;
}

export function weightScales({ scales, qscheme }: Quantization): WeightScales {
  return { scales: Float32Array.from(scales), perChannel: qscheme === 'per_channel_affine' };
}

/** Weights and biases of zeros. */
export function emptyState(
  parameters: readonly LayerParameter[],
  quantization: DynamicQuantization,
): Map<string, Tensor> {
  const state = new Map<string, Tensor>();
  for (const { name, kind, shape } of parameters) {
    const count = numelOf(shape);
    if (kind === 'bias') state.set(name, new Tensor(emptyArray(float32, count), shape));
    else if (quantization.dtype === float16)
      state.set(name, new Tensor(emptyArray(float16, count), shape, { dtype: float16 }));
    else state.set(name, qint8Weight(emptyArray(int8, count), shape, Float32Array.of(1), false));
  }
  return state;
}

function notFinite(name: string): string {
  return `${name} should be finite, but holds NaN or infinity.`;
}

/** Why a tensor cannot be this parameter of a module with weights of this dtype; undefined if it can. */
export function checkQuantizedState(
  name: string,
  value: Tensor,
  { kind, shape }: LayerParameter,
  dtype: DynamicQuantization['dtype'],
): string | undefined {
  if (!sameShape(value.shape, shape)) return sizeMismatch(name, value.shape, shape);
  value.checked(name);
  if (kind === 'bias') {
    if (value.dtype !== float32) return `${name} should be float32, got ${value.dtype}.`;
    return (value.data as Float32Array).every(Number.isFinite) ? undefined : notFinite(name);
  }
  if (value.dtype !== dtype) {
    return `${name} should be ${dtype}, got ${value.dtype}: quantize the float model with quantizeDynamic instead.`;
  }
  if (dtype === float16) {
    const finite = (value.data as Uint16Array).every((bits) => (bits & 0x7c00) !== 0x7c00);
    return finite ? undefined : notFinite(name);
  }
  const { axis, scales, zeroPoints } = value.quantization!;
  if (axis !== 0) return `${name} should be quantized along axis 0, got ${describe(axis)}.`;
  // Scales were checked when the tensor was made, but anyone may have written into them since.
  if (!scales.every(isFloatScale)) return `${name} should have scales that are positive and finite.`;
  if (zeroPoints.some((zeroPoint) => zeroPoint !== 0)) return `${name} should have zero points of 0.`;
  return undefined;
}

/** Why weights are too deep for these activations: an int32 sum could wrap (PyTorch's does, silently). */
export function depthProblems(
  parameters: readonly LayerParameter[],
  quantization: DynamicQuantization,
  prefix = '',
): string[] {
  if (quantization.dtype === float16) return [];
  // 128 * 128 * 131,071 and 255 * 128 * 65,793 are below 2^31.
  const most = quantization.reduceRange ? 131071 : 65793;
  const layer = `an INT8 layer${quantization.reduceRange ? '' : ' with reduceRange: false'}`;
  return parameters
    .map(({ kind, columns, shape }) => ({ kind, columns, depth: numelOf(shape.slice(1)) }))
    .filter(({ kind, depth }) => kind === 'weight' && depth > most)
    .map(
      ({ columns, depth }) =>
        `${prefix}${columns} should be at most ${most} for ${layer}, whose sums are int32, got ${depth}`,
    );
}
