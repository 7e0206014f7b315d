import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { native } from '../src/native/addon.js';
import * as nn from '../src/nn/index.js';
import type { QConfig } from '../src/quantization/index.js';
import {
  defaultDynamicQConfig,
  float16DynamicQConfig,
  perChannelDynamicQConfig,
} from '../src/quantization/index.js';
import { manualSeed, rand, randn } from '../src/random.js';
import { loadSync } from '../src/serialization/load.js';
import { saveSync } from '../src/serialization/save.js';
import { cat, isTensor, type Tensor, zeros } from '../src/tensor/index.js';
import {
  bytesOf,
  everyQConfig,
  expectClose,
  golden,
  pseudoRandom,
  qconfigOf,
  withIsa,
  type Golden,
  type GoldenCase,
} from './support.js';
import { getNumThreads, setNumThreads } from '../src/threads.js';

// What holds of every recurrent module and cell, float and quantized: each test file says for which class.

const { packPaddedSequence, packSequence, padPackedSequence, unpackSequence } = nn.utils.rnn;

export type LayerName = 'LSTM' | 'GRU' | 'RNN';
export type Name = LayerName | 'LSTMCell' | 'GRUCell' | 'RNNCell';

/** Any of them; states and results differ by class. */
// eslint-disable-next-line @typescript-eslint/no-explicit-any
type AnyModule = any;

const isas = native().isas();
const qconfigs = { default: defaultDynamicQConfig, per_channel: perChannelDynamicQConfig };

/** A float module with options in PyTorch's spelling; a third argument is num_layers. */
export function floatModule(
  name: Name,
  [inputSize, hiddenSize, num_layers]: number[],
  kwargs: Record<string, unknown> = {},
): AnyModule {
  const given = num_layers === undefined ? kwargs : { num_layers, ...kwargs };
  const options = Object.entries(given).map(([key, value]) => [
    key.replace(/_(.)/g, (_, letter: string) => letter.toUpperCase()),
    value,
  ]);
  return new (nn[name] as AnyModule)(inputSize, hiddenSize, Object.fromEntries(options)).eval();
}

export function quantize(name: Name, float: nn.Module, qconfig: QConfig): AnyModule {
  return (nn.quantized.dynamic[name] as AnyModule).fromFloat(float, qconfig);
}

/** `[y, [h, c]]`, `[y, h]`, `[h, c]` or `h` as a list of tensors. */
export function tensorsOf(result: unknown): Tensor[] {
  if (isTensor(result)) return [result];
  if (Array.isArray(result)) return result.flatMap(tensorsOf);
  return [(result as nn.utils.rnn.PackedSequence).data];
}

/** A case of the groups `float` and `dynamic`. */
function layerOf(group: Golden, c: GoldenCase): AnyModule {
  manualSeed(c.seed);
  const float = floatModule(c.cls, [c.input_size, c.hidden_size, c.num_layers], c.kwargs);
  if (c.params) float.loadStateDict(group.state(c.params));
  return float;
}

/** The module's results for a case's input against PyTorch's; as bytes. */
function expectLayer(module: AnyModule, group: Golden, c: GoldenCase, expected: GoldenCase): string[] {
  const batchFirst = c.kwargs.batch_first === true;
  const lstm = c.cls === 'LSTM';
  const [h0, c0] = [c.h0, c.c0].map((name) => name && group.tensor(name));
  const state = !c.hx ? undefined : lstm ? [h0, c0] : h0;
  let x = group.tensor(c.x);
  if (c.packed) x = packPaddedSequence(x, c.packed, { batchFirst, enforceSorted: false }) as AnyModule;
  const [output, last] = module.forward(x, state);
  let y = output;
  if (c.packed) {
    expectClose(output.data, group.tensor(expected.data));
    expect(output.batchSizes.toArray()).toEqual(c.batch_sizes);
    expect(output.sortedIndices.toArray()).toEqual(c.sorted_indices);
    expect(output.unsortedIndices.toArray()).toEqual(c.unsorted_indices);
    y = padPackedSequence(output, { batchFirst })[0];
  }
  expectClose(y, group.tensor(expected.y));
  expectClose(lstm ? last[0] : last, group.tensor(expected.hn));
  if (lstm) expectClose(last[1], group.tensor(expected.cn));
  return tensorsOf([y, last]).map(bytesOf);
}

