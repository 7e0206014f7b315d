import * as nn from '../src/nn/index.js';
import { copyModule } from '../src/nn/copy-module.js';
import { tensor, zeros, type NestedArray, type Tensor } from '../src/tensor/index.js';
import { bytesOf, expectClose, golden, optionsOf } from './support.js';

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

const modules = golden('modules');
const withOptions = modules.cases.filter((c) => c.kind === 'Embedding' || c.kind === 'EmbeddingBag');

test.each(withOptions.map((c, i) => [i, c.repr, c]))('equals PyTorch, case %i: %s', (_, repr, c) => {
  const [num, dim] = c.args as [number, number];
  const module =
    c.kind === 'Embedding'
      ? new nn.Embedding(num, dim, optionsOf(c.kwargs))
      : new nn.EmbeddingBag(num, dim, optionsOf(c.kwargs));
  module.loadStateDict(modules.state(c.params));
  expect(String(module)).toBe(repr);
  const { input, offsets, per_sample_weights: weights } = modules.inputs(c);
  const y = modules.tensor(c.y);
  const run = (indices: Tensor, starts?: Tensor): Tensor =>
    c.kind === 'Embedding' ? module.forward(indices) : module.forward(indices, starts, weights);
  const out = run(input!, offsets);
  if (c.kwargs.max_norm === undefined && weights === undefined) expect(bytesOf(out)).toBe(bytesOf(y));
  else expectClose(out, y);
  // A second time rows of the largest norm may be scaled again, by an ulp.
  expectClose(run(input!.to('int32'), offsets?.to('int32')), out);
});
test('27 cases', () => expect(withOptions).toHaveLength(27));

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
test('maxNorm changes the rows that are looked up, and says so', () => {
  const embedding = new nn.Embedding(3, 2, { maxNorm: 1 });
  embedding.weight.fill_(2);
  const { version } = embedding.weight;
  embedding.forward(tensor([0n, 2n, 0n]));
  expect(embedding.weight.version).toBe(version + 2);
  expect(embedding.weight.select(0, 1).toArray()).toEqual([2, 2]);
  expectClose(embedding.weight.select(0, 2), tensor([Math.SQRT1_2, Math.SQRT1_2]));
});
test('a table of many rows, shared out among threads', () => {
  const [rows, width, count] = [1000, 67, 5000];
  const embedding = new nn.Embedding(rows, width);
  const bag = new nn.EmbeddingBag(rows, width, { mode: 'sum' });
  bag.loadStateDict(embedding.stateDict());
  const indices = tensor(
    Array.from({ length: count }, (_, i) => (i * 7919) % rows),
    { dtype: 'int32' },
  );
  const out = embedding.forward(indices);
  for (let i = 0; i < count; i += 97) {
    const row = embedding.weight.select(0, (i * 7919) % rows);
    expect(bytesOf(out.select(0, i))).toBe(bytesOf(row));
  }
  expect(bytesOf(bag.forward(indices.reshape(count, 1)))).toBe(bytesOf(out));
});
test('bags of nothing', () => {
  const none = zeros([0], { dtype: 'int64' });
  for (const mode of ['sum', 'mean', 'max'] as const) {
    const bag = new nn.EmbeddingBag(4, 3, { mode, paddingIdx: 1 });
    expect(bag.forward(none, none).shape).toEqual([0, 3]);
    expect(bag.forward(zeros([2, 0], { dtype: 'int64' })).toArray()).toEqual(zeros(2, 3).toArray());
    expect(bag.forward(tensor([1n, 1n]), tensor([0n, 2n])).toArray()).toEqual(zeros(2, 3).toArray());
  }
  const last = new nn.EmbeddingBag(4, 3, { includeLastOffset: true });
  expect(last.forward(tensor([1n, 2n]), tensor([0n])).shape).toEqual([0, 3]);
});
test('a copy has a table of its own', () => {
  const bag = new nn.EmbeddingBag(4, 3);
  const copy = copyModule(bag);
  bag.weight.fill_(0);
  expect(copy.forward(tensor([[1n]])).toArray()).not.toEqual(zeros(1, 3).toArray());
});

