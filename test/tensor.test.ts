import { runInNewContext } from 'node:vm';

import { arange, cat, full, ones, stack, Tensor, tensor, zeros } from '../src/tensor/index.js';

const m = tensor([
  [1, -2, 3],
  [4, 5, -6],
]);

describe('construction', () => {
  test('keeps the data, copies the shape', () => {
    const data = Float32Array.of(1, 2);
    const shape = [2];
    const t = new Tensor(data, shape);
    shape[0] = 9;
    expect(t.data).toBe(data);
    expect(t.shape).toEqual([2]);
  });
  test.each([
    [new Float32Array(1), 'float32'],
    [new Float64Array(1), 'float64'],
    [new Int8Array(1), 'int8'],
    [new Uint8Array(1), 'uint8'],
    [new Int16Array(1), 'int16'],
    [new Int32Array(1), 'int32'],
    [new BigInt64Array(1), 'int64'],
  ])('the dtype follows the array', (data, dtype) => expect(new Tensor(data, [1]).dtype).toBe(dtype));
  test('bool and halves are named', () => {
    expect(new Tensor(Uint8Array.of(1), [1], { dtype: 'bool' }).dtype).toBe('bool');
    const half = new Tensor(Uint16Array.of(0x3c00, 0xc000, 0x0001, 0x7c00, 0xfc01), [5], {
      dtype: 'float16',
    });
    expect(half.float().toArray()).toEqual([1, -2, 2 ** -24, Infinity, NaN]);
    const brain = new Tensor(Uint16Array.of(0x3f80, 0xc000), [2], { dtype: 'bfloat16' });
    expect(brain.float().toArray()).toEqual([1, -2]);
  });
  test.each<[string, () => unknown, RegExp]>([
    ['array', () => new Tensor([1] as never, [1]), /data should be a typed array, got .*an array of 1/],
    ['view', () => new Tensor(new DataView(new ArrayBuffer(4)) as never, [1]), /typed array/],
    ['Uint16Array without dtype', () => new Tensor(new Uint16Array(1), [1]), /typed array/],
    ['dtype of another array', () => new Tensor(new Float32Array(1), [1], { dtype: 'int8' }), /Int8Array/],
    [
      'unknown dtype',
      () => new Tensor(new Float32Array(1), [1], { dtype: 'float8' as never }),
      /known dtype/,
    ],
    [
      'length',
      () => new Tensor(new Float32Array(5), [2, 3]),
      /shape \[2, 3\] needs 6 elements, but data has 5/,
    ],
    ['negative size', () => new Tensor(new Float32Array(0), [-1]), /should hold sizes, got -1/],
    ['overflow', () => new Tensor(new Float32Array(0), [2 ** 40, 2 ** 40]), /too large/],
    [
      'quantized without scales',
      () => new Tensor(new Int8Array(1), [1], { dtype: 'qint8' }),
      /qscheme, scales/,
    ],
    ['ragged', () => tensor([[1], [1, 2]]), /nested arrays of equal lengths/],
    ['text', () => tensor(['1'] as never), /numbers, bigints or booleans/],
    ['option', () => zeros(2, { type: 1 } as never), /unknown option 'type'/],
    ['arange', () => arange(-1), /end should be a size/],
  ])('%s', (_, f, message) => expect(f).toThrow(message));
  test('creators', () => {
    expect(zeros(2, 2).toArray()).toEqual([
      [0, 0],
      [0, 0],
    ]);
    expect(ones([2], { dtype: 'int64' }).data).toEqual(BigInt64Array.of(1n, 1n));
    expect(full([2], 1.5).toArray()).toEqual([1.5, 1.5]);
    expect(arange(3).data).toEqual(BigInt64Array.of(0n, 1n, 2n));
    expect(tensor(5).shape).toEqual([]);
    expect(tensor([1n]).dtype).toBe('int64');
    expect(tensor([true, false]).data).toEqual(Uint8Array.of(1, 0));
    expect(tensor([[], []]).shape).toEqual([2, 0]);
  });
});

