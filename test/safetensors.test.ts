import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { open } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';

import { Linear } from '../src/nn/linear.js';
import { LSTM } from '../src/nn/lstm.js';
import { Sequential } from '../src/nn/sequential.js';
import { defaultDynamicQConfig, perChannelDynamicQConfig } from '../src/quantization/index.js';
import { quantizeDynamic } from '../src/quantization/quantize-dynamic.js';
import { manualSeed, randn } from '../src/random.js';
import { load, loadSync, save, saveSync } from '../src/serialization/safetensors.js';
import { Tensor, type DType } from '../src/tensor.js';
import { bytesOf } from './support.js';

let directory: string;
let path: string;

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'dynaquant-'));
  path = join(directory, 'a.safetensors');
});
afterEach(() => rmSync(directory, { recursive: true }));

/** A file of these parts, with a true header length unless another is given. */
function file(header: string, data: Uint8Array | number = 0, length?: bigint): Buffer {
  const json = Buffer.from(header);
  const prefix = Buffer.alloc(8);
  prefix.writeBigUInt64LE(length ?? BigInt(json.length));
  return Buffer.concat([prefix, json, typeof data === 'number' ? Buffer.alloc(data) : data]);
}

function expectSame(actual: ReadonlyMap<string, Tensor>, expected: ReadonlyMap<string, Tensor>): void {
  expect([...actual.keys()]).toEqual([...expected.keys()]);
  for (const [key, tensor] of expected) {
    const other = actual.get(key)!;
    expect([other.dtype, other.shape, other.quantization]).toEqual([
      tensor.dtype,
      tensor.shape,
      tensor.quantization,
    ]);
    expect(bytesOf(other)).toBe(bytesOf(tensor));
  }
}

describe('round trips', () => {
  test('every dtype, empty tensors and scalars, in the order given', async () => {
    const state = new Map<string, Tensor>([
      ['7', new Tensor(Uint8Array.of(1, 2, 3), [3])],
      ['half', new Tensor(Uint16Array.of(0x3c00, 0xffff), [2, 1], { dtype: 'float16' })],
      ['brain', new Tensor(Uint16Array.of(0x3f80), [], { dtype: 'bfloat16' })],
      ['__proto__', new Tensor(Float32Array.of(NaN, -0), [2])],
      ['3', new Tensor(Float64Array.of(Math.PI), [1, 1])],
      ['ключ "\n', new Tensor(BigInt64Array.of(-(2n ** 63n)), [])],
      ['bool', new Tensor(Uint8Array.of(0, 1), [2], { dtype: 'bool' })],
      ['i8', new Tensor(Int8Array.of(-128), [1])],
      ['i16', new Tensor(Int16Array.of(-32768), [1])],
      ['i32', new Tensor(Int32Array.of(-1), [1])],
      ['none', new Tensor(new Float32Array(0), [0, 5])],
    ]);
    await save(state, path);
    expectSame(await load(path), state);
    expectSame(loadSync(path), state);
    saveSync(state, path);
    expectSame(await load(pathToFileURL(path)), state);
    expectSame(loadSync(pathToFileURL(path)), state);
    expectSame(await load(readFileSync(path)), state);
    expectSame(loadSync(new Uint8Array(readFileSync(path))), state);
    const handle = await open(path);
    expectSame(await load(handle), state);
    expect((await handle.stat()).isFile()).toBe(true); // still open
    await handle.close();
  });

  test('nothing at all', async () => {
    await save({}, path);
    expect((await load(path)).size).toBe(0);
    expect(loadSync(file('{}')).size).toBe(0);
  });

  test('every tensor is aligned, and the header a multiple of 8', () => {
    saveSync({ a: new Tensor(Uint8Array.of(1), [1]), b: new Tensor(Float64Array.of(1), [1]) }, path);
    const bytes = readFileSync(path);
    const length = Number(bytes.readBigUInt64LE());
    expect(length % 8).toBe(0);
    const header = JSON.parse(bytes.toString('utf8', 8, 8 + length));
    expect(header.b.data_offsets).toEqual([0, 8]);
    expect(header.a.data_offsets).toEqual([8, 9]);
  });

  test.each([
    ['per tensor', defaultDynamicQConfig],
    ['per channel', perChannelDynamicQConfig],
  ])('a quantized model, %s: the same bits, sizes and answers', async (_, qconfig) => {
    manualSeed(1);
    const float = new Sequential(new Linear(5, 7), new Linear(7, 3, { bias: false }));
    const spec = new Map([[Linear, qconfig]]);
    const quantized = quantizeDynamic(float, spec);
    const state = quantized.stateDict();
    await save(state, path);
    const loaded = await load(path);
    expectSame(loaded, state);
    expect(loaded.metadata).toEqual(state.metadata);
    const other = quantizeDynamic(new Sequential(new Linear(5, 7), new Linear(7, 3, { bias: false })), spec);
    other.loadStateDict(loaded);
    const x = randn(4, 5);
    expect(bytesOf(other.forward(x) as Tensor)).toBe(bytesOf(quantized.forward(x) as Tensor));
  });

  test('a quantized LSTM, a root without a name', () => {
    const state = quantizeDynamic(new LSTM(3, 4, { numLayers: 2, bidirectional: true })).stateDict();
    saveSync(state, path);
    expectSame(loadSync(path), state);
  });

  test('scales that only a double holds', () => {
    const state = new Map([
      [
        'w',
        new Tensor(Int8Array.of(1, 2), [2, 1], {
          dtype: 'qint8',
          qscheme: 'per_channel_affine',
          scales: Float64Array.of(0.1, 0.2),
          zeroPoints: Int32Array.of(-128, 127),
          axis: 0,
        }),
      ],
    ]);
    saveSync(state, path);
    expectSame(loadSync(path), state);
  });

  test('a file of the reference implementation, and its metadata', () => {
    const source = join(__dirname, '..', 'examples', 'char-lm', 'char-lm.safetensors');
    const state = loadSync(source);
    expect([...state].map(([key, { dtype, shape }]) => [key, dtype, shape])).toEqual([
      ['decoder.bias', 'float32', [63]],
      ['decoder.weight', 'float32', [63, 256]],
      ['embedding.weight', 'float32', [63, 48]],
      ['lstm.bias_hh_l0', 'float32', [1024]],
      ['lstm.bias_ih_l0', 'float32', [1024]],
      ['lstm.weight_hh_l0', 'float32', [1024, 256]],
      ['lstm.weight_ih_l0', 'float32', [1024, 48]],
    ]);
    expect(state.notes.get('vocabulary')).toHaveLength(63);
    saveSync(state, path);
    expect(readFileSync(path).equals(readFileSync(source))).toBe(true);
  });
});

