import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { tensor, type Tensor, type DType } from '../src/tensor/index.js';

interface Shown {
  dtype: DType;
  shape: number[];
  values: (number | string | boolean)[];
}
type Case = [method: string, args: (Shown | number | string | null)[], options: object, result: Shown | null];
const cases = JSON.parse(readFileSync(join(__dirname, 'fixtures', 'elementwise.json'), 'utf8')) as Case[];
const byMethod = new Map<string, Case[]>();
for (const each of cases) byMethod.set(each[0], [...(byMethod.get(each[0]) ?? []), each]);

function read(shown: Case[1][number]): unknown {
  if (shown === null || typeof shown !== 'object') return typeof shown === 'string' ? Number(shown) : shown;
  const { dtype, shape, values } = shown;
  return tensor(values.map(Number), { dtype }).reshape(shape);
}

/** float32 values within 4 ulp; of sigmoid, what is almost 0 may be 0. */
function isNear(got: number, want: number, dtype: DType): boolean {
  if (Object.is(got, want) || (got === 0 && want === 0)) return true;
  const relative = dtype === 'float64' ? 1e-14 : 5e-7;
  return Math.abs(got - want) <= relative * Math.abs(want) + 2e-38;
}

/** What is wrong with a case, if anything. */
function fault([method, args, options, expected]: Case): unknown {
  const [self, ...rest] = args.map(read) as [Tensor, ...unknown[]];
  const given = method === 'clamp' || Object.keys(options).length === 0 ? rest : [...rest, options];
  const call = (): Tensor =>
    (self as never as Record<string, (...args: unknown[]) => Tensor>)[method]!(...given);
  if (expected === null) {
    try {
      return `gives ${String(call())}`;
    } catch (error) {
      return (error as { code?: string }).code === undefined ? error : undefined;
    }
  }
  const { dtype, shape, data } = call();
  if (dtype !== expected.dtype || String(shape) !== String(expected.shape))
    return `${dtype} [${String(shape)}]`;
  const got = Array.from(data as Float32Array, Number);
  const wrong = got.some((value, i) => !isNear(value, Number(expected.values[i]), dtype));
  return wrong ? got : undefined;
}

test.each([...byMethod.keys()])('%s equals PyTorch’s', (method) => {
  const faults = byMethod.get(method)!.flatMap((each) => {
    const found = fault(each);
    return found === undefined ? [] : [`${JSON.stringify(each)}: ${JSON.stringify(found)}`];
  });
  expect(faults).toEqual([]);
});
