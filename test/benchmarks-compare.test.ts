import { compareRuns, verdict } from '../benchmarks/compare.js';
import type { Contender } from '../benchmarks/contenders/index.js';
import { mergeSection, sectionsOf } from '../benchmarks/results.js';
import type { ModelRow, Row, Run } from '../benchmarks/run.js';
import type { Timing } from '../benchmarks/statistics.js';
import { duels, gains, losses, means, number, percent, speedUps, wrongRows } from '../benchmarks/summary.js';
import type { Trial } from '../benchmarks/trials.js';

const timingOf = (minimum: number, spread = 0): Timing => {
  const minima = [minimum, minimum, minimum * (1 + spread)];
  return { minimum, median: minimum, rounds: minima.map((value) => ({ minimum: value, median: value })) };
};
const trial: Trial = {
  kind: 'lstm',
  input: 8,
  output: 8,
  batch: 1,
  steps: 1,
  weights: 'trained',
  threads: 1,
};
const contenderOf = (name: string): Contender => {
  const [engine, type, mode] = name.split('-') as [Contender['engine'], Contender['type'], Contender['mode']];
  return { name, engine, type, ...(mode && { mode }) };
};
const row = (name: string, minimum: number, error = 0.005): Row => ({
  trial,
  contender: contenderOf(name),
  chain: 1,
  error,
  timing: timingOf(minimum),
});
const modelRow = (name: string, minimum: number): ModelRow => ({
  trial: { kind: 'minilm', batch: 1, steps: 32, threads: 1 },
  contender: contenderOf(name),
  error: 0.01,
  cosine: 0.99,
  timing: timingOf(minimum),
});
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
  test('a change within 3 % and both runs’ spreads is none', () => {
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

test('compare pairs whole models too', () => {
  const before = { ...runOf([]), models: [modelRow('dynaquant-int8', 1)] };
  const after = { ...runOf([]), models: [modelRow('dynaquant-int8', 2)] };
  expect(compareRuns(before, after).map(({ name, verdict }) => [name, verdict])).toEqual([
    ['minilm 1x32 1-thread dynaquant-int8', 'slower'],
  ]);
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
    expect(duels(run.rows).map(({ rival, speedUp }) => [rival.contender.name, speedUp.value])).toEqual([
      ['onnxruntime-int8', 0.5],
      ['onnxruntime-uint8', 4],
      ['onnxruntime-float', 2],
    ]);
    expect(losses(run.rows).map(({ rival }) => rival.contender.name)).toEqual(['onnxruntime-int8']);
    expect(means(run)[1]).toEqual({
      rival: 'onnxruntime-uint8',
      group: 'lstm, trained, 1 thread',
      cells: 1,
      lost: 0,
      open: 0,
      speedUp: expect.closeTo(4),
    });
  });

  test('a cell that is slower by less than its minima are sure is open, not lost', () => {
    const ours = { ...row('dynaquant-int8', 1), timing: timingOf(1, 0.1) };
    const near = runOf([ours, row('onnxruntime-int8', 0.95), row('pytorch-int8', 0.9)]);
    expect(means(near).map(({ lost, open }) => [lost, open])).toEqual([
      [0, 1],
      [1, 0],
    ]);
    expect(losses(near.rows).map(({ rival }) => rival.contender.name)).toEqual(['pytorch-int8']);
  });

  test('of a whole model, rivals meet each of our modes', () => {
    const rows = ['dynaquant-int8', 'dynaquant-int8-best', 'onnxruntime-int8'].map((name, i) =>
      modelRow(name, i + 1),
    );
    const models = { ...runOf([]), models: rows };
    expect(means(models).map(({ rival, group, speedUp }) => [rival, group, speedUp])).toEqual([
      ['onnxruntime-int8', 'minilm, 1 thread', expect.closeTo(3)],
      ['onnxruntime-int8 (of our best)', 'minilm, 1 thread', expect.closeTo(1.5)],
    ]);
    expect([...speedUps(models).values()].map(({ value }) => value)).toEqual([3]);
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

describe('sections of RESULTS.md', () => {
  test('no table is without rows', () => {
    const section = sectionsOf(runOf([row('dynaquant-int8', 1)])).get('a CPU, avx2')!;
    expect(section).toContain('### The grid');
    expect(section).not.toContain('### Cells a rival wins');
    expect(section).not.toContain('### How many times faster');
    const lines = section.split('\n');
    const rules = lines.flatMap((line, i) => (/^\| -+/.test(line) ? [i] : []));
    expect(rules.length).toBeGreaterThan(0);
    for (const i of rules) expect(lines[i + 1]).toMatch(/^\| /);
  });

  test('whole models have one of their own', () => {
    const run = { ...runOf([]), models: [modelRow('dynaquant-int8', 2), modelRow('pytorch-int8', 1)] };
    expect([...sectionsOf(run).keys()]).toEqual(['a CPU, avx2, models']);
    const section = sectionsOf(run).get('a CPU, avx2, models')!;
    expect(section).toContain(
      '| minilm 1x32 1-thread | pytorch-int8 | 1.00 | 1.0 % | 2.00 | 1.0 % | 0.500 (0.500 to 0.500) |',
    );
    expect(section).toContain('| minilm 1x32 1-thread | dynaquant-int8 | 2.00 | 2.00 | 0 % | 0.99000 |');
  });

  test('say how many rounds there were', () => {
    expect(sectionsOf(runOf([row('dynaquant-int8', 1)])).get('a CPU, avx2')).toContain(
      '2026-01-01; 3 rounds.',
    );
  });
});

test('a section of RESULTS.md replaces its own kind’s and leaves the others', () => {
  let page = mergeSection('', 'B, avx2', '## B, avx2\n\nold\n\n### More\n');
  page = mergeSection(page, 'A, avx2', '## A, avx2\n\nother');
  page = mergeSection(page, 'B, avx2', '## B, avx2\n\nnew');
  expect(page.split(/^## /m).slice(1)).toEqual(['A, avx2\n\nother\n\n', 'B, avx2\n\nnew\n']);
});
