import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { CheckpointError } from '../src/errors.js';
import * as nn from '../src/nn/index.js';
import { load, loadSync } from '../src/serialization/load.js';
import { modelFromStateDict } from '../src/serialization/model-from-state-dict.js';
import { float32, tensor, type Tensor } from '../src/tensor/index.js';
import {
  field,
  floats,
  initializer,
  int64s,
  message,
  model,
  node,
  varint,
  type NodeOptions,
} from './onnx-files.js';
import { bytesOf, cpuMilliseconds, expectClose, golden, type GoldenCase } from './support.js';

const folder = join(__dirname, 'fixtures', 'onnx');
const pathOf = (name: string): string => join(folder, `${name}.onnx`);
const torch = golden('onnx');
const byFile = (name: string): GoldenCase => torch.cases.find(({ file }) => file === name);

/** All tensors of a result, in PyTorch's order. */
function flat(result: unknown): Tensor[] {
  return Array.isArray(result) ? result.flatMap(flat) : [result as Tensor];
}

/** The layers of the fixtures' Net one after the other. */
function runNet(model: nn.Module, ids: Tensor): Tensor {
  const at = (name: string): nn.Module => model.getSubmodule(name);
  const [y] = at('enc.rnn').forward(at('emb').forward(ids)) as [Tensor];
  const relu = new nn.ReLU();
  return at('tail.2').forward(relu.forward(at('tail.0').forward(at('norm').forward(y)) as Tensor)) as Tensor;
}

describe('PyTorch', () => {
  const cases = torch.cases.filter(
    ({ file, state }) => state !== undefined && !/^(unrolled|started_dynamo)/.test(file),
  );
  test.each(cases.map((c) => [c.file, c] as const))('%s has the state of the module', (file, c) => {
    const state = loadSync(pathOf(file));
    expect([...state.keys()].sort()).toEqual([...c.state].sort());
    for (const key of c.state) {
      const expected = torch.tensor(`${file}_${key}`);
      expect(state.get(key)).toMatchObject({ shape: expected.shape, dtype: float32 });
      expect(bytesOf(state.get(key)!)).toBe(bytesOf(expected));
    }
  });

  const layers = torch.cases.filter(({ kind }) => /^(LSTM|GRU|RNN)$/.test(kind));
  test.each(layers.map((c) => [c.file, c] as const))('%s computes what the module does', (file, c) => {
    const state = loadSync(pathOf(file));
    const { model, assumptions } = modelFromStateDict(state);
    expect([...state.assumptions, ...assumptions]).toEqual([]);
    expect(String(model)).toBe(c.repr);
    const [x, ...states] = c.x.map((name: string) => torch.tensor(name)) as Tensor[];
    const given = states.length === 0 ? null : states.length === 1 ? states[0] : states;
    const outputs = flat(model.forward(x, given));
    expect(outputs).toHaveLength(c.y.length);
    outputs.forEach((output, i) => expectClose(output, torch.tensor(c.y[i])));
  });

  test.each(['net_dynamo', 'net_script'])('%s is a model', (file) => {
    const c = byFile(file);
    const state = loadSync(pathOf(file));
    const { model, assumptions } = modelFromStateDict(state);
    expect([...state.assumptions, ...assumptions]).toEqual([]);
    expect(String(model.getSubmodule('enc.rnn'))).toBe(
      'LSTM(3, 4, num_layers=2, batch_first=True, bidirectional=True)',
    );
    expect((model.getSubmodule('norm') as nn.LayerNorm).eps).toBe(1e-3);
    expectClose(runNet(model, torch.tensor(c.x[0])), torch.tensor(c.y[0]));
  });
});

