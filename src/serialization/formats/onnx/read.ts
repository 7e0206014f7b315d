import { CheckpointError, describe, firstOf } from '../../../errors.js';
import { StateDict } from '../../../nn/module.js';
import type { Steps } from '../../file.js';
import type { Format, ReadContext } from '../format.js';
import { Constants, isZero } from './constants.js';
import { readModel, type Graph, type Node } from './graph.js';
import { LayerReader } from './layers.js';
import { isFloating, type FoundModule } from './module.js';
import { isGenerated, isKey, ModuleNames, pathOfNode } from './names.js';
import { MessageReader } from './protobuf.js';
import {
  follows,
  recurrentKind,
  recurrentModule,
  RecurrentReader,
  weightsKey,
  type Layer,
} from './recurrent.js';
import { TensorFiles } from './stored-tensor.js';

/**
 * ONNX: a graph of nodes, whose constants are the weights of a model. Modules are found in it, and their parameters
 * brought into PyTorch's layout. Nothing of the graph is run but what moves constants.
 */
export const onnx: Format = {
  name: 'ONNX',
  recognises: looksLikeModel,
  *read(file, context) {
    const reader = new MessageReader(file, context.budget);
    const files = new TensorFiles(reader);
    try {
      const graph = yield* readModel(reader);
      return yield* new ModelReader(graph, files, context).read();
    } finally {
      yield* files.close();
    }
  },
};

/**
 * Whether a file begins as a model does: with field 1, an IR version from 3 on, then a text or the graph. Bytes 4 to 7
 * of a header's length, which other files begin with, are zero, but no field begins so.
 */
function looksLikeModel(head: Uint8Array): boolean {
  const [first, version = 0, next, , ...after] = head;
  const isNext =
    next === 0x12 ||
    next === 0x1a ||
    next === 0x22 ||
    next === 0x28 ||
    next === 0x32 ||
    next === 0x3a ||
    next === 0x42;
  return (
    first === 0x08 && version >= 3 && version < 0x80 && isNext && after.slice(0, 4).some((byte) => byte !== 0)
  );
}

/** Finds the modules of a graph. */
class ModelReader {
  private readonly constants: Constants;
  private readonly recurrent: RecurrentReader;
  private readonly layers: LayerReader;
  private readonly state = new StateDict();
  /** The names of constants that are in modules, or belong to them. */
  private readonly used = new Set<string>();
  /** The names of constants that come under their own names, whoever made them up. */
  private readonly wanted = new Set<string>();

  constructor(
    private readonly graph: Graph,
    files: TensorFiles,
    private readonly context: ReadContext,
  ) {
    this.constants = new Constants(graph, files);
    this.recurrent = new RecurrentReader(graph, this.constants, context.budget);
    this.layers = new LayerReader(graph, this.constants, context.budget);
  }

  *read(): Steps<StateDict> {
    const modules = yield* this.modules();
    const names = new ModuleNames();
    for (const { paths, tensors, metadata, remarks } of modules) {
      const name = names.take(paths, metadata.type.replace(/^(Dynamic)?Quantized/, ''), modules.length === 1);
      for (const [key, tensor] of tensors) this.state.set(name === '' ? key : `${name}.${key}`, tensor);
      this.state.metadata.set(name, metadata);
      for (const remark of remarks)
        this.assume(`${name === '' ? 'the model' : name} (${metadata.type}): ${remark}`);
    }
    if (names.madeUp.length > 0)
      this.assume(
        `the file does not name these modules, whose names are made up: ${shortList(names.madeUp)}`,
      );
    yield* this.keepTheRest();
    this.nameWhatIsNotRead();
    return this.state;
  }

  /** Notes the constants of which these values are made. */
  private use(names: readonly string[]): void {
    for (const name of names) for (const source of this.constants.sources(name)) this.used.add(source);
  }

  private assume(sentence: string): void {
    this.state.assumptions.push(sentence);
  }

