import { checkString, describe, isMap, typeError } from '../../errors.js';
import type { Tensor } from '../../tensor/index.js';
import type { StateDict } from '../state-dict.js';

/**
 * Removes a prefix from a state dict's keys, where they have it, in place: `module.` of DataParallel, `_orig_mod.` of
 * `torch.compile`, `model.` of Lightning. As PyTorch's `consume_prefix_in_state_dict_if_present`: the keys that had it
 * come last, in their order. The names in a {@link StateDict}'s metadata and assumptions change too, and the module
 * whose name is the prefix becomes the root.
 *
 * ```ts
 * const state = await load('parallel.pt');
 * nn.utils.consumePrefixInStateDictIfPresent(state, 'module.');
 * model.loadStateDict(state);
 * ```
 *
 * @throws {TypeError} when `state` is no Map, or `prefix` no string
 */
export function consumePrefixInStateDictIfPresent(state: Map<string, Tensor>, prefix: string): void {
  if (!isMap(state)) {
    throw typeError('ERR_INVALID_ARG_TYPE', `state should be a Map of tensors, got ${describe(state)}`);
  }
  checkString('prefix', prefix);
  const { metadata, raw, assumptions } = state as Partial<StateDict>;
  const rename = (key: unknown): unknown => withoutPrefix(key, prefix);
  renameKeys(state, rename);
  if (isMap(raw)) renameKeys(raw, rename);
  const root = prefix.replace(/\.$/, '');
  if (isMap(metadata)) renameKeys(metadata, (key) => (key === root ? '' : rename(key)));
  if (!Array.isArray(assumptions)) return;
  assumptions.forEach((each, i) => {
    const isOfRoot = each.startsWith(`${root} (`);
    assumptions[i] = isOfRoot ? `the model${each.slice(root.length)}` : (rename(each) as string);
  });
}

function withoutPrefix(key: unknown, prefix: string): unknown {
  return typeof key === 'string' && key.startsWith(prefix) ? key.slice(prefix.length) : key;
}

function renameKeys(map: ReadonlyMap<unknown, unknown>, rename: (key: unknown) => unknown): void {
  const changed = map as Map<unknown, unknown>;
  for (const [key, value] of [...changed]) {
    const name = rename(key);
    if (name === key) continue;
    changed.delete(key);
    changed.set(name, value);
  }
}
