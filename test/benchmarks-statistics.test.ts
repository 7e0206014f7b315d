import {
  geometricMean,
  goesOn,
  median,
  quantile,
  ratio,
  spread,
  timing,
  type Round,
  type Timing,
} from '../benchmarks/statistics.js';

test('quantiles interpolate between the sorted values, whatever their order', () => {
  expect(median([3, 1, 2])).toBe(2);
  expect(median([4, 1, 2, 3])).toBe(2.5);
  expect(quantile([10, 20], 0)).toBe(10);
  expect(quantile([10, 20], 1)).toBe(20);
  expect(quantile([30, 10, 20, 40, 50], 0.1)).toBeCloseTo(14);
  expect(() => median([])).toThrow('no values');
});

test('the geometric mean of a ratio and its inverse is 1', () => {
  expect(geometricMean([4, 1 / 4])).toBeCloseTo(1);
  expect(geometricMean([2, 8])).toBeCloseTo(4);
  expect(() => geometricMean([])).toThrow('no values');
});

const round = (minimum: number): Round => ({ minimum, median: 1.1 * minimum });

test('a timing is the best round and the usual median', () => {
  const { minimum, median } = timing([110, 100, 150].map(round));
  expect(minimum).toBe(100);
  expect(median).toBeCloseTo(121);
});

test('a minimum is as sure as its third best round is near; two rounds say nothing', () => {
  expect(spread([150, 100, 104, 101].map(round))).toBeCloseTo(0.04);
  expect(spread([100, 100].map(round))).toBe(Infinity);
});

test('a ratio lies between what more rounds could make of either minimum', () => {
  const sure = timing([100, 100, 100].map(round));
  const unsure = timing([90, 99, 120, 99].map(round));
  expect(ratio(sure, unsure)).toEqual({
    value: 100 / 90,
    low: 100 / 90,
    high: expect.closeTo(1.1 * (100 / 90)),
  });
  expect(ratio(unsure, sure)).toEqual({ value: 0.9, low: expect.closeTo(0.9 / 1.1), high: 0.9 });
});

describe('rounds go on', () => {
  const patience = { least: 5, most: 20, time: 1000 };
  const met = [100, 101, 101.9, 130, 130].map(round);
  const unmet = [100, 103, 104, 105, 101].map(round);

  test('until three of each contender agree within 2 %', () => {
    expect(goesOn([met, met], patience, 0)).toBe(false);
    expect(goesOn([met, unmet], patience, 0)).toBe(true);
    expect(goesOn([met, [...unmet, round(101.9)]], patience, 0)).toBe(false);
  });

  test('for the least number at any rate', () => {
    expect(goesOn([[]], patience, 0)).toBe(true);
    expect(goesOn([met.slice(0, 4)], patience, 5000)).toBe(true);
  });

  test('no longer than there is time, or than the most rounds', () => {
    expect(goesOn([unmet], patience, 1000)).toBe(false);
    expect(goesOn([unmet], { ...patience, most: 5 }, 0)).toBe(false);
  });

  test('only while somebody is left', () => {
    expect(goesOn([], patience, 0)).toBe(false);
  });
});

/** Rounds of several contenders, whose minima come from functions of the round's index, for as long as they go on. */
function play(contenders: readonly ((index: number) => number)[], least: number): Timing[] {
  const all = contenders.map((): Round[] => []);
  while (goesOn(all, { least, most: 4 * least, time: Infinity }, 0)) {
    all.forEach((rounds, i) => rounds.push(round(contenders[i]!(rounds.length))));
  }
  return all.map(timing);
}

/** From 0 to 1, the same each time. */
function random(seed: number): (index: number) => number {
  return (index) => Math.abs(Math.sin(12.9898 * (index + 1) + 78.233 * seed) * 43758.5453) % 1;
}

describe('what a lost cell is', () => {
  const noisy =
    (time: number, seed: number) =>
    (index: number): number =>
      time * (1 + 0.05 * random(seed)(index) ** 2);

  test.each([1, 2, 3, 4, 5])('a slow spell in our first four rounds loses no cell (%i)', (seed) => {
    const ours = noisy(100, seed);
    const inSpell = (index: number): number => (index < 4 ? 1.5 : 1) * ours(index);
    const [own, rival] = play([inSpell, noisy(105, seed + 10)], 5) as [Timing, Timing];
    expect(own.rounds.length).toBeGreaterThan(5);
    const { low, high } = ratio(rival, own);
    expect(high).toBeGreaterThan(1);
    expect(low).toBeGreaterThan(0.98);
  });

  test.each([1, 2, 3, 4, 5])('a rival that is 8 %% faster wins it (%i)', (seed) => {
    const [own, rival] = play([noisy(108, seed), noisy(100, seed + 10)], 10) as [Timing, Timing];
    expect(ratio(rival, own).high).toBeLessThan(1);
  });
});