const bag = new nn.EmbeddingBag(5, 3);
const sums = new nn.EmbeddingBag(5, 3, { mode: 'sum', includeLastOffset: true });
const two = tensor([1n, 2n]);
test.each<[string, () => unknown, RegExp]>([
  [
    'beyond the table',
    () => new nn.Embedding(4, 3).forward(tensor([4n])),
    /index out of range in self: got 4, expected 0 to 3/,
  ],
  ['negative', () => new nn.Embedding(4, 3).forward(tensor([-1n])), /got -1/],
  ['far beyond', () => new nn.Embedding(4, 3).forward(tensor([2n ** 40n])), /got 1099511627776/],
  ['float indices', () => new nn.Embedding(4, 3).forward(tensor([1])), /Long, Int; but got float32/],
  ['padding', () => new nn.Embedding(4, 3, { paddingIdx: 4 }), /Padding_idx must be within num_embeddings/],
  ['size', () => new nn.Embedding(0, 3), /num_embeddings must be greater than zero/],
  ['norm', () => new nn.Embedding(4, 3, { maxNorm: '1' as never }), /max_norm should be a number or null/],
  ['norm type', () => new nn.Embedding(4, 3, { normType: 0 }), /norm_type be positive, got null and 0/],
  ['option', () => new nn.Embedding(4, 3, { mode: 'sum' } as never), /unknown option 'mode'/],
  [
    'mode',
    () => new nn.EmbeddingBag(4, 3, { mode: 'min' as never }),
    /mode should be 'sum' or 'mean' or 'max'/,
  ],
  ['bag padding', () => new nn.EmbeddingBag(4, 3, { paddingIdx: -5 }), /within num_embeddings, got -5/],
  ['no offsets', () => bag.forward(two), /offsets has to be a 1D Tensor but got None/],
  ['2-D and offsets', () => bag.forward(two.reshape(1, 2), two), /offsets has to be None/],
  [
    '3-D',
    () => bag.forward(two.reshape(1, 2, 1)),
    /input has to be 1D or 2D Tensor, but got Tensor of dimension 3/,
  ],
  ['2-D offsets', () => bag.forward(two, tensor([[0n]])), /offsets has to be a 1D Tensor, got 2D/],
  ['float offsets', () => bag.forward(two, tensor([0])), /argument #1 'offsets'.*got float32/],
  ['late start', () => bag.forward(two, tensor([1n])), /offsets\[0\] has to be 0.*got 1/],
  ['falling', () => bag.forward(two, tensor([0n, 2n, 1n])), /offsets should not decrease, got 1 after 2/],
  ['beyond', () => bag.forward(two, tensor([0n, 3n])), /input's length 2 but got offsets\[-1\] of 3/],
  [
    'no last',
    () => sums.forward(two, zeros([0], { dtype: 'int64' })),
    /number of offset should be at least 1/,
  ],
  ['bag index', () => bag.forward(tensor([[5n]])), /index out of range in self: got 5/],
  [
    'weighted mean',
    () => bag.forward(two, tensor([0n]), zeros(2)),
    /only supported for mode='sum' \(got mode='mean'\)/,
  ],
  ['weights', () => sums.forward(two, two.mul(0), zeros(3)), /torch.Size\(\[3\]\).*torch.Size\(\[2\]\)/],
  ['weights’ type', () => sums.forward(two, two.mul(0), two), /should be a float32 Tensor, got int64/],
])('%s', (_, f, message) => expect(f).toThrow(message));
test('kinds of errors', () => {
  expect(() => bag.forward(two)).toThrow(TypeError);
  expect(() => bag.forward(two, 5 as never)).toThrow(TypeError);
  expect(() => bag.forward(two, tensor([1n]))).toThrow(RangeError);
});
test('another table is checked: none of its rows is missing', () => {
  const embedding = new nn.Embedding(4, 3);
  Object.assign(embedding, { weight: zeros(1, 3) });
  expect(() => embedding.forward(two)).toThrow(/^weight should have the shape \[4, 3\], got \[1, 3\]/);
});
test('a detached table or index is an error', () => {
  const detach = (t: Tensor): Tensor => {
    structuredClone(t.data.buffer, { transfer: [t.data.buffer as ArrayBuffer] });
    return t;
  };
  const embedding = new nn.Embedding(40, 3);
  expect(() => embedding.forward(detach(zeros([99], { dtype: 'int32' })))).toThrow(
    /indices has lost its data/,
  );
  detach(embedding.weight);
  expect(() => embedding.forward(two)).toThrow(/weight has lost its data/);
});
