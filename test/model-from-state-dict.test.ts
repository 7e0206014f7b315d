import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { evaluate, heldOutText, type CharLM } from '../examples/char-lm/char-lm.js';
import * as nn from '../src/nn/index.js';
import type { StateDict } from '../src/nn/module.js';
import { float16DynamicQConfig, quantizeDynamic } from '../src/quantization/index.js';
import { Generator, manualSeed, randint, randn } from '../src/random.js';
import { load, loadSync } from '../src/serialization/load.js';
import { modelFromStateDict, StateDictModule } from '../src/serialization/model-from-state-dict.js';
import { saveSync } from '../src/serialization/save.js';
import { Tensor, zeros } from '../src/tensor/index.js';
import { bytesOf, everyQConfig, expectClose } from './support.js';

/** A state dict as PyTorch's files have it: names and tensors, nothing else. */
const folder = mkdtempSync(join(tmpdir(), 'dynaquant-test-'));
afterAll(() => rmSync(folder, { recursive: true }));

const bare = (module: nn.Module): Map<string, Tensor> => new Map(module.stateDict());
const shapes = (entries: Record<string, number[]>): Map<string, Tensor> =>
  new Map(Object.entries(entries).map(([name, shape]) => [name, zeros(shape)]));
/** A model of these modules, without a class. */
const modelOf = (modules: Record<string, nn.Module>): nn.ModuleDict => new nn.ModuleDict(modules);
const assumed = (assumptions: string[], name: string): string | undefined =>
  assumptions.find((sentence) => sentence.startsWith(`${name} (`))?.replace(/^[^:]*: /, '');

class Everything extends nn.Module {
  embedding = new nn.Embedding(20, 6);
  lstm = new nn.LSTM(6, 5, { numLayers: 2, bidirectional: true, batchFirst: true });
  projected = new nn.LSTM(10, 7, { projSize: 3 });
  gru = new nn.GRU(3, 4, { bias: false });
  rnn = new nn.RNN(4, 4, { nonlinearity: 'relu' });
  cells = new nn.ModuleList([
    new nn.LSTMCell(4, 4),
    new nn.GRUCell(4, 4),
    new nn.RNNCell(4, 4, { nonlinearity: 'relu', bias: false }),
  ]);
  norm = new nn.LayerNorm(4, { eps: 1e-3 });
  head = new nn.Sequential(
    new nn.intrinsic.LinearReLU(new nn.Linear(4, 9), new nn.ReLU()),
    new nn.Dropout(0.5),
    new nn.Linear(9, 2, { bias: false }),
  );
  parts = new nn.ModuleDict({ bag: new nn.EmbeddingBag(5, 3, { mode: 'max' }) });
  override forward(): never {
    throw new Error('not called');
  }
}

describe('what tensors show', () => {
  test.each<[string, nn.Module]>([
    ['LSTM', new nn.LSTM(3, 5)],
    ['LSTM with everything', new nn.LSTM(3, 5, { numLayers: 3, bidirectional: true, projSize: 2 })],
    ['LSTM without bias', new nn.LSTM(3, 5, { bias: false, bidirectional: true })],
    ['LSTM of hidden size 1', new nn.LSTM(1, 1)],
    ['GRU', new nn.GRU(4, 3, { numLayers: 2 })],
    ['RNN', new nn.RNN(4, 3, { bidirectional: true })],
    ['LSTMCell', new nn.LSTMCell(2, 3)],
    ['GRUCell', new nn.GRUCell(2, 3, { bias: false })],
    ['RNNCell', new nn.RNNCell(2, 3)],
    ['Linear', new nn.Linear(7, 2)],
    ['LayerNorm', new nn.LayerNorm(6)],
  ])('%s, alone and below other modules', (_, module) => {
    const alone = modelFromStateDict(bare(module)).model;
    expect(alone.constructor).toBe(module.constructor);
    expect(String(alone)).toBe(String(module));
    const { model } = modelFromStateDict(bare(modelOf({ a: modelOf({ b: module }) })));
    expect(String(model.getSubmodule('a.b'))).toBe(String(module));
    expect([...model.stateDict().keys()]).toEqual([...module.stateDict().keys()].map((key) => `a.b.${key}`));
  });

  test('tensors are adopted, not copied, and no random numbers are drawn', () => {
    const state = bare(new nn.LSTM(3, 4));
    manualSeed(5);
    const { model } = modelFromStateDict(state);
    expect(randn(2).toArray()).toEqual(randn([2], { generator: new Generator().manualSeed(5) }).toArray());
    for (const [key, tensor] of model.stateDict()) expect(tensor.data).toBe(state.get(key)!.data);
  });
  test('a tensor under two names is one parameter', () => {
    const weight = randn(6, 4);
    const bias = randn(6);
    const state = new Map(
      Object.entries({ 'embedding.weight': weight, 'out.weight': weight, 'out.bias': bias }),
    );
    const { model } = modelFromStateDict(state);
    expect([...model.parameters()]).toHaveLength(2);
  });
  test.each(['float16', 'bfloat16'] as const)('%s is widened', (dtype) => {
    const half = (...shape: number[]): Tensor =>
      new Tensor(new Uint16Array(shape.reduce((a, b) => a * b)).fill(0x3c00), shape, { dtype });
    const state = new Map([
      ['weight', half(2, 3)],
      ['bias', half(2)],
    ]);
    const { model } = modelFromStateDict(state);
    expect(model.constructor).toBe(nn.Linear);
    expect(model.stateDict().get('weight')!.toArray()).toEqual(state.get('weight')!.to('float32').toArray());
  });

  test('the model is in evaluation mode', () => {
    const { model } = modelFromStateDict(bare(new Everything()));
    for (const module of model.modules()) expect(module.training).toBe(false);
  });
  test('what a model without a class does is not known', () => {
    const { model } = modelFromStateDict(bare(new Everything()));
    expect(model).toBeInstanceOf(StateDictModule);
    expect(() => model.forward()).toThrow(
      new TypeError(
        "what Module does is not in a state dict, only what it holds: call its modules yourself, as in model.get('embedding').forward(x), or write the class and use loadStateDict",
      ),
    );
    expect((model as StateDictModule).get('gru')).toBe(model.getSubmodule('gru'));
    expect(() => model.getSubmodule('gru.x')).toThrow(new RangeError("GRU has no module 'x'"));
  });
});

