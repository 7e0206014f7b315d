import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { Tensor, type DType } from '../src/index.js';
import { emptyArray } from '../src/tensor/dtype.js';
import { everywhere } from './native-calls.js';

type Encoded = { dtype: DType; shape: number[]; data: (number | string | boolean)[] };
type Case = { tensor: string; method: string; args: unknown[]; results: Encoded[] };
const file = JSON.parse(readFileSync(join(__dirname, 'fixtures', 'reductions.json'), 'utf8')) as {
  tensors: Record<string, Encoded>;
  methods: Case[];
};

function decoded({ dtype, shape, data }: Encoded): Tensor {
  const out = emptyArray(dtype, data.length);
  data.forEach((x, i) => ((out as unknown[])[i] = dtype === 'int64' ? BigInt(x) : Number(x)));
  return new Tensor(out, shape, { dtype });
}

test.each(
  file.methods.map((c) => [`${c.tensor}.${c.method}(${JSON.stringify(c.args).slice(1, -1)})`, c] as const),
)('%s is what it is in PyTorch', (_, { tensor, method, args, results }) => {
  const x = decoded(file.tensors[tensor]!);
  const values = args.map((arg) => (typeof arg === 'string' && arg !== 'fro' ? Number(arg) : arg));
  const f = (x as unknown as Record<string, (...args: unknown[]) => Tensor | Record<string, Tensor>>)[
    method
  ]!;
  const found = f.apply(x, values);
  const tensors = found instanceof Tensor ? [found] : [found['values']!, found['indices']!];
  expect(tensors).toHaveLength(results.length);
  results.forEach((result, i) => expectSame(tensors[i]!, decoded(result)));
});

/** The same, floats within 2e-6 of them or of 1. */
function expectSame(found: Tensor, expected: Tensor): void {
  expect([found.shape, found.dtype]).toEqual([expected.shape, expected.dtype]);
  for (let i = 0; i < expected.data.length; i++) {
    const [a, b] = [found.data[i]!, expected.data[i]!];
    if (a === b) continue; // zeros of either sign, too
    if (typeof b === 'bigint' || !Number.isFinite(b)) expect(a).toBe(b);
    else expect(Math.abs(Number(a) - b)).toBeLessThanOrEqual(2e-6 * Math.max(1, Math.abs(b)));
  }
}
void everywhere;
