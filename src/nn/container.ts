import { takeSignal, type AsyncOptions } from '../async-options.js';
import { checkNumber, checkString, describe, isMap, listOf, rangeError, typeError } from '../errors.js';
import type { Tensor } from '../tensor/index.js';
import { isForwardReplaced, missingForward, withoutHooks } from './hooks.js';
import { isModule, Module } from './module.js';

/** A module that holds others by name. They are in a Map, because names come from files too. */
export abstract class Container extends Module {
  declare protected readonly items: Map<string, Module>;

  constructor() {
    super();
    Object.defineProperty(this, 'items', { value: new Map(), enumerable: true }); // so that nobody replaces it
  }

  /** The number of modules. */
  get length(): number {
    return this.items.size;
  }

  protected add(name: string, module: Module): void {
    checkString('module name', name);
    if (!isModule(module)) {
      const sentence = `${this.constructor.name} should hold Modules, got ${describe(module)}`;
      throw typeError('ERR_INVALID_ARG_TYPE', sentence);
    }
    if (name === '') throw rangeError('ERR_INVALID_ARG_VALUE', `module name can't be empty string ""`);
    if (name.includes('.')) {
      const sentence = `module name can't contain ".", got: ${describe(name)}`;
      throw rangeError('ERR_INVALID_ARG_VALUE', sentence);
    }
    for (const [, part] of module.namedModules()) {
      if (part === this) throw rangeError('ERR_INVALID_ARG_VALUE', `module '${name}' contains itself`);
    }
    this.items.set(name, module);
  }
  protected override *childEntries(): IterableIterator<[string, Module]> {
    yield* this.items;
  }
  protected override setChild(name: string, module: Module): void {
    this.items.set(name, module);
  }
}

/** Modules in a row, named `'0'`, `'1'`, … */
abstract class Row extends Container {
  /** Adds a module at the end. @throws {TypeError} if it is not a Module @throws {RangeError} if its name is taken */
  append(module: Module): this {
    const name = String(this.length);
    if (this.items.has(name))
      throw rangeError('ERR_INVALID_ARG_VALUE', `there is a module '${name}' already`);
    this.add(name, module);
    return this;
  }
  /** @throws {RangeError} when there is no such module; negative indices count from the end */
  get(index: number): Module {
    checkNumber('index', index);
    const module = [...this.items.values()].at(index);
    if (module === undefined || index < -this.length || !Number.isInteger(index)) {
      const sentence = `index ${index} is out of range: there are ${this.length} modules`;
      throw rangeError('ERR_OUT_OF_RANGE', sentence);
    }
    return module;
  }
  /** The modules in order. */
  [Symbol.iterator](): IterableIterator<Module> {
    return this.items.values();
  }
}

/** Runs modules one after the other. Each gets what the one before it returned. */
export class Sequential extends Row {
  /**
   * @param modules - named `'0'`, `'1'`, …, or one Map of names to modules (PyTorch's OrderedDict)
   * @throws {TypeError} when an argument is not a Module @throws {RangeError} for a name with a dot, or none
   */
  constructor(...modules: Module[] | [ReadonlyMap<string, Module>]) {
    super();
    const [first] = modules;
    if (modules.length === 1 && isMap(first))
      for (const [name, module] of pairsOf(first)) this.add(name, module);
    else for (const module of modules as Module[]) this.append(module);
  }

  /** What the last module returns, or the input if there are no modules. */
  override forward(input: Tensor): Tensor {
    let value = input;
    for (const module of this.items.values()) value = module.forward(value) as Tensor;
    return value;
  }

