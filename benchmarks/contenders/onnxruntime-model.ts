import { existsSync } from 'node:fs';
import { join } from 'node:path';

import { loadOnnxRuntime } from './onnxruntime.js';
import { Skip, type ModelSetup } from './subject.js';

type Results = Record<string, { data: Float32Array }>;

/** The graphs are prepare_model.py's. A stream's state goes from call to call. */
export const setup: ModelSetup = async ({ trial, contender, tensors: shapes, model }, tensors) => {
  const { Tensor, InferenceSession, version } = loadOnnxRuntime();
  const graph = join(model.graphs, `${contender.type}.onnx`);
  if (!existsSync(graph)) throw new Skip(model.skip ?? `${graph} is missing`);
  const session = await InferenceSession.create(graph, {
    intraOpNumThreads: trial.threads,
    interOpNumThreads: 1,
  });
  const [[, shape]] = shapes as [[string, number[]]];
  const data = tensors.get('x')!;
  const x =
    trial.kind === 'minilm'
      ? new Tensor(
          'int64',
          BigInt64Array.from(data, (word) => BigInt(word)),
          shape,
        )
      : new Tensor('float32', data, shape);
  const output = (results: unknown): Float32Array => (results as Results)['y']!.data;
  const { state } = model;
  if (state === undefined) return { version, asynchronous: true, call: () => session.run({ x }), output };
  const count = state.reduce((product, size) => product * size, 1);
  const zeros = (): object => new Tensor('float32', new Float32Array(count), state);
  let [h, c]: [object, object] = [zeros(), zeros()];
  return {
    version,
    asynchronous: true,
    call: async () => {
      const results = await session.run({ x, h, c });
      [h, c] = [results['h1']!, results['c1']!];
      return results;
    },
    output,
  };
};
