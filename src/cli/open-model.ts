import { describe, isMap, rangeError, someOf } from '../errors.js';
import { load, modelFromStateDict, nn } from '../index.js';
import {
  findStateDicts,
  listed,
  stateDictAt,
  stateDictOf,
  type FoundStateDict,
} from '../serialization/find-state-dicts.js';
import { canSave } from '../serialization/formats/safetensors/header.js';
import { isTensor } from '../tensor/index.js';
import { printable, UsageError } from './terminal.js';

/** What every command's help says about opening a file. */
export const modelOptionsHelp = `  --key KEY         the state dict to take, if the file has several: model_state, or model.encoder; may be repeated,
                    and the model then has these parts
  --set NAME.OPTION=VALUE
                    corrects what was assumed: lstm.batchFirst=true, '*.norm.eps=1e-12', emb.type=Embedding
  --bidirectional NAME
                    an LSTM or GRU that PyTorch quantized has two directions, not two layers`;

/** How to open a file: the options above as the command line has them. */
export interface ModelOptions {
  readonly key: readonly string[];
  readonly set: readonly string[];
  readonly bidirectional: readonly string[];
  /** Whether prefixes are removed from a file of this library too. */
  readonly stripOwn?: boolean;
}

/** A model from a file: its state, whose `metadata` say what each module is, and what had to be assumed. */
export interface ModelFile {
  readonly state: nn.StateDict;
  readonly assumptions: string[];
  /** Where the state dict is in the file; empty if it is all of it. Several for a model in parts. */
  readonly keys: readonly string[];
  /** What was left out at the beginning of all names: `module.`, say, or nothing. */
  readonly prefix: string;
}

/** What `load` returns for a file, with the command's options. In the file, names have their prefixes, but no keys. */
export function loadFile(path: string, { key, bidirectional }: ModelOptions): Promise<unknown> {
  const names = bidirectional.flatMap((name) => {
    const part = key.find((each) => name.startsWith(`${each}.`));
    return part === undefined ? [name] : [name, name.slice(part.length + 1)];
  });
  const prefixes = ['', ...usualPrefixes, ...usualPrefixes.flatMap((a) => usualPrefixes.map((b) => a + b))];
  return load<unknown>(path, {
    bidirectional: names.flatMap((name) => prefixes.map((prefix) => prefix + name)),
  });
}

/** Reads a checkpoint and recognises its modules. */
export async function openModel(path: string, options: ModelOptions): Promise<ModelFile> {
  return recognise(path, await loadFile(path, options), options);
}

/** The model in what `load` returned. */
export function recognise(path: string, loaded: unknown, options: ModelOptions): ModelFile {
  const { key, set, bidirectional, stripOwn = false } = options;
  const found = key.length === 0 ? [theOnly(path, loaded)] : key.map((each) => at(path, loaded, each));
  const given = found.length === 1 ? stateDictOf(found[0]!) : together(found);
  // A file of this library has the names of the user's own class.
  const isOwn = given.metadata.has('');
  const prefix = isOwn && !stripOwn ? '' : stripPrefixes(given);
  for (const name of bidirectional) checkQuantized(name, given);
  const raw = [...given.raw];
  given.raw.clear();
  const { model, assumptions } = attempt(() => modelFromStateDict(given, { metadata: corrections(set) }));
  const state = model.stateDict();
  for (const [name, text] of given.notes) state.notes.set(name, text);
  for (const [name, tensor] of raw) {
    if (canSave(tensor.dtype)) state.raw.set(name, tensor);
    else assumptions.push(`left out, because safetensors has no such dtype: ${name} (${tensor.dtype})`);
  }
  const keys = found.map((each) => each.key).filter((each) => each !== '');
  return { state, assumptions, keys, prefix };
}

/** One line about where the model was found; nothing where the file is one state dict with the model's own names. */
export function foundLines({ keys, prefix }: Pick<ModelFile, 'keys' | 'prefix'>): string[] {
  const parts = [
    keys.length > 0 && `state dict ${keys.join(' and ')}`,
    prefix !== '' && `names without the prefix ${prefix}`,
  ];
  const line = parts.filter(Boolean).join(', ');
  return line === '' ? [] : [printable(`Taken: ${line}`)];
}

