import { readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

import * as nn from '../src/nn/index.js';
import {
  bestDynamicQConfig,
  defaultDynamicQConfig,
  float16DynamicQConfig,
  floatQParamsWeightOnlyQConfig,
  quantizeDynamic,
  type ModuleClass,
  type QConfig,
} from '../src/quantization/index.js';
import { randint, randn } from '../src/random.js';
import { load, loadSync } from '../src/serialization/load.js';
import { modelFromStateDict } from '../src/serialization/model-from-state-dict.js';
import { saveSync } from '../src/serialization/save.js';
import { ones, RawTensor, type Tensor } from '../src/tensor/index.js';
import { dynaquant, expectFailure, json, newFolder, Small } from './cli.js';
import { bytesOf } from './support.js';

// A choice for each layer, and real input, in `quantize` and `verify`.

const folder = newFolder();
afterAll(() => rmSync(folder, { recursive: true }));
const path = (name: string): string => join(folder, name);
const write = (name: string, state: Iterable<readonly [string, Tensor]>): void => saveSync(state, path(name));
write('model', Small.seeded().stateDict());

interface Report {
  layers: { name: string; layer: number | null; error: number; input: string; problem?: string }[];
  floatLayers: { name: string; layer: number | null; reason: string; chosen: boolean }[];
  assumptions: string[];
}
type Spec = [ModuleClass | string, QConfig | null][];

describe('a choice for each layer gives the file that quantizeDynamic and save write', () => {
  const all = (qconfig: QConfig): Spec => [
    ['', qconfig],
    ['embedding', null],
  ];
  test.each<[string[], Spec]>([
    [
      ['--best', '--layer', 'lstm.0=float16'],
      [...all(bestDynamicQConfig), ['lstm.0', float16DynamicQConfig]],
    ],
    [
      ['--layer', 'lstm.1=float'],
      [...all(defaultDynamicQConfig), ['lstm.1', null]],
    ],
    [
      ['--exclude', 'lstm.0'],
      [...all(defaultDynamicQConfig), ['lstm.0', null]],
    ],
    [['--only', 'lstm.1'], [['lstm.1', defaultDynamicQConfig]]],
    [
      [
        '--layer',
        'lstm=best',
        '--layer',
        'lstm.1=qint8',
        '--layer',
        'embedding=quint8',
        '--exclude',
        'decoder',
      ],
      [
        ['lstm.0', bestDynamicQConfig],
        ['lstm.1', defaultDynamicQConfig],
        ['embedding', floatQParamsWeightOnlyQConfig],
      ],
    ],
    [
      ['--layer', 'lstm.0=float16', '--layer', 'lstm.1=float16'],
      [...all(defaultDynamicQConfig), ['lstm', float16DynamicQConfig]],
    ],
  ])('%j', async (args, spec) => {
    const { assumptions } = json<Report>(folder, 'quantize', 'model', '-o', 'out', ...args);
    const expected = quantizeDynamic(Small.seeded(), new Map(spec));
    write('expected', expected.stateDict());
    expect(readFileSync(path('out')).equals(readFileSync(path('expected')))).toBe(true);
    expect(assumptions).toEqual([]);
    expect(String(modelFromStateDict(await load(path('out'))).model)).toBe(String(expected));
    expect(json(folder, 'verify', 'model', 'out')).toMatchObject({ passed: true });
  });
  test('of the only layer', () => {
    const lstm = new nn.LSTM(3, 4);
    write('lstm', lstm.stateDict());
    json(folder, 'quantize', 'lstm', '-o', 'out', '--layer', '0=float16');
    write('expected', quantizeDynamic(lstm, new Map([['0', float16DynamicQConfig]])).stateDict());
    expect(readFileSync(path('out')).equals(readFileSync(path('expected')))).toBe(true);
  });
  test('of a lone module', () => {
    const gru = new nn.GRU(3, 4, { numLayers: 3 });
    write('gru', gru.stateDict());
    const { layers, floatLayers } = json<Report>(folder, 'quantize', 'gru', '-o', 'out', '--exclude', '1');
    write(
      'expected',
      quantizeDynamic(
        gru,
        new Map<string, QConfig | null>([
          ['', defaultDynamicQConfig],
          ['1', null],
        ]),
      ).stateDict(),
    );
    expect(readFileSync(path('out')).equals(readFileSync(path('expected')))).toBe(true);
    expect(layers.map(({ name }) => name)).toEqual(['0', '2']);
    expect(floatLayers.map(({ name }) => name)).toEqual(['1']);
    // What stayed float can be quantized later.
    json(folder, 'quantize', 'out', '-o', 'again', '--dtype', 'float16');
    expect(json(folder, 'verify', 'gru', 'again')).toMatchObject({ passed: true });
  });
  test.each([
    [['--layer', 'lstm.2=float'], /there is no module 'lstm\.2'; there are embedding, lstm,/],
    [['--layer', 'lstm.0'], /--layer should be NAME=MODE with a mode among float, .*, got 'lstm\.0'/],
    [['--layer', 'lstm.0=int4'], /--layer should be NAME=MODE .*, got 'lstm\.0=int4'/],
    [['--layer', 'lstm.0=toString'], /--layer should be NAME=MODE/],
    [['--layer', 'norm=best'], /--layer norm=best: nothing in norm can be quantized to best/],
    [['--layer', 'lstm=quint8'], /--layer lstm=quint8: nothing in lstm/],
  ])('%j: exit code 2', (args, message) => {
    expectFailure(dynaquant(folder, 'quantize', 'model', '-o', 'out', ...args), 2, message);
  });
});

describe('layers that stay float', () => {
  const quantize = (...args: string[]): [number | null, string] => {
    const { status, stdout } = dynaquant(folder, 'quantize', 'model', '-o', 'out', ...args);
    return [status, stdout];
  };
  test('are in the table, and with --strict a problem unless the options say so', () => {
    const line = /^embedding +Embedding +480 B +stays float: it can be quantized to quint8 or quint4x2$/m;
    expect(quantize()).toEqual([0, expect.stringMatching(line)]);
    expect(quantize('--strict')).toEqual([1, expect.stringMatching(line)]);
    const excluded = /^embedding +Embedding +480 B +stays float, as the options say$/m;
    for (const args of [
      ['--exclude', 'embedding'],
      ['--layer', 'embedding=float'],
      ['--only', 'lstm'],
    ])
      expect(quantize('--strict', ...args)).toEqual([0, expect.stringMatching(excluded)]);
    expect(quantize('--strict', '--layer', 'embedding=quint8')).toEqual([
      0,
      expect.not.stringContaining('stays'),
    ]);
  });
  test('also where no class is known', () => {
    write(
      'conv',
      new nn.StateDict({ 'conv.weight': ones(2, 3, 4, 5, 1), 'fc.weight': ones(2, 3), 'fc.bias': ones(2) }),
    );
    const { status, stdout } = dynaquant(folder, 'quantize', 'conv', '-o', 'out', '--strict');
    expect(status).toBe(1);
    expect(stdout).toMatch(/^conv +Module +480 B +stays float: there is no quantized class for it$/m);
  });
  test('and a convolution, unless an option names it', () => {
    write('conv', new nn.StateDict({ 'conv.weight': ones(2, 3, 4), 'fc.weight': ones(2, 3) }));
    const line = /^conv +Conv1d +96 B +stays float: it can be quantized to qint8$/m;
    expect(dynaquant(folder, 'quantize', 'conv', '-o', 'out').stdout).toMatch(line);
    const { stdout } = dynaquant(folder, 'quantize', 'conv', '-o', 'out', '--layer', 'conv=qint8');
    expect(stdout).toMatch(/^conv +DynamicQuantizedConv1d /m);
  });
  test('and weights of a dtype that nothing computes with', () => {
    const state = new nn.Linear(4, 4).stateDict();
    state.raw.set('fc.weight', new RawTensor('float8_e4m3fn', [2, 3], new Uint8Array(6)));
    write('raw', state);
    const { status, stdout } = dynaquant(folder, 'quantize', 'raw', '-o', 'out', '--strict');
    expect(status).toBe(1);
    expect(stdout).toMatch(/^fc.weight +Tensor +6 B +stays float: float8_e4m3fn cannot be quantized$/m);
  });
  test('a reparametrized layer does not', () => {
    const states = loadSync<Map<string, nn.StateDict>>(join(__dirname, 'fixtures', 'reparametrized.pt'));
    for (const title of ['weight_norm of an LSTM’s matrices', 'prune', 'parametrizations.spectral_norm']) {
      write('reparametrized', states.get(title.replace('’', "'"))!);
      const { layers, floatLayers, assumptions } = json<Report>(
        folder,
        'quantize',
        'reparametrized',
        '-o',
        'out',
        '--strict',
      );
      expect([layers.length, floatLayers]).toEqual([1, []]);
      expect(assumptions[0]).toMatch(/^composed from/);
      expect(json(folder, 'verify', 'reparametrized', 'out')).toMatchObject({ passed: true });
    }
  });
});

describe('real input', () => {
  // One value of each row is large, as in the spectrum of a voice, and matters little.
  const tail = randn(12, 2, 6);
  const lstm = new nn.LSTM(6, 8, { numLayers: 2 });
  const weight = lstm.stateDict().get('weight_ih_l0')!.data as Float32Array;
  for (let i = 0; i < tail.numel; i += 6) (tail.data as Float32Array)[i]! *= 40;
  for (let i = 0; i < weight.length; i += 6) weight[i]! /= 400;
  const model = new nn.ModuleDict({ lstm, fc: new nn.Linear(8, 3) });
  write('tagger', model.stateDict());
  write('tail', new Map([['lstm', tail]]));
  json(folder, 'quantize', 'tagger', '-o', 'int8');

  /** Mean |a - b| over mean |b| of all results. */
  const errorOf = (a: nn.Module, b: nn.Module, x: Tensor): number => {
    const flat = (value: unknown): number[] =>
      Array.isArray(value) ? value.flatMap(flat) : [...((value as Tensor).data as Float32Array)];
    const [got, wanted] = [flat(a.forward(x)), flat(b.forward(x))];
    const sum = (values: number[]): number => values.reduce((total, value) => total + Math.abs(value), 0);
    return sum(got.map((value, i) => value - wanted[i]!)) / sum(wanted);
  };
  const layers = [
    ...quantizeDynamic(model, new Map([['lstm.0', defaultDynamicQConfig]]))
      .get('lstm')
      .children(),
  ];
  const errors = (): number[] => {
    const second = [
      ...quantizeDynamic(model, new Map([['lstm.1', defaultDynamicQConfig]]))
        .get('lstm')
        .children(),
    ];
    const [float0, float1] = [second[0]!, layers[1]!];
    const [y] = float0.forward(tail) as [Tensor];
    return [errorOf(layers[0]!, float0, tail), errorOf(second[1]!, float1, y)];
  };

  test('may be an array of NumPy', () => {
    const header = `{'descr': '<f4', 'fortran_order': False, 'shape': (${tail.shape.join(', ')}), }`.padEnd(
      117,
    );
    const begin = Buffer.concat([Buffer.from('\x93NUMPY\x01\0v\0', 'latin1'), Buffer.from(`${header}\n`)]);
    writeFileSync(join(folder, 'tail.npy'), Buffer.concat([begin, Buffer.from(bytesOf(tail), 'hex')]));
    const [array, tensors] = ['tail.npy', 'tail'].map((input) =>
      json<Report>(folder, 'quantize', 'tagger', '-o', 'int8', '--input', input),
    );
    expect(array!.layers).toEqual(tensors!.layers);
  });
  test('decides the errors of quantize and verify, from layer to layer', () => {
    const random = json<Report>(folder, 'quantize', 'tagger', '-o', 'int8');
    expect(random.layers.map(({ input }) => input)).toEqual(['random', 'random', 'random']);
    const real = json<Report>(folder, 'quantize', 'tagger', '-o', 'int8', '--input', 'tail');
    expect(real.layers.map(({ input }) => input)).toEqual(['real', 'real', 'random']);
    const [first, second] = errors();
    expect(real.layers[0]!.error).toBeCloseTo(first!, 6);
    expect(real.layers[1]!.error).toBeCloseTo(second!, 6);
    expect(real.layers[0]!.error).toBeGreaterThan(2 * random.layers[0]!.error);
    const verified = json<Report>(folder, 'verify', 'tagger', 'int8', '--input', 'tail', '--tolerance', '9');
    expect(verified.layers.map(({ error, input }) => ({ error, input }))).toEqual(
      real.layers.map(({ error, input }) => ({
        error: input === 'real' ? error : expect.any(Number),
        input,
      })),
    );
    // The second layer's input is the float output of the first, whatever the first becomes.
    const mixed = json<Report>(
      folder,
      'quantize',
      'tagger',
      '-o',
      'mixed',
      '--input',
      'tail',
      '--exclude',
      'lstm.0',
    );
    expect(mixed.layers[0]).toMatchObject({ name: 'lstm.1', input: 'real', error: real.layers[1]!.error });
    const { layers: compared } = json<Report>(folder, 'verify', 'tagger', 'mixed', '--input', 'tail');
    expect(compared.map(({ name, input }) => `${name} ${input}`)).toEqual([
      'lstm.0 real',
      'lstm.1 real',
      'fc random',
    ]);
    expect(compared.map(({ error }) => error).slice(0, 2)).toEqual([0, real.layers[1]!.error]);
  });
  test('is said in the text', () => {
    const { stdout } = dynaquant(folder, 'quantize', 'tagger', '-o', 'int8', '--input', 'tail');
    expect(stdout).toMatch(/^lstm, layer 1 +DynamicQuantizedLSTM .* error [\d.]+ % on real input$/m);
    expect(stdout).toMatch(/^fc .* on random input$/m);
    const verified = dynaquant(
      folder,
      'verify',
      'tagger',
      'int8',
      '--input',
      'tail',
      '--tolerance',
      '9',
    ).stdout;
    expect(verified).toMatch(/^ok +lstm, layer 0 .* largest [\d.]+ +on real input$/m);
  });
  test.each<[string, () => Record<string, Tensor>, string[]]>([
    ['one tensor of any name', () => ({ mels: randn(5, 6) }), ['lstm real', 'lstm real', 'fc random']],
    [
      'one called input',
      () => ({ input: randn(5, 1, 6), fc: randn(2, 4, 8) }),
      ['lstm real', 'lstm real', 'fc real'],
    ],
    ['one for a module', () => ({ fc: randn(4, 8) }), ['lstm random', 'lstm random', 'fc real']],
  ])('%s', (_, tensors, expected) => {
    write('some', new Map(Object.entries(tensors())));
    const { layers: found } = json<Report>(folder, 'quantize', 'tagger', '-o', 'int8', '--input', 'some');
    expect(found.map(({ name, input }) => `${name} ${input}`)).toEqual(expected);
  });
  test('indices go through the embedding into the recurrent module after it', () => {
    write('tokens', new Map([['tokens', randint(0, 20, [7, 3])]]));
    const { layers: found } = json<Report>(folder, 'quantize', 'model', '-o', 'out', '--input', 'tokens');
    expect(found.map(({ input }) => input)).toEqual(['real', 'real', 'random', 'random']);
    const verified = json<Report>(folder, 'verify', 'model', 'out', '--input', 'tokens');
    expect(verified.layers.map(({ input }) => input)).toEqual([
      'real',
      'real',
      'real',
      'random',
      'random',
      'random',
    ]);
  });
  test.each<[string, string, () => Record<string, Tensor>, RegExp]>([
    [
      'tagger',
      'no module',
      () => ({ a: randn(2, 6), b: randn(2, 6) }),
      /wrong: no module takes 'a' \(float32\); there are lstm, fc/,
    ],
    [
      'tagger',
      'integers without an embedding',
      () => ({ a: randint(0, 9, [2]) }),
      /no module takes 'a' \(int64\)/,
    ],
    [
      'tagger',
      'other features',
      () => ({ lstm: randn(2, 1, 7) }),
      /wrong: the input of lstm should be numbers in two or three dimensions, the last of 6, got float32 \[2, 1, 7\]/,
    ],
    ['tagger', 'other dimensions', () => ({ lstm: randn(2, 2, 2, 6) }), /two or three dimensions/],
    [
      'tagger',
      'other features of a Linear',
      () => ({ fc: randn(2, 7) }),
      /the input of fc should be numbers in some dimensions, the last of 8/,
    ],
    [
      'model',
      'a number beyond the table',
      () => ({ tokens: randint(20, 21, [2, 2]) }),
      /the input of embedding should be integers from 0 to 19, got int64 \[2, 2\]/,
    ],
  ])('%s, %s: one sentence', (name, _, tensors, message) => {
    write('wrong', new Map(Object.entries(tensors())));
    expectFailure(dynaquant(folder, 'quantize', name, '-o', 'out', '--input', 'wrong'), 1, message);
    expectFailure(dynaquant(folder, 'verify', name, name, '--input', 'wrong'), 1, message);
  });
});
