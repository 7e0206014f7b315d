import * as nn from '../src/nn/index.js';
import { tensor } from '../src/tensor.js';

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
    /Tanh: input should be a float32 Tensor, got int64/,
  );
  expect(() => new nn.ReLU().forward(1 as never)).toThrow(/got 1/);
  expect(() => new nn.Softmax('x' as never)).toThrow(/dim should be an integer/);
  expect(() => new nn.Softmax(2).forward(x)).toThrow(/Dimension out of range/);
});
