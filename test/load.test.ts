import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { open } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';

import { CheckpointError, errorCodes } from '../src/errors.js';
import * as nn from '../src/nn/index.js';
import { openFile, openFileSync } from '../src/serialization/file-node.js';
import { bytesFile, readBytes, runAsync, runSync, type OpenFile } from '../src/serialization/file.js';
import type { Format } from '../src/serialization/formats/format.js';
import { formats, load, loadSync, readFile } from '../src/serialization/load.js';
import { save, saveSync } from '../src/serialization/save.js';
import { tensor, Tensor, zeros, type DType } from '../src/tensor/index.js';
import { checkpoint, pickle, storage, tensor as pickledTensor, text, zip } from './checkpoint-files.js';
import { bytesOf, runNode } from './support.js';

const root = join(__dirname, '..');
const fixtures = join(__dirname, 'fixtures');
const folder = mkdtempSync(join(tmpdir(), 'dynaquant-test-'));
afterAll(() => rmSync(folder, { recursive: true }));
const write = (name: string, data: string | Uint8Array): string => {
  const path = join(folder, name);
  writeFileSync(path, data);
  return path;
};

describe('from everywhere', () => {
  saveSync(loadSync(join(fixtures, 'ckpt', 'float_lstm_linear.pt')), join(folder, 'float.safetensors'));
  test.each([
    join(folder, 'float.safetensors'),
    join(fixtures, 'ckpt', 'float_lstm_linear.pt'),
    join(fixtures, 'ckpt', 'float_lstm_linear_legacy.pt'),
    join(fixtures, 'ckpt', 'float_lstm_linear_tar.pt'),
  ])('%s', async (path) => {
    const bytes = readFileSync(path);
    const shifted = new Uint8Array(bytes.length + 3).subarray(3);
    shifted.set(bytes);
    const handle = await open(path);
    const states = [
      loadSync(path),
      loadSync(pathToFileURL(path)),
      loadSync(bytes),
      loadSync(shifted),
      await load(path),
      await load(pathToFileURL(path)),
      await load(bytes),
      await load(handle),
      await load(handle),
    ];
    await handle.close();
    const described = states.map((state) =>
      [...state].map(([key, value]) => [key, value.dtype, bytesOf(value)]),
    );
    for (const each of described) expect(each).toEqual(described[0]);
    expect(states[0]!.get('lstm.weight_ih_l0')).toMatchObject({ shape: [12, 4], dtype: 'float32' });
    // What was loaded is its own memory.
    bytes.fill(0);
    shifted.fill(0);
    for (const state of states.slice(2, 4)) expect(bytesOf(state.get('fc.bias')!)).toBe(described[0]![5]![2]);
  });
});

describe('formats', () => {
  test.each([
    ['PyTorch zip', 'float_lstm_linear.pt'],
    ['PyTorch stream', 'float_lstm_linear_legacy.pt'],
    ['PyTorch tar', 'float_lstm_linear_tar.pt'],
  ])('only safetensors and %s recognise %s', (name, file) => {
    const bytes = readFileSync(join(fixtures, 'ckpt', file));
    const recognised = formats.filter((format) =>
      format.recognises(bytes.subarray(0, 512), bytesFile(bytes)),
    );
    const others = recognised.map((format) => format.name).filter((other) => other !== 'refused');
    expect(others).toEqual([name, 'safetensors']);
  });
  test('have names of their own, and safetensors, which takes anything, is last', () => {
    expect(new Set(formats.map(({ name }) => name)).size).toBe(formats.length);
    expect(formats.at(-1)!.name).toBe('safetensors');
  });

  // What no format here needs yet: the interface is for those to come.
  const byItsEnd: Format = {
    name: 'known by its last bytes',
    *recognises(_, file) {
      return Buffer.from(yield* readBytes(file, file.size - 3, 3)).toString() === 'END';
    },
    *read(file, { budget }) {
      budget.spend(3, () => 'the end');
      return [file.size, budget.left];
    },
  };
  const bySeveralFiles: Format = {
    name: 'several files',
    recognises: (head) => head[0] === 0x40,
    *read(file) {
      const name = Buffer.from(yield* readBytes(file, 1, file.size - 1)).toString();
      const other = (yield file.openBeside!(name)) as OpenFile;
      const bytes = yield* readBytes(other, 0, other.size);
      yield other.close();
      return Buffer.from(bytes).toString();
    },
  };
  const both = [byItsEnd, bySeveralFiles];
  test('may be known by what is not at the beginning', () => {
    expect(runSync(readFile(bytesFile(Buffer.from('... END')), new Set(), both))).toEqual([7, 4 + 2 ** 25]);
  });
  test('may have several files', async () => {
    const path = write('several', '@other');
    write('other', 'weights');
    const file = await openFile(path);
    const files = [openFileSync(path), file];
    expect(runSync(readFile(files[0]!, new Set(), both))).toBe('weights');
    expect(await runAsync(readFile(file, new Set(), both))).toBe('weights');
    for (const opened of files) await opened.close();
  });
  test('a file of none is refused', () => {
    expect(() => runSync(readFile(bytesFile(Buffer.from('text')), new Set(), both))).toThrow(
      new CheckpointError('offset 0: no file of weights begins like this'),
    );
  });
});

