import * as nn from '../src/nn/index.js';
import { randn } from '../src/random.js';
import { zeros } from '../src/tensor/index.js';
import { testCell, testInit } from './recurrent.js';
import { bytesOf } from './support.js';

testCell('LSTMCell', 2, 2);
testCell('GRUCell', 2, 2);
testCell('RNNCell', 3, 4);
testInit('LSTMCell', 2);
testInit('GRUCell', 2);
testInit('RNNCell', 2);

test.each(['LSTMCell', 'GRUCell', 'RNNCell'] as const)('%s unbatched, and a batch of none', (name) => {
  const cell = new nn[name](4, 5);
  const lstm = name === 'LSTMCell';
  const [x, h, c] = [randn(4), randn(5), randn(5)];
  const run = cell.forward.bind(cell) as (...args: unknown[]) => unknown;
  const alone = [run(x, lstm ? [h, c] : h)].flat() as (typeof x)[];
  const rows = [h, c].map((t) => t.unsqueeze(0));
  const batch = [run(x.unsqueeze(0), lstm ? rows : rows[0])].flat() as (typeof x)[];
  alone.forEach((each, i) => {
    expect(each.shape).toEqual([5]);
    expect(batch[i]!.shape).toEqual([1, 5]);
    expect(bytesOf(each)).toBe(bytesOf(batch[i]!));
  });
  const none = [run(zeros(0, 4))].flat() as (typeof x)[];
  expect(none.map((t) => t.shape)).toEqual(
    lstm
      ? [
          [0, 5],
          [0, 5],
        ]
      : [[0, 5]],
  );
});

test('a cell packs again when a parameter changes', () => {
  const cell = new nn.GRUCell(4, 5);
  const x = randn(2, 4);
  const before = bytesOf(cell.forward(x));
  const { weight_ih: weight } = cell as unknown as { weight_ih: nn.Parameter };
  weight.data[0] = 5;
  expect(bytesOf(cell.forward(x))).toBe(before);
  cell.repack();
  const repacked = bytesOf(cell.forward(x));
  expect(repacked).not.toBe(before);
  nn.init.zeros_(weight);
  expect(bytesOf(cell.forward(x))).not.toBe(repacked);
});

test('prints as PyTorch does', () => {
  expect(String(new nn.GRUCell(2, 3, { bias: false }))).toBe('GRUCell(2, 3, bias=False)');
  expect(String(new nn.RNNCell(3, 2, { nonlinearity: 'relu' }))).toBe('RNNCell(3, 2, nonlinearity=relu)');
});

describe('errors', () => {
  const lstm = new nn.LSTMCell(4, 5);
  const gru = new nn.GRUCell(4, 5);
  const pair = (...shape: number[]): [nn.Parameter, nn.Parameter] =>
    [zeros(shape), zeros(shape)] as unknown as [nn.Parameter, nn.Parameter];
  test.each<[string, () => unknown, RegExp]>([
    ['no tensor', () => lstm.forward([] as never), /^input should be a Tensor, got an array of 0/],
    ['rank', () => lstm.forward(zeros(2, 3, 4)), /^LSTMCell: Expected input to be 1D or 2D, got 3D instead/],
    ['features', () => lstm.forward(zeros(2, 3)), /^input has inconsistent input_size: got 3 expected 4/],
    [
      'dtype',
      () => gru.forward(zeros([2, 4], { dtype: 'float64' })),
      /^mat1 and mat2 must have the same dtype/,
    ],
    [
      'batch',
      () => lstm.forward(zeros(2, 4), pair(3, 5)),
      /^Input batch size 2 doesn't match hidden0 batch size 3/,
    ],
    [
      'size of c',
      () => lstm.forward(zeros(2, 4), [zeros(2, 5), zeros(2, 6)]),
      /^hidden1 has inconsistent hidden_size: got 6, expected 5/,
    ],
    [
      'rank of h',
      () => lstm.forward(zeros(2, 4), pair(2, 5, 1)),
      /^LSTMCell: Expected hx\[0\] to be 1D or 2D, got 3D instead/,
    ],
    [
      'rank of a GRU’s h',
      () => gru.forward(zeros(2, 4), zeros(2, 5, 1)),
      /^GRUCell: Expected hidden to be 1D or 2D, got 3D instead/,
    ],
    [
      'unbatched h',
      () => gru.forward(zeros(2, 4), zeros(5)),
      /^Expected 2D hidden0 \(batch x hidden_size\), but got 1D tensor/,
    ],
    [
      'batched h',
      () => gru.forward(zeros(4), zeros(1, 5)),
      /^Expected 1D hidden0 \(hidden_size\), but got 2D/,
    ],
    [
      'state',
      () => lstm.forward(zeros(2, 4), zeros(2, 5) as never),
      /^state should be a pair of Tensors \[h, c\]/,
    ],
    ['a GRU’s state', () => gru.forward(zeros(2, 4), pair(2, 5) as never), /^state should be a Tensor h/],
    [
      'dtype of h',
      () => gru.forward(zeros(2, 4), zeros([2, 5], { dtype: 'int8' })),
      /^hidden0 should be a float32/,
    ],
    ['sizes', () => new nn.LSTMCell(0, 5), /^input_size must be greater than zero/],
    [
      'nonlinearity',
      () => new nn.RNNCell(4, 5, { nonlinearity: 'gelu' as never }),
      /^Unknown nonlinearity 'gelu'/,
    ],
    ['option', () => new nn.GRUCell(4, 5, { numLayers: 2 } as never), /^GRUCell: unknown option 'numLayers'/],
  ])('%s', (_, f, message) => expect(f).toThrow(message));
});
