import * as nn from '../src/nn/index.js';
import { copyModule } from '../src/nn/copy-module.js';
import { native } from '../src/native/addon.js';
import type { QConfig } from '../src/quantization/index.js';
import { tensor, Tensor, zeros, type DType } from '../src/tensor/index.js';
import { bytesOf, expectClose, golden, optionsOf, withIsa, type GoldenCase } from './support.js';

const floatQParams = 'per_channel_affine_float_qparams';
const qconfig = (dtype: string): QConfig => ({ weight: { dtype: dtype as 'quint8', qscheme: floatQParams } });
const { Embedding, EmbeddingBag } = nn.quantized;
const int64 = { dtype: 'int64' } as const;

/** A float layer with these weights. */
function floatBag(weight: Tensor, options: nn.EmbeddingBagOptions = {}): nn.EmbeddingBag {
  const bag = new nn.EmbeddingBag(weight.size(0), weight.size(1), options);
  bag.loadStateDict({ weight });
  return bag;
}
function floatEmbedding(weight: Tensor, options: nn.EmbeddingOptions = {}): nn.Embedding {
  const embedding = new nn.Embedding(weight.size(0), weight.size(1), options);
  embedding.loadStateDict({ weight });
  return embedding;
}
const wave = (rows: number, width: number): Tensor =>
  new Tensor(
    Float32Array.from({ length: rows * width }, (_, i) => Math.sin(i * i)),
    [rows, width],
  );

describe('equals PyTorch, bit for bit', () => {
  const modules = golden('modules');
  const cases = modules.cases.filter((c) => c.kind.startsWith('Quantized'));
  const name = (c: GoldenCase): string => `${c.kind} ${c.kwargs.dtype} [${c.args}]`;

  test.each(cases.map((c, i) => [i, name(c), c]))('case %i: %s', (_, __, c) => {
    const state = modules.state(c.params);
    const { dtype, ...options } = optionsOf(c.kwargs);
    const bag = c.kind === 'QuantizedEmbeddingBag';
    const quantized = bag
      ? EmbeddingBag.fromFloat(floatBag(state.get('weight')!, options), qconfig(dtype as string))
      : Embedding.fromFloat(floatEmbedding(state.get('weight')!), qconfig(dtype as string));
    const stored = quantized.stateDict().get('weight')!;
    expect(stored.dtype).toBe(dtype);
    expect(Float32Array.from(stored.scales!)).toEqual(state.get('scales')!.data);
    expect(stored.zeroPoints).toEqual(state.get('zero_points')!.data);
    const { input, offsets, per_sample_weights: weights } = modules.inputs(c);
    for (const isa of native().isas()) {
      const out = withIsa(isa, () =>
        bag ? quantized.forward(input!, offsets, weights) : quantized.forward(input!),
      );
      expect([isa, bytesOf(out)]).toEqual([isa, bytesOf(modules.tensor(c.y))]);
    }
    if (dtype === 'quint8') expect(String(quantized)).toBe(c.repr);
  });
  test('42 cases', () => expect(cases).toHaveLength(42));

  const group = golden('dynamic');
  const dynamic = group.cases.filter((c) => c.kind.startsWith('embedding'));
  test.each(dynamic.map((c, i) => [i, c]))('golden dynamic, case %i', (_, c) => {
    const weight = group.state(c.params).get('weight')!;
    for (const dtype of ['quint8', 'quint4x2'] as const) {
      const expected = c[dtype];
      if (expected === undefined) continue;
      const bag = c.kind === 'embedding_bag';
      const quantized = bag
        ? EmbeddingBag.fromFloat(floatBag(weight, { mode: 'sum' }), qconfig(dtype))
        : Embedding.fromFloat(floatEmbedding(weight), qconfig(dtype));
      const out = bag
        ? quantized.forward(tensor(c.input, int64), tensor(c.offsets, int64))
        : quantized.forward(tensor(c.idx, int64));
      expect(bytesOf(out)).toBe(bytesOf(group.tensor(expected.y_sum ?? expected.y)));
      expect(String(quantized)).toBe(expected.repr ?? c.repr);
      const stored = quantized.stateDict().get('weight')!;
      const integers = group.tensor(expected.int ?? c.qweight.int);
      expect(Array.from(stored.data as Uint8Array)).toEqual(Array.from(integers.data as Uint8Array));
    }
  });
  test('three cases', () => expect(dynamic).toHaveLength(3));
});

