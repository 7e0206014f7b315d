import { randint, randn } from '../random.js';
import { isFloatingPoint, sameShape, type Tensor } from '../tensor/index.js';
import * as activations from './activation.js';
import { GRUCell, LSTMCell, RNNCell } from './cells.js';
import {
  Conv1d,
  Conv2d,
  ConvTranspose1d,
  convolutionParameters,
  convolutionWeights,
  type ConvolutionWeights,
} from './convolution.js';
import { ModuleDict, ModuleList, Sequential } from './container.js';
import { Dropout } from './dropout.js';
import { Embedding, EmbeddingBag, tableParameters, tableSizes, type TableShape } from './embedding.js';
import { Flatten, Unflatten } from './flatten.js';
import { GRU } from './gru.js';
import { LinearReLU } from './intrinsic.js';
import {
  cellParameters,
  cellSizes,
  rnnParameters,
  rnnSizes,
  type LayerParameter,
  type RNNCellSizes,
  type RNNKind,
  type RNNSizes,
  type Tensors,
} from './layer-parameters.js';
import { Linear, linearParameters, linearSizes, type LinearSizes } from './linear.js';
import { LSTM } from './lstm.js';
import {
  BatchNorm1d,
  BatchNorm2d,
  batchNormParameters,
  batchNormSizes,
  GroupNorm,
  groupNormParameters,
  groupNormSizes,
  LayerNorm,
  normParameters,
  normSizes,
  RMSNorm,
  rmsNormParameters,
  rmsNormSizes,
  type BatchNormSizes,
  type GroupNormSizes,
  type NormSizes,
  type RMSNormSizes,
} from './normalization.js';
import * as padding from './padding.js';
import {
  AdaptiveAvgPool1d,
  AdaptiveAvgPool2d,
  AdaptiveMaxPool1d,
  AvgPool1d,
  AvgPool2d,
  MaxPool1d,
  MaxPool2d,
} from './pooling.js';
import { isInstanceOf, type Module } from './module.js';
import {
  attentionParameters,
  attentionSizes,
  MultiheadAttention,
  type AttentionSizes,
} from './multihead-attention.js';
import { RNN } from './rnn.js';
import { RNNStack } from './rnn-stack.js';
import { TransformerEncoder, TransformerEncoderLayer } from './transformer.js';
import { Upsample } from './upsample.js';

// What each class of modules is, for everything that handles modules of any class: modelFromStateDict,
// quantizeDynamic and the command line. A new class needs a record here, or in quantized/catalogue.ts. Nothing in nn
// but that file imports this one, which is above all classes.

/** Sizes and options by name, as a module's metadata gives them. */
export type Options = Readonly<Record<string, unknown>>;

/** A class of modules. */
export interface CatalogueEntry {
  /** The `type` in its modules' metadata. */
  readonly type: string;
  readonly Class: new (...args: never[]) => Module;
  /** The constructor's positional arguments by name. */
  readonly sizes: readonly string[];
  /** The options that tensors do not show, with the constructor's defaults; not those that only matter in training. */
  readonly defaults: Options;
  /** The options among `defaults` that change results so much that whoever assumes one announces it. */
  readonly announced: readonly string[];
  /** Its own parameters, in the order of its state dict. Absent: it has none of its own. */
  parameters?(sizes: object): LayerParameter[];
  /**
   * The inverse of `parameters`: the sizes and options that these tensors show if they are such a module's. It may
   * guess, because its result counts only if its `parameters` have exactly the tensors' names and shapes. `metadata`
   * is given where it says that the module is of this class.
   */
  sizesOf?(tensors: Tensors, metadata?: object): object | undefined;
  /**
   * For a module with children and tensors of its own: its sizes, and the options that these show, if they are such a
   * module's.
   */
  partsOf?(children: ReadonlyMap<string, Module>, tensors: Tensors): object | undefined;
  /** Likely values of arguments that tensors do not show, by the sizes. Whoever takes one announces it. */
  guesses?(sizes: object): Options;
  /** A class with the same tensors that metadata must tell from this one; without them this one is only a guess. */
  readonly lookalike?: string;
  /** Whether a row of the input, or an index, gives the same bits whatever other rows share the call. */
  readonly rowByRow?: boolean;
  /** For a container: makes one that holds these children, or nothing if it could not. */
  fromChildren?(children: ReadonlyMap<string, Module>): Module | undefined;
  /** Random input for such a module. Absent where float32 of any shape will do, and where the children decide. */
  sampleInput?(sizes: object): Tensor;
}

