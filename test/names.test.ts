// Weights under other names, or elsewhere, than in a plain state dict. test/fixtures/make_names.py made the files, and
// says what PyTorch makes of them.
import { readFileSync } from 'node:fs';
import { join } from 'node:path';

import * as nn from '../src/nn/index.js';
import { StateDict, type StateDictLike } from '../src/nn/module.js';
import { randn } from '../src/random.js';
import { findStateDicts } from '../src/serialization/find-state-dicts.js';
import { load, loadSync } from '../src/serialization/load.js';
import { modelFromStateDict } from '../src/serialization/model-from-state-dict.js';
import { RawTensor, tensor, type Tensor, zeros } from '../src/tensor/index.js';
import { expectClose } from './support.js';

const folder = join(__dirname, 'fixtures');
const file = (name: string): string => join(folder, 'names', name);
const open = (name: string): StateDict => loadSync(file(name));
type Numbers = number[] | Numbers[];
interface Run {
  input: Numbers;
  output: Numbers;
}
const expected = JSON.parse(readFileSync(file('expected.json'), 'utf8')) as {
  model: Run;
  consumed: (Record<'keys' | 'metadata' | 'keysAfter' | 'metadataAfter', string[]> & { prefix: string })[];
  extra_state: { missing: string[]; unexpected: string[] };
  extra_state_quantized: Run;
  tied: Record<'e.weight' | 'o.weight', Numbers>;
};

class Model extends nn.Module {
  rnn = new nn.GRU(2, 2);
  fc = new nn.Linear(2, 1);
  override forward(x: Tensor): Tensor {
    return this.fc.forward(this.rnn.forward(x)[0]);
  }
}
const { consumePrefixInStateDictIfPresent } = nn.utils;

function expectOutput(model: nn.Module): void {
  const { input, output } = expected.model;
  const [hidden] = (model.getSubmodule('rnn') as nn.GRU).forward(tensor(input));
  expectClose((model.getSubmodule('fc') as nn.Linear).forward(hidden), tensor(output));
}

describe('consumePrefixInStateDictIfPresent', () => {
  test.each(expected.consumed)('as PyTorch does, $prefix', (row) => {
    const state = new StateDict(row.keys.map((key) => [key, zeros(1)] as const));
    const values = new Set(state.values());
    for (const name of row.metadata) state.metadata.set(name, { type: 'Module', name });
    consumePrefixInStateDictIfPresent(state, row.prefix);
    expect([...state.keys()]).toEqual(row.keysAfter);
    expect([...state.metadata.keys()]).toEqual(row.metadataAfter);
    for (const value of state.values()) expect(values).toContain(value);
  });
  test('a module of PyTorch’s, wrapped twice', () => {
    const state = open('parallel_compiled.pt');
    consumePrefixInStateDictIfPresent(state, 'module._orig_mod.');
    const model = new Model();
    model.loadStateDict(state);
    expectOutput(model);
  });
  test('raw tensors and assumptions too, and metadata of the wrapped module become the root’s', () => {
    const state = new StateDict([['a.b.weight', zeros(1)]]);
    state.raw.set('a.b.scale', new RawTensor('uint16', [1], new Uint8Array(2)));
    state.metadata.set('a', { type: 'A' }).set('a.b', { type: 'B' }).set('a.b.c', { type: 'C' });
    state.assumptions.push('a.b.c (C): so', 'of all');
    consumePrefixInStateDictIfPresent(state, 'a.b.');
    expect([...state.raw.keys()]).toEqual(['scale']);
    expect([...state.metadata.keys()]).toEqual(['a', '', 'c']);
    expect(state.assumptions).toEqual(['c (C): so', 'of all']);
  });
});

