import * as nn from '../src/nn/index.js';
import { quantizeDynamic } from '../src/quantization/index.js';
import { randn } from '../src/random.js';
import { bytesOf } from './support.js';

const model = new nn.Sequential(new nn.Linear(2, 3), new nn.Tanh(), new nn.Linear(3, 1));

test('runs its modules in order', () => {
  const x = randn(4, 2);
  const [a, b, c] = [...model] as [nn.Linear, nn.Tanh, nn.Linear];
  expect(bytesOf(model.forward(x))).toBe(bytesOf(c.forward(b.forward(a.forward(x)))));
});
test('length, get and iteration', () => {
  expect(model).toHaveLength(3);
  expect(model.get(-1)).toBe(model.get(2));
  expect([...model]).toHaveLength(3);
  expect(() => model.get(3)).toThrow(/index 3 is out of range: there are 3/);
  expect(() => new nn.Sequential(1 as never)).toThrow(/should hold Modules, got 1/);
});
test('empty is the identity', () => {
  const x = randn(2);
  expect(new nn.Sequential().forward(x)).toBe(x);
  expect(String(new nn.Sequential())).toBe('Sequential()');
});
test('append, and names of a Map', () => {
  const named = new nn.Sequential(
    new Map<string, nn.Module>([
      ['first', new nn.Linear(2, 3)],
      ['__proto__', new nn.ReLU()],
    ]),
  );
  expect(named.append(new nn.Tanh())).toBe(named);
  expect(String(named)).toBe(
    [
      'Sequential(',
      '  (first): Linear(in_features=2, out_features=3, bias=True)',
      '  (__proto__): ReLU()',
      '  (2): Tanh()',
      ')',
    ].join('\n'),
  );
  expect([...named.stateDict().keys()]).toEqual(['first.weight', 'first.bias']);
  expect(named.get(-2)).toBeInstanceOf(nn.ReLU);
  expect(named.forward(randn(4, 2)).shape).toEqual([4, 3]);
  const taken = new nn.Sequential(new Map([['1', new nn.ReLU()]]));
  expect(() => taken.append(new nn.ReLU())).toThrow(/there is a module '1' already/);
  expect(() => named.append(5 as never)).toThrow(/Sequential should hold Modules, got 5/);
  expect(() => named.get(0.5)).toThrow(/index 0.5 is out of range/);
  expect(() => new nn.Sequential(new Map([['a.b', new nn.ReLU()]]))).toThrow(/can't contain ".", got: 'a.b'/);
  expect(() => new nn.Sequential(new Map([['', new nn.ReLU()]]))).toThrow(/can't be empty string ""/);
});

describe('ModuleList', () => {
  const list = new nn.ModuleList([new nn.Linear(2, 2), new nn.Linear(2, 2)]);

  test('is a list', () => {
    expect(list.append(new nn.ReLU()).extend(new Set([new nn.Linear(2, 2)]))).toBe(list);
    expect(list).toHaveLength(4);
    expect([...list][2]).toBe(list.get(2));
    expect(list.get(-1)).toBe(list.get(3));
    expect([...list.stateDict().keys()].slice(0, 3)).toEqual(['0.weight', '0.bias', '1.weight']);
  });
  test('prints equal neighbours as PyTorch does', () => {
    expect(String(list)).toBe(
      [
        'ModuleList(',
        '  (0-1): 2 x Linear(in_features=2, out_features=2, bias=True)',
        '  (2): ReLU()',
        '  (3): Linear(in_features=2, out_features=2, bias=True)',
        ')',
      ].join('\n'),
    );
    expect(String(new nn.ModuleList([new nn.ModuleList([new nn.ReLU()]), new nn.ModuleList()]))).toBe(
      'ModuleList(\n  (0): ModuleList(\n    (0): ReLU()\n  )\n  (1): ModuleList()\n)',
    );
  });
  test('errors', () => {
    expect(() => list.forward()).toThrow(/Module \[ModuleList\] is missing the required "forward" function/);
    expect(() => list.get(4)).toThrow(/index 4 is out of range: there are 4/);
    expect(() => list.get(-5)).toThrow(/index -5/);
    expect(() => new nn.ModuleList(5 as never)).toThrow(/modules should be an iterable, got 5/);
    expect(() => new nn.ModuleList([1 as never])).toThrow(/ModuleList should hold Modules, got 1/);
  });
});

describe('ModuleDict', () => {
  const [relu, linear] = [new nn.ReLU(), new nn.Linear(1, 2)];

  test.each<[string, ConstructorParameters<typeof nn.ModuleDict>[0]]>([
    [
      'a Map',
      new Map<string, nn.Module>([
        ['a', relu],
        ['b', linear],
      ]),
    ],
    [
      'pairs',
      [
        ['a', relu],
        ['b', linear],
      ],
    ],
    ['an object', { a: relu, b: linear }],
  ])('from %s', (_, modules) => {
    const dict = new nn.ModuleDict(modules);
    expect([...dict.keys()]).toEqual(['a', 'b']);
    expect([...dict.values()]).toEqual([relu, linear]);
    expect([...dict.entries()][1]).toEqual(['b', linear]);
    expect(dict).toHaveLength(2);
    expect(dict.get('b')).toBe(linear);
    expect([dict.has('a'), dict.has('constructor')]).toEqual([true, false]);
    expect([...dict.stateDict().keys()]).toEqual(['b.weight', 'b.bias']);
    expect(String(dict)).toBe(
      'ModuleDict(\n  (a): ReLU()\n  (b): Linear(in_features=1, out_features=2, bias=True)\n)',
    );
  });
  test('set and delete', () => {
    const dict = new nn.ModuleDict({ a: relu });
    expect(dict.set('a', linear).set('__proto__', relu).get('a')).toBe(linear);
    expect([...dict.namedModules()].map(([name]) => name)).toEqual(['', 'a', '__proto__']);
    expect([dict.delete('a'), dict.delete('a'), dict.length]).toEqual([true, false, 1]);
  });
  test('its modules are quantized', () => {
    const dict = quantizeDynamic(new nn.ModuleDict({ 1: linear, a: new nn.ModuleList([linear]) }));
    expect(String(dict.get('1'))).toMatch(/^DynamicQuantizedLinear/);
    expect((dict.get('a') as nn.ModuleList).get(0)).toBe(dict.get('1'));
  });
  test('errors', () => {
    const dict = new nn.ModuleDict();
    expect(() => dict.get('x')).toThrow(/there is no module 'x'/);
    expect(() => dict.set('a.b', relu)).toThrow(/module name can't contain ".", got: 'a.b'/);
    expect(() => dict.set(1 as never, relu)).toThrow(/module name should be a string, got 1/);
    expect(() => dict.set('x', 1 as never)).toThrow(/ModuleDict should hold Modules, got 1/);
    expect(() => new nn.ModuleDict([relu] as never)).toThrow(/\[name, Module\] pairs, got ReLU/);
    expect(() => new nn.ModuleDict('ab' as never)).toThrow(/modules should be an iterable, got 'ab'/);
    expect(() => dict.forward()).toThrow(/Module \[ModuleDict\] is missing/);
  });
});

test('wrong arguments have codes', () => {
  const row = new nn.Sequential(new nn.ReLU());
  const list = new nn.ModuleList();
  for (const [f, code, message] of [
    [() => row.get(Symbol('i') as never), 'ERR_INVALID_ARG_TYPE', 'index should be a number, got Symbol(i)'],
    [() => row.append(row), 'ERR_INVALID_ARG_VALUE', "module '1' contains itself"],
    [
      () => list.extend({ [Symbol.iterator]: 1 } as never),
      'ERR_INVALID_ARG_TYPE',
      'modules should be an iterable',
    ],
    [
      () => new nn.Sequential({ [Symbol.toStringTag]: 'Map' } as never),
      'ERR_INVALID_ARG_TYPE',
      'Sequential should hold Modules, got Object',
    ],
  ] as const) {
    expect(f).toThrow(expect.objectContaining({ code, message: expect.stringContaining(message) }));
  }
  expect(String(row)).toBe(String(new nn.Sequential(new nn.ReLU())));
});
