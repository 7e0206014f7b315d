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
  /**
   * How far a usual round's minimum is above the best one's, as a share of the best. The minimum of another run may
   * differ by this much without meaning anything.
   */
  readonly noise: number;
}

export function timing(rounds: readonly Round[]): Timing {
  const minima = rounds.map((round) => round.minimum);
  const minimum = Math.min(...minima);
  return {
    minimum,
    median: median(rounds.map((round) => round.median)),
    noise: median(minima) / minimum - 1,
    rounds,
  };
}
