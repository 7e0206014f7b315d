import { checkBoolean, checkNumber, checkOptions, checkSize, rangeError } from '../errors.js';
import { int64 } from '../tensor/dtype.js';
import { unchecked } from '../tensor/options.js';
import { checkedShape, formatShape } from '../tensor/shape.js';
import { floatInput } from './arguments.js';
import { Tensor } from '../tensor/tensor.js';
import { closed, fixed } from './closed.js';
import { fusable } from './fusable.js';
import { channelsScaled, float32Epsilon, groupsNormalized, overLast } from './functional/normalization.js';
import type { LayerParameter, Tensors } from './layer-parameters.js';
import { Module, type ModuleMetadata } from './module.js';
import { emptyParameter, parameterData, type Parameter } from './parameter.js';
import { pythonBool, pythonFloat, pythonTuple } from './repr.js';

/** Options of LayerNorm. */
export interface LayerNormOptions {
  /** Added to the variance. Default: 1e-5. */
  eps?: number;
  /** Whether there is a `weight`, at first ones, and a `bias`, at first zeros. Default: true. */
  elementwiseAffine?: boolean;
  /** Whether there is a `bias` beside the weight. Default: true. */
  bias?: boolean;
}

/**
 * `y = (x - mean) / sqrt(variance + eps) * weight + bias`. Mean and (biased) variance are taken over the last
 * dimensions, those of `normalizedShape`. The same bits whatever other rows share the call.
 *
 * Shape: float32 `(*, ...normalizedShape)` to the same. `weight` and `bias` have `normalizedShape`. Sizes and options
 * are fixed at construction.
 */
export class LayerNorm extends Module {
  /** @internal */
  declare readonly [fixed]: Pick<LayerNorm, 'normalizedShape' | 'eps'>;
  /** The last dimensions, over which each mean and variance is taken. */
  declare readonly normalizedShape: readonly number[];
  /** What is added to a variance before its root is taken. */
  declare readonly eps: number;
  /** Whether there is a weight. */
  declare readonly elementwiseAffine: boolean;
  /** Of shape `normalizedShape`, or null. */
  readonly weight: Parameter | null;
  /** Of shape `normalizedShape`, or null. */
  readonly bias: Parameter | null;

  /** @throws {TypeError | RangeError} for a shape that is not of positive integers, or an option of the wrong kind */
  constructor(normalizedShape: number | readonly number[], options: LayerNormOptions = {}) {
    super();
    const shape = normShape(normalizedShape);
    checkOptions('LayerNorm', options, ['eps', 'elementwiseAffine', 'bias']);
    const { eps = 1e-5, elementwiseAffine = true, bias = true } = options;
    checkEps(eps);
    checkBoolean('elementwiseAffine', elementwiseAffine);
    checkBoolean('bias', bias);
    closed(this, { normalizedShape: shape, eps, elementwiseAffine });
    this.weight = elementwiseAffine ? onesParameter(this.normalizedShape) : null;
    this.bias = elementwiseAffine && bias ? emptyParameter(this.normalizedShape) : null;
  }

  /** @throws {TypeError} for another dtype @throws {RangeError} for another shape */
  override forward(input: Tensor): Tensor {
    const { normalizedShape, eps } = this[fixed];
    const weight = this.weight && parameterData('weight', this.weight, normalizedShape);
    const bias = this.bias && parameterData('bias', this.bias, normalizedShape);
    return overLast('layer', 'LayerNorm', input, normalizedShape, { weight, bias, eps });
  }

  override extraRepr(): string {
    const { normalizedShape, eps, elementwiseAffine, bias } = this;
    return `${pythonTuple(normalizedShape)}, eps=${pythonFloat(eps)}, elementwise_affine=${pythonBool(elementwiseAffine)}, bias=${pythonBool(bias !== null)}`;
  }
  protected override metadata(): ModuleMetadata {
    const { normalizedShape, eps, elementwiseAffine } = this;
    return { type: 'LayerNorm', normalizedShape, eps, elementwiseAffine, bias: this.bias !== null };
  }
}

fusable(LayerNorm);

/** Options of RMSNorm. */
export interface RMSNormOptions {
  /** Added to the mean square. Default: null, the distance from 1 to the next float32, 2^-23. */
  eps?: number | null;
  /** Whether there is a `weight`, at first ones. Default: true. */
  elementwiseAffine?: boolean;
}

