import { typeError } from '../errors.js';
import { native } from '../native/addon.js';
import type { HandleClass, NativeHandle } from '../native/handles.js';
import type { Tensor } from '../tensor/index.js';

// The native handles of all modules, and so their packed weights. A handle's owner is the float module, or what a
// quantized module has loaded (quantized/dynamic/dynamic-module.ts). An owner that is collected releases its handle.

interface Entry {
  readonly handle: NativeHandle;
  /** What was packed, if it may change: a float module's parameters. */
  readonly tensors: readonly (Tensor | null)[];
  readonly versions: readonly number[];
}

const entries = new WeakMap<object, Entry>();

/** An owner's handle, if it has one. */
export function handleOf(owner: object): NativeHandle | undefined {
  return entries.get(owner)?.handle;
}

/** Gives an owner its handle, and frees the one that it had. */
export function setHandle(
  owner: object,
  handle: NativeHandle,
  tensors: readonly (Tensor | null)[] = [],
  versions: readonly number[] = tensors.map(versionOf),
): void {
  const before = handleOf(owner);
  entries.set(owner, { handle, tensors: [...tensors], versions });
  before?.dispose();
}

/**
 * The handle of a float module: packed at the first use, and again after a parameter was replaced or written by the
 * library (each such write bumps the tensor's version). The old weights are then freed at once.
 */
export function packedHandle<Handle extends NativeHandle>(
  owner: object,
  tensors: readonly (Tensor | null)[],
  pack: () => Handle,
): Handle {
  const entry = entries.get(owner);
  if (entry !== undefined && isCurrent(entry, tensors)) return entry.handle as Handle;
  const versions = tensors.map(versionOf);
  const handle = pack();
  setHandle(owner, handle, tensors, versions);
  return handle;
}

/** Frees an owner's weights at once, unless somebody else holds them: a copy, another thread, a call that runs. */
export function freeHandle(owner: object): void {
  entries.get(owner)?.handle.dispose();
  entries.delete(owner);
}

/** A handle in a form that another thread can take up, and what was packed. */
export interface SharedHandle {
  /** The name of its class in the addon. */
  readonly kind: string;
  readonly number: number;
  /** The memory in which the number counts, unless it is that of the process. */
  readonly memory: string | undefined;
  readonly tensors: readonly (Tensor | null)[];
}

/** What an owner's handle is shared as; undefined if it has none, or if a parameter was written since. */
export function shareHandle(owner: object): SharedHandle | undefined {
  const entry = entries.get(owner);
  if (entry === undefined || !isCurrent(entry, entry.tensors)) return undefined;
  const { handle, tensors } = entry;
  return {
    kind: handle.constructor.name,
    number: handle.share(),
    memory: native().callMemory?.name,
    tensors,
  };
}

/** Whether its weights are where this thread can reach them. */
export function isReachable({ memory }: Pick<SharedHandle, 'memory'>): boolean {
  return memory === native().callMemory?.name;
}

/** Gives an owner a handle of its own on shared weights. Throws when nobody holds them any more. */
export function takeHandle(owner: object, { kind, number, tensors }: Omit<SharedHandle, 'memory'>): void {
  const Class = (native() as unknown as Record<string, HandleClass<NativeHandle, never>>)[kind];
  if (typeof Class?.prototype?.share !== 'function')
    throw typeError('ERR_INVALID_ARG_TYPE', 'no handle class');
  setHandle(owner, new Class(number), tensors);
}

function isCurrent(entry: Entry, tensors: readonly (Tensor | null)[]): boolean {
  if (entry.tensors.length !== tensors.length) return false;
  for (let i = 0; i < tensors.length; i++) {
    const tensor = tensors[i]!;
    if (tensor !== entry.tensors[i] || (tensor !== null && tensor.version !== entry.versions[i]))
      return false;
  }
  return true;
}

function versionOf(tensor: Tensor | null | undefined): number {
  return tensor?.version ?? 0;
}
