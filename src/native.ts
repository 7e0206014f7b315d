import { join } from 'node:path';

/** A native LSTM, float or INT8: immutable, owns its packed weights and the kernels that packed them. */
export interface LSTMHandle {
  /**
   * Fills `y`, `hn` and `cn` and returns a {@link Status}. `firstLayer` and `layers` choose a part of the
   * stack; the states are those of the chosen layers.
   */
  forward(
    x: Float32Array,
    h0: Float32Array | null,
    c0: Float32Array | null,
    y: Float32Array,
    hn: Float32Array,
    cn: Float32Array,
    steps: number,
    batch: number,
    firstLayer: number,
    layers: number,
  ): Status;
}

/** A native Linear, float or INT8. */
export interface LinearHandle {
  /** Fills `out` with `rows` results. */
  forward(x: Float32Array, rows: number, out: Float32Array): Status;
}

/** A weight with its bias, as the handles' constructors take it. */
export interface FloatMatrix {
  weight: Float32Array;
  bias: Float32Array | null;
}

/** An INT8 weight with one scale, or one a row, and a float bias. */
export interface Int8Matrix {
  weight: Int8Array;
  scales: Float32Array;
  bias: Float32Array | null;
}

/** Adds what only INT8 handles have: their weights live nowhere else. */
export interface Int8LSTMHandle extends LSTMHandle {
  /** Writes a weight as it came; `matrix` counts W_ih and W_hh of each layer and direction. */
  unpackWeight(matrix: number, out: Int8Array): void;
}

/** Adds what only INT8 handles have. */
export interface Int8LinearHandle extends LinearHandle {
  unpackWeight(out: Int8Array): void;
  /** For tests: the integer product alone, on bytes of the caller's choice (0..128). */
  testMultiply(
    q: Uint8Array,
    rows: number,
    stride: number,
    scale: number,
    zeroPoint: number,
    out: Float32Array,
  ): void;
}

/** Why a forward gave no result; the numbers are native/engine/linear.h's. */
export const Status = {
  Ok: 0,
  InputNotFinite: 1,
  HiddenNotFinite: 2,
  CellNotFinite: 3,
  Overflow: 4,
} as const;
export type Status = (typeof Status)[keyof typeof Status];

/** What the addon exports. It trusts nobody, but its errors are for us: users' mistakes are caught above. */
export interface NativeAddon {
  FloatLinear: new (
    weight: Float32Array,
    bias: Float32Array | null,
    inFeatures: number,
    outFeatures: number,
  ) => LinearHandle;
  Int8Linear: new (
    weight: Int8Array,
    scales: Float32Array,
    bias: Float32Array | null,
    inFeatures: number,
    outFeatures: number,
  ) => Int8LinearHandle;
  FloatLSTM: new (
    inputSize: number,
    hiddenSize: number,
    numLayers: number,
    directions: number,
    matrices: readonly FloatMatrix[],
  ) => LSTMHandle;
  Int8LSTM: new (
    inputSize: number,
    hiddenSize: number,
    numLayers: number,
    directions: number,
    matrices: readonly Int8Matrix[],
  ) => Int8LSTMHandle;

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
