import { createHash } from 'node:crypto';
import { getEventListeners } from 'node:events';
import { join } from 'node:path';

import type { AsyncOptions } from '../src/async-options.js';
import * as nn from '../src/nn/index.js';
import { copyModule } from '../src/nn/copy-module.js';
import { packSequence } from '../src/nn/utils/rnn.js';
import { bestDynamicQConfig, quantizeDynamic } from '../src/quantization/index.js';
import { manualSeed, randint, randn } from '../src/random.js';
import { tensor, Tensor } from '../src/tensor/index.js';
import { getNumThreads, setNumThreads } from '../src/threads.js';
import { computeHere, hasTime } from '../src/turn.js';
import { catalogue, example, inputOf } from './catalogue.js';
import { bytesOf, everyQConfig, runNode } from './support.js';

const root = join(__dirname, '..');
// Many of these tests start processes or wait for other threads, which takes its time on a busy machine.
jest.setTimeout(120_000);

const threads = getNumThreads();
afterEach(() => setNumThreads(threads));

/** The bits of a module's results, states too. */
function bits(value: unknown): string[] {
  if (Array.isArray(value)) return value.flatMap(bits);
  if (value instanceof nn.utils.rnn.PackedSequence) {
    return [value.data, value.batchSizes, value.sortedIndices, value.unsortedIndices].flatMap((each) =>
      each === null ? [] : bits(each),
    );
  }
  const { shape } = value as Tensor;
  return [
    createHash('sha256')
      .update(bytesOf(value as Tensor))
      .digest('hex'),
    String(shape),
  ];
}

/** Uses up the time that calls may take in this turn of the event loop, so that small ones go to other threads too. */
function leaveNoTime(): void {
  computeHere(() => {
    for (const end = performance.now() + 2; performance.now() < end;);
  });
  expect(hasTime()).toBe(false);
}

/** What forwardAsync gives in the calling thread, and on another one. */
async function bothWays(module: nn.Module, args: unknown[]): Promise<string[][]> {
  await new Promise((resolve) => setImmediate(resolve));
  const here = (await module.forwardAsync(...args)) as unknown;
  leaveNoTime();
  const there = (await module.forwardAsync(...args)) as unknown;
  return [bits(here), bits(there)];
}
async function expectSame(module: nn.Module, ...args: unknown[]): Promise<void> {
  const expected = bits(module.forward(...args));
  expect(await bothWays(module, args)).toEqual([expected, expected]);
}

/** What a promise rejects with. */
async function rejection(promise: Promise<unknown>): Promise<Error & { code?: string }> {
  return await promise.then(
    () => {
      throw new Error('it did not reject');
    },
    (error: unknown) => error as Error,
  );
}

/** Calls that keep all threads busy until `release` is called: what is called meanwhile waits. */
function occupyThreads(): { done: Promise<unknown[]> } {
  const layer = new nn.GRU(1, 512);
  setNumThreads(1);
  return { done: Promise.all([layer.forwardAsync(randn(300, 1, 1)), layer.forwardAsync(randn(300, 1, 1))]) };
}