describe('what is not one node', () => {
  test('a weight whose order the graph changes', () => {
    const state = loadSync(pathOf('large_dynamo'));
    expect(state.get('weight_hh_l0')!.shape).toEqual([184, 46]);
  });

  test('a module that is called twice', () => {
    const state = loadSync(pathOf('twice_dynamo'));
    expect([...state.metadata.keys()]).toEqual(['rnn']);
    expect(() => loadSync(pathOf('twice_dynamo_qint8'))).toThrow(/share W, and quantize_dynamic scrambles/);
  });

  test('a cell, whose parameters keep their names', () => {
    const { model: cell } = modelFromStateDict(loadSync(pathOf('cell_script')));
    const c = byFile('cell_script');
    const [x, h] = c.x.map((name: string) => torch.tensor(name)) as [Tensor, Tensor];
    expectClose((cell.getSubmodule('cell') as nn.GRUCell).forward(x, h), torch.tensor(c.y[0]));
  });

  test('a recurrent module that the exporter unrolled is named', () => {
    expect(loadSync(pathOf('unrolled_dynamo')).assumptions).toContain(
      "0 (RNN): PyTorch's exporter left no node of it, so take its weights from its checkpoint",
    );
  });

  test('learned initial states come under their own name', () => {
    for (const file of ['started_dynamo', 'started_script']) {
      const state = loadSync(pathOf(file));
      const name = file === 'started_script' ? 'h0' : 'val_8';
      expect(state.assumptions[0]).toBe(
        `rnn (GRU): the graph starts it from constants that are not zero (${name}): give them to forward`,
      );
      const c = byFile(file);
      const h0 = state.get(name)!;
      const rnn = modelFromStateDict(state).model.getSubmodule('rnn') as nn.GRU;
      const both = tensor([0, 0]).reshape(1, 2, 1).mul(0).add(h0);
      expectClose(rnn.forward(torch.tensor(c.x[0]), both)[0], torch.tensor(c.y[0]));
    }
  });

  test('a projection that the exporter wrote wrongly', () => {
    expect(() => loadSync(pathOf('proj_dynamo'))).toThrow(/an initial state of 4 does not fit hidden_size 2/);
  });
});

describe('external data', () => {
  const expected = [...loadSync(pathOf('net_dynamo'))].map(([key, value]) => [key, bytesOf(value)]);

  test('lies beside the file', async () => {
    for (const state of [loadSync(pathOf('net_external')), await load(pathOf('net_external'))])
      expect([...state].map(([key, value]) => [key, bytesOf(value)])).toEqual(expected);
  });

  test('needs a path', () => {
    expect(() => loadSync(readFileSync(pathOf('net_external')))).toThrow(
      "is in 'net_external.onnx.data' beside the file: load the file by its path",
    );
  });

  test('stays in the folder, and is there', () => {
    const directory = mkdtempSync(join(tmpdir(), 'dynaquant-test-'));
    const path = join(directory, 'm.onnx');
    const at = (location: string, offset: string, length: string): void => {
      const entries = Object.entries({ location, offset, length }).map(([key, value]) =>
        field(13, message(field(1, key), field(2, value))),
      );
      const weight = initializer('fc.weight', 1, [2, 2], ...entries, field(14, 1));
      writeFileSync(path, model(weight, node('MatMul', ['x', 'fc.weight'], ['y'])));
    };
    writeFileSync(join(directory, 'd'), Buffer.alloc(17));
    at('d', '1', '16');
    expect(loadSync(path).get('fc.weight')!.shape).toEqual([2, 2]);
    for (const location of ['../d', '/etc/passwd', '..', '.', '', 'a/d', 'a\\d', 'C:d', 'd\0']) {
      at(location, '0', '16');
      expect(() => loadSync(path)).toThrow(/should be in a file of the same folder/);
    }
    for (const [offset, length] of [
      ['2', '16'],
      ['-1', '16'],
      ['0', '8'],
      ['1e3', '16'],
      ['x', '16'],
    ] as const) {
      at('d', offset, length);
      expect(() => loadSync(path)).toThrow(CheckpointError);
    }
    at('missing', '0', '16');
    expect(() => loadSync(path)).toThrow(/is in 'missing', which cannot be opened: ENOENT/);
    rmSync(directory, { recursive: true });
  });
});

describe('Keras through tf2onnx', () => {
  const keras = golden('onnx-keras');
  test.each(keras.cases.map((c) => [c.file, c] as const))('%s', (file, c) => {
    const state = loadSync(pathOf(file));
    const { model: root } = modelFromStateDict(state);
    const layers = [...state.metadata.keys()].map((name) => root.getSubmodule(name));
    let out = keras.tensor(c.x);
    for (const layer of layers) [out] = flat(layer.forward(out)) as [Tensor];
    expectClose(out, keras.tensor(c.y));
    expect(state.assumptions.join()).toMatch(
      /^the file does not name these modules, whose names are made up: /,
    );
  });
});