  /** The modules in the order of the graph. Nodes with the same weights are one module, which the model calls again. */
  private *modules(): Steps<FoundModule[]> {
    const found: (Layer[] | FoundModule)[] = [];
    const seen = new Map<string, Node>();
    const stacks = new Map<string | undefined, Layer[]>();
    for (const node of this.graph.nodes) {
      const kind = recurrentKind(node);
      if (kind !== undefined) {
        const isNew = this.isNew(node, weightsKey(node, this.constants), seen);
        this.use([...node.inputs.slice(1, 4), ...node.inputs.slice(8)]);
        if (!isNew) continue;
        const layer = yield* this.recurrent.read(node, kind);
        for (const name of layer.states) this.wanted.add(name);
        const stack = stacks.get(layer.path);
        if (stack !== undefined && follows(this.graph, layer, stack.at(-1)!)) stack.push(layer);
        else {
          const own = [layer];
          stacks.set(layer.path, own);
          found.push(own);
        }
      } else {
        const weight = node.inputs[node.op === 'Gather' ? 0 : 1] ?? '';
        if (!this.isNew(node, JSON.stringify([node.op, this.constants.origin(weight)]), seen)) continue;
        const result = yield* this.layers.read(node);
        if (result !== undefined) {
          this.use(result.used);
          found.push(result.module);
        }
      }
      this.constants.forget();
    }
    return found.map((each) => (Array.isArray(each) ? recurrentModule(this.graph, each) : each));
  }

  private isNew(node: Node, key: string, seen: Map<string, Node>): boolean {
    const before = seen.get(key);
    if (before !== undefined && node.op === 'DynamicQuantizeLSTM') {
      throw new CheckpointError(
        `nodes ${describe(before.name)} and ${describe(node.name)} (${node.op}) share W, and quantize_dynamic scrambles weights that two nodes share: quantize the float model here instead`,
      );
    }
    seen.set(key, before ?? node);
    return before === undefined;
  }

  /** Other floats come under their own names, if they have any. */
  private *keepTheRest(): Steps<void> {
    const kept = new Map<string, string[]>();
    const leftOut = new Map<string, string[]>();
    for (const [name, stored] of this.graph.initializers) {
      const [taker] = this.graph.consumers.get(name) ?? [];
      const isNumber = stored.shape.every((size) => size === 1) && !name.includes('.');
      if (this.used.has(name) || taker === undefined || isNumber) continue;
      const isOwn = isKey(name) && (this.wanted.has(name) || !isGenerated(name));
      const isNumbers = stored.dtype === undefined || /^b?float|^u?int8$/.test(stored.dtype);
      const tensor = isNumbers ? yield* this.constants.read(name, stored) : undefined;
      if (!isNumbers || (tensor !== undefined && !isOwn && isZero(tensor))) continue;
      const isKept = tensor !== undefined && isFloating(tensor) && isOwn && !this.state.has(name);
      if (isKept) {
        this.context.budget.spend(tensor.data.byteLength, () => `tensor ${describe(name)}`);
        this.state.set(name, tensor);
      }
      const lists = isKept ? kept : leftOut;
      const list = lists.get(taker.op);
      if (list === undefined) lists.set(taker.op, [name]);
      else list.push(name);
    }
    for (const [op, names] of kept)
      this.assume(
        `no layer here is what ${op} does with these tensors, which come under their own names: ${shortList(names)}`,
      );
    for (const [op, names] of leftOut)
      this.assume(
        `no layer here is what ${op} does with these tensors, which are left out: ${shortList(names)}`,
      );
  }

  private nameWhatIsNotRead(): void {
    const unrolled = new Map<string, string>();
    for (const node of this.graph.nodes) {
      const [, kind] = /\.rnn\.(\w+)$/.exec(node.classes.at(-2) ?? '') ?? [];
      const path = pathOfNode(node);
      if (kind !== undefined && path !== undefined && !this.state.metadata.has(path))
        unrolled.set(path, kind);
    }
    for (const [path, kind] of unrolled) {
      this.assume(
        `${path || 'the model'} (${kind}): PyTorch's exporter left no node of it, so take its weights from its checkpoint`,
      );
    }
    const inner = this.graph.nodes.filter(({ attributes }) =>
      [...attributes.values()].some(({ isGraph }) => isGraph),
    );
    if (inner.length > 0)
      this.assume(
        `graphs inside of nodes are not read: ${shortList(inner.map(({ name, op }) => name || op))}`,
      );
    if (this.graph.hasFunctions) this.assume('functions of the model are not read');
  }
}

function shortList(names: readonly string[]): string {
  return firstOf(
    names.map((name) => (isKey(name) ? name : describe(name))),
    8,
  );
}
