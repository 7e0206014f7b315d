import { checkBoolean, checkOptions, describe, tagOf } from '../errors.js';
import { emptyArray, float32, isPlain, isTensor, sameShape, Tensor, unchecked } from '../tensor/index.js';
import { isOnMeta } from './meta.js';

/** A tensor that a module counts among its parameters. */
export class Parameter extends Tensor {
  /** Marks parameters for copies of this package in other realms. */
  readonly isParameter = true;
}

/** What a state dict says of one module: its type, sizes and options, as JSON values. */
export type ModuleMetadata = { readonly type: string; readonly [key: string]: unknown };

/** Names to tensors, in PyTorch's order; `metadata` maps module names to what they are (PyTorch's `_metadata`). */
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

/**
 * Called before a module's `forward` with its arguments. An array that it returns stands for them, another value
 * for an only one; nothing (undefined or null) leaves them.
 */
export type ForwardPreHook<M extends Module = Module> = (module: M, args: unknown[]) => unknown;
/** Called after a module's `forward`. What it returns, unless nothing, stands for the output. */
export type ForwardHook<M extends Module = Module> = (module: M, args: unknown[], output: unknown) => unknown;
/** What registering a hook returns. */
export interface RemovableHandle {
  /** Takes the hook away: from this module, not from copies made of it. */
  remove(): void;
}

/**
 * The base of all modules. Children, parameters and buffers are own enumerable properties: a `Module` is a
 * child, a {@link Parameter} a parameter, and what `registerBuffer` was called with a buffer. Arrays of
 * modules and plain tensors are not seen (use `Sequential`).
 */
export abstract class Module {
  training = true;
  /** A qconfig for this module and those below it, which goes before any entry of `quantizeDynamic`'s spec. */
  declare qconfig?: object | null;

  // Subclasses narrow it.
  abstract forward(...args: any[]): any;

  /** Keeps a tensor in the state dict without being a parameter. */
  registerBuffer(name: string, value: Tensor): void {
    if (!isTensor(value)) throw new TypeError(`buffer '${name}' should be a Tensor, got ${describe(value)}`);
    bufferNames(this).add(name);
    Object.defineProperty(this, name, { value, writable: true, enumerable: true, configurable: true });
  }

  /**
   * Runs `hook` after every `forward` of this module, after those that were registered before it. Copies, and
   * quantized modules made of this one, keep the hooks that it has then. Without hooks nothing is any slower.
   *
   * @throws {TypeError} when `hook` is no function, or `forward` no method of the class
   */
  registerForwardHook(hook: ForwardHook<this>): RemovableHandle {
    return addHook(this, { before: false, run: hook as ForwardHook });
  }
  /** Runs `hook` before every `forward` of this module; as {@link registerForwardHook}. */
  registerForwardPreHook(hook: ForwardPreHook<this>): RemovableHandle {
    return addHook(this, { before: true, run: hook as ForwardPreHook });
  }

  *namedChildren(): IterableIterator<[string, Module]> {
    const seen = new Set<Module>();
    for (const entry of this.childEntries()) {
      if (!seen.has(entry[1])) {
        seen.add(entry[1]);
        yield entry;
      }
    }
  }
  *children(): IterableIterator<Module> {
    for (const [, child] of this.namedChildren()) yield child;
  }
  /** This module (as `''`) and all below it, each once, parents first. */
  *namedModules(prefix = '', seen = new Set<Module>()): IterableIterator<[string, Module]> {
    if (seen.has(this)) return;
    seen.add(this);
    yield [prefix, this];
    for (const [name, child] of this.childEntries()) yield* child.namedModules(join(prefix, name), seen);
  }
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
  *parameters(): IterableIterator<Parameter> {
    for (const [, parameter] of this.namedParameters()) yield parameter;
  }

  /**
   * The module of a dotted name, as PyTorch's `get_submodule`; `''` is this one.
   *
   * @throws {RangeError} when there is none
   */
  getSubmodule(target: string): Module {
    if (typeof target !== 'string') throw new TypeError(`target should be a string, got ${describe(target)}`);
    const descend = (module: Module, name: string): Module => {
      const child = new Map(module.childEntries()).get(name);
      if (child === undefined) throw new RangeError(`${module.reprName()} has no module '${name}'`);
      return child;
    };
    return target === '' ? this : target.split('.').reduce<Module>(descend, this);
  }