/**
 * `y = x / sqrt(mean of x^2 + eps) * weight`. The mean is taken over the last dimensions, those of `normalizedShape`.
 * The same bits whatever other rows share the call.
 *
 * Shape: float32 `(*, ...normalizedShape)` to the same. `weight` has `normalizedShape`. Sizes and options are fixed at
 * construction.
 */
export class RMSNorm extends Module {
  /** @internal */
  declare readonly [fixed]: Pick<RMSNorm, 'normalizedShape' | 'eps'>;
  /** The last dimensions, over which each mean square is taken. */
  declare readonly normalizedShape: readonly number[];
  /** What is added to a mean square before its root is taken; null for 2^-23. */
  declare readonly eps: number | null;
  /** Whether there is a weight. */
  declare readonly elementwiseAffine: boolean;
  /** Of shape `normalizedShape`, or null. */
  readonly weight: Parameter | null;

  /** @throws {TypeError | RangeError} for a shape that is not of positive integers, or an option of the wrong kind */
  constructor(normalizedShape: number | readonly number[], options: RMSNormOptions = {}) {
    super();
    const shape = normShape(normalizedShape);
    checkOptions('RMSNorm', options, ['eps', 'elementwiseAffine']);
    const { eps = null, elementwiseAffine = true } = options;
    if (eps !== null) checkEps(eps);
    checkBoolean('elementwiseAffine', elementwiseAffine);
    closed(this, { normalizedShape: shape, eps, elementwiseAffine });
    this.weight = elementwiseAffine ? onesParameter(shape) : null;
  }

  /** @throws {TypeError} for another dtype @throws {RangeError} for another shape */
  override forward(input: Tensor): Tensor {
    const { normalizedShape, eps } = this[fixed];
    const weight = this.weight && parameterData('weight', this.weight, normalizedShape);
    const parameters = { weight, bias: null, eps: eps ?? float32Epsilon };
    return overLast('rms', 'RMSNorm', input, normalizedShape, parameters);
  }

  override extraRepr(): string {
    const { normalizedShape, eps, elementwiseAffine } = this;
    const text = eps === null ? 'None' : pythonFloat(eps);
    return `${pythonTuple(normalizedShape)}, eps=${text}, elementwise_affine=${pythonBool(elementwiseAffine)}`;
  }
  protected override metadata(): ModuleMetadata {
    const { normalizedShape, eps, elementwiseAffine } = this;
    return { type: 'RMSNorm', normalizedShape, eps, elementwiseAffine };
  }
}

/** Options of GroupNorm. */
export interface GroupNormOptions {
  /** Added to the variance. Default: 1e-5. */
  eps?: number;
  /** Whether there is a `weight`, at first ones, and a `bias`, at first zeros. Default: true. */
  affine?: boolean;
  /** Whether there is a `bias` beside the weight. Default: true. */
  bias?: boolean;
}

/**
 * `y = (x - mean) / sqrt(variance + eps) * weight + bias`. Mean and (biased) variance are taken over each of
 * `numGroups` groups of channels and all dimensions after them; each channel has its weight and bias. The same bits
 * whatever else is in the batch.
 *
 * Shape: float32 `(N, numChannels, *)` to the same; `weight` and `bias` `(numChannels)`. Sizes and options are fixed at
 * construction.
 */
export class GroupNorm extends Module {
  /** @internal */
  declare readonly [fixed]: Pick<GroupNorm, 'numGroups' | 'numChannels' | 'eps'>;
  /** How many groups the channels are divided into. */
  declare readonly numGroups: number;
  /** The size of the input's dimension 1. */
  declare readonly numChannels: number;
  /** What is added to a variance before its root is taken. */
  declare readonly eps: number;
  /** Whether there is a weight. */
  declare readonly affine: boolean;
  /** Of shape `(numChannels)`, or null. */
  readonly weight: Parameter | null;
  /** Of shape `(numChannels)`, or null. */
  readonly bias: Parameter | null;

