import { checkInteger, checkOptions, rangeError, typeError } from '../../errors.js';
import { emptyArray, float32, int32, int64 } from '../../tensor/dtype.js';
import { indicesOf } from '../../tensor/index-select.js';
import { formatShape, numelOf } from '../../tensor/shape.js';
import { checkTensor, Tensor } from '../../tensor/tensor.js';
import { lookup, tableIndices } from '../embedding.js';

/**
 * A new last dimension that holds 1 at each index and 0 elsewhere, int64. `numClasses` is its size; -1, the default, takes
 * the largest index and one.
 *
 * @throws {RangeError} for an index below 0 or not below `numClasses`
 */
export function oneHot(tensor: Tensor, numClasses = -1): Tensor {
  checkTensor('tensor', tensor);
  checkInteger('numClasses', numClasses);
  tensor.checked('tensor');
  if (tensor.dtype !== int64 && tensor.dtype !== int32)
    throw typeError('ERR_DTYPE', `oneHot: tensor should hold indices, int64 or int32, got ${tensor.dtype}`);
  const indices = indicesOf('oneHot', tensor, Infinity, () => 'Class values must be non-negative.');
  let largest = -1;
  for (let i = 0; i < indices.length; i++) largest = Math.max(largest, indices[i]!);
  if (numClasses === -1 && largest < 0)
    throw rangeError('ERR_SHAPE', 'Can not infer total number of classes from empty tensor.');
  const classes = numClasses === -1 ? largest + 1 : numClasses;
  if (classes < 1 || largest >= classes) {
    const sentence = `Class values must be smaller than num_classes, got ${largest} of ${classes}`;
    throw rangeError('ERR_OUT_OF_RANGE', sentence);
  }
  const shape = [...tensor.shape, classes];
  const out = emptyArray(int64, numelOf(shape));
  for (let i = 0; i < indices.length; i++) out[i * classes + indices[i]!] = 1n;
  return new Tensor(out, shape, { dtype: int64 });
}

/** Options of {@link embedding}. */
export interface EmbeddingCallOptions {
  /** An index whose row does not learn; results do not depend on it. Default: none. */
  paddingIdx?: number | null;
}

/** The rows of a float32 table at indices, int64 or int32, of any shape: what `nn.Embedding` computes. */
export function embedding(input: Tensor, weight: Tensor, options: EmbeddingCallOptions = {}): Tensor {
  checkTensor('input', input);
  checkTensor('weight', weight, float32);
  checkOptions('embedding', options, ['paddingIdx']);
  if (weight.dim() !== 2)
    throw rangeError('ERR_SHAPE', `'weight' must be 2-D, got ${formatShape(weight.shape)}`);
  const [rows, width] = weight.shape as [number, number];
  const { paddingIdx = null } = options;
  if (paddingIdx !== null) {
    checkInteger('paddingIdx', paddingIdx);
    if (paddingIdx < -rows || paddingIdx >= rows)
      throw rangeError('ERR_OUT_OF_RANGE', `paddingIdx must be within num_embeddings, got ${paddingIdx}`);
  }
  const indices = tableIndices('input', input, rows);
  const data = weight.checked('weight') as Float32Array;
  return lookup({ data, affines: null, bits: 32, width }, indices, input.shape);
}
