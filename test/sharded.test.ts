import { copyFileSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { load, loadSync } from '../src/serialization/load.js';
import { contentsOf, expected, pathOf } from './format-files.js';

// Parts in safetensors files are in load.test.ts too.

const folder = mkdtempSync(join(tmpdir(), 'dynaquant-test-'));
afterAll(() => rmSync(folder, { recursive: true }));

test.each(['pytorch_model.bin.index.json', 'model.safetensors.index.json'])(
  '%s gives what it lists, though its parts hold more',
  async (file) => {
    for (const state of [loadSync(pathOf(file)), await load(pathOf(file))])
      expect(contentsOf(state)).toEqual(expected[file]);
    expect([...loadSync(pathOf(file)).keys()]).toEqual(Object.keys(expected[file]!));
  },
);

test('parts of both kinds, with raw tensors', () => {
  const parts = ['pytorch_model-00001-of-00002.bin', 'dtypes.safetensors'];
  for (const part of parts) copyFileSync(pathOf(part), join(folder, part));
  const path = join(folder, 'x.index.json');
  writeFileSync(path, JSON.stringify({ weight_map: { uint16: parts[1], a: parts[0], weight: parts[1] } }));
  const state = loadSync(path);
  expect([...state.keys()]).toEqual(['a', 'weight']);
  expect(contentsOf(state)['uint16']).toEqual(expected['dtypes.safetensors']!['uint16']);
});

test('a part with more than tensors in it', () => {
  const part = join(__dirname, 'fixtures', 'names', 'extra_state.pt');
  const whole = loadSync<Map<string, unknown>>(part);
  const key = [...whole.keys()].find((each) => each.endsWith('weight'))!;
  copyFileSync(part, join(folder, 'extra.bin'));
  const path = join(folder, 'z.index.json');
  writeFileSync(path, JSON.stringify({ weight_map: { [key]: 'extra.bin' } }));
  expect([...loadSync(path)]).toEqual([[key, whole.get(key)]]);
});

test('a part that is no state dict', () => {
  copyFileSync(join(__dirname, 'fixtures', 'formats', 'version1.npy'), join(folder, 'array.bin'));
  const path = join(folder, 'y.index.json');
  writeFileSync(path, JSON.stringify({ weight_map: { a: 'array.bin' } }));
  expect(() => loadSync(path)).toThrow(expect.objectContaining({ name: 'CheckpointError' }));
});
