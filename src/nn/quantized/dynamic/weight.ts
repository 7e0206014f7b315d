import { describe } from '../../../errors.js';
import { native } from '../../../native.js';
import { qint8, sameShape, Tensor, type Quantization } from '../../../tensor.js';
import type { QConfig } from './qconfig.js';

/**
 * Quantizes a float weight `[rows, depth]` symmetrically to int8, as PyTorch's MinMaxObserver does:
 * `scale = max(max|w| / 127.5, 2^-23)`, `q = clamp(rne(w * (1 / scale)), -128, 127)`, one scale for all or
 * one a row.
 *
 * @throws {RangeError} when a weight is NaN or infinite
 */
export function quantizeWeight(name: string, weight: Tensor, { weight: { qscheme } }: QConfig): Tensor {
  const rows = weight.shape[0]!;
  const scales = new Float32Array(qscheme === 'per_channel_symmetric' ? rows : 1);
  const data = weight.checked(name) as Float32Array;
  const out = new Int8Array(data.length);
  if (!native().quantizeWeight(data, rows, out, scales)) {
    throw new RangeError(`${name} should be finite to be quantized, but holds NaN or infinity`);
  }
  return qint8Weight(out, weight.shape, scales, qscheme === 'per_channel_symmetric');
}

/** A qint8 tensor of these integers and scales, zero points 0. */
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

/** What a quantized module keeps of a weight beside the packed integers. */
export interface WeightScales {
  readonly scales: Float32Array;
  readonly perChannel: boolean;
}

export function weightScales({ scales, qscheme }: Quantization): WeightScales {
  return { scales: Float32Array.from(scales), perChannel: qscheme === 'per_channel_affine' };
}

/** Why a tensor cannot be a quantized module's weight or bias of that shape, or nothing. */
export function checkQuantizedState(
  name: string,
  value: Tensor,
  kind: 'weight' | 'bias',
  shape: readonly number[],
): string | undefined {
  if (!sameShape(value.shape, shape)) {
    return `size mismatch for ${name}: copying a param with shape torch.Size([${value.shape.join(', ')}]) from checkpoint, the shape in current model is torch.Size([${shape.join(', ')}]).`;
  }
  value.checked(name);
  if (kind === 'bias') {
    if (value.dtype !== 'float32') return `${name} should be float32, got ${value.dtype}.`;
    if (!(value.data as Float32Array).every(Number.isFinite))
      return `${name} should be finite, but holds NaN or infinity.`;
    return undefined;
  }
  const quantization = value.quantization;
  if (value.dtype !== qint8 || quantization === undefined) {
    return `${name} should be qint8, got ${value.dtype}: quantize the float model with quantizeDynamic instead.`;
  }
  if (quantization.axis !== 0)
    return `${name} should be quantized along axis 0, got ${describe(quantization.axis)}.`;
  if (quantization.zeroPoints.some((zeroPoint) => zeroPoint !== 0))
    return `${name} should have zero points of 0.`;
  return undefined;
}
