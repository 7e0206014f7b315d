import { CheckpointError, describe } from '../../../errors.js';
import type { Steps } from '../../file.js';
import { cursorOver, type Cursor, type MessageReader } from './protobuf.js';
import { readNote, readTensorProto, type StoredTensor } from './stored-tensor.js';

// The messages of an ONNX file, as far as they matter for weights: ModelProto, GraphProto, NodeProto, AttributeProto and
// ValueInfoProto. The numbers in the cases are those of onnx.proto's fields.

export interface Attribute {
  readonly integer: number;
  readonly float: number;
  readonly text: string;
  readonly integers: readonly number[];
  readonly texts: readonly string[];
  readonly tensor: StoredTensor | undefined;
  readonly isGraph: boolean;
}

export interface Node {
  readonly name: string;
  readonly op: string;
  readonly domain: string;
  readonly inputs: readonly string[];
  readonly outputs: readonly string[];
  readonly attributes: ReadonlyMap<string, Attribute>;
  /** PyTorch's notes: the dotted names of the modules around the node, and last its own; and their classes. */
  readonly scopes: readonly string[];
  readonly classes: readonly string[];
}

export interface Graph {
  readonly nodes: readonly Node[];
  /** By name. Constants with a tensor are among them. */
  readonly initializers: ReadonlyMap<string, StoredTensor>;
  /** The last size of each input's shape, if it has one. */
  readonly lastSizes: ReadonlyMap<string, number>;
  /** The names of the model's outputs. */
  readonly outputs: ReadonlySet<string>;
  /** The node that makes a value. */
  readonly producers: ReadonlyMap<string, Node>;
  /** The nodes that take a value. */
  readonly consumers: ReadonlyMap<string, readonly Node[]>;
  /** Whether the model has functions of its own, which nodes may call. */
  readonly hasFunctions: boolean;
}

/** Roughly what a node, attribute or tensor takes in memory beside its texts. */
const messageCost = 200;

export function* readModel(reader: MessageReader): Steps<Graph> {
  const model = cursorOver(0, reader.file.size);
  let graph: GraphParts | undefined;
  let hasFunctions = false;
  while (yield* reader.next(model)) {
    if (model.number === 7) {
      if (graph !== undefined) throw new CheckpointError(`offset ${model.begin}: a second graph`);
      graph = yield* readGraph(reader, reader.message(model));
    } else if (model.number === 25) hasFunctions = true;
  }
  if (graph === undefined) throw new CheckpointError('an ONNX file should have a graph');
  return connected(graph, hasFunctions);
}

interface GraphParts {
  readonly nodes: Node[];
  readonly initializers: Map<string, StoredTensor>;
  readonly lastSizes: Map<string, number>;
  readonly outputs: Set<string>;
}

function* readGraph(reader: MessageReader, graph: Cursor): Steps<GraphParts> {
  const parts: GraphParts = { nodes: [], initializers: new Map(), lastSizes: new Map(), outputs: new Set() };
  while (yield* reader.next(graph)) {
    if (graph.number === 1) parts.nodes.push(yield* readNode(reader, reader.message(graph)));
    else if (graph.number === 5) {
      spend(reader, graph);
      const { name, tensor } = yield* readTensorProto(reader, reader.message(graph));
      addInitializer(parts.initializers, name, tensor);
    } else if (graph.number === 11) yield* readInfo(reader, reader.message(graph), parts.lastSizes);
    else if (graph.number === 12)
      parts.outputs.add(yield* readInfo(reader, reader.message(graph), new Map()));
  }
  for (const { op, outputs, attributes } of parts.nodes) {
    const value = op === 'Constant' ? attributes.get('value')?.tensor : undefined;
    if (value !== undefined && outputs[0] !== undefined)
      addInitializer(parts.initializers, outputs[0], value);
  }
  return parts;
}

function addInitializer(all: Map<string, StoredTensor>, name: string, tensor: StoredTensor): void {
  if (all.has(name)) throw new CheckpointError(`tensor ${describe(name)} stands twice`);
  all.set(name, tensor);
}

