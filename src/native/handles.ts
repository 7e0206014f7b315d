/** What the addon gives and takes: types alone. The calls that are hot are made by call.ts, and only there. */

/** An array argument, or `undefined` when its slot holds it: see call.ts. */
export type Slotted = Float32Array | undefined;

/** Why a forward gave no result, an index into `statusNames`. */
export type Status = number;

/** The names of native/engine's `Status`. */
export type StatusName = 'ok' | 'inputNotFinite' | 'hiddenNotFinite' | 'cellNotFinite' | 'overflow';

/** Where a call's arguments and numbers lie: native/bindings/call.h tells what each means. */
export interface CallLayout {
  /** Floats of a slot: slot i is those from `slotFloats * i` on. */
  readonly slotFloats: number;
  /** The other numbers are indices of words. */
  readonly arrays: number;
  readonly given: number;
  readonly joined: number;
  readonly linearRows: number;
  readonly rnnSteps: number;
  readonly rnnBatch: number;
  readonly rnnFirstLayer: number;
  readonly rnnLayers: number;
  readonly tableBits: number;
  readonly tableWidth: number;
  readonly bagMode: number;
  readonly bagPadding: number;
}

/** Memory that both sides know, whose address need not be asked for. */
export interface CallMemory {
  readonly callSlots: Float32Array;
  readonly callWords: Float64Array;
  readonly callLayout: CallLayout;
  readonly statusNames: readonly StatusName[];
}

/** The recurrent layers, by the names of PyTorch's `RNNBase.mode`. */
export type RNNMode = 'LSTM' | 'GRU' | 'RNN_TANH' | 'RNN_RELU';

/**
 * A native stack of recurrent layers with float, float16 or INT8 weights: immutable, owns its packed weights and
 * the kernels that packed them.
 */
export interface RNNHandle {
  /**
   * Fills `y`, `hn` and, for an LSTM, `cn`. The words hold the steps, the batch, the first layer to run and how many.
   * The states are those of these layers.
   */
  forward(x: Slotted, h0: Slotted, c0: Slotted, y: Slotted, hn: Slotted, cn: Slotted): Status;
  /**
   * The same for packed sequences, the longest first: `batchSizes` says how many have each step, `x` and `y` hold
   * their rows, step by step. The words hold `batchSizes.length` and `batchSizes[0]` as steps and batch.
   */
  forwardPacked(...args: [...Parameters<RNNHandle['forward']>, batchSizes: BigInt64Array]): Status;
}

