import { spawnSync } from 'node:child_process';
import { join } from 'node:path';
import { inspect } from 'node:util';
import * as nn from '../src/nn/index.js';
import { copyModule } from '../src/nn/module.js';
import { quantizeDynamic } from '../src/quantization/index.js';
import { randn } from '../src/random.js';
import { tensor, type Tensor } from '../src/tensor/index.js';

const { dynamic, Embedding, EmbeddingBag } = nn.quantized;
const indices = tensor([[0, 1]], { dtype: 'int32' });
const rnn = 'mode inputSize hiddenSize numLayers bias batchFirst dropout bidirectional projSize';
const cell = 'mode inputSize hiddenSize bias';
const table = 'numEmbeddings embeddingDim paddingIdx';
const dynamicNames = 'dtype activation reduceRange';

// Every class of the package that has sizes or options, all of them, and an input.
const cases: [make: () => nn.Module, names: string, input: Tensor][] = [
  [() => new nn.LSTM(2, 3), rnn, randn(2, 1, 2)],
  [() => new nn.GRU(2, 3), rnn, randn(2, 1, 2)],
  [() => new nn.RNN(2, 3), `${rnn} nonlinearity`, randn(2, 1, 2)],
  [() => new nn.LSTMCell(2, 3), cell, randn(1, 2)],
  [() => new nn.GRUCell(2, 3), cell, randn(1, 2)],
  [() => new nn.RNNCell(2, 3), `${cell} nonlinearity`, randn(1, 2)],
  [() => new nn.Linear(2, 3), 'inFeatures outFeatures', randn(1, 2)],
  [() => new nn.Embedding(4, 3), `${table} maxNorm normType`, indices],
  [() => new nn.EmbeddingBag(4, 3), `${table} maxNorm normType mode includeLastOffset`, indices],
  [() => new nn.LayerNorm(2), 'normalizedShape eps elementwiseAffine', randn(1, 2)],
  [() => new nn.Dropout().eval(), 'p', randn(2)],
  [() => new nn.GELU(), 'approximate', randn(2)],
  [() => new nn.LeakyReLU(), 'negativeSlope', randn(2)],
  [() => new nn.ELU(), 'alpha', randn(2)],
  [() => new nn.Softplus(), 'beta threshold', randn(2)],
  [() => new nn.Hardtanh(), 'minVal maxVal', randn(2)],
  [() => new nn.Softmax(0), 'dim', randn(2)],
  [() => new nn.LogSoftmax(0), 'dim', randn(2)],
  [() => new dynamic.LSTM(2, 3), `${rnn} ${dynamicNames}`, randn(2, 1, 2)],
  [() => new dynamic.GRU(2, 3), `${rnn} ${dynamicNames}`, randn(2, 1, 2)],
  [() => new dynamic.RNN(2, 3), `${rnn} nonlinearity ${dynamicNames}`, randn(2, 1, 2)],
  [() => new dynamic.LSTMCell(2, 3), `${cell} ${dynamicNames}`, randn(1, 2)],
  [() => new dynamic.GRUCell(2, 3), `${cell} ${dynamicNames}`, randn(1, 2)],
  [() => new dynamic.RNNCell(2, 3), `${cell} nonlinearity ${dynamicNames}`, randn(1, 2)],
  [() => new dynamic.Linear(2, 3), `kind inFeatures outFeatures bias ${dynamicNames}`, randn(1, 2)],
  [() => new dynamic.LinearReLU(2, 3), `kind inFeatures outFeatures bias ${dynamicNames}`, randn(1, 2)],
  [() => new Embedding(4, 3), `${table} dtype`, indices],
  [() => new EmbeddingBag(4, 3), `${table} mode includeLastOffset dtype`, indices],
];
const named = cases.map(([make, names, input]) => {
  const { constructor } = make();
  const room =
    constructor === (nn as unknown as Record<string, unknown>)[constructor.name] ? 'nn' : 'quantized';
  return [`${room}.${constructor.name}`, make, names.split(' '), input] as const;
});
type Fields = Record<string, unknown>;

/** Own enumerable properties that are no tensors, modules, training or hidden records. */
function sizesOf(module: nn.Module): string[] {
  const isOther = (name: string, value: unknown): boolean =>
    ['training', 'loaded', 'items'].includes(name) || (value as Partial<Tensor> | null)?.shape !== undefined;
  return Object.entries(module).flatMap(([name, value]) => (isOther(name, value) ? [] : [name]));
}

