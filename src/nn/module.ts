import { takeSignal } from '../async-options.js';
import {
  checkBoolean,
  checkFunction,
  checkOptions,
  checkString,
  describe,
  isSet,
  rangeError,
  typeError,
} from '../errors.js';
import { adopt, checkTensor, isAdopted, isPlain, isTensor, sameShape, type Tensor } from '../tensor/index.js';
import { computeHere, hasTime, nextTurn } from '../turn.js';
import { dispose } from './dispose.js';
import { addHook, missingForward, withoutHooks, type Hook, type RemovableHandle } from './hooks.js';
import { freeHandle } from './native-weights.js';
import { isParameter, type Parameter } from './parameter.js';
import { keyProblems, refuseOthers } from './key-problems.js';
import {
  givenState,
  metadataOf,
  sizeMismatch,
  StateDict,
  type IncompatibleKeys,
  type LoadStateDictOptions,
  type ModuleMetadata,
  type StateDictLike,
} from './state-dict.js';

// For files that make or read modules. A forward imports from the files themselves, because each use of a re-export is
// a getter's call.
export { copyHooks, type RemovableHandle } from './hooks.js';
export { emptyParameter, isParameter, Parameter, parameterData } from './parameter.js';
export { pythonFloat } from './repr.js';
export {
  assumptionsOf,
  entriesOf,
  givenState,
  metadataOf,
  sizeMismatch,
  StateDict,
  type IncompatibleKeys,
  type LoadStateDictOptions,
  type ModuleMetadata,
  type StateDictLike,
} from './state-dict.js';

/**
 * Called before a module's `forward` with its arguments. If it returns an array, that replaces the arguments. Any
 * other value becomes the only argument; undefined and null change nothing.
 */
export type ForwardPreHook<M extends Module = Module> = (module: M, args: unknown[]) => unknown;
/** Called after a module's `forward`. If it returns a value, that replaces the output. */
export type ForwardHook<M extends Module = Module> = (module: M, args: unknown[], output: unknown) => unknown;

/** The name of the method that packs a module's weights. */
export const pack: unique symbol = Symbol('pack');
/** The name of the method that a copy of a module gets called. */
export const copied: unique symbol = Symbol('copied');

/**
 * The base of all modules. Children, parameters and buffers are own enumerable properties: a `Module` is a
 * child, a {@link Parameter} a parameter, and a tensor given to `registerBuffer` a buffer. Arrays of modules and
 * plain tensors are not seen (use `Sequential`).
 *
 * The sizes and options of this package's modules are fixed at construction: writing one throws a `TypeError` with
 * the code `ERR_READ_ONLY`. `training`, `qconfig`, parameters, buffers and children may be replaced.
 */
// What a module has beside these properties:
// - own properties that nothing enumerates, under symbols: its sizes and options as a record (closed.ts), hooks
//   (hooks.ts) and the names of buffers (below)
// - entries of WeakMaps: a float module's native handle (packed-once.ts) and list of parameters (rnn-base.ts), a
//   quantized module's native handle (quantized/dynamic/dynamic-module.ts)
// - one switch for all modules: whether they are made on meta (meta.ts)
export abstract class Module {
  /** Whether the module is in training mode, which only Dropout and recurrent modules with dropout look at. */
  training = true;
  /** A qconfig for this module and those below it. It has priority over `quantizeDynamic`'s spec. */
  declare qconfig?: object | null;

  /** What the module computes. Subclasses narrow the types of the arguments and of the result. */
  abstract forward(...args: any[]): any;

