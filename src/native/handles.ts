/** What the addon gives and takes: types alone. Only call.ts makes the hot calls. */

/** An array argument, or `undefined` when its slot holds it: see call.ts. */
export type Slotted = Float32Array | undefined;

/** Why a forward gave no result, an index into `statusNames`. */
export type Status = number;

/** The names of native/engine's `Status`. */
export type StatusName =
  'ok' | 'inputNotFinite' | 'hiddenNotFinite' | 'cellNotFinite' | 'overflow' | 'stopped' | 'noMemory';

/** Called when an asynchronous call has run. `bytes` could not be allocated, if the status says so; 0 if unknown. */
export type Settle = (status: Status, bytes: number) => void;

/** Where a call's arguments and numbers are. native/bindings/call.h says what each means. */
export interface CallLayout {
  /** Floats of a slot. Slot i begins at `slotFloats * i`. */
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
  readonly convolutionBatch: number;
  readonly convolutionRows: number;
  readonly convolutionColumns: number;
  readonly poolingPlanes: number;
  readonly poolingRows: number;
  readonly poolingColumns: number;
  readonly tableBits: number;
  readonly tableWidth: number;
  readonly bagMode: number;
  readonly bagPadding: number;
  readonly reduceOuter: number;
  readonly reduceLength: number;
  readonly reduceInner: number;
  readonly reduction: number;
  readonly normGroups: number;
  readonly normEps: number;
  readonly elementwiseFunction: number;
  readonly elementwiseCount: number;
  readonly elementwiseNumbers: number;
  readonly productRows: number;
  readonly productDepth: number;
  readonly productColumns: number;
  readonly productTransposed: number;
}

/** Memory that both sides know, so that a call need not ask for its address. */
export interface CallMemory {
  readonly callSlots: Float32Array;
  readonly callWords: Float64Array;
  readonly callLayout: CallLayout;
  readonly statusNames: readonly StatusName[];
}

/** The recurrent layers, by the names of PyTorch's `RNNBase.mode`. */
export type RNNMode = 'LSTM' | 'GRU' | 'RNN_TANH' | 'RNN_RELU';

/**
 * A native layer: immutable, with its packed weights and the kernels that packed them. It may have several handles, in
 * one environment or several. The memory is freed with the last of them, and after the last call that runs on it.
 */
export interface NativeHandle {
  /** A number from which the constructor makes another handle of the same layer, in any environment of the process. */
  share(): number;
  /** Lets go of the layer. No other call may follow. */
  dispose(): void;
}

/** A class of handles: from what the layer is made of, or from the number under which another handle shares it. */
export interface HandleClass<Handle extends NativeHandle, Arguments extends unknown[]> {
  new (number: number): Handle;
  new (...args: Arguments): Handle;
}

/** A native stack of recurrent layers with float, float16 or INT8 weights. */
export interface RNNHandle extends NativeHandle {
  /**
   * Fills `y`, `hn` and, for an LSTM, `cn`. The words hold the steps, the batch, the first layer to run and how many
   * layers to run. The states are those of these layers.
   */
  forward(x: Slotted, h0: Slotted, c0: Slotted, y: Slotted, hn: Slotted, cn: Slotted): Status;
  /**
   * The same for packed sequences, the longest first. `batchSizes` says how many sequences reach each step; `x` and `y`
   * hold their rows, step by step. The words hold `batchSizes.length` as steps and `batchSizes[0]` as batch.
   */
  forwardPacked(...args: [...Parameters<RNNHandle['forward']>, batchSizes: BigInt64Array]): Status;
  /**
   * The same on another thread, for both. Inputs are copied, outputs must not be touched until `settle` is called.
   * Returns a number for `cancelCall`.
   */
  start(
    x: Float32Array,
    h0: Float32Array | null,
    c0: Float32Array | null,
    y: Float32Array,
    hn: Float32Array,
    cn: Float32Array,
    settle: Settle,
    steps: number,
    batch: number,
    firstLayer: number,
    layers: number,
    batchSizes: BigInt64Array | null,
  ): number;
  /** Roughly how long a row of one layer takes on one thread. */
  readonly rowNanoseconds: number;
}

