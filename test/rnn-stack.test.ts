import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import * as nn from '../src/nn/index.js';
import {
  bestDynamicQConfig,
  defaultDynamicQConfig,
  float16DynamicQConfig,
  quantizeDynamic,
  type ModuleClass,
  type QConfig,
} from '../src/quantization/index.js';
import { randn } from '../src/random.js';
import { loadSync } from '../src/serialization/load.js';
import { modelFromStateDict } from '../src/serialization/model-from-state-dict.js';
import { saveSync } from '../src/serialization/save.js';
import { fromShared, share } from '../src/serialization/share.js';
import { isTensor, type Tensor } from '../src/tensor/index.js';
import { bytesOf } from './support.js';

const folder = mkdtempSync(join(tmpdir(), 'dynaquant-test-'));
afterAll(() => rmSync(folder, { recursive: true }));

type Spec = [ModuleClass | string, QConfig | null][];
type Recurrent = nn.LSTM | nn.GRU | nn.RNN;

/** The bits of everything in a result. */
function bits(value: unknown): string[] {
  if (Array.isArray(value)) return value.flatMap(bits);
  if (isTensor(value)) return [bytesOf(value)];
  return [bytesOf((value as nn.utils.rnn.PackedSequence).data)];
}
const run = (module: nn.Module, ...args: unknown[]): string[] => bits(module.forward(...args));

const models: [string, () => Recurrent][] = [
  ['LSTM', () => new nn.LSTM(4, 6, { numLayers: 3 })],
  [
    'bidirectional LSTM, batch first',
    () => new nn.LSTM(4, 6, { numLayers: 3, bidirectional: true, batchFirst: true }),
  ],
  ['LSTM with projections', () => new nn.LSTM(4, 6, { numLayers: 3, projSize: 2, bidirectional: true })],
  ['GRU without biases', () => new nn.GRU(4, 6, { numLayers: 3, bias: false })],
  ['RNN with ReLU', () => new nn.RNN(4, 6, { numLayers: 3, nonlinearity: 'relu' })],
];
const quantized = (module: nn.Module): nn.Module =>
  quantizeDynamic(
    module,
    new Map<ModuleClass | string, QConfig | null>([
      ['', bestDynamicQConfig],
      ['0', null],
      ['1', float16DynamicQConfig],
    ]),
  );

