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
import { bytesOf, expectClose, golden, type GoldenCase } from './support.js';

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
    const root = modelFromStateDict(state).model;
    console.log(file, state.assumptions, state.metadata);
  });
});