describe('the same bits as forward', () => {
  test.each(catalogue.map((entry) => [entry.type, entry] as const))('%s', async (_, entry) => {
    const module = example(entry);
    const input = inputOf(entry) ?? (entry.type.startsWith('Sequential') ? randn(2, 5) : undefined);
    if (entry.type === 'ModuleList' || entry.type === 'ModuleDict') {
      expect((await rejection(module.forwardAsync(randn(1)))).message).toMatch(
        /missing the required "forward"/,
      );
    } else {
      await expectSame(module, input ?? randn(2, 5));
    }
  });
  const float = {
    lstm: () => new nn.LSTM(6, 20, { numLayers: 2, bidirectional: true, projSize: 3 }),
    gru: () => new nn.GRU(6, 20, { batchFirst: true }),
    rnn: () => new nn.RNN(6, 20, { numLayers: 3 }),
  };
  const input = randn(4, 5, 6);
  const packed = packSequence([randn(2, 6), randn(4, 6), randn(1, 6)], { enforceSorted: false });
  for (const [name, make] of Object.entries(float)) {
    test(name, async () => {
      const layer = make();
      const float16 = quantizeDynamic(layer, undefined, { dtype: 'float16' });
      const int8 = everyQConfig.map((qconfig) =>
        quantizeDynamic(
          layer,
          new Map([[nn.Module, null]]) && new Map([[layer.constructor as never, qconfig]]),
        ),
      );
      for (const module of [layer, float16, ...int8]) {
        await expectSame(module, input);
        await expectSame(module, randn(4, 6));
        await expectSame(module, packed);
        const [, state] = module.forward(input) as [Tensor, unknown];
        await expectSame(module, input, state);
        const [, ofPacked] = module.forward(packed) as [unknown, unknown];
        await expectSame(module, packed, ofPacked);
      }
    });
  }
  test('cells, batched and not, with states', async () => {
    for (const cell of [new nn.LSTMCell(3, 4), new nn.GRUCell(3, 4), new nn.RNNCell(3, 4)]) {
      for (const module of [cell, quantizeDynamic(cell)]) {
        for (const x of [randn(5, 3), randn(3)]) {
          await expectSame(module, x);
          await expectSame(module, x, module.forward(x));
        }
      }
    }
  });
  test('empty batches', async () => {
    await expectSame(new nn.LSTM(2, 3), randn(2, 0, 2));
    await expectSame(new nn.Linear(2, 3), randn(0, 2));
    await expectSame(new nn.Embedding(2, 3), randint(0, 2, [0]));
  });
  test.each([1, 2, 4])('of many calls at once on one module, with %d threads', async (count) => {
    setNumThreads(count);
    const layer = quantizeDynamic(new nn.LSTM(30, 300, { numLayers: 2 }));
    const inputs = Array.from({ length: 24 }, (_, i) => randn(1 + (i % 5), 1 + (i % 3), 30));
    const expected = inputs.map((x) => bits(layer.forward(x)));
    leaveNoTime();
    const results = await Promise.all(inputs.map((x) => layer.forwardAsync(x)));
    expect(results.map(bits)).toEqual(expected);
  });
  test('where a call wants the whole team', async () => {
    const layer = quantizeDynamic(new nn.LSTM(8, 768));
    const inputs = Array.from({ length: 6 }, () => randn(4, 1, 8));
    const results = await Promise.all(inputs.map((x) => layer.forwardAsync(x)));
    expect(results.map(bits)).toEqual(inputs.map((x) => bits(layer.forward(x))));
  });
  test('of dropout in training, from the same seed', async () => {
    const layer = new nn.LSTM(3, 4, { numLayers: 3, dropout: 0.5, batchFirst: true });
    const args = [randn(2, 3, 3), [randn(3, 2, 4), randn(3, 2, 4)]] as const;
    const seeded = <R>(f: () => R): R => {
      manualSeed(5);
      return f();
    };
    const expected = bits(seeded(() => layer.forward(...args)));
    expect(bits(await seeded(() => layer.forwardAsync(...args)))).toEqual(expected);
    leaveNoTime();
    expect(bits(await seeded(() => layer.forwardAsync(...args)))).toEqual(expected);
  });
  test('of tables that take many slices', async () => {
    const indices = randint(0, 50, [30_000]);
    const offsets = tensor([0, 0, 1, 9000, 9001, 29_999, 30_000], { dtype: 'int64' });
    const table = new nn.Embedding(50, 40);
    const limited = new nn.Embedding(50, 40, { maxNorm: 2 });
    expect(bits(await copyModule(limited).forwardAsync(indices))).toEqual(bits(limited.forward(indices)));
    const bag = new nn.EmbeddingBag(50, 40, { mode: 'sum', paddingIdx: 3 });
    for (const module of [table, quantizeDynamic(new nn.Embedding(50, 40))])
      await expectSame(module, indices);
    for (const module of [bag, quantizeDynamic(bag)]) {
      await expectSame(module, indices, offsets);
      await expectSame(module, indices, offsets, randn(30_000));
      await expectSame(module, indices.reshape(10_000, 3));
    }
  });
});