  train(mode = true): this {
    for (const module of this.modules()) module.training = mode;
    return this;
  }
  eval(): this {
    return this.train(false);
  }
  /** Calls `f` with every module, children first. */
  apply(f: (module: Module) => void): this {
    for (const child of this.children()) child.apply(f);
    f(this);
    return this;
  }

  /** All parameters and buffers, not copied; a shared module's under each of its names. */
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
   * gives the same bits wherever it is loaded; from anything else they keep the mode they have.
   *
   * @param options.strict - whether missing and unexpected keys are errors. Default: true
   * @throws {TypeError} when `state` holds no tensors
   * @throws {RangeError} with PyTorch's sentence when keys (if strict) or shapes do not fit, or a dtype does not
   */
  loadStateDict(state: StateDictLike, options: { strict?: boolean } = {}): IncompatibleKeys {
    checkOptions('loadStateDict', options, ['strict']);
    const { strict = true } = options;
    checkBoolean('strict', strict);
    const given = entriesOf(state);
    const metadata = metadataOf(state);
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
      // What the state says of a module goes with that module's tensors.
      const about = own.size > 0 ? metadata.get(prefix) : undefined;
      problems.push(...module.checkOwnState(own, prefix === '' ? '' : `${prefix}.`, about));
      loads.push([module, own, about]);
    });
    const unexpectedKeys = [...given.keys()].filter((key) => !known.has(key));
    if (strict) {
      const list = (keys: string[]): string => keys.map((key) => `"${key}"`).join(', ');
      if (missingKeys.length > 0) problems.unshift(`Missing key(s) in state_dict: ${list(missingKeys)}. `);
      if (unexpectedKeys.length > 0)
        problems.unshift(`Unexpected key(s) in state_dict: ${list(unexpectedKeys)}. `);
    }
    if (problems.length > 0) {
      throw new RangeError(
        `Error(s) in loading state_dict for ${this.constructor.name}:\n\t${problems.join('\n\t')}`,
      );
    }
    for (const [module, own, about] of loads) module.loadOwnState(own, about);
    return { missingKeys, unexpectedKeys };
  }

  /** PyTorch's repr: the name, the options, the children indented. */
  toString(): string {
    const lines = [...this.childReprs()].map(
      ([label, repr]) => `  (${label}): ${repr.replaceAll('\n', '\n  ')}`,
    );
    const extra = this.extraRepr();
    const name = this.reprName();
    if (lines.length === 0) return `${name}(${extra})`;
    return [`${name}(${extra}`, ...lines, ')'].join('\n');
  }

  // For subclasses ---------------------------------------------------------------------------------------

  /** What stands between the parentheses of `toString`. */
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
  /** What the state dict says of this module. */
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
   * Why the given tensors cannot be loaded; changes nothing. `prefix` begins the names in the sentences,
   * `metadata` is what the state dict says of this module, checked by nobody.
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
      }
    }
    return problems;
  }
  /** Takes what `checkOwnState` found no fault with. */
  protected loadOwnState(state: ReadonlyMap<string, Tensor>, _metadata?: ModuleMetadata): void {
    for (const [name, own] of this.ownState()) {
      const value = state.get(name);
      if (value !== undefined && value !== own) own.copy_(value);
    }
  }
  /** Children with their names; a shared child under each of them. */
  protected *childEntries(): IterableIterator<[string, Module]> {
    for (const [name, value] of Object.entries(this)) if (isModule(value)) yield [name, value];
  }
  /** Puts another module in a child's place. */
  protected setChild(name: string, module: Module): void {
    (this as unknown as Record<string, Module>)[name] = module;
  }
  /** Replaces each child by what `f` makes of it. */
  replaceChildren(f: (child: Module) => Module): void {
    // The list shrinks as it goes: what was replaced must not be kept by it.
    const entries = [...this.childEntries()].reverse();
    for (let entry = entries.pop(); entry !== undefined; entry = entries.pop()) {
      const [name, child] = entry;
      const other = f(child);
      if (other !== child) this.setChild(name, other);
    }
  }

  private walk(
    prefix: string,
    visit: (prefix: string, module: Module) => void,
    above: readonly Module[] = [],
  ): void {
    if (above.includes(this)) throw new RangeError(`module '${prefix}' contains itself`);
    visit(prefix, this);
    for (const [name, child] of this.childEntries()) child.walk(join(prefix, name), visit, [...above, this]);
  }
}

