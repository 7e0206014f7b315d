import { randomFillSync } from 'node:crypto';
import { open } from 'node:fs/promises';
import { crc32, deflateRawSync } from 'node:zlib';

import { load, loadSync } from '../src/serialization/load.js';
import { RawTensor, type Tensor } from '../src/tensor/index.js';
import { contentsOf, expected, fixture, hexOf, pathOf } from './format-files.js';
import { zip } from './checkpoint-files.js';

describe('archives', () => {
  test.each(['stored.npz', 'deflated.npz'])('%s holds every dtype, order and shape', async (file) => {
    const handle = await open(pathOf(file));
    const states = [
      loadSync(pathOf(file)),
      loadSync(fixture(file)),
      await load(pathOf(file)),
      await load(handle),
      await load(new Blob([fixture(file)])),
    ];
    await handle.close();
    for (const state of states) expect(contentsOf(state)).toEqual(expected['stored.npz']);
    expect(states[0]!.get('>f4')).toMatchObject({ dtype: 'float32', shape: [2, 3, 4] });
    expect(states[0]!.raw.get('>u2')).toBeInstanceOf(RawTensor);
  });
  test('arrays of objects and fields are left out, and said to be', () => {
    const state = loadSync(pathOf('mixed.npz'));
    expect(contentsOf(state)).toEqual(expected['mixed.npz']);
    expect(state.assumptions).toEqual([
      'config is left out: an array of Python objects, which is a pickle: save arrays of numbers',
      'fields is left out: a structured array: save each of its fields as an array',
    ]);
  });
  test('one of nothing else is refused', () => {
    expect(() => loadSync(pathOf('objects.npz'))).toThrow(/^key 'params': an array of Python objects/);
  });
});

describe('arrays', () => {
  test.each(['version1.npy', 'version2.npy', 'version3.npy', 'fortran.npy'])('%s', async (file) => {
    for (const source of [pathOf(file), fixture(file)]) {
      expect(hexOf(loadSync<Tensor | RawTensor>(source))).toEqual(expected[file]!['']);
      expect(hexOf(await load<Tensor | RawTensor>(source))).toEqual(expected[file]!['']);
    }
  });
  test.each([
    ['objects.npy', /^offset 0: an array of Python objects, which is a pickle: save arrays of numbers$/],
    ['fields.npy', /^offset 0: a structured array: save each of its fields as an array$/],
  ])('%s is refused', async (file, message) => {
    expect(() => loadSync(pathOf(file))).toThrow(message);
    await expect(load(pathOf(file))).rejects.toMatchObject({ name: 'CheckpointError' });
  });
  test('a large one of the other order is not held twice', () => {
    const [rows, columns] = [3000, 1000];
    const values = Float32Array.from({ length: rows * columns }, (_, i) => i);
    const file = npy(`{'descr': '<f4', 'fortran_order': True, 'shape': (${columns}, ${rows}), }`, values);
    const array = loadSync<Tensor>(file);
    expect(array.shape).toEqual([columns, rows]);
    expect([array.data[1], array.data[rows], array.data[rows * columns - 1]]).toEqual([
      columns,
      1,
      values.at(-1),
    ]);
  });
});

/** A file with this header and data. */
function npy(header: string, data: ArrayBufferView, version = 1): Buffer {
  const start = Buffer.from(`\x93NUMPY${String.fromCharCode(version)}\0\0\0\0\0`, 'latin1');
  if (version === 1) start.writeUInt16LE(header.length, 8);
  else start.writeUInt32LE(header.length, 8);
  const elements = Buffer.from(data.buffer, data.byteOffset, data.byteLength);
  return Buffer.concat([start.subarray(0, version === 1 ? 10 : 12), Buffer.from(header, 'latin1'), elements]);
}

