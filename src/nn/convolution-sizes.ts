import { checkInteger, checkOneOf, describe, rangeError, typeError } from '../errors.js';
import { native } from '../native/addon.js';
import { callConvolution, callConvolutionAsync, type ConvolutionCall } from '../native/call-convolution.js';
import type { ConvolutionHandle } from '../native/handles.js';
import { float32 } from '../tensor/dtype.js';
import { formatShape, numelOf } from '../tensor/shape.js';
import { checkTensor, resultTensor, type Tensor } from '../tensor/tensor.js';

// What convolutions as modules and as functions share: the sizes and options, the shapes, the calls.

/** A number for each spatial dimension, or one for all of them. */
export type SpatialSize = number | readonly number[];

/** What lies beyond the input's ends. */
export type PaddingMode = 'zeros' | 'reflect' | 'replicate' | 'circular';
/** In the order of native code's numbers for them. */
const paddingModes: readonly PaddingMode[] = ['zeros', 'reflect', 'replicate', 'circular'];

/** What a convolution computes. Lists have an entry for each spatial dimension. */
export interface ConvolutionSizes {
  readonly inChannels: number;
  readonly outChannels: number;
  readonly kernelSize: readonly number[];
  readonly stride: readonly number[];
  readonly padding: readonly number[] | 'same' | 'valid';
  readonly dilation: readonly number[];
  readonly outputPadding: readonly number[];
  readonly groups: number;
  readonly paddingMode: PaddingMode;
  readonly transposed: boolean;
}

/** Options of a convolution that are not its bias, as a user gives them. */
export interface ConvolutionSettings {
  /** Positions between neighbouring outputs. Default: 1. */
  stride?: SpatialSize;
  /** Positions beyond each end, `'same'` (as many outputs as inputs) or `'valid'` (none). Default: 0. */
  padding?: SpatialSize | 'same' | 'valid';
  /** Positions between neighbouring taps of the kernel. Default: 1. */
  dilation?: SpatialSize;
  /** Groups of channels, each of which sees its own inputs alone. Default: 1. */
  groups?: number;
}

/** The names of these options. */
export const settingNames = ['stride', 'padding', 'dilation', 'groups'];

/** Options of a transposed convolution that are not its bias. */
export interface TransposedSettings extends Omit<ConvolutionSettings, 'padding'> {
  /** Outputs that are left out at each end. Default: 0. */
  padding?: SpatialSize;
  /** Outputs that are added at the end; less than the stride or the dilation. Default: 0. */
  outputPadding?: SpatialSize;
}

/** A copy of a list of `rank` entries, or as many times what is no list; undefined for another list. */
export function listOfSizes(value: unknown, rank: number): unknown[] | undefined {
  if (!Array.isArray(value)) return Array<unknown>(rank).fill(value);
  return value.length === rank ? Array.from({ length: rank }, (_, i) => (value as unknown[])[i]) : undefined;
}

/** A number for each of `rank` dimensions, at least `least`; `sentence` says what is wrong with a smaller one. */
export function spatial(
  name: string,
  value: unknown,
  rank: number,
  least: number,
  sentence: string,
): readonly number[] {
  const given = listOfSizes(value, rank);
  if (given === undefined) {
    const { length } = value as unknown[];
    throw rangeError('ERR_SHAPE', `${name} should be a number or ${rank} of them, got ${length}`);
  }
  for (const each of given) {
    checkInteger(name, each);
    if (each < least)
      throw rangeError('ERR_INVALID_ARG_VALUE', `${sentence}, got ${name} ${formatShape(given)}`);
    if (each > largestSize) throw rangeError('ERR_TOO_LARGE', `${name} is too large: ${each}`);
  }
  return Object.freeze(given as number[]);
}
/** Beyond this, sums and products of sizes are not exact. */
export const largestSize = 2 ** 24;

/** Checks what a user gave. @throws {TypeError | RangeError} with PyTorch's sentences */
export function convolutionSizes(
  channels: readonly [inChannels: number, outChannels: number],
  kernelSize: readonly number[],
  settings: ConvolutionSettings & { outputPadding?: SpatialSize; paddingMode?: PaddingMode },
  transposed: boolean,
): ConvolutionSizes {
  const rank = kernelSize.length;
  const {
    stride = 1,
    padding = 0,
    dilation = 1,
    groups = 1,
    outputPadding = 0,
    paddingMode = 'zeros',
  } = settings;
  checkGroups(groups, channels);
  const strides = spatial('stride', stride, rank, 1, 'non-positive stride is not supported');
  const sizes: ConvolutionSizes = {
    inChannels: channels[0],
    outChannels: channels[1],
    kernelSize,
    stride: strides,
    padding: paddingOf(padding, rank, strides, transposed),
    dilation: spatial('dilation', dilation, rank, 1, 'non-positive dilation is not supported'),
    outputPadding: spatial(
      'outputPadding',
      outputPadding,
      rank,
      0,
      'negative output_padding is not supported',
    ),
    groups,
    paddingMode,
    transposed,
  };
  outputPaddingFits(sizes);
  checkPaddingMode(paddingMode, transposed);
  return sizes;
}

