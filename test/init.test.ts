import * as nn from '../src/nn/index.js';
import { manualSeed, rand } from '../src/random.js';
import { zeros } from '../src/tensor/index.js';
import { bytesOf, golden } from './support.js';

const group = golden('init');
// The recurrent modules and cells have them in their own tests.
const here = group.cases.filter((c) => ['Linear', 'Embedding'].includes(c.cls));

describe('initial weights are PyTorch’s, bit for bit', () => {
  test.each(here.map((c) => [`${c.repr} seed ${c.seed}`, c]))('%s', (_, c) => {
    manualSeed(c.seed);
    const [a, b] = c.args;
    const { bias, padding_idx: paddingIdx } = c.kwargs;
    const module =
      c.cls === 'Linear'
        ? new nn.Linear(a, b, bias === undefined ? {} : { bias })
        : new nn.Embedding(a, b, { paddingIdx });
    expect(String(module)).toBe(c.repr);
    const state = module.stateDict();
    expect([...state.keys()]).toEqual(Object.keys(c.state));
    for (const [key, name] of Object.entries(c.state)) {
      expect(bytesOf(state.get(key)!)).toBe(bytesOf(group.tensor(name as string)));
    }
    expect(bytesOf(rand(3))).toBe(bytesOf(group.tensor(c.next_rand)));
  });
  test('12 cases', () => expect(here).toHaveLength(12));
});

describe('initialisers', () => {
  test('each counts as a write', () => {
    const t = zeros(4, 4);
    nn.init.uniform_(t);
    nn.init.normal_(t);
    nn.init.xavierNormal_(t);
    nn.init.kaimingNormal_(t, { mode: 'fan_out' });
    nn.init.constant_(t, 3);
    expect(t.version).toBe(5);
    expect(nn.init.ones_(t).toArray()).toEqual(Array(4).fill([1, 1, 1, 1]));
    expect(nn.init.zeros_(t).sum().item()).toBe(0);
  });
  test('gains', () => {
    expect(nn.init.calculateGain('tanh')).toBe(5 / 3);
    expect(nn.init.calculateGain('leaky_relu', 1)).toBe(1);
    expect(() => nn.init.calculateGain('gelu' as never)).toThrow(/Unsupported nonlinearity/);
  });
  test('what has no fans', () => {
    expect(() => nn.init.xavierUniform_(zeros(3))).toThrow(/fewer than 2 dimensions/);
    expect(() => nn.init.kaimingUniform_(zeros(2, 2), { mode: 'x' as never })).toThrow(/not supported/);
    expect(() => nn.init.uniform_(zeros(2), 1, 0)).toThrow(/from=1 > to=0/);
  });
});
