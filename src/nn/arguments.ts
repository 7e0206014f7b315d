import { checkNumber, checkOptions, rangeError } from '../errors.js';
import { float32 } from '../tensor/dtype.js';
import { checkTensor, isTensor, type Tensor } from '../tensor/tensor.js';

/** A float32 tensor's numbers and shape. @throws {TypeError} for anything else */
export function floatInput(where: string, input: Tensor): { data: Float32Array; shape: readonly number[] } {
  // First what is cheap: to join the two texts takes longer than to map a few elements.
  if (!isTensor(input) || input.dtype !== float32) checkTensor(`${where}: input`, input, float32);
  return { data: input.checked('input') as Float32Array, shape: input.shape };
}

/** The defaults, replaced by the options that are given. All are numbers. */
export function numberOptions<T extends Record<string, number>>(
  where: string,
  defaults: T,
  options: Partial<T> | undefined,
): T {
  if (options === undefined) return defaults;
  checkOptions(where, options, Object.keys(defaults));
  const result: Record<string, number> = { ...defaults };
  for (const [name, value] of Object.entries(options) as [string, unknown][]) {
    if (value === undefined) continue;
    checkNumber(`${where}: ${name}`, value);
    result[name] = value;
  }
  return result as T;
}

/** A probability of dropout. @throws {TypeError | RangeError} when it is none */
export function checkProbability(name: string, p: number): void {
  checkNumber(name, p);
  if (p >= 0 && p <= 1) return;
  const sentence = `dropout probability has to be between 0 and 1, but got ${p}`;
  throw rangeError('ERR_INVALID_ARG_VALUE', sentence);
}
