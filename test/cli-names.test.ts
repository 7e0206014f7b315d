// The command on files whose weights have other names, or stand elsewhere, than in a plain state dict.
import { rmSync } from 'node:fs';
import { join } from 'node:path';

import * as nn from '../src/nn/index.js';
import { loadSync } from '../src/serialization/load.js';
import { saveSync } from '../src/serialization/save.js';
import { RawTensor } from '../src/tensor/index.js';
import { dynaquant, expectFailure, json, newFolder, Small } from './cli.js';

const folder = newFolder();
afterAll(() => rmSync(folder, { recursive: true }));
const fixture = (name: string): string => join(__dirname, 'fixtures', 'names', name);
const checkpoint = (name: string): string => join(__dirname, 'fixtures', 'checkpoints', name);

interface Inspected {
  modules: { name: string; repr: string }[];
  assumptions: string[];
  keys: string[];
  prefix: string;
}
const inspected = (...args: string[]): Inspected => json(folder, 'inspect', ...args);
const names = ({ modules }: Inspected): string[] => modules.map(({ name }) => name);

test('prefixes are left out, nested ones too, and it says so', () => {
  const result = inspected(fixture('parallel_compiled.pt'));
  expect([names(result), result.keys, result.prefix]).toEqual([['rnn', 'fc'], [], 'module._orig_mod.']);
  const { stdout } = dynaquant(folder, 'inspect', fixture('parallel_compiled.pt'));
  expect(stdout).toMatch(/^Taken: names without the prefix module\._orig_mod\.$/m);
});
test('the only state dict is taken, whatever its key', () => {
  const result = inspected(fixture('model_state.pt'));
  expect([names(result), result.keys, result.prefix]).toEqual([['rnn', 'fc'], ['model_state'], '']);
  const { stdout } = dynaquant(folder, 'inspect', fixture('lightning.pt'));
  expect(stdout).toMatch(/^Taken: state dict state_dict, names without the prefix model\.$/m);
});
test('inspect lists several, and --key chooses', () => {
  const { stdout, status } = dynaquant(folder, 'inspect', fixture('list.pt'));
  expect([status, stdout]).toEqual([
    0,
    expect.stringMatching(
      /2 state dicts; choose with --key\n\nnets\.0\.generator +6 tensors +\d+ B\nnets\.1\.ema +4 tensors +\d+ B\n$/,
    ),
  ]);
  expect(json(folder, 'inspect', fixture('chatbot.pt'))).toMatchObject({
    stateDicts: [
      { key: 'en', tensors: 4, bytes: 144 },
      { key: 'de', tensors: 4 },
      { key: 'embedding', tensors: 1 },
    ],
  });
  expect(names(inspected(fixture('list.pt'), '--key', 'nets.0.generator'))).toEqual(['rnn', 'fc']);
  // What was left out beside a model can be chosen too.
  expect(inspected(fixture('list.pt'), '--key', 'statistics').keys).toEqual(['statistics']);
});
test('several keys are the parts of a model', () => {
  const keys = ['en', 'de', 'embedding'];
  const args = keys.flatMap((key) => ['--key', key]);
  const result = inspected(fixture('chatbot.pt'), ...args);
  expect([names(result), result.keys]).toEqual([keys, keys]);
  const quantized = dynaquant(folder, 'quantize', fixture('chatbot.pt'), '-o', 'parts', ...args);
  expect([quantized.status, quantized.stderr]).toEqual([0, '']);
  expect([...loadSync(join(folder, 'parts')).keys()]).toContain('de.weight_hh_l0');
  expect(json(folder, 'verify', fixture('chatbot.pt'), 'parts', ...args)).toMatchObject({
    passed: true,
    keys,
  });
});
test('quantize and verify agree on what they take', () => {
  for (const name of ['parallel_compiled.pt', 'model_state.pt', 'lightning.pt']) {
    const { status, stdout } = dynaquant(folder, 'quantize', fixture(name), '-o', 'out');
    expect([status, stdout]).toEqual([0, expect.stringMatching(/^Taken: .*\nrnn +DynamicQuantizedGRU/)]);
    expect(json(folder, 'verify', fixture(name), 'out')).toMatchObject({ passed: true });
    expect([...loadSync(join(folder, 'out')).keys()][0]).toBe('rnn.weight_ih_l0');
  }
});
test('a file of this library keeps its names', () => {
  saveSync(new nn.ModuleDict({ model: Small.seeded() }).stateDict(), join(folder, 'own'));
  expect(json(folder, 'quantize', 'own', '-o', 'own8')).toMatchObject({ prefix: '' });
  expect([...loadSync(join(folder, 'own8')).keys()][0]).toBe('model.embedding.weight');
  expect(json(folder, 'verify', 'own', 'own8')).toMatchObject({ passed: true });
});

