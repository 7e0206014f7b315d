import { floatCatalogue, type CatalogueEntry, type Options } from '../nn/catalogue.js';
import { rnnSizes, type RNNSizes, type Tensors } from '../nn/layer-parameters.js';
import type { ModuleMetadata } from '../nn/module.js';
import { entryOf, isQuantized, twinOf } from '../nn/quantized/catalogue.js';
import { float16, float32, isFloatingPoint, sameShape, type DType } from '../tensor/index.js';

/** What the tensors of a module tell about it. */
export interface Found {
  readonly entry: CatalogueEntry;
  /** Its sizes, and the options that its tensors show. */
  readonly options: Options;
  /** Why this class, if it is only a guess. */
  readonly because?: string;
}

/** Finds the classes of a model's modules. Call `find` in the order of the state dict. */
export class Recogniser {
  /** The numbers of features that recurrent layers take and return, to tell an Embedding from a Linear. */
  private readonly taken = new Set<number>();
  private readonly given = new Set<number>();
  private recurrentSeen = false;
  /** The rank of the last weight before: 4 if it is a convolution's over planes. */
  private lastRank = 0;

  /** @param modules - the tensors of each module of the model */
  constructor(modules: Iterable<Tensors>) {
    for (const tensors of modules) {
      const kind = rnnSizes(tensors)?.kind;
      const sizes = kind && (sizesOf(entryOf(kind)!, tensors) as RNNSizes | undefined);
      if (sizes === undefined) continue;
      this.taken.add(sizes.inputSize);
      this.given.add((sizes.projSize || sizes.hiddenSize) * (sizes.bidirectional ? 2 : 1));
    }
  }

  /**
   * The class of the module that these tensors belong to.
   *
   * @param wanted - the class that the metadata name
   */
  find(
    name: string,
    wanted: CatalogueEntry | undefined,
    metadata: ModuleMetadata | undefined,
    tensors: Tensors,
  ): Found | undefined {
    for (const { shape } of tensors.values()) if (shape.includes(0)) return undefined;
    const dtype = weightsDType(tensors, wanted);
    if (dtype === undefined) return undefined;
    const found =
      (wanted && fitting(wanted, dtype, tensors, metadata)) ?? this.likeliest(name, wanted, dtype, tensors);
    if (found !== undefined && isRecurrent(found.options)) this.recurrentSeen = true;
    this.lastRank = Math.max(...Array.from(tensors.values(), ({ shape }) => shape.length));
    return found;
  }

  /** The first class of the catalogue that fits without metadata. */
  private likeliest(
    name: string,
    wanted: CatalogueEntry | undefined,
    dtype: DType,
    tensors: Tensors,
  ): Found | undefined {
    for (const float of floatCatalogue) {
      const sizes = sizesOf(float, tensors);
      if (sizes === undefined) continue;
      const twin = dtype === float32 ? undefined : twinOf(float.type, dtype);
      if (twin === undefined && !isFloatingPoint(dtype)) continue;
      // A weight in float16 may be a float module's, even with biases in float32.
      const entry = twin ?? float;
      const found = { entry, options: optionsOf(entry, sizes, dtype) };
      if (wanted !== undefined) return found;
      if (entry.type === 'Linear' && found.options['bias'] === false)
        return this.tableOrLinear(name, tensors);
      if (entry.type === 'BatchNorm1d') return this.batchNorm(found);
      const { lookalike } = entry;
      return lookalike === undefined ? found : { ...found, because: `${lookalike} has the same tensors` };
    }
    return undefined;
  }

  /** The BatchNorm that fits the weight before it. */
  private batchNorm({ entry, options }: Found): Found {
    if (this.lastRank === 4) {
      const because = 'it follows a weight of 4 dimensions; a BatchNorm1d has the same tensors';
      return { entry: entryOf('BatchNorm2d')!, options, because };
    }
    return { entry, options, because: 'a BatchNorm2d has the same tensors' };
  }

