// benchmarks/RESULTS.md has one section for each kind of machine. A run replaces the section of its own kind.
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

import { modelTable } from './model-table.js';
import { packageRoot, type ModelRow, type Row, type Run } from './run.js';
import {
  classOf,
  duels,
  gains,
  groupBy,
  hardwareTable,
  isLost,
  losses,
  means,
  number,
  percent,
  ratioText,
  rivalName,
  roundsOf,
  threadCount,
  wrongRows,
  type Duel,
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

/** The run's sections by their titles: of its calls, of whole models, and of its services. */
export function sectionsOf(run: Run): Map<string, string> {
  const sections = new Map<string, string>();
  const kind = machineKind(run);
  const tables = serviceTables(run).map(({ title, head, rows }) => `${title}:\n\n${table(head, rows, 1)}`);
  if (run.rows.length > 0) sections.set(kind, sectionOf({ ...run, models: [] }));
  const { models = [] } = run;
  if (models.length > 0) {
    const title = `${kind}, models`;
    sections.set(title, modelSection({ ...run, rows: [], models }, title));
  }
  if (tables.length > 0) {
    const title = `${kind}, services`;
    sections.set(title, [`## ${title}`, conditions(run), ...tables].join('\n\n'));
  }
  return sections;
}

/** Where and when a run was made. */
function conditions(run: Run): string {
  const { machine, versions, date } = run;
  const named = Object.entries(versions).map(([name, version]) => `${name} ${version}`);
  return `${machine.cores} cores, ${machine.system}; ${named.join(', ')}; ${date.slice(0, 10)}; ${roundsOf(run)} rounds.`;
}

function table(head: readonly string[], rows: readonly (readonly string[])[], leftColumns: number): string {
  const line = (cells: readonly string[]): string => `| ${cells.join(' | ')} |`;
  const rule = head.map((_, i) => (i < leftColumns ? '---' : '---:'));
  return [line(head), line(rule), ...rows.map(line)].join('\n');
}

/** Such a table under a heading; nothing where there are no rows. */
function part(
  heading: string,
  head: readonly string[],
  rows: readonly (readonly string[])[],
  leftColumns: number,
): string[] {
  return rows.length === 0 ? [] : [`### ${heading}`, table(head, rows, leftColumns)];
}

function sectionOf(run: Run): string {
  const { hardware, rows } = run;
  const parts = [`## ${machineKind(run)}`, conditions(run)];
  if (hardware !== null) {
    const { head, rows: figures } = hardwareTable(hardware);
    parts.push(table(head, figures, 1));
  }
  const wrong = wrongRows(run);
  parts.push(
    ...lostPart(rows, (row) => errorOf(row, wrong)),
    ...meansPart(run),
    ...gainsPart(run),
    '### The grid',
    'Minimum / median, in µs a call; in brackets the error of INT8 results; × is to the bound of the hardware.',
    ...grids(run, wrong),
    ...skipsOf(rows),
  );
  return parts.join('\n\n');
}

function modelSection(run: Run & { models: readonly ModelRow[] }, title: string): string {
  const { models } = run;
  const { head, rows } = modelTable(models);
  return [
    `## ${title}`,
    conditions(run),
    ...lostPart(models, ({ error }) => percent(error!)),
    ...meansPart(run),
    ...gainsPart(run),
    ...part('Each call', head, rows, 2),
    ...skipsOf(models),
  ].join('\n\n');
}

function lostPart<Any extends Row | ModelRow>(
  rows: readonly Any[],
  errorText: (row: Any) => string,
): string[] {
  if (duels(rows).length === 0) return [];
  const lost = losses(rows).map((duel) => [
    trialName(duel.rival.trial),
    rivalName(duel),
    number(duel.rival.timing!.minimum),
    errorText(duel.rival),
    number(duel.ours.timing!.minimum),
    errorText(duel.ours),
    ratioText(duel.speedUp),
  ]);
  const heading = 'Cells a rival wins';
  if (lost.length === 0) return [`### ${heading}`, 'None.'];
  return part(
    heading,
    ['trial', 'rival', 'its µs', 'its error', 'our µs', 'our error', 'its time ÷ ours'],
    lost,
    2,
  );
}

function meansPart(run: Run): string[] {
  const rows = means(run).map(({ group, rival, cells, lost, open, speedUp }) => [
    group,
    rival,
    ...[cells, lost, open].map(String),
    number(speedUp),
  ]);
  const head = ['trials', 'rival', 'cells', 'lost', 'open', 'times faster'];
  return part('How many times faster dynaquant is, geometric mean', head, rows, 2);
}

function skipsOf(rows: readonly (Row | ModelRow)[]): string[] {
  const skips = new Set(rows.flatMap(({ skip, contender }) => (skip ? `${contender.name}: ${skip}` : [])));
  return skips.size === 0 ? [] : ['Not measured:', [...skips].map((skip) => `- ${skip}`).join('\n')];
}

function gainsPart(run: Run): string[] {
  const rows = gains(run).map(({ what, cells, mean, least, where }) => [
    what,
    where,
    String(cells),
    number(mean),
    number(least),
  ]);
  const head = ['what', 'least in', 'cells', 'geometric mean', 'least'];
  return part('What INT8 and threads gain over our own float and one thread', head, rows, 2);
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
  const least = new Map<Row, Duel<Row>>();
  for (const duel of duels(run.rows)) {
    const { value } = least.get(duel.ours)?.speedUp ?? { value: Infinity };
    if (duel.speedUp.value < value) least.set(duel.ours, duel);
  }
  return [...groups].map(([title, rows]) => `#### ${title}\n\n${grid(rows, least, wrong)}`);
}

/** `nearest`: for each of our rows, the duel with the least speed-up. */
function grid(rows: readonly Row[], nearest: ReadonlyMap<Row, Duel<Row>>, wrong: ReadonlySet<Row>): string {
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
    const met = here.flatMap((row) => nearest.get(row) ?? []);
    const least = number(Math.min(...met.map(({ speedUp }) => speedUp.value)));
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
      met.length === 0 ? '' : met.some(isLost) ? `**${least}**` : least,
    ];
  });
  return table(head, body, 0);
}
