import { CheckpointError, describe } from '../../errors.js';
import { latin1, readBytes, type OpenFile, type Steps } from '../file.js';
import { headSize, type Format } from './format.js';
import { beginsAsSafetensors } from './safetensors/header.js';

// Files that people mistake for weights, or that hold weights in a way that is not read here. They are recognised only to
// say what they are and what to do.

const original = 'load the file that it was made from';
const unpack = 'unpack it first';
const viaNumpy = 'save its arrays in Python with numpy.savez(path, **arrays)';
const viaTensorFlow = `read its variables with tf.train.load_checkpoint, and ${viaNumpy}`;

/** What a file is, and how it begins: its first bytes as Latin-1. The first that fits counts. */
const beginnings = (): readonly (readonly [what: string, begins: RegExp])[] => [
  ['the file is empty: it was not written or downloaded to its end', /^$/],
  ['a pointer of Git LFS, not the file itself: git lfs pull', /^version https:\/\/git-lfs/],
  [
    'an HTML page, not the file: its own address is another, or asks for a login',
    /^(\xef\xbb\xbf)?\s*<(!doctype html|html|head|body)\b/i,
  ],
  ['XML, perhaps the error of a server: download the file itself', /^(\xef\xbb\xbf)?\s*<(\?xml|error)\b/i],
  ['JSON, not weights: load the file of weights itself', /^\s*[[{]\s*(["[\]{}\d-]|$)/],
  [`a gzip archive: ${unpack} (gunzip)`, /^\x1f\x8b\x08/],
  [`a Zstandard archive: ${unpack} (unzstd)`, /^\x28\xb5\x2f\xfd/],
  [`an xz archive: ${unpack} (unxz)`, /^\xfd7zXZ\0/],
  [`a bzip2 archive: ${unpack} (bunzip2)`, /^BZh[1-9]1AY&SY/],
  [`a 7z archive: ${unpack}`, /^7z\xbc\xaf\x27\x1c/],
  [`an LZ4 archive: ${unpack} (unlz4)`, /^\x04\x22\x4d\x18/],
  [`a RAR archive: ${unpack}`, /^Rar!\x1a\x07/],
  [`a GGUF file of llama.cpp: ${original}, in safetensors or PyTorch's format`, /^GGUF/],
  [
    `a GGML file of llama.cpp or whisper.cpp: ${original}, in safetensors or PyTorch's format`,
    /^(lmgg|fmgg|tjgg|algg)/,
  ],
  [`a model of TensorFlow Lite: ${original}`, /^.{4}TFL3/s],
  [`a model of ONNX Runtime's own format: ${original}, in ONNX`, /^.{4}ORTM/s],
  [
    `a SavedModel of TensorFlow: ${viaTensorFlow}`,
    /^\x08\x01\x12[\x80-\xff]+[\0-\x7f]\n[\x80-\xff]*[\0-\x7f]\x12/,
  ],
  [
    `a graph of TensorFlow: ${viaTensorFlow}`,
    /^\n[\x80-\xff]*[\0-\x7f](\x12[\x80-\xff]*[\0-\x7f]\n[\x80-\xff]*[\0-\x7f])?\n[\0-\x7f][\w./-]+[\x12\x1a][\0-\x7f]/,
  ],
  [
    `a model of Core ML: ${original}`,
    /^\x08[\x01-\x1f]\x12[\x80-\xff]*[\0-\x7f]\n[\x80-\xff]*[\0-\x7f]\n[\x01-\x7f]\w/,
  ],
  [
    `the list of checkpoints of TensorFlow, whose weights are elsewhere: ${viaTensorFlow}`,
    /^model_checkpoint_path: "/,
  ],
  [
    'a file of Lua Torch (.t7): load it in Python with torchfile, and save its tensors with numpy.savez',
    /^([\x03\x04]\0\0\0\x01\0\0\0|4\n1\n3\nV 1\n|3\n1\n\d+\n[1-8]\n)/,
  ],
  [`parameters of PaddlePaddle: ${viaNumpy}`, /^\0{16}[\x02-\x40]\0\0\0\x08[\0-\x20]\x10/],
  [
    `a pickle of NumPy arrays, as PaddlePaddle writes it too, not of PyTorch's: ${viaNumpy}`,
    /^(\x80[\x02-\x05]|\([dl]|[}\]]q\0|c[\w.]+\n).*?[c\x05\x10-\x1f]numpy[\w.]*[\n\x94]/s,
  ],
  [
    'a pickle that is no checkpoint: write it with torch.save',
    /^(\x80[\x02-\x05]|\([dl]p\d+\n|[}\]]q\0|c[\w.]+\n\w+\n)/,
  ],
  ['text, not a file of weights', /^[\t\n\r\x20-\x7e\x80-\xff]+$/],
];

/** The last bytes of a table of TensorFlow: the index of a checkpoint, or a whole one of its first version. */
const tableEnd = '\x57\xfb\x80\x8b\x24\x75\x47\xdb';

/** What a file is that no other format recognises; undefined if it is unknown, or safetensors. */
function* whatItIs(head: Uint8Array, file: OpenFile): Steps<string | undefined> {
  if (beginsAsSafetensors(head)) return undefined;
  const text = latin1(head);
  const known = beginnings().find(([, begins]) => begins.test(text));
  if (known !== undefined || file.size < 48) return known?.[0];
  const end = latin1(yield* readBytes(file, file.size - tableEnd.length, tableEnd.length));
  if (end !== tableEnd) return undefined;
  return `a checkpoint of TensorFlow: ${viaTensorFlow}`;
}

export const refused: Format = {
  name: 'refused',
  *recognises(head, file) {
    return (yield* whatItIs(head, file)) !== undefined;
  },
  *read(file) {
    const head = yield* readBytes(file, 0, Math.min(file.size, headSize));
    throw new CheckpointError(`offset 0: ${yield* whatItIs(head, file)}`);
  },
};

/** What a zip archive is that is no checkpoint, by the names of its records. */
export function whatZipIs(names: readonly string[]): string {
  if (names.some((name) => /(^|\/)\.data\//.test(name)))
    return "a torch.package, whose weights need its code: load it in Python with torch.package, and torch.save the model's state_dict()";
  const inside = names.find((name) => /\.(safetensors|pth?|ckpt|bin|np[yz]|h5|keras|onnx)$/.test(name));
  if (inside !== undefined)
    return `a zip archive of files: unpack it, and load ${describe(inside)} or what else there is`;
  return "a zip archive without 'data.pkl' is no checkpoint of PyTorch's";
}
