import { checkOptions, describe, rangeError, typeError } from '../../errors.js';
import { float32 } from '../../tensor/dtype.js';
import { formatShape } from '../../tensor/shape.js';
import { checkTensor, type Tensor } from '../../tensor/tensor.js';
import {
  checkConvolutionInput,
  convolutionHandle,
  convolutionSizes,
  convolve,
  settingNames,
  type ConvolutionSettings,
  type TransposedSettings,
} from '../convolution-sizes.js';

/**
 * What `nn.Conv1d` computes, with a given weight `[outChannels, inChannels / groups, kernelSize]` and bias
 * `[outChannels]`. The weight is packed at each call: a module packs it once.
 *
 * @throws {TypeError} for another dtype than float32 @throws {RangeError} for shapes or options that do not fit
 */
export function conv1d(
  input: Tensor,
  weight: Tensor,
  bias?: Tensor | null,
  options?: ConvolutionSettings,
): Tensor {
  return run('conv1d', [input, weight, bias], options, 1, false);
}

/** {@link conv1d} over two dimensions, as `nn.Conv2d` computes it. */
export function conv2d(
  input: Tensor,
  weight: Tensor,
  bias?: Tensor | null,
  options?: ConvolutionSettings,
): Tensor {
  return run('conv2d', [input, weight, bias], options, 2, false);
}

/**
 * What `nn.ConvTranspose1d` computes, with a given weight `[inChannels, outChannels / groups, kernelSize]` and bias.
 *
 * @throws {TypeError} for another dtype than float32 @throws {RangeError} for shapes or options that do not fit
 */
export function convTranspose1d(
  input: Tensor,
  weight: Tensor,
  bias?: Tensor | null,
  options?: TransposedSettings,
): Tensor {
  return run('convTranspose1d', [input, weight, bias], options, 1, true);
}

function run(
  name: string,
  [input, weight, bias]: readonly [Tensor, Tensor, Tensor | null | undefined],
  options: ConvolutionSettings & Pick<TransposedSettings, 'outputPadding'> = {},
  rank: number,
  transposed: boolean,
): Tensor {
  checkOptions(name, options, transposed ? [...settingNames, 'outputPadding'] : settingNames);
  checkTensor('input', input, float32);
  checkTensor('weight', weight, float32);
  if (weight.dim() !== rank + 2) {
    throw rangeError(
      'ERR_SHAPE',
      `weight should have ${rank + 2} dimensions, got ${formatShape(weight.shape)}`,
    );
  }
  if (weight.shape.includes(0))
    throw rangeError('ERR_SHAPE', `weight should not be empty, got ${formatShape(weight.shape)}`);
  const { groups = 1 } = options;
  if (typeof groups !== 'number' || !Number.isSafeInteger(groups))
    throw typeError('ERR_INVALID_ARG_TYPE', `groups should be of type int, got: ${describe(groups)}`);
  const [first, second, ...kernel] = weight.shape as [number, number, ...number[]];
  const channels: [number, number] = transposed ? [first, second * groups] : [second * groups, first];
  const sizes = convolutionSizes(channels, kernel, options, transposed);
  checkConvolutionInput(sizes, input);
  const handle = convolutionHandle(
    sizes,
    weight.checked('weight') as Float32Array,
    bias === undefined || bias === null ? null : biasOf(bias, weight, channels[1]),
  );
  try {
    return convolve(sizes, handle, input);
  } finally {
    handle.dispose();
  }
}

function biasOf(bias: Tensor, weight: Tensor, outChannels: number): Float32Array {
  checkTensor('bias', bias, float32);
  if (bias.dim() !== 1 || bias.shape[0] !== outChannels) {
    throw rangeError(
      'ERR_SHAPE',
      `Given weight of size ${formatShape(weight.shape)}, expected bias to be 1-dimensional with ${outChannels} elements, but got bias of size ${formatShape(bias.shape)} instead`,
    );
  }
  return bias.checked('bias') as Float32Array;
}