const label = (c: GoldenCase): string =>
  JSON.stringify({ seed: c.seed, layers: c.num_layers, packed: c.packed ?? undefined, ...c.kwargs });

/** Group `float`: within tolerance on every instruction set. */
export function testFloatLayer(name: LayerName, count: number): void {
  const group = golden('float');
  const cases = group.cases.filter((c) => c.cls === name);
  describe.each(isas)(`float ${name} equals PyTorch on %s`, (isa) => {
    test('all cases', () => expect(cases).toHaveLength(count));
    test.each(cases.map((c) => [label(c), c]))('%s', (_, c) => {
      withIsa(isa, () => expectLayer(layerOf(group, c), group, c, c.float));
    });
  });
}

/** Group `dynamic`: PyTorch's integers and scales exactly, its results within tolerance, the same bytes everywhere. */
export function testDynamicLayer(name: LayerName, { cases: count }: { cases: number }): void {
  const group = golden('dynamic');
  const cases = group.cases.filter((c) => c.cls === name);
  describe(`PyTorch’s fbgemm engine, ${name}`, () => {
    test('all cases', () => expect(cases).toHaveLength(count));
    test.each(cases.map((c) => [`${c.spec} ${label(c)}`, c]))('%s', (_, c) => {
      const float = layerOf(group, c);
      const outputs = isas.map((isa) =>
        withIsa(isa, () => {
          const quantized = quantize(name, float, qconfigs[c.spec as keyof typeof qconfigs]).eval();
          expect(String(quantized)).toBe(c.repr);
          expectWeights(quantized, group, c.qweights ?? {});
          return expectLayer(quantized, group, c, c.fbgemm);
        }),
      );
      for (const output of outputs) expect(output).toEqual(outputs[0]);
    });
  });
}

function expectWeights(
  quantized: nn.Module,
  group: Golden,
  weights: Record<string, { int: string; scale: string | number }>,
): void {
  const state = quantized.stateDict();
  for (const [name, { int, scale }] of Object.entries(weights)) {
    const weight = state.get(name)!;
    expect(weight.intRepr().equal(group.tensor(int))).toBe(true);
    const expected = typeof scale === 'number' ? [scale] : Array.from(group.tensor(scale).data, Number);
    expect(Array.from(weight.scales!)).toEqual(expected);
  }
}

/** Groups `float` and `dynamic` for cells, step by step. */
export function testCell(name: Name, floatCount: number, dynamicCount: number): void {
  const float = golden('float');
  const dynamic = golden('dynamic');
  const lstm = name === 'LSTMCell';
  const expectCell = (cell: AnyModule, group: Golden, c: GoldenCase, expected: GoldenCase): string[] => {
    const x = group.tensor(c.x);
    const first = cell.forward(x.select(0, 0));
    expectClose(lstm ? first[0] : first, group.tensor(expected.y_nohx));
    let [h, cell0] = [group.tensor(c.h0), lstm ? group.tensor(c.c0) : undefined];
    const ys: Tensor[] = [];
    for (let t = 0; t < c.T; t++) {
      const next = cell.forward(x.select(0, t), lstm ? [h, cell0] : h);
      [h, cell0] = lstm ? next : [next, undefined];
      ys.push(h.unsqueeze(0));
    }
    expectClose(cat(ys), group.tensor(expected.y));
    if (lstm) expectClose(cell0!, group.tensor(expected.cn));
    return [...ys, ...tensorsOf(first)].map(bytesOf);
  };
  const floatCases = float.cases.filter((c) => c.cls === name);
  const dynamicCases = dynamic.cases.filter((c) => c.cls === name);
  const build = (group: Golden, c: GoldenCase): AnyModule => {
    const cell = floatModule(name, [c.input_size, c.hidden_size], c.kwargs);
    cell.loadStateDict(group.state(c.params));
    return cell;
  };
  test(`all cases of ${name}`, () => {
    expect([floatCases.length, dynamicCases.length]).toEqual([floatCount, dynamicCount]);
  });
  test.each(floatCases.map((c) => [label(c), c]))(`float ${name} %s`, (_, c) => {
    for (const isa of isas) withIsa(isa, () => expectCell(build(float, c), float, c, c.float));
  });
  test.each(dynamicCases.map((c) => [`${c.spec} ${label(c)}`, c]))(`quantized ${name} %s`, (_, c) => {
    const outputs = isas.map((isa) =>
      withIsa(isa, () => {
        const cell = quantize(name, build(dynamic, c), qconfigs[c.spec as keyof typeof qconfigs]);
        expect(String(cell)).toBe(c.repr);
        return expectCell(cell, dynamic, c, c.fbgemm);
      }),
    );
    for (const output of outputs) expect(output).toEqual(outputs[0]);
  });
}

