import { CheckpointError, checkOptions, checkString, describe } from '../errors.js';
import {
  assumptionsOf,
  metadataOf,
  type Module,
  type ModuleMetadata,
  type StateDictLike,
} from '../nn/module.js';
import { composed } from '../nn/utils/reparametrize.js';
import type { Tensor } from '../tensor/index.js';
import { Builder, type Node } from './build.js';
import { Corrections, type MetadataOption } from './corrections.js';
import { leftOut, theStateDict } from './find-state-dicts.js';

export type { MetadataOption } from './corrections.js';
export { StateDictModule } from './state-dict-module.js';

/** The most parts of a name. No model has more, and walks over modules recurse, so there must be a limit. */
const maxDepth = 64;

/** What {@link modelFromStateDict} returns. */
export interface ModelFromStateDict {
  /** In evaluation mode. A {@link StateDictModule}, or the layer itself if the state dict is that of one layer. */
  readonly model: Module;
  /**
   * What the state dict does not tell: a sentence for each kind, with the modules that it concerns. What was left
   * out because it is no tensor comes last. None for files that this library wrote.
   */
  readonly assumptions: string[];
}

/** Options of {@link modelFromStateDict}. */
export interface ModelFromStateDictOptions {
  /**
   * Options of modules by dotted name, which have priority over the state's metadata and over guesses. In a name `*` is
   * any text: `{ '*.norm': { eps: 1e-12 } }`. A `type` replaces the class.
   */
  metadata?: MetadataOption;
}

/**
 * Makes a model without its class: finds the modules in a state dict by the names and shapes of their tensors, and
 * builds them under the same dotted names. It knows recurrent modules and cells (LSTM, GRU or RNN by the rows of
 * `weight_hh`; layers, directions, projections, biases) and all other layers with parameters, float or quantized, and
 * keeps all else as tensors. The state's `metadata` has priority over guesses: it decides the type, and gives options
 * such as `batchFirst`. The option `metadata` has priority over both; use it to correct an assumption:
 *
 * ```ts
 * const { model, assumptions } = modelFromStateDict(await load('model.pt'), {
 *   metadata: { 'encoder.rnn': { type: 'RNN', nonlinearity: 'relu' }, '*': { batchFirst: true } },
 * });
 * const rnn = model.getSubmodule('encoder.rnn') as nn.RNN;
 * ```
 *
 * It takes a whole checkpoint too, if there is one state dict in it, under whatever key. What is no tensor is left out.
 * Reparametrized weights (`weight_norm`, `spectral_norm`, `prune`) are composed as `nn.utils.composeReparametrizations` does.
 *
 * The float32 tensors of float modules become the parameters, without a copy; other floating types are widened. Tensors
 * of the same memory are one parameter. Before you quantize a large model in place, clear the state (`state.clear()`),
 * because memory that it holds stays taken.
 *
 * @throws {TypeError} when there is no state dict in `state`, or more than one; then the sentence lists them
 * @throws {RangeError} when `metadata` names a module or option that there is not
 * @throws {CheckpointError} for names that no module can have, or where tensors and metadata contradict each other
 */
export function modelFromStateDict(
  state: StateDictLike | object,
  options: ModelFromStateDictOptions = {},
): ModelFromStateDict {
  checkOptions('modelFromStateDict', options, ['metadata']);
  const corrections = new Corrections(options.metadata);
  const found = theStateDict(state);
  const { entries, sentences } = composed(found.tensors);
  const root = treeOf(entries, metadataOf(found.dict as StateDictLike));
  const builder = new Builder(root, corrections);
  builder.addAssumptions(sentences);
  const model = builder.build(root, '');
  corrections.checkUsed();
  builder.addAssumptions(assumptionsOf(found.dict));
  return { model: model.eval(), assumptions: [...builder.assumptions.lines(), ...leftOut(found.others)] };
}

function treeOf(entries: ReadonlyMap<string, Tensor>, metadata: ReadonlyMap<string, ModuleMetadata>): Node {
  const root = newNode();
  for (const [name, about] of metadata) {
    checkString('a name in the metadata of state', name);
    const node = nodeOf(root, name);
    if (typeof about?.type === 'string') node.metadata = about;
  }
  for (const [key, tensor] of entries) {
    const at = key.lastIndexOf('.');
    const node = at < 0 ? root : nodeOf(root, key.slice(0, at));
    const name = key.slice(at + 1);
    if (name === '' || at === 0) throw new CheckpointError(`key ${describe(key)}: a name is empty`);
    node.tensors.set(name, tensor);
  }
  return root;
}

function newNode(): Node {
  return { tensors: new Map(), children: new Map(), metadata: undefined };
}

function nodeOf(root: Node, name: string): Node {
  const path = name === '' ? [] : name.split('.');
  if (path.length > maxDepth) {
    throw new CheckpointError(
      `key ${describe(name)}: modules should be at most ${maxDepth} deep, got ${path.length}`,
    );
  }
  let node = root;
  for (const part of path) {
    if (part === '') throw new CheckpointError(`key ${describe(name)}: a name is empty`);
    let child = node.children.get(part);
    if (child === undefined) node.children.set(part, (child = newNode()));
    node = child;
  }
  return node;
}
