import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { native } from '../src/native/addon.js';
import * as nn from '../src/nn/index.js';
import { Linear as QuantizedLinear } from '../src/nn/quantized/dynamic/linear.js';
import {
  defaultDynamicQConfig,
  float16DynamicQConfig,
  floatQParamsWeightOnlyQConfig,
  perChannelDynamicQConfig,
  perRowDynamicQConfig,
  quantizeDynamic,
} from '../src/quantization/index.js';
import { manualSeed, randn } from '../src/random.js';
import { loadSync } from '../src/serialization/load.js';
import { saveSync } from '../src/serialization/save.js';
import { cat, Tensor, zeros } from '../src/tensor/index.js';
import { getNumThreads, setNumThreads } from '../src/threads.js';
import { bytesOf, everyQConfig, expectClose, golden, pseudoRandom, qconfigOf, withIsa } from './support.js';

const group = golden('dynamic');
const isas = native().isas();
const cases = group.cases.filter((c) => c.kind === 'linear');
const qconfigs = { default: defaultDynamicQConfig, per_channel: perChannelDynamicQConfig };

describe.each(isas)('PyTorch’s fbgemm engine, bit for bit, on %s', (isa) => {
  test.each(cases.map((c) => [`seed ${c.seed} ${c.spec}`, c]))('%s', (_, c) => {
    manualSeed(c.seed);
    const float = new nn.Linear(c.in_features, c.out_features, { bias: c.bias });
    if (c.params) float.loadStateDict(group.state(c.params));
    withIsa(isa, () => {
      const quantized = QuantizedLinear.fromFloat(float, qconfigs[c.spec as keyof typeof qconfigs]);
      expect(String(quantized)).toBe(c.repr);
      if (c.qweight) {
        const weight = quantized.stateDict().get('weight')!;
        expect(weight.intRepr().equal(group.tensor(c.qweight.int))).toBe(true);
        const { scale } = c.qweight;
        expect(Array.from(weight.scales!)).toEqual(
          typeof scale === 'number' ? [scale] : Array.from(group.tensor(scale).data, Number),
        );
      }
      expect(bytesOf(quantized.forward(group.tensor(c.x)))).toBe(bytesOf(group.tensor(c.fbgemm.y)));
    });
  });
});

test('there are golden cases', () => expect(cases).toHaveLength(26));

describe.each(isas)('float16 weights on %s', (isa) => {
  const group16 = golden('float16');
  const halves = group16.cases.filter((c) => c.cls === 'Linear');
  test('there are golden cases', () => expect(halves).toHaveLength(3));
  test.each(halves.map((c) => [`${c.args} ${JSON.stringify(c.kwargs)}`, c]))('%s', (_, c) => {
    const float = new nn.Linear(c.args[0], c.args[1], c.kwargs);
    float.loadStateDict(group16.state(c.params));
    withIsa(isa, () => {
      const half = QuantizedLinear.fromFloat(float, float16DynamicQConfig);
      expect(String(half)).toBe(c.repr);
      const x = group16.tensor(c.x);
      expectClose(half.forward(x), group16.tensor(c.float16[0]));
      // A state dict brings the bits back.
      const twin = new QuantizedLinear(c.args[0], c.args[1], { ...c.kwargs, dtype: 'float16' });
      twin.loadStateDict(half.stateDict());
      expect(half.stateDict().get('weight')!.dtype).toBe('float16');
      expect(bytesOf(twin.forward(x))).toBe(bytesOf(half.forward(x)));
    });
  });
  test('a row has the same bits in any batch', () => {
    withIsa(isa, () => {
      const half = QuantizedLinear.fromFloat(new nn.Linear(67, 35), float16DynamicQConfig);
      const rows = Array.from({ length: 9 }, () => randn(1, 67));
      const all = half.forward(cat(rows, 0));
      expect(rows.map((row) => bytesOf(half.forward(row))).join('')).toBe(bytesOf(all));
    });
  });
});

