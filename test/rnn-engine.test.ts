import { native } from '../src/native/addon.js';
import type { Int8Matrix, NativeAddon, RNNHandle, RNNMode, StatusName } from '../src/native/handles.js';
import { everywhere, runRNN } from './native-calls.js';
import { pseudoRandom } from './support.js';

interface Sizes {
  mode: RNNMode;
  input: number;
  hidden: number;
  projection?: number;
  layers?: number;
  directions?: number;
}
const kinds = ['Int8RNN', 'FloatRNN', 'HalfRNN'] as const;
const gates = { LSTM: 4, GRU: 3, RNN_TANH: 1, RNN_RELU: 1 };
const modes = Object.keys(gates) as RNNMode[];

/** A maker of handles with the same random weights. `size` scales them. */
function recurrent(
  kind: (typeof kinds)[number],
  { mode, input, hidden, projection = 0, layers = 1, directions = 1 }: Sizes,
  random: () => number,
  { perRow = false, reduceRange = true, size = 1 } = {},
): () => RNNHandle {
  const output = projection || hidden;
  const sizes = {
    mode,
    inputSize: input,
    hiddenSize: hidden,
    projSize: projection,
    numLayers: layers,
    directions,
  };
  const matrix = (rows: number, depth: number, biased: boolean): object => {
    const weight = Float32Array.from({ length: rows * depth }, () => (2 * random() - 1) / Math.sqrt(hidden));
    const bias = biased ? Float32Array.from({ length: rows }, () => (random() - 0.5) * size) : null;
    if (kind === 'FloatRNN') return { weight, bias };
    const halves = new Uint16Array(rows * depth);
    native().quantizeHalf(weight, halves);
    if (kind === 'HalfRNN') return { weight: halves, bias };
    const [bytes, scales] = [new Int8Array(rows * depth), new Float32Array(random() < 0.5 ? rows : 1)];
    native().quantizeWeight(weight, rows, bytes, scales);
    return { weight: bytes, scales: scales.map((scale) => scale * size), bias };
  };
  const matrices = Array.from({ length: layers * directions }, (_, i) => [
    matrix(gates[mode] * hidden, i < directions ? input : directions * output, true),
    matrix(gates[mode] * hidden, output, true),
    ...(projection ? [matrix(projection, hidden, false)] : []),
  ]).flat() as never[];
  return () =>
    kind === 'Int8RNN'
      ? new (native().Int8RNN)(sizes, matrices, perRow, reduceRange)
      : new (native()[kind] as NativeAddon['FloatRNN'])(sizes, matrices);
}

interface Sequence {
  x: Float32Array;
  h0: Float32Array;
  c0: Float32Array | undefined;
  steps: number;
  batch: number;
  batchSizes?: BigInt64Array;
}
function sequence(
  { mode, input, hidden, projection, layers = 1, directions = 1 }: Sizes,
  steps: number,
  batch: number,
  random: () => number,
): Sequence {
  const floats = (n: number): Float32Array => Float32Array.from({ length: n }, () => 4 * random() - 2);
  const states = layers * directions * batch;
  const h0 = floats(states * (projection ?? hidden)).map(Math.tanh);
  const c0 = mode === 'LSTM' ? floats(states * hidden) : undefined;
  return { x: floats(steps * batch * input), h0, c0, steps, batch };
}
/** `[y, hn, cn]`, with nothing written beside them. */
function forward(
  handle: RNNHandle,
  { mode, input, hidden, projection, layers = 1, directions = 1 }: Sizes,
  { x, h0, c0, steps, batch, batchSizes }: Sequence,
): Float32Array[] {
  const states = layers * directions * batch;
  const output = projection ?? hidden;
  const lengths = [(x.length / input) * directions * output, states * output];
  if (mode === 'LSTM') lengths.push(states * hidden);
  const guarded = lengths.map((length) => new Float32Array(length + 2).fill(7));
  const [y, hn, cn] = guarded.map((array) => array.subarray(1, -1));
  const call = { steps, batch, layers, x, h0, c0, y: y!, hn: hn!, cn, batchSizes };
  expect(runRNN(handle, call)).toBe('ok');
  for (const array of guarded) expect([array[0], array.at(-1)]).toEqual([7, 7]);
  return guarded.map((array) => array.slice(1, -1));
}

describe.each(modes.flatMap((mode) => kinds.map((kind) => [mode, kind] as const)))(
  '%s, %s: every instruction set gives the same bits',
  (mode, kind) => {
    test.each([1, 5, 16, 17, 33, 64, 70, 100])('%i hidden units', (hidden) => {
      const random = pseudoRandom(hidden);
      for (const batch of [1, 2, 5, 6, 7, 13]) {
        const sizes = { mode, input: 1 + Math.floor(random() * 20), hidden, directions: 1 + (batch % 2) };
        const options = { perRow: batch % 3 === 0, reduceRange: batch % 2 === 0 };
        const make = recurrent(kind, sizes, random, options);
        const data = sequence(sizes, 1 + (batch % 4), batch, random);
        everywhere(() => forward(make(), sizes, data));
      }
    });
  },
);
test.each(modes)('%s: more than 2 MB of weights, which may be packed in another order', (mode) => {
  const hidden = { LSTM: 725, GRU: 840, RNN_TANH: 1449, RNN_RELU: 1449 }[mode];
  const sizes = { mode, input: 3, hidden };
  const random = pseudoRandom(1);
  const make = recurrent('Int8RNN', sizes, random);
  for (const batch of [1, 3]) {
    const data = sequence(sizes, 2, batch, random);
    everywhere(() => forward(make(), sizes, data));
  }
});

