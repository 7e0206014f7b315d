import * as nn from '../src/nn/index.js';
import { randn } from '../src/random.js';
import { tensor, zeros } from '../src/tensor/index.js';
import { expectClose, golden, optionsOf } from './support.js';

const modules = golden('modules');
const cases = modules.cases.filter((c) => c.kind === 'LayerNorm');

test.each(cases.map((c, i) => [i, c.repr, c]))('equals PyTorch, case %i: %s', (_, repr, c) => {
  const norm = new nn.LayerNorm(c.args[0], optionsOf(c.kwargs));
  norm.loadStateDict(modules.state(c.params));
  expect(String(norm)).toBe(repr);
  expectClose(norm.forward(modules.inputs(c)['input']!), modules.tensor(c.y));
});
test('six cases', () => expect(cases).toHaveLength(6));

test('a large mean costs no digits', () => {
  const x = randn(3, 64);
  const norm = new nn.LayerNorm(64);
  const shifted = norm.forward(x.to('float64').add(4096).float());
  expect(shifted.sub(norm.forward(x)).abs().max().item()).toBeLessThan(1e-3);
  expect(Math.abs(shifted.mean().item())).toBeLessThan(1e-7);
});
test('parameters', () => {
  const norm = new nn.LayerNorm([2, 3]);
  expect(norm.weight!.toArray()).toEqual([
    [1, 1, 1],
    [1, 1, 1],
  ]);
  expect(norm.bias!.toArray()).toEqual([
    [0, 0, 0],
    [0, 0, 0],
  ]);
  expect([...norm.stateDict().keys()]).toEqual(['weight', 'bias']);
  expect([...new nn.LayerNorm(3, { bias: false }).stateDict().keys()]).toEqual(['weight']);
  expect([...new nn.LayerNorm(3, { elementwiseAffine: false }).stateDict().keys()]).toEqual([]);
  expect(norm.stateDict().metadata.get('')).toEqual({
    ...{ type: 'LayerNorm', normalizedShape: [2, 3], eps: 1e-5, elementwiseAffine: true, bias: true },
  });
  expect(norm.forward(zeros(0, 2, 3)).shape).toEqual([0, 2, 3]);
});
test.each<[string, () => unknown, RegExp]>([
  [
    'shape',
    () => new nn.LayerNorm([2, 3]).forward(zeros(3, 2)),
    /Given normalized_shape=\[2, 3\], expected input with shape \[\*, 2, 3\], but got input of size\[3, 2\]/,
  ],
  ['too few dimensions', () => new nn.LayerNorm([2, 3]).forward(zeros(3)), /input of size\[3\]/],
  ['dtype', () => new nn.LayerNorm(2).forward(tensor([1n, 2n])), /should be a float32 Tensor, got int64/],
  ['no shape', () => new nn.LayerNorm([]), /at least 1-dimensional/],
  ['size', () => new nn.LayerNorm([2, 0]), /normalized_shape must be greater than zero/],
  ['eps', () => new nn.LayerNorm(2, { eps: -1 }), /eps should not be negative, got -1/],
  ['option', () => new nn.LayerNorm(2, { epsilon: 1 } as never), /unknown option 'epsilon'/],
  ['bias', () => new nn.LayerNorm(2, { bias: 1 as never }), /bias should be a boolean, got 1/],
])('%s', (_, f, message) => expect(f).toThrow(message));
