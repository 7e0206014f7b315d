import { join } from 'node:path';

import * as nn from '../src/nn/index.js';
import { native } from '../src/native/addon.js';
import {
  bestDynamicQConfig,
  defaultDynamicQConfig,
  float16DynamicQConfig,
  floatQParamsWeightOnlyQConfig,
  perRowDynamicQConfig,
  quantizeDynamic,
  type QConfig,
} from '../src/quantization/index.js';
import { Generator, randint, randn } from '../src/random.js';
import { full, isTensor, Tensor, zeros } from '../src/tensor/index.js';
import { catalogue, example } from './catalogue.js';
import { bytesOf, modes, pseudoRandom, qconfigOf, runNode } from './support.js';

const { packSequence, unpackSequence } = nn.utils.rnn;
type Stack = readonly nn.Module[];

/** Quantizes what can be, each class with its qconfig. */
function quantized<M extends nn.Module>(module: M, qconfig: QConfig): M {
  const table = module instanceof nn.Embedding;
  return quantizeDynamic(
    module,
    new Map([[module.constructor as never, table ? floatQParamsWeightOnlyQConfig : qconfig]]),
  );
}

/** A stream alone: its own states, by each module's `forward`. */
class Alone {
  states: unknown[];
  constructor(readonly stack: Stack) {
    this.states = stack.map(() => undefined);
  }
  /** The outputs of some steps, one after the other. */
  steps(rows: Tensor): Tensor {
    const outputs: number[] = [];
    let width = 0;
    for (let t = 0; t < rows.shape[0]!; t++) {
      let value = rows.slice(0, t, t + 1);
      this.stack.forEach((module, i) => {
        if (!('hiddenSize' in module)) {
          value = module.forward(value) as Tensor;
        } else if (/Cell$/.test(module.constructor.name)) {
          const result: unknown = module.forward(value, this.states[i]);
          this.states[i] = result;
          value = isTensor(result) ? result : (result as Tensor[])[0]!;
        } else {
          const [y, state] = module.forward(value.unsqueeze(0), this.states[i]) as [Tensor, unknown];
          this.states[i] = state;
          value = y.reshape(1, y.shape[2]!);
        }
      });
      width = value.shape[1]!;
      outputs.push(...(value.data as Float32Array));
    }
    return new Tensor(Float32Array.from(outputs), [rows.shape[0]!, width]);
  }
}

const row = (tensor: Tensor, i: number): Tensor => tensor.slice(0, i, i + 1);
const code = (name: string): unknown => expect.objectContaining({ code: name });
const streamError = (message: string | RegExp): unknown =>
  expect.objectContaining({
    name: 'RangeError',
    code: 'ERR_STREAM',
    message: expect.stringMatching(message) as string,
  });
function thrown(call: () => unknown): Error & { code?: string } {
  try {
    call();
  } catch (error) {
    return error as Error;
  }
  throw new Error('nothing was thrown');
}

/** Random steps of random streams, one step or several at once, must have the bits of each stream alone. */
function expectSameAsAlone(stack: Stack, input: (rows: number) => Tensor, rounds = 12): void {
  const random = pseudoRandom(stack.length);
  const streams = new nn.Streams(stack.length === 1 ? stack[0]! : stack);
  const alone = new Map(Array.from({ length: 21 }, () => [streams.open(), new Alone(stack)]));
  const earlier: [Tensor, bytes: string][] = [];
  for (let round = 0; round < rounds; round++) {
    const ids = [...alone.keys()].filter(() => random() < 0.6).sort(() => random() - 0.5);
    if (ids.length === 0) continue;
    const inputs = ids.map(() => input(round % 2 === 0 ? 1 : 1 + Math.floor(random() * 5)));
    const outputs =
      round % 2 === 0
        ? (() => {
            const all = inputs[0]!.dtype === 'int64' ? BigInt64Array : Float32Array;
            const width = inputs[0]!.data.length;
            const data = new all(ids.length * width);
            inputs.forEach((each, i) => data.set(each.data as never, i * width));
            const x = new Tensor(data, [ids.length, ...inputs[0]!.shape.slice(1)]);
            const y = streams.step(round % 4 === 0 ? ids : Float64Array.from(ids), x);
            earlier.push([y, bytesOf(y)]);
            return ids.map((_, i) => row(y, i));
          })()
        : unpackSequence(streams.step(ids, packSequence(inputs, { enforceSorted: false })));
    ids.forEach((id, i) => {
      const expected = alone.get(id)!.steps(inputs[i]!);
      expect(outputs[i]!.shape).toEqual(expected.shape);
      expect(bytesOf(outputs[i]!)).toBe(bytesOf(expected));
    });
  }
  // No later step has written over an output.
  for (const [output, bytes] of earlier) expect(bytesOf(output)).toBe(bytes);
}

