import { rnnModes, type RNNKind } from '../../../nn/layer-parameters.js';
import { emptyArray, Tensor, type TensorData } from '../../../tensor/index.js';
import type { Budget, Steps } from '../../file.js';
import { isZero, type Constants } from './constants.js';
import { isSwappedAfter, isSwappedBefore, makerBefore } from './flow.js';
import type { Graph, Node } from './graph.js';
import { isFloating, refuse, shapeOf, type FoundModule } from './module.js';
import { pathOfNode, pathOfParameter } from './names.js';
import { codesOf, quantizedMetadata, weightOfCodes, zeroPointRemark } from './quantized.js';

// Inputs of LSTM, GRU and RNN: X, W [D, G H, I], R [D, G H, H], B [D, 2 G H], sequence_lens, initial_h, initial_c, P. D is
// the number of directions, G of gates. DynamicQuantizeLSTM has W [D, I, G H] and R [D, H, G H], then the scale and the
// zero point of each.

/** The block of ONNX that each of PyTorch's gates is: i, f, g, o of i, o, f, c; r, z, n of z, r, h. */
const gateOrder = { LSTM: [0, 2, 3, 1], GRU: [1, 0, 2], RNN: [0] } as const;

/** One node, which is one layer. */
export interface Layer {
  readonly node: Node;
  readonly kind: RNNKind;
  readonly path: string | undefined;
  readonly nonlinearity: 'tanh' | 'relu';
  readonly directions: 1 | 2;
  readonly inputSize: number;
  readonly hiddenSize: number;
  /** Of each direction: weight_ih, weight_hh, and bias_ih, bias_hh if there are any. */
  readonly tensors: readonly (readonly Tensor[])[];
  /** The constants other than zero from which the graph starts it. */
  readonly states: readonly string[];
  readonly remarks: readonly string[];
}

/** Which recurrent layer a node is. */
export function recurrentKind({ op, domain }: Node): RNNKind | undefined {
  if (op === 'DynamicQuantizeLSTM') return 'LSTM';
  const isOnnx = domain === '' || domain === 'ai.onnx';
  return isOnnx && (op === 'LSTM' || op === 'GRU' || op === 'RNN') ? op : undefined;
}

const weightName = /^(weight|bias)_(ih|hh)_l\d+(_reverse)?$/;

/** What tells whether two nodes are the same layer. Undefined if nothing does. */
export function weightsKey({ op, inputs }: Node, constants: Constants): string {
  const keys = inputs.slice(1, 4).map((name) => {
    const origin = constants.origin(name);
    const sources = [...constants.sources(origin)];
    const named = sources.filter((each) => weightName.test(each.slice(each.lastIndexOf('.') + 1)));
    return named.length > 0 && sources[0] !== origin ? named : origin;
  });
  return JSON.stringify([op, keys]);
}

/** Reads a recurrent node. */
export class RecurrentReader {
  constructor(
    private readonly graph: Graph,
    private readonly constants: Constants,
    private readonly budget: Budget,
  ) {}

  *read(node: Node, kind: RNNKind): Steps<Layer> {
    const { inputs } = node;
    const nonlinearity = checkAttributes(node, kind);
    const directions = directionsOf(node);
    const { gates } = rnnModes[kind === 'RNN' ? 'RNN_TANH' : kind];
    const [w, r, b] = [...(yield* this.values(inputs.slice(1, 4)))];
    for (const [name, value] of [
      ['W', w],
      ['R', r],
    ] as const) {
      if (value === undefined) return refuse(node, `${name} should be a constant of the graph`);
      if (value.dim() !== 3 || value.shape[0] !== directions || value.numel === 0)
        return refuse(
          node,
          `${name} should be of ${directions} direction(s) and not empty, got ${shapeOf(value)}`,
        );
    }
    const isQuantized = node.op === 'DynamicQuantizeLSTM';
    const hiddenSize = node.attributes.get('hidden_size')?.integer ?? r!.shape[isQuantized ? 1 : 2]!;
    const inputSize = w!.shape[isQuantized ? 1 : 2]!;
    const rows = gates * hiddenSize;
    const shape = (columns: number): string =>
      (isQuantized ? [directions, columns, rows] : [directions, rows, columns]).join();
    if (w!.shape.join() !== shape(inputSize) || r!.shape.join() !== shape(hiddenSize)) {
      const scrambled = isQuantized ? ' (quantize_dynamic scrambles weights that two nodes share)' : '';
      return refuse(
        node,
        `W ${shapeOf(w)} and R ${shapeOf(r)} should fit hidden_size ${hiddenSize}${scrambled}`,
      );
    }
    if ((inputs[3] ?? '') !== '' && b === undefined)
      return refuse(node, 'B should be a constant of the graph');
    if (b !== undefined && (b.shape.join() !== [directions, 2 * rows].join() || !isFloating(b)))
      return refuse(node, `B should be [${directions}, ${2 * rows}], got ${shapeOf(b)}`);
    this.budget.spend(w!.data.byteLength + r!.data.byteLength, () => `node '${node.name}'`);
    const read = isQuantized ? this.quantizedWeights.bind(this) : this.weights.bind(this);
    const weights = yield* read(node, w!, r!, rows, gateOrder[kind]);
    const states = yield* this.states(node, hiddenSize);
    const biases = b === undefined ? undefined : biasesOf(b, rows, directions, gateOrder[kind]);
    return {
      node,
      kind,
      path: this.pathOf(node),
      nonlinearity,
      directions,
      inputSize,
      hiddenSize,
      tensors: weights.map((pair, d) => [...pair, ...(biases?.[d] ?? [])]),
      states,
      remarks: remarksOf(node, weights, states),
    };
  }