  /**
   * What `forward` returns, to the bit, while the event loop goes on. It takes `forward`'s arguments, and after them
   * `{ signal }`. Any number of calls may run at once, on one module too. The arguments are copied before it returns, so
   * that the caller may change, transfer or detach them at once. Hooks run as around `forward`.
   *
   * Recurrent layers, cells and Linears compute on threads of this package's own, at most {@link getNumThreads} for
   * the whole process. They do not wait for file, DNS or crypto work, which has libuv's pool. A call that runs alone
   * shares its work among all these threads; several have one each. Embeddings compute in the calling thread, in slices
   * of a millisecond. What is written in JavaScript, a module of your own too, computes in the calling thread at once,
   * unless it has a `forwardAsync` of its own, which composes those of its children:
   *
   * ```ts
   * override async forwardAsync(x: Tensor, options?: AsyncOptions) {
   *   const [output] = await this.lstm.forwardAsync(x, undefined, options);
   *   return this.linear.forwardAsync(output, options);
   * }
   * ```
   *
   * To hand a call over takes 10 to 90 µs. So one that is estimated below 20 µs computes in the calling thread at once,
   * as long as such calls took less than half a millisecond in this turn of the event loop. Use `forward` where a call
   * takes less than some tenths of a millisecond, which is a step of an INT8 LSTM of about 512 units, or where nobody
   * else waits for the event loop; else `forwardAsync`.
   *
   * Whatever is wrong rejects the promise, and nothing throws. An error's stack has the line of the call.
   *
   * @param args - those of `forward`, then `{ signal }`, whose abort cancels what does not compute yet: the promise
   * rejects with the signal's reason. What computes already goes on, and its promise resolves.
   */
  async forwardAsync(...args: any[]): Promise<any> {
    takeSignal(args);
    const { forward } = withoutHooks(this);
    if (typeof forward !== 'function') throw missingForward(this.constructor.name);
    const output: unknown = computeHere(() => forward.apply(this, args as never[]) as unknown);
    if (!hasTime()) await nextTurn();
    return output;
  }

  /** Adds a tensor that is not a parameter to the state dict. */
  registerBuffer(name: string, value: Tensor): void {
    checkString('buffer name', name);
    if (name === '' || name.includes('.'))
      throw rangeError('ERR_INVALID_ARG_VALUE', `buffer name can't be empty or contain a dot, got '${name}'`);
    if (name in this && !bufferNames(this).has(name))
      throw rangeError('ERR_INVALID_ARG_VALUE', `buffer name: attribute '${name}' already exists`);
    checkTensor(`buffer '${name}'`, value);
    const names = new Set(bufferNames(this)).add(name);
    Object.defineProperty(this, buffersKey, { value: names, configurable: true });
    Object.defineProperty(this, name, { value, writable: true, enumerable: true, configurable: true });
  }

  /**
   * Runs `hook` after every `forward` of this module, and after the hooks that were registered before it. A copy of
   * this module, or the quantized module that replaces it, gets the hooks that it has at that time. Modules without
   * hooks are not slower.
   *
   * @throws {TypeError} when `hook` is not a function, or `forward` is not a method of the class
   */
  registerForwardHook(hook: ForwardHook<this>): RemovableHandle {
    return addHook(this, { before: false, run: hook as Hook['run'] });
  }
  /** Runs `hook` before every `forward` of this module; otherwise like {@link registerForwardHook}. */
  registerForwardPreHook(hook: ForwardPreHook<this>): RemovableHandle {
    return addHook(this, { before: true, run: hook as Hook['run'] });
  }
  /** The modules directly below this one with their names, each once. */
  *namedChildren(): IterableIterator<[string, Module]> {
    const seen = new Set<Module>();
    for (const entry of this.childEntries()) {
      if (!seen.has(entry[1])) {
        seen.add(entry[1]);
        yield entry;
      }
    }
  }
  /** The modules directly below this one, each once. */
  *children(): IterableIterator<Module> {
    for (const [, child] of this.namedChildren()) yield child;
  }
  /** This module (as `''`) and all below it, each once, parents first. */
  *namedModules(prefix = '', seen = new Set<Module>()): IterableIterator<[string, Module]> {
    checkString('prefix', prefix);
    if (!isSet(seen))
      throw typeError('ERR_INVALID_ARG_TYPE', `seen should be a Set of Modules, got ${describe(seen)}`);
    if (seen.has(this)) return;
    seen.add(this);
    yield [prefix, this];
    for (const [name, child] of this.childEntries()) yield* child.namedModules(join(prefix, name), seen);
  }
  /** This module and all below it, each once, parents first. */
  *modules(): IterableIterator<Module> {
    for (const [, module] of this.namedModules()) yield module;
  }
  /** Each parameter once, under its first name. */
  *namedParameters(): IterableIterator<[string, Parameter]> {
    const seen = new Set<Parameter>();
    for (const [prefix, module] of this.namedModules()) {
      for (const [name, value] of Object.entries(module)) {
        if (isParameter(value) && !seen.has(value)) {
          seen.add(value);
          yield [join(prefix, name), value];
        }
      }
    }
  }
  /** Each parameter of this module and all below it once. */
  *parameters(): IterableIterator<Parameter> {
    for (const [, parameter] of this.namedParameters()) yield parameter;
  }

