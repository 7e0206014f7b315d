import { native } from '../src/native/addon.js';
import * as nn from '../src/nn/index.js';
import {
  bestDynamicQConfig,
  defaultDynamicQConfig,
  float16DynamicQConfig,
  perChannelDynamicQConfig,
  quantizeDynamic,
} from '../src/quantization/index.js';
import { randn } from '../src/random.js';
import { tensor, zeros } from '../src/tensor/index.js';
import { bytesOf, expectClose, golden, optionsOf, withIsa, type GoldenCase } from './support.js';

const group = golden('convolution');
const cases = group.cases.filter((c) => c.kind === 'DynamicConv1d');
const { dynamic } = nn.quantized;

function floatOf(c: GoldenCase): nn.Conv1d {
  const module = new nn.Conv1d(...(c.args as [number, number, number]), optionsOf(c.kwargs));
  module.loadStateDict(group.state(c.params));
  return module;
}

test.each(cases.map((c, i) => [i, c.repr as string, c]))('case %i, %s: has PyTorch’s integers', (i, _, c) => {
  const qconfig = i % 2 === 0 ? defaultDynamicQConfig : perChannelDynamicQConfig;
  const float = floatOf(c);
  const x = group.tensor(c.x);
  const module = dynamic.Conv1d.fromFloat(float, { ...qconfig, reduceRange: c.levels === 127 });
  const weight = module.stateDict().get('weight')!;
  expect([...weight.intRepr().data]).toEqual([...group.tensor(c.integers).data]);
  expect([...Float32Array.from(weight.quantization!.scales)]).toEqual([...group.tensor(c.scales).data]);
  const y = module.forward(x);
  expectClose(y, group.tensor(c.y));
  expect(y.sub(float.forward(x)).abs().max().item()).toBeGreaterThan(0);
  for (const isa of native().isas()) {
    const other = withIsa(isa, () =>
      dynamic.Conv1d.fromFloat(float, { ...qconfig, reduceRange: c.levels === 127 }),
    );
    expect(bytesOf(other.forward(x))).toBe(bytesOf(y));
  }
});
test('eight cases', () => expect(cases).toHaveLength(8));

test('large products of overlapping rows give the same bytes on every instruction set', () => {
  const float = new nn.Conv1d(35, 67, 3, { padding: 1 });
  const x = randn(2, 35, 101);
  const outputs = native()
    .isas()
    .map((isa) =>
      withIsa(isa, () => bytesOf(dynamic.Conv1d.fromFloat(float, defaultDynamicQConfig).forward(x))),
    );
  for (const output of outputs) expect(output).toBe(outputs[0]);
});

test('is converted where it is named, and float by default', async () => {
  const model = new nn.Sequential(new nn.Conv1d(3, 4, 3, { padding: 1 }), new nn.ReLU());
  expect(String(quantizeDynamic(model).get(0))).toBe(String(model.get(0)));
  const quantized = quantizeDynamic(model, new Map([[nn.Conv1d, defaultDynamicQConfig]]));
  expect(String(quantized.get(0))).toBe(
    'DynamicQuantizedConv1d(3, 4, kernel_size=(3,), stride=(1,), padding=(1,), dtype=torch.qint8, qscheme=torch.per_tensor_affine)',
  );
  const x = randn(2, 3, 300);
  const module = quantized.get(0) as nn.quantized.dynamic.Conv1d;
  const y = bytesOf(module.forward(x));
  expect(bytesOf(await module.forwardAsync(x))).toBe(y);
  expect(module.forward(x.select(0, 0)).shape).toEqual([4, 300]);
});
test('refuses what it does not have', () => {
  const float = new nn.Conv1d(3, 4, 3);
  expect(() => dynamic.Conv1d.fromFloat(float, bestDynamicQConfig)).toThrow(
    /^activation should be 'perTensor' for Conv1d/,
  );
  expect(() => dynamic.Conv1d.fromFloat(float, float16DynamicQConfig)).toThrow(
    /^The only supported dtype for dynamic quantized conv1d is qint8, got: 'float16'/,
  );
  expect(() => new dynamic.Conv1d(70000, 1, 2)).toThrow(/should be at most 131071 for an INT8 layer/);
  const module = dynamic.Conv1d.fromFloat(float, defaultDynamicQConfig);
  const state = module.stateDict();
  state.metadata.set('', { ...state.metadata.get('')!, activation: 'perRow' });
  expect(() => module.loadStateDict(state)).toThrow(/activation should be 'perTensor' for Conv1d/);
  expect(() =>
    module.forward(
      tensor([
        [
          [NaN, 1, 1],
          [1, 1, 1],
          [1, 1, 1],
        ],
      ]),
    ),
  ).toThrow(/^input should be finite/);
  expect(() => module.forward(zeros(1, 2, 3))).toThrow(/to have 3 channels, but got 2 channels instead/);
  const huge = new nn.Conv1d(1, 1, 2);
  huge.weight.fill_(3e38);
  const overflowing = dynamic.Conv1d.fromFloat(huge, defaultDynamicQConfig);
  expect(() => overflowing.forward(tensor([[[3e38, 3e38]]]))).toThrow(/the output overflows float32/);
});
