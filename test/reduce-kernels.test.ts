import {
  callNormalize,
  callReduce,
  callScaleChannels,
  callSoftmax,
  type Reduction,
} from '../src/native/call-reduce.js';
import { everywhere } from './native-calls.js';
import { pseudoRandom } from './support.js';

// Every instruction set against scalar, and scalar against double. The bounds are those of kernels.h.

const u = 2 ** -24;
const lengths = [1, 2, 3, 7, 8, 15, 16, 17, 31, 33, 64, 100, 255, 256, 257, 271, 500, 1024, 5000];
const inners = [1, 2, 7, 16, 33];

/** The floats that are the same on every instruction set. Which NaN a NaN is, processors decide. */
function floatsEverywhere(run: () => Float32Array): Float32Array {
  const [bytes] = everywhere(() => [run().map((x) => (Number.isNaN(x) ? NaN : x))]);
  return new Float32Array(bytes!.buffer, bytes!.byteOffset, bytes!.byteLength / 4);
}

function randoms(seed: number, count: number, scale = 4, offset = 0): Float32Array {
  const random = pseudoRandom(seed);
  return Float32Array.from({ length: count }, () => (random() - 0.5) * scale + offset);
}

/** The elements of each line. */
function linesOf(x: Float32Array, outer: number, length: number, inner: number): number[][] {
  return Array.from({ length: outer * inner }, (_, line) => {
    const first = Math.floor(line / inner) * length * inner + (line % inner);
    return Array.from({ length }, (_, k) => x[first + k * inner]!);
  });
}
const sumOf = (values: readonly number[]): number => values.reduce((sum, x) => sum + x, 0);
/** Roundings that a term of a sum passes through, at most. */
const roundings = (length: number, inner: number): number =>
  inner === 1 ? 24 + Math.max(0, Math.log2(length / 256)) : 15 + Math.max(0, Math.log2(length / 16));

const exact: Record<Reduction, (line: number[]) => number> = {
  sum: sumOf,
  sumOfMagnitudes: (line) => sumOf(line.map(Math.abs)),
  sumOfSquares: (line) => sumOf(line.map((x) => x * x)),
  squaredDeviations: (line) => {
    const mean = sumOf(line) / line.length;
    return sumOf(line.map((x) => (x - mean) ** 2));
  },
  product: (line) => line.reduce((product, x) => product * x, 1),
  least: (line) => Math.min(...line),
  largest: (line) => Math.max(...line),
  logSumExp: (line) => Math.log(sumOf(line.map(Math.exp))),
};
/** How far from exact a result may be. */
const bounds: Record<Reduction, (line: number[], passes: number) => number> = {
  sum: (line, passes) => passes * u * sumOf(line.map(Math.abs)),
  sumOfMagnitudes: (line, passes) => passes * u * sumOf(line.map(Math.abs)),
  sumOfSquares: (line, passes) => (passes + 1) * u * exact.sumOfSquares(line),
  squaredDeviations: (line, passes) => (60 + 3 * passes) * u * exact.squaredDeviations(line),
  product: (line) => line.length * u * Math.abs(exact.product(line)),
  least: () => 0,
  largest: () => 0,
  logSumExp: (line) => (40 + 2 * Math.log2(line.length) + 3 * Math.abs(exact.logSumExp(line))) * u,
};

describe.each(Object.keys(exact) as Reduction[])('%s', (reduction) => {
  test.each(inners)('of lines whose elements are %i apart', (inner) => {
    for (const length of lengths) {
      const [scale, offset] = reduction === 'product' ? [0.2, 1] : [4, 0];
      const x = randoms(length, 3 * length * inner, scale, offset);
      const found = floatsEverywhere(() => callReduce(reduction, x, { outer: 3, length, inner }));
      linesOf(x, 3, length, inner).forEach((line, i) => {
        const bound = bounds[reduction](line, roundings(length, inner));
        expect(Math.abs(found[i]! - exact[reduction](line))).toBeLessThanOrEqual(bound + 1e-45);
      });
    }
  });
  test('a NaN is the result, wherever it is', () => {
    for (const length of [1, 16, 19, 300]) {
      for (const inner of [1, 3]) {
        for (let at = 0; at < length; at += 7) {
          const x = randoms(at, length * inner);
          x[at * inner] = NaN;
          const found = floatsEverywhere(() => callReduce(reduction, x, { outer: 1, length, inner }));
          expect([...found].map(Number.isNaN)).toEqual(Array.from(found, (_, i) => i === 0));
        }
      }
    }
  });
});

