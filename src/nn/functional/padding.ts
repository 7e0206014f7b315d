import { checkNumber, checkOneOf, checkOptions, describe, rangeError, typeError } from '../../errors.js';
import { emptyArray } from '../../tensor/dtype.js';
import { checkMovable, checkPlain, fill } from '../../tensor/elements.js';
import type { Result } from '../../tensor/result.js';
import { formatShape, integersOf, maxRank, numelOf, resized } from '../../tensor/shape.js';
import { merged, moveInto, newArray, stepsOf } from '../../tensor/strided.js';
import { checkTensor, Tensor } from '../../tensor/tensor.js';

/** How `pad` fills: with a value, mirrored at the edge elements, with the edge elements, or around. */
export type PadMode = 'constant' | 'reflect' | 'replicate' | 'circular';
const padModes: readonly PadMode[] = ['constant', 'reflect', 'replicate', 'circular'];

/** Options of {@link pad}. */
export interface PadOptions {
  /** Default: `'constant'`. */
  mode?: PadMode;
  /** What a constant padding holds. Default: 0. */
  value?: number;
}

/** So many elements before and behind those of a dimension; fewer than 0 leave some of them out. */
interface Margin {
  readonly at: number;
  readonly before: number;
  readonly behind: number;
}

/**
 * Elements before and behind those of the last dimensions: `pad` is `[left, right]`, then `top, bottom` of the dimension
 * before, and so on. Negative sizes leave elements out. `'reflect'`, `'replicate'` and `'circular'` pad one, two or three
 * dimensions behind the channels.
 *
 * @throws {RangeError} when a dimension is too short for the mode
 */
export function pad(input: Tensor, pad: readonly number[], options: PadOptions = {}): Tensor {
  checkTensor('input', input);
  const sizes = checkedPad(pad, input.dim());
  checkOptions('pad', options, ['mode', 'value']);
  const { mode = 'constant', value } = options;
  checkOneOf('mode', mode, padModes);
  if (value !== undefined) checkNumber('value', value);
  input.checked('input');
  const margins: Margin[] = [];
  for (let i = 0; i < sizes.length; i += 2)
    margins.push({ at: input.dim() - 1 - i / 2, before: sizes[i]!, behind: sizes[i + 1]! });
  if (mode === 'constant') return constantPadded(input, margins, value ?? 0);
  if (value !== undefined && value !== 0) {
    const sentence = `Padding mode "${mode}" doesn't take in value argument`;
    throw rangeError('ERR_INVALID_ARG_VALUE', sentence);
  }
  checkMovable('pad', input);
  checkRank(margins.length, input.dim());
  let result: Result = { data: input.checked('input'), shape: input.shape, dtype: input.dtype };
  for (const margin of margins) result = padded(result, margin, mode);
  return new Tensor(result.data, result.shape, { dtype: input.dtype, ...input.quantization });
}

function checkedPad(pad: unknown, rank: number): readonly number[] {
  if (!Array.isArray(pad))
    throw typeError('ERR_INVALID_ARG_TYPE', `pad should be an array of integers, got ${describe(pad)}`);
  const sizes = integersOf('pad', pad, 2 * maxRank);
  if (sizes.length % 2 !== 0)
    throw rangeError('ERR_SHAPE', `Padding length must be divisible by 2, got ${sizes.length}`);
  if (sizes.length > 2 * rank) {
    const sentence = `Padding length should be less than or equal to two times the input dimension but got padding length ${sizes.length} and input of dimension ${rank}`;
    throw rangeError('ERR_SHAPE', sentence);
  }
  return sizes;
}

function checkRank(dims: number, rank: number): void {
  if (dims > 0 && dims <= 3 && (rank === dims + 1 || rank === dims + 2)) return;
  const sentence = `Padding size ${2 * dims} is not supported for ${rank}D input tensor.`;
  throw rangeError('ERR_SHAPE', sentence);
}

/** What of a dimension is copied: from where on, and how much. */
function kept({ before, behind }: Margin, size: number): { from: number; count: number } {
  const from = Math.max(-before, 0);
  const count = size - from - Math.max(-behind, 0);
  if (count < 0) throw rangeError('ERR_SHAPE', 'pad(): negative padding leaves out more than there is');
  return { from, count };
}

function constantPadded(input: Tensor, margins: readonly Margin[], value: number): Tensor {
  checkPlain('pad', input);
  const { dtype, shape: own } = input;
  const shape = [...own];
  const body = [...own];
  const steps = stepsOf(own);
  let begin = 0;
  for (const margin of margins) {
    const { from, count } = kept(margin, own[margin.at]!);
    begin += from * steps[margin.at]!;
    body[margin.at] = count;
    shape[margin.at] = count + Math.max(margin.before, 0) + Math.max(margin.behind, 0);
  }
  const out = emptyArray(dtype, numelOf(shape));
  if (!Object.is(value, 0)) fill(out, value, dtype);
  const outSteps = stepsOf(shape);
  const place = margins.reduce((sum, { at, before }) => sum + Math.max(before, 0) * outSteps[at]!, 0);
  if (numelOf(body) > 0) moveInto(out, place, input.checked('input'), begin, merged(body, steps, outSteps));
  return new Tensor(out, shape, { dtype });
}

/** One dimension's margins, of its own elements. */
function padded({ data, shape, dtype }: Result, margin: Margin, mode: PadMode): Result {
  const { at } = margin;
  const size = shape[at]!;
  const [before, behind] = [Math.max(margin.before, 0), Math.max(margin.behind, 0)];
  checkMargin(margin, mode, shape);
  const { from, count } = kept(margin, size);
  const wanted = resized(shape, at, before + count + behind);
  const out = newArray(dtype, numelOf(wanted));
  const steps = stepsOf(shape);
  const outSteps = stepsOf(wanted);
  /** `length` elements from `begin` on, each `step` behind the one before it. */
  const copy = (place: number, length: number, begin: number, step: number): void => {
    const part = resized(shape, at, length);
    if (numelOf(part) === 0) return;
    const dims = merged(part, resized(steps, at, step * steps[at]!), outSteps);
    moveInto(out, place * outSteps[at]!, data, begin * steps[at]!, dims);
  };
  copy(before, count, from, 1);
  const end = from + count;
  if (mode === 'reflect') {
    copy(0, before, before, -1);
    copy(before + count, behind, size - 2, -1);
  } else if (mode === 'replicate') {
    copy(0, before, 0, 0);
    copy(before + count, behind, size - 1, 0);
  } else {
    copy(0, before, end - before, 1);
    copy(before + count, behind, from, 1);
  }
  return { data: out, shape: wanted, dtype };
}

function checkMargin({ at, before, behind }: Margin, mode: PadMode, shape: readonly number[]): void {
  const size = shape[at]!;
  if (mode === 'reflect' && (before >= size || behind >= size)) {
    const sentence = `Padding size should be less than the corresponding input dimension, but got: padding (${before}, ${behind}) at dimension ${at} of input ${formatShape(shape)}`;
    throw rangeError('ERR_SHAPE', sentence);
  }
  if (mode === 'replicate' && size === 0)
    throw rangeError('ERR_SHAPE', `pad(): there is no element to replicate in ${formatShape(shape)}`);
  const body = size + Math.min(before, 0) + Math.min(behind, 0);
  if (mode === 'circular' && (before > body || behind > body))
    throw rangeError('ERR_SHAPE', 'Padding value causes wrapping around more than once.');
}
