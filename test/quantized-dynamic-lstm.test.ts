import { native } from '../src/native.js';
import * as nn from '../src/nn/index.js';
import { LSTM as QuantizedLSTM } from '../src/nn/quantized/dynamic/lstm.js';
import { defaultDynamicQConfig, perChannelDynamicQConfig } from '../src/quantization/index.js';
import { manualSeed, randn } from '../src/random.js';
import { zeros, type Tensor } from '../src/tensor.js';
import { bytesOf, expectClose, golden, pseudoRandom, withIsa, type GoldenCase } from './support.js';

const group = golden('dynamic');
const isas = native().isas();
// Packed sequences come with their own module.
const cases = group.cases.filter((c) => c.cls === 'LSTM' && !c.packed);
const qconfigs = { default: defaultDynamicQConfig, per_channel: perChannelDynamicQConfig };

function build(c: GoldenCase): { float: nn.LSTM; x: Tensor; state: nn.LSTMState | undefined } {
  manualSeed(c.seed);
  const { batch_first: batchFirst, ...kwargs } = c.kwargs;
  const float = new nn.LSTM(c.input_size, c.hidden_size, {
    numLayers: c.num_layers,
    batchFirst,
    ...kwargs,
  }).eval();
  if (c.params) float.loadStateDict(group.state(c.params));
  return { float, x: group.tensor(c.x), state: c.hx ? [group.tensor(c.h0), group.tensor(c.c0)] : undefined };
}

test('there are golden cases', () => expect(cases).toHaveLength(22));

describe('PyTorch’s fbgemm engine', () => {
  test.each(cases.map((c) => [`${c.repr} ${c.spec} seed ${c.seed}`, c]))('%s', (_, c) => {
    const { float, x, state } = build(c);
    const outputs = isas.map((isa) =>
      withIsa(isa, () => {
        const quantized = QuantizedLSTM.fromFloat(float, qconfigs[c.spec as keyof typeof qconfigs]).eval();
        expect(String(quantized)).toBe(c.repr);
        const weights = quantized.stateDict();
        for (const [name, { int, scale }] of Object.entries<{ int: string; scale: string | number }>(
          c.qweights ?? {},
        )) {
          const weight = weights.get(name)!;
          expect(weight.intRepr().equal(group.tensor(int))).toBe(true);
          const expected = typeof scale === 'number' ? [scale] : Array.from(group.tensor(scale).data, Number);
          expect(Array.from(weight.scales!)).toEqual(expected);
        }
        const [y, [hn, cn]] = quantized.forward(x, state);
        expectClose(y, group.tensor(c.fbgemm.y));
        expectClose(hn, group.tensor(c.fbgemm.hn));
        expectClose(cn, group.tensor(c.fbgemm.cn));
        return [y, hn, cn].map(bytesOf);
      }),
    );
    for (const output of outputs) expect(output).toEqual(outputs[0]);
  });
});

test('200 random configurations give the same bytes on every instruction set', () => {
  const random = pseudoRandom(1);
  const upTo = (n: number): number => 1 + Math.floor(random() * n);
  const flag = (): boolean => random() < 0.5;
  for (let i = 0; i < 200; i++) {
    manualSeed(i);
    const [inputSize, hiddenSize, numLayers] = [upTo(70), upTo(70), upTo(3)];
    const bidirectional = flag();
    const float = new nn.LSTM(inputSize, hiddenSize, {
      numLayers,
      bidirectional,
      bias: flag(),
      batchFirst: flag(),
    });
    const [steps, batch] = [upTo(7), upTo(15)];
    const magnitude = 10 ** (6 * random() - 3);
    const x = randn(float.batchFirst ? [batch, steps, inputSize] : [steps, batch, inputSize]).mul(magnitude);
    const cells = numLayers * (bidirectional ? 2 : 1);
    const state: nn.LSTMState | null = flag()
      ? [randn(cells, batch, hiddenSize), randn(cells, batch, hiddenSize)]
      : null;
    const qconfig = flag() ? defaultDynamicQConfig : perChannelDynamicQConfig;
    const [first, ...others] = isas.map((isa) =>
      withIsa(isa, () => {
        const [y, [hn, cn]] = QuantizedLSTM.fromFloat(float, qconfig).forward(x, state);
        return [y, hn, cn].map(bytesOf);
      }),
    );
    for (const other of others) expect(other).toEqual(first);
  }
});

