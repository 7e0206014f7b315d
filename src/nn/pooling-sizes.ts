import { checkBoolean, checkInteger, rangeError } from '../errors.js';
import { callPooling } from '../native/call-pooling.js';
import { emptyArray, float32, int64 } from '../tensor/dtype.js';
import { formatShape, numelOf } from '../tensor/shape.js';
import { checkTensor, resultTensor, Tensor } from '../tensor/tensor.js';
import { largestSize, listOfSizes, spatial, type SpatialSize } from './convolution-sizes.js';

// What pooling as modules and as functions shares: the options, the shapes, the calls.

/** The options of all kinds of pooling; each takes some of them. */
export interface PoolSettings {
  /** Positions from a window to the next. Default: the kernel's size. */
  stride?: SpatialSize | null;
  /** Positions beyond each end of the input; at most half of the kernel. Default: 0. */
  padding?: SpatialSize;
  /** Positions between neighbouring values of a window. Default: 1. */
  dilation?: SpatialSize;
  /** Whether a last window may reach beyond the end. Default: false. */
  ceilMode?: boolean;
  /** Whether the padding's zeros count in a mean. Default: true. */
  countIncludePad?: boolean;
  /** What sums are divided by, instead of the number of values. */
  divisorOverride?: number | null;
}

/** Windows of a fixed size. Lists have an entry for each spatial dimension. */
export interface PoolSizes {
  /** What PyTorch's sentences call the operation. */
  readonly name: string;
  readonly kernel: readonly number[];
  readonly stride: readonly number[];
  readonly padding: readonly number[];
  readonly dilation: readonly number[];
  readonly ceilMode: boolean;
  /** A number of native code's for the kind of pooling. */
  readonly pool: number;
  /** 0 for the number of values. */
  readonly divisor: number;
}

/** Maxima, or means: native code's numbers. */
const pools = { max: 0, mean: 1, meanOfPadded: 2, adaptiveMax: 3, adaptiveMean: 4 };

/** Checks what a user gave. @throws {TypeError | RangeError} with PyTorch's sentences */
export function poolSizes(
  name: string,
  rank: number,
  kernelSize: unknown,
  settings: PoolSettings,
): PoolSizes {
  const { stride, padding = 0, dilation = 1, ceilMode = false, countIncludePad = true } = settings;
  const { divisorOverride = null } = settings;
  const said = (what: string): string => `${name}() ${what}`;
  const kernel = spatial('kernelSize', kernelSize, rank, 1, said('kernel_size must be greater than zero'));
  const sizes: PoolSizes = {
    name,
    kernel,
    stride: spatial('stride', stride ?? kernel, rank, 1, said('stride must be greater than zero')),
    padding: spatial('padding', padding, rank, 0, said('padding must be non-negative')),
    dilation: spatial('dilation', dilation, rank, 1, said('dilation must be greater than zero')),
    ceilMode,
    pool: name.startsWith('max') ? pools.max : countIncludePad ? pools.meanOfPadded : pools.mean,
    divisor: divisorOverride ?? 0,
  };
  checkBoolean('ceilMode', ceilMode);
  checkBoolean('countIncludePad', countIncludePad);
  if (divisorOverride !== null) {
    checkInteger('divisorOverride', divisorOverride);
    if (divisorOverride === 0) throw rangeError('ERR_INVALID_ARG_VALUE', 'divisor must be not zero');
  }
  sizes.padding.forEach((pad, i) => {
    if (pad <= kernel[i]! / 2) return;
    throw rangeError(
      'ERR_INVALID_ARG_VALUE',
      `${name}() padding should be at most half of kernel size, but got padding=${pad} and kernel_size=${kernel[i]!}`,
    );
  });
  return sizes;
}

/** The shape of `input` without its last `rank` dimensions, after checks. */
function leading(name: string, rank: number, input: Tensor): number[] {
  checkTensor(`${name}: input`, input, float32);
  const { shape } = input;
  const dims = shape.length;
  const isEmpty = shape.slice(dims - rank - 1).includes(0);
  if ((dims !== rank + 1 && dims !== rank + 2) || isEmpty) {
    throw rangeError(
      'ERR_SHAPE',
      `${name}: Expected ${rank + 1}D or ${rank + 2}D (batch mode) tensor with optional 0 dim batch size for input, but got: ${formatShape(shape)}`,
    );
  }
  return shape.slice(0, dims - rank);
}

