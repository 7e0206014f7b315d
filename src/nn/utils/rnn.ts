import {
  checkBoolean,
  checkNumber,
  checkOneOf,
  checkOptions,
  describe,
  listOf,
  rangeError,
  typeError,
} from '../../errors.js';
import { emptyArray, formatShape, full, numelOf, Tensor } from '../../tensor/index.js';
import { checkPacked, checkPlain, indices, integersOf, PackedSequence } from '../packed-sequence.js';

export { PackedSequence };

/** Options of {@link packPaddedSequence}. */
export interface PackPaddedSequenceOptions {
  /** The input is `(batch, steps, *)`. Default: false. */
  batchFirst?: boolean;
  /** Refuse lengths that rise. If false, the sequences are sorted here and unsorted when unpacked. Default: true. */
  enforceSorted?: boolean;
}

/** Options of {@link padPackedSequence}. */
export interface PadPackedSequenceOptions {
  /** The output is `(batch, steps, *)`. Default: false. */
  batchFirst?: boolean;
  /** The value that fills the steps after the end of a sequence. Default: 0. */
  paddingValue?: number;
  /** Steps of the output. Default: those of the longest sequence. */
  totalLength?: number;
}

/** Options of {@link padSequence}. */
export interface PadSequenceOptions {
  /** The output is `(batch, steps, *)`. Default: false. */
  batchFirst?: boolean;
  /** The value that fills up shorter sequences. Default: 0. */
  paddingValue?: number;
  /** The side on which it fills. Default: `'right'`. */
  paddingSide?: 'left' | 'right';
}

/**
 * Packs a padded batch.
 *
 * @param input - `(T, B, *)`, or `(B, T, *)` with `batchFirst`
 * @param lengths - B lengths from 1 to T, as numbers or a tensor
 * @throws {RangeError} with PyTorch's sentences; also for a length beyond T, where PyTorch reads foreign memory
 */
export function packPaddedSequence(
  input: Tensor,
  lengths: Tensor | readonly number[],
  options: PackPaddedSequenceOptions = {},
): PackedSequence {
  checkPlain('input', input);
  checkOptions('packPaddedSequence', options, ['batchFirst', 'enforceSorted']);
  const { batchFirst = false, enforceSorted = true } = options;
  checkBoolean('batchFirst', batchFirst);
  checkBoolean('enforceSorted', enforceSorted);
  if (input.dim() < 2)
    throw rangeError('ERR_SHAPE', `input should have at least 2 dimensions, got ${input.dim()}`);
  const data = input.checked('input');
  if (data.length === 0) throw rangeError('ERR_SHAPE', 'Cannot pack empty tensors.');
  const [batch, steps] = batchFirst ? [input.shape[0]!, input.shape[1]!] : [input.shape[1]!, input.shape[0]!];
  const sizes = lengthsOf(lengths, batch, steps);
  const order = Array.from(sizes.keys());
  // JavaScript's sort is stable, so equal lengths keep their order.
  if (!enforceSorted) order.sort((a, b) => sizes[b]! - sizes[a]!);
  else if (sizes.some((length, i) => i > 0 && length > sizes[i - 1]!)) {
    throw rangeError(
      'ERR_INVALID_ARG_VALUE',
      '`lengths` array must be sorted in decreasing order when `enforce_sorted` is True. You can pass `enforce_sorted=False` to pack_padded_sequence and/or pack_sequence to sidestep this requirement if you do not need ONNX exportability.',
    );
  }
  const batchSizes = batchSizesOf(order.map((i) => sizes[i]!));
  const rowShape = input.shape.slice(2);
  const row = data.length / (batch * steps);
  const rows = sizes.reduce((sum, length) => sum + length, 0);
  const out = emptyArray(input.dtype, rows * row);
  const [stepStride, batchStride] = batchFirst ? [row, steps * row] : [batch * row, row];
  let to = 0;
  batchSizes.forEach((active, t) => {
    for (let i = 0; i < active; i++, to += row) {
      const from = t * stepStride + order[i]! * batchStride;
      out.set(data.subarray(from, from + row) as never, to);
    }
  });
  return new PackedSequence(
    new Tensor(out, [rows, ...rowShape], { dtype: input.dtype }),
    indices(batchSizes),
    enforceSorted ? null : indices(order),
  );
}

