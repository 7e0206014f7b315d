import { init } from '../src/nn/index.js';
import {
  bernoulli,
  defaultGenerator,
  fillNormal,
  fillUniform,
  Generator,
  manualSeed,
  rand,
  randint,
  randn,
  randperm,
} from '../src/random.js';
import { zeros, type Tensor } from '../src/tensor/index.js';
import { bytesOf, golden } from './support.js';

type Arguments = [number, number, number];

const draw: Record<string, (...args: Arguments) => Tensor> = {
  rand: (n) => rand(n),
  rand64: (n) => rand(n, { dtype: 'float64' }),
  randn: (n) => randn(n),
  randn64: (n) => randn(n, { dtype: 'float64' }),
  uniform: (n, a, b) => fillUniform(zeros(n), a, b),
  normal: (n, mean, std) => fillNormal(zeros(n), mean, std),
  randint: (n, low, high) => randint(low, high, [n]),
  randperm: (n) => randperm(n),
  bernoulli: (n, p) => bernoulli(p, [n]),
  kaiming_uniform_a_sqrt5: (m, n) => init.kaimingUniform_(zeros(m, n), { a: Math.sqrt(5) }),
  kaiming_uniform: (m, n) => init.kaimingUniform_(zeros(m, n), { nonlinearity: 'relu' }),
  xavier_uniform: (m, n) => init.xavierUniform_(zeros(m, n)),
};

describe('PyTorch draws the same bits', () => {
  const group = golden('rng');
  test.each(group.cases.map((c, i) => [i, c]))('golden rng %i', (_, c) => {
    manualSeed(c.seed);
    for (const { op, args, out } of c.ops) {
      const actual = draw[op]!(...(args as Arguments));
      const expected = group.tensor(out);
      expect(actual.dtype).toBe(expected.dtype);
      if (op === 'randn64') {
        // libm's log, sin and cos, not PyTorch's: one ulp of 1.
        const worst = Math.max(...Array.from(actual.sub(expected).abs().data, Number));
        expect(worst).toBeLessThanOrEqual(4.5e-16);
      } else {
        expect(bytesOf(actual)).toBe(bytesOf(expected));
      }
    }
  });
  test('all 79 cases are there', () => expect(group.cases).toHaveLength(79));
});

describe('Generator', () => {
  test('a generator of one’s own does not touch the global one', () => {
    manualSeed(1);
    const expected = bytesOf(rand(4));
    manualSeed(1);
    const own = new Generator().manualSeed(2);
    expect(bytesOf(rand(4, { generator: own }))).not.toBe(expected);
    expect(bytesOf(rand([4]))).toBe(expected);
  });
  test('a saved state continues, its cached normal included', () => {
    const generator = new Generator().manualSeed(5);
    randn(3, { generator });
    const state = generator.getState();
    const expected = bytesOf(randn(3, { generator }));
    expect(bytesOf(randn(3, { generator: new Generator().setState(state) }))).toBe(expected);
  });
  test('a forged state is refused or harmless', () => {
    expect(() => new Generator().setState(new Uint8Array(3))).toThrow(/2512 bytes, got 3/);
    expect(() => new Generator().setState('x' as never)).toThrow(/should be a Uint8Array/);
    expect(() => new Generator().setState(new Uint8Array(2512).fill(255))).toThrow(/what getState returned/);
    const words = new Uint32Array(628).fill(2 ** 32 - 1);
    words.fill(0, 624);
    const forged = new Generator().setState(new Uint8Array(words.buffer));
    const values = rand(2000, { generator: forged }).data as Float32Array;
    expect(values.every((x) => x >= 0 && x < 1)).toBe(true);
  });
  test('seeds', () => {
    expect(manualSeed(-1).initialSeed()).toBe(2n ** 64n - 1n);
    expect(manualSeed(7)).toBe(defaultGenerator);
    expect(() => manualSeed(1.5)).toThrow(TypeError);
    expect(() => manualSeed(2n ** 64n)).toThrow(RangeError);
    expect(() => manualSeed('1' as never)).toThrow(TypeError);
  });
});

describe('arguments', () => {
  test('both spellings of a shape', () => {
    expect(randn(2, 3).shape).toEqual([2, 3]);
    expect(randn([2, 3]).shape).toEqual([2, 3]);
    expect(rand().shape).toEqual([]);
    expect(randn(0).data).toHaveLength(0);
  });
  test.each<[string, () => unknown, RegExp]>([
    ['negative size', () => randn(-1), /shape should hold sizes/],
    ['fraction', () => rand(1.5), /shape should hold sizes/],
    ['integer dtype', () => randn(2, { dtype: 'int32' }), /float32 or float64/],
    ['unknown option', () => randn(2, { seed: 1 } as never), /unknown option 'seed'/],
    ['empty range', () => randint(3, 3, [2]), /less than 'to'/],
    ['no integer', () => randint(0.5, [2]), /safe integers/],
    ['no generator', () => randn(2, { generator: {} as never }), /should be a Generator/],
    ['negative permutation', () => randperm(-1), /size below 2\^32/],
    ['negative deviation', () => fillNormal(zeros(2), 0, -1), /std >= 0/],
    ['no probability', () => bernoulli(2, [1]), /\[0, 1\]/],
    ['integer tensor', () => fillUniform(zeros(2, { dtype: 'int32' }), 0, 1), /float32 or float64/],
  ])('%s', (_, f, message) => expect(f).toThrow(message));
  test('int32 on request', () => {
    expect(randint(10, [3], { dtype: 'int32' }).dtype).toBe('int32');
    expect(randperm(4, { dtype: 'int32' }).dtype).toBe('int32');
  });
});

test.each<[string, () => unknown, string, string]>([
  ['no tensor', () => init.uniform_(undefined as never), 'ERR_INVALID_ARG_TYPE', 'tensor should be a Tensor'],
  [
    'a bound',
    () => init.uniform_(zeros(1), Symbol('a') as never),
    'ERR_INVALID_ARG_TYPE',
    'a should be a number',
  ],
  [
    'mode',
    () => init.kaimingUniform_(zeros(2, 2), { mode: 1 as never }),
    'ERR_INVALID_ARG_TYPE',
    'Mode 1 not',
  ],
  [
    'short state',
    () => rand(1, { generator: { bytes: () => 5 } as never }),
    'ERR_INVALID_ARG_TYPE',
    'generator',
  ],
  ['memory', () => randn(2 ** 45), 'ERR_TOO_LARGE', 'cannot allocate 35184372088832 elements of float32'],
  [
    'dtype',
    () => randperm(3, { dtype: 'float32' }),
    'ERR_INVALID_ARG_VALUE',
    'dtype should be int64 or int32',
  ],
])('refused with a code: %s', (_, f, code, message) => {
  expect(f).toThrow(expect.objectContaining({ code, message: expect.stringContaining(message) }));
});
