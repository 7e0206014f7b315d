import { CheckpointError, describe } from '../../../errors.js';
import type { Steps } from '../../file.js';
import { pieceCost, type Hdf5Object } from './hdf5.js';
import { checkLevel, innerOf, layersOf, type Entry, type KerasLayer, type LayerArray } from './model.js';

// The *.h5 files of Keras 2, which Keras 3 still writes: a group for each layer of the model, by the layer's name, with
// the paths of its weights in an attribute. Paths differ between versions, so none is ever built, only followed.

/** Whether these are the layers of such a file. */
export function* isLegacy(group: Hdf5Object): Steps<boolean> {
  return (yield* listOf(group, 'layer_names')) !== undefined;
}

/** A list of texts. Keras cuts one above 64 kB into attributes with numbers. */
function* listOf(group: Hdf5Object, name: string): Steps<string[] | undefined> {
  const whole = yield* group.texts(name);
  if (whole !== undefined) return whole.map((text) => text.text());
  const list: string[] = [];
  for (let i = 0; ; i++) {
    const part = yield* group.texts(`${name}${i}`);
    if (part === undefined) return i === 0 ? undefined : list;
    for (const text of part) list.push(text.text());
  }
}

/** @param entries - the model's layers, if the file has its configuration */
export function* legacyLayers(group: Hdf5Object, entries: readonly Entry[] | undefined): Steps<KerasLayer[]> {
  const layers: KerasLayer[] = [];
  const byName = new Map(entries?.map((entry) => [entry.name, entry]));
  for (const name of (yield* listOf(group, 'layer_names')) ?? []) {
    const own = yield* group.find(name);
    if (own === undefined) throw new CheckpointError(`layer ${describe(name)}: its group is missing`);
    const arrays = yield* arraysOf(own, name);
    const entry = byName.get(name);
    layers.push(...(entry === undefined ? unknownLayers(name, arrays) : knownLayers(entry, name, arrays)));
  }
  const top = yield* group.find('top_level_model_weights');
  const arrays = top === undefined ? [] : yield* arraysOf(top, '');
  const model = { name: 'top_level_model_weights', className: undefined, config: undefined, arrays };
  return arrays.length === 0 ? layers : [...layers, model];
}

function* arraysOf(group: Hdf5Object, layer: string): Steps<LayerArray[]> {
  const arrays: LayerArray[] = [];
  for (const path of (yield* listOf(group, 'weight_names')) ?? []) {
    const object = yield* group.find(path);
    const dataset = object?.dataset();
    if (dataset === undefined)
      throw new CheckpointError(`layer ${describe(layer)}: weight ${describe(path)} is missing`);
    group.hdf5.budget.spend(pieceCost, () => `layer ${describe(layer)}`);
    arrays.push({ path: path.replace(/:\d+$/, ''), dataset });
  }
  return arrays;
}

/** The layer itself; or, if it is a model, its layers, to which the names in their weights' paths lead. */
function knownLayers(outer: Entry, name: string, arrays: readonly LayerArray[]): KerasLayer[] {
  const entry = innerOf(outer);
  const leaves = leavesOf(entry, name);
  if (leaves === undefined) return [{ name, className: entry.className, config: entry.config, arrays }];
  const byName = grouped(leaves, (leaf) => leaf.name.slice(leaf.name.lastIndexOf('.') + 1));
  const owners = grouped(arrays, ({ path }) => {
    const names = new Set(path.split('/'));
    // Of several layers with this name, the one that is in the models that the path names.
    const score = (leaf: Entry): number => leaf.name.split('.').filter((part) => names.has(part)).length;
    const candidates = [...names].flatMap((part) => byName.get(part)?.slice(0, mostNamesakes) ?? []);
    return candidates.reduce<Entry | undefined>(
      (best, leaf) => (best === undefined || score(leaf) > score(best) ? leaf : best),
      undefined,
    );
  });
  return Array.from(owners, ([leaf, own]) => ({
    name: leaf?.name ?? name,
    className: leaf?.className,
    config: leaf?.config,
    arrays: own,
  }));
}

/** How many layers of one name are looked at, because the search would take long in a file made for that. */
const mostNamesakes = 100;

/** The layers of a model and of the models in it, with dotted names; undefined for a layer that is none. */
function leavesOf(entry: Entry, name: string): Entry[] | undefined {
  checkLevel(name);
  return layersOf(entry)?.flatMap((outer) => {
    const inner = innerOf(outer);
    const path = `${name}.${outer.name}`;
    return leavesOf(inner, path) ?? [{ ...inner, name: path }];
  });
}

/** The layer, or the layers of a model, as the paths of the weights tell. */
function unknownLayers(name: string, arrays: readonly LayerArray[]): KerasLayer[] {
  const owners = grouped(arrays, ({ path }) => {
    const names = path.split('/').slice(0, -1);
    // What a layer consists of is not a layer.
    if (names.length > 1 && /cell(_\d+)?$/.test(names.at(-1)!)) names.pop();
    if (names.length > 1 && /^(stacked_rnn_cells|forward_|backward_)/.test(names.at(-1)!)) names.pop();
    return names.join('/');
  });
  return Array.from(owners, ([owner, own]) => ({
    name: owners.size === 1 ? name : `${name}.${owner.slice(owner.lastIndexOf('/') + 1)}`,
    className: undefined,
    config: undefined,
    arrays: own,
  }));
}

function grouped<T, K>(items: readonly T[], keyOf: (item: T) => K): Map<K, T[]> {
  const groups = new Map<K, T[]>();
  for (const item of items) {
    const key = keyOf(item);
    const group = groups.get(key);
    if (group === undefined) groups.set(key, [item]);
    else group.push(item);
  }
  return groups;
}