  /** @throws {TypeError | RangeError} for sizes that do not divide, or an option of the wrong kind */
  constructor(numGroups: number, numChannels: number, options: GroupNormOptions = {}) {
    super();
    checkSize('num_groups', numGroups);
    checkSize('num_channels', numChannels);
    if (numChannels % numGroups !== 0) {
      const sentence = `num_channels (${numChannels}) must be divisible by num_groups (${numGroups})`;
      throw rangeError('ERR_INVALID_ARG_VALUE', sentence);
    }
    checkOptions('GroupNorm', options, ['eps', 'affine', 'bias']);
    const { eps = 1e-5, affine = true, bias = true } = options;
    checkEps(eps);
    checkBoolean('affine', affine);
    checkBoolean('bias', bias);
    closed(this, { numGroups, numChannels, eps, affine });
    this.weight = affine ? onesParameter([numChannels]) : null;
    this.bias = affine && bias ? emptyParameter([numChannels]) : null;
  }

  /** @throws {TypeError} for another dtype @throws {RangeError} for another shape */
  override forward(input: Tensor): Tensor {
    const { numGroups, numChannels, eps } = this[fixed];
    const { shape } = floatInput('GroupNorm', input);
    if (shape.length < 2 || shape[1] !== numChannels) {
      const sentence = `GroupNorm: expected input of shape [N, ${numChannels}, *], got ${formatShape(shape)}`;
      throw rangeError('ERR_SHAPE', sentence);
    }
    const weight = this.weight && parameterData('weight', this.weight, [numChannels]);
    const bias = this.bias && parameterData('bias', this.bias, [numChannels]);
    return groupsNormalized('GroupNorm', input, numGroups, { weight, bias, eps });
  }

  override extraRepr(): string {
    const { numGroups, numChannels, eps, affine, bias } = this;
    return `${numGroups}, ${numChannels}, eps=${pythonFloat(eps)}, affine=${pythonBool(affine)}, bias=${pythonBool(bias !== null)}`;
  }
  protected override metadata(): ModuleMetadata {
    const { numGroups, numChannels, eps, affine, bias } = this;
    return { type: 'GroupNorm', numGroups, numChannels, eps, affine, bias: bias !== null };
  }
}

/** Options of BatchNorm1d and BatchNorm2d. */
export interface BatchNormOptions {
  /** Added to the variance. Default: 1e-5. */
  eps?: number;
  /** How much a batch moves the running statistics in training, which is done in PyTorch. Default: 0.1. */
  momentum?: number | null;
  /** Whether there is a `weight`, at first ones, and a `bias`, at first zeros. Default: true. */
  affine?: boolean;
  /** Whether there is a `bias` beside the weight. Default: true. */
  bias?: boolean;
}

/** What BatchNorm1d and BatchNorm2d share. */
abstract class BatchNorm extends Module {
  /** @internal */
  declare readonly [fixed]: Pick<BatchNorm, 'numFeatures' | 'eps'>;
  /** The number of channels: the size of the input's dimension 1. */
  declare readonly numFeatures: number;
  /** What is added to a variance before its root is taken. */
  declare readonly eps: number;
  /** How much a batch moves the running statistics in PyTorch's training; null for their mean over all batches. */
  declare readonly momentum: number | null;
  /** Whether there is a weight. */
  declare readonly affine: boolean;
  /** Of shape `(numFeatures)`, or null. */
  readonly weight: Parameter | null;
  /** Of shape `(numFeatures)`, or null. */
  readonly bias: Parameter | null;
  /** A buffer: the mean of each channel, at first 0. */
  declare readonly running_mean: Tensor;
  /** A buffer: the variance of each channel, at first 1. */
  declare readonly running_var: Tensor;
  /** A buffer: how many batches the statistics are of, in int64. */
  declare readonly num_batches_tracked: Tensor;

  /** @internal */
  protected abstract readonly kind: 'BatchNorm1d' | 'BatchNorm2d';

  /** @throws {TypeError | RangeError} for a size that is not positive, or an option of the wrong kind */
  constructor(numFeatures: number, options: BatchNormOptions = {}) {
    super();
    checkSize('num_features', numFeatures);
    checkOptions(this.constructor.name, options, ['eps', 'momentum', 'affine', 'bias']);
    const { eps = 1e-5, momentum = 0.1, affine = true, bias = true } = options;
    checkEps(eps);
    if (momentum !== null) checkNumber('momentum', momentum);
    checkBoolean('affine', affine);
    checkBoolean('bias', bias);
    closed(this, { numFeatures, eps, momentum, affine });
    this.weight = affine ? onesParameter([numFeatures]) : null;
    this.bias = affine && bias ? emptyParameter([numFeatures]) : null;
    const shape = [numFeatures];
    this.registerBuffer('running_mean', new Tensor(emptyParameter(shape).data, shape, unchecked));
    this.registerBuffer('running_var', new Tensor(onesParameter(shape).data, shape, unchecked));
    this.registerBuffer('num_batches_tracked', new Tensor(new BigInt64Array(1), [], { dtype: int64 }));
  }

