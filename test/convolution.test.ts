import { native } from '../src/native/addon.js';
import { callConvolution } from '../src/native/call-convolution.js';
import type { ConvolutionHandle } from '../src/native/handles.js';
import * as nn from '../src/nn/index.js';
import { manualSeed, randn } from '../src/random.js';
import { modelFromStateDict } from '../src/serialization/model-from-state-dict.js';
import { ones, tensor, zeros, Tensor } from '../src/tensor/index.js';
import { setNumThreads, getNumThreads } from '../src/threads.js';
import {
  bytesOf,
  expectClose,
  golden,
  optionsOf,
  pseudoRandom,
  withIsa,
  type GoldenCase,
} from './support.js';

const group = golden('convolution');
const cases = group.cases.filter((c) => c.seed !== undefined);
const { conv1d, conv2d, convTranspose1d } = nn.functional;

function moduleOf(c: GoldenCase): nn.Conv1d {
  const Class = nn[c.kind as 'Conv1d'];
  return new Class(...(c.args as [number, number, number]), optionsOf(c.kwargs));
}
/** The function that computes what a module does. */
function call(c: GoldenCase, module: nn.Conv1d, x: Tensor): Tensor {
  const options = Object.fromEntries(Object.entries(optionsOf(c.kwargs)).filter(([name]) => name !== 'bias'));
  const f = { Conv1d: conv1d, Conv2d: conv2d, ConvTranspose1d: convTranspose1d }[c.kind as 'Conv1d'];
  return f(x, module.weight, module.bias, options);
}

describe.each(cases.map((c) => [c.repr as string, c]))('%s', (repr, c) => {
  const x = group.tensor(c.x);
  const y = group.tensor(c.y);

  test('has PyTorch’s repr and initial weights', () => {
    manualSeed(c.seed);
    const module = moduleOf(c);
    expect(String(module)).toBe(repr);
    const state = module.stateDict();
    expect([...state.keys()]).toEqual(Object.keys(c.params));
    for (const [key, value] of group.state(c.params)) expect(bytesOf(state.get(key)!)).toBe(bytesOf(value));
  });
  test('equals PyTorch, the same bits on every instruction set, asynchronously and as a function', async () => {
    const module = moduleOf(c);
    module.loadStateDict(group.state(c.params));
    const here = module.forward(x);
    expectClose(here, y);
    for (const isa of native().isas()) {
      module.repack();
      expect(bytesOf(withIsa(isa, () => module.forward(x)))).toBe(bytesOf(here));
    }
    expect(bytesOf(await module.forwardAsync(x))).toBe(bytesOf(here));
    if (c.kwargs.padding_mode === undefined) expect(bytesOf(call(c, module, x))).toBe(bytesOf(here));
  });
  test('comes back from its state dict, groups and all', () => {
    const module = moduleOf(c);
    const { model, assumptions } = modelFromStateDict(module.stateDict());
    expect(String(model)).toBe(repr);
    expect(assumptions).toEqual([]);
  });
});
test('there are golden cases of each kind', () => {
  expect(new Set(cases.map((c) => c.kind))).toEqual(new Set(['Conv1d', 'Conv2d', 'ConvTranspose1d']));
});