  private *values(names: readonly string[]): Steps<(Tensor | undefined)[]> {
    const values: (Tensor | undefined)[] = [];
    for (const name of names) values.push(yield* this.constants.value(name));
    return values;
  }

  private pathOf(node: Node): string | undefined {
    const sources = node.inputs.slice(1, 4).flatMap((name) => [...this.constants.sources(name)]);
    const path = pathOfParameter(sources, weightName) ?? pathOfNode(node);
    if (path !== undefined) return path;
    // Where a quantizer put a node of its own in the layer's place, what brings the output into shape still tells.
    const [after] = this.graph.consumers.get(node.outputs[0] ?? '') ?? [];
    return after !== undefined && after.scopes.length > 1 && /^(Transpose|Squeeze|Reshape)$/.test(after.op)
      ? pathOfNode(after)
      : undefined;
  }

  private *weights(
    node: Node,
    w: Tensor,
    r: Tensor,
    rows: number,
    order: readonly number[],
  ): Steps<Tensor[][]> {
    if (!isFloating(w) || !isFloating(r))
      return refuse(node, `W and R should be floats, got ${w.dtype} and ${r.dtype}`);
    return directionsIn(w).map((d) => [w, r].map((all) => reordered(all, d, rows, order)));
  }

  private *quantizedWeights(
    node: Node,
    w: Tensor,
    r: Tensor,
    rows: number,
    order: readonly number[],
  ): Steps<Tensor[][]> {
    const [wScale, wZero, rScale, rZero] = yield* this.values(
      [8, 9, 10, 11].map((i) => node.inputs[i] ?? ''),
    );
    const read = (all: Tensor, scale: Tensor | undefined, zero: Tensor | undefined, d: number): Tensor => {
      const of = (tensor: Tensor | undefined): Tensor | undefined =>
        tensor && tensor.dim() > 0 && tensor.shape[0] === w.shape[0] ? tensor.select(0, d) : undefined;
      const codes = codesOf(of(all), of(scale), of(zero), rows);
      if (codes === undefined || (zero !== undefined && of(zero) === undefined))
        return refuse(
          node,
          `W and R should be int8 or uint8, with a scale and a zero point for each direction or row`,
        );
      try {
        return weightOfCodes(codes, rows, order);
      } catch (error) {
        return refuse(node, (error as Error).message);
      }
    };
    const weights = directionsIn(w).map((d) => [read(w, wScale, wZero, d), read(r, rScale, rZero, d)]);
    // One weight of floats makes all of them floats, because a layer has one dtype.
    if (!weights.flat().some(isFloating)) return weights;
    return weights.map((pair) => pair.map((weight) => (isFloating(weight) ? weight : weight.dequantize())));
  }

  /** The constants other than zero from which the layer starts. */
  private *states(node: Node, hiddenSize: number): Steps<string[]> {
    const found = new Set<string>();
    for (const name of node.inputs.slice(5, 7)) {
      if (name === '') continue;
      const size = this.lastSize(name);
      if (size !== undefined && size !== hiddenSize) {
        refuse(
          node,
          `an initial state of ${size} does not fit hidden_size ${hiddenSize}: PyTorch's exporter writes an LSTM with proj_size wrongly`,
        );
      }
      for (const each of yield* this.nonzero(name)) found.add(each);
    }
    return [...found];
  }

