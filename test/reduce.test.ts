import { randint, randn, Tensor, zeros } from '../src/index.js';
import { argument, decoded, expectSame, reductions } from './reductions.js';

const { tensors, methods } = reductions;

test.each(
  methods.map((c) => [`${c.tensor}.${c.method}(${JSON.stringify(c.args).slice(1, -1)})`, c] as const),
)('%s is what it is in PyTorch', (_, { tensor, method, args, results }) => {
  const x = decoded(tensors[tensor]!);
  const f = (x as unknown as Record<string, (...args: unknown[]) => Tensor | Record<string, Tensor>>)[
    method
  ]!;
  const found = f.apply(x, args.map(argument));
  const all = found instanceof Tensor ? [found] : [found['values']!, found['indices']!];
  expect(all).toHaveLength(results.length);
  results.forEach((result, i) => expectSame(all[i]!, decoded(result)));
});

describe('order', () => {
  const special = [NaN, 0, -0, Infinity, -Infinity, 1, 1];
  const column = (x: Tensor, i: number): number[] => [...x.select(1, i).float().data] as number[];

  test.each([false, true])(
    'of many numbers, with equal ones in the order they had, descending: %s',
    (descending) => {
      const floats = randn(500, 2);
      for (let i = 0; i < floats.numel; i += 7) floats.data[i] = special[(i / 7) % 7]!;
      for (const x of [floats, floats.to('float64'), randint(-9, 9, [500, 2])]) {
        const { values, indices } = x.sort(0, { descending });
        for (const i of [0, 1]) {
          const pairs = column(x, i).map((value, index) => ({ value, index }));
          const rank = (value: number): number => (Number.isNaN(value) ? 2 : 1);
          const order = (a: number, b: number): number =>
            rank(a) - rank(b) || (a < b ? -1 : 0) || (a > b ? 1 : 0);
          pairs.sort(
            (a, b) => (descending ? order(b.value, a.value) : order(a.value, b.value)) || a.index - b.index,
          );
          expect(column(indices, i)).toEqual(pairs.map(({ index }) => index));
          expect(column(values, i)).toEqual(pairs.map(({ value }) => value));
        }
        for (const k of [3, 70, 400]) {
          const top = x.topk(k, 0, { largest: descending });
          expect(top.indices.equal(indices.slice(0, 0, k))).toBe(true);
        }
      }
    },
  );
});

test.each<[string, () => unknown, string, string]>([
  [
    'a dimension twice',
    () => zeros(2, 2).sum([0, -2]),
    'ERR_INVALID_ARG_VALUE',
    'dim 0 appears multiple times in the list of dims',
  ],
  [
    'a dimension too many',
    () => zeros(2, 2).mean(2),
    'ERR_OUT_OF_RANGE',
    'Dimension out of range (expected to be in range of [-2, 1], but got 2)',
  ],
  ['integers', () => randint(3, [2]).mean(), 'ERR_DTYPE', 'mean(): could not infer output dtype'],
  [
    'integers',
    () => randint(3, [2]).std(),
    'ERR_DTYPE',
    'std and var only support floating point and complex dtypes, got int64',
  ],
  [
    'integers',
    () => randint(3, [2]).norm(),
    'ERR_DTYPE',
    'linalg.vector_norm: Expected a floating point or complex tensor as input. Got int64',
  ],
  ['nothing', () => zeros(0).amax(), 'ERR_SHAPE', 'amax(): expected a tensor that is not empty'],
  [
    'nothing along a dimension',
    () => zeros(2, 0).max(1),
    'ERR_SHAPE',
    'max(): Expected reduction dim to have non-zero size',
  ],
  [
    'the largest of nothing',
    () => zeros(2, 0).norm(Infinity, 1),
    'ERR_SHAPE',
    'cannot compute the Infinity norm on an empty tensor',
  ],
  [
    'no order',
    () => zeros(2).norm('nuc' as never),
    'ERR_INVALID_ARG_TYPE',
    "norm(): p should be a number or 'fro', got 'nuc'",
  ],
  [
    'two tensors',
    () => zeros(2).max(zeros(2) as never),
    'ERR_INVALID_ARG_TYPE',
    'max(): of two tensors maximum() gives the maximum',
  ],
  ['too many', () => zeros(2).topk(3), 'ERR_OUT_OF_RANGE', 'topk(): selected index k out of range'],
  [
    'no dimension',
    () => zeros(2).logsumexp(undefined as never),
    'ERR_INVALID_ARG_TYPE',
    'logsumexp(): dim should be an integer',
  ],
  [
    'an unknown option',
    () => zeros(2).std(0, { unbiased: true } as never),
    'ERR_UNKNOWN_OPTION',
    "unknown option 'unbiased'",
  ],
  [
    'a half',
    () => new Tensor(new Uint16Array(2), [2], { dtype: 'float16' }).sum(0),
    'ERR_DTYPE',
    'sum is not defined for float16: float() first',
  ],
])('%s', (_, f, code, message) => {
  expect(f).toThrow(expect.objectContaining({ code, message: expect.stringContaining(message) }));
});
