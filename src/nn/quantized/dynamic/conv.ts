import { takeSignal, type AsyncOptions } from '../../../async-options.js';
import { checkBoolean, checkOneOf, checkOptions, checkSize, describe, rangeError } from '../../../errors.js';
import { native } from '../../../native/addon.js';
import type { Int8ConvolutionHandle, Int8Matrix } from '../../../native/handles.js';
import type { Tensor } from '../../../tensor/tensor.js';
import { closed, fixed } from '../../closed.js';
import {
  Conv1d as FloatConv1d,
  convolutionParameters,
  convolutionRepr,
  optionNames,
  type ConvOptions,
} from '../../convolution.js';
import {
  checkConvolutionInput,
  convolutionSizes,
  convolve,
  convolveAsync,
  nativeSizes,
  spatial,
  type ConvolutionSizes,
  type PaddingMode,
  type SpatialSize,
} from '../../convolution-sizes.js';
import { isForwardReplaced } from '../../hooks.js';
import type { LayerParameter } from '../../layer-parameters.js';
import type { ModuleMetadata } from '../../module.js';
import { checkFloat, dynamicOptionNames, type DynamicOptions, type QConfig } from '../qconfig.js';
import { DynamicModule, type QuantizedMatrix } from './dynamic-module.js';

/** The float Conv1d's options, and how weights and activations are quantized. */
export interface QuantizedConvOptions extends ConvOptions, Omit<DynamicOptions, 'dtype' | 'activation'> {
  /** The weight's type. PyTorch has no other. Default: `'qint8'`. */
  dtype?: 'qint8';
  /** Which values share a range: all of the input. Default: `'perTensor'`. */
  activation?: 'perTensor';
}

/**
 * A Conv1d with an INT8 weight. The input is quantized at each call, with one range over all of it, in 127 levels, or
 * in 255 with `reduceRange: false`. The sums are exact int32, and `y = fma(float(sum), scale_x * scale_w, bias)`.
 *
 * PyTorch does not convert convolutions by default, and so `quantizeDynamic` does it where a spec names them. Its
 * `torch.ao.nn.quantized.dynamic.Conv1d` has the same integers, and then rounds the output to 8 bits too, of which it
 * warns as inaccurate; here the output stays float.
 *
 * Shape: float32 `(N, inChannels, L)` to `(N, outChannels, L')`, or both without N. Sizes and options are fixed at
 * construction.
 */
export class Conv1d extends DynamicModule<Int8ConvolutionHandle> {
  /** @internal */
  declare readonly [fixed]: ConvolutionSizes;
  /** The channels of the input. */
  declare readonly inChannels: number;
  /** The channels of the output. */
  declare readonly outChannels: number;
  /** The size of the kernel. */
  declare readonly kernelSize: readonly number[];
  /** Positions between neighbouring outputs. */
  declare readonly stride: readonly number[];
  /** Positions beyond each end, or `'same'` or `'valid'`. */
  declare readonly padding: readonly number[] | 'same' | 'valid';
  /** Positions between neighbouring taps of the kernel. */
  declare readonly dilation: readonly number[];
  /** Groups of channels, each of which sees its own inputs alone. */
  declare readonly groups: number;
  /** What the padding holds. */
  declare readonly paddingMode: PaddingMode;
  /** Whether there is a bias, which stays float. */
  declare readonly bias: boolean;

  /** A weight of zeros; `fromFloat` or `loadStateDict` fill it. */
  constructor(
    inChannels: number,
    outChannels: number,
    kernelSize: SpatialSize,
    options: QuantizedConvOptions = {},
  ) {
    super();
    checkSize('in_channels', inChannels);
    checkSize('out_channels', outChannels);
    const kernel = spatial('kernelSize', kernelSize, 1, 1, 'kernel_size should be greater than zero');
    checkOptions('Conv1d', options, [...optionNames, ...dynamicOptionNames]);
    const { bias = true } = options;
    checkBoolean('bias', bias);
    checkMode(options);
    const sizes = convolutionSizes([inChannels, outChannels], kernel, options, false);
    closed(this, { ...sizes, bias });
    this.initialise(options);
  }

