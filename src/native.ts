import { join } from 'node:path';

/** An array for native code, or `undefined`: it has what the argument's own slot holds, see {@link Memory}. */
export type Slotted = Float32Array | undefined;

/** Memory that both sides know, whose address need not be asked for. */
export interface Memory {
  /** Slot i, for a call's i-th argument, is the {@link slotSize} floats from slotSize * i on. */
  readonly slots: Float32Array;
  /**
   * The numbers of a call, for as arguments those beyond six cost 100 ns; the last, at {@link arraysAt}, has a bit
   * for each argument that is an array.
   */
  readonly sizes: Float64Array;
}
/** kSlotFloats and kSizes - 1 in native/bindings/bindings.h. */
const slotSize = 256;
export const arraysAt = 5;

/** The recurrent layers, by the names of PyTorch's `RNNBase.mode`. */
export type RNNMode = 'LSTM' | 'GRU' | 'RNN_TANH' | 'RNN_RELU';

/**
 * A native stack of recurrent layers with float, float16 or INT8 weights: immutable, owns its packed weights and
 * the kernels that packed them.
 */
export interface RNNHandle {
  /**
   * Fills `y`, `hn` and, for an LSTM, `cn` and returns a {@link Status}. A `y` that is larger by `hn` and `cn` takes
   * them too, in this order, and an `hn` that is larger by `cn` takes that. `sizes` holds the steps, the batch, the
   * first layer to run, how many, and which states there are (1 for `h0`, 2 for `c0`): the states are those of the
   * chosen layers.
   */
  forward(x: Slotted, h0: Slotted, c0: Slotted, y: Slotted, hn: Slotted, cn: Slotted): Status;
  /**
   * The same for packed sequences, the longest first: `batchSizes` says how many have each step, `x` and `y`
   * hold their rows, step by step. `sizes` begins with `batchSizes.length` and `batchSizes[0]`.
   */
  forwardPacked(
    x: Slotted,
    h0: Slotted,
    c0: Slotted,
    y: Slotted,
    hn: Slotted,
    cn: Slotted,
    batchSizes: BigInt64Array,
  ): Status;
}

/** A native Linear with float, float16 or INT8 weights. */
export interface LinearHandle {
  /** Fills `out`; `sizes` holds the rows. */
  forward(x: Slotted, out: Slotted): Status;
}

/** A weight with its bias, as the handles' constructors take it. */
export interface FloatMatrix {
  weight: Float32Array;
  bias: Float32Array | null;
}

/** A float16 weight, raw bits, with a float bias. */
export interface HalfMatrix {
  weight: Uint16Array;
  bias: Float32Array | null;
}

/** An INT8 weight with one scale, or one a row, and a float bias. */
export interface Int8Matrix {
  weight: Int8Array;
  scales: Float32Array;
  bias: Float32Array | null;
}

/** What handles add whose weights live nowhere else. */
export interface Unpack<Weight> {
  /** Writes a weight as it came; `matrix` counts the constructor's `matrices`. */
  unpackWeight(matrix: number, out: Weight): void;
}
export type HalfRNNHandle = RNNHandle & Unpack<Uint16Array>;
export type Int8RNNHandle = RNNHandle & Unpack<Int8Array>;

export interface HalfLinearHandle extends LinearHandle {
  unpackWeight(out: Uint16Array): void;
}

/** Adds what only INT8 handles have. */
export interface Int8LinearHandle extends LinearHandle {
  unpackWeight(out: Int8Array): void;
  /** Depth quads that one int16 sum takes on average where products are summed in chains, else 1. */
  meanChain(): number;
  /** For tests: the integer product alone, on bytes of the caller's choice (0..128; 0..255 with the full range). */
  testMultiply(
    q: Uint8Array,
    rows: number,
    stride: number,
    scale: number,
    zeroPoint: number,
    out: Float32Array,
  ): void;
}

/** Why a forward gave no result; the numbers are native/engine/status.h's. */
export const Status = {
  Ok: 0,
  InputNotFinite: 1,
  HiddenNotFinite: 2,
  CellNotFinite: 3,
  Overflow: 4,
} as const;
export type Status = (typeof Status)[keyof typeof Status];

/** Turns an INT8 layer's refusal into the sentence that names what was wrong; `hidden` is what h0 is called. */
export function throwUnlessOk(status: Status, hidden = 'hidden[0]'): void {
  if (status === Status.Ok) return;
  const finite = 'should be finite for an INT8 layer, but holds NaN or infinity';
  if (status === Status.InputNotFinite) throw new RangeError(`input ${finite}`);
  if (status === Status.HiddenNotFinite) throw new RangeError(`${hidden} ${finite}`);
  if (status === Status.CellNotFinite) throw new RangeError(`hidden[1] ${finite}`);
  throw new RangeError('the output overflows float32: input, state or weights are too large');
}

