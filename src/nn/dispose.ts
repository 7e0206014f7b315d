import { disposedError } from '../errors.js';

// A disposed module has own properties, which nothing enumerates, in place of the methods that need what is gone. So a
// call of a module that is not disposed pays for no check, and classes by users are covered as well.
const methods = [
  ...(['forward', 'forwardAsync', 'stateDict', 'loadStateDict'] as const),
  ...(['metadata', 'ownState', 'ownNames'] as const), // which the modules above call for theirs
];

const throwing = Object.fromEntries(
  methods.map((name) => [name, { value: name === 'forwardAsync' ? reject : refuse, configurable: true }]),
);

async function reject(this: object): Promise<never> {
  return refuse.call(this);
}

function refuse(this: object): never {
  throw disposedError(`${this.constructor.name} was disposed`);
}

/** @throws {Error} when the module was disposed */
export function checkAlive(module: { readonly forward?: unknown }): void {
  if (module.forward === refuse) refuse.call(module);
}

/** Makes a module refuse these calls. False if it did already. */
export function dispose(module: { readonly forward: unknown }): boolean {
  if (module.forward === refuse) return false;
  Object.defineProperties(module, throwing);
  return true;
}
