import { native } from '../src/native.js';
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
        }
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

describe('int8 product', () => {
  const depths = [1, 3, 4, 5, 16, 17, 31, 64, 67];
  const columns = [1, 15, 16, 17, 33, 64, 67, 79];
  const rows = [1, 2, 3, 5, 6, 7, 8, 11, 12, 13];
  const extremes = [0, 1, 64, 127, 128];

  test.each(depths.flatMap((k) => columns.map((n) => [k, n])))('depth %i, %i columns', (k, n) => {
    const random = pseudoRandom(k * 100 + n);
    for (const m of rows) {
      const weight = Int8Array.from({ length: n * k }, () => Math.floor(random() * 256) - 128);
      const scales = Float32Array.from({ length: n }, () => random() + 0.1);
      const bias = random() < 0.5 ? Float32Array.from({ length: n }, () => random() - 0.5) : null;
      const stride = Math.ceil(k / 4) * 4 + 3;
      // Misaligned rows; the padding's value must not matter, as its weights are 0.
      const q = Uint8Array.from({ length: 1 + m * stride }, () =>
        random() < 0.3 ? extremes[Math.floor(random() * 5)]! : Math.floor(random() * 129),
      ).subarray(1);
      const zeroPoint = Math.floor(random() * 128);
      const [bytes] = everywhere(() => {
        const handle = new (native().Int8Linear)({ weight, scales, bias }, k, n, false, true);
        const out = new Float32Array(m * n + 2).fill(7);
        handle.testMultiply(q, m, stride, 0.5, zeroPoint, out.subarray(1, 1 + m * n));
        const unpacked = new Int8Array(n * k);
        handle.unpackWeight(unpacked);
        expect(unpacked).toEqual(weight);
        return [out];
      });
      const out = new Float32Array(bytes!.buffer);
      expect([out[0], out[m * n + 1]]).toEqual([7, 7]);
      let wrong = 0;
      for (let row = 0; row < m; row++) {
        for (let column = 0; column < n; column++) {
          let sum = 0;
          for (let i = 0; i < k; i++) sum += (q[row * stride + i]! - zeroPoint) * weight[column * k + i]!;
          // The exact product of two floats fits a double; its sum with the bias is off by one rounding at most.
          const expected = sum * Math.fround(0.5 * scales[column]!) + (bias?.[column] ?? 0);
          if (out[1 + row * n + column] !== Math.fround(expected)) wrong++;
        }
      }
      expect(wrong).toBe(0);
    }
  });

  test.each(extremes.flatMap((q) => [-128, -127, 0, 127].map((w) => [q, w])))(
    'activations all %i, weights all %i: no saturation',
    (activation, weight) => {
      const k = 1000;
      const [bytes] = everywhere(() => {
        const matrix = { weight: new Int8Array(17 * k).fill(weight), scales: Float32Array.of(1), bias: null };
        const handle = new (native().Int8Linear)(matrix, k, 17, false, true);
        const out = new Float32Array(7 * 17);
        handle.testMultiply(new Uint8Array(7 * k).fill(activation), 7, k, 1, 0, out);
        return [out];
      });
      const out = new Float32Array(bytes!.buffer);
      expect([...out]).toEqual(Array(7 * 17).fill(k * activation * weight + 0));
    },
  );

  test('the deepest product does not wrap', () => {
    const k = 131071;
    const [bytes] = everywhere(() => {
      const matrix = { weight: new Int8Array(k).fill(-128), scales: Float32Array.of(1), bias: null };
      const handle = new (native().Int8Linear)(matrix, k, 1, false, true);
      const out = new Float32Array(1);
      handle.testMultiply(new Uint8Array(131072).fill(128), 1, 131072, 1, 0, out);
      return [out];
    });
    expect(new Float32Array(bytes!.buffer)[0]).toBe(Math.fround(-128 * 128 * k));
  });
});

describe('float product', () => {
  test.each([1, 5, 16, 33].flatMap((k) => [1, 15, 16, 17, 64, 67].map((n) => [k, n])))(
    'depth %i, %i columns',
    (k, n) => {
      const random = pseudoRandom(k * 100 + n);
      for (const m of [1, 2, 5, 6, 7, 13]) {
        const weight = Float32Array.from({ length: n * k }, () => random() - 0.5);
        const bias = Float32Array.from({ length: n }, () => random() - 0.5);
        const x = Float32Array.from({ length: 1 + m * k }, () => random() - 0.5).subarray(1);
        const [bytes] = everywhere(() => {
          const out = new Float32Array(m * n + 2).fill(7);
          new (native().FloatLinear)({ weight, bias }, k, n).forward(x, m, out.subarray(1, 1 + m * n));
          return [out];
        });
        const out = new Float32Array(bytes!.buffer);
        expect([out[0], out[m * n + 1]]).toEqual([7, 7]);
        let worst = 0;
        for (let row = 0; row < m; row++) {
          for (let column = 0; column < n; column++) {
            let sum = bias[column]!;
            for (let i = 0; i < k; i++) sum += x[row * k + i]! * weight[column * k + i]!;
            worst = Math.max(worst, Math.abs(out[1 + row * n + column]! - sum));
          }
        }
        expect(worst).toBeLessThan(2e-6);
      }
    },
  );
});

describe.each([
  ['sigmoid', (x: number): number => 1 / (1 + Math.exp(-x)), 87],
  ['tanh', Math.tanh, 1e30],
] as const)('%s', (name, exact, limit) => {
  test('is within 2 ulp of exact, and the same bits everywhere', () => {
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
      worst = Math.max(worst, Math.abs(out[i]! - want) / ulp);
    }
    expect(worst).toBeLessThanOrEqual(2);
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
