import { describe, rangeError, typeError } from '../errors.js';
import { formatShape } from '../tensor/shape.js';
import { checkTensor, isTensor, Tensor } from '../tensor/tensor.js';

/**
 * A batch of sequences of different lengths without padding. Every recurrent module takes one in place of a padded
 * tensor. `data` holds step 0 of all sequences, then step 1 of those that have one, and so on, the longest sequence
 * first. `packPaddedSequence` and `packSequence` make one.
 */
export class PackedSequence {
  /**
   * @param data - `(sum of lengths, *)`
   * @param batchSizes - int64: how many sequences have a step 0, a step 1, …
   * @param sortedIndices - int64: the caller's index of each sequence in `data`; null if `data` has the caller's order
   * @param unsortedIndices - the inverse of `sortedIndices`; computed by default
   * @throws {TypeError | RangeError} when the four do not fit together
   */
  constructor(
    readonly data: Tensor,
    readonly batchSizes: Tensor,
    readonly sortedIndices: Tensor | null = null,
    readonly unsortedIndices: Tensor | null = invertPermutation(sortedIndices),
  ) {
    checkPacked(this);
    data.checked('data');
  }
}

/** Whether a value is a PackedSequence, of this copy of the package or another. */
export function isPackedSequence(value: unknown): value is PackedSequence {
  if (value instanceof PackedSequence) return true;
  const p = value as Partial<PackedSequence> | null | undefined;
  return typeof p === 'object' && p !== null && isTensor(p.data) && isTensor(p.batchSizes);
}

/** A packed sequence after {@link checkPacked}. */
export interface CheckedPacked {
  data: Tensor;
  batchSizes: number[];
  sorted: number[] | null;
  unsorted: number[] | null;
}

/** Called at each use, because tensors can be written. @throws {TypeError | RangeError} naming what does not fit */
export function checkPacked(sequence: PackedSequence): CheckedPacked {
  if (!isPackedSequence(sequence)) {
    throw typeError('ERR_INVALID_ARG_TYPE', `sequence should be a PackedSequence, got ${describe(sequence)}`);
  }
  const { data, sortedIndices, unsortedIndices } = sequence;
  checkPlain('data', data);
  const batchSizes = integersOf('batchSizes', sequence.batchSizes);
  const batch = batchSizes[0];
  if (batch === undefined) throw rangeError('ERR_SHAPE', 'batchSizes should not be empty');
  batchSizes.forEach((n, t) => {
    if (n < 1 || (t > 0 && n > batchSizes[t - 1]!)) {
      const after = t === 0 ? '' : ` after ${batchSizes[t - 1]}`;
      const sentence = `batchSizes should be positive integers that do not grow, got ${n}${after}`;
      throw rangeError('ERR_INVALID_ARG_VALUE', sentence);
    }
  });
  const rows = batchSizes.reduce((sum, n) => sum + n, 0);
  if (data.dim() === 0 || data.shape[0] !== rows) {
    throw rangeError(
      'ERR_SHAPE',
      `data should have ${rows} rows, the sum of batchSizes, but is ${formatShape(data.shape)}`,
    );
  }
  if (data.numel === 0) throw rangeError('ERR_SHAPE', 'Cannot pack empty tensors.');
  if ((sortedIndices === null) !== (unsortedIndices === null)) {
    throw typeError(
      'ERR_INVALID_ARG_TYPE',
      'sortedIndices and unsortedIndices should both be tensors, or both null',
    );
  }
  if (sortedIndices === null) return { data, batchSizes, sorted: null, unsorted: null };
  const sorted = integersOf('sortedIndices', sortedIndices);
  const unsorted = integersOf('unsortedIndices', unsortedIndices!);
  if (
    sorted.length !== batch ||
    unsorted.length !== batch ||
    !unsorted.every((i, b) => i >= 0 && sorted[i] === b)
  ) {
    throw rangeError(
      'ERR_INVALID_ARG_VALUE',
      `sortedIndices and unsortedIndices should be permutations of 0 to ${batch - 1}, one the other's inverse`,
    );
  }
  return { data, batchSizes, sorted, unsorted };
}

/** An int64 tensor. */
export function indices(values: readonly number[]): Tensor {
  return new Tensor(BigInt64Array.from(values, BigInt), [values.length]);
}

function invertPermutation(permutation: Tensor | null): Tensor | null {
  if (permutation === null) return null;
  const sorted = integersOf('sortedIndices', permutation);
  const inverse = new Array<number>(sorted.length).fill(-1);
  sorted.forEach((from, to) => {
    if (from >= 0 && from < sorted.length) inverse[from] = to;
  });
  return indices(inverse);
}

const mostIntegers = 2 ** 24;

/** A list of integers, or a tensor of them. Fractions are cut off, as in PyTorch. */
export function integersOf(name: string, values: Tensor | readonly number[]): number[] {
  if (isTensor(values)) values.checked(name);
  const list: unknown = isTensor(values) ? values.toArray() : values;
  const wrongKind = `${name} should be integers in one dimension, got ${describe(values)}`;
  if (!Array.isArray(list)) throw typeError('ERR_INVALID_ARG_TYPE', wrongKind);
  const integers: number[] = [];
  const { length } = list;
  if (!(length <= mostIntegers)) {
    const sentence = `${name} should have at most ${mostIntegers} elements, got ${describe(length)}`;
    throw rangeError('ERR_TOO_LARGE', sentence);
  }
  // Not with map(), which skips holes, nor with the list's own iterator, which need not end.
  for (let i = 0; i < length; i++) {
    const n = (list as unknown[])[i];
    if (typeof n !== 'number') throw typeError('ERR_INVALID_ARG_TYPE', wrongKind);
    const integer = Math.trunc(n);
    if (!Number.isSafeInteger(integer))
      throw rangeError('ERR_INVALID_ARG_VALUE', `${name} should be integers, but one is ${n}`);
    integers.push(integer);
  }
  return integers;
}

/** A tensor whose rows can be moved one by one. */
export function checkPlain(name: string, tensor: unknown): asserts tensor is Tensor {
  checkTensor(name, tensor);
  if (tensor.quantization !== undefined) {
    throw typeError('ERR_DTYPE', `${name} should not be quantized, got ${tensor.dtype}`);
  }
}
