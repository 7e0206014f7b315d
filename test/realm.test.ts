import * as nn from '../src/nn/index.js';
import { copyModule } from '../src/nn/copy-module.js';
import { isInstanceOf } from '../src/nn/module.js';
import {
  defaultDynamicQConfig,
  float16DynamicQConfig,
  floatQParamsWeightOnlyQConfig,
} from '../src/quantization/index.js';
import { randn } from '../src/random.js';
import { tensor, type Tensor } from '../src/tensor/index.js';

// A second copy of the package, as another realm or another installed version has it.
let other!: typeof nn;
jest.isolateModules(() => {
  // eslint-disable-next-line @typescript-eslint/no-require-imports
  other = require('../src/nn/index.js') as typeof nn;
});
const { dynamic, Embedding, EmbeddingBag } = nn.quantized;

class MyLSTM extends other.LSTM {}
class Own extends other.Module {
  constructor() {
    super();
    this.registerBuffer('offset', tensor([1, 2]));
  }
  override forward(x: Tensor): Tensor {
    return x;
  }
}

test('it is another copy', () => {
  expect(other.LSTM).not.toBe(nn.LSTM);
  expect(new other.LSTM(1, 1)).not.toBeInstanceOf(nn.LSTM);
});

const linears = [defaultDynamicQConfig, float16DynamicQConfig];
test.each([
  ['LSTM', () => new other.LSTM(2, 3, { numLayers: 2, projSize: 1 }), dynamic.LSTM, linears],
  ['a subclass of LSTM', () => new MyLSTM(2, 3), dynamic.LSTM, linears],
  ['GRU', () => new other.GRU(2, 3, { bidirectional: true }), dynamic.GRU, linears],
  ['RNN', () => new other.RNN(2, 3, { nonlinearity: 'relu' }), dynamic.RNN, linears],
  ['LSTMCell', () => new other.LSTMCell(2, 3), dynamic.LSTMCell, linears],
  ['GRUCell', () => new other.GRUCell(2, 3), dynamic.GRUCell, linears],
  ['RNNCell', () => new other.RNNCell(2, 3), dynamic.RNNCell, linears],
  ['Linear', () => new other.Linear(2, 3), dynamic.Linear, linears],
  [
    'LinearReLU',
    () => new other.intrinsic.LinearReLU(new other.Linear(2, 3), new other.ReLU()),
    dynamic.LinearReLU,
    linears,
  ],
  ['Embedding', () => new other.Embedding(2, 3), Embedding, [floatQParamsWeightOnlyQConfig]],
  ['EmbeddingBag', () => new other.EmbeddingBag(2, 3), EmbeddingBag, [floatQParamsWeightOnlyQConfig]],
] as const)('fromFloat takes a module of another copy: %s', (_, make, Quantized, qconfigs) => {
  const module = make();
  const fromFloat = Quantized.fromFloat.bind(Quantized) as unknown as (...args: unknown[]) => nn.Module;
  for (const qconfig of qconfigs) {
    const quantized = fromFloat(module, qconfig);
    expect(quantized).toBeInstanceOf(Quantized);
    expect([...quantized.stateDict().keys()].map((key) => key.replace(/^0\./, ''))).toEqual(
      [...module.stateDict().keys()].map((key) => key.replace(/^0\./, '')),
    );
  }
  // A module of the same name that is already quantized is another class.
  expect(() => fromFloat(fromFloat(module, qconfigs[0]), qconfigs[0])).toThrow('should be an instance of');
  expect(() => fromFloat(new other.ReLU(), qconfigs[0])).toThrow('should be an instance of');
});

test('classes are told by their names and those of the classes they extend', () => {
  expect(isInstanceOf(new MyLSTM(1, 1), nn.LSTM)).toBe(true);
  expect(isInstanceOf(new nn.LSTM(1, 1), other.LSTM)).toBe(true);
  expect(isInstanceOf(new other.LSTM(1, 1), nn.Module)).toBe(true);
  expect(isInstanceOf(new other.LSTM(1, 1), nn.GRU)).toBe(false);
  expect(isInstanceOf(new other.quantized.dynamic.LSTM(1, 1), nn.LSTM)).toBe(false);
  expect(isInstanceOf(new other.quantized.Embedding(1, 1), nn.Embedding)).toBe(false);
  expect(isInstanceOf({ hiddenSize: 1 }, nn.LSTM)).toBe(false);
  expect(isInstanceOf(null, nn.LSTM)).toBe(false);
});

