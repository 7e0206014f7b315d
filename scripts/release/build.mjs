// `npm run release:build`: every tarball of a release, on one Linux x64 machine, with the tools that requirements.txt
// pins, into build-release/tarballs. `-- linux-x64 win32-arm64` builds these platforms alone. Twice gives the same bytes.
import { copyFileSync, mkdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { availableParallelism } from 'node:os';
import { dirname, join } from 'node:path';
import { chosen, platforms } from './platforms.mjs';
import { forEach, root, run, tarballs, wheels, workshop } from './workshop.mjs';

const headers = dirname(createRequire(import.meta.url).resolve('node-api-headers/package.json'));
const published = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'));

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
await pack(await packageLibrary());
console.log(`${Math.round((Date.now() - started) / 1000)} s`);

async function buildBinary({ name, os, cpu, target, link }) {
  const folder = join(workshop, name);
  const define = Object.entries({
    CMAKE_TOOLCHAIN_FILE: join(root, 'scripts', 'release', 'zig.cmake'),
    CMAKE_MAKE_PROGRAM: join(tools, 'bin', 'ninja'),
    CMAKE_BUILD_TYPE: 'Release',
    ZIG: zig,
    TARGET: target,
    ARCH: cpu === 'x64' ? 'x86_64' : 'aarch64',
    CMAKE_CXX_FLAGS: `-ffile-prefix-map=${root}=./`,
    CMAKE_MODULE_LINKER_FLAGS: ['-s', ...link].join(' '),
    CMAKE_JS_INC: join(headers, 'include'),
    CMAKE_JS_LIB: os === 'win32' ? await importLibrary(folder, cpu) : '',
  }).map(([key, value]) => `-D${key}=${value}`);
  const cmake = join(tools, 'cmake', 'data', 'bin', 'cmake');
  await run(cmake, ['-G', 'Ninja', '-S', 'native', '-B', folder, ...define]);
  const jobs = Math.max(1, Math.floor(cores / wanted.length));
  await run(cmake, ['--build', folder, '-j', String(jobs)]);
  return join(folder, 'addon.node');
}

/** Windows wants to know at link time which program will have Node-API's functions. */
async function importLibrary(folder, cpu) {
  mkdirSync(folder, { recursive: true });
  const library = join(folder, 'node.lib');
  const machine = cpu === 'x64' ? 'i386:x86-64' : 'arm64';
  const definitions = join(headers, 'def', 'node_api.def');
  await run(zig, ['dlltool', '-m', machine, '-d', definitions, '-D', 'node.exe', '-l', library]);
  return library;
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

/** What the checkout publishes, without what only the checkout needs, and with the platforms. */
async function packageLibrary() {
  const folder = join(workshop, 'packages', 'dynaquant');
  const [{ files }] = JSON.parse(await run('npm', ['pack', '--dry-run', '--json', '--ignore-scripts']));
  rmSync(folder, { recursive: true, force: true });
  for (const { path } of files) {
    // Yarn runs node-gyp where a package has a binding.gyp beside its package.json, whatever `gypfile` says.
    const to = join(folder, path === 'binding.gyp' ? 'native/binding.gyp' : path);
    mkdirSync(dirname(to), { recursive: true });
    copyFileSync(join(root, path), to);
  }
  const binaries = platforms.map(({ name }) => [`@dynaquant/${name}`, published.version]);
  const ours = { private: undefined, scripts: undefined, devDependencies: undefined };
  writePackage(folder, { ...published, ...ours, optionalDependencies: Object.fromEntries(binaries) });
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
