import { native } from '../src/native.js';
import * as nn from '../src/nn/index.js';
import { LSTM as QuantizedLSTM } from '../src/nn/quantized/dynamic/lstm.js';
import {
  defaultDynamicQConfig,
  perChannelDynamicQConfig,
  perRowDynamicQConfig,
} from '../src/quantization/index.js';
import { manualSeed, randn } from '../src/random.js';
import { cat, type Tensor, zeros } from '../src/tensor.js';
import {
  bytesOf,
  everyQConfig,
  expectClose,
  golden,
  pseudoRandom,
  qconfigOf,
  withIsa,
  type GoldenCase,
} from './support.js';

const group = golden('dynamic');
const isas = native().isas();
// Packed sequences come with their own module.
const cases = group.cases.filter((c) => c.cls === 'LSTM' && !c.packed);
const qconfigs = { default: defaultDynamicQConfig, per_channel: perChannelDynamicQConfig };

function build(c: GoldenCase): { float: nn.LSTM; x: Tensor; state: nn.LSTMState | undefined } {
  manualSeed(c.seed);
  const { batch_first: batchFirst, ...kwargs } = c.kwargs;
  const float = new nn.LSTM(c.input_size, c.hidden_size, {
    numLayers: c.num_layers,
    batchFirst,
    ...kwargs,
  }).eval();
  if (c.params) float.loadStateDict(group.state(c.params));
  return { float, x: group.tensor(c.x), state: c.hx ? [group.tensor(c.h0), group.tensor(c.c0)] : undefined };
}

test('there are golden cases', () => expect(cases).toHaveLength(22));

describe('PyTorch’s fbgemm engine', () => {
  test.each(cases.map((c) => [`${c.repr} ${c.spec} seed ${c.seed}`, c]))('%s', (_, c) => {
    const { float, x, state } = build(c);
    const outputs = isas.map((isa) =>
      withIsa(isa, () => {
        const quantized = QuantizedLSTM.fromFloat(float, qconfigs[c.spec as keyof typeof qconfigs]).eval();
        expect(String(quantized)).toBe(c.repr);
        const weights = quantized.stateDict();
        for (const [name, { int, scale }] of Object.entries<{ int: string; scale: string | number }>(
          c.qweights ?? {},
        )) {
          const weight = weights.get(name)!;
          expect(weight.intRepr().equal(group.tensor(int))).toBe(true);
          const expected = typeof scale === 'number' ? [scale] : Array.from(group.tensor(scale).data, Number);
          expect(Array.from(weight.scales!)).toEqual(expected);
        }
        const [y, [hn, cn]] = quantized.forward(x, state);
        expectClose(y, group.tensor(c.fbgemm.y));
        expectClose(hn, group.tensor(c.fbgemm.hn));
        expectClose(cn, group.tensor(c.fbgemm.cn));
        return [y, hn, cn].map(bytesOf);
      }),
    );
    for (const output of outputs) expect(output).toEqual(outputs[0]);
  });
});

describe('modes that PyTorch does not have', () => {
  const modes = golden('modes');
  // Projections come with their own option.
  const lstms = modes.cases.filter((c) => c.cls === 'LSTM' && c.kwargs.proj_size === undefined);
  test('there are golden cases', () => {
    expect(lstms).toHaveLength(4);
    for (const c of lstms) expect(c.out).toHaveLength(8);
  });
  test.each(
    lstms.flatMap((c) =>
      c.out.map((out: GoldenCase) => [`LSTM(${c.args}) seed ${c.seed}`, JSON.stringify(out), c, out]),
    ),
  )('%s %s', (_name, _mode, c: GoldenCase, out: GoldenCase) => {
    const { num_layers: numLayers, ...options } = c.kwargs;
    const float = new nn.LSTM(c.args[0], c.args[1], { numLayers, ...options });
    float.loadStateDict(modes.state(c.params));
    const outputs = isas.map((isa) =>
      withIsa(isa, () => {
        const quantized = QuantizedLSTM.fromFloat(float, qconfigOf(out.rows, out.full, out.channel));
        const [y, [hn, cn]] = quantized.forward(modes.tensor(c.x), [modes.tensor(c.h0), modes.tensor(c.c0)]);
        expectClose(y, modes.tensor(out.y));
        expectClose(hn, modes.tensor(out.hn));
        expectClose(cn, modes.tensor(out.cn));
        return [y, hn, cn].map(bytesOf);
      }),
    );
    for (const output of outputs) expect(output).toEqual(outputs[0]);
  });
});