describe('right after the call', () => {
  const layers: [string, () => nn.Module, () => unknown[]][] = [
    ['LSTM', () => new nn.LSTM(4, 200), () => [randn(9, 1, 4), [randn(1, 1, 200), randn(1, 1, 200)]]],
    [
      'packed LSTM',
      () => new nn.LSTM(4, 200),
      () => [packSequence([randn(2, 4), randn(30, 4)], { enforceSorted: false })],
    ],
    ['LSTMCell', () => new nn.LSTMCell(4, 600), () => [randn(8, 4), [randn(8, 600), randn(8, 600)]]],
    ['Linear', () => new nn.Linear(600, 600), () => [randn(60, 600)]],
    ['Embedding', () => new nn.Embedding(9, 30), () => [randint(0, 9, [20_000])]],
    [
      'EmbeddingBag',
      () => new nn.EmbeddingBag(9, 30, { mode: 'sum' }),
      () => [randint(0, 9, [9000, 3]), null, randn(9000, 3)],
    ],
    [
      'Sequential',
      () => new nn.Sequential(new nn.Identity(), new nn.Linear(600, 600), new nn.ReLU()),
      () => [randn(60, 600)],
    ],
    [
      'LSTM in training',
      () => new nn.LSTM(4, 200, { numLayers: 2, dropout: 1 }),
      () => [randn(9, 1, 4), [randn(2, 1, 200), randn(2, 1, 200)]],
    ],
  ];
  const tensorsOf = (value: unknown): Tensor[] => {
    if (value === null) return [];
    if (Array.isArray(value)) return value.flatMap(tensorsOf);
    return value instanceof Tensor ? [value] : Object.values(value as object).flatMap(tensorsOf);
  };
  const changes: [string, (tensor: Tensor) => void][] = [
    ['changed', ({ data }) => void data.fill(typeof data[0] === 'bigint' ? (1n as never) : (NaN as never))],
    ['transferred', ({ data }) => void structuredClone(data, { transfer: [data.buffer as ArrayBuffer] })],
  ];
  for (const [name, make, args] of layers) {
    test.each(changes)(`arguments of ${name} may be %s`, async (_, change) => {
      const module = make();
      const given = args();
      const expected = bits(module.forward(...given));
      leaveNoTime();
      const promise = module.forwardAsync(...given) as Promise<unknown>;
      tensorsOf(given).forEach(change);
      expect(bits(await promise)).toEqual(expected);
    });
  }
  test.each(['replaced', 'disposed'])('weights may be %s', async (what) => {
    const layer = quantizeDynamic(new nn.GRU(4, 300));
    const x = randn(30, 1, 4);
    const expected = bits(layer.forward(x));
    const promises = [layer.forwardAsync(x), layer.forwardAsync(x)];
    if (what === 'disposed') layer.dispose();
    else layer.loadStateDict(quantizeDynamic(new nn.GRU(4, 300)).stateDict());
    expect((await Promise.all(promises)).map(bits)).toEqual([expected, expected]);
  });
  test('a table must stay', async () => {
    const table = new nn.Embedding(9, 30);
    const promise = table.forwardAsync(randint(0, 9, [20_000]));
    const { data } = table.weight;
    structuredClone(data, { transfer: [data.buffer as ArrayBuffer] });
    expect((await rejection(promise)).code).toBe('ERR_DETACHED');
  });
});

