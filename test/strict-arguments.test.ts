// Each public function, method and constructor refuses a call with more arguments than it has parameters, in plain
// JavaScript too: scripts/strict-arguments.cjs writes the checks. Those of the bundle are tested in package.test.ts.
import * as dynaquant from 'dynaquant';
import { cat, loadSync, nn, ones, quantization, tensor } from 'dynaquant';

import { surplusErrors } from './surplus.js';

const code = 'ERR_TOO_MANY_ARGUMENTS';

test('every function, method and constructor that takes a fixed number of arguments', async () => {
  const { silent, variadic } = await surplusErrors(dynaquant);
  // They have no forward, and say so whatever they are given.
  expect(silent).toEqual(['nn.ModuleDict.forward', 'nn.ModuleList.forward', 'StateDictModule.forward']);
  // What looks at all of its arguments itself, or passes them on.
  expect(variadic.sort()).toEqual([
    'Tensor.expand',
    'Tensor.flip',
    'Tensor.permute',
    'Tensor.repeat',
    'Tensor.reshape',
    'Tensor.view',
    'nn.Identity',
    'nn.RNNStack',
    'nn.Sequential',
    'nn.utils.skipInit',
    'ones',
    'rand',
    'randn',
    'zeros',
  ]);
});

describe('what has a rest parameter refuses what it has no use for', () => {
  const x = ones(2, 2);
  const ids = tensor([0], { dtype: 'int64' });
  const sequence = ones(3, 1, 2);
  type Call = (...args: unknown[]) => unknown;
  const on = (object: unknown, name: string): Call => (object as Record<string, Call>)[name]!.bind(object);
  const async = (module: nn.Module): Call => on(module, 'forwardAsync');
  const signal = { signal: new AbortController().signal };
  test.each<[string, Call, unknown[]]>([
    ['zeros', dynaquant.zeros as Call, [[2], {}]],
    ['ones', dynaquant.ones as Call, [[2], {}]],
    ['rand', dynaquant.rand as Call, [[2], {}]],
    ['randn', dynaquant.randn as Call, [[2], {}]],
    ['randint', dynaquant.randint as Call, [0, 2, [2], {}]],
    ['randint', dynaquant.randint as Call, [2, [2], {}]],
    ['reshape', on(x, 'reshape'), [[4]]],
    ['permute', on(x, 'permute'), [[1, 0]]],
    ['expand', on(x, 'expand'), [[2, 2]]],
    ['repeat', on(x, 'repeat'), [[2, 2]]],
    ['flip', on(x, 'flip'), [[0]]],
    ['skipInit', nn.utils.skipInit as Call, [nn.Linear, 2, 2, {}]],
    ['LSTM.forwardAsync', async(new nn.LSTM(2, 2)), [sequence, null, signal]],
    ['GRU.forwardAsync', async(new nn.GRU(2, 2)), [sequence, null, signal]],
    ['LSTMCell.forwardAsync', async(new nn.LSTMCell(2, 2)), [ones(1, 2), null, signal]],
    ['RNNStack.forwardAsync', async(new nn.RNNStack(new nn.LSTM(2, 2))), [sequence, null, signal]],
    ['EmbeddingBag.forwardAsync', async(new nn.EmbeddingBag(2, 2)), [ids, ids, null, signal]],
    ['quantized LSTM', async(quantization.quantizeDynamic(new nn.LSTM(2, 2))), [sequence, null, signal]],
    ['quantized cell', async(new nn.quantized.dynamic.GRUCell(2, 2)), [ones(1, 2), null, signal]],
    ['Linear.forwardAsync', async(new nn.Linear(2, 2)), [x, signal]],
    ['ReLU.forwardAsync', async(new nn.ReLU()), [x, signal]],
  ])('%s', async (_, f, args) => {
    await f(...args);
    for (const surplus of [1, 'x', {}])
      await expect((async () => await f(...args, surplus))()).rejects.toMatchObject({ name: 'TypeError' });
  });
  test('options of a forwardAsync may be undefined', async () => {
    await async(new nn.ReLU())(x, undefined);
    await async(new nn.LSTM(2, 2))(sequence, null, undefined);
    await async(new nn.Linear(2, 2))(x, undefined);
  });
});