/** The sums in float64, and those of magnitudes, of which an error is a part. */
function exact(x: Tensor, m: nn.Conv1d): [sums: Float64Array, magnitudes: Float64Array] {
  const [batch, channels, length] = x.shape as [number, number, number];
  const [outputs, inputs, kernel] = m.weight.shape as [number, number, number];
  const [stride, padding, dilation] = [m.stride[0]!, m.padding[0] as number, m.dilation[0]!];
  const positions = m.forward(x).shape[2]!;
  const sums = new Float64Array(batch * outputs * positions);
  const magnitudes = sums.slice();
  for (let i = 0; i < sums.length; i++) {
    const [b, o, j] = [
      Math.floor(i / positions / outputs),
      Math.floor(i / positions) % outputs,
      i % positions,
    ];
    sums[i] = Number(m.bias!.data[o]);
    magnitudes[i] = Math.abs(sums[i]!);
    const first = Math.floor(o / (outputs / m.groups)) * inputs;
    for (let c = 0; c < inputs; c++) {
      for (let k = 0; k < kernel; k++) {
        const at = j * stride + k * dilation - padding;
        if (at < 0 || at >= length) continue;
        const value = Number(x.data[(b * channels + first + c) * length + at]);
        const term = value * Number(m.weight.data[(o * inputs + c) * kernel + k]);
        sums[i]! += term;
        magnitudes[i]! += Math.abs(term);
      }
    }
  }
  return [sums, magnitudes];
}

// Sizes around every tile: channels of a tile and a panel, positions of a vector and of several, groups of one.
describe.each([
  [1, 1, 3, 40, {}],
  [2, 7, 3, 15, { padding: 1 }],
  [3, 8, 2, 16, {}],
  [5, 31, 5, 17, { padding: 2 }],
  [4, 65, 3, 3, { padding: 1 }],
  [17, 70, 1, 200, {}],
  [6, 12, 3, 130, { groups: 3, dilation: 2 }],
  [12, 12, 9, 65, { groups: 12, padding: 4 }],
  [2, 3, 5, 301, { stride: 5, padding: 2 }],
  [7, 40, 4, 61, { stride: 2, padding: 3 }],
] as const)('%i to %i channels, kernel %i, %i positions, %j', (inputs, outputs, kernel, length, options) => {
  const module = new nn.Conv1d(inputs, outputs, kernel, options);
  const x = randn(3, inputs, length);
  test('is within the bound that kernels.h states of the exact sums', () => {
    const [sums, magnitudes] = exact(x, module);
    const terms = (inputs / module.groups) * kernel + 1;
    const y = module.forward(x).data;
    expect(y).toHaveLength(sums.length);
    for (let i = 0; i < sums.length; i++)
      expect(Math.abs(Number(y[i]) - sums[i]!)).toBeLessThanOrEqual(terms * 2 ** -24 * magnitudes[i]!);
  });
  test('gives the same bits with every number of threads, on every instruction set, row by row', () => {
    const before = getNumThreads();
    try {
      const results = native()
        .isas()
        .flatMap((isa) =>
          [1, 2, 5].map((threads) => {
            setNumThreads(threads);
            module.repack();
            return bytesOf(withIsa(isa, () => module.forward(x)));
          }),
        );
      expect(new Set(results).size).toBe(1);
      const rows = [0, 1, 2].map((i) => bytesOf(module.forward(x.select(0, i))));
      expect(rows.join('')).toBe(results[0]);
    } finally {
      setNumThreads(before);
    }
  });
});

test('sums what IEEE says of infinities, NaN, subnormal and huge numbers', () => {
  for (const outputs of [1, 20]) {
    const w = zeros(outputs, 1, 2).add(tensor([1, -1]));
    const of = (...values: number[]): number[] =>
      (conv1d(tensor([values]), w, zeros(outputs)).toArray() as number[][])[outputs - 1]!;
    expect(of(Infinity, 1, -Infinity)).toEqual([Infinity, Infinity]);
    expect(of(Infinity, Infinity, NaN, 1)).toEqual([NaN, NaN, NaN]);
    expect(of(2 ** -149, 0, 2 ** -140)).toEqual([2 ** -149, -(2 ** -140)]);
    expect(of(3e38, -3e38, 3e38)).toEqual([Infinity, -Infinity]);
  }
});
test('a row of zeros is what padding adds, not what lies beside', () => {
  const random = pseudoRandom(5);
  const data = Float32Array.from({ length: 64 }, () => random() - 0.5);
  const x = new Tensor(data.subarray(16, 48), [1, 2, 16]);
  const m = new nn.Conv1d(2, 3, 5, { padding: 2 });
  const before = bytesOf(m.forward(x));
  data.fill(NaN, 0, 16).fill(NaN, 48);
  expect(bytesOf(m.forward(x))).toBe(before);
  const valid = new nn.Conv1d(2, 3, 5);
  expect([...valid.forward(x).data].every((y) => Number.isFinite(Number(y)))).toBe(true);
});