describe('arithmetic', () => {
  test('with numbers, tensors and broadcasting', () => {
    expect(m.abs().toArray()).toEqual([
      [1, 2, 3],
      [4, 5, 6],
    ]);
    expect(m.add(1).select(0, 0).toArray()).toEqual([2, -1, 4]);
    expect(m.sub(m).abs().sum().item()).toBe(0);
    expect(m.mul(tensor([1, 0, 2])).toArray()).toEqual([
      [1, -0, 6],
      [4, 0, -12],
    ]);
    expect(m.add(tensor([[10], [20]])).toArray()).toEqual([
      [11, 8, 13],
      [24, 25, 14],
    ]);
    expect(m.div(2).neg().select(1, 0).toArray()).toEqual([-0.5, -2]);
    expect(
      tensor([1, 2])
        .eq(tensor([[1], [2]]))
        .toArray(),
    ).toEqual([
      [1, 0],
      [0, 1],
    ]);
  });
  test('float32 rounds every result, and the number first', () => {
    expect(tensor([0.1]).add(0.2).item()).toBe(Math.fround(Math.fround(0.1) + Math.fround(0.2)));
    expect(tensor([0.1], { dtype: 'float64' }).add(0.2).item()).toBe(0.1 + 0.2);
  });
  test('int64 stays int64', () => {
    expect(tensor([2n, 3n]).mul(2).data).toEqual(BigInt64Array.of(4n, 6n));
    expect(
      tensor([2n])
        .add(tensor([0.5]))
        .toArray(),
    ).toEqual([2.5]);
  });
  test('errors', () => {
    expect(() => m.add(zeros(2))).toThrow(/tensor a \(3\) must match the size of tensor b \(2\)/);
    expect(() => m.add('1' as never)).toThrow(/Tensor or a number, got '1'/);
    expect(() => tensor([1n]).div(2)).toThrow(/floating tensor/);
    expect(() => tensor([1n]).add(0.5)).toThrow(/should be an integer/);
  });
});

describe('reductions', () => {
  test('sum, mean, min, max', () => {
    expect([m.sum().item(), m.min().item(), m.max().item()]).toEqual([5, -6, 5]);
    expect(m.mean().item()).toBe(Math.fround(5 / 6));
    expect(zeros(0).mean().item()).toBeNaN();
    expect(tensor([1, NaN, 3]).max().item()).toBeNaN();
    expect(() => zeros(0).max()).toThrow(/not empty/);
    expect(() => tensor([1n]).mean()).toThrow(/floating point/);
  });
  test('argmax gives the first of equals, and NaN', () => {
    expect(m.argmax(1).data).toEqual(BigInt64Array.of(2n, 1n));
    expect(m.argmax(0, true).shape).toEqual([1, 3]);
    expect(m.argmax().item()).toBe(4);
    expect(tensor([3, 3]).argmax().item()).toBe(0);
    expect(tensor([1, NaN, 9]).argmax().item()).toBe(1);
  });
  test('softmax and logSoftmax', () => {
    const soft = m.softmax(-1);
    expect(soft.select(0, 0).sum().item()).toBeCloseTo(1, 6);
    expect(m.logSoftmax(0).toArray()).toEqual([
      [expect.closeTo(-3.0485873, 5), expect.closeTo(-7.0009117, 5), expect.closeTo(-0.0001234, 7)],
      [expect.closeTo(-0.0485873, 5), expect.closeTo(-0.0009114, 6), expect.closeTo(-9.0001234, 5)],
    ]);
    expect(tensor([1000, 1000]).softmax(0).toArray()).toEqual([0.5, 0.5]);
  });
});

