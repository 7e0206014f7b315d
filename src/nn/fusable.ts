import type { LinearHandle } from '../native/handles.js';

// Modules whose work another module's call may do for them, because nobody can see the difference.

/** The name of a method that gives the handles of a module's products, or null if there is more to its forward. */
export const products: unique symbol = Symbol('products');

interface Forwards {
  forward(...args: never[]): unknown;
  forwardAsync(...args: never[]): Promise<unknown>;
}

/** A module with the method. */
export interface Fusable {
  [products](): readonly LinearHandle[] | null;
}

const known = new WeakMap<object, Forwards>();

/** Says that a class is one of these, with its methods as they are now. */
export function fusable(Class: { readonly prototype: Forwards }): void {
  const { forward, forwardAsync } = Class.prototype;
  known.set(Class.prototype, { forward, forwardAsync });
}

/** Whether a module is of exactly such a class, has no hooks, and nobody has replaced its methods. */
export function isFusable(module: Forwards): boolean {
  const own = known.get(Object.getPrototypeOf(module) as object);
  return own !== undefined && module.forward === own.forward && module.forwardAsync === own.forwardAsync;
}

/** The handles of a module's products; null if it is no such module, or there is more to its forward. */
export function productsOf(module: Forwards): readonly LinearHandle[] | null {
  return isFusable(module) && products in module ? (module as Forwards & Fusable)[products]() : null;
}