describe("ONNX Runtime's integers", () => {
  const cases = torch.cases.filter(({ kind }) => kind === 'quantized');
  test.each(cases.map((c) => [c.file, c] as const))('%s', (file, c) => {
    const state = loadSync(pathOf(file));
    for (const key of c.integers) {
      const weight = state.get(key)!;
      expect(weight.dtype).toBe('qint8');
      expect([...weight.data]).toEqual([...torch.tensor(`${file}_${key}`).data]);
      expect([...weight.scales!]).toEqual([...torch.tensor(`${file}_${key}_scale`).data]);
    }
    expect(state.metadata.get('enc.rnn')).toMatchObject({
      type: 'DynamicQuantizedLSTM',
      numLayers: 2,
      batchFirst: true,
      bidirectional: true,
      reduceRange: false,
    });
    // uint8 has zero points of its own: then a Linear is one of floats.
    const isFloat = state.assumptions.filter((each) => each.includes('its zero points are not 0')).length;
    expect(isFloat).toBe(file.endsWith('quint8') ? 2 : 0);
    // The arithmetic of one thread is the same too.
    const { model: root } = modelFromStateDict(state);
    const names = ['emb', 'enc.rnn', 'norm', 'tail.0', state.metadata.has('tail.2') ? 'tail.2' : 'linear'];
    const [emb, rnn, norm, first, last] = names.map((name) => root.getSubmodule(name)) as [
      nn.Module,
      ...nn.Module[],
    ];
    const [y] = flat(rnn!.forward(emb.forward(torch.tensor(c.x[0])))) as [Tensor];
    const relu = new nn.ReLU();
    const out = last!.forward(relu.forward(first!.forward(norm!.forward(y)) as Tensor)) as Tensor;
    if (file.endsWith('quint8')) expect(out.allclose(torch.tensor(c.y[0]), { atol: 2e-3 })).toBe(true);
    else expectClose(out, torch.tensor(c.y[0]));
  });

  const byte = (name: string, dataType: number, shape: number[], values: ArrayLike<number>): Buffer =>
    initializer(
      name,
      dataType,
      shape,
      field(
        9,
        Uint8Array.from(values, (value) => value),
      ),
    );
  const codes = Array.from({ length: 6 }, (_, i) => 3 * i);
  const scale = floats('s', 1);

  test.each([
    ['DynamicQuantizeMatMul', ['x', 'w', 'half', 'z', 'b']],
    ['MatMulIntegerToFloat', ['x', 'w', 'sx', 'half', 'zx', 'z', 'b']],
  ])('%s', (op, inputs) => {
    const half = initializer('half', 1, [], field(9, new Uint8Array(Float32Array.of(0.5).buffer)));
    const parts = [
      half,
      floats('b', 3),
      node(op, inputs, ['y'], { name: '/fc/MatMul', domain: 'com.microsoft' }),
    ];
    const own = loadSync(model(byte('w', 3, [2, 3], codes), byte('z', 3, [], [0]), ...parts));
    expect([...own.get('fc.weight')!.data]).toEqual([0, 9, 3, 12, 6, 15]);
    expect([...own.get('fc.weight')!.scales!]).toEqual([0.5]);
    expect([...own.get('fc.bias')!.data]).toEqual([0, 0.125, 0.25]);
    // uint8 with the middle as zero point is int8.
    const moved = loadSync(
      model(
        byte(
          'w',
          2,
          [2, 3],
          codes.map((q) => q + 128),
        ),
        byte('z', 2, [], [128]),
        ...parts,
      ),
    );
    expect([...moved.get('fc.weight')!.data]).toEqual([0, 9, 3, 12, 6, 15]);
    const other = loadSync(model(byte('w', 2, [2, 3], codes), byte('z', 2, [], [1]), ...parts));
    expect([...other.get('fc.weight')!.data]).toEqual([0, 9, 3, 12, 6, 15].map((q) => (q - 1) / 2));
    expect(other.assumptions[0]).toMatch(/^fc \(Linear\): its zero points are not 0/);
  });

  test('scales that no quantized tensor has', () => {
    const parts = [
      byte('w', 3, [2, 3], codes),
      node('DynamicQuantizeMatMul', ['x', 'w', 's'], ['y'], { domain: 'com.microsoft' }),
    ];
    expect(() => loadSync(model(scale, ...parts))).toThrow(/scales should be positive finite numbers/);
  });
});

