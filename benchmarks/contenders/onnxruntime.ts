import { createRequire } from 'node:module';
import { join } from 'node:path';

import { packageRoot } from '../run.js';
import { layerModel } from './onnx-layer.js';
import { Skip, type Setup, type Subject } from './subject.js';

/** The parts of onnxruntime-node that the benchmarks use. It is installed beside the benchmarks only. */
export interface OnnxRuntime {
  Tensor: {
    new (type: 'float32', data: Float32Array, dims: readonly number[]): object;
    new (type: 'int64', data: BigInt64Array, dims: readonly number[]): object;
  };
  InferenceSession: {
    create(
      model: Uint8Array | string,
      options: object,
    ): Promise<{ run(feeds: object): Promise<Record<string, { data: Float32Array }>> }>;
  };
}

const beside = createRequire(join(packageRoot, 'benchmarks', 'package.json'));

/** @throws {Skip} when it is not installed */
export function loadOnnxRuntime(): OnnxRuntime & { version: string } {
  try {
    const { version } = beside('onnxruntime-node/package.json') as { version: string };
    return { ...(beside('onnxruntime-node') as OnnxRuntime), version };
  } catch (error) {
    throw new Skip(`onnxruntime-node does not load: ${(error as Error).message.split('\n')[0]!}`);
  }
}

export const setup: Setup = async ({ trial, contender, tensors: shapes }, tensors): Promise<Subject> => {
  const { Tensor, InferenceSession, version } = loadOnnxRuntime();
  const { kind, input, output, threads } = trial;
  const { type } = contender;
  if (type === 'float16')
    throw new Skip('onnxruntime has no float16 weights with float32 arithmetic on CPUs');
  if (kind === 'gru' && type !== 'float') throw new Skip('onnxruntime has no INT8 GRU');
  const get = (name: string): Float32Array => tensors.get(name)!;
  const { model, feeds, result: outputName } = layerModel({ kind, input, output, type, get });
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
