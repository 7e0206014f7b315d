/** A float as Python prints it: `1.0`, `1e-05`. */
export function pythonFloat(x: number): string {
  if (!Number.isFinite(x)) return String(x).toLowerCase().replace('infinity', 'inf');
  const [digits, exponent] = x.toExponential().split('e') as [string, string];
  const e = Number(exponent);
  if (x !== 0 && (e < -4 || e >= 16)) {
    return `${digits}e${e < 0 ? '-' : '+'}${String(Math.abs(e)).padStart(2, '0')}`;
  }
  return Number.isInteger(x) ? `${x}.0` : String(x);
}

/** A tuple as Python prints it; what is none prints as one of its elements. */
export function pythonTuple(given: number | null | readonly (number | null)[]): string {
  const text = (n: number | null): string => (n === null ? 'None' : String(n));
  if (!Array.isArray(given)) return text(given as number | null);
  const list = (given as readonly (number | null)[]).map(text);
  return list.length === 1 ? `(${list[0]},)` : `(${list.join(', ')})`;
}

/** A truth value as Python prints it. */
export function pythonBool(flag: boolean): string {
  return flag ? 'True' : 'False';
}