/** A native Linear with float, float16 or INT8 weights. */
export interface LinearHandle extends NativeHandle {
  /** Fills `out`. The words hold the rows. */
  forward(x: Slotted, out: Slotted): Status;
  /** The same on another thread: see {@link RNNHandle.start}. */
  start(x: Float32Array, out: Float32Array, settle: Settle, rows: number): number;
  /** Roughly how long a row takes on one thread. */
  readonly rowNanoseconds: number;
}

/** A native convolution with float weights. */
export interface ConvolutionHandle extends NativeHandle {
  /** Fills `out`. The words hold the batch, and the rows and columns of the input's planes. */
  forward(x: Slotted, out: Slotted): Status;
  /** The same on another thread: see {@link RNNHandle.start}. */
  start(
    x: Float32Array,
    out: Float32Array,
    settle: Settle,
    batch: number,
    rows: number,
    columns: number,
  ): number;
  /** Roughly how long a position of the output takes on one thread, in all channels. */
  readonly rowNanoseconds: number;
}

export interface Int8ConvolutionHandle extends ConvolutionHandle {
  unpackWeight(out: Int8Array): void;
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

/** Handles whose weights live nowhere else can give them back. */
export interface Unpack<Weight> {
  /** Writes a weight as it was given. `matrix` is its index in the constructor's `matrices`. */
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
  /** 0 for no projection; only an LSTM may have one. */
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

/** Bag b holds the indices from `bounds[b]` up to, not including, `bounds[b + 1]`. */
export interface IndexBags {
  readonly indices: Int32Array;
  readonly bounds: Float64Array;
  /** One for each index. */
  readonly weights: Float32Array | null;
}

/** An array as `outer` blocks of `length` rows of `inner` elements: its lines have `length` elements. */
export interface Lines {
  readonly outer: number;
  readonly length: number;
  readonly inner: number;
}

/** The states of a recurrent module for one stream: `layers` rows of h, then of c, in floats; `cell` 0 if it has no c. */
export interface StreamPart {
  readonly layers: number;
  readonly hidden: number;
  readonly cell: number;
}

/** What is wrong with a stream's id, an index into `streamStatusNames`. */
export type StreamStatus = number;

/** The names of native/engine's `StreamStatus`. */
export type StreamStatusName = 'ok' | 'noStream' | 'inStep' | 'twice';

/** The states of many streams. A step takes its streams by `begin` and lets go of them by `end`. */
export interface StreamArena {
  /** A new id, or 0 if none is left. */
  open(): number;
  reset(id: number): StreamStatus;
  close(id: number): StreamStatus;
  /** Copies all of a stream's floats. */
  read(id: number, out: Float32Array): StreamStatus;
  write(id: number, states: Float32Array): StreamStatus;
  /**
   * Takes the first `count` streams of `ids`. Fills `slots`, by which the step names them, and `states`: for each part
   * h0, then c0, both `[layers][count][row]`. If an id is wrong, takes none, and `slots[0]` is its index.
   */
  begin(ids: Float64Array, count: number, slots: Int32Array, states: Float32Array): StreamStatus;
  /** Lets go of the streams. Their states become `states`, which lie as `begin` gathers them, if they are given. */
  end(slots: Int32Array, count: number, states?: Float32Array): void;
  /** Frees all streams. No other call may follow. */
  dispose(): void;
}

/** What the addon exports. It checks all arguments, but its sentences are for us: TypeScript speaks to users. */
export interface NativeAddon extends CallMemory {
  readonly callMemory?: CallMemory & { readonly name: string }; // of WebAssembly: slots and words move, threads have others
  FloatLinear: HandleClass<
    LinearHandle,
    [matrix: FloatMatrix, inFeatures: number, outFeatures: number, relu: boolean]
  >;
  HalfLinear: HandleClass<
    HalfLinearHandle,
    [matrix: HalfMatrix, inFeatures: number, outFeatures: number, relu: boolean]
  >;
  Int8Linear: HandleClass<
    Int8LinearHandle,
    [
      matrix: Int8Matrix,
      inFeatures: number,
      outFeatures: number,
      perRow: boolean,
      reduceRange: boolean,
      relu: boolean,
    ]
  >;
  /**
   * `matrices`: for each layer and direction W_ih, W_hh and, with projections, W_hr, which has no bias; rows in
   * PyTorch's order.
   */
  FloatRNN: HandleClass<RNNHandle, [sizes: RNNHandleSizes, matrices: readonly FloatMatrix[]]>;
  HalfRNN: HandleClass<HalfRNNHandle, [sizes: RNNHandleSizes, matrices: readonly HalfMatrix[]]>;
  Int8RNN: HandleClass<
    Int8RNNHandle,
    [sizes: RNNHandleSizes, matrices: readonly Int8Matrix[], perRow: boolean, reduceRange: boolean]
  >;