describe('a stream has the same bits as alone', () => {
  const recurrent: Record<string, () => nn.Module> = {
    LSTM: () => new nn.LSTM(5, 7),
    'LSTM of two layers, projected': () => new nn.LSTM(5, 9, { numLayers: 2, projSize: 3 }),
    'LSTM, batch first, without bias': () => new nn.LSTM(5, 33, { batchFirst: true, bias: false }),
    GRU: () => new nn.GRU(5, 6),
    'GRU of three layers, batch first': () => new nn.GRU(5, 17, { numLayers: 3, batchFirst: true }),
    RNN: () => new nn.RNN(5, 40),
    'RNN with relu': () => new nn.RNN(5, 4, { nonlinearity: 'relu' }),
    LSTMCell: () => new nn.LSTMCell(5, 7),
    GRUCell: () => new nn.GRUCell(5, 20),
    RNNCell: () => new nn.RNNCell(5, 3, { nonlinearity: 'relu' }),
  };
  const kinds: [string, QConfig | null][] = [
    ['float', null],
    ['float16', float16DynamicQConfig],
    ...modes
      .filter(({ rows }) => rows)
      .map(({ full, channel, qconfig }): [string, QConfig] => [
        `int8, ${full ? 255 : 127} levels, per ${channel ? 'channel' : 'tensor'}`,
        qconfig,
      ]),
  ];
  describe.each(Object.entries(recurrent))('%s', (_, make) => {
    test.each(kinds)('%s', (__, qconfig) => {
      const module = make();
      // The float modules of a stream alone have no batch, and a module with batchFirst needs no other order for it.
      expectSameAsAlone([qconfig === null ? module : quantized(module, qconfig)], (rows) => randn(rows, 5));
    });
  });

  const dynamicLinear = (): nn.Module => quantized(new nn.Linear(8, 5), bestDynamicQConfig);
  test.each<[string, () => Stack]>([
    ['float', () => [new nn.Embedding(9, 4), new nn.LSTM(4, 8), new nn.LSTM(8, 8), new nn.Linear(8, 5)]],
    [
      'int8',
      () =>
        [new nn.Embedding(9, 4), new nn.LSTM(4, 8), new nn.LSTM(8, 8), new nn.Linear(8, 5)].map((each) =>
          quantized(each, bestDynamicQConfig),
        ),
    ],
    [
      'mixed',
      () => [
        new nn.Embedding(9, 4),
        new nn.LayerNorm(4),
        quantized(new nn.GRU(4, 6), perRowDynamicQConfig),
        new nn.Tanh(),
        new nn.RNNCell(6, 8),
        new nn.Dropout(0.5).eval(),
        dynamicLinear(),
        new nn.LogSoftmax(-1),
      ],
    ],
  ])('a stack from indices, %s', (_, make) => {
    expectSameAsAlone(make(), (rows) => randint(0, 9, [rows]));
  });
  test('every activation, and what else works row by row', () => {
    const others = catalogue
      .filter(({ rowByRow, sizes }) => rowByRow === true && sizes.length === 0)
      .map((entry) => example(entry).eval())
      .filter((module) => String(module).indexOf('Linear') < 0);
    expect(others.length).toBeGreaterThan(10);
    expectSameAsAlone([new nn.Linear(3, 6), ...others, new nn.GRU(6, 5)], (rows) => randn(rows, 3));
  });
  test('a Sequential, its modules one by one', () => {
    const parts = [new nn.Linear(3, 4), new nn.LSTM(4, 5), new nn.Linear(5, 2)] as const;
    const nested = new nn.Sequential(new nn.Sequential(parts[0], new nn.ReLU()), parts[1], parts[2]);
    const streams = new nn.Streams(nested);
    const alone = new Alone([parts[0], new nn.ReLU(), parts[1], parts[2]]);
    const id = streams.open();
    for (let t = 0; t < 3; t++) {
      const x = randn(1, 3);
      expect(bytesOf(streams.step([id], x))).toBe(bytesOf(alone.steps(x)));
    }
  });
  test('one module twice has two states', () => {
    const gru = new nn.GRU(4, 4);
    expectSameAsAlone([gru, gru], (rows) => randn(rows, 4));
  });
  test('of a large module, in a batch that threads share', () => {
    expectSameAsAlone([quantized(new nn.LSTM(5, 300), bestDynamicQConfig)], (rows) => randn(rows, 5), 6);
    expectSameAsAlone([new nn.LSTM(5, 300)], (rows) => randn(rows, 5), 6);
  });
});

