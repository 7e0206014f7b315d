import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { emptyArray, Tensor, type DType } from '../src/tensor/index.js';

// What fixtures/make_reductions.py wrote.

export interface Encoded {
  readonly dtype: DType;
  readonly shape: readonly number[];
  readonly data: readonly (number | string | boolean)[];
}
export const reductions = JSON.parse(
  readFileSync(join(__dirname, 'fixtures', 'reductions.json'), 'utf8'),
) as {
  tensors: Record<string, Encoded>;
  methods: { tensor: string; method: string; args: unknown[]; results: Encoded[] }[];
  modules: {
    kind: 'RMSNorm' | 'GroupNorm' | 'BatchNorm1d' | 'BatchNorm2d';
    args: unknown[];
    options: Record<string, unknown>;
    repr: string;
    input: Encoded;
    output: Encoded;
    state: Record<string, Encoded>;
  }[];
  functions: { name: string; args: unknown[]; output: Encoded }[];
};

export function decoded({ dtype, shape, data }: Encoded): Tensor {
  const out = emptyArray(dtype, data.length);
  data.forEach((x, i) => ((out as unknown as unknown[])[i] = dtype === 'int64' ? BigInt(x) : Number(x)));
  return new Tensor(out, shape, { dtype });
}

/** An argument: a tensor, or a number that JSON lacks, or what it is. */
export function argument(value: unknown): unknown {
  if (typeof value === 'string' && /^-?(Infinity|NaN)$/.test(value)) return Number(value);
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return value;
  if ('data' in value) return decoded(value as Encoded);
  return Object.fromEntries(Object.entries(value).map(([key, each]) => [key, argument(each)]));
}

/** The same, floats within 2e-6 of them or of 1. */
export function expectSame(found: Tensor, expected: Tensor): void {
  expect([found.shape, found.dtype]).toEqual([expected.shape, expected.dtype]);
  for (let i = 0; i < expected.data.length; i++) {
    const [a, b] = [found.data[i]!, expected.data[i]!];
    if (a === b) continue; // zeros of either sign, too
    if (typeof b === 'bigint' || !Number.isFinite(b)) expect(a).toBe(b);
    else expect(Math.abs(Number(a) - b)).toBeLessThanOrEqual(2e-6 * Math.max(1, Math.abs(b)));
  }
}