  /**
   * @throws {TypeError | RangeError} when `module` is not a Conv1d, or `qconfig` is not for a Conv1d
   * @throws {RangeError} when a weight or bias is not finite, or for more than 131,071 taps (65,793 with the full range)
   */
  static fromFloat(module: FloatConv1d, qconfig: QConfig): Conv1d {
    checkFloat(module, FloatConv1d, qconfig);
    const { weight, activation, reduceRange } = qconfig;
    const { dtype } = weight;
    const { inChannels, outChannels, kernelSize, stride, padding, dilation, groups, paddingMode } = module;
    const options = { stride, padding, dilation, groups, paddingMode, bias: module.bias !== null };
    const mode = { dtype, activation, reduceRange } as QuantizedConvOptions;
    const quantized = new Conv1d(inChannels, outChannels, kernelSize, { ...options, ...mode });
    return quantized.quantize(module.stateDict(), qconfig);
  }

  /**
   * @throws {TypeError} for another dtype (`ERR_DTYPE`)
   * @throws {RangeError} for a wrong shape (`ERR_SHAPE`), for NaN or infinity (`ERR_NOT_FINITE`) and for an output beyond
   * float32 (`ERR_OVERFLOW`)
   */
  override forward(input: Tensor): Tensor {
    const sizes = this[fixed];
    checkConvolutionInput(sizes, input);
    return convolve(sizes, this.handle(), input);
  }

  /** {@link forward} while the event loop goes on: see {@link Module.forwardAsync}. */
  override async forwardAsync(input: Tensor, options?: AsyncOptions): Promise<Tensor> {
    if (isForwardReplaced(this)) return (await super.forwardAsync(input, options)) as Tensor;
    const signal = takeSignal([input, options], 1);
    const sizes = this[fixed];
    checkConvolutionInput(sizes, input);
    return await convolveAsync(sizes, this.handle(), input, signal);
  }

  protected override checkOwnState(
    state: ReadonlyMap<string, Tensor>,
    prefix: string,
    metadata?: ModuleMetadata,
  ): string[] {
    const problems = super.checkOwnState(state, prefix, metadata);
    if (metadata?.['activation'] !== 'perRow') return problems;
    return [...problems, `the metadata's ${prefix}activation should be 'perTensor' for Conv1d.`];
  }
  protected override parameterList(): LayerParameter[] {
    return convolutionParameters({ ...this[fixed], bias: this.bias });
  }
  protected override newHandle(
    { reduceRange }: { readonly reduceRange?: boolean | undefined },
    [matrix]: readonly QuantizedMatrix[],
  ): Int8ConvolutionHandle {
    const { Int8Convolution } = native();
    return new Int8Convolution(matrix as Int8Matrix, nativeSizes(this[fixed]), reduceRange ?? true);
  }
  protected override unpackWeight(handle: Int8ConvolutionHandle, _matrix: number, out: Int8Array): void {
    handle.unpackWeight(out);
  }
  protected override reprName(): string {
    return 'DynamicQuantizedConv1d';
  }
  override extraRepr(): string {
    const sizes = convolutionRepr(this[fixed], this.bias);
    return `${sizes}, dtype=torch.qint8, qscheme=torch.${this.qscheme}${this.quantizationRepr()}`;
  }
  protected override metadata(): ModuleMetadata {
    const { inChannels, outChannels, kernelSize, stride, padding, dilation, groups, paddingMode, bias } =
      this;
    const sizes = {
      inChannels,
      outChannels,
      kernelSize,
      stride,
      padding,
      dilation,
      groups,
      paddingMode,
      bias,
    };
    return this.quantizedMetadata({ type: 'Conv1d', ...sizes });
  }
}

/** Refuses what convolutions do not have. */
function checkMode({ dtype = 'qint8', activation = 'perTensor' }: DynamicOptions): void {
  const sentence = `The only supported dtype for dynamic quantized conv1d is qint8, got: ${describe(dtype)}`;
  checkOneOf('dtype', dtype, ['qint8'], sentence);
  if (activation === 'perRow') {
    throw rangeError(
      'ERR_INVALID_ARG_VALUE',
      "activation should be 'perTensor' for Conv1d, whose outputs share their inputs, got 'perRow'",
    );
  }
}