  /**
   * {@link forward} while the event loop goes on: see {@link Module.forwardAsync}. Each module gets its turn with the
   * weights that it has when the one before it is done.
   */
  override async forwardAsync(input: Tensor, options?: AsyncOptions): Promise<Tensor> {
    const args: unknown[] = [input, options];
    if (isForwardReplaced(this)) return (await super.forwardAsync(input, options)) as Tensor;
    const signal = takeSignal(args, 1);
    let value = input;
    // Without a turn in between until the first that is asynchronous has copied its input, which may be ours.
    for (const module of [...this.items.values()]) {
      value = (
        hasForwardAsync(module)
          ? await module.forwardAsync(value, ...(signal === undefined ? [] : [{ signal }]))
          : module.forward(value)
      ) as Tensor;
    }
    return value;
  }
}

/** Whether a module does more than to call `forward`. */
export function hasForwardAsync(module: Module): boolean {
  const { forwardAsync } = withoutHooks(module);
  return typeof forwardAsync === 'function' && forwardAsync !== Module.prototype.forwardAsync;
}

/** A list of modules. It has no `forward`: its owner runs them. */
export class ModuleList extends Row {
  /** @throws {TypeError} when an item is not a Module */
  constructor(modules: Iterable<Module> = []) {
    super();
    this.extend(modules);
  }
  /** Appends each of the modules. */
  extend(modules: Iterable<Module>): this {
    for (const module of listOf('modules', modules)) this.append(module as Module);
    return this;
  }
  /** A list or dict has no forward of its own. @throws {TypeError} always */
  override forward(): never {
    return noForward('ModuleList');
  }
  /** Equal neighbours share one line, as in PyTorch: `(0-2): 3 x ReLU()`. */
  protected override *childReprs(): IterableIterator<[label: string, repr: string]> {
    const reprs = [...this].map(String);
    for (let start = 0, end = 0; start < reprs.length; start = end) {
      while (reprs[end] === reprs[start]) end++;
      if (end === start + 1) yield [String(start), reprs[start]!];
      else yield [`${start}-${end - 1}`, `${end - start} x ${reprs[start]}`];
    }
  }
}

/** Modules by name. It has no `forward`: its owner runs them. */
export class ModuleDict extends Container {
  /**
   * @param modules - a Map, pairs, or a plain object
   * @throws {TypeError} when a value is not a Module @throws {RangeError} for a name with a dot, or none
   */
  constructor(modules: Iterable<readonly [string, Module]> | { readonly [name: string]: Module } = []) {
    super();
    const isPlain = typeof modules === 'object' && modules !== null && !(Symbol.iterator in modules);
    for (const [name, module] of pairsOf(isPlain ? Object.entries(modules) : modules)) this.set(name, module);
  }
  /** @throws {RangeError} when there is no such module */
  get(key: string): Module {
    checkString('key', key);
    const module = this.items.get(key);
    if (module === undefined) throw rangeError('ERR_OUT_OF_RANGE', `there is no module ${describe(key)}`);
    return module;
  }
  /** Whether there is a module of this name. */
  has(key: string): boolean {
    return this.items.has(key);
  }
  /** Adds a module, or replaces the one that has this name. */
  set(key: string, module: Module): this {
    this.add(key, module);
    return this;
  }
  /** Removes a module; whether there was one. */
  delete(key: string): boolean {
    return this.items.delete(key);
  }
  /** The names in order. */
  keys(): IterableIterator<string> {
    return this.items.keys();
  }
  /** The modules in order. */
  values(): IterableIterator<Module> {
    return this.items.values();
  }
  /** Names and modules in order. */
  entries(): IterableIterator<[string, Module]> {
    return this.items.entries();
  }
  /** A list or dict has no forward of its own. @throws {TypeError} always */
  override forward(): never {
    return noForward('ModuleDict');
  }
}

function noForward(name: string): never {
  throw missingForward(name);
}

/** The pairs of a Map or another iterable. Whoever adds them checks the names and modules. */
function pairsOf(modules: unknown): [name: string, module: Module][] {
  return listOf('modules', modules).map((entry) => {
    if (Array.isArray(entry)) return [entry[0] as string, entry[1] as Module];
    const sentence = `modules should hold [name, Module] pairs, got ${describe(entry)}`;
    throw typeError('ERR_INVALID_ARG_TYPE', sentence);
  });
}
