import * as functional from '../src/nn/functional/index.js';
import { ones, zeros, type Tensor } from '../src/tensor/index.js';
import { argument, decoded, expectSame, reductions } from './reductions.js';

test.each(reductions.functions.map((c, i) => [i, c.name, c] as const))(
  'case %i, %s, is what it is in PyTorch',
  (_, name, { args, output }) => {
    const f = functional[name as keyof typeof functional] as (...args: unknown[]) => Tensor;
    expectSame(f(...args.map(argument)), decoded(output));
  },
);

test.each<[string, () => unknown, string]>([
  [
    'an input of another shape',
    () => functional.layerNorm(zeros(2, 3), [2]),
    'Given normalized_shape=[2], expected input with shape [*, 2], but got input of size[2, 3]',
  ],
  [
    'a weight of another shape',
    () => functional.layerNorm(zeros(2, 3), [3], zeros(2)),
    'Expected weight to be of shape [3], but got weight of shape [2]',
  ],
  [
    'no dimension',
    () => functional.rmsNorm(zeros(3), []),
    'normalizedShape should be an array of at least one size',
  ],
  [
    'groups that do not divide',
    () => functional.groupNorm(zeros(2, 3), 2),
    'Expected number of channels in input to be divisible by num_groups, but got input of shape [2, 3] and num_groups=2',
  ],
  [
    'no channels',
    () => functional.groupNorm(zeros(2), 2),
    'Expected at least 2 dimensions for input tensor but received 1',
  ],
  [
    'statistics of other channels',
    () => functional.batchNorm(zeros(2, 3), zeros(2), ones(3)),
    'Expected runningMean to be of shape [3], but got runningMean of shape [2]',
  ],
  [
    'what only training has',
    () => functional.batchNorm(zeros(2, 3), zeros(3), ones(3), null, null, { training: true } as never),
    "unknown option 'training'",
  ],
])('%s', (_, f, message) => expect(f).toThrow(message));
