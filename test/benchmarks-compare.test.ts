import { compareRuns, verdict } from '../benchmarks/compare.js';
import type { Contender } from '../benchmarks/contenders/index.js';
import { mergeSection } from '../benchmarks/results.js';
import type { Row, Run } from '../benchmarks/run.js';
import type { Timing } from '../benchmarks/statistics.js';
import { duels, gains, losses, means, number, percent, wrongRows } from '../benchmarks/summary.js';
import type { Trial } from '../benchmarks/trials.js';

const timingOf = (minimum: number, noise = 0): Timing => ({ minimum, median: minimum, noise, rounds: [] });
const trial: Trial = {
  kind: 'lstm',
  input: 8,
  output: 8,
  batch: 1,
  steps: 1,
  weights: 'trained',
  threads: 1,
};
const row = (name: string, minimum: number, error = 0.005): Row => {
  const [engine, type] = name.split('-') as [Contender['engine'], Contender['type']];
  return { trial, contender: { name, engine, type }, chain: 1, error, timing: timingOf(minimum) };
};
const runOf = (rows: Row[]): Run => ({
  date: '2026-01-01T00:00:00Z',
  machine: { cpu: 'a CPU', cores: 2, system: 'Linux x64' },
  isa: 'avx2',
  versions: {},
  rounds: 1,
  hardware: null,
  rows,
});

describe('compare', () => {
  test('a change within 3 % and both runs’ noise is none', () => {
    expect(verdict(timingOf(100), timingOf(102.9))).toBe('same');
    expect(verdict(timingOf(100), timingOf(103.1))).toBe('slower');
    expect(verdict(timingOf(100, 0.05), timingOf(112, 0.05))).toBe('same');
    expect(verdict(timingOf(100, 0.05), timingOf(114, 0.05))).toBe('slower');
    expect(verdict(timingOf(103.1), timingOf(100))).toBe('faster');
  });

  test('pairs what both runs timed', () => {
    const before = runOf([row('dynaquant-int8', 1), row('pytorch-int8', 9)]);
    const skipped: Row = { ...row('pytorch-int8', 1), timing: undefined as never, skip: 'absent' };
    const after = runOf([row('dynaquant-int8', 2), skipped, row('onnxruntime-int8', 3)]);
    expect(compareRuns(before, after).map(({ name, verdict, ours }) => [name, verdict, ours])).toEqual([
      ['lstm h8 b1 t1 trained 1-thread dynaquant-int8', 'slower', true],
    ]);
  });
});

describe('summary', () => {
  const run = runOf([
    row('dynaquant-int8', 2),
    row('onnxruntime-int8', 1, 0.2),
    row('onnxruntime-uint8', 8),
    row('dynaquant-float', 4, 0),
    row('onnxruntime-float', 8, 0),
  ]);

  test('ONNX Runtime’s float GRU meets our INT8 one too: it has no other', () => {
    const gru = run.rows
      .filter(({ contender }) => !/onnxruntime-u?int8/.test(contender.name))
      .map((each): Row => ({ ...each, trial: { ...each.trial, kind: 'gru' } }));
    expect(means(runOf(gru)).map(({ rival, speedUp }) => [rival, speedUp])).toEqual([
      ['onnxruntime-float (of our INT8)', 4],
      ['onnxruntime-float', 2],
    ]);
  });

  test('eight-bit rivals meet our INT8, float ones our float', () => {
    expect(duels(run).map(({ rival, speedUp }) => [rival.contender.name, speedUp])).toEqual([
      ['onnxruntime-int8', 0.5],
      ['onnxruntime-uint8', 4],
      ['onnxruntime-float', 2],
    ]);
    expect(losses(run).map(({ rival }) => rival.contender.name)).toEqual(['onnxruntime-int8']);
    expect(means(run)[1]).toEqual({
      rival: 'onnxruntime-uint8',
      group: 'lstm, trained, 1 thread',
      cells: 1,
      lost: 0,
      speedUp: expect.closeTo(4),
    });
  });

  test('what INT8 gains over our float, and two threads over one', () => {
    const two: Row = { ...row('dynaquant-int8', 1.25), trial: { ...trial, threads: 2 } };
    expect(gains(runOf([...run.rows, two]))).toEqual([
      {
        what: 'dynaquant-int8 over float: lstm, trained, 1 thread',
        cells: 1,
        mean: expect.closeTo(2),
        least: 2,
        where: 'lstm h8 b1 t1 trained 1-thread',
      },
      {
        what: 'dynaquant-int8 over 1 thread: lstm, trained, 2 threads',
        cells: 1,
        mean: expect.closeTo(1.6),
        least: 1.6,
        where: 'lstm h8 b1 t1 trained 2-threads',
      },
    ]);
  });

  test('an error far above the others’ is no rounding', () => {
    expect([...wrongRows(run)].map(({ contender }) => contender.name)).toEqual(['onnxruntime-int8']);
  });

  test('numbers have three digits that matter', () => {
    expect([0.01234, 1.234, 12.34, 99.96, 1234.5].map(number)).toEqual([
      '0.012',
      '1.23',
      '12.3',
      '100',
      '1,235',
    ]);
    expect([0, 0.0004, 0.0523, 0.2].map(percent)).toEqual(['0 %', '0.04 %', '5.2 %', '20 %']);
  });
});

test('a section of RESULTS.md replaces its own kind’s and leaves the others', () => {
  let page = mergeSection('', 'B, avx2', '## B, avx2\n\nold\n\n### More\n');
  page = mergeSection(page, 'A, avx2', '## A, avx2\n\nother');
  page = mergeSection(page, 'B, avx2', '## B, avx2\n\nnew');
  expect(page.split(/^## /m).slice(1)).toEqual(['A, avx2\n\nother\n\n', 'B, avx2\n\nnew\n']);
});