describe('an AbortSignal', () => {
  const layer = new nn.GRU(4, 300);
  const x = randn(5, 1, 4);
  test('that is aborted rejects at once, with its reason', async () => {
    const modules = [
      [layer, x],
      [new nn.GRUCell(4, 3), randn(4)],
      [new nn.Linear(4, 3), x],
      [new nn.Sequential(new nn.Linear(4, 3)), x],
      [new nn.ReLU(), x],
      [new nn.Embedding(4, 3), randint(0, 4, [2])],
      [new nn.EmbeddingBag(4, 3), randint(0, 4, [2, 2])],
      ...[new nn.GRU(4, 3), new nn.Linear(4, 3)].map((each) => [quantizeDynamic(each), x] as const),
    ] as const;
    for (const [module, input] of modules) {
      const reason = new Error('too late');
      const options = { signal: AbortSignal.abort(reason) };
      expect(await rejection(module.forwardAsync(input as never, options))).toBe(reason);
    }
  });
  test('cancels what waits, and what computes goes on', async () => {
    const controller = new AbortController();
    const { signal } = controller;
    const busy = occupyThreads();
    const waiting = Array.from({ length: 5 }, () => layer.forwardAsync(x, { signal }));
    const others = [layer.forwardAsync(x, null, {}), layer.forwardAsync(x, {})];
    const kept = layer.forwardAsync(x, null, { signal: new AbortController().signal });
    expect(getEventListeners(signal, 'abort')).toHaveLength(1);
    controller.abort();
    for (const promise of waiting) expect((await rejection(promise)).name).toBe('AbortError');
    expect(getEventListeners(signal, 'abort')).toHaveLength(0);
    await busy.done;
    for (const promise of [kept, ...others]) expect(bits(await promise)).toEqual(bits(layer.forward(x)));
  });
  test('of a call that computes does nothing', async () => {
    const controller = new AbortController();
    const long = layer.forwardAsync(randn(3000, 1, 4), undefined, { signal: controller.signal });
    await new Promise((resolve) => setTimeout(resolve, 20));
    controller.abort();
    expect((await long)[0].shape).toEqual([3000, 1, 300]);
  });
  test('between the children of a Sequential', async () => {
    const controller = new AbortController();
    const model = new nn.Sequential(new nn.Linear(4, 4), new nn.Linear(4, 4));
    model.get(0).registerForwardHook(() => controller.abort('enough'));
    await expect(model.forwardAsync(x, { signal: controller.signal })).rejects.toBe('enough');
  });
  test('keeps no listener, in any number of calls', async () => {
    const { signal } = new AbortController();
    const warnings: unknown[] = [];
    process.on('warning', (warning) => warnings.push(warning));
    for (let i = 0; i < 20; i++) {
      leaveNoTime();
      await Promise.all(
        Array.from({ length: 50 }, () => new nn.Linear(2, 2).forwardAsync(randn(2, 2), { signal })),
      );
      expect(getEventListeners(signal, 'abort')).toHaveLength(0);
    }
    expect(warnings).toEqual([]);
  });
  test.each([1, 'abort', {}, null, { aborted: false }])('must be one: %p', async (signal) => {
    const error = await rejection(layer.forwardAsync(x, { signal } as AsyncOptions));
    expect([error.name, error.code]).toEqual(['TypeError', 'ERR_INVALID_ARG_TYPE']);
    expect(error.message).toMatch(/^signal should be an AbortSignal, got /);
  });
  test.each([
    ['Linear', new nn.Linear(2, 2)],
    ['Sequential', new nn.Sequential(new nn.Linear(2, 2))],
    ['Conv1d', new nn.Conv1d(1, 1, 1)],
    ['quantized Linear', quantizeDynamic(new nn.Linear(2, 2))],
  ])('must be spelt so, in a call of %s', async (_, module) => {
    const error = await rejection(module.forwardAsync(randn(1, 2), { signl: 1 } as AsyncOptions));
    expect([error.name, error.code]).toEqual(['TypeError', 'ERR_UNKNOWN_OPTION']);
  });
  test('may be absent', async () => {
    const options: AsyncOptions = { signal: undefined as never };
    expect(bits(await layer.forwardAsync(x, options))).toEqual(bits(layer.forward(x)));
  });
});