  /** The last size of a state, if it is told. */
  private lastSize(name: string): number | undefined {
    const keepsLast = /^(Identity|Cast|Slice|Unsqueeze)$/;
    let from = name;
    for (let i = 0; i < 8 && keepsLast.test(this.graph.producers.get(from)?.op ?? ''); i++)
      from = this.graph.producers.get(from)!.inputs[0] ?? '';
    return this.graph.initializers.get(from)?.shape.at(-1) ?? this.graph.lastSizes.get(from);
  }

  /** The constants other than zero that a state is made of. */
  private *nonzero(state: string): Steps<string[]> {
    const passes = /^(Identity|Cast|Slice|Split|Unsqueeze|Squeeze|Expand|Tile|Reshape|Transpose|Concat)$/;
    const found: string[] = [];
    const names = new Set([state]);
    for (const name of names) {
      if (names.size > 32) break;
      const node = this.graph.producers.get(name);
      const value = this.graph.initializers.has(name) ? yield* this.constants.value(name) : undefined;
      if (value !== undefined && !isZero(value)) found.push(name);
      else if (node?.op === 'ConstantOfShape') {
        const tensor = node.attributes.get('value')?.tensor;
        const filling = tensor && (yield* this.constants.read(name, tensor));
        if (filling !== undefined && !isZero(filling)) found.push(name);
      } else if (node !== undefined && passes.test(node.op))
        for (const input of node.op === 'Concat' ? node.inputs : node.inputs.slice(0, 1)) names.add(input);
    }
    return found;
  }
}

/** What the layer does in the graph and a module does not do by itself. */
function remarksOf(node: Node, weights: readonly (readonly Tensor[])[], states: readonly string[]): string[] {
  const remarks: string[] = [];
  if ((node.inputs[4] ?? '') !== '')
    remarks.push('the graph gives it lengths of sequences: call it with a packed sequence');
  if (states.length > 0)
    remarks.push(
      `the graph starts it from constants that are not zero (${states.join(', ')}): give them to forward`,
    );
  if (node.op === 'DynamicQuantizeLSTM' && isFloating(weights[0]![0]!)) remarks.push(zeroPointRemark);
  return remarks;
}

function directionsIn(w: Tensor): number[] {
  return Array.from({ length: w.shape[0]! }, (_, d) => d);
}

/** A direction's matrix, with its blocks of rows in PyTorch's order. */
function reordered(all: Tensor, direction: number, rows: number, order: readonly number[]): Tensor {
  const columns = all.shape[2]!;
  const size = rows * columns;
  const from = all.data.subarray(direction * size, (direction + 1) * size);
  return new Tensor(inOrder(from, order, all), [rows, columns], { dtype: all.dtype });
}

function inOrder(from: TensorData, order: readonly number[], { dtype }: Tensor): TensorData {
  const block = from.length / order.length;
  const out = emptyArray(dtype, from.length);
  order.forEach((source, i) =>
    out.set(from.subarray(source * block, (source + 1) * block) as never, i * block),
  );
  return out;
}

/** bias_ih and bias_hh of each direction. */
function biasesOf(b: Tensor, rows: number, directions: number, order: readonly number[]): Tensor[][] {
  return Array.from({ length: directions }, (_, d) =>
    [2 * d, 2 * d + 1].map((half) => {
      const data = inOrder(b.data.subarray(half * rows, (half + 1) * rows), order, b);
      return new Tensor(data, [rows], { dtype: b.dtype });
    }),
  );
}

function directionsOf(node: Node): 1 | 2 {
  const direction = node.attributes.get('direction')?.text ?? 'forward';
  if (direction === 'forward') return 1;
  if (direction === 'bidirectional') return 2;
  return refuse(node, `direction '${direction}': no layer here reads a sequence backwards only`);
}