/** The windows along each dimension. */
function windowsOf(sizes: PoolSizes, input: Tensor): number[] {
  const rank = sizes.kernel.length;
  const shape = input.shape.slice(input.dim() - rank);
  const counts = shape.map((size, i) => {
    const stride = sizes.stride[i]!;
    const pad = sizes.padding[i]!;
    const reach = sizes.dilation[i]! * (sizes.kernel[i]! - 1) + 1;
    const steps = (size + 2 * pad - reach) / stride;
    const count = (sizes.ceilMode ? Math.ceil(steps) : Math.floor(steps)) + 1;
    // A last window must begin inside the input or the padding before it.
    return sizes.ceilMode && (count - 1) * stride >= size + pad ? count - 1 : count;
  });
  if (counts.every((count) => count > 0)) return counts;
  const all = [input.shape[input.dim() - rank - 1], ...shape].join('x');
  const channels = input.shape[input.dim() - rank - 1]!;
  throw rangeError(
    'ERR_SHAPE',
    `Given input size: (${all}). Calculated output size: (${[channels, ...counts].join('x')}). Output size is too small`,
  );
}

/** What pooling returns: the values, and if they are wanted where each maximum is in its plane (int64). */
export type Pooled<Indices extends boolean> = Indices extends true
  ? [values: Tensor, indices: Tensor]
  : Tensor;

/** Pools an input; `indices` too if they are wanted. @throws {TypeError | RangeError} when it does not fit */
export function pool<Indices extends boolean>(
  sizes: PoolSizes,
  input: Tensor,
  indices: Indices,
): Pooled<Indices> {
  const before = leading(sizes.name, sizes.kernel.length, input);
  const windows = windowsOf(sizes, input);
  const axis = (i: number): number[] => [
    windows[i]!,
    sizes.kernel[i]!,
    sizes.stride[i]!,
    sizes.dilation[i]!,
    sizes.padding[i]!,
  ];
  return pooled(input, before, windows, [sizes.pool, sizes.divisor], axis, indices);
}

/** The windows of an adaptive pooling along each dimension; null for as many as the input has values. */
export type OutputSize = number | null | readonly (number | null)[];

/** Checks the `outputSize` that a user gave. */
export function checkedOutputSize(
  name: string,
  rank: number,
  outputSize: unknown,
): readonly (number | null)[] {
  const given = listOfSizes(outputSize, rank);
  if (given === undefined) {
    const { length } = outputSize as unknown[];
    throw rangeError(
      'ERR_SHAPE',
      `${name}() argument 'output_size' should contain ${rank === 1 ? 'one int' : `${rank} ints`} (got ${length})`,
    );
  }
  for (const each of given) {
    if (each === null) continue;
    checkInteger('outputSize', each);
    if (each > largestSize) throw rangeError('ERR_TOO_LARGE', `outputSize is too large: ${each}`);
    if (each >= 0) continue;
    throw rangeError(
      'ERR_INVALID_ARG_VALUE',
      `${name}: elements of output_size must be greater than or equal to 0 but received {${given.join(', ')}}`,
    );
  }
  return Object.freeze(given as (number | null)[]);
}

/** Pools over windows that cover the input evenly. @throws {TypeError | RangeError} when it does not fit */
export function poolAdaptively<Indices extends boolean>(
  name: string,
  outputSize: readonly (number | null)[],
  input: Tensor,
  indices: Indices,
): Pooled<Indices> {
  const before = leading(name, outputSize.length, input);
  const windows = outputSize.map((size, i) => size ?? input.shape[before.length + i]!);
  const which = name.includes('max') ? pools.adaptiveMax : pools.adaptiveMean;
  return pooled(input, before, windows, [which, 0], (i) => [windows[i]!, 1, 1, 1, 0], indices);
}

function pooled<Indices extends boolean>(
  input: Tensor,
  before: readonly number[],
  windows: readonly number[],
  head: readonly number[],
  axis: (i: number) => number[],
  indices: Indices,
): Pooled<Indices> {
  const planes = numelOf(before);
  const shape = [...before, ...windows];
  const count = numelOf(shape);
  const rank = windows.length;
  const places = indices ? (emptyArray(int64, count) as BigInt64Array) : null;
  const call = {
    planes,
    rows: rank === 2 ? input.shape[before.length]! : 1,
    columns: input.shape[input.dim() - 1]!,
    sizes: Float64Array.from([...head, ...(rank === 2 ? axis(0) : [1, 1, 1, 1, 0]), ...axis(rank - 1)]),
    count,
  };
  const values = resultTensor(callPooling(input.checked('input') as Float32Array, call, places), shape);
  const result = places === null ? values : [values, new Tensor(places, shape, { dtype: int64 })];
  return result as Pooled<Indices>;
}