  /**
   * `sizes`: input channels, output channels, groups, padding mode (0 zeros, 1 reflect, 2 replicate, 3 circular), 1 if
   * transposed; then of rows and of columns each kernel, stride, dilation, padding before and after, output padding.
   */
  FloatConvolution: HandleClass<
    ConvolutionHandle,
    [weight: Float32Array, bias: Float32Array | null, sizes: Float64Array]
  >;
  /** The same `sizes`, of one dimension and not transposed. */
  Int8Convolution: HandleClass<
    Int8ConvolutionHandle,
    [matrix: Int8Matrix, sizes: Float64Array, reduceRange: boolean]
  >;

  /** The instruction sets that this machine can run, best first. */
  isas(): string[];
  /** The instruction set of handles that are built from now on. */
  isa(): string;
  /** Takes back a call that waits; false if it runs or has run. Its `settle` will not be called. */
  cancelCall(number: number): boolean;
  /** Chooses the instruction set; false if this machine cannot run it. */
  selectIsa(name: string): boolean;
  readonly version: string;

  /** Quantizes symmetrically, with one scale or one for each row. False if a weight is not finite. */
  quantizeWeight(weight: Float32Array, rows: number, out: Int8Array, scales: Float32Array): boolean;
  /** Rounds to float16, beyond its range to +-65504. False if a weight is not finite. */
  quantizeHalf(weight: Float32Array, out: Uint16Array): boolean;
  /** `out` = the rows of `indices`, all inside the table. The words hold the table's bits and width. */
  embeddingLookup(
    data: EmbeddingTable['data'],
    affines: EmbeddingTable['affines'],
    indices: Int32Array,
    out: Float32Array,
  ): void;
  /**
   * `out` = a result for each bag of indices. The words hold the table's bits and width, the mode (0 for sums, 1 for
   * means, 2 for maxima) and an index that is left out, or -1.
   */
  embeddingBag(
    data: EmbeddingTable['data'],
    affines: EmbeddingTable['affines'],
    indices: Int32Array,
    bounds: Float64Array,
    weights: Float32Array | null,
    out: Float32Array,
  ): void;
  /** Quantizes each row to 8 or 4 bits. False if a weight or the range of a row is not finite. */
  quantizeTable(
    weight: Float32Array,
    width: number,
    bits: number,
    out: Uint8Array,
    scales: Float32Array,
    zeroPoints: Float32Array,
  ): boolean;
  /** `out` = a number for each line. The words hold the lines, none of them empty, and what becomes of one. */
  reduce(x: Slotted, out: Slotted): void;
  /** `out` = each line's softmax. The words hold the lines and, as the reduction, 1 for the logarithm. */
  softmax(x: Slotted, out: Slotted): void;
  /** `out` = normalized rows. The words hold rows, length, groups, elements to a weight, the kind of norm and eps. */
  normalize(x: Slotted, weight: Slotted, bias: Slotted, out: Slotted): void;
  /** `out` = `(x - mean) * weight + bias` of each channel. The words hold rows, channels and a channel's length. */
  scaleChannels(x: Slotted, means: Slotted, weight: Slotted, bias: Slotted, out: Slotted): void;
  /** `out` = a function of each element of `x`. The words hold its number, the count, and its numbers a and b. */
  unary(x: Slotted, out: Slotted): void;
  /**
   * `out` = a function of `a` and `b`, broadcast along `axes`: the size of each dimension, followed by the operands'
   * strides along it. Without them there is one dimension, and the words hold its size and strides.
   */
  binary(a: Slotted, b: Slotted, out: Slotted, axes: Float64Array | undefined): void;
  /** The same for comparisons: `out` is 1 where it is true, else 0. */
  compare(a: Slotted, b: Slotted, out: Uint8Array, axes: Float64Array | undefined): void;
  /** `out` = `yes` where the condition is not 0, else `no`. */
  select(
    condition: Uint8Array,
    yes: Slotted,
    no: Slotted,
    out: Slotted,
    axes: Float64Array | undefined,
  ): void;