/** Group `float16`. */
export function testFloat16(name: Name, count: number): void {
  const group = golden('float16');
  const cases = group.cases.filter((c) => c.cls === name);
  describe.each(isas)(`float16 weights, ${name} on %s`, (isa) => {
    test('all cases', () => expect(cases).toHaveLength(count));
    test.each(cases.map((c) => [c.repr, c]))('%s', (_, c) => {
      withIsa(isa, () => {
        const float = floatModule(name, c.args, c.kwargs);
        float.loadStateDict(group.state(c.params));
        const half = quantize(name, float, float16DynamicQConfig);
        expect(String(half)).toBe(c.repr);
        const states = c.states.map((each: string) => group.tensor(each));
        const state = states.length === 2 ? states : states[0];
        const results = tensorsOf(half.forward(group.tensor(c.x), state));
        expect(results).toHaveLength(c.float16.length);
        results.forEach((each, i) => expectClose(each, group.tensor(c.float16[i])));
      });
    });
  });
}

/** Group `modes`: what PyTorch does not have, from a model in numpy. */
export function testModes(name: LayerName, count: number): void {
  const group = golden('modes');
  const cases = group.cases.filter((c) => c.cls === name);
  describe(`modes that PyTorch does not have, ${name}`, () => {
    test('all cases', () => {
      expect(cases).toHaveLength(count);
      for (const c of cases) expect(c.out).toHaveLength(8);
    });
    test.each(
      cases.flatMap((c) => c.out.map((out: GoldenCase) => [`${c.args} ${JSON.stringify(c.kwargs)}`, out, c])),
    )('%s %j', (_, out: GoldenCase, c: GoldenCase) => {
      const float = floatModule(name, c.args, c.kwargs);
      float.loadStateDict(group.state(c.params));
      const h0 = group.tensor(c.h0);
      const outputs = isas.map((isa) =>
        withIsa(isa, () => {
          const quantized = quantize(name, float, qconfigOf(out.rows, out.full, out.channel));
          const state = c.c0 ? [h0, group.tensor(c.c0)] : h0;
          const results = tensorsOf(quantized.forward(group.tensor(c.x), state));
          const expected = [out.y, out.hn, ...(out.cn ? [out.cn] : [])];
          results.forEach((each, i) => expectClose(each, group.tensor(expected[i])));
          return results.map(bytesOf);
        }),
      );
      for (const output of outputs) expect(output).toEqual(outputs[0]);
    });
  });
}

/** Group `init`. */
export function testInit(name: Name, count: number): void {
  const group = golden('init');
  const cases = group.cases.filter((c) => c.cls === name);
  test(`initial weights of ${name} are PyTorch’s, bit for bit`, () => {
    expect(cases).toHaveLength(count);
    for (const c of cases) {
      manualSeed(c.seed);
      const module = floatModule(name, c.args, c.kwargs);
      expect(String(module)).toBe(c.repr);
      const state = module.stateDict();
      expect([...state.keys()]).toEqual(Object.keys(c.state));
      for (const [key, tensor] of Object.entries(c.state)) {
        expect(bytesOf(state.get(key)!)).toBe(bytesOf(group.tensor(tensor as string)));
      }
      expect(bytesOf(rand(3))).toBe(bytesOf(group.tensor(c.next_rand)));
    }
  });
}