/** Whether a value is a Module, of this copy of the package or another. */
export function isModule(value: unknown): value is Module {
  if (value instanceof Module) return true;
  const m = value as Partial<Module> | null | undefined;
  return (
    typeof m === 'object' &&
    m !== null &&
    typeof m.namedModules === 'function' &&
    typeof m.stateDict === 'function'
  );
}

export function isParameter(value: unknown): value is Parameter {
  return isTensor(value) && (value as { isParameter?: unknown }).isParameter === true;
}

/**
 * A deep copy: modules and tensors are copied, sharing kept; other properties are taken over as they are.
 * Native handles are found again by what they were made of, so nothing else is to do.
 */
export function copyModule<M extends Module>(module: M): M {
  const copies = new Map<object, unknown>();
  const copy = (value: unknown): unknown => {
    if (typeof value !== 'object' || value === null) return value;
    const known = copies.get(value);
    if (known !== undefined) return known;
    if (isParameter(value)) {
      const parameter = new Parameter(value.checked().slice(), value.shape, {
        dtype: value.dtype,
        ...value.quantization,
      });
      copies.set(value, parameter);
      return parameter;
    }
    if (isTensor(value)) {
      const tensor = value.clone();
      copies.set(value, tensor);
      return tensor;
    }
    if (isModule(value)) {
      const result = Object.create(Object.getPrototypeOf(value) as object) as Module;
      copies.set(value, result);
      const buffers = bufferNames(value);
      if (buffers.size > 0) bufferNames(result).clear();
      buffers.forEach((name) => bufferNames(result).add(name));
      for (const key of Reflect.ownKeys(value)) {
        const property = Object.getOwnPropertyDescriptor(value, key)!;
        if ('value' in property) property.value = copy(property.value);
        Object.defineProperty(result, key, property);
      }
      return result;
    }
    if (tagOf(value) === 'Map') {
      const result = new Map([...(value as Map<unknown, unknown>)].map(([key, item]) => [key, copy(item)]));
      copies.set(value, result);
      return result;
    }
    return value;
  };
  return copy(module) as M;
}

interface Hook {
  readonly before: boolean;
  readonly run: (module: Module, args: unknown[], output?: unknown) => unknown;
}

// A module with hooks has two own properties that nothing enumerates: its hooks, by handle (a Map, so that
// copyModule gives each copy its own), and a `forward` in front of its class's.
const hooksKey = Symbol('hooks');
type Hooked = Module & { [hooksKey]?: Map<object, Hook> };

function hookMap(module: Hooked): Map<object, Hook> {
  const known = module[hooksKey];
  if (known !== undefined) return known;
  if (Object.hasOwn(module, 'forward')) {
    throw new TypeError(`forward should be a method of ${module.constructor.name} for hooks, not a property`);
  }
  const hooks = new Map<object, Hook>();
  Object.defineProperty(module, hooksKey, { value: hooks, configurable: true });
  Object.defineProperty(module, 'forward', {
    value: forwardWithHooks,
    configurable: true,
    writable: true,
  });
  return hooks;
}

function addHook(module: Hooked, hook: Hook): RemovableHandle {
  if (typeof hook.run !== 'function')
    throw new TypeError(`hook should be a function, got ${describe(hook.run)}`);
  const hooks = hookMap(module);
  const handle = {
    remove(): void {
      if (!hooks.delete(handle) || hooks.size > 0) return;
      Reflect.deleteProperty(module, hooksKey);
      Reflect.deleteProperty(module, 'forward');
    },
  };
  hooks.set(handle, hook);
  return handle;
}

function forwardWithHooks(this: Hooked, ...given: unknown[]): unknown {
  const hooks = [...this[hooksKey]!.values()]; // as they are now: a hook may remove itself
  const isNothing = (value: unknown): boolean => value === undefined || value === null;
  let args = given;
  for (const { before, run } of hooks) {
    const result = before ? run(this, args) : undefined;
    if (!isNothing(result)) args = Array.isArray(result) ? result : [result];
  }
  let output: unknown = (Object.getPrototypeOf(this) as Module).forward.apply(this, args);
  for (const { before, run } of hooks) {
    const result = before ? undefined : run(this, args, output);
    if (!isNothing(result)) output = result;
  }
  return output;
}

