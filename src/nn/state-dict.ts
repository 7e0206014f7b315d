import { describe, isMap, listOf, opaqueAdvice, typeError } from '../errors.js';
import { isTensor, type RawTensor, type Tensor } from '../tensor/index.js';

/** What a state dict says about one module: its type, sizes and options, as JSON values. */
export type ModuleMetadata = {
  /** The name of its class. */
  readonly type: string;
  readonly [key: string]: unknown;
};

/** Names to tensors, in PyTorch's order. `metadata` says what each module is (PyTorch's `_metadata`). */
export class StateDict extends Map<string, Tensor> {
  /** What is known about each module, by its dotted name; `''` is the root. */
  readonly metadata = new Map<string, ModuleMetadata>();
  /**
   * What the file could not tell and its reader assumed, a sentence each; one about a module begins with its name and
   * type, as in `encoder.rnn (LSTM): …`. {@link modelFromStateDict} returns them among its own.
   */
  readonly assumptions: string[] = [];
  /** Texts that travel with the file (a safetensors file's own metadata): a vocabulary, say. */
  readonly notes = new Map<string, string>();
  /**
   * Tensors of dtypes with which this library does not compute (float8, uint16, complex…), in the order of the file.
   * `save` writes those that safetensors has (complex32 and texts of NumPy it refuses); to a module they are unexpected keys.
   */
  readonly raw = new Map<string, RawTensor>();

  /** @throws {TypeError} when `entries` holds no tensors by name */
  constructor(entries?: StateDictLike | null) {
    super();
    if (entries === undefined || entries === null) return;
    for (const [name, value] of entriesOf(entries, 'entries')) this.set(name, value);
  }
}

/** What `loadStateDict` accepts. */
export type StateDictLike = Iterable<readonly [string, Tensor]> | { readonly [name: string]: Tensor };

/** Options of {@link Module.loadStateDict}. */
export interface LoadStateDictOptions {
  /** Whether missing and unexpected keys are errors. Default: true. */
  strict?: boolean;
  /** Whether all values take the memory of the state dict's tensors. Default: false. */
  assign?: boolean;
}

/** What {@link Module.loadStateDict} did not find, or did not use. */
export interface IncompatibleKeys {
  /** Keys that the module has and the state dict has not. */
  missingKeys: string[];
  /** Keys that the state dict has and the module has not. */
  unexpectedKeys: string[];
}

/** PyTorch's sentence for a tensor whose shape is not the module's. */
export function sizeMismatch(name: string, given: readonly number[], own: readonly number[]): string {
  return `size mismatch for ${name}: copying a param with shape torch.Size([${given.join(', ')}]) from checkpoint, the shape in current model is torch.Size([${own.join(', ')}]).`;
}

/** Names and tensors of a state dict. @throws {TypeError} when it holds something else */
export function entriesOf(state: StateDictLike, name = 'state'): Map<string, Tensor> {
  const entries = namedValues(state, name);
  for (const entry of entries) if (!isTensor(entry[1])) throw wrongEntry(name, entry);
  return new Map(entries as [string, Tensor][]);
}

/** What a state dict holds: tensors, and what is none under a name of its own (None, a text, a dict…). */
export interface GivenState {
  readonly tensors: Map<string, Tensor>;
  readonly others: Map<string, unknown>;
}

/** Everything in a state dict. @throws {TypeError} when it does not list names and values */
export function givenState(state: object): GivenState {
  const tensors = new Map<string, Tensor>();
  const others = new Map<string, unknown>();
  for (const [key, value] of namedValues(state, 'state')) {
    if (isTensor(value)) tensors.set(key, value);
    else others.set(key, value);
  }
  const { raw } = state as Partial<StateDict>;
  if (isMap(state) && isMap(raw)) for (const [key, value] of raw) others.set(String(key), value);
  return { tensors, others };
}

function namedValues(state: object, name: string): [string, unknown][] {
  const sentence = `${name} should be a Map of tensors, got ${describe(state)}${opaqueAdvice(state)}`;
  if (typeof state !== 'object' || state === null || isTensor(state) || opaqueAdvice(state) !== '') {
    throw typeError('ERR_INVALID_ARG_TYPE', sentence);
  }
  const entries = Symbol.iterator in state ? listOf(name, state, sentence) : Object.entries(state);
  for (const entry of entries) {
    if (!Array.isArray(entry) || typeof entry[0] !== 'string') throw wrongEntry(name, entry);
  }
  return entries as [string, unknown][];
}

/** What is wrong with an entry of a state dict. */
function wrongEntry(name: string, entry: unknown): Error {
  const [key, value] = Array.isArray(entry) ? (entry as unknown[]) : [];
  const named =
    typeof key === 'string' ? `${describe(value)} under ${describe(key)}` : `the name ${describe(key)}`;
  const got = Array.isArray(entry) ? named : describe(entry);
  return typeError('ERR_INVALID_ARG_TYPE', `${name} should hold [name, Tensor] pairs, got ${got}`);
}

/** The metadata of a {@link StateDict} (of any copy of the package). A plain Map or object has none. */
export function metadataOf(state: StateDictLike): ReadonlyMap<string, ModuleMetadata> {
  const metadata = (state as Partial<StateDict> | null | undefined)?.metadata;
  return isMap(metadata) ? (metadata as ReadonlyMap<string, ModuleMetadata>) : new Map();
}

/** What the reader of a {@link StateDict} assumed. A plain Map or object has none. */
export function assumptionsOf(state: object): readonly string[] {
  const { assumptions } = state as Partial<StateDict>;
  if (!isMap(state) || !Array.isArray(assumptions)) return [];
  return assumptions.filter((sentence) => typeof sentence === 'string');
}