/** Refuses what PyTorch's layers do not compute. Returns the activation of an RNN. */
function checkAttributes(node: Node, kind: RNNKind): 'tanh' | 'relu' {
  const { attributes, inputs } = node;
  const integer = (name: string): number => attributes.get(name)?.integer ?? 0;
  if (kind === 'GRU' && integer('linear_before_reset') === 0)
    refuse(
      node,
      "linear_before_reset=0, ONNX's default, resets the state before the product; no layer here does",
    );
  if (integer('input_forget') !== 0) refuse(node, 'input_forget=1 couples two gates; no layer here does');
  if (attributes.has('clip'))
    refuse(node, `clip=${attributes.get('clip')!.float} is what no layer here does`);
  if (integer('layout') !== 0) refuse(node, 'layout=1 should be 0, the layout that ONNX Runtime computes');
  if ((inputs[7] ?? '') !== '') refuse(node, 'P: no layer here has peepholes');
  const given = (attributes.get('activations')?.texts ?? []).map((name) => name.toLowerCase());
  const directions = directionsOf(node);
  const usual = { LSTM: ['sigmoid', 'tanh', 'tanh'], GRU: ['sigmoid', 'tanh'], RNN: ['tanh'] }[kind];
  const isEach = (own: readonly string[]): boolean =>
    given.join() === (directions === 2 ? [...own, ...own] : own).join();
  if (given.length === 0 || isEach(usual)) return 'tanh';
  if (kind === 'RNN' && isEach(['relu'])) return 'relu';
  return refuse(
    node,
    `activations should be ${usual.join(', ')}${kind === 'RNN' ? ' or relu' : ''}, got ${given.join(', ').slice(0, 60)}`,
  );
}

/** The module that is these layers, each of which takes the output of the one before. */
export function recurrentModule(graph: Graph, layers: readonly Layer[]): FoundModule {
  const [first] = layers as [Layer];
  const { kind, path, directions, inputSize, hiddenSize, nonlinearity } = first;
  const tensors = new Map<string, Tensor>();
  layers.forEach((layer, l) =>
    layer.tensors.forEach((parameters, d) =>
      parameters.forEach((tensor, i) => {
        const name = ['weight_ih', 'weight_hh', 'bias_ih', 'bias_hh'][i]!;
        tensors.set(`${name}_l${l}${d === 1 ? '_reverse' : ''}`, tensor);
      }),
    ),
  );
  const { batchFirst, remark } = batchFirstOf(graph, first.node, layers.at(-1)!.node);
  const [weight] = first.tensors[0] as [Tensor];
  const isQuantized = weight.dtype === 'qint8';
  return {
    paths: path === undefined ? [] : [path],
    tensors,
    remarks: [...layers.flatMap(({ remarks }) => remarks), ...remark],
    metadata: {
      type: isQuantized ? `DynamicQuantized${kind}` : kind,
      inputSize,
      hiddenSize,
      numLayers: layers.length,
      bias: first.tensors[0]!.length === 4,
      batchFirst,
      bidirectional: directions === 2,
      ...(kind === 'RNN' && { nonlinearity }),
      ...(isQuantized && quantizedMetadata(weight)),
    },
  };
}

/** Whether batch and steps are exchanged before the first layer and after the last one. */
function batchFirstOf(graph: Graph, first: Node, last: Node): { batchFirst: boolean; remark: string[] } {
  const isBefore = isSwappedBefore(graph, first.inputs[0] ?? '');
  const isAfter = isSwappedAfter(graph, last.outputs[0] ?? '') ?? isBefore;
  if (isBefore === isAfter) return { batchFirst: isBefore, remark: [] };
  const sentence = `the graph exchanges batch and steps ${isBefore ? 'before' : 'after'} it only, so batchFirst = false is assumed`;
  return { batchFirst: false, remark: [sentence] };
}

/** Whether one layer takes the output of another one, and both can be layers of one module. */
export function follows(graph: Graph, layer: Layer, before: Layer): boolean {
  const maker = makerBefore(
    graph,
    layer.node.inputs[0] ?? '',
    /^(Identity|Cast|Dropout|Reshape|Squeeze|Transpose)$/,
  );
  const isAlike = (['op', 'domain'] as const).every((key) => layer.node[key] === before.node[key]);
  return (
    maker === before.node &&
    isAlike &&
    layer.path !== undefined &&
    layer.path === before.path &&
    layer.directions === before.directions &&
    layer.hiddenSize === before.hiddenSize &&
    layer.inputSize === before.directions * before.hiddenSize &&
    layer.nonlinearity === before.nonlinearity &&
    layer.tensors[0]!.length === before.tensors[0]!.length &&
    layer.tensors[0]![0]!.dtype === before.tensors[0]![0]!.dtype
  );
}
