import { sectionsOf } from '../benchmarks/results.js';
import { services } from '../benchmarks/services/index.js';
import type { ServiceRow } from '../benchmarks/services/service.js';
import { serviceTables } from '../benchmarks/services/table.js';
import type { Run } from '../benchmarks/run.js';

const empty: Run = {
  date: '2026-01-01T00:00:00Z',
  machine: { cpu: 'a CPU', cores: 2, system: 'Linux x64' },
  isa: 'avx2',
  versions: {},
  rounds: 1,
  hardware: null,
  rows: [],
};

test('a run of before there were services has no tables', () => {
  expect(serviceTables(empty)).toEqual([]);
});

test('a table has a row for each contender, and a reason where nothing was measured', () => {
  const rows: ServiceRow[] = [
    { contender: 'a', figures: { 'median ms': 12, MB: 3 } },
    { contender: 'b', figures: { 'median ms': 40.5, extra: 1 } },
    { contender: 'c', skip: 'absent' },
  ];
  const [table, ...others] = serviceTables({ ...empty, services: { 'cold-start': rows } });
  expect(others).toEqual([]);
  expect(table!.title).toMatch(/^From process to first INT8 answer/);
  expect(table!.head).toEqual(['cold-start', 'median ms', 'MB', 'extra']);
  expect(table!.rows).toEqual([
    ['a', '12.0', '3.00', ''],
    ['b', '40.5', '', '1.00'],
    ['c: not measured, absent', '', '', ''],
  ]);
});

test('services have a section of their own, so that neither run erases what the other measured', () => {
  const run = { ...empty, services: { memory: [{ contender: 'a', figures: { MB: 3 } }] } };
  expect([...sectionsOf(run).keys()]).toEqual(['a CPU, avx2, services']);
  expect(sectionsOf(run).get('a CPU, avx2, services')).toContain(
    '| memory | MB |\n| --- | ---: |\n| a | 3.00 |',
  );
  expect(sectionsOf(empty).size).toBe(0);
});

test('each has a word of its own', () => {
  const names = services.map(({ name }) => name);
  expect(new Set(names).size).toBe(names.length);
});