/** What the addon exports. It trusts nobody, but its errors are for us: users' mistakes are caught above. */
export interface NativeAddon extends Memory {
  FloatLinear: new (
    matrix: FloatMatrix,
    inFeatures: number,
    outFeatures: number,
    relu: boolean,
  ) => LinearHandle;
  HalfLinear: new (
    matrix: HalfMatrix,
    inFeatures: number,
    outFeatures: number,
    relu: boolean,
  ) => HalfLinearHandle;
  Int8Linear: new (
    matrix: Int8Matrix,
    inFeatures: number,
    outFeatures: number,
    perRow: boolean,
    reduceRange: boolean,
    relu: boolean,
  ) => Int8LinearHandle;
  /**
   * `projSize` 0 is none (only an LSTM may have one). `matrices`: for each layer and direction W_ih, W_hh and,
   * with projections, W_hr, which has no bias; rows in PyTorch's order.
   */
  FloatRNN: new (
    mode: RNNMode,
    inputSize: number,
    hiddenSize: number,
    projSize: number,
    numLayers: number,
    directions: number,
    matrices: readonly FloatMatrix[],
  ) => RNNHandle;
  HalfRNN: new (
    mode: RNNMode,
    inputSize: number,
    hiddenSize: number,
    projSize: number,
    numLayers: number,
    directions: number,
    matrices: readonly HalfMatrix[],
  ) => HalfRNNHandle;
  Int8RNN: new (
    mode: RNNMode,
    inputSize: number,
    hiddenSize: number,
    projSize: number,
    numLayers: number,
    directions: number,
    matrices: readonly Int8Matrix[],
    perRow: boolean,
    reduceRange: boolean,
  ) => Int8RNNHandle;

  /** The instruction sets this machine can run, best first. */
  isas(): string[];
  /** The one that handles built from now on use. */
  isa(): string;
  /** Chooses it; false where there is no such one here. */
  selectIsa(name: string): boolean;

  /** `[scale, zeroPoint]` of activations in `[min, max]`. */
  chooseQuantizationParams(min: number, max: number, reduceRange: boolean): [number, number];
  /** Quantizes symmetrically with one scale, or one a row; false where a weight is not finite. */
  quantizeWeight(weight: Float32Array, rows: number, out: Int8Array, scales: Float32Array): boolean;
  /** Rounds to float16, beyond its range to +-65504; false where a weight is not finite. */
  quantizeHalf(weight: Float32Array, out: Uint16Array): boolean;
  /**
   * `out` = the rows of `indices` of a table of `width` columns: a Float32Array (`affines` null, 32 bits), or
   * integers of 8 or 4 bits with `affines` holding each row's scale and offset.
   */
  embeddingLookup(
    table: Float32Array | Uint8Array,
    affines: Float32Array | null,
    bits: number,
    width: number,
    indices: Int32Array,
    out: Float32Array,
  ): void;
  /**
   * `out` = a result for each bag of indices, which `bounds` (one more than bags) part. `mode` is 0 for sums, 1 for
   * means, 2 for maxima; `padding` an index that counts for nothing, or -1.
   */
  embeddingBag(
    table: Float32Array | Uint8Array,
    affines: Float32Array | null,
    bits: number,
    width: number,
    indices: Int32Array,
    out: Float32Array,
    bounds: Float64Array,
    mode: number,
    weights: Float32Array | null,
    padding: number,
  ): void;
  /** Quantizes each row to 8 or 4 bits; false where a weight, or a row's range, is not finite. */
  quantizeTable(
    weight: Float32Array,
    width: number,
    bits: number,
    out: Uint8Array,
    scales: Float32Array,
    zeroPoints: Float32Array,
  ): boolean;
  sigmoid(x: Float32Array, out: Float32Array): void;
  tanh(x: Float32Array, out: Float32Array): void;

  /** For tests: single kernels on matrices at any address. */
  testRange(
    x: Float32Array,
    offset: number,
    rows: number,
    columns: number,
    stride: number,
  ): [number, number, boolean];
  testQuantize(
    x: Float32Array,
    offset: number,
    rows: number,
    columns: number,
    stride: number,
    inverseScale: number,
    zeroPoint: number,
    out: Uint8Array,
    outOffset: number,
    outStride: number,
  ): void;

  /** How many threads a call may use, in the whole process; 1..{@link maxThreads}. */
  setNumThreads(threads: number): void;
  /** The same, unless the number was set or asked for before. */
  setDefaultNumThreads(threads: number): void;
  getNumThreads(): number;
  /** For tests: the whole CPUs of the cgroup quota that /proc and /sys below `root` tell; 0 for none. */
  testCgroupQuota(root: string): number;
  /**
   * For tests: `[size, participants]` of a team that covered [0, count) `rounds` times; throws where an
   * index was not covered exactly once.
   */
  testTeam(
    threads: number,
    workNs: number,
    count: number,
    grain: number,
    rounds: number,
    spins: number,
  ): [number, number];

