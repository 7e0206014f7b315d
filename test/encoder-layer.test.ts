import * as nn from '../src/nn/index.js';
import { native } from '../src/native/addon.js';
import {
  defaultDynamicQConfig,
  float16DynamicQConfig,
  quantizeDynamic,
  type QConfig,
} from '../src/quantization/index.js';
import { manualSeed, randn } from '../src/random.js';
import { getNumThreads, setNumThreads } from '../src/threads.js';
import { Tensor } from '../src/tensor/index.js';
import { bytesOf, everyQConfig, withIsa } from './support.js';

// A layer in one call, and the same layer child by child, must give the same bits.

type Layer = nn.TransformerEncoderLayer;
type Options = nn.TransformerEncoderLayerOptions;
type Masks = nn.EncoderLayerForwardOptions;

/** How many residual connections are computed between calls of native code. */
function sumsOf(run: () => unknown): number {
  const add = jest.spyOn(Tensor.prototype, 'add');
  try {
    run();
    return add.mock.calls.length;
  } finally {
    add.mockRestore();
  }
}

/** A layer whose parameters are all random, and what it becomes in a mode. */
function layerOf(width: number, heads: number, options: Options, quantize: (layer: Layer) => Layer): Layer {
  const layer = new nn.TransformerEncoderLayer(width, heads, options);
  for (const parameter of layer.parameters()) parameter.copy_(randn(...parameter.shape).mul(0.4));
  return quantize(layer.eval());
}

/** Child by child, because a hook may look at what they do. */
async function alike(layer: Layer, x: Tensor, masks?: Masks): Promise<void> {
  const fused = layer.forward(x, masks);
  const later = await layer.forwardAsync(x, masks);
  const watch = layer.norm2.registerForwardHook(() => undefined);
  const wanted = layer.forward(x, masks);
  watch.remove();
  expect(fused.shape).toEqual(wanted.shape);
  expect(bytesOf(fused)).toBe(bytesOf(wanted));
  expect(bytesOf(later)).toBe(bytesOf(wanted));
}

const modes: [string, (layer: Layer) => Layer][] = [
  ['float', (layer) => layer],
  ['PyTorch’s default', (layer) => quantizeDynamic(layer, new Set([nn.Linear]))],
  ...everyQConfig.map((qconfig): [string, (layer: Layer) => Layer] => [
    JSON.stringify(qconfig),
    (layer) => quantizeDynamic(layer, new Map<string, QConfig>([['', qconfig]])),
  ]),
];
/** Every product its own way. */
const mixed = (layer: Layer): Layer => {
  return quantizeDynamic(
    layer,
    new Map<string, QConfig | null>([
      ['self_attn', everyQConfig.at(-1)!],
      ['linear1', defaultDynamicQConfig],
      ['linear2', float16DynamicQConfig],
    ]),
  );
};

const threads = getNumThreads();
afterEach(() => setNumThreads(threads));

describe.each([1, 2])('%i threads', (count) => {
  beforeEach(() => setNumThreads(count));

  test.each([...modes, ['mixed', mixed] as (typeof modes)[number]])('%s', async (_, quantize) => {
    manualSeed(1);
    for (const normFirst of [false, true]) {
      for (const [i, batchFirst] of [false, true].entries()) {
        const activation = i === 0 ? 'relu' : 'gelu';
        const options = { dimFeedforward: 40, normFirst, batchFirst, activation, bias: !normFirst } as const;
        const layer = layerOf(20, 4, options, quantize);
        await alike(layer, randn(5, 20));
        await alike(layer, randn(3, 7, 20));
      }
    }
  });
  test('many rows, in blocks', async () => {
    for (const [, quantize] of [modes[0]!, modes[2]!, modes[6]!]) {
      const layer = layerOf(64, 4, { dimFeedforward: 1024, batchFirst: true }, quantize);
      await alike(layer, randn(9, 33, 64));
      await alike(layer, randn(1, 300, 64));
    }
  }, 30_000);
  test('masks', async () => {
    const layer = layerOf(16, 4, { dimFeedforward: 8, batchFirst: true }, (each) => each);
    const x = randn(3, 6, 16);
    const srcKeyPaddingMask = randn(3, 6).gt(0);
    const causal = nn.generateSquareSubsequentMask(6);
    for (const masks of [
      { srcKeyPaddingMask },
      { srcMask: causal },
      { srcMask: causal, isCausal: true },
      { srcMask: randn(12, 6, 6), srcKeyPaddingMask },
      { srcMask: randn(6, 6).gt(0.5) },
    ]) {
      await alike(layer, x, masks);
    }
  });
});