/** Random states for a layer and a batch, or for the rows of a cell. */
export function randomState(module: AnyModule, batch: number): AnyModule {
  const cells = module.numLayers === undefined ? [] : [module.numLayers * (module.bidirectional ? 2 : 1)];
  const h = randn([...cells, batch, module.projSize || module.hiddenSize]);
  return module.mode === 'LSTM' ? [h, randn([...cells, batch, module.hiddenSize])] : h;
}

/** A float layer of random sizes and options. */
function randomLayer(name: LayerName, random: () => number, largest: number): AnyModule {
  const upTo = (n: number): number => 1 + Math.floor(random() * n);
  const flag = (): boolean => random() < 0.5;
  const hiddenSize = upTo(largest);
  return floatModule(name, [upTo(70), hiddenSize, upTo(3)], {
    bidirectional: flag(),
    bias: flag(),
    batch_first: flag(),
    ...(name === 'LSTM' && flag() && hiddenSize > 1 && { proj_size: upTo(hiddenSize - 1) }),
    ...(name === 'RNN' && flag() && { nonlinearity: 'relu' }),
  });
}

/** INT8 results are the same bytes on every instruction set; those of float weights agree. */
export function testEveryIsa(name: LayerName): void {
  test(`200 random configurations of ${name} on every instruction set`, () => {
    const random = pseudoRandom(1);
    const upTo = (n: number): number => 1 + Math.floor(random() * n);
    for (let i = 0; i < 200; i++) {
      manualSeed(i);
      // From 64 on a matrix is deep enough for chains on AVX2.
      const float = randomLayer(name, random, i % 25 === 0 ? 150 : 70);
      const [steps, batch] = [upTo(7), upTo(15)];
      const magnitude = 10 ** (6 * random() - 3);
      const x = randn(float.batchFirst ? [batch, steps, float.inputSize] : [steps, batch, float.inputSize]);
      const input = x.mul(magnitude);
      const state = random() < 0.5 ? randomState(float, batch) : null;
      const lengths = Array.from({ length: batch }, () => upTo(steps));
      const { batchFirst } = float;
      const packed =
        random() < 0.5 ? input : packPaddedSequence(input, lengths, { batchFirst, enforceSorted: false });
      // Cubes: small weights with a few large ones, as trained models have them.
      if (random() < 0.5) {
        for (const p of float.parameters()) p.copy_(p.mul(p).mul(p).mul(float.hiddenSize));
      }
      const qconfig = everyQConfig[i % 8]!;
      const [first, ...others] = isas.map((isa) =>
        withIsa(isa, () => tensorsOf(quantize(name, float, qconfig).forward(packed, state)).map(bytesOf)),
      );
      for (const other of others) expect(other).toEqual(first);
    }
  });
}

/** Enough sequences and units for tile registers, whose rows and depth they do not fill. */
export function testLargeBatches(name: LayerName): void {
  test(`large batches of ${name} give the same bytes on every instruction set and number of threads`, () => {
    const before = getNumThreads();
    manualSeed(9);
    for (const [units, batch] of [
      [200, 16],
      [266, 37],
    ] as const) {
      const float = floatModule(name, [80, units], { bidirectional: true });
      const x = randn(3, batch, 80);
      for (const qconfig of everyQConfig) {
        const [first, ...others] = isas.flatMap((isa) =>
          [1, 2].map((threads) => {
            setNumThreads(threads);
            return withIsa(isa, () => tensorsOf(quantize(name, float, qconfig).forward(x)).map(bytesOf));
          }),
        );
        for (const other of others) expect(other).toEqual(first);
      }
    }
    setNumThreads(before);
  });
}