  /**
   * The module of a dotted name, as PyTorch's `get_submodule`; `''` is this one.
   *
   * @throws {RangeError} when there is none
   */
  getSubmodule(target: string): Module {
    if (typeof target !== 'string')
      throw typeError('ERR_INVALID_ARG_TYPE', `target should be a string, got ${describe(target)}`);
    const descend = (module: Module, name: string): Module => {
      const child = new Map(module.childEntries()).get(name);
      if (child === undefined)
        throw rangeError('ERR_OUT_OF_RANGE', `${module.reprName()} has no module '${name}'`);
      return child;
    };
    return target === '' ? this : target.split('.').reduce<Module>(descend, this);
  }

  /** Puts this module and all below it into training mode, or with `false` into evaluation mode. */
  train(mode = true): this {
    checkBoolean('mode', mode);
    for (const module of this.modules()) module.training = mode;
    return this;
  }
  /** Puts this module and all below it into evaluation mode. */
  eval(): this {
    return this.train(false);
  }
  /** Calls `f` with every module, children first. */
  apply(f: (module: Module) => void): this {
    checkFunction('f', f);
    this.walk('', () => undefined); // refuses cycles
    for (const child of this.children()) child.apply(f);
    f(this);
    return this;
  }

  /** All parameters and buffers, not copied. Those of a shared module appear under each of its names. */
  stateDict(): StateDict {
    const state = new StateDict();
    this.walk('', (prefix, module) => {
      state.metadata.set(prefix, module.metadata());
      for (const [name, value] of module.ownState()) state.set(join(prefix, name), value);
    });
    return state;
  }

  /**
   * Copies values into this module's parameters and buffers. Everything is checked before anything changes.
   *
   * Quantized modules also take their activation mode from the metadata of a {@link StateDict}, so that a file
   * gives the same bits wherever it is loaded. From anything else they keep the mode they have.
   *
   * What is no tensor (a module's extra state, a text, a dict) is an unexpected key.
   *
   * A parameter that {@link nn.utils.skipInit} left without numbers takes the memory of the state dict's tensor, unless
   * that is the parameter of another module; so a file is read once and nothing is copied.
   *
   * @param options.strict - whether missing and unexpected keys are errors. Default: true
   * @param options.assign - whether all parameters, buffers and quantized tables take the memory of the state dict's
   * tensors, and share it with them from then on. Those of another dtype are converted. Default: false
   * @throws {TypeError} when `state` does not list names and values, or holds no tensor for a parameter
   * @throws {RangeError} (`ERR_STATE_DICT`) with PyTorch's sentence when keys (if strict), shapes or dtypes do not fit.
   * Where most keys would fit with or without a prefix (`module.`), it names that, and the call that mends it
   */
  loadStateDict(state: StateDictLike, options: LoadStateDictOptions = {}): IncompatibleKeys {
    checkOptions('loadStateDict', options, ['strict', 'assign']);
    const { strict = true, assign = false } = options;
    checkBoolean('strict', strict);
    checkBoolean('assign', assign);
    const { tensors: given, others } = givenState(state);
    const allMetadata = metadataOf(state);
    const known = new Set<string>();
    const missingKeys: string[] = [];
    const problems: string[] = [];
    const loads: [Module, Map<string, Tensor>, ModuleMetadata | undefined][] = [];
    this.walk('', (prefix, module) => {
      const own = new Map<string, Tensor>();
      for (const name of module.ownNames()) {
        const key = join(prefix, name);
        known.add(key);
        const value = given.get(key);
        if (value === undefined) missingKeys.push(key);
        else own.set(name, value);
      }
      // Metadata count only together with tensors of the same module.
      const metadata = own.size > 0 ? allMetadata.get(prefix) : undefined;
      problems.push(...module.checkOwnState(own, prefix === '' ? '' : `${prefix}.`, metadata));
      loads.push([module, own, metadata]);
    });
    refuseOthers(others, known);
    const unexpectedKeys = [...given.keys(), ...others.keys()].filter((key) => !known.has(key));
    if (strict) problems.unshift(...keyProblems(missingKeys, unexpectedKeys, others));
    if (problems.length > 0) {
      throw rangeError(
        'ERR_STATE_DICT',
        `Error(s) in loading state_dict for ${this.constructor.name}:\n\t${problems.join('\n\t')}`,
      );
    }
    for (const [module, own, metadata] of loads) module.loadOwnState(own, metadata, assign);
    return { missingKeys, unexpectedKeys };
  }

