// What a run says on the terminal.
import { modelTable } from './model-table.js';
import { allRows, type ModelRow, type Row, type Run } from './run.js';
import { serviceTables } from './services/table.js';
import { gains, losses, means, number, percent, ratioText, speedUps, spreadText } from './summary.js';
import { trialName } from './trials.js';

/** Aligned, the first column on the left. Nothing where there are no rows. */
function table(head: readonly string[], rows: readonly (readonly string[])[]): string {
  if (rows.length === 0) return '';
  const widths = head.map((_, i) => Math.max(...[head, ...rows].map((cells) => cells[i]!.length)));
  const line = (cells: readonly string[]): string =>
    cells.map((cell, i) => (i === 0 ? cell.padEnd(widths[i]!) : cell.padStart(widths[i]! + 2))).join('');
  return [head, ...rows].map((cells) => `  ${line(cells).trimEnd()}\n`).join('');
}

function skipped(rows: readonly (Row | ModelRow)[]): string {
  return rows
    .flatMap(({ contender, skip }) =>
      skip === undefined ? [] : `  ${contender.name} not measured: ${skip}\n`,
    )
    .join('');
}

/** `run` holds one trial. */
export function printTrial(run: Run): void {
  const { trial, chain } = run.rows[0]!;
  const against = speedUps(run);
  const head = ['', 'min µs', 'median µs', 'rounds', 'spread', 'bound µs', '÷ bound', 'error', 'we are ×'];
  const rows = run.rows.flatMap((row): string[][] => {
    const { contender, bound, error, timing } = row;
    if (timing === undefined) return [];
    return [
      [
        contender.name,
        number(timing.minimum),
        number(timing.median),
        String(timing.rounds.length),
        spreadText(timing),
        bound === undefined ? '' : number(bound),
        bound === undefined ? '' : number(timing.minimum / bound),
        percent(error!),
        against.has(row) ? ratioText(against.get(row)!) : '',
      ],
    ];
  });
  const title = `\n${trialName(trial)} (chains of ${chain.toFixed(1)} quads)\n`;
  process.stdout.write(title + table(head, rows) + skipped(run.rows));
}

/** The rows are one trial's. */
export function printModel(trialRows: readonly ModelRow[]): void {
  const { head, rows } = modelTable(trialRows);
  const ofOne = (cells: readonly string[]): string[] => cells.slice(1);
  const title = `\n${trialName(trialRows[0]!.trial)}\n`;
  process.stdout.write(title + table(ofOne(head), rows.map(ofOne)) + skipped(trialRows));
}

export function printSummary(run: Run): void {
  const rows = means(run).map(({ rival, group, cells, lost, open, speedUp }) => [
    rival,
    group,
    ...[number(speedUp), cells, lost, open].map(String),
  ]);
  let text = '\n';
  text += table(['rival', 'trials', 'we are ×', 'cells', 'lost', 'open'], rows);
  for (const { ours, rival, speedUp } of losses(allRows(run))) {
    text += `  lost: ${trialName(rival.trial)}: ${rival.contender.name} takes ${ratioText(speedUp)} of ${ours.contender.name}'s time\n`;
  }
  for (const { title, head, rows: figures } of serviceTables(run)) {
    if (figures.length > 0) text += `\n${title}\n${table(head, figures)}`;
  }
  const own = gains(run).map(({ what, cells, mean, least, where }) => [
    what,
    number(mean),
    String(cells),
    number(least),
    where,
  ]);
  if (own.length > 0) text += `\n${table(['', 'mean ×', 'cells', 'least ×', 'in'], own)}`;
  process.stdout.write(text);
}
