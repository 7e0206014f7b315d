import {
  native,
  Status,
  type Int8Matrix,
  type LinearHandle,
  type RNNHandle,
  type RNNMode,
} from '../src/native.js';
import { golden, pseudoRandom, withIsa } from './support.js';

const isas = native().isas();
const others = isas.filter((isa) => isa !== 'scalar');
const group = golden('qparams');

test('the instruction sets that must be there are there', () => {
  expect(isas.at(-1)).toBe('scalar');
  expect(new Set(isas).size).toBe(isas.length);
});

/** Runs a kernel on every instruction set; all must leave the same bytes as scalar. */
function everywhere(run: () => ArrayBufferView[]): Uint8Array[] {
  const all = ['scalar', ...others].map((isa) =>
    withIsa(isa, () => run().map((a) => new Uint8Array(a.buffer, a.byteOffset, a.byteLength).slice())),
  );
  all.forEach((arrays) => arrays.forEach((bytes, i) => expect(Buffer.compare(bytes, all[0]![i]!)).toBe(0)));
  return all[0]!;
}

const lengths = [1, 2, 3, 4, 5, 7, 8, 9, 13, 15, 16, 17, 23, 31, 32, 33, 47, 63, 64, 65, 97];
const guard = 0xa5;

describe('range', () => {
  test.each(lengths)('%i columns at every misalignment', (columns) => {
    const random = pseudoRandom(columns);
    for (const offset of [0, 1, 3]) {
      for (const rows of [1, 2, 5]) {
        const stride = columns + (rows > 1 ? 3 : 0);
        const x = Float32Array.from({ length: offset + rows * stride }, () => NaN);
        let [min, max] = [0, 0];
        for (let r = 0; r < rows; r++) {
          for (let c = 0; c < columns; c++) {
            const value = Math.fround(random() * 20 - 10);
            x[offset + r * stride + c] = value;
            [min, max] = [Math.min(min, value), Math.max(max, value)];
          }
        }
        for (const isa of isas) {
          const found = withIsa(isa, () => native().testRange(x, offset, rows, columns, stride));
          expect(found).toEqual([min, max, true]);
        }
        for (const bad of [NaN, Infinity, -Infinity]) {
          const at = offset + Math.floor(random() * columns);
          const copy = x.slice();
          copy[at] = bad;
          for (const isa of isas) {
            expect(withIsa(isa, () => native().testRange(copy, offset, rows, columns, stride)[2])).toBe(
              false,
            );
          }
        }
      }
    }
  });
});

describe('quantize', () => {
  test.each(lengths)('%i columns at every misalignment, nothing written outside', (columns) => {
    const random = pseudoRandom(columns);
    const padded = Math.ceil(columns / 16) * 16;
    for (const [offset, rows] of [
      [0, 1],
      [1, 3],
      [3, 2],
    ] as const) {
      const stride = columns + 1;
      const outStride = padded + 5;
      const x = Float32Array.from({ length: offset + rows * stride }, () => random() * 600 - 300);
      const zeroPoint = Math.floor(random() * 128);
      const [bytes] = everywhere(() => {
        const out = new Uint8Array(offset + rows * outStride).fill(guard);
        native().testQuantize(x, offset, rows, columns, stride, 1, zeroPoint, out, offset, outStride);
        return [out];
      });
      for (let i = 0; i < bytes!.length; i++) {
        const row = Math.floor((i - offset) / outStride);
        const column = (i - offset) % outStride;
        if (i < offset || column >= padded) expect(bytes![i]).toBe(guard);
        else if (column < columns) {
          const value = x[offset + row * stride + column]!;
          const expected = Math.min(255, Math.max(0, roundToEven(value) + zeroPoint));
          expect(bytes![i]).toBe(expected);
        } else expect(bytes![i]).toBe(zeroPoint);
      }
    }
  });
  test('ties go to even, and the ends saturate', () => {
    const x = Float32Array.of(0.5, 1.5, 2.5, -0.5, -1.5, 126.5, 127.5, 254.5, 255.5, 1e6, -1e6, -0);
    const [bytes] = everywhere(() => {
      const out = new Uint8Array(16);
      native().testQuantize(x, 0, 1, x.length, x.length, 1, 1, out, 0, 16);
      return [out];
    });
    expect([...bytes!.subarray(0, 12)]).toEqual([1, 3, 3, 1, 0, 127, 129, 255, 255, 255, 0, 1]);
  });
});

// Both ranges of activations: the largest byte that occurs, the deepest product that int32 holds, and how far
// weights may add up in an int16 lane before an activation of that size could overflow it.
const ranges = [
  { reduceRange: true, largest: 128, deepest: 131071, positive: 255, negative: 256 },
  { reduceRange: false, largest: 255, deepest: 65793, positive: 128, negative: 128 },
];

/** The product of rows of bytes and a weight, the same on every instruction set. */
function multiply(
  q: Uint8Array,
  weight: Int8Array,
  {
    m,
    k,
    n,
    stride = q.length / m,
    zeroPoint = 0,
    scales = Float32Array.of(1),
    bias = null,
    reduceRange,
  }: {
    m: number;
    k: number;
    n: number;
    stride?: number;
    zeroPoint?: number;
    scales?: Float32Array;
    bias?: Float32Array | null;
    reduceRange: boolean;
  },
): Float32Array {
  const [bytes, unpackedBytes] = everywhere(() => {
    const handle = new (native().Int8Linear)({ weight, scales, bias }, k, n, false, reduceRange, false);
    const out = new Float32Array(m * n + 2).fill(7);
    handle.testMultiply(q, m, stride, 0.5, zeroPoint, out.subarray(1, 1 + m * n));
    const unpacked = new Int8Array(n * k);
    handle.unpackWeight(unpacked);
    return [out, unpacked];
  });
  const out = new Float32Array(bytes!.buffer);
  expect([out[0], out[m * n + 1]]).toEqual([7, 7]);
  const weightBytes = new Uint8Array(weight.buffer, weight.byteOffset, weight.byteLength);
  expect(Buffer.compare(unpackedBytes!, weightBytes)).toBe(0);
  const result = out.subarray(1, 1 + m * n);
  let wrong = 0;
  for (let row = 0; row < m; row++) {
    for (let column = 0; column < n; column++) {
      let sum = 0;
      for (let i = 0; i < k; i++) sum += (q[row * stride + i]! - zeroPoint) * weight[column * k + i]!;
      // The exact product of two floats fits a double; its sum with the bias is off by one rounding at most.
      const scale = Math.fround(0.5 * scales[scales.length === 1 ? 0 : column]!);
      const expected = Math.fround(sum) * scale + (bias?.[column] ?? 0);
      if (result[row * n + column] !== Math.fround(expected)) wrong++;
    }
  }
  expect(wrong).toBe(0);
  return result;
}

