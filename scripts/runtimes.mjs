// `npm run test:runtimes`: the built library in other versions of Node, in Bun and in Deno, which load the same addon.
// Each computes the digests of every instruction set and the recipe's figures, which must be those of the Node that runs
// this script. Bun and Deno also run the core of the tests with jest, which takes minutes. `npm run test:runtimes -- bun` runs those alone whose names
// begin so.
//
// The runtimes come from npm into build-runtimes/. Without them a runtime is skipped aloud, or fails where
// DYNAQUANT_REQUIRE_ALL=1.
import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, readdirSync, readFileSync, renameSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = fileURLToPath(new URL('..', import.meta.url));
const bunArch = process.arch === 'arm64' ? 'aarch64' : process.arch;

const runtimes = [
  ...['22.23.5', '24.22.3', '26.12.1'].map((version) => ({
    name: `node ${version}`,
    package: `node-linux-${process.arch}@${version}`,
    command: ['bin/node'],
  })),
  { name: 'bun 1.4.5', package: `@oven/bun-linux-${bunArch}@1.4.5`, command: ['bin/bun'], tests: true },
  {
    name: 'deno 2.9.6',
    package: `@deno/linux-${process.arch}-glibc@2.9.6`,
    command: ['deno', 'run', '--allow-all', '--quiet'],
    tests: true,
    // What docs/runtimes.md says that calls need.
    permissions: ['run', '--no-prompt', '--allow-read', '--allow-ffi', '--allow-env'],
  },
];

// The tests that use most of what a runtime has to give: native calls, threads, workers, memory, files. What layers
// compute is in the digests.
const core = [
  'cpu-count',
  'dispose',
  'forward-async',
  'native',
  'recipe',
  'safetensors',
  'save',
  'share',
  'streams',
  'thread-pool',
  'threads',
];

// Single tests of these that are left out, each with the reason.
const leftOut = {
  everywhere: {
    '200 workers, 20 at once': 'it takes a minute; other tests terminate a worker in each way',
    '10,000 models come and go without holding memory': 'it takes a minute; others measure memory as well',
  },
  bun: {
    'that another thread finds have the caller’s stack': 'jest sees a stack of another form there',
    'that cannot be had for':
      'one would fill the gigabytes that Bun reserves at one start and not at another',
  },
  deno: {
    'leaves the old file or the new one': 'its process.argv has one more word after -e',
    'that cannot be had for': 'these tests start it by a shell, and `deno -e` is nothing',
    'may be a pipe': 'a write into a full pipe blocks Deno, so that it never reads what the pipe gives',
  },
};

const failures = [];

/** Runs a program in the checkout; what it printed, or undefined if it failed. */
function run(what, [program, ...args]) {
  const { status, signal, error, stdout, stderr } = spawnSync(program, args, {
    cwd: root,
    encoding: 'utf8',
    env: { ...process.env, NO_COLOR: '1' },
    maxBuffer: 1 << 28,
    timeout: 600_000,
  });
  if (status === 0) return stdout;
  failures.push(`${what} ended with ${error ?? signal ?? status}`);
  process.stderr.write(`${stdout ?? ''}${stderr ?? ''}`);
  return undefined;
}

/** The folder of a runtime, fetched at the first time; undefined where that fails. */
function installed(runtime) {
  const folder = join(root, 'build-runtimes', runtime.name.replace(' ', '-'));
  if (existsSync(folder)) return folder;
  const partial = `${folder}.partial`;
  rmSync(partial, { recursive: true, force: true });
  mkdirSync(partial, { recursive: true });
  const pack = spawnSync(
    'npm',
    ['pack', '--loglevel=error', runtime.package, '--pack-destination', partial],
    {
      encoding: 'utf8',
    },
  );
  const [archive] = readdirSync(partial);
  const unpack =
    pack.status === 0 &&
    spawnSync('tar', ['xzf', join(partial, archive), '-C', partial, '--strip-components=1']);
  if (unpack?.status !== 0) {
    const reason = pack.error?.message ?? (pack.stderr.trim() || unpack?.stderr?.toString().trim());
    console.log(`${runtime.name}: skipped: npm could not fetch ${runtime.package}: ${reason}`);
    return undefined;
  }
  rmSync(join(partial, archive));
  renameSync(partial, folder);
  return folder;
}

/** The recipe's figures without its times. */
const figures = (text) => text?.replace(/^4\. Latency$[^]*?^$/m, '');

function check({ name, command: [program, ...args], permissions = args, tests }, folder, expected) {
  const before = failures.length;
  const start = performance.now();
  const own = join(folder, program);
  if (run(`${name}: digests`, [own, ...permissions, digest]) !== expected.digest)
    failures.push(`${name}: the digests are not those of Node ${process.version}`);
  if (figures(run(`${name}: recipe`, [own, ...args, ...recipe])) !== expected.figures)
    failures.push(`${name}: the recipe's figures are not those of Node ${process.version}`);
  if (name.startsWith('deno')) checkRefusal(name, own);
  if (tests) runCore(name, [own, ...args]);
  const seconds = Math.round((performance.now() - start) / 1000);
  const passed = `digests${tests ? ', recipe and tests' : ' and recipe'} pass`;
  console.log(`${name}: ${failures.length > before ? 'failed' : passed}, ${seconds} s`);
}

/** Without a permission the error names it. */
function checkRefusal(name, deno) {
  const args = ['run', '--no-prompt', '--allow-read', '--allow-env', digest];
  const { stderr } = spawnSync(deno, args, {
    cwd: root,
    encoding: 'utf8',
    env: { ...process.env, NO_COLOR: '1' },
  });
  if (!/may load no binary for \S+ .* with Deno [^]*--allow-ffi/.test(stderr))
    failures.push(`${name}: without --allow-ffi it says ${stderr}`);
}

function runCore(name, command) {
  const skipped = Object.keys({ ...leftOut.everywhere, ...leftOut[name.split(' ')[0]] });
  const files = `/test/(${core.join('|')})\\.test\\.ts$`;
  run(`${name}: tests`, [
    ...[...command, join('node_modules', 'jest', 'bin', 'jest.js'), '--runInBand', '--testTimeout=60000'],
    ...[`--testNamePattern=^(?!.*(${skipped.join('|')}))`, files],
  ]);
}

const digest = join('scripts', 'digest.mjs');
const recipe = [join('examples', 'run.cjs'), 'recipe'];

const texts = core.map((name) => readFileSync(join(root, 'test', `${name}.test.ts`), 'utf8'));
for (const name of Object.values(leftOut).flatMap(Object.keys))
  if (!texts.some((text) => text.includes(name))) failures.push(`there is no test '${name}' to leave out`);

const wanted = process.argv.slice(2);
const expected = {
  digest: run('digests', [process.execPath, digest]),
  figures: figures(run('recipe', [process.execPath, ...recipe])),
};
for (const runtime of runtimes) {
  if (wanted.length > 0 && !wanted.some((each) => runtime.name.startsWith(each))) continue;
  const folder = process.platform === 'linux' ? installed(runtime) : undefined;
  if (folder !== undefined) check(runtime, folder, expected);
  else if (process.env.DYNAQUANT_REQUIRE_ALL === '1') failures.push(`${runtime.name} is missing`);
}
for (const failure of failures) console.error(`runtimes: ${failure}`);
process.exitCode = failures.length === 0 ? 0 : 1;
