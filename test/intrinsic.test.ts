import * as nn from '../src/nn/index.js';
import { quantizeDynamic } from '../src/quantization/index.js';
import { manualSeed, randn } from '../src/random.js';
import { native } from '../src/native/addon.js';
import { type Tensor, zeros } from '../src/tensor/index.js';
import { bytesOf, everyQConfig, expectClose, golden, withIsa } from './support.js';

const { LinearReLU } = nn.intrinsic;
const { LinearReLU: QuantizedLinearReLU } = nn.quantized.dynamic;
const relu = (t: Tensor): Tensor => new nn.ReLU().forward(t);
const make = (inFeatures: number, outFeatures: number, bias = true) =>
  new LinearReLU(new nn.Linear(inFeatures, outFeatures, { bias }), new nn.ReLU());

describe.each(native().isas())('on %s', (isa) => {
  test('the float one is Linear, then ReLU', () => {
    withIsa(isa, () => {
      for (const [inFeatures, outFeatures, rows] of [
        [1, 1, 1],
        [7, 5, 3],
        [64, 130, 9],
      ] as const) {
        const fused = make(inFeatures, outFeatures, rows !== 3);
        const x = randn(rows, inFeatures);
        const y = fused.forward(x);
        expect(bytesOf(y)).toBe(bytesOf(relu(fused.get(0).forward(x))));
        expect(y.min().item()).toBeGreaterThanOrEqual(0);
      }
    });
  });
  test('the quantized one is PyTorch’s quantized Linear, then ReLU, bit for bit', () => {
    withIsa(isa, () => {
      const group = golden('dynamic');
      const cases = group.cases.filter((c) => c.kind === 'linear' && c.spec === 'default' && c.params);
      expect(cases).toHaveLength(12);
      for (const c of cases) {
        const float = make(c.in_features, c.out_features, c.bias);
        float.get(0).loadStateDict(group.state(c.params));
        const q = quantizeDynamic(float) as nn.Module;
        expect(String(q)).toBe(c.repr.replace('Linear(', 'LinearReLU('));
        expect(bytesOf(q.forward(group.tensor(c.x)))).toBe(bytesOf(relu(group.tensor(c.fbgemm.y))));
      }
    });
  });
  test('float16', () => {
    withIsa(isa, () => {
      const float = make(33, 65);
      const half = QuantizedLinearReLU.fromFloat(float, { weight: { dtype: 'float16' } });
      const x = randn(5, 33);
      const rounded = make(33, 65);
      rounded.get(0).loadStateDict(half.stateDict());
      expectClose(half.forward(x), rounded.forward(x));
      expect(half.forward(x).min().item()).toBe(0);
      expect(String(half)).toBe(
        'DynamicQuantizedLinearReLU(in_features=33, out_features=65, dtype=torch.float16)',
      );
    });
  });
});

test('every mode has the same bytes on every instruction set', () => {
  for (const qconfig of everyQConfig) {
    const float = make(67, 35);
    const x = randn(9, 67);
    const outputs = native()
      .isas()
      .map((isa) => withIsa(isa, () => bytesOf(QuantizedLinearReLU.fromFloat(float, qconfig).forward(x))));
    for (const output of outputs) expect(output).toBe(outputs[0]);
  }
});

test('prints, and names its parameters, as PyTorch does', () => {
  const fused = make(2, 3);
  expect(String(fused)).toBe(
    'LinearReLU(\n  (0): Linear(in_features=2, out_features=3, bias=True)\n  (1): ReLU()\n)',
  );
  expect([...fused.stateDict().keys()]).toEqual(['0.weight', '0.bias']);
  // As PyTorch's, the quantized twin has no children.
  expect([...quantizeDynamic(fused).stateDict().keys()]).toEqual(['weight', 'bias']);
});

test('packs again when a parameter changes', () => {
  manualSeed(1);
  const fused = make(4, 30);
  const x = randn(2, 4);
  const before = bytesOf(fused.forward(x));
  const { weight } = fused.get(0) as nn.Linear;
  weight.data[0] = 50;
  expect(bytesOf(fused.forward(x))).toBe(before);
  fused.repack();
  expect(bytesOf(fused.forward(x))).not.toBe(before);
  nn.init.zeros_(weight);
  nn.init.zeros_((fused.get(0) as nn.Linear).bias!);
  expect(fused.forward(x).equal(zeros(2, 30))).toBe(true);
});

test('hooks of its children are called', () => {
  const fused = make(4, 5);
  const x = randn(2, 4);
  const expected = bytesOf(fused.forward(x));
  const calls: string[] = [];
  fused.get(0).registerForwardHook(() => void calls.push('linear'));
  fused.get(1).registerForwardHook(() => void calls.push('relu'));
  expect(bytesOf(fused.forward(x))).toBe(expected);
  expect(calls).toEqual(['linear', 'relu']);
});

test('takes exactly a Linear and a ReLU', () => {
  class OwnLinear extends nn.Linear {}
  expect(() => new LinearReLU(new nn.Linear(2, 2), new nn.Tanh() as never)).toThrow(
    new TypeError('Incorrect types for input modules: Linear and Tanh'),
  );
  expect(() => new LinearReLU(new OwnLinear(2, 2), new nn.ReLU())).toThrow(/OwnLinear and ReLU/);
  expect(() => new LinearReLU(null as never, new nn.ReLU())).toThrow(/null and ReLU/);
  expect(() => make(4, 5).forward(zeros(2, 3))).toThrow(/mat1 and mat2 shapes cannot be multiplied/);
});
