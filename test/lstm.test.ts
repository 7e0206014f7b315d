import * as nn from '../src/nn/index.js';
import { quantizeDynamic } from '../src/quantization/index.js';
import { manualSeed, randn } from '../src/random.js';
import { Tensor, zeros } from '../src/tensor/index.js';
import { testFloatLayer, testInit } from './recurrent.js';
import { bytesOf } from './support.js';

testFloatLayer('LSTM', 19);
testInit('LSTM', 8);

describe('packed weights follow the parameters', () => {
  const x = randn(3, 2, 4);
  const run = (lstm: nn.LSTM): string => bytesOf(lstm.forward(x)[0]);
  const [lstm, other] = [new nn.LSTM(4, 5), new nn.LSTM(4, 5)];

  test('after loadStateDict, nn.init, a replaced parameter and repack()', () => {
    const first = run(lstm);
    lstm.loadStateDict(other.stateDict());
    expect(run(lstm)).toBe(run(other));
    nn.init.zeros_(lstm.stateDict().get('weight_ih_l0')!);
    const zeroed = run(lstm);
    expect(zeroed).not.toBe(run(other));
    expect(zeroed).not.toBe(first);
    Object.assign(lstm, { weight_ih_l0: other.stateDict().get('weight_ih_l0') });
    expect(run(lstm)).toBe(run(other));
    lstm
      .stateDict()
      .get('bias_ih_l0')!
      .data.fill(1 as never);
    expect(run(lstm)).toBe(run(other));
    lstm.repack();
    expect(run(lstm)).not.toBe(run(other));
  });
});

describe('training', () => {
  test('dropout works between layers, and only in training', () => {
    manualSeed(3);
    const lstm = new nn.LSTM(4, 5, { numLayers: 3, dropout: 0.5, bidirectional: true });
    const x = randn(6, 2, 4);
    const draw = (): string => {
      manualSeed(9);
      return bytesOf(lstm.forward(x)[0]);
    };
    const trained = draw();
    expect(draw()).toBe(trained);
    manualSeed(10);
    expect(bytesOf(lstm.forward(x)[0])).not.toBe(trained);
    lstm.eval();
    const plain = draw();
    expect(plain).not.toBe(trained);
    const twin = new nn.LSTM(4, 5, { numLayers: 3, bidirectional: true });
    twin.loadStateDict(lstm.stateDict());
    expect(bytesOf(twin.forward(x)[0])).toBe(plain);
  });
});

test('dropout on a single layer warns', () => {
  const warn = jest.spyOn(process, 'emitWarning').mockImplementation(() => undefined);
  new nn.LSTM(4, 5, { dropout: 0.5, numLayers: 2 });
  expect(warn).not.toHaveBeenCalled();
  const lstm = new nn.LSTM(4, 5, { dropout: 0.5 });
  quantizeDynamic(lstm);
  expect(warn.mock.calls).toEqual([
    [
      'dropout option adds dropout after all but last recurrent layer, so non-zero dropout expects num_layers greater than 1, but got dropout=0.5 and num_layers=1',
    ],
  ]);
  warn.mockRestore();
});

describe('an empty batch gives empty results', () => {
  test('B = 0', () => {
    const [y, [hn, cn]] = new nn.LSTM(4, 5).forward(zeros(3, 0, 4));
    expect([y.shape, hn.shape, cn.shape]).toEqual([
      [3, 0, 5],
      [1, 0, 5],
      [1, 0, 5],
    ]);
  });
});

