import { describe, tagOf, typeError } from '../errors.js';
import { isTensor, type Tensor } from '../tensor/index.js';

/** What a state dict says about one module: its type, sizes and options, as JSON values. */
export type ModuleMetadata = { readonly type: string; readonly [key: string]: unknown };

/** Names to tensors, in PyTorch's order. `metadata` says what each module is (PyTorch's `_metadata`). */
export class StateDict extends Map<string, Tensor> {
  readonly metadata = new Map<string, ModuleMetadata>();
  /** Texts that travel with the file (a safetensors file's own metadata): a vocabulary, say. */
  readonly notes = new Map<string, string>();
}

/** What `loadStateDict` accepts. */
export type StateDictLike = Iterable<readonly [string, Tensor]> | { readonly [name: string]: Tensor };

export interface IncompatibleKeys {
  missingKeys: string[];
  unexpectedKeys: string[];
}

/** PyTorch's sentence for a tensor whose shape is not the module's. */
export function sizeMismatch(name: string, given: readonly number[], own: readonly number[]): string {
  return `size mismatch for ${name}: copying a param with shape torch.Size([${given.join(', ')}]) from checkpoint, the shape in current model is torch.Size([${own.join(', ')}]).`;
}

/** Names and tensors of a state dict. @throws {TypeError} when it holds something else */
export function entriesOf(state: StateDictLike): Map<string, Tensor> {
  if (typeof state !== 'object' || state === null) {
    throw typeError('ERR_INVALID_ARG_TYPE', `state should be a Map of tensors, got ${describe(state)}`);
  }
  const entries =
    Symbol.iterator in state ? [...(state as Iterable<readonly [string, Tensor]>)] : Object.entries(state);
  for (const entry of entries) {
    if (!Array.isArray(entry) || typeof entry[0] !== 'string' || !isTensor(entry[1])) {
      throw typeError(
        'ERR_INVALID_ARG_TYPE',
        `state should hold [name, Tensor] pairs, got ${describe(Array.isArray(entry) ? entry[1] : entry)}`,
      );
    }
  }
  return new Map(entries as [string, Tensor][]);
}

/** The metadata of a {@link StateDict} (of any copy of the package). A plain Map or object has none. */
export function metadataOf(state: StateDictLike): ReadonlyMap<string, ModuleMetadata> {
  const { metadata } = state as Partial<StateDict>;
  return tagOf(metadata) === 'Map' ? metadata! : new Map();
}
