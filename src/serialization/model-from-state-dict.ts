import { CheckpointError, describe } from '../errors.js';
import * as nn from '../nn/index.js';
import { rnnParameters, type LayerParameter } from '../nn/layer-parameters.js';
import { onMeta } from '../nn/meta.js';
import {
  entriesOf,
  isParameter,
  metadataOf,
  Parameter,
  type Module,
  type ModuleMetadata,
  type StateDictLike,
} from '../nn/module.js';
import { float16, float32, qint8, quint4x2, quint8, sameShape, type Tensor } from '../tensor/index.js';

/** Deeper names are no model's; every walk over the modules recurses. */
const maxDepth = 64;

/**
 * A module of which only a state dict is known: its children and tensors by name, but not its class, and so not
 * its `forward`. `get(name)` is a child, `getSubmodule('encoder.lstm')` one further down.
 */
export class StateDictModule extends nn.ModuleDict {
  private readonly tensors: ReadonlyMap<string, Tensor>;
  private readonly about: ModuleMetadata;

  constructor(
    children: ReadonlyMap<string, Module>,
    tensors: ReadonlyMap<string, Tensor> = new Map(),
    about: ModuleMetadata = { type: 'Module' },
  ) {
    super(children);
    this.tensors = tensors;
    this.about = about;
  }

  /** @throws {TypeError} always */
  override forward(): never {
    const [child = 'name'] = this.keys();
    throw new TypeError(
      `what ${this.reprName()} does is not in a state dict, only what it holds: call its modules yourself, as in model.get(${describe(child)}).forward(x), or write the class and use loadStateDict`,
    );
  }

  protected override *ownState(): IterableIterator<[string, Tensor]> {
    yield* this.tensors;
  }
  protected override metadata(): ModuleMetadata {
    return this.about;
  }
  protected override reprName(): string {
    return this.about.type;
  }
}

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
 * directions, projections, biases), Linear, Embedding and LayerNorm, float or quantized; what is none of these is
 * kept as tensors. What the state's `metadata` says of a module goes before what is guessed: it decides the type,
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
  const metadata = metadataOf(state);
  const root = newNode();
  for (const [name, about] of metadata) {
    const node = nodeOf(root, name);
    if (typeof about?.type === 'string') node.about = about;
  }
  for (const [key, tensor] of entriesOf(state)) {
    const at = key.lastIndexOf('.');
    const node = at < 0 ? root : nodeOf(root, key.slice(0, at));
    const name = key.slice(at + 1);
    if (name === '' || at === 0) throw new CheckpointError(`key ${describe(key)}: a name is empty`);
    node.tensors.set(name, tensor);
  }
  const builder = new Builder(root);
  const model = builder.build(root, '');
  return { model: model.eval(), assumptions: builder.assumptions };
}

/** A module to be. */
interface Node {
  readonly tensors: Map<string, Tensor>;
  readonly children: Map<string, Node>;
  about: ModuleMetadata | undefined;
}

