import { takeSignal } from '../async-options.js';
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

// A module with hooks has three own properties that nothing enumerates: its hooks by handle, in a Map, so that
// copyModule gives each copy its own; and a `forward` and a `forwardAsync` that hide its class's and run the hooks
// around them.
const hooksKey = Symbol('hooks');

/** A module, as far as hooks need it. */
interface Hooked {
  forward(...args: never[]): unknown;
  forwardAsync(...args: never[]): Promise<unknown>;
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
      for (const [name, wrapper] of Object.entries(wrappers)) {
        if (module[name as keyof typeof wrappers] === wrapper) Reflect.deleteProperty(module, name);
      }
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
  for (const [name, value] of Object.entries(wrappers)) {
    Object.defineProperty(module, name, { value, configurable: true, writable: true });
  }
  return hooks;
}

/** What hides a class's methods in a module with hooks. */
const wrappers = {
  forward(this: Hooked, ...given: unknown[]): unknown {
    const hooks = hooksOf(this);
    const args = argumentsAfter(this, hooks, given);
    return outputAfter(this, hooks, args, withoutHooks(this).forward.apply(this, args as never[]));
  },
  async forwardAsync(this: Hooked, ...given: unknown[]): Promise<unknown> {
    const hooks = hooksOf(this);
    const signal = takeSignal(given);
    const args = argumentsAfter(this, hooks, given);
    const options = signal === undefined ? [] : [{ signal }];
    const all = [...args, ...options] as never[];
    const output = await withoutHooks(this).forwardAsync.apply(this, all);
    return outputAfter(this, hooks, args, output);
  },
};

/** A copy, because a hook may remove itself. */
function hooksOf(module: Hooked): readonly Hook[] {
  return [...module[hooksKey]!.values()];
}

function argumentsAfter(module: Hooked, hooks: readonly Hook[], given: unknown[]): unknown[] {
  let args = given;
  for (const { before, run } of hooks) {
    const result = before ? run(module, args) : undefined;
    if (result !== undefined && result !== null) args = Array.isArray(result) ? result : [result];
  }
  return args;
}

function outputAfter(module: Hooked, hooks: readonly Hook[], args: unknown[], given: unknown): unknown {
  let output = given;
  for (const { before, run } of hooks) {
    const result = before ? undefined : run(module, args, output);
    if (result !== undefined && result !== null) output = result;
  }
  return output;
}

/** The error of a module that cannot run, in PyTorch's words. */
export function missingForward(className: string): Error {
  const sentence = `Module [${className}] is missing the required "forward" function`;
  return typeError('ERR_INVALID_ARG_TYPE', sentence);
}

/** A module's methods without its hooks. */
export function withoutHooks(module: Hooked): Pick<Hooked, 'forward' | 'forwardAsync'> {
  return module[hooksKey] === undefined ? module : (Object.getPrototypeOf(module) as Hooked);
}

// Of a module without an own `forward`, by its prototype.
const replacedIn = new WeakMap<object, boolean>();

/**
 * Whether a module's `forward` was replaced by a subclass, or in the module itself, that left `forwardAsync` as it was.
 * What `forwardAsync` knows of the class's `forward` is not true of such a module.
 */
export function isForwardReplaced(module: Hooked): boolean {
  if (module[hooksKey] === undefined && Object.hasOwn(module, 'forward')) return true;
  const prototype = Object.getPrototypeOf(module) as object;
  let replaced = replacedIn.get(prototype);
  if (replaced === undefined) {
    let owner = prototype;
    while (!Object.hasOwn(owner, 'forward') && !Object.hasOwn(owner, 'forwardAsync')) {
      owner = Object.getPrototypeOf(owner) as object;
    }
    replacedIn.set(prototype, (replaced = !Object.hasOwn(owner, 'forwardAsync')));
  }
  return replaced;
}
