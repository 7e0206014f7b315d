import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

const folder = mkdtempSync(join(tmpdir(), 'dynaquant-sequence-'));
const program = join(folder, 'sequence');
beforeAll(() => {
  const flags = ['-std=c++17', '-Wall', '-Wextra', '-Werror', `-I${join(__dirname, '..', 'native')}`];
  execFileSync(process.env['CXX'] ?? 'g++', [...flags, join(__dirname, 'sequence.cc'), '-o', program]);
}, 60_000);
afterAll(() => rmSync(folder, { recursive: true }));

interface Case {
  forward: boolean;
  chunkRows: number;
  packed: boolean;
  /** Rows of each step. */
  sizes: number[];
}

/** What native/engine/sequence.h makes of the cases. */
function walks(cases: Case[]): number[][][] {
  const lines = cases.map(({ forward, chunkRows, packed, sizes }) =>
    [Number(forward), chunkRows, Number(packed), ...sizes].join(' '),
  );
  const output = execFileSync(program, { input: `${lines.join('\n')}\n`, encoding: 'utf8' });
  return output
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line) as number[][]);
}

/** The same, from the definition: a chunk takes the next steps as long as their rows fit. */
function expectedWalk({ forward, chunkRows, sizes }: Case): number[][] {
  const steps = sizes.map((rows, t) => ({ rows, row: sizes.slice(0, t).reduce((a, b) => a + b, 0) }));
  if (!forward) steps.reverse();
  const walk = [[steps[0]!.rows]];
  for (let from = 0, to = 0; from < steps.length; from = to) {
    let rows = 0;
    while (to < steps.length && rows + steps[to]!.rows <= chunkRows) rows += steps[to++]!.rows;
    const chunk = steps.slice(from, to);
    walk.push([Math.min(...chunk.map((step) => step.row)), rows, chunk.length]);
    chunk.forEach((step, i) => walk.push([step.row, step.rows, steps[Math.max(0, from + i - 1)]!.rows]));
  }
  return walk;
}

test('packed sequences forwards: sequences end', () => {
  expect(walks([{ forward: true, chunkRows: 5, packed: true, sizes: [3, 2, 2, 1] }])).toEqual([
    [
      [3],
      [0, 5, 2], // chunk: row, rows, steps
      [0, 3, 3], // step: row, rows, rows before
      [3, 2, 3],
      [5, 3, 2],
      [5, 2, 2],
      [7, 1, 2],
    ],
  ]);
});

test('packed sequences backwards: sequences begin at their ends', () => {
  expect(walks([{ forward: false, chunkRows: 5, packed: true, sizes: [3, 2, 2, 1] }])).toEqual([
    [
      [1],
      [3, 5, 3], // chunk: row, rows, steps
      [7, 1, 1], // step: row, rows, rows before
      [5, 2, 1],
      [3, 2, 2],
      [0, 3, 1],
      [0, 3, 2],
    ],
  ]);
});

test('every chunk size of many shapes', () => {
  const even = [1, 2, 7].flatMap((steps) => [1, 3].map((batch) => Array<number>(steps).fill(batch)));
  const falling = [
    [4, 1],
    [5, 5, 4, 4, 4, 2],
    [9, 8, 1, 1, 1],
    [2, 2, 2, 1],
  ];
  const cases: Case[] = [];
  for (const sizes of [...even, ...falling]) {
    const rows = sizes.reduce((a, b) => a + b, 0);
    for (let chunkRows = sizes[0]!; chunkRows <= rows + 1; chunkRows++) {
      for (const forward of [true, false]) {
        cases.push({ forward, chunkRows, packed: true, sizes });
        if (even.includes(sizes)) cases.push({ forward, chunkRows, packed: false, sizes });
      }
    }
  }
  expect(walks(cases)).toEqual(cases.map(expectedWalk));
});