  /**
   * Moves elements of 4 or 8 bytes. `layout` holds the number of dimensions, where the walk begins in `data` and in
   * `out`, then of each dimension its size and its steps in both, in elements of 4 bytes.
   */
  rearrange(data: NodeJS.TypedArray, out: NodeJS.TypedArray, layout: Float64Array): Status;
  /** The most dimensions of such a layout. */
  readonly mostMovedDims: number;
  /**
   * `out` = the largest value or the mean of each window of the planes, whose number, rows and columns are words.
   * `sizes`: 0 for maxima, 1 for means, 2 for means with padding, 3 and 4 for adaptive maxima and means; the divisor or
   * 0; then of rows and of columns each the windows, kernel, stride, dilation, padding.
   */
  pool(x: Slotted, out: Slotted, sizes: Float64Array, indices: BigInt64Array | null): Status;

  /**
   * `out` = the product of two float matrices, or those of a batch, which holds `[size, aStep, bStep]` of each of its
   * dimensions. The words hold the sizes, and whether `b` is transposed. Only then there may be a bias.
   */
  multiplyFloats(
    a: Slotted,
    b: Slotted,
    out: Slotted,
    bias: Slotted,
    batch: Float64Array | undefined,
  ): Status;

  /**
   * Attention: see native/engine/attention.h. `mask` and `weights` may be null. `geometry` holds the sizes, the scale,
   * whether it is causal, and offset and steps of each array but the weights.
   */
  attend(
    q: Float32Array,
    k: Float32Array,
    v: Float32Array,
    mask: Float32Array | null,
    out: Float32Array,
    weights: Float32Array | null,
    geometry: Float64Array,
  ): Status;

  /**
   * A layer of a transformer's encoder: see call-encoder.ts. The geometry's first number becomes the nanoseconds that the
   * Linears took.
   */
  encodeLayer(...args: [...arrays: (Float32Array | null)[], geometry: Float64Array]): Status;
  startEncodeLayer(
    ...args: [...arrays: (Float32Array | null)[], geometry: Float64Array, settle: Settle]
  ): number;

  StreamArena: new (parts: readonly StreamPart[]) => StreamArena;
  readonly streamStatusNames: readonly StreamStatusName[];
  /** A hash of 64 bits. */
  hashBytes(bytes: Uint8Array, seed: bigint): bigint;

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
   * For tests: the params of `ranges`, pairs of min and max, in 127 or 255 levels, all in one call of the kernel.
   * Returns whether the kernel left every range empty.
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
  /** For tests: the cgroup quota in /proc and /sys below `root`, in whole CPUs; 0 if there is none. */
  testCgroupQuota(root: string): number;
  /**
   * For tests: `[size, participants]` of a team that covered [0, count) `rounds` times. Throws if an index was not
   * covered exactly once.
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
  /** The mean number of depth quads that one int16 sum takes; 1 unless products are summed in chains. */
  meanChain(): number;
}