describe('broken files', () => {
  const one = (fields: string): string => `{"a":{${fields}}}`;
  const f32 = (shape: string, offsets: string): string =>
    one(`"dtype":"F32","shape":${shape},"data_offsets":${offsets}`);
  const entry = (key: string, dtype: string, shape: string, begin: number, end: number): string =>
    `"${key}":{"dtype":"${dtype}","shape":${shape},"data_offsets":[${begin},${end}]}`;

  const cases: [string, Uint8Array, RegExp][] = [
    ['no bytes', Buffer.alloc(0), /ends at offset 0/],
    ['seven bytes', Buffer.alloc(7), /ends at offset 7/],
    ['a header longer than the file', file('{}', 0, 3n), /offset 0: .*is 3, but only 2 bytes follow/],
    ['a header of 2^63 bytes', file('{}', 0, 2n ** 63n), /offset 0: .*9223372036854775808/],
    ['a header of 2^64 - 1 bytes', file('{}', 0, 2n ** 64n - 1n), /offset 0: .*18446744073709551615/],
    ['an empty header', file(''), /offset 8: expected '{'/],
    ['an array for a header', file('[]'), /offset 8: expected '{'/],
    ['no JSON', file('{"a":'), /offset 13/],
    ['a trailing comma', file('{"a":{"dtype":"F32",}}'), /offset 28/],
    ['text after the header', file('{} x'), /offset 11: expected the end/],
    ['bytes that are no UTF-8', Buffer.concat([file('', 0, 4n), Buffer.from([123, 255, 34, 125])]), /UTF-8/],
    ['a string without an end', file('{"a'), /offset 9: a string is malformed/],
    ['a raw newline in a string', file('{"a\n":1}'), /offset 9: a string is malformed/],
    ['a tensor that is a number', file('{"a":1}'), /offset 13: expected '{'/],
    ['metadata that is a number', file('{"__metadata__":{"a":1}}'), /expected a string/],
    ['a null', file(f32('null', '[0,0]')), /expected '\['/],
    ['a shape of strings', file(f32('["1"]', '[0,4]'), 4), /expected a non-negative integer/],
    ['a nested shape', file(f32('[[1]]', '[0,4]'), 4), /expected a non-negative integer/],
    [
      'a negative size',
      file(f32('[-1]', '[0,4]'), 4),
      /expected a non-negative integer, got|header, got '-'/,
    ],
    ['a fractional size', file(f32('[1.5]', '[0,4]'), 4), /expected '\]'.*'\.'/],
    ['a size as 1e0', file(f32('[1e0]', '[0,4]'), 4), /expected '\]'.*'e'/],
    ['a size with a leading zero', file(f32('[01]', '[0,4]'), 4), /expected '\]'.*'1'/],
    ['a size of 2^53', file(f32('[9007199254740992]', '[0,4]'), 4), /too large/],
    ['a size of 2^64', file(f32('[18446744073709551616]', '[0,4]'), 4), /too large/],
    ['a product that overflows', file(f32('[4294967296,4294967296]', '[0,4]'), 4), /'a'.*too large/],
    [
      'a product that overflows to 0',
      file(f32(`[${'9007199254740991,'.repeat(40)}0]`, '[0,0]')),
      /'a'.*too large/,
    ],
    ['more elements than bytes', file(f32('[1000000000]', '[0,4]'), 4), /'a' has 4 bytes.*needs 4000000000/],
    ['fewer elements than bytes', file(f32('[1]', '[0,8]'), 8), /'a' has 8 bytes.*needs 4/],
    ['half an element', file(f32('[1]', '[0,6]'), 6), /'a' has 6 bytes/],
    ['data past the end', file(f32('[2]', '[0,8]'), 4), /'a' has data_offsets \[0, 8\) outside the 4 bytes/],
    ['offsets past 2^52', file(f32('[1]', '[4503599627370496,4503599627370500]'), 4), /'a'.*outside/],
    ['offsets in reverse', file(f32('[1]', '[4,0]'), 4), /'a' has data_offsets \[4, 0\)/],
    ['one offset', file(f32('[1]', '[0]'), 4), /'a' should have two data_offsets, got 1/],
    ['three offsets', file(f32('[1]', '[0,4,4]'), 4), /got 3/],
    ['a hole at the start', file(f32('[1]', '[4,8]'), 8), /'a' leaves a hole.*offset 4, expected 0/],
    ['data that is nobody’s', file(f32('[1]', '[0,4]'), 8), /end at offset 4, but there are 8/],
    [
      'overlapping tensors',
      file(`{${entry('a', 'F32', '[2]', 0, 8)},${entry('b', 'F32', '[1]', 4, 8)}}`, 8),
      /'b' overlaps.*offset 4, expected 8/,
    ],
    [
      'two tensors on the same bytes',
      file(`{${entry('a', 'F32', '[1]', 0, 4)},${entry('b', 'F32', '[1]', 0, 4)}}`, 4),
      /'b' overlaps/,
    ],
    [
      'a hole between tensors',
      file(`{${entry('a', 'U8', '[1]', 0, 1)},${entry('b', 'U8', '[1]', 2, 3)}}`, 3),
      /'b' leaves a hole.*offset 2, expected 1/,
    ],
    [
      'an unknown dtype',
      file(one('"dtype":"F31","shape":[],"data_offsets":[0,4]'), 4),
      /'a' has the dtype 'F31'; supported are F64/,
    ],
    [
      'an inherited name as dtype',
      file(one('"dtype":"constructor","shape":[],"data_offsets":[0,4]'), 4),
      /dtype 'constructor'/,
    ],
    [
      'a missing field',
      file(one('"dtype":"F32","shape":[]')),
      /'a' should have dtype, shape and data_offsets/,
    ],
    ['an unknown field', file(one('"dtype":"F32","stride":[]')), /'a' has an unknown field 'stride'/],
    [
      'a key twice',
      file(`{${entry('a', 'U8', '[0]', 0, 0)},${entry('a', 'U8', '[0]', 0, 0)}}`),
      /offset 61: the key 'a' occurs twice/,
    ],
    [
      'a key twice, once escaped',
      file(`{${entry('a', 'U8', '[0]', 0, 0)},${entry('\\u0061', 'U8', '[0]', 0, 0)}}`),
      /occurs twice/,
    ],
    ['a field twice', file(one('"dtype":"F32","dtype":"F32"')), /the key 'dtype' occurs twice/],
    [
      'module data that is no JSON',
      file('{"__metadata__":{"dynaquant":"{"}}'),
      /__metadata__\.dynaquant is not JSON/,
    ],
    ['module data that is an array', file('{"__metadata__":{"dynaquant":"[]"}}'), /should be an object/],
    ['a module without a type', file('{"__metadata__":{"dynaquant":"{\\"lstm\\":{}}"}}'), /module 'lstm'/],
  ];
  test.each(cases)('%s', async (_, bytes, message) => {
    const error = expect.objectContaining({
      name: 'CheckpointError',
      message: expect.stringMatching(message),
    });
    expect(() => loadSync(bytes)).toThrow(message);
    await expect(load(bytes)).rejects.toEqual(error);
    writeFileSync(path, bytes);
    expect(() => loadSync(path)).toThrow(message);
    await expect(load(path)).rejects.toEqual(error);
  });

  test('a deep header does not exhaust the stack', () => {
    expect(() => loadSync(file('{"a":'.repeat(1e5)))).toThrow(/offset/);
    expect(() => loadSync(file(f32('['.repeat(1e6), '[0,0]')))).toThrow(/offset/);
  });

  test('a file cut anywhere', () => {
    saveSync({ a: new Tensor(new Float32Array(3), [3]), b: new Tensor(new Uint8Array(2), [2]) }, path);
    const bytes = readFileSync(path);
    for (let length = 0; length < bytes.length; length++) {
      const cut = bytes.subarray(0, length);
      expect(() => loadSync(cut)).toThrow(expect.objectContaining({ name: 'CheckpointError' }));
    }
  });

  test('bytes flipped anywhere give a tensor or a CheckpointError', () => {
    saveSync(quantizeDynamic(new Linear(2, 2)).stateDict(), path);
    const bytes = readFileSync(path);
    for (let i = 0; i < bytes.length; i++) {
      for (const mask of [1, 32, 128, 255]) {
        bytes[i]! ^= mask;
        try {
          loadSync(bytes);
        } catch (error) {
          expect((error as Error).name).toBe('CheckpointError');
        }
        bytes[i]! ^= mask;
      }
    }
  });

  test('tensors may begin at any byte, as the format allows', () => {
    const bytes = file(
      `{${entry('a', 'U8', '[1]', 0, 1)},${entry('b', 'F32', '[1]', 1, 5)}}`,
      Buffer.of(7, 0, 0, 128, 63),
    );
    expect(loadSync(bytes).get('b')!.item()).toBe(1);
  });

  test('other objects keep their prototypes', () => {
    const state = loadSync(
      file(`{"__metadata__":{"__proto__":"x"},${entry('__proto__', 'U8', '[1]', 0, 1)}}`, 1),
    );
    expect([...state.keys()]).toEqual(['__proto__']);
    expect(state.notes.get('__proto__')).toBe('x');
    expect(({} as { dtype?: unknown }).dtype).toBeUndefined();
  });
});

