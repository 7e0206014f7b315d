// benchmarks/RESULTS.md: one section a kind of machine, side by side; a run replaces its own kind's.
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

import { packageRoot, type Row, type Run } from './run.js';
import { duels, isFloat, isWrong, losses, means, number, percent } from './summary.js';
import { trialName } from './trials.js';

const introduction = `# Results

Written by \`npm run bench -- --results\`; [README.md](README.md) says how to read it. One section a kind of machine.
`;

/** What makes two machines one kind. */
export function machineKind({ machine, isa }: Run): string {
  return `${machine.cpu}, ${isa}`;
}

/** The page with this run's section in place of an earlier one of the same kind, sections in order of name. */
export function mergeSection(page: string, kind: string, section: string): string {
  const sections = new Map(
    page
      .split(/^(?=## )/m)
      .filter((text) => text.startsWith('## '))
      .map((text) => [text.slice(3, text.indexOf('\n')), text.trim()]),
  );
  sections.set(kind, section.trim());
  const sorted = [...sections].sort(([a], [b]) => (a < b ? -1 : 1)).map(([, text]) => text);
  return `${introduction}\n${sorted.join('\n\n')}\n`;
}

export function updateResults(run: Run): string {
  const path = join(packageRoot, 'benchmarks', 'RESULTS.md');
  const page = existsSync(path) ? readFileSync(path, 'utf8') : '';
  writeFileSync(path, mergeSection(page, machineKind(run), sectionOf(run)));
  return path;
}

function table(head: readonly string[], rows: readonly (readonly string[])[], leftColumns: number): string {
  const line = (cells: readonly string[]): string => `| ${cells.join(' | ')} |`;
  const rule = head.map((_, i) => (i < leftColumns ? '---' : '---:'));
  return [line(head), line(rule), ...rows.map(line)].join('\n');
}

export function sectionOf(run: Run): string {
  const { machine, versions, date, rounds, hardware, rows } = run;
  const named = Object.entries(versions).map(([name, version]) => `${name} ${version}`);
  const parts = [
    `## ${machineKind(run)}`,
    `${machine.cores} cores, ${machine.system}; ${named.join(', ')}; ${date.slice(0, 10)}; ${rounds} rounds.`,
  ];
  if (hardware !== null) {
    const giga = (values: readonly number[]): string[] => values.map((value) => number(value / 1e9));
    const size = (bytes: number): string => (bytes < 1 << 20 ? `${bytes >> 10} KB` : `${bytes >> 20} MB`);
    parts.push(
      table(
        ['measured', ...hardware.threads.map((n) => (n === 1 ? '1 thread' : `${n} threads`))],
        [
          ...hardware.peaks.flatMap(({ isa, int8, fp32 }) => [
            [`int8 multiply-adds, ${isa}, G/s`, ...giga(int8)],
            [`fp32 multiply-adds, ${isa}, G/s`, ...giga(fp32)],
          ]),
          ...hardware.reads.map(({ bytes, bytesPerSecond }) => [
            `read ${size(bytes)}, GB/s`,
            ...giga(bytesPerSecond),
          ]),
        ],
        1,
      ),
    );
  }
  const lost = losses(run);
  parts.push(
    '### Cells a rival wins',
    lost.length === 0
      ? 'None.'
      : table(
          ['trial', 'rival', 'its µs', 'its error', 'our µs', 'our error', 'its time ÷ ours'],
          lost.map(({ ours, rival, speedUp }) => [
            trialName(rival.trial),
            rival.contender.name,
            number(rival.timing!.minimum),
            errorOf(rival, run),
            number(ours.timing!.minimum),
            errorOf(ours, run),
            number(speedUp),
          ]),
          2,
        ),
    '### How many times faster dynaquant is, geometric mean',
    table(
      ['trials', 'rival', 'cells', 'lost', 'times faster'],
      means(run).map((mean) => [
        mean.group,
        mean.rival,
        String(mean.cells),
        String(mean.lost),
        number(mean.speedUp),
      ]),
      2,
    ),
    '### The grid',
    'Minimum / median, in µs a call; in brackets the error of INT8 results; × is to the bound of the hardware.',
    ...grids(run),
  );
  const skips = new Set(rows.flatMap(({ skip, contender }) => (skip ? `${contender.name}: ${skip}` : [])));
  if (skips.size > 0) parts.push('Not measured:', [...skips].map((skip) => `- ${skip}`).join('\n'));
  return parts.join('\n\n');
}

function errorOf(row: Row, run: Run): string {
  return `${percent(row.error!)}${isWrong(row, run) ? ', wrong' : ''}`;
}

/** A table for each kind, weights, number of threads, and arithmetic. */
function grids(run: Run): string[] {
  const groups = new Map<string, Row[]>();
  for (const row of run.rows) {
    const { kind, weights, threads } = row.trial;
    const title = [
      kind === 'lstm' ? 'LSTM' : 'Linear',
      isFloat(row.contender) ? 'float' : 'INT8',
      `${weights} weights`,
      threads === 1 ? '1 thread' : `${threads} threads`,
    ].join(', ');
    groups.set(title, [...(groups.get(title) ?? []), row]);
  }
  const slowest = new Map<string, number>();
  for (const { rival, speedUp } of duels(run)) {
    const key = `${trialName(rival.trial)} ${isFloat(rival.contender)}`;
    slowest.set(key, Math.min(slowest.get(key) ?? Infinity, speedUp));
  }
  return [...groups].map(([title, rows]) => {
    const names = [...new Set(rows.map(({ contender }) => contender.name))];
    const trials = new Map(rows.map(({ trial }) => [trialName(trial), trial]));
    const float = isFloat(rows[0]!.contender);
    const lstm = rows[0]!.trial.kind === 'lstm';
    const head = [
      ...(lstm ? ['H', 'B', 'T'] : ['B', 'in → out']),
      ...(float ? [] : ['chain']),
      'bound',
      ...names.flatMap((name) => (name.startsWith('dynaquant') ? [name, '×'] : [name])),
      'least speed-up',
    ];
    const body = [...trials].map(([name, trial]) => {
      const here = new Map(
        rows.filter((row) => trialName(row.trial) === name).map((row) => [row.contender.name, row]),
      );
      const own =
        [...here.values()].find(({ contender }) => contender.engine === 'dynaquant') ??
        [...here.values()][0]!;
      const least = slowest.get(`${name} ${float}`);
      return [
        ...(lstm
          ? [String(trial.output), String(trial.batch), String(trial.steps)]
          : [String(trial.batch), `${trial.input} → ${trial.output}`]),
        ...(float ? [] : [own.chain.toFixed(1)]),
        own.bound === undefined ? '' : number(own.bound),
        ...names.flatMap((column) => {
          const row = here.get(column);
          const cell =
            row?.timing === undefined
              ? '–'
              : `${number(row.timing.minimum)} / ${number(row.timing.median)}${float ? '' : ` (${errorOf(row, run)})`}`;
          if (!column.startsWith('dynaquant')) return [cell];
          return [cell, row?.timing && row.bound !== undefined ? number(row.timing.minimum / row.bound) : ''];
        }),
        least === undefined ? '' : `${least < 1 ? '**' : ''}${number(least)}${least < 1 ? '**' : ''}`,
      ];
    });
    return `#### ${title}\n\n${table(head, body, 0)}`;
  });
}
