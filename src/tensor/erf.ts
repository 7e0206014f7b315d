/** The error function `2 / sqrt(pi) * integral of exp(-t^2) from 0 to x`, to 1e-15. */
export function erf(x: number): number {
  if (!(Math.abs(x) < 6)) return Math.sign(x); // from there on it is 1
  // x * sum of (2 x^2)^n / (1 * 3 * ... * (2 n + 1)) * 2 exp(-x^2) / sqrt(pi). All terms are positive: nothing cancels.
  const square = x * x;
  let term = x;
  let sum = x;
  for (let n = 1; Math.abs(term) > Math.abs(sum) * 1e-17; n++) {
    term *= (2 * square) / (2 * n + 1);
    sum += term;
  }
  return ((2 * Math.exp(-square)) / Math.sqrt(Math.PI)) * sum;
}