function checkPaddingMode(mode: unknown, transposed: boolean): void {
  const sentence = transposed
    ? 'Only "zeros" padding mode is supported for ConvTranspose1d'
    : `padding_mode must be one of {${paddingModes.map((each) => `'${each}'`).join(', ')}}, but got padding_mode=${describe(mode)}`;
  checkOneOf('paddingMode', mode, transposed ? ['zeros'] : paddingModes, sentence);
}

function checkGroups(
  groups: unknown,
  [inChannels, outChannels]: readonly [number, number],
): asserts groups is number {
  if (typeof groups !== 'number' || !Number.isSafeInteger(groups))
    throw typeError('ERR_INVALID_ARG_TYPE', `groups should be of type int, got: ${describe(groups)}`);
  if (groups <= 0) throw rangeError('ERR_INVALID_ARG_VALUE', 'groups must be a positive integer');
  for (const [name, channels] of [
    ['in_channels', inChannels],
    ['out_channels', outChannels],
  ] as const) {
    if (channels % groups !== 0) {
      throw rangeError(
        'ERR_INVALID_ARG_VALUE',
        `${name} must be divisible by groups, got ${channels} and ${groups}`,
      );
    }
  }
}

function outputPaddingFits({ outputPadding, stride, dilation }: ConvolutionSizes): void {
  for (let i = 0; i < outputPadding.length; i++) {
    if (outputPadding[i] === 0 || outputPadding[i]! < Math.max(stride[i]!, dilation[i]!)) continue;
    throw rangeError(
      'ERR_INVALID_ARG_VALUE',
      `output padding must be smaller than either stride or dilation, but got output_padding ${formatShape(outputPadding)}, stride ${formatShape(stride)}, dilation ${formatShape(dilation)}`,
    );
  }
}

function paddingOf(
  padding: unknown,
  rank: number,
  stride: readonly number[],
  transposed: boolean,
): ConvolutionSizes['padding'] {
  if (typeof padding !== 'string' || transposed)
    return spatial('padding', padding, rank, 0, 'negative padding is not supported');
  if (padding !== 'same' && padding !== 'valid') {
    throw rangeError(
      'ERR_INVALID_ARG_VALUE',
      `Invalid padding string '${padding}', should be one of {'valid', 'same'}`,
    );
  }
  if (padding === 'same' && stride.some((s) => s !== 1))
    throw rangeError('ERR_INVALID_ARG_VALUE', "padding='same' is not supported for strided convolutions");
  return padding;
}

/** Padding before and after, in one dimension. What is odd of `'same'` comes after. */
function paddings(
  { padding, kernelSize, dilation }: ConvolutionSizes,
  i: number,
): [before: number, after: number] {
  if (padding === 'valid') return [0, 0];
  if (padding !== 'same') return [padding[i]!, padding[i]!];
  const all = dilation[i]! * (kernelSize[i]! - 1);
  return [Math.floor(all / 2), Math.ceil(all / 2)];
}

/** The shape of the weight: (outChannels, inChannels / groups, ...kernelSize), or if transposed with both swapped. */
export function weightShape(
  sizes: Pick<ConvolutionSizes, 'inChannels' | 'outChannels' | 'kernelSize' | 'groups' | 'transposed'>,
): number[] {
  const { inChannels, outChannels, kernelSize, groups } = sizes;
  return sizes.transposed
    ? [inChannels, outChannels / groups, ...kernelSize]
    : [outChannels, inChannels / groups, ...kernelSize];
}

/** Sizes and options as native code takes them. */
export function nativeSizes(sizes: ConvolutionSizes): Float64Array {
  const { kernelSize, stride, dilation, outputPadding } = sizes;
  const axis = (i: number): number[] => [
    kernelSize[i]!,
    stride[i]!,
    dilation[i]!,
    ...paddings(sizes, i),
    outputPadding[i]!,
  ];
  const rank = kernelSize.length;
  const numbers = [
    sizes.inChannels,
    sizes.outChannels,
    sizes.groups,
    paddingModes.indexOf(sizes.paddingMode),
    Number(sizes.transposed),
    ...(rank === 2 ? axis(0) : [1, 1, 1, 0, 0, 0]),
    ...axis(rank - 1),
  ];
  return Float64Array.from(numbers);
}

/** A handle of these weights. */
export function convolutionHandle(
  sizes: ConvolutionSizes,
  weight: Float32Array,
  bias: Float32Array | null,
): ConvolutionHandle {
  return new (native().FloatConvolution)(weight, bias, nativeSizes(sizes));
}

/** How a convolution's handle is called with an input, and the shape of what it gives. */
interface Planned {
  readonly call: ConvolutionCall;
  readonly shape: number[];
}

