import { execFileSync } from 'node:child_process';
import { join } from 'node:path';

import { fromShared, share, Tensor, tensor } from '../src/index.js';
import * as nn from '../src/nn/index.js';
import { bestDynamicQConfig, quantizeDynamic } from '../src/quantization/index.js';
import { randn } from '../src/random.js';
import { catalogue, example, inputOf } from './catalogue.js';

/** What another thread of the process gets. */
const posted = <T>(value: T): T => structuredClone(value);

describe.each(catalogue.map((entry) => [entry.type, entry] as const))('%s', (_, entry) => {
  const module = example(entry).eval();
  const copy = fromShared(posted(share(module)));
  test('is the same module elsewhere', () => {
    expect(copy.constructor).toBe(module.constructor);
    expect(String(copy)).toBe(String(module));
    expect(copy.training).toBe(module.training);
    expect(copy.stateDict().metadata).toEqual(module.stateDict().metadata);
    expect([...copy.stateDict().keys()]).toEqual([...module.stateDict().keys()]);
  });
  const input = inputOf(entry);
  if (input !== undefined) {
    test('gives the same bits', () => expect(copy.forward(input)).toEqual(module.forward(input)));
  }
});

describe('a model of a user', () => {
  class Tied extends nn.Module {
    readonly encoder = new nn.Embedding(10, 4);
    readonly rnn = new nn.LSTM(4, 4, { numLayers: 2 });
    readonly decoder = new nn.Linear(4, 10);
    readonly names = new Map([['a', { list: [1, 2], set: new Set(['x']) }]]);
    constructor() {
      super();
      (this.decoder as { weight: nn.Parameter }).weight = this.encoder.weight;
      this.registerBuffer('mean', randn(4));
    }
    forward(x: Tensor): Tensor {
      return this.decoder.forward(this.rnn.forward(this.encoder.forward(x))[0]);
    }
  }
  const x = tensor([[1, 2, 3]], { dtype: 'int64' });

  test('keeps its class, properties, buffers and ties', () => {
    const model = new Tied();
    const copy = fromShared(posted(share(model)), { classes: [Tied] }) as Tied;
    expect(copy).toBeInstanceOf(Tied);
    expect(copy.decoder.weight).toBe(copy.encoder.weight);
    expect(copy.names).toEqual(model.names);
    expect([...copy.stateDict().keys()]).toEqual([...model.stateDict().keys()]);
    expect(copy.forward(x)).toEqual(model.forward(x));
  });
  test('has its parameters on the same memory', () => {
    const model = new Tied();
    const copy = fromShared(posted(share(model)), { classes: [Tied] }) as Tied;
    model.encoder.weight.fill_(0.5);
    expect(copy.encoder.weight.data).toEqual(model.encoder.weight.data);
    expect(copy.forward(x)).not.toEqual(model.forward(x)); // packed before
    copy.rnn.repack();
    copy.decoder.repack();
    expect(copy.forward(x)).toEqual(model.forward(x));
  });
  test('shares what was quantized', () => {
    const model = quantizeDynamic(new Tied(), new Map([[nn.LSTM, bestDynamicQConfig]]));
    const copy = fromShared(posted(share(model)), { classes: new Set([Tied]) }) as Tied;
    expect(String(copy)).toBe(String(model));
    expect(copy.forward(x)).toEqual(model.forward(x));
  });
  test('whose class is not given is a clear error', () => {
    const shared = posted(share(new Tied()));
    expect(() => fromShared(shared)).toThrow(
      'Tied is no class of dynaquant: give it to fromShared in classes',
    );
    expect(() => fromShared(shared)).toThrow(RangeError);
  });
  test('whose property cannot be copied is a clear error', () => {
    const model = Object.assign(new Tied(), { callback: () => 1 });
    expect(() => share(model)).toThrow('Tied.callback cannot be shared: it is function callback');
  });
});

test('weights live as long as anybody has taken them up', () => {
  const model = quantizeDynamic(new nn.Linear(4, 4));
  const x = randn(2, 4);
  const expected = model.forward(x);
  const shared = posted(share(model));
  const copy = fromShared(shared);
  model.dispose();
  expect(copy.forward(x)).toEqual(expected);
  const again = fromShared(posted(share(copy)));
  copy.dispose();
  expect(again.forward(x)).toEqual(expected);
  again.dispose();
  expect(() => fromShared(shared)).toThrow(/the shared weights are gone/);
  expect(() => fromShared(shared)).toThrow(expect.objectContaining({ code: 'ERR_DISPOSED' }));
  expect(() => share(model)).toThrow(expect.objectContaining({ code: 'ERR_DISPOSED' }));
});