test('200 random configurations give the same bytes on every instruction set', () => {
  const random = pseudoRandom(1);
  const upTo = (n: number): number => 1 + Math.floor(random() * n);
  const flag = (): boolean => random() < 0.5;
  for (let i = 0; i < 200; i++) {
    manualSeed(i);
    // From 64 on a matrix is deep enough for chains on AVX2.
    const [inputSize, hiddenSize, numLayers] = [upTo(70), upTo(i % 25 === 0 ? 150 : 70), upTo(3)];
    const bidirectional = flag();
    const float = new nn.LSTM(inputSize, hiddenSize, {
      numLayers,
      bidirectional,
      bias: flag(),
      batchFirst: flag(),
    });
    const [steps, batch] = [upTo(7), upTo(15)];
    const magnitude = 10 ** (6 * random() - 3);
    const x = randn(float.batchFirst ? [batch, steps, inputSize] : [steps, batch, inputSize]).mul(magnitude);
    const cells = numLayers * (bidirectional ? 2 : 1);
    const state: nn.LSTMState | null = flag()
      ? [randn(cells, batch, hiddenSize), randn(cells, batch, hiddenSize)]
      : null;
    // Cubes: small weights with a few large ones, as trained models have them.
    if (flag()) for (const p of float.parameters()) p.copy_(p.mul(p).mul(p).mul(hiddenSize));
    const qconfig = everyQConfig[i % 8]!;
    const [first, ...others] = isas.map((isa) =>
      withIsa(isa, () => {
        const [y, [hn, cn]] = QuantizedLSTM.fromFloat(float, qconfig).forward(x, state);
        return [y, hn, cn].map(bytesOf);
      }),
    );
    for (const other of others) expect(other).toEqual(first);
  }
});

describe('beyond PyTorch', () => {
  test('unbatched input is a batch of one', () => {
    const quantized = QuantizedLSTM.fromFloat(new nn.LSTM(4, 5, { numLayers: 2 }), defaultDynamicQConfig);
    const x = randn(6, 4);
    const [y, [hn]] = quantized.forward(x);
    const [y3, [hn3]] = quantized.forward(x.unsqueeze(1));
    expect([y.shape, hn.shape]).toEqual([
      [6, 5],
      [2, 5],
    ]);
    expect(bytesOf(y)).toBe(bytesOf(y3));
    expect(bytesOf(hn)).toBe(bytesOf(hn3));
  });
});

/** What an LSTM makes of some sequences of the batch: y, hn and cn of each, as bytes. */
function eachOf(
  lstm: QuantizedLSTM,
  x: Tensor,
  state: nn.LSTMState | null,
  batch: readonly number[],
): string[][] {
  const of = (t: Tensor, rows: readonly number[]): Tensor =>
    cat(
      rows.map((b) => t.slice(1, b, b + 1)),
      1,
    );
  const [y, [hn, cn]] = lstm.forward(of(x, batch), state && [of(state[0], batch), of(state[1], batch)]);
  return batch.map((_, i) => [y, hn, cn].map((t) => bytesOf(of(t, [i]))));
}

