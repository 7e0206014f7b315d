import { readFileSync } from 'node:fs';
import { join } from 'node:path';

import { arange, nn, Tensor, tensor, zeros } from 'dynaquant';

import { bytesOf } from './support.js';

const F = nn.functional;

interface Case {
  readonly name: 'pad' | 'interpolate' | 'unfold';
  readonly shape: number[];
  readonly args: unknown[];
  readonly options: Record<string, unknown>;
  readonly out?: { shape: number[]; data: number[] };
  readonly error?: string;
}
interface OneHot {
  readonly values: number[];
  readonly classes: number;
  readonly out?: unknown;
  readonly error?: string;
}
const { cases, one_hot, modules } = JSON.parse(
  readFileSync(join(__dirname, 'fixtures/padding.json'), 'utf8'),
) as { cases: Case[]; one_hot: OneHot[]; modules: Record<string, string> };

const counted = (shape: readonly number[]): Tensor =>
  arange(
    shape.reduce((a, b) => a * b, 1),
    { dtype: 'float32' },
  ).reshape(shape);
const call = ({ name, shape, args, options }: Case): Tensor => {
  const x = counted(shape);
  const input = name === 'interpolate' ? new Tensor((x.data as Float32Array).map(Math.sin), shape) : x;
  return (F[name] as (...args: unknown[]) => Tensor)(input, ...args, options);
};
const title = ({ name, shape, args, options }: Case): string =>
  `${name}([${shape.join(', ')}], ${[...args, options].map((each) => JSON.stringify(each)).join(', ')})`;

/** Where a sentence says the same in other words. */
const otherWords: readonly [theirs: RegExp, ours: RegExp][] = [
  [/^Argument #4: Padding size should be less/, /^Padding size should be less than the corresponding/],
  [/^narrow\(\): length|is too small|^Negative padding/, /^pad\(\): negative padding leaves out more/],
  [/^Given input with spatial size/, /^Given input with spatial size \[4, 5\], kernelSize=\[9, 9\]/],
  [/^Dimension out of range/, /^Expected 3D or 4D \(batch mode\) tensor/],
  [
    /^(either|only one of) size or scale_factor/,
    /^(either|only one of) size or scaleFactor should be defined/,
  ],
  [
    /spatial dimensions of \[4\] and (output|scale)/,
    /spatial dimensions of \[4\] and (output size|scaleFactor) of/,
  ],
  [/^align_corners option can only/, /^alignCorners can only be set/],
  [/^recompute_scale_factor is not/, /^recomputeScaleFactor is not meaningful/],
  [/^Input and output sizes should be gre/, /^Input and output sizes should be greater than 0/],
];

describe('as PyTorch', () => {
  test.each(cases.filter(({ out }) => out).map((each) => [title(each), each] as const))('%s', (_, each) => {
    const y = call(each);
    expect(y.shape).toEqual(each.out!.shape);
    const worst = Math.max(0, ...each.out!.data.map((value, i) => Math.abs(value - (y.data[i] as number))));
    expect(worst).toBeLessThanOrEqual(each.name === 'interpolate' ? 1e-6 : 0);
  });
  test.each(cases.filter(({ error }) => error).map((each) => [title(each), each] as const))(
    '%s is an error',
    (_, each) => {
      const ours = otherWords.find(([theirs]) => theirs.test(each.error!))?.[1];
      expect(() => call(each)).toThrow(ours ?? each.error!.slice(0, 40));
    },
  );
  test.each(one_hot)('oneHot($values, $classes)', ({ values, classes, out, error }) => {
    const y = (): Tensor => F.oneHot(tensor(values, { dtype: 'int64' }), classes);
    if (error === undefined) expect(y().toArray()).toEqual(out);
    else expect(y).toThrow(error.replace(/\.$/, ''));
  });
  test.each(Object.entries(modules))('nn.%s', (text, repr) => {
    const module = new Function('nn', `return new nn.${text}`)(nn) as nn.Module;
    expect(String(module)).toBe(repr.replace(/,\)/g, text.startsWith('Unflatten') ? ',)' : ')'));
  });
});

