import { tensor, type DType, type Tensor } from '../src/tensor/index.js';

// All numbers on the right are PyTorch's.
const long = tensor([9007199254740993n, -9007199254740993n, 2n ** 63n - 1n, -(2n ** 63n), 3037000500n]);
const int = tensor([2147483647, -2147483648, -1640531535, 65536, 46341], { dtype: 'int32' });
const other = tensor([2147483647, -2147483648, 1103515245, 65537, 46341], { dtype: 'int32' });

function valuesOf(x: Tensor): (number | bigint)[] {
  return Array.from(x.data as Int32Array);
}

const [most, least] = [2n ** 63n - 1n, -(2n ** 63n)];
const a = 9007199254740993n;
const floors = { roundingMode: 'floor' } as const;
const truncates = { roundingMode: 'trunc' } as const;
const longCases: [string, (x: Tensor) => Tensor, bigint[]][] = [
  ['abs', (x) => x.abs(), [a, a, most, least, 3037000500n]],
  ['neg', (x) => x.neg(), [-a, a, -most, least, -3037000500n]],
  ['square', (x) => x.square(), [18014398509481985n, 18014398509481985n, 1n, 0n, -9223372036709301616n]],
  ['relu', (x) => x.relu(), [a, 0n, most, 0n, 3037000500n]],
  ['sign', (x) => x.sign(), [1n, -1n, 1n, -1n, 1n]],
  ['floor', (x) => x.floor(), [a, -a, most, least, 3037000500n]],
  ['round', (x) => x.round(), [a, -a, most, least, 3037000500n]],
  ['+ 1', (x) => x.add(1), [a + 1n, -a + 1n, least, -9223372036854775807n, 3037000501n]],
  ['- 3', (x) => x.sub(3), [a - 3n, -a - 3n, 9223372036854775804n, 9223372036854775805n, 3037000497n]],
  ['- 3 x', (x) => x.sub(x, { alpha: 3 }), [-18014398509481986n, 18014398509481986n, 2n, 0n, -6074001000n]],
  [
    '* int32',
    (x) => int.mul(x),
    [-9007197107257345n, 2147483648n, -9223372035214244273n, 0n, 140737640170500n],
  ],
  ['maximum', (x) => x.maximum(tensor([0n])), [a, 0n, most, 0n, 3037000500n]],
  ['minimum', (x) => x.minimum(tensor([2n ** 53n])), [2n ** 53n, -a, 2n ** 53n, least, 3037000500n]],
  ['clamp', (x) => x.clamp(-5, 2 ** 53 - 1), [2n ** 53n - 1n, -5n, 2n ** 53n - 1n, -5n, 3037000500n]],
  ['clamp below', (x) => x.clamp(0), [a, 0n, most, 0n, 3037000500n]],
  ['/ 1', (x) => x.div(1, floors), [a, -a, most, least, 3037000500n]],
  [
    '/ -7, down',
    (x) => x.div(-7, floors),
    [-1286742750677285n, 1286742750677284n, -1317624576693539401n, 1317624576693539401n, -433857215n],
  ],
  [
    '/ -7',
    (x) => x.div(-7, truncates),
    [-1286742750677284n, 1286742750677284n, -1317624576693539401n, 1317624576693539401n, -433857214n],
  ],
  ['% -7', (x) => x.remainder(-7), [-2n, -5n, 0n, -1n, -5n]],
  ['% 10', (x) => x.remainder(10), [3n, 7n, 7n, 2n, 0n]],
  ['** 2', (x) => x.pow(2), [18014398509481985n, 18014398509481985n, 1n, 0n, -9223372036709301616n]],
  ['** 3', (x) => x.pow(3), [27021597764222977n, -27021597764222977n, most, 0n, 441805193841096000n]],
  ['** 0', (x) => x.pow(0), [1n, 1n, 1n, 1n, 1n]],
];

test.each(longCases)('int64 keeps all digits: %s', (_, f, expected) => {
  const result = f(long);
  expect([result.dtype, valuesOf(result)]).toEqual(['int64', expected]);
});