describe.each(isas)('perRow on %s', (isa) => {
  const perRow = everyQConfig.filter(({ activation }) => activation === 'perRow');
  const shapes = [
    { numLayers: 1, bidirectional: false },
    { numLayers: 3, bidirectional: false },
    { numLayers: 1, bidirectional: true },
    { numLayers: 2, bidirectional: true },
  ];
  const cases = perRow.flatMap((qconfig) =>
    shapes.flatMap((shape) => [true, false].map((given) => ({ qconfig, shape, given }))),
  );
  test.each(cases.map((c) => [JSON.stringify(c), c]))('batch-invariant: %s', (_, c) => {
    withIsa(isa, () => {
      manualSeed(5);
      const random = pseudoRandom(5);
      const q = QuantizedLSTM.fromFloat(new nn.LSTM(21, 35, { ...c.shape, bias: c.given }), c.qconfig);
      const cells = c.shape.numLayers * (c.shape.bidirectional ? 2 : 1);
      // Sequences of very different magnitude.
      const x = cat(
        Array.from({ length: 32 }, () => randn(5, 1, 21).mul(10 ** (6 * random() - 3))),
        1,
      );
      const state: nn.LSTMState | null = c.given ? [randn(cells, 32, 35), randn(cells, 32, 35)] : null;
      const all = eachOf(q, x, state, [...Array(32).keys()]);
      for (let b = 0; b < 32; b++) expect(eachOf(q, x, state, [b])).toEqual([all[b]]);
      for (let i = 0; i < 10; i++) {
        const some = Array.from({ length: 1 + i }, () => Math.floor(random() * 32));
        expect(eachOf(q, x, state, some)).toEqual(some.map((b) => all[b]));
      }
    });
  });
  const oneWay = cases.filter((c) => !c.shape.bidirectional);
  test.each(oneWay.map((c) => [JSON.stringify(c), c]))('chunk-invariant: %s', (_, c) => {
    withIsa(isa, () => {
      manualSeed(6);
      const random = pseudoRandom(6);
      const q = QuantizedLSTM.fromFloat(new nn.LSTM(21, 35, c.shape), c.qconfig);
      const { numLayers } = c.shape;
      for (const batch of [1, 7]) {
        const x = cat(
          Array.from({ length: 40 }, () => randn(1, batch, 21).mul(10 ** (4 * random() - 2))),
          0,
        );
        const first: nn.LSTMState | null = c.given
          ? [randn(numLayers, batch, 35), randn(numLayers, batch, 35)]
          : null;
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
          expect(state!.map(bytesOf)).toEqual(last.map(bytesOf));
        }
      }
    });
  });
  test('perTensor promises neither', () => {
    const q = QuantizedLSTM.fromFloat(new nn.LSTM(21, 35), defaultDynamicQConfig);
    const x = randn(5, 2, 21);
    const [first] = eachOf(q, x, null, [0, 1]);
    expect(eachOf(q, x, null, [0])).not.toEqual([first]);
    const [y, state] = q.forward(x.slice(0, 0, 3));
    const [rest] = q.forward(x.slice(0, 3), state);
    expect(bytesOf(y) + bytesOf(rest)).not.toBe(bytesOf(q.forward(x)[0]));
  });
});

test('a long sequence, whose input gates are computed in parts, is the same in chunks', () => {
  for (const qconfig of everyQConfig.filter(({ activation }) => activation === 'perRow')) {
    const q = QuantizedLSTM.fromFloat(new nn.LSTM(9, 100), qconfig);
    const x = randn(700, 1, 9);
    const [y] = q.forward(x);
    const [a, state] = q.forward(x.slice(0, 0, 341));
    const [b] = q.forward(x.slice(0, 341), state);
    expect(bytesOf(a) + bytesOf(b)).toBe(bytesOf(y));
  }
});

describe.each(everyQConfig.map((qconfig) => [JSON.stringify(qconfig), qconfig] as const))(
  '%s',
  (_, qconfig) => {
    const q = QuantizedLSTM.fromFloat(new nn.LSTM(3, 4, { numLayers: 2, bidirectional: true }), qconfig);
    test.each([NaN, Infinity, -Infinity])('%p anywhere is refused', (value) => {
      const [x, h0, c0] = [zeros(2, 5, 3), zeros(4, 5, 4), zeros(4, 5, 4)];
      for (const [t, name] of [
        [x, 'input'],
        [h0, 'hidden\\[0\\]'],
        [c0, 'hidden\\[1\\]'],
      ] as const) {
        for (let i = 0; i < t.numel; i++) {
          t.data[i] = value as never;
          expect(() => q.forward(x, [h0, c0])).toThrow(new RegExp(`^${name} should be finite`));
          t.data[i] = 0 as never;
        }
      }
      expect(q.forward(x, [h0, c0])[0].shape).toEqual([2, 5, 8]);
    });
    test('no state is a state of zeros', () => {
      const x = randn(6, 2, 3);
      const [y] = q.forward(x);
      for (const state of [undefined, null, [zeros(4, 2, 4), zeros(4, 2, 4)] as nn.LSTMState]) {
        expect(bytesOf(q.forward(x, state)[0])).toBe(bytesOf(y));
      }
    });
    test('the mode comes with a state dict’s metadata, not with plain tensors', () => {
      const x = randn(6, 2, 3);
      const expected = bytesOf(q.forward(x)[0]);
      for (const other of everyQConfig) {
        const twin = QuantizedLSTM.fromFloat(new nn.LSTM(3, 4, { numLayers: 2, bidirectional: true }), other);
        twin.loadStateDict(q.stateDict());
        expect([twin.activation, twin.reduceRange]).toEqual([qconfig.activation, qconfig.reduceRange]);
        expect(bytesOf(twin.forward(x)[0])).toBe(expected);
        expect(twin.stateDict().metadata).toEqual(q.stateDict().metadata);
        twin.loadStateDict(
          QuantizedLSTM.fromFloat(
            new nn.LSTM(3, 4, { numLayers: 2, bidirectional: true }),
            other,
          ).stateDict(),
        );
        twin.loadStateDict([...q.stateDict()]);
        expect([twin.activation, twin.reduceRange]).toEqual([other.activation, other.reduceRange]);
        if (other.activation === qconfig.activation && other.reduceRange === qconfig.reduceRange) {
          expect(bytesOf(twin.forward(x)[0])).toBe(expected);
        }
      }
    });
  },
);