describe.each(kinds)('%s', (kind) => {
  test.each([
    [1, 2],
    [5, 9],
    [17, 40],
    [33, 65],
  ])('projections to %i of %i units: the same bits everywhere', (projection, hidden) => {
    const random = pseudoRandom(hidden);
    for (const perRow of [false, true]) {
      for (const batch of [1, 4, 7]) {
        const sizes = { mode: 'LSTM', input: 3, hidden, projection, layers: 2, directions: 2 } as const;
        const make = recurrent(kind, sizes, random, { perRow });
        const data = sequence(sizes, 3, batch, random);
        everywhere(() => forward(make(), sizes, data));
      }
    }
  });

  const lengths = [9, 7, 7, 4, 3, 3, 3, 1];
  const batchSizes = BigInt64Array.from({ length: 9 }, (_, t) => BigInt(lengths.filter((n) => n > t).length));
  test.each(modes)('%s: packed sequences give what each gives alone', (mode) => {
    for (const projection of mode === 'LSTM' ? [undefined, 6] : [undefined]) {
      const sizes: Sizes = { mode, input: 5, hidden: 19, layers: 2, directions: 2 };
      if (projection !== undefined) sizes.projection = projection;
      const random = pseudoRandom(11);
      const make = recurrent(kind, sizes, random, { perRow: true });
      const padded = sequence(sizes, lengths[0]!, lengths.length, random);
      const rowOf = (t: number, b: number): number => b + lengths.reduce((sum, n) => sum + Math.min(n, t), 0);
      const x = new Float32Array(lengths.reduce((a, b) => a + b) * sizes.input);
      lengths.forEach((length, b) => {
        for (let t = 0; t < length; t++) {
          const from = (t * lengths.length + b) * sizes.input;
          x.set(padded.x.subarray(from, from + sizes.input), rowOf(t, b) * sizes.input);
        }
      });
      const [y, hn, cn] = everywhere(() => forward(make(), sizes, { ...padded, x, batchSizes })).map(
        (bytes) => new Float32Array(bytes.buffer),
      );
      const handle = make();
      const output = projection ?? sizes.hidden;
      const part = (states: Float32Array, features: number, b: number): Float32Array =>
        states.filter((_, i) => Math.floor(i / features) % lengths.length === b);
      lengths.forEach((length, b) => {
        const rows = Array.from({ length }, (_, t) => rowOf(t, b));
        const alone = forward(handle, sizes, {
          x: Float32Array.from(
            rows.flatMap((row) => [...x.subarray(row * sizes.input, (row + 1) * sizes.input)]),
          ),
          h0: part(padded.h0!, output, b),
          c0: padded.c0 && part(padded.c0, sizes.hidden, b),
          steps: length,
          batch: 1,
        });
        expect(rows.flatMap((row) => [...y!.subarray(row * 2 * output, (row + 1) * 2 * output)])).toEqual([
          ...alone[0]!,
        ]);
        expect([...part(hn!, output, b)]).toEqual([...alone[1]!]);
        if (cn !== undefined) expect([...part(cn, sizes.hidden, b)]).toEqual([...alone[2]!]);
      });
    }
  });
  // A step alone has its input gates computed with it; where nothing proves that sums of integers stay finite, before it.
  test.each(modes)('%s: a single step is the first of two', (mode) => {
    const sizes = { mode, input: 200, hidden: 300 };
    const random = pseudoRandom(15);
    const handle = recurrent(kind, sizes, random)();
    const both = sequence(sizes, 2, 3, random);
    both.x.copyWithin(both.x.length / 2, 0); // the range of one step is that of both
    for (const magnitude of [1, 1e36]) {
      const h0 = both.h0!.map((value) => value * magnitude);
      const [y] = forward(handle, sizes, { ...both, h0 });
      const x = both.x.subarray(0, both.x.length / 2);
      const [first] = forward(handle, sizes, { ...both, x, h0, steps: 1 });
      expect(first).toEqual(y!.subarray(0, y!.length / 2));
    }
  });
  test.each(modes)('%s: packed sequences of one length are a dense batch', (mode) => {
    const sizes = { mode, input: 7, hidden: 40, directions: 2 };
    const random = pseudoRandom(12);
    const handle = recurrent(kind, sizes, random)();
    const data = sequence(sizes, 60, 9, random);
    const dense = forward(handle, sizes, data);
    const packed = forward(handle, sizes, { ...data, batchSizes: new BigInt64Array(60).fill(9n) });
    expect(packed).toEqual(dense);
  });
});