describe('beyond PyTorch', () => {
  test('unbatched input is a batch of one', () => {
    const quantized = QuantizedLSTM.fromFloat(new nn.LSTM(4, 5, { numLayers: 2 }), defaultDynamicQConfig);
    const x = randn(6, 4);
    const [y, [hn]] = quantized.forward(x);
    const [y3, [hn3]] = quantized.forward(x.unsqueeze(1));
    expect([y.shape, hn.shape]).toEqual([
      [6, 5],
      [2, 5],
    ]);
    expect(bytesOf(y)).toBe(bytesOf(y3));
    expect(bytesOf(hn)).toBe(bytesOf(hn3));
  });
});

describe('finite in, finite out', () => {
  const float = new nn.LSTM(3, 4);
  const quantized = QuantizedLSTM.fromFloat(float, defaultDynamicQConfig);
  const bad = (...shape: number[]): Tensor => {
    const t = zeros(shape);
    t.data[t.data.length - 1] = Infinity as never;
    return t;
  };
  test.each<[string, () => unknown, RegExp]>([
    ['input', () => quantized.forward(bad(2, 1, 3)), /^input should be finite/],
    [
      'h0',
      () => quantized.forward(zeros(2, 1, 3), [bad(1, 1, 4), zeros(1, 1, 4)]),
      /^hidden\[0\] should be finite/,
    ],
    [
      'c0',
      () => quantized.forward(zeros(2, 1, 3), [zeros(1, 1, 4), bad(1, 1, 4)]),
      /^hidden\[1\] should be finite/,
    ],
    [
      'dtype',
      () => quantized.forward(zeros([2, 1, 3], { dtype: 'float64' })),
      /expected scalar type Float but found float64/,
    ],
  ])('%s', (_, f, message) => expect(f).toThrow(message));
  test.each([NaN, -Infinity])('a weight or bias of %p is refused at conversion', (value) => {
    for (const name of ['weight_hh_l0', 'bias_ih_l0']) {
      const broken = new nn.LSTM(3, 4);
      broken.stateDict().get(name)!.data[1] = value as never;
      expect(() => QuantizedLSTM.fromFloat(broken, defaultDynamicQConfig)).toThrow(
        new RegExp(`${name} should be finite`),
      );
    }
  });
  test('huge weights and states overflow with a RangeError or give finite results', () => {
    const huge = new nn.LSTM(3, 4);
    for (const p of huge.parameters()) p.fill_(3e38);
    const q = QuantizedLSTM.fromFloat(huge, defaultDynamicQConfig);
    expect(() => q.forward(randn(2, 1, 3).mul(1e30))).toThrow(/overflows float32/);
    const h0 = zeros(1, 1, 4).fill_(3e38);
    const outcome = (): boolean => {
      const [y] = quantized.forward(zeros(2, 1, 3), [h0, zeros(1, 1, 4)]);
      return Array.from(y.data, Number).every(Number.isFinite);
    };
    try {
      expect(outcome()).toBe(true);
    } catch (error) {
      expect(String(error)).toMatch(/overflows float32/);
    }
  });
  test('depths whose sums could wrap are refused', () => {
    expect(() => new QuantizedLSTM(131072, 1)).toThrow(/at most 131071/);
  });
});

describe('state', () => {
  test('round trip keeps every integer and every output bit', () => {
    const q = QuantizedLSTM.fromFloat(
      new nn.LSTM(7, 19, { numLayers: 2, bidirectional: true }),
      perChannelDynamicQConfig,
    );
    const twin = new QuantizedLSTM(7, 19, { numLayers: 2, bidirectional: true });
    const x = randn(5, 3, 7);
    twin.loadStateDict(q.stateDict());
    expect(bytesOf(twin.forward(x)[0])).toBe(bytesOf(q.forward(x)[0]));
    expect(String(twin)).toBe('DynamicQuantizedLSTM(7, 19, num_layers=2, bidirectional=True)');
  });
  test('a refused load changes nothing', () => {
    const q = QuantizedLSTM.fromFloat(new nn.LSTM(3, 4), defaultDynamicQConfig);
    const x = randn(5, 3, 3);
    const before = bytesOf(q.forward(x)[0]);
    expect(() => q.loadStateDict(new nn.LSTM(3, 4).stateDict())).toThrow(
      /weight_ih_l0 should be qint8, got float32/,
    );
    const state = QuantizedLSTM.fromFloat(new nn.LSTM(3, 5), defaultDynamicQConfig).stateDict();
    expect(() => q.loadStateDict(state)).toThrow(/size mismatch for weight_ih_l0/);
    expect(() => q.loadStateDict([], { strict: true })).toThrow(/Missing key\(s\)/);
    expect(bytesOf(q.forward(x)[0])).toBe(before);
  });
});
