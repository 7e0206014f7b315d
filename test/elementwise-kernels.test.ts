import {
  binaryNames,
  callBinary,
  callCompare,
  callSelect,
  comparisonNames,
  unaryNames,
  type UnaryName,
} from '../src/native/call-elementwise.js';
import { everywhere, runUnary } from './native-calls.js';
import { pseudoRandom } from './support.js';

const lengths = [1, 2, 3, 4, 5, 7, 8, 9, 13, 15, 16, 17, 23, 31, 32, 33, 47, 63, 64, 65, 97];
const f = Math.fround;

/** 1 - erf(z) in double, z >= 0: a continued fraction, or the series of erf, whose terms are all positive. */
function erfc(z: number): number {
  if (z < 2) {
    let term = z;
    let sum = z;
    for (let n = 1; term > sum * 1e-17; n++) sum += term *= (2 * z * z) / (2 * n + 1);
    return 1 - (2 / Math.sqrt(Math.PI)) * Math.exp(-z * z) * sum;
  }
  let fraction = z;
  for (let n = 60; n > 0; n--) fraction = z + n / 2 / fraction;
  return Math.exp(-z * z) / fraction / Math.sqrt(Math.PI);
}
const erf = (x: number): number => {
  if (Math.abs(x) > 0.1) return Math.sign(x) * (1 - erfc(Math.abs(x)));
  return (
    (2 / Math.sqrt(Math.PI)) * (x - x ** 3 / 3 + x ** 5 / 10 - x ** 7 / 42 + x ** 9 / 216 - x ** 11 / 1320)
  );
};
/** A function that is almost x far above 0, and almost 0 far below, at the infinities too. */
const gate =
  (g: (x: number) => number) =>
  (x: number): number =>
    Math.abs(x) === Infinity ? Math.max(x, 0) : g(x);
const gelu = (x: number): number => {
  const tail = (Math.abs(x) / 2) * erfc(Math.abs(x) * Math.SQRT1_2);
  return x < 0 ? -tail : x - tail;
};
const geluTanh = (x: number): number =>
  x / (1 + Math.exp(-2 * Math.sqrt(2 / Math.PI) * (x + 0.044715 * x ** 3)));

/** Functions with an error: in double, and how many ulp, or how much else, the kernel may be off. */
const inexact: Partial<
  Record<UnaryName, [exact: (x: number) => number, ulp: (x: number) => number, more?: number]>
> = {
  exp: [Math.exp, () => 2],
  log: [Math.log, () => 1],
  erf: [erf, () => 2.5],
  // Below -20 the one float of ln 2 begins to show: 2.8e-9 |x| of the value.
  sigmoid: [(x) => 1 / (1 + Math.exp(-x)), (x) => (x < -20 ? 6 : 3.5), 2e-38],
  tanh: [Math.tanh, () => 3.5],
  gelu: [gate(gelu), () => 10],
  geluTanh: [gate(geluTanh), () => 5, 6e-8],
  silu: [gate((x) => x / (1 + Math.exp(-x))), () => 4, 1e-43],
  softplus: [(x) => (x > 20 ? x : Math.log1p(Math.exp(x))), () => 2.5],
  elu: [(x) => (x > 0 ? x : Math.expm1(x)), () => 2],
};
/** The numbers a and b with which the functions are tested. */
const numbers: Partial<Record<UnaryName, [a: number, b: number]>> = {
  clamp: [-1.5, 2.5],
  leakyRelu: [0.01, 0],
  softplus: [1, 20],
  elu: [1, 0],
};
const clamped6 = (x: number): number => Math.min(Math.max(f(x + 3), 0), 6);
/** The other functions, in float32 operations. */
const exact: Partial<Record<UnaryName, (x: number) => number>> = {
  abs: Math.abs,
  neg: (x) => -x,
  square: (x) => f(x * x),
  sqrt: (x) => f(Math.sqrt(x)),
  rsqrt: (x) => f(1 / f(Math.sqrt(x))),
  reciprocal: (x) => f(1 / x),
  floor: Math.floor,
  ceil: Math.ceil,
  round: (x) => (Math.abs(x % 1) === 0.5 ? 2 * Math.round(x / 2) : Math.round(x)),
  trunc: Math.trunc,
  sign: (x) => Number(x > 0) - Number(x < 0),
  clamp: (x) => Math.min(Math.max(x, -1.5), 2.5),
  relu: (x) => (x < 0 ? 0 : x),
  leakyRelu: (x) => (x > 0 ? x : f(x * f(0.01))),
  hardsigmoid: (x) => f(clamped6(x) / 6),
  hardswish: (x) => f(f(x * clamped6(x)) / 6),
};

