// `npm run release:build`: every tarball of a release, on one Linux x64 machine, with the tools that requirements.txt
// pins, into build-release/tarballs. `-- linux-x64 win32-arm64` builds these platforms alone. Twice gives the same bytes.
import { copyFileSync, mkdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { dirname, join } from 'node:path';
import nodeApi from 'node-api-headers';
import { chosen, platforms } from './platforms.mjs';
import { forEach, root, run, tarballs, wheels, workshop } from './workshop.mjs';

const scripts = join(root, 'scripts', 'release');
const published = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'));
const wasm = '@dynaquant/wasm32';

const started = Date.now();
const wanted = chosen(process.argv.slice(2));
const tools = await wheels('tools', 'requirements.txt');
const zig = join(tools, 'ziglang', 'zig');
await run('npm', ['run', '--silent', 'build:types']);
rmSync(tarballs, { recursive: true, force: true });
mkdirSync(tarballs, { recursive: true });
const cores = availableParallelism();
await forEach(wanted, Math.min(cores, wanted.length), async (platform) => {
  await pack(await packagePlatform(platform, await buildBinary(platform)));
});
await run('npm', ['run', '--silent', 'build:wasm'], { env: { ...process.env, ZIG: zig } });
await pack(join(root, 'build', 'wasm32'));
await pack(await packageLibrary());
console.log(`${Math.round((Date.now() - started) / 1000)} s`);

async function buildBinary({ name, os, cpu, target, compile, link }) {
  const folder = join(workshop, name);
  const [sources, includes] = [[join(scripts, 'demangle.cc')], [nodeApi.include_dir]];
  if (os === 'win32') {
    sources.push(join(scripts, 'windows_host.cc'));
    includes.push(folder);
    nameFunctions(join(folder, 'node_api_names.inc'));
  }
  const define = Object.entries({
    CMAKE_TOOLCHAIN_FILE: join(scripts, 'zig.cmake'),
    CMAKE_MAKE_PROGRAM: join(tools, 'bin', 'ninja'),
    CMAKE_BUILD_TYPE: 'Release',
    ZIG: zig,
    TARGET: target,
    TEST_DOORS: 'OFF',
    ARCH: cpu === 'x64' ? 'x86_64' : 'aarch64',
    CMAKE_CXX_FLAGS: ['-g0', ...compile, `-ffile-prefix-map=${root}=./`].join(' '),
    CMAKE_MODULE_LINKER_FLAGS: ['-s', ...link].join(' '),
    CMAKE_JS_SRC: sources.join(';'),
    CMAKE_JS_INC: includes.join(';'),
  }).map(([key, value]) => `-D${key}=${value}`);
  const cmake = join(tools, 'cmake', 'data', 'bin', 'cmake');
  await run(cmake, ['-G', 'Ninja', '-S', 'native', '-B', folder, ...define]);
  const jobs = Math.max(1, Math.floor(cores / wanted.length));
  await run(cmake, ['--build', folder, '-j', String(jobs)]);
  return join(folder, 'addon.node');
}

/** For windows_host.cc. */
function nameFunctions(file) {
  const { js_native_api_symbols: ofJavaScript, node_api_symbols: ofNode } = nodeApi.symbols.v8;
  mkdirSync(dirname(file), { recursive: true });
  writeFileSync(file, [...ofJavaScript, ...ofNode].map((name) => `FUNCTION(${name})\n`).join(''));
}

async function packagePlatform({ name, os, cpu, libc }, binary) {
  const folder = join(workshop, 'packages', name);
  const { version, license, engines } = published;
  const where = `${os} ${cpu}${libc ? ` with ${libc}` : ''}`;
  const text = `The native code of [dynaquant](https://www.npmjs.com/package/dynaquant) for ${where}. dynaquant installs it.\n`;
  rmSync(folder, { recursive: true, force: true });
  mkdirSync(folder, { recursive: true });
  copyFileSync(binary, join(folder, 'addon.node'));
  copyFileSync(join(root, 'LICENSE'), join(folder, 'LICENSE'));
  writeFileSync(join(folder, 'README.md'), `# @dynaquant/${name}\n\n${text}`);
  writePackage(folder, {
    name: `@dynaquant/${name}`,
    version,
    description: `The native code of dynaquant for ${where}`,
    license,
    main: 'addon.node',
    files: ['addon.node'],
    engines,
    os: [os],
    cpu: [cpu],
    ...(libc && { libc: [libc] }),
    preferUnplugged: true, // Yarn: a binary cannot be loaded out of an archive
  });
  return folder;
}

/** What the checkout publishes, the sources of the native code in one file, and the platforms. */
async function packageLibrary() {
  const folder = join(workshop, 'packages', 'dynaquant');
  const [{ files }] = JSON.parse(await run('npm', ['pack', '--dry-run', '--json', '--ignore-scripts']));
  rmSync(folder, { recursive: true, force: true });
  for (const { path } of files) {
    mkdirSync(dirname(join(folder, path)), { recursive: true });
    copyFileSync(join(root, path), join(folder, path));
  }
  // As files they would take five times the disk, and Yarn would run node-gyp because there is a binding.gyp.
  const same = ['--sort=name', '--mtime=@0', '--owner=0', '--group=0', '--numeric-owner', '--mode=a+rX,go-w'];
  const archive = ['--exclude=native/wasm', '-I', 'xz -9e', '-cf', join(folder, 'native.tar.xz')];
  await run('tar', [...same, ...archive, 'binding.gyp', 'native']);
  const binaries = platforms.map(({ name }) => [`@dynaquant/${name}`, published.version]);
  writePackage(folder, {
    ...published,
    private: undefined,
    scripts: undefined,
    devDependencies: undefined,
    files: [...published.files, 'native.tar.xz'],
    optionalDependencies: Object.fromEntries(binaries),
    // Who wants it installs it, of the same version; a strict package manager then lets dynaquant see it.
    peerDependencies: { [wasm]: published.version },
    peerDependenciesMeta: { [wasm]: { optional: true } },
  });
  return folder;
}

function writePackage(folder, contents) {
  writeFileSync(join(folder, 'package.json'), `${JSON.stringify(contents, null, 2)}\n`);
}

/** npm gives all files of a tarball the same date, and sorts them. */
async function pack(folder) {
  const args = ['pack', '--json', '--ignore-scripts', '--pack-destination', tarballs];
  const [{ filename, unpackedSize }] = JSON.parse(await run('npm', args, { cwd: folder }));
  const packed = statSync(join(tarballs, filename)).size;
  console.log(`${filename}: ${Math.round(packed / 1000)} kB, unpacked ${Math.round(unpackedSize / 1000)} kB`);
}
