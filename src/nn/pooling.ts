import { checkBoolean, checkOptions } from '../errors.js';
import type { Tensor } from '../tensor/tensor.js';
import { closed, fixed, record } from './closed.js';
import type { SpatialSize } from './convolution-sizes.js';
import { Module } from './module.js';
import {
  avgOptionNames,
  checkedOutputSize,
  maxOptionNames,
  pool,
  poolAdaptively,
  poolSizes,
  type OutputSize,
  type Pooled,
  type PoolSettings,
  type PoolSizes,
} from './pooling-sizes.js';
import { pythonBool, pythonTuple } from './repr.js';

/** Options of MaxPool1d and MaxPool2d. */
export interface MaxPoolOptions<Indices extends boolean = boolean> extends Pick<
  PoolSettings,
  'stride' | 'padding' | 'dilation' | 'ceilMode'
> {
  /** Whether `forward` also returns where each maximum is in its plane. Default: false. */
  returnIndices?: Indices;
}

/** Options of AvgPool1d. */
export type AvgPool1dOptions = Pick<PoolSettings, 'stride' | 'padding' | 'ceilMode' | 'countIncludePad'>;

/** Options of AvgPool2d. */
export interface AvgPool2dOptions extends AvgPool1dOptions {
  /** What sums are divided by, instead of the number of values. */
  divisorOverride?: number | null;
}

/** A size as a user gave it, a number or the checked list. */
function kept<Size>(given: Size, checked: Size & readonly unknown[]): Size {
  return Array.isArray(given) ? checked : given;
}

/** What maxima over one and two dimensions share. Not public. */
export abstract class MaxPool<Indices extends boolean> extends Module {
  /** @internal */
  declare readonly [fixed]: { readonly sizes: PoolSizes; readonly returnIndices: Indices };
  /** Values of a window, in each dimension. */
  declare readonly kernelSize: SpatialSize;
  /** Positions from a window to the next. */
  declare readonly stride: SpatialSize;
  /** Positions beyond each end of the input. */
  declare readonly padding: SpatialSize;
  /** Positions between neighbouring values of a window. */
  declare readonly dilation: SpatialSize;
  /** Whether `forward` also returns where each maximum is. */
  declare readonly returnIndices: Indices;
  /** Whether a last window may reach beyond the end. */
  declare readonly ceilMode: boolean;

  protected constructor(rank: 1 | 2, kernelSize: SpatialSize, options: MaxPoolOptions<Indices> = {}) {
    super();
    checkOptions(`MaxPool${rank}d`, options, maxOptionNames);
    const { returnIndices = false, ...settings } = options;
    checkBoolean('returnIndices', returnIndices);
    const sizes = poolSizes(`max_pool${rank}d`, rank, kernelSize, settings);
    const { padding = 0, dilation = 1, ceilMode = false } = settings;
    const stride = settings.stride ?? kernelSize;
    closed(this, {
      kernelSize: kept(kernelSize, sizes.kernel),
      stride: kept(stride, sizes.stride),
      padding: kept(padding, sizes.padding),
      dilation: kept(dilation, sizes.dilation),
      returnIndices,
      ceilMode,
    });
    record(this, { sizes });
  }

  /** @throws {TypeError} for another dtype @throws {RangeError} for a shape that does not fit */
  override forward(input: Tensor): Pooled<Indices> {
    const { sizes, returnIndices } = this[fixed];
    return pool(sizes, input, returnIndices);
  }

  override extraRepr(): string {
    const { kernelSize, stride, padding, dilation, ceilMode } = this;
    const sizes = `kernel_size=${pythonTuple(kernelSize)}, stride=${pythonTuple(stride)}, padding=${pythonTuple(padding)}`;
    return `${sizes}, dilation=${pythonTuple(dilation)}, ceil_mode=${pythonBool(ceilMode)}`;
  }
}

