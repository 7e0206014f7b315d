// `npm run test:bundlers`: the recipes of docs/bundlers-and-hosts.md. Each is a user's project in an empty folder, which
// gets this checkout's packages from a registry on this machine, and the tools from npm, at the versions of
// scripts/bundlers/recipes.mjs. What the program prints at the end must be what it prints without any tool.
// `npm run test:bundlers -- esbuild next` runs the recipes alone whose names begin so. It needs the build.
import { spawn } from 'node:child_process';
import { copyFileSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { delimiter, dirname, join } from 'node:path';
import { app, recipes } from './bundlers/recipes.mjs';
import { withRegistry } from './release/registry.mjs';
import { root, run } from './release/workshop.mjs';

const workshop = mkdtempSync(join(tmpdir(), 'dynaquant-bundlers-'));
const tarballs = join(workshop, 'tarballs');
const platform = `${process.platform}-${process.arch}`;
const published = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'));

/** A tarball of a package whose files are `[from, to]`. */
async function pack(manifest, files) {
  const folder = join(workshop, 'packages', manifest.name);
  for (const [from, to] of files) {
    mkdirSync(dirname(join(folder, to)), { recursive: true });
    copyFileSync(from, join(folder, to));
  }
  writeFileSync(join(folder, 'package.json'), JSON.stringify(manifest));
  await run('npm', ['pack', '--silent', '--ignore-scripts', '--pack-destination', tarballs], { cwd: folder });
}

/** As scripts/release/build.mjs makes them, with the binary that node-gyp built here, and one of another platform. */
async function packAll() {
  mkdirSync(tarballs);
  const { version } = published;
  const addon = join(root, 'build', 'Release', 'addon.node');
  const foreign = platform === 'win32-arm64' ? 'win32-x64' : 'win32-arm64';
  for (const name of [platform, foreign]) {
    const [os, cpu] = name.split('-');
    const manifest = { name: `@dynaquant/${name}`, version, main: 'addon.node', os: [os], cpu: [cpu] };
    await pack({ ...manifest, preferUnplugged: true }, [[addon, 'addon.node']]);
  }
  const listed = await run('npm', ['pack', '--dry-run', '--json', '--ignore-scripts']);
  const files = JSON.parse(listed)[0].files.map(({ path }) => path);
  await pack(
    {
      ...published,
      ...{ private: undefined, scripts: undefined, devDependencies: undefined },
      optionalDependencies: { [`@dynaquant/${platform}`]: version, [`@dynaquant/${foreign}`]: version },
    },
    files.map((path) => [join(root, path), path]),
  );
}

/** What the last command of a recipe prints. */
async function cook({ name, tools = [], files = {}, install = 'npm', commands, manifest }, registry) {
  const folder = join(workshop, name.replaceAll(' ', '-'));
  const empty = `${folder}-empty`;
  mkdirSync(folder);
  mkdirSync(empty);
  const dependencies = { dynaquant: `${registry}/dynaquant-${published.version}.tgz` };
  const all = {
    'app.mjs': app,
    'package.json': JSON.stringify({ private: true, type: 'module', dependencies, ...manifest }),
    '.npmrc': `@dynaquant:registry=${registry}\naudit=false\nfund=false\n`,
    ...files,
  };
  for (const [file, text] of Object.entries(all)) {
    mkdirSync(dirname(join(folder, file)), { recursive: true });
    writeFileSync(join(folder, file), text);
  }
  copyFileSync(join(root, 'test', 'fixtures', 'checkpoints', 'layers.pt'), join(folder, 'layers.pt'));
  const env = {
    ...process.env,
    PATH: [join(folder, 'node_modules', '.bin'), process.env.PATH].join(delimiter),
    EMPTY: empty,
    PLATFORM: platform,
    REGISTRY: registry,
    DYNAQUANT_BINARY: '',
    NO_COLOR: '1',
    NEXT_TELEMETRY_DISABLED: '1',
  };
  const first = install === 'npm' ? [`npm install --silent ${tools.join(' ')}`] : [];
  let printed = '';
  for (const command of [...first, ...commands]) printed = await shell(command, { cwd: folder, env });
  return printed;
}

/** Runs a command with all that it starts, which ends with it. */
function shell(command, options) {
  return new Promise((resolve, reject) => {
    const child = spawn('bash', ['-euc', command], {
      ...options,
      stdio: ['ignore', 'pipe', 'pipe'],
      detached: true,
    });
    let said = '';
    let stdout = '';
    child.stdout.on('data', (text) => (stdout += text) && (said += text));
    child.stderr.on('data', (text) => (said += text));
    const end = () => {
      try {
        process.kill(-child.pid, 'SIGKILL');
      } catch {
        // it has ended by itself
      }
    };
    const timer = setTimeout(end, 300_000);
    child.on('exit', (code, signal) => {
      clearTimeout(timer);
      end();
      if (code === 0) resolve(stdout);
      else reject(new Error(`${command}\nended with ${code ?? signal}\n${said.slice(-4000)}`));
    });
  });
}

const wanted = process.argv.slice(2);
const chosen = recipes.filter(
  ({ name }) => wanted.length === 0 || wanted.some((each) => name.startsWith(each)),
);
let failed = 0;
await packAll();
await withRegistry(async (registry) => {
  const expected = (await cook({ name: 'npm alone', commands: ['node app.mjs'] }, registry)).trim();
  console.log(`without a tool: ${expected}`);
  for (const recipe of chosen) {
    const start = performance.now();
    const seconds = () => `${Math.round((performance.now() - start) / 1000)} s`;
    try {
      const printed = await cook(recipe, registry);
      const lines = printed.trim().split('\n');
      if (!lines.at(-1).includes(expected)) throw new Error(`it printed ${printed.slice(-2000)}`);
      console.log(`${recipe.name}: the same, ${seconds()}`);
    } catch (error) {
      failed++;
      console.log(`${recipe.name}: failed, ${seconds()}\n${error.message}`);
    }
  }
}, tarballs);
rmSync(workshop, { recursive: true, force: true });
console.log(`${chosen.length - failed} of ${chosen.length} recipes hold`);
process.exitCode = failed === 0 && chosen.length > 0 ? 0 : 1;
