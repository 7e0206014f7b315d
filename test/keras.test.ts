import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { gunzipSync } from 'node:zlib';

import { CheckpointError } from '../src/errors.js';
import * as nn from '../src/nn/index.js';
import { load, loadSync } from '../src/serialization/load.js';
import { modelFromStateDict } from '../src/serialization/model-from-state-dict.js';
import { tensor, type Tensor } from '../src/tensor/index.js';
import { pseudoRandom } from './support.js';

// Files and outputs that Keras 3.15.1 and tf_keras 2.21.0 wrote: test/fixtures/make_keras.py.

interface Run {
  input: number[][] | number[][][];
  output: number[][][];
}
const fixtures = join(__dirname, 'fixtures');
const file = (name: string): Uint8Array =>
  Uint8Array.from(gunzipSync(readFileSync(join(fixtures, 'keras', `${name}.gz`))));
const expected = {
  ...JSON.parse(readFileSync(join(fixtures, 'keras_expected.json'), 'utf8')),
  ...JSON.parse(readFileSync(join(fixtures, 'keras2_expected.json'), 'utf8')),
} as Record<string, Run> & { bfloat16: number[][][] };

const read = (name: string): nn.StateDict => loadSync(file(name));
function moduleIn(state: nn.StateDict): <T extends nn.Module>(name: string) => T {
  const { model } = modelFromStateDict(state);
  return <T extends nn.Module>(name: string) => model.getSubmodule(name) as T;
}
const outputOf = (layer: nn.LSTM | nn.GRU | nn.RNN, x: Tensor): Tensor => layer.forward(x)[0];

const nested = (x: Tensor): number[][][] => x.toArray() as number[][][];
const reversed = (x: Tensor): Tensor => tensor(nested(x).map((steps) => steps.slice().reverse()));
const sumOfHalves = (x: Tensor): Tensor =>
  tensor(nested(x).map((steps) => steps.map(([a, b, c, d]) => [a! + c!, b! + d!])));

function expectOutput(actual: Tensor, name: string): void {
  const right = expected[name]!.output.flat(2);
  expect(actual.numel).toBe(right.length);
  const furthest = Math.max(...Array.from(actual.data as Float32Array, (v, i) => Math.abs(v - right[i]!)));
  expect(furthest).toBeLessThan(2e-6);
}

describe('Embedding, LSTM, LSTM without bias, Bidirectional GRU, SimpleRNN, Dense', () => {
  const names = {
    table: 'table',
    first: 'lstm_1',
    second: 'lstm',
    both: 'both',
    simple: 'simple',
    out: 'out',
  };
  // Keras 2 writes no names there, so that only the classes, counted, are left.
  const byClass = {
    table: 'embedding',
    first: 'lstm',
    second: 'lstm_1',
    both: 'bidirectional',
    simple: 'simple_rnn',
    out: 'dense',
  };
  test.each([
    ['sequence.keras', 'sequence', names],
    ['sequence.h5', 'sequence', names],
    ['sequence.weights.h5', 'sequence', names],
    ['keras2.keras', 'keras2', names],
    ['keras2.h5', 'keras2', names],
    ['keras2-alone.h5', 'keras2', names],
    ['keras2.weights.h5', 'keras2', byClass],
  ])('%s gives Keras’s outputs', (path, run, name) => {
    const state = read(path);
    // A file of weights alone does not say that this activation is not the default.
    if (/weights|alone/.test(path)) {
      const simple = state.metadata.get(name.simple)!;
      expect(simple['nonlinearity']).toBe('tanh');
      state.metadata.set(name.simple, { ...simple, nonlinearity: 'relu' });
    }
    const get = moduleIn(state);
    let x = get<nn.Embedding>(name.table).forward(tensor(expected[run]!.input, { dtype: 'int32' }));
    for (const layer of [name.first, name.second, name.both, name.simple]) x = outputOf(get(layer), x);
    expectOutput(new nn.Tanh().forward(get<nn.Linear>(name.out).forward(x)), run);
  });

  test('names, shapes and metadata are PyTorch’s; async loads the same', async () => {
    const state = await load(file('sequence.keras'));
    expect(Array.from(state, ([key, { shape }]) => `${key} ${shape.join(',')}`)).toEqual([
      'table.weight 7,3',
      'lstm_1.weight_ih_l0 16,3',
      'lstm_1.weight_hh_l0 16,4',
      'lstm_1.bias_ih_l0 16',
      'lstm_1.bias_hh_l0 16',
      'lstm.weight_ih_l0 12,4',
      'lstm.weight_hh_l0 12,3',
      ...['', '_reverse'].flatMap((reverse) => [
        `both.weight_ih_l0${reverse} 9,3`,
        `both.weight_hh_l0${reverse} 9,3`,
        `both.bias_ih_l0${reverse} 9`,
        `both.bias_hh_l0${reverse} 9`,
      ]),
      'simple.weight_ih_l0 3,6',
      'simple.weight_hh_l0 3,3',
      'simple.bias_ih_l0 3',
      'simple.bias_hh_l0 3',
      'out.weight 2,3',
      'out.bias 2',
    ]);
    const sizes = { inputSize: 3, hiddenSize: 3, numLayers: 1 };
    const both = { type: 'GRU', ...sizes, bias: true, batchFirst: true, bidirectional: true };
    expect(state.metadata.get('both')).toEqual(both);
    expect(state.metadata.get('simple')).toMatchObject({ type: 'RNN', nonlinearity: 'relu' });
    expect(state.assumptions).toEqual(["out: Keras applies 'tanh' to what a Linear returns"]);
    expect(modelFromStateDict(state).model.getSubmodule('lstm').toString()).toBe(
      'LSTM(4, 3, bias=False, batch_first=True)',
    );
    expect([...read('sequence.h5').keys()]).toEqual([...state.keys()]);
  });

  test('a file of weights alone says what it does not say', () => {
    const { assumptions } = read('sequence.weights.h5');
    expect(assumptions).toEqual([
      'both: the file does not say activation, recurrent_activation, go_backwards, merge_mode: Keras’s defaults are assumed',
      'out: the file does not say which activation follows a Linear',
      'lstm_1, lstm: the file does not say activation, recurrent_activation, go_backwards: Keras’s defaults are assumed',
      'simple: the file does not say activation, go_backwards: Keras’s defaults are assumed',
    ]);
  });
});

