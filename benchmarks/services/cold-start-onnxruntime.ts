// Loads no other file of the benchmarks, because their time would count.
import { createRequire } from 'node:module';

import type { OnnxRuntime } from '../contenders/onnxruntime.js';

async function main(): Promise<void> {
  const beside = createRequire(`${__dirname}/../../../benchmarks/package.json`);
  const { InferenceSession, Tensor } = beside('onnxruntime-node') as OnnxRuntime;
  const session = await InferenceSession.create(process.argv[2]!, {
    intraOpNumThreads: 1,
    interOpNumThreads: 1,
  });
  const zeros = new Tensor('float32', new Float32Array(512), [1, 1, 512]);
  const x = new Tensor('float32', new Float32Array(512).fill(0.5), [1, 1, 512]);
  const { Y } = await session.run({ x, h0: zeros, c0: zeros });
  if (!(Math.abs(Y!.data[0]!) < 1)) throw new Error('no answer');
  if (process.argv[3] === 'memory') process.stdout.write(String(process.memoryUsage.rss()));
}

void main();