/** Gives a module that stands for another the other's hooks too. */
export function copyHooks(from: Module, to: Module): void {
  const hooks = (from as Hooked)[hooksKey];
  if (hooks === undefined || from === to) return;
  const target = hookMap(to);
  hooks.forEach((hook, handle) => target.set(handle, hook));
}

/** A float as Python prints it: `1.0`, `1e-05`. */
export function pythonFloat(x: number): string {
  if (!Number.isFinite(x)) return String(x).toLowerCase().replace('infinity', 'inf');
  const [digits, exponent] = x.toExponential().split('e') as [string, string];
  const e = Number(exponent);
  if (x !== 0 && (e < -4 || e >= 16)) {
    return `${digits}e${e < 0 ? '-' : '+'}${String(Math.abs(e)).padStart(2, '0')}`;
  }
  return Number.isInteger(x) ? `${x}.0` : String(x);
}

/** PyTorch's sentence for a tensor of another shape than the module's. */
export function sizeMismatch(name: string, given: readonly number[], own: readonly number[]): string {
  return `size mismatch for ${name}: copying a param with shape torch.Size([${given.join(', ')}]) from checkpoint, the shape in current model is torch.Size([${own.join(', ')}]).`;
}

/** A new float32 parameter, not initialised. */
export function emptyParameter(shape: readonly number[]): Parameter {
  const count = shape.reduce((product, n) => product * n, 1);
  if (!Number.isSafeInteger(count))
    throw new RangeError(`a parameter of shape [${shape.join(', ')}] is too large`);
  if (isOnMeta()) return new Parameter(new Float32Array(0), shape, unchecked);
  return new Parameter(emptyArray(float32, count), shape, { dtype: float32 });
}

/**
 * A parameter's numbers, for it is a property that anyone may have replaced.
 *
 * @throws {TypeError} when it is no float32 tensor @throws {RangeError} when it is not of that shape
 */
export function parameterData(name: string, value: unknown, shape: readonly number[]): Float32Array {
  if (!isTensor(value) || value.dtype !== float32) {
    throw new TypeError(
      `${name} should be a float32 Parameter, got ${isTensor(value) ? value.dtype : describe(value)}`,
    );
  }
  if (!sameShape(value.shape, shape)) {
    throw new RangeError(
      `${name} should have the shape [${shape.join(', ')}], got [${value.shape.join(', ')}]`,
    );
  }
  return value.checked(name) as Float32Array;
}

const buffersOf = new WeakMap<Module, Set<string>>();

function bufferNames(module: Module): Set<string> {
  let names = buffersOf.get(module);
  if (names === undefined) buffersOf.set(module, (names = new Set()));
  return names;
}

function join(prefix: string, name: string): string {
  return prefix === '' ? name : `${prefix}.${name}`;
}

/** Names and tensors of a state dict. @throws {TypeError} when it holds something else */
export function entriesOf(state: StateDictLike): Map<string, Tensor> {
  if (typeof state !== 'object' || state === null) {
    throw new TypeError(`state should be a Map of tensors, got ${describe(state)}`);
  }
  const entries =
    Symbol.iterator in state ? [...(state as Iterable<readonly [string, Tensor]>)] : Object.entries(state);
  for (const entry of entries) {
    if (!Array.isArray(entry) || typeof entry[0] !== 'string' || !isTensor(entry[1])) {
      throw new TypeError(
        `state should hold [name, Tensor] pairs, got ${describe(Array.isArray(entry) ? entry[1] : entry)}`,
      );
    }
  }
  return new Map(entries as [string, Tensor][]);
}

/** A {@link StateDict}'s, of this copy of the package or another; a plain Map or object has none. */
export function metadataOf(state: StateDictLike): ReadonlyMap<string, ModuleMetadata> {
  const { metadata } = state as Partial<StateDict>;
  return tagOf(metadata) === 'Map' ? metadata! : new Map();
}