  /** @throws {TypeError} for another dtype @throws {RangeError} for another shape */
  override forward(input: Tensor): Tensor {
    const { numFeatures, eps } = this[fixed];
    const { shape } = floatInput(this.kind, input);
    const isPlanes = this.kind === 'BatchNorm2d';
    if (isPlanes ? shape.length !== 4 : shape.length !== 2 && shape.length !== 3) {
      const expected = isPlanes ? '4D' : '2D or 3D';
      throw rangeError('ERR_SHAPE', `expected ${expected} input (got ${shape.length}D input)`);
    }
    if (shape[1] !== numFeatures) {
      const sentence = `running_mean should contain ${shape[1]} elements not ${numFeatures}`;
      throw rangeError('ERR_SHAPE', sentence);
    }
    const sizes = [numFeatures];
    return channelsScaled(this.kind, input, {
      mean: parameterData('running_mean', this.running_mean, sizes),
      variance: parameterData('running_var', this.running_var, sizes),
      weight: this.weight && parameterData('weight', this.weight, sizes),
      bias: this.bias && parameterData('bias', this.bias, sizes),
      eps,
    });
  }

  override extraRepr(): string {
    const { numFeatures, eps, momentum, affine } = this;
    const text = momentum === null ? 'None' : pythonFloat(momentum);
    const parameters = `affine=${pythonBool(affine)}, bias=${pythonBool(this.bias !== null)}`;
    return `${numFeatures}, eps=${pythonFloat(eps)}, momentum=${text}, ${parameters}, track_running_stats=True`;
  }
  protected override metadata(): ModuleMetadata {
    const { numFeatures, eps, momentum, affine, bias } = this;
    return { type: this.kind, numFeatures, eps, momentum, affine, bias: bias !== null };
  }
}

/**
 * `y = (x - running_mean) / sqrt(running_var + eps) * weight + bias`, all of them for each channel. The running
 * statistics are always used, in training too, because they are learnt in PyTorch.
 *
 * Shape: float32 `(N, numFeatures)` or `(N, numFeatures, L)` to the same; parameters and buffers `(numFeatures)`. Sizes
 * and options are fixed at construction.
 */
export class BatchNorm1d extends BatchNorm {
  /** @internal */
  protected override get kind(): 'BatchNorm1d' {
    return 'BatchNorm1d';
  }
}

/**
 * `y = (x - running_mean) / sqrt(running_var + eps) * weight + bias`, all of them for each channel. The running
 * statistics are always used, in training too, because they are learnt in PyTorch.
 *
 * Shape: float32 `(N, numFeatures, H, W)` to the same; parameters and buffers `(numFeatures)`. Sizes and options are
 * fixed at construction.
 */
export class BatchNorm2d extends BatchNorm {
  /** @internal */
  protected override get kind(): 'BatchNorm2d' {
    return 'BatchNorm2d';
  }
}

function normShape(normalizedShape: number | readonly number[]): readonly number[] {
  const given = Array.isArray(normalizedShape) ? (normalizedShape as number[]) : [normalizedShape];
  const shape = checkedShape(given);
  if (shape.length === 0) {
    throw rangeError(
      'ERR_SHAPE',
      'Expected normalized_shape to be at least 1-dimensional, i.e., containing at least one element, but got normalized_shape = []',
    );
  }
  shape.forEach((size) => checkSize('normalized_shape', size));
  return Object.freeze(shape);
}

function checkEps(eps: unknown): void {
  checkNumber('eps', eps);
  if (!(eps >= 0)) throw rangeError('ERR_INVALID_ARG_VALUE', `eps should not be negative, got ${eps}`);
}

function onesParameter(shape: readonly number[]): Parameter {
  const parameter = emptyParameter(shape);
  parameter.data.fill(1 as never);
  return parameter;
}

// Parameters ------------------------------------------------------------------------------------------------

/** What the parameters of a LayerNorm depend on. */
export interface NormSizes {
  readonly normalizedShape: readonly number[];
  readonly elementwiseAffine: boolean;
  readonly bias: boolean;
}

