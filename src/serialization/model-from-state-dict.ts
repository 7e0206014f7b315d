import { CheckpointError, describe } from '../errors.js';
import { entriesOf, metadataOf, type Module, type StateDictLike } from '../nn/module.js';
import { Builder, type Node } from './build.js';

export { StateDictModule } from './state-dict-module.js';

/** No model has deeper names. Every walk over the modules recurses, so there must be a limit. */
const maxDepth = 64;

/** What {@link modelFromStateDict} returns. */
export interface ModelFromStateDict {
  /** In evaluation mode. A {@link StateDictModule}, or a layer itself where the state dict is one layer's. */
  readonly model: Module;
  /** A sentence for each module of which the state dict does not say everything; none for files that we wrote. */
  readonly assumptions: string[];
}

/**
 * A model without its class: finds the modules in a state dict by the names and shapes of their tensors, and builds
 * them under the same dotted names. Recurrent modules and cells (LSTM, GRU or RNN by the rows of `weight_hh`; layers,
 * directions, projections, biases) and all other layers with parameters, float or quantized; what is none of these
 * is kept as tensors. What the state's `metadata` says of a module goes before what is guessed: it decides the type,
 * and gives options such as `batchFirst`; set it to correct an assumption:
 *
 * ```ts
 * const state = await load('model.pt');
 * state.metadata.set('encoder.rnn', { type: 'RNN', nonlinearity: 'relu' });
 * const { model, assumptions } = modelFromStateDict(state);
 * const rnn = model.getSubmodule('encoder.rnn') as nn.RNN;
 * ```
 *
 * The float32 tensors of float modules become the parameters, without a copy; other floating types are widened. Before
 * a large model is quantized in place, let the state go (`state.clear()`): what it holds cannot be released.
 *
 * @throws {TypeError} when `state` holds something else than names and tensors
 * @throws {CheckpointError} for names that no module can have, or where tensors and metadata contradict each other
 */
export function modelFromStateDict(state: StateDictLike): ModelFromStateDict {
  const root = treeOf(state);
  const builder = new Builder(root);
  const model = builder.build(root, '');
  return { model: model.eval(), assumptions: builder.assumptions };
}

function treeOf(state: StateDictLike): Node {
  const metadata = metadataOf(state);
  const root = newNode();
  for (const [name, about] of metadata) {
    const node = nodeOf(root, name);
    if (typeof about?.type === 'string') node.metadata = about;
  }
  for (const [key, tensor] of entriesOf(state)) {
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