describe('errors', () => {
  const lstm = new nn.LSTM(4, 5, { numLayers: 2 });
  const state = (...shape: number[]): nn.LSTMState => [zeros(shape), zeros(shape)];
  const detached = (): Tensor => {
    const t = zeros(3, 2, 4);
    structuredClone(t.data.buffer, { transfer: [t.data.buffer as ArrayBuffer] });
    return t;
  };
  test.each<[string, () => unknown, RegExp]>([
    ['no tensor', () => lstm.forward([1] as never), /input should be a Tensor, got an array of 1/],
    ['rank 1', () => lstm.forward(zeros(4)), /Expected input to be 2D or 3D, got 1D instead/],
    ['rank 4', () => lstm.forward(zeros(1, 1, 1, 4)), /got 4D instead/],
    ['features', () => lstm.forward(zeros(3, 2, 5)), /equal to input_size. Expected 4, got 5/],
    ['no steps', () => lstm.forward(zeros(0, 2, 4)), /sequence length to be larger than 0/],
    ['dtype', () => lstm.forward(zeros([3, 2, 4], { dtype: 'float64' })), /dtype \(float64\) does not match/],
    [
      'h0 shape',
      () => lstm.forward(zeros(3, 2, 4), state(1, 2, 5)),
      /Expected hidden\[0\] size \(2, 2, 5\), got \[1, 2, 5\]/,
    ],
    ['c0 shape', () => lstm.forward(zeros(3, 2, 4), [zeros(2, 2, 5), zeros(2, 2, 6)]), /hidden\[1\] size/],
    ['state rank', () => lstm.forward(zeros(3, 2, 4), state(2, 5)), /also be 3-D but got \(2-D, 2-D\)/],
    ['state rank, unbatched', () => lstm.forward(zeros(3, 4), state(2, 1, 5)), /unbatched 2-D input/],
    ['state kind', () => lstm.forward(zeros(3, 2, 4), zeros(2, 2, 5) as never), /pair of Tensors/],
    [
      'state dtype',
      () => lstm.forward(zeros(3, 2, 4), [zeros([2, 2, 5], { dtype: 'int32' }), zeros(2, 2, 5)]),
      /hidden\[0\] should be a float32/,
    ],
    ['detached', () => lstm.forward(detached()), /input has lost its data/],
    ['sizes', () => new nn.LSTM(0, 5), /input_size must be greater than zero/],
    ['fraction', () => new nn.LSTM(4, 2.5), /hidden_size should be of type int/],
    ['layers', () => new nn.LSTM(4, 5, { numLayers: 0 }), /num_layers must be greater than zero/],
    ['dropout', () => new nn.LSTM(4, 5, { dropout: 2 }), /number in range \[0, 1\]/],
    ['kind of dropout', () => new nn.LSTM(4, 5, { dropout: true as never }), /number in range .*, got true/],
    [
      'too many layers',
      () => new nn.LSTM(1, 1, { numLayers: 2 ** 40 }),
      /^num_layers should be at most 65536/,
    ],
    ['projSize', () => new nn.LSTM(4, 5, { projSize: 5 }), /^proj_size has to be smaller than hidden_size/],
    [
      'negative projSize',
      () => new nn.LSTM(4, 5, { projSize: -1 }),
      /^proj_size should be a positive integer or zero to disable projections/,
    ],
    [
      'kind of projSize',
      () => new nn.LSTM(4, 5, { projSize: 1.5 }),
      /^proj_size should be of type int, got: 1.5/,
    ],
    [
      'h0 of a projection',
      () => new nn.LSTM(4, 5, { projSize: 2 }).forward(zeros(3, 2, 4), state(1, 2, 5)),
      /^Expected hidden\[0\] size \(1, 2, 2\), got \[1, 2, 5\]/,
    ],
    ['options', () => new nn.LSTM(4, 5, null as never), /^LSTM: options should be an object, got null/],
    [
      'option',
      () => new nn.LSTM(4, 5, { numLayer: 2 } as never),
      /unknown option 'numLayer'; the options are numLayers/,
    ],
    ['bias', () => new nn.LSTM(4, 5, { bias: 1 as never }), /bias should be a boolean, got 1/],
  ])('%s', (_, f, message) => expect(f).toThrow(message));
});

test('a float layer lets NaN and infinity through, as PyTorch does', () => {
  const lstm = new nn.LSTM(2, 3);
  const [y] = lstm.forward(new Tensor(Float32Array.of(NaN, 1), [1, 1, 2]));
  expect(Array.from(y.data, Number).every(Number.isNaN)).toBe(true);
});

test('prints as PyTorch does', () => {
  expect(
    String(
      new nn.LSTM(2, 3, { numLayers: 2, bias: false, batchFirst: true, dropout: 0.1, bidirectional: true }),
    ),
  ).toBe('LSTM(2, 3, num_layers=2, bias=False, batch_first=True, dropout=0.1, bidirectional=True)');
  const options = { numLayers: 2, dropout: 1e-5 };
  expect(String(new nn.LSTM(2, 3, options))).toBe('LSTM(2, 3, num_layers=2, dropout=1e-05)');
  for (const [dropout, text] of [
    [1, '1.0'],
    [1e-5, '1e-05'],
  ] as const) {
    expect(String(new nn.LSTM(2, 3, { numLayers: 2, dropout }))).toBe(
      `LSTM(2, 3, num_layers=2, dropout=${text})`,
    );
  }
});

describe('results', () => {
  // Up to 16 elements they come through slots, a single step's share one buffer, the rest have their own.
  test.each([
    [8, 1, 1],
    [16, 1, 1],
    [17, 1, 1],
    [4, 5, 1],
    [40, 1, 20],
    [40, 3, 1],
    [130, 33, 1],
  ])('of hidden size %i, batch %i, %i steps do not change with later calls', (hiddenSize, batch, steps) => {
    manualSeed(hiddenSize);
    const lstm = new nn.LSTM(3, hiddenSize).eval();
    const call = () =>
      lstm.forward(randn(steps, batch, 3), [randn(1, batch, hiddenSize), randn(1, batch, hiddenSize)]);
    const [y, [h, c]] = call();
    const before = [y, h, c].map(bytesOf);
    call();
    expect([y, h, c].map(bytesOf)).toEqual(before);
    expect([y, h, c].map((t) => t.shape)).toEqual([
      [steps, batch, hiddenSize],
      [1, batch, hiddenSize],
      [1, batch, hiddenSize],
    ]);
    expect(h.equal(y.select(0, steps - 1).reshape(1, batch, hiddenSize))).toBe(true);
  });

  test('of one step share a buffer, which tells when it was transferred', () => {
    const lstm = new nn.LSTM(3, 40).eval();
    const [y, state] = lstm.forward(randn(1, 1, 3));
    const copy = y.clone();
    structuredClone(copy.data, { transfer: [copy.data.buffer as ArrayBuffer] });
    lstm.forward(randn(1, 1, 3), state);
    structuredClone(y.data, { transfer: [y.data.buffer as ArrayBuffer] });
    expect(() => lstm.forward(randn(1, 1, 3), state)).toThrow('hidden[0] has lost its data');
  });
});
