import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import {
  loadSync,
  manualSeed,
  modelFromStateDict,
  nn,
  quantization,
  rand,
  randn,
  save,
  saveSync,
  share,
  tensor,
  type Tensor,
} from '../src/index.js';
import { construct } from '../src/nn/catalogue.js';
import { copyModule } from '../src/nn/copy-module.js';
import { catalogue, example, exampleSizes, inputOf } from './catalogue.js';
import { bytesOf } from './support.js';

const { skipInit } = nn.utils;
const notLoaded = expect.objectContaining({ name: 'RangeError', code: 'ERR_NOT_LOADED' }) as unknown;

/** What a user would write: layers, initial values of his own, a buffer, a tied weight. */
class Model extends nn.Module {
  readonly embedding: nn.Embedding;
  readonly lstm: nn.LSTM;
  readonly tail: nn.Sequential;
  readonly scale = new nn.Parameter(Float32Array.of(2), [1]);
  constructor(words: number, { width = 4 } = {}) {
    super();
    this.embedding = new nn.Embedding(words, width, { paddingIdx: 0 });
    this.lstm = new nn.LSTM(width, 3);
    this.tail = new nn.Sequential(new nn.Linear(3, 2), new nn.LayerNorm(2));
    nn.init.xavierNormal_(this.embedding.weight);
    nn.init.constant_((this.tail.get(0) as nn.Linear).bias!, 5);
    this.registerBuffer('offset', tensor([1, 2]));
  }
  override forward(indices: Tensor): Tensor {
    return this.tail.forward(this.lstm.forward(this.embedding.forward(indices))[0]).mul(this.scale);
  }
}
const indices = tensor([[1], [2]], { dtype: 'int32' });

const withParameters = catalogue.filter((entry) => entry.parameters !== undefined);
const classes = withParameters.map((entry) => [entry.type, entry] as const);
const build = (entry: (typeof catalogue)[number]): nn.Module =>
  skipInit(
    class extends nn.Sequential {
      constructor() {
        super(construct(entry, exampleSizes(entry)));
      }
    },
  ).eval();

