import type { StateDict } from '../../../nn/module.js';

/**
 * Restores the tensors that `save_model` of Python's safetensors left out, because they are tied to others: its
 * metadata map the name that is missing to the name that is there. They become one Tensor under both names. Every other
 * text stays a note.
 */
export function restoreTied(state: StateDict): void {
  for (const [name, kept] of state.notes) {
    const tensor = state.get(kept);
    if (tensor === undefined || state.has(name) || !parameterName.test(name)) continue;
    state.set(name, tensor);
    state.notes.delete(name);
  }
}

/** Names of parameters have dots. A text such as `author` has none, even if a tensor happens to have its value as name. */
const parameterName = /^[^.\s]+(\.[^.\s]+)+$/;
