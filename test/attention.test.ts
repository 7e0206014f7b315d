import { native } from '../src/native/addon.js';
import * as nn from '../src/nn/index.js';
import { manualSeed, randn } from '../src/random.js';
import { getNumThreads, setNumThreads } from '../src/threads.js';
import { full, ones, type Tensor, tensor, zeros } from '../src/tensor/index.js';
import { bytesOf, expectClose, golden, withIsa } from './support.js';

const attention = golden('attention');
const { scaledDotProductAttention } = nn.functional;
const cases = attention.cases.filter((c) => c.kind === 'attention');

/** The same by its equation, in double. */
function byEquation(q: Tensor, k: Tensor, v: Tensor, seen: (i: number, j: number) => number): Tensor {
  const scores = q.to('float64').matmul(k.to('float64').transpose(-2, -1));
  const scale = 1 / Math.sqrt(q.size(-1));
  const [queries, keys] = [q.size(-2), k.size(-2)];
  scores.data.forEach((_, at) => {
    const mask = seen(Math.floor(at / keys) % queries, at % keys);
    scores.data[at] = Math.fround((scores.data[at] as number) * scale + mask);
  });
  return scores.softmax(-1).matmul(v.to('float64')).float();
}

describe('scaledDotProductAttention', () => {
  test.each(cases.map((c, i) => [i, c]))('equals PyTorch, case %i', (_, c) => {
    const [q, k, v] = [c.q, c.k, c.v].map((name: string) => attention.tensor(name)) as [
      Tensor,
      Tensor,
      Tensor,
    ];
    const given = c.mask && attention.tensor(c.mask);
    const attnMask = given && (c.bool ? given.to('bool') : given);
    const out = scaledDotProductAttention(q, k, v, { ...c.options, attnMask });
    expectClose(out, attention.tensor(c.out));
    const mask = attnMask && (c.bool ? attnMask : attnMask.to('float64'));
    const [x, y, z] = [q, k, v].map((t) => t.to('float64')) as [Tensor, Tensor, Tensor];
    const double = scaledDotProductAttention(x, y, z, { ...c.options, attnMask: mask });
    expect(double.dtype).toBe('float64');
    expectClose(double.float(), attention.tensor(c.out));
  });
  test('14 cases', () => expect(cases).toHaveLength(14));

  test.each([
    [1, 1],
    [1, 300],
    [2, 40],
    [33, 1],
    [40, 130],
    [300, 300],
    [130, 1100],
  ])('of %i queries and %i keys equals the equation', (queries, keys) => {
    const [q, k, v] = [randn(2, queries, 20), randn(2, keys, 20), randn(2, keys, 70)];
    expectClose(
      scaledDotProductAttention(q, k, v),
      byEquation(q, k, v, () => 0),
    );
    const causal = scaledDotProductAttention(q, k, v, { isCausal: true });
    expectClose(
      causal,
      byEquation(q, k, v, (i, j) => (j > i ? -Infinity : 0)),
    );
  });
  test('the same bits on every instruction set and for any number of threads', () => {
    const threads = getNumThreads();
    const [q, k, v] = [randn(3, 270, 33), randn(3, 150, 33), randn(3, 150, 20)];
    const attnMask = randn(270, 150);
    const results = native()
      .isas()
      .flatMap((isa) =>
        [1, 2, 5].map((count) => {
          setNumThreads(count);
          return withIsa(isa, () =>
            [{}, { isCausal: true }, { attnMask }].map((o) => bytesOf(scaledDotProductAttention(q, k, v, o))),
          );
        }),
      );
    setNumThreads(threads);
    for (const result of results) expect(result).toEqual(results[0]);
  });
  test('large scores do not overflow, and -infinity is a weight of 0', () => {
    const q = full([1, 4], 1e18);
    const k = tensor([
      [1e18, 0, 0, 0],
      [-1e18, 0, 0, 0],
      [0, 0, 0, 0],
    ]);
    const v = tensor([[1], [2], [3]]);
    expect(scaledDotProductAttention(q, k, v).toArray()).toEqual([[1]]);
    const attnMask = tensor([[-Infinity, 0, 0]]);
    expect(scaledDotProductAttention(q, k, v, { attnMask }).toArray()).toEqual([[3]]);
  });
  test('a query that sees nothing gives zeros, one with a NaN NaN', () => {
    const [q, k, v] = [randn(3, 4), randn(20, 4), randn(20, 5)];
    q.data[5] = NaN;
    const attnMask = ones(3, 20).to('bool');
    for (let i = 0; i < 20; i++) attnMask.data[i] = 0;
    const out = scaledDotProductAttention(q, k, v, { attnMask });
    expect(out.select(0, 0).toArray()).toEqual([0, 0, 0, 0, 0]);
    expect(out.select(0, 1).toArray()).toEqual([NaN, NaN, NaN, NaN, NaN]);
    expect(out.select(0, 2).abs().min().item()).toBeGreaterThan(0);
    expect(scaledDotProductAttention(q, zeros(0, 4), zeros(0, 5)).toArray()).toEqual(zeros(3, 5).toArray());
    expect(scaledDotProductAttention(zeros(2, 0), zeros(3, 0), ones(3, 1)).toArray()).toEqual([[1], [1]]);
    expect(scaledDotProductAttention(zeros(4, 0, 8), ones(4, 3, 8), ones(4, 3, 2)).shape).toEqual([4, 0, 2]);
  });
  test('dropout zeroes weights, with the generator of the library', () => {
    const [q, k] = [randn(2, 5, 4), randn(2, 6, 4)];
    const each = zeros(2, 6, 6);
    for (let i = 0; i < 12; i++) each.data[6 * i + (i % 6)] = 1; // so that the result is the weights
    manualSeed(3);
    const dropped = scaledDotProductAttention(q, k, each, { dropoutP: 0.5 });
    const kept = scaledDotProductAttention(q, k, each);
    const ratio = [...dropped.data].map((x, i) => (x as number) / (kept.data[i] as number));
    expect(ratio.every((r) => r === 0 || Math.abs(r - 2) < 1e-5)).toBe(true);
    expect(ratio.filter((r) => r === 0).length).toBeGreaterThan(10);
    expect(ratio.filter((r) => r !== 0).length).toBeGreaterThan(10);
  });

  const x = ones(1, 1, 3, 4);
  test.each<[string, () => unknown, RegExp]>([
    [
      'a vector',
      () => scaledDotProductAttention(ones(3), x, x),
      /at least 2 dimensional, but got query.dim: 1/,
    ],
    ['other features', () => scaledDotProductAttention(x, ones(3, 5), x), /query and key .* last dimension/],
    ['fewer values', () => scaledDotProductAttention(x, x, ones(2, 4)), /key and value .* second last/],
    [
      'dtypes',
      () => scaledDotProductAttention(x, x, x.to('float64')),
      /query.dtype: float32 key.dtype: float32 and value.dtype: float64/,
    ],
    [
      'integers',
      () => scaledDotProductAttention(x.to('int64'), x.to('int64'), x.to('int64')),
      /float32 or float64/,
    ],
    ['batches', () => scaledDotProductAttention(ones(2, 3, 4), ones(3, 3, 4), ones(3, 3, 4)), /must match/],
    [
      'two masks',
      () => scaledDotProductAttention(x, x, x, { attnMask: ones(3, 3), isCausal: true }),
      /should not be set when is_causal/,
    ],
    [
      'a mask of integers',
      () => scaledDotProductAttention(x, x, x, { attnMask: ones(3, 3).to('int64') }),
      /attn_mask.dtype: int64/,
    ],
    [
      'a mask of another shape',
      () => scaledDotProductAttention(x, x, x, { attnMask: ones(2, 2) }),
      /must match/,
    ],
    [
      'a mask of a larger batch',
      () => scaledDotProductAttention(x, x, x, { attnMask: ones(5, 1, 3, 3) }),
      /doesn't match the broadcast shape/,
    ],
    [
      'heads',
      () => scaledDotProductAttention(ones(4, 3, 8), ones(3, 3, 8), ones(3, 3, 8), { enableGqa: true }),
      /must divide/,
    ],
    [
      'a probability',
      () => scaledDotProductAttention(x, x, x, { dropoutP: 1.5 }),
      /between 0 and 1, but got 1.5/,
    ],
    ['an option', () => scaledDotProductAttention(x, x, x, { mask: x } as never), /unknown option|mask/],
    ['no tensor', () => scaledDotProductAttention(x, x, 1 as never), /value should be a Tensor/],
    [
      'a scale',
      () => scaledDotProductAttention(x, x, x, { scale: '1' as never }),
      /scale should be a number/,
    ],
  ])('refuses %s', (_, f, message) => expect(f).toThrow(message));
});
