import { emptyArray, Tensor, type Quantization } from '../../../tensor/index.js';

// ONNX Runtime's integers. They stay what they are: codes of uint8 are moved by 128 with their zero points.

/** Integers with what they mean. */
export interface Codes {
  readonly data: Int8Array;
  /** One, or one an output. */
  readonly scales: Float64Array;
  readonly zeroPoints: Int32Array;
}

/** Undefined unless the tensors fit: int8 or uint8, float scales, and as many zero points or none. */
export function codesOf(
  weight: Tensor | undefined,
  scale: Tensor | undefined,
  zeroPoint: Tensor | undefined,
  outputs: number,
): Codes | undefined {
  if (weight === undefined || scale?.dtype !== 'float32') return undefined;
  if (weight.dtype !== 'int8' && weight.dtype !== 'uint8') return undefined;
  const count = scale.numel;
  if (count !== 1 && count !== outputs) return undefined;
  if (zeroPoint !== undefined && (zeroPoint.dtype !== weight.dtype || zeroPoint.numel !== count))
    return undefined;
  const shift = weight.dtype === 'uint8' ? 128 : 0;
  const data =
    shift === 0 ? (weight.data as Int8Array) : Int8Array.from(weight.data as Uint8Array, (q) => q - shift);
  const zeros = (zeroPoint?.data ?? new Int8Array(count)) as Int8Array;
  return {
    data,
    scales: Float64Array.from(scale.data as Float32Array),
    zeroPoints: Int32Array.from(zeros, (zero) => (zeroPoint === undefined ? 0 : zero - shift)),
  };
}

/**
 * A matrix of codes `[columns, rows]` as a weight `[rows, columns]`, with its blocks of rows in this order.
 * A zero point that is not 0 cannot be in a quantized layer: then the weight is the reals that the codes mean.
 */
export function weightOfCodes(
  { data, scales, zeroPoints }: Codes,
  rows: number,
  order: readonly number[],
): Tensor {
  const columns = data.length / rows;
  const block = rows / order.length;
  const out = emptyArray('qint8', data.length);
  const rowOf = (to: number): number => order[Math.floor(to / block)]! * block + (to % block);
  for (let to = 0; to < rows; to++) {
    const from = rowOf(to);
    for (let column = 0; column < columns; column++) out[to * columns + column] = data[column * rows + from]!;
  }
  const perChannel = scales.length > 1;
  const pick = (index: number): number => (perChannel ? rowOf(index) : 0);
  const count = perChannel ? rows : 1;
  const quantization: Quantization = {
    qscheme: perChannel ? 'per_channel_affine' : 'per_tensor_affine',
    scales: Float64Array.from({ length: count }, (_, i) => scales[pick(i)]!),
    zeroPoints: Int32Array.from({ length: count }, (_, i) => zeroPoints[pick(i)]!),
    axis: 0,
  };
  const weight = new Tensor(out, [rows, columns], { dtype: 'qint8', ...quantization });
  return zeroPoints.every((zero) => zero === 0) ? weight : weight.dequantize();
}

/** What metadata say of a layer with such a weight: ONNX Runtime gives activations 255 levels and one range. */
export function quantizedMetadata(weight: Tensor): Record<string, unknown> {
  return { dtype: 'qint8', qscheme: weight.qscheme, activation: 'perTensor', reduceRange: false };
}

export const zeroPointRemark =
  'its zero points are not 0, which no quantized layer here has, so its weights are the floats that its integers mean';