/** What trainers, compilers and wrappers put before every name. */
const usualPrefixes = ['module.', '_orig_mod.', '_fsdp_wrapped_module.', 'model.', 'ema.'];

/** Removes the usual prefixes that all names have, nested ones too. Returns what it removed. */
function stripPrefixes(state: nn.StateDict): string {
  let removed = '';
  for (;;) {
    const names = [...state.keys()];
    const prefix = usualPrefixes.find((each) => names.every((name) => name.startsWith(each)));
    if (prefix === undefined || names.length === 0) return removed;
    nn.utils.consumePrefixInStateDictIfPresent(state, prefix);
    removed += prefix;
  }
}

/** What `--set` says, as the option `metadata` of `modelFromStateDict`. */
function corrections(set: readonly string[]): [string, Record<string, unknown>][] {
  return set.map((text) => {
    const [, name = '', option, value] = /^(?:(.*)\.)?(\w+)=(.*)$/s.exec(text) ?? [];
    if (option === undefined) throw new UsageError(`--set should be NAME.OPTION=VALUE, got '${text}'`);
    return [name, { [option]: valueOf(value!) }];
  });
}

function valueOf(text: string): unknown {
  try {
    return JSON.parse(text) as unknown;
  } catch {
    return text;
  }
}

/** What is wrong with `--set` is the caller's mistake. */
function attempt<T>(recognised: () => T): T {
  try {
    return recognised();
  } catch (error) {
    const { code, message } = error as Error & { code?: string };
    throw code === 'ERR_OUT_OF_RANGE' ? new UsageError(`--set: ${message}`) : error;
  }
}

function checkQuantized(name: string, { metadata }: nn.StateDict): void {
  if (metadata.has(name)) return;
  const names = [...metadata].filter(([, { type }]) => /^DynamicQuantized(LSTM|GRU)$/.test(type));
  const known = names.length === 0 ? 'none' : names.map(([each]) => each).join(', ');
  throw new UsageError(
    `--bidirectional ${name}: the file has no such quantized LSTM or GRU; it has ${known}`,
  );
}

function theOnly(path: string, loaded: unknown): FoundStateDict {
  const found = findStateDicts(loaded);
  if (found.length === 1) return found[0]!;
  if (found.length === 0) {
    throw rangeError('ERR_INVALID_ARG_VALUE', `${path} holds no state dict; ${contents(loaded)}`);
  }
  throw new UsageError(
    `${path} holds ${listed(found)}; choose one with --key, or several as parts of a model`,
  );
}

function at(path: string, loaded: unknown, key: string): FoundStateDict {
  const found = stateDictAt(loaded, key);
  if (found !== undefined) return found;
  const all = findStateDicts(loaded);
  const there = all.length === 0 ? `no state dict; ${contents(loaded)}` : listed(all);
  throw new UsageError(`${path} has no state dict at --key ${key}; it holds ${there}`);
}

/** The keys of a file without a state dict. */
function contents(loaded: unknown): string {
  if (!isMap(loaded)) return `it is ${isTensor(loaded) ? 'a Tensor' : describe(loaded)}`;
  const keys = [...loaded.keys()].map((key) => (typeof key === 'string' ? key : describe(key)));
  return keys.length === 0 ? 'it is empty' : `its keys are ${someOf(keys, 24)}`;
}

/** State dicts as one, the names of each below its key. */
function together(parts: readonly FoundStateDict[]): nn.StateDict {
  const whole = new nn.StateDict();
  for (const part of parts) {
    const { metadata, assumptions, notes, raw } = stateDictOf(part);
    const below = (name: string): string => (name === '' ? part.key : `${part.key}.${name}`);
    for (const [name, tensor] of part.tensors) whole.set(below(name), tensor);
    for (const [name, about] of metadata) whole.metadata.set(below(name), about);
    for (const [name, tensor] of raw) whole.raw.set(below(name), tensor);
    for (const [name, text] of notes) whole.notes.set(name, text);
    whole.assumptions.push(...assumptions.map((each) => below(each.replace(/^the model(?= \()/, part.key))));
  }
  return whole;
}