test('infinities are elements like others', () => {
  const reduce = (reduction: Reduction, ...x: number[]): number =>
    floatsEverywhere(() =>
      callReduce(reduction, Float32Array.from(x), { outer: 1, length: x.length, inner: 1 }),
    )[0]!;
  expect(reduce('least', 1, -Infinity, Infinity)).toBe(-Infinity);
  expect(reduce('largest', -Infinity, -Infinity)).toBe(-Infinity);
  expect(reduce('sum', 1, Infinity)).toBe(Infinity);
  expect(reduce('sum', -Infinity, Infinity)).toBeNaN();
  expect(reduce('logSumExp', -Infinity, -Infinity)).toBe(-Infinity);
  expect(reduce('logSumExp', 1, Infinity)).toBe(Infinity);
  expect(reduce('logSumExp', NaN, Infinity)).toBeNaN();
  expect(reduce('logSumExp', 3e38, 3e38)).toBe(Math.fround(3e38));
  expect(reduce('product', 0, Infinity)).toBeNaN();
  expect(reduce('squaredDeviations', 1e30, -1e30)).toBe(Infinity);
});

test('a sum of many terms keeps its digits', () => {
  const x = new Float32Array(3_000_001).fill(0.1);
  const [found] = floatsEverywhere(() => callReduce('sum', x, { outer: 1, length: x.length, inner: 1 }));
  expect(Math.abs(found! / (Math.fround(0.1) * x.length) - 1)).toBeLessThan(20 * u);
});

describe.each([
  ['softmax', false],
  ['its logarithm', true],
])('%s', (_, log) => {
  const softmax = (x: Float32Array, outer: number, length: number, inner: number): Float32Array =>
    floatsEverywhere(() => callSoftmax(log, x, { outer, length, inner }));

  test.each(inners)('of lines whose elements are %i apart', (inner) => {
    for (const length of lengths) {
      const x = randoms(length, 2 * length * inner, length % 2 === 0 ? 8 : 180);
      const lines = linesOf(softmax(x, 2, length, inner), 2, length, inner);
      linesOf(x, 2, length, inner).forEach((line, i) => {
        const largest = Math.max(...line);
        const sum = sumOf(line.map((each) => Math.exp(each - largest)));
        const excess = line.map((each, k) => {
          const distance = largest - each;
          const result = log ? -distance - Math.log(sum) : Math.exp(-distance) / sum;
          const roundings = 40 + 2 * Math.log2(length) + (log ? 4 * Math.abs(result) : distance);
          const bound = roundings * u * (log ? 1 : result) + (log ? 0 : 1.2e-38);
          return Math.abs(lines[i]![k]! - result) - bound;
        });
        expect(Math.max(...excess)).toBeLessThanOrEqual(0);
      });
    }
  });
  test('what is masked by -infinity has no part in it', () => {
    const zero = log ? -Infinity : 0;
    for (const length of [2, 15, 16, 17, 40, 300]) {
      const x = randoms(length, length);
      const masked = x.map((each, i) => (i % 3 === 1 ? -Infinity : each));
      const kept = x.filter((_, i) => i % 3 !== 1);
      const found = softmax(masked, 1, length, 1);
      expect(new Set(found.filter((_, i) => i % 3 === 1))).toEqual(new Set([zero]));
      const alone = softmax(kept, 1, kept.length, 1);
      found.filter((_, i) => i % 3 !== 1).forEach((each, i) => expect(each).toBeCloseTo(alone[i]!, 5));
    }
  });
  test('a line of -infinity alone is NaN, and so is one with a NaN or infinity', () => {
    for (const length of [1, 5, 16, 23]) {
      for (const special of [-Infinity, NaN, Infinity]) {
        for (const inner of [1, 2]) {
          const x = new Float32Array(length * inner).fill(special === -Infinity ? special : 1);
          x[Math.floor(length / 2) * inner] = special;
          const [line] = linesOf(softmax(x, 1, length, inner), 1, length, inner);
          const isNaN = line!.map((each) => Number.isNaN(each) || (log && each === -Infinity));
          expect(isNaN).toEqual(line!.map(() => true));
        }
      }
    }
  });
  test('the largest numbers do not overflow', () => {
    const found = softmax(Float32Array.of(3e38, 3e38, -3e38), 1, 3, 1);
    expect([...found]).toEqual(
      log ? [Math.fround(Math.log(0.5)), Math.fround(Math.log(0.5)), -Infinity] : [0.5, 0.5, 0],
    );
  });
});

