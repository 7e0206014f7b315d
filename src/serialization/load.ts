import {
  CheckpointError,
  checkBoolean,
  checkOptions,
  checkSize,
  describe,
  listOf,
  typeError,
} from '../errors.js';
import type { StateDict } from '../nn/module.js';
import { Budget, runAsync, runSync, type OpenFile, type Steps } from './file.js';
import { formatOf, type Format } from './formats/format.js';
import type * as all from './formats/index.js';
import { certainSafetensors } from './formats/safetensors/read.js';
import { bytesIn, openSource, openSourceSync, type LoadSource, type SyncLoadSource } from './source.js';

/** Options of {@link load} and {@link loadSync}. */
export interface LoadOptions {
  /**
   * Names of LSTMs and GRUs, quantized by PyTorch, that have one layer of two directions. Only needed if `inputSize`
   * equals `hiddenSize`: such a file does not tell two directions from two layers. `load` then assumes two layers, and
   * says so in the state dict's `assumptions`.
   */
  bidirectional?: Iterable<string>;
  /**
   * Whether a checkpoint that names any class or function which is no plain data is refused. By default what it would
   * make comes as an {@link OpaqueValue}, and the weights beside it load.
   */
  strict?: boolean;
  /**
   * The bytes that values may take in memory. Default: the file's size, and 32 MiB or 64 bytes for each byte of its
   * pickles, headers and directories, whichever is more; it is enough for what PyTorch writes. More lets a file that you
   * trust unfold further.
   */
  memoryLimit?: number;
}

/** {@link LoadOptions}, checked. */
export interface LoadSettings {
  readonly bidirectional: ReadonlySet<string>;
  readonly strict: boolean;
  readonly memoryLimit?: number;
}

/**
 * Reads a file of weights. Its content says what it is:
 *
 * - safetensors
 * - what `torch.save` writes: zip archives (PyTorch 1.6 and newer), streams (before), tar archives (0.1)
 * - the `*.safetensors.index.json` or `*.bin.index.json` of weights in parts, which lie beside it
 * - NumPy's `.npz`, a state dict, and `.npy`, one Tensor or RawTensor
 * - ONNX, with external data beside it; and Keras's weights, 2 and 3: `.keras`, `.weights.h5`, `.h5`, as a state dict of PyTorch's names and layouts; what they
 *   do not say, or what has no counterpart, is in its `assumptions`
 *
 * A state dict comes as {@link StateDict}, a Map of tensors. Anything else that a checkpoint holds is plain data:
 *
 * - dict is a Map, whose keys may be null or arrays (tuples); set is a Set; list, tuple, Size and complex are arrays
 * - None is null; int a number (or a bigint if a number is not exact); bytes, bytearray and storages are Uint8Arrays
 * - dtype, device, layout and tensor types are strings
 * - a tensor of a dtype with which this library does not compute is a {@link RawTensor}; in a state dict it is among
 *   `raw`
 * - a sparse, meta or qint32 tensor is a Map of its parts (`layout`, `indices`, `values`, `size`; `device`, `dtype`,
 *   `size`, `stride`; `dtype`, `int_repr`, `scale`, `zero_point`)
 * - what PyTorch would call a class or function for (a path, a config, a NumPy array, a whole module) is an
 *   {@link OpaqueValue} of what the file says
 *
 * The type parameter T is what the caller knows about the file; it is not checked.
 *
 * Modules that PyTorch quantized dynamically come in the form in which modules here are saved: the float module's
 * keys, quantized tensors with PyTorch's own integers, and metadata with the activation mode. So `loadStateDict`
 * takes them; torchao's int8 Linears too. Of a TorchScript archive you get the state dict.
 *
 * Each tensor is read from its place in the file into memory of its own. Tensors that PyTorch saved as views of the
 * same elements share it; other views (transposed, say) become contiguous copies. complex tensors are floats with
 * a last dimension of 2, as `torch.view_as_real` gives them.
 *
 * Nothing in a file is ever run or imported.
 *
 * @throws {TypeError} when `source` is none of these
 * @throws {RangeError} when it is an address of the web, a response without success, or a buffer that was detached
 * @throws {CheckpointError} when the file is broken, truncated or hostile, or holds what is refused; the sentence names
 * offset or key
 */
export async function load<T = StateDict>(source: LoadSource, options: LoadOptions = {}): Promise<T> {
  if (bytesIn(source) !== undefined) return loadSync<T>(source as SyncLoadSource, options);
  const settings = settingsOf(options);
  return (await runAsync(readAndClose(await openSource(source), settings))) as T;
}

/** {@link load}, synchronously: of a path, a file URL or bytes. */
export function loadSync<T = StateDict>(source: SyncLoadSource, options: LoadOptions = {}): T {
  const settings = settingsOf(options);
  return runSync(readAndClose(openSourceSync(source), settings)) as T;
}

function* readAndClose(file: OpenFile, settings: LoadSettings): Steps<unknown> {
  try {
    return yield* readFile(file, settings);
  } finally {
    yield file.close();
  }
}

/** Reads a file as the first format that recognises it. */
export function* readFile(file: OpenFile, settings: LoadSettings, among?: readonly Format[]): Steps<unknown> {
  const format =
    among === undefined
      ? ((yield* formatOf(file, [certainSafetensors])) ?? (yield* formatOf(file, allFormats())))
      : yield* formatOf(file, among);
  if (format === undefined) throw new CheckpointError('offset 0: no file of weights begins like this');
  return yield* format.read(file, { ...settings, budget: new Budget(file, settings.memoryLimit) });
}

let formats: readonly Format[] | undefined;

/** All formats. They are read when the first such file comes, because that takes as long as a small model. */
function allFormats(): readonly Format[] {
  // eslint-disable-next-line @typescript-eslint/no-require-imports -- an import would read them at the start
  return (formats ??= (require('./formats/index.js') as typeof all).formats);
}

function settingsOf(options: LoadOptions): LoadSettings {
  checkOptions('load', options, ['bidirectional', 'strict', 'memoryLimit']);
  const { bidirectional = [], strict = false, memoryLimit } = options;
  checkBoolean('strict', strict);
  if (memoryLimit !== undefined) checkSize('memoryLimit', memoryLimit);
  return {
    bidirectional: namesOf(bidirectional),
    strict,
    ...(memoryLimit === undefined ? {} : { memoryLimit }),
  };
}

function namesOf(bidirectional: Iterable<string>): ReadonlySet<string> {
  const sentenceOf = (value: unknown): string =>
    `bidirectional should be an array or Set of names, got ${describe(value)}`;
  const names = listOf('bidirectional', bidirectional, sentenceOf(bidirectional));
  for (const name of names)
    if (typeof name !== 'string') throw typeError('ERR_INVALID_ARG_TYPE', sentenceOf(name));
  return new Set(names as string[]);
}
