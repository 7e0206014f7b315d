import { checkOptions, describe, isBytes, checkNumber, rangeError, surplus, typeError } from './errors.js';
import { native } from './native/addon.js';
import {
  bytesOf,
  checkDTypeAmong,
  checkedShape,
  checkTensor,
  emptyArray,
  float32,
  float64,
  largestFloat32,
  int32,
  int64,
  numelOf,
  sizeArguments,
  Tensor,
  trueLength,
  writable,
  type DType,
  type SizeArguments,
} from './tensor/index.js';

/** PyTorch's seed if nobody sets one. */
const defaultSeed = 67280421310721n;

/** PyTorch's CPU generator (MT19937): the same seed gives the same numbers, bit for bit. */
export class Generator {
  private state: Uint8Array | undefined;
  private seed = defaultSeed;

  /**
   * Starts the stream of a seed. Only the low 32 bits matter; a negative seed is taken modulo 2^64.
   *
   * @throws {TypeError} when `seed` is not an integer @throws {RangeError} outside [-2^63, 2^64 - 1]
   */
  manualSeed(seed: number | bigint): this {
    if (typeof seed !== 'bigint' && !Number.isSafeInteger(seed)) {
      throw typeError(
        'ERR_INVALID_ARG_TYPE',
        `seed should be a safe integer or a bigint, got ${describe(seed)}`,
      );
    }
    const value = BigInt(seed);
    if (value < -(2n ** 63n) || value >= 2n ** 64n) {
      throw rangeError('ERR_INVALID_ARG_VALUE', `seed should be in [-2^63, 2^64 - 1], got ${describe(seed)}`);
    }
    const state = new Uint8Array(new ArrayBuffer(native().generatorStateBytes));
    native().randomSeed(state, Number(BigInt.asUintN(32, value)));
    this.seed = BigInt.asUintN(64, value);
    this.state = state;
    return this;
  }
  /** The seed the stream began with. */
  initialSeed(): bigint {
    return this.seed;
  }
  /** A copy of the state, for `setState`. The layout is this library's own. */
  getState(): Uint8Array {
    return this.bytes().slice();
  }
  /**
   * Continues from a saved state.
   *
   * @throws {TypeError | RangeError} when it is none: of another length, or with numbers that no generator reaches
   */
  setState(state: Uint8Array): this {
    if (!isBytes(state)) {
      throw typeError('ERR_INVALID_ARG_TYPE', `state should be a Uint8Array, got ${describe(state)}`);
    }
    const stateBytes = native().generatorStateBytes;
    const bytes = bytesOf(state);
    if (bytes.length !== stateBytes) {
      throw rangeError('ERR_SHAPE', `state should have ${stateBytes} bytes, got ${bytes.length}`);
    }
    const copy = new Uint8Array(new ArrayBuffer(stateBytes));
    copy.set(bytes);
    checkState(copy.buffer);
    this.state = copy;
    return this;
  }
  /** For the library: the live state, seeded at the first use. */
  bytes(): Uint8Array {
    if (this.state === undefined) this.manualSeed(this.seed);
    return this.state!;
  }
}

/** Refuses a state that no generator reaches. Its layout is GeneratorState's in native/engine/random.h. */
function checkState(buffer: ArrayBuffer): void {
  const words = new Uint32Array(buffer, 0, 624);
  const [next, hasNormal] = new Uint32Array(buffer, 4 * words.length, 2);
  const [normal] = new Float64Array(buffer, 4 * words.length + 8);
  // Of the first word only one bit counts. From zeros no other number follows.
  const isStuck = words[0]! < 2 ** 31 && words.subarray(1).every((word) => word === 0);
  // A normal is at most sqrt(-2 log(2^-53)), which is 8.6.
  if (next! > words.length || hasNormal! > 1 || !(Math.abs(normal!) < 9) || isStuck)
    throw rangeError(
      'ERR_INVALID_ARG_VALUE',
      'state should be what getState returned, but holds other numbers',
    );
}

/** The functions below draw from this one if no generator is given. */
export const defaultGenerator = new Generator();

/** Seeds the default generator. */
export function manualSeed(seed: number | bigint): Generator {
  return defaultGenerator.manualSeed(seed);
}

/** Options of functions that draw random tensors. */
export interface RandomOptions {
  /** Default: the global generator, which {@link manualSeed} seeds. */
  generator?: Generator;
  /** float32 (the default) or float64; for integers int64 (the default) or int32. */
  dtype?: DType;
}

/** Uniform in [0, 1): `rand(2, 3)` or `rand([2, 3], { generator, dtype })`. */
export function rand(...args: SizeArguments<RandomOptions>): Tensor {
  const [shape, { generator, dtype }] = sizeArguments(args, ['generator', 'dtype'], 'rand');
  return fillUniform(floats('rand', shape, dtype), 0, 1, generator);
}

/** Normal, mean 0 and variance 1: `randn(2, 3)` or `randn([2, 3], { generator, dtype })`. */
export function randn(...args: SizeArguments<RandomOptions>): Tensor {
  const [shape, { generator, dtype }] = sizeArguments(args, ['generator', 'dtype'], 'randn');
  return fillNormal(floats('randn', shape, dtype), 0, 1, generator);
}

/**
 * Integers in [low, high): `randint(high, shape, options?)` or `randint(low, high, shape, options?)`.
 *
 * @throws {RangeError} unless low < high
 */