test('the range of a step of packed sequences is that of the rows that take part', () => {
  const sizes = { mode: 'GRU', input: 1, hidden: 18, directions: 2 } as const;
  const handle = recurrent('Int8RNN', sizes, pseudoRandom(13))();
  const one = sequence(sizes, 6, 1, pseudoRandom(14));
  one.x.set([0.5, -3, 3]); // the same range without the first step
  const alone = forward(handle, sizes, one);
  // A second sequence of one step, whose states widen the ranges where it takes part.
  const [y, hn] = forward(handle, sizes, {
    x: Float32Array.of(one.x[0]!, 1, ...one.x.subarray(1)),
    h0: Float32Array.from({ length: 72 }, (_, i) => (i % 36 < 18 ? one.h0![i - (i < 36 ? 0 : 18)]! : 100)),
    c0: undefined,
    steps: 6,
    batch: 2,
    batchSizes: BigInt64Array.of(2n, 1n, 1n, 1n, 1n, 1n),
  });
  // Backwards it comes last,
  const backwards = (rows: Float32Array): number[] => [...rows].filter((_, i) => i % 36 >= 18);
  expect(backwards(y!).slice(2 * 18)).toEqual(backwards(alone[0]!).slice(18));
  expect(backwards(y!).slice(0, 18)).not.toEqual(backwards(alone[0]!).slice(0, 18));
  // and forwards first: from its state on the first sequence is alone.
  const h0 = Float32Array.of(...y!.subarray(0, 18), ...one.h0!.subarray(18));
  const rest = forward(handle, sizes, { x: one.x.subarray(1), h0, c0: undefined, steps: 5, batch: 1 });
  expect(hn!.subarray(0, 18)).toEqual(rest[1]!.subarray(0, 18));
  expect(hn!.subarray(0, 18)).not.toEqual(alone[1]!.subarray(0, 18));
});

describe('INT8 overflow is found in every mode, and only where it is', () => {
  const run = (sizes: Sizes, size: number, h0: number, steps = 30): StatusName => {
    const { mode, input, hidden, projection } = sizes;
    const data = sequence(sizes, steps, 2, pseudoRandom(1));
    const handle = recurrent('Int8RNN', sizes, pseudoRandom(2), { size })();
    const output = projection ?? hidden;
    const state = new Float32Array(2 * output);
    const y = new Float32Array(steps * 2 * output);
    const c = mode === 'LSTM' ? new Float32Array(2 * hidden) : undefined;
    expect(data.x).toHaveLength(steps * 2 * input);
    const h = state.slice().fill(h0);
    const status = runRNN(handle, { steps, batch: 2, x: data.x, h0: h, c0: c, y, hn: state, cn: c?.slice() });
    if (status === 'ok') expect([...y, ...state].every(Number.isFinite)).toBe(true);
    return status;
  };
  const sizes = { input: 3, hidden: 20 };
  test('a relu RNN grows without bound', () => {
    const mode = 'RNN_RELU';
    expect(run({ mode, ...sizes }, 1, 1)).toBe('ok');
    expect(run({ mode, ...sizes }, 10, 1, 20)).toBe('ok');
    expect(run({ mode, ...sizes }, 1000, 1, 40)).toBe('overflow');
  });
  test.each(['GRU', 'LSTM', 'RNN_TANH'] as const)('%s does not', (mode) => {
    for (const size of [1, 1000, 1e30]) expect(run({ mode, ...sizes }, size, 1)).toBe('ok');
    expect(run({ mode, ...sizes }, 2e38, 1)).toBe('overflow');
    for (const steps of [30, 1]) {
      expect(run({ mode, ...sizes }, 1e10, 1e37, steps)).toBe('overflow');
      expect(run({ mode, ...sizes }, 1, 1e37, steps)).toBe('ok');
    }
  });
  test('by an input and a state that are both finite', () => {
    const matrix = (value: number): Int8Matrix => ({
      weight: Int8Array.of(127),
      scales: Float32Array.of(value / 127),
      bias: null,
    });
    const matrices = [matrix(8e37), matrix(3e38)];
    const one = {
      mode: 'RNN_RELU',
      inputSize: 1,
      hiddenSize: 1,
      projSize: 0,
      numLayers: 1,
      directions: 1,
    } as const;
    const handle = new (native().Int8RNN)(one, matrices, false, true);
    const forward = (x: number, h0: number): [StatusName, number] => {
      const [y, hn] = [new Float32Array(1), new Float32Array(1)];
      const call = { steps: 1, batch: 1, x: Float32Array.of(x), h0: Float32Array.of(h0), y, hn };
      return [runRNN(handle, call), y[0]!];
    };
    expect(forward(-1, 1)).toEqual(['ok', expect.closeTo(2.2e38, -37)]);
    expect(forward(1, 1)[0]).toBe('overflow');
  });
  test('a projection grows with its weights', () => {
    const mode = 'LSTM';
    expect(run({ mode, ...sizes, projection: 5 }, 1e15, 1)).toBe('ok');
    expect(run({ mode, ...sizes, projection: 5 }, 1e25, 1)).toBe('overflow');
  });
});