describe('what is no file of weights', () => {
  // refused.test.ts has the kinds that are known.
  test('an index by its bytes', () => {
    expect(() => loadSync(Buffer.from('{"weight_map":{}}'))).toThrow(/an index is loaded by its path/);
  });
  test('a folder', async () => {
    expect(() => loadSync(folder)).toThrow(/dynaquant-test-\S+ is no regular file/);
    await expect(load(folder)).rejects.toMatchObject({ name: 'CheckpointError' });
  });
  test('nothing', async () => {
    expect(() => loadSync(join(folder, 'nothing'))).toThrow(/ENOENT/);
    await expect(load(join(folder, 'nothing'))).rejects.toThrow(/ENOENT/);
  });
  test.each<[string, unknown, RegExp]>([
    ['a number', 5, /source should be a path, .* got 5/],
    ['an array', [1, 2], /source should be a path, .* got an array of 2/],
    ['a Float32Array', new Float32Array(2), /source should be a path, .* got Float32Array/],
    ['null', null, /source should be a path, .* got null/],
  ])('%s', async (_, source, message) => {
    expect(() => loadSync(source as never)).toThrow(message);
    await expect(load(source as never)).rejects.toThrow(message);
    await expect(load(source as never)).rejects.toThrow(TypeError);
  });
  test('unknown options', async () => {
    expect(() => loadSync('x', { strict: true } as never)).toThrow(/load: unknown option 'strict'/);
    await expect(load('x', { bidirectional: 'lstm' as never })).rejects.toThrow(
      /bidirectional should be an array or Set of names, got 'lstm'/,
    );
  });
  test('a file that shrinks while it is read', async () => {
    const handle = await open(
      write('shrinking', checkpoint(pickledTensor(storage('0', 2), 0, [2], [1]), { 0: new Uint8Array(8) })),
    );
    const shrinking = Object.assign(Object.create(handle), {
      stat: () => handle.stat(),
      read: async () => ({ bytesRead: 0 }),
    });
    await expect(load(shrinking)).rejects.toThrow(/offset 0: the file ends here/);
    await handle.close();
  });
});