describe.each(named)('%s is closed', (_, make, names, input) => {
  const module = make();
  const fields = module as unknown as Fields;
  const before = names.map((name) => fields[name]);
  const output = module.forward(input) as unknown;
  const writes: [string, (name: string, value: unknown) => unknown][] = [
    ['an assignment', (name, value) => (fields[name] = value)],
    ['Reflect.set', (name, value) => Reflect.set(module, name, value)],
    ['Object.assign', (name, value) => Object.assign(module, { [name]: value })],
    ['sloppy code', new Function('name', 'value', 'this[name] = value').bind(module) as () => unknown],
  ];
  const { name: className } = module.constructor;

  test.each(writes)('to %s', (_, write) => {
    for (const name of names) {
      for (const value of [0, 'other', fields[name]]) {
        const expected = {
          name: 'TypeError',
          code: 'ERR_READ_ONLY',
          message: expect.stringContaining(name) as string,
        };
        expect(() => write(name, value)).toThrow(expect.objectContaining(expected));
        expect(() => write(name, value)).toThrow(`make a new ${className} with another ${name}`);
      }
    }
    expect(names.map((name) => fields[name])).toEqual(before);
    expect(module.forward(input)).toEqual(output);
  });
  test('in all that it has', () => {
    expect(names).toEqual(expect.arrayContaining(sizesOf(module)));
  });
  test('and so is a copy, which is equal to it', () => {
    const copy = copyModule(module) as unknown as Fields;
    expect(names.map((name) => copy[name])).toEqual(before);
    expect(Object.keys(copy)).toEqual(Object.keys(module));
    expect(copyModule(copy as unknown as nn.Module)).toEqual(copy);
    for (const name of names)
      expect(() => (copy[name] = 0)).toThrow(expect.objectContaining({ code: 'ERR_READ_ONLY' }));
    expect((copy as unknown as nn.Module).forward(input)).toEqual(output);
  });
});

test('a quantized LSTM whose numLayers somebody sets to 0 does not crash the process', () => {
  const script = `
    const { nn, randn } = require('./dist/index.js');
    const q = new nn.quantized.dynamic.LSTM(1, 1);
    q.numLayers = 0;
    q.forward(randn(1, 1, 1));`;
  const { status, signal, stderr } = spawnSync(process.execPath, ['-e', script], {
    cwd: join(__dirname, '..'),
    encoding: 'utf8',
  });
  expect([status, signal]).toEqual([1, null]);
  expect(stderr).toContain("code: 'ERR_READ_ONLY'");
});

describe('what may change', () => {
  test('training, qconfig and parameters', () => {
    const linear = new nn.Linear(1, 1);
    linear.training = false;
    linear.qconfig = null;
    Object.assign(linear, {
      weight: new nn.Parameter(Float32Array.of(2), [1, 1]),
      bias: new nn.Parameter(Float32Array.of(1), [1]),
    });
    expect(linear.forward(tensor([[3]])).toArray()).toEqual([[7]]);
    const quantized = quantizeDynamic(new nn.Sequential(linear));
    expect(quantized.get(0)).toBeInstanceOf(nn.Linear); // as its qconfig says
  });
  test('all that a subclass has of its own', () => {
    class MyLSTM extends nn.LSTM {
      scale = 2;
      readonly head: nn.Module = new nn.Linear(3, 1);
      constructor() {
        super(2, 3);
        this.scale = 3;
      }
    }
    const module = new MyLSTM();
    module.scale = 4;
    expect([module.scale, module.hiddenSize]).toEqual([4, 3]);
    expect(() => Object.assign(module, { hiddenSize: 4 })).toThrow(
      'MyLSTM: hiddenSize is fixed at construction',
    );
    const quantized = quantizeDynamic(new nn.Sequential(module), new Set([nn.Linear])).get(0) as MyLSTM;
    expect([quantized.scale, String(quantized.head)]).toEqual([
      4,
      expect.stringMatching(/^DynamicQuantizedLinear/),
    ]);
    expect(() => Object.assign(quantized, { hiddenSize: 4 })).toThrow('MyLSTM: hiddenSize');
  });
});

test('sizes are properties like others to those who read them', () => {
  const lstm = new dynamic.LSTM(2, 3);
  expect(Object.entries(lstm)).toEqual(expect.arrayContaining([['numLayers', 1]]));
  expect(Object.keys(new nn.LSTM(2, 3)).slice(0, 4)).toEqual(['training', 'mode', 'inputSize', 'hiddenSize']);
  expect({ ...lstm }).toMatchObject({ numLayers: 1, batchFirst: false });
  expect(JSON.parse(JSON.stringify(new nn.Softplus()))).toEqual({ training: true, beta: 1, threshold: 20 });
  expect(inspect(lstm)).toBe('DynamicQuantizedLSTM(2, 3)');
  expect(new nn.ELU()).not.toEqual(new nn.ELU({ alpha: 2 }));
  expect(Object.isFrozen(new nn.LayerNorm([2, 3]).normalizedShape)).toBe(true);
});