test('weights beyond float16 go to its largest number, others are refused', () => {
  const float = new nn.Linear(3, 1, { bias: false });
  float.weight.copy_(new Tensor(Float32Array.of(1e6, -7e4, 0.1), [1, 3]));
  const half = QuantizedLinear.fromFloat(float, float16DynamicQConfig);
  expect(half.stateDict().get('weight')!.toArray()).toEqual([[65504, -65504, 0.0999755859375]]);
  expect([half.dtype, half.activation, half.reduceRange]).toEqual(['float16', undefined, undefined]);
  float.weight.data[1] = NaN;
  expect(() => QuantizedLinear.fromFloat(float, float16DynamicQConfig)).toThrow(/weight should be finite/);
  const state = half.stateDict();
  state.get('weight')!.data[0] = 0xfc00;
  expect(() => half.loadStateDict(state)).toThrow(/weight should be finite, but holds NaN or infinity/);
});

describe('modes that PyTorch does not have, bit for bit', () => {
  const modes = golden('modes');
  const linears = modes.cases.filter((c) => c.cls === 'Linear');
  test('there are golden cases', () => {
    expect(linears).toHaveLength(3);
    for (const c of linears) expect(c.out).toHaveLength(8);
  });
  test.each(linears.map((c) => [`Linear(${c.args}) ${JSON.stringify(c.kwargs)}`, c]))('%s', (_, c) => {
    const float = new nn.Linear(c.args[0], c.args[1], c.kwargs);
    float.loadStateDict(modes.state(c.params));
    for (const { rows, full, channel, y } of c.out) {
      for (const isa of isas) {
        withIsa(isa, () => {
          const quantized = QuantizedLinear.fromFloat(float, qconfigOf(rows, full, channel));
          expect(bytesOf(quantized.forward(modes.tensor(c.x)))).toBe(bytesOf(modes.tensor(y)));
        });
      }
    }
  });
});

test('200 random configurations give the same bytes on every instruction set', () => {
  const random = pseudoRandom(2);
  const upTo = (n: number): number => 1 + Math.floor(random() * n);
  for (let i = 0; i < 200; i++) {
    manualSeed(i);
    const float = new nn.Linear(upTo(300), upTo(100), { bias: random() < 0.5 });
    const x = randn(upTo(30), float.inFeatures)
      .mul(10 ** (20 * random() - 10))
      .add(random() - 0.5);
    // Cubes: small weights with a few large ones, as trained models have them.
    if (random() < 0.5) float.weight.copy_(float.weight.mul(float.weight).mul(float.weight));
    const qconfig = everyQConfig[i % 8]!;
    const [first, ...others] = isas.map((isa) =>
      withIsa(isa, () => bytesOf(QuantizedLinear.fromFloat(float, qconfig).forward(x))),
    );
    for (const other of others) expect(other).toBe(first);
  }
});

test('large products give the same bytes on every instruction set and number of threads', () => {
  const before = getNumThreads();
  for (const [inFeatures, outFeatures] of [
    [70, 1000],
    [384, 387],
  ] as const) {
    const float = new nn.Linear(inFeatures, outFeatures);
    for (const rows of [6, 17, 40, 70]) {
      const x = randn(rows, inFeatures);
      (x.data as Float32Array).fill(0, 3 * inFeatures, 4 * inFeatures); // a row of zeros
      for (const qconfig of everyQConfig) {
        const outputs = isas.flatMap((isa) =>
          [1, 2].map((threads) => {
            setNumThreads(threads);
            return withIsa(isa, () => bytesOf(QuantizedLinear.fromFloat(float, qconfig).forward(x)));
          }),
        );
        for (const output of outputs) expect(output).toBe(outputs[0]);
      }
    }
  }
  setNumThreads(before);
});

describe.each(isas)('a row has the same bits alone and in any batch, on %s', (isa) => {
  const perRow = everyQConfig.filter(({ activation }) => activation === 'perRow');
  test.each(perRow.map((qconfig) => [JSON.stringify(qconfig), qconfig]))('%s', (_, qconfig) => {
    withIsa(isa, () => {
      const random = pseudoRandom(3);
      for (const [inFeatures, outFeatures] of [
        [1, 1],
        [67, 35],
        [300, 130],
      ] as const) {
        const quantized = QuantizedLinear.fromFloat(new nn.Linear(inFeatures, outFeatures), qconfig);
        const rows = Array.from({ length: 32 }, () =>
          randn(1, inFeatures)
            .mul(10 ** (12 * random() - 6))
            .add(random() < 0.3 ? 1 : 0),
        );
        const alone = rows.map((row) => bytesOf(quantized.forward(row)));
        expect(bytesOf(quantized.forward(cat(rows, 0)))).toBe(alone.join(''));
        for (let begin = 0; begin < 32;) {
          const end = begin + 1 + Math.floor(random() * 13);
          const batch = quantized.forward(cat(rows.slice(begin, end), 0).unsqueeze(0));
          expect(bytesOf(batch)).toBe(alone.slice(begin, end).join(''));
          begin = end;
        }
      }
    });
  });
  test('with one range for all it does not', () => {
    const quantized = QuantizedLinear.fromFloat(new nn.Linear(67, 35), defaultDynamicQConfig);
    const [small, large] = [randn(1, 67), randn(1, 67).mul(100)];
    const both = bytesOf(quantized.forward(cat([small, large], 0)));
    expect(both).not.toContain(bytesOf(quantized.forward(small)));
  });
});