function connected({ nodes, ...parts }: GraphParts, hasFunctions: boolean): Graph {
  const producers = new Map<string, Node>();
  const consumers = new Map<string, Node[]>();
  for (const node of nodes) {
    for (const name of node.outputs) if (name !== '') producers.set(name, node);
    for (const name of node.inputs) {
      const takers = consumers.get(name);
      if (takers === undefined) consumers.set(name, [node]);
      else takers.push(node);
    }
  }
  return { nodes, ...parts, producers, consumers, hasFunctions };
}

function* readNode(reader: MessageReader, message: Cursor): Steps<Node> {
  spend(reader, message);
  const texts = { name: '', op: '', domain: '' };
  const inputs: string[] = [];
  const outputs: string[] = [];
  const attributes = new Map<string, Attribute>();
  const notes = new Map<string, string>();
  while (yield* reader.next(message)) {
    if (message.number === 1) inputs.push(yield* reader.text(message));
    else if (message.number === 2) outputs.push(yield* reader.text(message));
    else if (message.number === 3) texts.name = yield* reader.text(message);
    else if (message.number === 4) texts.op = yield* reader.text(message);
    else if (message.number === 7) texts.domain = yield* reader.text(message);
    else if (message.number === 9) yield* readNote(reader, reader.message(message), notes);
    else if (message.number === 5) {
      const { name, attribute } = yield* readAttribute(reader, reader.message(message));
      attributes.set(name, attribute);
    }
  }
  const list = (key: string): string[] =>
    Array.from((notes.get(key) ?? '').matchAll(/'([^']*)'/g), ([, text]) => text!);
  return {
    ...texts,
    inputs,
    outputs,
    attributes,
    scopes: list('pkg.torch.onnx.name_scopes'),
    classes: list('pkg.torch.onnx.class_hierarchy'),
  };
}

function* readAttribute(
  reader: MessageReader,
  message: Cursor,
): Steps<{ name: string; attribute: Attribute }> {
  spend(reader, message);
  let name = '';
  const integers: number[] = [];
  const texts: string[] = [];
  const one = {
    integer: 0,
    float: 0,
    text: '',
    isGraph: false,
    tensor: undefined as StoredTensor | undefined,
  };
  while (yield* reader.next(message)) {
    const { number } = message;
    if (number === 1) name = yield* reader.text(message);
    else if (number === 2) one.float = yield* reader.float(message);
    else if (number === 3) one.integer = message.varint;
    else if (number === 4) one.text = yield* reader.text(message);
    else if (number === 5) one.tensor = (yield* readTensorProto(reader, reader.message(message))).tensor;
    else if (number === 6 || number === 11) one.isGraph = true;
    else if (number === 8) yield* reader.integers(message, integers);
    else if (number === 9) texts.push(yield* reader.text(message));
  }
  return { name, attribute: { ...one, integers, texts } };
}

/** ValueInfoProto: name 1, type 2; its tensor_type 1; its shape 2; its dims 1; their dim_value 1. Returns the name. */
function* readInfo(reader: MessageReader, message: Cursor, sizes: Map<string, number>): Steps<string> {
  let name = '';
  let size: number | undefined;
  function* descend(inside: Cursor, path: readonly number[]): Steps<void> {
    const [number, ...rest] = path;
    while (yield* reader.next(inside)) {
      if (inside.number !== number) continue;
      if (rest.length === 0) size = inside.varint;
      else {
        // The last dimension counts, known or not.
        if (rest.length === 1) size = undefined;
        yield* descend(reader.message(inside), rest);
      }
    }
  }
  while (yield* reader.next(message)) {
    if (message.number === 1) name = yield* reader.text(message);
    else if (message.number === 2) yield* descend(reader.message(message), [1, 2, 1, 1]);
  }
  if (size !== undefined) sizes.set(name, size);
  return name;
}

function spend(reader: MessageReader, { begin }: Cursor): void {
  reader.budget.spend(messageCost, () => `offset ${begin}`);
}
