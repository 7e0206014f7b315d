import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { open } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';

import { CheckpointError } from '../src/errors.js';
import * as nn from '../src/nn/index.js';
import { perChannelDynamicQConfig, quantizeDynamic, type QConfig } from '../src/quantization/index.js';
import { randn } from '../src/random.js';
import { load, loadSync } from '../src/serialization/load.js';
import { save, saveSync } from '../src/serialization/save.js';
import { RawTensor, Tensor, tensor, zeros } from '../src/tensor/index.js';
import { contentsOf, expected, fixture, pathOf } from './format-files.js';
import { bytesOf, everyQConfig, pseudoRandom } from './support.js';

const folder = mkdtempSync(join(tmpdir(), 'dynaquant-test-'));
const path = join(folder, 'model.safetensors');
afterAll(() => rmSync(folder, { recursive: true }));

/** A file from a header (an object or its text) and data. */
function file(header: unknown, data: Uint8Array = new Uint8Array(0)): Uint8Array {
  const json = Buffer.from(typeof header === 'string' ? header : JSON.stringify(header));
  const length = Buffer.alloc(8);
  length.writeBigUInt64LE(BigInt(json.length));
  return Uint8Array.from(Buffer.concat([length, json, data]));
}
const entry = (shape: number[], begin: number, end: number, dtype = 'F32'): object => ({
  dtype,
  shape,
  data_offsets: [begin, end],
});

/** An Embedding and an EmbeddingBag of rows that begin in the middle of a byte. */
function tables(dtype: 'quint8' | 'quint4x2'): nn.Sequential {
  const qconfig = { weight: { dtype, qscheme: 'per_channel_affine_float_qparams' } } as const;
  return new nn.Sequential(
    nn.quantized.Embedding.fromFloat(new nn.Embedding(5, 3), qconfig),
    nn.quantized.EmbeddingBag.fromFloat(new nn.EmbeddingBag(5, 3), qconfig),
  );
}

test('a header as long as a pickle begins', () => {
  const header = JSON.stringify({ w: entry([1], 0, 4) }).padEnd(640);
  const bytes = file(header, new Uint8Array(4));
  expect([...bytes.subarray(0, 2)]).toEqual([0x80, 2]);
  expect(loadSync(bytes).get('w')!.shape).toEqual([1]);
});

