import type { DType } from '../../tensor/index.js';
import { areParameters, floatCatalogue, linear, type CatalogueEntry, type Options } from '../catalogue.js';
import { isInstanceOf, type Module } from '../module.js';
import { attentionParameters } from '../multihead-attention.js';
import * as dynamic from './dynamic/index.js';
import { Embedding, EmbeddingBag } from './embedding.js';
import type { ActivationMode, QConfig } from './qconfig.js';

/** A quantized class. */
export interface QuantizedEntry extends CatalogueEntry {
  readonly Class: CatalogueEntry['Class'] & { fromFloat(module: Module, qconfig: QConfig): Module };
  /** The float class that it is made from. */
  readonly float: CatalogueEntry;
  /** The dtypes that its weights may have. */
  readonly dtypes: readonly DType[];
  /** The dtypes to which `quantizeDynamic` quantizes the float class by default, that is without a spec. */
  readonly defaultDtypes: readonly DType[];
}

/** The options that only modules with INT8 weights have. */
const activationMode: ActivationMode = { activation: 'perTensor', reduceRange: true };

function floatEntry(type: string): CatalogueEntry {
  return floatCatalogue.find((entry) => entry.type === type)!;
}

/** A class with INT8 or float16 weights. `layer` is the float class whose sizes and parameters it has. */
function dynamicTwin(type: string, Class: QuantizedEntry['Class'], layer = floatEntry(type)): QuantizedEntry {
  return {
    ...layer,
    type: `DynamicQuantized${type}`,
    Class,
    float: floatEntry(type),
    dtypes: ['qint8', 'float16'],
    defaultDtypes: ['qint8', 'float16'],
    defaults: { ...layer.defaults, ...activationMode },
    announced: [...layer.announced, ...Object.keys(activationMode)],
  };
}

/** A class with a table of 8 or 4 bits. */
function tableTwin(
  type: string,
  Class: QuantizedEntry['Class'],
  defaults: Options,
  defaultDtypes: readonly DType[],
): QuantizedEntry {
  const float = floatEntry(type);
  const dtypes = ['quint8', 'quint4x2'] as const;
  return { ...float, type: `Quantized${type}`, Class, float, dtypes, defaultDtypes, defaults };
}

/** MultiheadAttention with quantized projections, which are its children. */
const attention: QuantizedEntry = {
  ...floatEntry('MultiheadAttention'),
  type: 'DynamicQuantizedMultiheadAttention',
  Class: dynamic.MultiheadAttention,
  float: floatEntry('MultiheadAttention'),
  dtypes: ['qint8', 'float16'],
  defaultDtypes: ['qint8', 'float16'],
  defaults: { ...floatEntry('MultiheadAttention').defaults, ...activationMode },
  partsOf(children, tensors) {
    const part = (name: string): Partial<dynamic.Linear> =>
      (children.get(name) ?? {}) as Partial<dynamic.Linear>;
    const out = part('out_proj');
    const { inFeatures: embedDim, bias } = out;
    const isSeparate = !children.has('in_proj');
    const names = isSeparate ? ['q_proj', 'k_proj', 'v_proj'] : ['in_proj'];
    const [kdim, vdim] = isSeparate
      ? [part('k_proj').inFeatures, part('v_proj').inFeatures]
      : [embedDim, embedDim];
    const rows = isSeparate ? embedDim : 3 * embedDim!;
    const addBiasKv = tensors.has('bias_k');
    const fits =
      children.size === names.length + 1 &&
      [...names, 'out_proj'].every((name) => isInstanceOf(children.get(name), dynamic.Linear)) &&
      out.outFeatures === embedDim &&
      names.every((name) => part(name).outFeatures === rows && part(name).bias === bias) &&
      part(names[0]!).inFeatures === embedDim;
    if (!fits) return undefined;
    const sizes = { embedDim: embedDim!, kdim: kdim!, vdim: vdim!, bias: bias!, addBiasKv, dtype: out.dtype };
    const own = attentionParameters(sizes).filter(({ name }) => /^bias_[kv]$/.test(name));
    return areParameters(own, tensors) ? sizes : undefined;
  },
};

/** The quantized classes, in the order of `defaultDynamicMapping`. */
export const quantizedCatalogue: readonly QuantizedEntry[] = [
  dynamicTwin('Linear', dynamic.Linear),
  dynamicTwin('LinearReLU', dynamic.LinearReLU, linear),
  dynamicTwin('LSTM', dynamic.LSTM),
  dynamicTwin('GRU', dynamic.GRU),
  dynamicTwin('RNN', dynamic.RNN),
  dynamicTwin('LSTMCell', dynamic.LSTMCell),
  dynamicTwin('GRUCell', dynamic.GRUCell),
  dynamicTwin('RNNCell', dynamic.RNNCell),
  tableTwin(
    'EmbeddingBag',
    EmbeddingBag,
    { paddingIdx: null, includeLastOffset: false, mode: 'sum' },
    ['quint8', 'quint4x2'], // PyTorch has 4 bits for bags only
  ),
  { ...tableTwin('Embedding', Embedding, { paddingIdx: null }, ['quint8']), lookalike: 'an EmbeddingBag' },
  attention,
];

const byType: ReadonlyMap<string, CatalogueEntry | QuantizedEntry> = new Map(
  [...floatCatalogue, ...quantizedCatalogue].map((entry) => [entry.type, entry]),
);

/** The class, float or quantized, whose modules' metadata have this type. */
export function entryOf(type: string): CatalogueEntry | QuantizedEntry | undefined {
  return byType.get(type);
}

export function isQuantized(entry: CatalogueEntry | undefined): entry is QuantizedEntry {
  return entry !== undefined && 'float' in entry;
}

/** The quantized class that is made from this float class, for weights of this dtype. */
export function twinOf(type: string, dtype: DType): QuantizedEntry | undefined {
  return quantizedCatalogue.find(({ float, dtypes }) => float.type === type && dtypes.includes(dtype));
}

/** The options that tensors do not show, for weights of this dtype. */
export function defaultsOf(entry: CatalogueEntry, dtype: unknown): Options {
  if (!isQuantized(entry) || dtype === 'qint8') return entry.defaults;
  const isActivation = (name: string): boolean => Object.hasOwn(activationMode, name);
  return Object.fromEntries(Object.entries(entry.defaults).filter(([name]) => !isActivation(name)));
}