describe('shapes', () => {
  test('reshape shares memory, one size may be -1', () => {
    const r = m.reshape(3, -1);
    expect(r.shape).toEqual([3, 2]);
    expect(r.data).toBe(m.data);
    expect(m.flatten().shape).toEqual([6]);
    expect(() => m.reshape(4, -1)).toThrow(/invalid for input of size 6/);
    expect(() => m.reshape([7])).toThrow(/invalid for input of size 6/);
  });
  test('transpose, select, slice, squeeze', () => {
    const t = tensor([
      [
        [1, 2],
        [3, 4],
      ],
      [
        [5, 6],
        [7, 8],
      ],
      [
        [9, 10],
        [11, 12],
      ],
    ]);
    expect(t.transpose(0, 2).shape).toEqual([2, 2, 3]);
    expect(t.transpose(0, 2).select(0, 1).toArray()).toEqual([
      [2, 6, 10],
      [4, 8, 12],
    ]);
    expect(t.transpose(0, 1).select(0, -1).toArray()).toEqual([
      [3, 4],
      [7, 8],
      [11, 12],
    ]);
    expect(m.t().toArray()).toEqual([
      [1, 4],
      [-2, 5],
      [3, -6],
    ]);
    expect(t.slice(0, 1).shape).toEqual([2, 2, 2]);
    expect(t.slice(-1, 0, -1).flatten().toArray()).toEqual([1, 3, 5, 7, 9, 11]);
    expect(t.slice(0, 5, 2).shape).toEqual([0, 2, 2]);
    expect(m.unsqueeze(1).squeeze().shape).toEqual([2, 3]);
    expect(() => t.select(0, 3)).toThrow(/index 3 out of range/);
    expect(() => t.transpose(0, 3)).toThrow(/range of \[-3, 2\], but got 3/);
    expect(() => t.t()).toThrow(/2 dimensions/);
  });
  test('cat and stack', () => {
    expect(cat([m, m], 1).shape).toEqual([2, 6]);
    expect(
      cat([m, m.add(10)])
        .select(0, 2)
        .toArray(),
    ).toEqual([11, 8, 13]);
    expect(stack([m, m], 1).shape).toEqual([2, 2, 3]);
    expect(() => cat([])).toThrow(/non-empty/);
    expect(() => cat([m, zeros(2, 2)])).toThrow(/must match except in dimension 0/);
    expect(() => cat([m, arange(3)])).toThrow(/one dtype/);
  });
});

describe('access', () => {
  test('equal, allclose, item, copies', () => {
    expect(m.equal(m.clone())).toBe(true);
    expect(m.equal(m.add(1e-3))).toBe(false);
    expect(m.allclose(m.add(1e-6))).toBe(true);
    expect(m.allclose(m.reshape(6))).toBe(false);
    expect(() => m.item()).toThrow(/6 elements cannot be converted/);
    const t = zeros(2, 3);
    t.copy_(m);
    expect(t.equal(m)).toBe(true);
    expect(t.version).toBe(1);
    expect(() => t.copy_(zeros(3))).toThrow(/copy_ of shape/);
    expect(t.to('int64').data).toEqual(BigInt64Array.of(1n, -2n, 3n, 4n, 5n, -6n));
    const least = -(2n ** 63n);
    expect(tensor([1.5, -1.5, NaN, Infinity]).to('int64').data).toEqual(
      BigInt64Array.of(1n, -1n, least, least),
    );
    expect(full(1, 2.5, { dtype: 'int64' }).fill_(-3.5).data).toEqual(BigInt64Array.of(-3n));
    expect(() => t.to('qint8')).toThrow(/plain float or integer/);
  });
  test('quantized', () => {
    const q = new Tensor(Int8Array.of(1, -2, 3, 4), [2, 2], {
      dtype: 'qint8',
      qscheme: 'per_channel_affine',
      scales: Float64Array.of(0.5, 2),
      zeroPoints: Int32Array.of(0, 1),
      axis: 0,
    });
    expect(q.dequantize().toArray()).toEqual([
      [0.5, -1],
      [4, 6],
    ]);
    expect(q.intRepr().dtype).toBe('int8');
    expect(() => q.add(1)).toThrow(/not defined for qint8/);
    expect(() => m.dequantize()).toThrow(/expected a quantized tensor/);
    expect(
      () =>
        new Tensor(Int8Array.of(1), [1], {
          dtype: 'qint8',
          qscheme: 'per_tensor_affine',
          scales: Float64Array.of(NaN),
          zeroPoints: Int32Array.of(0),
        }),
    ).toThrow(/positive finite/);
  });
  test('detached data is an error, never garbage', () => {
    const t = zeros(4);
    structuredClone(t.data.buffer, { transfer: [t.data.buffer as ArrayBuffer] });
    expect(() => t.abs()).toThrow(/lost its data: 0 of 4/);
    expect(() => t.reshape(2, 2)).toThrow(RangeError);
  });
  test('arrays of another realm are known by their tag', () => {
    const foreign = runInNewContext('Float32Array.of(1, 2)') as Float32Array;
    expect(new Tensor(foreign, [2]).sum().item()).toBe(3);
  });
});

