import * as nn from '../src/nn/index.js';
import { zeros } from '../src/tensor/index.js';
import { testFloatLayer, testInit } from './recurrent.js';
import { bytesOf } from './support.js';

testFloatLayer('GRU', 15);
testInit('GRU', 2);

describe('errors', () => {
  const gru = new nn.GRU(4, 5, { numLayers: 2 });
  test.each<[string, () => unknown, RegExp]>([
    ['no tensor', () => gru.forward(5 as never), /^input should be a Tensor, got 5/],
    ['rank', () => gru.forward(zeros(1, 1, 1, 4)), /^GRU: Expected input to be 2D or 3D, got 4D instead/],
    ['features', () => gru.forward(zeros(3, 2, 5)), /equal to input_size. Expected 4, got 5/],
    ['no steps', () => gru.forward(zeros(0, 2, 4)), /^Expected sequence length to be larger than 0 in RNN/],
    [
      'h0',
      () => gru.forward(zeros(3, 2, 4), zeros(1, 2, 5)),
      /^Expected hidden size \(2, 2, 5\), got \[1, 2, 5\]/,
    ],
    [
      'rank of h0',
      () => gru.forward(zeros(3, 2, 4), zeros(2, 5)),
      /^For batched 3-D input, hx should also be 3-D but got 2-D tensor/,
    ],
    [
      'rank of h0, unbatched',
      () => gru.forward(zeros(3, 4), zeros(2, 1, 5)),
      /^For unbatched 2-D input, hx should also be 2-D but got 3-D tensor/,
    ],
    [
      'an LSTM’s state',
      () => gru.forward(zeros(3, 4), [zeros(2, 5), zeros(2, 5)] as never),
      /^state should be a Tensor h0, got an array of 2/,
    ],
    [
      'dtype of h0',
      () => gru.forward(zeros(3, 4), zeros([2, 5], { dtype: 'int32' })),
      /^hidden should be a float32/,
    ],
    ['dtype', () => gru.forward(zeros([3, 2, 4], { dtype: 'float64' })), /dtype \(float64\) does not match/],
    [
      'projections',
      () => new nn.GRU(4, 5, { projSize: 2 } as never),
      /^proj_size argument is only supported for LSTM, not RNN or GRU/,
    ],
    [
      'option',
      () => new nn.GRU(4, 5, { nonlinearity: 'relu' } as never),
      /^GRU: unknown option 'nonlinearity'/,
    ],
  ])('%s', (_, f, message) => expect(f).toThrow(message));
});

test('a single step’s results share a buffer', () => {
  const gru = new nn.GRU(4, 40);
  const [y, h] = gru.forward(zeros(1, 1, 4));
  expect(y.data.buffer).toBe(h.data.buffer);
  expect(y.equal(h)).toBe(true);
  const before = bytesOf(h);
  gru.forward(zeros(1, 1, 4).fill_(1));
  expect(bytesOf(h)).toBe(before);
});