describe('broken quantized tensors', () => {
  const plain = (scale: Tensor | undefined, zeroPoint: Tensor | undefined): Buffer => {
    // Each part is written under a name that save does not mind, and renamed in the bytes.
    const parts = new Map<string, Tensor>([['w', new Tensor(Int8Array.of(1, 2, 3, 4), [2, 2])]]);
    if (scale !== undefined) parts.set('x.scale', scale);
    if (zeroPoint !== undefined) parts.set('x.zero_point', zeroPoint);
    saveSync(parts, path);
    return Buffer.from(readFileSync(path).toString('latin1').replaceAll('"x.', '"w.'), 'latin1');
  };
  const scalar = (value: number): Tensor => new Tensor(Float32Array.of(value), []);
  const zero = new Tensor(Int32Array.of(0), []);

  test('as it should be', () => {
    expect(
      loadSync(plain(scalar(2), zero))
        .get('w')!
        .dequantize()
        .toArray(),
    ).toEqual([
      [2, 4],
      [6, 8],
    ]);
    expect(loadSync(plain(undefined, undefined)).get('w')!.dtype).toBe('int8');
  });

  const cases: [string, Tensor | undefined, Tensor | undefined, RegExp][] = [
    ['no scale', undefined, zero, /'w' is quantized, but 'w\.scale' is missing/],
    ['no zero point', scalar(1), undefined, /'w\.zero_point' is missing/],
    ['scale NaN', scalar(NaN), zero, /'w\.scale' should be positive and finite, got NaN at index 0/],
    ['scale 0', scalar(0), zero, /got 0 at index 0/],
    ['scale negative', scalar(-1), zero, /got -1 at index 0/],
    ['scale infinite', scalar(Infinity), zero, /got Infinity at index 0/],
    ['scale below float32', new Tensor(Float64Array.of(1e-300), []), zero, /got 1e-300 at index 0/],
    [
      'one scale bad',
      new Tensor(Float32Array.of(1, NaN), [2]),
      new Tensor(Int32Array.of(0, 0), [2]),
      /NaN at index 1/,
    ],
    [
      'too many scales',
      new Tensor(Float32Array.of(1, 1, 1), [3]),
      zero,
      /'w\.scale' should be float32 of shape \[2\], got float32 of shape \[3\]/,
    ],
    ['a matrix of scales', new Tensor(Float32Array.of(1, 1), [2, 1]), zero, /'w\.scale' should be/],
    ['integer scales', new Tensor(Int32Array.of(1), []), zero, /'w\.scale' should be float32 .* got int32/],
    [
      'a vector of zero points beside one scale',
      scalar(1),
      new Tensor(Int32Array.of(0), [1]),
      /'w\.zero_point' should be int32 of shape \[\]/,
    ],
    ['zero points of another type', scalar(1), scalar(0), /'w\.zero_point' should be int32/],
    ['a zero point of 128', scalar(1), new Tensor(Int32Array.of(128), []), /\[-128, 127\], got 128/],
  ];
  test.each(cases)('%s', (_, scale, zeroPoint, message) => {
    const bytes = plain(scale, zeroPoint);
    expect(() => loadSync(bytes)).toThrow(message);
    expect(() => loadSync(bytes)).toThrow(expect.objectContaining({ name: 'CheckpointError' }));
  });

  test('both missing, where the module data promise them', () => {
    const metadata = JSON.stringify(
      JSON.stringify({ '': { type: 'DynamicQuantizedLinear', dtype: 'qint8' } }),
    );
    const bytes = file(
      `{"__metadata__":{"dynaquant":${metadata}},"weight":{"dtype":"I8","shape":[1],"data_offsets":[0,1]}}`,
      1,
    );
    expect(() => loadSync(bytes)).toThrow(/'weight\.scale' is missing/);
  });
});