describe('what tensors do not show', () => {
  const { assumptions } = modelFromStateDict(bare(new Everything()));

  test('is said, module by module', () => {
    expect(assumptions).toContain('2 modules (LSTM: lstm, projected): assumed batchFirst = false');
    expect(assumed(assumptions, 'rnn')).toBe('assumed batchFirst = false, nonlinearity = "tanh"');
    expect(assumed(assumptions, 'cells.0')).toBeUndefined();
    expect(assumed(assumptions, 'cells.2')).toBe('assumed nonlinearity = "tanh"');
    expect(assumed(assumptions, 'norm')).toBe('a GroupNorm has the same tensors; assumed eps = 0.00001');
  });
  test('of quantized modules too', () => {
    const quantized = modelFromStateDict(bare(quantizeDynamic(new Everything())));
    expect(assumed(quantized.assumptions, 'gru')).toBe(
      'assumed batchFirst = false, activation = "perTensor", reduceRange = true',
    );
    expect(assumed(quantized.assumptions, 'embedding')).toMatch(/a Linear without bias has the same tensors/);
  });
  test('and can be corrected by metadata', () => {
    const state = new nn.StateDict();
    for (const [key, tensor] of bare(new Everything())) state.set(key, tensor);
    state.metadata.set('rnn', { type: 'RNN', nonlinearity: 'relu', batchFirst: true });
    const { model, assumptions: fewer } = modelFromStateDict(state);
    expect(assumed(fewer, 'rnn')).toBeUndefined();
    const rnn = model.getSubmodule('rnn') as nn.RNN;
    expect([rnn.nonlinearity, rnn.batchFirst]).toEqual(['relu', true]);
  });

  const weight = (columns: number): Tensor => zeros([9, columns]);
  test.each<[string, string, string, [name: string, weight: Tensor][], ('before' | 'after')?]>([
    ['by its name', 'emb', 'Embedding', [['emb.weight', weight(3)]]],
    ['by its name', 'model.tok_embeddings', 'Embedding', [['model.tok_embeddings.weight', weight(3)]]],
    ['by its name', 'wte', 'Embedding', [['wte.weight', weight(5)]]],
    ['by its name', 'fc2', 'Linear', [['fc2.weight', weight(3)]]],
    ['by its name', 'out_proj', 'Linear', [['out_proj.weight', weight(3)]]],
    ['into a recurrent module', 'encoder', 'Embedding', [['encoder.weight', weight(3)]]],
    ['out of a recurrent module', 'last', 'Linear', [['last.weight', weight(10)]]],
    ['neither', 'x', 'Linear', [['x.weight', weight(4)]]],
  ])('a weight without bias, %s: %s is %s', (_, name, type, [entry]) => {
    const state = new Map([...bare(modelOf({ lstm: new nn.LSTM(3, 5, { bidirectional: true }) })), entry!]);
    const { model, assumptions: said } = modelFromStateDict(state);
    expect(model.getSubmodule(name).constructor.name).toBe(type);
    expect(assumed(said, name)).toMatch(/has the same tensors$/);
  });
  test('equal sizes: before the recurrent module a table, after it a Linear', () => {
    const lstm = [...bare(modelOf({ lstm: new nn.LSTM(5, 5) }))];
    const state = new Map([['first.weight', weight(5)], ...lstm, ['last.weight', weight(5)]] as const);
    const { model } = modelFromStateDict(state);
    expect(model.getSubmodule('first').constructor).toBe(nn.Embedding);
    expect(model.getSubmodule('last').constructor).toBe(nn.Linear);
  });
});

