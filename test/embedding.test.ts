import * as nn from '../src/nn/index.js';
import { tensor, zeros, type NestedArray } from '../src/tensor.js';
import { bytesOf, golden } from './support.js';

const group = golden('float');
const cases = group.cases.filter((c) => c.kind === 'embedding');

test.each(cases.map((c, i) => [i, c]))('equals PyTorch, case %i', (_, c) => {
  const embedding = new nn.Embedding(c.num, c.dim, { paddingIdx: c.kwargs.padding_idx });
  embedding.loadStateDict(group.state(c.params));
  for (const dtype of ['int64', 'int32'] as const) {
    const indices = tensor(c.idx as NestedArray, { dtype });
    expect(bytesOf(embedding.forward(indices))).toBe(bytesOf(group.tensor(c.float.y)));
  }
});
test('three cases', () => expect(cases).toHaveLength(3));

test('any shape of indices', () => {
  const embedding = new nn.Embedding(4, 3);
  expect(embedding.forward(tensor(2, { dtype: 'int64' })).shape).toEqual([3]);
  expect(embedding.forward(zeros([2, 0, 5], { dtype: 'int32' })).shape).toEqual([2, 0, 5, 3]);
});
test('the padding row starts as zeros; negative counts from the end', () => {
  const embedding = new nn.Embedding(4, 3, { paddingIdx: -1 });
  expect(String(embedding)).toBe('Embedding(4, 3, padding_idx=3)');
  expect(embedding.weight.select(0, 3).toArray()).toEqual([0, 0, 0]);
});
test.each<[string, () => unknown, RegExp]>([
  [
    'beyond the table',
    () => new nn.Embedding(4, 3).forward(tensor([4n])),
    /index out of range in self: got 4, expected 0 to 3/,
  ],
  ['negative', () => new nn.Embedding(4, 3).forward(tensor([-1n])), /got -1/],
  ['float indices', () => new nn.Embedding(4, 3).forward(tensor([1])), /Long, Int; but got float32/],
  ['padding', () => new nn.Embedding(4, 3, { paddingIdx: 4 }), /Padding_idx must be within num_embeddings/],
  ['size', () => new nn.Embedding(0, 3), /num_embeddings must be greater than zero/],
])('%s', (_, f, message) => expect(f).toThrow(message));