test('the error says how many the call takes and how many came', () => {
  const surplus = (f: unknown, ...args: unknown[]): (() => unknown) => {
    return () => (f as (...args: unknown[]) => unknown)(...args);
  };
  const x = ones(2);
  const method = (name: string, ...args: unknown[]): (() => unknown) =>
    surplus((x as unknown as Record<string, () => unknown>)[name]!.bind(x), ...args);
  expect(surplus(cat, [x], 0, 1)).toThrow('cat() takes at most 2 arguments, got 3');
  expect(method('eq', 1, 2, 3)).toThrow('eq() takes at most 1 argument, got 3');
  expect(method('abs', undefined)).toThrow('abs() takes no arguments, got 1');
  const make = (Class: unknown, ...args: unknown[]): (() => unknown) => {
    return () => new (Class as new (...args: unknown[]) => unknown)(...args);
  };
  expect(make(nn.Linear, 2, 2, {}, true)).toThrow('new Linear() takes at most 3 arguments, got 4');
  expect(make(nn.ReLU, { inplace: true })).toThrow('new ReLU() takes no arguments, got 1');
  expect(make(nn.ReLU, true)).toThrow(expect.objectContaining({ name: 'TypeError', code }));
  expect(() => ['a', 'b'].map(loadSync as never)).toThrow('loadSync() takes at most 2 arguments, got 3');
  const asCallback = 'relu() takes at most 1 argument, got 3 (map passes three)';
  expect(() => [x, x].map(nn.functional.relu)).toThrow(asCallback);
});

test('the error begins in the function that was called', () => {
  const stackOf = (f: () => unknown): string => {
    try {
      f();
    } catch (error) {
      return (error as Error).stack!;
    }
    return '';
  };
  const given = [2, 2, {}, 1] as unknown as [number, number];
  expect(stackOf(() => new nn.Linear(...given)).split('\n')[1]).toMatch(/at new Linear .*linear\.ts/);
});

test('an asynchronous call rejects', async () => {
  const forward = new nn.Linear(2, 2).forwardAsync as (...args: unknown[]) => Promise<unknown>;
  await expect(forward.call(new nn.Linear(2, 2), ones(2), {}, 1, 2)).rejects.toThrow(/takes at most/);
  await expect(
    (dynaquant.load as (...args: unknown[]) => Promise<unknown>)('a', {}, 1),
  ).rejects.toMatchObject({ code });
});

describe('what a user writes takes what it likes', () => {
  class Scaled extends nn.Module {
    readonly factors: unknown[];
    readonly linear = new nn.Linear(2, 2);
    constructor(...factors: unknown[]) {
      super();
      this.factors = factors;
    }
    override forward(...inputs: unknown[]): unknown[] {
      return inputs;
    }
  }
  test('a constructor and forward of a subclass', async () => {
    const module = new Scaled(1, 2, 3, 4, 5);
    expect(module.factors).toHaveLength(5);
    expect(module.forward(1, 2, 3, 4, 5, 6, 7)).toHaveLength(7);
    expect(await module.forwardAsync(1, 2, 3)).toEqual([1, 2, 3]);
    const quantized = quantization.quantizeDynamic(module);
    expect(quantized.forward(1, 2, 3, 4, 5, 6, 7)).toHaveLength(7);
  });
  test('hooks, and a forward that was replaced', () => {
    const seen: unknown[][] = [];
    const module = new Scaled();
    module.registerForwardPreHook((...args: unknown[]) => void seen.push(args));
    module.registerForwardHook((...args: unknown[]) => void seen.push(args));
    module.forward(1, 2, 3);
    expect(seen.map(({ length }) => length)).toEqual([2, 3]);
    const relu = new nn.ReLU();
    relu.forward = ((...args: unknown[]) => args) as never;
    expect((relu.forward as (...args: unknown[]) => unknown)(1, 2, 3)).toEqual([1, 2, 3]);
  });
  test('callbacks of this package are given what they are documented to be given', () => {
    const x = tensor([1, 2, 3]);
    const each: unknown[][] = [];
    new nn.Sequential(new nn.ReLU()).apply((...args: unknown[]) => void each.push(args));
    expect(each.map(({ length }) => length)).toEqual([1, 1]);
    expect([x, x].map((t) => t.abs().shape)).toEqual([[3], [3]]);
  });
  test('nn.Identity, as in PyTorch', () => {
    const Identity = nn.Identity as new (...args: unknown[]) => nn.Identity;
    expect(String(new Identity(54, { unused: 1 }, 'x'))).toBe('Identity()');
  });
});
