// The few statistics that timings need.

/** Linear interpolation between order statistics; `share` 0 is the minimum, 0.5 the median. */
export function quantile(values: readonly number[], share: number): number {
  if (values.length === 0) throw new RangeError('no values');
  const sorted = [...values].sort((a, b) => a - b);
  const position = share * (sorted.length - 1);
  const below = Math.floor(position);
  const above = Math.ceil(position);
  return sorted[below]! + (sorted[above]! - sorted[below]!) * (position - below);
}

export function median(values: readonly number[]): number {
  return quantile(values, 0.5);
}

export function geometricMean(values: readonly number[]): number {
  if (values.length === 0) throw new RangeError('no values');
  return Math.exp(values.reduce((sum, value) => sum + Math.log(value), 0) / values.length);
}

/** The results of one round of batches, in microseconds a call. */
export interface Round {
  readonly minimum: number;
  readonly median: number;
}

/** Microseconds a call over all rounds. */
export interface Timing extends Round {
  readonly rounds: readonly Round[];
}

export function timing(rounds: readonly Round[]): Timing {
  return {
    minimum: Math.min(...rounds.map((round) => round.minimum)),
    median: median(rounds.map((round) => round.median)),
    rounds,
  };
}

/** A minimum is no stroke of luck when so many rounds, the best one included, agree upon it. */
const meetings = 3;
/** Rounds agree when their minima are within this share of the best. */
const agreement = 0.02;

/**
 * How far the third best round's minimum is above the best one's, as a share: how sure a minimum is. Fewer than three
 * rounds say nothing.
 */
export function spread(rounds: readonly Round[]): number {
  const minima = rounds.map((round) => round.minimum).sort((a, b) => a - b);
  return minima.length < meetings ? Infinity : minima[meetings - 1]! / minima[0]! - 1;
}

/** How long rounds may go on. */
export interface Patience {
  readonly least: number;
  readonly most: number;
  /** No round after the least begins later than this, in milliseconds. */
  readonly time: number;
}

/** Whether another round is worth its time: some contender's minimum was not met often enough. */
export function goesOn(
  contenders: readonly (readonly Round[])[],
  { least, most, time }: Patience,
  spent: number,
): boolean {
  const rounds = Math.max(0, ...contenders.map(({ length }) => length));
  if (contenders.length === 0 || rounds >= most) return false;
  if (rounds < least) return true;
  return spent < time && contenders.some((each) => spread(each) > agreement);
}

/** A ratio of two minima, and between what it lies. */
export interface Ratio {
  readonly value: number;
  readonly low: number;
  readonly high: number;
}

/** How many times `b` is in `a`. More rounds may lower either minimum, by about as much as its best rounds differ. */
export function ratio(a: Timing, b: Timing): Ratio {
  const value = a.minimum / b.minimum;
  return { value, low: value / (1 + spread(a.rounds)), high: value * (1 + spread(b.rounds)) };
}
