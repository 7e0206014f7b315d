import { native } from '../src/native/addon.js';
import { callBags, callLookup } from '../src/native/call.js';
import type { EmbeddingTable, LinearHandle } from '../src/native/handles.js';
import { everywhere, isas, runLinear } from './native-calls.js';
import { golden, pseudoRandom, withIsa } from './support.js';

const group = golden('qparams');

test('the instruction sets that must be there are there', () => {
  expect(isas.at(-1)).toBe('scalar');
  expect(new Set(isas).size).toBe(isas.length);
});

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
          const found = withIsa(isa, () => native().testRange({ array: x, offset, stride }, rows, columns));
          expect(found).toEqual([min, max, true]);
        }
        for (const bad of [NaN, Infinity, -Infinity]) {
          const at = offset + Math.floor(random() * columns);
          const copy = x.slice();
          copy[at] = bad;
          for (const isa of isas) {
            expect(
              withIsa(isa, () => native().testRange({ array: copy, offset, stride }, rows, columns)[2]),
            ).toBe(false);
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
        const to = { array: out, offset, stride: outStride };
        const options = { rows, columns, inverseScale: 1, zeroPoint };
        native().testQuantize({ array: x, offset, stride }, to, options);
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
    const some = [0.5, 1.5, 2.5, -0.5, -1.5, 126.5, 127.5, 254.5, 255.5, 32767, 4e6, -4e6, -32769, -0];
    // Some kernels take 64 values at once, and others 16.
    const x = Float32Array.from({ length: 64 + 16 + some.length }, (_, i) => some[i % some.length]!);
    const [bytes] = everywhere(() => {
      const out = new Uint8Array(96);
      const [from, to] = [
        { array: x, offset: 0, stride: x.length },
        { array: out, offset: 0, stride: out.length },
      ];
      const options = { rows: 1, columns: x.length, inverseScale: 1, zeroPoint: 1 };
      native().testQuantize(from, to, options);
      return [out];
    });
    const expected = [1, 3, 3, 1, 0, 127, 129, 255, 255, 255, 255, 0, 0, 1];
    expect([...bytes!.subarray(0, x.length)]).toEqual(Array.from(x, (_, i) => expected[i % some.length]!));
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
    const matrix = new (native().TestInt8Matrix)({ weight, scales, bias }, k, n, reduceRange);
    const out = new Float32Array(m * n + 2).fill(7);
    matrix.multiply(q, { rows: m, stride, scale: 0.5, zeroPoint }, out.subarray(1, 1 + m * n));
    const unpacked = new Int8Array(n * k);
    matrix.unpackWeight(unpacked);
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

  // Rows, depths and columns around the sizes of tile registers, and enough of them for AMX.
  test.each([64, 68, 100, 129, 192, 383])('1 to 70 rows, depth %i', (k) => {
    const random = pseudoRandom(k);
    for (const m of [1, 5, 6, 7, 8, 15, 16, 17, 24, 31, 32, 33, 40, 47, 48, 49, 64, 65, 70]) {
      const n = Math.ceil(2 ** 18 / (Math.max(m, 6) * Math.ceil(k / 4) * 4)) + Math.floor(random() * 67);
      const weight = Int8Array.from({ length: n * k }, () => Math.floor(random() * 256) - 128);
      const stride = Math.ceil(k / 4) * 4 + 1;
      const q = Uint8Array.from({ length: m * stride }, () => Math.floor(random() * (largest + 1)));
      multiply(q, weight, { m, k, n, stride, zeroPoint: Math.floor(random() * largest), reduceRange });
      const extreme = new Int8Array(n * k).fill(-128);
      multiply(q.fill(largest), extreme, { m, k, n, stride, zeroPoint: largest - 1, reduceRange });
    }
  });

  test.each([-128, 127])('the deepest product of %i does not wrap', (value) => {
    const weight = new Int8Array(deepest).fill(value);
    const stride = Math.ceil(deepest / 4) * 4;
    for (const [activation, zeroPoint] of [
      [largest, 0],
      [0, largest - 1],
    ] as const) {
      for (const m of [2, 6]) {
        const q = new Uint8Array(m * stride).fill(activation);
        multiply(q, weight, { m, k: deepest, n: 1, stride, zeroPoint, reduceRange });
      }
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
        return new (native().TestInt8Matrix)(matrix, k, n, reduceRange).meanChain();
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
        const bags = { indices, bounds, weights: null };
        callLookup({ data: table, affines, bits, width }, indices, a);
        callBags({ data: table, affines, bits, width }, bags, 'sum', -1, b);
        callBags({ data: table, affines, bits, width }, bags, 'max', -1, c);
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
    const { quantizeTable } = native();
    const table = new Float32Array(10);
    const out = new Float32Array(4);
    const two = Int32Array.of(0, 1);
    const floats: EmbeddingTable = { data: table, affines: null, bits: 32, width: 2 };
    const bytes = (length: number, bits = 8): EmbeddingTable => {
      return { data: new Uint8Array(length), affines: new Float32Array(10), bits: bits as 8, width: 2 };
    };
    const bag = (bounds: number[], mode = 'sum', padding = -1): void => {
      const bags = { indices: two, bounds: Float64Array.from(bounds), weights: null };
      callBags(floats, bags, mode as 'sum', padding, out);
    };
    const refusals: [() => void, RegExp][] = [
      [() => callLookup(floats, Int32Array.of(0, 5), out), /an index is outside the table/],
      [() => callLookup(floats, Int32Array.of(-1, 0), out), /an index is outside the table/],
      [() => callLookup({ ...floats, width: 0 }, two, out), /width is 0/],
      [() => callLookup(floats, two, out.subarray(1)), /out has 3 elements instead of 4/],
      [() => callLookup(bytes(9), two, out), /table has 9/],
      [() => callLookup(bytes(4, 4), two, out), /table has 4/],
      [() => callLookup(bytes(9, 2), two, out), /bits is neither/],
      [() => bag([]), /bounds is empty/],
      [() => bag([0, 2, 1]), /bounds do not rise/],
      [() => bag([0, 1, 3]), /bounds do not rise/],
      [() => bag([0, NaN, 2]), /bounds do not rise/],
      [() => bag([-1, 1, 2]), /bounds do not rise/],
      [() => bag([0, 1, 2], 'median'), /mode is not/],
      [() => bag([0, 1, 2], 'sum', NaN), /padding is no index/],
      [() => quantizeTable(table, 3, 8, new Uint8Array(10), out, out), /weight and width do not agree/],
      [() => quantizeTable(table, 5, 8, new Uint8Array(9), out, out), /out has 9/],
      [() => quantizeTable(table, 5, 8, new Uint8Array(10), out, out), /scales has 4/],
    ];
    for (const [f, message] of refusals) expect(f).toThrow(message);
  });
});

function forwardLinear(handle: LinearHandle, x: Float32Array, rows: number, out: Float32Array): void {
  expect(runLinear(handle, x, rows, out)).toBe('ok');
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
    // Every float16, the tie between it and the next, and what is beside that.
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

describe('the parameters of many ranges at once are those of each alone', () => {
  const float32 = 3.4028234663852886e38;
  // Scales from this on are plain; smaller ones are raised.
  const smallest = 6.1e-5;
  const tie = (zeroPoint: number, scale: number): [number, number] => {
    return [-(zeroPoint + 0.5) * scale, (126.5 - zeroPoint) * scale];
  };
  const plain: [number, number][] = [
    ...[0, 1, 62, 63, 64, 125, 126].flatMap((zeroPoint) =>
      [1, 2 ** 40, 2 ** -10].map((s) => tie(zeroPoint, s)),
    ),
    ...[1, 3e38, float32].flatMap((max): [number, number][] => [
      [-max, max],
      [0, max],
      [-max, 0],
      [-max / 3, max],
    ]),
    [-1e-30, 1],
    [-1, 1e-45],
    [0, 0],
    [0, smallest * 256],
  ];
  const small: [number, number][] = [
    [0, 1e-45],
    [-1e-45, 0],
    [-1e-45, 1e-45],
    [-1e-40, 3e-39],
    [0, 2 ** -126],
    [-(2 ** -120), 2 ** -119],
    [-1e-20, 1e-10],
    [0, smallest * 126],
    [-smallest * 63, smallest * 63.9],
    [-smallest * 127, 0],
  ];
  /** As the kernel and the scalar routine give them. */
  function expectParams(pairs: readonly [number, number][], levels: number): void {
    const ranges = Float32Array.from(pairs.flat());
    const expected = pairs.map((_, i) =>
      native().testScalarParams(ranges[2 * i]!, ranges[2 * i + 1]!, levels),
    );
    const scales = expected.map(([scale]) => Math.fround(scale));
    for (const isa of isas) {
      const found = [new Float32Array(pairs.length), new Float32Array(pairs.length)] as const;
      const zeroPoints = new Int32Array(pairs.length);
      const emptied = withIsa(isa, () => native().testChooseParams(ranges, levels, ...found, zeroPoints));
      expect([isa, emptied]).toEqual([isa, true]);
      expect([isa, ...found[0]]).toEqual([isa, ...scales]);
      expect([isa, ...found[1]]).toEqual([isa, ...scales.map((scale) => Math.fround(1 / scale))]);
      expect([isa, ...zeroPoints]).toEqual([isa, ...expected.map(([, zeroPoint]) => zeroPoint)]);
    }
  }

  test.each([127, 255])('1 to 64 and more, %i levels', (levels) => {
    const random = pseudoRandom(levels);
    const any = <T>(list: readonly T[]): T => list[Math.floor(random() * list.length)]!;
    const wide = (): [number, number] => {
      const magnitude = 10 ** (random() * 76 - 38);
      return [-random() * magnitude, random() * magnitude];
    };
    const usual = (): [number, number] => (random() < 0.5 ? any(plain) : [-random() * 4, random() * 4]);
    for (const count of [...Array(64).keys()].map((i) => i + 1).concat(65, 71, 72, 127, 128, 129, 200)) {
      const pairs = Array.from({ length: count }, usual);
      expectParams(pairs, levels); // no scale is small
      pairs[Math.floor(random() * count)] = any(small); // one is, which sends its whole block the other way
      expectParams(pairs, levels);
      expectParams(Array.from({ length: count }, wide), levels);
    }
    for (const pairs of [plain, small, [...plain, ...small], [...small, ...plain]])
      expectParams(pairs, levels);
  });
  test('a zero point on a tie is the even one', () => {
    for (let zeroPoint = 0; zeroPoint < 127; zeroPoint++) {
      const [scale, found] = native().testScalarParams(...tie(zeroPoint, 1), 127);
      expect([scale, found]).toEqual([1, zeroPoint + (zeroPoint % 2)]);
    }
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
      const reduced = native().testScalarParams(min, max, 127);
      const whole = native().testScalarParams(min, max, 255);
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
