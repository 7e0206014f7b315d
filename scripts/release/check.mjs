// `npm run release:check`: what `npm run release:build` left in build-release. Reads every binary, installs every
// platform, and WebAssembly, from a registry on this machine, and runs those that can run here: linux-x64 and WebAssembly
// in this Node, the others in emulators. `-- win32-x64` does it for this one, which must be there, and WebAssembly alone.
// Needs Debian's llvm, qemu-user, libc6-arm64-cross and wine64, and the build, whose digests it compares.
import {
  copyFileSync,
  cpSync,
  existsSync,
  readFileSync,
  readdirSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { availableParallelism } from 'node:os';
import { join, relative } from 'node:path';
import { checkBinary } from './check-binary.mjs';
import { machines, runNode } from './machines.mjs';
import { chosen, wasm32 } from './platforms.mjs';
import { install, withRegistry } from './registry.mjs';
import { forEach, root, run, tarballs, workshop } from './workshop.mjs';

// On the disk as `du -h` counts: 2.0M. Windows on x64 has most, because functions save more registers there. Of a Linux
// x64 binary's 1.0 MB the kernels are 0.6, of five instruction sets; the library has 0.52 MB of JavaScript, 0.22 of types
// and 0.14 of native sources. WebAssembly brings two modules and the library for browsers.
const largest = { packed: 0.9e6, installed: 2.0 * 2 ** 20, withWebAssembly: 4.0e6 };
const recipe = [
  'values in the FP32 model is 0.12887\n',
  'values in the INT8 model is 0.12912\n',
  'between the output tensors is 0.00156 or 1.21 percent\n',
];
const failures = [];
const expect = (holds, sentence) => {
  if (!holds) failures.push(sentence);
};

const { version } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'));
const tarball = (name) => join(tarballs, `${name === 'dynaquant' ? '' : 'dynaquant-'}${name}-${version}.tgz`);
const named = process.argv.slice(2);
const built = chosen(named).filter(({ name }) => named.length > 0 || existsSync(tarball(name)));
const bytes = (...names) => names.reduce((sum, name) => sum + statSync(tarball(name)).size, 0);
const started = Date.now();
const say = (text) => console.log(`${Math.round((Date.now() - started) / 1000)} s  ${text}`);

await forEach(built, availableParallelism(), async (platform) => {
  failures.push(...(await checkBinary(platform, join(workshop, 'packages', platform.name, 'addon.node'))));
  const packed = bytes('dynaquant', platform.name);
  say(`${platform.name}: ${Math.round(packed / 1000)} kB packed`);
  expect(packed <= largest.packed, `${platform.name}: ${packed} bytes packed, more than ${largest.packed}`);
});

const digests = join(workshop, 'digest.json');
writeFileSync(digests, await run(process.execPath, ['scripts/digest.mjs']));
await withRegistry(async (url) => {
  for (const target of [...built, wasm32]) await checkInstallation(target, await install(url, target));
});
const running = [...built, wasm32].filter(({ runs }) => runs);
await forEach(running, availableParallelism(), checkOnMachine);

for (const failure of failures) console.error(failure);
console.log(
  `${built.length} binaries read, they and WebAssembly installed, ${running.length} run: ${failures.length} failures`,
);
process.exitCode = failures.length === 0 && built.length > 0 ? 0 : 1;

async function checkInstallation({ name }, folder) {
  const modules = join(folder, 'node_modules');
  const installed = readdirSync(modules).flatMap((entry) =>
    entry.startsWith('@') ? readdirSync(join(modules, entry)).map((each) => `${entry}/${each}`) : entry,
  );
  const found = installed.filter((entry) => !entry.startsWith('.')).sort();
  expect(String(found) === `@dynaquant/${name},dynaquant`, `${name}: npm installed ${found.join(', ')}`);
  const onDisk = 1024 * Number.parseInt(await run('du', ['-sk', modules]), 10);
  say(`${name}: ${Math.round(onDisk / 1000)} kB installed`);
  const limit = name === wasm32.name ? largest.withWebAssembly : largest.installed;
  expect(onDisk <= limit, `${name}: ${onDisk} bytes on the disk, more than ${limit}`);
}

/** The recipe's figures, what users do first, and the digests of every instruction set that the machine has. */
async function checkOnMachine({ name }) {
  const folder = join(workshop, 'machines', name);
  const machine = await machines[name]();
  cpSync(join(root, 'build', 'examples'), join(folder, 'examples'), { recursive: true });
  copyFileSync(join(root, 'scripts', 'release', 'on-machine.cjs'), join(folder, 'on-machine.cjs'));
  const text = await runNode(machine, ['examples/recipe.js'], { cwd: folder });
  for (const line of recipe) expect(text.includes(line), `${name}: the recipe does not say ${line.trim()}`);

  const result = JSON.parse(await runNode(machine, ['on-machine.cjs'], { cwd: folder }));
  say(`${name}: ${result.platform} ${result.arch}, Node ${result.version}, works`);
  for (const failure of result.failures) failures.push(`${name}: another result with ${failure}`);

  const { main } = JSON.parse(readFileSync(join(folder, 'node_modules', '@dynaquant', name, 'package.json')));
  const binary = relative(root, join(folder, 'node_modules', '@dynaquant', name, main));
  const digest = await runNode(machine, ['scripts/digest.mjs', relative(root, digests)], {
    cwd: root,
    stdout: join(folder, 'digest.json'),
    variables: { DYNAQUANT_BINARY: binary },
  });
  say(`${name}: the same bits on ${Object.keys(JSON.parse(digest)).join(', ')}`);
}