test('trained weights are summed in chains on AVX2', () => {
  if (!isas.includes('avx2')) return;
  const random = pseudoRandom(6);
  const weight = new Tensor(
    Float32Array.from({ length: 64 * 512 }, () => Math.log(1 - random()) * (random() < 0.5 ? 1 : -1)),
    [64, 512],
  );
  const laplace = new nn.Linear(512, 64);
  laplace.weight.copy_(weight);
  const x = randn(12, 512);
  for (const qconfig of everyQConfig) {
    const expected = withIsa('scalar', () => bytesOf(QuantizedLinear.fromFloat(laplace, qconfig).forward(x)));
    withIsa('avx2', () => {
      const quantized = QuantizedLinear.fromFloat(laplace, qconfig);
      expect(bytesOf(quantized.forward(x))).toBe(expected);
      const state = quantized.stateDict().get('weight')!;
      const matrix = {
        weight: state.data as Int8Array,
        scales: Float32Array.from(state.scales!),
        bias: null,
      };
      const handle = new (native().TestInt8Matrix)(matrix, 512, 64, qconfig.reduceRange!);
      if (qconfig.reduceRange) expect(handle.meanChain()).toBeGreaterThan(1);
    });
  }
});

test.each(
  [...everyQConfig, float16DynamicQConfig].flatMap((qconfig) =>
    (['Linear', 'LinearReLU'] as const).map((name) => [name, JSON.stringify(qconfig), qconfig] as const),
  ),
)('%s keeps every bit in a file: %s', (name, _, qconfig) => {
  const folder = mkdtempSync(join(tmpdir(), 'linear-'));
  try {
    const linear = new nn.Linear(9, 35, { bias: name === 'Linear' });
    const float = name === 'Linear' ? linear : new nn.intrinsic.LinearReLU(linear, new nn.ReLU());
    const q = quantizeDynamic<nn.Module>(float, new Map([['', qconfig]]));
    const path = join(folder, 'q.safetensors');
    saveSync(q.stateDict(), path);
    const state = loadSync(path);
    const { type, inFeatures, outFeatures, qscheme, ...options } = state.metadata.get('')!;
    expect([type, qscheme === undefined]).toEqual([
      `DynamicQuantized${name}`,
      qconfig === float16DynamicQConfig,
    ]);
    const twin = new nn.quantized.dynamic[name](inFeatures as number, outFeatures as number, options);
    twin.loadStateDict(state);
    const x = randn(6, 9);
    expect(bytesOf(twin.forward(x))).toBe(bytesOf(q.forward(x) as Tensor));
    expect(String(twin)).toBe(String(q));
  } finally {
    rmSync(folder, { recursive: true });
  }
});

