// The HTML report: one page, charts as SVG inside it, drawn by vega without a browser.
import { createRequire } from 'node:module';
import { join } from 'node:path';

import { packageRoot, writeFile, type Row, type Run } from './run.js';
import { duels, isFloat, isWrong, losses, means, number, percent } from './summary.js';
import { trialName } from './trials.js';

/** What is used of vega and vega-lite, which are installed beside the benchmarks only. */
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

/** One colour an engine; float in the same, dashed. */
const colours = { dynaquant: '#d1495b', onnxruntime: '#1d6fa5', pytorch: '#e09f3e' } as const;
const boundColour = '#777777';

const config = {
  background: 'white',
  font: 'Inter, Segoe UI, Helvetica, DejaVu Sans, sans-serif',
  title: { fontSize: 15, anchor: 'start', subtitleFontSize: 12, subtitleColor: '#555', offset: 14 },
  axis: { labelFontSize: 11, titleFontSize: 12, gridColor: '#e8e8e8', titleFontWeight: 'normal' },
  legend: { labelFontSize: 12, titleFontSize: 12, symbolSize: 90, labelLimit: 260 },
  header: { labelFontSize: 12, titleFontSize: 12, labelFontWeight: 'bold' },
  view: { stroke: '#cccccc' },
};

type Values = Record<string, string | number | boolean>[];

/** Hidden sizes double, so their axis is logarithmic and names exactly those that were measured. */
function sizeAxis(sizes: readonly number[]): object {
  return {
    field: 'hidden',
    type: 'quantitative',
    title: 'hidden size H',
    scale: { type: 'log', base: 2, nice: false },
    axis: { values: sizes, labelOverlap: true, grid: false },
  };
}

/** Colour by contender, in the order of the run, the bound last. */
function contenderColours(rows: readonly Row[], withBound: boolean): object {
  const all = new Map(rows.map(({ contender }) => [contender.name, contender]));
  const names = [...all.keys()];
  const shades = [...all.values()].map(({ engine, type, mode }) =>
    type === 'uint8' ? '#6fb7e0' : mode !== undefined && mode !== 'pertensor' ? '#8e3b74' : colours[engine],
  );
  return {
    field: 'contender',
    type: 'nominal',
    title: null,
    scale: withBound
      ? { domain: [...names, 'bound'], range: [...shades, boundColour] }
      : { domain: names, range: shades },
    legend: { orient: 'top', columns: 4 },
  };
}

function timed(rows: readonly Row[]): (Row & { timing: NonNullable<Row['timing']> })[] {
  return rows.filter((row): row is Row & { timing: NonNullable<Row['timing']> } => row.timing !== undefined);
}

/** Small multiples over batch (across) and steps (down). */
function facets(values: Values, rows: readonly Row[], layers: object[], title: object): object {
  const many = new Set(rows.map(({ trial }) => trial.batch)).size > 1;
  return {
    config,
    title,
    data: { values },
    facet: {
      column: {
        field: 'batch',
        type: 'ordinal',
        title: null,
        header: { labelExpr: "'batch ' + datum.value" },
      },
      row: {
        field: 'steps',
        type: 'ordinal',
        title: null,
        header: {
          labelExpr: "datum.value == 1 ? '1 time step' : datum.value + ' time steps'",
          labelAngle: -90,
          labelAlign: 'center',
        },
      },
    },
    spec: { width: many ? 270 : 420, height: 210, layer: layers },
    resolve: { scale: { y: 'independent' } },
  };
}

function sizesOf(rows: readonly Row[]): number[] {
  return [...new Set(rows.map(({ trial }) => trial.output))].sort((a, b) => a - b);
}