describe('errors', () => {
  test('name a class that has no forward', async () => {
    const module = new (nn.Module as unknown as new () => nn.Module)();
    await expect(module.forwardAsync()).rejects.toMatchObject({
      message: 'Module [Module] is missing the required "forward" function',
      code: 'ERR_INVALID_ARG_TYPE',
    });
  });
  const layer = quantizeDynamic(new nn.LSTM(3, 400));
  const notFinite = (): Tensor => tensor([[[1, NaN, 2]]]);
  test('of arguments reject, with forward’s sentence', async () => {
    const calls: [nn.Module, unknown[]][] = [
      [layer, [randn(1, 1, 4)]],
      [layer, [undefined]],
      [layer, []],
      [layer, [randn(1, 1, 3), [randn(1), randn(2)]]],
      [new nn.LSTM(3, 4), ['x']],
      [new nn.LSTMCell(3, 4), [randn(2, 4)]],
      [quantizeDynamic(new nn.LSTMCell(3, 4)), [randn(2, 4)]],
      [new nn.Linear(3, 4), [randn(4)]],
      [quantizeDynamic(new nn.Linear(3, 4)), [randn(3)]],
      [new nn.intrinsic.LinearReLU(new nn.Linear(3, 4), new nn.ReLU()), [1]],
      [new nn.Embedding(3, 4), [tensor([3], { dtype: 'int64' })]],
      [new nn.EmbeddingBag(3, 4), [tensor([3], { dtype: 'int64' })]],
      [new nn.Sequential(new nn.ReLU()), [1]],
      [new nn.Tanh(), [null]],
    ];
    for (const [module, args] of calls) {
      const promise = module.forwardAsync(...args) as Promise<unknown>;
      const error = await rejection(promise);
      let expected!: Error & { code?: string };
      try {
        module.forward(...args);
      } catch (thrown) {
        expected = thrown as Error;
      }
      expect([error.name, error.message, error.code]).toEqual([
        expected.name,
        expected.message,
        expected.code,
      ]);
    }
  });
  test('that another thread finds have the caller’s stack', async () => {
    async function theCaller(module: nn.Module, x: Tensor): Promise<unknown> {
      leaveNoTime();
      return (await module.forwardAsync(x)) as unknown;
    }
    const relu = quantizeDynamic(new nn.Linear(3, 3));
    const stack = new nn.Sequential(new nn.Linear(3, 3), new nn.ReLU(), relu);
    for (const module of [layer, relu, quantizeDynamic(new nn.GRUCell(3, 3)), stack]) {
      const input = module === layer ? notFinite() : notFinite().reshape(1, 3);
      const error = await rejection(theCaller(module, input));
      expect([error.name, error.code]).toEqual(['RangeError', 'ERR_NOT_FINITE']);
      expect(error.message).toMatch(/should be finite for an INT8 layer/);
      expect(error.stack).toMatch(
        /^RangeError: input should be finite[^]*theCaller \(.*forward-async\.test\.ts/,
      );
    }
  });
  test('name the state that is not finite', async () => {
    const [h, c] = [randn(1, 1, 400), randn(1, 1, 400)];
    h.data[3] = Infinity;
    leaveNoTime();
    expect((await rejection(layer.forwardAsync(randn(1, 1, 3), [h, c]))).message).toMatch(
      /^hidden\[0\] should/,
    );
    leaveNoTime();
    expect((await rejection(layer.forwardAsync(randn(1, 1, 3), [c, h]))).message).toMatch(
      /^hidden\[1\] should/,
    );
  });
  test('after dispose reject too', async () => {
    const module = new nn.Linear(2, 2);
    module.dispose();
    expect((await rejection(module.forwardAsync(randn(2)))).code).toBe('ERR_DISPOSED');
    expect((await rejection(new nn.Sequential(module).forwardAsync(randn(2)))).code).toBe('ERR_DISPOSED');
  });
});

describe('modules of modules', () => {
  class Tagger extends nn.Module {
    readonly embedding = new nn.Embedding(10, 8);
    readonly lstm = new nn.LSTM(8, 300);
    readonly linear = new nn.Linear(300, 5);
    override forward(tokens: Tensor): Tensor {
      return this.linear.forward(this.lstm.forward(this.embedding.forward(tokens))[0]);
    }
    override async forwardAsync(tokens: Tensor, options: AsyncOptions = {}): Promise<Tensor> {
      const embedded = await this.embedding.forwardAsync(tokens, options);
      const [output] = await this.lstm.forwardAsync(embedded, options);
      return this.linear.forwardAsync(output, options);
    }
  }
  const tokens = randint(0, 10, [7, 2]);
  test('by users compose those of their children, quantized too', async () => {
    const model = new Tagger();
    await expectSame(model, tokens);
    await expectSame(quantizeDynamic(model), tokens);
    await expectSame(quantizeDynamic(model, new Map([[nn.LSTM, bestDynamicQConfig]])), tokens);
    await expectSame(new nn.Sequential(model, new nn.Softmax(-1)), tokens);
    expect(await rejection(model.forwardAsync(tokens, { signal: AbortSignal.abort(1) }))).toBe(1);
  });
  test('by users compute in the calling thread otherwise', async () => {
    class Twice extends nn.Module {
      override forward(x: Tensor): Tensor {
        return x.mul(2);
      }
    }
    await expectSame(new Twice(), randn(3));
    await expectSame(new nn.Sequential(new Twice(), new nn.Linear(3, 3)), randn(2, 3));
  });
  test('that replace forward alone are not bypassed', async () => {
    class Scaled extends nn.LSTM {
      override forward(...args: Parameters<nn.LSTM['forward']>): never {
        return super.forward(args[0], args[1]).slice(0, 1) as never;
      }
    }
    await expectSame(new Scaled(3, 4), randn(2, 1, 3));
    for (const module of [new nn.Linear(3, 3), new nn.GRU(3, 3), quantizeDynamic(new nn.Linear(3, 3))]) {
      module.forward = ((x: Tensor) => x.mul(3)) as never;
      await expectSame(module, randn(2, 3));
    }
  });
  test('hooks run around it as around forward', async () => {
    const inner = new nn.Linear(3, 3);
    const modules = [
      new nn.Linear(3, 3),
      new nn.ReLU(),
      new nn.Sequential(new nn.Identity(), inner, new nn.ReLU()),
      new nn.intrinsic.LinearReLU(new nn.Linear(3, 3), new nn.ReLU()),
    ];
    for (const module of modules) {
      const seen: string[] = [];
      for (const each of module.modules()) {
        each.registerForwardPreHook((_, [x]) => (seen.push('before'), (x as Tensor).mul(2)));
        each.registerForwardHook((_, [x], y) => (seen.push('after'), (y as Tensor).add(x as Tensor)));
      }
      const x = randn(2, 3);
      await expectSame(module, x);
      const once = seen.splice(0).length / 3;
      module.forward(x);
      expect(seen.splice(0)).toHaveLength(once);
      // A pre-hook sees the argument in the call itself.
      const promise = module.forwardAsync(x, { signal: new AbortController().signal }) as Promise<unknown>;
      expect(seen[0]).toBe('before');
      await promise;
      expect(seen).toHaveLength(once);
    }
  });
  test('hooks may be removed', async () => {
    const module = new nn.Linear(2, 2);
    const handle = module.registerForwardHook(() => 1);
    expect(await module.forwardAsync(randn(2))).toBe(1);
    handle.remove();
    expect(Reflect.ownKeys(module)).not.toContain('forwardAsync');
    await expectSame(module, randn(2));
  });
});

/** A call of tens of seconds on every machine, started and not awaited. */
const longCall = `
  const { nn, randn, zeros } = require('dynaquant');
  const layer = new nn.GRU(1, 1500);
  const long = () => layer.forwardAsync(zeros(30000, 1, 1));`;

/** What a script does in a process of its own. */
function run(script: string, timeout = 100_000): { status: number | null; output: string; ms: number } {
  const start = performance.now();
  const { status, stdout, stderr } = runNode(['-e', script], { cwd: root, timeout });
  return { status, output: stdout + stderr, ms: performance.now() - start };
}

describe('the event loop', () => {
  test('goes on while small calls follow each other', () => {
    for (const module of [
      'new nn.LSTM(3, 4)',
      'new nn.Linear(3, 3)',
      'new nn.ReLU()',
      'new nn.LSTMCell(3, 4)',
    ]) {
      const { status, output } = run(`
        const { nn, randn } = require('dynaquant');
        const module = ${module}, x = randn(2, 3);
        let fired = 0;
        setImmediate(() => fired++);
        setTimeout(() => fired++, 1);
        (async () => {
          while (fired < 2) await module.forwardAsync(x);
          console.log('fired');
        })();`);
      expect([status, output]).toEqual([0, 'fired\n']);
    }
  });
  test('goes on while a long call computes', () => {
    const { status, output } = run(`${longCall}
      long().then(() => console.log('too early'));
      let turns = 0;
      const timer = setInterval(() => { if (++turns === 20) process.exit(7); }, 1);`);
    expect([status, output]).toEqual([7, '']);
  });
  test('keeps the process alive for a call, and no longer', () => {
    const { status, output } = run(`
      const { nn, randn } = require('dynaquant');
      const layer = new nn.GRU(8, 600);
      const call = () => layer.forwardAsync(randn(20, 1, 8)).then(([y]) => console.log(y.shape.join()));
      call().then(() => setTimeout(() => call().then(call), 50));`);
    expect([status, output]).toEqual([0, '20,1,600\n20,1,600\n20,1,600\n']);
  });
  test('sleeps while there is nothing to do', () => {
    const { output } = run(`
      const { nn, randn } = require('dynaquant');
      new nn.GRU(8, 600).forwardAsync(randn(20, 1, 8)).then(() => setTimeout(() => {
        const before = process.cpuUsage();
        setTimeout(() => {
          const { user, system } = process.cpuUsage(before);
          console.log(user + system);
        }, 300);
      }, 200));`);
    expect(Number(output)).toBeLessThan(30_000); // µs; a thread that spins would use 300,000
  });
});

describe('the end of', () => {
  test.each([
    ['process.exit()', 'process.exit(0)'],
    ['process.exit() later', 'setTimeout(() => process.exit(0), 50)'],
    [
      'process.exit() with calls that wait',
      'for (let i = 0; i < 9; i++) long(); setTimeout(() => process.exit(0), 50)',
    ],
    [
      'a long product',
      `new nn.Linear(2000, 2000).forwardAsync(zeros(20000, 2000)); setTimeout(() => process.exit(0), 50)`,
    ],
  ])('a process by %s while a call of seconds runs', (_, end) => {
    const { status, output, ms } = run(`${longCall} long(); ${end}`);
    expect([status, output]).toEqual([0, '']);
    expect(ms).toBeLessThan(30_000); // the calls take minutes
  });
  test.each(['long()', 'new nn.Linear(2000, 2000).forwardAsync(zeros(20000, 2000))'])(
    'a worker by terminate() while %s runs',
    (call) => {
      const { status, output } = run(`
        const { Worker } = require('node:worker_threads');
        const script = ${JSON.stringify(longCall + call)} + ";require('node:worker_threads').parentPort.postMessage(0)";
        const worker = new Worker(script, { eval: true });
        worker.on('message', () => setTimeout(async () => {
          const start = Date.now();
          console.log(await worker.terminate(), Date.now() - start < 20000);
        }, 50));`);
      expect([status, output]).toEqual([0, '1 true\n']);
    },
  );
  test('a worker by process.exit(), of the process while workers compute, and of a worker by itself', () => {
    const { status, output } = run(`
      const { Worker } = require('node:worker_threads');
      const start = (end) => new Worker(${JSON.stringify(longCall)} + 'long();' + end, { eval: true });
      start('process.exit(3)').on('exit', (code) => {
        console.log(code);
        start('').on('online', () => setTimeout(() => process.exit(4), 300));
      });`);
    expect([status, output]).toEqual([4, '3\n']);
  });
  test('200 workers, 20 at once, terminated with calls in flight', () => {
    const { status, output } = run(
      `const { Worker } = require('node:worker_threads');
       const script = \`
         const { parentPort } = require('node:worker_threads');
         const { nn, randn, zeros } = require('dynaquant');
         const long = new nn.GRU(1, 200), short = new nn.Linear(300, 300), x = randn(60, 300);
         long.forwardAsync(zeros(20000, 1, 1));
         (async () => { for (;;) await Promise.all([short.forwardAsync(x), short.forwardAsync(x)]); })();
         parentPort.postMessage(0);\`;
       let left = 200;
       const next = async () => {
         while (left-- > 0) {
           const worker = new Worker(script, { eval: true });
           await new Promise((resolve) => worker.once('message', resolve));
           await new Promise((resolve) => setTimeout(resolve, 1 + (Math.abs(left) % 7)));
           await worker.terminate();
         }
       };
       Promise.all(Array.from({ length: 20 }, next)).then(() => console.log('done'));`,
      400_000,
    );
    expect([status, output]).toEqual([0, 'done\n']);
  }, 400_000);
});
