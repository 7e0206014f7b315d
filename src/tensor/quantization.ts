import { arrayName, checkOneOf, checkInteger, describe, rangeError, typeError } from '../errors.js';
import { emptyArray, plainView, quint4x2, type DType, type TensorData } from './dtype.js';
import { numelOf } from './shape.js';

const qschemes = ['per_tensor_affine', 'per_channel_affine', 'per_channel_affine_float_qparams'] as const;
/**
 * Which elements share a scale and a zero point: all (`per_tensor_affine`), or those of one index of `axis`
 * (`per_channel_affine`; `per_channel_affine_float_qparams` where the zero points are floats, as in embedding tables).
 */
export type QScheme = (typeof qschemes)[number];

/** How a quantized tensor's integers represent reals: `real = scales[i] * (q - zeroPoints[i])`. */
export interface Quantization {
  /** Which elements share a scale and a zero point. */
  readonly qscheme: QScheme;
  /** One for the whole tensor, or one for each index of `axis`. */
  readonly scales: Float64Array;
  /** Whole numbers. With `per_channel_affine_float_qparams` (embedding tables) any numbers, in a Float32Array. */
  readonly zeroPoints: Int32Array | Float32Array;
  /** The dimension that the scales belong to; 0 if there is one for the whole tensor. */
  readonly axis: number;
}

/** Whether a scale is positive and finite, also after rounding to float32. */
export function isFloatScale(scale: number): boolean {
  return Math.fround(scale) > 0 && Number.isFinite(Math.fround(scale));
}

/** The quantization in a tensor's options. It must fit dtype and shape; undefined for dtypes that are not quantized. */
export function quantizationOf(
  options: Partial<Quantization>,
  dtype: DType,
  shape: readonly number[],
): Quantization | undefined {
  const quantized = options.qscheme !== undefined;
  if (quantized !== dtype.startsWith('q')) {
    throw typeError(
      'ERR_DTYPE',
      `qscheme, scales and zeroPoints should be given for quantized dtypes and no other, got ${dtype}`,
    );
  }
  return quantized ? checkQuantization(options, shape) : undefined;
}

function checkQuantization(options: Partial<Quantization>, shape: readonly number[]): Quantization {
  const { qscheme, axis = 0, ...arrays } = options;
  const known = `qscheme should be one of ${qschemes.join(', ')}, got ${describe(qscheme)}`;
  checkOneOf('qscheme', qscheme, qschemes, known);
  const scales = checkedArray('scales', arrays.scales, ['Float64Array']);
  const zeroPoints = checkedArray('zeroPoints', arrays.zeroPoints, ['Int32Array', 'Float32Array']);
  checkInteger('axis', axis);
  const perTensor = qscheme === 'per_tensor_affine';
  if (!perTensor && shape[axis] === undefined) {
    throw rangeError('ERR_OUT_OF_RANGE', `axis should be from 0 to ${shape.length - 1}, got ${axis}`);
  }
  const count = perTensor ? 1 : shape[axis];
  if (scales.length !== count || zeroPoints.length !== count) {
    throw rangeError(
      'ERR_SHAPE',
      `scales and zeroPoints should have ${count} elements, got ${scales.length} and ${zeroPoints.length}`,
    );
  }
  // Float qparams may have any sign, because PyTorch has been seen to save freed memory in their place.
  const fits = qscheme === 'per_channel_affine_float_qparams' ? Number.isFinite : isFloatScale;
  if (!scales.every((scale) => fits(Math.fround(scale)))) {
    throw rangeError('ERR_INVALID_ARG_VALUE', 'scales should be positive finite numbers');
  }
  if (!Array.prototype.every.call(zeroPoints, Number.isFinite)) {
    throw rangeError('ERR_INVALID_ARG_VALUE', 'zeroPoints should be finite numbers');
  }
  return { qscheme, scales, zeroPoints, axis };
}

function checkedArray<T extends TensorData>(
  name: string,
  value: T | undefined,
  expected: readonly string[],
): T {
  if (!expected.includes(arrayName(value))) {
    const sentence = `${name} should be a ${expected.join(' or ')}, got ${describe(value)}`;
    throw typeError('ERR_INVALID_ARG_TYPE', sentence);
  }
  return plainView(value!);
}

/** Quantized data with one integer an element. */
export function unpacked(data: TensorData, dtype: DType, count: number): TensorData {
  if (dtype !== quint4x2) return data;
  const out = emptyArray('uint8', count);
  for (let i = 0; i < count; i++) out[i] = (Number(data[i >> 1]) >> (4 * (i & 1))) & 15;
  return out;
}

/** The reals that integers represent: `scale * (q - zero_point)`. */
export function dequantized(
  integers: TensorData,
  shape: readonly number[],
  { scales, zeroPoints, axis }: Quantization,
): Float32Array {
  const inner = numelOf(shape.slice(axis + 1));
  const out = emptyArray('float32', integers.length);
  for (let i = 0; i < out.length; i++) {
    const channel = scales.length === 1 ? 0 : Math.floor(i / inner) % scales.length;
    out[i] = Math.fround(Number(integers[i]) - zeroPoints[channel]!) * Math.fround(scales[channel]!);
  }
  return out;
}
