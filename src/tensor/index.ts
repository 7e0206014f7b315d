// Hot files import from the files themselves, because each use of a re-export is a getter's call.
export { arange, cat, full, ones, stack, tensor, zeros, type CreateOptions } from './create.js';
export {
  bfloat16,
  bool,
  byteLengthOf,
  bytesOf,
  checkDTypeAmong,
  emptyArray,
  float16,
  float32,
  float64,
  int16,
  int32,
  int64,
  int8,
  isFloat,
  isFloatingPoint,
  isPlain,
  qint8,
  quint4x2,
  quint8,
  trueLength,
  uint8,
  type DType,
  type TensorData,
} from './dtype.js';
export { bfloat16ToNumber, halfToNumber, largestFloat32 } from './elements.js';
export { unchecked, type TensorOptions } from './options.js';
export { isFloatScale, type QScheme, type Quantization } from './quantization.js';
export { isRawTensor, rawBits, RawTensor } from './raw-tensor.js';
export type { NestedArray } from './nested.js';
export type { DeviationOptions, Dims, DTypeOptions } from './reduce.js';
export {
  checkedShape,
  formatShape,
  maxRank,
  numelOf,
  sameShape,
  sizeArguments,
  type SizeArguments,
} from './shape.js';
export {
  adopt,
  checkTensor,
  isAdopted,
  isTensor,
  resultTensor,
  Tensor,
  writable,
  type ValuesAndIndices,
} from './tensor.js';
export type { SortOptions, TopKOptions } from './sort.js';