/** Time over hidden size: the log-log picture of everything. */
function timeChart(rows: readonly Row[], run: Run, float: boolean, group: string): object {
  const values: Values = timed(rows).flatMap((row) => {
    const { trial, contender, timing, bound } = row;
    const place = { hidden: trial.output, batch: trial.batch, steps: trial.steps };
    const own = {
      ...place,
      contender: contender.name,
      us: timing.minimum,
      result: isWrong(row, run) ? 'wrong' : 'right',
    };
    const hasBound = bound !== undefined && contender.engine === 'dynaquant';
    return hasBound ? [own, { ...place, contender: 'bound', us: bound, result: 'right' }] : [own];
  });
  const color = contenderColours(rows, true);
  const x = sizeAxis(sizesOf(rows));
  const y = {
    field: 'us',
    type: 'quantitative',
    title: 'µs a call',
    scale: { type: 'log', nice: false },
    axis: {
      format: '~s',
      tickCount: 5,
      labelExpr: 'datum.value >= 0.999 ? format(datum.value, ",") : format(datum.value, "~g")',
    },
  };
  const anyWrong = values.some(({ result }) => result === 'wrong');
  return facets(
    values,
    rows,
    [
      {
        transform: [{ filter: "datum.contender == 'bound'" }],
        mark: { type: 'line', strokeDash: [4, 3], strokeWidth: 1.5 },
        encoding: { x, y, color },
      },
      {
        transform: [{ filter: "datum.contender != 'bound'" }],
        mark: { type: 'line', strokeWidth: 2 },
        encoding: { x, y, color },
      },
      {
        transform: [{ filter: "datum.contender != 'bound'" }],
        mark: { type: 'point', size: 45, strokeWidth: 2 },
        encoding: {
          x,
          y,
          color,
          fill: { ...color, legend: null },
          ...(anyWrong && {
            shape: {
              field: 'result',
              type: 'nominal',
              title: null,
              scale: { domain: ['right', 'wrong'], range: ['circle', 'cross'] },
              legend: { orient: 'top' },
            },
          }),
        },
      },
    ],
    {
      text: `Time of an LSTM call, ${float ? 'float' : 'INT8'}`,
      subtitle: `${group}; minimum, logarithmic; dashed: the hardware's bound${anyWrong ? '; crosses: overflowed, wrong results' : ''}`,
    },
  );
}

/** How many times the bound each contender takes. */
function ratioChart(rows: readonly Row[], float: boolean, group: string): object {
  const values: Values = timed(rows).flatMap(({ trial, contender, timing, bound }) =>
    bound === undefined || trial.output < 80
      ? []
      : [
          {
            hidden: trial.output,
            batch: trial.batch,
            steps: trial.steps,
            contender: contender.name,
            ratio: timing.minimum / bound,
          },
        ],
  );
  const color = contenderColours(rows, false);
  const x = sizeAxis(sizesOf(rows).filter((size) => size >= 80));
  const y = {
    field: 'ratio',
    type: 'quantitative',
    title: '× bound',
    scale: { type: 'log', nice: false, domainMin: 0.7 },
    axis: { values: [1, 1.25, 1.5, 2, 3, 5, 10, 20, 50, 100], format: '~g' },
  };
  return facets(
    values,
    rows,
    [
      { mark: { type: 'line', strokeWidth: 2, point: { size: 45 } }, encoding: { x, y, color } },
      { mark: { type: 'rule', strokeDash: [4, 3], color: boundColour }, encoding: { y: { datum: 1 } } },
    ],
    {
      text: `Distance from the hardware's bound, ${float ? 'float' : 'INT8'}`,
      subtitle: `${group}; minimum ÷ bound, logarithmic: 1 is the best this machine can do; H ≥ 80`,
    },
  );
}