describe('10^5 random operations', () => {
  const cell = quantized(new nn.LSTM(2, 3), bestDynamicQConfig);
  /** One step of one stream, as the model to compare with. */
  const step = (state: nn.LSTMState | undefined, x: Tensor): [Tensor, nn.LSTMState] =>
    cell.forward(x.reshape(1, 1, 2), state) as [Tensor, nn.LSTMState];

  /** As expect(call).toThrow, which is too slow for so many. */
  const refuses = (call: () => unknown): void => {
    if (thrown(call).code !== 'ERR_STREAM') throw new Error('another error');
  };

  test('open, close, reset, save, steps of random streams', () => {
    const random = pseudoRandom(13);
    const pick = (n: number): number => Math.floor(random() * n);
    const streams = new nn.Streams(cell);
    const model = new Map<number, nn.LSTMState | undefined>();
    const everOpened = new Set<number>();
    const opened = (id: number, state?: nn.LSTMState): void => {
      if (everOpened.has(id)) throw new Error(`${id} comes back`);
      everOpened.add(id);
      model.set(id, state);
    };
    let ids: number[] = [];
    for (let operation = 0; operation < 1e5; operation++) {
      if (operation % 16 === 0) ids = [...model.keys()];
      const id = ids[pick(ids.length)] ?? 0;
      const what = random();
      if (what < 0.12 || model.size < 8) {
        opened(streams.open());
      } else if (what < 0.22 && model.size > 0) {
        if (model.delete(id)) streams.close(id);
        else refuses(() => streams.close(id));
      } else if (what < 0.27) {
        if (model.has(id)) {
          streams.reset(id);
          model.set(id, undefined);
        } else refuses(() => streams.reset(id));
      } else if (what < 0.29) {
        if (model.has(id)) opened(streams.fromBuffer(streams.toBuffer(id)), model.get(id));
        else refuses(() => streams.toBuffer(id));
      } else {
        const chosen = [...new Set(Array.from({ length: 1 + pick(3) }, () => ids[pick(ids.length)] ?? 0))];
        const x = randn(chosen.length, 2);
        if (!chosen.every((each) => model.has(each))) {
          refuses(() => streams.step(chosen, x));
          continue;
        }
        const several = what > 0.95;
        const inputs = chosen.map((_, i) => (several ? randn(1 + pick(3), 2) : row(x, i)));
        const outputs = several
          ? unpackSequence(streams.step(chosen, packSequence(inputs, { enforceSorted: false })))
          : [];
        const y = several ? undefined : streams.step(chosen, x);
        chosen.forEach((each, i) => {
          for (let t = 0; t < inputs[i]!.shape[0]!; t++) {
            const [out, state] = step(model.get(each), row(inputs[i]!, t));
            model.set(each, state);
            const got = several ? row(outputs[i]!, t) : row(y!, i);
            if (bytesOf(got) !== bytesOf(out)) throw new Error(`operation ${operation}: other bits`);
          }
        });
      }
      if (streams.size !== model.size) throw new Error(`operation ${operation}: ${streams.size} streams`);
    }
    expect(everOpened.size).toBeGreaterThan(10_000);
  });
});

describe('ids', () => {
  const make = (): nn.Streams => new nn.Streams(new nn.GRU(2, 2));
  test('are positive integers, and a closed one never comes back', () => {
    const streams = make();
    const seen = new Set<number>();
    for (let i = 0; i < 1000; i++) {
      const id = streams.open();
      expect([Number.isSafeInteger(id) && id > 0, seen.has(id)]).toEqual([true, false]);
      seen.add(id);
      if (i % 3 > 0) streams.close(id);
    }
    expect(streams.size).toBe(334);
  });
  test.each([0, -1, 1.5, NaN, Infinity, 2, 2 ** 28, 2 ** 28 + 1, 2 ** 53, 1e300, -0])(
    '%d is no stream where only 1 is',
    (wrong) => {
      const streams = make();
      const id = streams.open();
      expect(id).toBe(1);
      for (const call of [
        () => streams.close(wrong),
        () => streams.reset(wrong),
        () => streams.toBuffer(wrong),
        () => streams.step([id, wrong], zeros(2, 2)),
        () => streams.step(Float64Array.of(wrong), zeros(1, 2)),
      ])
        expect(call).toThrow(streamError('there is no such stream') as Error);
      streams.step([id], zeros(1, 2)); // it was let go of
    },
  );
  test('name the stream that is wrong, and take none', () => {
    const streams = make();
    const [a, b, c] = [streams.open(), streams.open(), streams.open()];
    streams.close(b);
    const before = [a, c].map((id) => streams.toBuffer(id));
    expect(() => streams.step([a, b, c], zeros(3, 2))).toThrow(
      streamError(`^ids\\[1\\] is ${b}: there is no`) as Error,
    );
    expect(() => streams.step([c, a, c], zeros(3, 2))).toThrow(
      streamError(`^ids\\[2\\] is ${c}: a step takes`) as Error,
    );
    const long = Array.from({ length: 20 }, () => streams.open());
    const twice = Float64Array.from([...long, long[3]!]);
    expect(() => streams.step(twice, zeros(21, 2))).toThrow(streamError('^ids\\[20\\] is') as Error);
    const packed = packSequence([zeros(1, 2), zeros(3, 2)], { enforceSorted: false });
    expect(() => streams.step([a, b], packed)).toThrow(streamError('^ids\\[1\\] is') as Error);
    expect([a, c].map((id) => streams.toBuffer(id))).toEqual(before);
    streams.step([a, c, ...long], zeros(22, 2));
  });
  test.each([new Int32Array(1), 'a', { length: 1, 0: 1 }, ['1'], [1n], [undefined], [,], undefined])(
    '%p are none',
    (wrong) => {
      const streams = make();
      streams.open();
      const error = thrown(() => streams.step(wrong as never, zeros(1, 2)));
      expect([error.name, error.code]).toEqual(['TypeError', 'ERR_INVALID_ARG_TYPE']);
      expect(error.message).toMatch(/^ids should be an array of numbers that open\(\) returned/);
    },
  );
  test('no ids are a step of nobody', () => {
    expect(make().step([], zeros(0, 2)).shape).toEqual([0, 2]);
    expect(
      new nn.Streams(quantized(new nn.LSTM(2, 3), bestDynamicQConfig)).step([], zeros(0, 2)).shape,
    ).toEqual([0, 3]);
  });
});

