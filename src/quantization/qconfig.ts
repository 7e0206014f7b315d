import type { ActivationMode, QConfig } from '../nn/quantized/dynamic/qconfig.js';

export type { ActivationMode, QConfig };

/** PyTorch's `default_dynamic_qconfig`: one scale a weight matrix. */
export const defaultDynamicQConfig: QConfig = Object.freeze({
  weight: Object.freeze({ qscheme: 'per_tensor_symmetric' }),
});

/** PyTorch's `per_channel_dynamic_qconfig`: one scale a row, about half the error. */
export const perChannelDynamicQConfig: QConfig = Object.freeze({
  weight: Object.freeze({ qscheme: 'per_channel_symmetric' }),
});

/**
 * One activation range for each row of the input and of the hidden state: results that do not depend on who
 * shares the batch nor, in one direction, on how a sequence is cut. PyTorch has no such thing.
 *
 * Combine by spreading: `{ ...perChannelDynamicQConfig, activation: 'perRow', reduceRange: false }`.
 */
export const perRowDynamicQConfig: QConfig = Object.freeze({
  ...defaultDynamicQConfig,
  activation: 'perRow',
});