describe.each(ranges)('int8 product, activations to $largest', ({ reduceRange, largest, deepest }) => {
  const depths = [1, 3, 4, 5, 16, 17, 31, 64, 67];
  const columns = [1, 15, 16, 17, 33, 64, 67, 79];
  const rows = [1, 2, 3, 5, 6, 7, 8, 11, 12, 13];
  const extremes = [0, 1, largest >> 1, largest - 1, largest];

  test.each(depths.flatMap((k) => columns.map((n) => [k, n])))('depth %i, %i columns', (k, n) => {
    const random = pseudoRandom(k * 100 + n);
    for (const m of rows) {
      const weight = Int8Array.from({ length: n * k }, () => Math.floor(random() * 256) - 128);
      const scales = Float32Array.from({ length: random() < 0.5 ? n : 1 }, () => random() + 0.1);
      const bias = random() < 0.5 ? Float32Array.from({ length: n }, () => random() - 0.5) : null;
      const stride = Math.ceil(k / 4) * 4 + 3;
      // Misaligned rows; the padding's value must not matter, as its weights are 0.
      const q = Uint8Array.from({ length: 1 + m * stride }, () =>
        random() < 0.3 ? extremes[Math.floor(random() * 5)]! : Math.floor(random() * (largest + 1)),
      ).subarray(1);
      const zeroPoint = Math.floor(random() * largest);
      multiply(q, weight, { m, k, n, stride, zeroPoint, scales, bias, reduceRange });
    }
  });

  test.each(extremes.flatMap((q) => [-128, -127, 0, 127].map((w) => [q, w])))(
    'activations all %i, weights all %i: no saturation',
    (activation, value) => {
      const [m, k, n] = [7, 1000, 17];
      const weight = new Int8Array(n * k).fill(value);
      const q = new Uint8Array(m * k).fill(activation);
      for (const zeroPoint of [0, largest - 1]) multiply(q, weight, { m, k, n, zeroPoint, reduceRange });
    },
  );

  test('weights of -128 and 127 alone, activations of 0 and the largest alone', () => {
    const random = pseudoRandom(8);
    for (const k of [4, 60, 64, 300, 1200]) {
      for (const m of [1, 4, 12]) {
        const weight = Int8Array.from({ length: 33 * k }, () => (random() < 0.5 ? -128 : 127));
        const q = Uint8Array.from({ length: m * k }, () => (random() < 0.5 ? 0 : largest));
        multiply(q, weight, { m, k, n: 33, zeroPoint: largest >> 1, reduceRange });
      }
    }
  });

  test.each([-128, 127])('the deepest product of %i does not wrap', (value) => {
    const weight = new Int8Array(deepest).fill(value);
    const stride = Math.ceil(deepest / 4) * 4;
    for (const [activation, zeroPoint] of [
      [largest, 0],
      [0, largest - 1],
    ] as const) {
      const q = new Uint8Array(2 * stride).fill(activation);
      multiply(q, weight, { m: 2, k: deepest, n: 1, stride, zeroPoint, reduceRange });
    }
  });
});

// Tables whose panels are planned.
const planned = isas.filter((isa) => isa === 'avx2' || isa === 'scalar_chains');