describe('the mode', () => {
  const float = new nn.Linear(9, 5);
  const x = randn(6, 9);
  test('is a property, an option, and printed where PyTorch has no such thing', () => {
    const q = QuantizedLinear.fromFloat(float, { ...perChannelDynamicQConfig, activation: 'perRow' });
    expect([q.activation, q.reduceRange]).toEqual(['perRow', true]);
    expect(String(q)).toBe(
      'DynamicQuantizedLinear(in_features=9, out_features=5, dtype=torch.qint8, qscheme=torch.per_channel_affine, activation=per_row)',
    );
    const empty = new QuantizedLinear(9, 5, { activation: 'perTensor', reduceRange: false });
    expect([empty.activation, empty.reduceRange]).toEqual(['perTensor', false]);
    expect(String(empty)).toMatch(/qscheme=torch.per_tensor_affine, reduce_range=False\)$/);
    expect(bytesOf(QuantizedLinear.fromFloat(float, perRowDynamicQConfig).forward(x))).toBe(
      bytesOf(QuantizedLinear.fromFloat(float, qconfigOf(true, false, false)).forward(x)),
    );
  });
  test('comes with a state dict’s metadata, not with plain tensors', () => {
    for (const from of everyQConfig) {
      const source = QuantizedLinear.fromFloat(float, from);
      const expected = bytesOf(source.forward(x));
      for (const to of everyQConfig) {
        const twin = QuantizedLinear.fromFloat(new nn.Linear(9, 5), to);
        twin.loadStateDict(source.stateDict());
        expect([twin.activation, twin.reduceRange]).toEqual([from.activation, from.reduceRange]);
        expect(bytesOf(twin.forward(x))).toBe(expected);
        expect(twin.stateDict().metadata).toEqual(source.stateDict().metadata);
        const plain = QuantizedLinear.fromFloat(new nn.Linear(9, 5), to);
        plain.loadStateDict(new Map(source.stateDict()));
        expect([plain.activation, plain.reduceRange]).toEqual([to.activation, to.reduceRange]);
      }
    }
  });
  test('of a module none of whose tensors are loaded stays', () => {
    const q = QuantizedLinear.fromFloat(float, defaultDynamicQConfig);
    const state = QuantizedLinear.fromFloat(float, perRowDynamicQConfig).stateDict();
    state.clear();
    q.loadStateDict(state, { strict: false });
    expect(q.activation).toBe('perTensor');
  });
  test.each<[string, object, RegExp]>([
    [
      'activation',
      { activation: 'perBatch' },
      /the metadata's activation should be 'perTensor' or 'perRow', got 'perBatch'/,
    ],
    ['kind of activation', { activation: null }, /the metadata's activation should be .*, got null/],
    ['reduceRange', { reduceRange: 0 }, /the metadata's reduceRange should be a boolean, got 0/],
  ])('hostile metadata: %s', (_, about, message) => {
    const q = QuantizedLinear.fromFloat(float, defaultDynamicQConfig);
    const before = bytesOf(q.forward(x));
    const state = QuantizedLinear.fromFloat(new nn.Linear(9, 5), perRowDynamicQConfig).stateDict();
    state.metadata.set('', { ...state.metadata.get('')!, ...about });
    expect(() => q.loadStateDict(state)).toThrow(message);
    expect(() => q.loadStateDict(state)).toThrow(RangeError);
    expect([bytesOf(q.forward(x)), q.activation, q.reduceRange]).toEqual([before, 'perTensor', true]);
  });
  test('that is too deep for the full range is refused on load, and nothing changes', () => {
    const q = new QuantizedLinear(65794, 1);
    const state = q.stateDict();
    state.get('weight')!.data.fill(1 as never);
    state.metadata.set('', { type: 'DynamicQuantizedLinear', reduceRange: false });
    expect(() => q.loadStateDict(state)).toThrow(/in_features should be at most 65793 .* got 65794/);
    expect(q.reduceRange).toBe(true);
    expect(q.stateDict().get('weight')!.data[0]).toBe(0);
  });
});

describe.each(everyQConfig.map((qconfig) => [JSON.stringify(qconfig), qconfig]))(
  'finite in %s',
  (_, qconfig) => {
    const quantized = QuantizedLinear.fromFloat(new nn.Linear(3, 2), qconfig as (typeof everyQConfig)[0]);
    test.each([NaN, Infinity, -Infinity])('%p in any row', (value) => {
      for (let i = 0; i < 120; i++) {
        const x = zeros(40, 3);
        x.data[i] = value as never;
        expect(() => quantized.forward(x)).toThrow(/input should be finite/);
      }
    });
    test('overflow', () => {
      const linear = new nn.Linear(3, 2, { bias: false });
      linear.weight.fill_(2);
      const q = QuantizedLinear.fromFloat(linear, qconfig as (typeof everyQConfig)[0]);
      const x = cat([zeros(20, 3), zeros(1, 3).fill_(3e38)], 0);
      expect(() => q.forward(x)).toThrow(/overflows float32/);
    });
  },
);

describe('errors', () => {
  const quantized = QuantizedLinear.fromFloat(new nn.Linear(3, 2), defaultDynamicQConfig);
  const filled = (value: number): Tensor => new Tensor(Float32Array.of(1, value, 2), [1, 3]);
  test.each<[string, () => unknown, RegExp]>([
    ['rank 1', () => quantized.forward(zeros(3)), /larger than or equal to 2/],
    ['features', () => quantized.forward(zeros(2, 5)), /packB should be equal to K: 5/],
    ['dtype', () => quantized.forward(zeros([1, 3], { dtype: 'float64' })), /Float but found float64/],
    ['NaN', () => quantized.forward(filled(NaN)), /input should be finite/],
    ['infinity', () => quantized.forward(filled(-Infinity)), /input should be finite/],
    ['depth', () => new QuantizedLinear(131072, 1), /in_features should be at most 131071 .* got 131072/],
    [
      'depth of the full range',
      () => new QuantizedLinear(65794, 1, { reduceRange: false }),
      /in_features should be at most 65793 .* got 65794/,
    ],
    [
      'activation',
      () => new QuantizedLinear(1, 1, { activation: 'perColumn' as never }),
      /^activation should be 'perTensor' or 'perRow', got 'perColumn'/,
    ],
    [
      'reduceRange',
      () => new QuantizedLinear(1, 1, { reduceRange: 1 as never }),
      /^reduceRange should be a boolean, got 1/,
    ],
    [
      'option',
      () => new QuantizedLinear(1, 1, { perRow: true } as never),
      /unknown option 'perRow'; the options are bias, dtype, activation, reduceRange/,
    ],
    [
      'qconfig',
      () => QuantizedLinear.fromFloat(new nn.Linear(1, 1), undefined as never),
      /^qconfig should be an object with a weight, got undefined/,
    ],
    [
      'module',
      () => QuantizedLinear.fromFloat(new nn.LSTM(1, 1) as never, defaultDynamicQConfig),
      /^module should be an instance of Linear, got LSTM/,
    ],
    [
      'weights of an embedding',
      () => QuantizedLinear.fromFloat(new nn.Linear(1, 1), floatQParamsWeightOnlyQConfig),
      /^The only supported dtypes for dynamic quantized linear are qint8 and float16, got: quint8/,
    ],
    [
      'a mode with float16',
      () => new QuantizedLinear(1, 1, { dtype: 'float16', reduceRange: false }),
      /^reduceRange should be absent with float16 weights, which multiply floats, got false/,
    ],
  ])('%s', (_, f, message) => expect(f).toThrow(message));
  test('what is no Parameter of the right kind is not quantized', () => {
    const from = (weight: Tensor) => () =>
      QuantizedLinear.fromFloat(Object.assign(new nn.Linear(3, 2), { weight }), defaultDynamicQConfig);
    expect(from(zeros(2, 3))).toThrow(/^weight should be a float32 Parameter, got undefined/);
    const { weight } = new nn.Linear(2, 3);
    expect(from(weight)).toThrow(/^weight should have the shape \[2, 3\], got \[3, 2\]/);
  });
  test('scales that were spoilt after the tensor was made are refused', () => {
    const q = QuantizedLinear.fromFloat(new nn.Linear(3, 2), defaultDynamicQConfig);
    const before = bytesOf(q.forward(filled(0.5)));
    for (const scale of [NaN, 0, -1, 1e300, 1e-60]) {
      const state = q.stateDict();
      state.get('weight')!.scales![0] = scale;
      expect(() => q.loadStateDict(state)).toThrow(/weight should have scales that are positive and finite/);
    }
    expect(bytesOf(q.forward(filled(0.5)))).toBe(before);
  });
  test('an output beyond float32 is refused, one within it is not', () => {
    const linear = new nn.Linear(3, 2, { bias: false });
    linear.weight.fill_(2);
    const q = QuantizedLinear.fromFloat(linear, defaultDynamicQConfig);
    expect(() => q.forward(zeros(1, 3).fill_(3e38))).toThrow(/overflows float32/);
    const large = q.forward(zeros(1, 3).fill_(3e37));
    expect(Array.from(large.data, Number).every(Number.isFinite)).toBe(true);
  });
  test('0 rows give 0 rows', () => expect(quantized.forward(zeros(0, 3)).shape).toEqual([0, 2]));
});
