// The time no implementation can beat on this machine, from what its hardware was measured to do.
import { gates, type Trial } from './trials.js';

/** What hardware.cc prints; every list has one figure for each of `threads`. */
export interface Hardware {
  readonly threads: readonly number[];
  /** Multiply-adds a second by instruction set, best first. */
  readonly peaks: readonly { isa: string; int8: readonly number[]; fp32: readonly number[] }[];
  /** Bytes read a second by size of the working set, which all threads share. */
  readonly reads: readonly { bytes: number; bytesPerSecond: readonly number[] }[];
}

/** The figures for one kind of arithmetic and one number of threads. */
export interface Machine {
  readonly multiplyAddsPerSecond: number;
  readonly bytesPerWeight: number;
  readonly reads: readonly { bytes: number; bytesPerSecond: number }[];
}

/** @throws {RangeError} for a number of threads that was not measured */
export function machineFor(
  hardware: Hardware,
  weights: 'int8' | 'float16' | 'float',
  threads: number,
  isa: string | undefined,
): Machine {
  const index = hardware.threads.indexOf(threads);
  if (index < 0) throw new RangeError(`the hardware was not measured with ${threads} threads`);
  // An instruction set without figures of its own (scalar) is compared with the machine's best.
  const peaks = hardware.peaks.find((each) => each.isa === isa) ?? hardware.peaks[0]!;
  return {
    multiplyAddsPerSecond: (weights === 'int8' ? peaks.int8 : peaks.fp32)[index]!,
    bytesPerWeight: { int8: 1, float16: 2, float: 4 }[weights],
    reads: hardware.reads.map(({ bytes, bytesPerSecond }) => ({
      bytes,
      bytesPerSecond: bytesPerSecond[index]!,
    })),
  };
}

/** The read speed of a working set, interpolated between the measured sizes (both logarithmic). */
export function readSpeed(machine: Machine, bytes: number): number {
  const { reads } = machine;
  const above = reads.findIndex((read) => read.bytes >= bytes);
  if (above === 0) return reads[0]!.bytesPerSecond;
  if (above < 0) return reads[reads.length - 1]!.bytesPerSecond;
  const [low, high] = [reads[above - 1]!, reads[above]!];
  const share = Math.log(bytes / low.bytes) / Math.log(high.bytes / low.bytes);
  return low.bytesPerSecond * (high.bytesPerSecond / low.bytesPerSecond) ** share;
}

/**
 * The bound of a call in microseconds: a product takes its multiply-adds at the peak or its weights read
 * once, whichever is longer. A recurrent layer's input projection is one product of T * B rows; then each step is a
 * product of B rows. The smaller a step's weights are, the nearer is the cache that they stay in.
 */
export function boundMicroseconds(trial: Trial, machine: Machine): number {
  const { kind, input, output, batch, steps } = trial;
  const product = (rows: number, weights: number, workingSet: number): number =>
    Math.max(
      (rows * weights) / machine.multiplyAddsPerSecond,
      (weights * machine.bytesPerWeight) / readSpeed(machine, workingSet * machine.bytesPerWeight),
    );
  if (kind === 'linear') return 1e6 * product(batch, input * output, input * output);
  const inputWeights = gates[kind] * output * input;
  const hiddenWeights = gates[kind] * output * output;
  const all = inputWeights + hiddenWeights;
  return (
    1e6 *
    (product(steps * batch, inputWeights, all) +
      steps * product(batch, hiddenWeights, steps === 1 ? all : hiddenWeights))
  );
}

/** The best of two measurements, figure by figure: a slow moment must not lower the bar. */
export function bestOf(a: Hardware, b: Hardware): Hardware {
  const best = (x: readonly number[], y: readonly number[]): number[] =>
    x.map((value, i) => Math.max(value, y[i]!));
  return {
    threads: a.threads,
    peaks: a.peaks.map((peak, i) => ({
      isa: peak.isa,
      int8: best(peak.int8, b.peaks[i]!.int8),
      fp32: best(peak.fp32, b.peaks[i]!.fp32),
    })),
    reads: a.reads.map((read, i) => ({
      bytes: read.bytes,
      bytesPerSecond: best(read.bytesPerSecond, b.reads[i]!.bytesPerSecond),
    })),
  };
}
