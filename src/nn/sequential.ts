import { describe } from '../errors.js';
import type { Tensor } from '../tensor.js';
import { isModule, Module } from './module.js';

/** Modules one after the other, each given what the one before returned; named `'0'`, `'1'`, … */
export class Sequential extends Module {
  private readonly items = new Map<string, Module>();

  /** @throws {TypeError} when an argument is no Module */
  constructor(...modules: Module[]) {
    super();
    for (const module of modules) {
      if (!isModule(module)) throw new TypeError(`Sequential should hold Modules, got ${describe(module)}`);
      this.items.set(String(this.items.size), module);
    }
  }

  override forward(input: Tensor): Tensor {
    let value = input;
    for (const module of this.items.values()) value = module.forward(value) as Tensor;
    return value;
  }

  get length(): number {
    return this.items.size;
  }
  /** @throws {RangeError} when there is no such module; negative indices count from the end */
  get(index: number): Module {
    const module = this.items.get(String(index < 0 ? index + this.length : index));
    if (module === undefined)
      throw new RangeError(`index ${index} is out of range: there are ${this.length} modules`);
    return module;
  }
  [Symbol.iterator](): IterableIterator<Module> {
    return this.items.values();
  }

  protected override *childEntries(): IterableIterator<[string, Module]> {
    yield* this.items;
  }
  protected override setChild(name: string, module: Module): void {
    this.items.set(name, module);
  }
}