describe('float zero points and 4 bits', () => {
  const options = {
    qscheme: 'per_channel_affine_float_qparams',
    scales: Float64Array.of(0.5, 2),
    zeroPoints: Float32Array.of(0.25, -1.5),
  } as const;
  // Rows of three values: the second begins in the middle of a byte.
  const four = new Tensor(Uint8Array.of(0x21, 0xf3, 0x50), [2, 3], { ...options, dtype: 'quint4x2' });

  test('values', () => {
    expect(four.intRepr().toArray()).toEqual([
      [1, 2, 3],
      [15, 0, 5],
    ]);
    expect(four.dequantize().toArray()).toEqual([
      [0.375, 0.875, 1.375],
      [33, 3, 13],
    ]);
    const eight = new Tensor(Uint8Array.of(1, 2, 3, 15, 0, 5), [2, 3], { ...options, dtype: 'quint8' });
    expect(eight.dequantize().toArray()).toEqual(four.dequantize().toArray());
    expect(four.clone()).toEqual(four);
  });
  test('what would tear values apart is refused', () => {
    for (const f of [() => four.t(), () => four.select(0, 1), () => four.slice(1, 0, 1)]) {
      expect(f).toThrow(
        /is not defined for quint4x2 with a scale a channel: dequantize\(\) or intRepr\(\) first/,
      );
    }
  });
  test('errors', () => {
    const make = (other: object) => () =>
      new Tensor(new Uint8Array(6), [2, 3], { ...options, dtype: 'quint8', ...other });
    expect(make({ zeroPoints: Float32Array.of(NaN, 0) })).toThrow(/zeroPoints should be finite numbers/);
    expect(make({ zeroPoints: Float32Array.of(0) })).toThrow(/should have 2 elements, got 2 and 1/);
    expect(make({ qscheme: 'none' })).toThrow(/qscheme should be one of .*float_qparams, got 'none'/);
  });
});

