// The weights and inputs of a trial, the same for every contender.
import { dirname, join } from 'node:path';

import { loadSync, manualSeed, nn, quantization, rand, randn, Tensor } from 'dynaquant';

import { gates, trialFacets, type Trial } from './trials.js';

/** The module's parameters by PyTorch's names, then `x`, the state `h0` (and `c0`), and the float result `y`. */
export type TrialTensors = ReadonlyMap<string, Tensor>;

type Layer = nn.LSTM | nn.GRU | nn.Linear;

let last: { key: string; module: Layer } | undefined;

/** The float module of a trial. The last one is kept: neighbours in the grid share it. */
export function floatModule(trial: Trial): Layer {
  const { kind, input, output, weights } = trial;
  const key = `${kind} ${trialFacets(trial)['size']} ${weights}`;
  if (last?.key === key) return last.module;
  manualSeed(0);
  const module: Layer = new { lstm: nn.LSTM, gru: nn.GRU, linear: nn.Linear }[kind](input, output);
  if (weights === 'trained') {
    const state = module.stateDict();
    const trained = kind === 'lstm' && output === 256 ? characterModel() : undefined;
    for (const [name, value] of state) {
      if (trained !== undefined) state.set(name, trained(name));
      else if (name.startsWith('weight')) state.set(name, laplace(value.shape, 1.9 / Math.sqrt(input)));
    }
    module.loadStateDict(state);
  }
  last = { key, module };
  return module;
}

/** A trained LSTM's parameters at H = 256. Its W_hh also serves as W_ih, because its own W_ih has another input size. */
function characterModel(): (name: string) => Tensor {
  const root = dirname(require.resolve('dynaquant/package.json'));
  const state = loadSync(join(root, 'examples', 'char-lm', 'char-lm.safetensors'));
  return (name) => state.get(`lstm.${name.replace('weight_ih', 'weight_hh')}`)!;
}

/**
 * Weights that look like trained ones: most are small, a few are large. They are Laplace distributed, clipped at 12
 * times the mean magnitude, which is the character model's ratio.
 */
function laplace(shape: readonly number[], mean: number): Tensor {
  const values = rand(shape).data as Float32Array;
  for (let i = 0; i < values.length; i++) {
    const u = 2 * values[i]! - 1;
    values[i] = Math.sign(u) * mean * Math.min(12, -Math.log(1 - Math.abs(u)));
  }
  return new Tensor(values, shape);
}

export function makeTensors(trial: Trial): TrialTensors {
  const { kind, input, output, batch, steps } = trial;
  const module = floatModule(trial);
  const tensors = new Map(module.stateDict());
  manualSeed(1);
  if (kind === 'linear') {
    const x = randn(batch, input);
    return tensors.set('x', x).set('y', module.forward(x) as Tensor);
  }
  const x = randn(steps, batch, input);
  const h0 = rand(1, batch, output).mul(2).sub(1);
  tensors.set('x', x).set('h0', h0);
  if (kind === 'gru') return tensors.set('y', (module as nn.GRU).forward(x, h0)[0]);
  const c0 = randn(1, batch, output);
  return tensors.set('c0', c0).set('y', (module as nn.LSTM).forward(x, [h0, c0])[0]);
}

/**
 * The mean number of depth quads whose products plain AVX2 may add up in int16, over the panels of the
 * (recurrent) weight. The longer these chains are, the faster plain AVX2 is. A lane of a quad takes two products of
 * activations up to 128. So within a chain, the positive weights of each lane of each column may sum to 255 and
 * the negative ones to -256.
 */
export function meanChainLength(trial: Trial): number {
  const { kind, input, output } = trial;
  const quantized = quantization.quantizeDynamic(floatModule(trial)).stateDict();
  const weight = quantized.get(kind === 'linear' ? 'weight' : 'weight_hh_l0')!.data as Int8Array;
  const depth = kind === 'linear' ? input : output;
  let quads = 0;
  let chains = 0;
  // A panel is 16 rows of one gate. The panels of a large matrix are alike, so a few hundred are enough.
  for (let gate = 0; gate < gates[kind]; gate++) {
    for (let first = 0; first < Math.min(output, 1024); first += 16) {
      const start = gate * output + first;
      const end = Math.min(start + 16, (gate + 1) * output);
      quads += Math.ceil(depth / 4);
      chains += chainsOf(weight, depth, start, end);
    }
  }
  return quads / chains;
}

/** The chains of these rows' panel. A chain ends where the next quad would break the rule in a lane. */
function chainsOf(weight: Int8Array, depth: number, start: number, end: number): number {
  const lanes = 2 * (end - start);
  const positive = new Int32Array(lanes);
  const negative = new Int32Array(lanes);
  let chains = 1;
  for (let quad = 0; quad < depth; quad += 4) {
    const add = (): boolean => {
      let fits = true;
      for (let lane = 0; lane < lanes; lane++) {
        for (let k = quad + 2 * (lane % 2); k < Math.min(quad + 2 * (lane % 2) + 2, depth); k++) {
          const w = weight[(start + (lane >> 1)) * depth + k]!;
          if (w > 0) positive[lane]! += w;
          else negative[lane]! -= w;
        }
        fits &&= positive[lane]! <= 255 && negative[lane]! <= 256;
      }
      return fits;
    };
    if (!add()) {
      chains++;
      positive.fill(0);
      negative.fill(0);
      add();
    }
  }
  return chains;
}
