import { CheckpointError, describe } from '../../../errors.js';
import { isRecord } from '../safetensors/json.js';
import type { Dataset } from './hdf5-messages.js';

// What Keras's configurations say about layers. They are JSON of a stranger: anything may be missing or of another kind.

/** A layer's configuration: its options by Keras's names. */
export type Config = Readonly<Record<string, unknown>>;

/** An array of a layer. */
export interface LayerArray {
  /** Where it is below its layer, as the file says it. */
  readonly path: string;
  readonly dataset: Dataset;
}

/** A layer of the file. */
export interface KerasLayer {
  /** Its name in the state dict: Keras's name, after the names of the models that it is in. */
  readonly name: string;
  /** Its class in Keras; undefined if the file does not say. */
  readonly className: string | undefined;
  /** Undefined in a file of weights alone. */
  readonly config: Config | undefined;
  /** Its arrays in Keras's order: kernel, recurrent kernel, bias; the forward direction first. */
  readonly arrays: readonly LayerArray[];
}

/** A layer as a configuration describes it. */
export interface Entry {
  readonly name: string;
  readonly className: string;
  readonly config: Config;
}

/** What stands under `class_name` and `config`; undefined if this describes nothing. */
export function entryOf(value: unknown): Entry | undefined {
  if (!isRecord(value) || typeof value['class_name'] !== 'string') return undefined;
  const config = isRecord(value['config']) ? value['config'] : {};
  const name = config['name'] ?? value['name'];
  return { name: typeof name === 'string' ? name : '', className: value['class_name'], config };
}

/** The layer that TimeDistributed applies to each step: the same weights, under the wrapper's name. */
export function innerOf(entry: Entry): Entry {
  const inner = entry.className === 'TimeDistributed' ? entryOf(entry.config['layer']) : undefined;
  return inner === undefined ? entry : { ...inner, name: entry.name };
}

/** The layers of a model in their order; undefined for what is no model, or a model of a class of one's own. */
export function layersOf({ config }: Entry): Entry[] | undefined {
  const { layers } = config;
  return Array.isArray(layers) ? layers.map(entryOf).filter((entry) => entry !== undefined) : undefined;
}

/** No model has more levels, and the walks recurse. */
const mostLevels = 32;

export function checkLevel(name: string, unnamed = 0): void {
  if (name.split('.').length + unnamed > mostLevels)
    throw new CheckpointError(`layer ${describe(name)}: layers should be at most ${mostLevels} deep`);
}

/** Sentences about layers: one for each kind of thing, with the layers that it concerns. */
export class Notes {
  private readonly layers = new Map<string, Set<string>>();

  add(sentence: string, layer: string): void {
    const layers = this.layers.get(sentence);
    if (layers === undefined) this.layers.set(sentence, new Set([layer]));
    else layers.add(layer);
  }
  sentences(): string[] {
    return Array.from(this.layers, ([sentence, layers]) => `${[...layers].join(', ')}: ${sentence}`);
  }
}

/** An activation as a sentence names it. Those of one's own are objects. */
export function textOf(value: unknown): string {
  return typeof value === 'string' ? describe(value) : 'a function of its own';
}