/** Rows of a sample input that has no steps. */
const sampleRows = 64;

function recurrentLayer(
  kind: RNNKind,
  Class: CatalogueEntry['Class'],
  ownDefaults: Options = {},
): CatalogueEntry {
  return {
    type: kind,
    Class,
    sizes: ['inputSize', 'hiddenSize'],
    defaults: { batchFirst: false, dropout: 0, ...ownDefaults },
    announced: ['batchFirst', ...Object.keys(ownDefaults)],
    parameters: (sizes: RNNSizes) => rnnParameters({ ...sizes, mode: modeOf(kind) }),
    sizesOf(tensors) {
      const { kind: shown, projSize, ...sizes } = rnnSizes(tensors) ?? {};
      if (shown !== kind) return undefined;
      return kind === 'LSTM' ? { ...sizes, projSize } : sizes;
    },
    sampleInput: ({ inputSize }: RNNSizes) => randn(16, 4, inputSize),
  };
}

function cell(kind: RNNKind, Class: CatalogueEntry['Class'], defaults: Options = {}): CatalogueEntry {
  return {
    type: `${kind}Cell`,
    Class,
    sizes: ['inputSize', 'hiddenSize'],
    defaults,
    announced: Object.keys(defaults),
    parameters: (sizes: RNNCellSizes) => cellParameters({ ...sizes, mode: modeOf(kind) }),
    sizesOf(tensors) {
      const { kind: shown, ...sizes } = cellSizes(tensors) ?? {};
      return shown === kind ? sizes : undefined;
    },
    sampleInput: ({ inputSize }: RNNCellSizes) => randn(sampleRows, inputSize),
  };
}

/** A mode of this kind. Either will do for an RNN, because both of its modes have the same parameters. */
function modeOf(kind: RNNKind): RNNSizes['mode'] {
  return kind === 'RNN' ? 'RNN_TANH' : kind;
}

function table(type: string, Class: CatalogueEntry['Class'], ownDefaults: Options = {}): CatalogueEntry {
  return {
    type,
    Class,
    sizes: ['numEmbeddings', 'embeddingDim'],
    defaults: { paddingIdx: null, maxNorm: null, normType: 2, ...ownDefaults },
    announced: [],
    parameters: tableParameters,
    sizesOf: tableSizes,
    rowByRow: type === 'Embedding',
    sampleInput: ({ numEmbeddings }: TableShape) => randint(0, numEmbeddings, [sampleRows, 4]),
  };
}

/** @param rank - the number of spatial dimensions */
function convolution(
  type: string,
  Class: CatalogueEntry['Class'],
  rank: number,
  transposed = false,
): CatalogueEntry {
  const defaults = { stride: 1, padding: 0, dilation: 1, groups: 1, paddingMode: 'zeros' };
  return {
    type,
    Class,
    sizes: ['inChannels', 'outChannels', 'kernelSize'],
    defaults: transposed ? { ...defaults, outputPadding: 0 } : defaults,
    announced: ['stride', 'padding', 'dilation', 'groups'],
    parameters: (sizes: ConvolutionWeights) => convolutionParameters({ ...sizes, transposed }),
    sizesOf: (tensors, metadata) => convolutionWeights(tensors, rank, transposed, metadata),
    sampleInput: ({ inChannels }: ConvolutionWeights) => randn([4, inChannels, 32, 32].slice(0, rank + 2)),
  };
}

/** An activation, or another class without tensors. Metadata do not hold its sizes and options. */
function plain(
  type: string,
  Class: CatalogueEntry['Class'],
  defaults: Options = {},
  sizes: readonly string[] = [],
): CatalogueEntry {
  return { type, Class, sizes, defaults, announced: [], rowByRow: true };
}

/** @param rank - the number of spatial dimensions */
function pooling(
  type: string,
  Class: CatalogueEntry['Class'],
  rank: number,
  defaults: Options,
  sizes: readonly string[] = ['kernelSize'],
): CatalogueEntry {
  const shape = [4, 3, 32, 32].slice(0, rank + 2);
  return { ...plain(type, Class, defaults, sizes), rowByRow: false, sampleInput: () => randn(shape) };
}