// They add the products of several quads (4 of depth) in int16 lanes, two a column (of the quad's first and second
// pair), in chains that end before the weights could overflow a lane.
describe.each(ranges)('chains, activations to $largest', ({ reduceRange, largest, positive, negative }) => {
  /** The mean chain of a weight, and the product checked with all activations at their ends. */
  function chain(weight: Int8Array, k: number, n: number): number {
    const stride = Math.ceil(k / 4) * 4;
    for (const m of [1, 2, 5, 6, 12, 13]) {
      multiply(new Uint8Array(m * stride).fill(largest), weight, { m, k, n, stride, reduceRange });
    }
    const [mean = NaN, ...others] = planned.map((isa) =>
      withIsa(isa, () => {
        const matrix = { weight, scales: Float32Array.of(1), bias: null };
        return new (native().Int8Linear)(matrix, k, n, false, reduceRange, false).meanChain();
      }),
    );
    for (const other of others) expect(other).toBe(mean);
    return mean;
  }
  const expectMean = (found: number, expected: number): void => {
    if (planned.length > 0) expect(found).toBe(expected);
  };
  /** Weights of 17 columns whose quads repeat a period of pairs in one of the two lanes. */
  function periodic(pairs: readonly (readonly [number, number])[], k: number, pair: 0 | 1): Int8Array {
    const weight = new Int8Array(17 * k);
    for (let column = 0; column < 17; column++) {
      for (let quad = 0; quad < k / 4; quad++) {
        weight.set(pairs[quad % pairs.length]!, column * k + quad * 4 + pair * 2);
      }
    }
    return weight;
  }
  /** A sum in four parts, the last one the largest. */
  const parts = (sum: number): [number, number][] => {
    const part = Math.trunc(sum / 4);
    return [part, part, part, sum - 3 * part].map((w) => [w, 0]);
  };

  describe.each([0, 1] as const)('in lane %i', (pair) => {
    test.each([
      ['at the rule’s edge', positive, 4],
      ['one beyond it', positive + 1, 3],
      ['at the negative edge', -negative, 4],
      ['one beyond that', -negative - 1, 3],
    ])('four quads %s (%i): chains of %i', (_, sum, expected) => {
      // 300 quads, or 48: multiples of 3 and 4, a lane sum of exactly `sum` in each run of four.
      for (const k of [1200, 192]) expectMean(chain(periodic(parts(sum), k, pair), k, 17), expected);
    });
    test('both weights of a pair count', () => {
      const half = (sum: number): [number, number][] =>
        parts(sum).map(([w]) => [Math.trunc(w / 2), w - Math.trunc(w / 2)]);
      expectMean(chain(periodic(half(positive), 1200, pair), 1200, 17), 4);
      expectMean(chain(periodic(half(positive + 1), 1200, pair), 1200, 17), 3);
      expectMean(chain(periodic(half(-negative), 1200, pair), 1200, 17), 4);
      expectMean(chain(periodic(half(-negative - 1), 1200, pair), 1200, 17), 3);
    });
    test('signs are counted apart: what cancels in the end may overflow on the way', () => {
      const w = Math.trunc(positive / 3);
      expectMean(chain(periodic([[w, -w]], 1200, pair), 1200, 17), 3);
      const [up, down] = [parts(positive), parts(-positive)];
      chain(periodic([...up, ...up, ...down, ...down], 1200, pair), 1200, 17);
    });
  });
  test('one column decides for its panel', () => {
    // Column 5 of the first panel; the second panel has one column of zeros: two chains, of 255 and 45.
    const weight = new Int8Array(17 * 1200);
    weight.set(periodic(parts(positive), 1200, 0).subarray(0, 1200), 5 * 1200);
    expectMean(chain(weight, 1200, 17), 600 / (75 + 2));
  });
  test('a chain has at most 255 quads', () => {
    for (const value of [0, 1, -1]) {
      // A weight a lane: 255 quads of ones are within the reduced rule, 128 within the full one.
      const weight = periodic([[value, 0]], 1200, 0);
      const longest = value === 0 ? 255 : value === 1 ? Math.min(255, positive) : Math.min(255, negative);
      expectMean(chain(weight, 1200, 17), 300 / Math.ceil(300 / longest));
      expectMean(chain(weight.subarray(0, 17 * 1020), 1020, 17), 255 / Math.ceil(255 / longest));
    }
  });
  test('of depths below 64 there are none', () => {
    for (const k of [1, 4, 20, 60]) expectMean(chain(new Int8Array(17 * k), k, 17), 1);
    for (const k of [61, 64]) expectMean(chain(new Int8Array(17 * k), k, 17), 16);
  });
  test('a quad that overflows by itself', () => {
    const pairs: [number, number][] = [
      [127, 1],
      [127, 2],
      [127, 127],
      [-128, 0],
      [-128, -1],
      [-128, -128],
    ];
    for (const pair of pairs) {
      for (const lane of [0, 1] as const) {
        // All quads, or the last of many harmless ones.
        chain(periodic([pair], 256, lane), 256, 17);
        chain(periodic([...Array<[number, number]>(63).fill([1, 0]), pair], 256, lane), 256, 17);
      }
    }
  });
  test('1,000 random columns that run into the edge', () => {
    const random = pseudoRandom(9);
    const upTo = (n: number): number => Math.floor(random() * (n + 1));
    for (let round = 0; round < 12; round++) {
      const k = [64, 128, 300, 1024, 1200, 1201][round % 6]!;
      const n = 83;
      const weight = new Int8Array(n * k);
      for (let column = 0; column < n; column++) {
        for (const lane of [0, 2]) {
          // Runs of quads, each with a sum at the edge or one beside it, spread over them at random.
          for (let at = 0; at + 4 <= k;) {
            const quads = 1 + upTo(random() < 0.2 ? 300 : 12);
            const sign = random() < 0.5 ? 1 : -1;
            let left = (sign > 0 ? positive : negative) + upTo(2) - 1;
            for (let i = 0; i < 4 * quads && left > 0; i++) {
              const index = at + upTo(quads - 1) * 4 + lane + upTo(1);
              if (index >= k || weight[column * k + index] !== 0) continue;
              const w = Math.min(left, 127, i > quads ? 127 : 1 + upTo(40));
              weight[column * k + index] = sign * w;
              left -= w;
            }
            at += quads * 4;
          }
        }
      }
      const stride = Math.ceil(k / 4) * 4;
      for (const m of [1, 5, 12]) {
        for (const zeros of [0, 0.1, 0.5]) {
          const q = Uint8Array.from({ length: m * stride }, () => (random() < zeros ? 0 : largest));
          multiply(q, weight, { m, k, n, stride, zeroPoint: upTo(largest - 1), reduceRange });
        }
      }
    }
  });
});

