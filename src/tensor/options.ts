import { checkOptions, rangeError } from '../errors.js';
import { arrayLength, dtypeFor, plainView, trueLength, type DType, type TensorData } from './dtype.js';
import { quantizationOf, type Quantization } from './quantization.js';
import { checkedShape, formatShape, numelOf } from './shape.js';

/** Options of a new {@link Tensor}. */
export interface TensorOptions extends Partial<Quantization> {
  /** Default: the array's own type. Quantized dtypes need `qscheme`, `scales`, `zeroPoints`, and per channel `axis`. */
  dtype?: DType;
}

/** Options of a float32 tensor that checks and copies nothing. */
export const unchecked: TensorOptions = {};

interface Checked {
  readonly data: TensorData;
  readonly shape: readonly number[];
  readonly dtype: DType;
  readonly quantization: Quantization | undefined;
}

/** Reads the arguments of a new Tensor. @throws {TypeError | RangeError} when they do not fit together */
export function checkedOptions(
  data: TensorData,
  sizes: readonly number[],
  options: TensorOptions = {},
): Checked {
  checkOptions('Tensor', options, ['dtype', 'qscheme', 'scales', 'zeroPoints', 'axis']);
  const dtype = dtypeFor(data, options.dtype);
  const shape = checkedShape(sizes);
  const needed = arrayLength(dtype, numelOf(shape));
  const length = trueLength(data);
  if (length !== needed) {
    throw rangeError(
      'ERR_SHAPE',
      `shape ${formatShape(shape)} needs ${needed} elements, but data has ${length}`,
    );
  }
  return { data: plainView(data), shape, dtype, quantization: quantizationOf(options, dtype, shape) };
}
