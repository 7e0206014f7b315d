import type { Tensor } from '../tensor/index.js';
import type { Module } from './module.js';

interface Entry<Handle> {
  handle: Handle;
  tensors: readonly (Tensor | null)[];
  versions: readonly number[];
}

/**
 * The native handles of float modules: packed at the first use, and again after a parameter was replaced or
 * written by the library (each such write bumps the tensor's version).
 */
export class PackedOnce<Handle> {
  private readonly entries = new WeakMap<Module, Entry<Handle>>();

  get(module: Module, tensors: readonly (Tensor | null)[], pack: () => Handle): Handle {
    const entry = this.entries.get(module);
    if (entry !== undefined && isCurrent(entry, tensors)) return entry.handle;
    const versions = tensors.map((tensor) => tensor?.version ?? 0);
    const handle = pack();
    this.entries.set(module, { handle, tensors: [...tensors], versions });
    return handle;
  }

  forget(module: Module): void {
    this.entries.delete(module);
  }
}

function isCurrent(entry: Entry<unknown>, tensors: readonly (Tensor | null)[]): boolean {
  if (entry.tensors.length !== tensors.length) return false;
  for (let i = 0; i < tensors.length; i++) {
    const tensor = tensors[i]!;
    if (tensor !== entry.tensors[i] || (tensor !== null && tensor.version !== entry.versions[i]))
      return false;
  }
  return true;
}