describe('rows of embedding tables', () => {
  const rows = 5;
  const indices = Int32Array.of(4, 0, 0, 3, 1, 2, 4);

  test.each(lengths)('of %i columns, at every misalignment, nothing written outside', (width) => {
    const random = pseudoRandom(width);
    for (const [bits, offset] of [
      [32, 0],
      [32, 1],
      [8, 0],
      [8, 3],
      [4, 0],
      [4, 1],
    ] as const) {
      const count = rows * width;
      const bytes = Uint8Array.from({ length: offset + Math.ceil((count * bits) / 8) }, () => random() * 256);
      const floats = Float32Array.from({ length: offset + count }, () => random() - 0.5);
      const table = bits === 32 ? floats.subarray(offset) : bytes.subarray(offset);
      const affines = bits === 32 ? null : Float32Array.from({ length: 2 * rows }, () => random() * 4 - 2);
      const value = (row: number, column: number): number => {
        const at = row * width + column;
        if (affines === null) return table[at]!;
        const q = bits === 8 ? table[at]! : (table[at >> 1]! >> (4 * (at & 1))) & 15;
        return q * affines[2 * row]! + affines[2 * row + 1]!;
      };
      const [lookup, sums, maxima] = everywhere(() => {
        const outs = [7, 2, 2].map((results) => new Float32Array(results * width + 2).fill(guard));
        const [a, b, c] = outs.map((out) => out.subarray(1, out.length - 1)) as [
          Float32Array,
          Float32Array,
          Float32Array,
        ];
        const bounds = Float64Array.of(0, 1, 7);
        native().embeddingLookup(table, affines, bits, width, indices, a);
        native().embeddingBag(table, affines, bits, width, indices, b, bounds, 0, null, -1);
        native().embeddingBag(table, affines, bits, width, indices, c, bounds, 2, null, -1);
        return outs;
      }).map((out) => new Float32Array(out.buffer)) as [Float32Array, Float32Array, Float32Array];
      for (const out of [lookup, sums, maxima]) expect([out[0], out.at(-1)]).toEqual([guard, guard]);
      for (let column = 0; column < width; column++) {
        const values = Array.from(indices, (row) => value(row, column));
        const rest = values.slice(1);
        const close = (out: Float32Array, row: number, expected: number): void =>
          expect(Math.abs(out[1 + row * width + column]! - expected)).toBeLessThan(1e-3);
        values.forEach((expected, row) => close(lookup, row, expected));
        close(sums, 0, values[0]!);
        close(
          sums,
          1,
          rest.reduce((sum, x) => sum + x),
        );
        close(maxima, 0, values[0]!);
        close(maxima, 1, Math.max(...rest));
      }
    }
  });
  test('what TypeScript would never pass is refused', () => {
    const { embeddingLookup, embeddingBag, quantizeTable } = native();
    const table = new Float32Array(10);
    const out = new Float32Array(4);
    const two = Int32Array.of(0, 1);
    const bag = (bounds: number[], mode = 0): void =>
      embeddingBag(table, null, 32, 2, two, out, Float64Array.from(bounds), mode, null, -1);
    const refusals: [() => void, RegExp][] = [
      [() => embeddingLookup(table, null, 32, 2, Int32Array.of(0, 5), out), /an index is outside the table/],
      [() => embeddingLookup(table, null, 32, 2, Int32Array.of(-1, 0), out), /an index is outside the table/],
      [() => embeddingLookup(table, null, 32, 0, two, out), /width is 0/],
      [() => embeddingLookup(table, null, 32, 2, two, out.subarray(1)), /out has 3 elements instead of 4/],
      [() => embeddingLookup(new Uint8Array(9), new Float32Array(10), 8, 2, two, out), /table has 9/],
      [() => embeddingLookup(new Uint8Array(4), new Float32Array(10), 4, 2, two, out), /table has 4/],
      [() => embeddingLookup(new Uint8Array(9), new Float32Array(10), 2, 2, two, out), /bits is neither/],
      [() => bag([]), /bounds is empty/],
      [() => bag([0, 2, 1]), /bounds do not rise/],
      [() => bag([0, 1, 3]), /bounds do not rise/],
      [() => bag([0, NaN, 2]), /bounds do not rise/],
      [() => bag([-1, 1, 2]), /bounds do not rise/],
      [() => bag([0, 1, 2], 3), /mode is not/],
      [() => quantizeTable(table, 3, 8, new Uint8Array(10), out, out), /weight and width do not agree/],
      [() => quantizeTable(table, 5, 8, new Uint8Array(9), out, out), /out has 9/],
      [() => quantizeTable(table, 5, 8, new Uint8Array(10), out, out), /scales has 4/],
    ];
    for (const [f, message] of refusals) expect(f).toThrow(message);
  });
});

/** The last of a call's sizes: every argument is an array. */
const allArrays = 63;

function forwardLinear(handle: LinearHandle, x: Float32Array, rows: number, out: Float32Array): void {
  native().sizes.set([rows, 0, 0, 0, 0, allArrays]);
  expect(handle.forward(x, out)).toBe(Status.Ok);
}

/** A handle's product against plain sums, on every instruction set; nothing is written beside it. */
function expectProduct(
  [m, k, n]: [number, number, number],
  random: () => number,
  build: (weights: number[], bias: Float32Array) => { handle: LinearHandle; weights: ArrayLike<number> },
): void {
  const numbers = Array.from({ length: n * k }, () => random() - 0.5);
  const bias = Float32Array.from({ length: n }, () => random() - 0.5);
  const x = Float32Array.from({ length: 1 + m * k }, () => random() - 0.5).subarray(1);
  const [bytes] = everywhere(() => {
    const out = new Float32Array(m * n + 2).fill(7);
    forwardLinear(build(numbers, bias).handle, x, m, out.subarray(1, 1 + m * n));
    return [out];
  });
  const out = new Float32Array(bytes!.buffer);
  expect([out[0], out[m * n + 1]]).toEqual([7, 7]);
  const { weights } = build(numbers, bias);
  let worst = 0;
  for (let row = 0; row < m; row++) {
    for (let column = 0; column < n; column++) {
      let sum = bias[column]!;
      for (let i = 0; i < k; i++) sum += x[row * k + i]! * weights[column * k + i]!;
      worst = Math.max(worst, Math.abs(out[1 + row * n + column]! - sum));
    }
  }
  expect(worst).toBeLessThan(2e-6);
}

describe('float product', () => {
  test.each([1, 5, 16, 33].flatMap((k) => [1, 15, 16, 17, 64, 67].map((n) => [k, n] as const)))(
    'depth %i, %i columns',
    (k, n) => {
      const random = pseudoRandom(k * 100 + n);
      for (const m of [1, 2, 5, 6, 7, 13]) {
        expectProduct([m, k, n], random, (numbers, bias) => {
          const weight = Float32Array.from(numbers);
          return { handle: new (native().FloatLinear)({ weight, bias }, k, n, false), weights: weight };
        });
      }
    },
  );
});

