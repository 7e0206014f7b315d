import { readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

import * as nn from '../src/nn/index.js';
import { quantizeDynamic } from '../src/quantization/index.js';
import { zeros } from '../src/tensor/index.js';
import { saveSync } from '../src/serialization/save.js';
import { dynaquant, expectFailure, json, newFolder, Small } from './cli.js';

const folder = newFolder();
const checkpoints = join(__dirname, 'fixtures', 'checkpoints');
afterAll(() => rmSync(folder, { recursive: true }));
saveSync(Small.seeded().stateDict(), join(folder, 'model.safetensors'));

test('--json: modules, shapes, dtypes, sizes, what would be quantized', () => {
  const lstm = new nn.LSTM(3, 2);
  const state = new nn.StateDict();
  for (const [key, tensor] of lstm.stateDict()) state.set(`lstm.${key}`, tensor);
  state.set('emb.weight', zeros([4, 3]));
  state.notes.set('vocabulary', 'abc');
  saveSync(state, join(folder, 'bare.safetensors'));
  expect(json(folder, 'inspect', 'bare.safetensors')).toEqual({
    file: 'bare.safetensors',
    fileBytes: expect.any(Number),
    keys: [],
    prefix: '',
    tensorBytes: 4 * (8 * 3 + 8 * 2 + 8 + 8 + 12),
    quantizedBytes: 8 * 3 + 8 * 2 + 2 * 8 + 4 * 16 + 4 * 12,
    modules: [
      {
        name: 'lstm',
        type: 'LSTM',
        repr: 'LSTM(3, 2)',
        bytes: 224,
        quantizedBytes: 24 + 16 + 16 + 64,
        tensors: [
          { name: 'weight_ih_l0', shape: [8, 3], dtype: 'float32', bytes: 96 },
          { name: 'weight_hh_l0', shape: [8, 2], dtype: 'float32', bytes: 64 },
          { name: 'bias_ih_l0', shape: [8], dtype: 'float32', bytes: 32 },
          { name: 'bias_hh_l0', shape: [8], dtype: 'float32', bytes: 32 },
        ],
      },
      {
        name: 'emb',
        type: 'Embedding',
        repr: 'Embedding(4, 3)',
        bytes: 48,
        quantizedBytes: null,
        tensors: [{ name: 'weight', shape: [4, 3], dtype: 'float32', bytes: 48 }],
      },
    ],
    assumptions: [
      'lstm (LSTM): assumed batchFirst = false',
      'emb (Embedding): so its name says; a Linear without bias has the same tensors',
    ],
    notes: { vocabulary: 'abc' },
  });
});

test('what it says of quantized sizes is so', () => {
  const float = json<{ quantizedBytes: number }>(folder, 'inspect', 'model.safetensors');
  saveSync(quantizeDynamic(Small.seeded()).stateDict(), join(folder, 'quantized.safetensors'));
  const quantized = json<{ tensorBytes: number; quantizedBytes: number; modules: { type: string }[] }>(
    ...([folder, 'inspect', 'quantized.safetensors'] as [string, string, string]),
  );
  expect(quantized.tensorBytes).toBe(float.quantizedBytes);
  expect(quantized.quantizedBytes).toBe(quantized.tensorBytes);
  expect(quantized.modules.map(({ type }) => type)).toEqual([
    ...['Embedding', 'DynamicQuantizedLSTM', 'DynamicQuantizedLinearReLU', 'DynamicQuantizedLinear'],
    'LayerNorm',
  ]);
});

test('text', () => {
  const { status, stdout, stderr } = dynaquant(folder, 'inspect', 'model.safetensors');
  expect([status, stderr]).toEqual([0, '']);
  expect(stdout).toMatch(/^model\.safetensors: [\d.]+ kB, weights 5\.81 kB, quantized to INT8 [\d.]+ kB\n/);
  expect(stdout).toMatch(/^lstm +LSTM\(6, 5, num_layers=2, bidirectional=True\) +[\d.]+ kB +to [\d.]+ kB$/m);
  expect(stdout).toMatch(/^ {2}weight_hh_l1_reverse +\[20, 5\] float32 +400 B$/m);
  expect(stdout).toMatch(/^embedding +Embedding\(20, 6\) +480 B +stays$/m);
  expect(stdout).not.toContain('Assumed');
});

test('a checkpoint of PyTorch, and one within others', () => {
  const names = (file: string): string[] =>
    json<{ modules: { name: string }[] }>(checkpoints, 'inspect', file).modules.map(({ name }) => name);
  expect(names('char-lm.pt')).toEqual(['embedding', 'lstm', 'decoder']);
  expect(names('training.pt').length).toBeGreaterThan(0);
});

test('names do not reach the terminal as control characters', () => {
  const name = '\x1b[2J\u202eevil\u0000';
  saveSync(new Map([[`${name}.weight`, zeros([1])]]), join(folder, 'names.safetensors'));
  const { stdout } = dynaquant(folder, 'inspect', 'names.safetensors');
  expect(stdout).toContain('\\u{1b}[2J\\u{202e}evil\\u{0}');
  expect(stdout).not.toMatch(/[\x00\x1b\u202e]/);
});

test.each<[string, Uint8Array | string, RegExp]>([
  ['nothing', '', /inspect: .*the file is empty/],
  ['no checkpoint', 'hello, this is text', /inspect: offset 0: /],
  ['a truncated one', new Uint8Array([255, 0, 0, 0, 0, 0, 0, 0, 123]), /inspect: offset 0: the header/],
  ['no state dict', readFileSync(join(checkpoints, 'tensor.pt')), /inspect: file holds no state dict/],
  ['a function', readFileSync(join(checkpoints, 'function.pt')), /holds no state dict; its keys are a/],
])('%s: exit code 1', (_, bytes, message) => {
  writeFileSync(join(folder, 'file'), bytes);
  expectFailure(dynaquant(folder, 'inspect', 'file'), 1, message);
});
test('a file that is not there: exit code 1', () => {
  expectFailure(dynaquant(folder, 'inspect', 'nobody.pt'), 1, /no such file.*'nobody.pt'/);
});