export function normParameters({ normalizedShape, elementwiseAffine, bias }: NormSizes): LayerParameter[] {
  if (!elementwiseAffine) return [];
  const names = bias ? (['weight', 'bias'] as const) : (['weight'] as const);
  return names.map((name) => ({ name, kind: name, shape: normalizedShape, matrix: 0 }));
}

/** The sizes that the parameters of a LayerNorm show. Without parameters only its metadata tell them. */
export function normSizes(tensors: Tensors, metadata?: object): Partial<NormSizes> | undefined {
  const weight = tensors.get('weight');
  if (weight === undefined) {
    if (metadata === undefined || tensors.size > 0) return undefined;
    const { normalizedShape } = metadata as NormSizes;
    return { normalizedShape, elementwiseAffine: false };
  }
  const bias = tensors.has('bias');
  // Only a 1-D weight with a bias tells a LayerNorm: other modules have weights of many shapes, and an RMSNorm has a
  // weight without a bias.
  if (metadata === undefined && !(bias && weight.dim() === 1)) return undefined;
  return { normalizedShape: weight.shape, elementwiseAffine: true, bias };
}

/** What the parameters of an RMSNorm depend on. */
export type RMSNormSizes = Omit<NormSizes, 'bias'>;

export function rmsNormParameters({ normalizedShape, elementwiseAffine }: RMSNormSizes): LayerParameter[] {
  return normParameters({ normalizedShape, elementwiseAffine, bias: false });
}

/** The sizes that the weight of an RMSNorm shows; without metadata only a 1-D one. */
export function rmsNormSizes(tensors: Tensors, metadata?: object): Partial<RMSNormSizes> | undefined {
  const weight = tensors.get('weight');
  if (weight !== undefined) {
    if (metadata === undefined && weight.dim() !== 1) return undefined;
    return { normalizedShape: weight.shape, elementwiseAffine: true };
  }
  if (metadata === undefined || tensors.size > 0) return undefined;
  return { normalizedShape: (metadata as RMSNormSizes).normalizedShape, elementwiseAffine: false };
}

/** What the parameters of a GroupNorm depend on. */
export interface GroupNormSizes extends ChannelSizes {
  readonly numChannels: number;
}

interface ChannelSizes {
  readonly affine: boolean;
  readonly bias: boolean;
}

export function groupNormParameters({ numChannels, ...sizes }: GroupNormSizes): LayerParameter[] {
  return channelParameters(numChannels, sizes);
}

/** The sizes of a GroupNorm, which are those of a LayerNorm too. */
export function groupNormSizes(tensors: Tensors, metadata?: object): Partial<GroupNormSizes> | undefined {
  const weight = tensors.get('weight');
  const numChannels = weight?.shape[0] ?? (metadata as GroupNormSizes | undefined)?.numChannels;
  return numChannels === undefined ? undefined : { numChannels, ...channelSizes(tensors) };
}

/** What the parameters of a BatchNorm1d or BatchNorm2d depend on. */
export interface BatchNormSizes extends ChannelSizes {
  readonly numFeatures: number;
}

export function batchNormParameters({ numFeatures, ...sizes }: BatchNormSizes): LayerParameter[] {
  const buffer = { kind: 'buffer', matrix: 0 } as const;
  return [
    ...channelParameters(numFeatures, sizes),
    { name: 'running_mean', shape: [numFeatures], ...buffer },
    { name: 'running_var', shape: [numFeatures], ...buffer },
    { name: 'num_batches_tracked', shape: [], ...buffer },
  ];
}

/** The sizes that a BatchNorm's running mean shows, which nothing else has. */
export function batchNormSizes(tensors: Tensors): Partial<BatchNormSizes> | undefined {
  const mean = tensors.get('running_mean');
  return mean?.dim() === 1 ? { numFeatures: mean.shape[0]!, ...channelSizes(tensors) } : undefined;
}

function channelParameters(channels: number, { affine, bias }: ChannelSizes): LayerParameter[] {
  if (!affine) return [];
  const names = bias ? (['weight', 'bias'] as const) : (['weight'] as const);
  return names.map((name) => ({ name, kind: name, shape: [channels], matrix: 0 }));
}

/** Without a weight nothing shows whether there would be a bias. */
function channelSizes(tensors: Tensors): Partial<ChannelSizes> {
  return tensors.has('weight') ? { affine: true, bias: tensors.has('bias') } : { affine: false };
}
