import type { Steps } from '../../file.js';
import type { Hdf5Object } from './hdf5.js';
import { checkLevel, innerOf, layersOf, type Entry, type KerasLayer, type LayerArray } from './model.js';

// The groups of Keras 3's *.weights.h5. In `layers` they have the names of classes, counted in the model's order:
// `lstm_1` is the second LSTM, whatever its name. What is in another attribute of a model is under that attribute.

/** The group of a model's layers. Keras 2 had the longer name at first. */
const layersGroups = ['layers', '_layer_checkpoint_dependencies'];
/** What is in a model's group beside its layers. */
const noLayers = new Set(['vars', 'optimizer']);
/** Parts of one layer. Whatever else a layer's group holds are layers of its own. */
const parts = new Set(['vars', 'cell', 'layer', 'forward_layer', 'backward_layer']);

/** The classes that a group's name tells. */
function classNamed(key: string): string | undefined {
  const classes: Record<string, string | undefined> = {
    lstm: 'LSTM',
    gru: 'GRU',
    simple_rnn: 'SimpleRNN',
    rnn: 'RNN',
    bidirectional: 'Bidirectional',
    dense: 'Dense',
    embedding: 'Embedding',
    layer_normalization: 'LayerNormalization',
  };
  const name = key.replace(/_\d+$/, '');
  return Object.hasOwn(classes, name) ? classes[name] : undefined;
}

/** A class's name in snake case, as Keras forms it. */
function snakeCase(className: string): string {
  return className
    .replace(/\W+/g, '')
    .replace(/(.)([A-Z][a-z]+)/g, '$1_$2')
    .replace(/([a-z])([A-Z])/g, '$1_$2')
    .toLowerCase();
}

/**
 * The layers below a model's group; without a configuration only those with weights.
 *
 * @param entries - the model's layers, if the file has its configuration
 * @param prefix - what their names begin with
 * @param level - how many groups that give no name are around it
 */
export function* groupLayers(
  group: Hdf5Object,
  entries: readonly Entry[] | undefined,
  prefix: string,
  level = 0,
): Steps<KerasLayer[]> {
  checkLevel(prefix, level);
  const members = yield* group.members();
  const key = layersGroups.find((name) => members.has(name));
  const layers: KerasLayer[] = [];
  if (entries !== undefined) {
    const list = key === undefined ? undefined : yield* group.member(key);
    if (list !== undefined) layers.push(...(yield* configuredLayers(list, entries, prefix)));
    return layers;
  }
  for (const name of [...members.keys()].sort(byNumber)) {
    if (noLayers.has(name)) continue;
    const member = (yield* group.member(name))!;
    const inner = yield* member.members();
    // A layer has its variables in `vars`, even if there are none; a list of layers has not.
    if (inner.has('vars')) layers.push(...(yield* layersAt(member, name, prefix)));
    else {
      const own = name === key ? prefix : `${prefix}${name}.`;
      layers.push(...(yield* groupLayers(member, undefined, own, level + 1)));
    }
  }
  return layers;
}

function* configuredLayers(list: Hdf5Object, entries: readonly Entry[], prefix: string): Steps<KerasLayer[]> {
  const layers: KerasLayer[] = [];
  const counts = new Map<string, number>();
  for (const outer of entries) {
    const key = snakeCase(outer.className);
    const count = counts.get(key) ?? 0;
    counts.set(key, count + 1);
    const group = yield* list.member(count === 0 ? key : `${key}_${count}`);
    if (group !== undefined) layers.push(...(yield* layersAt(group, key, prefix, outer)));
    // Of a layer in several models only the first has a group.
    else layers.push({ ...outer, name: `${prefix}${outer.name}`, arrays: [] });
  }
  return layers;
}

/** The layer in a group, or the layers if it is a model or consists of layers. */
function* layersAt(group: Hdf5Object, key: string, prefix: string, outer?: Entry): Steps<KerasLayer[]> {
  const entry = outer && innerOf(outer);
  const own = entry?.name ?? (yield* nameOf(group)) ?? key;
  const name = `${prefix}${own === '' ? key : own}`;
  const wrapped = outer?.className === 'TimeDistributed' || /^time_distributed(_\d+)?$/.test(key);
  const target = (wrapped ? yield* group.member('layer') : undefined) ?? group;
  const nested = entry && layersOf(entry);
  if (nested !== undefined) return yield* groupLayers(target, nested, `${name}.`);

  const members = [...(yield* target.members()).keys()];
  const isLayer = members.every((member) => parts.has(member));
  const arrays = yield* arraysBelow(target, isLayer ? members : ['vars'], '');
  const className = entry?.className ?? classNamed(wrapped ? '' : key) ?? classNamed(own);
  const layers: KerasLayer[] = [];
  if (arrays.length > 0 || entry !== undefined)
    layers.push({ name, className, config: entry?.config, arrays });
  if (!isLayer) layers.push(...(yield* groupLayers(target, undefined, `${name}.`)));
  return layers;
}

/** The layer's own name, which Keras 3.6 and newer write. */
function* nameOf(group: Hdf5Object): Steps<string | undefined> {
  const vars = yield* group.member('vars');
  return (yield* vars!.texts('name'))?.[0]?.text();
}

/** All arrays below a group. */
function* arraysBelow(group: Hdf5Object, names: Iterable<string>, path: string): Steps<LayerArray[]> {
  checkLevel(path.replaceAll('/', '.'));
  const arrays: LayerArray[] = [];
  for (const name of [...names].sort(byNumber)) {
    const member = yield* group.member(name);
    if (member === undefined) continue;
    const dataset = member.dataset();
    if (dataset !== undefined) arrays.push({ path: `${path}${name}`, dataset });
    else arrays.push(...(yield* arraysBelow(member, (yield* member.members()).keys(), `${path}${name}/`)));
  }
  return arrays;
}

/** Keras's order: the number at the end counts, and `forward_layer` is before `backward_layer`. */
function byNumber(a: string, b: string): number {
  const [nameA, countA] = split(a);
  const [nameB, countB] = split(b);
  if (nameA !== nameB) return nameA < nameB ? -1 : 1;
  return countA - countB;
}
function split(name: string): [name: string, count: number] {
  let end = name.length;
  while (end > 0 && name[end - 1]! >= '0' && name[end - 1]! <= '9') end--;
  const base = name.slice(0, end).replace(/_$/, '');
  return [base === 'forward_layer' ? '' : base, Number(name.slice(end))];
}