/** The lengths of `batch` sequences, each from 1 to `steps`. @throws {RangeError} for others */
function lengthsOf(lengths: Tensor | readonly number[], batch: number, steps: number): number[] {
  const sizes = integersOf('lengths', lengths);
  if (sizes.length !== batch) {
    throw rangeError(
      'ERR_SHAPE',
      `Expected \`len(lengths)\` to be equal to batch_size, but got ${sizes.length} (batch_size=${batch})`,
    );
  }
  if (!sizes.every((length) => length > 0)) {
    throw rangeError(
      'ERR_INVALID_ARG_VALUE',
      "Length of all samples has to be greater than 0, but found an element in 'lengths' that is <= 0",
    );
  }
  const tooLong = sizes.find((length) => !(length <= steps));
  if (tooLong !== undefined) {
    const sentence = `lengths should be at most ${steps}, the steps of the input, but one is ${tooLong}`;
    throw rangeError('ERR_INVALID_ARG_VALUE', sentence);
  }
  return sizes;
}

/**
 * Undoes {@link packPaddedSequence}: the padded batch, `(T, B, *)` or `(B, T, *)` with `batchFirst`, and the
 * lengths (int64), both in the caller's order.
 *
 * @throws {RangeError} when `totalLength` is shorter than the longest sequence
 */
export function padPackedSequence(
  sequence: PackedSequence,
  options: PadPackedSequenceOptions = {},
): [padded: Tensor, lengths: Tensor] {
  const { data, batchSizes, unsorted } = checkPacked(sequence);
  checkOptions('padPackedSequence', options, ['batchFirst', 'paddingValue', 'totalLength']);
  const { batchFirst = false, paddingValue = 0, totalLength = batchSizes.length } = options;
  checkBoolean('batchFirst', batchFirst);
  checkNumber('paddingValue', paddingValue);
  if (!Number.isSafeInteger(totalLength)) {
    throw typeError('ERR_INVALID_ARG_TYPE', `totalLength should be an integer, got ${describe(totalLength)}`);
  }
  if (totalLength < batchSizes.length) {
    throw rangeError(
      'ERR_INVALID_ARG_VALUE',
      `Expected total_length to be at least the length of the longest sequence in input, but got total_length=${totalLength} and max sequence length being ${batchSizes.length}`,
    );
  }
  const batch = batchSizes[0]!;
  const sorted = new Array<number>(batch).fill(0);
  for (const active of batchSizes) for (let i = 0; i < active; i++) sorted[i]!++;
  // For each sequence of the data, its place in the caller's batch.
  const place = new Array<number>(batch);
  const lengths = new Array<number>(batch);
  for (let b = 0; b < batch; b++) {
    const i = unsorted === null ? b : unsorted[b]!;
    place[i] = b;
    lengths[b] = sorted[i]!;
  }
  const rowShape = data.shape.slice(1);
  const leading = batchFirst ? [batch, totalLength] : [totalLength, batch];
  const padded = full([...leading, ...rowShape], paddingValue, { dtype: data.dtype });
  const source = data.checked('data');
  const row = source.length / data.shape[0]!;
  const [stepStride, batchStride] = batchFirst ? [row, totalLength * row] : [batch * row, row];
  let from = 0;
  batchSizes.forEach((active, t) => {
    for (let i = 0; i < active; i++, from += row) {
      const to = t * stepStride + place[i]! * batchStride;
      padded.data.set(source.subarray(from, from + row) as never, to);
    }
  });
  return [padded, indices(lengths)];
}

/**
 * Sequences `(L, *)` of one dtype as one padded batch `(T, B, *)`, or `(B, T, *)` with `batchFirst`.
 *
 * @throws {RangeError} for no sequences, or sequences that differ in more than their length
 */
