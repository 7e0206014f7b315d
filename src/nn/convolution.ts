import { takeSignal, type AsyncOptions } from '../async-options.js';
import { checkBoolean, checkOptions, checkSize } from '../errors.js';
import type { ConvolutionHandle } from '../native/handles.js';
import type { Tensor } from '../tensor/tensor.js';
import { closed, fixed } from './closed.js';
import {
  checkConvolutionInput,
  convolutionHandle,
  convolutionSizes,
  convolve,
  convolveAsync,
  settingNames,
  spatial,
  weightShape,
  type ConvolutionSettings,
  type ConvolutionSizes,
  type PaddingMode,
  type SpatialSize,
  type TransposedSettings,
} from './convolution-sizes.js';
import { isForwardReplaced } from './hooks.js';
import { kaimingUniform_, uniform_ } from './init.js';
import type { LayerParameter, Tensors } from './layer-parameters.js';
import { Module, pack, type ModuleMetadata } from './module.js';
import { freeHandle, packedHandle } from './native-weights.js';
import { emptyParameter, parameterData, type Parameter } from './parameter.js';
import { pythonTuple } from './repr.js';

/** Options of Conv1d and Conv2d. */
export interface ConvOptions extends ConvolutionSettings {
  /** Add a learned bias. Default: true. */
  bias?: boolean;
  /** What the padding holds: zeros, or the input mirrored, continued with its ends, or around. Default: `'zeros'`. */
  paddingMode?: PaddingMode;
}

/** Options of ConvTranspose1d. */
export interface ConvTransposeOptions extends TransposedSettings {
  /** Add a learned bias. Default: true. */
  bias?: boolean;
  /** PyTorch has no other. Default: `'zeros'`. */
  paddingMode?: 'zeros';
}

export const optionNames = [...settingNames, 'bias', 'paddingMode'];

/** What convolutions of all kinds share. Not public. */
export abstract class ConvolutionBase extends Module {
  /** @internal */
  declare readonly [fixed]: ConvolutionSizes;
  /** The channels of the input. */
  declare readonly inChannels: number;
  /** The channels of the output. */
  declare readonly outChannels: number;
  /** The size of the kernel in each dimension. */
  declare readonly kernelSize: readonly number[];
  /** Positions between neighbouring outputs, in each dimension. */
  declare readonly stride: readonly number[];
  /** Positions beyond each end in each dimension, or `'same'` or `'valid'`. */
  declare readonly padding: readonly number[] | 'same' | 'valid';
  /** Positions between neighbouring taps of the kernel, in each dimension. */
  declare readonly dilation: readonly number[];
  /** Outputs that are added at the end, in each dimension; 0 unless transposed. */
  declare readonly outputPadding: readonly number[];
  /** Groups of channels, each of which sees its own inputs alone. */
  declare readonly groups: number;
  /** What the padding holds. */
  declare readonly paddingMode: PaddingMode;
  /** Whether the convolution is transposed. */
  declare readonly transposed: boolean;
  /** The kernels of the pairs of channels. */
  readonly weight: Parameter;
  /** Of shape (outChannels), or null without bias. */
  readonly bias: Parameter | null;

  protected constructor(
    name: string,
    channels: readonly [inChannels: number, outChannels: number],
    [kernelSize, rank]: readonly [SpatialSize, number],
    transposed: boolean,
    options: ConvolutionSettings & {
      bias?: boolean;
      outputPadding?: SpatialSize;
      paddingMode?: PaddingMode;
    } = {},
  ) {
    super();
    checkOptions(name, options, transposed ? [...optionNames, 'outputPadding'] : optionNames);
    checkSize('in_channels', channels[0]);
    checkSize('out_channels', channels[1]);
    const kernel = spatial('kernelSize', kernelSize, rank, 1, 'kernel_size should be greater than zero');
    const { bias = true, ...settings } = options;
    checkBoolean('bias', bias);
    const sizes = convolutionSizes(channels, kernel, settings, transposed);
    closed(this, sizes);
    const shape = weightShape(sizes);
    this.weight = emptyParameter(shape);
    this.bias = bias ? emptyParameter([sizes.outChannels]) : null;
    kaimingUniform_(this.weight, { a: Math.sqrt(5) });
    const bound = 1 / Math.sqrt(shape.slice(1).reduce((product, n) => product * n, 1));
    if (this.bias !== null) uniform_(this.bias, -bound, bound);
  }