describe('a step that fails changes nothing', () => {
  const stack = [new nn.Linear(2, 3), new nn.LSTM(3, 4), quantized(new nn.LSTM(4, 3), bestDynamicQConfig)];
  const streams = new nn.Streams(stack);
  const ids = Array.from({ length: 5 }, () => streams.open());
  streams.step(ids, randn(5, 2));
  const states = (): unknown => ids.map((id) => streams.toBuffer(id));
  const before = states();
  const nan = randn(5, 2);
  nan.data[7] = NaN;
  const sequence = (width: number): nn.utils.rnn.PackedSequence =>
    packSequence(
      ids.map((_, i) => randn(1 + (i % 2), width)),
      { enforceSorted: false },
    );

  test.each<[string, () => unknown, string, RegExp]>([
    ['NaN, which the last module refuses', () => streams.step(ids, nan), 'ERR_NOT_FINITE', /input/],
    [
      'too few rows',
      () => streams.step(ids, randn(4, 2)),
      'ERR_SHAPE',
      /x should have a row for each of the 5 ids/,
    ],
    [
      'no rows',
      () => streams.step(ids, new Tensor(new Float32Array(1), [])),
      'ERR_SHAPE',
      /x should have a row/,
    ],
    ['other features', () => streams.step(ids, randn(5, 3)), 'ERR_SHAPE', /mat1 and mat2/],
    [
      'more dimensions',
      () => streams.step(ids, randn(5, 1, 2)),
      'ERR_SHAPE',
      /x should be \(rows, features\)/,
    ],
    ['another dtype', () => streams.step(ids, zeros([5, 2], { dtype: 'int64' })), 'ERR_DTYPE', /dtype/],
    [
      'too few sequences',
      () => streams.step(ids.slice(1), sequence(2)),
      'ERR_SHAPE',
      /a sequence for each of the 4/,
    ],
    ['sequences of other features', () => streams.step(ids, sequence(3)), 'ERR_SHAPE', /mat1 and mat2/],
    ['no tensor', () => streams.step(ids, [[1, 2]] as never), 'ERR_INVALID_ARG_TYPE', /x should be/],
  ])('%s', (_, call, expected, message) => {
    const error = thrown(call);
    expect([error.code, error.message]).toEqual([expected, expect.stringMatching(message)]);
    expect(states()).toEqual(before);
  });
  test('and the streams go on', () => {
    expect(streams.step(ids, randn(5, 2)).shape).toEqual([5, 3]);
  });
});

describe('hooks', () => {
  test('run, and may replace inputs and outputs', () => {
    const linear = new nn.Linear(2, 3);
    const lstm = new nn.LSTM(3, 2);
    const streams = new nn.Streams([linear, lstm]);
    const ids = [streams.open(), streams.open()];
    const x = randn(2, 2);
    const seen: unknown[] = [];
    const kept = lstm.registerForwardHook((_, args, output) => {
      seen.push(args, output);
      return [(output as Tensor[])[0]!.mul(2), (output as Tensor[])[1]];
    });
    const y = streams.step(ids, x);
    const states = JSON.stringify(seen);
    const doubled = lstm.forward(linear.forward(x).unsqueeze(0))[0] as Tensor;
    expect(bytesOf(y)).toBe(bytesOf(doubled.reshape(2, 2)));
    streams.step(ids, x);
    expect(JSON.stringify(seen.slice(0, 2))).toBe(states); // the states that a hook saw stay as they were
    kept.remove();
    linear.registerForwardHook(() => zeros(2, 3));
    const fresh = new nn.Streams([linear, lstm]);
    const quiet = fresh.step([fresh.open(), fresh.open()], x);
    expect(bytesOf(quiet)).toBe(bytesOf((lstm.forward(zeros(1, 2, 3))[0] as Tensor).reshape(2, 2)));
  });
  test('that return nonsense are an error that changes nothing', () => {
    for (const module of [new nn.LSTM(2, 2), new nn.GRU(2, 2), new nn.LSTMCell(2, 2), new nn.GRUCell(2, 2)]) {
      for (const wrong of [5, [], [zeros(1)], zeros(7), [zeros(1, 1, 2), [zeros(1, 1, 2), 1]]]) {
        const streams = new nn.Streams(module);
        const id = streams.open();
        const before = streams.toBuffer(id);
        const hook = module.registerForwardHook(() => wrong);
        const error = thrown(() => streams.step([id], zeros(1, 2)));
        expect([error.code, error.message]).toEqual([
          'ERR_INVALID_ARG_TYPE',
          expect.stringMatching(/a hook of model \(\w+\) should return/),
        ]);
        hook.remove();
        expect(streams.toBuffer(id)).toEqual(before);
      }
    }
  });
  test('that use the streams meet the step that has not ended', () => {
    const gru = new nn.GRU(2, 2);
    const streams = new nn.Streams(gru);
    const [a, b] = [streams.open(), streams.open()];
    let inside: () => void = () => undefined;
    const hook = gru.registerForwardHook(() => inside());
    inside = () => {
      inside = () => undefined;
      for (const call of [
        () => streams.close(a),
        () => streams.reset(a),
        () => streams.toBuffer(a),
        () => streams.step([b, a], zeros(2, 2)),
      ])
        expect(call).toThrow(streamError(/a step of this stream has not ended/) as Error);
      streams.step([b], zeros(1, 2));
      streams.close(b);
      for (let i = 0; i < 1e5; i++) streams.open();
    };
    const x = randn(1, 2);
    const y = streams.step([a], x);
    expect(bytesOf(y)).toBe(bytesOf((gru.forward(x.unsqueeze(0))[0] as Tensor).reshape(1, 2)));
    inside = () => streams.dispose();
    expect(() => streams.step([a], x)).toThrow(code('ERR_DISPOSED') as Error);
    hook.remove();
  });
});