  /** Embedding or Linear without bias, whichever is likelier for a module with this name. */
  private tableOrLinear(name: string, tensors: Tensors): Found {
    const found = (type: string, why: string, lookalike: string): Found => {
      const entry = entryOf(type)!;
      const because = `${why}; ${lookalike} has the same tensors`;
      return { entry, options: sizesOf(entry, tensors)!, because };
    };
    const embedding = (why: string): Found => found('Embedding', why, 'a Linear without bias');
    const linear = (why: string): Found => found('Linear', why, 'an Embedding');
    const word = name.slice(name.lastIndexOf('.') + 1);
    if (/emb|lookup|^w[tp]e$|vocab|token/i.test(word)) return embedding('so its name says');
    if (/^(fc|lin|out|proj|dec|head|dense|classif|attn|gate|query|key|value)|linear|proj/i.test(word)) {
      return linear('so its name says');
    }
    const columns = tensors.get('weight')!.shape[1]!;
    const feeds = this.taken.has(columns);
    const isFed = this.given.has(columns);
    if (feeds && (!isFed || !this.recurrentSeen)) return embedding('its rows fit into a recurrent module');
    if (isFed) return linear('it fits the output of a recurrent module');
    return linear('likelier than an Embedding');
  }
}

/** Only recurrent layers have layers. */
function isRecurrent(sizes: Options): boolean {
  return Object.hasOwn(sizes, 'numLayers');
}

/** The class that the metadata name, if these tensors, of this dtype, fit it. */
function fitting(
  entry: CatalogueEntry,
  dtype: DType,
  tensors: Tensors,
  metadata: ModuleMetadata | undefined,
): Found | undefined {
  const hasDType = isQuantized(entry) ? entry.dtypes.includes(dtype) : isFloatingPoint(dtype);
  const sizes = hasDType ? sizesOf(entry, tensors, metadata) : undefined;
  return sizes && { entry, options: optionsOf(entry, sizes, dtype) };
}

function optionsOf(entry: CatalogueEntry, sizes: Options, dtype: DType): Options {
  return isQuantized(entry) ? { ...sizes, dtype } : sizes;
}

/** The sizes that tensors show, if they are exactly the parameters of such a module. */
function sizesOf(entry: CatalogueEntry, tensors: Tensors, metadata?: ModuleMetadata): Options | undefined {
  const sizes = entry.sizesOf?.(tensors, metadata);
  if (sizes === undefined) return undefined;
  const expected = entry.parameters!(sizes);
  const fits =
    tensors.size === expected.length &&
    expected.every(({ name, shape }) => tensors.has(name) && sameShape(tensors.get(name)!.shape, shape));
  return fits ? (sizes as Options) : undefined;
}

/** The dtype of quantized weights; float32 for every floating type of a float module; undefined for a mixture. */
function weightsDType(tensors: Tensors, wanted: CatalogueEntry | undefined): DType | undefined {
  const all = [...tensors].filter(([name]) => name !== 'num_batches_tracked');
  const weights = all.filter(([name]) => !name.startsWith('bias')).map(([, { dtype }]) => dtype);
  const biases = all.filter(([name]) => name.startsWith('bias')).map(([, { dtype }]) => dtype);
  const [first] = weights;
  if (first?.startsWith('q') === true && weights.every((dtype) => dtype === first)) return first;
  if (!all.every(([, { dtype }]) => isFloatingPoint(dtype))) return undefined;
  if (!weights.every((dtype) => dtype === float16)) return float32;
  // A model in half precision has half biases too; PyTorch's float16 quantization leaves them float32.
  const hasFloatBiases = biases.length > 0 && biases.every((dtype) => dtype === float32);
  const isQuantization =
    wanted === undefined ? hasFloatBiases : isQuantized(wanted) && wanted.dtypes.includes(float16);
  return isQuantization ? float16 : float32;
}
