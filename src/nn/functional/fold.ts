import { checkOptions, rangeError } from '../../errors.js';
import { formatShape } from '../../tensor/shape.js';
import { stepsOf, walked } from '../../tensor/strided.js';
import { checkTensor, Tensor } from '../../tensor/tensor.js';
import { spatial } from '../convolution-sizes.js';
import { pad } from './padding.js';

/** Options of {@link unfold}; a number stands for both dimensions. */
export interface UnfoldOptions {
  /** Default: 1. */
  dilation?: number | readonly [number, number];
  /** Zeros around the input. Default: 0. */
  padding?: number | readonly [number, number];
  /** Default: 1. */
  stride?: number | readonly [number, number];
}

/**
 * The blocks over which a convolution slides, as columns: `(N, C, H, W)` to `(N, C * kh * kw, L)`, or without N.
 *
 * @throws {RangeError} when no block fits
 */
export function unfold(
  input: Tensor,
  kernelSize: number | readonly [number, number],
  options: UnfoldOptions = {},
): Tensor {
  checkTensor('input', input);
  const kernel = pairOf('kernelSize', kernelSize, 1);
  checkOptions('unfold', options, ['dilation', 'padding', 'stride']);
  const { dilation = 1, padding = 0, stride = 1 } = options;
  const dilated = pairOf('dilation', dilation, 1);
  const [top, left] = pairOf('padding', padding, 0);
  const strides = pairOf('stride', stride, 1);
  const rank = input.dim();
  if (rank !== 3 && rank !== 4)
    throw rangeError(
      'ERR_SHAPE',
      `Expected 3D or 4D (batch mode) tensor, but got input of size: ${formatShape(input.shape)}`,
    );
  const whole = pad(rank === 3 ? input.unsqueeze(0) : input, [left, left, top, top]);
  const [n, c, h, w] = whole.shape as [number, number, number, number];
  const [rows, columns] = [h, w].map(
    (size, i) => Math.floor((size - dilated[i]! * (kernel[i]! - 1) - 1) / strides[i]!) + 1,
  ) as [number, number];
  if (rows < 1 || columns < 1) {
    const sentence = `Given input with spatial size ${formatShape(input.shape.slice(-2))}, kernelSize=${formatShape(kernel)}, dilation=${formatShape(dilated)}, padding=[${top}, ${left}], calculated shape of the array of sliding blocks as [${rows}, ${columns}], but its components must be at least one.`;
    throw rangeError('ERR_SHAPE', sentence);
  }
  const [perImage, perChannel, perRow] = stepsOf(whole.shape) as [number, number, number, number];
  const { data } = walked(whole, {
    shape: [n, c, ...kernel, rows, columns],
    steps: [perImage, perChannel, dilated[0] * perRow, dilated[1], strides[0] * perRow, strides[1]],
    begin: 0,
  });
  const shape = [c * kernel[0] * kernel[1], rows * columns];
  return new Tensor(data, rank === 3 ? shape : [n, ...shape], { dtype: input.dtype });
}

function pairOf(name: string, given: unknown, least: number): [number, number] {
  return spatial(name, given, 2, least, `${name} should be at least ${least}`) as [number, number];
}
