// What a run says about dynaquant and its rivals: who was faster where, and by how much.
import type { Contender } from './contenders/index.js';
import type { Hardware } from './roofline.js';
import type { Row, Run } from './run.js';
import { geometricMean } from './statistics.js';
import { trialName, type Trial } from './trials.js';

/** Contenders are compared within a class: 8 bits, float16 weights, or float. */
export type Class = 'INT8' | 'float16' | 'float';

export function classOf({ type }: Contender): Class {
  return type === 'float' || type === 'float16' ? type : 'INT8';
}

/**
 * The rows whose 8-bit errors cannot be rounding: they are above 2 %, and above twice the smallest error of their
 * trial. That smallest error is taken over contenders with one scale a tensor, because our other modes err less.
 * Without VNNI, sums of int8 products overflow in some engines.
 */
export function wrongRows(run: Run): Set<Row> {
  const rows = run.rows.filter(
    ({ contender, error }) => classOf(contender) === 'INT8' && error !== undefined,
  );
  const least = new Map<string, number>();
  for (const { trial, contender, error } of rows) {
    if ((contender.mode ?? 'pertensor') !== 'pertensor') continue;
    const name = trialName(trial);
    least.set(name, Math.min(least.get(name) ?? Infinity, error!));
  }
  return new Set(
    rows.filter(({ trial, error }) => error! > Math.max(0.02, 2 * (least.get(trialName(trial)) ?? Infinity))),
  );
}

/** `1 thread`, `2 threads`. */
export function threadCount(threads: number): string {
  return threads === 1 ? '1 thread' : `${threads} threads`;
}

/** Items by a key, in the order in which the keys first appear. */
export function groupBy<Item>(items: readonly Item[], keyOf: (item: Item) => string): Map<string, Item[]> {
  const groups = new Map<string, Item[]>();
  for (const item of items) {
    const key = keyOf(item);
    const group = groups.get(key);
    if (group === undefined) groups.set(key, [item]);
    else group.push(item);
  }
  return groups;
}

/** A rival's time on a trial over ours: above 1, we were faster. */
export interface Duel {
  readonly ours: Row;
  readonly rival: Row;
  readonly speedUp: number;
}

/**
 * Every rival's row with our row of the same trial and class. Ours is the first mode that was measured. ONNX Runtime
 * has no INT8 GRU, so its float GRU is also compared with our INT8 one.
 */
export function duels(run: Run): Duel[] {
  const ours = new Map<string, Row>();
  const key = ({ trial }: Row, group: Class): string => `${trialName(trial)} ${group}`;
  for (const row of run.rows) {
    const own = key(row, classOf(row.contender));
    if (row.contender.engine === 'dynaquant' && row.timing && !ours.has(own)) ours.set(own, row);
  }
  return run.rows.flatMap((rival): Duel[] => {
    const { trial, contender, timing } = rival;
    if (contender.engine === 'dynaquant' || timing === undefined) return [];
    const classes = [classOf(contender)];
    if (trial.kind === 'gru' && contender.engine === 'onnxruntime') classes.unshift('INT8');
    return classes.flatMap((group): Duel[] => {
      const own = ours.get(key(rival, group));
      if (own?.timing === undefined) return [];
      return [{ ours: own, rival, speedUp: timing.minimum / own.timing.minimum }];
    });
  });
}

/** `onnxruntime-float`, followed by the contender of ours that it met if that is of another class. */
export function rivalName({ ours, rival }: Duel): string {
  const group = classOf(ours.contender);
  return rival.contender.name + (group === classOf(rival.contender) ? '' : ` (of our ${group})`);
}

/** Statistics over the trials with the same kind, weights and number of threads. */
export interface Mean {
  readonly rival: string;
  readonly group: string;
  readonly cells: number;
  readonly lost: number;
  readonly speedUp: number;
}