/** Rival's time over ours, for each H × B × T. */
function speedUpChart(run: Run, rows: readonly Row[], group: string): object {
  const within = new Set(rows);
  const values: Values = duels(run)
    .filter(({ rival }) => within.has(rival))
    .map(({ rival, speedUp }) => ({
      rival: `against ${rival.contender.name}`,
      hidden: rival.trial.output,
      call: `B ${rival.trial.batch}, T ${rival.trial.steps}`,
      order: rival.trial.batch * 1000 + rival.trial.steps,
      speedUp,
      label: number(speedUp).replace(/(\.\d)\d+$/, '$1') + (isWrong(rival, run) ? '*' : ''),
      strong: Math.abs(Math.log2(speedUp)) > 2,
    }));
  const x = { field: 'hidden', type: 'ordinal', title: 'hidden size H', axis: { labelAngle: 0 } };
  const y = { field: 'call', type: 'ordinal', title: null, sort: { field: 'order' } };
  const wrong = values.some(({ label }) => String(label).endsWith('*'));
  return {
    config: { ...config, view: { stroke: null } },
    title: {
      text: 'How many times faster dynaquant is',
      subtitle: `${group}; minimum times, in the same arithmetic class; below 1 (blue) the rival is faster${wrong ? '; * its results are wrong' : ''}`,
    },
    data: { values },
    facet: { field: 'rival', type: 'nominal', title: null, sort: null },
    columns: 3,
    spec: {
      width: { step: 46 },
      height: { step: 24 },
      layer: [
        {
          mark: { type: 'rect', stroke: 'white' },
          encoding: {
            x,
            y,
            color: {
              field: 'speedUp',
              type: 'quantitative',
              title: 'speed-up',
              scale: {
                type: 'log',
                domain: [0.25, 1, 16],
                range: ['#1d6fa5', '#f7f7f7', '#b2182b'],
                clamp: true,
              },
              legend: { values: [0.25, 0.5, 1, 2, 4, 8, 16], format: '~g', gradientLength: 140 },
            },
          },
        },
        {
          mark: { type: 'text', fontSize: 11 },
          encoding: {
            x,
            y,
            text: { field: 'label' },
            color: { condition: { test: 'datum.strong', value: 'white' }, value: '#222' },
          },
        },
      ],
    },
  };
}

/** Linear layers: a bar a contender. */
function linearChart(rows: readonly Row[], run: Run, group: string): object {
  const values: Values = timed(rows).map((row) => {
    const { trial, contender, timing, bound } = row;
    const shape = `${trial.batch} × ${trial.input} → ${trial.output}`;
    const label = `${number(timing.minimum)}${isWrong(row, run) ? `  (error ${percent(row.error!)})` : ''}`;
    return { shape, contender: contender.name, us: timing.minimum, label, bound: bound ?? NaN };
  });
  const order = [...new Set(rows.map(({ contender }) => contender.name))];
  const y = { field: 'contender', type: 'nominal', title: null, sort: order };
  const us = { type: 'quantitative', title: 'µs a call' };
  return {
    config,
    title: { text: 'Time of a Linear call', subtitle: `${group}; minimum; tick: the hardware's bound` },
    data: { values },
    facet: { field: 'shape', type: 'nominal', title: null, sort: null },
    columns: 2,
    spec: {
      width: 330,
      height: { step: 20 },
      layer: [
        {
          mark: { type: 'bar' },
          encoding: {
            y,
            x: { ...us, field: 'us' },
            color: { ...contenderColours(rows, false), legend: null },
          },
        },
        {
          mark: { type: 'text', align: 'left', dx: 4, fontSize: 11 },
          encoding: { y, x: { ...us, field: 'us' }, text: { field: 'label' } },
        },
        {
          mark: { type: 'tick', color: '#222', thickness: 2, height: 16 },
          encoding: { y, x: { ...us, field: 'bound' } },
        },
      ],
    },
    resolve: { scale: { x: 'independent' } },
  };
}

function chartsOf(run: Run): object[] {
  const charts: object[] = [];
  const groups = new Map<string, Row[]>();
  for (const row of run.rows) {
    const { weights, threads } = row.trial;
    const group = `${weights} weights, ${threads === 1 ? '1 thread' : `${threads} threads`}`;
    groups.set(group, [...(groups.get(group) ?? []), row]);
  }
  for (const [group, rows] of groups) {
    const lstm = rows.filter(({ trial }) => trial.kind === 'lstm');
    const linear = rows.filter(({ trial }) => trial.kind === 'linear');
    if (lstm.length > 0) {
      charts.push(speedUpChart(run, lstm, group));
      for (const float of [false, true]) {
        const some = lstm.filter(({ contender }) => isFloat(contender) === float);
        if (timed(some).length === 0) continue;
        charts.push(timeChart(some, run, float, group));
        if (run.hardware !== null) charts.push(ratioChart(some, float, group));
      }
    }
    if (timed(linear).length > 0) charts.push(linearChart(linear, run, group));
  }
  return charts;
}

