import * as nn from '../src/nn/index.js';
import { manualSeed } from '../src/random.js';
import { ones } from '../src/tensor/index.js';
import { bytesOf, golden } from './support.js';

test('training scales what PyTorch’s bernoulli stream keeps', () => {
  // The golden group has bernoulli(0.3) after three initialisers.
  const group = golden('rng');
  const c = group.cases.find((each) => each.ops.some((op: { op: string }) => op.op === 'bernoulli'))!;
  const dropout = new nn.Dropout(0.7);
  manualSeed(c.seed);
  nn.init.kaimingUniform_(ones(4, 9), { a: Math.sqrt(5) });
  nn.init.kaimingUniform_(ones(4, 9));
  nn.init.xavierUniform_(ones(4, 9));
  const kept = dropout.forward(ones(20));
  const expected = group.tensor(c.ops[3].out).div(1 - 0.7);
  expect(bytesOf(kept)).toBe(bytesOf(expected));
});
test('evaluation is the identity', () => {
  const x = ones(3);
  expect(new nn.Dropout().eval().forward(x)).toBe(x);
});
test('the ends', () => {
  expect(new nn.Dropout(1).forward(ones(3)).toArray()).toEqual([0, 0, 0]);
  expect(new nn.Dropout(0).forward(ones(3)).toArray()).toEqual([1, 1, 1]);
  expect(() => new nn.Dropout(1.5)).toThrow(/between 0 and 1, but got 1.5/);
  expect(() => new nn.Dropout({ p: 0.5 } as never)).toThrow(/^p should be a number, got Object/);
  expect(() => new nn.Dropout().forward(null as never)).toThrow(/^input should be a Tensor, got null/);
  expect(String(new nn.Dropout(0.2))).toBe('Dropout(p=0.2, inplace=False)');
});
