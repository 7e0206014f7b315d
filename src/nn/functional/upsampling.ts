import {
  checkBoolean,
  checkNumber,
  checkOneOf,
  checkOptions,
  checkSize,
  describe,
  rangeError,
  typeError,
} from '../../errors.js';
import { emptyArray, float32 } from '../../tensor/dtype.js';
import { checkFloat } from '../../tensor/elements.js';
import { formatShape, numelOf, splitAt } from '../../tensor/shape.js';
import { stepsOf, walked } from '../../tensor/strided.js';
import { checkTensor, Tensor } from '../../tensor/tensor.js';

/** How `interpolate` finds an element between others. */
export type InterpolateMode = 'nearest' | 'nearest-exact' | 'linear' | 'bilinear' | 'bicubic' | 'trilinear';
const interpolateModes: readonly InterpolateMode[] = [
  'nearest',
  'nearest-exact',
  'linear',
  'bilinear',
  'bicubic',
  'trilinear',
];
/** The number of dimensions that an input must have. */
const rankOf: Partial<Record<InterpolateMode, number>> = { linear: 3, bilinear: 4, bicubic: 4, trilinear: 5 };

/** Options of {@link interpolate}. */
export interface InterpolateOptions {
  /** The sizes behind the channels, one for all of them or a list. Either this or `scaleFactor`. */
  size?: number | readonly number[] | null;
  /** How many times as large they become. */
  scaleFactor?: number | readonly number[] | null;
  /** Default: `'nearest'`. */
  mode?: InterpolateMode;
  /** Whether the first and last elements stay where they are; only of the linear and cubic modes. Default: false. */
  alignCorners?: boolean | null;
  /** Whether distances follow from the sizes rather than from `scaleFactor`. Default: false. */
  recomputeScaleFactor?: boolean | null;
}
export const interpolateOptionNames = ['size', 'scaleFactor', 'mode', 'alignCorners', 'recomputeScaleFactor'];

/**
 * Another number of elements in the dimensions behind the channels. Each of them is a sum of its neighbours in the input,
 * dimension after dimension: the nearest one, or two (`linear`, `bilinear`, `trilinear`) or four (`bicubic`, A = -0.75),
 * by their distance. Products and sums are in double, a dimension's results in the input's dtype.
 *
 * Shape: float `(N, C, L)`, `(N, C, H, W)` or `(N, C, D, H, W)`; the mode says which, unless it is a nearest one.
 *
 * @throws {RangeError} when the sizes and the mode do not fit the input
 */
export function interpolate(input: Tensor, options: InterpolateOptions): Tensor {
  checkTensor('input', input);
  checkOptions('interpolate', options, interpolateOptionNames);
  const checked = checkedOptions(options);
  checkFloat('interpolate', input);
  input.checked('input');
  const { mode } = checked;
  const rank = input.dim();
  if (rank < 3 || rank > 5) {
    const sentence = `Input Error: Only 3D, 4D and 5D input Tensors supported (got ${rank}D) for the modes: ${interpolateModes.join(' | ')} (got ${mode})`;
    throw rangeError('ERR_SHAPE', sentence);
  }
  const wanted = rankOf[mode] ?? rank;
  if (rank !== wanted)
    throw rangeError('ERR_SHAPE', `Got ${rank}D input, but ${mode} mode needs ${wanted}D input`);
  const sizes = sizesOf(input.shape, checked);
  const axes = sizes.map(({ size, scale }, i) => axisOf(input, i + 2, size, scale, checked));
  return mode.startsWith('nearest') ? nearest(input, axes) : weighted(input, axes);
}

interface Checked {
  readonly size: readonly number[] | number | null;
  readonly scaleFactor: readonly number[] | number | null;
  readonly mode: InterpolateMode;
  readonly alignCorners: boolean;
  readonly recompute: boolean;
}