test('normalizations are recognised by their tensors, and by the weight before them', () => {
  const under = (name: string, module: nn.Module): [string, Tensor][] =>
    [...module.stateDict()].map(([key, tensor]) => [`${name}.${key}`, tensor]);
  const state = new nn.StateDict([
    ['conv1.weight', zeros(4, 2, 3)],
    ['conv1.bias', zeros(3)],
    ...under('norm1', new nn.BatchNorm1d(4)),
    ['conv2.weight', zeros(4, 2, 3, 3)],
    ['conv2.bias', zeros(3)],
    ...under('norm2', new nn.BatchNorm2d(4, { affine: false })),
    ...under('norm3', new nn.RMSNorm(4)),
    ...under('norm4', new nn.GroupNorm(2, 4)),
  ]);
  state.metadata.set('norm4', { type: 'GroupNorm', numGroups: 2 });
  const { model, assumptions } = modelFromStateDict(state);
  const classes = ['norm1', 'norm2', 'norm3', 'norm4'].map((name) => String(model.getSubmodule(name)));
  expect(classes).toEqual([
    String(new nn.BatchNorm1d(4)),
    String(new nn.BatchNorm2d(4, { affine: false })),
    String(new nn.RMSNorm(4)),
    String(new nn.GroupNorm(2, 4)),
  ]);
  expect([...model.getSubmodule('norm1').parameters()]).toHaveLength(2);
  expect([...model.getSubmodule('norm1').stateDict().keys()]).toHaveLength(5);
  expect(assumed(assumptions, 'norm1')).toBe('a BatchNorm2d has the same tensors; assumed eps = 0.00001');
  expect(assumed(assumptions, 'norm2')).toBe(
    'it follows a weight of 4 dimensions; a BatchNorm1d has the same tensors; assumed eps = 0.00001',
  );
  expect(assumed(assumptions, 'norm3')).toBe(
    'a LayerNorm without bias has the same tensors; assumed eps = null',
  );
  expect(assumed(assumptions, 'norm4')).toBe('assumed eps = 0.00001');
});

describe('a file of ours', () => {
  const rebuilt = (module: nn.Module): ReturnType<typeof modelFromStateDict> & { state: StateDict } => {
    const path = join(folder, 'model.safetensors');
    saveSync(module.stateDict(), path);
    const bytes = readFileSync(path);
    const state = loadSync(bytes);
    const result = modelFromStateDict(state);
    saveSync(result.model.stateDict(), path);
    // float -> quantize -> save -> load -> save
    expect(readFileSync(path).equals(bytes)).toBe(true);
    return { ...result, state };
  };

  test('is read without an assumption, with all options', () => {
    const { model, assumptions } = rebuilt(new Everything());
    expect(assumptions).toEqual([]);
    expect(String(model)).toBe(String(new Everything()));
    expect((model.getSubmodule('parts.bag') as nn.EmbeddingBag).mode).toBe('max');
    const x = randn(3, 4);
    const head = model.getSubmodule('head') as nn.Sequential;
    expect(head.forward(x).shape).toEqual([3, 2]);
  });
  test.each([...everyQConfig, float16DynamicQConfig])('quantized with %j: the same bits', (qconfig) => {
    const float = new Everything().eval();
    const spec = new Map([
      ['', qconfig],
      ['embedding', null],
      ['parts', null],
    ] as const);
    const quantized = quantizeDynamic(float, spec);
    const { model, assumptions } = rebuilt(quantized);
    expect(assumptions).toEqual([]);
    expect(String(model)).toBe(String(quantized));
    const x = randn(4, 2, 6);
    const forward = (from: nn.Module): string => {
      const [y] = (from.getSubmodule('lstm') as nn.LSTM).forward(x);
      const [z] = (from.getSubmodule('rnn') as nn.RNN).forward(
        randn([3, 2, 4], { generator: new Generator() }),
      );
      return bytesOf(y) + bytesOf((from.getSubmodule('head') as nn.Sequential).forward(z.reshape(-1, 4)));
    };
    expect(forward(model)).toBe(forward(quantized));
  });
  test('quantized embeddings', () => {
    for (const dtype of ['quint8', 'quint4x2'] as const) {
      const names = new Set(['embedding', 'parts']);
      const { model, assumptions } = rebuilt(quantizeDynamic(new Everything(), names, { dtype }));
      expect(assumptions).toEqual([]);
      expect(String(model.getSubmodule('embedding'))).toContain(`dtype=torch.${dtype}`);
      expect(String(model.getSubmodule('parts.bag'))).toContain("mode='max'");
    }
  });
});

