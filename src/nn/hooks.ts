import { describe, typeError } from '../errors.js';
import { checkAlive } from './dispose.js';

/** What registering a hook returns. */
export interface RemovableHandle {
  /** Removes the hook from this module, but not from copies of it. */
  remove(): void;
}

export interface Hook {
  readonly before: boolean;
  readonly run: (module: Hooked, args: unknown[], output?: unknown) => unknown;
}

// A module with hooks has two own properties that nothing enumerates: its hooks by handle, in a Map, so that
// copyModule gives each copy its own; and a `forward` that hides its class's and runs the hooks around it.
const hooksKey = Symbol('hooks');

/** A module, as far as hooks need it. */
interface Hooked {
  forward(...args: never[]): unknown;
  readonly [hooksKey]?: Map<object, Hook>;
}

export function addHook(module: Hooked, hook: Hook): RemovableHandle {
  if (typeof hook.run !== 'function')
    throw typeError('ERR_INVALID_ARG_TYPE', `hook should be a function, got ${describe(hook.run)}`);
  checkAlive(module);
  const hooks = hookMap(module);
  const handle = {
    remove(): void {
      if (!hooks.delete(handle) || hooks.size > 0) return;
      Reflect.deleteProperty(module, hooksKey);
      if (module.forward === forwardWithHooks) Reflect.deleteProperty(module, 'forward');
    },
  };
  hooks.set(handle, hook);
  return handle;
}

/** Copies the hooks of a module to the module that replaces it. */
export function copyHooks(from: Hooked, to: Hooked): void {
  const hooks = from[hooksKey];
  if (hooks === undefined || from === to) return;
  const target = hookMap(to);
  hooks.forEach((hook, handle) => target.set(handle, hook));
}

function hookMap(module: Hooked): Map<object, Hook> {
  const known = module[hooksKey];
  if (known !== undefined) return known;
  if (typeof module.forward !== 'function') {
    const sentence = `hook: Module [${module.constructor.name}] is missing the required "forward" function`;
    throw typeError('ERR_INVALID_ARG_TYPE', sentence);
  }
  if (Object.hasOwn(module, 'forward')) {
    throw typeError(
      'ERR_INVALID_ARG_TYPE',
      `forward should be a method of ${module.constructor.name} for hooks, not a property`,
    );
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

function forwardWithHooks(this: Hooked, ...given: unknown[]): unknown {
  const hooks = [...this[hooksKey]!.values()]; // a copy, because a hook may remove itself
  const isNothing = (value: unknown): boolean => value === undefined || value === null;
  let args = given;
  for (const { before, run } of hooks) {
    const result = before ? run(this, args) : undefined;
    if (!isNothing(result)) args = Array.isArray(result) ? result : [result];
  }
  let output: unknown = (Object.getPrototypeOf(this) as Hooked).forward.apply(this, args as never[]);
  for (const { before, run } of hooks) {
    const result = before ? undefined : run(this, args, output);
    if (!isNothing(result)) output = result;
  }
  return output;
}