test('a copy keeps the buffers and the closed sizes of a module of another copy', () => {
  expect([...copyModule(new Own()).stateDict().keys()]).toEqual(['offset']);
  const linear = copyModule(new other.Linear(2, 3));
  expect(() => Object.assign(linear, { inFeatures: 3 })).toThrow('Linear: inFeatures is fixed');
  expect(linear.forward(randn(1, 2)).shape).toEqual([1, 3]);
});

test('a class of the user that has the name of one of ours is not ours', () => {
  const named = {
    Linear: class Linear extends nn.Module {
      override forward(x: Tensor): Tensor {
        return x.mul(100);
      }
    },
  };
  expect(isInstanceOf(new named.Linear(), nn.Linear)).toBe(false);
  expect(() => dynamic.Linear.fromFloat(new named.Linear() as never, defaultDynamicQConfig)).toThrow(
    /module should be an instance of Linear/,
  );
});

/** A tensor of another copy whose methods' names are noted where this copy calls them. */
function watched(x: Tensor, called: Set<string>): Tensor {
  const theirs = new other.Linear(1, 1).weight.to('float64').to('float32'); // of the other copy's class
  const tensor = theirs.reshape([]).expand(x.shape).mul(0).to(x.dtype).copy_(x);
  return new Proxy(tensor, {
    getPrototypeOf: () => Object.prototype,
    get: (_, key) => {
      const value: unknown = Reflect.get(tensor, key, tensor);
      if (typeof value !== 'function') return value;
      called.add(String(key));
      return (...args: unknown[]) => (value as (...args: unknown[]) => unknown).apply(tensor, args);
    },
  });
}

test('what lacks a method that is called on tensors is no tensor', () => {
  const F = nn.functional;
  const layer = new nn.TransformerEncoderLayer(4, 2, { normFirst: true }).eval();
  const x = randn(2, 3, 4);
  const calls: [Tensor, (x: Tensor) => unknown][] = [
    [x, (given) => layer.forward(given)],
    [x, (given) => F.normalize(given)],
    [x, (given) => F.unfold(given, [2, 2])],
    [
      x.to('float64'),
      (given) => F.scaledDotProductAttention(given, given, given, { attnMask: randn(3).to('float64') }),
    ],
    [randn(3), (given) => F.scaledDotProductAttention(x, x, x, { attnMask: given })],
    [randn(1, 1), (given) => F.scaledDotProductAttention(x, x, x, { attnMask: given })],
    [x, (given) => F.softmax(given, 0)],
    [x, (given) => F.logSoftmax(given, 0)],
    [x, (given) => F.dropout(given)],
    [x, (given) => F.dropout(given, { p: 1 })],
    [x, (given) => F.adaptiveAvgPool1d(given, 1)],
    [x, (given) => new nn.Flatten().forward(given)],
    [x, (given) => new nn.Unflatten(2, [2, 2]).forward(given)],
    [x, (given) => new nn.LSTM(4, 2, { batchFirst: true }).forward(given)],
    [x, (given) => nn.utils.rnn.packPaddedSequence(given, [2, 2, 1])],
    [tensor([1n, 0n]), (given) => F.oneHot(given)],
  ];
  const asked = new Set<string>();
  F.relu(watched(x, asked)); // calls nothing but checked
  for (const [given, call] of calls) {
    const called = new Set<string>();
    call(watched(given, called));
    for (const name of called) asked.add(name);
  }
  expect([...asked]).toEqual(
    expect.arrayContaining(['add', 'norm', 'div', 'unsqueeze', 'matmul', 'flatten']),
  );
  for (const name of asked) {
    const lacking = new Proxy(watched(x, new Set()), {
      get: (target, key) => (key === name ? undefined : (Reflect.get(target, key) as unknown)),
    });
    expect(() => F.relu(lacking)).toThrow('should be a float32 Tensor, got an object');
  }
});
