import { bestOf, boundMicroseconds, machineFor, readSpeed, type Hardware } from '../benchmarks/roofline.js';
import type { Trial } from '../benchmarks/trials.js';

const hardware: Hardware = {
  threads: [1, 2],
  peaks: [
    { isa: 'avx512vnni', int8: [200e9, 400e9], fp32: [50e9, 100e9] },
    { isa: 'avx2', int8: [100e9, 200e9], fp32: [50e9, 100e9] },
  ],
  reads: [
    { bytes: 1 << 20, bytesPerSecond: [100e9, 200e9] },
    { bytes: 1 << 22, bytesPerSecond: [25e9, 50e9] },
  ],
};
const int8 = machineFor(hardware, 'int8', 1, undefined);
const lstm = (size: number, batch: number, steps: number): Trial => ({
  kind: 'lstm',
  input: size,
  output: size,
  batch,
  steps,
  weights: 'trained',
  threads: 1,
});

test('the peak is that of the instruction set and the threads, scalar is held to the best', () => {
  expect(machineFor(hardware, 'int8', 2, 'avx2').multiplyAddsPerSecond).toBe(200e9);
  expect(machineFor(hardware, 'float', 1, 'avx512vnni').multiplyAddsPerSecond).toBe(50e9);
  expect(machineFor(hardware, 'int8', 1, 'scalar').multiplyAddsPerSecond).toBe(200e9);
  expect(() => machineFor(hardware, 'int8', 3, 'avx2')).toThrow('not measured with 3 threads');
});

test('read speed is interpolated on logarithms, and constant beyond what was measured', () => {
  expect(readSpeed(int8, 1)).toBe(100e9);
  expect(readSpeed(int8, 1 << 20)).toBe(100e9);
  expect(readSpeed(int8, 1 << 21)).toBeCloseTo(50e9, -3);
  expect(readSpeed(int8, 1 << 30)).toBe(25e9);
});

test('a single step reads both weights once, at the speed of both together', () => {
  const bytes = 8 * 512 * 512;
  expect(boundMicroseconds(lstm(512, 1, 1), int8)).toBeCloseTo((1e6 * bytes) / readSpeed(int8, bytes));
});

test('of a sequence, the projection is computed, and each step reads or computes, whichever is longer', () => {
  const weights = 4 * 512 * 512;
  const projection = (20 * weights) / 200e9;
  expect(boundMicroseconds(lstm(512, 1, 20), int8)).toBeCloseTo(1e6 * (projection + (20 * weights) / 100e9));
  const batch = 32 * projection;
  expect(boundMicroseconds(lstm(512, 32, 20), int8)).toBeCloseTo(1e6 * 2 * batch);
});

test('a GRU has three gates', () => {
  const gru: Trial = { ...lstm(512, 32, 20), kind: 'gru' };
  expect(boundMicroseconds(gru, int8)).toBeCloseTo(0.75 * boundMicroseconds(lstm(512, 32, 20), int8));
});

test('float weights have four bytes, float16 ones two', () => {
  const trial: Trial = { ...lstm(512, 1, 1), kind: 'linear' };
  const float = machineFor(hardware, 'float', 1, undefined);
  expect(boundMicroseconds(trial, float)).toBeCloseTo((1e6 * 4 * 512 * 512) / 100e9);
  const half = machineFor(hardware, 'float16', 1, undefined);
  expect(boundMicroseconds(trial, half)).toBeCloseTo((1e6 * 2 * 512 * 512) / 100e9);
});

test('the best of two measurements, figure by figure', () => {
  const slower = {
    ...hardware,
    peaks: hardware.peaks.map((peak) => ({ ...peak, int8: [300e9, 100e9] })),
  };
  expect(bestOf(hardware, slower).peaks[0]).toEqual({
    isa: 'avx512vnni',
    int8: [300e9, 400e9],
    fp32: [50e9, 100e9],
  });
  expect(bestOf(hardware, slower).reads).toEqual(hardware.reads);
});
