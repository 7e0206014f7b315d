import { createRequire } from 'node:module';
import { join } from 'node:path';

import { packageRoot } from '../run.js';
import { onnxModel, type OnnxTensor } from './onnx.js';
import { Skip, type Setup, type Subject } from './subject.js';

/** What is used of onnxruntime-node, which is installed beside the benchmarks only. */
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
  const quantized = contender.type === 'float' ? undefined : contender.type;

  let model: Uint8Array;
  let outputName: string;
  let feeds: string[];
  if (kind === 'lstm') {
    const W = reorder(get('weight_ih_l0'), output, input);
    const R = reorder(get('weight_hh_l0'), output, output);
    const biases = ['bias_ih_l0', 'bias_hh_l0'].map((name) => reorder(get(name), output, 1));
    const B: OnnxTensor = { data: Float32Array.of(...biases[0]!, ...biases[1]!), shape: [1, 8 * output] };
    const outputs = ['Y', 'Y_h', 'Y_c'];
    const attributes = { hidden_size: output };
    outputName = 'Y';
    feeds = ['x', 'h0', 'c0'];
    if (quantized === undefined) {
      const inputs = ['x', 'W', 'R', 'B', '', 'h0', 'c0'];
      const constants = {
        W: { data: W, shape: [1, 4 * output, input] },
        R: { data: R, shape: [1, 4 * output, output] },
        B,
      };
      model = onnxModel({ type: 'LSTM', inputs, outputs, attributes }, constants);
    } else {
      const inputs = ['x', 'W', 'R', 'B', '', 'h0', 'c0', '', 'W_scale', 'W_zero', 'R_scale', 'R_zero'];
      model = onnxModel(
        { type: 'DynamicQuantizeLSTM', domain: 'com.microsoft', inputs, outputs, attributes },
        {
          ...quantize('W', transpose(W, 4 * output), [1, input, 4 * output], quantized, [1]),
          ...quantize('R', transpose(R, 4 * output), [1, output, 4 * output], quantized, [1]),
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

/** Gate rows i, f, g, o to ONNX's i, o, f, c. */
function reorder(weight: Float32Array, hidden: number, depth: number): Float32Array {
  const gate = hidden * depth;
  const out = new Float32Array(weight.length);
  [0, 3, 1, 2].forEach((from, to) => out.set(weight.subarray(from * gate, (from + 1) * gate), to * gate));
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

/** As ONNX Runtime's own quantizer does by default: one symmetric scale, max|w| becomes 127. */
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