describe('finite in, finite out', () => {
  const float = new nn.LSTM(3, 4);
  const quantized = QuantizedLSTM.fromFloat(float, defaultDynamicQConfig);
  const bad = (...shape: number[]): Tensor => {
    const t = zeros(shape);
    t.data[t.data.length - 1] = Infinity as never;
    return t;
  };
  test.each<[string, () => unknown, RegExp]>([
    ['input', () => quantized.forward(bad(2, 1, 3)), /^input should be finite/],
    [
      'h0',
      () => quantized.forward(zeros(2, 1, 3), [bad(1, 1, 4), zeros(1, 1, 4)]),
      /^hidden\[0\] should be finite/,
    ],
    [
      'c0',
      () => quantized.forward(zeros(2, 1, 3), [zeros(1, 1, 4), bad(1, 1, 4)]),
      /^hidden\[1\] should be finite/,
    ],
    [
      'dtype',
      () => quantized.forward(zeros([2, 1, 3], { dtype: 'float64' })),
      /expected scalar type Float but found float64/,
    ],
  ])('%s', (_, f, message) => expect(f).toThrow(message));
  test.each([NaN, -Infinity])('a weight or bias of %p is refused at conversion', (value) => {
    for (const name of ['weight_hh_l0', 'bias_ih_l0']) {
      const broken = new nn.LSTM(3, 4);
      broken.stateDict().get(name)!.data[1] = value as never;
      expect(() => QuantizedLSTM.fromFloat(broken, defaultDynamicQConfig)).toThrow(
        new RegExp(`${name} should be finite`),
      );
    }
  });
  test('huge weights and states overflow with a RangeError or give finite results', () => {
    const huge = new nn.LSTM(3, 4);
    for (const p of huge.parameters()) p.fill_(3e38);
    const q = QuantizedLSTM.fromFloat(huge, defaultDynamicQConfig);
    expect(() => q.forward(randn(2, 1, 3).mul(1e30))).toThrow(/overflows float32/);
    const h0 = zeros(1, 1, 4).fill_(3e38);
    const outcome = (): boolean => {
      const [y] = quantized.forward(zeros(2, 1, 3), [h0, zeros(1, 1, 4)]);
      return Array.from(y.data, Number).every(Number.isFinite);
    };
    try {
      expect(outcome()).toBe(true);
    } catch (error) {
      expect(String(error)).toMatch(/overflows float32/);
    }
  });
  test('depths whose sums could wrap are refused', () => {
    expect(() => new QuantizedLSTM(131072, 1)).toThrow(/input_size should be at most 131071/);
    expect(() => new QuantizedLSTM(65794, 1, { reduceRange: false })).toThrow(
      /input_size should be at most 65793 .* got 65794/,
    );
    expect(new QuantizedLSTM(65793, 1, { reduceRange: false }).reduceRange).toBe(false);
  });
});

