import { execFileSync, spawnSync, type SpawnSyncReturns } from 'node:child_process';
import { cpSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, relative } from 'node:path';

import * as dynaquant from '../src/index.js';
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

testWith('nm', 'the addon calls nothing of its runtime but Node-API', () => {
  // What else the program that loads it exports differs between Node, Bun and Deno: libuv, V8.
  const undefinedSymbols = run('nm', ['-D', '--undefined-only', join(release, 'addon.node')]);
  const names = Array.from(undefinedSymbols.matchAll(/ [Uw] (\S+)$/gm), (match) => match[1]!);
  expect(names).toContain('napi_create_function');
  expect(names.filter((name) => /^(uv_|node_)|2v88?|4node/.test(name))).toEqual([]);
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

function packedFiles(): string[] {
  const [{ files }] = JSON.parse(run('npm', ['pack', '--dry-run', '--json', '--ignore-scripts'])) as [
    { files: { path: string }[] },
  ];
  return files.map((file) => file.path);
}

test('the tarball has what a user needs and nothing else', () => {
  const paths = packedFiles();
  for (const path of [
    'dist/index.js',
    'dist/index.mjs',
    'dist/index.d.ts',
    'dist/index.d.mts',
    'dist/cli/dynaquant.js',
    'README.md',
    'LICENSE',
    'CHANGELOG.md',
  ]) {
    expect(paths).toContain(path);
  }
  expect(paths.filter((path) => !/^dist\/|^[^/]+$/.test(path))).toEqual([]);
  expect(paths.filter((path) => /\.d\.m?ts$/.test(path)).length).toBe(3);
  // Each is a bundle. The modules in dist are for the tests.
  const programs = paths
    .filter((path) => /\.m?js$/.test(path))
    .map((path) => path.replace(/-\w+(?=\.js$)/, ''));
  expect(new Set(programs)).toEqual(
    new Set([
      'dist/browser.mjs',
      'dist/cli/dynaquant.js',
      'dist/formats.js',
      'dist/index.js',
      'dist/index.mjs',
      'dist/shared.js',
    ]),
  );
});

test('the programs have no wrappers around modules, and look up nothing of each other at each use', () => {
  for (const path of packedFiles().filter((name) => name.endsWith('.js'))) {
    const text = readFileSync(join(root, path), 'utf8');
    expect(text).not.toMatch(/__esm|__commonJS/);
    for (const [, file] of text.matchAll(/\b(\w+)=require\("\.[^"]*"\)/g))
      expect(text).not.toContain(`(0,${file}.`);
  }
});

describe('a user’s folder', () => {
  const folder = mkdtempSync(join(tmpdir(), 'dynaquant-user-'));
  const installed = join(folder, 'node_modules', 'dynaquant');
  const platform = `@dynaquant/${process.platform}-${process.arch}`;
  const packageOf = (name: string): string => join(folder, 'node_modules', name);
  beforeAll(() => {
    for (const path of packedFiles()) cpSync(join(root, path), join(installed, path));
    // As `npm run release:build` makes it.
    mkdirSync(packageOf(platform), { recursive: true });
    writeFileSync(join(packageOf(platform), 'package.json'), '{ "main": "addon.node" }');
    cpSync(join(release, 'addon.node'), join(packageOf(platform), 'addon.node'));
  });
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
  test('the readers of other formats than safetensors are loaded when such a file comes', () => {
    const files = [
      join(root, 'test', 'fixtures', 'formats', 'dtypes.safetensors'),
      join(root, 'test', 'fixtures', 'checkpoints', 'layers.pt'),
    ];
    const script = `
      const { loadSync, nn } = require('dynaquant');
      const loaded = () => Object.keys(require.cache).some((path) => path.endsWith('formats.js'));
      console.log(${JSON.stringify(files)}.map((file) => [loadSync(file) instanceof nn.StateDict, loaded()]).join());`;
    expect(run(process.execPath, ['-e', script], folder).trim()).toBe('true,false,true,true');
  });
  test('in a user’s bundle are the readers, classes keep their names, and alone it says what it lacks', () => {
    const out = join(folder, 'bundle', 'app.cjs');
    const file = join(root, 'test', 'fixtures', 'checkpoints', 'layers.pt');
    const program = `const { loadSync, nn, quantization } = require('dynaquant');
      console.log(String(quantization.quantizeDynamic(new nn.LSTM(2, 3))), loadSync(process.argv[2]) instanceof nn.StateDict);`;
    writeFileSync(join(folder, 'app.cjs'), program);
    const esbuild = join(root, 'node_modules', '.bin', 'esbuild');
    run(esbuild, ['app.cjs', '--bundle', '--minify', '--platform=node', `--outfile=${out}`], folder);
    const answer = 'DynamicQuantizedLSTM(2, 3) true';
    expect(run(process.execPath, [out, file], folder).trim()).toBe(answer);

    const alone = mkdtempSync(join(tmpdir(), 'dynaquant-bundle-'));
    cpSync(out, join(alone, 'app.cjs'));
    const start = (binary: string): SpawnSyncReturns<string> =>
      spawnSync(process.execPath, ['app.cjs', file], {
        cwd: alone,
        encoding: 'utf8',
        env: { ...process.env, DYNAQUANT_BINARY: binary },
      });
    expect(start('').stderr).toContain('It is part of a bundle');
    expect(start(join(release, 'addon.node')).stdout.trim()).toBe(answer);
    rmSync(alone, { recursive: true });
  });
  test('where addons are forbidden, the error says by what', () => {
    const script = `try { require('dynaquant').rand(3) } catch (error) { console.log(error.code, error.message) }`;
    const text = run(process.execPath, ['--no-addons', '-e', script], folder);
    expect(text).toMatch(/^ERR_NATIVE_ADDON dynaquant may load no binary [^]*Run it without --no-addons/);
  });
  test('classes and functions keep their names, which metadata and sentences show', () => {
    const namesOf = `(function namesOf(value) {
      if (typeof value === 'function') return value.name;
      if (typeof value !== 'object') return typeof value;
      return Object.fromEntries(Object.entries(value).map(([key, each]) => [key, namesOf(each)]));
    })`;
    const script = `console.log(JSON.stringify(${namesOf}(require('dynaquant'))))`;
    const expected = (0, eval)(namesOf)(dynaquant);
    expect(expected.nn.quantized.dynamic.LSTM).toBe('LSTM');
    expect(JSON.parse(run(process.execPath, ['-e', script], folder))).toEqual(expected);
  });
  test('functions and classes of the bundle count their arguments, as those of the tests do', () => {
    const checksOf = `(function checksOf(value) {
      if (typeof value === 'function') return String(value).match(/arguments\\s*\\.\\s*length/g)?.length ?? 0;
      if (typeof value !== 'object') return typeof value;
      return Object.fromEntries(Object.entries(value).map(([key, each]) => [key, checksOf(each)]));
    })`;
    const script = `console.log(JSON.stringify(${checksOf}(require('dynaquant'))))`;
    const expected = (0, eval)(checksOf)(dynaquant);
    expect([expected.cat, expected.nn.Linear > 2, expected.nn.functional.pad]).toEqual([2, true, 2]);
    expect(JSON.parse(run(process.execPath, ['-e', script], folder))).toEqual(expected);
  });
  test('the command runs', () => {
    expect(
      run(process.execPath, [join(installed, 'dist', 'cli', 'dynaquant.js'), '--help'], folder),
    ).toContain('Usage: dynaquant');
  });
  /** What a script prints that has `dynaquant` and `code(f)`, an error as text; in `cwd`, with more environment. */
  function print(expression: string, { cwd = folder, env = {} } = {}): string {
    const script = `
      const { setNativeBinary, rand, nn } = require('dynaquant');
      const { isMainThread, Worker } = require('node:worker_threads');
      const code = (f) => { try { return f(); } catch (error) { return error.code + ' ' + error.message; } };
      console.log(${expression});`;
    const environment = { ...process.env, DYNAQUANT_BINARY: '', ...env };
    return execFileSync(process.execPath, ['-e', script], { cwd, encoding: 'utf8', env: environment }).trim();
  }

  describe('a binary that is named', () => {
    const elsewhere = join(folder, 'elsewhere.node');
    const noAddon = join(folder, 'none.node');
    beforeAll(() => {
      cpSync(join(release, 'addon.node'), elsewhere);
      writeFileSync(noAddon, 'no addon');
    });
    const loaded = `Object.keys(require.cache).filter((path) => path.endsWith('.node')).join()`;
    test('by setNativeBinary or DYNAQUANT_BINARY, from the working directory on; the call wins', () => {
      expect(print(`rand(3).shape[0] + ${loaded}`)).toBe(`3${join(packageOf(platform), 'addon.node')}`);
      expect(print(`setNativeBinary('elsewhere.node') ?? rand(3).shape[0] + ${loaded}`)).toBe(
        `3${elsewhere}`,
      );
      expect(print(`rand(3).shape[0] + ${loaded}`, { env: { DYNAQUANT_BINARY: elsewhere } })).toBe(
        `3${elsewhere}`,
      );
      const env = { DYNAQUANT_BINARY: noAddon };
      expect(print(`setNativeBinary('elsewhere.node') ?? rand(3).shape[0]`, { env })).toBe('3');
    });
    test('only before the first use, or again', () => {
      const sentence = `ERR_NATIVE_ADDON setNativeBinary should be called before the first use of dynaquant, which has loaded ${elsewhere}`;
      expect(
        print(
          `setNativeBinary('elsewhere.node') ?? String(rand(3).shape[0]) + code(() => setNativeBinary('elsewhere.node')) + code(() => setNativeBinary('none.node'))`,
        ),
      ).toBe(`3undefined${sentence}`);
    });
    test.each([
      [
        `setNativeBinary('nowhere.node')`,
        `ERR_NATIVE_ADDON setNativeBinary: there is no file ${join(folder, 'nowhere.node')}`,
      ],
      [
        `setNativeBinary('elsewhere.so')`,
        `ERR_INVALID_ARG_VALUE setNativeBinary: path should be that of a .node or .js file, got 'elsewhere.so'`,
      ],
      [`setNativeBinary(1)`, 'ERR_INVALID_ARG_TYPE setNativeBinary: path should be a string, got 1'],
    ])('%s', (call, sentence) => expect(print(`code(() => ${call})`)).toBe(sentence));
    test('a file that is no addon, or is not there, is an error that names file and machine', () => {
      const machine = `which does not load on ${process.platform}-${process.arch}`;
      const sentence = `ERR_NATIVE_ADDON setNativeBinary names ${noAddon}, ${machine}`;
      expect(print(`setNativeBinary('none.node') ?? code(() => rand(3))`)).toContain(sentence);
      const env = { DYNAQUANT_BINARY: join(folder, 'nowhere.node') };
      expect(print(`code(() => rand(3))`, { env })).toMatch(
        new RegExp(
          `^ERR_NATIVE_ADDON DYNAQUANT_BINARY names ${env.DYNAQUANT_BINARY}, ${machine}.*: is not there$`,
        ),
      );
      expect(print(`code(() => rand(3))`, { env: { DYNAQUANT_BINARY: 'addon.so' } })).toBe(
        `ERR_ENVIRONMENT DYNAQUANT_BINARY should be the path of a .node or .js file, got 'addon.so'`,
      );
    });
    test('a binary of another version is an error that names both', () => {
      const { version } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as { version: string };
      const other = join(folder, 'other.js');
      writeFileSync(other, `module.exports = { ...require('./elsewhere.node'), version: '0.0.9' };`);
      expect(print(`code(() => rand(3))`, { env: { DYNAQUANT_BINARY: other } })).toContain(
        `: it is of version 0.0.9, but this is dynaquant ${version}`,
      );
    });
    test('after such an error another can be named', () => {
      const script = `setNativeBinary('none.node') ?? (code(() => rand(3)), setNativeBinary('elsewhere.node'), rand(3).shape[0])`;
      expect(print(script)).toBe('3');
    });
  });

  test('without a binary the error says what was looked for, and what to do', () => {
    const alone = mkdtempSync(join(tmpdir(), 'dynaquant-alone-'));
    const root = join(alone, 'node_modules', 'dynaquant');
    cpSync(installed, root, { recursive: true });
    const libc = /glibcVersionRuntime/.test(JSON.stringify(process.report.getReport())) ? '' : '-musl';
    // As `npm run release:build` writes it.
    const manifest = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as object;
    const optionalDependencies = { [`${platform}${libc}`]: '0.1.0' };
    writeFileSync(join(root, 'package.json'), JSON.stringify({ ...manifest, optionalDependencies }));
    const text = print('code(() => rand(3))', { cwd: alone });
    rmSync(alone, { recursive: true });
    for (const part of [
      `ERR_NATIVE_ADDON dynaquant has no binary for ${process.platform}-${process.arch}`,
      `with Node ${process.versions.node}. It looked for`,
      `${join(root, 'build', 'Release', 'addon.node')}: is not there`,
      `${platform}/addon.node: is not there`,
      `npm install --no-save ${platform}${libc}@0.1.0`,
      `tar xf ${join(root, 'native.tar.xz')} -C ${root}`,
      `npx node-gyp rebuild -C ${root}`,
      'DYNAQUANT_BINARY=FILE',
    ])
      expect(text).toContain(part);
  });
});
