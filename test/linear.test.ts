import { native } from '../src/native/addon.js';
import * as nn from '../src/nn/index.js';
import { randn } from '../src/random.js';
import { zeros } from '../src/tensor/index.js';
import { bytesOf, expectClose, golden, withIsa } from './support.js';

const group = golden('float');
const cases = group.cases.filter((c) => c.kind === 'linear');

describe.each(native().isas())('float Linear on %s', (isa) => {
  test.each(cases.map((c) => [c.seed, c]))('equals PyTorch, seed %i', (_, c) => {
    const linear = new nn.Linear(c.in_features, c.out_features, { bias: c.bias });
    linear.loadStateDict(group.state(c.params));
    expectClose(
      withIsa(isa, () => linear.forward(group.tensor(c.x))),
      group.tensor(c.float.y),
    );
  });
});

test('there are golden cases', () => expect(cases).toHaveLength(4));

test('packed weights follow the parameters', () => {
  const linear = new nn.Linear(3, 2);
  const x = randn(4, 3);
  linear.forward(x);
  const other = new nn.Linear(3, 2);
  linear.loadStateDict(other.stateDict());
  expect(bytesOf(linear.forward(x))).toBe(bytesOf(other.forward(x)));
  linear.weight.data.fill(0 as never);
  linear.repack();
  expect(bytesOf(linear.forward(x).sub(linear.bias!))).toBe(bytesOf(zeros(4, 2)));
});

test('what a parameter was replaced by is checked', () => {
  const linear = new nn.Linear(3, 2);
  const replace = (weight: unknown) => () => {
    Object.assign(linear, { weight });
    linear.forward(randn(1, 3));
  };
  expect(replace(null)).toThrow(/^weight should be a float32 Parameter, got null/);
  expect(replace(zeros([2, 3], { dtype: 'float64' }))).toThrow(/^weight .* Parameter, got float64/);
  expect(replace(zeros(3, 2))).toThrow(/^weight should have the shape \[2, 3\], got \[3, 2\]/);
});

describe('shapes', () => {
  const linear = new nn.Linear(3, 2);
  test('any rank above 0', () => {
    expect(linear.forward(zeros(3)).shape).toEqual([2]);
    expect(linear.forward(zeros(5, 4, 3)).shape).toEqual([5, 4, 2]);
    expect(linear.forward(zeros(0, 3)).shape).toEqual([0, 2]);
  });
  test.each<[string, () => unknown, RegExp]>([
    ['features', () => linear.forward(zeros(2, 5)), /cannot be multiplied \(2x5 and 3x2\)/],
    ['rank 0', () => linear.forward(zeros()), /cannot be multiplied/],
    ['dtype', () => linear.forward(zeros([2, 3], { dtype: 'int64' })), /same dtype, but got int64/],
    ['no tensor', () => linear.forward(null as never), /should be a Tensor, got null/],
    ['size', () => new nn.Linear(-1, 2), /in_features must be greater than zero/],
    ['option', () => new nn.Linear(1, 2, { biass: true } as never), /unknown option 'biass'/],
  ])('%s', (_, f, message) => expect(f).toThrow(message));
});