/**
 * `out[c][t] = max_k x[c][t * stride + k * dilation - padding]`, where the padding counts as -inf. NaN if one of a
 * window's values is.
 *
 * Shape: float32 `(N, C, L)` to `(N, C, L')`, or both without N, with
 * `L' = floor((L + 2 padding - dilation * (kernelSize - 1) - 1) / stride) + 1`; `ceil` with `ceilMode`, if the last
 * window begins before the input's end. With `returnIndices` the result is `[out, indices]`.
 */
export class MaxPool1d<Indices extends boolean = false> extends MaxPool<Indices> {
  /** @throws {TypeError | RangeError} for sizes or options that PyTorch refuses, or unknown ones */
  constructor(kernelSize: SpatialSize, options?: MaxPoolOptions<Indices>) {
    super(1, kernelSize, options);
  }
}

/**
 * {@link MaxPool1d} over two dimensions: `(N, C, H, W)` to `(N, C, H', W')`, or both without N. Sizes and options are
 * a number for both dimensions, or one for each. `indices` count along the rows of a plane.
 */
export class MaxPool2d<Indices extends boolean = false> extends MaxPool<Indices> {
  /** @throws {TypeError | RangeError} for sizes or options that PyTorch refuses, or unknown ones */
  constructor(kernelSize: SpatialSize, options?: MaxPoolOptions<Indices>) {
    super(2, kernelSize, options);
  }
}

/** What means over one and two dimensions share. Not public. */
export abstract class AvgPool extends Module {
  /** @internal */
  declare readonly [fixed]: { readonly sizes: PoolSizes };
  /** Values of a window, in each dimension. */
  declare readonly kernelSize: SpatialSize;
  /** Positions from a window to the next. */
  declare readonly stride: SpatialSize;
  /** Positions beyond each end of the input. */
  declare readonly padding: SpatialSize;
  /** Whether a last window may reach beyond the end. */
  declare readonly ceilMode: boolean;
  /** Whether the padding's zeros count in a mean. */
  declare readonly countIncludePad: boolean;

  protected constructor(rank: 1 | 2, kernelSize: SpatialSize, options: AvgPool2dOptions = {}) {
    super();
    checkOptions(`AvgPool${rank}d`, options, avgOptionNames(rank));
    const sizes = poolSizes(`avg_pool${rank}d`, rank, kernelSize, options);
    const { padding = 0, ceilMode = false, countIncludePad = true } = options;
    const stride = options.stride ?? kernelSize;
    closed(this, {
      kernelSize: rank === 1 ? sizes.kernel : kept(kernelSize, sizes.kernel),
      stride: rank === 1 ? sizes.stride : kept(stride, sizes.stride),
      padding: rank === 1 ? sizes.padding : kept(padding, sizes.padding),
      ceilMode,
      countIncludePad,
      ...(rank === 1 ? {} : { divisorOverride: options.divisorOverride ?? null }),
    });
    record(this, { sizes });
  }

  /** @throws {TypeError} for another dtype @throws {RangeError} for a shape that does not fit */
  override forward(input: Tensor): Tensor {
    return pool(this[fixed].sizes, input, false);
  }

  override extraRepr(): string {
    const { kernelSize, stride, padding } = this;
    return `kernel_size=${pythonTuple(kernelSize)}, stride=${pythonTuple(stride)}, padding=${pythonTuple(padding)}`;
  }
}

/**
 * `out[c][t] = sum_k x[c][t * stride + k - padding] / kernelSize`, where the padding is zeros. With
 * `countIncludePad: false` the divisor is the number of values that are inside the input.
 *
 * Shape: float32 `(N, C, L)` to `(N, C, L')`, or both without N, with
 * `L' = floor((L + 2 padding - kernelSize) / stride) + 1`; `ceil` with `ceilMode`, if the last window begins before the
 * input's end.
 */
export class AvgPool1d extends AvgPool {
  /** @throws {TypeError | RangeError} for sizes or options that PyTorch refuses, or unknown ones */
  constructor(kernelSize: SpatialSize, options?: AvgPool1dOptions) {
    super(1, kernelSize, options);
  }
}

