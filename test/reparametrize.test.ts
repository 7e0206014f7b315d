import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';

import * as nn from '../src/nn/index.js';
import { loadSync } from '../src/serialization/load.js';
import { modelFromStateDict } from '../src/serialization/model-from-state-dict.js';
import { ones, tensor, Tensor } from '../src/tensor/index.js';
import { bytesOf } from './support.js';

const { composeReparametrizations } = nn.utils;
const path = join(__dirname, 'fixtures', 'reparametrized');
const { norms, weights } = JSON.parse(readFileSync(`${path}.json`, 'utf8')) as {
  norms: { v: number[]; g: number[]; sha256: string }[];
  weights: Record<string, Record<string, number[]>>;
};
const states = loadSync<Map<string, nn.StateDict>>(`${path}.pt`);

/** As make_reparametrized.py makes them. */
function numbers(shape: number[], seed: number): Tensor {
  const data = new Float32Array(shape.reduce((a, b) => a * b, 1)).map((_, i) => {
    const mixed = Math.imul(i + seed, 2654435761) >>> 0;
    return (Math.imul(mixed ^ (mixed >>> 15), 2246822519) >>> 0) / 2 ** 31 - 1;
  });
  return new Tensor(data, shape);
}

describe.each([...states])('%s', (title, state) => {
  const expected = Object.entries(weights[title]!);

  test('is the weight of PyTorch’s module', () => {
    const whole = new nn.StateDict(state);
    const sentences = composeReparametrizations(whole);
    for (const [name, values] of expected) {
      const own = whole.get(name)!.data as Float32Array;
      // PyTorch sums sigma in the order of its BLAS.
      if (/spectral|two kinds/.test(title))
        own.forEach((value, i) => expect(Math.abs(value / values[i]! - 1)).toBeLessThan(2 ** -21));
      else expect([...own]).toEqual(values);
    }
    const [[first] = []] = expected;
    expect(sentences.join()).toContain(first!.startsWith('lstm') ? 'lstm.weight_hh_l0' : 'fc.weight');
    expect([...whole.keys()].filter((key) => /param|_[guv]$|orig|mask/.test(key))).toEqual([]);
  });
  test('is found by modelFromStateDict, which says so and leaves the state', () => {
    const keys = [...state.keys()];
    const { model, assumptions } = modelFromStateDict(state);
    const [[name, values] = []] = expected;
    const [module, parameter] = name!.split('.') as [string, string];
    expect(model.getSubmodule(module).constructor).toBe(module === 'lstm' ? nn.LSTM : nn.Linear);
    const own = model.stateDict().get(`${module}.${parameter}`)!;
    expect(own.numel).toBe(values!.length);
    expect(assumptions[0]).toMatch(/^composed from (prune|weight_norm|spectral_norm|parametrizations)/);
    expect([...state.keys()]).toEqual(keys);
  });
});

test.each(norms.map((each) => [`${each.v.join(' x ')} by ${each.g.join(' x ')}`, each] as const))(
  'weight_norm of %s has PyTorch’s bits',
  (_, { v, g, sha256 }) => {
    const state = new Map([
      ['weight_g', numbers(g, 7)],
      ['weight_v', numbers(v, 1)],
    ]);
    expect(composeReparametrizations(state)).toEqual(['composed from weight_norm: g * v / |v|: weight']);
    const { data } = state.get('weight')!;
    expect(createHash('sha256').update(new Uint8Array(data.buffer)).digest('hex').slice(0, 16)).toBe(sha256);
  },
);

describe('composeReparametrizations', () => {
  test('keeps the order, the metadata and all else', () => {
    const state = new nn.StateDict({
      'a.bias': ones(2),
      'fc.weight_orig': ones(2, 3),
      'fc.weight_mask': ones(2, 3),
      'z.weight': ones(1),
    });
    state.metadata.set('fc', { type: 'Linear' });
    expect(composeReparametrizations(state)).toEqual(['composed from prune: weight * mask: fc.weight']);
    expect([...state.keys()]).toEqual(['a.bias', 'fc.weight', 'z.weight']);
    expect(state.metadata.get('fc')).toEqual({ type: 'Linear' });
    expect(composeReparametrizations(state)).toEqual([]);
  });
  test('widens other floating dtypes', () => {
    const half = new Tensor(Uint16Array.of(0x3c00, 0x4200, 0x4000), [1, 3], { dtype: 'float16' });
    const composed = (weight_v: Tensor): string => {
      const state = new Map(Object.entries({ weight_g: ones(1, 1), weight_v }));
      composeReparametrizations(state);
      return bytesOf(state.get('weight')!);
    };
    expect(composed(half)).toBe(composed(tensor([[1, 3, 2]])));
  });
  test('names many modules once, and not all', () => {
    const state = new Map<string, Tensor>();
    for (let i = 0; i < 20; i++) {
      state.set(`${i}.weight_g`, ones(2, 1));
      state.set(`${i}.weight_v`, ones(2, 3));
    }
    const [sentence, ...others] = composeReparametrizations(state);
    expect(others).toEqual([]);
    expect(sentence).toMatch(/: 0\.weight, 1\.weight, .* and 8 more$/);
  });
  test.each<[string, Record<string, Tensor>]>([
    ['a lone part', { weight_g: ones(2, 1) }],
    ['a g of another size', { weight_g: ones(3, 1), weight_v: ones(2, 3) }],
    ['a g of two dimensions', { weight_g: ones(2, 3), weight_v: ones(2, 3) }],
    ['names of something else', { w_g: ones(2, 1), w_v: ones(2, 3) }],
    ['a mask of another shape', { weight_orig: ones(2, 3), weight_mask: ones(3, 2) }],
    ['a weight that is there', { weight: ones(2), weight_orig: ones(2), weight_mask: ones(2) }],
    ['an u of another size', { weight_orig: ones(2, 3), weight_u: ones(4), weight_v: ones(3) }],
    ['no elements', { weight_g: ones(0, 1), weight_v: ones(0, 3) }],
    ['a parametrization without tensors', { 'parametrizations.weight.original': ones(2, 2) }],
    [
      'an unknown parametrization',
      { 'parametrizations.weight.original': ones(2, 2), 'parametrizations.weight.0.base': ones(2, 2) },
    ],
    [
      'a step far away',
      {
        'parametrizations.weight.original': ones(2, 2),
        'parametrizations.weight.9007199254740993._u': ones(2),
        'parametrizations.weight.9007199254740993._v': ones(2),
      },
    ],
  ])('leaves %s alone', (_, parts) => {
    const state = new Map(Object.entries(parts));
    expect(composeReparametrizations(state)).toEqual([]);
    expect([...state]).toEqual(Object.entries(parts));
  });
});
