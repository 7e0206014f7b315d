import { spawnSync } from 'node:child_process';
import { join } from 'node:path';
import { inspect } from 'node:util';
import type { CatalogueEntry } from '../src/nn/catalogue.js';
import * as nn from '../src/nn/index.js';
import { isModule } from '../src/nn/module.js';
import { copyModule } from '../src/nn/copy-module.js';
import { quantizeDynamic } from '../src/quantization/index.js';
import { isTensor, tensor, type Tensor } from '../src/tensor/index.js';
import { argumentsOf, catalogue, example, inputOf } from './catalogue.js';

type Fields = Record<string, unknown>;

/** Whether a value is a module or tensor, or where there is none. */
const isPart = (value: unknown): boolean => value === null || isModule(value) || isTensor(value);

/** Own enumerable properties that are no tensors, modules, training or hidden records. */
function sizesOf(module: nn.Module): string[] {
  const isOther = (name: string, value: unknown): boolean =>
    ['training', 'loaded', 'items'].includes(name) ||
    isPart(value) ||
    (value as Partial<Tensor>).shape !== undefined;
  return Object.entries(module).flatMap(([name, value]) => (isOther(name, value) ? [] : [name]));
}

/** The names of all sizes and options, those that the class keeps elsewhere too. */
function fixedNames(entry: CatalogueEntry, module: nn.Module): string[] {
  const kept = [...entry.sizes, ...Object.keys(entry.defaults), ...Object.keys(argumentsOf(module))];
  const isFixed = (name: string): boolean => {
    const value = (module as unknown as Fields)[name];
    return name in module && (value === null || !isPart(value));
  };
  return [...new Set([...sizesOf(module), ...kept.filter(isFixed)])];
}

// Every class of the package that has sizes or options.
const cases = catalogue.flatMap((entry) => {
  const names = fixedNames(entry, example(entry));
  return names.length === 0 ? [] : [[entry.type, entry, names] as const];
});

test('sizes and options are found, wherever a class keeps them', () => {
  const namesOf = (type: string): string[] => cases.find(([each]) => each === type)![2];
  const rnn =
    'mode inputSize hiddenSize numLayers bias batchFirst dropout bidirectional projSize nonlinearity';
  expect(namesOf('DynamicQuantizedRNN')).toEqual(
    expect.arrayContaining([...rnn.split(' '), 'dtype', 'activation', 'reduceRange']),
  );
  expect(namesOf('QuantizedEmbedding')).toEqual(
    expect.arrayContaining(['numEmbeddings', 'embeddingDim', 'paddingIdx', 'dtype']),
  );
  expect(namesOf('LeakyReLU')).toEqual(['negativeSlope']);
});

describe.each(cases)('%s is closed', (_, entry, names) => {
  const module = example(entry);
  const input = inputOf(entry)!;
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
  const lstm = new nn.quantized.dynamic.LSTM(2, 3);
  expect(Object.entries(lstm)).toEqual(expect.arrayContaining([['numLayers', 1]]));
  expect(Object.keys(new nn.LSTM(2, 3)).slice(0, 4)).toEqual(['training', 'mode', 'inputSize', 'hiddenSize']);
  expect({ ...lstm }).toMatchObject({ numLayers: 1, batchFirst: false });
  expect(JSON.parse(JSON.stringify(new nn.Softplus()))).toEqual({ training: true, beta: 1, threshold: 20 });
  expect(inspect(lstm)).toBe('DynamicQuantizedLSTM(2, 3)');
  expect(new nn.ELU()).not.toEqual(new nn.ELU({ alpha: 2 }));
  expect(Object.isFrozen(new nn.LayerNorm([2, 3]).normalizedShape)).toBe(true);
});
