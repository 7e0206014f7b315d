import { native } from '../src/native/addon.js';
import { callPooling } from '../src/native/call-pooling.js';
import * as nn from '../src/nn/index.js';
import { rand, randn } from '../src/random.js';
import { ones, tensor, zeros, type Tensor } from '../src/tensor/index.js';
import { getNumThreads, setNumThreads } from '../src/threads.js';
import { bytesOf, expectClose, golden, optionsOf, withIsa, type GoldenCase } from './support.js';

const group = golden('convolution');
const cases = group.cases.filter((c) => c.kind.includes('Pool'));
const F = nn.functional;

type Result = Tensor | [Tensor, Tensor];
function argumentsOf(c: GoldenCase): [number] {
  return [...c.args, ...(Object.keys(c.kwargs).length === 0 ? [] : [optionsOf(c.kwargs)])] as never;
}
/** The values and, if there are any, the indices. */
function parts(result: Result): Tensor[] {
  return Array.isArray(result) ? result : [result];
}
const finite = (t: Tensor): Tensor => tensor([...t.data].map((x) => (Number.isNaN(x) ? 1e9 : Number(x))));

test.each(cases.map((c, i) => [i, c.repr as string, c]))('equals PyTorch, case %i: %s', (_, repr, c) => {
  const module = new nn[c.kind as 'MaxPool1d'](...argumentsOf(c));
  const x = group.tensor(c.x);
  expect(String(module)).toBe(repr);
  const [values, indices] = parts(module.forward(x));
  const expected = group.tensor(c.y);
  expect(values!.shape).toEqual(expected.shape);
  expectClose(finite(values!), finite(expected));
  if (c.indices === null) expect(indices).toBeUndefined();
  else expect(indices!.toArray()).toEqual(group.tensor(c.indices).toArray());
  const name = (c.kind[0].toLowerCase() + c.kind.slice(1)) as 'maxPool1d';
  const results = native()
    .isas()
    .map((isa) => withIsa(isa, () => parts(F[name](x, ...argumentsOf(c)))));
  for (const result of results)
    expect(result.map(bytesOf)).toEqual([values!, ...(indices ? [indices] : [])].map(bytesOf));
});
test('there are golden cases of each kind', () => expect(new Set(cases.map((c) => c.kind)).size).toBe(7));

test('a maximum keeps the first of equal zeros, and NaN', () => {
  const of = (...values: number[]): unknown => F.maxPool1d(tensor([values]), 2).toArray();
  expect(of(0, -0, -0, 0)).toEqual([[0, -0]]);
  expect(of(NaN, 1, 1, NaN, -Infinity, -Infinity)).toEqual([[NaN, NaN, -Infinity]]);
});
test('gives the same bits with every number of threads', () => {
  const x = randn(64, 8, 333);
  const before = getNumThreads();
  const modules = [new nn.MaxPool1d(3, { stride: 2 }), new nn.AvgPool1d(4), new nn.AdaptiveAvgPool1d(7)];
  try {
    for (const module of modules) {
      const results = [1, 2, 5].map((threads) => {
        setNumThreads(threads);
        return bytesOf(module.forward(x));
      });
      expect(new Set(results).size).toBe(1);
    }
  } finally {
    setNumThreads(before);
  }
});
test('the mean of everything is that of a reduction, whose error hardly grows with the size', () => {
  const x = rand(2, 3, 400, 500);
  const mean = F.adaptiveAvgPool2d(x, 1);
  expect(mean.shape).toEqual([2, 3, 1, 1]);
  const exact = x.to('float64').mean([2, 3], true);
  expect(mean.to('float64').sub(exact).abs().max().item()).toBeLessThan(2 ** -22);
  expect(
    F.adaptiveAvgPool1d(x.reshape([6, 200000]), 1)
      .flatten()
      .toArray(),
  ).toEqual(mean.flatten().toArray());
  expect(F.adaptiveAvgPool2d(zeros(0, 3, 4, 5), 1).shape).toEqual([0, 3, 1, 1]);
});
test('a mean’s sum is within a rounding a value of the exact one', () => {
  const x = randn(1, 1, 4000);
  const [mean] = F.avgPool1d(x, 4000).data as unknown as number[];
  const sum = [...x.data].reduce<number>((a, b) => a + Number(b), 0);
  const magnitude = [...x.data].reduce<number>((a, b) => a + Math.abs(Number(b)), 0);
  expect(Math.abs(mean! - sum / 4000)).toBeLessThanOrEqual(((4001 * 2 ** -24) / 4000) * magnitude);
});