describe('a model in a model, stacked cells, go_backwards, TimeDistributed, LayerNormalization, merge_mode', () => {
  test.each(['nested.keras', 'nested.h5'])('%s gives Keras’s outputs', (path) => {
    const state = read(path);
    const get = moduleIn(state);
    let x = tensor(expected['nested']!.input);
    for (const layer of ['enc.a', 'enc.b', 'stack']) x = outputOf(get(layer), x);
    x = outputOf(get('back'), reversed(x));
    x = get<nn.LayerNorm>('norm').forward(get<nn.Linear>('steps').forward(x));
    const both = outputOf(get('both'), x);
    expectOutput(sumOfHalves(both), 'nested');
    expect(state.metadata.get('stack')).toMatchObject({ numLayers: 2, bidirectional: false });
    expect(state.assumptions).toEqual([
      'back: goes backwards in Keras: reverse the steps of its input; its outputs are in that order',
      "both: Keras merges both directions by 'sum'; here their outputs are concatenated",
      'conv: kept in Keras’s layout, because no module here does what this Conv1D does',
    ]);
    const kernel = state.get(path.endsWith('.keras') ? 'conv.0' : 'conv.kernel')!;
    expect(kernel.shape).toEqual([1, 2, 2]);
  });
});

test('layers in lists of a class of one’s own', () => {
  const get = moduleIn(read('own.weights.h5'));
  let x = tensor(expected['own']!.input);
  for (const layer of ['enc.gru_1', 'enc.gru_2', 'lstm_1']) x = outputOf(get(layer), x);
  expectOutput(get<nn.Linear>('head').forward(x), 'own');
});

test.each(['bfloat16.keras', 'bfloat16.h5'])('%s: two bytes without a type are bfloat16', (path) => {
  const state = read(path);
  const [kernel, recurrent, bias] = expected.bfloat16[0]!;
  const columns = (name: string): number[] => state.get(name)!.t().float().flatten().toArray() as number[];
  expect(state.get('lstm.weight_ih_l0')!.dtype).toBe('bfloat16');
  expect(columns('lstm.weight_ih_l0')).toEqual(kernel);
  expect(columns('lstm.weight_hh_l0')).toEqual(recurrent);
  expect(state.get('lstm.bias_ih_l0')!.float().toArray()).toEqual(bias);
});

