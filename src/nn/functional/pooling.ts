import { checkBoolean, checkOptions } from '../../errors.js';
import type { Tensor } from '../../tensor/tensor.js';
import type { SpatialSize } from '../convolution-sizes.js';
import type { AvgPool1dOptions, AvgPool2dOptions, MaxPoolOptions } from '../pooling.js';
import {
  avgOptionNames,
  checkedOutputSize,
  maxOptionNames,
  pool,
  poolAdaptively,
  poolSizes,
  type OutputSize,
  type Pooled,
} from '../pooling-sizes.js';

/** What `nn.MaxPool1d` computes. @throws {TypeError | RangeError} for an input, sizes or options that do not fit */
export function maxPool1d<Indices extends boolean = false>(
  input: Tensor,
  kernelSize: SpatialSize,
  options?: MaxPoolOptions<Indices>,
): Pooled<Indices> {
  return maxPool(1, input, kernelSize, options);
}

/** What `nn.MaxPool2d` computes. @throws {TypeError | RangeError} for an input, sizes or options that do not fit */
export function maxPool2d<Indices extends boolean = false>(
  input: Tensor,
  kernelSize: SpatialSize,
  options?: MaxPoolOptions<Indices>,
): Pooled<Indices> {
  return maxPool(2, input, kernelSize, options);
}

function maxPool<Indices extends boolean>(
  rank: 1 | 2,
  input: Tensor,
  kernelSize: SpatialSize,
  options: MaxPoolOptions<Indices> = {},
): Pooled<Indices> {
  checkOptions(`maxPool${rank}d`, options, maxOptionNames);
  const { returnIndices = false, ...settings } = options;
  checkBoolean('returnIndices', returnIndices);
  return pool(poolSizes(`max_pool${rank}d`, rank, kernelSize, settings), input, returnIndices as Indices);
}

/** What `nn.AvgPool1d` computes. @throws {TypeError | RangeError} for an input, sizes or options that do not fit */
export function avgPool1d(input: Tensor, kernelSize: SpatialSize, options?: AvgPool1dOptions): Tensor {
  return avgPool(1, input, kernelSize, options);
}

/** What `nn.AvgPool2d` computes. @throws {TypeError | RangeError} for an input, sizes or options that do not fit */
export function avgPool2d(input: Tensor, kernelSize: SpatialSize, options?: AvgPool2dOptions): Tensor {
  return avgPool(2, input, kernelSize, options);
}

function avgPool(
  rank: 1 | 2,
  input: Tensor,
  kernelSize: SpatialSize,
  options: AvgPool2dOptions = {},
): Tensor {
  checkOptions(`avgPool${rank}d`, options, avgOptionNames(rank));
  return pool(poolSizes(`avg_pool${rank}d`, rank, kernelSize, options), input, false);
}

/** What `nn.AdaptiveAvgPool1d` computes. @throws {TypeError | RangeError} for an input or size that does not fit */
export function adaptiveAvgPool1d(input: Tensor, outputSize: OutputSize): Tensor {
  const name = 'adaptive_avg_pool1d';
  return poolAdaptively(name, checkedOutputSize(name, 1, outputSize), input, false);
}

/** What `nn.AdaptiveAvgPool2d` computes. @throws {TypeError | RangeError} for an input or size that does not fit */
export function adaptiveAvgPool2d(input: Tensor, outputSize: OutputSize): Tensor {
  const name = 'adaptive_avg_pool2d';
  return poolAdaptively(name, checkedOutputSize(name, 2, outputSize), input, false);
}

/** What `nn.AdaptiveMaxPool1d` computes. @throws {TypeError | RangeError} for an input or size that does not fit */
export function adaptiveMaxPool1d<Indices extends boolean = false>(
  input: Tensor,
  outputSize: OutputSize,
  options?: { returnIndices?: Indices },
): Pooled<Indices> {
  return adaptiveMaxPool(input, outputSize, options);
}

function adaptiveMaxPool<Indices extends boolean>(
  input: Tensor,
  outputSize: OutputSize,
  options: { returnIndices?: Indices } = {},
): Pooled<Indices> {
  const name = 'adaptive_max_pool1d';
  checkOptions('adaptiveMaxPool1d', options, ['returnIndices']);
  const { returnIndices = false } = options;
  checkBoolean('returnIndices', returnIndices);
  return poolAdaptively(name, checkedOutputSize(name, 1, outputSize), input, returnIndices as Indices);
}