/** Every option but their fit to an input. */
export function checkedOptions(options: InterpolateOptions): Checked {
  const { size = null, scaleFactor = null, mode = 'nearest' } = options;
  checkOneOf('mode', mode, interpolateModes, undefined);
  if (size === null && scaleFactor === null)
    throw typeError('ERR_INVALID_ARG_TYPE', 'either size or scaleFactor should be defined');
  if (size !== null && scaleFactor !== null)
    throw rangeError('ERR_INVALID_ARG_VALUE', 'only one of size or scaleFactor should be defined');
  for (const each of listOfNumbers(size)) checkSize('size', each);
  for (const each of listOfNumbers(scaleFactor)) {
    checkNumber('scaleFactor', each);
    if (!(each > 0 && each < Infinity))
      throw rangeError('ERR_INVALID_ARG_VALUE', `scaleFactor should be above 0, got ${each}`);
  }
  const alignCorners = options.alignCorners ?? false;
  const recompute = options.recomputeScaleFactor ?? false;
  checkBoolean('alignCorners', alignCorners);
  checkBoolean('recomputeScaleFactor', recompute);
  if (typeof options.alignCorners === 'boolean' && mode.startsWith('nearest')) {
    const sentence =
      'alignCorners can only be set with the interpolating modes: linear | bilinear | bicubic | trilinear';
    throw rangeError('ERR_INVALID_ARG_VALUE', sentence);
  }
  if (recompute && size !== null) {
    const sentence = 'recomputeScaleFactor is not meaningful with an explicit size.';
    throw rangeError('ERR_INVALID_ARG_VALUE', sentence);
  }
  return { size, scaleFactor, mode, alignCorners, recompute };
}

function listOfNumbers(given: unknown): unknown[] {
  if (given === null) return [];
  if (!Array.isArray(given)) return [given];
  const { length } = given;
  if (!(length <= 3)) {
    const sentence = `size and scaleFactor should have at most 3 entries, got ${describe(length)}`;
    throw rangeError('ERR_SHAPE', sentence);
  }
  return Array.from(given as unknown[]);
}

/** The new sizes, and for each how far apart its elements are if that does not follow from the sizes. */
function sizesOf(
  shape: readonly number[],
  { size, scaleFactor, recompute }: Checked,
): { size: number; scale: number | undefined }[] {
  const spatial = shape.slice(2);
  const each = (given: number | readonly number[], name: string): readonly number[] => {
    if (typeof given === 'number') return spatial.map(() => given);
    if (given.length === spatial.length) return given;
    const sentence = `Input and ${name} must have the same number of spatial dimensions, but got input with spatial dimensions of ${formatShape(spatial)} and ${name} of ${formatShape(given)}`;
    throw rangeError('ERR_SHAPE', sentence);
  };
  if (size !== null) return each(size, 'output size').map((wanted) => ({ size: wanted, scale: undefined }));
  return each(scaleFactor!, 'scaleFactor').map((factor, i) => ({
    size: Math.floor(spatial[i]! * factor),
    scale: recompute ? undefined : 1 / factor,
  }));
}

/** A dimension's elements as sums of the input's: `taps` of them for each. */
interface Axis {
  readonly at: number;
  readonly taps: number;
  readonly indices: Int32Array;
  readonly weights: Float64Array;
}

function axisOf(
  { shape, dtype }: Tensor,
  at: number,
  size: number,
  scale: number | undefined,
  { mode, alignCorners }: Checked,
): Axis {
  const had = shape[at]!;
  if (had === 0 || size === 0 || numelOf(shape.slice(1)) === 0) {
    const sentence = `Input and output sizes should be greater than 0, but got input ${formatShape(shape)} and output ${size} in dimension ${at}`;
    throw rangeError('ERR_SHAPE', sentence);
  }
  // PyTorch's places are in the precision of the elements; those of the nearest ones in float32.
  const round = dtype === float32 || mode.startsWith('nearest') ? Math.fround : (x: number): number => x;
  const corner = size > 1 ? round((had - 1) / (size - 1)) : 0;
  const apart = alignCorners ? corner : round(scale ?? had / size);
  // PyTorch then repeats all elements of an image equally often, whatever the scale.
  const isEven = mode === 'nearest' && shape.length === 4 && (size === had || size === 2 * had);
  const taps = mode.startsWith('nearest') ? 1 : mode === 'bicubic' ? 4 : 2;
  const indices = emptyArray('int32', taps * size);
  const weights = emptyArray('float64', taps * size);
  for (let i = 0; i < size; i++) {
    const middle = round(round(apart * round(i + 0.5)) - 0.5);
    if (taps === 1 && mode === 'nearest' && shape.length === 4 && (size === had || size === 2 * had)) {
      // PyTorch looks at the sizes alone here, though not in one or three dimensions.
      indices[i] = size === had ? i : i >> 1;
    } else if (taps === 1) {
      const place = Math.floor(round((mode === 'nearest' ? i : i + 0.5) * apart));
      indices[i] = Math.min(isEven ? Math.floor((i * had) / size) : place, had - 1);
    } else if (taps === 2) {
      const place = had === size ? i : alignCorners ? round(apart * i) : Math.max(middle, 0);
      const first = Math.min(Math.floor(place), had - 1);
      const share = Math.min(round(place - first), 1);
      indices[2 * i] = first;
      indices[2 * i + 1] = Math.min(first + 1, had - 1);
      weights[2 * i] = round(1 - share);
      weights[2 * i + 1] = share;
    } else {
      const place = alignCorners ? round(apart * i) : middle;
      cubicTaps(place, had, indices.subarray(4 * i), weights.subarray(4 * i));
    }
  }
  return { at, taps, indices, weights };
}