describe('what PyTorch’s layers cannot compute is refused', () => {
  const refused = (bytes: Uint8Array, sentence: string | RegExp): void => {
    expect(() => loadSync(bytes)).toThrow(CheckpointError);
    expect(() => loadSync(bytes)).toThrow(sentence);
  };
  /** The file with one text in its configuration replaced by another of the same length. */
  const patched = (name: string, from: string, to: string): Uint8Array => {
    const bytes = Buffer.from(file(name));
    const at = bytes.indexOf(from);
    expect([at > 0, from.length]).toEqual([true, to.length]);
    bytes.write(to, at, 'latin1');
    return Uint8Array.from(bytes);
  };

  test('reset_after, by the shape of the bias', () => {
    refused(file('reset.weights.h5'), "layer 'gru' (GRU): reset_after is false");
  });
  test.each(['sequence.keras', 'sequence.h5', 'keras2.keras', 'keras2.h5'])('options of %s', (name) => {
    refused(
      patched(name, '"reset_after": true', '"reset_after":false'),
      "layer 'both' (Bidirectional): reset_after is false",
    );
    refused(
      patched(name, '"recurrent_activation": "sigmoid"', '"recurrent_activation": "sigmold"'),
      "layer 'lstm_1' (LSTM): recurrent_activation should be sigmoid, got 'sigmold'",
    );
    refused(
      patched(name, '"activation": "tanh"', '"activation": "relu"'),
      "layer 'lstm_1' (LSTM): activation should be tanh, got 'relu'",
    );
    refused(
      patched(name, '"activation": "relu"', '"activation": "gelu"'),
      "layer 'simple' (SimpleRNN): activation should be tanh or relu, got 'gelu'",
    );
    // The first is an option of an LSTM of one direction.
    const backwards = loadSync(patched(name, '"go_backwards": false', '"go_backwards" : true'));
    expect(backwards.assumptions[0]).toMatch(/^lstm_1: goes backwards in Keras/);
  });
  test('stateful is noted', () => {
    const { assumptions } = loadSync(patched('sequence.keras', '"stateful": false', '"stateful" : true'));
    expect(assumptions[0]).toBe(
      'lstm_1: keeps its state between calls in Keras; the state is not in the file',
    );
  });
  test('masks and classes of one’s own are noted', () => {
    const masked = loadSync(patched('sequence.keras', '"mask_zero": false', '"mask_zero" : true'));
    expect(masked.assumptions[0]).toMatch(/^table: masks steps in Keras/);
    const own = loadSync(patched('sequence.h5', '"class_name": "LSTM"', '"class_name": "Mine"'));
    expect(own.metadata.get('lstm_1')).toMatchObject({ type: 'LSTM', hiddenSize: 4 });
    expect(own.assumptions[0]).toMatch(/^lstm_1: LSTM by the shapes of its tensors/);
  });
  test('weights that are missing are noted', () => {
    const shared = loadSync(
      patched('sequence.keras', '"class_name": "SimpleRNN"', '"class_name": "Embedding"'),
    );
    expect(shared.assumptions[0]).toMatch(/^simple: its weights are not there/);
  });
  test('classes of cuDNN', () => {
    refused(
      patched('sequence.h5', '"class_name": "SimpleRNN"', '"class_name": "CuDNNGRUs"'),
      "layer 'simple' (CuDNNGRUs): its weights are in cuDNN’s order",
    );
  });
});

describe('files that are not Keras’s, or broken', () => {
  const broken = (bytes: Uint8Array): void => {
    try {
      loadSync(bytes);
    } catch (error) {
      expect([(error as Error).name, (error as Error).stack]).toEqual(['CheckpointError', expect.anything()]);
    }
  };
  test('HDF5 of something else, and of newer kinds', () => {
    const bytes = file('reset.weights.h5');
    expect(() => loadSync(bytes.slice(0, 40))).toThrow('offset 40: a structure of HDF5 is cut off here');
    bytes[8] = 2;
    expect(() => loadSync(bytes)).toThrow('offset 0: HDF5’s superblock should have version 0');
  });
  test.each(['sequence.keras', 'sequence.h5', 'own.weights.h5'])('%s, truncated', (name) => {
    const bytes = file(name);
    for (let size = 0; size < bytes.length; size += 997) {
      if (size >= 8 || name.endsWith('.keras'))
        expect(() => loadSync(bytes.slice(0, size))).toThrow(CheckpointError);
    }
  });
  test.each(['sequence.keras', 'nested.h5', 'own.weights.h5'])('%s, mutated', (name) => {
    const random = pseudoRandom(14);
    const bytes = file(name);
    for (let i = 0; i < 200; i++) {
      const copy = bytes.slice();
      for (let k = 0; k < 1 + (i % 4); k++)
        copy[Math.floor(random() * copy.length)] = Math.floor(random() * 256);
      broken(copy);
    }
  });
  test('a group that holds itself', () => {
    const bytes = file('own.weights.h5');
    const view = new DataView(bytes.buffer);
    // The root's first symbol node: its members' headers.
    const root = Number(view.getBigUint64(64, true));
    const tree = Number(view.getBigUint64(80, true));
    const node = Number(view.getBigUint64(tree + 32, true));
    expect(Buffer.from(bytes.subarray(node, node + 4)).toString()).toBe('SNOD');
    for (let i = 0; i < bytes[node + 6]!; i++) view.setBigUint64(node + 8 + 40 * i + 8, BigInt(root), true);
    expect(() => loadSync(bytes)).toThrow(CheckpointError);
  });
  test('a list of layers that holds itself', () => {
    const bytes = file('own.weights.h5');
    const view = new DataView(bytes.buffer);
    const member = (header: number, i: number): number => {
      const tree = Number(view.getBigUint64(header + 24, true));
      return Number(view.getBigUint64(tree + 32, true)) + 8 + 40 * i + 8;
    };
    // The group `enc` becomes a member of itself, in the place of its first layer.
    const enc = Number(view.getBigUint64(member(Number(view.getBigUint64(64, true)), 0), true));
    view.setBigUint64(member(enc, 0), BigInt(enc), true);
    expect(() => loadSync(bytes)).toThrow(CheckpointError);
  });
});