describe('asynchronous steps', () => {
  // So large that they run on other threads.
  const large = quantized(new nn.LSTM(5, 250, { numLayers: 2 }), bestDynamicQConfig);
  const head = quantized(new nn.Linear(250, 300), bestDynamicQConfig);
  const stack = [new nn.Linear(4, 5), new nn.Identity(), large, new nn.Tanh(), head];
  const aborted = (): AbortSignal => AbortSignal.abort(new Error('enough'));

  test.each<[string, Stack, (rows: number) => Tensor]>([
    ['a large stack', stack, (rows) => randn(rows, 4)],
    ['a small one', [new nn.Embedding(5, 2), new nn.GRU(2, 2)], (rows) => randint(0, 5, [rows])],
    ['cells', [new nn.LSTMCell(3, 200), new nn.GRUCell(200, 3)], (rows) => randn(rows, 3)],
    ['what returns its input', [new nn.Identity(), new nn.GRU(3, 300)], (rows) => randn(rows, 3)],
  ])('have the same bits, many at once, whatever becomes of their arguments: %s', async (_, model, input) => {
    const [here, there] = [new nn.Streams(model), new nn.Streams(model)];
    const groups = Array.from({ length: 8 }, () =>
      Array.from({ length: 12 }, () => [here.open(), there.open()]),
    );
    for (let round = 0; round < 3; round++) {
      await Promise.all(
        groups.map(async (ids) => {
          const own = ids.map(([id]) => id!);
          const others = Float64Array.from(ids, ([, id]) => id!);
          const x = input(ids.length);
          const lengths = ids.map((__, i) => input(1 + (i % 3)));
          const packed = packSequence(lengths, { enforceSorted: false });
          const expected = round === 1 ? here.step(own, packed).data : here.step(own, x);
          const given = round === 1 ? packed : x.clone();
          const promise = there.stepAsync(others, given);
          others.fill(0);
          if (isTensor(given)) given.data.fill((given.dtype === 'int64' ? 0n : 7) as never);
          else
            [given.data, given.batchSizes, given.sortedIndices!].forEach((each) =>
              each.data.fill(each.dtype === 'int64' ? (0n as never) : (0 as never)),
            );
          const result = await promise;
          expect(bytesOf(isTensor(result) ? result : result.data)).toBe(bytesOf(expected));
        }),
      );
    }
    for (const [a, b] of groups.flat()) expect(there.toBuffer(b!)).toEqual(here.toBuffer(a!));
  });
  test('hold their streams until they have ended', async () => {
    const streams = new nn.Streams(stack);
    const [a, b] = [streams.open(), streams.open()];
    const step = streams.stepAsync([a], randn(1, 4));
    for (const call of [
      () => streams.close(a),
      () => streams.reset(a),
      () => streams.toBuffer(a),
      () => streams.step([b, a], randn(2, 4)),
    ])
      expect(call).toThrow(streamError('a step of this stream has not ended') as Error);
    await expect(streams.stepAsync([a], randn(1, 4))).rejects.toThrow(streamError('has not ended') as Error);
    streams.step([b], randn(1, 4));
    streams.close(b);
    await step;
    streams.close(a);
    expect(streams.size).toBe(0);
  });
  test('that fail or are cancelled change nothing', async () => {
    const streams = new nn.Streams(stack);
    const ids = Array.from({ length: 12 }, () => streams.open());
    await streams.stepAsync(ids, randn(12, 4));
    const states = (): unknown => ids.map((id) => streams.toBuffer(id));
    const before = states();
    const nan = randn(12, 4);
    nan.data[7] = NaN;
    await expect(streams.stepAsync(ids, nan)).rejects.toThrow(code('ERR_NOT_FINITE') as Error);
    await expect(streams.stepAsync(ids, randn(11, 4))).rejects.toThrow(code('ERR_SHAPE') as Error);
    await expect(streams.stepAsync(ids, randn(12, 4), { signal: aborted() })).rejects.toThrow('enough');
    const controller = new AbortController();
    const promise = streams.stepAsync(ids, randn(12, 4), { signal: controller.signal });
    controller.abort(new Error('no more'));
    const ended = await promise.then(
      () => 'done',
      (error: Error) => error.message,
    );
    if (ended !== 'done') {
      expect(ended).toBe('no more');
      expect(states()).toEqual(before);
    }
    await streams.stepAsync(ids, randn(12, 4));
  });
  test('end with an error when the streams are disposed of', async () => {
    const streams = new nn.Streams(stack);
    const step = streams.stepAsync([streams.open()], randn(1, 4));
    streams.dispose();
    await expect(step).rejects.toThrow(code('ERR_DISPOSED') as Error);
  });
  test('run hooks', async () => {
    const gru = new nn.GRU(2, 2);
    const streams = new nn.Streams(gru);
    let seen = 0;
    gru.registerForwardHook(() => void seen++);
    await streams.stepAsync([streams.open()], zeros(1, 2));
    expect(seen).toBe(1);
  });
});

