import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { spawnSync } from 'node:child_process';

import { columns, formatBytes, formatPercent, oneLine, printable } from '../src/cli/terminal.js';
import { command, dynaquant, expectFailure } from './cli.js';

const run = (...args: string[]): ReturnType<typeof dynaquant> => dynaquant(__dirname, ...args);

test.each(['--help', '-h', 'help'])('%s teaches the commands', (flag) => {
  const { status, stdout, stderr } = run(flag);
  expect([status, stderr]).toEqual([0, '']);
  for (const word of [
    'inspect FILE',
    'quantize IN -o OUT',
    'verify FLOAT QUANT',
    'Example',
    'Exit codes: 0',
  ]) {
    expect(stdout).toContain(word);
  }
});
test.each([
  ['inspect', ['--json']],
  ['verify', ['--json', '--tolerance']],
  [
    'quantize',
    [
      ...['--output', '--dtype', '--per-channel', '--per-row', '--full-range', '--best'],
      ...['--only', '--exclude', '--json'],
    ],
  ],
])('%s --help lists the options, with examples', (name, options) => {
  const { status, stdout, stderr } = run(name, '--help');
  expect([status, stderr]).toEqual([0, '']);
  for (const word of [`Usage: dynaquant ${name} `, 'Examples\n', ...options]) expect(stdout).toContain(word);
  for (const line of stdout.split('\n')) expect(line.length).toBeLessThanOrEqual(120);
});
test('--version', () => {
  const { version } = JSON.parse(readFileSync(join(__dirname, '..', 'package.json'), 'utf8')) as {
    version: string;
  };
  expect(run('--version')).toEqual({ status: 0, stdout: `${version}\n`, stderr: '' });
});

test.each<[string[], RegExp]>([
  [[], /^dynaquant: a command is missing; see dynaquant --help\n$/],
  [['shrink'], /there is no command 'shrink'; there are inspect, quantize and verify; see dynaquant --help/],
  [['__proto__'], /there is no command '__proto__'/],
  [['inspect'], /^dynaquant inspect: expected FILE, got 0 file names; see dynaquant inspect --help\n$/],
  [['inspect', 'a', '--jsno'], /'--jsno'; see dynaquant inspect --help/],
  [['inspect', 'a', '--json=1'], /--json/],
])('%j: one line, exit code 2', (args, message) => {
  expectFailure(run(...args), 2, message);
});
test('a reader that stops early is no failure', () => {
  const line = `${process.execPath} ${command} --help | head -n 1`;
  const { status, stdout, stderr } = spawnSync('sh', ['-c', line], { encoding: 'utf8' });
  expect([status, stderr]).toEqual([0, '']);
  expect(stdout).toBe('Usage: dynaquant COMMAND …\n');
});

describe('what is printed', () => {
  test.each([
    [0, '0 B'],
    [999, '999 B'],
    [1000, '1.00 kB'],
    [999_400, '999 kB'],
    [999_600, '1.00 MB'],
    [335_872_000, '336 MB'],
    [1.5e9, '1.50 GB'],
    [2e15, '2.00e+3 TB'],
  ])('%d bytes', (bytes, text) => expect(formatBytes(bytes)).toBe(text));
  test.each([
    [0, '0.0 %'],
    [0.0123, '1.2 %'],
    [0.2, '20 %'],
    [0.000104, '0.010 %'],
    [1.5, '150 %'],
    [1e-9, '0.00000010 %'],
    [Infinity, '∞ %'],
  ])('%d as percent', (fraction, text) => expect(formatPercent(fraction)).toBe(text));
  test('columns', () =>
    expect(
      columns([
        ['a', 'bb', ''],
        ['ccc', 'd', 'e'],
      ]),
    ).toBe('a    bb\nccc  d   e'));
  test('errors in one line', () => {
    expect(oneLine(new Error('Error(s):\n\tfirst\n\tsecond\u001b[2J'))).toBe(
      'Error(s): first second\\u{1b}[2J',
    );
    expect(oneLine('text')).toBe('text');
  });
  test('nothing that a terminal obeys', () => {
    expect(printable('a\u0000\u001b[2J\u202e\u2028\n\u{1f600}é')).toBe(
      'a\\u{0}\\u{1b}[2J\\u{202e}\\u{2028}\\u{a}\u{1f600}é',
    );
  });
});