describe('float16', () => {
  const asFloat = (bits: number): number => {
    const [exponent, fraction] = [(bits >> 10) & 31, bits & 1023];
    const magnitude = exponent === 0 ? fraction * 2 ** -24 : (1024 + fraction) * 2 ** (exponent - 25);
    return bits & 0x8000 ? -magnitude : magnitude;
  };
  const halfOf = (values: readonly number[]): number[] => {
    const out = new Uint16Array(values.length);
    expect(native().quantizeHalf(Float32Array.from(values), out)).toBe(true);
    return [...out];
  };

  test('rounding: to even, small ones too, and to the ends beyond them', () => {
    // Every float16, the tie between it and the next, and what stands beside that.
    const values: number[] = [];
    const expected: number[] = [];
    for (let bits = 1; bits < 0x7bff; bits++) {
      const [low, high] = [asFloat(bits), asFloat(bits + 1)];
      const [tie, step] = [(low + high) / 2, high * 2 ** -23];
      const even = bits % 2 === 0 ? bits : bits + 1;
      values.push(low, -low, tie, -tie, tie - step, tie + step);
      expected.push(bits, 0x8000 | bits, even, 0x8000 | even, bits, bits + 1);
    }
    expect(halfOf(values)).toEqual(expected);
    expect(halfOf([65504, 65519, 65520, 1e38, -1e38])).toEqual([0x7bff, 0x7bff, 0x7bff, 0x7bff, 0xfbff]);
    expect(halfOf([0, -0, 1e-45, 2 ** -25, -(2 ** -24)])).toEqual([0, 0x8000, 0, 0, 0x8001]);
    for (const bad of [NaN, Infinity, -Infinity]) {
      expect(native().quantizeHalf(Float32Array.of(1, bad), new Uint16Array(2))).toBe(false);
    }
  });
  test('every finite number is widened exactly', () => {
    const weight = Uint16Array.from({ length: 0xf800 }, (_, i) => (i < 0x7c00 ? i : i + 0x400));
    const n = weight.length;
    const [bytes] = everywhere(() => {
      const out = new Float32Array(n);
      const handle = new (native().HalfLinear)({ weight, bias: null }, 1, n, false);
      const unpacked = new Uint16Array(n);
      handle.unpackWeight(unpacked);
      expect(Buffer.compare(Buffer.from(unpacked.buffer), Buffer.from(weight.buffer))).toBe(0);
      forwardLinear(handle, Float32Array.of(1), 1, out);
      return [out];
    });
    const out = new Float32Array(bytes!.buffer);
    expect([...out]).toEqual([...weight].map((bits) => asFloat(bits) + 0));
  });
  test.each([1, 2, 5, 33].flatMap((k) => [1, 15, 17, 33, 48, 67].map((n) => [k, n] as const)))(
    'product: depth %i, %i columns',
    (k, n) => {
      const random = pseudoRandom(k * 100 + n);
      for (const m of [1, 2, 5, 6, 7, 13]) {
        expectProduct([m, k, n], random, (numbers, bias) => {
          const weight = Uint16Array.from(halfOf(numbers));
          const weights = Array.from(weight, asFloat);
          return { handle: new (native().HalfLinear)({ weight, bias }, k, n, false), weights };
        });
      }
    },
  );
});

test('relu is what Linear gives, but 0 where that is below 0', () => {
  const random = pseudoRandom(3);
  for (const [m, k, n] of [
    [1, 5, 3],
    [7, 9, 16],
    [13, 4, 67],
  ] as const) {
    const floats = Float32Array.from({ length: n * k }, () => random() - 0.5);
    const halves = new Uint16Array(n * k);
    native().quantizeHalf(floats, halves);
    const bytes = Int8Array.from({ length: n * k }, () => Math.floor(random() * 256) - 128);
    const bias = Float32Array.from({ length: n }, () => random() - 0.5);
    const scales = Float32Array.of(0.01);
    const x = Float32Array.from({ length: m * k }, () => random() - 0.5);
    for (const make of [
      (relu: boolean) => new (native().FloatLinear)({ weight: floats, bias }, k, n, relu),
      (relu: boolean) => new (native().HalfLinear)({ weight: halves, bias }, k, n, relu),
      (relu: boolean) => new (native().Int8Linear)({ weight: bytes, scales, bias }, k, n, true, true, relu),
    ]) {
      const results = everywhere(() =>
        [false, true].map((relu) => {
          const out = new Float32Array(m * n + 1).fill(7);
          forwardLinear(make(relu), x, m, out.subarray(0, m * n));
          return out;
        }),
      ).map((result) => new Float32Array(result.buffer));
      const [plain, relu] = results as [Float32Array, Float32Array];
      expect([...relu]).toEqual([...plain].map((value) => (value < 0 ? 0 : value)));
      expect(relu).not.toEqual(plain);
    }
  }
});

interface Sizes {
  mode: RNNMode;
  input: number;
  hidden: number;
  projection?: number;
  layers?: number;
  directions?: number;
}
const kinds = ['Int8RNN', 'FloatRNN', 'HalfRNN'] as const;
const gates = { LSTM: 4, GRU: 3, RNN_TANH: 1, RNN_RELU: 1 };
const modes = Object.keys(gates) as RNNMode[];