describe('a saved state', () => {
  const stack = [new nn.Embedding(5, 3), quantized(new nn.LSTM(3, 4), bestDynamicQConfig), new nn.GRU(4, 2)];
  const streams = new nn.Streams(stack);
  const id = streams.open();
  streams.step([id], randint(0, 5, [1]));
  const bytes = streams.toBuffer(id);

  test('goes on with the same bits, here and elsewhere', () => {
    expect(bytes).toBeInstanceOf(Uint8Array);
    expect(bytes.length).toBe(32 + 4 * (2 * 4 + 2));
    const elsewhere = new nn.Streams(new nn.Sequential(...stack));
    const moved = elsewhere.fromBuffer(Buffer.from(bytes));
    const here = streams.fromBuffer(bytes);
    expect(elsewhere.toBuffer(moved)).toEqual(bytes);
    const token = randint(0, 5, [1]);
    const next = streams.step([here], token);
    expect(bytesOf(elsewhere.step([moved], token))).toBe(bytesOf(next));
    expect(bytesOf(streams.step([id], token))).toBe(bytesOf(next));
    streams.close(here);
  });
  test('in another process', () => {
    const script = `
      const { nn, manualSeed, randn } = require('dynaquant');
      manualSeed(5);
      const streams = new nn.Streams(new nn.LSTM(3, 4));
      const saved = process.env.SAVED_STATE;
      const id = saved === undefined ? streams.open() : streams.fromBuffer(Buffer.from(saved, 'hex'));
      if (saved === undefined) streams.step([id], randn(1, 3));
      console.log(Buffer.from(streams.toBuffer(id)).toString('hex'));`;
    const cwd = join(__dirname, '..');
    const first = runNode(['-e', script], { cwd });
    expect(first.stderr).toBe('');
    const env = { ...process.env, SAVED_STATE: first.stdout.trim() };
    expect(runNode(['-e', script], { cwd, env }).stdout).toBe(first.stdout);
  });
  test('that is damaged is refused, whichever byte it is', () => {
    const size = streams.size;
    for (let i = 0; i < bytes.length; i++) {
      for (const flip of [1, 0x80, 0xff]) {
        const damaged = bytes.slice();
        damaged[i]! ^= flip;
        expect(() => streams.fromBuffer(damaged)).toThrow(
          streamError(/^bytes are no state of such a stream/) as Error,
        );
      }
      expect(() => streams.fromBuffer(bytes.subarray(0, i))).toThrow(code('ERR_STREAM') as Error);
    }
    expect(() => streams.fromBuffer(Buffer.concat([bytes, bytes]))).toThrow(
      streamError('they should be') as Error,
    );
    expect(() => streams.fromBuffer(new Uint8Array(1e6))).toThrow(streamError('do not begin') as Error);
    const newer = bytes.slice();
    newer[4] = 2;
    expect(() => streams.fromBuffer(newer)).toThrow(streamError('version 2') as Error);
    expect(streams.size).toBe(size);
  });
  test('of NaN or infinity is refused, on the way out and in', () => {
    const plain = new nn.Streams(new nn.GRU(1, 1));
    const poisoned = plain.open();
    plain.step([poisoned], full([1, 1], NaN));
    expect(() => plain.toBuffer(poisoned)).toThrow(code('ERR_NOT_FINITE') as Error);
    const made = plain.toBuffer(plain.open());
    const view = new DataView(made.buffer);
    view.setFloat32(24, Infinity, true);
    view.setBigUint64(28, native().hashBytes(made.subarray(0, 28), 0n), true);
    expect(() => plain.fromBuffer(made)).toThrow(streamError('NaN or infinity') as Error);
  });
  test('of another model is refused', () => {
    const generator = new Generator();
    generator.manualSeed(1);
    const other = (make: () => nn.Module | Stack): (() => unknown) => {
      const taker = new nn.Streams(make());
      return () => taker.fromBuffer(bytes);
    };
    const [embedding, lstm, gru] = stack as unknown as [nn.Module, nn.Module, nn.Module];
    for (const make of [
      () => new nn.LSTM(2, 3),
      () => [embedding, lstm, new nn.GRU(4, 2)],
      () => [new nn.Embedding(5, 3), lstm, gru],
      () => [embedding, lstm, gru, new nn.ReLU()],
      () => [embedding, lstm, new nn.Tanh(), gru],
      () => [embedding, quantized(new nn.LSTM(3, 4), bestDynamicQConfig), gru],
    ])
      expect(other(make)).toThrow(streamError('of another model') as Error);
  });
  test.each<[string, (slope: number) => Stack]>([
    [
      'an option that is in no tensor',
      (slope) => [new nn.LeakyReLU({ negativeSlope: slope }), new nn.GRU(1, 1)],
    ],
    ['eps', (eps) => [new nn.LayerNorm(1, { eps }), new nn.GRU(1, 1)]],
  ])('differs by %s', (_, make) => {
    const [a, b] = [make(0.1), make(0.2)];
    (b[1] as nn.GRU).loadStateDict(a[1]!.stateDict());
    const streams = [a, b, a].map((each) => new nn.Streams(each));
    const saved = streams[0]!.toBuffer(streams[0]!.open());
    expect(() => streams[1]!.fromBuffer(saved)).toThrow(code('ERR_STREAM') as Error);
    streams[2]!.fromBuffer(saved);
  });
  test('knows weights that have changed', () => {
    for (const module of [
      new nn.GRU(2, 2),
      quantized(new nn.GRU(2, 2), bestDynamicQConfig),
      quantized(new nn.GRU(2, 2), float16DynamicQConfig),
    ]) {
      const own = new nn.Streams(module);
      const saved = own.toBuffer(own.open());
      const before = module.stateDict();
      const copy = new Map([...before].map(([name, tensor]) => [name, tensor.clone()]));
      module.loadStateDict(quantizedLike(module));
      expect(() => own.fromBuffer(saved)).toThrow(streamError('of another model') as Error);
      module.loadStateDict(copy);
      own.fromBuffer(saved);
    }
  });
  test('is computed from other arrays only after they have changed', () => {
    const own = new nn.Streams(new nn.LSTM(256, 256));
    const stream = own.open();
    const hash = jest.spyOn(native(), 'hashBytes');
    own.toBuffer(stream);
    const first = hash.mock.calls.length;
    own.toBuffer(stream);
    expect(hash.mock.calls.length).toBe(first + 1); // the checksum
    hash.mockRestore();
  });
});

