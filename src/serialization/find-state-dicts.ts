import { describe, isMap, longestList, someOf, typeError } from '../errors.js';
import { assumptionsOf, givenState, metadataOf, StateDict, type StateDictLike } from '../nn/module.js';
import { isRawTensor, isTensor, type Tensor } from '../tensor/index.js';

/** A state dict somewhere in what `load` returned. */
export interface FoundStateDict {
  /** The keys and indices that lead to it, with dots between; `''` is the whole value. */
  readonly key: string;
  /** How one gets at it in JavaScript. */
  readonly access: string;
  /** The dict itself, which has the metadata. */
  readonly dict: object;
  readonly tensors: ReadonlyMap<string, Tensor>;
  /** What it holds that is no tensor. */
  readonly others: ReadonlyMap<string, unknown>;
  /** Whether its names are those of parameters. */
  readonly isModel: boolean;
}

/** Deeper than any file that `load` reads. */
const maxDepth = 128;

/**
 * Every state dict in what `load` returned: dicts of tensors under any key, in lists too. Where some of them have names
 * of parameters, the others (running statistics, say) are left out. What an optimizer keeps is no state dict.
 *
 * @param name - how the sentences call the value
 */
export function findStateDicts(loaded: unknown, name = 'state'): FoundStateDict[] {
  const all = everyStateDict(loaded, name);
  const models = all.filter(({ isModel }) => isModel);
  return models.length > 0 ? models : all;
}

/** The state dict at a dotted key, whatever its names are. */
export function stateDictAt(loaded: unknown, key: string): FoundStateDict | undefined {
  return everyStateDict(loaded, '').find((found) => found.key === key);
}

/** The state dict that a value is, or the only one in it. @throws {TypeError} when there is none, or several */
export function theStateDict(given: object): FoundStateDict {
  const whole = wholeStateDict(given);
  if ('tensors' in whole) return whole;
  const found = findStateDicts(given);
  if (found.length === 1) return found[0]!;
  if (found.length === 0) throw whole;
  const sentence = `${whole.message}; it holds ${listed(found)}: pass one of them, as in ${found[0]!.access}`;
  throw typeError('ERR_INVALID_ARG_TYPE', sentence);
}

/** `2 state dicts: encoder (4 tensors), decoder (4 tensors)`. */
export function listed(found: readonly FoundStateDict[]): string {
  const shown = found.slice(0, 12).map(({ key, tensors }) => {
    const count = tensors.size === 1 ? '1 tensor' : `${tensors.size} tensors`;
    return `${key === '' ? 'itself' : key} (${count})`;
  });
  if (found.length > shown.length) shown.push('…');
  return `${found.length} state dicts: ${shown.join(', ')}`;
}

/** A copy of a found state dict, over the same tensors. What it cannot hold is among its assumptions. */
export function stateDictOf({ dict, tensors, others }: FoundStateDict): StateDict {
  const state = new StateDict(tensors);
  for (const [name, metadata] of metadataOf(dict as StateDictLike)) state.metadata.set(name, metadata);
  const { notes, raw } = dict as Partial<StateDict>;
  if (isMap(notes)) for (const [name, text] of notes) state.notes.set(name, text);
  if (isMap(raw)) for (const [name, tensor] of raw) state.raw.set(name, tensor);
  const left = new Map([...others].filter(([key]) => !state.raw.has(key)));
  state.assumptions.push(...assumptionsOf(dict), ...leftOut(left));
  return state;
}

/** What no module can hold, in one sentence. */
export function leftOut(others: ReadonlyMap<string, unknown>): string[] {
  if (others.size === 0) return [];
  const list = Array.from(others, ([key, value]) => {
    return `${key} (${isRawTensor(value) ? value.dtype : describe(value)})`;
  });
  return [`left out, because no module can hold it: ${someOf(list, 12, (rest) => `${rest} more`)}`];
}

/** A value as one state dict; else what keeps it from being one. */
function wholeStateDict(given: object): FoundStateDict | Error {
  try {
    const { tensors, others } = givenState(given);
    const stray = [...others].find(([key]) => !isMap(given) || given.has(key));
    if (stray === undefined) return { key: '', access: 'state', dict: given, tensors, others, isModel: true };
    const got = `${describe(stray[1])} under ${describe(stray[0])}`;
    return typeError('ERR_INVALID_ARG_TYPE', `state should hold [name, Tensor] pairs, got ${got}`);
  } catch (error) {
    return error as Error;
  }
}

function everyStateDict(loaded: unknown, name: string): FoundStateDict[] {
  const found: FoundStateDict[] = [];
  const seen = new Set<object>();
  const visit = (value: object, key: string, access: string, depth: number): void => {
    if (seen.has(value) || depth > maxDepth) return;
    seen.add(value);
    const dict = dictOf(value);
    // An array without elements may say that it has 2^32 of them.
    if (dict === undefined && !(Array.isArray(value) && value.length <= longestList)) return;
    if (dict !== undefined && isOptimizer(dict)) return;
    const own = dict && dictOfTensors(value, dict);
    if (own !== undefined) found.push({ key, access, ...own });
    for (const [at, each] of dict ?? (value as unknown[]).entries()) {
      if (typeof each !== 'object' || each === null || isTensor(each)) continue;
      const part = String(at);
      const isExtra = own !== undefined && /(^|\.)_extra_state$/.test(part);
      const step = isMap(value) ? `.get(${describe(at)})` : `[${describe(at)}]`;
      if (!isExtra) visit(each, key === '' ? part : `${key}.${part}`, access + step, depth + 1);
    }
  };
  if (typeof loaded === 'object' && loaded !== null) visit(loaded, '', name, 0);
  return found;
}

/** A dict of a checkpoint: a Map, or an object that somebody wrote. */
function dictOf(value: object): ReadonlyMap<unknown, unknown> | undefined {
  if (isMap(value)) return value;
  const prototype: unknown = Object.getPrototypeOf(value);
  const isPlain = prototype === Object.prototype || prototype === null;
  return isPlain ? new Map<unknown, unknown>(Object.entries(value)) : undefined;
}

/** Whether this is an optimizer's state, whole or of one parameter. */
function isOptimizer(dict: ReadonlyMap<unknown, unknown>): boolean {
  const ofParameter = ['exp_avg', 'momentum_buffer', 'square_avg', 'acc_delta'];
  return ofParameter.some((key) => dict.has(key)) || (dict.has('state') && dict.has('param_groups'));
}

/** A name below a module, or that of a layer's own parameter. */
const parameterName = /\w\.\w|^(weight|bias)(_|$)/;

/** Something that is no tensor may stand beside parameters (a module's extra state), but not beside other tensors. */
function dictOfTensors(
  value: object,
  dict: ReadonlyMap<unknown, unknown>,
): Omit<FoundStateDict, 'key' | 'access'> | undefined {
  let count = 0;
  for (const [key, each] of dict) {
    if (typeof key !== 'string') return undefined;
    if (isTensor(each)) count++;
  }
  if (count === 0) return undefined;
  const { tensors, others } = givenState(value);
  const isModel = [...tensors.keys()].some((key) => parameterName.test(key));
  return isModel || count === dict.size ? { dict: value, tensors, others, isModel } : undefined;
}
