// The HTML report: one page, charts as SVG inside it, drawn by vega without a browser.
import { createRequire } from 'node:module';
import { join } from 'node:path';

import { chartsOf } from './charts.js';
import { modelTable } from './model-table.js';
import { allRows, packageRoot, writeFile, type Run } from './run.js';
import { serviceTables } from './services/table.js';
import {
  gains,
  hardwareTable,
  losses,
  means,
  number,
  percent,
  ratioText,
  rivalName,
  roundsOf,
  speedUps,
  spreadText,
} from './summary.js';
import { trialName } from './trials.js';

/** The parts of vega and vega-lite that are used here. Both are installed beside the benchmarks only. */
interface Vega {
  parse(spec: object): object;
  View: new (runtime: object, options: object) => { toSVG(): Promise<string> };
}

async function loadVega(): Promise<{ vega: Vega; compile: (spec: object) => { spec: object } } | null> {
  const local = createRequire(join(packageRoot, 'benchmarks', 'package.json'));
  try {
    const vega = (await import(local.resolve('vega'))) as Vega;
    const lite = (await import(local.resolve('vega-lite'))) as { compile(spec: object): { spec: object } };
    return { vega, compile: lite.compile };
  } catch (error) {
    process.stderr.write(
      `bench: no HTML report, vega does not load: ${(error as Error).message.split('\n')[0]!}\n`,
    );
    return null;
  }
}

const escape = (text: string): string => text.replace(/&/g, '&amp;').replace(/</g, '&lt;');

/** Nothing where there are no rows. */
function table(head: readonly string[], rows: readonly (readonly string[])[]): string {
  if (rows.length === 0) return '';
  const cells = (row: readonly string[], tag: string): string =>
    `<tr>${row.map((cell) => `<${tag}>${escape(cell)}</${tag}>`).join('')}</tr>`;
  return `<table>${cells(head, 'th')}${rows.map((row) => cells(row, 'td')).join('\n')}</table>`;
}

/** Writes the report. Returns false if vega is not installed. */
export async function writeReport(run: Run, path: string): Promise<boolean> {
  const loaded = await loadVega();
  if (loaded === null) return false;
  const { vega, compile } = loaded;
  const figures: string[] = [];
  for (const chart of chartsOf(run)) {
    const view = new vega.View(vega.parse(compile(chart).spec), { renderer: 'none' });
    figures.push(`<figure>${await view.toSVG()}</figure>`);
  }
  const models = modelTable(run.models ?? []);
  const against = speedUps(run);
  const versions = Object.entries(run.versions).map(([name, version]) => `${name} ${version}`);
  writeFile(
    path,
    `<!doctype html>
<html lang="en">
<meta charset="utf-8">
<title>dynaquant benchmark, ${escape(run.machine.cpu)}</title>
<style>
  body { font: 15px/1.5 Inter, "Segoe UI", Helvetica, "DejaVu Sans", sans-serif; color: #222; max-width: 1340px; margin: 2em auto; padding: 0 1em; }
  figure { margin: 2.5em 0; overflow-x: auto; }
  table { border-collapse: collapse; font-size: 13px; margin: 1.5em 0; font-variant-numeric: tabular-nums; }
  th, td { padding: 2px 12px; text-align: right; border-bottom: 1px solid #e8e8e8; }
  th:first-child, td:first-child { text-align: left; padding-left: 0; }
</style>
<h1>dynaquant benchmark</h1>
<p>${escape(run.machine.cpu)}, ${run.machine.cores} cores, ${escape(run.machine.system)}; dynaquant on ${escape(run.isa)}; ${escape(versions.join(', '))}; ${run.date.slice(0, 10)}; ${roundsOf(run)} rounds.
Times are of calls from JavaScript (PyTorch: from Python), all overhead included, in microseconds.</p>
${table(
  ['geometric means', 'rival', 'dynaquant is × faster', 'cells', 'lost', 'open'],
  means(run).map(({ rival, group, cells, lost, open, speedUp }) => [
    group,
    rival,
    number(speedUp),
    String(cells),
    String(lost),
    String(open),
  ]),
)}
${table(
  ['lost cells', 'to', 'its time ÷ ours'],
  losses(allRows(run)).map((duel) => [trialName(duel.rival.trial), rivalName(duel), ratioText(duel.speedUp)]),
)}
${table(
  ['what INT8 and threads gain', 'geometric mean', 'cells', 'least', 'in'],
  gains(run).map(({ what, mean, cells, least, where }) => [
    what,
    number(mean),
    String(cells),
    number(least),
    where,
  ]),
)}
${serviceTables(run)
  .map(({ title, head, rows }) => `<p>${escape(title)}</p>${table(head, rows)}`)
  .join('\n')}
${table(models.head, models.rows)}
${figures.join('\n')}
<h2>All figures</h2>
${table(
  ['trial', 'contender', 'min µs', 'median µs', 'rounds', 'spread', '÷ bound', 'error', 'we are ×'],
  run.rows.map((row) => [
    trialName(row.trial),
    row.contender.name,
    ...(row.timing
      ? [
          number(row.timing.minimum),
          number(row.timing.median),
          String(row.timing.rounds.length),
          spreadText(row.timing),
          row.bound === undefined ? '' : number(row.timing.minimum / row.bound),
          percent(row.error!),
          against.has(row) ? ratioText(against.get(row)!) : '',
        ]
      : [row.skip!]),
  ]),
)}
${run.hardware === null ? '' : table(hardwareTable(run.hardware).head, hardwareTable(run.hardware).rows)}
</html>
`,
  );
  return true;
}