describe('a window that reaches far beyond the input', () => {
  test('takes memory for what is inside only', () => {
    const x = ones(1, 4, 4);
    const size = 2 ** 20;
    const options = { padding: size / 2, stride: size };
    expect(F.avgPool2d(x, size, options).toArray()).toEqual([[[16 / size ** 2]]]);
    expect(F.maxPool2d(x, size, options).toArray()).toEqual([[[1]]]);
  });
  /** Maxima of a plane of 2 x 2, by native code itself. */
  function maximum(...[kernel, dilation, padding]: number[]): Float32Array {
    const axis = [1, kernel!, 1, dilation!, padding!];
    const call = { planes: 1, rows: 2, columns: 2, count: 1 };
    const sizes = Float64Array.from([0, 0, ...axis, ...axis]);
    return callPooling(Float32Array.of(1, 2, 3, 4), { ...call, sizes }, null);
  }
  test('in native code too, where the product of its sizes overflows', () =>
    expect(maximum(2 ** 32, 1, 2 ** 31)).toEqual(Float32Array.of(4)));
  test('and native code refuses one that it could not count', () => {
    expect(() => maximum(2 ** 40 + 1, 2 ** 24, 0)).toThrow('kernel is out of range');
    expect(() => maximum(2 ** 32 + 1, 2 ** 32, 0)).toThrow('the kernel is too large');
  });
});

describe('what PyTorch refuses', () => {
  const x = zeros(2, 3, 10);
  test.each<[string, () => unknown, RegExp]>([
    [
      'padding beyond half of a window',
      () => new nn.MaxPool1d(4, { padding: 3 }),
      /^max_pool1d\(\) padding should be at most half of kernel size, but got padding=3 and kernel_size=4/,
    ],
    [
      'a kernel of nothing',
      () => new nn.MaxPool1d(0),
      /^max_pool1d\(\) kernel_size must be greater than zero/,
    ],
    [
      'no stride',
      () => new nn.AvgPool1d(2, { stride: 0 }),
      /^avg_pool1d\(\) stride must be greater than zero/,
    ],
    ['a divisor', () => new nn.AvgPool2d(2, { divisorOverride: 0 }), /^divisor must be not zero/],
    [
      'no integer',
      () => nn.functional.avgPool2d(zeros(1, 4, 4), 2, { divisorOverride: NaN }),
      /^divisorOverride should be an integer, got NaN/,
    ],
    ['a huge size', () => new nn.AdaptiveAvgPool2d([0, 1e15]), /^outputSize is too large: 1000000000000000/],
    [
      'windows beyond the input',
      () => new nn.MaxPool1d(11).forward(x),
      /Calculated output size: \(3x0\)\. Output size is too small/,
    ],
    [
      'a rank',
      () => new nn.MaxPool1d(2).forward(zeros(10)),
      /^max_pool1d: Expected 2D or 3D .* but got: \[10\]/,
    ],
    ['nothing in it', () => new nn.AdaptiveAvgPool1d(2).forward(zeros(2, 3, 0)), /but got: \[2, 3, 0\]/],
    ['a negative size', () => new nn.AdaptiveAvgPool1d(-1), /greater than or equal to 0 but received \{-1\}/],
    ['too many sizes', () => new nn.AdaptiveAvgPool1d([2, 3]), /should contain one int \(got 2\)/],
    ['integers', () => new nn.MaxPool1d(2).forward(x.to('int64')), /should be a float32 Tensor, got int64/],
    ['an option', () => new nn.AvgPool1d(2, { divisorOverride: 2 } as never), /unknown option/],
  ])('%s', (_, f, message) => expect(f).toThrow(message));
  test('nothing of an empty batch, and of no windows', () => {
    expect(F.maxPool1d(zeros(0, 3, 10), 2).shape).toEqual([0, 3, 5]);
    expect(F.adaptiveAvgPool1d(x, 0).shape).toEqual([2, 3, 0]);
  });
});
