import { readFileSync } from 'node:fs';
import { join } from 'node:path';

import {
  CheckpointError,
  checkBoolean,
  checkOneOf,
  checkOptions,
  checkSize,
  describe as shown,
  errorCodes,
} from '../src/errors.js';
import { zeros } from '../src/tensor/index.js';

test.each<[unknown, string]>([
  [undefined, 'undefined'],
  [null, 'null'],
  [1.5, '1.5'],
  [2n, '2n'],
  ['text', "'text'"],
  ['x'.repeat(100), `'${'x'.repeat(57)}…'`],
  [[1, 2], 'an array of 2'],
  [zeros(1), 'Tensor'],
  [Object.create(null), 'an object'],
  [Math.max, 'function max'],
  [Symbol('s'), 'Symbol(s)'],
  [Object.defineProperty(() => 0, 'name', { value: {} }), 'function (anonymous)'],
])('describes a value, never its data: %p', (value, text) => expect(shown(value)).toBe(text));

class Options {
  readonly #a = 1;
  get a(): number {
    return this.#a;
  }
}

test('options', () => {
  expect(() => checkOptions('f', { a: 1, c: 2 }, ['a', 'b'])).toThrow(
    "f: unknown option 'c'; the options are a, b",
  );
  expect(() => checkOptions('f', null, [])).toThrow(/should be an object, got null/);
  for (const none of [new Map([['a', 1]]), new Date(0), Promise.resolve({ a: 1 }), /a/])
    expect(() => checkOptions('f', none, ['a'])).toThrow(/^f: options should be an object, got [MDPR]/);
  for (const empty of [{}, Object.create(null), new Options()])
    expect(() => checkOptions('f', empty, ['a'])).not.toThrow();
  expect(() => checkOptions('f', { a: 1 }, ['a'])).not.toThrow();
});
test('sizes', () => {
  expect(() => checkSize('n', 1.5)).toThrow('n should be of type int, got: 1.5');
  expect(() => checkSize('n', '1')).toThrow("n should be of type int, got: '1'");
  expect(() => checkSize('n', NaN)).toThrow(/got: NaN/);
  expect(() => checkSize('n', 0)).toThrow('n must be greater than zero, got: 0');
  expect(() => checkBoolean('flag', 1)).toThrow('flag should be a boolean, got 1');
});
test('one of a few strings', () => {
  expect(() => checkOneOf('x', 'a', ['a', 'b'])).not.toThrow();
  for (const [value, error, got] of [
    ['c', RangeError, "'c'"],
    [1, TypeError, '1'],
    [undefined, TypeError, 'undefined'],
  ] as const) {
    expect(() => checkOneOf('x', value, ['a', 'b'])).toThrow(new error(`x should be 'a' or 'b', got ${got}`));
    expect(() => checkOneOf('x', value, ['a', 'b'])).toThrow(error);
  }
});
test('CheckpointError is an Error with a name', () => {
  expect(new CheckpointError('x')).toMatchObject({ name: 'CheckpointError', message: 'x' });
});

test('docs/errors.md lists every code with its meaning', () => {
  const page = readFileSync(join(__dirname, '..', 'docs', 'errors.md'), 'utf8');
  const rows = Array.from(page.matchAll(/^\| `(ERR_\w+)` +\| `\w+` +\| (.*?) +\|$/gm));
  expect(rows.map(([, code, meaning]) => [code, meaning])).toEqual(Object.entries(errorCodes));
});