export function randint(high: number, shape: readonly number[], options?: RandomOptions): Tensor;
export function randint(low: number, high: number, shape: readonly number[], options?: RandomOptions): Tensor;
export function randint(...args: unknown[]): Tensor {
  const withoutLow = Array.isArray(args[1]);
  const most = withoutLow ? 3 : 4;
  if (args.length > most) surplus('randint', most, args.length);
  const [low, high, sizes, options = {}] = (withoutLow ? [0, ...args] : args) as [
    number,
    number,
    readonly number[],
    RandomOptions?,
  ];
  if (!Number.isSafeInteger(low) || !Number.isSafeInteger(high)) {
    throw typeError(
      'ERR_INVALID_ARG_TYPE',
      `low and high should be safe integers, got ${describe(low)} and ${describe(high)}`,
    );
  }
  if (low >= high) {
    throw rangeError(
      'ERR_INVALID_ARG_VALUE',
      `random_ expects 'from' to be less than 'to', but got from=${low} >= to=${high}`,
    );
  }
  const shape = checkedShape(sizes);
  const dtype = integerDType('randint', options);
  if (dtype === int32 && (low < -(2 ** 31) || high > 2 ** 31))
    throw rangeError('ERR_INVALID_ARG_VALUE', `low and high should fit int32, got ${low} and ${high}`);
  const out = emptyArray(int64, numelOf(shape));
  const range = BigInt(high) - BigInt(low);
  native().randomIntegers(stateOf(options.generator), out, BigInt(low), range);
  return new Tensor(out, shape).to(dtype);
}

/** A random order of 0..n-1. */
export function randperm(n: number, options: RandomOptions = {}): Tensor {
  checkNumber('n', n);
  if (!Number.isInteger(n) || n < 0 || n >= 2 ** 32) {
    throw rangeError('ERR_INVALID_ARG_VALUE', `n should be a size below 2^32, got ${n}`);
  }
  const dtype = integerDType('randperm', options);
  const out = emptyArray(int64, n);
  native().randomPermutation(stateOf(options.generator), out);
  return new Tensor(out, [n]).to(dtype);
}

/** float32 ones with probability `p`, else zeros. */
export function bernoulli(p: number, sizes: readonly number[], generator?: Generator): Tensor {
  checkNumber('p', p);
  if (!(p >= 0 && p <= 1)) throw rangeError('ERR_INVALID_ARG_VALUE', `p should be in [0, 1], got ${p}`);
  const shape = checkedShape(sizes);
  const out = emptyArray(float32, numelOf(shape));
  native().randomBernoulli(stateOf(generator), out, p);
  return new Tensor(out, shape);
}

/** Fills a tensor in place from [from, to). */
export function fillUniform<T extends Tensor>(tensor: T, from: number, to: number, generator?: Generator): T {
  checkFloats('uniform_', tensor);
  checkBounds(tensor, from, to);
  const state = stateOf(generator);
  const data = writable(tensor);
  if (tensor.dtype === float32) native().randomUniform(state, data as Float32Array, from, to);
  else native().randomUniform64(state, data as Float64Array, from, to);
  tensor.version++;
  return tensor;
}

/** Fills a tensor in place from N(mean, std^2). */
export function fillNormal<T extends Tensor>(tensor: T, mean: number, std: number, generator?: Generator): T {
  checkFloats('normal_', tensor);
  checkNumber('mean', mean);
  checkNumber('std', std);
  if (!(std >= 0))
    throw rangeError('ERR_INVALID_ARG_VALUE', `normal expects std >= 0.0, but found std ${std}`);
  const state = stateOf(generator);
  const data = writable(tensor);
  if (tensor.dtype === float32) native().randomNormal(state, data as Float32Array, mean, std);
  else native().randomNormal64(state, data as Float64Array, mean, std);
  tensor.version++;
  return tensor;
}

/** Refuses a range that the tensor's floats cannot hold. */
function checkBounds({ dtype }: Tensor, from: number, to: number): void {
  checkNumber('from', from);
  checkNumber('to', to);
  const most = dtype === float32 ? largestFloat32 : Number.MAX_VALUE;
  for (const [name, bound] of [
    ['from', from],
    ['to', to],
  ] as const)
    if (!(Math.abs(bound) <= most))
      throw rangeError('ERR_INVALID_ARG_VALUE', `${name} is out of bounds for ${dtype}, got ${bound}`);
  if (!(from <= to)) {
    const sentence = `uniform_ expects to return a [from, to) range, but found from=${from} > to=${to}`;
    throw rangeError('ERR_INVALID_ARG_VALUE', sentence);
  }
  if (!(to - from <= most)) {
    const sentence = `uniform_ expects to-from <= ${most}, but found to=${to} and from=${from}`;
    throw rangeError('ERR_INVALID_ARG_VALUE', sentence);
  }
}

function checkFloats(where: string, tensor: Tensor): void {
  checkTensor('tensor', tensor);
  if (tensor.dtype !== float32 && tensor.dtype !== float64)
    throw typeError('ERR_DTYPE', `${where} needs a float32 or float64 tensor, got ${tensor.dtype}`);
}

/** The live state of a Generator, of this copy of the package or another. */
function stateOf(generator: Generator = defaultGenerator): Uint8Array {
  const state: unknown = typeof generator?.bytes === 'function' ? generator.bytes() : undefined;
  if (isBytes(state) && trueLength(state) === native().generatorStateBytes && state.byteOffset % 8 === 0)
    return state;
  throw typeError('ERR_INVALID_ARG_TYPE', `generator should be a Generator, got ${describe(generator)}`);
}

function floats(where: string, shape: readonly number[], dtype: DType = float32): Tensor {
  checkDTypeAmong(where, dtype, [float32, float64]);
  return new Tensor(emptyArray(dtype, numelOf(shape)), shape);
}

function integerDType(where: string, options: RandomOptions): DType {
  checkOptions(where, options, ['generator', 'dtype']);
  const { dtype = int64 } = options;
  checkDTypeAmong(where, dtype, [int64, int32]);
  return dtype;
}
