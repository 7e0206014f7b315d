import * as nn from '../src/nn/index.js';
import { randn } from '../src/random.js';
import { tensor, zeros, type Tensor } from '../src/tensor/index.js';
import { decoded, expectSame, reductions } from './reductions.js';
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

describe('the other normalizations', () => {
  const { modules } = reductions;
  test.each(modules.map((c) => [c.repr, c] as const))('%s equals PyTorch', (repr, c) => {
    const Class = nn[c.kind] as new (...args: unknown[]) => nn.Module;
    const module = new Class(...c.args, c.options);
    module.loadStateDict(new Map(Object.entries(c.state).map(([name, tensor]) => [name, decoded(tensor)])));
    expect(String(module)).toBe(repr);
    expect([...module.stateDict().keys()]).toEqual(Object.keys(c.state));
    const input = decoded(c.input);
    const output = module.forward(input) as Tensor;
    expectSame(output, decoded(c.output));
    expect((module.train().forward(input) as Tensor).equal(output)).toBe(true);
  });
  test.each<[string, (sizes: number[]) => nn.Module]>([
    ['LayerNorm', (sizes) => new nn.LayerNorm(sizes.slice(1))],
    ['RMSNorm', (sizes) => new nn.RMSNorm(sizes.slice(1))],
    ['GroupNorm', () => new nn.GroupNorm(2, 6)],
    ['BatchNorm1d', () => new nn.BatchNorm1d(6)],
  ])('%s gives a row the same bits whatever other rows share the call', (_, make) => {
    const x = randn(50, 6, 41);
    const module = make([50, 6, 41]);
    const all = module.forward(x) as Tensor;
    for (const row of [0, 17, 49]) {
      const alone = module.forward(x.slice(0, row, row + 1)) as Tensor;
      expect(alone.equal(all.slice(0, row, row + 1))).toBe(true);
    }
    expect((module.forward(x.slice(0, 0, 0)) as Tensor).shape).toEqual([0, 6, 41]);
  });
  test('statistics are buffers and no parameters', () => {
    const norm = new nn.BatchNorm1d(2);
    expect([...norm.parameters()]).toHaveLength(2);
    expect(norm.num_batches_tracked.toArray()).toBe(0);
    expect(norm.num_batches_tracked.dtype).toBe('int64');
    expect(norm.running_var.toArray()).toEqual([1, 1]);
  });
  test.each<[string, () => unknown, string]>([
    ['groups', () => new nn.GroupNorm(4, 6), 'num_channels (6) must be divisible by num_groups (4)'],
    [
      'channels',
      () => new nn.GroupNorm(2, 6).forward(zeros(2, 4)),
      'GroupNorm: expected input of shape [N, 6, *], got [2, 4]',
    ],
    ['planes', () => new nn.BatchNorm2d(2).forward(zeros(2, 2)), 'expected 4D input (got 2D input)'],
    [
      'too many dimensions',
      () => new nn.BatchNorm1d(2).forward(zeros(2, 2, 1, 1)),
      'expected 2D or 3D input (got 4D input)',
    ],
    [
      'features',
      () => new nn.BatchNorm1d(2).forward(zeros(2, 3)),
      'running_mean should contain 3 elements not 2',
    ],
    [
      'statistics that were replaced',
      () => {
        const norm = new nn.BatchNorm1d(2);
        norm.registerBuffer('running_var', zeros(3));
        return norm.forward(zeros(1, 2));
      },
      'running_var should have the shape [2], got [3]',
    ],
    ['eps', () => new nn.RMSNorm(2, { eps: -1 }), 'eps should not be negative, got -1'],
    ['input', () => new nn.RMSNorm(2).forward(zeros(3)), 'Given normalized_shape=[2]'],
  ])('%s', (_, f, message) => expect(f).toThrow(message));
});