  /** @throws {TypeError} for another dtype @throws {RangeError} for a shape that does not fit */
  override forward(input: Tensor): Tensor {
    const sizes = this[fixed];
    checkConvolutionInput(sizes, input);
    return convolve(sizes, this.handle(), input);
  }

  /** {@link forward} while the event loop goes on: see {@link Module.forwardAsync}. */
  override async forwardAsync(input: Tensor, options?: AsyncOptions): Promise<Tensor> {
    if (isForwardReplaced(this)) return (await super.forwardAsync(input, options)) as Tensor;
    const args: unknown[] = [input, options];
    const signal = takeSignal(args, 1);
    const sizes = this[fixed];
    checkConvolutionInput(sizes, args[0] as Tensor);
    return await convolveAsync(sizes, this.handle(), args[0] as Tensor, signal);
  }

  /** Call this after a direct write into a parameter's `.data`, so that the next forward packs the weights again. */
  repack(): void {
    freeHandle(this);
  }

  /** @internal */
  override [pack](): void {
    this.handle();
  }

  private handle(): ConvolutionHandle {
    const { weight, bias } = this;
    return packedHandle<ConvolutionHandle>(this, bias === null ? [weight] : [weight, bias], () => {
      const sizes = this[fixed];
      return convolutionHandle(
        sizes,
        parameterData('weight', weight, weightShape(sizes)),
        bias === null ? null : parameterData('bias', bias, [sizes.outChannels]),
      );
    });
  }

  override extraRepr(): string {
    return convolutionRepr(this[fixed], this.bias !== null);
  }
  protected override metadata(): ModuleMetadata {
    const { inChannels, outChannels, kernelSize, stride, padding, dilation, groups, paddingMode } = this;
    const options = this.transposed ? { outputPadding: this.outputPadding } : {};
    return {
      type: this.constructor.name,
      ...{ inChannels, outChannels, kernelSize, stride, padding, dilation, groups, paddingMode },
      ...options,
      bias: this.bias !== null,
    };
  }
}

/** PyTorch's repr of a convolution's sizes and options. */
export function convolutionRepr(sizes: ConvolutionSizes, bias: boolean): string {
  const { inChannels, outChannels, kernelSize, stride, padding, dilation, outputPadding } = sizes;
  const parts = [
    inChannels,
    outChannels,
    `kernel_size=${pythonTuple(kernelSize)}`,
    `stride=${pythonTuple(stride)}`,
  ];
  const isNot = (list: readonly number[], usual: number): boolean => list.some((n) => n !== usual);
  if (typeof padding === 'string') parts.push(`padding=${padding}`);
  else if (isNot(padding, 0)) parts.push(`padding=${pythonTuple(padding)}`);
  if (isNot(dilation, 1)) parts.push(`dilation=${pythonTuple(dilation)}`);
  if (isNot(outputPadding, 0)) parts.push(`output_padding=${pythonTuple(outputPadding)}`);
  if (sizes.groups !== 1) parts.push(`groups=${sizes.groups}`);
  if (!bias) parts.push('bias=False');
  if (sizes.paddingMode !== 'zeros') parts.push(`padding_mode=${sizes.paddingMode}`);
  return parts.join(', ');
}

/**
 * `out[o][t] = bias[o] + sum_(c, k) weight[o][c][k] * x[c][t * stride + k * dilation - padding]`, over the input
 * channels c of o's group and the taps k of the kernel. A sum starts at the bias and goes over rising c, then k, one
 * fused multiply-add a term.
 *
 * Shape: float32 `(N, inChannels, L)` to `(N, outChannels, L')`, or both without N, with
 * `L' = floor((L + 2 padding - dilation * (kernelSize - 1) - 1) / stride) + 1`. `weight` is
 * `[outChannels, inChannels / groups, kernelSize]`, `bias` `[outChannels]`, both at first from U(-k, k) with
 * `k = 1 / sqrt(inChannels / groups * kernelSize)`. Sizes and options are fixed at construction.
 */