const intCases: [string, () => Tensor, number[]][] = [
  ['*', () => int.mul(other), [1, 0, 1419296349, 65536, -2147479015]],
  ['* *', () => int.mul(int).mul(int), [2147483647, 0, -872142831, 0, -1932785795]],
  ['square', () => int.square(), [1, 0, -1651615, 0, -2147479015]],
  ['** 3', () => int.pow(3), [2147483647, 0, -872142831, 0, -1932785795]],
  ['+', () => int.add(other), [-2, 0, -537016290, 131073, 92682]],
  ['-', () => int.sub(other), [0, 0, 1550920516, -1, 0]],
  ['+ n *', () => int.add(other, { alpha: 1000003 }), [-1000004, 0, -1917248968, 1112752707, -903454892]],
];

test.each(intCases)('int32 wraps around: %s', (_, f, expected) => {
  expect([f().dtype, valuesOf(f())]).toEqual(['int32', expected]);
});

test.each<[DType, (number | bigint)[]]>([
  ['int8', [-101, 87]],
  ['uint8', [155, 87]],
  ['int32', [-651126885, 613813847]],
  ['int64', [50031545098999707n, -6870017497503494569n]],
])('a high power of %s wraps around', (dtype, expected) => {
  expect(valuesOf(tensor([3, 7], { dtype }).pow(35))).toEqual(expected);
});

test('a tensor of negative powers gives whole numbers', () => {
  const bases = tensor([1n, -1n, -1n, 0n, 5n]);
  expect(valuesOf(bases.pow(tensor([-1n, -1n, -2n, -1n, -3n])))).toEqual([1n, -1n, 1n, 0n, 0n]);
});

test.each<[DType, number[]]>([
  ['int32', [1, -1, -1, 0, -1257966796]],
  ['int16', [1, -1, -1, 0, -3276]],
  ['int8', [1, -1, -1, 0, 52]],
  ['uint8', [1, 255, 255, 0, 52]],
  ['bool', [1, 1, 1, 1, 1]],
])('int64 as %s keeps its low bits', (dtype, expected) => {
  expect(valuesOf(long.to(dtype))).toEqual(expected);
});

test('int64 is rounded to float32 once', () => {
  const x = 2n ** 62n + 2n ** 38n + 1n; // in double a tie between two float32
  const rounded = 4611686568183201792;
  expect(valuesOf(tensor([x, -x, 2n ** 24n + 1n, 2n ** 24n + 3n]).to('float32'))).toEqual([
    rounded,
    -rounded,
    16777216,
    16777220,
  ]);
});

test.each<[string, Tensor, Tensor | number, boolean]>([
  ['int32 and float32', int32(16777217), tensor([16777216]), true],
  ['int64 and float32', tensor([16777217n]), tensor([16777216]), true],
  ['int32 and float64', int32(16777217), tensor([16777216], { dtype: 'float64' }), false],
  ['int64 and float64', tensor([a]), tensor([2 ** 53], { dtype: 'float64' }), true],
  ['float32 and a float64 alone', tensor([0.1]), tensor(0.1, { dtype: 'float64' }), true],
  ['int32 and int64', int32(1), tensor([2n ** 53n + 1n]), false],
])('%s are compared in the dtype of both', (_, x, y, expected) => {
  expect(x.eq(y).item()).toBe(Number(expected));
});

test('an integer is divided by a float32 in float32', () => {
  const [x, y] = [tensor([1073741823, 2147483647], { dtype: 'int32' }), tensor([67108864, 67108864])];
  expect(x.div(y, truncates).toArray()).toEqual([16, 32]);
  expect(x.div(y, floors).toArray()).toEqual([16, 32]);
  expect(x.remainder(y).toArray()).toEqual([0, 0]);
  expect(tensor([33554432]).div(-3, truncates).item()).toBe(-11184811);
});

test('an integer is compared with any number', () => {
  const one = tensor([1n]);
  expect([2 ** 53, 2 ** 62, 2 ** 64, 1e300].map((x) => one.lt(x).item())).toEqual([1, 1, 1, 1]);
  expect([-(2 ** 53), -(2 ** 63), -1e300].map((x) => one.gt(x).item())).toEqual([1, 1, 1]);
  expect(
    tensor([2n ** 53n + 1n])
      .eq(2 ** 53)
      .item(),
  ).toBe(0);
  expect(tensor([16777217n]).lt(16777216.5).item()).toBe(0);
  expect(
    int32(1)
      .lt(2 ** 40)
      .item(),
  ).toBe(0); // which wraps around to 0 in PyTorch too
});

function int32(x: number): Tensor {
  return tensor([x], { dtype: 'int32' });
}