/** An LSTM, GRU or RNN of 2 inputs and 3 units, with names that give its module the path `rnn`. */
function recurrent(op: string, options: NodeOptions = {}, inputs = ['x', 'w', 'r']): Buffer {
  const rows = 3 * { LSTM: 4, GRU: 3 }[op]! || 3;
  return model(
    floats('w', 1, rows, 2),
    floats('r', 1, rows, 3),
    floats('p', 1, 9),
    node(op, inputs, ['y', 'h'], { name: '/rnn/x', hidden_size: 3, ...options }),
  );
}

describe('what no layer here computes', () => {
  test.each([
    ['GRU', {}, /linear_before_reset=0/],
    ['LSTM', { input_forget: 1 }, /input_forget=1/],
    ['LSTM', { clip: 1.5 }, /clip=1.5/],
    ['LSTM', { layout: 1 }, /layout=1/],
    ['LSTM', { direction: 'reverse' }, /direction 'reverse': no layer here reads a sequence backwards only/],
    ['LSTM', { direction: 'bidirectional' }, /W should be of 2 direction\(s\)/],
    [
      'LSTM',
      { activations: ['Sigmoid', 'Tanh', 'Relu'] },
      /activations should be sigmoid, tanh, tanh, got sigmoid, tanh, relu/,
    ],
    [
      'GRU',
      { linear_before_reset: 1, activations: ['HardSigmoid', 'Tanh'] },
      /activations should be sigmoid, tanh/,
    ],
    ['RNN', { activations: ['Affine'] }, /activations should be tanh or relu/],
    ['LSTM', { hidden_size: 4 }, /W \[1, 12, 2\] and R \[1, 12, 3\] should fit hidden_size 4/],
    ['LSTM', { hidden_size: -3 }, /should fit hidden_size -3/],
  ])('%s %p', (op, options, sentence) => {
    expect(() => loadSync(recurrent(op, options))).toThrow(sentence);
    expect(() => loadSync(recurrent(op, options))).toThrow(CheckpointError);
    expect(() => loadSync(recurrent(op, options))).toThrow(`node '/rnn/x' (${op}): `);
  });

  test('peepholes, and weights that are no constants', () => {
    expect(() => loadSync(recurrent('LSTM', {}, ['x', 'w', 'r', '', '', '', '', 'p']))).toThrow(/peepholes/);
    expect(() => loadSync(recurrent('LSTM', {}, ['x', 'a', 'r']))).toThrow(/W should be a constant/);
    expect(() => loadSync(recurrent('LSTM', {}, ['x', 'w', 'a']))).toThrow(/R should be a constant/);
    expect(() => loadSync(recurrent('LSTM', {}, ['x', 'w', 'r', 'a']))).toThrow(/B should be a constant/);
    expect(() => loadSync(recurrent('LSTM', {}, ['x', 'w', 'r', 'p']))).toThrow(
      /B should be \[1, 24\], got \[1, 9\]/,
    );
  });

  test('usual activations may be written', () => {
    const gru = loadSync(recurrent('GRU', { linear_before_reset: 1, activations: ['Sigmoid', 'Tanh'] }));
    expect(gru.metadata.get('rnn')).toMatchObject({ type: 'GRU', batchFirst: false, bias: false });
    expect(loadSync(recurrent('RNN', { activations: ['Relu'] })).metadata.get('rnn')).toMatchObject({
      nonlinearity: 'relu',
    });
  });

  test('lengths of sequences are said', () => {
    expect(loadSync(recurrent('LSTM', {}, ['x', 'w', 'r', '', 'n'])).assumptions).toEqual([
      'rnn (LSTM): the graph gives it lengths of sequences: call it with a packed sequence',
    ]);
  });

  test('other nodes with weights are named, and their tensors kept', () => {
    const state = loadSync(
      model(
        floats('conv.weight', 2, 1, 3),
        floats('val_3', 4),
        node('Conv', ['x', 'conv.weight'], ['a']),
        node('PRelu', ['a', 'val_3'], ['b']),
        node('Loop', ['b'], ['c'], { name: 'loop', body: field(6, message()) }),
      ),
    );
    expect([...state.keys()]).toEqual(['conv.weight']);
    expect(state.assumptions).toEqual([
      'no layer here is what Conv does with these tensors, which come under their own names: conv.weight',
      'no layer here is what PRelu does with these tensors, which are left out: val_3',
      'graphs inside of nodes are not read: loop',
    ]);
  });
});