export class Conv1d extends ConvolutionBase {
  /** @throws {TypeError | RangeError} for sizes or options that PyTorch refuses, or unknown ones */
  constructor(inChannels: number, outChannels: number, kernelSize: SpatialSize, options?: ConvOptions) {
    super('Conv1d', [inChannels, outChannels], [kernelSize, 1], false, options);
  }
}

/**
 * {@link Conv1d} over two dimensions: `out[o][i][j] = bias[o] + sum_(c, k, l) weight[o][c][k][l] * x[c][…][…]`, over
 * rising c, then k, then l. Sizes and options are a number for both dimensions, or one for each.
 *
 * Shape: float32 `(N, inChannels, H, W)` to `(N, outChannels, H', W')`, or both without N. `weight` is
 * `[outChannels, inChannels / groups, ...kernelSize]`.
 */
export class Conv2d extends ConvolutionBase {
  /** @throws {TypeError | RangeError} for sizes or options that PyTorch refuses, or unknown ones */
  constructor(inChannels: number, outChannels: number, kernelSize: SpatialSize, options?: ConvOptions) {
    super('Conv2d', [inChannels, outChannels], [kernelSize, 2], false, options);
  }
}

/**
 * The gradient of a {@link Conv1d} towards its input, also called deconvolution:
 * `out[o][t] = bias[o] + sum_(c, k, l) weight[c][o][k] * x[c][l]` over all `l * stride + k * dilation - padding = t`, for
 * the input channels c of o's group. A sum starts at the bias and goes over rising c, then k.
 *
 * Shape: float32 `(N, inChannels, L)` to `(N, outChannels, L')`, or both without N, with
 * `L' = (L - 1) * stride - 2 padding + dilation * (kernelSize - 1) + outputPadding + 1`. `weight` is
 * `[inChannels, outChannels / groups, kernelSize]`, `bias` `[outChannels]`, both at first from U(-k, k) with
 * `k = 1 / sqrt(outChannels / groups * kernelSize)`.
 */
export class ConvTranspose1d extends ConvolutionBase {
  /** @throws {TypeError | RangeError} for sizes or options that PyTorch refuses, or unknown ones */
  constructor(
    inChannels: number,
    outChannels: number,
    kernelSize: SpatialSize,
    options?: ConvTransposeOptions,
  ) {
    super('ConvTranspose1d', [inChannels, outChannels], [kernelSize, 1], true, options);
  }
}

/** What the parameters of a convolution depend on. */
export type ConvolutionWeights = Parameters<typeof weightShape>[0] & { readonly bias: boolean };

/** The parameters of a convolution. */
export function convolutionParameters(sizes: ConvolutionWeights): LayerParameter[] {
  const shape = weightShape(sizes);
  const columns = 'in_channels of a group times kernel_size';
  const weight: LayerParameter = { name: 'weight', kind: 'weight', shape, columns, matrix: 0 };
  const { outChannels, bias } = sizes;
  return bias ? [weight, { name: 'bias', kind: 'bias', shape: [outChannels], matrix: 0 }] : [weight];
}

/**
 * The sizes that the parameters of a convolution show. The groups are in its metadata; a transposed one's bias shows
 * them too.
 *
 * @param rank - the number of spatial dimensions
 */
export function convolutionWeights(
  tensors: Tensors,
  rank: number,
  transposed: boolean,
  metadata: object | undefined,
): Omit<ConvolutionWeights, 'transposed'> | undefined {
  const [weight, bias] = [tensors.get('weight'), tensors.get('bias')];
  if (weight?.dim() !== rank + 2) return undefined;
  const [first, second, ...kernelSize] = weight.shape as [number, number, ...number[]];
  const told = (metadata as { groups?: unknown } | undefined)?.groups ?? 1;
  const groups = transposed && bias?.dim() === 1 ? bias.shape[0]! / second : told;
  if (!Number.isSafeInteger(groups)) return undefined;
  const other = second * (groups as number);
  return {
    inChannels: transposed ? first : other,
    outChannels: transposed ? other : first,
    kernelSize,
    groups: groups as number,
    bias: bias !== undefined,
  };
}
