// The report's charts, as vega-lite specifications.
import type { Contender } from './contenders/index.js';
import type { Row, Run } from './run.js';
import {
  classOf,
  duels,
  groupBy,
  number,
  percent,
  rivalName,
  threadCount,
  wrongRows,
  type Class,
} from './summary.js';

const boundColour = '#777777';

/** One colour an engine, shades of it for its variants. */
function colourOf({ engine, type, mode }: Contender): string {
  if (engine === 'pytorch') return '#e09f3e';
  if (engine === 'onnxruntime') return type === 'uint8' ? '#6fb7e0' : '#1d6fa5';
  const modes = {
    pertensor: '#d1495b',
    perchannel: '#8e3b74',
    perrow: '#4f9d69',
    fullrange: '#6b4c9a',
    best: '#1b1b3a',
  };
  return modes[mode ?? 'pertensor'];
}

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

/** Hidden sizes double, so their axis is logarithmic. It is labelled with the measured sizes only. */
function sizeAxis(sizes: readonly number[]): object {
  return {
    field: 'hidden',
    type: 'quantitative',
    title: 'hidden size H',
    scale: { type: 'log', base: 2, nice: false },
    axis: {
      values: sizes,
      format: 'd',
      labelFontSize: 10,
      labelOverlap: false,
      labelFlush: false,
      grid: false,
    },
  };
}

