import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { bytesFile, runSync } from '../src/serialization/file.js';
import { formats, load, loadSync, readFile } from '../src/serialization/load.js';
import { zip } from './checkpoint-files.js';
import { fixture, pathOf } from './format-files.js';

// What make_foreign.py writes: the beginnings and ends of files that other programs made.
const foreign = JSON.parse(fixture('foreign.json').toString()) as Record<
  string,
  [head: string, tail: string]
>;

function foreignFile(kind: string): Buffer {
  const [head, tail] = foreign[kind]!.map((hex) => Buffer.from(hex, 'hex')) as [Buffer, Buffer];
  return head.length < 512 ? head : Buffer.concat([head, Buffer.alloc(100), tail]);
}

const sentences: [kind: string, message: RegExp][] = [
  ['gzip', /^offset 0: a gzip archive: unpack it first \(gunzip\)$/],
  ['bz2', /^offset 0: a bzip2 archive: unpack it first/],
  ['xz', /^offset 0: an xz archive: unpack it first/],
  ['tar', /is no checkpoint of PyTorch's: if it holds one, unpack it first$/],
  ['gguf', /^offset 0: a GGUF file of llama.cpp: load the file that it was made from, in safetensors/],
  ['coreml', /^offset 0: a model of Core ML: load the file that it was made from$/],
  [
    'tensorflow SavedModel',
    /^offset 0: a SavedModel of TensorFlow: read its variables with tf.train.load_checkpoint/,
  ],
  ['tensorflow checkpoint', /^offset 0: a checkpoint of TensorFlow: read its variables with/],
  ['tensorflow checkpoint of version 1', /^offset 0: a checkpoint of TensorFlow: read/],
  [
    'tensorflow checkpoint list',
    /^offset 0: the list of checkpoints of TensorFlow, whose weights are elsewhere/,
  ],
  ['tensorflow frozen graph', /^offset 0: a graph of TensorFlow: read its variables with/],
  ['tensorflow meta graph', /^offset 0: a graph of TensorFlow: read its variables with/],
  ['tensorflow lite', /^offset 0: a model of TensorFlow Lite: load the file that it was made from$/],
  ['paddle pdparams', /^offset 0: a pickle of NumPy arrays, as PaddlePaddle writes it too/],
  ['paddle pdiparams', /^offset 0: parameters of PaddlePaddle: save its arrays in Python with numpy.savez/],
  ...[0, 1, 2, 3, 4, 5].map((protocol): [string, RegExp] => [
    `numpy pickle ${protocol}`,
    /^offset 0: a pickle of NumPy arrays, .* save its arrays in Python with numpy.savez\(path, \*\*arrays\)$/,
  ]),
  ['numpy pickle of an OrderedDict', /^offset 0: a pickle of NumPy arrays/],
  ...[0, 1, 2, 3, 4, 5].map((protocol): [string, RegExp] => [
    `pickle ${protocol}`,
    /^offset 0: a pickle that is no checkpoint: write it with torch.save$/,
  ]),
];
test('every kind that make_foreign.py writes is here', () => {
  expect(sentences.map(([kind]) => kind).sort()).toEqual(Object.keys(foreign).sort());
});
test.each(sentences)('%s', async (kind, message) => {
  expect(() => loadSync(foreignFile(kind))).toThrow(message);
  await expect(load(foreignFile(kind))).rejects.toMatchObject({ name: 'CheckpointError' });
});

test.each<[string, string | Buffer, RegExp]>([
  ['an empty file', '', /^offset 0: the file is empty: it was not written or downloaded to its end$/],
  [
    'an HTML page',
    '<!DOCTYPE html>\n<html><body>Sign in</body></html>',
    /^offset 0: an HTML page, not the file/,
  ],
  ['an HTML page after white space', '\ufeff\n <HTML lang="en">', /^offset 0: an HTML page, not the file/],
  [
    'an XML error',
    '<?xml version="1.0"?><Error><Code>AccessDenied</Code></Error>',
    /^offset 0: XML, perhaps/,
  ],
  [
    'a pointer',
    'version https://git-lfs.github.com/spec/v1\noid sha256:0\n',
    /^offset 0: a pointer of Git LFS.*: git lfs pull$/,
  ],
  [
    'JSON',
    '{"architectures": ["BertModel"]}',
    /^JSON without a weight_map is no index of weights: load the file of weights$/,
  ],
  ['a list in JSON', '[{"a": 1}]', /^offset 0: JSON, not weights: load the file of weights itself$/],
  ['short JSON', '{}', /^offset 0: JSON, not weights/],
  ['text', 'hello, world', /^offset 0: text, not a file of weights$/],
  ['Zstandard', Buffer.from('28b52ffd2400', 'hex'), /^offset 0: a Zstandard archive: unpack it first/],
  ['7z', Buffer.from('377abcaf271c0004', 'hex'), /^offset 0: a 7z archive: unpack it first$/],
  ['LZ4', Buffer.from('04224d1864', 'hex'), /^offset 0: an LZ4 archive/],
  ['RAR', Buffer.from('526172211a0701', 'hex'), /^offset 0: a RAR archive/],
  ['GGML', Buffer.from('6c6d6767', 'hex'), /^offset 0: a GGML file of llama.cpp or whisper.cpp/],
  [
    'ONNX Runtime',
    Buffer.from('200000004f52544d0000', 'hex'),
    /^offset 0: a model of ONNX Runtime's own format/,
  ],
  [
    '.t7',
    Buffer.from('\x04\0\0\0\x01\0\0\0\x03\0\0\0V 1\x11\0\0\0', 'latin1'),
    /^offset 0: a file of Lua Torch \(\.t7\)/,
  ],
  [
    '.t7 of a table',
    Buffer.from('\x03\0\0\0\x01\0\0\0\x02\0\0\0', 'latin1'),
    /^offset 0: a file of Lua Torch/,
  ],
  ['.t7 in ASCII', '4\n1\n3\nV 1\n17\nnn.Sequential\n', /^offset 0: a file of Lua Torch/],
  [
    'torch.package',
    fixture('package.pt'),
    /^a torch.package, whose weights need its code: load it in Python/,
  ],
  [
    'a zip of files',
    zip([
      { name: 'data', data: Buffer.from('{}') },
      { name: 'policy.pth', data: Buffer.from('') },
    ]),
    /^a zip archive of files: unpack it, and load 'policy.pth' or what else there is$/,
  ],
  [
    'another zip',
    zip([{ name: 'a/b', data: Buffer.from('') }]),
    /^a zip archive without 'data.pkl' is no checkpoint/,
  ],
])('%s', async (_, data, message) => {
  const bytes = Buffer.from(data);
  expect(() => loadSync(bytes)).toThrow(message);
  await expect(load(bytes)).rejects.toMatchObject({ name: 'CheckpointError' });
});

test('what nobody knows', () => {
  expect(() => loadSync(Buffer.from('f1f2f301f5f6f7f8f9', 'hex'))).toThrow(
    /^offset 0: no file of weights begins like this \(a header of safetensors would have 1794\d+ bytes\)$/,
  );
});

test('a folder', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'dynaquant-test-'));
  const message = /is no regular file, but a directory: load the file of weights in it$/;
  expect(() => loadSync(folder)).toThrow(message);
  await expect(load(folder)).rejects.toThrow(message);
  rmSync(folder, { recursive: true });
});