describe('Gemm, MatMul and Gather', () => {
  const weights = (part: Buffer, op: string, inputs: string[], options: NodeOptions = {}): nn.StateDict =>
    loadSync(model(part, floats('b', 2), node(op, inputs, ['y'], options)));

  test.each([
    ['Gemm', ['x', 'w', 'b'], { transB: 1 }, [2, 3], [0, 1, 2, 3, 4, 5], true],
    ['Gemm', ['x', 'w', 'b'], {}, [3, 2], [0, 2, 4, 1, 3, 5], true],
    ['Gemm', ['x', 'w'], { transB: 1 }, [2, 3], [0, 1, 2, 3, 4, 5], false],
    ['MatMul', ['x', 'w'], {}, [3, 2], [0, 2, 4, 1, 3, 5], false],
  ])('%s %p %p', (op, inputs, options, shape, expected, bias) => {
    const state = weights(floats('w', ...shape), op, inputs, { name: '/fc/x', ...options });
    expect(state.get('fc.weight')).toMatchObject({ shape: [2, 3] });
    expect([...state.get('fc.weight')!.data].map((value) => 8 * Number(value))).toEqual(expected);
    expect(state.has('fc.bias')).toBe(bias);
    expect(state.metadata.get('fc')).toMatchObject({ type: 'Linear', inFeatures: 3, outFeatures: 2, bias });
  });

  test.each([{ alpha: 0.5 }, { beta: 0.5 }, { transA: 1 }])('a Gemm that is no Linear: %p', (options) => {
    const state = weights(floats('fc.weight', 3, 2), 'Gemm', ['x', 'fc.weight', 'b'], options);
    expect(state.metadata.size).toBe(0);
    expect(state.assumptions[0]).toMatch(/^no layer here is what Gemm does/);
  });

  test('names are made up where those of the file cannot be', () => {
    const linear = (name: string, i: number): Buffer[] => [
      floats(`val_${i}`, 2, 2),
      node('MatMul', ['x', `val_${i}`], [`y${i}`], { name: `${name}/MatMul` }),
    ];
    const parts = ['/a', '/a', '/a/b', '/c/d', '/c', ''].flatMap(linear);
    const state = loadSync(model(...parts));
    expect([...state.metadata.keys()]).toEqual(['a', 'a_1', 'linear', 'c.d', 'c_1', 'linear_1']);
    expect(state.assumptions).toEqual([
      'the file does not name these modules, whose names are made up: a_1, linear, c_1, linear_1',
    ]);
  });

  test('tied weights stay one tensor', () => {
    const state = loadSync(
      model(
        floats('emb.weight', 4, 2),
        node('Gather', ['emb.weight', 'ids'], ['e'], { name: '/emb/Gather' }),
        node('Transpose', ['emb.weight'], ['t'], { perm: [1, 0] }),
        node('MatMul', ['e', 't'], ['y'], { name: '/out/MatMul' }),
      ),
    );
    expect(state.get('out.weight')).toBe(state.get('emb.weight'));
  });
});

