import { join } from 'node:path';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';

import * as nn from '../src/nn/index.js';
import {
  bestDynamicQConfig,
  defaultDynamicMapping,
  defaultDynamicQConfig,
  float16DynamicQConfig,
  floatQParamsWeightOnlyQConfig,
  perChannelDynamicQConfig,
  perRowDynamicQConfig,
  quantizeDynamic,
  type QConfig,
  type QConfigSpec,
} from '../src/quantization/index.js';
import { manualSeed, rand, randn } from '../src/random.js';
import type { Tensor } from '../src/tensor/index.js';
import { bytesOf, expectClose, golden, runNode } from './support.js';

const { Linear: QuantizedLinear } = nn.quantized.dynamic;

class Tagger extends nn.Module {
  readonly embedding = new nn.Embedding(7, 4);
  readonly lstm = new nn.LSTM(4, 5);
  readonly head = new nn.Sequential(new nn.Linear(5, 6), new nn.ReLU(), new nn.Linear(6, 2));
  override forward(tokens: Tensor): Tensor {
    return this.head.forward(this.lstm.forward(this.embedding.forward(tokens))[0]);
  }
}
class OwnLinear extends nn.Linear {}
class Everything extends nn.Module {
  readonly linear = new nn.Linear(4, 4);
  readonly fused = new nn.intrinsic.LinearReLU(new nn.Linear(4, 4), new nn.ReLU());
  readonly lstm = new nn.LSTM(4, 4, { projSize: 2, bias: false });
  readonly gru = new nn.GRU(4, 4);
  readonly rnn = new nn.RNN(4, 4);
  readonly lstmCell = new nn.LSTMCell(4, 4);
  readonly gruCell = new nn.GRUCell(4, 4, { bias: false });
  readonly rnnCell = new nn.RNNCell(4, 4);
  override forward(): void {}
}

let warn: jest.SpyInstance;
beforeEach(() => {
  warn = jest.spyOn(process, 'emitWarning').mockImplementation(() => undefined);
});
afterEach(() => warn.mockRestore());

/** The names of the modules that were quantized. */
function quantizedNames(model: nn.Module): string[] {
  const state = model.stateDict();
  return [...state.metadata]
    .filter(([, { type }]) => type.startsWith('DynamicQuantized'))
    .map(([name]) => name);
}

describe('the recipe, PyTorch’s figures', () => {
  const group = golden('tutorial');
  class LSTMForDemonstration extends nn.Module {
    readonly lstm: nn.LSTM;
    constructor(dim: number) {
      super();
      this.lstm = new nn.LSTM(dim, dim);
    }
    override forward(inputs: Tensor, hidden: nn.LSTMState) {
      return this.lstm.forward(inputs, hidden);
    }
  }
  test.each(group.cases.map((c) => [c.dim, c]))('dimension %i', (dim, c) => {
    manualSeed(29592);
    const x = randn(20, 1, dim);
    const hidden: nn.LSTMState = [randn(1, 1, dim), randn(1, 1, dim)];
    expect(bytesOf(x)).toBe(bytesOf(group.tensor(c.x)));
    expect(bytesOf(hidden[0])).toBe(bytesOf(group.tensor(c.h0)));
    expect(bytesOf(hidden[1])).toBe(bytesOf(group.tensor(c.c0)));
    const float = new LSTMForDemonstration(dim);
    for (const [key, name] of Object.entries<string>(c.params ?? {})) {
      expect(bytesOf(float.stateDict().get(key)!)).toBe(bytesOf(group.tensor(name)));
    }
    const quantized = quantizeDynamic(float, new Set([nn.LSTM, nn.Linear]), { dtype: 'qint8' });
    expect(String(quantized)).toBe(c.fbgemm.repr.replace('lstm_for_demonstration', 'LSTMForDemonstration'));
    const outputs: Tensor[] = [];
    for (const [model, expected] of [
      [float, c.float],
      [quantized, c.fbgemm],
    ] as const) {
      const [y, [hn, cn]] = model.forward(x, hidden);
      expectClose(y, group.tensor(expected.y));
      expectClose(hn, group.tensor(expected.hn));
      expectClose(cn, group.tensor(expected.cn));
      expect(y.abs().mean().item().toFixed(5)).toBe(expected.mean_abs.toFixed(5));
      outputs.push(y);
    }
    const difference = outputs[0]!.sub(outputs[1]!).abs().mean().item();
    expect(difference.toFixed(5)).toBe(c.fbgemm.mean_abs_diff.toFixed(5));
    expect(((difference / c.float.mean_abs) * 100).toFixed(2)).toBe(c.fbgemm.percent.toFixed(2));
  });
});

