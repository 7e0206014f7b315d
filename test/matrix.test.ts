import { native } from '../src/native/addon.js';
import * as nn from '../src/nn/index.js';
import { rand, randn } from '../src/random.js';
import { getNumThreads, setNumThreads } from '../src/threads.js';
import { ones, type Tensor, tensor, zeros, type DType } from '../src/tensor/index.js';
import { bytesOf, expectClose, golden, withIsa } from './support.js';

const attention = golden('attention');
const { linear } = nn.functional;
const products = attention.cases.filter((c) => c.kind === 'matmul');
const linears = attention.cases.filter((c) => c.kind === 'linear');

describe('matmul', () => {
  test.each(products.map((c, i) => [i, c]))('equals PyTorch, case %i', (_, c) => {
    const [a, b] = [attention.tensor(c.a), attention.tensor(c.b)];
    const out = a.matmul(b);
    // The fixtures have no scalars.
    expectClose(out.dim() === 0 ? out.reshape([1]) : out, attention.tensor(c.out));
    if (a.dim() === 3 && b.dim() === 3 && a.size(0) === b.size(0))
      expect(bytesOf(a.bmm(b))).toBe(bytesOf(a.matmul(b)));
    if (a.dim() === 2 && b.dim() === 2) expect(bytesOf(a.mm(b))).toBe(bytesOf(a.matmul(b)));
    if (a.dim() === 2 && b.dim() === 1) expect(bytesOf(a.mv(b))).toBe(bytesOf(a.matmul(b)));
    if (a.dim() === 1 && b.dim() === 1) expect(bytesOf(a.dot(b))).toBe(bytesOf(a.matmul(b)));
  });
  test('13 cases', () => expect(products).toHaveLength(13));

  const sizes = [1, 2, 3, 15, 16, 17, 65, 130];
  test('the bits do not depend on how many rows or columns share a call, nor on the instruction set', () => {
    const [a, b] = [randn(130, 130), randn(130, 130)];
    const whole = a.matmul(b);
    for (const isa of native().isas()) {
      for (const rows of sizes) {
        for (const columns of sizes) {
          const part = withIsa(isa, () => a.slice(0, 0, rows).matmul(b.slice(1, 0, columns)));
          expect(bytesOf(part)).toBe(bytesOf(whole.slice(0, 0, rows).slice(1, 0, columns)));
        }
      }
    }
  });
  test('nor on the number of threads', () => {
    const threads = getNumThreads();
    const [a, b] = [randn(3, 300, 70), randn(70, 200)];
    const [x, y] = [randn(2, 5, 90, 33), randn(5, 33, 90)];
    const results = [1, 2, 7].map((count) => {
      setNumThreads(count);
      return [a.matmul(b), x.matmul(y), a.matmul(b.select(1, 3))].map(bytesOf);
    });
    setNumThreads(threads);
    expect(results[1]).toEqual(results[0]);
    expect(results[2]).toEqual(results[0]);
  });
  test('each element is a chain of fused multiply-adds, whose error is bounded by that of a sum', () => {
    const [a, b] = [randn(20, 500), randn(500, 40)];
    const exact = a.to('float64').matmul(b.to('float64'));
    const bound = a
      .abs()
      .to('float64')
      .matmul(b.abs().to('float64'))
      .mul(500 * 2 ** -24);
    const error = a.matmul(b).to('float64').sub(exact).abs();
    expect(error.sub(bound).max().item()).toBeLessThan(0);
    // One rounding at a time: the product of these would round to 1 before 1 is subtracted.
    const near = 1 + 2 ** -13;
    expect(
      tensor([[-1, near]])
        .matmul(tensor([1, 2 - near]))
        .item(),
    ).toBe(-(2 ** -26));
  });
  test('two vectors are multiplied and then reduced, so that the error hardly grows with their length', () => {
    const [a, b] = [rand(1_000_000), rand(1_000_000)];
    const dot = a.dot(b);
    expect(bytesOf(dot)).toBe(bytesOf(a.mul(b).sum()));
    const exact = a.to('float64').dot(b.to('float64')).item() as number;
    expect(Math.abs((dot.item() as number) / exact - 1)).toBeLessThan(2 ** -21);
    expect(bytesOf(a.matmul(b))).toBe(bytesOf(dot));
    expect(zeros(0).dot(zeros(0)).item()).toBe(0);
  });
  test('NaN and infinity stay in their rows and columns', () => {
    const a = zeros(20, 20);
    for (let i = 0; i < 20; i++) a.data[21 * i] = 1;
    a.data[3 * 20 + 5] = NaN;
    a.data[7 * 20 + 2] = Infinity;
    const out = a.matmul(ones(20, 30));
    for (let row = 0; row < 20; row++) {
      const expected = row === 3 ? NaN : row === 7 ? Infinity : 1;
      expect(out.select(0, row).toArray()).toEqual(Array.from({ length: 30 }, () => expected));
    }
  });
  test.each<[DType, number]>([
    ['float64', 0.1],
    ['int32', 2 ** 20],
    ['int64', 2 ** 40],
    ['uint8', 200],
    ['int8', -100],
    ['int16', 300],
  ])('of %s', (dtype, value) => {
    const a = zeros(2, 3, { dtype }).fill_(value);
    const out = a.matmul(a.t());
    expect(out.dtype).toBe(dtype);
    const exact = 3n * BigInt(Math.trunc(value)) ** 2n;
    const bits = { int32: 32, int64: 64, int8: 8, int16: 16 }[dtype as 'int8'];
    const wrapped = dtype === 'uint8' ? BigInt.asUintN(8, exact) : BigInt.asIntN(bits ?? 64, exact);
    const expected = dtype === 'float64' ? 0.1 * 0.1 + 0.1 * 0.1 + 0.1 * 0.1 : Number(wrapped);
    expect(out.toArray()).toEqual([
      [expected, expected],
      [expected, expected],
    ]);
  });
  test('batches of other dtypes broadcast too', () => {
    const [a, b] = [rand(3, 1, 2, 4), rand(5, 4, 3)];
    expectClose(a.to('float64').matmul(b.to('float64')).float(), a.matmul(b));
  });

  test.each<[string, () => unknown, RegExp]>([
    ['a scalar', () => tensor(1).matmul(ones(2)), /at least 1D, but they are 0D and 1D/],
    ['matrices', () => ones(2, 3).matmul(ones(4, 5)), /cannot be multiplied \(2x3 and 4x5\)/],
    ['vectors', () => ones(3).matmul(ones(4)), /expected tensor \[3\] and src \[4\]/],
    ['a vector', () => ones(2, 3).matmul(ones(4)), /got input \(2\), mat \(2x3\), vec \(4\)/],
    ['a row', () => ones(3).matmul(ones(2, 4)), /cannot be multiplied \(1x3 and 2x4\)/],
    ['batches', () => ones(2, 3, 4).matmul(ones(3, 4, 5)), /must match the size of tensor b \(3\)/],
    ['depths', () => ones(2, 3, 4).matmul(ones(2, 3, 5)), /to be: \[2, 4\] but got: \[2, 3\]/],
    ['mm', () => ones(2).mm(ones(2, 2)), /mm: self must be a matrix, got 1-D tensor/],
    ['mm', () => ones(2, 2).mm(ones(2)), /mm: mat2 must be a matrix, got 1-D tensor/],
    ['bmm', () => ones(2, 2).bmm(ones(2, 2, 2)), /batch1 must be a 3D tensor/],
    ['bmm', () => ones(2, 3, 4).bmm(ones(3, 4, 4)), /to be: \[2, 4\] but got: \[3, 4\]/],
    ['mv', () => ones(2).mv(ones(2)), /matrix @ vector expected, got 1, 1/],
    ['dot', () => ones(2, 2).dot(ones(2)), /1D tensors expected, but got 2D and 1D/],
    ['dtypes', () => ones(2, 2).matmul(ones(2, 2).to('float64')), /same dtype, but got: float32 and float64/],
    ['bool', () => ones(2).to('bool').matmul(ones(2).to('bool')), /not supported on a bool tensor/],
    ['no tensor', () => ones(2).matmul([1, 2] as never), /other should be a Tensor/],
    ['too large', () => zeros(2 ** 20, 0).matmul(zeros(0, 2 ** 34)), /cannot allocate|too large/],
  ])('refuses %s', (_, f, message) => expect(f).toThrow(message));
});