describe('save refuses', () => {
  const quantized = (dtype: DType, axis = 0): Tensor =>
    new Tensor(dtype === 'qint8' ? new Int8Array(4) : new Uint8Array(4), [2, 2], {
      dtype,
      qscheme: 'per_channel_affine',
      scales: Float64Array.of(1, 1),
      zeroPoints: new Int32Array(2),
      axis,
    });
  const one = new Tensor(Float32Array.of(1), []);
  const cases: [string, unknown, RegExp][] = [
    ['null', null, /state should be a Map of tensors, got null/],
    ['numbers', { a: 1 }, /state should hold \[name, Tensor\] pairs, got 1/],
    ['the reserved name', { __metadata__: one }, /'__metadata__' is reserved/],
    [
      'a name twice',
      [
        ['a', one],
        ['a', one],
      ],
      /'a' is taken twice/,
    ],
    ['a companion’s name', { 'w.scale': one, w: quantized('qint8') }, /'w\.scale' is taken twice/],
    [
      'a plain int8 that would come back quantized',
      { w: new Tensor(Int8Array.of(1), []), 'w.scale': one },
      /would be read as quantized/,
    ],
    ['quint8', { w: quantized('quint8') }, /'w' should be qint8/],
    ['another axis', { w: quantized('qint8', 1) }, /'w' should be quantized along axis 0, got 1/],
  ];
  test.each(cases)('%s', async (_, state, message) => {
    await expect(save(state as never, path)).rejects.toThrow(message);
    expect(() => saveSync(state as never, path)).toThrow(message);
    expect(readdirSync(directory)).toEqual([]);
  });

  test('a detached tensor', () => {
    const data = new Float32Array(2);
    const tensor = new Tensor(data, [2]);
    structuredClone(data, { transfer: [data.buffer] });
    expect(() => saveSync({ a: tensor }, path)).toThrow(/'a' has lost its data/);
  });

  test('a path of the wrong kind', async () => {
    await expect(save({}, 3 as never)).rejects.toThrow(/path should be a string or a file: URL, got 3/);
    await expect(load(null as never)).rejects.toThrow(TypeError);
    expect(() => loadSync({} as never)).toThrow(/path should be/);
  });

  test('a target that cannot be replaced: nothing is left behind', async () => {
    mkdirSync(join(path, 'in the way'), { recursive: true });
    await expect(save({ a: one }, path)).rejects.toThrow();
    expect(() => saveSync({ a: one }, path)).toThrow();
    expect(readdirSync(directory)).toEqual(['a.safetensors']);
    await expect(save({ a: one }, join(directory, 'none', 'a'))).rejects.toThrow(/ENOENT/);
  });
});