describe.each(models)('%s', (_, make) => {
  const float = make();
  const stack = quantized(float) as nn.RNNStack;
  const layers = [...stack.children()];
  const { bidirectional, batchFirst, projSize, hiddenSize, mode } = float;
  const directions = bidirectional ? 2 : 1;
  const state = (batch: number[]): unknown => {
    const h = randn(3 * directions, ...batch, projSize || hiddenSize);
    return mode === 'LSTM' ? [h, randn(3 * directions, ...batch, hiddenSize)] : h;
  };

  test('has a layer for each qconfig, which PyTorch’s repr shows', () => {
    expect(stack.constructor).toBe(nn.RNNStack);
    const kind = mode.replace(/_.*/, '');
    expect(layers.map((layer) => String(layer).replace(/\(.*/, ''))).toEqual([
      kind,
      `DynamicQuantized${kind}`,
      `DynamicQuantized${kind}`,
    ]);
    expect(layers.map((layer) => (layer as { dtype?: string }).dtype)).toEqual([
      undefined,
      'float16',
      'qint8',
    ]);
    expect(String(stack)).toMatch(
      /^RNNStack\(\n {2}\(0\): \w+\(4, 6.*\)\n {2}\(1\): .*\n {2}\(2\): .*activation=per_row/,
    );
    const { inputSize, numLayers, bias, dropout } = stack;
    expect({ mode: stack.mode, inputSize, hiddenSize: stack.hiddenSize, numLayers, bias, dropout }).toEqual({
      mode,
      inputSize: 4,
      hiddenSize: 6,
      numLayers: 3,
      bias: float.bias,
      dropout: 0,
    });
  });
  test('gives the bits of its layers one after the other, of which each is one quantized alone', () => {
    const x = randn(5, 3, 4);
    let y: Tensor = x;
    const last: unknown[] = [];
    for (const layer of layers) {
      const [output, states] = layer.forward(y) as [Tensor, unknown];
      y = output;
      last.push(states);
    }
    const [output, states] = stack.forward(x);
    expect(bytesOf(output)).toBe(bytesOf(y));
    expect([states].flat().map(bytesOf).join('').length).toBe(bits(last).join('').length);
    // A stack of float layers is the float module, states too.
    const all = new nn.RNNStack(...layers.map((_, i) => layerOf(float, i)));
    for (const args of [[x], [x, state([batchFirst ? 5 : 3])], [randn(5, 4), state([])], [randn(1, 1, 4)]])
      expect(run(all, ...args)).toEqual(run(float, ...args));
    const whole = quantizeDynamic(float, new Map([['', bestDynamicQConfig]]));
    expect(run(quantizeDynamic(all, new Map([['', bestDynamicQConfig]])), x)).toEqual(run(whole, x));
  });
  test('takes packed sequences in any order, with states', () => {
    const all = new nn.RNNStack(...layers.map((_, i) => layerOf(float, i)));
    const packed = nn.utils.rnn.packPaddedSequence(randn(5, 3, 4), [2, 5, 3], { enforceSorted: false });
    const initial = state([3]);
    expect(run(all, packed)).toEqual(run(float, packed));
    expect(run(all, packed, initial)).toEqual(run(float, packed, initial));
    expect(stack.forward(packed)[0]).toBeInstanceOf(nn.utils.rnn.PackedSequence);
  });
  test('forwardAsync gives the same bits, whatever becomes of its arguments', async () => {
    const x = randn(5, 3, 4);
    const initial = state([batchFirst ? 5 : 3]);
    const expected = run(stack, x, initial);
    const promise = stack.forwardAsync(x, initial as Tensor);
    for (const tensor of [x, ...[initial].flat()] as Tensor[]) (tensor.data as Float32Array).fill(NaN);
    expect(bits(await promise)).toEqual(expected);
    const reason = new Error('enough');
    const options = { signal: AbortSignal.abort(reason) };
    await expect(stack.forwardAsync(randn(5, 3, 4), null, options)).rejects.toBe(reason);
    await expect(stack.forwardAsync(randn(5, 3, 9))).rejects.toThrow(/Expected 4, got 9/);
  });
  test('comes back from a file, from other threads’ memory and as a copy', () => {
    const path = join(folder, 'stack.safetensors');
    saveSync(stack.stateDict(), path);
    const { model, assumptions } = modelFromStateDict(loadSync(path));
    expect(assumptions).toEqual([]);
    const x = randn(5, 3, 4);
    const expected = run(stack, x);
    const again = quantized(make());
    again.loadStateDict(loadSync(path));
    for (const other of [
      model,
      again,
      fromShared(structuredClone(share(stack))),
      quantizeDynamic(stack, new Set()),
    ]) {
      expect(String(other)).toBe(String(stack));
      expect(run(other, x)).toEqual(expected);
    }
  });
});

/** A layer of a float module as a module of its own, made without the library's help. */
function layerOf(float: Recurrent, i: number): nn.Module {
  const { hiddenSize, projSize, bias, batchFirst, bidirectional } = float;
  const features = (bidirectional ? 2 : 1) * (projSize || hiddenSize);
  const own =
    float instanceof nn.LSTM
      ? { projSize }
      : float instanceof nn.RNN
        ? { nonlinearity: float.nonlinearity }
        : {};
  const Class = float.constructor as typeof nn.LSTM;
  const options = { bias, batchFirst, bidirectional, ...own };
  const layer = new Class(i === 0 ? float.inputSize : features, hiddenSize, options);
  const entries = [...float.stateDict()].filter(([name]) => name.includes(`_l${i}`));
  layer.loadStateDict(entries.map(([name, tensor]) => [name.replace(`_l${i}`, '_l0'), tensor] as const));
  return layer;
}

describe('quantizeDynamic', () => {
  const tagger = (): nn.ModuleDict =>
    new nn.ModuleDict({ lstm: new nn.LSTM(4, 6, { numLayers: 2 }), fc: new nn.Linear(6, 2) });
  const kinds = (spec: Spec, model: nn.Module = tagger()): Record<string, string> =>
    Object.fromEntries(
      [...quantizeDynamic(model, new Map(spec)).namedModules()].map(([name, module]) => [
        name,
        module.constructor === nn.LSTM
          ? 'float'
          : ((module as { dtype?: string }).dtype ?? module.constructor.name),
      ]),
    );

  test.each<[string, Spec, Record<string, string>]>([
    [
      'a layer that stays float',
      [
        [nn.LSTM, bestDynamicQConfig],
        ['lstm.0', null],
      ],
      { lstm: 'RNNStack', 'lstm.0': 'float', 'lstm.1': 'qint8' },
    ],
    [
      'one layer alone',
      [['lstm.1', float16DynamicQConfig]],
      { lstm: 'RNNStack', 'lstm.0': 'float', 'lstm.1': 'float16' },
    ],
    [
      'a layer of a module that stays float',
      [
        ['lstm', null],
        ['lstm.1', bestDynamicQConfig],
      ],
      { lstm: 'RNNStack', 'lstm.0': 'float', 'lstm.1': 'qint8' },
    ],
    [
      'all layers in the same way',
      [
        ['lstm.0', bestDynamicQConfig],
        ['lstm.1', bestDynamicQConfig],
      ],
      { lstm: 'qint8' },
    ],
    [
      'no layer',
      [
        ['lstm.0', null],
        ['lstm.1', null],
      ],
      { lstm: 'float' },
    ],
    [
      'the only way for all',
      [
        [nn.LSTM, bestDynamicQConfig],
        ['lstm.0', bestDynamicQConfig],
      ],
      { lstm: 'qint8' },
    ],
  ])('%s', (_, spec, expected) => {
    expect(kinds(spec)).toEqual({ '': 'ModuleDict', fc: 'Linear', ...expected });
  });
  test('a set, a root, a module of one layer, and a module’s own qconfig', () => {
    const set = quantizeDynamic(tagger(), new Set(['lstm.0']), { dtype: 'float16' });
    expect(String(set.get('lstm'))).toMatch(/\(0\): DynamicQuantizedLSTM\(4, 6\)\n {2}\(1\): LSTM\(6, 6\)/);
    expect(kinds([['1', bestDynamicQConfig]], new nn.LSTM(4, 6, { numLayers: 2 }))).toEqual({
      '': 'RNNStack',
      '0': 'float',
      '1': 'qint8',
    });
    expect(kinds([['0', float16DynamicQConfig]], new nn.LSTM(4, 6))).toEqual({ '': 'float16' });
    const own = tagger();
    own.get('lstm').qconfig = defaultDynamicQConfig;
    expect(kinds([['lstm.0', null]], own)).toMatchObject({ 'lstm.0': 'float', 'lstm.1': 'qint8' });
  });
  test('in place, where hooks go over, and weights are not copied', () => {
    const model = tagger();
    const lstm = model.get('lstm') as nn.LSTM;
    const weight = (lstm as unknown as Record<string, Tensor>)['weight_ih_l0'];
    let calls = 0;
    lstm.registerForwardHook(() => void calls++);
    expect(quantizeDynamic(model, new Map([['lstm.1', bestDynamicQConfig]]), { inplace: true })).toBe(model);
    model.get('lstm').forward(randn(2, 1, 4));
    expect(calls).toBe(1);
    expect(model.stateDict().get('lstm.0.weight_ih_l0')).toBe(weight);
  });
  test('later quantizes what stayed float', () => {
    const mixed = quantizeDynamic(tagger(), new Map([['lstm.1', bestDynamicQConfig]]));
    expect(kinds([['lstm.0', float16DynamicQConfig]], mixed)).toMatchObject({
      'lstm.0': 'float16',
      'lstm.1': 'qint8',
    });
  });
  test('warns of a layer that is not there', () => {
    const warn = jest.spyOn(process, 'emitWarning').mockImplementation(() => undefined);
    quantizeDynamic(tagger(), new Map([['lstm.2', bestDynamicQConfig]]));
    expect(warn).toHaveBeenCalledWith("quantizeDynamic: there is no module 'lstm.2'");
    warn.mockRestore();
  });
  test('leaves the model when a layer fails', () => {
    const model = tagger();
    ((model.get('lstm') as unknown as Record<string, Tensor>)['weight_hh_l1']!.data as Float32Array)[0] = NaN;
    const before = String(model);
    const spec: Spec = [
      ['lstm.1', bestDynamicQConfig],
      ['fc', bestDynamicQConfig],
    ];
    expect(() => quantizeDynamic(model, new Map(spec), { inplace: true })).toThrow(/should be finite/);
    expect(String(model)).toBe(before);
  });
});

describe('RNNStack', () => {
  test('refuses what does not fit', () => {
    expect(() => new nn.RNNStack()).toThrow(/should have a layer, got none/);
    expect(() => new nn.RNNStack(new nn.Tanh())).toThrow(
      /layer 0 should be an LSTM, GRU or RNN of one layer, got Tanh/,
    );
    expect(() => new nn.RNNStack(new nn.LSTMCell(2, 2))).toThrow(/of one layer/);
    expect(() => new nn.RNNStack(new nn.GRU(2, 2, { numLayers: 2 }))).toThrow(/of one layer/);
    const lstm = new nn.LSTM(2, 3);
    expect(() => new nn.RNNStack(lstm, new nn.LSTM(2, 3))).toThrow(
      /layer 1 should have inputSize 3 .*, got 2/,
    );
    expect(() => new nn.RNNStack(lstm, new nn.GRU(3, 3))).toThrow(
      /layer 1 should have mode LSTM .*, got GRU/,
    );
    expect(() => new nn.RNNStack(lstm, new nn.LSTM(3, 3, { batchFirst: true }))).toThrow(
      /batchFirst false .*, got true/,
    );
  });
  test('says what is wrong with a call as a stacked module does', () => {
    const float = new nn.LSTM(4, 6, { numLayers: 2 });
    const stack = quantizeDynamic(float, new Map([['0', bestDynamicQConfig]]));
    const h = randn(2, 3, 6);
    const wrong: [unknown, unknown][] = [
      [randn(5, 3, 4), [h, randn(1, 3, 6)]],
      [randn(5, 3, 4), [randn(2, 2, 6), h]],
      [randn(5, 3, 4), h],
      [randn(5, 4), [h, h]],
    ];
    for (const args of wrong) {
      const messageOf = (module: nn.Module): string => {
        try {
          module.forward(...args);
        } catch (error) {
          return (error as Error).message;
        }
        return '';
      };
      expect(messageOf(stack)).toMatch(/hidden|state|hx/);
      expect(messageOf(stack)).toBe(messageOf(float));
    }
    expect(() => stack.forward(1 as never, [h, h])).toThrow(/input should be a Tensor, got 1/);
  });
  test('serves live streams, with the bits of each alone', () => {
    const stack = quantizeDynamic(new nn.LSTM(4, 6, { numLayers: 2 }), new Map([['1', bestDynamicQConfig]]));
    const streams = new nn.Streams(stack);
    const ids = [streams.open(), streams.open()];
    const x = randn(3, 2, 4);
    const outputs = [0, 1, 2].map((i) => streams.step(ids, x.select(0, i)));
    const [expected] = stack.forward(x);
    outputs.forEach((output, i) => expect(bytesOf(output)).toBe(bytesOf((expected as Tensor).select(0, i))));
    const perTensor = quantizeDynamic(
      new nn.LSTM(4, 6, { numLayers: 2 }),
      new Map([['1', defaultDynamicQConfig]]),
    );
    expect(() => new nn.Streams(perTensor)).toThrow(/model\.1 .*one range for all rows/);
  });
  test('disposes of its layers', () => {
    const stack = quantizeDynamic(new nn.LSTM(4, 6, { numLayers: 2 }), new Map([['1', bestDynamicQConfig]]));
    stack.forward(randn(1, 1, 4));
    stack.dispose();
    expect(() => stack.forward(randn(1, 1, 4))).toThrow(expect.objectContaining({ code: 'ERR_DISPOSED' }));
  });
});