describe('safetensors in parts', () => {
  const all: [string, DType, Tensor][] = (
    ['float64', 'float32', 'int64', 'int32', 'int16', 'int8', 'uint8', 'bool'] as const
  ).map((dtype, i) => [`${i}.${dtype}`, dtype, tensor([1, 0, 1], { dtype })]);
  for (const dtype of ['float16', 'bfloat16'] as const) {
    all.push([dtype, dtype, new Tensor(Uint16Array.of(1, 0x7c00), [2], { dtype })]);
  }
  const quantized = new Tensor(Int8Array.of(1, -128), [1, 2], {
    ...{
      dtype: 'qint8',
      qscheme: 'per_tensor_affine',
      scales: Float64Array.of(0.5),
      zeroPoints: Int32Array.of(0),
    },
  });
  const parts = join(folder, 'parts');
  mkdirSync(parts);
  const path = join(parts, 'model.safetensors.index.json');
  saveSync(
    all.slice(0, 5).map(([key, , value]) => [key, value]),
    join(parts, 'a.safetensors'),
  );
  saveSync(
    [...all.slice(5).map(([key, , value]) => [key, value] as const), ['q', quantized]],
    join(parts, 'b.safetensors'),
  );
  const map: Record<string, string> = {};
  all.forEach(([key], i) => (map[key] = i < 5 ? 'a.safetensors' : 'b.safetensors'));
  for (const key of ['q', 'q.scale', 'q.zero_point']) map[key] = 'b.safetensors';
  const index = (changes: Record<string, unknown> = {}): void =>
    writeFileSync(path, JSON.stringify({ metadata: { total_size: 1 }, weight_map: { ...map, ...changes } }));

  test('every dtype', async () => {
    index();
    for (const state of [loadSync(path), await load(path)]) {
      expect([...state.keys()]).toEqual([...all.map(([key]) => key), 'q']);
      for (const [key, dtype, value] of all) {
        expect(state.get(key)!.dtype).toBe(dtype);
        expect(bytesOf(state.get(key)!)).toBe(bytesOf(value));
      }
      expect(state.get('q')!.quantization).toEqual(quantized.quantization);
    }
  });
  test.each<[string, unknown, RegExp]>([
    [
      'a folder above',
      { x: '../float.safetensors' },
      /key 'x': should be in a .safetensors or .bin file beside the index/,
    ],
    ['an absolute path', { x: '/etc/passwd' }, /key 'x': should be in a .safetensors or .bin file/],
    ['a backslash', { x: '..\\a.safetensors' }, /key 'x': should be in/],
    ['a drive', { x: 'c:a.safetensors' }, /key 'x': should be in/],
    ['a NUL', { x: 'a\0.safetensors' }, /key 'x': should be in/],
    [
      'another kind',
      { x: 'a.txt' },
      /key 'x': should be in a .safetensors or .bin file beside the index, got 'a.txt'/,
    ],
    ['a number', { x: 1 }, /key 'x': should be in/],
    ['a key that is not there', { x: 'a.safetensors' }, /key 'x': is not in 'a.safetensors'/],
    ['a key that is elsewhere', { bfloat16: 'a.safetensors' }, /key 'bfloat16': is not in 'a.safetensors'/],
  ])('%s', async (_, changes, message) => {
    index(changes as Record<string, unknown>);
    expect(() => loadSync(path)).toThrow(message);
    await expect(load(path)).rejects.toMatchObject({ name: 'CheckpointError' });
  });
  test('a key that the index does not have is left out', () => {
    index({ bfloat16: undefined });
    expect([...loadSync(path).keys()]).toEqual([...all.map(([key]) => key).slice(0, -1), 'q']);
  });
  test('other JSON', () => {
    writeFileSync(path, '{"weights": {}}');
    expect(() => loadSync(path)).toThrow(
      /JSON without a weight_map is no index of weights: load the file of weights/,
    );
    writeFileSync(path, '{"weight_map": {"a": "a.safetensors", "a": "b.safetensors"}}');
    expect(() => loadSync(path)).toThrow(/offset \d+: key 'a' stands twice/);
    writeFileSync(path, '{"weight_map": {');
    expect(() => loadSync(path)).toThrow(/offset 0: the header is no JSON/);
  });
  test('a part that is missing', () => {
    index({ x: 'c.safetensors' });
    expect(() => loadSync(path)).toThrow(/ENOENT/);
  });
});