/** Colour by contender, in the order of the run, the bound last. */
function contenderColours(rows: readonly Row[], withBound: boolean): object {
  const all = new Map(rows.map(({ contender }) => [contender.name, contender]));
  const names = [...all.keys()];
  const shades = [...all.values()].map(colourOf);
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

/** For example `LSTM, INT8`. */
function describe(rows: readonly Row[]): string {
  return `${rows[0]!.trial.kind.toUpperCase()}, ${classOf(rows[0]!.contender)}`;
}

/** Time over hidden size: the log-log picture of everything. */
function timeChart(rows: readonly Row[], wrong: ReadonlySet<Row>, group: string): object {
  const values: Values = timed(rows).flatMap((row) => {
    const { trial, contender, timing, bound } = row;
    const place = { hidden: trial.output, batch: trial.batch, steps: trial.steps };
    const own = {
      ...place,
      contender: contender.name,
      us: timing.minimum,
      result: wrong.has(row) ? 'wrong' : 'right',
    };
    const hasBound = bound !== undefined && contender.engine === 'dynaquant';
    return hasBound ? [own, { ...place, contender: 'bound', us: bound, result: 'right' }] : [own];
  });
  const color = contenderColours(rows, true);
  const x = sizeAxis(sizesOf(rows));
  const powers = [-1, 0, 1, 2, 3, 4, 5, 6, 7].map((exponent) => 10 ** exponent);
  // One or two sizes may lie between two powers of ten.
  const ticks = sizesOf(rows).length > 2 ? powers : powers.flatMap((power) => [power, 2 * power, 5 * power]);
  const y = {
    field: 'us',
    type: 'quantitative',
    title: 'µs a call',
    // The bound of the smallest calls is orders of magnitude below what any call takes.
    scale: {
      type: 'log',
      nice: false,
      domainMin: Math.min(...timed(rows).map(({ timing }) => timing.minimum)) / 1.5,
    },
    axis: { values: ticks, format: ',~g' },
  };
  const anyWrong = values.some(({ result }) => result === 'wrong');
  return facets(
    values,
    rows,
    [
      {
        transform: [{ filter: "datum.contender == 'bound'" }],
        mark: { type: 'line', strokeDash: [4, 3], strokeWidth: 1.5, clip: true },
        encoding: { x, y, color },
      },
      {
        transform: [{ filter: "datum.contender != 'bound'" }],
        mark: { type: 'line', strokeWidth: 2 },
        encoding: { x, y, color },
      },
      {
        transform: [{ filter: "datum.contender != 'bound'" }],
        mark: { type: 'point', filled: true, size: 55, opacity: 1 },
        encoding: {
          x,
          y,
          color,
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
      text: `Time of a call, ${describe(rows)}`,
      subtitle: `${group}; minimum, logarithmic; dashed: the hardware's bound${anyWrong ? '; crosses: overflowed, wrong results' : ''}`,
    },
  );
}

/** How many times the bound each contender takes. */
function ratioChart(rows: readonly Row[], group: string): object {
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
      text: `Distance from the hardware's bound, ${describe(rows)}`,
      subtitle: `${group}; minimum ÷ bound, logarithmic: 1 is the best this machine can do; H ≥ 80`,
    },
  );
}

/** Rivals' times over ours, for each H × B × T. */
function speedUpChart(run: Run, rows: readonly Row[], wrong: ReadonlySet<Row>, group: string): object {
  const within = new Set(rows);
  const byRival = groupBy(
    duels(run.rows).filter(({ rival }) => within.has(rival)),
    rivalName,
  );
  const x = { field: 'hidden', type: 'ordinal', title: 'hidden size H', axis: { labelAngle: 0 } };
  const y = { field: 'call', type: 'ordinal', title: null, sort: { field: 'order' } };
  const colour = {
    field: 'speedUp',
    type: 'quantitative',
    title: 'speed-up',
    scale: { type: 'log', domain: [0.25, 1, 16], range: ['#c2452d', '#f7f7f7', '#0b6e4f'], clamp: true },
    legend: { values: [0.25, 0.5, 1, 2, 4, 8, 16], format: '~g', gradientLength: 140 },
  };
  const maps = [...byRival].map(([name, members]) => ({
    title: { text: `against ${name}`, fontSize: 13, anchor: 'middle', offset: 8 },
    data: {
      values: members.map(({ rival, speedUp }) => ({
        hidden: rival.trial.output,
        call: `B ${rival.trial.batch}, T ${rival.trial.steps}`,
        order: rival.trial.batch * 1000 + rival.trial.steps,
        speedUp: speedUp.value,
        label: number(speedUp.value).replace(/(\.\d)\d+$/, '$1') + (wrong.has(rival) ? '*' : ''),
        strong: Math.abs(Math.log2(speedUp.value)) > 2,
      })),
    },
    width: { step: 40 },
    height: { step: 24 },
    layer: [
      { mark: { type: 'rect', stroke: 'white' }, encoding: { x, y, color: colour } },
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
  }));
  const note = rows.some((row) => wrong.has(row)) ? '; * its results are wrong' : '';
  return {
    config: { ...config, view: { stroke: null } },
    title: {
      text: `How many times faster dynaquant's ${rows[0]!.trial.kind.toUpperCase()} is`,
      subtitle: `${group}; minimum times, of the same kind of weights; below 1 (red) the rival is faster${note}`,
    },
    concat: maps,
    columns: 3,
    spacing: 20,
  };
}

/** Linear layers: a bar a contender. */
function linearChart(rows: readonly Row[], wrong: ReadonlySet<Row>, group: string): object {
  const order = [...new Set(rows.map(({ contender }) => contender.name))];
  const y = { field: 'contender', type: 'nominal', title: null, sort: order };
  const us = { type: 'quantitative', title: 'µs a call' };
  const byShape = groupBy(timed(rows), ({ trial }) => `${trial.batch} × ${trial.input} → ${trial.output}`);
  return {
    config,
    title: { text: 'Time of a Linear call', subtitle: `${group}; minimum; tick: the hardware's bound` },
    columns: 2,
    spacing: 30,
    concat: [...byShape].map(([shape, members]) => ({
      title: { text: shape, fontSize: 13, anchor: 'middle', offset: 8 },
      data: {
        values: members.map((row) => ({
          contender: row.contender.name,
          us: row.timing.minimum,
          label: `${number(row.timing.minimum)}${wrong.has(row) ? `  (error ${percent(row.error!)})` : ''}`,
          bound: row.bound ?? null,
        })),
      },
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
    })),
  };
}

const classes: readonly Class[] = ['INT8', 'float16', 'float'];

/** Every chart of a run, as vega-lite specifications. */
export function chartsOf(run: Run): object[] {
  const charts: object[] = [];
  const wrong = wrongRows(run);
  const groups = groupBy(run.rows, ({ trial }) => `${trial.weights} weights, ${threadCount(trial.threads)}`);
  for (const [group, rows] of groups) {
    for (const kind of ['lstm', 'gru'] as const) {
      const layer = rows.filter(({ trial }) => trial.kind === kind);
      if (duels(layer).length > 0) charts.push(speedUpChart(run, layer, wrong, group));
      for (const arithmetic of classes) {
        const some = layer.filter(({ contender }) => classOf(contender) === arithmetic);
        if (timed(some).length === 0) continue;
        charts.push(timeChart(some, wrong, group));
        if (run.hardware !== null) charts.push(ratioChart(some, group));
      }
    }
    const linear = rows.filter(({ trial }) => trial.kind === 'linear');
    if (timed(linear).length > 0) charts.push(linearChart(linear, wrong, group));
  }
  return charts;
}