describe('a transposed convolution whose stride leaves positions without taps', () => {
  test.each([
    [2, 3, 2, { stride: 5, dilation: 3, padding: 1, outputPadding: 2 }],
    [4, 20, 1, { stride: 3, outputPadding: 2 }],
    [4, 36, 3, { stride: 4, dilation: 2, groups: 2, padding: 5, bias: false }],
  ] as const)('%i to %i channels, kernel %i, %j', (inputs, outputs, kernel, options) => {
    const m = new nn.ConvTranspose1d(inputs, outputs, kernel, options);
    const { stride, groups, padding, dilation } = { groups: 1, padding: 0, dilation: 1, ...options };
    const x = randn(3, inputs, 7);
    const y = m.forward(x);
    const sums = zeros(y.shape);
    const [length, each] = [y.shape[2]!, outputs / groups];
    for (let i = 0; i < sums.data.length; i++)
      sums.data[i] = Number(m.bias?.data[Math.floor(i / length) % outputs] ?? 0);
    for (let i = 0; i < x.data.length * each * kernel; i++) {
      const [k, o, from] = [i % kernel, Math.floor(i / kernel) % each, Math.floor(i / kernel / each)];
      const [at, c, b] = [from % 7, Math.floor(from / 7) % inputs, Math.floor(from / 7 / inputs)];
      const to = at * stride + k * dilation - padding;
      if (to < 0 || to >= length) continue;
      const channel = b * outputs + Math.floor(c / (inputs / groups)) * each + o;
      const term = Number(x.data[from]) * Number(m.weight.data[(c * each + o) * kernel + k]);
      sums.data[channel * length + to] = Number(sums.data[channel * length + to]) + term;
    }
    expectClose(y, sums);
    const bits = native()
      .isas()
      .map((isa) => {
        m.repack();
        return withIsa(isa, () => bytesOf(m.forward(x)));
      });
    expect(new Set(bits)).toEqual(new Set([bytesOf(y)]));
  });
});

describe('native code by itself', () => {
  type Axis = readonly [
    kernel: number,
    stride: number,
    dilation: number,
    ...padding: [number, number, number],
  ];
  const one: Axis = [1, 1, 1, 0, 0, 0];
  function made(mode: number, transposed: boolean, rows: Axis, columns: Axis): ConvolutionHandle {
    const sizes = Float64Array.from([1, 1, 1, mode, transposed ? 1 : 0, ...rows, ...columns]);
    return new (native().FloatConvolution)(new Float32Array(rows[0] * columns[0]).fill(2), null, sizes);
  }
  const call = { batch: 1, rows: 1, columns: 1, count: 1, positions: 1 };

  test('holds nothing for phases that no tap meets', () => {
    const handle = made(0, true, one, [1, 2 ** 36, 1, 0, 0, 0]);
    expect(callConvolution(handle, Float32Array.of(3), call)).toEqual(Float32Array.of(6));
  });
  test('refuses transposed rows, and padding that it cannot repeat', () => {
    const sentence = 'transposed, only columns, padded with zeros';
    expect(() => made(0, true, [4, 1, 1, 0, 0, 0], one)).toThrow(sentence);
    expect(() => made(1, true, one, [3, 1, 1, 1, 1, 0])).toThrow(sentence);
  });
  test('bounds the padding of outputs', () => {
    const handle = made(0, true, one, [1, 1, 1, 0, 0, 2 ** 40]);
    const none = { ...call, batch: 0, count: 0 };
    expect(() => callConvolution(handle, new Float32Array(0), none)).toThrow('planes are too large');
  });
});