describe('wrong arguments', () => {
  const huge = new Tensor(new Float32Array(0), [2 ** 33, 0, 3]);
  const half = new Tensor(new Uint16Array(2), [2], { dtype: 'float16' });
  const cyclic: never[] = [];
  cyclic.push(cyclic as never);
  const notATensor = {
    data: new Float32Array(1),
    shape: [1],
    dtype: 'float32',
    checked: (): number => 1,
  } as never;

  test.each<[string, () => unknown, string, string]>([
    ['equal', () => m.equal(1 as never), 'ERR_INVALID_ARG_TYPE', 'other should be a Tensor, got 1'],
    [
      'allclose',
      () => m.allclose(notATensor),
      'ERR_INVALID_ARG_TYPE',
      'other should be a Tensor, got Object',
    ],
    ['rtol', () => m.allclose(m, { rtol: '1' as never }), 'ERR_INVALID_ARG_TYPE', 'rtol should be a number'],
    ['copy_', () => m.copy_(undefined as never), 'ERR_INVALID_ARG_TYPE', 'other should be a Tensor'],
    ['cat', () => cat(1 as never), 'ERR_INVALID_ARG_TYPE', 'tensors should be an array of Tensors, got 1'],
    ['stack', () => stack([1] as never), 'ERR_INVALID_ARG_TYPE', 'tensors[0] should be a Tensor, got 1'],
    ['dim', () => m.softmax('0' as never), 'ERR_INVALID_ARG_TYPE', "dim should be an integer, got '0'"],
    ['keepdim', () => m.argmax(0, 1 as never), 'ERR_INVALID_ARG_TYPE', 'keepdim should be a boolean, got 1'],
    [
      'bigint',
      () => tensor([1n]).fill_(1n as never),
      'ERR_INVALID_ARG_TYPE',
      'value should be a number, got 1n',
    ],
    ['text', () => full([1], 'x' as never), 'ERR_INVALID_ARG_TYPE', "value should be a number, got 'x'"],
    ['symbol', () => zeros(Symbol('s') as never), 'ERR_INVALID_ARG_TYPE', 'got Symbol(s) in [Symbol(s)]'],
    [
      'class',
      () => zeros(Tensor as never),
      'ERR_INVALID_ARG_TYPE',
      'got function Tensor in [function Tensor]',
    ],
    ['no shape', () => new Tensor(new Float32Array(1), undefined as never), 'ERR_INVALID_ARG_TYPE', 'shape'],
    ['dtype', () => zeros(1, { dtype: 5 as never }), 'ERR_INVALID_ARG_TYPE', 'dtype should be a plain'],
    ['no dtype', () => zeros(1, { dtype: 'float8' as never }), 'ERR_INVALID_ARG_VALUE', "got 'float8'"],
    ['a hole', () => tensor(new Array(1)), 'ERR_INVALID_ARG_TYPE', 'bigints or booleans, got undefined'],
    ['cyclic', () => tensor(cyclic), 'ERR_SHAPE', 'values should be nested at most 64 deep'],
    ['rank', () => zeros(new Array(2 ** 32 - 1)), 'ERR_SHAPE', 'at most 64 sizes, got 4294967295'],
    [
      'too many',
      () => zeros(2 ** 31, 2 ** 31),
      'ERR_TOO_LARGE',
      'shape [2147483648, 2147483648] is too large',
    ],
    ['memory', () => zeros(2 ** 45), 'ERR_TOO_LARGE', 'cannot allocate 35184372088832 elements of float32'],
    ['empty arrays', () => huge.toArray(), 'ERR_TOO_LARGE', '[8589934592, 0, 3] is too large for nested'],
    ['a half', () => half.add(1), 'ERR_DTYPE', 'add is not defined for float16: float() first'],
    ['sum of halves', () => half.sum(), 'ERR_DTYPE', 'sum is not defined for float16: float() first'],
    ['scalars', () => cat([tensor(1), tensor(2)]), 'ERR_SHAPE', 'zero-dimensional tensor (at position 0)'],
    [
      'of a scalar',
      () => tensor(1).select(0, 0),
      'ERR_SHAPE',
      'select() cannot be applied to a 0-dim tensor',
    ],
    [
      'scales',
      () =>
        new Tensor(Int8Array.of(1), [1], {
          dtype: 'qint8',
          qscheme: 'per_tensor_affine',
          scales: [1] as never,
          zeroPoints: Int32Array.of(0),
        }),
      'ERR_INVALID_ARG_TYPE',
      'scales should be a Float64Array, got an array of 1',
    ],
  ])('%s', (_, f, code, message) => {
    expect(f).toThrow(expect.objectContaining({ code, message: expect.stringContaining(message) }));
  });
  test('a shape without elements takes no time, however large its other sizes', () => {
    expect(huge.softmax(-1).shape).toEqual(huge.shape);
    expect(huge.slice(2, 1).shape).toEqual([2 ** 33, 0, 2]);
    expect(huge.transpose(1, 2).shape).toEqual([2 ** 33, 3, 0]);
    expect(cat([huge, huge], 2).shape).toEqual([2 ** 33, 0, 6]);
    expect(huge.argmax(2).shape).toEqual([2 ** 33, 0]);
    expect(String(huge)).toBe('tensor([…], shape=[8589934592, 0, 3], dtype=float32)');
  });
  test('a detached tensor says so', () => {
    const t = zeros(4);
    structuredClone(t.data.buffer, { transfer: [t.data.buffer as ArrayBuffer] });
    expect(() => m.equal(t)).toThrow(expect.objectContaining({ code: 'ERR_DETACHED', name: 'RangeError' }));
  });
  test('bigints keep all their digits, and scalars have one row', () => {
    expect(tensor([2n ** 62n + 1n]).data).toEqual(BigInt64Array.of(2n ** 62n + 1n));
    expect(tensor(5).softmax(0).item()).toBe(1);
  });
});