describe('what is converted', () => {
  test.each<[string, Parameters<typeof quantizeDynamic>[1], string[]]>([
    ['nothing named: all', undefined, ['lstm', 'head.0', 'head.2']],
    ['null: all', null, ['lstm', 'head.0', 'head.2']],
    ['a type', new Set([nn.Linear]), ['head.0', 'head.2']],
    ['a name', new Set(['head.2']), ['head.2']],
    ['a parent’s name', new Set(['head']), ['head.0', 'head.2']],
    ['type and name', new Set([nn.LSTM, 'head.0']), ['lstm', 'head.0']],
    ['an unknown name', new Set(['nobody']), []],
    [
      'the root’s name',
      new Map([
        ['', defaultDynamicQConfig],
        ['embedding', null],
      ]),
      ['lstm', 'head.0', 'head.2'],
    ],
    [
      'null excludes',
      new Map<typeof nn.Linear | string, typeof defaultDynamicQConfig | null>([
        [nn.Linear, defaultDynamicQConfig],
        ['head.0', null],
      ]),
      ['head.2'],
    ],
  ])('%s', (_, spec, expected) => {
    const model = new Tagger();
    const before = String(model);
    expect(quantizedNames(quantizeDynamic(model, spec))).toEqual(expected);
    expect(String(model)).toBe(before);
    expect(model.training).toBe(true);
  });

  test('a qconfig of its own for a name', () => {
    const spec = new Map([
      ['head', defaultDynamicQConfig],
      ['head.2', perChannelDynamicQConfig],
    ]);
    const text = String(quantizeDynamic(new Tagger(), spec));
    expect(text.match(/per_tensor_affine/g)).toHaveLength(1);
    expect(text.match(/per_channel_affine/g)).toHaveLength(1);
  });
  test('activation modes, combined by spreading', () => {
    const combined = { ...perChannelDynamicQConfig, activation: 'perRow', reduceRange: false } as const;
    expect(bestDynamicQConfig).toEqual(combined);
    const spec = new Map([
      ['lstm', perRowDynamicQConfig],
      ['head', bestDynamicQConfig],
    ]);
    const quantized = quantizeDynamic(new Tagger(), spec);
    const modes = [...quantized.stateDict().metadata].filter(([, { type }]) => type.startsWith('Dynamic'));
    expect(modes).toMatchObject([
      ['lstm', { activation: 'perRow', reduceRange: true, qscheme: 'per_tensor_affine' }],
      ['head.0', { activation: 'perRow', reduceRange: false, qscheme: 'per_channel_affine' }],
      ['head.2', { activation: 'perRow', reduceRange: false, qscheme: 'per_channel_affine' }],
    ]);
    expect(String(quantized)).toContain('(lstm): DynamicQuantizedLSTM(4, 5, activation=per_row)');
    expect(Object.isFrozen(perRowDynamicQConfig)).toBe(true);
  });
  test('a copy of a quantized model keeps its mode', () => {
    const quantized = quantizeDynamic(new Tagger(), new Map([[nn.LSTM, perRowDynamicQConfig]]));
    const copy = quantizeDynamic(quantized, new Map());
    expect(copy.lstm).not.toBe(quantized.lstm);
    expect(String(copy)).toBe(String(quantized));
  });
  test('exact types only', () => {
    expect(quantizedNames(quantizeDynamic(new nn.Sequential(new OwnLinear(2, 2))))).toEqual([]);
  });
  test('a custom mapping', () => {
    const mapping = new Map([[nn.LSTM, defaultDynamicMapping.get(nn.LSTM)!]]);
    expect(quantizedNames(quantizeDynamic(new Tagger(), null, { mapping }))).toEqual(['lstm']);
  });
  test('a quantizable root is converted and returned', () => {
    const lstm = new nn.LSTM(3, 4);
    expect(String(quantizeDynamic(lstm))).toBe('DynamicQuantizedLSTM(3, 4)');
  });
  test.each<[string, Parameters<typeof quantizeDynamic>[2], string]>([
    ['qint8, the default', undefined, 'qint8'],
    ['qint8', { dtype: 'qint8' }, 'qint8'],
    ['float16', { dtype: 'float16' }, 'float16'],
  ])('every type by default: %s', (_, options, dtype) => {
    const quantized = quantizeDynamic(new Everything(), null, options);
    const types = Object.values(quantized).filter((value) => value instanceof nn.Module);
    expect(types.map((m) => m.constructor)).toEqual(
      (['Linear', 'LinearReLU', 'LSTM', 'GRU', 'RNN', 'LSTMCell', 'GRUCell', 'RNNCell'] as const).map(
        (name) => nn.quantized.dynamic[name],
      ),
    );
    expect(types.map((m) => (m as unknown as { dtype: string }).dtype)).toEqual(Array(8).fill(dtype));
    expect(warn).not.toHaveBeenCalled();
  });
  test('every type by name, and a dtype for each', () => {
    const spec = new Map<typeof nn.RNN | string, QConfig>([
      [nn.RNN, float16DynamicQConfig],
      ['lstm', bestDynamicQConfig],
    ]);
    const text = String(quantizeDynamic(new Everything(), spec, { dtype: 'int32' }));
    expect(text).toContain('(rnn): DynamicQuantizedRNN(4, 4)');
    expect(text).toContain(
      '(lstm): DynamicQuantizedLSTM(4, 4, proj_size=2, bias=False, activation=per_row, reduce_range=False)',
    );
    expect(text).toContain('(gru): GRU(4, 4)');
    for (const dtype of ['qint8', 'float16'] as const) {
      const q = quantizeDynamic(new Everything(), new Set([nn.RNN, nn.RNNCell]), { dtype });
      expect(quantizedNames(q)).toEqual(['rnn', 'rnnCell']);
      expect((q.rnn as unknown as { dtype: string }).dtype).toBe(dtype);
    }
  });
  test('embeddings, by their dtypes', () => {
    const model = new nn.Sequential(new nn.Linear(4, 4), new nn.Embedding(4, 4), new nn.EmbeddingBag(4, 4));
    const dtypesOf = (spec: QConfigSpec | null, dtype: 'quint8' | 'quint4x2'): unknown[] =>
      [...quantizeDynamic(model, spec, { dtype })].map((m) => m.stateDict().metadata.get('')!['dtype']);
    expect(dtypesOf(null, 'quint8')).toEqual([undefined, 'quint8', 'quint8']);
    expect(dtypesOf(null, 'quint4x2')).toEqual([undefined, undefined, 'quint4x2']);
    expect(dtypesOf(new Set([nn.Embedding]), 'quint4x2')).toEqual([undefined, 'quint4x2', undefined]);
    const spec = new Map<typeof nn.Linear | typeof nn.Embedding, QConfig>([
      [nn.Linear, float16DynamicQConfig],
      [nn.Embedding, floatQParamsWeightOnlyQConfig],
    ]);
    expect(dtypesOf(spec, 'quint8')).toEqual(['float16', 'quint8', undefined]);
    expect(() => quantizeDynamic(model, new Map([['', defaultDynamicQConfig]]))).toThrow(
      /^Embedding quantization is only supported with float_qparams_weight_only_qconfig\./,
    );
  });
  test('inplace, each float module is let go as soon as its twin stands', () => {
    setFlagsFromString('--expose-gc');
    const collect = runInNewContext('gc') as () => void;
    const bytes = 4 * 1000 * 1000;
    const linears = Array.from({ length: 6 }, () => new nn.Linear(1000, 1000));
    const model = new nn.Sequential(...linears.splice(0));
    for (let i = 0; i < 4; i++) collect(); // what earlier tests left
    const memory: number[] = [];
    const measuring = {
      fromFloat(module: nn.Module, qconfig: QConfig): nn.Module {
        collect(); // what this one lets go is swept beside us,
        collect(); // and counted when the next one begins
        memory.push(process.memoryUsage().arrayBuffers);
        return QuantizedLinear.fromFloat(module as nn.Linear, qconfig);
      },
    };
    quantizeDynamic(model, null, { mapping: new Map([[nn.Linear, measuring]]), inplace: true });
    // All are tried first: nothing is let go before the last can still fail.
    const tried = memory.slice(0, 6);
    expect(Math.max(...tried) - Math.min(...tried)).toBeLessThan(2 * bytes);
    expect(memory).toHaveLength(12);
    expect(memory[11]).toBeLessThan(memory[6]! - 3 * bytes);
  });
  test('inplace, garbage is collected where the process allows it, and no flag of V8 is changed', () => {
    const script = `
      const v8 = require('node:v8');
      const changed = [];
      v8.setFlagsFromString = (flag) => changed.push(flag);
      let collections = 0;
      const collect = globalThis.gc;
      if (collect !== undefined) globalThis.gc = () => { collections++; collect(); };
      const { nn, quantization } = require('./dist/index.js');
      const linears = Array.from({ length: 3 }, () => new nn.Linear(3000, 3000));
      quantization.quantizeDynamic(new nn.Sequential(...linears), null, { inplace: true });
      console.log(JSON.stringify([changed, typeof globalThis.gc, collections > 0]));`;
    const run = (...flags: string[]): unknown => {
      const { stdout, stderr } = runNode([...flags, '-e', script], { cwd: join(__dirname, '..') });
      expect(stderr).toBe('');
      return JSON.parse(stdout);
    };
    expect(run()).toEqual([[], 'undefined', false]);
    expect(run('--expose-gc')).toEqual([[], 'function', true]);
  });
  test('hooks go over to what is quantized', () => {
    const model = new nn.Sequential(new nn.Linear(4, 4));
    const calls: string[] = [];
    model.get(0).registerForwardPreHook((m) => void calls.push(`before ${m.constructor === nn.Linear}`));
    model.get(0).registerForwardHook((m) => void calls.push(`after ${m.constructor === nn.Linear}`));
    quantizeDynamic(model).forward(randn(1, 4));
    expect(calls).toEqual(['before false', 'after false']);
  });
  test('a LinearReLU is a unit', () => {
    const model = new nn.Sequential(new Everything().fused, new nn.Linear(4, 4));
    expect(quantizedNames(quantizeDynamic(model, new Set([nn.Linear])))).toEqual(['1']);
    expect(quantizedNames(quantizeDynamic(model, new Set(['0.0'])))).toEqual([]);
    expect(quantizedNames(quantizeDynamic(model, new Set([nn.intrinsic.LinearReLU])))).toEqual(['0']);
  });
  describe('priority: parent, type, name, attribute', () => {
    const [byParent, byType, byName, byAttribute] = [
      defaultDynamicQConfig,
      perChannelDynamicQConfig,
      perRowDynamicQConfig,
      float16DynamicQConfig,
    ];
    const reprOf = (spec: QConfigSpec, attribute?: QConfig | null): string => {
      const model = new Tagger();
      const linear = model.head.get(0) as nn.Linear & { qconfig?: QConfig | null };
      if (attribute !== undefined) linear.qconfig = attribute;
      const quantized = quantizeDynamic(model, spec);
      for (const module of quantized.modules()) expect('qconfig' in module).toBe(false);
      if (attribute !== undefined) expect(linear.qconfig).toBe(attribute);
      return String(quantized.head.get(0));
    };
    const head = 'DynamicQuantizedLinear(in_features=5, out_features=6, dtype=torch.';
    test.each<[string, QConfigSpec, QConfig | null | undefined, string]>([
      ['parent', new Map([['head', byParent]]), undefined, `${head}qint8, qscheme=torch.per_tensor_affine)`],
      [
        'type',
        new Map<string | typeof nn.Linear, QConfig>([
          ['head', byParent],
          [nn.Linear, byType],
        ]),
        undefined,
        `${head}qint8, qscheme=torch.per_channel_affine)`,
      ],
      [
        'name',
        new Map<string | typeof nn.Linear, QConfig>([
          ['head.0', byName],
          [nn.Linear, byType],
        ]),
        undefined,
        `${head}qint8, qscheme=torch.per_tensor_affine, activation=per_row)`,
      ],
      ['attribute', new Map([['head.0', byName]]), byAttribute, `${head}float16)`],
      ['attribute alone', new Map(), byAttribute, `${head}float16)`],
      [
        'attribute null',
        new Map([['head.0', byName]]),
        null,
        'Linear(in_features=5, out_features=6, bias=True)',
      ],
    ])('%s', (_, spec, attribute, expected) => expect(reprOf(spec, attribute)).toBe(expected));
    test('an attribute is inherited, and taken off an inplace model', () => {
      const model = new Tagger();
      Object.assign(model.head, { qconfig: defaultDynamicQConfig });
      quantizeDynamic(model, new Map(), { inplace: true });
      expect(quantizedNames(model)).toEqual(['head.0', 'head.2']);
      expect('qconfig' in model.head).toBe(false);
    });
    test('a wrong attribute is refused', () => {
      const model = new Tagger();
      Object.assign(model.head, { qconfig: { weight: 8 } });
      expect(() => quantizeDynamic(model)).toThrow(
        /^the qconfig of module 'head' should be an object with a weight, got Object/,
      );
    });
  });
  test('a custom mapping may name a subclass', () => {
    const mapping = new Map([[OwnLinear, defaultDynamicMapping.get(nn.Linear)!]]);
    const model = new nn.Sequential(new OwnLinear(2, 2), new nn.Linear(2, 2));
    expect(quantizedNames(quantizeDynamic(model, new Set([OwnLinear]), { mapping }))).toEqual(['0']);
    const wrong = new Map([[nn.Linear, defaultDynamicMapping.get(nn.LSTM)!]]);
    expect(() => quantizeDynamic(model, null, { mapping: wrong })).toThrow(
      'module should be an instance of LSTM, got Linear',
    );
  });
  test('a shared module stays shared', () => {
    const shared = new nn.Linear(3, 3);
    const q = quantizeDynamic(new nn.Sequential(shared, shared, new nn.Sequential(shared)));
    expect(q.get(0)).toBe(q.get(1));
    expect((q.get(2) as nn.Sequential).get(0)).toBe(q.get(0));
    expect(q.get(0)).toBeInstanceOf(QuantizedLinear);
  });
});

