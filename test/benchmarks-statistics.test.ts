import { geometricMean, median, quantile, timing } from '../benchmarks/statistics.js';

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

test('a timing is the best round, the usual median, and how far a usual round is from the best', () => {
  const rounds = [
    { minimum: 100, median: 120 },
    { minimum: 110, median: 130 },
    { minimum: 150, median: 200 },
  ];
  const { minimum, median, noise } = timing(rounds);
  expect(minimum).toBe(100);
  expect(median).toBe(130);
  expect(noise).toBeCloseTo(0.1);
});