/** Runs a convolution on an input that {@link planned} accepts. */
export function convolve(sizes: ConvolutionSizes, handle: ConvolutionHandle, input: Tensor): Tensor {
  const { call, shape } = planned(sizes, input);
  return resultTensor(callConvolution(handle, input.checked('input') as Float32Array, call), shape);
}

/** The same, at once or on another thread. */
export async function convolveAsync(
  sizes: ConvolutionSizes,
  handle: ConvolutionHandle,
  input: Tensor,
  signal: AbortSignal | undefined,
): Promise<Tensor> {
  const { call, shape } = planned(sizes, input);
  const x = input.checked('input') as Float32Array;
  return resultTensor(await callConvolutionAsync(handle, x, call, signal), shape);
}

/** Checks an input's dtype and rank. */
export function checkConvolutionInput({ kernelSize, transposed }: ConvolutionSizes, input: Tensor): void {
  checkTensor('input', input);
  if (input.dtype !== float32)
    throw typeError(
      'ERR_DTYPE',
      `input and weight should have the same dtype, but got ${input.dtype} and float32`,
    );
  const rank = kernelSize.length;
  if (input.dim() === rank + 1 || input.dim() === rank + 2) {
    if (!input.shape.slice(-rank).includes(0)) return;
    const sentence = 'Only zero batch or zero channel inputs are supported, but got input shape';
    throw rangeError('ERR_SHAPE', `${sentence}: ${formatShape(input.shape)}`);
  }
  throw rangeError(
    'ERR_SHAPE',
    `Expected ${rank + 1}D (unbatched) or ${rank + 2}D (batched) input to conv${transposed ? '_transpose' : ''}${rank}d, but got input of size: ${formatShape(input.shape)}`,
  );
}

function planned(sizes: ConvolutionSizes, input: Tensor): Planned {
  checkConvolutionInput(sizes, input);
  const { inChannels, outChannels, kernelSize } = sizes;
  const { shape } = input;
  const rank = kernelSize.length;
  const batched = shape.length === rank + 2;
  const channels = shape[shape.length - rank - 1]!;
  if (channels !== inChannels) {
    throw rangeError(
      'ERR_SHAPE',
      `Given ${sizes.transposed ? 'transposed=1' : `groups=${sizes.groups}`}, weight of size ${formatShape(weightShape(sizes))}, expected input${formatShape(shape)} to have ${inChannels} channels, but got ${channels} channels instead`,
    );
  }
  if (shape.slice(-rank).includes(0) && !(batched && shape[0] === 0)) {
    const sentence = `Only zero batch or zero channel inputs are supported, but got input shape: ${formatShape(shape)}`;
    throw rangeError('ERR_SHAPE', sentence);
  }
  const out = batched ? [shape[0]!, outChannels] : [outChannels];
  for (let i = 0; i < rank; i++) out.push(outputSize(sizes, i, shape, shape.length - rank + i));
  const count = numelOf(out);
  if (count > largestCount)
    throw rangeError('ERR_TOO_LARGE', `the output of shape ${formatShape(out)} is too large`);
  const call: ConvolutionCall = {
    batch: batched ? shape[0]! : 1,
    rows: rank === 2 ? shape[shape.length - 2]! : 1,
    columns: shape[shape.length - 1]!,
    count,
    positions: count / outChannels,
  };
  return { call, shape: out };
}
/** No array has more floats. */
const largestCount = 2 ** 32;

/** The size of one spatial dimension of the output. */
function outputSize(sizes: ConvolutionSizes, i: number, shape: readonly number[], at: number): number {
  const size = shape[at]!;
  const stride = sizes.stride[i]!;
  const reach = sizes.dilation[i]! * (sizes.kernelSize[i]! - 1) + 1;
  const [before, after] = paddings(sizes, i);
  if (sizes.transposed) {
    const out = (size - 1) * stride - before - after + reach + sizes.outputPadding[i]!;
    if (out >= 0) return out;
    throw rangeError(
      'ERR_SHAPE',
      `Given input size per channel: (${size}). Calculated output size per channel: (${out}). Output size is too small`,
    );
  }
  const { paddingMode } = sizes;
  const most = Math.max(before, after);
  if (paddingMode === 'reflect' && most >= size && most > 0) {
    throw rangeError(
      'ERR_SHAPE',
      `Argument #4: Padding size should be less than the corresponding input dimension, but got: padding (${before}, ${after}) at dimension ${at} of input ${formatShape(shape)}`,
    );
  }
  if (paddingMode === 'circular' && most > size)
    throw rangeError('ERR_SHAPE', 'Padding value causes wrapping around more than once.');
  const padded = before + size + after;
  if (padded < reach || (size === 0 && paddingMode !== 'zeros')) {
    throw rangeError(
      'ERR_SHAPE',
      `Calculated padded input size per channel: (${padded}). Kernel size: (${reach}). Kernel size can't be greater than actual input size`,
    );
  }
  return Math.floor((padded - reach) / stride) + 1;
}