test('packed weights follow the parameters', () => {
  const m = new nn.Conv1d(3, 9, 3);
  const x = randn(2, 3, 8);
  m.forward(x);
  const other = new nn.Conv1d(3, 9, 3);
  m.loadStateDict(other.stateDict());
  expect(bytesOf(m.forward(x))).toBe(bytesOf(other.forward(x)));
  m.weight.data.fill(0 as never);
  m.repack();
  expect(
    m
      .forward(zeros(1, 3, 3))
      .flatten()
      .toArray(),
  ).toEqual([...m.bias!.data]);
});
test('a copy of another thread is given the arguments as they were', async () => {
  const m = new nn.Conv1d(64, 64, 9);
  const x = randn(8, 64, 500);
  const expected = bytesOf(m.forward(x));
  const promise = m.forwardAsync(x);
  x.data.fill(0 as never);
  expect(bytesOf(await promise)).toBe(expected);
  await expect(m.forwardAsync(zeros(3))).rejects.toThrow(/Expected 2D/);
});

describe('modelFromStateDict', () => {
  const state = (weight: number[], bias?: number): Map<string, Tensor> =>
    new Map<string, Tensor>([
      ['c.weight', randn(weight)],
      ...(bias === undefined ? [] : [['c.bias', randn(bias)] as const]),
    ]);
  const assumed = 'assumed stride = 1, padding = 0, dilation = 1, groups = 1';

  test('takes three dimensions for a Conv1d and four for a Conv2d', () => {
    const one = modelFromStateDict(state([4, 3, 5], 4));
    expect(String(one.model.getSubmodule('c'))).toBe('Conv1d(3, 4, kernel_size=(5,), stride=(1,))');
    expect(one.assumptions).toEqual([`c (Conv1d): a ConvTranspose1d has the same tensors; ${assumed}`]);
    const two = modelFromStateDict(state([4, 3, 5, 2]));
    expect(String(two.model.getSubmodule('c'))).toBe(
      'Conv2d(3, 4, kernel_size=(5, 2), stride=(1, 1), bias=False)',
    );
    expect(two.assumptions).toEqual([`c (Conv2d): ${assumed}`]);
  });
  test('can be corrected', () => {
    const options = { stride: 2, padding: [1], dilation: 3, groups: 2 };
    const one = modelFromStateDict(state([4, 3, 5], 4), { metadata: { c: options } });
    expect(String(one.model.getSubmodule('c'))).toBe(
      'Conv1d(6, 4, kernel_size=(5,), stride=(2,), padding=(1,), dilation=(3,), groups=2)',
    );
    expect(one.assumptions).toEqual(['c (Conv1d): a ConvTranspose1d has the same tensors']);
    const other = modelFromStateDict(state([4, 3, 5], 6), {
      metadata: { c: { type: 'ConvTranspose1d', groups: 2, stride: 4 } },
    });
    expect(String(other.model.getSubmodule('c'))).toBe(
      'ConvTranspose1d(4, 6, kernel_size=(5,), stride=(4,), groups=2)',
    );
    expect(() => modelFromStateDict(state([4, 3, 5], 4), { metadata: { c: { groups: 3 } } })).toThrow(
      /out_channels must be divisible by groups/,
    );
  });
});