test.each([null, undefined, 1, {}, { format: 'dynaquant shared model 1', parts: [] }])(
  '%j is not what share() returned',
  (wrong) => expect(() => fromShared(wrong as never)).toThrow(/shared should be what share\(\) returned/),
);

test('a description that somebody changed is a clear error, whatever he changed', () => {
  const damage = (value: unknown, path: readonly (string | number)[], by: unknown): void => {
    const holder = path.slice(0, -1).reduce((at, key) => at[key as never], value as object);
    (holder as Record<string | number, unknown>)[path.at(-1)!] = by;
  };
  const pathsOf = (
    value: unknown,
    path: readonly (string | number)[] = [],
  ): (readonly (string | number)[])[] =>
    typeof value !== 'object' || value === null || ArrayBuffer.isView(value)
      ? [path]
      : [path, ...Object.entries(value).flatMap(([key, item]) => pathsOf(item, [...path, key]))];
  const model = new nn.Sequential(quantizeDynamic(new nn.LSTM(2, 2)), new nn.Linear(2, 2));
  const paths = pathsOf(share(model)).filter((path) => path.length > 0);
  expect(paths.length).toBeGreaterThan(100);
  for (const path of paths) {
    for (const by of [undefined, null, -1, 'selectIsa', [], {}]) {
      const shared = posted(share(model));
      damage(shared, path, by);
      try {
        fromShared(shared); // which is right where what was changed does not matter
      } catch (error) {
        expect(error).toMatchObject({ code: expect.stringMatching(/^ERR_/) as unknown });
      }
    }
  }
});

describe('a posted Tensor', () => {
  test.each([
    ['float32', randn(2, 3)],
    ['int64', tensor([1, 2])],
    ['quantized', quantizeDynamic(new nn.Linear(3, 2)).stateDict().get('weight')!],
  ])('of %s is one again', (_, x) => {
    const again = Tensor.from(posted(x));
    expect(again).toBeInstanceOf(Tensor);
    expect({ ...again, version: x.version }).toEqual({ ...x });
  });
  test('that was transferred takes its memory with it', () => {
    const x = randn(2, 3);
    const values = x.toArray();
    expect(Tensor.from(structuredClone(x, { transfer: [x.data.buffer as ArrayBuffer] })).toArray()).toEqual(
      values,
    );
    expect(() => x.toArray()).toThrow(expect.objectContaining({ code: 'ERR_DETACHED' }));
  });
  test.each([null, 1, {}, { data: [1], shape: [1], dtype: 'float32' }])('is not %j', (wrong) =>
    expect(() => Tensor.from(wrong as never)).toThrow(TypeError),
  );
});

test('four threads that share a model use little more memory than one', () => {
  const index = JSON.stringify(join(__dirname, '..', 'dist', 'index.js'));
  // 100 MB of weights: half of them packed INT8, half a table. Each thread runs the model.
  const thread = `
    const d = require(${index});
    const { parentPort, workerData } = require('node:worker_threads');
    const x = d.zeros(1, 1, { dtype: 'int64' });
    if (workerData === null) d.quantization.quantizeDynamic(new d.nn.LSTM(8, 8)).forward(d.zeros(1, 1, 8));
    else {
      const model = d.fromShared(workerData);
      model.get(1).forward(model.get(0).forward(x));
    }
    parentPort.postMessage('done');
    parentPort.ref();`;
  const script = `
    const d = require(${index});
    const { Worker } = require('node:worker_threads');
    const rss = async () => {
      for (let i = 0; i < 5; i++) {
        gc();
        await new Promise((resolve) => setTimeout(resolve, 20));
      }
      return process.memoryUsage.rss() / 2 ** 20;
    };
    // What four threads take, with what they have to do.
    const four = async (workerData) => {
      const before = await rss();
      const workers = await Promise.all(Array.from({ length: 4 }, () => new Promise((resolve, reject) => {
        const worker = new Worker(${JSON.stringify(thread)}, { eval: true, workerData });
        worker.once('message', () => resolve(worker)).once('error', reject);
      })));
      const after = await rss();
      await Promise.all(workers.map((worker) => worker.terminate()));
      return after - before;
    };
    (async () => {
      await four(null);
      const alone = await four(null);
      const model = new d.nn.Sequential(
        d.quantization.quantizeDynamic(new d.nn.Embedding(2 ** 16, 800), undefined, { dtype: 'quint8' }),
        d.quantization.quantizeDynamic(new d.nn.LSTM(800, 2048, { numLayers: 2 })),
      );
      const shared = d.share(model);
      console.log(await four(shared) - alone);
      model.dispose(); // until here it must not be collected
    })();`;
  const output = execFileSync(process.execPath, ['--expose-gc', '-e', script], { encoding: 'utf8' });
  expect(Number(output)).toBeLessThan(30); // seen: 15; with copies of their own: 400
}, 60_000);