describe('how', () => {
  test('inplace returns the model itself', () => {
    const model = new Tagger();
    expect(quantizeDynamic(model, null, { inplace: true })).toBe(model);
    expect(quantizedNames(model)).toHaveLength(3);
  });
  test('the copy is independent and in evaluation mode', () => {
    const model = new Tagger();
    const quantized = quantizeDynamic(model);
    expect([...quantized.modules()].map((m) => m.training)).not.toContain(true);
    model.embedding.weight.fill_(0);
    expect(quantized.embedding.weight.abs().sum().item()).toBeGreaterThan(0);
  });
  test('an already quantized model passes through, with the same results', () => {
    const quantized = quantizeDynamic(new nn.Sequential(new nn.Linear(3, 4)));
    const x = randn(2, 3);
    expect(bytesOf(quantizeDynamic(quantized).forward(x))).toBe(bytesOf(quantized.forward(x)));
  });
  test('no random numbers are drawn', () => {
    const model = new Tagger();
    manualSeed(1);
    const expected = bytesOf(rand(4));
    manualSeed(1);
    quantizeDynamic(model);
    expect(bytesOf(rand(4))).toBe(expected);
  });
});

describe('what a spec asks for in vain is named', () => {
  const model = () =>
    new nn.Sequential(new nn.Linear(2, 2), new nn.Sequential(new OwnLinear(2, 2)), new nn.ReLU());
  test.each<[string, QConfigSpec | undefined, string[]]>([
    ['nothing', undefined, []],
    ['a type that the model does not have', new Set([nn.Linear, nn.LSTM]), []],
    ['an empty spec', new Set(), []],
    ['an unknown name', new Set(['0', '3']), ["there is no module '3'"]],
    ['a name to exclude', new Map([['head', null]]), ["there is no module 'head'"]],
    ['a module', new Set(['2']), ["'2' (ReLU) is and holds nothing to quantize"]],
    ['a parent', new Set(['1']), ["'1' (Sequential) is and holds nothing to quantize"]],
    ['a parent’s type', new Set([nn.Sequential]), []],
    [
      'a name whose modules have qconfigs that go before',
      new Map<typeof nn.Linear | string, QConfig>([
        ['', defaultDynamicQConfig],
        [nn.Linear, perRowDynamicQConfig],
        ['1.0', defaultDynamicQConfig],
      ]),
      ["'1.0' (OwnLinear) is and holds nothing to quantize"],
    ],
    ['an unsupported type', new Set([nn.ReLU]), ['there is no quantized class for ReLU']],
    ['a subclass', new Set([OwnLinear]), ['there is no quantized class for OwnLinear']],
    ['__proto__', new Set(['__proto__']), ["there is no module '__proto__'"]],
    [
      'all at once',
      new Set(['x', nn.Dropout, '1.0']),
      [
        "there is no module 'x'",
        'there is no quantized class for Dropout',
        "'1.0' (OwnLinear) is and holds nothing to quantize",
      ],
    ],
  ])('%s', (_, spec, complaints) => {
    quantizeDynamic(model(), spec);
    expect(warn.mock.calls).toEqual(
      complaints.length === 0 ? [] : [[`quantizeDynamic: ${complaints.join('; ')}`]],
    );
  });
  test('a type whose only instances are of subclasses', () => {
    quantizeDynamic(new nn.Sequential(new nn.ReLU(), new OwnLinear(2, 2)));
    expect(warn.mock.calls).toEqual([
      ["quantizeDynamic: Linear means exactly this type, but '1' is a subclass, OwnLinear"],
    ]);
  });
});

