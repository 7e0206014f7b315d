import { CheckpointError, checkOptions, describe, listOf, typeError } from '../errors.js';
import type { StateDict } from '../nn/module.js';
import { Budget, runAsync, runSync, type OpenFile, type Steps } from './file.js';
import { formatOf, type Format } from './formats/format.js';
import { npy } from './formats/numpy/npy.js';
import { npz } from './formats/numpy/npz.js';
import { refused } from './formats/refused.js';
import { safetensors } from './formats/safetensors/read.js';
import { sharded } from './formats/sharded.js';
import { torchStream } from './formats/torch-checkpoint/stream.js';
import { torchTar } from './formats/torch-checkpoint/tar.js';
import { torchZip } from './formats/torch-checkpoint/zip.js';
import { bytesIn, openSource, openSourceSync, type LoadSource, type SyncLoadSource } from './source.js';

/** The formats in the order in which they are asked. safetensors has no magic number, so it comes last. */
export const formats: readonly Format[] = [
  npy,
  npz,
  torchZip,
  torchStream,
  torchTar,
  sharded,
  refused,
  safetensors,
];

/** Options of {@link load} and {@link loadSync}. */
export interface LoadOptions {
  /**
   * Names of LSTMs and GRUs, quantized by PyTorch, that have one layer of two directions. Only needed if `inputSize`
   * equals `hiddenSize`: such a file does not tell two directions from two layers, and `load` assumes two layers.
   */
  bidirectional?: Iterable<string>;
}

/**
 * Reads a file of weights. Its content says what it is:
 *
 * - safetensors
 * - what `torch.save` writes: zip archives (PyTorch 1.6 and newer), streams (before), tar archives (0.1)
 * - the `*.safetensors.index.json` or `*.bin.index.json` of weights in parts, which lie beside it
 * - NumPy's `.npz`, a state dict, and `.npy`, one Tensor or RawTensor
 *
 * A state dict comes as {@link StateDict}, a Map of tensors; those of other dtypes are in its `raw`. Anything else that a
 * checkpoint holds is plain data: dict is a Map, list, tuple and Size are arrays, None is null, int a number (or a bigint
 * if a number is not exact), dtype and device are strings. The type parameter T is what the caller knows about the file; it is not checked.
 *
 * Modules that PyTorch quantized dynamically come in the form in which modules here are saved: the float module's
 * keys, quantized tensors with PyTorch's own integers, and metadata with the activation mode. So `loadStateDict`
 * takes them.
 *
 * Each tensor is read from its place in the file into memory of its own. Tensors that PyTorch saved as views of the
 * same elements share it; other views (transposed, say) become contiguous copies. complex tensors are floats with
 * a last dimension of 2, as `torch.view_as_real` gives them.
 *
 * Nothing in a file is ever run: functions, classes and whole modules are refused.
 *
 * @throws {TypeError} when `source` is none of these
 * @throws {RangeError} when it is an address of the web, a response without success, or a buffer that was detached
 * @throws {CheckpointError} when the file is broken, truncated or hostile, or holds what is refused; the sentence names
 * offset or key
 */
export async function load<T = StateDict>(source: LoadSource, options: LoadOptions = {}): Promise<T> {
  if (bytesIn(source) !== undefined) return loadSync<T>(source as SyncLoadSource, options);
  const bidirectional = bidirectionalOf(options);
  return (await runAsync(readAndClose(await openSource(source), bidirectional))) as T;
}

/** {@link load}, synchronously: of a path, a file URL or bytes. */
export function loadSync<T = StateDict>(source: SyncLoadSource, options: LoadOptions = {}): T {
  const bidirectional = bidirectionalOf(options);
  return runSync(readAndClose(openSourceSync(source), bidirectional)) as T;
}

function* readAndClose(file: OpenFile, bidirectional: ReadonlySet<string>): Steps<unknown> {
  try {
    return yield* readFile(file, bidirectional);
  } finally {
    yield file.close();
  }
}

/** Reads a file as the first format that recognises it. */
export function* readFile(
  file: OpenFile,
  bidirectional: ReadonlySet<string> = new Set(),
  among: readonly Format[] = formats,
): Steps<unknown> {
  const format = yield* formatOf(file, among);
  if (format === undefined) throw new CheckpointError('offset 0: no file of weights begins like this');
  return yield* format.read(file, { budget: new Budget(file), bidirectional });
}

function bidirectionalOf(options: LoadOptions): ReadonlySet<string> {
  checkOptions('load', options, ['bidirectional']);
  const { bidirectional = [] } = options;
  const sentenceOf = (value: unknown): string =>
    `bidirectional should be an array or Set of names, got ${describe(value)}`;
  const names = listOf('bidirectional', bidirectional, sentenceOf(bidirectional));
  for (const name of names)
    if (typeof name !== 'string') throw typeError('ERR_INVALID_ARG_TYPE', sentenceOf(name));
  return new Set(names as string[]);
}