/** The state of another module of the same kind. */
function quantizedLike(module: nn.Module): nn.StateDict {
  const other = new nn.GRU(2, 2);
  const dtype = (module as { dtype?: string }).dtype;
  if (dtype === undefined) return other.stateDict();
  return quantized(other, dtype === 'float16' ? float16DynamicQConfig : bestDynamicQConfig).stateDict();
}

describe('modules', () => {
  const lstm = new nn.LSTM(2, 2);
  class Mine extends nn.Module {
    override forward(x: Tensor): Tensor {
      return x;
    }
  }
  class OtherForward extends nn.LSTM {
    override forward(): never {
      throw new Error('never');
    }
  }
  const refused: [string, () => nn.Module | Stack, RegExp][] = [
    [
      'INT8 per tensor',
      () => quantized(lstm, defaultDynamicQConfig),
      /one range for all rows of a call.*bestDynamicQConfig/,
    ],
    [
      'INT8 per tensor beside it',
      () => [lstm, quantized(new nn.Linear(2, 2), qconfigOf(false, true, true))],
      /^model\[1\] \(Linear\).*one range/,
    ],
    ['bidirectional', () => new nn.GRU(1, 1, { bidirectional: true }), /it is bidirectional/],
    ['dropout in training', () => new nn.LSTM(1, 1, { dropout: 0.5, numLayers: 2 }), /in training.*eval\(\)/],
    ['Dropout in training', () => [lstm, new nn.Dropout()], /in training/],
    ['EmbeddingBag', () => [new nn.EmbeddingBag(2, 2), lstm], /one row for each row/],
    ['ModuleList', () => new nn.ModuleList([lstm]), /one row for each row/],
    ['maxNorm', () => [new nn.Embedding(2, 2, { maxNorm: 1 }), lstm], /maxNorm/],
    ['another dim', () => [lstm, new nn.Softmax(0)], /its dim is 0/],
    ['a norm over rows', () => [lstm, new nn.LayerNorm([2, 2])], /normalizedShape/],
    [
      'a class of the user',
      () => [new Mine(), lstm],
      /^model\[0\] \(Mine\).*row by row is not known.*as an array/,
    ],
    ['another forward', () => new OtherForward(1, 1), /row by row is not known/],
    ['nothing recurrent', () => new nn.Sequential(new nn.Linear(1, 1)), /no recurrent module/],
    ['nothing', () => [], /no recurrent module/],
    [
      'a fused module of which a part was replaced',
      () => {
        const fused = new nn.intrinsic.LinearReLU(new nn.Linear(2, 2), new nn.ReLU());
        fused.replaceChildren((child) =>
          child instanceof nn.Linear ? quantized(child, defaultDynamicQConfig) : child,
        );
        return [fused, lstm];
      },
      /^model\[0\] \(LinearReLU\)\.0.*one range/,
    ],
  ];
  test.each(refused)('%s: refused', (_, make, message) => {
    const error = thrown(() => new nn.Streams(make()));
    expect([error.name, error.code, error.message]).toEqual([
      'RangeError',
      'ERR_INVALID_ARG_VALUE',
      expect.stringMatching(message),
    ]);
  });
  test.each(catalogue.map((entry) => [entry.type, entry] as const))('%s is decided', (_, entry) => {
    const module = example(entry).eval();
    const recurrent = entry.sizes.includes('hiddenSize');
    const container = /^(Sequential|Module(List|Dict))$/.test(entry.type);
    const make = (): nn.Streams => new nn.Streams(recurrent ? module : [module, new nn.LSTM(1, 1)]);
    if (recurrent || entry.rowByRow === true || /^(Sequential|RNNStack)$/.test(entry.type)) {
      try {
        make();
      } catch (error) {
        // Only for its mode, its direction or its dimensions.
        expect((error as Error).message).toMatch(
          /one range|bidirectional|its dim is|normalizedShape|maxNorm/,
        );
      }
    } else {
      const moves =
        /Bag$|[Ff]latten$|^Upsample$|(Pad|Pool|Conv|Transpose)[12]d$|Attention$|^Transformer/.test(
          entry.type,
        );
      expect([entry.type, container || moves]).toEqual([entry.type, true]);
      expect(make).toThrow('cannot serve live streams');
    }
  });
  test('a subclass with the same forward serves', () => {
    class MyLSTM extends nn.LSTM {}
    expect(new nn.Streams(new MyLSTM(1, 1)).open()).toBe(1);
  });
  test.each([undefined, null, 5, 'model', [5], {}])('%p is no model', (wrong) => {
    const error = thrown(() => new nn.Streams(wrong as never));
    expect([error.name, error.code]).toEqual(['TypeError', 'ERR_INVALID_ARG_TYPE']);
    expect(error.message).toMatch(/^model should be a Module, or an array of Modules, got/);
  });
  test('what changes them later is refused then', () => {
    const dropping = new nn.LSTM(1, 1, { dropout: 0.5, numLayers: 2 }).eval();
    const streams = new nn.Streams(dropping);
    const id = streams.open();
    dropping.train();
    expect(() => streams.step([id], zeros(1, 1))).toThrow(/in training/);
    const int8 = quantized(new nn.LSTM(1, 1), bestDynamicQConfig);
    const others = new nn.Streams(int8);
    const other = others.open();
    int8.loadStateDict(quantized(new nn.LSTM(1, 1), defaultDynamicQConfig).stateDict());
    expect(() => others.step([other], zeros(1, 1))).toThrow(/one range/);
  });
  test('new weights count from the next step', () => {
    const gru = new nn.GRU(2, 2);
    const streams = new nn.Streams(gru);
    const id = streams.open();
    gru.loadStateDict(new nn.GRU(2, 2).stateDict());
    const x = randn(1, 2);
    expect(bytesOf(streams.step([id], x))).toBe(
      bytesOf((gru.forward(x.unsqueeze(0))[0] as Tensor).reshape(1, 2)),
    );
  });
});