describe('errors', () => {
  const model = new nn.Sequential(new nn.Linear(2, 2), new nn.Linear(2, 2));
  test.each<[string, () => unknown, RegExp]>([
    ['no module', () => quantizeDynamic({} as never), /model should be a Module, got Object/],
    [
      'an array',
      () => quantizeDynamic(model, [nn.Linear] as never),
      /spec should be a Set .* got an array of 1/,
    ],
    ['a key', () => quantizeDynamic(model, new Set([1]) as never), /module classes and names, got 1/],
    [
      'a function that is no class',
      () => quantizeDynamic(model, new Set([() => nn.Linear]) as never),
      /^spec should hold module classes and names, got function/,
    ],
    ...(
      [
        [{}, /^mapping should be a Map, got Object/],
        [new Map([['Linear', QuantizedLinear]]), /^mapping should map module classes, got 'Linear'/],
        [
          new Map([[nn.Linear, nn.ReLU]]),
          /^mapping's class for Linear should have a static fromFloat, got function ReLU/,
        ],
        [
          new Map([[nn.Linear, { fromFloat: () => 7 }]]),
          /^fromFloat of mapping's Linear should give a Module, got 7/,
        ],
      ] as const
    ).map(([mapping, message]): [string, () => unknown, RegExp] => [
      `mapping ${String(message)}`,
      () => quantizeDynamic(model, null, { mapping: mapping as never, inplace: true }),
      message,
    ]),
    [
      'a qconfig',
      () => quantizeDynamic(model, new Map([[nn.Linear, {}]]) as never),
      /^spec's qconfig for Linear should be an object with a weight, got Object/,
    ],
    [
      'a qscheme',
      () => quantizeDynamic(model, new Map([['0', { weight: { qscheme: 'affine' } }]]) as never),
      /^spec's qconfig for '0': weight.qscheme should be .*, got 'affine'/,
    ],
    [
      'no qconfig',
      () => quantizeDynamic(model, new Map([[nn.Linear, 5]]) as never),
      /^spec's qconfig for Linear should be an object with a weight, got 5/,
    ],
    [
      'a key of a qconfig',
      () => quantizeDynamic(model, new Map([['', { ...perRowDynamicQConfig, perRow: true }]])),
      /^spec's qconfig for '': unknown option 'perRow'; the options are weight, activation, reduceRange/,
    ],
    [
      'activation',
      () => quantizeDynamic(model, new Map([['', { ...defaultDynamicQConfig, activation: 'row' }]]) as never),
      /^spec's qconfig for '': activation should be 'perTensor' or 'perRow', got 'row'/,
    ],
    [
      'reduceRange',
      () => quantizeDynamic(model, new Map([['', { ...defaultDynamicQConfig, reduceRange: 127 }]]) as never),
      /^spec's qconfig for '': reduceRange should be a boolean, got 127/,
    ],
    ['dtype', () => quantizeDynamic(model, null, { dtype: 'int32' }), /Don't know how to quantize/],
    [
      'dtype of a set',
      () => quantizeDynamic(model, new Set([nn.Linear]), { dtype: 'int32' }),
      /Unknown dtype/,
    ],
    [
      'a prototype’s key as dtype',
      () => quantizeDynamic(model, null, { dtype: 'toString' as never }),
      /Don't know/,
    ],
    [
      'an embedding’s dtype',
      () => quantizeDynamic(model, new Set([nn.Linear]), { dtype: 'quint8' }),
      /^The only supported dtypes for dynamic quantized linear are qint8 and float16, got: quint8/,
    ],
    [
      'an embedding’s dtype for an RNN',
      () => quantizeDynamic(new nn.GRU(2, 2), new Map([[nn.GRU, floatQParamsWeightOnlyQConfig]])),
      /^Unsupported dtype for dynamic RNN quantization: quint8/,
    ],
    [
      'a qscheme with float16',
      () =>
        quantizeDynamic(
          model,
          new Map([['0', { weight: { dtype: 'float16', qscheme: 'per_tensor_symmetric' } as const }]]),
        ),
      /^spec's qconfig for '0': weight.qscheme should be absent with float16/,
    ],
    [
      'a mode with float16',
      () => quantizeDynamic(model, new Map([['0', { ...float16DynamicQConfig, reduceRange: false }]])),
      /^spec's qconfig for '0': reduceRange should be absent with float16 weights/,
    ],
    [
      'a weight’s dtype',
      () => quantizeDynamic(model, new Map([['0', { weight: { dtype: 'int4' } }]]) as never),
      /^spec's qconfig for '0': weight.dtype should be 'qint8' or 'float16' or 'quint8' or 'quint4x2', got 'int4'/,
    ],
    [
      'a weight’s key',
      () => quantizeDynamic(model, new Map([['0', { weight: { qschema: 1 } }]]) as never),
      /^spec's qconfig for '0': weight: unknown option 'qschema'/,
    ],
    [
      'inplace',
      () => quantizeDynamic(model, null, { inplace: 1 as never }),
      /^inplace should be a boolean, got 1/,
    ],
    [
      'a cycle',
      () => {
        const loop = new Tagger() as Tagger & { self?: nn.Module };
        loop.self = loop;
        return quantizeDynamic(loop);
      },
      /^module 'self' contains itself/,
    ],
    ['mapping', () => quantizeDynamic(model, null, { mapping: {} as never }), /mapping should be a Map/],
    ['option', () => quantizeDynamic(model, null, { inPlace: true } as never), /unknown option 'inPlace'/],
  ])('%s', (_, f, message) => expect(f).toThrow(message));
  test('a conversion that fails leaves an inplace model as it was', () => {
    (model.get(1) as nn.Linear).weight.data[0] = NaN as never;
    const before = String(model);
    expect(() => quantizeDynamic(model, null, { inplace: true })).toThrow(/weight should be finite/);
    expect(String(model)).toBe(before);
  });
});
