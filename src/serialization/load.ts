import { type FileHandle } from 'node:fs/promises';
import { dirname, join } from 'node:path';

import { CheckpointError, checkOptions, describe } from '../errors.js';
import type { StateDict } from '../nn/module.js';
import {
  bytesFile,
  fileName,
  handleFile,
  openFile,
  openFileSync,
  readBytes,
  runAsync,
  runSync,
  type OpenFile,
  type Opener,
  type Steps,
} from './file.js';
import { readIndex, readSafetensors, readShards } from './safetensors.js';
import { isStream, readStream } from './torch-checkpoint/stream.js';
import { isTar, readTar } from './torch-checkpoint/tar.js';
import { readZip } from './torch-checkpoint/zip.js';

export interface LoadOptions {
  /**
   * Names of LSTMs and GRUs, quantized by PyTorch, that have one layer of two directions. Only needed where
   * `inputSize` equals `hiddenSize`: such a file does not tell two directions from two layers, and two layers are
   * assumed.
   */
  bidirectional?: Iterable<string>;
}

/** A path, a file URL, the bytes themselves, or an open file (which stays open). */
export type LoadSource = string | URL | Uint8Array | FileHandle;

/**
 * Reads a file of weights. What it is, its content says:
 *
 * - safetensors; or the `*.safetensors.index.json` of one in parts, which lie beside it
 * - what `torch.save` writes: zip archives (PyTorch 1.6 and newer), streams (before), tar archives (0.1)
 *
 * A state dict comes as {@link StateDict}, a Map of tensors. Anything else that a checkpoint holds is plain data:
 * dict is a Map, list, tuple and Size are arrays, None is null, int a number (or a bigint where that is not exact),
 * dtype and device are strings. Type parameter T says what the caller knows of the file; it is not checked.
 *
 * Modules that PyTorch quantized dynamically come as those here save themselves: the float module's keys, quantized
 * tensors with PyTorch's own integers, and metadata with the activation mode. So `loadStateDict` takes them.
 *
 * Each tensor is read from its place in the file into memory of its own. Tensors that PyTorch saved as views of the
 * same elements share it; of other views (transposed, say) each has a contiguous copy. complex tensors are floats with
 * a last dimension of 2, as `torch.view_as_real` gives them.
 *
 * Nothing in a file is ever run: functions, classes and whole modules are refused.
 *
 * @throws {CheckpointError} when the file is broken, truncated or hostile, or holds what is refused; the sentence names
 * offset or key
 */
export async function load<T = StateDict>(source: LoadSource, options: LoadOptions = {}): Promise<T> {
  if (isBytes(source)) return loadSync<T>(source, options);
  const bidirectional = checkLoadOptions(options);
  if (isHandle(source)) {
    return (await runAsync(readFile(await handleFile(source), null, bidirectional))) as T;
  }
  return (await runAsync(readPath(fileName(source), openFile, bidirectional))) as T;
}

/** {@link load}, synchronously. */
export function loadSync<T = StateDict>(source: string | URL | Uint8Array, options: LoadOptions = {}): T {
  const bidirectional = checkLoadOptions(options);
  const steps = isBytes(source)
    ? readFile(bytesFile(source), null, bidirectional)
    : readPath(fileName(source), openFileSync, bidirectional);
  return runSync(steps) as T;
}

function* readPath(path: string, open: Opener, bidirectional: ReadonlySet<string>): Steps<unknown> {
  const openBeside = (name: string): unknown => open(join(dirname(path), name));
  const file = (yield open(path)) as OpenFile;
  try {
    return yield* readFile(file, openBeside, bidirectional);
  } finally {
    yield file.close();
  }
}

/** @param openBeside - opens another file of the same folder, if there is one */
function* readFile(
  file: OpenFile,
  openBeside: Opener | null,
  bidirectional: ReadonlySet<string>,
): Steps<unknown> {
  const head = yield* readBytes(file, 0, Math.min(file.size, 512));
  const text = Buffer.from(head).toString('latin1');
  if (/^PK(\x03\x04|\x05\x06)/.test(text)) return yield* readZip(file, bidirectional);
  if (isStream(head)) return yield* readStream(file, bidirectional);
  if (isTar(head)) return yield* readTar(file, bidirectional);
  if (/^\s*\{[^\0]{7}/.test(text)) {
    if (openBeside === null)
      throw new CheckpointError('an index is loaded by its path, for the parts it names lie beside it');
    return yield* readShards(yield* readIndex(file), openBeside);
  }
  // A safetensors file whose header is 640 bytes long begins like a pickle, but goes on otherwise.
  if (head[0] === 0x80 && text[8] !== '{')
    throw new CheckpointError('offset 0: a pickle that is no checkpoint: write it with torch.save');
  if (text.startsWith('version https://git-lfs'))
    throw new CheckpointError('offset 0: a pointer of Git LFS, not the file itself: git lfs pull');
  return yield* readSafetensors(file);
}

function checkLoadOptions(options: LoadOptions): ReadonlySet<string> {
  checkOptions('load', options, ['bidirectional']);
  const { bidirectional = [] } = options;
  if (typeof bidirectional !== 'object' || bidirectional === null || !(Symbol.iterator in bidirectional))
    throw new TypeError(`bidirectional should be an array or Set of names, got ${describe(bidirectional)}`);
  return new Set(bidirectional);
}

function isBytes(value: unknown): value is Uint8Array {
  return ArrayBuffer.isView(value) && value[Symbol.toStringTag as never] === 'Uint8Array';
}

function isHandle(value: unknown): value is FileHandle {
  return typeof value === 'object' && value !== null && 'stat' in value && 'read' in value;
}