export function padSequence(sequences: Iterable<Tensor>, options: PadSequenceOptions = {}): Tensor {
  const list = sequencesOf(sequences);
  checkOptions('padSequence', options, ['batchFirst', 'paddingValue', 'paddingSide']);
  const { batchFirst = false, paddingValue = 0, paddingSide = 'right' } = options;
  checkBoolean('batchFirst', batchFirst);
  checkNumber('paddingValue', paddingValue);
  checkOneOf('paddingSide', paddingSide, ['left', 'right']);
  const first = list[0]!;
  const rowShape = first.shape.slice(1);
  for (const { dtype, shape } of list) {
    if (dtype !== first.dtype) {
      throw typeError('ERR_DTYPE', `sequences should have one dtype, got ${first.dtype} and ${dtype}`);
    }
    if (shape.length !== first.shape.length || rowShape.some((n, d) => shape[d + 1] !== n)) {
      throw rangeError(
        'ERR_SHAPE',
        `sequences should have one shape after their length, got ${formatShape(first.shape)} and ${formatShape(shape)}`,
      );
    }
  }
  const steps = list.reduce((most, sequence) => Math.max(most, sequence.shape[0]!), 0);
  const leading = batchFirst ? [list.length, steps] : [steps, list.length];
  const padded = full([...leading, ...rowShape], paddingValue, { dtype: first.dtype });
  const row = numelOf(rowShape);
  if (row === 0) return padded;
  list.forEach((sequence, b) => {
    const source = sequence.checked('sequences');
    const length = sequence.shape[0]!;
    const begin = paddingSide === 'left' ? steps - length : 0;
    for (let t = 0; t < length; t++) {
      const to = (batchFirst ? b * steps + begin + t : (begin + t) * list.length + b) * row;
      padded.data.set(source.subarray(t * row, (t + 1) * row) as never, to);
    }
  });
  return padded;
}

/**
 * The sequences `(L, *)` of a padded batch, without their padding.
 *
 * @throws {RangeError} when there are more or fewer lengths than sequences, or one is beyond the data
 */
export function unpadSequence(
  padded: Tensor,
  lengths: Tensor | readonly number[],
  options: { batchFirst?: boolean } = {},
): Tensor[] {
  checkPlain('padded', padded);
  padded.checked('padded');
  checkOptions('unpadSequence', options, ['batchFirst']);
  const { batchFirst = false } = options;
  checkBoolean('batchFirst', batchFirst);
  if (padded.dim() < 2)
    throw rangeError('ERR_SHAPE', `padded should have at least 2 dimensions, got ${padded.dim()}`);
  const [batch, steps] = batchFirst
    ? [padded.shape[0]!, padded.shape[1]!]
    : [padded.shape[1]!, padded.shape[0]!];
  const sizes = integersOf('lengths', lengths);
  if (sizes.length !== batch) {
    throw rangeError(
      'ERR_SHAPE',
      `lengths should have ${batch} elements, one a sequence, got ${sizes.length}`,
    );
  }
  return sizes.map((length, b) => {
    if (!(length >= 0 && length <= steps)) {
      throw rangeError(
        'ERR_INVALID_ARG_VALUE',
        `lengths should be from 0 to ${steps}, the steps of the batch, but one is ${length}`,
      );
    }
    return padded.select(batchFirst ? 0 : 1, b).slice(0, 0, length);
  });
}

/** Packs sequences `(L, *)`: {@link padSequence}, then {@link packPaddedSequence}. */
export function packSequence(
  sequences: Iterable<Tensor>,
  options: { enforceSorted?: boolean } = {},
): PackedSequence {
  checkOptions('packSequence', options, ['enforceSorted']);
  const list = sequencesOf(sequences);
  const lengths = list.map((sequence) => sequence.shape[0]!);
  return packPaddedSequence(padSequence(list), lengths, options);
}

/** Undoes {@link packSequence}: the sequences `(L, *)` in the caller's order. */
export function unpackSequence(sequence: PackedSequence): Tensor[] {
  return unpadSequence(...padPackedSequence(sequence));
}

/** How many sequences reach each step, from lengths that never rise. */
function batchSizesOf(lengths: readonly number[]): number[] {
  let active = lengths.length;
  return Array.from({ length: lengths[0]! }, (_, t) => {
    while (lengths[active - 1]! <= t) active--;
    return active;
  });
}

function sequencesOf(sequences: unknown): Tensor[] {
  const sentence = `pad_sequence: Expected iterable for input sequences, but got arg of type: ${describe(sequences)}`;
  const list = listOf('sequences', sequences, sentence);
  if (list.length === 0) throw rangeError('ERR_INVALID_ARG_VALUE', 'received an empty list of sequences');
  for (const sequence of list) {
    checkPlain('sequences', sequence);
    if (sequence.dim() === 0)
      throw rangeError('ERR_SHAPE', 'sequences should have at least 1 dimension, got 0');
  }
  return list as Tensor[];
}