/** A maker of handles with the same random weights. `size` scales them. */
function recurrent(
  kind: (typeof kinds)[number],
  { mode, input, hidden, projection = 0, layers = 1, directions = 1 }: Sizes,
  random: () => number,
  { perRow = false, reduceRange = true, size = 1 } = {},
): () => RNNHandle {
  const output = projection || hidden;
  const matrix = (rows: number, depth: number, biased: boolean): object => {
    const weight = Float32Array.from({ length: rows * depth }, () => (2 * random() - 1) / Math.sqrt(hidden));
    const bias = biased ? Float32Array.from({ length: rows }, () => (random() - 0.5) * size) : null;
    if (kind === 'FloatRNN') return { weight, bias };
    const halves = new Uint16Array(rows * depth);
    native().quantizeHalf(weight, halves);
    if (kind === 'HalfRNN') return { weight: halves, bias };
    const [bytes, scales] = [new Int8Array(rows * depth), new Float32Array(random() < 0.5 ? rows : 1)];
    native().quantizeWeight(weight, rows, bytes, scales);
    return { weight: bytes, scales: scales.map((scale) => scale * size), bias };
  };
  const matrices = Array.from({ length: layers * directions }, (_, i) => [
    matrix(gates[mode] * hidden, i < directions ? input : directions * output, true),
    matrix(gates[mode] * hidden, output, true),
    ...(projection ? [matrix(projection, hidden, false)] : []),
  ]).flat() as never[];
  return () =>
    kind === 'Int8RNN'
      ? new (native().Int8RNN)(
          ...([mode, input, hidden, projection, layers, directions, matrices] as const),
          ...([perRow, reduceRange] as const),
        )
      : new (native()[kind])(mode, input, hidden, projection, layers, directions, matrices);
}

interface Sequence {
  x: Float32Array;
  h0: Float32Array;
  c0: Float32Array | undefined;
  steps: number;
  batch: number;
  batchSizes?: BigInt64Array;
}
function sequence(
  { mode, input, hidden, projection, layers = 1, directions = 1 }: Sizes,
  steps: number,
  batch: number,
  random: () => number,
): Sequence {
  const floats = (n: number): Float32Array => Float32Array.from({ length: n }, () => 4 * random() - 2);
  const states = layers * directions * batch;
  const h0 = floats(states * (projection ?? hidden)).map(Math.tanh);
  const c0 = mode === 'LSTM' ? floats(states * hidden) : undefined;
  return { x: floats(steps * batch * input), h0, c0, steps, batch };
}
/** `[y, hn, cn]`, with nothing written beside them. */
function forward(
  handle: RNNHandle,
  { mode, input, hidden, projection, layers = 1, directions = 1 }: Sizes,
  { x, h0, c0, steps, batch, batchSizes }: Sequence,
): Float32Array[] {
  const states = layers * directions * batch;
  const output = projection ?? hidden;
  const lengths = [(x.length / input) * directions * output, states * output];
  if (mode === 'LSTM') lengths.push(states * hidden);
  const guarded = lengths.map((length) => new Float32Array(length + 2).fill(7));
  const [y, hn, cn] = guarded.map((array) => array.subarray(1, -1));
  native().sizes.set([steps, batch, 0, layers, c0 === undefined ? 1 : 3, allArrays]);
  const status =
    batchSizes === undefined
      ? handle.forward(x, h0, c0, y, hn, cn)
      : handle.forwardPacked(x, h0, c0, y, hn, cn, batchSizes);
  expect(status).toBe(Status.Ok);
  for (const array of guarded) expect([array[0], array.at(-1)]).toEqual([7, 7]);
  return guarded.map((array) => array.slice(1, -1));
}

describe.each(modes.flatMap((mode) => kinds.map((kind) => [mode, kind] as const)))(
  '%s, %s: every instruction set gives the same bits',
  (mode, kind) => {
    test.each([1, 5, 16, 17, 33, 64, 70, 100])('%i hidden units', (hidden) => {
      const random = pseudoRandom(hidden);
      for (const batch of [1, 2, 5, 6, 7, 13]) {
        const sizes = { mode, input: 1 + Math.floor(random() * 20), hidden, directions: 1 + (batch % 2) };
        const options = { perRow: batch % 3 === 0, reduceRange: batch % 2 === 0 };
        const make = recurrent(kind, sizes, random, options);
        const data = sequence(sizes, 1 + (batch % 4), batch, random);
        everywhere(() => forward(make(), sizes, data));
      }
    });
  },
);
test.each(modes)('%s: more than 2 MB of weights, which may be packed in another order', (mode) => {
  const hidden = { LSTM: 725, GRU: 840, RNN_TANH: 1449, RNN_RELU: 1449 }[mode];
  const sizes = { mode, input: 3, hidden };
  const random = pseudoRandom(1);
  const make = recurrent('Int8RNN', sizes, random);
  for (const batch of [1, 3]) {
    const data = sequence(sizes, 2, batch, random);
    everywhere(() => forward(make(), sizes, data));
  }
});

