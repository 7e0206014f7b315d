import { createRequire } from 'node:module';
import { join } from 'node:path';

import { packageRoot } from '../run.js';
import { onnxModel, type OnnxTensor } from './onnx.js';
import { Skip, type Setup, type Subject } from './subject.js';

/** The parts of onnxruntime-node that are used here. It is installed beside the benchmarks only. */
interface OnnxRuntime {
  Tensor: new (type: 'float32', data: Float32Array, dims: readonly number[]) => object;
  InferenceSession: {
    create(
      model: Uint8Array,
      options: object,
    ): Promise<{ run(feeds: object): Promise<Record<string, { data: Float32Array }>> }>;
  };
}

function load(): OnnxRuntime & { version: string } {
  const local = createRequire(join(packageRoot, 'benchmarks', 'package.json'));
  try {
    const { version } = local('onnxruntime-node/package.json') as { version: string };
    return { ...(local('onnxruntime-node') as OnnxRuntime), version };
  } catch (error) {
    throw new Skip(`onnxruntime-node does not load: ${(error as Error).message.split('\n')[0]!}`);
  }
}

export const setup: Setup = async ({ trial, contender, tensors: shapes }, tensors): Promise<Subject> => {
  const { Tensor, InferenceSession, version } = load();
  const { kind, input, output, threads } = trial;
  const get = (name: string): Float32Array => tensors.get(name)!;
  const { type } = contender;
  if (type === 'float16')
    throw new Skip('onnxruntime has no float16 weights with float32 arithmetic on CPUs');
  if (kind === 'gru' && type !== 'float') throw new Skip('onnxruntime has no INT8 GRU');
  const quantized = type === 'float' ? undefined : type;

  let model: Uint8Array;
  let outputName: string;
  let feeds: string[];
  if (kind !== 'linear') {
    const order = gateOrders[kind];
    const rows = order.length * output;
    const W = reorder(get('weight_ih_l0'), order);
    const R = reorder(get('weight_hh_l0'), order);
    const biases = ['bias_ih_l0', 'bias_hh_l0'].map((name) => reorder(get(name), order));
    const B: OnnxTensor = { data: Float32Array.of(...biases[0]!, ...biases[1]!), shape: [1, 2 * rows] };
    const outputs = kind === 'lstm' ? ['Y', 'Y_h', 'Y_c'] : ['Y', 'Y_h'];
    // PyTorch's GRU multiplies the reset gate with the whole recurrent term.
    const attributes = { hidden_size: output, ...(kind === 'gru' && { linear_before_reset: 1 }) };
    outputName = 'Y';
    feeds = kind === 'lstm' ? ['x', 'h0', 'c0'] : ['x', 'h0'];
    if (quantized === undefined) {
      const inputs = ['x', 'W', 'R', 'B', '', ...feeds.slice(1)];
      const constants = {
        W: { data: W, shape: [1, rows, input] },
        R: { data: R, shape: [1, rows, output] },
        B,
      };
      model = onnxModel({ type: kind.toUpperCase(), inputs, outputs, attributes }, constants);
    } else {
      const inputs = ['x', 'W', 'R', 'B', '', 'h0', 'c0', '', 'W_scale', 'W_zero', 'R_scale', 'R_zero'];
      model = onnxModel(
        { type: 'DynamicQuantizeLSTM', domain: 'com.microsoft', inputs, outputs, attributes },
        {
          ...quantize('W', transpose(W, rows), [1, input, rows], quantized, [1]),
          ...quantize('R', transpose(R, rows), [1, output, rows], quantized, [1]),
          B,
        },
      );
    }
  } else {
    const weight = transpose(get('weight'), output);
    const bias = { data: get('bias'), shape: [output] };
    outputName = 'y';
    feeds = ['x'];
    if (quantized === undefined) {
      model = onnxModel(
        { type: 'Gemm', inputs: ['x', 'W', 'bias'], outputs: ['y'] },
        { W: { data: weight, shape: [input, output] }, bias },
      );
    } else {
      const inputs = ['x', 'W', 'W_scale', 'W_zero', 'bias'];
      model = onnxModel(
        { type: 'DynamicQuantizeMatMul', domain: 'com.microsoft', inputs, outputs: ['y'] },
        { ...quantize('W', weight, [input, output], quantized, []), bias },
      );
    }
  }

  const session = await InferenceSession.create(model, { intraOpNumThreads: threads, interOpNumThreads: 1 });
  const values = Object.fromEntries(
    shapes
      .filter(([name]) => feeds.includes(name))
      .map(([name, shape]) => [name, new Tensor('float32', get(name), shape)]),
  );
  return {
    version,
    asynchronous: true,
    call: () => session.run(values),
    output: (result) => (result as Record<string, { data: Float32Array }>)[outputName]!.data,
  };
};

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