test.each(['inspect', 'quantize'])('%s: a file without a state dict, or with several', (command) => {
  const out = command === 'quantize' ? ['-o', 'none'] : [];
  const run = (name: string, ...args: string[]) => dynaquant(folder, command, fixture(name), ...out, ...args);
  expectFailure(run('no_state_dict.pt'), 1, /holds no state dict; its keys are epoch, optimizer, rng_state/);
  expectFailure(
    run('chatbot.pt', '--key', 'dee'),
    2,
    /no state dict at --key dee; it holds 3 state dicts: en \(4/,
  );
  if (command === 'inspect') return;
  expectFailure(run('chatbot.pt'), 2, /holds 3 state dicts: en \(4 tensors\), .*; choose one with --key/);
});

test('what is no tensor is said to be left out; raw tensors stay in the file', () => {
  expect(inspected(fixture('extra_state.pt')).assumptions).toEqual([
    expect.stringMatching(/^left out, because no module can hold it: a\._extra_state \(null\), b\./),
  ]);
  const state = new nn.Linear(2, 3).stateDict();
  state.raw.set('scale', new RawTensor('uint16', [2], new Uint8Array([1, 2, 3, 4])));
  saveSync(state, join(folder, 'raw'));
  expect(dynaquant(folder, 'quantize', 'raw', '-o', 'raw8').status).toBe(0);
});

describe('assumptions', () => {
  test('--set corrects them', () => {
    const before = inspected(fixture('parallel_compiled.pt'));
    expect(before.assumptions).toEqual(['rnn (GRU): assumed batchFirst = false']);
    const after = inspected(fixture('parallel_compiled.pt'), '--set', 'rnn.batchFirst=true');
    expect(after.assumptions).toEqual([]);
    expect(after.modules[0]!.repr).toBe('GRU(2, 2, batch_first=True)');
    const args = ['--set', '*.batchFirst=true', '--set', 'fc.type=Linear'];
    const quantized = dynaquant(folder, 'quantize', fixture('model_state.pt'), '-o', 'first', ...args);
    expect([quantized.status, quantized.stdout]).toEqual([0, expect.not.stringContaining('Assumed')]);
    expect(loadSync(join(folder, 'first')).metadata.get('rnn')).toMatchObject({ batchFirst: true });
    expect(json(folder, 'verify', fixture('model_state.pt'), 'first', ...args)).toMatchObject({
      passed: true,
      assumptions: { float: [], quantized: [] },
    });
  });
  test('--bidirectional', () => {
    const file = checkpoint('two_directions.pt');
    expect(inspected(file).assumptions.join('\n')).toMatch(
      /^lstm \(DynamicQuantizedLSTM\): taken for two layers; /m,
    );
    const { modules, assumptions } = inspected(file, '--bidirectional', 'lstm');
    expect(modules[0]!.repr).toBe('DynamicQuantizedLSTM(4, 4, bidirectional=True)');
    expect(assumptions.join()).not.toContain('taken for');
  });
  test.each<[string[], RegExp]>([
    [['--set', 'rnn'], /--set should be NAME\.OPTION=VALUE, got 'rnn'/],
    [['--set', 'rn.batchFirst=true'], /--set: there is no module 'rn' of a known class; there are rnn, fc/],
    [['--set', 'rnn.first=true'], /--set: module 'rnn' is GRU, which has no option 'first'/],
    [
      ['--bidirectional', 'rnn'],
      /--bidirectional rnn: the file has no such quantized LSTM or GRU; it has none/,
    ],
  ])('called wrongly: %j', (args, message) => {
    expectFailure(dynaquant(folder, 'inspect', fixture('parallel_compiled.pt'), ...args), 2, message);
  });
});
