import { CheckpointError, checkString, describe } from '../errors.js';
import { metadataOf, type Module, type ModuleMetadata, type StateDictLike } from '../nn/module.js';
import { composed } from '../nn/utils/reparametrize.js';
import type { Tensor } from '../tensor/index.js';
import { Builder, type Node } from './build.js';

export { StateDictModule } from './state-dict-module.js';

/** The most parts of a name. No model has more, and walks over modules recurse, so there must be a limit. */
const maxDepth = 64;

/** What {@link modelFromStateDict} returns. */
export interface ModelFromStateDict {
  /** In evaluation mode. A {@link StateDictModule}, or the layer itself if the state dict is that of one layer. */
  readonly model: Module;
  /** A sentence for each module that the state dict does not fully describe. None for files that this library wrote. */
  readonly assumptions: string[];
}

/**
 * Makes a model without its class: finds the modules in a state dict by the names and shapes of their tensors, and
 * builds them under the same dotted names. It knows recurrent modules and cells (LSTM, GRU or RNN by the rows of
 * `weight_hh`; layers, directions, projections, biases) and all other layers with parameters, float or quantized, and
 * keeps all else as tensors. The state's `metadata` has priority over guesses: it decides the type, and gives options
 * such as `batchFirst`. Set it to correct an assumption:
 *
 * ```ts
 * const state = await load('model.pt');
 * state.metadata.set('encoder.rnn', { type: 'RNN', nonlinearity: 'relu' });
 * const { model, assumptions } = modelFromStateDict(state);
 * const rnn = model.getSubmodule('encoder.rnn') as nn.RNN;
 * ```
 *
 * Reparametrized weights (`weight_norm`, `spectral_norm`, `prune`) are composed as `nn.utils.composeReparametrizations` does.
 *
 * The float32 tensors of float modules become the parameters, without a copy; other floating types are widened. Before
 * you quantize a large model in place, clear the state (`state.clear()`), because memory that it holds stays taken.
 *
 * @throws {TypeError} when `state` holds anything but names and tensors
 * @throws {CheckpointError} for names that no module can have, or where tensors and metadata contradict each other
 */
export function modelFromStateDict(state: StateDictLike): ModelFromStateDict {
  const { entries, sentences } = composed(state);
  const root = treeOf(entries, metadataOf(state));
  const builder = new Builder(root);
  const model = builder.build(root, '');
  return { model: model.eval(), assumptions: [...sentences, ...builder.assumptions] };
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