function container(
  type: string,
  Class: CatalogueEntry['Class'],
  fromChildren: NonNullable<CatalogueEntry['fromChildren']>,
): CatalogueEntry {
  return { ...plain(type, Class), rowByRow: false, fromChildren };
}

/** Whether children are named `'0'`, `'1'`, … */
function isRow(children: ReadonlyMap<string, Module>): boolean {
  return [...children.keys()].every((key, i) => key === String(i));
}

export const linear: CatalogueEntry = {
  type: 'Linear',
  Class: Linear,
  sizes: ['inFeatures', 'outFeatures'],
  defaults: {},
  announced: [],
  parameters: linearParameters,
  sizesOf: linearSizes,
  rowByRow: true,
  sampleInput: ({ inFeatures }: LinearSizes) => randn(sampleRows, inFeatures),
};

const layerNorm: CatalogueEntry = {
  type: 'LayerNorm',
  Class: LayerNorm,
  sizes: ['normalizedShape'],
  defaults: { eps: 1e-5 },
  announced: ['eps'],
  parameters: normParameters,
  sizesOf: normSizes,
  lookalike: 'a GroupNorm',
  rowByRow: true,
  sampleInput: ({ normalizedShape }: NormSizes) => randn([sampleRows, ...normalizedShape]),
};

const rmsNorm: CatalogueEntry = {
  type: 'RMSNorm',
  Class: RMSNorm,
  sizes: ['normalizedShape'],
  defaults: { eps: null },
  announced: ['eps'],
  parameters: rmsNormParameters,
  sizesOf: rmsNormSizes,
  lookalike: 'a LayerNorm without bias',
  rowByRow: true,
  sampleInput: ({ normalizedShape }: RMSNormSizes) => randn([sampleRows, ...normalizedShape]),
};

const groupNorm: CatalogueEntry = {
  type: 'GroupNorm',
  Class: GroupNorm,
  sizes: ['numGroups', 'numChannels'],
  defaults: { numGroups: 1, eps: 1e-5 },
  announced: ['numGroups', 'eps'],
  parameters: groupNormParameters,
  sizesOf: groupNormSizes,
  rowByRow: true,
  sampleInput: ({ numChannels }: GroupNormSizes) => randn(sampleRows, numChannels, 4),
};

function batchNorm(type: string, Class: CatalogueEntry['Class'], ...sizes: number[]): CatalogueEntry {
  return {
    type,
    Class,
    sizes: ['numFeatures'],
    defaults: { eps: 1e-5, momentum: 0.1 },
    announced: ['eps'],
    parameters: batchNormParameters,
    sizesOf: batchNormSizes,
    rowByRow: true,
    sampleInput: ({ numFeatures }: BatchNormSizes) => randn([sampleRows, numFeatures, ...sizes]),
  };
}

const linearReLU: CatalogueEntry = {
  ...container(
    'LinearReLU',
    LinearReLU,
    (children) => new LinearReLU(children.get('0') as Linear, children.get('1') as activations.ReLU),
  ),
  rowByRow: true,
  sampleInput: linear.sampleInput!,
};

/** Of 64 features if that is possible, as most models have them. */
function likelyHeads(features: number): number {
  const size = [64, 32].find((each) => features % each === 0);
  return size === undefined ? 1 : features / size;
}

const attention: CatalogueEntry = {
  type: 'MultiheadAttention',
  Class: MultiheadAttention,
  sizes: ['embedDim', 'numHeads'],
  defaults: { dropout: 0, addZeroAttn: false, batchFirst: false },
  announced: ['batchFirst'],
  partsOf(children, tensors) {
    const sizes = attentionSizes(tensors);
    const out = children.get('out_proj');
    if (sizes === undefined || children.size !== 1 || !isInstanceOf(out, Linear)) return undefined;
    const { inFeatures, outFeatures, bias } = out as Linear;
    const { embedDim } = sizes;
    const fits = inFeatures === embedDim && outFeatures === embedDim && (bias !== null) === sizes.bias;
    return fits && areParameters(attentionParameters(sizes), tensors) ? sizes : undefined;
  },
  guesses: ({ embedDim }: AttentionSizes) => ({ numHeads: likelyHeads(embedDim) }),
  sampleInput: ({ embedDim }: AttentionSizes) => randn(16, 4, embedDim),
};