describe('the mode', () => {
  test('is a property, an option, and printed where PyTorch has no such thing', () => {
    const options = { numLayers: 2, activation: 'perRow', reduceRange: false } as const;
    const q = new QuantizedLSTM(3, 4, options);
    expect([q.activation, q.reduceRange]).toEqual(['perRow', false]);
    expect(String(q)).toBe(
      'DynamicQuantizedLSTM(3, 4, num_layers=2, activation=per_row, reduce_range=False)',
    );
    expect(q.stateDict().metadata.get('')).toMatchObject({ activation: 'perRow', reduceRange: false });
    expect(QuantizedLSTM.fromFloat(new nn.LSTM(3, 4), perRowDynamicQConfig).activation).toBe('perRow');
  });
  test.each<[string, () => unknown, RegExp]>([
    [
      'activation',
      () => new QuantizedLSTM(1, 1, { activation: 'per_row' as never }),
      /^activation should be 'perTensor' or 'perRow', got 'per_row'/,
    ],
    [
      'reduceRange',
      () => new QuantizedLSTM(1, 1, { reduceRange: null as never }),
      /^reduceRange should be a boolean, got null/,
    ],
    [
      'option',
      () => new QuantizedLSTM(1, 1, { fullRange: true } as never),
      /unknown option 'fullRange'; the options are numLayers, .*, activation, reduceRange/,
    ],
    ['on a float LSTM', () => new nn.LSTM(1, 1, { activation: 'perRow' } as never), /unknown option/],
  ])('refuses a wrong %s', (_, f, message) => expect(f).toThrow(message));
  test.each<[string, object, RegExp]>([
    ['activation', { activation: 'row' }, /the metadata's activation should be .*, got 'row'/],
    ['reduceRange', { reduceRange: 'false' }, /the metadata's reduceRange should be .*, got 'false'/],
  ])('hostile metadata: %s', (_, about, message) => {
    const q = QuantizedLSTM.fromFloat(new nn.LSTM(3, 4), perRowDynamicQConfig);
    const x = randn(5, 2, 3);
    const before = bytesOf(q.forward(x)[0]);
    const state = QuantizedLSTM.fromFloat(new nn.LSTM(3, 4), defaultDynamicQConfig).stateDict();
    state.metadata.set('', { type: 'DynamicQuantizedLSTM', ...about });
    expect(() => q.loadStateDict(state)).toThrow(message);
    expect([bytesOf(q.forward(x)[0]), q.activation]).toEqual([before, 'perRow']);
  });
  test('that is too deep for the full range is refused on load, and nothing changes', () => {
    const q = new QuantizedLSTM(65794, 1);
    const state = q.stateDict();
    state.metadata.set('', { type: 'DynamicQuantizedLSTM', reduceRange: false });
    expect(() => q.loadStateDict(state)).toThrow(/input_size should be at most 65793 .* got 65794/);
    expect(q.reduceRange).toBe(true);
  });
});

describe('state', () => {
  test('round trip keeps every integer and every output bit', () => {
    const q = QuantizedLSTM.fromFloat(
      new nn.LSTM(7, 19, { numLayers: 2, bidirectional: true }),
      perChannelDynamicQConfig,
    );
    const twin = new QuantizedLSTM(7, 19, { numLayers: 2, bidirectional: true });
    const x = randn(5, 3, 7);
    twin.loadStateDict(q.stateDict());
    expect(bytesOf(twin.forward(x)[0])).toBe(bytesOf(q.forward(x)[0]));
    expect(String(twin)).toBe('DynamicQuantizedLSTM(7, 19, num_layers=2, bidirectional=True)');
  });
  test('a refused load changes nothing', () => {
    const q = QuantizedLSTM.fromFloat(new nn.LSTM(3, 4), defaultDynamicQConfig);
    const x = randn(5, 3, 3);
    const before = bytesOf(q.forward(x)[0]);
    expect(() => q.loadStateDict(new nn.LSTM(3, 4).stateDict())).toThrow(
      /weight_ih_l0 should be qint8, got float32/,
    );
    const state = QuantizedLSTM.fromFloat(new nn.LSTM(3, 5), defaultDynamicQConfig).stateDict();
    expect(() => q.loadStateDict(state)).toThrow(/size mismatch for weight_ih_l0/);
    expect(() => q.loadStateDict([], { strict: true })).toThrow(/Missing key\(s\)/);
    expect(bytesOf(q.forward(x)[0])).toBe(before);
  });
});
