import type { StateDict } from '../../../nn/module.js';
import type { Steps } from '../../file.js';
import { dtypeOf, put, readArray } from './arrays.js';
import type { KerasLayer, LayerArray, Notes } from './model.js';

/** Adds the arrays of a layer that is no module here, in Keras's layout. */
export function* addArrays(state: StateDict, layer: KerasLayer, notes: Notes): Steps<void> {
  const { name, className, arrays } = layer;
  // No class of this name, so that nothing is built of it.
  state.metadata.set(name, { type: `keras.${className ?? 'Layer'}` });
  for (const array of arrays) {
    const key = `${name}.${keyOf(array, name)}`;
    if (dtypeOf(array) === undefined)
      notes.add(`left out, because nothing here reads ${array.dataset.type.title}`, key);
    else put(state, key, yield* readArray(array, key));
  }
  const what = className ?? 'layer';
  notes.add(`kept in Keras’s layout, because no module here does what this ${what} does`, name);
}

/** What an array is called within its layer. */
function keyOf({ path }: LayerArray, layer: string): string {
  const names = path.split('/').filter((name) => name !== 'vars' && name !== '');
  const own = names.lastIndexOf(layer.slice(layer.lastIndexOf('.') + 1));
  return (own >= 0 && own < names.length - 1 ? names.slice(own + 1) : names).join('.');
}