describe('linear', () => {
  test.each(linears.map((c, i) => [i, c]))('equals PyTorch, case %i', (_, c) => {
    const [x, w, b] = [c.x, c.w, c.b].map((name: string) => attention.tensor(name)) as [
      Tensor,
      Tensor,
      Tensor,
    ];
    expectClose(linear(x, w, b), attention.tensor(c.out));
    expectClose(linear(x, w), attention.tensor(c.plain));
    expectClose(linear(x.to('float64'), w.to('float64'), b.to('float64')).float(), attention.tensor(c.out));
    const layer = new nn.Linear(w.size(1), w.size(0));
    layer.weight.copy_(w);
    layer.bias!.copy_(b);
    expect(bytesOf(linear(x, w, b))).toBe(bytesOf(layer.forward(x)));
  });
  test('three cases', () => expect(linears).toHaveLength(3));
  test('a weight of one row', () => {
    expect(linear(ones(2, 3), ones(3)).toArray()).toEqual([3, 3]);
    expect(linear(ones(3), ones(3), tensor(1)).item()).toBe(4);
  });
  test('of nothing, the bias is left', () => {
    expect(linear(ones(2, 0), ones(3, 0), tensor([1, 2, 3])).toArray()).toEqual([
      [1, 2, 3],
      [1, 2, 3],
    ]);
    expect(linear(ones(0, 2), ones(3, 2)).shape).toEqual([0, 3]);
  });
  test.each<[string, () => unknown, RegExp]>([
    ['shapes', () => linear(ones(2, 3), ones(4, 5)), /cannot be multiplied \(2x3 and 5x4\)/],
    ['a bias', () => linear(ones(2, 3), ones(4, 3), ones(5)), /bias should have the shape \[4\], got \[5\]/],
    ['a weight', () => linear(ones(2, 3), ones(1, 4, 3)), /weight should have 1 or 2 dimensions/],
    ['a scalar', () => linear(tensor(1), ones(4, 3)), /cannot be multiplied/],
    ['dtypes', () => linear(ones(2, 3), ones(4, 3).to('float64')), /same dtype/],
    ['a bias of another dtype', () => linear(ones(3), ones(4, 3), ones(4).to('int64')), /same dtype/],
  ])('refuses %s', (_, f, message) => expect(f).toThrow(message));
});
