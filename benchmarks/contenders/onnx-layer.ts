// A layer as a model of one node, as ONNX Runtime's own tools would write it.
import { onnxModel, type OnnxTensor } from './onnx.js';

/** A layer of PyTorch's: its kind, its sizes, the type of its weights, and its float parameters by name. */
export interface Layer {
  readonly kind: 'lstm' | 'gru' | 'linear';
  readonly input: number;
  readonly output: number;
  readonly type: 'int8' | 'uint8' | 'float';
  get(name: string): Float32Array;
}

export interface LayerModel {
  readonly model: Uint8Array;
  /** The names of the inputs: `x`, then the states. */
  readonly feeds: readonly string[];
  /** The name of the layer's output. */
  readonly result: string;
}

export function layerModel(layer: Layer): LayerModel {
  return layer.kind === 'linear' ? linearModel(layer) : recurrentModel(layer, layer.kind);
}

function recurrentModel({ input, output, type, get }: Layer, kind: 'lstm' | 'gru'): LayerModel {
  const order = gateOrders[kind];
  const rows = order.length * output;
  const W = reorder(get('weight_ih_l0'), order);
  const R = reorder(get('weight_hh_l0'), order);
  const biases = ['bias_ih_l0', 'bias_hh_l0'].map((name) => reorder(get(name), order));
  const B: OnnxTensor = { data: Float32Array.of(...biases[0]!, ...biases[1]!), shape: [1, 2 * rows] };
  const outputs = kind === 'lstm' ? ['Y', 'Y_h', 'Y_c'] : ['Y', 'Y_h'];
  // PyTorch's GRU multiplies the reset gate with the whole recurrent term.
  const attributes = { hidden_size: output, ...(kind === 'gru' && { linear_before_reset: 1 }) };
  const feeds = kind === 'lstm' ? ['x', 'h0', 'c0'] : ['x', 'h0'];
  if (type === 'float') {
    const inputs = ['x', 'W', 'R', 'B', '', ...feeds.slice(1)];
    const constants = {
      W: { data: W, shape: [1, rows, input] },
      R: { data: R, shape: [1, rows, output] },
      B,
    };
    const model = onnxModel({ type: kind.toUpperCase(), inputs, outputs, attributes }, constants);
    return { model, feeds, result: 'Y' };
  }
  const inputs = ['x', 'W', 'R', 'B', '', 'h0', 'c0', '', 'W_scale', 'W_zero', 'R_scale', 'R_zero'];
  const model = onnxModel(
    { type: 'DynamicQuantizeLSTM', domain: 'com.microsoft', inputs, outputs, attributes },
    {
      ...quantize('W', transpose(W, rows), [1, input, rows], type, [1]),
      ...quantize('R', transpose(R, rows), [1, output, rows], type, [1]),
      B,
    },
  );
  return { model, feeds, result: 'Y' };
}

function linearModel({ input, output, type, get }: Layer): LayerModel {
  const weight = transpose(get('weight'), output);
  const bias = { data: get('bias'), shape: [output] };
  const model =
    type === 'float'
      ? onnxModel(
          { type: 'Gemm', inputs: ['x', 'W', 'bias'], outputs: ['y'] },
          { W: { data: weight, shape: [input, output] }, bias },
        )
      : onnxModel(
          {
            type: 'DynamicQuantizeMatMul',
            domain: 'com.microsoft',
            inputs: ['x', 'W', 'W_scale', 'W_zero', 'bias'],
            outputs: ['y'],
          },
          { ...quantize('W', weight, [input, output], type, []), bias },
        );
  return { model, feeds: ['x'], result: 'y' };
}

/** The place of each of ONNX's gates in PyTorch's order: i, o, f, c in i, f, g, o; z, r, h in r, z, n. */
const gateOrders = { lstm: [0, 3, 1, 2], gru: [1, 0, 2] } as const;

function reorder(weight: Float32Array, order: readonly number[]): Float32Array {
  const gate = weight.length / order.length;
  const out = new Float32Array(weight.length);
  order.forEach((from, to) => out.set(weight.subarray(from * gate, (from + 1) * gate), to * gate));
  return out;
}

/** `[rows, depth]` to `[depth, rows]`. */
function transpose(weight: Float32Array, rows: number): Float32Array {
  const depth = weight.length / rows;
  const out = new Float32Array(weight.length);
  for (let row = 0; row < rows; row++) {
    for (let k = 0; k < depth; k++) out[k * rows + row] = weight[row * depth + k]!;
  }
  return out;
}

/** Does what ONNX Runtime's own quantizer does by default: one symmetric scale, max|w| becomes 127. */
function quantize(
  name: string,
  weight: Float32Array,
  shape: readonly number[],
  type: 'int8' | 'uint8',
  scaleShape: readonly number[],
): Record<string, OnnxTensor> {
  let largest = 0;
  for (const value of weight) largest = Math.max(largest, Math.abs(value));
  const scale = largest / 127;
  const zero = type === 'int8' ? 0 : 128;
  const bytes = type === 'int8' ? Int8Array : Uint8Array;
  const data = new bytes(weight.length);
  for (let i = 0; i < weight.length; i++) data[i] = Math.round(weight[i]! / scale) + zero;
  return {
    [name]: { data, shape },
    [`${name}_scale`]: { data: Float32Array.of(scale), shape: scaleShape },
    [`${name}_zero`]: { data: bytes.of(zero), shape: scaleShape },
  };
}
