import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { tensor, type Tensor, where, type DType } from '../src/tensor/index.js';

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

test('where of two numbers', () => {
  const truth = tensor([true, false]);
  expect(where(truth, 1, 2)).toMatchObject({ dtype: 'int64', data: BigInt64Array.of(1n, 2n) });
  expect(where(truth, 1, 2.5)).toMatchObject({ dtype: 'float32', data: Float32Array.of(1, 2.5) });
  expect(where(truth, 1, tensor([[3], [4]])).toArray()).toEqual([
    [1, 3],
    [1, 4],
  ]);
});

test('large integers keep their digits', () => {
  const [a, b] = [tensor([2n ** 60n]), tensor([2n ** 60n + 1n])];
  expect([a.eq(b).item(), a.lt(b).item(), a.ge(b).item()]).toEqual([0, 1, 0]);
  expect(where(tensor([true]), b, a).data).toEqual(BigInt64Array.of(2n ** 60n + 1n));
  expect(a.maskedFill(tensor([false]), 0).data).toEqual(a.data);
});

test('an operand is not written, and its shape not shared', () => {
  const x = tensor([1, -2, 3]);
  for (const y of [x.neg(), x.exp(), x.add(x), x.add(1), x.where(x.gt(0), 0), x.maskedFill(x.gt(0), 0)]) {
    expect(y.data.buffer).not.toBe(x.data.buffer);
    expect(y.shape).not.toBe(x.shape);
  }
  expect(x.toArray()).toEqual([1, -2, 3]);
});

test('a clamp without bounds, and masks that are none', () => {
  expect(() => tensor([1]).clamp()).toThrow(/At least one of 'min' or 'max'/);
  expect(() => tensor([1]).maskedFill(tensor([1]), 0)).toThrow(/only supports boolean masks/);
  expect(() => tensor([1]).where(tensor([1]), 0)).toThrow(
    /boolean tensor, but got a tensor with dtype float32/,
  );
});
