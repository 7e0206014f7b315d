import * as nn from '../src/nn/index.js';
import { tensor } from '../src/tensor/index.js';
import { golden, optionsOf } from './support.js';

const modules = golden('modules');
const cases = modules.cases.filter((c) => c.args.length === 0);

test.each(cases.map((c) => [c.repr, c]))('%s equals PyTorch’s', (repr, c) => {
  const module = new (nn as never as Record<string, new (options?: object) => nn.ReLU>)[c.kind]!(
    ...(Object.keys(c.kwargs).length > 0 ? [optionsOf(c.kwargs)] : []),
  );
  expect(String(module)).toBe(repr);
  const input = modules.inputs(c)['input']!;
  const y = modules.tensor(c.y).data as Float32Array;
  const out = module.forward(input).data as Float32Array;
  // PyTorch loses what a value has beyond 1 - erf or 1 - exp: an absolute error, of the input's size at most.
  const worst = out.map((value, i) => {
    const x = Math.abs(Number(input.data[i]));
    return value === y[i] ? 0 : Math.abs(value - y[i]!) / (1e-6 * Math.abs(y[i]!) + 2e-7 * Math.min(x, 10));
  });
  expect(Math.max(...worst)).toBeLessThanOrEqual(1);
});
test('sixteen cases', () => expect(cases).toHaveLength(16));
test('GELU is right where it is small', () => {
  // x * erfc(-x / sqrt(2)) / 2 by a library of 17 digits.
  const gelu = new nn.GELU().forward(tensor([-3, -5, -8, -10, 1e-8]));
  const exact = [
    -4.049694094890287e-3, -1.4332578498614664e-6, -4.9767684594174555e-15, -7.619853024160593e-23, 5e-9,
  ];
  exact.forEach((value, i) => expect(Math.abs(Number(gelu.data[i]) / value - 1)).toBeLessThan(1e-6));
});

const x = tensor([[-1, 0, 2]]);

test('values', () => {
  expect(new nn.ReLU().forward(x).toArray()).toEqual([[0, 0, 2]]);
  expect(new nn.ReLU().forward(tensor([NaN])).item()).toBeNaN();
  expect(new nn.Sigmoid().forward(tensor([0])).item()).toBe(0.5);
  expect(new nn.Tanh().forward(tensor([1])).item()).toBeCloseTo(Math.tanh(1), 6);
  expect(new nn.Softmax(-1).forward(x).sum().item()).toBeCloseTo(1, 6);
  expect(new nn.LogSoftmax(-1).forward(x).toArray()).toEqual(x.logSoftmax(1).toArray());
  expect(new nn.Identity().forward(x)).toBe(x);
});
test('prints as PyTorch does', () => {
  const modules = [
    new nn.ReLU(),
    new nn.Sigmoid(),
    new nn.Tanh(),
    new nn.Softmax(1),
    new nn.LogSoftmax(-1),
    new nn.Identity(),
  ];
  expect(modules.map(String)).toEqual([
    'ReLU()',
    'Sigmoid()',
    'Tanh()',
    'Softmax(dim=1)',
    'LogSoftmax(dim=-1)',
    'Identity()',
  ]);
});
test('errors', () => {
  expect(() => new nn.Tanh().forward(tensor([1n]))).toThrow(
    /tanh: input should be a float32 Tensor, got int64/,
  );
  expect(() => new nn.ReLU().forward(1 as never)).toThrow(/got 1/);
  expect(() => new nn.GELU().forward(1 as never)).toThrow(/gelu: input should be a float32 Tensor, got 1/);
  expect(() => new nn.GELU({ approximate: 'erf' as never })).toThrow(
    /approximate should be 'none' or 'tanh'/,
  );
  expect(() => new nn.ELU({ alpha: '1' as never })).toThrow(/ELU: alpha should be a number, got '1'/);
  expect(() => new nn.Softplus({ alpha: 1 } as never)).toThrow(
    /unknown option 'alpha'; the options are beta/,
  );
  expect(() => new nn.Hardtanh({ minVal: 1 })).toThrow(/minVal should be below maxVal, got 1 and 1/);
  expect(() => new nn.Softmax('x' as never)).toThrow(/dim should be an integer/);
  expect(() => new nn.Softmax(2).forward(x)).toThrow(/Dimension out of range/);
});