/**
 * {@link AvgPool1d} over two dimensions: `(N, C, H, W)` to `(N, C, H', W')`, or both without N. Sizes and options are a
 * number for both dimensions, or one for each.
 */
export class AvgPool2d extends AvgPool {
  /** What sums are divided by, instead of the number of values; or null. */
  declare readonly divisorOverride: number | null;
  /** @throws {TypeError | RangeError} for sizes or options that PyTorch refuses, or unknown ones */
  constructor(kernelSize: SpatialSize, options?: AvgPool2dOptions) {
    super(2, kernelSize, options);
  }
}

/** What adaptive means share. Not public. */
export abstract class AdaptivePool extends Module {
  /** @internal */
  declare readonly [fixed]: { readonly windows: readonly (number | null)[] };
  /** Windows along each dimension; null for as many as the input has values. */
  declare readonly outputSize: OutputSize;

  protected constructor(name: string, rank: 1 | 2, outputSize: OutputSize) {
    super();
    const windows = checkedOutputSize(name, rank, outputSize);
    closed(this, { outputSize: kept(outputSize, windows) });
    record(this, { windows });
  }

  override extraRepr(): string {
    return `output_size=${pythonTuple(this.outputSize)}`;
  }
}

/**
 * Means over `outputSize` windows that cover the input evenly: window i is from `floor(i L / outputSize)` up to, not
 * including, `ceil((i + 1) L / outputSize)`.
 *
 * Shape: float32 `(N, C, L)` to `(N, C, outputSize)`, or both without N.
 */
export class AdaptiveAvgPool1d extends AdaptivePool {
  /** @throws {TypeError | RangeError} for an output size that is no size */
  constructor(outputSize: OutputSize) {
    super('adaptive_avg_pool1d', 1, outputSize);
  }
  /** @throws {TypeError} for another dtype @throws {RangeError} for a shape that does not fit */
  override forward(input: Tensor): Tensor {
    return poolAdaptively('adaptive_avg_pool1d', this[fixed].windows, input, false);
  }
}

/** {@link AdaptiveAvgPool1d} over two dimensions: `(N, C, H, W)` to `(N, C, ...outputSize)`, or both without N. */
export class AdaptiveAvgPool2d extends AdaptivePool {
  /** @throws {TypeError | RangeError} for an output size that is no size */
  constructor(outputSize: OutputSize) {
    super('adaptive_avg_pool2d', 2, outputSize);
  }
  /** @throws {TypeError} for another dtype @throws {RangeError} for a shape that does not fit */
  override forward(input: Tensor): Tensor {
    return poolAdaptively('adaptive_avg_pool2d', this[fixed].windows, input, false);
  }
}

/** {@link AdaptiveAvgPool1d} with maxima. With `returnIndices` the result is `[out, indices]`. */
export class AdaptiveMaxPool1d<Indices extends boolean = false> extends AdaptivePool {
  /** @internal */
  declare readonly [fixed]: AdaptivePool[typeof fixed] & { readonly returnIndices: Indices };
  /** Whether `forward` also returns where each maximum is. */
  declare readonly returnIndices: Indices;

  /** @throws {TypeError | RangeError} for an output size that is no size */
  constructor(outputSize: OutputSize, options?: { returnIndices?: Indices }) {
    super('adaptive_max_pool1d', 1, outputSize);
    if (options !== undefined) checkOptions('AdaptiveMaxPool1d', options, ['returnIndices']);
    const { returnIndices = false } = options ?? {};
    checkBoolean('returnIndices', returnIndices);
    closed(this, { returnIndices });
  }
  /** @throws {TypeError} for another dtype @throws {RangeError} for a shape that does not fit */
  override forward(input: Tensor): Pooled<Indices> {
    const { windows, returnIndices } = this[fixed];
    return poolAdaptively('adaptive_max_pool1d', windows, input, returnIndices);
  }
}