describe('elements', () => {
  const four = (...values: number[]): Uint8Array => new Uint8Array(Float32Array.from(values).buffer);
  const loaded = (...fields: Buffer[]): number[] => {
    const weight = initializer('fc.weight', 1, [1, 2], ...fields);
    return [
      ...(loadSync(model(weight, node('MatMul', ['x', 'fc.weight'], ['y']))).get('fc.weight')!
        .data as Float32Array),
    ];
  };
  /** A float32 field of its own. */
  const single = (value: number): Buffer => Buffer.concat([varint(4 * 8 + 5), four(value)]);

  test('raw, packed, in pieces', () => {
    expect(loaded(field(9, four(1, 2)))).toEqual([1, 2]);
    expect(loaded(field(4, four(1, 2)))).toEqual([1, 2]);
    expect(loaded(single(1), single(2))).toEqual([1, 2]);
    expect(loaded(single(1), field(4, four(2)))).toEqual([1, 2]);
  });

  test('integers as varints, packed or not', () => {
    const values = [-128, 127];
    const lists = [[field(5, message(...values.map(varint)))], values.map((value) => field(5, value))];
    for (const list of lists) {
      const state = loadSync(
        model(
          initializer('w', 3, [1, 2], ...list),
          initializer('s', 1, [1], field(9, four(1))),
          node('DynamicQuantizeMatMul', ['x', 'w', 's'], ['y'], { name: '/fc/x', domain: 'com.microsoft' }),
        ),
      );
      expect([...state.get('fc.weight')!.data]).toEqual(values);
    }
  });

  test.each([
    ['too few', [single(1)], /should have 2 elements, got 1/],
    ['too many', [field(4, four(1, 2, 3))], /the elements should be those of the shape/],
    ['raw bytes of another size', [field(9, four(1))], /of 2 elements should have 8 bytes, got 4/],
    [
      'another field',
      [field(5, message(varint(1), varint(2)))],
      /elements of float32 should not be in field 5/,
    ],
  ])('%s', (_, fields, sentence) => expect(() => loaded(...fields)).toThrow(sentence));

  test.each([[[2 ** 31, 2 ** 31]], [[2n ** 63n - 1n, 2]], [[-1, -2]], [Array(40).fill(1)], [[0, 2n ** 62n]]])(
    'sizes that no file has: %p',
    (shape) => {
      const weight = initializer('fc.weight', 1, shape, field(9, four(1, 2)));
      expect(() => loadSync(model(weight, node('MatMul', ['x', 'fc.weight'], ['y'])))).toThrow(
        CheckpointError,
      );
    },
  );
});

describe('constants of the graph', () => {
  /** fc.weight made of `w` by these nodes, the last of which gives 'v'. */
  const made = (...parts: Buffer[]): Tensor => {
    const state = loadSync(
      model(floats('w', 3, 2), ...parts, node('Gemm', ['x', 'v'], ['y'], { name: '/fc/x', transB: 1 })),
    );
    return state.get('fc.weight')!;
  };
  const elements = (weight: Tensor): number[] => [...weight.data].map((value) => 8 * Number(value));

  test('are moved as the nodes say', () => {
    expect(elements(made(node('Identity', ['w'], ['v'])))).toEqual([0, 1, 2, 3, 4, 5]);
    expect(elements(made(node('Transpose', ['w'], ['v'])))).toEqual([0, 2, 4, 1, 3, 5]);
    const halves = [
      int64s('0', 0),
      int64s('1', 1),
      int64s('3', 3),
      node('Slice', ['w', '0', '1', '0'], ['a']),
      node('Slice', ['w', '1', '3', '0'], ['b']),
    ];
    expect(elements(made(...halves, node('Concat', ['b', 'a'], ['v'], { axis: 0 })))).toEqual([
      2, 3, 4, 5, 0, 1,
    ]);
    expect(made(int64s('n', 2, -1), node('Reshape', ['w', 'n'], ['v'])).shape).toEqual([2, 3]);
    const there = [int64s('0', 0), node('Unsqueeze', ['w', '0'], ['u']), node('Squeeze', ['u', '0'], ['v'])];
    expect(elements(made(...there))).toEqual([0, 1, 2, 3, 4, 5]);
    const split = [int64s('n', 1, 2), node('Split', ['w', 'n'], ['a', 'v'], { axis: 0 })];
    expect(elements(made(...split))).toEqual([2, 3, 4, 5]);
    expect(made(node('Cast', ['w'], ['v'], { to: 11 })).dtype).toBe('float64');
  });

  test('a node that cannot be is refused by its name', () => {
    const wrong = [int64s('n', 4, 4), node('Reshape', ['w', 'n'], ['v'], { name: 'shape' })];
    expect(() => made(...wrong)).toThrow(/^node 'shape' \(Reshape\): /);
  });

  test('cycles, long rows and doublings come to an end', () => {
    const load = (...parts: Buffer[]): nn.StateDict =>
      loadSync(model(floats('w', 64, 64), ...parts, node('MatMul', ['x', 'v'], ['y'])));
    expect(load(node('Identity', ['v'], ['v'])).size).toBe(0);
    expect(load(node('Transpose', ['a'], ['v']), node('Transpose', ['v'], ['a'])).size).toBe(0);
    const rows = Array.from({ length: 10_000 }, (_, i) =>
      node('Transpose', [`${i + 1}`], [i === 0 ? 'v' : `${i}`]),
    );
    expect(load(...rows).size).toBe(0);
    const doubled = Array.from({ length: 60 }, (_, i) =>
      node('Concat', i === 0 ? ['w', 'w'] : [`${i}`, `${i}`], [i === 59 ? 'v' : `${i + 1}`], { axis: 0 }),
    );
    expect(() => load(...doubled)).toThrow(
      'computing the constants of the graph takes far more than its own size',
    );
  });
});

