import * as nn from '../src/nn/index.js';
import {
  defaultDynamicMapping,
  defaultDynamicQConfig,
  perChannelDynamicQConfig,
  perRowDynamicQConfig,
  quantizeDynamic,
} from '../src/quantization/index.js';
import { manualSeed, rand, randn } from '../src/random.js';
import type { Tensor } from '../src/tensor.js';
import { bytesOf, expectClose, golden } from './support.js';

const { LSTM: QuantizedLSTM, Linear: QuantizedLinear } = nn.quantized.dynamic;

class Tagger extends nn.Module {
  readonly embedding = new nn.Embedding(7, 4);
  readonly lstm = new nn.LSTM(4, 5);
  readonly head = new nn.Sequential(new nn.Linear(5, 6), new nn.ReLU(), new nn.Linear(6, 2));
  override forward(tokens: Tensor): Tensor {
    return this.head.forward(this.lstm.forward(this.embedding.forward(tokens))[0]);
  }
}
class OwnLinear extends nn.Linear {}

/** The names of the modules that were quantized. */
function quantizedNames(model: nn.Module): string[] {
  return [...model.namedModules()]
    .filter(([, m]) => m instanceof QuantizedLSTM || m instanceof QuantizedLinear)
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
    ['the root’s name', new Map([['', defaultDynamicQConfig]]), ['lstm', 'head.0', 'head.2']],
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
    const best = { ...perChannelDynamicQConfig, activation: 'perRow', reduceRange: false } as const;
    const spec = new Map([
      ['lstm', perRowDynamicQConfig],
      ['head', best],
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
