// benchmarks/RESULTS.md has one section for each kind of machine. A run replaces the section of its own kind.
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

import { packageRoot, type Row, type Run } from './run.js';
import {
  classOf,
  duels,
  gains,
  groupBy,
  hardwareTable,
  losses,
  means,
  number,
  percent,
  rivalName,
  threadCount,
  wrongRows,
} from './summary.js';
import { serviceTables } from './services/table.js';
import { trialName } from './trials.js';

const introduction = `# Results

Written by \`npm run bench -- --results\`; [README.md](README.md) says how to read it. One section a kind of machine, and
one for its services.
`;

/** What makes two machines one kind. */
export function machineKind({ machine, isa }: Run): string {
  return `${machine.cpu}, ${isa}`;
}

/** The page with this run's section, which replaces one of the same kind. Sections are ordered by name. */
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
  let page = existsSync(path) ? readFileSync(path, 'utf8') : '';
  for (const [kind, section] of sectionsOf(run)) page = mergeSection(page, kind, section);
  writeFileSync(path, page);
  return path;
}

/** The run's sections by their titles: of its calls, and of its services. */
export function sectionsOf(run: Run): Map<string, string> {
  const sections = new Map<string, string>();
  const kind = machineKind(run);
  const tables = serviceTables(run).map(({ title, head, rows }) => `${title}:\n\n${table(head, rows, 1)}`);
  if (run.rows.length > 0) sections.set(kind, sectionOf(run));
  if (tables.length > 0) {
    const title = `${kind}, services`;
    sections.set(title, [`## ${title}`, conditions(run), ...tables].join('\n\n'));
  }
  return sections;
}

/** Where and when a run was made. */
function conditions({ machine, versions, date, rounds }: Run): string {
  const named = Object.entries(versions).map(([name, version]) => `${name} ${version}`);
  return `${machine.cores} cores, ${machine.system}; ${named.join(', ')}; ${date.slice(0, 10)}; ${rounds} rounds.`;
}

function table(head: readonly string[], rows: readonly (readonly string[])[], leftColumns: number): string {
  const line = (cells: readonly string[]): string => `| ${cells.join(' | ')} |`;
  const rule = head.map((_, i) => (i < leftColumns ? '---' : '---:'));
  return [line(head), line(rule), ...rows.map(line)].join('\n');
}

function sectionOf(run: Run): string {
  const { hardware, rows } = run;
  const parts = [`## ${machineKind(run)}`, conditions(run)];
  if (hardware !== null) {
    const { head, rows: figures } = hardwareTable(hardware);
    parts.push(table(head, figures, 1));
  }
  const lost = losses(run);
  const wrong = wrongRows(run);
  parts.push(
    '### Cells a rival wins',
    lost.length === 0
      ? 'None.'
      : table(
          ['trial', 'rival', 'its µs', 'its error', 'our µs', 'our error', 'its time ÷ ours'],
          lost.map((duel) => [
            trialName(duel.rival.trial),
            rivalName(duel),
            number(duel.rival.timing!.minimum),
            errorOf(duel.rival, wrong),
            number(duel.ours.timing!.minimum),
            errorOf(duel.ours, wrong),
            number(duel.speedUp),
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
    ...gainsTable(run),
    '### The grid',
    'Minimum / median, in µs a call; in brackets the error of INT8 results; × is to the bound of the hardware.',
    ...grids(run, wrong),
  );
  const skips = new Set(rows.flatMap(({ skip, contender }) => (skip ? `${contender.name}: ${skip}` : [])));
  if (skips.size > 0) parts.push('Not measured:', [...skips].map((skip) => `- ${skip}`).join('\n'));
  return parts.join('\n\n');
}

function gainsTable(run: Run): string[] {
  const own = gains(run);
  if (own.length === 0) return [];
  const rows = own.map(({ what, cells, mean, least, where }) => [
    what,
    where,
    String(cells),
    number(mean),
    number(least),
  ]);
  return [
    '### What INT8 and threads gain over our own float and one thread',
    table(['what', 'least in', 'cells', 'geometric mean', 'least'], rows, 2),
  ];
}

function errorOf(row: Row, wrong: ReadonlySet<Row>): string {
  return `${percent(row.error!)}${wrong.has(row) ? ', wrong' : ''}`;
}

const kindNames = { lstm: 'LSTM', gru: 'GRU', linear: 'Linear' };

/** A table for each kind, weights, number of threads, and arithmetic. */
function grids(run: Run, wrong: ReadonlySet<Row>): string[] {
  const groups = groupBy(run.rows, ({ trial, contender }) =>
    [kindNames[trial.kind], classOf(contender), `${trial.weights} weights`, threadCount(trial.threads)].join(
      ', ',
    ),
  );
  const least = new Map<Row, number>();
  for (const { ours, speedUp } of duels(run)) least.set(ours, Math.min(speedUp, least.get(ours) ?? Infinity));
  return [...groups].map(([title, rows]) => `#### ${title}\n\n${grid(rows, least, wrong)}`);
}

/** `leastSpeedUps`: for each of our rows, the least speed-up over its rivals. */
function grid(
  rows: readonly Row[],
  leastSpeedUps: ReadonlyMap<Row, number>,
  wrong: ReadonlySet<Row>,
): string {
  const float = classOf(rows[0]!.contender) !== 'INT8';
  const recurrent = rows[0]!.trial.kind !== 'linear';
  const contenders = [...groupBy(rows, ({ contender }) => contender.name).keys()];
  const head = [
    ...(recurrent ? ['H', 'B', 'T'] : ['B', 'in → out']),
    ...(float ? [] : ['chain']),
    'bound',
    ...contenders.flatMap((name) => (name.startsWith('dynaquant') ? [name, '×'] : [name])),
    'least speed-up',
  ];
  const body = [...groupBy(rows, ({ trial }) => trialName(trial)).values()].map((here) => {
    const { trial, chain, bound } =
      here.find(({ contender }) => contender.engine === 'dynaquant') ?? here[0]!;
    const least = Math.min(...here.map((row) => leastSpeedUps.get(row) ?? Infinity));
    const sizes = recurrent
      ? [trial.output, trial.batch, trial.steps].map(String)
      : [String(trial.batch), `${trial.input} → ${trial.output}`];
    const cells = here.flatMap((row) => {
      const { timing, contender } = row;
      const error = float || timing === undefined ? '' : ` (${errorOf(row, wrong)})`;
      const cell =
        timing === undefined ? '–' : `${number(timing.minimum)} / ${number(timing.median)}${error}`;
      if (contender.engine !== 'dynaquant') return [cell];
      return [cell, timing && row.bound !== undefined ? number(timing.minimum / row.bound) : ''];
    });
    return [
      ...sizes,
      ...(float ? [] : [chain.toFixed(1)]),
      bound === undefined ? '' : number(bound),
      ...cells,
      least === Infinity ? '' : least < 1 ? `**${number(least)}**` : number(least),
    ];
  });
  return table(head, body, 0);
}