/** A batch of few units runs several sequences side by side in a vector; packed sequences do not. */
export function testFewUnits(name: LayerName): void {
  describe.each(isas)(`few units, ${name} on %s`, (isa) => {
    test.each(everyQConfig.map((c) => [JSON.stringify(c), c]))('same bits side by side: %s', (_, qconfig) => {
      withIsa(isa, () => {
        manualSeed(8);
        for (const hidden of [1, 2, 3, 4, 7, 8]) {
          for (const batch of [1, 2, 3, 4, 6, 16, 32]) {
            const q = quantize(name, floatModule(name, [5, hidden], { num_layers: 2 }), qconfig);
            const x = randn(4, batch, 5).mul(3);
            for (const state of [null, randomState(q, batch)]) {
              const padded = tensorsOf(q.forward(x, state)).map(bytesOf);
              const packed = packPaddedSequence(x, Array<number>(batch).fill(4));
              expect(tensorsOf(q.forward(packed, state)).map(bytesOf)).toEqual(padded);
            }
          }
        }
      });
    });
  });
}

/** perRow: a sequence has the same bits alone, in any batch, and in chunks. */
export function testPerRow(name: LayerName, extra: Record<string, unknown> = {}): void {
  const shapes = [
    { num_layers: 1, bidirectional: false },
    { num_layers: 3, bidirectional: false },
    { num_layers: 1, bidirectional: true },
    { num_layers: 2, bidirectional: true },
  ];
  const cases = everyQConfig
    .filter(({ activation }) => activation === 'perRow')
    .flatMap((qconfig) =>
      shapes.flatMap((shape) => [true, false].map((given) => ({ qconfig, shape, given }))),
    );
  const [inputSize, hiddenSize] = [21, 35];
  const build = (c: (typeof cases)[0]): AnyModule =>
    quantize(
      name,
      floatModule(name, [inputSize, hiddenSize], { ...c.shape, bias: c.given, ...extra }),
      c.qconfig,
    );
  /** The states of some sequences. */
  const of = (state: AnyModule, batch: readonly number[]): AnyModule => {
    if (state === null) return null;
    if (Array.isArray(state)) return state.map((each) => of(each, batch));
    return cat(
      batch.map((b) => (state as Tensor).slice(1, b, b + 1)),
      1,
    );
  };

  describe.each(isas)(`perRow, ${name} on %s`, (isa) => {
    test.each(cases.map((c) => [JSON.stringify(c), c]))('mixed lengths in a batch of 32: %s', (_, c) => {
      withIsa(isa, () => {
        manualSeed(5);
        const random = pseudoRandom(5);
        const q = build(c);
        // Sequences of very different magnitude.
        const sequences = Array.from({ length: 32 }, () =>
          randn(1 + Math.floor(random() * 9), inputSize).mul(10 ** (6 * random() - 3)),
        );
        const state = c.given ? randomState(q, 32) : null;
        const together = (batch: number[]): string[][] => {
          const packed = packSequence(
            batch.map((b) => sequences[b]!),
            { enforceSorted: false },
          );
          const [output, last] = q.forward(packed, of(state, batch));
          return unpackSequence(output).map((y, i) => [y, ...tensorsOf(of(last, [i]))].map(bytesOf));
        };
        const all = together([...Array(32).keys()]);
        sequences.forEach((sequence, b) => {
          const [y, last] = q.forward(sequence.unsqueeze(1), of(state, [b]));
          expect([y, ...tensorsOf(last)].map(bytesOf)).toEqual(all[b]);
        });
        for (let i = 0; i < 6; i++) {
          const some = Array.from({ length: 2 + i }, () => Math.floor(random() * 32));
          expect(together(some)).toEqual(some.map((b) => all[b]));
        }
      });
    });
    const oneWay = cases.filter((c) => !c.shape.bidirectional);
    test.each(oneWay.map((c) => [JSON.stringify(c), c]))('in chunks: %s', (_, c) => {
      withIsa(isa, () => {
        manualSeed(6);
        const random = pseudoRandom(6);
        const q = build(c);
        for (const batch of [1, 7]) {
          const x = cat(
            Array.from({ length: 40 }, () => randn(1, batch, inputSize).mul(10 ** (4 * random() - 2))),
            0,
          );
          const first = c.given ? randomState(q, batch) : null;
          const [y, last] = q.forward(x, first);
          for (const longest of [1, 3, 17, 39]) {
            let state = first;
            const parts: string[] = [];
            for (let begin = 0; begin < 40;) {
              const steps = Math.min(40 - begin, 1 + Math.floor(random() * longest));
              const [part, next] = q.forward(x.slice(0, begin, begin + steps), state);
              parts.push(bytesOf(part));
              state = next;
              begin += steps;
            }
            expect(parts.join('')).toBe(bytesOf(y));
            expect(tensorsOf(state).map(bytesOf)).toEqual(tensorsOf(last).map(bytesOf));
          }
        }
      });
    });
    test('perTensor promises neither', () => {
      const q = quantize(name, floatModule(name, [21, 35], extra), defaultDynamicQConfig);
      const x = randn(5, 2, 21);
      const [both] = q.forward(x);
      const [alone] = q.forward(x.slice(1, 0, 1));
      expect(bytesOf(both.slice(1, 0, 1))).not.toBe(bytesOf(alone));
      const [y, state] = q.forward(x.slice(0, 0, 3));
      const [rest] = q.forward(x.slice(0, 3), state);
      expect(bytesOf(y) + bytesOf(rest)).not.toBe(bytesOf(both));
    });
  });
}

