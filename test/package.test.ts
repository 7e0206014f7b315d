import { execFileSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, symlinkSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, relative } from 'node:path';

import { builtIsas, expectOnlyTables, testWith } from './support.js';

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

describe('the CMake build compiles what binding.gyp does', () => {
  testWith('cmake', 'on this architecture', () => {
    const folder = mkdtempSync(join(tmpdir(), 'dynaquant-cmake-'));
    try {
      run('cmake', ['-S', 'native', '-B', folder]);
      const commands = readFileSync(join(folder, 'compile_commands.json'), 'utf8');
      const byCMake = (JSON.parse(commands) as { file: string }[]).map(({ file }) => relative(root, file));
      const makefiles = readdirSync(join(root, 'build')).filter((name) => name.endsWith('.target.mk'));
      const byGyp = makefiles.flatMap((name) =>
        Array.from(
          readFileSync(join(root, 'build', name), 'utf8').matchAll(/\/(native\/\S+)\.o\b/g),
          (match) => `${match[1]}.cc`,
        ),
      );
      expect(byGyp).toContain('native/addon.cc');
      expect(byCMake.sort()).toEqual([...new Set(byGyp)].sort());
    } finally {
      rmSync(folder, { recursive: true });
    }
  });
  test('on every architecture', () => {
    const sources = (file: string): string[] => {
      const named = readFileSync(join(root, file), 'utf8').matchAll(/(addon|kernels\/\w+)\.cc/g);
      return [...new Set(Array.from(named, (match) => match[1]!))].sort();
    };
    expect(sources('native/CMakeLists.txt')).toEqual(sources('binding.gyp'));
    expect(sources('binding.gyp')).toEqual(
      expect.arrayContaining(
        Object.values(builtIsas)
          .flat()
          .map((isa) => `kernels/${isa}`),
      ),
    );
  });
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
