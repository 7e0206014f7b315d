// Values that no honest caller has: each call ends with an error of this package, at once, and changes nothing.
import { rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { runInNewContext } from 'node:vm';

import * as dynaquant from 'dynaquant';

import { construct } from '../src/nn/catalogue.js';
import { catalogue, exampleSizes } from './catalogue.js';

const { arange, cat, full, Generator, nn, ones, quantization, tensor, Tensor, zeros } = dynaquant;

/** A check for `toThrow`. */
function coded(name: string, code: string, message = /./): Error {
  return expect.objectContaining({
    name,
    code,
    message: expect.stringMatching(message) as string,
  }) as Error;
}

/** Far more than a call takes, and far less than one that counts to 2^36. */
const mostMilliseconds = 30_000;

function expectQuick(call: () => unknown): void {
  const began = performance.now();
  call();
  expect(performance.now() - began).toBeLessThan(mostMilliseconds);
}

describe('numbers that enter a tensor', () => {
  const overflow = (dtype: string): Error =>
    coded(
      'RangeError',
      'ERR_INVALID_ARG_VALUE',
      new RegExp(`cannot be converted to type ${dtype} without overflow`),
    );
  const fills: [string, (dtype: dynaquant.DType, value: number) => dynaquant.Tensor][] = [
    ['full', (dtype, value) => full([2], value, { dtype })],
    ['fill_', (dtype, value) => zeros([2], { dtype }).fill_(value)],
    ['constant_', (dtype, value) => nn.init.constant_(zeros([2], { dtype }), value)],
    ['tensor', (dtype, value) => tensor([value, value], { dtype })],
    [
      'padSequence',
      (dtype, paddingValue) =>
        nn.utils.rnn
          .padSequence([zeros([2], { dtype }), zeros([0], { dtype })], { paddingValue })
          .select(1, 1),
    ],
  ];
  // What torch 2.15 says: a number, or undefined where it refuses.
  const expected: [dynaquant.DType, value: number, element: number | undefined][] = [
    ['uint8', 300, undefined],
    ['uint8', -1, 255],
    ['uint8', -255, 1],
    ['uint8', -256, undefined],
    ['uint8', 255.9, 255],
    ['uint8', -1.5, undefined],
    ['int8', 128, undefined],
    ['int8', -128, -128],
    ['int8', -129, undefined],
    ['int8', -1.5, -1],
    ['int16', 2 ** 15, undefined],
    ['int32', 2 ** 31, undefined],
    ['int32', -(2 ** 31), -(2 ** 31)],
    ['int64', 2 ** 63, undefined],
    ['int64', -(2 ** 63), -(2 ** 63)],
    ['bool', 300, 1],
    ['bool', NaN, 1],
    ['bool', 0, 0],
    ['float64', 1e300, 1e300],
    ['float32', Infinity, Infinity],
    ...(['uint8', 'int8', 'int16', 'int32', 'int64'] as const).flatMap((dtype) =>
      [NaN, Infinity, -Infinity, 1e300].map((value): [dynaquant.DType, number, undefined] => [
        dtype,
        value,
        undefined,
      ]),
    ),
  ];
  describe.each(fills)('%s', (_, make) => {
    test.each(expected)('%s of %p is %p', (dtype, value, element) => {
      if (element === undefined) expect(() => make(dtype, value)).toThrow(overflow(dtype));
      else expect(make(dtype, value).toArray()).toEqual([element, element]);
    });
  });
  test('a fill beyond float32 is refused, an element becomes infinite', () => {
    expect(() => full([1], 1e300)).toThrow(overflow('float32'));
    expect(tensor([1e300]).item()).toBe(Infinity);
  });
  test('bigints', () => {
    for (const value of [2n ** 63n, -(2n ** 63n) - 1n, 1n << 100_000n])
      expect(() => tensor([value])).toThrow(overflow('int64'));
    expect(tensor([2n ** 63n - 1n]).data[0]).toBe(2n ** 63n - 1n);
    expect(() => tensor([300n], { dtype: 'uint8' })).toThrow(overflow('uint8'));
  });
  test('a failed fill changes nothing', () => {
    const t = ones([2], { dtype: 'int32' });
    expect(() => t.fill_(NaN)).toThrow(RangeError);
    expect(t.toArray()).toEqual([1, 1]);
  });
  test('scalars of integer tensors', () => {
    const t = ones([1], { dtype: 'int32' });
    for (const value of [1e300, 2 ** 60]) expect(() => t.add(value)).toThrow(/should be an integer/);
    for (const value of [Infinity, NaN, 0.5])
      expect(t.add(value)).toMatchObject({ dtype: 'float32', data: Float32Array.of(1 + value) });
    expect(t.add(2 ** 40).item()).toBe(1); // wraps around, as in PyTorch
    expect(tensor([NaN, 1e30, -1e30]).to('int64').toArray()).toEqual(Array(3).fill(-(2 ** 63)));
  });
  test('truth values stay 0 or 1', () => {
    const both = tensor([true, true]);
    const one = tensor([true, false]);
    expect(both.add(one).toArray()).toEqual([1, 1]);
    expect(both.mul(one).toArray()).toEqual([1, 0]);
    expect(both.add(1)).toMatchObject({ dtype: 'int64', data: BigInt64Array.of(2n, 2n) });
    expect(() => both.sub(one)).toThrow(coded('TypeError', 'ERR_DTYPE'));
    expect(() => both.neg()).toThrow(coded('TypeError', 'ERR_DTYPE'));
    expect(() => arange(3, { dtype: 'bool' })).toThrow(coded('RangeError', 'ERR_UNSUPPORTED'));
  });
  test('random bounds', () => {
    const invalid = coded('RangeError', 'ERR_INVALID_ARG_VALUE');
    for (const [a, b] of [
      [NaN, 1],
      [0, Infinity],
      [-3e38, 3e38],
      [0, 1e300],
      [2, 1],
    ] as const)
      expect(() => nn.init.uniform_(zeros(1), a, b)).toThrow(invalid);
    expect(() => dynaquant.randint(2 ** 31 + 1, [1], { dtype: 'int32' })).toThrow(invalid);
  });
});

describe('nested arrays', () => {
  const cyclic: unknown[] = [];
  cyclic.push(cyclic);
  const doubled = (depth: number): unknown => {
    let value: unknown = 1;
    for (let i = 0; i < depth; i++) value = [value, value];
    return value;
  };
  const empty: unknown[] = [];
  const manyEmpty = Array<unknown>(2 ** 20).fill(Array<unknown>(2 ** 20).fill(empty));
  const growing: unknown[] = [];
  Object.defineProperty(growing, 0, {
    get() {
      growing.push(1);
      return 1;
    },
    enumerable: true,
  });
  const endless = [1];
  endless[Symbol.iterator] = function* () {
    for (;;) yield 1;
  };
  const deepProxy: unknown = new Proxy([], { get: (_, key) => (key === 'length' ? 1 : deepProxy) });
  const lying = (length: unknown): unknown =>
    new Proxy([1], { get: (target, key) => (key === 'length' ? length : Reflect.get(target, key)) });

  test.each<[string, unknown, RegExp]>([
    ['cyclic', cyclic, /at most 64 deep/],
    ['a cycle of two', [[cyclic]], /at most 64 deep/],
    ['one array many times', doubled(40), /at most 134217728 elements/],
    ['empty arrays many times', manyEmpty, /at most 134217728 elements/],
    ['deep proxies', deepProxy, /at most 64 deep/],
    ['a huge length', new Array(2 ** 32 - 1), /at most 134217728 elements/],
    ['holes', new Array(2 ** 20), /numbers, bigints or booleans, got undefined/],
    ['a length of NaN', lying(NaN), /sizes, got NaN/],
    ['a length of text', lying('1'), /sizes, got '1'/],
    ['a length of 2^40', lying(2 ** 40), /at most 134217728 elements/],
  ])('%s', (_, values, message) => {
    expectQuick(() => expect(() => tensor(values as never)).toThrow(message));
  });
  test('what grows or has no end while it is read', () => {
    expect(() => tensor(growing as never)).toThrow(coded('RangeError', 'ERR_SHAPE'));
    expect(tensor(endless).toArray()).toEqual([1]);
  });
});

describe('iterables without an end', () => {
  const endless = (value: unknown): never =>
    ({
      *[Symbol.iterator]() {
        for (;;) yield value;
      },
    }) as never;
  const tooMany = coded('RangeError', 'ERR_TOO_LARGE', /at most 1048576/);
  test.each<[string, () => unknown]>([
    ['StateDict', () => new nn.StateDict(endless(['a', zeros(1)]))],
    ['loadStateDict', () => new nn.Linear(1, 1).loadStateDict(endless(['a', zeros(1)]))],
    ['modelFromStateDict', () => dynaquant.modelFromStateDict(endless(['a', zeros(1)]))],
    ['padSequence', () => nn.utils.rnn.padSequence(endless(zeros(1)))],
    ['ModuleList', () => new nn.ModuleList(endless(new nn.ReLU()))],
    ['load', () => dynaquant.loadSync('/nowhere', { bidirectional: endless('a') })],
  ])('%s', (_, call) => {
    expectQuick(() => expect(call).toThrow(tooMany));
  });
  test('saveSync, which wants a new name each time', () => {
    const call = (): void => dynaquant.saveSync(endless(['a', zeros(1)]), '/nowhere/at/all');
    expectQuick(() => expect(call).toThrow(coded('RangeError', 'ERR_INVALID_ARG_VALUE', /stands twice/)));
  });
});

describe('typed arrays that lie', () => {
  class Longer extends Float32Array {
    override get length(): number {
      return 6;
    }
  }
  const longer = (): Float32Array => Object.defineProperty(new Float32Array(2), 'length', { value: 6 });

  test.each<[string, () => Float32Array]>([
    ['its own length', longer],
    ['the length of its class', () => new Longer(2)],
  ])('%s', (_, make) => {
    expect(() => new Tensor(make(), [6])).toThrow(
      coded('RangeError', 'ERR_SHAPE', /needs 6 elements, but data has 2/),
    );
    expect(new Tensor(make(), [2]).numel).toBe(2);
  });
  test('a length that lies later', () => {
    for (const module of [new nn.Linear(6, 1), new nn.quantized.dynamic.Linear(6, 1)]) {
      const x = new Tensor(new Float32Array(6), [1, 6]);
      structuredClone(x.data, { transfer: [x.data.buffer as ArrayBuffer] });
      Object.defineProperty(x.data, 'length', { value: 6 });
      expect(() => module.forward(x)).toThrow(coded('RangeError', 'ERR_DETACHED'));
    }
  });
  test('a name that lies', () => {
    const data = Object.defineProperty(new Float32Array(2), Symbol.toStringTag, { value: 'BigInt64Array' });
    expect(new Tensor(data, [2])).toMatchObject({ dtype: 'float32' });
    expect(new Tensor(data, [2]).fill_(1).sum().item()).toBe(2);
  });
  test('methods of a class', () => {
    class Sharing extends Float32Array {
      override slice(): Float32Array<ArrayBuffer> {
        return this as never;
      }
      override set(): void {
        throw new Error('never called');
      }
    }
    const data = new Sharing(2);
    const t = new Tensor(data, [2]);
    t.clone().fill_(1);
    expect(t.toArray()).toEqual([0, 0]);
    t.copy_(ones(2));
    expect(Array.from(data)).toEqual([1, 1]); // kept, not copied
  });
  test("Node's Buffer, whose slice is no copy", () => {
    const t = new Tensor(Buffer.from([1, 2]), [2]);
    t.clone().fill_(9);
    expect(t.toArray()).toEqual([1, 2]);
  });
  test('arrays of another realm', () => {
    const data = runInNewContext('new Float32Array([1, 2])') as Float32Array;
    const t = new Tensor(data, runInNewContext('[2]') as number[]);
    expect(t.add(t).toArray()).toEqual([2, 4]);
    data[0] = 5;
    expect(t.toArray()).toEqual([5, 2]);
  });
  test('memory that grows', () => {
    const Growable = ArrayBuffer as unknown as new (
      bytes: number,
      options: object,
    ) => ArrayBuffer & {
      resize(bytes: number): void;
    };
    const buffer = new Growable(8, { maxByteLength: 64 });
    if (!('resize' in buffer)) return;
    const t = new Tensor(new Float32Array(buffer), [2]);
    buffer.resize(16);
    expect(() => t.sum()).toThrow(coded('RangeError', 'ERR_DETACHED'));
    buffer.resize(8);
    expect(t.sum().item()).toBe(0);
  });
  test('saved bytes are the elements', () => {
    const t = new Tensor(new Float32Array([1, 2]), [2]);
    Object.defineProperty(t.data, 'byteLength', { value: 800 });
    Object.defineProperty(t.data, 'buffer', { value: new ArrayBuffer(800) });
    const q = new Tensor(new Int8Array(2), [2], {
      dtype: 'qint8',
      qscheme: 'per_tensor_affine',
      scales: new Float64Array([0.5]),
      zeroPoints: new Int32Array(1),
    });
    const path = join(tmpdir(), `dynaquant-hostile-${process.pid}`);
    dynaquant.saveSync(
      [
        ['t', t],
        ['q', q],
      ],
      path,
    );
    expect(dynaquant.loadSync(path).get('t')!.toArray()).toEqual([1, 2]);
    rmSync(path);
  });
});

describe('shapes', () => {
  test('are read once', () => {
    let reads = 0;
    const shifting = new Proxy([2], {
      get: (target, key) => (key === '0' ? 2 ** reads++ * 2 : Reflect.get(target, key)),
    });
    const t = new Tensor(new Float32Array(2), shifting);
    expect([t.shape, t.numel, reads]).toEqual([[2], 2, 1]);
  });
  test('of infinitely many times zero elements', () => {
    const shape = [...Array<number>(63).fill(2 ** 50), 0];
    expect(zeros(shape).numel).toBe(0);
  });
});

describe('generator states', () => {
  const changed = (change: (words: Uint32Array, normal: Float64Array) => void): Uint8Array => {
    const state = new Generator().manualSeed(1).getState();
    change(new Uint32Array(state.buffer), new Float64Array(state.buffer));
    return state;
  };
  test.each<[string, Uint8Array]>([
    ['all ones', new Uint8Array(2512).fill(255)],
    ['zeros', new Uint8Array(2512)],
    ['an index beyond its words', changed((words) => (words[624] = 625))],
    ['a flag that is no flag', changed((words) => (words[625] = 2))],
    ['NaN', changed((_, normal) => (normal[313] = NaN))],
    ['infinity', changed((_, normal) => (normal[313] = Infinity))],
    ['a normal that never comes', changed((_, normal) => (normal[313] = 1e30))],
    ['words that all are zero', changed((words) => words.fill(0, 0, 624))],
  ])('%s', (_, state) => {
    const generator = new Generator().manualSeed(7);
    const before = generator.getState();
    expect(() => generator.setState(state)).toThrow(coded('RangeError', 'ERR_INVALID_ARG_VALUE', /state/));
    expect(generator.getState()).toEqual(before);
  });
  test('every reached state is taken', () => {
    const generator = new Generator().manualSeed(3);
    for (let i = 0; i < 2000; i++) {
      generator.setState(generator.getState());
      dynaquant.randn(1 + (i % 3), { generator });
    }
  });
});

describe('tensors without elements', () => {
  const huge = 2 ** 36;
  const shapes = [
    [huge, 0],
    [0, huge],
    [huge, 0, 4],
    [0, huge, 4],
    [huge, huge, 0],
    [2 ** 24, 0],
    [2 ** 24, 2 ** 24, 0, 4],
  ];
  const of = (shape: number[]): dynaquant.Tensor => zeros(shape);
  const { rnn } = nn.utils;
  const dims = (t: dynaquant.Tensor, call: (dim: number) => unknown): void =>
    t.shape.forEach((_, dim) => call(dim));
  const operations: [string, (t: dynaquant.Tensor) => unknown][] = [
    ['toString', (t) => t.toString()],
    ['toArray', (t) => t.toArray()],
    ['clone', (t) => t.clone().copy_(t).fill_(1).zero_()],
    [
      'arithmetic',
      (t) => [
        t.add(t),
        t.mul(2),
        t.sub(t),
        t.div(t),
        t.eq(t),
        t.abs(),
        t.neg(),
        t.add(zeros(t.shape.map((n) => Math.min(n, 1)))),
      ],
    ],
    ['sums', (t) => [t.sum(), t.mean()]],
    ['min', (t) => t.min()],
    ['max', (t) => t.max()],
    ['argmax', (t) => dims(t, (dim) => t.argmax(dim))],
    ['softmax', (t) => dims(t, (dim) => [t.softmax(dim), t.logSoftmax(dim)])],
    ['transpose', (t) => dims(t, (dim) => t.transpose(0, dim))],
    ['slice', (t) => dims(t, (dim) => [t.slice(dim), t.slice(dim, 1), t.slice(dim, -5, -1)])],
    ['select', (t) => dims(t, (dim) => t.shape[dim]! > 0 && t.select(dim, -1))],
    ['cat', (t) => dims(t, (dim) => [cat([t, t], dim), dynaquant.stack([t, t], dim)])],
    ['reshape', (t) => [t.flatten(), t.unsqueeze(0), t.squeeze(), t.view(0, 7)]],
    ['compare', (t) => [t.equal(t), t.allclose(t)]],
    ['to', (t) => [t.to('int64'), t.to('bool')]],
    ['random', (t) => [dynaquant.randn(t.shape), dynaquant.randint(5, t.shape)]],
    ['init', (t) => nn.init.uniform_(t)],
    ['xavier', (t) => nn.init.xavierUniform_(t)],
    ['kaiming', (t) => nn.init.kaimingNormal_(t)],
    ['save', (t) => saved(t)],
    ['padSequence', (t) => rnn.padSequence([t, t])],
    ['packSequence', (t) => rnn.packSequence([t])],
    ['packPaddedSequence', (t) => rnn.packPaddedSequence(t, [])],
    ['unpadSequence', (t) => rnn.unpadSequence(t, [])],
    ['unpadSequence, batch first', (t) => rnn.unpadSequence(t, [], { batchFirst: true })],
    ['loadStateDict', (t) => new nn.Linear(4, 4).loadStateDict([['weight', t]])],
    ['modelFromStateDict', (t) => dynaquant.modelFromStateDict([['weight', t]])],
    ...layers(),
  ];

  function saved(t: dynaquant.Tensor): unknown {
    const path = join(tmpdir(), `dynaquant-empty-${process.pid}`);
    dynaquant.saveSync([['t', t]], path);
    const loaded = dynaquant.loadSync(path).get('t');
    rmSync(path);
    return loaded;
  }

  function layers(): [string, (t: dynaquant.Tensor) => unknown][] {
    const { quantized } = nn;
    const found: [string, (t: dynaquant.Tensor) => unknown][] = [];
    for (const [room, classes] of Object.entries({
      nn,
      'nn.quantized': quantized,
      'nn.quantized.dynamic': quantized.dynamic,
    })) {
      for (const [type, Class] of Object.entries(classes)) {
        if (typeof Class !== 'function' || !(Class.prototype instanceof nn.Module)) continue;
        const entry = catalogue.find((each) => (each.Class as unknown) === Class);
        if (entry === undefined || entry.fromChildren !== undefined) continue;
        const recurrent = /^(LSTM|GRU|RNN)$/.test(type);
        for (const options of recurrent ? [{}, { batchFirst: true, bidirectional: true }] : [undefined]) {
          const module = construct(entry, { ...exampleSizes(entry), ...options });
          found.push([
            `${room}.${type}${options?.batchFirst ? ', batch first' : ''}`,
            (t) => module.forward(/Embedding/.test(type) ? t.to('int64') : t),
          ]);
        }
      }
    }
    return found;
  }

  test.each(operations)('%s', (_, operation) => {
    for (const shape of shapes) {
      const began = performance.now();
      try {
        operation(of(shape));
      } catch (error) {
        expect(Object.keys(dynaquant.errorCodes)).toContain((error as { code?: string }).code);
      }
      expect([shape, performance.now() - began < mostMilliseconds]).toEqual([shape, true]);
    }
  });
});

describe('modules', () => {
  const invalid = coded('RangeError', 'ERR_INVALID_ARG_VALUE', /contains itself/);
  const cyclic = (): dynaquant.nn.Module => {
    const module = new nn.ReLU();
    return Object.assign(module, { itself: module });
  };
  test.each<[string, (module: dynaquant.nn.Module) => unknown]>([
    ['toString', (module) => module.toString()],
    ['apply', (module) => module.apply(() => undefined)],
    ['stateDict', (module) => module.stateDict()],
    ['loadStateDict', (module) => module.loadStateDict([])],
    ['quantizeDynamic', (module) => quantization.quantizeDynamic(module).toString()],
  ])('%s of one that contains itself', (_, call) => {
    expect(() => call(cyclic())).toThrow(invalid);
  });
  test('those that hold each other more than once', () => {
    let module: dynaquant.nn.Module = new nn.ReLU();
    for (let i = 0; i < 60; i++) module = new nn.Sequential(module, module);
    const tooLarge = coded('RangeError', 'ERR_TOO_LARGE', /at most 262144 names/);
    expectQuick(() => expect(() => module.stateDict()).toThrow(tooLarge));
    expectQuick(() => expect(() => module.toString()).toThrow(tooLarge));
    expect([...module.modules()]).toHaveLength(61);
  });
  test('objects that no constructor made', () => {
    const bare = (Class: { prototype: object }): never => Object.create(Class.prototype) as never;
    const wrongKind = coded('TypeError', 'ERR_INVALID_ARG_TYPE');
    expect(() => ones(2).add(bare(Tensor))).toThrow(wrongKind);
    expect(() => new nn.Linear(2, 2).forward(bare(Tensor))).toThrow(wrongKind);
    expect(() => new nn.Sequential(bare(nn.Linear))).toThrow(wrongKind);
    expect(() => quantization.quantizeDynamic(bare(nn.Linear))).toThrow(wrongKind);
    expect(() => dynaquant.rand(2, { generator: bare(Generator) })).toThrow(wrongKind);
  });
  test('the parts of a container cannot be replaced', () => {
    const sequential = new nn.Sequential(new nn.ReLU());
    expect(() => Object.assign(sequential, { items: 1 })).toThrow(TypeError);
    expect(sequential.forward(ones(2)).toArray()).toEqual([1, 1]);
    const copy = quantization.quantizeDynamic(new nn.Sequential(new nn.Linear(2, 2)));
    expect(() => Object.assign(copy, { items: 1 })).toThrow(TypeError);
  });
  test('a StateDictModule of what is no state', () => {
    const { StateDictModule } = dynaquant;
    const wrongKind = coded('TypeError', 'ERR_INVALID_ARG_TYPE');
    expect(() => new StateDictModule(new Map(), [1] as never)).toThrow(wrongKind);
    for (const metadata of [null, 1, {}, { type: 1 }])
      expect(() => new StateDictModule(new Map(), new Map(), metadata as never)).toThrow(wrongKind);
  });
  test('a list that ends nowhere', () => {
    const unsteady = new Proxy([2, 1], {
      get: (list, key) => (key === 'length' ? 2 ** 40 : Reflect.get(list, key)),
    });
    const call = (): unknown => nn.utils.rnn.packPaddedSequence(ones(2, 2, 1), unsteady);
    expectQuick(() => expect(call).toThrow(coded('RangeError', 'ERR_TOO_LARGE', /lengths/)));
  });
  test('sizes that no memory holds', () => {
    const tooLarge = coded('RangeError', 'ERR_TOO_LARGE', /./);
    const { quantized } = nn;
    for (const make of [
      () => new nn.Linear(2, 2 ** 45),
      () => new quantized.dynamic.Linear(2, 2 ** 45),
      () => new quantized.dynamic.Linear(2, 2 ** 45, { dtype: 'float16' }),
      () => new quantized.Embedding(2, 2 ** 45),
      () => new nn.Embedding(2 ** 45, 2),
    ])
      expect(make).toThrow(tooLarge);
  });
});

test('empty tensors that are detached', () => {
  const t = zeros(0, 2);
  structuredClone(t.data, { transfer: [t.data.buffer as ArrayBuffer] });
  expect(t.fill_(1).clone().add(t).equal(t)).toBe(true);
});

test('an error whose message is no text', () => {
  expect(new dynaquant.CheckpointError(Symbol('x') as never).message).toBe('Symbol(x)');
});

test('quantizing does not read what it does not own', () => {
  const spec = new Proxy(new Set([nn.Linear]), {});
  expect(() => quantization.quantizeDynamic(new nn.Linear(1, 1), spec)).toThrow(
    coded('TypeError', 'ERR_INVALID_ARG_TYPE'),
  );
});

describe('values that cannot be shown', () => {
  const { proxy, revoke } = Proxy.revocable([], {});
  revoke();
  const hidden: [string, unknown][] = [
    ['a revoked proxy', proxy],
    [
      'a constructor that throws',
      {
        get constructor() {
          throw new Error('hidden');
        },
      },
    ],
    ['an array of length 2^53', new Proxy([], { get: () => 2 ** 53 })],
    [
      'a function without a name',
      Object.defineProperty(() => 1, 'name', {
        get() {
          throw new Error('hidden');
        },
      }),
    ],
  ];
  test.each(hidden)('%s', (_, value) => {
    expect(() => ones(2).add(value as never)).toThrow(
      coded('TypeError', 'ERR_INVALID_ARG_TYPE', /other should be/),
    );
    expect(() => new nn.Linear(value as never, 1)).toThrow(
      coded('TypeError', 'ERR_INVALID_ARG_TYPE', /in_features/),
    );
  });
});