/** Every module as a file and back, in every mode. */
export function testRoundTrip(name: Name, kwargs: Record<string, unknown> = {}): void {
  const build = (): AnyModule => floatModule(name, [7, 19], kwargs);
  const layer = !name.endsWith('Cell');
  test.each([...everyQConfig, float16DynamicQConfig].map((qconfig) => [JSON.stringify(qconfig), qconfig]))(
    `${name} ${JSON.stringify(kwargs)} keeps every bit in a file: %s`,
    (_, qconfig) => {
      manualSeed(3);
      const folder = mkdtempSync(join(tmpdir(), 'recurrent-'));
      try {
        const q = quantize(name, build(), qconfig as QConfig);
        const x = layer ? randn(5, 3, 7) : randn(3, 7);
        const expected = tensorsOf(q.forward(x)).map(bytesOf);
        const path = join(folder, 'q.safetensors');
        saveSync(q.stateDict(), path);
        const twin = quantize(name, build(), {
          ...(qconfig as QConfig),
          ...(q.dtype === 'qint8' && { activation: 'perTensor', reduceRange: true }),
        });
        twin.loadStateDict(loadSync(path));
        expect(tensorsOf(twin.forward(x)).map(bytesOf)).toEqual(expected);
        expect(String(twin)).toBe(String(q));
        expect(twin.stateDict().metadata).toEqual(q.stateDict().metadata);
        expect([...q.stateDict().keys()]).toEqual([...build().stateDict().keys()]);

        const { type, inputSize, hiddenSize, ...options } = q.stateDict().metadata.get('');
        expect(type).toBe(`DynamicQuantized${name}`);
        // But for the qscheme, which the weights tell, the metadata are the constructor's arguments.
        delete options.qscheme;
        const skeleton = new (nn.quantized.dynamic[name] as AnyModule)(inputSize, hiddenSize, options);
        skeleton.loadStateDict(loadSync(path));
        expect(tensorsOf(skeleton.forward(x)).map(bytesOf)).toEqual(expected);
      } finally {
        rmSync(folder, { recursive: true });
      }
    },
  );
}