describe('loadStateDict', () => {
  const message = (state: unknown, model: nn.Module = new Model()): string => {
    try {
      model.loadStateDict(state as StateDictLike);
    } catch (error) {
      return (error as Error).message;
    }
    return '';
  };
  const prefixed = (prefix: string, model: nn.Module = new Model()): Map<string, Tensor> =>
    new Map([...model.stateDict()].map(([key, value]) => [prefix + key, value]));

  test.each(['module.', '_orig_mod.', 'model.', 'ema.', 'module._orig_mod.', 'generator.net.'])(
    'names the prefix %s that its keys have',
    (prefix) => {
      const state = prefixed(prefix);
      expect(message(state)).toBe(
        `Error(s) in loading state_dict for Model:\n\tMissing key(s) in state_dict: "rnn.weight_ih_l0" and 5 more, which it has under the prefix "${prefix}". Call nn.utils.consumePrefixInStateDictIfPresent(state, "${prefix}") first. `,
      );
      consumePrefixInStateDictIfPresent(state, prefix);
      expect(message(state)).toBe('');
    },
  );
  test('names the prefix that its keys lack', () => {
    const wrapped = new nn.ModuleDict({ module: new Model() });
    expect(message(new Model().stateDict(), wrapped)).toBe(
      'Error(s) in loading state_dict for ModuleDict:\n\tMissing key(s) in state_dict: "module.rnn.weight_ih_l0" and 5 more, which it has without the prefix "module.". Call getSubmodule("module").loadStateDict(state) on the model. ',
    );
    wrapped.getSubmodule('module').loadStateDict(new Model().stateDict());
  });
  test('lists what would not fit then, and everything where no prefix helps', () => {
    const state = prefixed('model.').set('criterion.weight', zeros(1));
    state.delete('model.fc.bias');
    expect(message(state).split('\n\t').slice(1)).toEqual([
      expect.stringMatching(/^Missing key\(s\) in state_dict: .* and 4 more, of 6, which it has under/),
      'Unexpected key(s) in state_dict: "criterion.weight". ',
      'Missing key(s) in state_dict: "fc.bias". ',
    ]);
    const other = new Map([...prefixed('x.')].slice(0, 2));
    expect(message(other).split('\n\t').slice(1)).toEqual([
      'Unexpected key(s) in state_dict: "x.rnn.weight_ih_l0", "x.rnn.weight_hh_l0". ',
      expect.stringMatching(/^Missing key\(s\) in state_dict: "rnn.weight_ih_l0", .*"fc.bias". $/),
    ]);
  });
  test('names the state dict in a whole checkpoint', () => {
    expect(message(open('model_state.pt'))).toMatch(
      /There are tensors below "model_state": load what is there/,
    );
  });
  test('many keys take no time', () => {
    const keys = Array.from({ length: 50_000 }, (_, i) => [`a.${i}`, zeros(1)] as const);
    const start = performance.now();
    expect(message(new Map(keys))).toMatch(/Missing/);
    expect(performance.now() - start).toBeLessThan(3000);
  });

  test('what is no tensor is an unexpected key, as in PyTorch', () => {
    const state = open('extra_state.pt');
    const modules = { a: new nn.Linear(2, 1), b: new nn.Linear(2, 1), d: new nn.Linear(2, 1) };
    const { missingKeys, unexpectedKeys } = new nn.ModuleDict(modules).loadStateDict(state, {
      strict: false,
    });
    expect(missingKeys).toEqual(expected.extra_state.missing);
    expect([...unexpectedKeys].sort()).toEqual([...expected.extra_state.unexpected].sort());
    expectClose(modules.a.weight, state.get('a.weight')!);
    expect(message(state, new nn.ModuleDict(modules))).toMatch(/Unexpected key\(s\) in .*"b\._extra_state"/);
  });
  test('but not where a parameter is wanted', () => {
    const state = new Model().stateDict();
    state.delete('fc.bias');
    state.raw.set('fc.bias', new RawTensor('float8_e4m3fn', [1], new Uint8Array(1)));
    const sentence =
      'While copying the parameter named "fc.bias", expected Tensor from checkpoint but received RawTensor of float8_e4m3fn';
    expect(() => new Model().loadStateDict(state, { strict: false })).toThrow(new TypeError(sentence));
    const none = new Map<string, unknown>(new Model().stateDict()).set('fc.bias', null);
    expect(message(none)).toMatch(/"fc.bias", expected Tensor from checkpoint but received null$/);
  });
});