/** Keys' cubic convolution with A = -0.75. */
function cubicTaps(place: number, had: number, indices: Int32Array, weights: Float64Array): void {
  const first = Math.floor(place);
  const t = place - first;
  const near = (x: number): number => (1.25 * x - 2.25) * x * x + 1;
  const far = (x: number): number => ((-0.75 * x + 3.75) * x - 6) * x + 3;
  weights.set([far(t + 1), near(t), near(1 - t), far(2 - t)]);
  for (let k = 0; k < 4; k++) indices[k] = Math.min(Math.max(first - 1 + k, 0), had - 1);
}

/** Where every element is repeated equally often, elements are only moved. */
function nearest(input: Tensor, axes: readonly Axis[]): Tensor {
  const { shape, dtype } = input;
  const times = axes.map(({ at, indices }) => indices.length / shape[at]!);
  const even = axes.every(({ indices }, i) =>
    indices.every((index, j) => index === Math.floor(j / times[i]!)),
  );
  if (!even || !times.every(Number.isInteger)) return weighted(input, axes);
  const steps = stepsOf(shape);
  const { data } = walked(input, {
    shape: [...shape.slice(0, 2), ...times.flatMap((count, i) => [shape[i + 2]!, count])],
    steps: [...steps.slice(0, 2), ...times.flatMap((_, i) => [steps[i + 2]!, 0])],
    begin: 0,
  });
  return new Tensor(data, resizedTo(shape, axes), { dtype });
}

function resizedTo(shape: readonly number[], axes: readonly Axis[]): number[] {
  return [...shape.slice(0, 2), ...axes.map(({ indices, taps }) => indices.length / taps)];
}

function weighted(input: Tensor, axes: readonly Axis[]): Tensor {
  const { dtype } = input;
  let data = input.checked('input') as Float32Array | Float64Array;
  const shape = [...input.shape];
  for (const axis of [...axes].reverse()) {
    const { outer, length, inner } = splitAt(shape, axis.at);
    shape[axis.at] = axis.indices.length / axis.taps;
    const out = emptyArray(dtype, numelOf(shape)) as Float32Array | Float64Array;
    resample(data, out, axis, { outer, length, inner });
    data = out;
  }
  return new Tensor(data, shape, { dtype });
}

function resample(
  data: Float32Array | Float64Array,
  out: Float32Array | Float64Array,
  { taps, indices, weights }: Axis,
  { outer, length, inner }: { outer: number; length: number; inner: number },
): void {
  let to = 0;
  for (let o = 0; o < outer; o++) {
    const begin = o * length;
    for (let tap = 0; tap < indices.length; tap += taps) {
      const a = (begin + indices[tap]!) * inner;
      if (taps === 1) {
        for (let i = 0; i < inner; i++) out[to++] = data[a + i]!;
        continue;
      }
      const b = (begin + indices[tap + 1]!) * inner;
      const [u, v] = [weights[tap]!, weights[tap + 1]!];
      if (taps === 2) {
        for (let i = 0; i < inner; i++) out[to++] = u * data[a + i]! + v * data[b + i]!;
        continue;
      }
      const c = (begin + indices[tap + 2]!) * inner;
      const d = (begin + indices[tap + 3]!) * inner;
      const [w, x] = [weights[tap + 2]!, weights[tap + 3]!];
      for (let i = 0; i < inner; i++)
        out[to++] = u * data[a + i]! + v * data[b + i]! + w * data[c + i]! + x * data[d + i]!;
    }
  }
}