/** Whether these are the tensors of such parameters, of any floating dtype. */
export function areParameters(parameters: readonly LayerParameter[], tensors: Tensors): boolean {
  return (
    tensors.size === parameters.length &&
    parameters.every(({ name, shape }) => {
      const tensor = tensors.get(name);
      return tensor !== undefined && isFloatingPoint(tensor.dtype) && sameShape(tensor.shape, shape);
    })
  );
}

const encoderLayer: CatalogueEntry = {
  type: 'TransformerEncoderLayer',
  Class: TransformerEncoderLayer,
  sizes: ['dModel', 'nhead'],
  defaults: { activation: 'relu', normFirst: false },
  announced: ['activation', 'normFirst'],
  sampleInput: ({ dModel }: { dModel: number }) => randn(16, 4, dModel),
  partsOf(children, tensors) {
    if (tensors.size > 0) return undefined;
    const part = <P extends Module>(name: string): Partial<P> => (children.get(name) ?? {}) as Partial<P>;
    const { embedDim, numHeads, batchFirst, dropout } = part<MultiheadAttention>('self_attn');
    const [first, second] = [part<Linear>('linear1'), part<Linear>('linear2')];
    const [norm1, norm2] = [part<LayerNorm>('norm1'), part<LayerNorm>('norm2')];
    const { inFeatures: dModel, outFeatures: dimFeedforward } = first;
    const fits =
      numHeads !== undefined &&
      dModel !== undefined &&
      embedDim === dModel &&
      second.inFeatures === dimFeedforward &&
      second.outFeatures === dModel &&
      [norm1, norm2].every(({ normalizedShape }) => sameShape(normalizedShape ?? [], [dModel])) &&
      norm1.eps === norm2.eps &&
      [...children.keys()].every((name) => encoderParts.test(name));
    if (!fits) return undefined;
    const bias = norm1.bias !== null;
    return { dModel, nhead: numHeads, dimFeedforward, batchFirst, dropout, layerNormEps: norm1.eps, bias };
  },
};
const encoderParts = /^(self_attn|linear[12]|norm[12]|dropout[12]?)$/;

const encoder: CatalogueEntry = {
  ...container('TransformerEncoder', TransformerEncoder, (children) => {
    const layers = [...(children.get('layers')?.namedChildren() ?? [])];
    const norm = children.get('norm') ?? null;
    if (layers.length === 0 || !isRow(new Map(layers))) return undefined;
    if (children.size !== (norm === null ? 1 : 2)) return undefined;
    const made = new TransformerEncoder(new activations.Identity(), layers.length, { norm });
    return Object.assign(made, { layers: new ModuleList(layers.map(([, layer]) => layer)) });
  }),
  partsOf(children, tensors) {
    const layers = [...(children.get('layers')?.children() ?? [])];
    const areLayers =
      layers.length > 0 && layers.every((each) => isInstanceOf(each, TransformerEncoderLayer));
    return areLayers && tensors.size === 0 ? {} : undefined;
  },
};

const tanh = { nonlinearity: 'tanh' };

// Without a stride it is the kernel's size.
const avgDefaults = { stride: null, padding: 0, ceilMode: false, countIncludePad: true };
const maxDefaults = { stride: null, padding: 0, dilation: 1, returnIndices: false, ceilMode: false };

/**
 * The float classes. Where several have the same tensors, a module without metadata is taken for the first of them.
 * A state dict cannot make an activation whose sizes or options are not in its metadata.
 */