describe.each(kinds)('%s', (kind) => {
  test.each([
    [1, 2],
    [5, 9],
    [17, 40],
    [33, 65],
  ])('projections to %i of %i units: the same bits everywhere', (projection, hidden) => {
    const random = pseudoRandom(hidden);
    for (const perRow of [false, true]) {
      for (const batch of [1, 4, 7]) {
        const sizes = { mode: 'LSTM', input: 3, hidden, projection, layers: 2, directions: 2 } as const;
        const make = recurrent(kind, sizes, random, { perRow });
        const data = sequence(sizes, 3, batch, random);
        everywhere(() => forward(make(), sizes, data));
      }
    }
  });

  const lengths = [9, 7, 7, 4, 3, 3, 3, 1];
  const batchSizes = BigInt64Array.from({ length: 9 }, (_, t) => BigInt(lengths.filter((n) => n > t).length));
  test.each(modes)('%s: packed sequences give what each gives alone', (mode) => {
    for (const projection of mode === 'LSTM' ? [undefined, 6] : [undefined]) {
      const sizes: Sizes = { mode, input: 5, hidden: 19, layers: 2, directions: 2 };
      if (projection !== undefined) sizes.projection = projection;
      const random = pseudoRandom(11);
      const make = recurrent(kind, sizes, random, { perRow: true });
      const padded = sequence(sizes, lengths[0]!, lengths.length, random);
      const rowOf = (t: number, b: number): number => b + lengths.reduce((sum, n) => sum + Math.min(n, t), 0);
      const x = new Float32Array(lengths.reduce((a, b) => a + b) * sizes.input);
      lengths.forEach((length, b) => {
        for (let t = 0; t < length; t++) {
          const from = (t * lengths.length + b) * sizes.input;
          x.set(padded.x.subarray(from, from + sizes.input), rowOf(t, b) * sizes.input);
        }
      });
      const [y, hn, cn] = everywhere(() => forward(make(), sizes, { ...padded, x, batchSizes })).map(
        (bytes) => new Float32Array(bytes.buffer),
      );
      const handle = make();
      const output = projection ?? sizes.hidden;
      const part = (states: Float32Array, features: number, b: number): Float32Array =>
        states.filter((_, i) => Math.floor(i / features) % lengths.length === b);
      lengths.forEach((length, b) => {
        const rows = Array.from({ length }, (_, t) => rowOf(t, b));
        const alone = forward(handle, sizes, {
          x: Float32Array.from(
            rows.flatMap((row) => [...x.subarray(row * sizes.input, (row + 1) * sizes.input)]),
          ),
          h0: part(padded.h0!, output, b),
          c0: padded.c0 && part(padded.c0, sizes.hidden, b),
          ...{ steps: length, batch: 1 },
        });
        expect(rows.flatMap((row) => [...y!.subarray(row * 2 * output, (row + 1) * 2 * output)])).toEqual([
          ...alone[0]!,
        ]);
        expect([...part(hn!, output, b)]).toEqual([...alone[1]!]);
        if (cn !== undefined) expect([...part(cn, sizes.hidden, b)]).toEqual([...alone[2]!]);
      });
    }
  });
  // A step alone has its input gates computed with it; where nothing proves that sums of integers stay finite, before it.
  test.each(modes)('%s: a single step is the first of two', (mode) => {
    const sizes = { mode, input: 200, hidden: 300 };
    const random = pseudoRandom(15);
    const handle = recurrent(kind, sizes, random)();
    const both = sequence(sizes, 2, 3, random);
    both.x.copyWithin(both.x.length / 2, 0); // the range of one step is that of both
    for (const magnitude of [1, 1e36]) {
      const h0 = both.h0!.map((value) => value * magnitude);
      const [y] = forward(handle, sizes, { ...both, h0 });
      const x = both.x.subarray(0, both.x.length / 2);
      const [first] = forward(handle, sizes, { ...both, x, h0, steps: 1 });
      expect(first).toEqual(y!.subarray(0, y!.length / 2));
    }
  });
  test.each(modes)('%s: packed sequences of one length are a dense batch', (mode) => {
    const sizes = { mode, input: 7, hidden: 40, directions: 2 };
    const random = pseudoRandom(12);
    const handle = recurrent(kind, sizes, random)();
    const data = sequence(sizes, 60, 9, random);
    const dense = forward(handle, sizes, data);
    const packed = forward(handle, sizes, { ...data, batchSizes: new BigInt64Array(60).fill(9n) });
    expect(packed).toEqual(dense);
  });
});

test('the range of a step of packed sequences is that of the rows that take part', () => {
  const sizes = { mode: 'GRU', input: 1, hidden: 18, directions: 2 } as const;
  const handle = recurrent('Int8RNN', sizes, pseudoRandom(13))();
  const one = sequence(sizes, 6, 1, pseudoRandom(14));
  one.x.set([0.5, -3, 3]); // the same range without the first step
  const alone = forward(handle, sizes, one);
  // A second sequence of one step, whose states widen the ranges where it takes part.
  const [y, hn] = forward(handle, sizes, {
    x: Float32Array.of(one.x[0]!, 1, ...one.x.subarray(1)),
    h0: Float32Array.from({ length: 72 }, (_, i) => (i % 36 < 18 ? one.h0![i - (i < 36 ? 0 : 18)]! : 100)),
    ...{ c0: undefined, steps: 6, batch: 2, batchSizes: BigInt64Array.of(2n, 1n, 1n, 1n, 1n, 1n) },
  });
  // Backwards it comes last,
  const backwards = (rows: Float32Array): number[] => [...rows].filter((_, i) => i % 36 >= 18);
  expect(backwards(y!).slice(2 * 18)).toEqual(backwards(alone[0]!).slice(18));
  expect(backwards(y!).slice(0, 18)).not.toEqual(backwards(alone[0]!).slice(0, 18));
  // and forwards first: from its state on the first sequence is alone.
  const h0 = Float32Array.of(...y!.subarray(0, 18), ...one.h0!.subarray(18));
  const rest = forward(handle, sizes, { x: one.x.subarray(1), h0, c0: undefined, steps: 5, batch: 1 });
  expect(hn!.subarray(0, 18)).toEqual(rest[1]!.subarray(0, 18));
  expect(hn!.subarray(0, 18)).not.toEqual(alone[1]!.subarray(0, 18));
});