describe('what PyTorch refuses', () => {
  const x = zeros(2, 3, 10);
  test.each<[string, () => unknown, RegExp]>([
    ['groups', () => new nn.Conv1d(4, 2, 3, { groups: 3 }), /^in_channels must be divisible by groups/],
    ['groups', () => new nn.Conv1d(3, 2, 3, { groups: 3 }), /^out_channels must be divisible by groups/],
    ['no groups', () => new nn.Conv1d(3, 3, 3, { groups: 0 }), /^groups must be a positive integer/],
    [
      'a padding',
      () => new nn.Conv1d(3, 3, 3, { padding: 'foo' as never }),
      /^Invalid padding string 'foo', should be one of \{'valid', 'same'\}/,
    ],
    [
      'strides that keep the size',
      () => new nn.Conv1d(3, 3, 3, { padding: 'same', stride: 2 }),
      /^padding='same' is not supported for strided convolutions/,
    ],
    [
      'a padding mode',
      () => new nn.Conv1d(3, 3, 3, { paddingMode: 'foo' as never }),
      /^padding_mode must be one of .*, but got padding_mode='foo'/,
    ],
    [
      'a padding mode',
      () => new nn.ConvTranspose1d(3, 3, 3, { paddingMode: 'reflect' as never }),
      /^Only "zeros" padding mode is supported for ConvTranspose1d/,
    ],
    [
      'output padding',
      () => new nn.ConvTranspose1d(3, 3, 3, { outputPadding: 3 }),
      /^output padding must be smaller than either stride or dilation/,
    ],
    [
      'no positions',
      () => convTranspose1d(zeros(1, 2, 0), zeros(2, 2, 4)),
      /^Only zero batch or zero channel inputs are supported, but got input shape: \[1, 2, 0\]$/,
    ],
    ['a stride', () => new nn.Conv1d(3, 3, 3, { stride: 0 }), /^non-positive stride is not supported/],
    ['a dilation', () => new nn.Conv1d(3, 3, 3, { dilation: 0 }), /^non-positive dilation is not supported/],
    ['a padding', () => new nn.Conv1d(3, 3, 3, { padding: -1 }), /^negative padding is not supported/],
    ['a kernel of two', () => new nn.Conv1d(3, 3, [3, 3]), /^kernelSize should be a number or 1 of them/],
    [
      'an option',
      () => new nn.Conv2d(3, 3, 3, { outputPadding: 1 } as never),
      /unknown option 'outputPadding'/,
    ],
    [
      'channels',
      () => new nn.Conv1d(2, 3, 3).forward(x),
      /^Given groups=1, weight of size \[3, 2, 3\], expected input\[2, 3, 10\] to have 2 channels, but got 3 channels instead/,
    ],
    [
      'an input below the kernel',
      () => new nn.Conv1d(3, 3, 7, { dilation: 2 }).forward(x),
      /^Calculated padded input size per channel: \(10\)\. Kernel size: \(13\)\. Kernel size can't be greater than actual input size/,
    ],
    ['a dtype', () => new nn.Conv1d(3, 3, 3).forward(x.to('float64')), /but got float64 and float32/],
    [
      'a rank',
      () => new nn.Conv1d(3, 3, 3).forward(zeros(10)),
      /^Expected 2D \(unbatched\) or 3D \(batched\) input to conv1d, but got input of size: \[10\]/,
    ],
    [
      'reflections beyond the input',
      () => new nn.Conv1d(3, 3, 3, { padding: 10, paddingMode: 'reflect' }).forward(x),
      /^Argument #4: Padding size should be less than the corresponding input dimension, but got: padding \(10, 10\) at dimension 2 of input \[2, 3, 10\]/,
    ],
    [
      'more than one round',
      () => new nn.Conv1d(3, 3, 3, { padding: 11, paddingMode: 'circular' }).forward(x),
      /^Padding value causes wrapping around more than once\./,
    ],
    [
      'a bias of another size',
      () => conv1d(x, ones(2, 3, 3), zeros(3)),
      /^Given weight of size \[2, 3, 3\], expected bias to be 1-dimensional with 2 elements, but got bias of size \[3\] instead/,
    ],
    [
      'an output that is too large',
      () => new nn.Conv1d(1, 1, 1, { padding: 2 ** 24 }).forward(zeros(512, 1, 1)),
      /is too large|cannot allocate/,
    ],
  ])('%s', (_, f, message) => expect(f).toThrow(message));
});
