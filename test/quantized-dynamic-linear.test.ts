import { native } from '../src/native.js';
import * as nn from '../src/nn/index.js';
import { Linear as QuantizedLinear } from '../src/nn/quantized/dynamic/linear.js';
import { defaultDynamicQConfig, perChannelDynamicQConfig } from '../src/quantization/index.js';
import { manualSeed, randn } from '../src/random.js';
import { Tensor, zeros } from '../src/tensor.js';
import { bytesOf, golden, pseudoRandom, withIsa } from './support.js';

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

test('200 random configurations give the same bytes on every instruction set', () => {
  const random = pseudoRandom(2);
  const upTo = (n: number): number => 1 + Math.floor(random() * n);
  for (let i = 0; i < 200; i++) {
    manualSeed(i);
    const float = new nn.Linear(upTo(300), upTo(100), { bias: random() < 0.5 });
    const x = randn(upTo(30), float.inFeatures)
      .mul(10 ** (20 * random() - 10))
      .add(random() - 0.5);
    const qconfig = random() < 0.5 ? defaultDynamicQConfig : perChannelDynamicQConfig;
    const [first, ...others] = isas.map((isa) =>
      withIsa(isa, () => bytesOf(QuantizedLinear.fromFloat(float, qconfig).forward(x))),
    );
    for (const other of others) expect(other).toBe(first);
  }
});

describe('errors', () => {
  const quantized = QuantizedLinear.fromFloat(new nn.Linear(3, 2), defaultDynamicQConfig);
  const filled = (value: number): Tensor => new Tensor(Float32Array.of(1, value, 2), [1, 3]);
  test.each<[string, () => unknown, RegExp]>([
    ['rank 1', () => quantized.forward(zeros(3)), /larger than or equal to 2/],
    ['features', () => quantized.forward(zeros(2, 5)), /packB should be equal to K: 5/],
    ['dtype', () => quantized.forward(zeros([1, 3], { dtype: 'float64' })), /Float but found float64/],
    ['NaN', () => quantized.forward(filled(NaN)), /input should be finite/],
    ['infinity', () => quantized.forward(filled(-Infinity)), /input should be finite/],
    ['depth', () => new QuantizedLinear(131072, 1), /in_features should be at most 131071/],
  ])('%s', (_, f, message) => expect(f).toThrow(message));
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