/** What the hardware was measured to do, in giga per second. */
function hardwareTable(run: Run): string {
  const { hardware } = run;
  if (hardware === null) return '';
  const giga = (values: readonly number[]): string[] => values.map((value) => number(value / 1e9));
  const size = (bytes: number): string => (bytes < 1 << 20 ? `${bytes >> 10} KB` : `${bytes >> 20} MB`);
  return table(
    ['the hardware', ...hardware.threads.map((n) => (n === 1 ? '1 thread' : `${n} threads`))],
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
  );
}

const escape = (text: string): string => text.replace(/&/g, '&amp;').replace(/</g, '&lt;');

function table(head: readonly string[], rows: readonly (readonly string[])[]): string {
  const cells = (row: readonly string[], tag: string): string =>
    `<tr>${row.map((cell) => `<${tag}>${escape(cell)}</${tag}>`).join('')}</tr>`;
  return `<table>${cells(head, 'th')}${rows.map((row) => cells(row, 'td')).join('\n')}</table>`;
}

/** Writes the report; false where vega is not there. */
export async function writeReport(run: Run, path: string): Promise<boolean> {
  const loaded = await loadVega();
  if (loaded === null) return false;
  const { vega, compile } = loaded;
  const figures: string[] = [];
  for (const chart of chartsOf(run)) {
    const view = new vega.View(vega.parse(compile(chart).spec), { renderer: 'none' });
    figures.push(`<figure>${await view.toSVG()}</figure>`);
  }
  const speedUps = new Map(duels(run).map(({ rival, speedUp }) => [rival, speedUp]));
  const versions = Object.entries(run.versions).map(([name, version]) => `${name} ${version}`);
  writeFile(
    path,
    `<!doctype html>
<html lang="en">
<meta charset="utf-8">
<title>dynaquant benchmark, ${escape(run.machine.cpu)}</title>
<style>
  body { font: 15px/1.5 Inter, "Segoe UI", Helvetica, "DejaVu Sans", sans-serif; color: #222; max-width: 1080px; margin: 2em auto; padding: 0 1em; }
  figure { margin: 2.5em 0; overflow-x: auto; }
  table { border-collapse: collapse; font-size: 13px; margin: 1.5em 0; font-variant-numeric: tabular-nums; }
  th, td { padding: 2px 12px; text-align: right; border-bottom: 1px solid #e8e8e8; }
  th:first-child, td:first-child { text-align: left; padding-left: 0; }
</style>
<h1>dynaquant benchmark</h1>
<p>${escape(run.machine.cpu)}, ${run.machine.cores} cores, ${escape(run.machine.system)}; dynaquant on ${escape(run.isa)}; ${escape(versions.join(', '))}; ${run.date.slice(0, 10)}; ${run.rounds} rounds.
Times are of calls from JavaScript (PyTorch: from Python), all overhead included, in microseconds.</p>
${table(
  ['geometric means', 'rival', 'dynaquant is × faster', 'cells', 'lost'],
  means(run).map(({ rival, group, cells, lost, speedUp }) => [
    group,
    rival,
    number(speedUp),
    String(cells),
    String(lost),
  ]),
)}
${
  losses(run).length > 0
    ? table(
        ['lost cells', 'to', 'its time ÷ ours'],
        losses(run).map(({ rival, speedUp }) => [
          trialName(rival.trial),
          rival.contender.name,
          number(speedUp),
        ]),
      )
    : ''
}
${figures.join('\n')}
<h2>All figures</h2>
${table(
  ['trial', 'contender', 'min µs', 'median µs', 'noise', '÷ bound', 'error', 'we are ×'],
  run.rows.map((row) => [
    trialName(row.trial),
    row.contender.name,
    ...(row.timing
      ? [
          number(row.timing.minimum),
          number(row.timing.median),
          percent(row.timing.noise),
          row.bound === undefined ? '' : number(row.timing.minimum / row.bound),
          percent(row.error!),
          speedUps.has(row) ? number(speedUps.get(row)!) : '',
        ]
      : [row.skip!]),
  ]),
)}
${hardwareTable(run)}
</html>
`,
  );
  return true;
}