export const floatCatalogue: readonly CatalogueEntry[] = [
  recurrentLayer('LSTM', LSTM),
  recurrentLayer('GRU', GRU),
  recurrentLayer('RNN', RNN, tanh),
  cell('LSTM', LSTMCell),
  cell('GRU', GRUCell),
  cell('RNN', RNNCell, tanh),
  linear,
  { ...convolution('Conv1d', Conv1d, 1), lookalike: 'a ConvTranspose1d' },
  convolution('Conv2d', Conv2d, 2),
  convolution('ConvTranspose1d', ConvTranspose1d, 1, true),
  table('Embedding', Embedding),
  table('EmbeddingBag', EmbeddingBag, { includeLastOffset: false, mode: 'mean' }),
  layerNorm,
  rmsNorm,
  groupNorm,
  batchNorm('BatchNorm1d', BatchNorm1d),
  batchNorm('BatchNorm2d', BatchNorm2d, 3, 3),
  attention,
  encoderLayer,
  encoder,

  linearReLU,
  container('Sequential', Sequential, (children) => new Sequential(children)),
  container('ModuleDict', ModuleDict, (children) => new ModuleDict(children)),
  container('ModuleList', ModuleList, (children) =>
    isRow(children) ? new ModuleList(children.values()) : undefined,
  ),
  container('RNNStack', RNNStack, (children) =>
    isRow(children) ? new RNNStack(...children.values()) : undefined,
  ),

  pooling('MaxPool1d', MaxPool1d, 1, maxDefaults),
  pooling('MaxPool2d', MaxPool2d, 2, maxDefaults),
  pooling('AvgPool1d', AvgPool1d, 1, avgDefaults),
  pooling('AvgPool2d', AvgPool2d, 2, { ...avgDefaults, divisorOverride: null }),
  pooling('AdaptiveAvgPool1d', AdaptiveAvgPool1d, 1, {}, ['outputSize']),
  pooling('AdaptiveAvgPool2d', AdaptiveAvgPool2d, 2, {}, ['outputSize']),
  pooling('AdaptiveMaxPool1d', AdaptiveMaxPool1d, 1, { returnIndices: false }, ['outputSize']),

  plain('Dropout', Dropout),
  plain('Identity', activations.Identity),
  plain('ReLU', activations.ReLU),
  plain('Sigmoid', activations.Sigmoid),
  plain('Tanh', activations.Tanh),
  plain('SiLU', activations.SiLU),
  plain('Hardsigmoid', activations.Hardsigmoid),
  plain('Hardswish', activations.Hardswish),
  plain('GELU', activations.GELU, { approximate: 'none' }),
  plain('LeakyReLU', activations.LeakyReLU, { negativeSlope: 0.01 }),
  plain('ELU', activations.ELU, { alpha: 1 }),
  plain('Softplus', activations.Softplus, { beta: 1, threshold: 20 }),
  plain('Hardtanh', activations.Hardtanh, { minVal: -1, maxVal: 1 }),
  plain('Softmax', activations.Softmax, {}, ['dim']),
  plain('LogSoftmax', activations.LogSoftmax, {}, ['dim']),
  // Of these a row of the input need not be a row of the output.
  ...[
    plain('Flatten', Flatten, { startDim: 1, endDim: -1 }),
    plain('Unflatten', Unflatten, {}, ['dim', 'unflattenedSize']),
    plain('Upsample', Upsample, {
      size: null,
      scaleFactor: null,
      mode: 'nearest',
      alignCorners: null,
      recomputeScaleFactor: null,
    }),
    plain('ConstantPad1d', padding.ConstantPad1d, {}, ['padding', 'value']),
    plain('ConstantPad2d', padding.ConstantPad2d, {}, ['padding', 'value']),
    plain('ZeroPad1d', padding.ZeroPad1d, {}, ['padding']),
    plain('ZeroPad2d', padding.ZeroPad2d, {}, ['padding']),
    plain('ReflectionPad1d', padding.ReflectionPad1d, {}, ['padding']),
    plain('ReflectionPad2d', padding.ReflectionPad2d, {}, ['padding']),
    plain('ReplicationPad1d', padding.ReplicationPad1d, {}, ['padding']),
    plain('ReplicationPad2d', padding.ReplicationPad2d, {}, ['padding']),
    plain('CircularPad1d', padding.CircularPad1d, {}, ['padding']),
    plain('CircularPad2d', padding.CircularPad2d, {}, ['padding']),
  ].map((entry) => ({ ...entry, rowByRow: false })),
];

/** Makes a module from all its sizes and options. */
export function construct({ Class, sizes }: CatalogueEntry, values: Options): Module {
  const positional = sizes.map((name) => values[name]);
  const options = Object.fromEntries(Object.entries(values).filter(([name]) => !sizes.includes(name)));
  // Options go last and only if there are any, because some constructors take none (Dropout's argument is a number).
  const args = Object.keys(options).length === 0 ? positional : [...positional, options];
  return new (Class as new (...args: unknown[]) => Module)(...args);
}
