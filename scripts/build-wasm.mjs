// `npm run build:wasm`: the package @dynaquant/wasm32, into build/wasm32, where `npm run build` puts the library for
// browsers. It needs zig's C++ compiler, 0.17.1, as the PyPI package ziglang has it: `ZIG` is its path, else it is looked
// for in Python's packages.
//
// Zig's own C++ library for WebAssembly has no exceptions. Its sources are there, so that the few files which are
// needed of them are compiled here.
//
// There are two modules. They differ in their kernels, of which one has relaxed SIMD: native/wasm/fused.mjs chooses.
import { build } from 'esbuild';
import { execFile, execFileSync } from 'node:child_process';
import { copyFileSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { availableParallelism } from 'node:os';
import { basename, dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { setFlagsFromString } from 'node:v8';
import { brotliCompressSync, gzipSync } from 'node:zlib';

const root = fileURLToPath(new URL('..', import.meta.url));
const out = join(root, 'build', 'wasm32');
const objects = join(root, 'build', 'wasm32-objects');
const require = createRequire(import.meta.url);
const emnapi = dirname(require.resolve('emnapi/package.json'));
const zig = process.env.ZIG || pythonsZig();
const library = join(dirname(zig), 'lib');

const { version, license, engines } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'));

const features = 'exception_handling+simd128+bulk_memory+nontrapping_fptoint+sign_ext';
const target = ['-target', 'wasm32-wasi', `-mcpu=baseline+${features}`];
const modules = {
  'dynaquant.wasm': { table: 'wasm', flags: [] },
  'dynaquant-relaxed.wasm': { table: 'wasm_relaxed', flags: ['-mrelaxed-simd'] },
};
const names = Object.keys(modules);
const common = [...target, '-O2', '-fwasm-exceptions', '-mllvm', '-wasm-enable-eh', '-fvisibility=hidden'];
const ours = [
  '-std=c++17',
  '-ffp-contract=off',
  ...['-Wall', '-Wextra', '-Werror'],
  ...['-Inative', `-I${require('node-addon-api').include_dir}`, `-I${join(emnapi, 'include', 'node')}`],
  // As binding.gyp has them.
  `-DDYNAQUANT_VERSION=${version}`,
  '-DNAPI_VERSION=8',
  '-DNODE_ADDON_API_CPP_EXCEPTIONS_ALL',
  '-DNODE_ADDON_API_DISABLE_DEPRECATED',
  '-DNODE_API_NO_EXTERNAL_BUFFERS_ALLOWED',
];
const theirs = [
  '-std=c++23',
  '-w',
  ...['-D_LIBCXXABI_BUILDING_LIBRARY', '-D_LIBCPP_BUILDING_LIBRARY', '-DLIBCXX_BUILDING_LIBCXXABI'],
  ...['-D_LIBCXXABI_HAS_NO_THREADS', '-DLIBCXXABI_SILENT_TERMINATE', '-D_LIBUNWIND_HIDE_SYMBOLS'],
  ...['libcxxabi/include', 'libcxxabi/src', 'libcxx/src', 'libunwind/include', 'libunwind/src'].map(
    (folder) => `-I${join(library, folder)}`,
  ),
];

/** Everything but threads, for which wasm/one_thread.cc stands, and what depends on the kernels. */
function ourFiles() {
  const threads = /^(thread_pool|executor|cpu_count)/;
  const files = ['bindings', 'engine', 'wasm'].flatMap((folder) =>
    readdirSync(join(root, 'native', folder))
      .filter((name) => name.endsWith('.cc') && !threads.test(name))
      .map((name) => join(folder, name)),
  );
  return ['addon.cc', ...files, join('kernels', 'panels.cc')].map((name) => join('native', name));
}

/** What else a module has: a table of kernels, and what finds it. */
const filesOf = ({ table }) =>
  [`${table}.cc`, 'cpu_features.cc', 'dispatch.cc'].map((name) => join('native', 'kernels', name));

const theirFiles = [
  ...[
    ...['cxa_exception', 'cxa_exception_storage', 'cxa_personality', 'cxa_handlers', 'cxa_default_handlers'],
    ...['cxa_aux_runtime', 'cxa_virtual', 'cxa_guard', 'fallback_malloc', 'private_typeinfo'],
    ...['stdlib_exception', 'stdlib_new_delete', 'stdlib_stdexcept', 'stdlib_typeinfo'],
  ].map((name) => join('libcxxabi', 'src', `${name}.cpp`)),
  ...['string', 'memory', 'hash', 'new_helpers', 'stdexcept', 'functional'].map((name) =>
    join('libcxx', 'src', `${name}.cpp`),
  ),
  join('libunwind', 'src', 'Unwind-wasm.c'),
].map((name) => join(library, name));

function pythonsZig() {
  const folder = execFileSync('python3', ['-c', 'import ziglang; print(ziglang.__path__[0])'], {
    encoding: 'utf8',
  });
  return join(folder.trim(), 'zig');
}

const run = async (...args) => {
  const { stderr } = await promisify(execFile)(zig, args, { cwd: root, maxBuffer: 1 << 26 });
  if (stderr) process.stderr.write(stderr);
};

/** The object files of some sources, as many at once as there are processors. Those of a module are in its folder. */
async function compile(files, flags, folder = 'both') {
  mkdirSync(join(objects, folder), { recursive: true });
  const objectOf = (file) =>
    join(
      objects,
      folder,
      `${basename(dirname(dirname(file)))}-${basename(dirname(file))}-${basename(file)}.o`,
    );
  const left = [...files];
  const worker = async () => {
    for (let file = left.shift(); file !== undefined; file = left.shift()) {
      const compiler = file.endsWith('.c') ? 'cc' : 'c++';
      await run(compiler, ...common, ...flags(file), '-c', file, '-o', objectOf(file));
    }
  };
  await Promise.all(Array.from({ length: availableParallelism() }, worker));
  return files.map(objectOf);
}

async function buildModules() {
  const both = [
    ...(await compile(ourFiles(), () => ours)),
    ...(await compile(theirFiles, (file) => (file.endsWith('.c') ? theirs.slice(1) : theirs))),
  ];
  const exported = ['malloc', 'free', 'napi_register_wasm_v1', 'node_api_module_get_api_version_v1'];
  const libraries = [`-L${join(emnapi, 'lib', 'wasm32-wasi')}`, '-lemnapi-basic'];
  const linker = ['export-table', 'import-symbols', 'strip-all', 'gc-sections'];
  for (const [name, module] of Object.entries(modules)) {
    const own = await compile(filesOf(module), () => [...ours, ...module.flags], module.table);
    await run(
      ...['cc', ...target, ...module.flags, '-O2', '-mexec-model=reactor', ...both, ...own, ...libraries],
      ...[...exported.map((name) => `export=${name}`), ...linker].map((flag) => `-Wl,--${flag}`),
      ...['-o', join(out, name)],
    );
  }
}

/** The linker makes imports of symbols that nothing defines. */
function checkImports(name) {
  const strangers = WebAssembly.Module.imports(new WebAssembly.Module(readFileSync(join(out, name))))
    .filter(({ module, name }) => module !== 'napi' && !/^_?(em)?napi_/.test(name))
    .map(({ name }) => name);
  if (strangers.length > 0) throw new Error(`${name}: nothing defines ${strangers.join(', ')}`);
}

async function buildPackage() {
  await build({
    absWorkingDir: root,
    entryPoints: ['native/wasm/node.cjs'],
    outfile: join(out, 'index.js'),
    bundle: true,
    platform: 'node',
    minify: true,
    logLevel: 'warning',
    legalComments: 'eof',
  });
  copyFileSync(join(root, 'LICENSE'), join(out, 'LICENSE'));
  const contents = {
    name: '@dynaquant/wasm32',
    version,
    description: 'dynaquant in WebAssembly, for platforms without a native build and for browsers',
    license,
    main: './index.js',
    exports: {
      '.': { browser: './index.mjs', default: './index.js' },
      ...Object.fromEntries(names.map((name) => [`./${name}`, `./${name}`])),
      './package.json': './package.json',
    },
    files: ['index.js', 'index.mjs', ...names],
    engines,
  };
  writeFileSync(join(out, 'package.json'), `${JSON.stringify(contents, null, 2)}\n`);
}

mkdirSync(out, { recursive: true });
await buildModules();
// Node 20 has relaxed SIMD, but not by default.
if (process.version.startsWith('v20.')) setFlagsFromString('--experimental-wasm-relaxed-simd');
names.forEach(checkImports);
await buildPackage();
for (const name of [...names, 'index.js', 'index.mjs']) {
  const bytes = readFileSync(join(out, name));
  const sizes = [bytes, gzipSync(bytes, { level: 9 }), brotliCompressSync(bytes)].map(({ length }) => length);
  console.log(`${name}: ${sizes.join(', ')} bytes plain, with gzip, with brotli`);
}
