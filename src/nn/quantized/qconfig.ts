import { checkBoolean, checkOneOf, checkOptions, describe, typeError } from '../../errors.js';
import { isInstanceOf, type Module, type ModuleMetadata } from '../module.js';

/**
 * How an INT8 layer quantizes what enters its matrices, at each call: values from `lo` to `hi` (zero
 * included) become `q = clamp(rne(x * (1 / scale)) + zeroPoint, 0, 255)`, `scale = (hi - lo) / levels`.
 */
export interface ActivationMode {
  /**
   * Which values share a range. Default: `'perTensor'`.
   *
   * - `'perTensor'`, as in PyTorch: all values that enter a matrix together. In Linear these are all rows; in a
   *   recurrent layer the input of the whole sequence, and at each step the hidden state of the whole batch. A
   *   result depends on the other sequences of the batch and on how a sequence is cut.
   * - `'perRow'`: each vector has its own range. In Linear this is a row; in a recurrent layer one step of one
   *   sequence, as input and as hidden state (a deeper layer's input is the vector of both directions). A result
   *   has the same bits alone and in any batch and, in one direction, however a sequence is cut into chunks.
   */
  readonly activation: 'perTensor' | 'perRow';
  /**
   * Whether activations have 127 levels, as in PyTorch's fbgemm, or 255, which halves the rounding error. The sums
   * of both are exact on every instruction set. Default: true, 127.
   */
  readonly reduceRange: boolean;
}

/** How a module is quantized: its weights once, its activations (of INT8 layers) at each call. */
export interface QConfig extends Partial<ActivationMode> {
  /** How the weights are quantized. */
  readonly weight: {
    /** Default: `'qint8'`. Embeddings take `'quint8'` or `'quint4x2'`, all other modules `'qint8'` or `'float16'`. */
    readonly dtype?: 'qint8' | 'float16' | 'quint8' | 'quint4x2';
    /**
     * qint8: one symmetric scale for the whole matrix, or one for each output row. quint8 and quint4x2:
     * `'per_channel_affine_float_qparams'`. float16: absent.
     */
    readonly qscheme?: 'per_tensor_symmetric' | 'per_channel_symmetric' | 'per_channel_affine_float_qparams';
  };
}

/** How a dynamically quantized layer multiplies: float16 weights by float32, or int8 weights by an `ActivationMode`. */
export type DynamicQuantization =
  | ({ readonly dtype: 'qint8' } & ActivationMode)
  | { readonly dtype: 'float16'; readonly activation?: undefined; readonly reduceRange?: undefined };

/** The options of quantized modules that float modules do not have. */
export interface DynamicOptions extends Partial<ActivationMode> {
  /** The weights' type. Default: `'qint8'`. With `'float16'` there is no activation mode. */
  dtype?: 'qint8' | 'float16';
}

const activations = ['perTensor', 'perRow'] as const;
const activationOptionNames = ['activation', 'reduceRange'] as const;
export const dynamicOptionNames = ['dtype', ...activationOptionNames] as const;

const qschemes = {
  qint8: ['per_tensor_symmetric', 'per_channel_symmetric'],
  quint8: ['per_channel_affine_float_qparams'],
  quint4x2: ['per_channel_affine_float_qparams'],
} as const;
const dtypes = ['qint8', 'float16', 'quint8', 'quint4x2'] as const;

/** @throws {TypeError | RangeError} naming what is wrong; `name` begins the sentence */
export function checkQConfig(name: string, qconfig: unknown): asserts qconfig is QConfig {
  const { weight, ...mode } = (qconfig ?? {}) as Partial<QConfig>;
  if (typeof qconfig !== 'object' || typeof weight !== 'object' || weight === null) {
    throw typeError(
      'ERR_INVALID_ARG_TYPE',
      `${name} should be an object with a weight, got ${describe(qconfig)}`,
    );
  }
  checkOptions(name, qconfig, ['weight', ...activationOptionNames]);
  checkOptions(`${name}: weight`, weight, ['dtype', 'qscheme']);
  const { dtype = 'qint8', qscheme } = weight;
  checkOneOf(`${name}: weight.dtype`, dtype, dtypes);
  if (dtype === 'float16') {
    if (qscheme !== undefined) {
      throw typeError(
        'ERR_INVALID_ARG_TYPE',
        `${name}: weight.qscheme should be absent with float16, got ${describe(qscheme)}`,
      );
    }
  } else {
    checkOneOf(`${name}: weight.qscheme`, qscheme, qschemes[dtype]);
  }
  if (dtype === 'qint8') activationMode(mode, `${name}: `);
  else refuseMode(dtype, mode, `${name}: `);
}

/** Checks the arguments of a `fromFloat`; the module may be of another copy of the package. */
export function checkFloat(
  module: unknown,
  Float: abstract new (...args: never[]) => Module,
  qconfig: unknown,
): void {
  if (!isInstanceOf(module, Float)) {
    throw typeError(
      'ERR_INVALID_ARG_TYPE',
      `module should be an instance of ${Float.name}, got ${describe(module)}`,
    );
  }
  checkQConfig('qconfig', qconfig);
}

/** The quantization that these options ask for; `prefix` begins the sentence. */
export function dynamicQuantization(options: DynamicOptions, prefix = ''): DynamicQuantization {
  const { dtype = 'qint8' } = options;
  checkOneOf(`${prefix}dtype`, dtype, ['qint8', 'float16']);
  if (dtype === 'qint8') return { dtype, ...activationMode(options, prefix) };
  refuseMode(dtype, options, prefix);
  return { dtype };
}

function activationMode(
  { activation = 'perTensor', reduceRange = true }: Partial<ActivationMode>,
  prefix: string,
): ActivationMode {
  checkOneOf(`${prefix}activation`, activation, activations);
  checkBoolean(`${prefix}reduceRange`, reduceRange);
  return { activation, reduceRange };
}

function refuseMode(dtype: string, mode: Partial<ActivationMode>, prefix: string): void {
  for (const name of activationOptionNames) {
    if (mode[name] === undefined) continue;
    throw typeError(
      'ERR_INVALID_ARG_TYPE',
      `${prefix}${name} should be absent with ${dtype} weights, which multiply floats, got ${describe(mode[name])}`,
    );
  }
}

/** The quantization that a state dict's metadata give a module, otherwise its own. Not checked. */
export function adoptedQuantization(
  metadata: ModuleMetadata | undefined,
  current: DynamicQuantization,
): DynamicQuantization {
  if (current.dtype === 'float16') return current;
  const { activation = current.activation, reduceRange = current.reduceRange } =
    (metadata as Partial<ActivationMode> | undefined) ?? {};
  return { dtype: 'qint8', activation, reduceRange };
}

/** What `extraRepr` adds to PyTorch's text for modes that PyTorch does not have. */
export function quantizationRepr({ activation, reduceRange }: DynamicQuantization): string {
  return `${activation === 'perRow' ? ', activation=per_row' : ''}${reduceRange === false ? ', reduce_range=False' : ''}`;
}
