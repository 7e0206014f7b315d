import { rmSync } from 'node:fs';
import { join } from 'node:path';

import * as nn from '../src/nn/index.js';
import { quantizeDynamic } from '../src/quantization/index.js';
import { randn } from '../src/random.js';
import { saveSync } from '../src/serialization/save.js';
import { dynaquant, expectFailure, json, newFolder, Small } from './cli.js';

const folder = newFolder();
afterAll(() => rmSync(folder, { recursive: true }));
const write = (name: string, state: Iterable<readonly [string, nn.Parameter]>): void =>
  saveSync(state, join(folder, name));
write('float', Small.seeded().stateDict() as never);
write('int8', quantizeDynamic(Small.seeded()).stateDict() as never);
write('other', quantizeDynamic(Small.seeded(1)).stateDict() as never);

interface Report {
  passed: boolean;
  layers: { name: string; layer: number | null; error?: number; passed: boolean; problem?: string }[];
}
const failing = (...args: string[]): Report => {
  const { status, stdout, stderr } = dynaquant(folder, 'verify', ...args, '--json');
  expect([status, stderr]).toEqual([1, '']);
  return JSON.parse(stdout) as Report;
};

test('--json: each layer on random input', () => {
  const error = expect.any(Number);
  const layer = (name: string, type: string, number: number | null = null): object => {
    return { name, layer: number, type, error, maxError: error, input: 'random', passed: true };
  };
  const result = json<Report>(folder, 'verify', 'float', 'int8');
  expect(result).toEqual({
    float: 'float',
    quantized: 'int8',
    tolerance: 0.2,
    assumptions: { float: [], quantized: [] },
    keys: [],
    prefix: '',
    passed: true,
    layers: [
      { ...layer('embedding', 'Embedding'), error: 0, maxError: 0 },
      layer('lstm', 'DynamicQuantizedLSTM', 0),
      layer('lstm', 'DynamicQuantizedLSTM', 1),
      layer('decoder.0', 'DynamicQuantizedLinearReLU'),
      layer('decoder.1', 'DynamicQuantizedLinear'),
      { ...layer('norm', 'LayerNorm'), error: 0, maxError: 0 },
    ],
  });
  for (const { name, error: e } of result.layers) {
    if (/lstm|decoder/.test(name)) expect([name, e! > 1e-4 && e! < 0.1]).toEqual([name, true]);
  }
  // The same again: the random input is always the same.
  expect(json(folder, 'verify', 'float', 'int8')).toEqual(result);
});

test('text', () => {
  const { status, stdout } = dynaquant(folder, 'verify', 'float', 'int8');
  expect(status).toBe(0);
  expect(stdout).toMatch(/^ok +lstm, layer 1 +DynamicQuantizedLSTM +error [\d.]+ % +largest [\d.]+$/m);
  expect(stdout).toMatch(/\n\nint8 agrees with float within 20 %\n$/);
});

test('beyond the tolerance: exit code 1', () => {
  const { status, stdout } = dynaquant(folder, 'verify', 'float', 'int8', '--tolerance', '0.00001');
  expect(status).toBe(1);
  expect(stdout).toMatch(/^FAILED +lstm, layer 0 .* is further off than the tolerance$/m);
  expect(stdout).toMatch(/4 of 6 layers of int8 do not agree with float within 0.0010 %\n$/);
});
test('the weights of another model: exit code 1', () => {
  const { layers } = failing('float', 'other');
  expect(layers.every(({ name, passed }) => passed === (name === 'norm'))).toBe(true);
});

describe('models of other shapes', () => {
  const changed = (change: (state: nn.StateDict) => void): Report => {
    const state = new nn.StateDict();
    for (const [key, tensor] of new nn.ModuleDict({
      a: new nn.Linear(3, 4),
      b: new nn.GRU(2, 3),
    }).stateDict()) {
      state.set(key, tensor);
    }
    write('one', state as never);
    change(state);
    write('two', state as never);
    return failing('one', 'two');
  };
  test('a layer that is missing', () => {
    const { layers } = changed((state) => ['weight', 'bias'].forEach((name) => state.delete(`a.${name}`)));
    expect(layers[0]).toEqual({
      ...{ name: 'a', layer: null, type: null, passed: false, problem: 'is missing in the quantized file' },
    });
  });
  test('a layer too many', () => {
    const { layers } = changed((state) => state.set('c.weight', randn(5)).set('c.bias', randn(5)));
    expect(layers[2]).toEqual({
      ...{ name: 'c', layer: null, type: 'LayerNorm', passed: false, problem: 'is not in the float file' },
    });
  });
  test('another size', () => {
    const { layers } = changed((state) => state.set('a.weight', randn(5, 3)).set('a.bias', randn(5)));
    expect(layers[0]).toMatchObject({ name: 'a', passed: false, problem: 'has other sizes' });
  });
  test('another input size', () => {
    const { layers } = changed((state) => state.set('a.weight', randn(4, 2)));
    expect(layers[0]).toMatchObject({
      name: 'a',
      passed: false,
      problem: expect.stringMatching(/cannot be multiplied/),
    });
  });
  test('another kind', () => {
    const { layers } = changed((state) => state.set('a.weight', randn(4)));
    expect(layers[0]).toMatchObject({ problem: 'is Linear in the float file and LayerNorm in the other' });
  });
  test('other tensors', () => {
    const { layers } = changed((state) => state.delete('a.bias'));
    expect(layers[0]).toMatchObject({ passed: false });
  });
  test('tensors of no known module are compared', () => {
    const { layers } = changed((state) => state.set('x.p', randn(3, 3, 3)));
    expect(layers[2]).toMatchObject({ name: 'x', problem: 'is not in the float file' });
    write('one', new Map([['x.p', randn(3, 3, 3)]]) as never);
    write('two', new Map([['x.p', randn(3, 3, 3)]]) as never);
    expect(json<Report>(folder, 'verify', 'one', 'one').layers[0]).toMatchObject({ error: 0, passed: true });
    expect(failing('one', 'two').layers[0]!.error).toBeGreaterThan(0.5);
  });
  test('metadata of classes that are not what they say', () => {
    const state = new nn.StateDict();
    state.set('x.weight', randn(3, 4));
    state.metadata.set('x', { type: 'Unknown', numLayers: 2 });
    write('unknown', state as never);
    expect(json<Report>(folder, 'verify', 'unknown', 'unknown').layers[0]).toMatchObject({ passed: true });
    state.metadata.set('x', { type: 'LinearReLU' });
    write('unknown', state as never);
    expectFailure(
      dynaquant(folder, 'verify', 'unknown', 'unknown'),
      1,
      "module 'x' is LinearReLU by its metadata, but not by its tensors",
    );
  });
});

test.each([
  [['float'], /expected FLOAT and QUANT, got 1 file name/],
  [['float', 'int8', '--tolerance', 'much'], /--tolerance should be a number from 0 on, got 'much'/],
  [['float', 'int8', '--tolerance='], /--tolerance should be/],
  [['float', 'int8', '--tolerance=-1'], /--tolerance should be/],
])('%j: exit code 2', (args, message) => {
  expectFailure(dynaquant(folder, 'verify', ...args), 2, message);
});
