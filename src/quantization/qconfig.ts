/**
 * How a module's weights are quantized. Activations are always quantized on the way in, per tensor, with
 * PyTorch's reduced range (127 steps).
 */
export interface QConfig {
  readonly weight: {
    /** One symmetric scale for the whole matrix, or one for each output row. */
    readonly qscheme: 'per_tensor_symmetric' | 'per_channel_symmetric';
  };
}

/** PyTorch's `default_dynamic_qconfig`: one scale a weight matrix. */
export const defaultDynamicQConfig: QConfig = Object.freeze({
  weight: Object.freeze({ qscheme: 'per_tensor_symmetric' }),
});

/** PyTorch's `per_channel_dynamic_qconfig`: one scale a row, about half the error. */
export const perChannelDynamicQConfig: QConfig = Object.freeze({
  weight: Object.freeze({ qscheme: 'per_channel_symmetric' }),
});