export function means(run: Run): Mean[] {
  const groups = groupBy(duels(run), (duel) => {
    const { kind, weights, threads } = duel.rival.trial;
    return [rivalName(duel), `${kind}, ${weights}, ${threadCount(threads)}`].join('|');
  });
  return [...groups].map(([key, members]) => {
    const [rival, group] = key.split('|') as [string, string];
    const speedUps = members.map((duel) => duel.speedUp);
    return {
      rival,
      group,
      cells: members.length,
      lost: speedUps.filter((speedUp) => speedUp < 1).length,
      speedUp: geometricMean(speedUps),
    };
  });
}

/** The cells where a rival was faster, the worst first. */
export function losses(run: Run): Duel[] {
  return duels(run)
    .filter((duel) => duel.speedUp < 1)
    .sort((a, b) => a.speedUp - b.speedUp);
}

/** dynaquant's own gains: INT8 or float16 over float, several threads over one. */
export interface Gain {
  readonly what: string;
  readonly cells: number;
  readonly mean: number;
  readonly least: number;
  /** The trial with the least gain. */
  readonly where: string;
}

export function gains(run: Run): Gain[] {
  const rows = run.rows.filter(({ contender, timing }) => contender.engine === 'dynaquant' && timing);
  const key = (trial: Trial, contender: string): string => `${trialName(trial)} ${contender}`;
  const times = new Map(
    rows.map(({ trial, contender, timing }) => [key(trial, contender.name), timing!.minimum]),
  );
  const pairs = rows.flatMap(({ trial, contender, timing }) => {
    const { kind, weights, threads } = trial;
    const over = (
      before: number | undefined,
      what: string,
    ): { what: string; ratio: number; where: string }[] =>
      before === undefined
        ? []
        : [
            {
              what: `${contender.name} over ${what}`,
              ratio: before / timing!.minimum,
              where: trialName(trial),
            },
          ];
    const float = contender.type === 'float' ? undefined : times.get(key(trial, 'dynaquant-float'));
    const single = threads === 1 ? undefined : times.get(key({ ...trial, threads: 1 }, contender.name));
    return [
      ...over(float, `float: ${kind}, ${weights}, ${threadCount(threads)}`),
      ...over(single, `1 thread: ${kind}, ${weights}, ${threadCount(threads)}`),
    ];
  });
  return [...groupBy(pairs, ({ what }) => what)].map(([what, members]) => {
    const ratios = members.map(({ ratio }) => ratio);
    const least = Math.min(...ratios);
    const { where } = members.find(({ ratio }) => ratio === least)!;
    return { what, cells: members.length, mean: geometricMean(ratios), least, where };
  });
}

/** Three significant digits: 0.123, 1.23, 12.3, 123, 1,234. */
export function number(value: number): string {
  const rounded = value < 1000 ? Number(value.toPrecision(3)) : value;
  const digits = rounded >= 100 ? 0 : rounded >= 10 ? 1 : rounded >= 1 ? 2 : 3;
  return rounded.toLocaleString('en', { minimumFractionDigits: digits, maximumFractionDigits: digits });
}

/** A share in percent, with as many digits as it needs. */
export function percent(share: number): string {
  const value = share * 100;
  if (value < 0.001) return '0 %';
  return `${value < 0.1 ? value.toPrecision(1) : value.toFixed(value < 10 ? 1 : 0)} %`;
}

/** The measured peaks of the hardware as a table, in 10^9 a second. */
export function hardwareTable(hardware: Hardware): { head: string[]; rows: string[][] } {
  const giga = (values: readonly number[]): string[] => values.map((value) => number(value / 1e9));
  const size = (bytes: number): string => (bytes < 1 << 20 ? `${bytes >> 10} KB` : `${bytes >> 20} MB`);
  return {
    head: ['measured', ...hardware.threads.map(threadCount)],
    rows: [
      ...hardware.peaks.flatMap(({ isa, int8, fp32 }) => [
        [`int8 multiply-adds, ${isa}, G/s`, ...giga(int8)],
        [`fp32 multiply-adds, ${isa}, G/s`, ...giga(fp32)],
      ]),
      ...hardware.reads.map(({ bytes, bytesPerSecond }) => [
        `read ${size(bytes)}, GB/s`,
        ...giga(bytesPerSecond),
      ]),
    ],
  };
}