describe('round trips', () => {
  const model = new nn.Sequential(new nn.Linear(5, 7), new nn.Linear(7, 3, { bias: false }));
  const x = randn(4, 5);

  test('float, async and sync, by path and URL and bytes and open file', async () => {
    await save(model.stateDict(), path);
    const bytes = readFileSync(path);
    const handle = await open(path);
    const loaded = [
      await load(path),
      await load(pathToFileURL(path)),
      await load(bytes),
      await load(handle),
      loadSync(path),
      loadSync(bytes),
    ];
    await handle.close();
    for (const state of loaded) {
      expect([...state.keys()]).toEqual(['0.weight', '0.bias', '1.weight']);
      const twin = new nn.Sequential(new nn.Linear(5, 7), new nn.Linear(7, 3, { bias: false }));
      twin.loadStateDict(state);
      expect(bytesOf(twin.forward(x))).toBe(bytesOf(model.forward(x)));
      expect(state.metadata.get('0')).toEqual({ type: 'Linear', inFeatures: 5, outFeatures: 7, bias: true });
    }
    saveSync(loaded[0]!, pathToFileURL(path));
    expect(readFileSync(path).equals(bytes)).toBe(true);
  });

  test.each(['quint8', 'quint4x2'] as const)('tables of %s, bit for bit', (dtype) => {
    const quantized = tables(dtype);
    saveSync(quantized.stateDict(), path);
    const bytes = readFileSync(path);
    const state = loadSync(path);
    expect([...state.keys()]).toEqual(['0.weight', '1.weight']);
    const twin = new nn.Sequential(
      new nn.quantized.Embedding(5, 3),
      new nn.quantized.EmbeddingBag(5, 3, { mode: 'mean' }),
    );
    twin.loadStateDict(state);
    expect(String(twin)).toBe(String(quantized));
    const index = tensor([[0, 4, 2]], { dtype: 'int32' });
    for (const i of [0, 1]) {
      expect(bytesOf(twin.get(i).forward(index) as Tensor)).toBe(
        bytesOf(quantized.get(i).forward(index) as Tensor),
      );
    }
    saveSync(twin.stateDict(), path);
    expect(readFileSync(path).equals(bytes)).toBe(true);
    saveSync(state, path);
    expect(readFileSync(path).equals(bytes)).toBe(true);
    expect(() => new nn.Sequential(new nn.Embedding(5, 3)).loadStateDict(state, { strict: false })).toThrow(
      new RegExp(`0.weight is quantized \\(${dtype}\\), but this model is not`),
    );
  });

  test.each([undefined, new Map([[nn.LSTM, perChannelDynamicQConfig]])])('quantized, bit for bit', (spec) => {
    class Model extends nn.Module {
      readonly lstm = new nn.LSTM(5, 9, { numLayers: 2, bidirectional: true });
      readonly head = new nn.Linear(18, 3);
      override forward(input: Tensor): Tensor {
        return this.head.forward(this.lstm.forward(input)[0]);
      }
    }
    const quantized = quantizeDynamic(new Model(), spec);
    saveSync(quantized.stateDict(), path);
    const bytes = readFileSync(path);
    const twin = quantizeDynamic(new Model(), spec && new Set([nn.LSTM]));
    twin.loadStateDict(loadSync(path));
    const input = randn(6, 2, 5);
    expect(bytesOf(twin.forward(input))).toBe(bytesOf(quantized.forward(input)));
    expect(String(twin)).toBe(String(quantized));
    saveSync(twin.stateDict(), path);
    expect(readFileSync(path).equals(bytes)).toBe(true);
    expect(() => new Model().loadStateDict(loadSync(path))).toThrow(
      /quantized \(qint8\), but this model is not/,
    );
  });

  class Recurrent extends nn.Module {
    readonly lstm = new nn.LSTM(5, 9, { numLayers: 2, bidirectional: true });
    readonly head = new nn.Linear(18, 3);
    override forward(input: Tensor, state?: nn.LSTMState): Tensor {
      return this.head.forward(this.lstm.forward(input, state)[0]);
    }
  }
  const quantize = (qconfig: QConfig): Recurrent =>
    quantizeDynamic(new Recurrent(), new Map([['', qconfig]]));

  test.each(everyQConfig.map((qconfig) => [JSON.stringify(qconfig), qconfig]))(
    'in the mode %s, into a model in any mode, bit for bit',
    (_, qconfig) => {
      const quantized = quantize(qconfig as QConfig);
      const input = randn(6, 3, 5);
      const state: nn.LSTMState = [randn(4, 3, 9), randn(4, 3, 9)];
      saveSync(quantized.stateDict(), path);
      for (const other of everyQConfig) {
        const twin = quantize(other);
        twin.loadStateDict(loadSync(path));
        expect(String(twin)).toBe(String(quantized));
        expect(bytesOf(twin.forward(input))).toBe(bytesOf(quantized.forward(input)));
        expect(bytesOf(twin.forward(input, state))).toBe(bytesOf(quantized.forward(input, state)));
      }
      const bytes = readFileSync(path);
      saveSync(loadSync(path), path);
      expect(readFileSync(path).equals(bytes)).toBe(true);
    },
  );
  test.each<[string, RegExp]>([
    ['"activation":"perColumn"', /the metadata's head.activation should be .*, got 'perColumn'/],
    ['"activation":null', /the metadata's head.activation should be .*, got null/],
    ['"activation":["perRow"]', /the metadata's head.activation should be .*, got an array of 1/],
    ['"activation":"perRow","reduceRange":1', /the metadata's head.reduceRange should be .*, got 1/],
  ])('a file that asks for %s is refused, and nothing changes', (hostile, message) => {
    const model = quantize(everyQConfig[0]!);
    const input = randn(6, 3, 5);
    const before = [String(model), bytesOf(model.forward(input))];
    const state = quantize(everyQConfig[7]!).stateDict();
    state.metadata.set('head', JSON.parse(`{"type":"DynamicQuantizedLinear",${hostile}}`));
    saveSync(state, path);
    expect(() => model.loadStateDict(loadSync(path))).toThrow(message);
    expect(() => model.loadStateDict(loadSync(path))).toThrow(RangeError);
    expect([String(model), bytesOf(model.forward(input))]).toEqual(before);
  });

  test('every dtype, empty tensors, scalars, names of any kind', () => {
    const state = new Map<string, Tensor>([
      ['__proto__', tensor([1, 2])],
      ['7', tensor([1n, -2n])],
      ['é "quoted"', zeros(0, 3)],
      ['scalar', tensor(5)],
      ['half', new Tensor(Uint16Array.of(1, 2, 3), [3], { dtype: 'float16' })],
      ['brain', new Tensor(Uint16Array.of(1), [1], { dtype: 'bfloat16' })],
      ['flag', tensor([true])],
      ['double', zeros([2], { dtype: 'float64' })],
      ...(['int8', 'uint8', 'int16', 'int32'] as const).map((d): [string, Tensor] => [
        d,
        tensor([1, 2, 3], { dtype: d }),
      ]),
    ]);
    saveSync(state, path);
    const loaded = loadSync(path);
    expect([...loaded.keys()].sort()).toEqual([...state.keys()].sort());
    for (const [key, value] of state) {
      expect([key, loaded.get(key)!.dtype, loaded.get(key)!.shape]).toEqual([key, value.dtype, value.shape]);
      expect(bytesOf(loaded.get(key)!)).toBe(bytesOf(value));
    }
  });
  test('no tensors at all', () => {
    saveSync(new nn.StateDict(), path);
    expect(statSync(path).size).toBe(16);
    expect(loadSync(path).size).toBe(0);
  });
  test('notes travel along', () => {
    const state = new nn.StateDict();
    state.notes.set('vocabulary', 'a\nb');
    saveSync(state, path);
    expect(loadSync(path).notes.get('vocabulary')).toBe('a\nb');
  });
});

test('a file of the reference implementation', () => {
  const state = loadSync(join(__dirname, '..', 'examples', 'char-lm', 'char-lm.safetensors'));
  expect(state.get('lstm.weight_hh_l0')!.shape).toEqual([1024, 256]);
  expect(state.notes.get('vocabulary')).toHaveLength(63);
});

describe('hostile files', () => {
  const eight = new Uint8Array(8);
  const good = { a: entry([2], 0, 8) };
  const length = (n: bigint): Uint8Array => {
    const bytes = file(good, eight);
    new DataView(bytes.buffer).setBigUint64(0, n, true);
    return bytes;
  };
  test('the file they are made from is good', () =>
    expect(loadSync(file(good, eight)).get('a')!.shape).toEqual([2]));
  test.each<[string, Uint8Array, RegExp]>([
    ['empty', new Uint8Array(0), /the file is empty/],
    ['only a length', new Uint8Array(8), /no JSON/],
    ['length 2^63', length(2n ** 63n), /offset 0: .* would have 9223372036854775808 bytes/],
    ['length 2^64 - 1', length(2n ** 64n - 1n), /offset 0/],
    ['length beyond the file', length(1000n), /offset 0/],
    ['no JSON', file('{"a":'), /offset 8: the header is no JSON/],
    ['no UTF-8', Uint8Array.of(1, 0, 0, 0, 0, 0, 0, 0, 0xff), /offset 8/],
    ['an array', file('[]'), /should be a JSON object/],
    ['null', file('null'), /should be a JSON object/],
    [
      'a tensor twice',
      file(`{"a":${JSON.stringify(good.a)},"a":${JSON.stringify(good.a)}}`, eight),
      /key 'a' stands twice/,
    ],
    [
      'a tensor twice, escaped',
      file(`{"a":${JSON.stringify(good.a)},"\\u0061":${JSON.stringify(good.a)}}`, eight),
      /key 'a' stands twice/,
    ],
    [
      'a field twice',
      file('{"a":{"dtype":"F32","dtype":"F32","shape":[2],"data_offsets":[0,8]}}', eight),
      /'dtype' stands twice/,
    ],
    ['entry is null', file({ a: null }), /key 'a': should be an object/],
    [
      'dtype unknown',
      file({ a: entry([2], 0, 8, 'F8') }, eight),
      /key 'a': dtype should be one of .* got 'F8'/,
    ],
    ['dtype of the prototype', file({ a: entry([2], 0, 8, 'constructor') }, eight), /dtype should be/],
    [
      'shape no array',
      file({ a: { dtype: 'F32', shape: 2, data_offsets: [0, 8] } }, eight),
      /shape should be an array/,
    ],
    ['shape negative', file({ a: entry([-2], 0, 8) }, eight), /shape should be an array of at most 64 sizes/],
    [
      'shape fraction',
      file({ a: entry([0.5, 4], 0, 8) }, eight),
      /shape should be an array of at most 64 sizes/,
    ],
    ['shape overflows', file({ a: entry([2 ** 52, 2 ** 52], 0, 8) }, eight), /needs .* bytes, got 8/],
    ['shape and size differ', file({ a: entry([3], 0, 8) }, eight), /shape \[3\] needs 12 bytes, got 8/],
    ['offsets missing', file({ a: { dtype: 'F32', shape: [2] } }, eight), /data_offsets should be two sizes/],
    ['offsets reversed', file({ a: entry([2], 8, 0) }, eight), /data_offsets should be within/],
    ['offsets beyond the file', file({ a: entry([4], 0, 16) }, eight), /within 0 and 8, got \[0, 16\]/],
    ['overlap', file({ a: entry([2], 0, 8), b: entry([1], 4, 8) }, eight), /key 'b': .* overlaps/],
    ['hole', file({ a: entry([1], 4, 8) }, eight), /leaves a hole/],
    ['data left over', file({ a: entry([1], 0, 4) }, eight), /have 4 bytes, but the file has 8/],
    ['truncated', file(good, new Uint8Array(7)), /within 0 and 7/],
    ['arrays without end', file(`{"a":[${'[],'.repeat(500_000)}[]]}`), /key 'a': should be an object/],
    ['nesting without end', file('['.repeat(1_000_000)), /the file unfolds to far more/],
    ['a string without end', file(`"${'\\"'.repeat(500_000)}`), /offset 8: the header is no JSON/],
    ['metadata of numbers', file({ __metadata__: { a: 1 } }), /map strings to strings/],
    ['metadata a list', file({ __metadata__: [] }), /map strings to strings/],
    ['our metadata no JSON', file({ __metadata__: { dynaquant: '{' } }), /dynaquant is no JSON/],
    ['our metadata no list', file({ __metadata__: { dynaquant: '{}' } }), /should be a list/],
    [
      'our metadata typeless',
      file({ __metadata__: { dynaquant: '[["a",{}]]' } }),
      /object with a type\], got 'a'/,
    ],
    [
      'zero point missing',
      file({ w: entry([4, 1], 0, 4, 'I8'), 'w.scale': entry([], 4, 8) }, eight),
      /'w': its zero_point is missing/,
    ],
    [
      'scale of zero',
      file(
        { 'w.scale': entry([], 0, 4), 'w.zero_point': entry([], 4, 8, 'I32'), w: entry([4, 1], 8, 12, 'I8') },
        new Uint8Array(12),
      ),
      /key 'w': scales should be positive/,
    ],
    [
      'scale of a wrong shape',
      file({ 'w.scale': entry([2], 0, 8), w: entry([4, 1], 8, 12, 'I8') }, new Uint8Array(12)),
      /'w.scale': should be float32 of shape \[\] or \[4\]/,
    ],
    [
      'one float zero point',
      file(
        { 'w.scale': entry([], 0, 4), 'w.zero_point': entry([], 4, 8), w: entry([4, 1], 8, 12, 'U8') },
        new Uint8Array(12),
      ),
      /'w.zero_point': should be int32 of shape \[\] or \[4\], got float32/,
    ],
    ...(
      [
        ['4 bits of another size', 'I64', [2, 2], /key 'w': shape \[2, 2\] needs 2 elements, but data has 1/],
        ['4 bits of a negative size', 'I64', [2, -1], /key 'w': shape should hold sizes/],
        ['4 bits of a huge size', 'I64', [2, 2 ** 60], /key 'w': shape should hold sizes/],
        ['4 bits of other rows', 'I64', [1, 2], /'w.scale': should be float32 of shape \[\] or \[1\]/],
        ['4 bits of a shape of floats', 'F64', [2, 1], /'w.shape': should be int64 of one dimension/],
      ] as const
    ).map(([name, dtype, shape, message]): [string, Uint8Array, RegExp] => [
      name,
      file(
        {
          ...{ 'w.shape': entry([2], 0, 16, dtype), 'w.scale': entry([2], 16, 24) },
          ...{ 'w.zero_point': entry([2], 24, 32), w: entry([1], 32, 33, 'U8') },
        },
        new Uint8Array([
          ...new Uint8Array(BigInt64Array.from(shape, BigInt).buffer),
          ...new Uint8Array(Float32Array.of(1, 1, 0, 0).buffer),
          0,
        ]),
      ),
      message,
    ]),
  ])('%s', async (_, bytes, message) => {
    expect(() => loadSync(bytes)).toThrow(message);
    await expect(load(bytes)).rejects.toThrow(message);
    await expect(load(bytes)).rejects.toMatchObject({ name: 'CheckpointError' });
  });
  test.each([
    ['Linear', (): nn.Module => quantizeDynamic(new nn.Linear(3, 2))],
    ['a table of 4 bits', (): nn.Module => tables('quint4x2')],
  ])('2,000 mutations of %s load or are refused', (_, make) => {
    const model = make();
    saveSync(model.stateDict(), path);
    const original = readFileSync(path);
    const random = pseudoRandom(4);
    for (let i = 0; i < 2000; i++) {
      const bytes = Uint8Array.from(original);
      for (let k = 0; k < 1 + (i % 3); k++)
        bytes[Math.floor(random() * bytes.length)] = Math.floor(random() * 256);
      const cut = i % 5 === 0 ? bytes.subarray(0, Math.floor(random() * bytes.length)) : bytes;
      let state: nn.StateDict;
      try {
        state = loadSync(cut);
      } catch (error) {
        expect((error as Error).name).toBe('CheckpointError');
        continue;
      }
      try {
        model.loadStateDict(state);
      } catch (error) {
        expect((error as Error).name).toBe('RangeError');
      }
    }
  });
});

describe('arguments', () => {
  test.each<[string, () => unknown, RegExp]>([
    ['path', () => loadSync(5 as never), /source should be a path, .* got 5/],
    ['state', () => saveSync({} as never, path), /Map of tensors, got Object/],
    ['value', () => saveSync([['a', 1]] as never, path), /\[name, Tensor\] pairs/],
    ['reserved', () => saveSync([['__metadata__', zeros(1)]], path), /twice or is reserved/],
    [
      'clash',
      () => saveSync([...quantizeDynamic(new nn.Linear(1, 1)).stateDict(), ['weight.scale', zeros(1)]], path),
      /twice/,
    ],
    [
      'axis',
      () =>
        saveSync(
          [
            [
              'a',
              new Tensor(Uint8Array.of(1), [1, 1], {
                dtype: 'quint8',
                qscheme: 'per_channel_affine',
                scales: Float64Array.of(1),
                zeroPoints: Int32Array.of(0),
                axis: 1,
              }),
            ],
          ],
          path,
        ),
      /only tensors quantized along axis 0 can be saved, got 1/,
    ],
  ])('%s', (_, f, message) => expect(f).toThrow(message));
  test.each<[string, (state: nn.StateDict) => unknown, RegExp]>([
    ['metadata', (state) => state.metadata.set('0', { type: 'Linear', inFeatures: 1n }), /metadata of state/],
    ['notes', (state) => state.notes.set('count', 5 as never), /notes of state should be texts, got 5/],
    ['notes', (state) => state.notes.set('dynaquant', ''), /notes of state: 'dynaquant' is reserved/],
  ])('%s that would make a file that does not load', (_, change, message) => {
    const state = new nn.StateDict();
    change(state);
    expect(() => saveSync(state, path)).toThrow(message);
    expect(() => saveSync(state, path)).toThrow(
      expect.objectContaining({ code: expect.stringMatching(/^ERR_INVALID_ARG_/) }),
    );
  });
  test('a failed save keeps the old file and leaves nothing beside it', async () => {
    writeFileSync(path, 'old');
    const before = readdirSync(folder);
    const detached = zeros(2);
    structuredClone(detached.data.buffer, { transfer: [detached.data.buffer as ArrayBuffer] });
    expect(() => saveSync([['a', detached]], path)).toThrow(/a has lost its data/);
    await expect(save([['a', zeros(1)]], folder)).rejects.toThrow();
    expect(() => saveSync([['a', zeros(1)]], folder)).toThrow();
    expect(readFileSync(path, 'utf8')).toBe('old');
    expect(readdirSync(folder)).toEqual(before);
  });
  test('CheckpointError is an Error with a name', () => {
    expect(new CheckpointError('x')).toMatchObject({ name: 'CheckpointError', message: 'x' });
  });
});

describe('what the reference implementation reads', () => {
  test('dtypes that tensors do not have', async () => {
    const written = 'dtypes.safetensors';
    for (const state of [loadSync(pathOf(written)), await load(pathOf(written))]) {
      expect(contentsOf(state)).toEqual(expected[written]);
      expect([...state.keys()]).toEqual(['weight']);
      expect(state.raw.get('float8_e4m3fn')).toBeInstanceOf(RawTensor);
    }
  });
  test('they are written again', () => {
    saveSync(loadSync(pathOf('dtypes.safetensors')), path);
    expect(contentsOf(loadSync(path))).toEqual(expected['dtypes.safetensors']);
    expect(readFileSync(path, 'latin1')).toContain('"float4_e2m1fn_x2":{"dtype":"F4","shape":[2,24]');
    saveSync(loadSync(pathOf('f6.safetensors')), path);
    expect(contentsOf(loadSync(path))).toEqual({ x: { dtype: 'F6_E2M3', shape: [4], bytes: '616263' } });
  });
  test.each(['null-metadata', 'white-space', 'like-a-pickle'])('%s', (name) => {
    const written = `${name}.safetensors`;
    expect(contentsOf(loadSync(fixture(written)))).toEqual(expected[written]);
  });
  test.each([
    ['a dtype that nobody knows', 'F5', [8], /^key 'x': dtype should be one of F64, .*, C64, got 'F5'$/],
    ['an odd number of halves', 'F4', [2, 5], /^key 'x': the last size of an F4 tensor should be even$/],
    ['no half', 'F4', [], /^key 'x': the last size of an F4 tensor should be even$/],
    ['no whole bytes', 'F6_E2M3', [5], /^key 'x': shape \[5\] needs 3.75 bytes, got 5$/],
    ['another number of bytes', 'U16', [5], /^key 'x': shape \[5\] needs 10 bytes, got 5$/],
    [
      'too many dimensions',
      'I8',
      Array(65).fill(1),
      /^key 'x': shape should be an array of at most 64 sizes$/,
    ],
  ])('but not %s', (_, dtype, shape, message) => {
    expect(() => loadSync(file({ x: entry(shape, 0, 5, dtype) }, new Uint8Array(5)))).toThrow(message);
  });
});

describe('raw tensors that cannot be saved', () => {
  const state = new nn.StateDict();
  test.each<[string, string, unknown, RegExp]>([
    [
      'of a dtype without a name',
      'x',
      new RawTensor('U3', [1], new Uint8Array(12)),
      /key 'x': U3 cannot be saved/,
    ],
    ['under a name that stands', 'w', new RawTensor('uint16', [], new Uint8Array(2)), /key 'w' stands twice/],
    ['that are none', 'x', 5, /raw of state should map names to RawTensors/],
    [
      'that were changed',
      'x',
      { dtype: 'uint16', shape: [2], bytes: new Uint8Array(2) },
      /bytes should hold uint16/,
    ],
  ])('%s', (_, key, tensor, message) => {
    state.set('w', zeros(1));
    state.raw.clear();
    state.raw.set(key, tensor as RawTensor);
    expect(() => saveSync(state, path)).toThrow(message);
  });
});