describe('state dicts anywhere', () => {
  const keysOf = (name: string): string[] => findStateDicts(open(name)).map(({ key }) => key);
  test('are found by their dotted keys, without optimizers and statistics', () => {
    expect(keysOf('model_state.pt')).toEqual(['model_state']);
    expect(keysOf('lightning.pt')).toEqual(['state_dict']);
    expect(keysOf('chatbot.pt')).toEqual(['en', 'de', 'embedding']);
    expect(keysOf('list.pt')).toEqual(['nets.0.generator', 'nets.1.ema']);
    expect(keysOf('extra_state.pt')).toEqual(['']);
    expect(keysOf('no_state_dict.pt')).toEqual([]);
    expect(findStateDicts(5)).toEqual([]);
    expect(findStateDicts(zeros(2))).toEqual([]);
  });
  test('and what is no model, if there is nothing else', () => {
    expect(findStateDicts(new Map([['a', new Map([['mean', zeros(1)]])]])).map(({ key }) => key)).toEqual([
      'a',
    ]);
  });
  test('in what contains itself, or is deep', () => {
    const cyclic = new Map<string, unknown>([['model', new Model().stateDict()]]);
    cyclic.set('self', cyclic);
    expect(findStateDicts(cyclic)).toHaveLength(1);
    let deep: unknown = new Model().stateDict();
    for (let i = 0; i < 100_000; i++) deep = [deep];
    expect(findStateDicts(deep)).toEqual([]);
  });

  test.each(['model_state.pt', 'lightning.pt'])('modelFromStateDict takes the only one: %s', async (name) => {
    const { model } = modelFromStateDict(await load(file(name)));
    expectOutput(name === 'lightning.pt' ? model.getSubmodule('model') : model);
  });
  test('modelFromStateDict lists several, and names what it was given', () => {
    const sentence = (name: string, start: RegExp): void =>
      expect(() => modelFromStateDict(open(name))).toThrow(
        expect.objectContaining({
          name: 'TypeError',
          message: expect.stringMatching(start) as string,
        }) as Error,
      );
    sentence(
      'chatbot.pt',
      /^state should hold \[name, Tensor\] pairs, got 4000 under 'iteration'; it holds 3 state dicts: en \(4 tensors\), de \(4 tensors\), embedding \(1 tensor\): pass one of them, as in state\.get\('en'\)$/,
    );
    sentence('list.pt', /as in state\.get\('nets'\)\[0\]\.get\('generator'\)$/);
    sentence('no_state_dict.pt', /^state should hold \[name, Tensor\] pairs, got 3 under 'epoch'$/);
    expect(() => modelFromStateDict([new Model().stateDict(), new Model().stateDict()])).toThrow(
      /it holds 2 state dicts: 0 \(6 tensors\), 1 \(6 tensors\)/,
    );
    expect(modelFromStateDict([...new Model().stateDict()]).model.getSubmodule('rnn')).toBeInstanceOf(nn.GRU);
  });
  test('modelFromStateDict leaves out what is no tensor, and says so', () => {
    const { model, assumptions } = modelFromStateDict(open('extra_state.pt'));
    expect(model.getSubmodule('c')).toBeInstanceOf(nn.Linear);
    expect(assumptions).toEqual([
      "left out, because no module can hold it: a._extra_state (null), b._extra_state ('v1'), c._extra_state (Map)",
    ]);
    const state = new nn.Linear(1, 1).stateDict();
    state.raw.set('table', new RawTensor('float8_e5m2', [3], new Uint8Array(3)));
    expect(modelFromStateDict(state).assumptions).toEqual([
      'left out, because no module can hold it: table (float8_e5m2)',
    ]);
  });
  test('extra state does not cost a quantized module its mode', () => {
    const { model } = modelFromStateDict(open('extra_state_quantized.pt'));
    const { input, output } = expected.extra_state_quantized;
    const fc = model.getSubmodule('fc') as nn.Linear;
    expect(fc.forward(tensor(input)).toArray()).toEqual(tensor(output).toArray());
  });
});

describe('tied weights', () => {
  test('that save_model left out are there, as one Tensor', async () => {
    const state = await load(file('tied.safetensors'));
    for (const name of ['e.weight', 'o.weight'] as const) {
      expect(state.get(name)!.toArray()).toEqual(tensor(expected.tied[name]).toArray());
    }
    expect(state.get('o.weight')).toBe(state.get('e.weight'));
    // A text that only looks like it stays a note.
    expect([...state.notes].sort()).toEqual([
      ['author', 'e.weight'],
      ['o.bias', 'nobody'],
    ]);
    const model = new nn.ModuleDict({
      e: new nn.Embedding(4, 3),
      o: new nn.Linear(3, 4, { bias: false }),
    });
    model.loadStateDict(state);
    expectClose((model.get('o') as nn.Linear).weight, state.get('e.weight')!);
    expect([...modelFromStateDict(state).model.parameters()]).toHaveLength(1);
  });
  test('of a checkpoint, which are Tensors over the same memory, stay tied', () => {
    const { model } = modelFromStateDict(loadSync(join(folder, 'checkpoints', 'tied.pt')));
    expect([...model.parameters()]).toHaveLength(2);
    expect([...model.stateDict().keys()]).toHaveLength(4);
  });
});