/** A native Linear with float, float16 or INT8 weights. */
export interface LinearHandle {
  /** Fills `out`. The words hold the rows. */
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

export interface Int8LinearHandle extends LinearHandle {
  unpackWeight(out: Int8Array): void;
}

/** What a stack of recurrent layers is made of. */
export interface RNNHandleSizes {
  readonly mode: RNNMode;
  readonly inputSize: number;
  readonly hiddenSize: number;
  /** 0 is none; only an LSTM may have one. */
  readonly projSize: number;
  readonly numLayers: number;
  /** 1 or 2. */
  readonly directions: number;
}

/**
 * A table of vectors as native code reads it: floats (`affines` null, 32 bits), or integers of 8 or 4 bits and each
 * row's scale and offset.
 */
export interface EmbeddingTable {
  readonly data: Float32Array | Uint8Array;
  readonly affines: Float32Array | null;
  readonly bits: 32 | 8 | 4;
  readonly width: number;
}

/** Bag b is the indices from `bounds[b]` up to `bounds[b + 1]`. */
export interface IndexBags {
  readonly indices: Int32Array;
  readonly bounds: Float64Array;
  /** One an index. */
  readonly weights: Float32Array | null;
}

/** What the addon exports. It trusts nobody, but its errors are for us: users' mistakes are caught above. */
export interface NativeAddon extends CallMemory {
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
   * `matrices`: for each layer and direction W_ih, W_hh and, with projections, W_hr, which has no bias; rows in
   * PyTorch's order.
   */
  FloatRNN: new (sizes: RNNHandleSizes, matrices: readonly FloatMatrix[]) => RNNHandle;
  HalfRNN: new (sizes: RNNHandleSizes, matrices: readonly HalfMatrix[]) => HalfRNNHandle;
  Int8RNN: new (
    sizes: RNNHandleSizes,
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

  /** Quantizes symmetrically with one scale, or one a row; false where a weight is not finite. */
  quantizeWeight(weight: Float32Array, rows: number, out: Int8Array, scales: Float32Array): boolean;
  /** Rounds to float16, beyond its range to +-65504; false where a weight is not finite. */
  quantizeHalf(weight: Float32Array, out: Uint16Array): boolean;
  /** `out` = the rows of `indices`, which are inside the table. The words hold the table's bits and width. */
  embeddingLookup(
    data: EmbeddingTable['data'],
    affines: EmbeddingTable['affines'],
    indices: Int32Array,
    out: Float32Array,
  ): void;
  /**
   * `out` = a result for each bag of indices. The words hold the table's bits and width, the mode (0 for sums, 1 for
   * means, 2 for maxima) and an index that counts for nothing, or -1.
   */
  embeddingBag(
    data: EmbeddingTable['data'],
    affines: EmbeddingTable['affines'],
    indices: Int32Array,
    bounds: Float64Array,
    weights: Float32Array | null,
    out: Float32Array,
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

  readonly maxThreads: number;
  /** How many threads a call may use, in the whole process: 1 to `maxThreads`. */
  setNumThreads(threads: number): void;
  /** The same, unless the number was set or asked for before. */
  setDefaultNumThreads(threads: number): void;
  getNumThreads(): number;
  readonly generatorStateBytes: number;
  /** The generator. `state` is `generatorStateBytes` long. */
  randomSeed(state: Uint8Array, seed: number): void;
  randomUniform(state: Uint8Array, out: Float32Array, from: number, to: number): void;
  randomUniform64(state: Uint8Array, out: Float64Array, from: number, to: number): void;
  randomNormal(state: Uint8Array, out: Float32Array, mean: number, std: number): void;
  randomNormal64(state: Uint8Array, out: Float64Array, mean: number, std: number): void;
  randomBernoulli(state: Uint8Array, out: Float32Array, p: number): void;
  randomIntegers(state: Uint8Array, out: BigInt64Array, low: bigint, range: bigint): void;
  randomPermutation(state: Uint8Array, out: BigInt64Array): void;

  /** For tests: the range of rows, and whether all are finite. */
  testRange(x: PlacedRows<Float32Array>, rows: number, columns: number): [number, number, boolean];
  /** For tests. */
  testQuantize(
    x: PlacedRows<Float32Array>,
    out: PlacedRows<Uint8Array>,
    options: { rows: number; columns: number; inverseScale: number; zeroPoint: number },
  ): void;
  /**
   * For tests: the params of `ranges`, pairs of min and max, in 127 or 255 levels, all in one call of the kernel;
   * whether it left every range empty.
   */
  testChooseParams(
    ranges: Float32Array,
    levels: number,
    scales: Float32Array,
    inverses: Float32Array,
    zeroPoints: Int32Array,
  ): boolean;
  /** For tests: `[scale, zeroPoint]` of one range by the scalar routine, the scale in double. */
  testScalarParams(min: number, max: number, levels: number): [number, number];
  TestInt8Matrix: new (
    matrix: Int8Matrix,
    depth: number,
    columns: number,
    reduceRange: boolean,
  ) => TestInt8Matrix;
  /** For tests: the whole CPUs of the cgroup quota that /proc and /sys below `root` tell; 0 for none. */
  testCgroupQuota(root: string): number;
  /**
   * For tests: `[size, participants]` of a team that covered [0, count) `rounds` times; throws where an index was
   * not covered exactly once.
   */
  testTeam(
    threads: number,
    workNs: number,
    count: number,
    grain: number,
    rounds: number,
    spins: number,
  ): [number, number];
}

/** For tests: rows somewhere in an array, so that they can lie at any address between guards. */
export interface PlacedRows<Elements> {
  array: Elements;
  offset: number;
  stride: number;
}

/** For tests: an INT8 weight alone, for products of bytes that no activation would give. */
export interface TestInt8Matrix {
  /** The integer product alone, on bytes of the caller's choice (0..128; 0..255 with the full range). */
  multiply(
    q: Uint8Array,
    options: { rows: number; stride: number; scale: number; zeroPoint: number },
    out: Float32Array,
  ): void;
  unpackWeight(out: Int8Array): void;
  /** Depth quads that one int16 sum takes on average where products are summed in chains, else 1. */
  meanChain(): number;
}