describe.each(['quint8', 'quint4x2'] as const)('%s', (dtype) => {
  const steps = dtype === 'quint8' ? 255 : 15;
  const float = floatEmbedding(wave(7, 5));
  const quantized = Embedding.fromFloat(float, qconfig(dtype));
  const all = tensor([0, 1, 2, 3, 4, 5, 6], { dtype: 'int32' });

  test('a lookup is the weight, dequantized, and near the float one', () => {
    const out = quantized.forward(all);
    const difference = out.sub(float.weight).abs().max().item();
    expect(difference).toBeLessThan(1.1 / steps);
    expect(difference).toBeGreaterThan(0);
    const weight = quantized.stateDict().get('weight')!;
    expect(out.sub(weight.dequantize()).abs().max().item()).toBeLessThan(dtype === 'quint8' ? 1e-6 : 2e-3);
  });
  test('means, maxima and padding stay what they were', () => {
    const input = tensor([1, 2, 2, 6, 3, 0, 2, 5], { dtype: 'int32' });
    const offsets = tensor([0, 3, 4, 4], { dtype: 'int32' });
    for (const mode of ['sum', 'mean', 'max'] as const) {
      for (const paddingIdx of [null, 2, -1]) {
        const bag = EmbeddingBag.fromFloat(floatBag(wave(7, 5), { mode, paddingIdx }), qconfig(dtype));
        // A float bag over the dequantized rows says what it should be.
        const twin = floatBag(quantized.forward(all), { mode, paddingIdx });
        expectClose(bag.forward(input, offsets), twin.forward(input, offsets));
        expectClose(bag.forward(input.reshape(2, 4)), twin.forward(input.reshape(2, 4)));
      }
    }
    const last = EmbeddingBag.fromFloat(floatBag(wave(7, 5), { includeLastOffset: true }), qconfig(dtype));
    expect(last.forward(input, offsets).shape).toEqual([3, 5]);
  });
  test('an option of the float layer that changes its rows changes them before', () => {
    const options = { maxNorm: 1, normType: 1 };
    const limited = Embedding.fromFloat(floatEmbedding(wave(7, 5), options), qconfig(dtype));
    const before = floatEmbedding(wave(7, 5), options);
    expect(limited.forward(all).sub(before.forward(all)).abs().max().item()).toBeLessThan(1.1 / steps);
    const source = floatEmbedding(wave(7, 5), options);
    Embedding.fromFloat(source, qconfig(dtype));
    expect(bytesOf(source.weight)).toBe(bytesOf(wave(7, 5)));
  });
  test('the state dict loads into another, whatever its bits were', () => {
    const state = quantized.stateDict();
    for (const other of ['quint8', 'quint4x2'] as const) {
      const twin = new Embedding(7, 5, { dtype: other });
      expect(twin.forward(all).toArray()).toEqual(zeros(7, 5).toArray());
      twin.loadStateDict(state);
      expect(bytesOf(twin.forward(all))).toBe(bytesOf(quantized.forward(all)));
      expect(twin.dtype).toBe(dtype);
      expect(bytesOf(twin.stateDict().get('weight')!)).toBe(bytesOf(state.get('weight')!));
    }
    (state.get('weight')!.data as Uint8Array).fill(0);
    expect(quantized.forward(all).abs().sum().item()).toBeGreaterThan(1);
  });
  test('metadata', () => {
    const bag = new EmbeddingBag(7, 5, { dtype, mode: 'mean', paddingIdx: -1 });
    expect(bag.stateDict().metadata.get('')).toEqual({
      ...{ type: 'QuantizedEmbeddingBag', numEmbeddings: 7, embeddingDim: 5, paddingIdx: 6, dtype },
      ...{ qscheme: floatQParams, mode: 'mean', includeLastOffset: false },
    });
    expect(String(bag)).toBe(
      `QuantizedEmbeddingBag(num_embeddings=7, embedding_dim=5, dtype=torch.${dtype}, qscheme=torch.${floatQParams}, mode='mean', padding_idx=6)`,
    );
  });
  test('a copy, and a large table shared out among threads', () => {
    const weight = wave(2000, 67);
    const large = Embedding.fromFloat(floatEmbedding(weight), qconfig(dtype));
    const indices = new Tensor(
      Int32Array.from({ length: 4000 }, (_, i) => (i * 7919) % 2000),
      [4000],
    );
    const out = copyModule(large).forward(indices);
    for (let i = 0; i < 4000; i += 97) {
      const one = large.forward(tensor([(i * 7919) % 2000], { dtype: 'int32' }));
      expect(bytesOf(out.slice(0, i, i + 1))).toBe(bytesOf(one));
    }
  });
  test('what is not finite, or beyond the scale, is refused', () => {
    const convert = (rows: number[][]): unknown =>
      Embedding.fromFloat(floatEmbedding(tensor(rows)), qconfig(dtype));
    for (const bad of [NaN, Infinity, -Infinity]) {
      expect(() =>
        convert([
          [0, 1],
          [bad, 2],
        ]),
      ).toThrow(/weight should be finite to be quantized/);
    }
    expect(() => convert([[-3e38, 3e38]])).toThrow(/a row whose range is beyond float32/);
    if (dtype === 'quint4x2') {
      expect(() => convert([[1e5, 1.1e5]])).toThrow(/scale or offset is beyond float16/);
      expect(() => convert([[-1e6, 1e6]])).toThrow(/scale or offset is beyond float16/);
    }
  });
});

