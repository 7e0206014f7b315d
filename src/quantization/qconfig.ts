import type { ActivationMode, QConfig } from '../nn/quantized/qconfig.js';

export type { ActivationMode, QConfig };

function qconfig(weight: QConfig['weight'], mode: Partial<ActivationMode> = {}): QConfig {
  return Object.freeze({ weight: Object.freeze(weight), ...mode });
}

/** PyTorch's `default_dynamic_qconfig`: one scale a weight matrix. */
export const defaultDynamicQConfig = qconfig({ qscheme: 'per_tensor_symmetric' });

/** PyTorch's `per_channel_dynamic_qconfig`: one scale a row, about half the error. */
export const perChannelDynamicQConfig = qconfig({ qscheme: 'per_channel_symmetric' });

/**
 * One activation range for each row of the input and of the hidden state. Results then do not depend on the other
 * sequences of the batch or, in one direction, on how a sequence is cut. PyTorch has no such mode.
 *
 * Combine by spreading: `{ ...perChannelDynamicQConfig, activation: 'perRow' }`.
 */
export const perRowDynamicQConfig = qconfig({ qscheme: 'per_tensor_symmetric' }, { activation: 'perRow' });

/** The most accurate: a scale for each row of a weight, a range for each row of activations, 255 levels. */
export const bestDynamicQConfig = qconfig(
  { qscheme: 'per_channel_symmetric' },
  { activation: 'perRow', reduceRange: false },
);

/** PyTorch's `float16_dynamic_qconfig`: weights in float16, half the memory; arithmetic in float32. */
export const float16DynamicQConfig = qconfig({ dtype: 'float16' });

/** PyTorch's `float_qparams_weight_only_qconfig`, for embeddings: 8 bits, a scale and a zero point a row. */
export const floatQParamsWeightOnlyQConfig = qconfig({
  dtype: 'quint8',
  qscheme: 'per_channel_affine_float_qparams',
});

/** PyTorch's `float_qparams_weight_only_qconfig_4bit`: the same with 4 bits. */
export const floatQParamsWeightOnlyQConfig4Bit = qconfig({
  dtype: 'quint4x2',
  qscheme: 'per_channel_affine_float_qparams',
});