  /** The generator; `state` is the bytes of native/engine/random.h's GeneratorState. */
  randomSeed(state: Uint8Array, seed: number): void;
  randomUniform(state: Uint8Array, out: Float32Array, from: number, to: number): void;
  randomUniform64(state: Uint8Array, out: Float64Array, from: number, to: number): void;
  randomNormal(state: Uint8Array, out: Float32Array, mean: number, std: number): void;
  randomNormal64(state: Uint8Array, out: Float64Array, mean: number, std: number): void;
  randomBernoulli(state: Uint8Array, out: Float32Array, p: number): void;
  randomIntegers(state: Uint8Array, out: BigInt64Array, low: bigint, range: bigint): void;
  randomPermutation(state: Uint8Array, out: BigInt64Array): void;
}

/** kMaxThreads in native/engine/thread_pool.h. */
export const maxThreads = 256;

let addon: NativeAddon | undefined;

/**
 * The addon, loaded at the first call. `DYNAQUANT_ISA` lowers the choice of instruction set,
 * `DYNAQUANT_NUM_THREADS` is the number of threads until `setNumThreads` changes it.
 *
 * @throws {Error} when there is no build for this machine, `DYNAQUANT_ISA` names no instruction set that it
 * can run, or `DYNAQUANT_NUM_THREADS` is no number of threads.
 */
export function native(): NativeAddon {
  return (addon ??= loadAddon());
}

let shared: Memory | undefined;

/** The addon's memory, apart from its many other properties, which make it slow to ask for one (10 ns). */
export function memory(): Memory {
  if (shared === undefined) {
    const { slots, sizes } = native();
    shared = { slots, sizes };
  }
  return shared;
}

function loadAddon(): NativeAddon {
  const root = join(__dirname, '..');
  let loaded: NativeAddon;
  try {
    // eslint-disable-next-line @typescript-eslint/no-require-imports -- has no types, and loads lazily
    loaded = (require('node-gyp-build') as (directory: string) => NativeAddon)(root);
  } catch (error) {
    throw new Error(
      `dynaquant has no native build for ${process.platform}-${process.arch} in ${root}: run \`npm run build\` there`,
      { cause: error },
    );
  }
  const wanted = process.env['DYNAQUANT_ISA'];
  if (wanted !== undefined && wanted !== '' && !loaded.selectIsa(wanted)) {
    throw new Error(
      `DYNAQUANT_ISA is '${wanted}', which this machine cannot run; it has ${loaded.isas().join(', ')}`,
    );
  }
  const threads = process.env['DYNAQUANT_NUM_THREADS'];
  if (threads !== undefined && threads !== '') {
    if (!/^\d{1,9}$/.test(threads) || Number(threads) < 1 || Number(threads) > maxThreads) {
      throw new Error(
        `DYNAQUANT_NUM_THREADS is '${threads}', which is no whole number from 1 to ${maxThreads}`,
      );
    }
    loaded.setDefaultNumThreads(Number(threads));
  }
  return loaded;
}

/**
 * V8 keeps a Float32Array of up to so many elements on its own heap, where it costs a tenth of one with a
 * buffer (22 against 120 ns here, and less to collect), and moves it out, for more than either, as soon as
 * native code asks for its address. So such a small array travels by copy through a slot of shared memory.
 */
const heapSize = 16;

/**
 * Passes an argument: itself, or `undefined` and a copy in the slot. (To ask for the address of any array costs
 * 45 ns, a copy of so few 20.)
 */
export function toSlot(slots: Float32Array, slot: number, data: Float32Array): Slotted {
  if (data.length > slotSize) return data;
  if (data.length > heapSize) slots.set(data, slot * slotSize);
  else for (let i = 0; i < data.length; i++) slots[slot * slotSize + i] = data[i]!;
  return undefined;
}

/** What the i-th argument adds to the last of the sizes. */
export function arrayBit(argument: Slotted, i: number): number {
  return argument === undefined ? 0 : 1 << i;
}

/** A new array for `count` results, or `undefined` when they are few and come through a slot. */
export function newOutput(count: number): Slotted {
  if (count <= heapSize) return undefined;
  // Large buffers come without zeros: setting them costs as much as writing the results, and twice that where
  // it touches pages for the first time.
  if (count < unzeroedFrom) return new Float32Array(count);
  return new Float32Array(Buffer.allocUnsafeSlow(4 * count).buffer);
}
const unzeroedFrom = 65536;

/**
 * Whether a recurrent layer's states (`cellCount` 0: it has one) share a buffer, for each costs some 0.6 µs, most of it
 * when it is collected; also with an output that is no longer than they are, as of a single step. (Whoever keeps the
 * states would keep a long one too.)
 */
export function shareBuffer(hiddenCount: number, cellCount: number): boolean {
  const onHeap = hiddenCount <= heapSize || (cellCount > 0 && cellCount <= heapSize);
  return !onHeap && hiddenCount + cellCount <= largestShared;
}
const largestShared = 8192;

/** The results of a call: `output` itself, or the slot's first `count` floats. */
export function fromSlot(slots: Float32Array, slot: number, output: Slotted, count: number): Float32Array {
  if (output !== undefined) return output;
  const copy = new Float32Array(count);
  for (let i = 0; i < count; i++) copy[i] = slots[slot * slotSize + i]!;
  return copy;
}