/** NaN and infinity, wrong state dicts and hostile metadata of a quantized layer or cell. */
export function testHostile(name: Name): void {
  const layer = !name.endsWith('Cell');
  const lstm = name.startsWith('LSTM');
  const float = (): AnyModule =>
    floatModule(name, [3, 4], layer ? { num_layers: 2, bidirectional: true } : {});
  const [x, h0, c0] = layer
    ? [zeros(2, 5, 3), zeros(4, 5, 4), zeros(4, 5, 4)]
    : [zeros(5, 3), zeros(5, 4), zeros(5, 4)];
  const firstWeight = layer ? 'weight_ih_l0' : 'weight_ih';

  describe.each(everyQConfig.map((qconfig) => [JSON.stringify(qconfig), qconfig] as const))(
    `${name} %s`,
    (_, qconfig) => {
      const q = quantize(name, float(), qconfig);
      test.each([NaN, Infinity, -Infinity])('%p anywhere is refused', (value) => {
        const places: [Tensor, string][] = [
          [x, 'input'],
          [h0, lstm ? 'hidden[0]' : 'hidden'],
        ];
        if (lstm) places.push([c0, 'hidden[1]']);
        for (const [tensor, label] of places) {
          for (let i = 0; i < tensor.numel; i++) {
            tensor.data[i] = value as never;
            expect(() => q.forward(x, lstm ? [h0, c0] : h0)).toThrow(
              new RangeError(`${label} should be finite for an INT8 layer, but holds NaN or infinity`),
            );
            tensor.data[i] = 0 as never;
          }
        }
        expect(tensorsOf(q.forward(x, lstm ? [h0, c0] : h0))[0]!.numel).toBeGreaterThan(0);
      });
      test('no state is a state of zeros', () => {
        const input = randn(x.shape);
        const expected = tensorsOf(q.forward(input)).map(bytesOf);
        for (const state of [undefined, null, lstm ? [h0, c0] : h0]) {
          expect(tensorsOf(q.forward(input, state)).map(bytesOf)).toEqual(expected);
        }
      });
      test('the mode comes with a state dict’s metadata, not with plain tensors', () => {
        for (const other of everyQConfig) {
          const twin = quantize(name, float(), other);
          twin.loadStateDict([...q.stateDict()]);
          expect([twin.activation, twin.reduceRange]).toEqual([other.activation, other.reduceRange]);
          twin.loadStateDict(q.stateDict());
          expect([twin.activation, twin.reduceRange]).toEqual([qconfig.activation, qconfig.reduceRange]);
        }
      });
    },
  );

  test.each([NaN, -Infinity])(`${name}: a weight or bias of %p is refused at conversion`, (value) => {
    for (const qconfig of [defaultDynamicQConfig, float16DynamicQConfig]) {
      for (const key of float().stateDict().keys()) {
        const broken = float();
        broken.stateDict().get(key).data[1] = value;
        expect(() => quantize(name, broken, qconfig)).toThrow(new RegExp(`${key} should be finite`));
      }
    }
  });
  test(`${name}: a refused load changes nothing`, () => {
    for (const qconfig of [defaultDynamicQConfig, float16DynamicQConfig]) {
      const q = quantize(name, float(), qconfig);
      const other = quantize(
        name,
        float(),
        qconfig === defaultDynamicQConfig ? float16DynamicQConfig : defaultDynamicQConfig,
      );
      const input = randn(x.shape);
      const before = tensorsOf(q.forward(input)).map(bytesOf);
      expect(() => q.loadStateDict(float().stateDict())).toThrow(
        `${firstWeight} should be ${q.dtype}, got float32`,
      );
      expect(() => q.loadStateDict(other.stateDict())).toThrow(
        `${firstWeight} should be ${q.dtype}, got ${other.dtype}`,
      );
      expect(() => q.loadStateDict([])).toThrow(/Missing key\(s\)/);
      const larger = floatModule(name, [3, 5], layer ? { num_layers: 2, bidirectional: true } : {});
      expect(() => q.loadStateDict(quantize(name, larger, qconfig).stateDict())).toThrow(
        `size mismatch for ${firstWeight}`,
      );
      const wrongBias = q.stateDict();
      [...wrongBias.values()].at(-1).data[0] = NaN;
      expect(() => q.loadStateDict(wrongBias)).toThrow(/should be finite/);
      expect(tensorsOf(q.forward(input)).map(bytesOf)).toEqual(before);
    }
  });
  test(`${name}: infinite float16 weights are refused`, () => {
    const q = quantize(name, float(), float16DynamicQConfig);
    const state = q.stateDict();
    state.get(firstWeight).data[0] = 0x7c00;
    expect(() => q.loadStateDict(state)).toThrow(`${firstWeight} should be finite`);
  });
  test.each<[string, object, RegExp]>([
    ['activation', { activation: 'perBatch' }, /the metadata's activation should be 'perTensor' or 'perRow'/],
    ['null', { activation: null }, /the metadata's activation should be .*, got null/],
    ['reduceRange', { reduceRange: 0 }, /the metadata's reduceRange should be a boolean, got 0/],
  ])(`${name}: hostile metadata: %s`, (_, about, message) => {
    const q = quantize(name, float(), everyQConfig[4]!);
    const input = randn(x.shape);
    const before = tensorsOf(q.forward(input)).map(bytesOf);
    const state = q.stateDict();
    state.metadata.set('', { ...state.metadata.get(''), ...about });
    expect(() => q.loadStateDict(state)).toThrow(message);
    expect(tensorsOf(q.forward(input)).map(bytesOf)).toEqual(before);
  });
  test.each<[string, (Q: AnyModule) => unknown, RegExp]>([
    ['dtype', (Q) => new Q(3, 4, { dtype: 'quint8' }), /^dtype should be 'qint8' or 'float16', got 'quint8'/],
    [
      'a mode with float16',
      (Q) => new Q(3, 4, { dtype: 'float16', activation: 'perRow' }),
      /^activation should be absent with float16 weights/,
    ],
    ['reduceRange', (Q) => new Q(3, 4, { reduceRange: 1 }), /^reduceRange should be a boolean, got 1/],
    ['option', (Q) => new Q(3, 4, { perRow: true }), /unknown option 'perRow'; the options are .*dtype/],
    ['depth', (Q) => new Q(131072, 1), /^input_size should be at most 131071 .*, got 131072/],
    [
      'depth of the full range',
      (Q) => new Q(65794, 1, { reduceRange: false }),
      /^input_size should be at most 65793 .*, got 65794/,
    ],
    [
      'module',
      (Q) => Q.fromFloat(new nn.Linear(3, 4), defaultDynamicQConfig),
      /^module should be an instance of .*, got Linear/,
    ],
    [
      'qconfig',
      (Q) => Q.fromFloat(float(), undefined),
      /^qconfig should be an object with a weight, got undef/,
    ],
    [
      'weights of an embedding',
      (Q) =>
        Q.fromFloat(float(), { weight: { dtype: 'quint8', qscheme: 'per_channel_affine_float_qparams' } }),
      /^Unsupported dtype for dynamic RNN quantization: quint8/,
    ],
  ])(`quantized ${name}: wrong %s`, (_, f, message) => {
    expect(() => f(nn.quantized.dynamic[name])).toThrow(message);
  });
  test(`${name}: huge weights and states overflow with a RangeError or give finite results`, () => {
    const huge = float();
    for (const p of huge.parameters()) p.fill_(3e38);
    const q = quantize(name, huge, defaultDynamicQConfig);
    expect(() => q.forward(randn(x.shape).mul(1e30))).toThrow(/overflows float32/);
    const state = h0.clone().fill_(3e38);
    const outcome = (): boolean =>
      tensorsOf(quantize(name, float(), defaultDynamicQConfig).forward(x, lstm ? [state, c0] : state)).every(
        (t) => Array.from(t.data, Number).every(Number.isFinite),
      );
    try {
      expect(outcome()).toBe(true);
    } catch (error) {
      expect(String(error)).toMatch(/overflows float32/);
    }
  });
  test(`quantized ${name}: another dtype is refused`, () => {
    const q = quantize(name, float(), defaultDynamicQConfig);
    expect(() => q.forward(zeros(x.shape, { dtype: 'float64' }))).toThrow(
      'expected scalar type Float but found float64',
    );
  });
}
