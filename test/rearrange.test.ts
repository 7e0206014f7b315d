import { readFileSync } from 'node:fs';
import { join } from 'node:path';

import { arange, cat, ones, randint, setNumThreads, stack, Tensor, tensor, type DType } from 'dynaquant';

import { native } from '../src/native/addon.js';
import { bytesOf, withIsa } from './support.js';

interface Case {
  readonly method: string;
  readonly shape: number[];
  readonly args: unknown[];
  readonly outs?: { shape: number[]; data: number[] }[];
  readonly error?: string;
}
const { cases } = JSON.parse(readFileSync(join(__dirname, 'fixtures/rearrange.json'), 'utf8')) as {
  cases: Case[];
};
const counted = (shape: readonly number[], dtype: DType = 'float32'): Tensor => {
  const numel = shape.reduce((a, b) => a * b, 1);
  return arange(numel, { dtype }).reshape(shape);
};
const given = (value: unknown): unknown =>
  typeof value === 'object' && value !== null && 't' in value
    ? tensor(value.t as number[], { dtype: 'int64' })
    : value;
const call = (x: Tensor, { method, args }: Case): Tensor[] => {
  const methods = x as unknown as Record<string, (...args: unknown[]) => Tensor | Tensor[]>;
  return [methods[method]!(...args.map(given))].flat();
};
/** Where a sentence says the same in other words. */
const otherWords: readonly [theirs: RegExp, ours: RegExp][] = [
  [
    /^permute\(sparse_coo\): number of dim/,
    /^permute\(\): number of dimensions in the tensor input does not match/,
  ],
  [/^expand\(torch/, /^expand\(size=\[2, 3\]\): the number of sizes provided \(2\) must be greater/],
  [/^split expects at least a 1-dim/, /^split\(\) cannot be applied to a 0-dim tensor/],
];
describe('as PyTorch', () => {
  const title = ({ method, shape, args }: Case): string =>
    `${method}(${args.map((each) => JSON.stringify(each)).join(', ')}) of [${shape.join(', ')}]`;
  test.each(cases.filter(({ outs }) => outs).map((each) => [title(each), each] as const))('%s', (_, each) => {
    for (const dtype of ['float32', 'int64', 'int16', 'uint8'] as const) {
      const outs = call(counted(each.shape, dtype), each);
      expect(outs.map(({ shape, data }) => ({ shape: [...shape], data: Array.from(data, Number) }))).toEqual(
        each.outs,
      );
      for (const out of outs) expect(out.dtype).toBe(dtype);
    }
  });
  test.each(cases.filter(({ error }) => error).map((each) => [title(each), each] as const))(
    '%s is an error',
    (_, each) => {
      const ours = otherWords.find(([theirs]) => theirs.test(each.error!))?.[1];
      expect(() => call(counted(each.shape), each)).toThrow(ours ?? each.error!.slice(0, 40));
    },
  );
});

describe('moving', () => {
  const orders = (rank: number): number[][] =>
    rank === 0
      ? [[]]
      : orders(rank - 1).flatMap((order) =>
          Array.from({ length: rank }, (_, i) => [...order.slice(0, i), rank - 1, ...order.slice(i)]),
        );
  const naive = (x: Tensor, order: number[]): unknown[] => {
    const steps = x.shape.map((_, i) => x.shape.slice(i + 1).reduce((a, b) => a * b, 1));
    const walk = (dim: number, at: number): unknown[] =>
      dim === order.length
        ? [x.data[at]]
        : Array.from({ length: x.shape[order[dim]!]! }, (_, i) =>
            walk(dim + 1, at + i * steps[order[dim]!]!),
          ).flat();
    return walk(0, 0);
  };
  const shapes = [
    [5],
    [16, 16],
    [17, 33],
    [3, 70],
    [70, 3],
    [5, 17, 33],
    [1, 64, 3],
    [3, 17, 2, 19],
    [2, 3, 2, 3, 2],
  ];
  test.each(native().isas())('%s: every order of dimensions', (isa) =>
    withIsa(isa, () => {
      for (const shape of shapes) {
        for (const dtype of ['float32', 'int32', 'int64', 'float64', 'int16'] as const) {
          const x = counted(shape, dtype);
          for (const order of orders(shape.length))
            expect([shape, order, Array.from<unknown>(x.permute(order).data)]).toEqual([
              shape,
              order,
              naive(x, order),
            ]);
        }
      }
    }),
  );
  test('every number of threads moves the same', () => {
    const x = randint(0, 1000, [6, 300, 70], { dtype: 'int32' });
    const all = [1, 2, 3, 8].map((threads) => {
      setNumThreads(threads);
      return [x.permute(0, 2, 1), x.permute(2, 1, 0), x.flip(0, 1), x.slice(1, 1, 290, 3), x.roll(7, 1)].map(
        bytesOf,
      );
    });
    setNumThreads(1);
    for (const each of all) expect(each).toEqual(all[0]);
  });
  test('the bits of a NaN stay, signalling or not, in small tensors and large ones', () => {
    for (const [rows, columns] of [
      [2, 3],
      [9, 20],
      [64, 64],
    ] as const) {
      const bits = Int32Array.from(
        { length: rows * columns },
        (_, i) => (i % 2 ? 0x7f800001 : 0xffc12345) + 2 * i,
      );
      const floats = new Tensor(new Float32Array(bits.buffer), [rows, columns]);
      const integers = new Tensor(bits, [rows, columns]);
      const index = tensor([1, 0, 1], { dtype: 'int64' });
      const operations: ((x: Tensor) => Tensor)[] = [
        (x) => x.t(),
        (x) => x.flip(1),
        (x) => x.slice(1, 0, 3, 2),
        (x) => x.repeat(2, 2),
        (x) => x.unsqueeze(0).expand(3, rows, columns),
        (x) => x.indexSelect(0, index),
        (x) => x.gather(0, index.reshape(3, 1).clone()),
        (x) => x.repeatInterleave(2, 1),
        (x) => x.roll(1, 1),
        (x) => x.unfold(1, 2, 1),
        (x) => cat([x, x], 1),
        (x) => stack([x, x], 2),
        (x) => x.split(1, 1)[1]!,
      ];
      for (const operation of operations)
        expect(bytesOf(operation(floats))).toBe(bytesOf(operation(integers)));
    }
  });
  test('elements of every type, and those of a quantized tensor', () => {
    for (const [data, dtype] of [
      [Uint16Array.of(1, 2, 3, 0x7c01), 'float16'],
      [Uint16Array.of(1, 2, 3, 0xff81), 'bfloat16'],
      [Uint8Array.of(1, 0, 0, 1), 'bool'],
      [Int8Array.of(-1, 2, 3, -4), 'int8'],
      [BigInt64Array.of(1n, -(2n ** 63n), 2n ** 53n + 1n, 4n), 'int64'],
      [Float64Array.of(0.1, -0, NaN, 4), 'float64'],
    ] as const) {
      const x = new Tensor(data, [2, 2], { dtype });
      const t = x.permute(1, 0);
      expect([t.dtype, Array.from<unknown>(t.data)]).toEqual([dtype, [data[0], data[2], data[1], data[3]]]);
      expect(bytesOf(t.permute(1, 0))).toBe(bytesOf(x));
    }
    const scale = {
      qscheme: 'per_tensor_affine',
      scales: Float64Array.of(0.5),
      zeroPoints: Int32Array.of(1),
    } as const;
    const q = new Tensor(Int8Array.of(1, 2, 3, 4), [2, 2], { dtype: 'qint8', ...scale });
    expect(q.permute(1, 0).dequantize().toArray()).toEqual([
      [0, 1],
      [0.5, 1.5],
    ]);
    const channels = { qscheme: 'per_channel_affine', axis: 0, scales: Float64Array.of(1, 2) } as const;
    const perRow = new Tensor(Int8Array.of(1, 2, 3, 4), [2, 2], {
      dtype: 'qint8',
      ...channels,
      zeroPoints: new Int32Array(2),
    });
    for (const f of [
      (): unknown => perRow.permute(1, 0),
      (): unknown => perRow.split(1),
      (): unknown => perRow.flip(0),
    ])
      expect(f).toThrow('with a scale a channel');
  });
  test('cat along every dimension', () => {
    for (const sizes of [
      [2, 3],
      [40, 1, 0, 70],
    ]) {
      for (const dim of [0, 1, 2, -1]) {
        const at = dim < 0 ? 2 : dim;
        const parts = sizes.map((size) => counted([3, 4, 5].map((n, i) => (i === at ? size : n))));
        const whole = cat(parts, dim);
        let start = 0;
        for (const part of parts) {
          const size = part.shape[at]!;
          expect(whole.narrow(dim, start, size).equal(part)).toBe(true);
          start += size;
        }
        expect(whole.size(dim)).toBe(start);
        expect(whole.split(sizes, dim).every((part, i) => part.equal(parts[i]!))).toBe(true);
      }
    }
  });
  test('nothing shares memory with its input', () => {
    const x = counted([2, 2]);
    const row = counted([1, 2]);
    const outs = [
      x.permute(0, 1),
      x.transpose(1, 1),
      x.slice(0),
      x.expand(2, 2),
      x.repeat(1, 1),
      x.flip(),
      x.roll(0, 0),
    ];
    outs.push(...x.split(2), ...x.chunk(1), ...row.unbind(), x.tril(), row.t(), tensor([1]).t());
    for (const out of outs) out.fill_(9);
    expect(x.toArray()).toEqual([
      [0, 1],
      [2, 3],
    ]);
    expect(row.toArray()).toEqual([[0, 1]]);
  });
  test('sizes that no memory holds are an error', () => {
    const x = ones(1, 1);
    for (const f of [
      (): unknown => x.expand(2 ** 40, 2 ** 40),
      (): unknown => x.expand(2 ** 45, 1),
      (): unknown => x.repeat(2 ** 52, 2 ** 52),
      (): unknown => x.repeatInterleave(2 ** 50),
      (): unknown => ones(0).chunk(2 ** 40),
      (): unknown => ones(0, 2 ** 40).unbind(1),
    ])
      expect(f).toThrow(expect.objectContaining({ code: 'ERR_TOO_LARGE' }));
  });
});