describe('assumptions', () => {
  const quantizedLSTM = join(folder, 'checkpoints', 'two_directions.pt');

  test('two layers or two directions', () => {
    const sentence =
      'lstm (DynamicQuantizedLSTM): taken for two layers; two directions of one layer look the same (option bidirectional of load)';
    const state = loadSync(quantizedLSTM);
    expect(state.assumptions).toEqual([sentence]);
    expect(modelFromStateDict(state).assumptions).toContain(sentence);
    expect(loadSync(quantizedLSTM, { bidirectional: ['lstm'] }).assumptions).toEqual([]);
    expect(loadSync(join(folder, 'checkpoints', 'four_cells.pt')).assumptions).toEqual([]);
  });
  test('static quantization', () => {
    expect(modelFromStateDict(open('static.pt')).assumptions).toContainEqual(
      expect.stringMatching(
        /^2 modules \(DynamicQuantizedLinear: a, b\): quantized statically, taken for dynamic: /,
      ),
    );
  });
  test('tables of 8 bits, and versions that are lost', () => {
    const sentences = (name: string, options = {}): string[] =>
      modelFromStateDict(loadSync(join(folder, 'checkpoints', name)), options).assumptions;
    const table = 'emb (QuantizedEmbedding): an EmbeddingBag has the same tensors';
    expect(sentences('tables.pt')).toEqual([table]);
    expect(sentences('tables.pt', { metadata: { emb: { type: 'QuantizedEmbedding' } } })).toEqual([]);
    expect(sentences('tables.pt', { metadata: { emb: { type: 'QuantizedEmbeddingBag' } } })).toEqual([]);
    expect(sentences('bags4.pt')).toEqual([]);
    expect(sentences('no_versions.pt')).toEqual([
      'fc (DynamicQuantizedLinear): assumed reduceRange = true, as since PyTorch 1.7; the dict has lost its versions',
    ]);
    expect(sentences('no_versions.pt', { metadata: { fc: { reduceRange: true } } })).toEqual([]);
  });
  const norms = (count: number): Map<string, Tensor> =>
    new Map(
      Array.from({ length: count }, (_, i) =>
        ['weight', 'bias'].map((name) => [`layer.${i}.norm.${name}`, randn(4)] as const),
      ).flat(),
    );

  test('are one line a kind', () => {
    expect(modelFromStateDict(norms(13)).assumptions).toEqual([
      `13 modules (LayerNorm: ${Array.from({ length: 13 }, (_, i) => `layer.${i}.norm`).join(', ')}): a GroupNorm has the same tensors; assumed eps = 0.00001`,
    ]);
    expect(modelFromStateDict(norms(30)).assumptions[0]).toMatch(/layer\.23\.norm and 6 more\): /);
    const convolutions = new Map(['a', 'b'].map((name) => [`${name}.weight`, randn(2, 3, 4, 4, 4)] as const));
    expect(modelFromStateDict(convolutions).assumptions).toEqual([
      '2 modules (a, b): no known module has these tensors, which are kept as they are',
    ]);
  });
  test('of a reader come with the rest', () => {
    const state = new StateDict(new nn.LSTM(2, 3).stateDict());
    state.assumptions.push('the opset is not known', 'the model (LSTM): assumed batchFirst = false');
    expect(modelFromStateDict(state).assumptions).toEqual([
      'the model (LSTM): assumed batchFirst = false',
      'the opset is not known',
    ]);
  });

  test('are corrected in the call, for one module or many', () => {
    const state = norms(3);
    const { model, assumptions } = modelFromStateDict(state, {
      metadata: { '*.norm': { eps: 1e-12 }, 'layer.1.norm': { eps: 1e-3 } },
    });
    const eps = (i: number): number => (model.getSubmodule(`layer.${i}.norm`) as nn.LayerNorm).eps;
    expect([eps(0), eps(1), eps(2)]).toEqual([1e-12, 1e-3, 1e-12]);
    expect(assumptions).toEqual([expect.stringMatching(/^3 modules .*: a GroupNorm has the same tensors$/)]);
    const table = new Map([['x.weight', randn(9, 4)]]);
    const metadata = new Map([['x', { type: 'Embedding', paddingIdx: 0 }]]);
    const corrected = modelFromStateDict(table, { metadata });
    expect(String(corrected.model.getSubmodule('x'))).toBe('Embedding(9, 4, padding_idx=0)');
    expect(corrected.assumptions).toEqual([]);
    // They have priority over the state's own metadata.
    const lstm = modelFromStateDict(new nn.LSTM(2, 3).stateDict(), {
      metadata: { '': { batchFirst: true } },
    });
    expect((lstm.model as nn.LSTM).batchFirst).toBe(true);
  });
  test.each<[object, string]>([
    [{ rnn: { batchfirst: true } }, "module 'rnn' is GRU, which has no option 'batchfirst'"],
    [{ rn: { batchFirst: true } }, "there is no module 'rn' of a known class; there are rnn, fc"],
    [{ '*': { eps: 1 } }, "module 'rnn' is GRU, which has no option 'eps'"],
  ])('a correction of nothing is refused: %j', (metadata, message) => {
    const options = { metadata: metadata as Record<string, Record<string, unknown>> };
    expect(() => modelFromStateDict(new Map(new Model().stateDict()), options)).toThrow(
      new RangeError(message),
    );
  });
  test('a correction that tensors contradict is refused', () => {
    const state = new Map(new Model().stateDict());
    expect(() => modelFromStateDict(state, { metadata: { rnn: { hiddenSize: 5 } } })).toThrow(
      /^module 'rnn' has hiddenSize 5 by its metadata, but 2 by its tensors$/,
    );
    expect(() => modelFromStateDict(state, { metadata: { rnn: { type: 'LSTM' } } })).toThrow(
      /but GRU by its/,
    );
  });
});