describe.each(classes)('%s', (_, entry) => {
  test('is built without a random number, and computes as any other once it is loaded', () => {
    manualSeed(3);
    const next = rand(1).item();
    manualSeed(3);
    const module = build(entry);
    expect(rand(1).item()).toBe(next);
    const loaded = new nn.Sequential(example(entry)).eval();
    expect(module.toString().replace(/^.*\(/, '')).toBe(loaded.toString().replace(/^.*\(/, ''));
    module.loadStateDict(loaded.stateDict());
    const x = inputOf(entry)!;
    expect(JSON.stringify(outputs(module, x))).toBe(JSON.stringify(outputs(loaded, x)));
  });
});
const outputs = (module: nn.Module, x: Tensor): unknown => module.forward(x) as unknown;

const floats = classes.filter(
  ([type]) => !type.startsWith('Quantized') && !type.startsWith('DynamicQuantized'),
);
test.each(floats)('%s without numbers refuses to compute or be shared', (_, entry) => {
  const module = build(entry);
  const parameters = [...module.parameters()];
  if (parameters.length === 0) return; // its defaults have none
  expect(parameters.filter((parameter) => !parameter.isMeta && parameter.numel > 0)).toEqual([]);
  expect(() => outputs(module, inputOf(entry)!)).toThrow(notLoaded as Error);
  expect(() => share(module)).toThrow(notLoaded as Error);
});

describe('a model of one’s own', () => {
  const folder = mkdtempSync(join(tmpdir(), 'dynaquant-'));
  const path = join(folder, 'model.safetensors');
  afterAll(() => rmSync(folder, { recursive: true, force: true }));
  const loaded = new Model(7);
  const expected = loaded.forward(indices);
  beforeAll(() => saveSync(loaded.stateDict(), path));

  test('takes its constructor’s arguments, and keeps what the constructor makes itself', () => {
    const model = skipInit(Model, 7, { width: 6 });
    expect(model.embedding.weight.shape).toEqual([7, 6]);
    expect(model.scale.toArray()).toEqual([2]);
    expect(model.stateDict().get('offset')!.toArray()).toEqual([1, 2]);
    expect(Array.from(model.namedParameters(), ([name, { isMeta }]) => [name, isMeta])).toEqual(
      [...loaded.stateDict().keys()].filter((n) => n !== 'offset').map((n) => [n, n !== 'scale']),
    );
    expect(() => model.forward(indices)).toThrow(
      /^weight has no numbers yet, because .* skipInit: call loadStateDict/,
    );
  });
  test('takes the memory of what was loaded', () => {
    const model = skipInit(Model, 7);
    const state = loadSync(path);
    model.loadStateDict(state);
    expect(model.forward(indices)).toEqual(expected);
    const shared = [...model.namedParameters()].filter(([name, own]) => own.data === state.get(name)!.data);
    expect(shared.map(([name]) => name)).toEqual(
      Array.from(model.namedParameters(), ([name]) => name).filter((name) => name !== 'scale'),
    );
  });
  test('copies parameters of another module, which are written where they are', () => {
    const model = skipInit(Model, 7);
    const other = new Model(7);
    model.loadStateDict(other.stateDict());
    const before = model.forward(indices);
    for (const parameter of other.parameters()) parameter.zero_();
    expect(model.forward(indices)).toEqual(before);
  });
  test('takes other numbers without a write into the memory that it was lent', () => {
    const model = skipInit(Model, 7);
    const first = loadSync(path);
    const kept = first.get('tail.0.weight')!.toArray();
    model.loadStateDict(first);
    model.forward(indices);
    model.loadStateDict(new Model(7).stateDict());
    expect(first.get('tail.0.weight')!.toArray()).toEqual(kept);
    model.loadStateDict(loadSync(path));
    expect(model.forward(indices)).toEqual(expected);
  });
  test('with assign any model takes the memory, and packs it again', () => {
    const model = new Model(7);
    model.forward(indices);
    const state = loadSync(path);
    model.loadStateDict(state, { assign: true });
    expect(model.forward(indices)).toEqual(expected);
    for (const [name, own] of model.stateDict())
      expect([name, own.data === state.get(name)!.data]).toEqual([name, true]);
  });
  test('takes a conversion of another dtype', () => {
    const state = new Map(Array.from(loaded.stateDict(), ([name, value]) => [name, value.to('float64')]));
    const [copied, model] = [new Model(7), skipInit(Model, 7)];
    copied.loadStateDict(state);
    model.loadStateDict(state);
    expect(model.forward(indices)).toEqual(copied.forward(indices));
  });
  test('keeps parameters without numbers when a state dict has no others', () => {
    const model = skipInit(Model, 7);
    const state = loadSync(path);
    state.delete('tail.1.bias');
    expect(() => model.loadStateDict(state)).toThrow(/Missing key\(s\) in state_dict: "tail.1.bias"/);
    expect([...model.parameters()].filter(({ isMeta }) => isMeta)).toHaveLength(9);
    model.loadStateDict(state, { strict: false });
    expect(() => model.forward(indices)).toThrow(notLoaded as Error);
    nn.init.zeros_((model.tail.get(1) as nn.LayerNorm).bias!);
    expect(model.forward(indices)).toEqual(expected);
  });
  test('is copied, quantized and saved once it has numbers, and says which it lacks before', async () => {
    const model = skipInit(Model, 7);
    const again = copyModule(model);
    await expect(save(model.stateDict(), join(folder, 'none.safetensors'))).rejects.toEqual(notLoaded);
    expect(() => modelFromStateDict(model.stateDict())).toThrow(/has no numbers yet/);
    expect(() => skipInit(Model, 7).loadStateDict(model.stateDict())).toThrow(notLoaded as Error);
    again.loadStateDict(loadSync(path));
    expect(again.forward(indices)).toEqual(expected);
    expect(model.stateDict().get('lstm.weight_ih_l0')!.isMeta).toBe(true);
    const int8 = quantization.quantizeDynamic(again);
    expect(int8.forward(indices)).toEqual(quantization.quantizeDynamic(loaded).forward(indices));
  });
});

describe('a model that is quantized without numbers', () => {
  const everything = (qconfig: quantization.QConfig): Map<quantization.ModuleClass, quantization.QConfig> =>
    new Map<quantization.ModuleClass, quantization.QConfig>([
      [nn.LSTM, qconfig],
      [nn.Linear, qconfig],
      [nn.Embedding, quantization.floatQParamsWeightOnlyQConfig4Bit],
    ]);
  test.each([
    ['best', quantization.bestDynamicQConfig],
    ['default', quantization.defaultDynamicQConfig],
    ['float16', quantization.float16DynamicQConfig],
  ])('%s: takes the weights of a quantized file, and refuses everything before', (_, qconfig) => {
    const quantized = quantization.quantizeDynamic(new Model(7), everything(qconfig));
    const model = quantization.quantizeDynamic(skipInit(Model, 7), everything(qconfig));
    expect(model.toString()).toBe(quantized.toString());
    expect(() => model.lstm.forward(randn(1, 1, 4))).toThrow(notLoaded as Error);
    expect(() => model.embedding.forward(indices)).toThrow(notLoaded as Error);
    expect(() => model.stateDict()).toThrow(notLoaded as Error);
    expect(() => copyModule(model).tail.get(0).forward(randn(1, 3))).toThrow(notLoaded as Error);
    const state = quantized.stateDict();
    model.loadStateDict(state);
    expect(model.forward(indices)).toEqual(quantized.forward(indices));
    const bytes = (each: nn.StateDict): string[] =>
      Array.from(each, ([name, value]) => name + bytesOf(value));
    expect(bytes(model.stateDict())).toEqual(bytes(state));
  });
  test('an EmbeddingBag too, and layers that differ', () => {
    const tables = new Map([[nn.EmbeddingBag, quantization.floatQParamsWeightOnlyQConfig]]);
    const bag = quantization.quantizeDynamic(skipInit(nn.EmbeddingBag, 7, 3), tables);
    expect(() => bag.forward(indices)).toThrow(notLoaded as Error);
    const layers = new Map<quantization.ModuleClass | string, quantization.QConfig | null>([
      [nn.LSTM, quantization.bestDynamicQConfig],
      ['1', null],
    ]);
    const stack = quantization.quantizeDynamic(skipInit(nn.LSTM, 4, 3, { numLayers: 2 }), layers);
    const loaded = quantization.quantizeDynamic(new nn.LSTM(4, 3, { numLayers: 2 }), layers);
    const x = randn(2, 1, 4);
    expect(() => stack.forward(x)).toThrow(notLoaded as Error);
    stack.loadStateDict(loaded.stateDict());
    expect(stack.forward(x)).toEqual(loaded.forward(x));
  });
});

test('two parameters that are one get the later one’s numbers, and no tensor of the state dict changes', () => {
  class Tied extends nn.Module {
    readonly a = new nn.Linear(2, 2, { bias: false });
    readonly b = new nn.Linear(2, 2, { bias: false });
    constructor() {
      super();
      Object.assign(this.b, { weight: this.a.weight });
    }
    override forward(x: Tensor): Tensor {
      return this.b.forward(this.a.forward(x));
    }
  }
  const [a, b] = [randn(2, 2), randn(2, 2)];
  const [before, last] = [a.toArray(), b.toArray()];
  const model = skipInit(Tied);
  model.loadStateDict({ 'a.weight': a, 'b.weight': b });
  expect(model.a.weight).toBe(model.b.weight);
  expect(model.a.weight.toArray()).toEqual(last);
  expect([a.toArray(), b.toArray()]).toEqual([before, last]);
});

test('initialisers fill a parameter that has no numbers, with those that they draw for any other', () => {
  for (const fill of [nn.init.kaimingUniform_, nn.init.xavierNormal_, nn.init.ones_] as const) {
    const [linear, filled] = [skipInit(nn.Linear, 3, 2), new nn.Linear(3, 2)];
    manualSeed(5);
    fill(filled.weight);
    manualSeed(5);
    expect(fill(linear.weight).toArray()).toEqual(filled.weight.toArray());
    expect([linear.weight.isMeta, linear.bias!.isMeta]).toEqual([false, true]);
    linear.bias!.copy_(filled.bias!);
    expect(linear.forward(randn(1, 3)).shape).toEqual([1, 2]);
  }
});

test('a constructor that throws leaves the modules after it with numbers', () => {
  class Broken extends nn.Sequential {
    constructor() {
      super(new nn.Linear(2, 2));
      throw new Error('broken');
    }
  }
  expect(() => skipInit(Broken)).toThrow('broken');
  expect(() => skipInit(nn.Linear, 0, 2)).toThrow('in_features must be greater than zero, got: 0');
  expect(new nn.Linear(2, 2).weight.isMeta).toBe(false);
});

test('quantized modules within a constructor are loaded, and keep their weights', () => {
  const lstm = quantization.quantizeDynamic(new nn.LSTM(4, 3));
  class Loading extends nn.Module {
    readonly lstm = modelFromStateDict(lstm.stateDict()).model as unknown as nn.LSTM;
    readonly linear = new nn.Linear(3, 2);
    override forward(x: Tensor): Tensor {
      return this.linear.forward(this.lstm.forward(x)[0]);
    }
  }
  const model = skipInit(Loading);
  const x = randn(3, 1, 4);
  expect(model.lstm.forward(x)[0]).toEqual(lstm.forward(x)[0]);
  expect(model.linear.weight.isMeta).toBe(true);
});

test('a class of another copy of the package is refused, because it would draw numbers', () => {
  jest.isolateModules(() => {
    // eslint-disable-next-line @typescript-eslint/no-require-imports
    const other = require('../src/nn/index.js') as typeof nn;
    expect(() => skipInit(other.Linear, 2, 2)).toThrow(/of this copy of the package, got function Linear/);
  });
});
test.each([undefined, null, 3, 'Linear', () => 1, Map, {}, new nn.ReLU()])(
  '%p is no class of modules',
  (wrong) => {
    expect(() => skipInit(wrong as never)).toThrow(/^Expected a Module class, got /);
  },
);