describe('errors', () => {
  const embedding = new Embedding(4, 3);
  const bag = new EmbeddingBag(4, 3);
  const weight = (
    options: object,
    data: Tensor['data'] = new Uint8Array(12),
    dtype: DType = 'quint8',
  ): Tensor =>
    new Tensor(data, [4, 3], {
      ...{
        dtype,
        qscheme: floatQParams,
        scales: new Float64Array(4).fill(1),
        zeroPoints: new Float32Array(4),
      },
      ...options,
    });
  test.each<[string, () => unknown, RegExp]>([
    ['index', () => embedding.forward(tensor([4n])), /index out of range in self: got 4/],
    ['float index', () => embedding.forward(tensor([1])), /Long, Int; but got float32/],
    ['no offsets', () => bag.forward(tensor([1n])), /offsets has to be a 1D Tensor but got None/],
    ['padding', () => new Embedding(4, 3, { paddingIdx: 4 }), /within num_embeddings, got 4/],
    [
      'dtype',
      () => new Embedding(4, 3, { dtype: 'qint8' as never }),
      /dtype should be 'quint8' or 'quint4x2'/,
    ],
    ['option', () => new Embedding(4, 3, { mode: 'sum' } as never), /unknown option 'mode'/],
    [
      'qconfig',
      () => Embedding.fromFloat(new nn.Embedding(1, 1), { weight: { qscheme: 'per_tensor_symmetric' } }),
      /Embedding quantization is only supported with float_qparams_weight_only_qconfig.*got qint8/,
    ],
    [
      'qconfig of a bag',
      () => EmbeddingBag.fromFloat(new nn.EmbeddingBag(1, 1), undefined as never),
      /^qconfig should be an object with a weight, got undefined/,
    ],
    [
      'module',
      () => EmbeddingBag.fromFloat(new nn.Embedding(1, 1) as never, qconfig('quint8')),
      /^module should be an instance of EmbeddingBag, got Embedding/,
    ],
    [
      'float',
      () => embedding.loadStateDict({ weight: zeros(4, 3) }),
      /should be quint8 or quint4x2, got float32/,
    ],
    ['shape', () => embedding.loadStateDict({ weight: zeros(3, 3) }), /size mismatch for weight/],
    [
      'scheme',
      () => embedding.loadStateDict({ weight: weight({ qscheme: 'per_channel_affine' }) }),
      /should be per_channel_affine_float_qparams along axis 0, got per_channel_affine/,
    ],
    [
      'scale',
      () => embedding.loadStateDict({ weight: weight({ scales: new Float64Array(4).fill(3e38) }) }),
      /scale or offset is beyond float32/,
    ],
    ['weights', () => bag.forward(tensor([[1n]]), null, tensor([[Infinity]])), /should be finite/],
    [
      'overflow',
      () => {
        const large = floatBag(tensor([[2e38, 1e38]]), { mode: 'sum' });
        EmbeddingBag.fromFloat(large, qconfig('quint8')).forward(tensor([[0n, 0n]]));
      },
      /the output overflows float32/,
    ],
  ])('%s', (_, f, message) => expect(f).toThrow(message));
  test('a failed load changes nothing', () => {
    const quantized = Embedding.fromFloat(floatEmbedding(wave(4, 3)), qconfig('quint8'));
    const before = bytesOf(quantized.forward(tensor([0n, 1n, 2n, 3n])));
    expect(() => quantized.loadStateDict({ weight: zeros(4, 3) })).toThrow(RangeError);
    expect(bytesOf(quantized.forward(tensor([0n, 1n, 2n, 3n])))).toBe(before);
  });
});

test('4-bit scales and offsets are rounded to float16 as IEEE does', () => {
  // One row a value: q = 0 everywhere, so that a lookup is the offset, -(zero_point * scale), alone.
  const values = [
    1, 1.00048828125, 1.0009765625, 1.00146484375, 65504, 6e-5, 6.1e-5, 3e-8, 2.98e-8, 2.9e-8, 0,
  ];
  const rounded = [1, 1, 1.0009765625, 1.001953125, 65504, 1007 * 2 ** -24, 0, 2 ** -24, 0, 0, 0];
  rounded[6] = Math.round(6.1e-5 * 2 ** 24) / 2 ** 24;
  rounded[7] = 2 ** -24;
  const weight = new Tensor(new Uint8Array(6), [values.length, 1], {
    ...{ dtype: 'quint4x2', qscheme: floatQParams, scales: new Float64Array(values.length).fill(1) },
    zeroPoints: Float32Array.from(values, (value) => -value),
  });
  const embedding = new Embedding(values.length, 1);
  embedding.loadStateDict({ weight });
  const out = embedding.forward(
    tensor(
      values.map((_, i) => i),
      { dtype: 'int32' },
    ),
  );
  expect(Array.from(out.data as Float32Array)).toEqual(rounded);
});
