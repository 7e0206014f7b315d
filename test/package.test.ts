import { execFileSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync, symlinkSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { expectOnlyTables, testWith } from './support.js';

const root = join(__dirname, '..');
const release = join(root, 'build', 'Release');
const run = (command: string, args: string[], cwd = root): string =>
  execFileSync(command, args, { cwd, encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] });

testWith('nm', 'an instruction set’s archive exports its table and nothing that could be merged', () => {
  expectOnlyTables('nm', release, process.arch);
});

testWith('objdump', 'the addon needs no newer C library than RHEL 8 has', () => {
  const symbols = run('objdump', ['-T', join(release, 'addon.node')]);
  const newest = { GLIBC: [2, 28, 0], GLIBCXX: [3, 4, 25] };
  const versions = Array.from(symbols.matchAll(/\b(GLIBC|GLIBCXX)_([\d.]+)/g));
  expect(versions.length).toBeGreaterThan(0);
  for (const [text, library, version] of versions) {
    const [a = 0, b = 0, c = 0] = version!.split('.').map(Number);
    const [x, y, z] = newest[library as keyof typeof newest] as [number, number, number];
    expect([text, a * 1e6 + b * 1e3 + c <= x * 1e6 + y * 1e3 + z]).toEqual([text, true]);
  }
});

testWith('cmake', 'the CMake build lists the sources of binding.gyp', () => {
  const sources = (file: string): string[] =>
    Array.from(
      run('cat', [file]).matchAll(/((?:addon|(?:bindings|engine|kernels)\/\w+)\.cc)/g),
      (m) => m[1]!,
    ).sort();
  expect([...new Set(sources('native/CMakeLists.txt'))]).toEqual([...new Set(sources('binding.gyp'))]);
});

test('the tarball has what a user needs and nothing else', () => {
  const [{ files }] = JSON.parse(run('npm', ['pack', '--dry-run', '--json', '--ignore-scripts'])) as [
    { files: { path: string }[] },
  ];
  const paths = files.map((file) => file.path);
  for (const path of [
    'dist/index.js',
    'dist/index.mjs',
    'dist/index.d.ts',
    'dist/index.d.mts',
    'binding.gyp',
    'README.md',
    'LICENSE',
    'CHANGELOG.md',
    'native/addon.cc',
  ]) {
    expect(paths).toContain(path);
  }
  expect(paths.filter((path) => !/^(dist|native|prebuilds)\/|^[^/]+$/.test(path))).toEqual([]);
});

describe('a user’s folder', () => {
  const folder = mkdtempSync(join(tmpdir(), 'dynaquant-user-'));
  mkdirSync(join(folder, 'node_modules'));
  symlinkSync(root, join(folder, 'node_modules', 'dynaquant'));
  afterAll(() => rmSync(folder, { recursive: true }));

  test('require and import give one instance, with the same names', () => {
    const script = `
      const required = require('dynaquant');
      import('dynaquant').then((imported) => {
        if (imported.nn.LSTM !== required.nn.LSTM) throw new Error('two instances');
        const names = (o) => Object.keys(o).filter((k) => k !== '__esModule').sort().join();
        if (names(imported) !== names(required)) throw new Error('other names: ' + names(imported));
        console.log(required.nn.LSTM.name, required.rand(3).shape[0]);
      });`;
    expect(run(process.execPath, ['-e', script], folder).trim()).toBe('LSTM 3');
  });
});
