// What a run says about dynaquant and its rivals: who was faster where, and by how much.
import type { Contender } from './contenders/index.js';
import type { Hardware } from './roofline.js';
import { allRows, type ModelRow, type Row, type Run } from './run.js';
import { geometricMean, ratio, spread, type Ratio, type Timing } from './statistics.js';
import { isModel, trialName, type ModelTrial, type Trial } from './trials.js';

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
export interface Duel<Any extends Row | ModelRow = Row | ModelRow> {
  readonly ours: Any;
  readonly rival: Any;
  readonly speedUp: Ratio;
}

/**
 * Every rival's row with our row of the same trial and class. Ours is the first mode that was measured; of a whole
 * model, it is each mode. ONNX Runtime has no INT8 GRU, so its float GRU is also compared with our INT8 one.
 */
export function duels<Any extends Row | ModelRow>(rows: readonly Any[]): Duel<Any>[] {
  const key = ({ trial }: Any, group: Class): string => `${trialName(trial)} ${group}`;
  const own = rows.filter(({ contender, timing }) => contender.engine === 'dynaquant' && timing);
  const ours = groupBy(own, (row) => key(row, classOf(row.contender)));
  return rows.flatMap((rival): Duel<Any>[] => {
    const { trial, contender, timing } = rival;
    if (contender.engine === 'dynaquant' || timing === undefined) return [];
    const classes = [classOf(contender)];
    if (trial.kind === 'gru' && contender.engine === 'onnxruntime') classes.unshift('INT8');
    return classes.flatMap((group) =>
      (ours.get(key(rival, group)) ?? [])
        .slice(0, isModel(trial) ? undefined : 1)
        .map((row) => ({ ours: row, rival, speedUp: ratio(timing, row.timing!) })),
    );
  });
}

/** The speed-up over each rival: of a model, that of our first mode. */
export function speedUps(run: Run): Map<Row | ModelRow, Ratio> {
  const found = new Map<Row | ModelRow, Ratio>();
  for (const { rival, speedUp } of duels(allRows(run))) {
    if (!isModel(rival.trial) || !found.has(rival)) found.set(rival, speedUp);
  }
  return found;
}

/** `onnxruntime-float`, followed by the contender of ours that it met if that is not the obvious one. */
export function rivalName({ ours, rival }: Duel): string {
  const group = classOf(ours.contender);
  if (group !== classOf(rival.contender)) return `${rival.contender.name} (of our ${group})`;
  const { mode = 'pertensor' } = ours.contender;
  return rival.contender.name + (isModel(ours.trial) && mode !== 'pertensor' ? ` (of our ${mode})` : '');
}

/** Whether the rival was faster by more than how sure the two minima are. */
export function isLost({ speedUp }: Duel): boolean {
  return speedUp.high < 1;
}

/** Whether the minima do not say who was faster. */
export function isOpen({ speedUp: { low, high } }: Duel): boolean {
  return low <= 1 && high >= 1;
}

/** Statistics over the trials with the same kind, weights and number of threads. */
export interface Mean {
  readonly rival: string;
  readonly group: string;
  readonly cells: number;
  readonly lost: number;
  readonly open: number;
  readonly speedUp: number;
}

/** For example `lstm, trained, 1 thread`. */
function groupName(trial: Trial | ModelTrial): string {
  const { kind, threads } = trial;
  return [kind, ...(isModel(trial) ? [] : [trial.weights]), threadCount(threads)].join(', ');
}

export function means(run: Run): Mean[] {
  const groups = groupBy(duels(allRows(run)), (duel) =>
    [rivalName(duel), groupName(duel.rival.trial)].join('|'),
  );
  return [...groups].map(([key, members]) => {
    const [rival, group] = key.split('|') as [string, string];
    return {
      rival,
      group,
      cells: members.length,
      lost: members.filter(isLost).length,
      open: members.filter(isOpen).length,
      speedUp: geometricMean(members.map(({ speedUp }) => speedUp.value)),
    };
  });
}

/** The cells where a rival was faster for sure, the worst first. */
export function losses<Any extends Row | ModelRow>(rows: readonly Any[]): Duel<Any>[] {
  return duels(rows)
    .filter(isLost)
    .sort((a, b) => a.speedUp.value - b.speedUp.value);
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
  const rows = allRows(run).filter(({ contender, timing }) => contender.engine === 'dynaquant' && timing);
  const key = (trial: Trial | ModelTrial, contender: string): string => `${trialName(trial)} ${contender}`;
  const times = new Map(
    rows.map(({ trial, contender, timing }) => [key(trial, contender.name), timing!.minimum]),
  );
  const pairs = rows.flatMap(({ trial, contender, timing }) => {
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
    const single = trial.threads === 1 ? undefined : times.get(key({ ...trial, threads: 1 }, contender.name));
    return [...over(float, `float: ${groupName(trial)}`), ...over(single, `1 thread: ${groupName(trial)}`)];
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

/** For example `1.31 (1.29 to 1.32)`. */
export function ratioText({ value, low, high }: Ratio): string {
  return `${number(value)} (${number(low)} to ${Number.isFinite(high) ? number(high) : '∞'})`;
}

/** For example `10 to 24`: how many rounds the timings of a run have. */
export function roundsOf(run: Run): string {
  const counts = allRows(run).flatMap(({ timing }) => (timing ? [timing.rounds.length] : []));
  const [least, most] =
    counts.length === 0 ? [run.rounds, run.rounds] : [Math.min(...counts), Math.max(...counts)];
  return least === most ? String(least) : `${least} to ${most}`;
}

/** How far above a minimum its third best round is. */
export function spreadText({ rounds }: Timing): string {
  const share = spread(rounds);
  return Number.isFinite(share) ? percent(share) : '';
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
