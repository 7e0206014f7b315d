import * as nn from '../src/nn/index.js';
import { randn } from '../src/random.js';
import { bytesOf } from './support.js';

const model = new nn.Sequential(new nn.Linear(2, 3), new nn.Tanh(), new nn.Linear(3, 1));

test('runs its modules in order', () => {
  const x = randn(4, 2);
  const [a, b, c] = [...model] as [nn.Linear, nn.Tanh, nn.Linear];
  expect(bytesOf(model.forward(x))).toBe(bytesOf(c.forward(b.forward(a.forward(x)))));
});
test('length, get and iteration', () => {
  expect(model).toHaveLength(3);
  expect(model.get(-1)).toBe(model.get(2));
  expect([...model]).toHaveLength(3);
  expect(() => model.get(3)).toThrow(/index 3 is out of range: there are 3/);
  expect(() => new nn.Sequential(1 as never)).toThrow(/should hold Modules, got 1/);
});
test('empty is the identity', () => {
  const x = randn(2);
  expect(new nn.Sequential().forward(x)).toBe(x);
  expect(String(new nn.Sequential())).toBe('Sequential()');
});