describe('arguments of every kind', () => {
  const detached = new Uint8Array(8);
  structuredClone(detached.buffer, { transfer: [detached.buffer] });
  const kinds: [kind: string, value: unknown][] = [
    ['undefined', undefined],
    ['null', null],
    ['a string', 'text'],
    ['a symbol', Symbol('s')],
    ['a bigint', 1n],
    ['a number', 5],
    ['a function', () => 0],
    ['an object', {}],
    ['an array', [1]],
    ['a Float64Array', new Float64Array(2)],
    ['a detached buffer', detached],
    ['a tensor', zeros(2)],
    ['half a file handle', { stat: 1, read: 1 }],
    ['a URL that is no file', new URL('https://example.org/model.safetensors')],
    ['an object that looks like a URL', { [Symbol.toStringTag]: 'URL', href: 'file:///x' }],
    ['null bytes', 'model\0.safetensors'],
  ];
  const good = new Map([['w', zeros(2)]]);
  const target = join(folder, 'target.safetensors');
  const bytes = Uint8Array.of(0);
  const path = ['path'] as const;
  const calls: [string, (value: never) => unknown, names: readonly string[], allowed: readonly string[]][] = [
    ['load', (value) => load(value), ['path', 'source'], ['a string']],
    ['loadSync', (value) => loadSync(value), ['path', 'source'], ['a string']],
    [
      'loadSync with options',
      (value) => loadSync(bytes, value),
      ['options', 'option'],
      // They have no keys.
      [
        'undefined',
        'an object',
        'a detached buffer',
        'an object that looks like a URL',
        'a URL that is no file',
      ],
    ],
    [
      'load with bidirectional',
      (value) => load(bytes, { bidirectional: value }),
      ['bidirectional'],
      ['undefined'],
    ],
    ['save of', (value) => save(value, target), ['state'], []],
    ['saveSync of', (value) => saveSync(value, target), ['state'], []],
    ['saveSync of w,', (value) => saveSync([['w', value]], target), ['state'], ['a tensor']],
    ['save to', (value) => save(good, value), path, ['a string']],
    ['saveSync to', (value) => saveSync(good, value), path, ['a string']],
  ];
  const table = calls.flatMap(([call, f, names, allowed]) =>
    kinds
      .filter(([kind]) => !allowed.includes(kind))
      .map(([kind, value]) => [call, kind, () => f(value as never), names] as const),
  );
  test.each(table)('%s %s', async (_call, _kind, f, names) => {
    const before = [readdirSync(folder), readdirSync('.')];
    const start = performance.now();
    const error = await Promise.resolve()
      .then(f)
      .then(
        () => undefined,
        (reason: unknown) => reason as Error & { code: string },
      );
    expect(performance.now() - start).toBeLessThan(1000);
    expect(error?.name).toMatch(/^(TypeError|RangeError)$/);
    expect(Object.keys(errorCodes)).toContain(error!.code);
    expect(error!.message).toMatch(new RegExp(`\\b(${names.join('|')})\\b`));
    expect([readdirSync(folder), readdirSync('.')]).toEqual(before);
  });
  test('a path to nothing is the system’s error', async () => {
    await expect(load('text')).rejects.toMatchObject({ code: 'ENOENT' });
    await expect(save(good, join(folder, 'no', 'folder'))).rejects.toMatchObject({ code: 'ENOENT' });
  });
  test('tensors and state dicts of another copy of the package are like our own', () => {
    const state = new nn.StateDict([['w', tensor([1, 2])]]);
    state.metadata.set('w', { type: 'Linear' });
    state.notes.set('vocabulary', 'ab');
    saveSync(state, target);
    const expected = readFileSync(target);
    jest.isolateModules(() => {
      /* eslint-disable @typescript-eslint/no-require-imports */
      const other = require('../src/nn/index.js') as typeof nn;
      const { tensor: otherTensor } = require('../src/tensor/index.js') as { tensor: typeof tensor };
      /* eslint-enable @typescript-eslint/no-require-imports */
      const foreign = new other.StateDict([['w', otherTensor([1, 2])]]);
      expect(foreign).not.toBeInstanceOf(nn.StateDict);
      foreign.metadata.set('w', { type: 'Linear' });
      foreign.notes.set('vocabulary', 'ab');
      saveSync(foreign, target);
    });
    expect(readFileSync(target).equals(expected)).toBe(true);
  });
});

test('a large file is held once', () => {
  const megabyte = new Uint8Array(2 ** 20);
  const tensors = Array.from({ length: 128 }, (_, i) => i);
  const archive = zip([
    {
      name: 'a/data.pkl',
      data: pickle(
        `}(${tensors.map((i) => text(`w${i}`) + pickledTensor(storage(`${i}`, 2 ** 18), 0, [2 ** 18], [1])).join('')}u`,
      ),
    },
    ...tensors.map((i) => ({ name: `a/data/${i}`, data: megabyte })),
  ]);
  const path = write('large.pt', archive);
  for (const call of ['loadSync(path)', 'await load(path)']) {
    const script = `
      import { readFileSync } from 'node:fs';
      import { load, loadSync } from ${JSON.stringify(pathToFileURL(join(root, 'dist', 'index.mjs')))};
      const path = ${JSON.stringify(path)};
      loadSync(${JSON.stringify(join(fixtures, 'ckpt', 'views_shared.pt'))});
      const before = process.memoryUsage.rss();
      const state = ${call};
      if (state.size !== 128) throw new Error('not loaded');
      // The process's own peak, where the system tells it (resourceUsage also counts its parent's).
      const status = process.platform === 'linux' ? readFileSync('/proc/self/status', 'utf8') : '';
      const peak = 1024 * Number(/VmHWM:\\s+(\\d+) kB/.exec(status)?.[1] ?? process.memoryUsage.rss() / 1024);
      console.log(peak - before);
    `;
    const { status, stdout, stderr } = runNode(['--input-type=module', '--eval', script]);
    expect([status, stderr]).toEqual([0, '']);
    const grown = Number(stdout);
    expect(grown).toBeGreaterThan(128 * 2 ** 20);
    expect(grown).toBeLessThan(1.15 * 128 * 2 ** 20);
  }
});

test('5,000 mutated files of every format are refused or load', () => {
  const script = join(root, 'scripts', 'fuzz-checkpoints.mjs');
  const { status, stdout: report } = runNode([script, '--count', '5000', '--seed', '7']);
  expect(status).toBe(0);
  expect(report).toMatch(/^5000 files: \d{3,} loaded, \d{4} refused, 0 failures; /);
}, 120_000);