describe('files of PyTorch', () => {
  const file = (name: string): string => join(__dirname, 'fixtures', 'checkpoints', name);

  test('a trained model gives PyTorch’s loss', async () => {
    const expected = JSON.parse(
      readFileSync(join(__dirname, '..', 'examples', 'char-lm', 'expected.json'), 'utf8'),
    ) as { vocabulary: string; float: { loss: number } };
    const { model } = modelFromStateDict(await load(file('char-lm.pt')));
    const embedding = model.getSubmodule('embedding') as nn.Embedding;
    const lstm = model.getSubmodule('lstm') as nn.LSTM;
    const decoder = model.getSubmodule('decoder') as nn.Linear;
    const { inputs, targets } = heldOutText([...expected.vocabulary]);
    const forward = (tokens: Tensor): unknown => {
      const [output, state] = lstm.forward(embedding.forward(tokens));
      return [decoder.forward(output), state];
    };
    const { loss } = evaluate({ forward } as unknown as CharLM, inputs, targets);
    expect(Math.abs(loss - expected.float.loss)).toBeLessThan(1e-5);
  }, 60_000);
});

describe('what is no known module is kept', () => {
  test.each<[string, Record<string, number[]>]>([
    ['a convolution over three dimensions', { weight: [4, 3, 5, 5, 5], bias: [4] }],
    [
      'batch norm that does not count its batches',
      { weight: [4], bias: [4], running_mean: [4], running_var: [4] },
    ],
    ['a bias of another size', { weight: [4, 3], bias: [3] }],
    ['a layer that misses a tensor', { weight_ih_l0: [8, 2], weight_hh_l0: [8, 2], bias_ih_l0: [8] }],
    [
      'layers with a gap',
      { weight_ih_l0: [8, 2], weight_hh_l0: [8, 2], weight_ih_l2: [8, 2], weight_hh_l2: [8, 2] },
    ],
    ['a billionth layer', { weight_ih_l0: [8, 2], weight_hh_l0: [8, 2], weight_ih_l999999999: [8, 2] }],
    ['two gates', { weight_ih_l0: [4, 2], weight_hh_l0: [4, 2] }],
    ['a GRU with projection', { weight_ih_l0: [12, 2], weight_hh_l0: [12, 2], weight_hr_l0: [2, 4] }],
    ['a weight of nothing', { weight: [0, 3] }],
    ['a cell of nothing', { weight_ih: [0, 0], weight_hh: [0, 0] }],
  ])('%s', (_, entries) => {
    const state = new Map(shapes(Object.fromEntries(Object.entries(entries).map(([k, v]) => [`m.${k}`, v]))));
    const { model, assumptions } = modelFromStateDict(state);
    expect(model.getSubmodule('m').constructor).toBe(StateDictModule);
    expect(assumptions).toHaveLength(1);
    expect(assumptions[0]).toMatch(
      /^m: no known module has these tensors, which are kept as they are: \w+ \[/,
    );
    expect([...model.stateDict()].map(([key, tensor]) => [key, tensor.shape])).toEqual(
      [...state].map(([key, tensor]) => [key, tensor.shape]),
    );
  });
  test('tensors of other types, and of modules that hold others', () => {
    const state = new Map([
      ['count', randint(0, 9, [1])],
      ['position', randn(1, 3, 4)],
      ['fc.weight', randn(2, 3)],
      ['fc.bias', randn(2)],
    ]);
    const { model } = modelFromStateDict(state);
    expect([...model.stateDict().keys()]).toEqual([...state.keys()]);
    expect(model.getSubmodule('fc').constructor).toBe(nn.Linear);
  });
});

describe('hostile state dicts', () => {
  test('names are data', () => {
    const names = ['__proto__', 'constructor', 'forward', 'toString', 'items', 'training'];
    const state = new Map(
      names.flatMap((name) => [
        [`${name}.weight`, randn(2, 3)] as const,
        [`${name}.bias`, randn(2)] as const,
        [`x.${name}`, randn(1)] as const,
      ]),
    );
    const { model } = modelFromStateDict(state);
    for (const name of names)
      expectClose(model.getSubmodule(name).stateDict().get('bias')!, state.get(`${name}.bias`)!);
    expect(new Set(model.stateDict().keys())).toEqual(new Set(state.keys()));
    expect(({} as { weight?: unknown }).weight).toBeUndefined();
    expect(model.training).toBe(false);
  });
  test.each(['', '.weight', 'a.', 'a..weight', '.', `${'a.'.repeat(100_000)}weight`])('key %#', (key) => {
    expect(() => modelFromStateDict(new Map([[key, randn(1)]]))).toThrow(
      expect.objectContaining({
        name: 'CheckpointError',
        message: expect.stringMatching(/^key '.{0,60}': /),
      }),
    );
  });
  test('many modules take no time', () => {
    const state = new Map<string, Tensor>();
    const weight = randn(1, 1);
    for (let i = 0; i < 20_000; i++) state.set(`a.b${i}.weight`, weight);
    const start = performance.now();
    modelFromStateDict(state);
    expect(performance.now() - start).toBeLessThan(3000);
  });

  test('a list that says that it has 2^32 elements is not gone through', () => {
    const endless = new Array(2 ** 32 - 1);
    const code = 'ERR_TOO_LARGE';
    expect(() => modelFromStateDict(endless)).toThrow(expect.objectContaining({ code }));
    const { model } = modelFromStateDict({ endless, model: new nn.Linear(2, 3).stateDict() });
    expect(model.stateDict().get('weight')!.shape).toEqual([3, 2]);
  });

  const withMetadata = (module: nn.Module, name: string, about: nn.ModuleMetadata): StateDict => {
    const state = module.stateDict();
    state.metadata.set(name, about);
    return state;
  };
  test.each<[string, StateDict, RegExp]>([
    [
      'another type',
      withMetadata(new nn.LSTM(2, 3), '', { type: 'GRU' }),
      /^the model is GRU by its metadata, but LSTM by its tensors$/,
    ],
    [
      'quantized by one only',
      withMetadata(modelOf({ a: new nn.Linear(2, 3) }), 'a', { type: 'DynamicQuantizedLinear' }),
      /^module 'a' is DynamicQuantizedLinear by its metadata, but Linear by its tensors$/,
    ],
    [
      'no tensors',
      withMetadata(new nn.ModuleDict(), 'a', { type: 'LSTM', inputSize: 2 ** 40, hiddenSize: 2 ** 40 }),
      /^module 'a' is LSTM by its metadata, but not by its tensors$/,
    ],
    [
      'other sizes',
      withMetadata(new nn.LSTM(2, 3), '', { type: 'LSTM', hiddenSize: 2 ** 50 }),
      /^the model has hiddenSize 1125899906842624 by its metadata, but 3 by its tensors$/,
    ],
    [
      'wrong options',
      withMetadata(new nn.RNN(2, 3), '', { type: 'RNN', nonlinearity: 'os.system' }),
      /^the model: Unknown nonlinearity 'os.system'/,
    ],
    [
      'a LinearReLU of other things',
      withMetadata(new nn.ModuleDict(), 'a', { type: 'LinearReLU' }),
      /^module 'a': Incorrect types for input modules: undefined and undefined$/,
    ],
    [
      'a deep name',
      withMetadata(new nn.ModuleDict(), 'a.'.repeat(70) + 'a', { type: 'X' }),
      /modules should be at most 64 deep, got 71$/,
    ],
  ])('metadata and tensors that contradict each other: %s', (_, state, message) => {
    expect(() => modelFromStateDict(state)).toThrow(
      expect.objectContaining({ name: 'CheckpointError', message: expect.stringMatching(message) }),
    );
  });
  test('metadata of unknown types build nothing', () => {
    for (const type of ['__proto__', 'constructor', 'Module', 'hasOwnProperty']) {
      const { model } = modelFromStateDict(withMetadata(new nn.Linear(2, 3), '', { type }));
      expect(model.constructor).toBe(StateDictModule);
      expect(String(model)).toBe(`${type}()`);
    }
  });
  test.each([null, 5, 'x', [1], { a: 1 }])('%j is no state dict', (state) => {
    expect(() => modelFromStateDict(state as never)).toThrow(TypeError);
  });
});

test('no sentence of a reader is lost', () => {
  const state = new nn.Linear(2, 3).stateDict();
  const sentences = ['dense: something', 'gru: another thing', 'a third'];
  state.assumptions.push(...sentences, 'dense: something');
  expect(modelFromStateDict(state).assumptions).toEqual(sentences);
});