function newNode(): Node {
  return { tensors: new Map(), children: new Map(), about: undefined };
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

type Options = Readonly<Record<string, unknown>>;

/** A class, which of its arguments are positional, and the options that its tensors do not show, with defaults. */
interface Kind {
  // The classes' constructors have nothing in common.
  readonly make: (sizes: unknown[], options: Options) => Module;
  readonly sizes: readonly string[];
  readonly hidden: Options;
  /** Those of them that change results, so that assuming them must be said. */
  readonly said: readonly string[];
}

function kind(
  Class: new (...args: never[]) => Module,
  sizes: readonly string[],
  hidden: Options = {},
  said: readonly string[] = [],
): Kind {
  const make = (args: unknown[], options: Options): Module =>
    new (Class as new (...args: unknown[]) => Module)(...args, options);
  return { make, sizes, hidden, said };
}

const { dynamic } = nn.quantized;
const recurrent = ['inputSize', 'hiddenSize'];
const linear = ['inFeatures', 'outFeatures'];
const table = ['numEmbeddings', 'embeddingDim'];
const sequence = { batchFirst: false, dropout: 0 };
const tanh = { nonlinearity: 'tanh' };
const lookup = { paddingIdx: null, maxNorm: null, normType: 2 };
const bag = { includeLastOffset: false };
const mode = { activation: 'perTensor', reduceRange: true };
const saidMode = Object.keys(mode);

/** By the type that `metadata()` gives them. */
const kinds: ReadonlyMap<string, Kind> = new Map([
  ['LSTM', kind(nn.LSTM, recurrent, sequence, ['batchFirst'])],
  ['GRU', kind(nn.GRU, recurrent, sequence, ['batchFirst'])],
  ['RNN', kind(nn.RNN, recurrent, { ...sequence, ...tanh }, ['batchFirst', 'nonlinearity'])],
  ['LSTMCell', kind(nn.LSTMCell, recurrent)],
  ['GRUCell', kind(nn.GRUCell, recurrent)],
  ['RNNCell', kind(nn.RNNCell, recurrent, tanh, ['nonlinearity'])],
  ['Linear', kind(nn.Linear, linear)],
  ['Embedding', kind(nn.Embedding, table, lookup)],
  ['EmbeddingBag', kind(nn.EmbeddingBag, table, { ...lookup, ...bag, mode: 'mean' })],
  ['LayerNorm', kind(nn.LayerNorm, ['normalizedShape'], { eps: 1e-5 }, ['eps'])],
  [
    'DynamicQuantizedLSTM',
    kind(dynamic.LSTM, recurrent, { ...sequence, ...mode }, ['batchFirst', ...saidMode]),
  ],
  [
    'DynamicQuantizedGRU',
    kind(dynamic.GRU, recurrent, { ...sequence, ...mode }, ['batchFirst', ...saidMode]),
  ],
  [
    'DynamicQuantizedRNN',
    kind(dynamic.RNN, recurrent, { ...sequence, ...tanh, ...mode }, [
      'batchFirst',
      'nonlinearity',
      ...saidMode,
    ]),
  ],
  ['DynamicQuantizedLSTMCell', kind(dynamic.LSTMCell, recurrent, mode, saidMode)],
  ['DynamicQuantizedGRUCell', kind(dynamic.GRUCell, recurrent, mode, saidMode)],
  [
    'DynamicQuantizedRNNCell',
    kind(dynamic.RNNCell, recurrent, { ...tanh, ...mode }, ['nonlinearity', ...saidMode]),
  ],
  ['DynamicQuantizedLinear', kind(dynamic.Linear, linear, mode, saidMode)],
  ['DynamicQuantizedLinearReLU', kind(dynamic.LinearReLU, linear, mode)],
  ['QuantizedEmbedding', kind(nn.quantized.Embedding, table, { paddingIdx: null })],
  [
    'QuantizedEmbeddingBag',
    kind(nn.quantized.EmbeddingBag, table, { paddingIdx: null, ...bag, mode: 'sum' }),
  ],
]);

/** Modules without tensors or options that change what they do in evaluation. */
const plain = new Map<string, new () => Module>(
  [
    ...[nn.Dropout, nn.Identity, nn.ReLU, nn.Sigmoid, nn.Tanh],
    ...[nn.SiLU, nn.Hardsigmoid, nn.Hardswish],
  ].map((Class) => [Class.name, Class]),
);

/** What the tensors of a module show. */
interface Found {
  readonly type: string;
  readonly options: Options;
  /** Why this type, where it is no more than likely. */
  readonly because?: string;
}

class Builder {
  readonly assumptions: string[] = [];
  /** What recurrent modules take in and give out, each with its place among all of them, to tell Embedding from Linear. */
  private readonly features: { inputs: ReadonlySet<number>; outputs: ReadonlySet<number> };
  private readonly parameters = new Map<Tensor, Parameter>();
  private recurrentSeen = false;

  constructor(root: Node) {
    const inputs = new Set<number>();
    const outputs = new Set<number>();
    const visit = (node: Node): void => {
      const found = recurrentOptions(node.tensors);
      if (found !== undefined) {
        const { inputSize, hiddenSize, projSize, bidirectional } = found.options as Record<string, number>;
        inputs.add(inputSize!);
        outputs.add((projSize || hiddenSize!) * (bidirectional ? 2 : 1));
      }
      node.children.forEach(visit);
    };
    visit(root);
    this.features = { inputs, outputs };
  }

  build(node: Node, name: string): Module {
    const { about } = node;
    const children = new Map<string, Module>();
    for (const [part, child] of node.children) {
      children.set(part, this.build(child, name === '' ? part : `${name}.${part}`));
    }
    if (children.size === 0 && (node.tensors.size > 0 || about?.type === 'LayerNorm')) {
      return this.leaf(name, about, node.tensors);
    }
    if (about !== undefined && kinds.has(about.type)) {
      throw new CheckpointError(`${title(name)} is ${about.type} by its metadata, but not by its tensors`);
    }
    const known = node.tensors.size > 0 ? undefined : container(name, about, children);
    if (known !== undefined) return known;
    if (node.tensors.size > 0) this.keep(name, about, node.tensors);
    return new StateDictModule(children, node.tensors, about);
  }

  private leaf(
    name: string,
    about: ModuleMetadata | undefined,
    tensors: ReadonlyMap<string, Tensor>,
  ): Module {
    const wanted = about === undefined ? undefined : kinds.get(about.type);
    const found = about !== undefined && wanted === undefined ? undefined : this.find(name, about, tensors);
    if (found !== undefined && /(LSTM|GRU|RNN)$/.test(found.type)) this.recurrentSeen = true;
    if (wanted !== undefined && found?.type !== about!.type) {
      const shown = found === undefined ? 'not' : `${found.type}`;
      throw new CheckpointError(
        `${title(name)} is ${about!.type} by its metadata, but ${shown} by its tensors`,
      );
    }
    if (found === undefined) {
      this.keep(name, about, tensors);
      return new StateDictModule(new Map(), tensors, about);
    }
    const { type, options, because } = found;
    const { make, sizes, hidden, said } = kinds.get(type)!;
    const given: Record<string, unknown> = {};
    for (const [key, value] of Object.entries(about ?? {})) {
      if (Object.hasOwn(hidden, key)) given[key] = value;
      else if (Object.hasOwn(options, key) && JSON.stringify(options[key]) !== JSON.stringify(value)) {
        throw new CheckpointError(
          `${title(name)} has ${key} ${describe(value)} by its metadata, but ${describe(options[key])} by its tensors`,
        );
      }
    }
    // What a constructor takes in its options; float16 weights have no activation mode.
    const isOption = (key: string): boolean =>
      !sizes.includes(key) && (options['dtype'] !== float16 || !saidMode.includes(key));
    const merged = Object.entries({ ...hidden, ...given, ...options });
    const all = Object.fromEntries(merged.filter(([key]) => isOption(key)));
    const assumed = said.filter((key) => Object.hasOwn(all, key) && !Object.hasOwn(given, key));
    if (because !== undefined || assumed.length > 0) {
      const values = assumed.map((key) => `${key} = ${JSON.stringify(hidden[key])}`).join(', ');
      this.assumptions.push(
        `${name === '' ? 'the model' : name} (${type}): ` +
          [because, values && `assumed ${values}`].filter(Boolean).join('; '),
      );
    }
    try {
      const module = onMeta(() =>
        make(
          sizes.map((key) => options[key]),
          all,
        ),
      );
      if (Object.hasOwn(options, 'dtype')) module.loadStateDict(tensors);
      else this.adopt(module, tensors);
      return module;
    } catch (error) {
      throw new CheckpointError(`${title(name)}: ${(error as Error).message}`, { cause: error });
    }
  }

  /** Tensors become parameters as they are; one that stands twice stays one. */
  private adopt(module: Module, tensors: ReadonlyMap<string, Tensor>): void {
    for (const [name, tensor] of tensors) {
      let parameter = this.parameters.get(tensor);
      if (parameter === undefined) {
        const float = tensor.to(float32);
        parameter = isParameter(float) ? float : new Parameter(float.checked(name), float.shape);
        this.parameters.set(tensor, parameter);
      }
      (module as unknown as Record<string, Parameter>)[name] = parameter;
    }
  }

  private keep(name: string, about: ModuleMetadata | undefined, tensors: ReadonlyMap<string, Tensor>): void {
    if (about !== undefined) return;
    const list = Array.from(tensors, ([key, { shape }]) => `${key} [${shape.join(', ')}]`);
    const shown = list.length > 4 ? [...list.slice(0, 3), `${list.length - 3} more`] : list;
    this.assumptions.push(
      `${name === '' ? 'the model' : name}: no known module has these tensors, which are kept as they are: ${shown.join(', ')}`,
    );
  }

  private find(
    name: string,
    about: ModuleMetadata | undefined,
    tensors: ReadonlyMap<string, Tensor>,
  ): Found | undefined {
    const type = about?.type;
    if (type === 'LayerNorm' && tensors.size === 0) {
      const { normalizedShape } = about as Options;
      return { type, options: { normalizedShape, elementwiseAffine: false } };
    }
    for (const { shape } of tensors.values()) if (shape.includes(0)) return undefined;
    const layer = recurrentOptions(tensors) ?? cellOptions(tensors);
    if (layer !== undefined) return quantizedOrFloat(layer, type, tensors);

    const weight = tensors.get('weight');
    const bias = tensors.get('bias');
    if (weight === undefined || tensors.size !== (bias === undefined ? 1 : 2)) return undefined;
    const [rows, columns] = weight.shape as [number, number];
    const matrix = weight.dim() === 2 && (bias === undefined || sameShape(bias.shape, [rows]));
    const linearOptions = { inFeatures: columns, outFeatures: rows, bias: bias !== undefined };
    const tableOptions = { numEmbeddings: rows, embeddingDim: columns };
    if (matrix && (weight.dtype === quint8 || weight.dtype === quint4x2) && bias === undefined) {
      return {
        type: type === 'QuantizedEmbeddingBag' ? type : 'QuantizedEmbedding',
        options: { ...tableOptions, dtype: weight.dtype },
        ...(type === undefined && { because: 'an EmbeddingBag has the same tensors' }),
      };
    }
    if (type === 'LayerNorm' || (bias !== undefined && weight.dim() === 1)) {
      if (!isFloat(tensors) || (bias !== undefined && !sameShape(bias.shape, weight.shape))) return undefined;
      return {
        type: 'LayerNorm',
        options: { normalizedShape: weight.shape, elementwiseAffine: true, bias: bias !== undefined },
        ...(type === undefined && { because: 'a GroupNorm has the same tensors' }),
      };
    }
    if (!matrix) return undefined;
    const isTable = type === 'Embedding' || type === 'EmbeddingBag';
    if (isTable && bias === undefined && isFloat(tensors)) return { type, options: tableOptions };
    const [likely, because] =
      type === undefined && bias === undefined && isFloat(tensors)
        ? this.tableOrLinear(name, columns)
        : (['Linear'] as const);
    if (likely === 'Embedding') return { type: likely, options: tableOptions, because };
    const found = quantizedOrFloat({ type: likely, options: linearOptions }, type, tensors);
    // Nothing but the metadata tells the two apart.
    const isFused = type === 'DynamicQuantizedLinearReLU' && found?.type === 'DynamicQuantizedLinear';
    return found && { ...found, ...(isFused && { type }), ...(because !== undefined && { because }) };
  }

  /** Which of the two a weight without a bias is most likely, and why. */
  private tableOrLinear(name: string, columns: number): [type: string, because: string] {
    const word = name.slice(name.lastIndexOf('.') + 1);
    const alike = (other: string): string => `${other} has the same tensors`;
    const embedding = (why: string): [string, string] => [
      'Embedding',
      `${why}; ${alike('a Linear without bias')}`,
    ];
    const linearOf = (why: string): [string, string] => ['Linear', `${why}; ${alike('an Embedding')}`];
    if (/emb|lookup|^w[tp]e$|vocab|token/i.test(word)) return embedding('so its name says');
    if (/^(fc|lin|out|proj|dec|head|dense|classif|attn|gate|query|key|value)|linear|proj/i.test(word)) {
      return linearOf('so its name says');
    }
    const { inputs, outputs } = this.features;
    const feeds = inputs.has(columns);
    const fed = outputs.has(columns);
    if (feeds && (!fed || !this.recurrentSeen)) return embedding('its rows fit into a recurrent module');
    if (fed) return linearOf('it fits the output of a recurrent module');
    return linearOf('likelier than an Embedding');
  }
}

/** A container of which the children are all there is, or a module without tensors. */
function container(
  name: string,
  about: ModuleMetadata | undefined,
  children: ReadonlyMap<string, Module>,
): Module | undefined {
  if (about === undefined) return undefined;
  const Plain = children.size === 0 ? plain.get(about.type) : undefined;
  if (Plain !== undefined) return new Plain();
  const isRow = [...children.keys()].every((key, i) => key === String(i));
  try {
    switch (about.type) {
      case 'Sequential':
        return new nn.Sequential(children);
      case 'ModuleDict':
        return new nn.ModuleDict(children);
      case 'ModuleList':
        return isRow ? new nn.ModuleList(children.values()) : undefined;
      case 'LinearReLU':
        return new nn.intrinsic.LinearReLU(children.get('0') as nn.Linear, children.get('1') as nn.ReLU);
      default:
        return undefined;
    }
  } catch (error) {
    throw new CheckpointError(`${title(name)}: ${(error as Error).message}`, { cause: error });
  }
}

const parameterName = /^(?:weight_(?:ih|hh|hr)|bias_(?:ih|hh))_l(0|[1-9]\d*)(_reverse)?$/;

/** An LSTM, GRU or RNN with exactly these tensors, if there is one. */
function recurrentOptions(tensors: ReadonlyMap<string, Tensor>): Found | undefined {
  const layers = new Set<number>();
  let bidirectional = false;
  for (const name of tensors.keys()) {
    const match = parameterName.exec(name);
    if (match === null) return undefined;
    layers.add(Number(match[1]));
    if (match[2] !== undefined) bidirectional = true;
  }
  const gates = gatesOf(
    tensors.get('weight_ih_l0'),
    tensors.get('weight_hh_l0'),
    tensors.get('weight_hr_l0'),
  );
  // Layers without a gap, so that their number is bounded by the tensors there are.
  if (gates === undefined || !layers.has(layers.size - 1)) return undefined;
  const { type, inputSize, hiddenSize, projSize } = gates;
  const bias = tensors.has('bias_ih_l0');
  const numLayers = layers.size;
  const options = { inputSize, hiddenSize, numLayers, bias, bidirectional };
  const expected = rnnParameters({ ...options, projSize, mode: type === 'RNN' ? 'RNN_TANH' : type });
  if (!haveShapes(tensors, expected)) return undefined;
  return { type, options: type === 'LSTM' ? { ...options, projSize } : options };
}

/** An LSTMCell, GRUCell or RNNCell with exactly these tensors, if there is one. */
function cellOptions(tensors: ReadonlyMap<string, Tensor>): Found | undefined {
  const gates = gatesOf(tensors.get('weight_ih'), tensors.get('weight_hh'), undefined);
  if (gates === undefined) return undefined;
  const { type, inputSize, hiddenSize, rows } = gates;
  const bias = tensors.has('bias_ih');
  const expected = [
    { name: 'weight_ih', shape: [rows, inputSize] },
    { name: 'weight_hh', shape: [rows, hiddenSize] },
    ...(bias ? ['bias_ih', 'bias_hh'].map((name) => ({ name, shape: [rows] })) : []),
  ];
  if (!haveShapes(tensors, expected)) return undefined;
  return { type: `${type}Cell`, options: { inputSize, hiddenSize, bias } };
}

const byGates = new Map([
  [4, 'LSTM'],
  [3, 'GRU'],
  [1, 'RNN'],
] as const);

/** The kind of layer, from the rows of its first weights. */
function gatesOf(
  ih: Tensor | undefined,
  hh: Tensor | undefined,
  hr: Tensor | undefined,
):
  | { type: 'LSTM' | 'GRU' | 'RNN'; inputSize: number; hiddenSize: number; projSize: number; rows: number }
  | undefined {
  if (ih?.dim() !== 2 || hh?.dim() !== 2 || (hr !== undefined && hr.dim() !== 2)) return undefined;
  const [rows, inputSize] = ih.shape as [number, number];
  const hiddenSize = hr === undefined ? hh.shape[1]! : hr.shape[1]!;
  const type = byGates.get((rows / hiddenSize) as 1);
  if (type === undefined || inputSize === 0 || hiddenSize === 0) return undefined;
  const projSize = hr === undefined ? 0 : hr.shape[0]!;
  if (projSize > 0 && (type !== 'LSTM' || projSize >= hiddenSize)) return undefined;
  return { type, inputSize, hiddenSize, projSize, rows };
}

function haveShapes(
  tensors: ReadonlyMap<string, Tensor>,
  expected: readonly Pick<LayerParameter, 'name' | 'shape'>[],
): boolean {
  return (
    tensors.size === expected.length &&
    expected.every(({ name, shape }) => tensors.has(name) && sameShape(tensors.get(name)!.shape, shape))
  );
}

/** The module with the dtype of its tensors: float, or dynamically quantized, or (a mixture) nothing. */
function quantizedOrFloat(
  { type, options }: Found,
  said: string | undefined,
  tensors: ReadonlyMap<string, Tensor>,
): Found | undefined {
  const weights: Tensor[] = [];
  const biases: Tensor[] = [];
  for (const [name, tensor] of tensors) (name.startsWith('bias') ? biases : weights).push(tensor);
  const quantized = `DynamicQuantized${type}`;
  if (weights.every(({ dtype }) => dtype === qint8))
    return { type: quantized, options: { ...options, dtype: qint8 } };
  if (!isFloat(tensors)) return undefined;
  // A model in half precision has half biases too; PyTorch's float16 quantization leaves them float32.
  const halfWeights = weights.every(({ dtype }) => dtype === float16);
  const floatBiases = biases.length > 0 && biases.every(({ dtype }) => dtype === float32);
  if (halfWeights && (said?.startsWith('DynamicQuantized') ?? floatBiases)) {
    return { type: quantized, options: { ...options, dtype: float16 } };
  }
  return { type, options };
}

function isFloat(tensors: ReadonlyMap<string, Tensor>): boolean {
  return [...tensors.values()].every(({ dtype }) => /^b?float/.test(dtype));
}

/** A module at the beginning of a sentence. */
function title(name: string): string {
  return name === '' ? 'the model' : `module ${describe(name)}`;
}