/** A kernel's results on every instruction set, the same everywhere, with NaN as 99: which NaN, processors decide. */
function results(name: UnaryName, x: Float32Array): Float32Array {
  const [a, b] = numbers[name] ?? [0, 0];
  const [bytes] = everywhere(() => {
    const out = new Float32Array(x.length + 1).fill(7);
    runUnary(name, x, out.subarray(0, x.length), x.length, a, b);
    expect(out[x.length]).toBe(7);
    return [out.subarray(0, x.length).map((value) => (Number.isNaN(value) ? 99 : value))];
  });
  return new Float32Array(bytes!.buffer);
}

const specials = Float32Array.of(
  ...[0, -0, 0.5, -0.5, 1, -1, 1.5, 2.5, -2.5, 20, -20, 88.5, -88.5, 88.8, -87.5, -103, -104, 1e30, -1e30],
  ...[
    Infinity,
    -Infinity,
    NaN,
    3.4e38,
    -3.4e38,
    1e-45,
    -1e-45,
    1e-40,
    1.17549435e-38,
    2 ** 23 + 1,
    8388607.5,
  ],
);
const inputs = ((): Float32Array => {
  const random = pseudoRandom(5);
  const near = Float32Array.from({ length: 60_000 }, (_, i) => (random() * 2 - 1) * [1, 4, 16, 110][i % 4]!);
  const bits = Uint32Array.from({ length: 60_000 }, () => random() * 2 ** 32);
  const any = new Float32Array(bits.buffer).filter((value) => !Number.isNaN(value));
  return Float32Array.of(...specials, ...near, ...any);
})();

describe.each(unaryNames)('%s', (name) => {
  const limits = inexact[name];
  test('is what it should be, and the same bits everywhere', () => {
    const out = results(name, inputs);
    let worst = 0;
    let worstAt = 0;
    inputs.forEach((x, i) => {
      const want = limits === undefined ? exact[name]!(x) : limits[0](x);
      const got = out[i]!;
      if (Object.is(got, f(want)) || (got === 0 && want === 0)) return;
      if (Number.isNaN(want) && got === 99) return;
      if (limits === undefined || !Number.isFinite(f(want)))
        return void expect([x, got]).toEqual([x, f(want)]);
      const ulp = 2 ** (Math.max(Math.floor(Math.log2(Math.abs(want))), -126) - 23);
      const error = Math.abs(got - want) / (ulp * limits[1](x) + (limits[2] ?? 0));
      if (!(error <= worst)) [worst, worstAt] = [error, x];
    });
    expect([worstAt, worst > 1]).toEqual([worstAt, false]);
    if (limits !== undefined) expect(worst).toBeGreaterThan(0);
  });
  test.each(lengths)('%i elements are those of a long array', (length) => {
    const long = results(name, inputs.subarray(0, 256));
    for (const from of [0, 1, 3]) {
      expect(results(name, inputs.slice(from, from + length))).toEqual(long.slice(from, from + length));
    }
  });
});

/** An operand of three dimensions, of which each is broadcast where its size is 1. */
interface Operand {
  data: Float32Array;
  sizes: readonly [number, number, number];
}
const stridesOf = ([, b, c]: Operand['sizes'], at: number): number => [b * c, c, 1][at]!;
const strideAlong = ({ sizes }: Operand, at: number): number => (sizes[at] === 1 ? 0 : stridesOf(sizes, at));