  /**
   * Frees the native weights of this module and all below it, at once. Without it they are freed some time after the
   * module was collected. A call that runs, a copy and another thread that shares the weights keep them until they are
   * done. Parameters and tables are arrays in JavaScript's memory, which V8 frees when nobody refers to them.
   *
   * Afterwards `forward`, `forwardAsync`, `stateDict` and `loadStateDict` of these modules, and of those above them,
   * throw an Error with the code `ERR_DISPOSED`. Disposing twice does nothing.
   */
  dispose(): void {
    for (const module of [...this.modules()]) {
      if (dispose(module)) module.releaseWeights();
    }
  }
  /** {@link dispose}, for `using` declarations. */
  [Symbol.dispose](): void {
    this.dispose();
  }

  /** PyTorch's repr: the name, the options, the children indented. */
  toString(): string {
    this.walk('', () => undefined); // refuses cycles
    const lines = [...this.childReprs()].map(
      ([label, repr]) => `  (${label}): ${repr.replaceAll('\n', '\n  ')}`,
    );
    const extra = this.extraRepr();
    const name = this.reprName();
    if (lines.length === 0) return `${name}(${extra})`;
    return [`${name}(${extra}`, ...lines, ')'].join('\n');
  }

  /** What `console.log` shows: {@link toString}, because by itself it would show sizes and options as accessors. */
  [Symbol.for('nodejs.util.inspect.custom')](): string {
    return this.toString();
  }

  // For subclasses ---------------------------------------------------------------------------------------

  /** The text between the parentheses of `toString`. */
  extraRepr(): string {
    return '';
  }
  /** The name that `toString` prints. */
  protected reprName(): string {
    return this.constructor.name;
  }
  /** What `toString` prints of the children: labels and texts. */
  protected *childReprs(): IterableIterator<[label: string, repr: string]> {
    for (const [name, child] of this.childEntries()) yield [name, child.toString()];
  }
  /** What the state dict says about this module. */
  protected metadata(): ModuleMetadata {
    return { type: this.constructor.name };
  }
  /** This module's own parameters and buffers, without its children's. */
  protected *ownState(): IterableIterator<[string, Tensor]> {
    const buffers = bufferNames(this);
    for (const [name, value] of Object.entries(this)) if (isParameter(value)) yield [name, value];
    for (const [name, value] of Object.entries(this))
      if (buffers.has(name) && isTensor(value)) yield [name, value];
  }
  /** The names of `ownState`, without its tensors. */
  protected *ownNames(): IterableIterator<string> {
    for (const [name] of this.ownState()) yield name;
  }
  /**
   * Why the given tensors cannot be loaded; changes nothing. `prefix` begins the names in the sentences. `metadata` is
   * what the state dict says about this module; nobody has checked it.
   */
  protected checkOwnState(
    state: ReadonlyMap<string, Tensor>,
    prefix: string,
    _metadata?: ModuleMetadata,
  ): string[] {
    const problems: string[] = [];
    for (const [name, own] of this.ownState()) {
      const value = state.get(name);
      if (value === undefined) continue;
      if (!sameShape(value.shape, own.shape)) {
        problems.push(sizeMismatch(`${prefix}${name}`, value.shape, own.shape));
      } else if (value.quantization !== undefined) {
        problems.push(
          `${prefix}${name} is quantized (${value.dtype}), but this model is not: call quantizeDynamic first.`,
        );
      } else if (value.dtype !== own.dtype && !isPlain(own.dtype)) {
        problems.push(`${prefix}${name} should be ${own.dtype}, got ${value.dtype}.`);
      } else {
        value.checked(`${prefix}${name}`);
        if (!own.isMeta) own.checked(`the model's ${prefix}${name}`);
      }
    }
    return problems;
  }
  /** Frees what this module itself holds outside JavaScript's memory. */
  protected releaseWeights(): void {
    freeHandle(this);
  }
  /** Packs this module's weights now, not at the first use, so that they can be shared. @internal */
  [pack](): void {}
  /** Called on a copy, which has the properties of the module that it was copied from. @internal */
  [copied](): void {}
  /** Loads a state in which `checkOwnState` found no problem. `assign`: as {@link loadStateDict}'s. */
  protected loadOwnState(
    state: ReadonlyMap<string, Tensor>,
    _metadata?: ModuleMetadata,
    assign?: boolean,
  ): void {
    for (const [name, own] of this.ownState()) {
      const value = state.get(name);
      if (value === undefined || value === own) continue;
      if (assign === true) adopt(own, value);
      // What another state dict lent is not written. A parameter is written where it is, so it is not lent.
      else if (isAdopted(own)) adopt(own, isParameter(value) ? value.clone() : value);
      else own.copy_(value);
    }
  }
  /** Children with their names; a shared child under each of them. */
  protected *childEntries(): IterableIterator<[string, Module]> {
    for (const [name, value] of Object.entries(this)) if (isModule(value)) yield [name, value];
  }
  /** Replaces a child. */
  protected setChild(name: string, module: Module): void {
    (this as unknown as Record<string, Module>)[name] = module;
  }
  /** Replaces each child with what `f` returns for it. */
  replaceChildren(f: (child: Module) => Module): void {
    checkFunction('f', f);
    // The list shrinks on the way, so that it keeps no replaced child alive.
    const entries = [...this.childEntries()].reverse();
    for (let entry = entries.pop(); entry !== undefined; entry = entries.pop()) {
      const [name, child] = entry;
      const other = f(child);
      if (!isModule(other))
        throw typeError('ERR_INVALID_ARG_TYPE', `f should return a Module, got ${describe(other)}`);
      if (other !== child) this.setChild(name, other);
    }
  }