describe('real files are not mistaken', () => {
  const refused = formats.filter(({ name }) => name === 'refused');
  const recognised = (bytes: Uint8Array): unknown => {
    try {
      return runSync(readFile(bytesFile(bytes), undefined, refused));
    } catch (error) {
      return (error as Error).message;
    }
  };
  const unknown = 'offset 0: no file of weights begins like this';
  // Lengths of a header whose low bytes look like another format's beginning.
  const starts = [
    '\x80\x02',
    '\x80\x05',
    '\x1f\x8b\x08',
    'BZh',
    '{"a',
    ' <h',
    'GGU',
    '\x08\x01\x12',
    '\n\x05\n',
    '[["',
    '}q\0',
  ];
  test.each(starts)('a safetensors file that begins with %j', (start) => {
    for (const first of ['{', ' ', '\n', '\t', '\r']) {
      const head = `${start}\0\0\0\0\0\0`.slice(0, 8) + `${first}{"x":numpy\n`;
      expect(recognised(Buffer.from(head, 'latin1'))).toBe(unknown);
    }
  });
  test.each(['stored.npz', 'version1.npy', 'dtypes.safetensors', 'package.pt'])('%s', (file) => {
    expect(recognised(readFileSync(pathOf(file)))).toBe(unknown);
  });
});
