import { nn } from '../src/index.js';
import { arange, ones, tensor, Tensor, zeros, type DType } from '../src/tensor/index.js';

// What PyTorch 2.15 gives in corners that random calls found.
const F = nn.functional;

test('any and all of no dimension are the truth of each element', () => {
  const x = tensor([[0, 2, NaN]]);
  expect(x.any([])).toMatchObject({ dtype: 'bool', shape: [1, 3], data: Uint8Array.of(0, 1, 1) });
  expect(x.all([], true)).toMatchObject({ dtype: 'bool', shape: [1, 3], data: Uint8Array.of(0, 1, 1) });
  expect(x.to('uint8').all([])).toMatchObject({ dtype: 'uint8', shape: [1, 3] });
  expect(x.all().shape).toEqual([]);
});

test('reductions of empty lines are what those of nothing are', () => {
  expect(zeros(2, 0, 3).all(1)).toMatchObject({ shape: [2, 3], data: new Uint8Array(6).fill(1) });
  expect(zeros(2, 0, 3).any(1)).toMatchObject({ shape: [2, 3], data: new Uint8Array(6) });
  expect(zeros(2, 0).prod(1).toArray()).toEqual([1, 1]);
  expect(zeros(2, 0).sum(1).toArray()).toEqual([0, 0]);
  expect(zeros(2, 0).mean(1).toArray()).toEqual([NaN, NaN]);
  expect(zeros(2, 0).logsumexp(1).toArray()).toEqual([-Infinity, -Infinity]);
});

test('a deviation whose square is no float32 is one', () => {
  const x = tensor([
    [1e30, 0],
    [1, 2],
    [1e30, Infinity],
  ]);
  expect(x.std(1).toArray()).toEqual([Math.fround(1e30 * Math.SQRT1_2), Math.fround(Math.SQRT1_2), NaN]);
  expect(x.var(1).toArray()).toEqual([Infinity, 0.5, NaN]);
});

test.each<[DType, number]>([
  ['float16', 0x3c00],
  ['bfloat16', 0x3f80],
])('%s is compared with a number in its own precision', (dtype, one) => {
  const x = new Tensor(Uint16Array.of(one), [1], { dtype });
  expect([x.eq(1), x.ne(1), x.lt(2), x.le(1), x.gt(0.5), x.ge(300)].map((y) => y.item())).toEqual([
    1, 0, 1, 1, 1, 0,
  ]);
  expect(x.lt(1e6).item()).toBe(1);
  const tenth = new Tensor(Uint16Array.of(dtype === 'float16' ? 0x2e66 : 0x3dcd), [1], { dtype });
  expect([tenth.eq(0.1).item(), tenth.ge(0.1).item()]).toEqual([1, 1]);
  expect([x.eq(NaN).item(), x.lt(Infinity).item(), x.gt(-Infinity).item()]).toEqual([0, 1, 1]);
  const floats = tensor([1, 1.001]);
  expect([x.eq(floats).toArray(), floats.gt(x).toArray(), x.le(x).item()]).toEqual([[1, 0], [0, 1], 1]);
  expect(() => x.logsumexp(0)).toThrow('logsumexp is not defined');
});

test('the nearest elements of an image of the same or of twice the size are repeated evenly', () => {
  const image = arange(16).reshape(1, 1, 4, 4).to('float32');
  const rows = (scaleFactor: number[]): number[] =>
    (F.interpolate(image, { scaleFactor }).select(3, 0).toArray() as number[][][])[0]![0]!.map((x) => x / 4);
  expect(rows([1.2, 1.2])).toEqual([0, 1, 2, 3]);
  expect(rows([2.2, 1.3])).toEqual([0, 0, 1, 1, 2, 2, 3, 3]);
  expect(rows([2.4, 1.9])).toEqual([0, 0, 0, 1, 1, 2, 2, 2, 3]);
  const row = F.interpolate(image.reshape(1, 4, 4), { scaleFactor: 1.2 }).select(1, 0);
  expect(row.toArray()).toEqual([[0, 0, 1, 2]]);
});

test('a convolution of nothing is refused, one of no batch is none', () => {
  const message = 'Only zero batch or zero channel inputs are supported';
  expect(() => F.convTranspose1d(zeros(1, 2, 0), zeros(2, 2, 4), ones(2))).toThrow(message);
  expect(() => new nn.ConvTranspose1d(2, 2, 6).forward(zeros(3, 2, 0))).toThrow(message);
  expect(() => F.conv1d(zeros(1, 2, 0), zeros(2, 2, 4), null, { padding: 4 })).toThrow(message);
  expect(F.convTranspose1d(zeros(0, 2, 3), zeros(2, 2, 4), ones(2)).shape).toEqual([0, 2, 6]);
});

test('a table whose rows are empty has empty rows', () => {
  const indices = zeros(2, 5, { dtype: 'int64' });
  expect(F.embedding(indices, zeros(5, 0)).shape).toEqual([2, 5, 0]);
});

test('an index of a scalar is one', () => {
  const scalar = tensor(5);
  expect(scalar.indexSelect(0, tensor([0n])).toArray()).toBe(5);
  expect(() => scalar.indexSelect(0, tensor([0n, 0n]))).toThrow(
    'index_select(): Index to scalar can have only 1 value, got 2 value(s)',
  );
});

test('sizes and divisors of pooling are integers of a sensible size', () => {
  const x = ones(1, 1, 4, 4);
  const coded = (code: string): Error => expect.objectContaining({ code }) as Error;
  expect(() => F.adaptiveAvgPool2d(x, [0, 1e15])).toThrow(coded('ERR_TOO_LARGE'));
  for (const divisorOverride of [NaN, 0.5])
    expect(() => F.avgPool2d(x, 2, { divisorOverride })).toThrow(coded('ERR_INVALID_ARG_TYPE'));
});

test('no operation that moves elements shares its shape with its input', () => {
  const x = ones(2, 3);
  for (const y of [x.tril(), x.triu(), x.flip(0), x.roll(1, 0), x.roll(1), x.expand(2, 3), x.repeat(1, 1)])
    expect(y.shape).not.toBe(x.shape);
});