  private walk(
    prefix: string,
    visit: (prefix: string, module: Module) => void,
    above: readonly Module[] = [],
    budget = { names: mostNames },
  ): void {
    if (above.includes(this)) throw rangeError('ERR_INVALID_ARG_VALUE', `module '${prefix}' contains itself`);
    if (budget.names-- === 0 || above.length === mostDepth) {
      const sentence = `a model should have at most ${mostNames} names of modules and be at most ${mostDepth} deep`;
      throw rangeError('ERR_TOO_LARGE', sentence);
    }
    visit(prefix, this);
    for (const [name, child] of this.childEntries())
      child.walk(join(prefix, name), visit, [...above, this], budget);
  }
}

// Few modules have many names where they hold each other more than once.
const mostNames = 2 ** 18;
const mostDepth = 1000;

/** The methods that this library calls on modules that it is given. */
const methods = ['namedChildren', 'namedModules', 'parameters', 'replaceChildren', 'stateDict'] as const;

/** Whether a value is a Module, of this copy of the package or another. */
export function isModule(value: unknown): value is Module {
  if (value instanceof Module) return 'training' in value; // a bare object of this class has no fields
  const m = value as Partial<Module> | null | undefined;
  return typeof m === 'object' && m !== null && methods.every((name) => typeof m[name] === 'function');
}

/**
 * Whether a value is a module of this class or of a subclass. A class of another copy of the package counts as this
 * one when both have the same name and their superclasses have the same names up to Module.
 */
export function isInstanceOf(value: unknown, type: abstract new (...args: never[]) => Module): boolean {
  if (!isModule(value)) return false;
  // Within one copy identity decides, because a user's class may have the name of one of ours.
  if (value instanceof Module && type.prototype instanceof Module) return value instanceof type;
  const wanted = lineage(type.prototype as object);
  for (let own = prototypeOf(value); own !== null; own = prototypeOf(own))
    if (own === type.prototype || lineage(own) === wanted) return true;
  return false;
}

/** The names of a prototype's class and those above it. */
function lineage(prototype: object): string {
  const above = prototypeOf(prototype);
  const { name } = (prototype.constructor as { name?: string } | undefined) ?? {};
  return `${name} ${above === null ? '' : lineage(above)}`;
}

function prototypeOf(value: object): object | null {
  return Object.getPrototypeOf(value) as object | null;
}

// A Set that is never changed, so that copies may share it.
const buffersKey = Symbol('buffers');

/** The names of a module's own buffers. */
export function bufferNames(
  module: Module & { readonly [buffersKey]?: ReadonlySet<string> },
): ReadonlySet<string> {
  return module[buffersKey] ?? new Set();
}

function join(prefix: string, name: string): string {
  return prefix === '' ? name : `${prefix}.${name}`;
}