const functions: Record<string, (a: number, b: number) => number> = {
  add: (a, b) => f(a + b),
  sub: (a, b) => f(a - b),
  mul: (a, b) => f(a * b),
  div: (a, b) => f(a / b),
  minimum: (a, b) => (Number.isNaN(a) || a < b ? a : b),
  maximum: (a, b) => (Number.isNaN(a) || a > b ? a : b),
  eq: (a, b) => Number(a === b),
  ne: (a, b) => Number(a !== b),
  lt: (a, b) => Number(a < b),
  le: (a, b) => Number(a <= b),
};

describe.each([
  [
    [3, 5, 40],
    [3, 5, 40],
  ],
  [
    [3, 5, 40],
    [1, 5, 1],
  ],
  [
    [1, 1, 33],
    [4, 6, 33],
  ],
  [
    [3, 1, 17],
    [1, 4, 17],
  ],
  [
    [2, 3, 1],
    [2, 3, 9],
  ],
  [
    [1, 1, 9000],
    [2, 1, 9000],
  ],
  [
    [1, 1, 1],
    [2, 2, 5000],
  ],
  [
    [70, 1, 3],
    [70, 80, 1],
  ],
] as const)('operands of %j and %j', (aSizes, bSizes) => {
  const random = pseudoRandom(3);
  const operand = (sizes: Operand['sizes']): Operand => {
    const data = Float32Array.from({ length: sizes[0] * sizes[1] * sizes[2] }, (_, i) =>
      random() < 0.2 ? specials[i % specials.length]! : Math.round(random() * 8) / 2,
    );
    return { data, sizes };
  };
  const [a, b] = [operand(aSizes), operand(bSizes)];
  const sizes = aSizes.map((size, i) => Math.max(size, bSizes[i]!));
  const axes = sizes.flatMap((size, i) => [size, strideAlong(a, i), strideAlong(b, i)]);
  const count = sizes[0]! * sizes[1]! * sizes[2]!;
  const elementOf = (of: Operand, i: number): number => {
    const at = [
      Math.floor(i / (sizes[1]! * sizes[2]!)),
      Math.floor(i / sizes[2]!) % sizes[1]!,
      i % sizes[2]!,
    ];
    return of.data[at.reduce((sum, index, d) => sum + index * strideAlong(of, d), 0)]!;
  };
  const withoutNaN = (values: Float32Array): Float32Array => values.map((v) => (Number.isNaN(v) ? 99 : v));

  test.each([...binaryNames, ...comparisonNames])('%s', (name) => {
    const [bytes] = everywhere(() => [
      (binaryNames as readonly string[]).includes(name)
        ? withoutNaN(callBinary(name as 'add', a.data, b.data, axes, count))
        : callCompare(name as 'eq', a.data, b.data, axes, count),
    ]);
    const out = bytes!.length === count ? bytes! : new Float32Array(bytes!.buffer);
    const want = Float32Array.from({ length: count }, (_, i) =>
      functions[name]!(elementOf(a, i), elementOf(b, i)),
    );
    expect([...out]).toEqual([...withoutNaN(want)]);
  });
  test('select', () => {
    const condition = Uint8Array.from(a.data, (_, i) => (i % 3 === 0 ? 0 : i % 256));
    const three = sizes.flatMap((size, i) => [size, ...[a, b, a].map((each) => strideAlong(each, i))]);
    const [bytes] = everywhere(() => [withoutNaN(callSelect(condition, b.data, a.data, three, count))]);
    const chooser = { data: Float32Array.from(condition), sizes: aSizes };
    const want = Float32Array.from({ length: count }, (_, i) =>
      elementOf(elementOf(chooser, i) !== 0 ? b : a, i),
    );
    expect([...new Float32Array(bytes!.buffer)]).toEqual([...withoutNaN(want)]);
  });
});
