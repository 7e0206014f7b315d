import { typeError, type Coded } from '../errors.js';

/**
 * The key of a module's sizes and options as one frozen record. A hot `forward` reads them there, because a few of
 * the accessors that {@link closed} makes are slow beside a small layer's whole call.
 */
export const fixed = Symbol('fixed');

type Closed = { readonly [fixed]?: Readonly<Record<string, unknown>> };

/**
 * Gives a module its sizes and options, which nobody can change afterwards: a native handle or the shapes of
 * parameters were made for them. They are own enumerable properties, and a write throws. A constructor calls
 * this once for its own; a subclass may add more. Copies that take own properties over are closed as well.
 */
export function closed(module: object, values: object): void {
  record(module, values);
  for (const name of Object.keys(values)) Object.defineProperty(module, name, accessorOf(name));
}

/** Adds to a module's record what is no property. */
export function record(module: object, values: object): void {
  const value = Object.freeze({ ...(module as Closed)[fixed], ...values });
  Object.defineProperty(module, fixed, { value, configurable: true });
}

/** {@link closed} for getters of a class that return an option which is kept elsewhere. */
export function closedGetters(prototype: object, ...names: readonly string[]): void {
  for (const name of names) {
    const getter = Object.getOwnPropertyDescriptor(prototype, name);
    Object.defineProperty(prototype, name, { ...getter, set: accessorOf(name).set });
  }
}

// One accessor for each name, because modules that share its functions share one hidden class in V8.
const accessors = new Map<string, PropertyDescriptor>();

function accessorOf(name: string): PropertyDescriptor {
  let accessor = accessors.get(name);
  if (accessor === undefined) {
    accessor = {
      get(this: Closed): unknown {
        return this[fixed]?.[name];
      },
      set(this: object): never {
        throw readOnly(this.constructor.name, name);
      },
      enumerable: true,
    };
    accessors.set(name, accessor);
  }
  return accessor;
}

function readOnly(className: string, name: string): Coded<TypeError> {
  return typeError(
    'ERR_READ_ONLY',
    `${className}: ${name} is fixed at construction; make a new ${className} with another ${name} instead`,
  );
}