describe.each(['layer', 'rms'] as const)('rows normalized, %s', (norm) => {
  test.each([
    [1, 1],
    [3, 1],
    [2, 5],
    [1, 40],
  ])('with %i groups, and %i elements to a parameter', (groups, repeat) => {
    for (const channels of [1, 3, 16, 18, 63]) {
      for (const offset of [0, 1000]) {
        const length = channels * repeat;
        const x = randoms(length, 4 * groups * length, 4, offset);
        const weight = randoms(1, channels * groups);
        const bias = randoms(2, channels * groups);
        const call = { norm, rows: 4 * groups, length, groups, repeat, eps: 0.25 };
        for (const parameters of [
          { weight, bias },
          { weight, bias: null },
          { weight: null, bias },
          { weight: null, bias: null },
        ]) {
          const found = floatsEverywhere(() => callNormalize(x, { ...call, ...parameters }));
          expectNormalized(found, x, { ...call, ...parameters });
        }
      }
    }
  });
});

function expectNormalized(
  found: Float32Array,
  x: Float32Array,
  { norm, rows, length, groups, repeat, weight, bias, eps }: Parameters<typeof callNormalize>[1],
): void {
  for (let row = 0; row < rows; row++) {
    const line = [...x.subarray(row * length, (row + 1) * length)];
    const mean = norm === 'layer' ? sumOf(line) / length : 0;
    const variance = sumOf(line.map((each) => (each - mean) ** 2)) / length;
    const excess = line.map((each, i) => {
      const parameter = ((row % groups) * length) / repeat + Math.floor(i / repeat);
      const y = (each - mean) / Math.sqrt(variance + eps);
      const [w, b] = [weight?.[parameter] ?? 1, bias?.[parameter] ?? 0];
      const roundings = 64 + 2 * Math.max(0, Math.log2(length / 256));
      const bound = roundings * u * ((Math.abs(y) + 1) * Math.abs(w) + Math.abs(b));
      return Math.abs(found[row * length + i]! - (y * w + b)) - bound;
    });
    expect(Math.max(...excess)).toBeLessThanOrEqual(0);
  }
}

test('channels are shifted and scaled', () => {
  for (const [channels, repeat] of [
    [1, 1],
    [19, 1],
    [3, 20],
    [4, 2],
  ] as const) {
    const x = randoms(channels, 3 * channels * repeat);
    const [means, weights, biases] = [1, 2, 3].map((seed) => randoms(seed, channels)) as [
      Float32Array,
      Float32Array,
      Float32Array,
    ];
    const found = floatsEverywhere(() => callScaleChannels(x, means, weights, biases, repeat));
    found.forEach((each, i) => {
      const channel = Math.floor(i / repeat) % channels;
      // A product of floats is exact in double, and the sum's own rounding is far below a float's.
      const centered = Math.fround(x[i]! - means[channel]!);
      expect(each).toBe(Math.fround(centered * weights[channel]! + biases[channel]!));
    });
  }
});
