import { spawnSync } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';

import { quantization, saveSync } from 'dynaquant';

import { layerModel } from '../contenders/onnx-layer.js';
import { floatModule } from '../data.js';
import { median } from '../statistics.js';
import { scriptPath, type Service, type ServiceRow } from './service.js';

/** The first round fills the disk's cache, and is not counted. */
const leastRounds = 21;
const memoryRounds = 5;

/** From the start of a process to its end after one answer, over what a process that does nothing takes. */
export const coldStart: Service = {
  name: 'cold-start',
  title: 'From process to first INT8 answer of an LSTM of 512 in a file, over an empty Node process',
  measure(folder, rounds) {
    const files = writeModels(folder);
    const contenders = Object.keys(files) as (keyof typeof files)[];
    const run = (contender: keyof typeof files, ...more: string[]): { ms: number; out: string } => {
      const args = [scriptPath(`cold-start-${contender}`), files[contender], ...more];
      const start = performance.now();
      const { status, stdout, stderr } = spawnSync(process.execPath, args, { encoding: 'utf8' });
      const ms = performance.now() - start;
      if (status !== 0) throw new Error(stderr.split('\n').find((line) => /Error: /.test(line)) ?? stderr);
      return { ms, out: stdout };
    };
    const times = new Map<string, number[]>();
    const sizes = new Map<string, number[]>();
    const skips = new Map<string, string>();
    for (let round = 0; round <= Math.max(rounds, leastRounds) + memoryRounds; round++) {
      for (const contender of contenders.filter((each) => !skips.has(each))) {
        try {
          const isMemory = round <= memoryRounds;
          const { ms, out } = run(contender, ...(isMemory ? ['memory'] : []));
          const [all, value] = isMemory ? [sizes, Number(out) / 2 ** 20] : [times, ms];
          if (round > 0) all.set(contender, [...(all.get(contender) ?? []), value]);
        } catch (error) {
          skips.set(contender, (error as Error).message);
        }
      }
    }
    const over = (all: Map<string, number[]>, contender: string, of: (values: number[]) => number): number =>
      of(all.get(contender)!) - of(all.get('empty')!);
    return contenders.slice(1).map((contender): ServiceRow => {
      const skip = skips.get(contender);
      if (skip !== undefined) return { contender, skip };
      return {
        contender,
        figures: {
          'median ms': over(times, contender, median),
          'least ms': over(times, contender, (values) => Math.min(...values)),
          MB: over(sizes, contender, median),
          'ms of the empty process': median(times.get('empty')!),
        },
      };
    });
  },
};

/** The same layer for each engine. */
function writeModels(folder: string): Record<'empty' | 'dynaquant' | 'onnxruntime', string> {
  const size = { kind: 'lstm', input: 512, output: 512 } as const;
  const float = floatModule({ ...size, batch: 1, steps: 1, weights: 'trained', threads: 1 });
  const ours = join(folder, 'lstm.safetensors');
  saveSync(quantization.quantizeDynamic(float.eval()).stateDict(), ours);
  const state = float.stateDict();
  const get = (name: string): Float32Array => state.get(name)!.data as Float32Array;
  const theirs = join(folder, 'lstm.onnx');
  writeFileSync(theirs, layerModel({ ...size, type: 'int8', get }).model);
  return { empty: '', dynaquant: ours, onnxruntime: theirs };
}