describe('recognition', () => {
  test('a safetensors file whose header begins like an ONNX file is none', () => {
    // 0x120808 bytes of header.
    const text = '{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}'.padEnd(0x120808);
    const size = Buffer.alloc(8);
    size.writeBigUInt64LE(BigInt(text.length));
    expect([...loadSync(Buffer.concat([size, Buffer.from(text), Buffer.alloc(4)])).keys()]).toEqual(['a']);
  });

  test.each([
    ['no graph', message(field(1, 8), field(2, 'somebody')), /an ONNX file should have a graph/],
    [
      'two graphs',
      message(field(1, 8), field(7, message()), field(7, message())),
      /offset \d+: a second graph/,
    ],
    [
      'a field beyond its message',
      Buffer.from('0808120574657374313a7f00', 'hex'),
      /does not fit into its message/,
    ],
    ['two tensors of one name', model(floats('w', 1), floats('w', 1)), /tensor 'w' stands twice/],
  ])('%s', (_, bytes, sentence) => expect(() => loadSync(bytes)).toThrow(sentence));
});

test('nodes in a circle come to an end', () => {
  const state = loadSync(
    model(
      floats('w', 2, 3),
      node('MatMul', ['x', 'w'], ['a'], { name: '/fc/MatMul' }),
      node('Mul', ['a', 'b'], ['a']),
    ),
  );
  expect(state.get('fc.weight')!.shape).toEqual([3, 2]);
});

test('many weights that no layer takes are listed at once', () => {
  const count = 40_000;
  const names = Array.from({ length: count }, (_, i) => `t.${i}`);
  const parts = names.flatMap((name) => [floats(name, 2), node('Sin', [name], [`${name}.y`])]);
  const start = cpuMilliseconds();
  expect(loadSync(model(Buffer.concat(parts))).size).toBe(count);
  expect(cpuMilliseconds() - start).toBeLessThan(5000); // a list copied for each name took 14 s
});

describe('weights of many MB', () => {
  const rows = 4;
  const raw = (bytes: number): Buffer => field(9, Buffer.alloc(bytes, 1));
  const matrix = (dataType: number, count: number, ...fields: Buffer[]): Buffer =>
    initializer('w', dataType, [count / rows, rows], ...fields);
  const product = node('MatMul', ['x', 'w'], ['y'], { name: '/fc/MatMul' });
  test('in half precision', () => {
    expect(loadSync(model(matrix(10, 18e6, raw(36e6)), product)).get('fc.weight')!.numel).toBe(18e6);
  });
  test.each([
    ['int8', 3, 0],
    ['uint8, which becomes floats', 2, 1],
  ])('in %s', (_, dataType, zero) => {
    const integers = node('DynamicQuantizeMatMul', ['x', 'w', 's', 'z'], ['y'], {
      name: '/fc/MatMul',
      domain: 'com.microsoft',
    });
    const scale = initializer('s', 1, [], field(9, new Uint8Array(Float32Array.of(0.5).buffer)));
    const zeroPoint = initializer('z', dataType, [], field(9, Uint8Array.of(zero)));
    const state = loadSync(model(matrix(dataType, 9e6, raw(9e6)), scale, zeroPoint, integers));
    expect(state.get('fc.weight')!.numel).toBe(9e6);
  });
  test('in a file beside', () => {
    const beside = mkdtempSync(join(tmpdir(), 'dynaquant-test-'));
    const entry = (key: string, value: string): Buffer => field(13, message(field(1, key), field(2, value)));
    const external = [entry('location', 'w.data'), entry('length', String(40e6)), field(14, 1)];
    writeFileSync(join(beside, 'w.onnx'), model(matrix(1, 10e6, ...external), product));
    writeFileSync(join(beside, 'w.data'), Buffer.alloc(40e6));
    expect(loadSync(join(beside, 'w.onnx')).get('fc.weight')!.numel).toBe(10e6);
    rmSync(beside, { recursive: true });
  });
});