describe('modules', () => {
  test('compute what the functions do', () => {
    const x = counted([1, 2, 4, 5]);
    const pairs: [nn.Module, Tensor][] = [
      [new nn.ConstantPad1d([1, 2], 7), F.pad(x, [1, 2], { value: 7 })],
      [new nn.ConstantPad2d(1, -1), F.pad(x, [1, 1, 1, 1], { value: -1 })],
      [new nn.ZeroPad1d(1), F.pad(x, [1, 1])],
      [new nn.ZeroPad2d([1, 0, 2, 0]), F.pad(x, [1, 0, 2, 0])],
      [new nn.ReflectionPad2d([1, 0, 2, 0]), F.pad(x, [1, 0, 2, 0], { mode: 'reflect' })],
      [new nn.ReplicationPad2d(2), F.pad(x, [2, 2, 2, 2], { mode: 'replicate' })],
      [new nn.CircularPad2d(1), F.pad(x, [1, 1, 1, 1], { mode: 'circular' })],
      [new nn.Upsample({ scaleFactor: 2 }), F.interpolate(x, { scaleFactor: 2 })],
      [new nn.Flatten(), x.reshape(1, 40)],
      [new nn.Flatten({ startDim: -2 }), x.reshape(1, 2, 20)],
      [new nn.Unflatten(-1, [5, -1]), x.unsqueeze(-1)],
    ];
    for (const [module, out] of pairs) {
      const y = module.forward(x) as Tensor;
      expect([String(module), y.shape, bytesOf(y)]).toEqual([String(module), out.shape, bytesOf(out)]);
    }
    const row = counted([2, 5]);
    for (const [Module, mode] of [
      [nn.ReflectionPad1d, 'reflect'],
      [nn.ReplicationPad1d, 'replicate'],
      [nn.CircularPad1d, 'circular'],
    ] as const)
      expect(new Module([2, 1]).forward(row).equal(F.pad(row, [2, 1], { mode }))).toBe(true);
  });
  test('sizes and options are closed', () => {
    const up = new nn.Upsample({ size: [2, 3] });
    expect(() => Object.assign(up, { mode: 'bilinear' })).toThrow(
      expect.objectContaining({ code: 'ERR_READ_ONLY' }),
    );
    expect(() => (up.size as number[]).push(1)).toThrow(TypeError);
    expect(() => (new nn.ZeroPad1d(1).padding as number[]).push(1)).toThrow(TypeError);
  });
  test('what is not built is not accepted', () => {
    expect(() => new nn.Upsample({ scaleFactor: 2, mode: 'area' as never })).toThrow(
      /mode should be 'nearest' or/,
    );
    expect(() => F.interpolate(counted([1, 1, 2]), { size: 1, antialias: true } as never)).toThrow(
      /'antialias'/,
    );
  });
});

test('padding copies bits, and of every dtype', () => {
  const bits = Int32Array.of(0x7f800001, -1, 0x7fc12345);
  const x = new Tensor(new Float32Array(bits.buffer), [1, 3]);
  for (const mode of ['constant', 'reflect', 'replicate', 'circular'] as const)
    expect(bytesOf(F.pad(x, [1, 1], { mode }))).toBe(
      bytesOf(F.pad(new Tensor(bits, [1, 3]), [1, 1], { mode })),
    );
  const ids = F.pad(tensor([[5, 6]], { dtype: 'int64' }), [0, 2], { value: 1 });
  expect([ids.dtype, ids.toArray()]).toEqual(['int64', [[5, 6, 1, 1]]]);
  expect(() => F.pad(ids, [1, 0], { value: 2 ** 70 })).toThrow(/without overflow/);
});

test('interpolate in float64, and refuses integers', () => {
  const x = tensor([[[0, 1]]], { dtype: 'float64' });
  expect(F.interpolate(x, { size: 3, mode: 'linear', alignCorners: true }).toArray()).toEqual([
    [[0, 0.5, 1]],
  ]);
  expect(() => F.interpolate(x.to('int64'), { size: 3 })).toThrow(
    expect.objectContaining({ code: 'ERR_DTYPE' }),
  );
});

test('the nearest element of images, where a size stays or doubles, follows from the sizes alone', () => {
  const column = (x: Tensor): unknown => x.select(0, 0).select(0, 0).select(-1, 0).toArray();
  const image = arange(4).to('float32').reshape(1, 1, 4, 1).expand(1, 1, 4, 4);
  // PyTorch's.
  expect(column(F.interpolate(image, { scaleFactor: 1.2 }))).toEqual([0, 1, 2, 3]);
  expect(column(F.interpolate(image, { scaleFactor: [2.2, 1.3] }))).toEqual([0, 0, 1, 1, 2, 2, 3, 3]);
  const line = arange(4).to('float32').reshape(1, 1, 4);
  expect(F.interpolate(line, { scaleFactor: 1.2 }).toArray()).toEqual([[[0, 0, 1, 2]]]);
});

test('embedding is what nn.Embedding computes', () => {
  const layer = new nn.Embedding(5, 3);
  const ids = tensor([[1, 4, 0]], { dtype: 'int64' });
  expect(F.embedding(ids, layer.weight).equal(layer.forward(ids))).toBe(true);
  expect(F.embedding(ids, layer.weight, { paddingIdx: 4 }).equal(layer.forward(ids))).toBe(true);
  expect(() => F.embedding(ids, layer.weight, { paddingIdx: 5 })).toThrow(/within num_embeddings/);
  expect(() => F.embedding(tensor([5], { dtype: 'int64' }), layer.weight)).toThrow(RangeError);
  expect(F.embedding(ids, zeros(5, 0)).shape).toEqual([1, 3, 0]);
  expect(() => F.embedding(ids, layer.weight.flatten())).toThrow(/2-D/);
});
