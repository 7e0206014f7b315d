import type { QConfig } from '../nn/quantized/dynamic/weight.js';

export type { QConfig };

/** PyTorch's `default_dynamic_qconfig`: one scale a weight matrix. */
export const defaultDynamicQConfig: QConfig = Object.freeze({
  weight: Object.freeze({ qscheme: 'per_tensor_symmetric' }),
});

/** PyTorch's `per_channel_dynamic_qconfig`: one scale a row, about half the error. */
export const perChannelDynamicQConfig: QConfig = Object.freeze({
  weight: Object.freeze({ qscheme: 'per_channel_symmetric' }),
});