describe('headers', () => {
  const four = Uint8Array.of(0, 0, 128, 63);
  test.each([
    `{"shape": (1L,), "fortran_order": False, "descr": "<f4"}`,
    `{'descr':'=f4','fortran_order':True,'shape':(1,)}`,
    `{'descr': '<f4', 'fortran_order': False, 'shape': (1, 1, 1), }     \n`,
  ])('%s', (header) => {
    expect([...loadSync<Tensor>(npy(header, four)).data]).toEqual([1]);
  });
  const shaped = (shape: string, descr = '<f4'): string =>
    `{'descr': '${descr}', 'fortran_order': False, 'shape': ${shape}, }`;
  test.each<[string, string, RegExp]>([
    ['too little data', shaped('(2,)'), /^offset 0: float32 of shape \[2\] needs 8 bytes, but 4 follow$/],
    ['too much data', shaped('()', '|i1'), /^offset 0: int8 of shape \[\] needs 1 bytes, but 4 follow$/],
    ['a huge size', shaped('(99999999999999999,)'), /^offset 0: shape should have at most 64 sizes, got/],
    [
      'a huge product',
      shaped('(9999999999, 9999999999, 9999999999)'),
      /needs 3.99\d+e\+30 bytes, but 4 follow/,
    ],
    ['too many dimensions', shaped(`(${'1, '.repeat(65)})`), /^offset 0: shape should have at most 64 sizes/],
    ['no shape', shaped('None'), /^offset 0: the header has no shape$/],
    ['a negative size', shaped('(-1,)'), /^offset 0: the header has no shape$/],
    ['no order', "{'descr': '<f4', 'shape': (1,)}", /^offset 0: the header has no fortran_order$/],
    ['no descr', "{'fortran_order': False, 'shape': (1,)}", /^offset 0: the header has no descr$/],
    ['an unknown dtype', shaped('(1,)', '<q4'), /^offset 0: the dtype '<q4' is unknown$/],
    ['elements of no bytes', shaped('(1,)', '|V0'), /^offset 0: the dtype '\|V0' is unknown$/],
  ])('%s', (_, header, message) => {
    expect(() => loadSync(npy(header, four))).toThrow(message);
  });
  test('a version to come', () => {
    expect(() => loadSync(npy(shaped('(1,)'), four, 4))).toThrow(
      /^offset 0: version 4 of the format is unknown/,
    );
  });
  test('one that is too long, or cut off', () => {
    expect(() => loadSync(npy(shaped('(1,)') + ' '.repeat(10_000), four, 2))).toThrow(
      /^offset 0: the header should have at most 10000 bytes, got 10\d+$/,
    );
    expect(() => loadSync(npy(shaped('(1,)'), four).subarray(0, 20))).toThrow(
      /^offset 10: \d+ bytes should follow/,
    );
    expect(() => loadSync(Buffer.from('\x93NUMPY\x01', 'latin1'))).toThrow(
      /^offset 0: an array of NumPy should/,
    );
  });
});

describe('compressed archives', () => {
  const good = fixture('version1.npy');
  /** An archive of one compressed record that claims something about itself. */
  const archive = (claims: { size?: number; crc?: number; method?: number; data?: Buffer } = {}): Buffer => {
    const stored = deflateRawSync(claims.data ?? good, { level: 1 });
    const bytes = Buffer.from(zip([{ name: 'w.npy', data: stored }]));
    const entry = bytes.lastIndexOf('PK\x01\x02', undefined, 'latin1');
    bytes.writeUInt16LE(claims.method ?? 8, entry + 10);
    bytes.writeUInt32LE(claims.crc ?? crc32(claims.data ?? good), entry + 16);
    bytes.writeUInt32LE(claims.size ?? (claims.data ?? good).length, entry + 24);
    return bytes;
  };
  test('load', () => {
    expect(hexOf(loadSync(archive()).get('w')!)).toEqual(expected['version1.npy']!['']);
  });
  test.each<[string, Buffer, RegExp]>([
    [
      'another size',
      archive({ size: good.length - 1 }),
      /^offset 0: record 'w.npy' cannot be unpacked: it should have 223 bytes$/,
    ],
    [
      'a larger size',
      archive({ size: good.length + 1 }),
      /^offset 0: record 'w.npy' cannot be unpacked: it should have 225 bytes$/,
    ],
    [
      'another CRC',
      archive({ crc: 1 }),
      /^offset 0: record 'w.npy' cannot be unpacked: it is damaged: its CRC-32 differs$/,
    ],
    [
      'another method',
      archive({ method: 9 }),
      /^offset 0: record 'w.npy' is encrypted, or compressed in a rare way$/,
    ],
    [
      'a size that no file has',
      archive({ size: 2 ** 31 }),
      /^record 'w.npy': the file unfolds to far more than its own size/,
    ],
  ])('%s', async (_, bytes, message) => {
    expect(() => loadSync(bytes)).toThrow(message);
    await expect(load(new Blob([bytes]))).rejects.toThrow(message);
  });
  test('weights unfold to four times their size, bombs do not', () => {
    const header = "{'descr': '<f4', 'fortran_order': False, 'shape': (20000000,), }";
    const zeros = npy(header, new Float32Array(2e7));
    expect(() => loadSync(archive({ data: zeros }))).toThrow(/unfolds to far more than its own size/);
    const values = new Uint8Array(2 ** 26);
    randomFillSync(values, 0, 2 ** 24);
    const half = npy(`{'descr': '|u1', 'fortran_order': False, 'shape': (${2 ** 26},), }`, values);
    expect(loadSync(archive({ data: half })).get('w')!.shape).toEqual([2 ** 26]);
  });
});
