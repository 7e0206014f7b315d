import { checkBoolean, checkOneOf, checkOptions, describe } from '../../../errors.js';
import type { ModuleMetadata } from '../../module.js';

/**
 * How an INT8 layer quantizes what enters its matrices, at each call: values from `lo` to `hi` (zero
 * included) become `q = clamp(rne(x * (1 / scale)) + zeroPoint, 0, 255)`, `scale = (hi - lo) / steps`.
 */
export interface ActivationMode {
  /**
   * What shares a range. Default: `'perTensor'`.
   *
   * - `'perTensor'`, as PyTorch: all that enters a matrix together. For Linear all rows; for a layer of an LSTM
   *   the input of the whole sequence, and at each step the hidden state of the whole batch. A result depends
   *   on who shares the batch and on how a sequence is cut.
   * - `'perRow'`: each vector has its own. For Linear a row; for an LSTM one step of one sequence, as input
   *   and as hidden state (a deeper layer's input is the vector of both directions). A result has the same bits
   *   alone and in any batch and, in one direction, however a sequence is cut into chunks.
   */
  readonly activation: 'perTensor' | 'perRow';
  /**
   * 127 steps, as PyTorch's fbgemm, or (false) 255: half the rounding error. Both are exact on every
   * instruction set. Default: true.
   */
  readonly reduceRange: boolean;
}

/** How a module is quantized: its weights once, its activations at each call. */
export interface QConfig extends Partial<ActivationMode> {
  readonly weight: {
    /** One symmetric scale for the whole matrix, or one for each output row. */
    readonly qscheme: 'per_tensor_symmetric' | 'per_channel_symmetric';
  };
}

const activations = ['perTensor', 'perRow'] as const;
const qschemes = ['per_tensor_symmetric', 'per_channel_symmetric'] as const;

export const activationOptionNames = ['activation', 'reduceRange'] as const;

/** @throws {TypeError | RangeError} naming what is wrong; `name` begins the sentence */
export function checkQConfig(name: string, qconfig: unknown): asserts qconfig is QConfig {
  if (typeof qconfig !== 'object' || qconfig === null) {
    throw new TypeError(`${name} should be an object with a weight, got ${describe(qconfig)}`);
  }
  checkOptions(name, qconfig, ['weight', ...activationOptionNames]);
  const { weight, ...mode } = qconfig as Partial<QConfig>;
  checkOneOf(`${name}: weight.qscheme`, weight?.qscheme, qschemes);
  activationMode(mode, `${name}: `);
}

/** The mode that these options ask for; `prefix` begins the sentence. */
export function activationMode(
  { activation = 'perTensor', reduceRange = true }: Partial<ActivationMode>,
  prefix = '',
): ActivationMode {
  checkOneOf(`${prefix}activation`, activation, activations);
  checkBoolean(`${prefix}reduceRange`, reduceRange);
  return { activation, reduceRange };
}

/** What the matrices of a module multiply: names and numbers of features. */
export type Depths = readonly (readonly [name: string, depth: number])[];

/** @throws {RangeError} when a product is so deep that its int32 sum could wrap */
export function checkDepths(depths: Depths, mode: ActivationMode): void {
  const [problem] = depthProblems(depths, mode);
  if (problem !== undefined) throw new RangeError(problem);
}

// 128 * 128 * 131,071 and 255 * 128 * 65,793 are below 2^31; PyTorch wraps silently.
function depthProblems(depths: Depths, { reduceRange }: ActivationMode): string[] {
  const most = reduceRange ? 131071 : 65793;
  const layer = `an INT8 layer${reduceRange ? '' : ' with reduceRange: false'}`;
  return depths
    .filter(([, depth]) => depth > most)
    .map(
      ([name, depth]) => `${name} should be at most ${most} for ${layer}, whose sums are int32, got ${depth}`,
    );
}

/** The mode that a state dict's metadata gives a module, or else the one it has. */
export function adoptedMode(metadata: ModuleMetadata | undefined, current: ActivationMode): ActivationMode {
  const { activation = current.activation, reduceRange = current.reduceRange } =
    (metadata as Partial<ActivationMode> | undefined) ?? {};
  return { activation, reduceRange };
}

/** Why a module cannot take the mode of the metadata. `prefix` begins the names in the sentences. */
export function modeProblems(
  prefix: string,
  metadata: ModuleMetadata | undefined,
  current: ActivationMode,
  depths: Depths,
): string[] {
  const mode = adoptedMode(metadata, current);
  try {
    activationMode(mode, `the metadata's ${prefix}`);
  } catch (error) {
    return [`${(error as Error).message}.`];
  }
  return depthProblems(depths, mode).map((problem) => `${prefix}${problem}.`);
}

/** What `extraRepr` adds to PyTorch's text in the modes that PyTorch does not have. */
export function modeRepr({ activation, reduceRange }: ActivationMode): string {
  return `${activation === 'perRow' ? ', activation=per_row' : ''}${reduceRange ? '' : ', reduce_range=False'}`;
}