describe('memory', () => {
  const cwd = join(__dirname, '..');
  test('100,000 streams of an LSTM of 64 fit in 60 MB, and are given back', () => {
    const script = `
      const { nn } = require('dynaquant');
      const streams = new nn.Streams(new nn.LSTM(64, 64));
      const ids = new Float64Array(100000);
      global.gc();
      const rss = () => process.memoryUsage().rss / 1e6;
      const before = rss();
      for (let i = 0; i < ids.length; i++) ids[i] = streams.open();
      const full = rss() - before;
      for (const id of ids.subarray(10)) streams.close(id);
      const few = rss() - before;
      for (let i = 10; i < ids.length; i++) ids[i] = streams.open();
      streams.dispose();
      console.log(JSON.stringify([full, few, rss() - before]));`;
    const { stdout, stderr } = runNode(['--expose-gc', '-e', script], { cwd });
    expect(stderr).toBe('');
    const [all, few, none] = JSON.parse(stdout) as [number, number, number];
    expect(all).toBeGreaterThan(40);
    expect(all).toBeLessThan(60);
    expect(few).toBeLessThan(20);
    expect(none).toBeLessThan(20);
  });
  test('dispose frees all, and what comes after is an error', () => {
    const streams = new nn.Streams(new nn.GRU(1, 1));
    const id = streams.open();
    const saved = streams.toBuffer(id);
    streams.dispose();
    streams.dispose();
    streams[Symbol.dispose]();
    expect(streams.size).toBe(0);
    for (const call of [
      () => streams.open(),
      () => streams.close(id),
      () => streams.reset(id),
      () => streams.step([id], zeros(1, 1)),
      () => streams.toBuffer(id),
      () => streams.fromBuffer(saved),
    ]) {
      const error = thrown(call);
      expect([error.name, error.code]).toEqual(['Error', 'ERR_DISPOSED']);
    }
  });
  test('native code checks its arguments itself', () => {
    const { StreamArena } = native();
    const part = { layers: 1, hidden: 2, cell: 0 };
    for (const wrong of [undefined, [], [{}], [{ ...part, hidden: 2 ** 50 }], [{ ...part, layers: 0 }]])
      expect(() => new StreamArena(wrong as never)).toThrow();
    const arena = new StreamArena([part]);
    const ids = Float64Array.of(arena.open());
    const [slots, states] = [new Int32Array(1), new Float32Array(2)];
    for (const [a, n, b, c] of [
      [ids, 2, slots, states],
      [ids, 1, new Int32Array(0), states],
      [ids, 1, slots, new Float32Array(1)],
      [new Float32Array(1), 1, slots, states],
    ] as const)
      expect(() => arena.begin(a as never, n, b, c)).toThrow();
    for (const slot of [0, -1, 1, 2 ** 30])
      expect(() => arena.end(Int32Array.of(slot), 1, states)).toThrow('slots are not of a step');
    expect(arena.begin(ids, 1, slots, states)).toBe(0);
    expect(() => arena.end(slots, 1, new Float32Array(1))).toThrow('too short');
    arena.end(slots, 1);
    expect(() => arena.read(1, new Float32Array(3))).toThrow();
    arena.dispose();
    expect(() => arena.open()).toThrow('disposed');
  });
});