describe('INT8 overflow is found in every mode, and only where it is', () => {
  const run = (sizes: Sizes, size: number, h0: number, steps = 30): Status => {
    const { mode, input, hidden, projection } = sizes;
    const data = sequence(sizes, steps, 2, pseudoRandom(1));
    const handle = recurrent('Int8RNN', sizes, pseudoRandom(2), { size })();
    native().sizes.set([steps, 2, 0, 1, 3, allArrays]);
    const output = projection ?? hidden;
    const state = new Float32Array(2 * output);
    const y = new Float32Array(steps * 2 * output);
    const c = mode === 'LSTM' ? new Float32Array(2 * hidden) : undefined;
    expect(data.x).toHaveLength(steps * 2 * input);
    const status = handle.forward(data.x, state.slice().fill(h0), c, y, state, c?.slice());
    if (status === Status.Ok) expect([...y, ...state].every(Number.isFinite)).toBe(true);
    return status;
  };
  const sizes = { input: 3, hidden: 20 };
  test('a relu RNN grows without bound', () => {
    const mode = 'RNN_RELU';
    expect(run({ mode, ...sizes }, 1, 1)).toBe(Status.Ok);
    expect(run({ mode, ...sizes }, 10, 1, 20)).toBe(Status.Ok);
    expect(run({ mode, ...sizes }, 1000, 1, 40)).toBe(Status.Overflow);
  });
  test.each(['GRU', 'LSTM', 'RNN_TANH'] as const)('%s does not', (mode) => {
    for (const size of [1, 1000, 1e30]) expect(run({ mode, ...sizes }, size, 1)).toBe(Status.Ok);
    expect(run({ mode, ...sizes }, 2e38, 1)).toBe(Status.Overflow);
    for (const steps of [30, 1]) {
      expect(run({ mode, ...sizes }, 1e10, 1e37, steps)).toBe(Status.Overflow);
      expect(run({ mode, ...sizes }, 1, 1e37, steps)).toBe(Status.Ok);
    }
  });
  test('by an input and a state that are both finite', () => {
    const matrix = (value: number): Int8Matrix => ({
      weight: Int8Array.of(127),
      scales: Float32Array.of(value / 127),
      bias: null,
    });
    const matrices = [matrix(8e37), matrix(3e38)];
    const handle = new (native().Int8RNN)('RNN_RELU', 1, 1, 0, 1, 1, matrices, false, true);
    const forward = (x: number, h0: number): [Status, number] => {
      native().sizes.set([1, 1, 0, 1, 1, allArrays]);
      const y = new Float32Array(1);
      const status = handle.forward(
        Float32Array.of(x),
        Float32Array.of(h0),
        y.slice(),
        y,
        y.slice(),
        y.slice(),
      );
      return [status, y[0]!];
    };
    expect(forward(-1, 1)).toEqual([Status.Ok, expect.closeTo(2.2e38, -37)]);
    expect(forward(1, 1)[0]).toBe(Status.Overflow);
  });
  test('a projection grows with its weights', () => {
    const mode = 'LSTM';
    expect(run({ mode, ...sizes, projection: 5 }, 1e15, 1)).toBe(Status.Ok);
    expect(run({ mode, ...sizes, projection: 5 }, 1e25, 1)).toBe(Status.Overflow);
  });
});

describe.each([
  ['sigmoid', (x: number): number => 1 / (1 + Math.exp(-x)), 87],
  ['tanh', Math.tanh, 1e30],
] as const)('%s', (name, exact, limit) => {
  test('is within 3.5 ulp of exact, and the same bits everywhere', () => {
    const random = pseudoRandom(5);
    const x = Float32Array.from({ length: 200_003 }, (_, i) => {
      const sign = i % 2 === 0 ? 1 : -1;
      return i % 3 === 0 ? sign * 10 ** (random() * 40 - 38) : sign * random() * 100;
    }).filter((value) => Math.abs(value) <= limit);
    const [bytes] = everywhere(() => {
      const out = new Float32Array(x.length + 1).fill(7);
      native()[name](x, out.subarray(0, x.length));
      expect(out[x.length]).toBe(7);
      return [out];
    });
    const out = new Float32Array(bytes!.buffer);
    let worst = 0;
    for (let i = 0; i < x.length; i++) {
      const want = exact(x[i]!);
      const ulp = 2 ** (Math.max(Math.floor(Math.log2(Math.abs(want))), -126) - 23);
      // Below -20 the one float of ln 2 begins to show: 2.8e-9 |x| of the value.
      const allowed = name === 'sigmoid' && x[i]! < -20 ? 6 : 3.5;
      worst = Math.max(worst, Math.abs(out[i]! - want) / ulp / allowed);
    }
    expect(worst).toBeLessThanOrEqual(1);
  });
  test('special values', () => {
    const x = Float32Array.of(0, -0, Infinity, -Infinity, NaN, 1e38, -1e38, 1e-45);
    const [bytes] = everywhere(() => {
      const out = new Float32Array(8);
      native()[name](x, out);
      return [out.map((value) => (Number.isNaN(value) ? 99 : value))];
    });
    const out = [...new Float32Array(bytes!.buffer)];
    const low = name === 'tanh' ? -1 : 0;
    const zero = name === 'tanh' ? 0 : 0.5;
    [zero, zero, 1, low, 99, 1, low, zero].forEach((value, i) => expect(out[i]).toBeCloseTo(value, 30));
  });
});

describe('quantization parameters are PyTorch’s', () => {
  test('317 activation ranges', () => {
    const [{ minmax, out }] = group.cases;
    const ranges = group.tensor(minmax).data as Float32Array;
    const expected = group.tensor(out).data as Float64Array;
    expect(ranges.length).toBe(2 * 317);
    for (let i = 0; i < ranges.length / 2; i++) {
      const [min, max] = [ranges[2 * i]!, ranges[2 * i + 1]!];
      const reduced = native().chooseQuantizationParams(min, max, true);
      const whole = native().chooseQuantizationParams(min, max, false);
      expect([...reduced, ...whole]).toEqual([...expected.subarray(4 * i, 4 * i + 4)]);
    }
  });
  const weights = group.cases.filter((c) => c.kind === 'weight');
  test.each(weights.map((c) => [c.name, c]))('weights: %s', (_, c) => {
    const w = group.tensor(c.w);
    const rows = w.shape[0]!;
    for (const [expected, count] of [
      [c.default, 1],
      [c.per_channel, rows],
    ]) {
      const out = new Int8Array(w.numel);
      const scales = new Float32Array(count);
      expect(native().quantizeWeight(w.data as Float32Array, rows, out, scales)).toBe(true);
      expect([...out]).toEqual(Array.from(group.tensor(expected.int).data, Number));
      expect([...scales]).toEqual([expected.scale].flat());
    }
  });
  test('19 weights', () => expect(weights).toHaveLength(19));
});

function roundToEven(x: number): number {
  const floor = Math.floor(x);
  const rest = x - floor;
  if (rest !== 0.5) return Math.round(x);
  return floor % 2 === 0 ? floor : floor + 1;
}