test('on every instruction set', async () => {
  manualSeed(2);
  const x = randn(2, 5, 24);
  const results = new Set<string>();
  for (const isa of native().isas()) {
    manualSeed(3);
    const layer = layerOf(24, 2, { dimFeedforward: 30 }, (each) => quantizeDynamic(each));
    results.add(bytesOf(withIsa(isa, () => layer.forward(x))));
  }
  expect(results.size).toBe(1);
});

test('an encoder’s layers write over nothing that others have seen', () => {
  const layer = layerOf(16, 4, { dimFeedforward: 24 }, (each) => each);
  const encoder = new nn.TransformerEncoder(layer, 4).eval();
  const x = randn(5, 2, 16);
  const before = bytesOf(x);
  const wanted = bytesOf(encoder.forward(x));
  expect(bytesOf(x)).toBe(before);
  const second = [...encoder.layers][1] as Layer;
  const seen: [Tensor, string][] = [];
  second.norm2.registerForwardHook((_module, _args, output) => {
    seen.push([output as Tensor, bytesOf(output as Tensor)]);
  });
  expect(bytesOf(encoder.forward(x))).toBe(wanted);
  for (const [tensor, bytes] of seen) expect(bytesOf(tensor)).toBe(bytes);
  expect(seen).toHaveLength(1);
});

describe('its children compute, if anybody may see it:', () => {
  const build = (): Layer => layerOf(8, 2, { dimFeedforward: 4, dropout: 0.1 }, (each) => each);
  const x = randn(3, 2, 8);
  class Own extends nn.Linear {}
  test.each<[string, (layer: Layer) => unknown]>([
    ['a hook', (layer) => layer.self_attn.out_proj.registerForwardHook(() => undefined)],
    ['training', (layer) => layer.train()],
    ['a subclass', (layer) => Object.assign(layer, { linear1: new Own(8, 4) })],
    [
      'a forward of its own',
      (layer) => (layer.linear2.forward = nn.Linear.prototype.forward.bind(layer.linear2)),
    ],
    ['another module', (layer) => Object.assign(layer, { dropout: new nn.Identity() })],
  ])('%s', (_, change) => {
    const layer = build();
    expect(sumsOf(() => layer.forward(x))).toBe(0);
    change(layer);
    expect(sumsOf(() => layer.forward(x))).toBe(2);
  });
});

describe('errors are those of the children', () => {
  const rows = 130;
  const big = (layer: Layer, name: 'linear1' | 'linear2'): Layer => {
    layer[name].weight.fill_(3e38);
    return layer;
  };
  test.each(modes.slice(1))('%s', async (_, quantize) => {
    for (const spoil of [
      (layer: Layer) => layer,
      (layer: Layer) => big(layer, 'linear1'),
      (layer: Layer) => big(layer, 'linear2'),
      (layer: Layer) => big(big(layer, 'linear2'), 'linear1'),
    ]) {
      const layer = layerOf(4, 2, { dimFeedforward: 2048, batchFirst: true }, (each) =>
        quantize(spoil(each)),
      );
      for (const value of [1, NaN, Infinity]) {
        const x = randn(1, rows, 4);
        x.data[4 * (rows - 1)] = value as never;
        const results = await Promise.all([
          failure(() => layer.forward(x)),
          failure(() => layer.forwardAsync(x)),
          failure(() => {
            const watch = layer.norm1.registerForwardHook(() => undefined);
            try {
              return layer.forward(x);
            } finally {
              watch.remove();
            }
          }),
        ]);
        expect(results[0]).toBe(results[2]);
        expect(results[1]).toBe(results[2]);
      }
    }
  });
  async function failure(run: () => unknown): Promise<string> {
    try {
      await run();
      return 'none';
    } catch (error) {
      return `${(error as { code: string }).code}: ${(error as Error).message}`;
    }
  }
});

test('a call on another thread has what it was called with', async () => {
  const layer = layerOf(64, 4, { dimFeedforward: 512, batchFirst: true }, (each) => each);
  const x = randn(4, 50, 64);
  const wanted = bytesOf(layer.forward(x));
  const later = layer.forwardAsync(x);
  x.fill_(0);
  layer.norm1.weight!.fill_(0);
  layer.linear1.weight.fill_(0);
  layer.dispose();
  expect(bytesOf(await later)).toBe(wanted);
});
