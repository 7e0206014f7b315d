// A registry on this machine that serves a release's tarballs and nothing else, and installations from it.
import { spawn } from 'node:child_process';
import {
  existsSync,
  mkdirSync,
  readdirSync,
  realpathSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { run, tarballs, workshop } from './workshop.mjs';

const folder = join(workshop, 'registry');

/** Calls `use(url)` while it runs. */
export async function withRegistry(use) {
  rmSync(folder, { recursive: true, force: true });
  mkdirSync(folder, { recursive: true });
  const everyone = { access: '$all', publish: '$all' };
  const config = {
    storage: join(folder, 'storage'),
    packages: { '**': everyone },
    log: { type: 'stdout', level: 'warn' },
  };
  writeFileSync(join(folder, 'config.yaml'), JSON.stringify(config)); // YAML is a superset of JSON
  const url = `http://localhost:${await freePort()}`;
  await run('npm', ['install', '--silent', '--no-save', '--prefix', folder, 'verdaccio@6.10.4']);
  const program = join(folder, 'node_modules', 'verdaccio', 'bin', 'verdaccio');
  const args = [program, '--config', join(folder, 'config.yaml'), '--listen', url];
  const server = spawn(process.execPath, args, { stdio: 'ignore', cwd: folder });
  try {
    await answer(url);
    for (const name of readdirSync(tarballs))
      await npm(url, ['publish', join(tarballs, name), '--access=public'], folder);
    return await use(url);
  } finally {
    server.kill();
  }
}

const freePort = () =>
  new Promise((resolve) => {
    const server = createServer().listen(0, () => {
      const { port } = server.address();
      server.close(() => resolve(port));
    });
  });

async function answer(url) {
  for (let tries = 0; tries < 600; tries++) {
    if (
      await fetch(url).then(
        ({ ok }) => ok,
        () => false,
      )
    )
      return;
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
  throw new Error('the registry does not answer');
}

/** Installs into an empty folder for a platform, with no compiler on the PATH, and gives the folder. */
export async function install(url, { name, os, cpu, libc }) {
  const target = join(workshop, 'machines', name);
  rmSync(target, { recursive: true, force: true });
  mkdirSync(target, { recursive: true });
  writeFileSync(join(target, 'package.json'), '{ "private": true }\n');
  const platform = [`--os=${os}`, `--cpu=${cpu}`, ...(libc ? [`--libc=${libc}`] : [])];
  await npm(url, ['install', '--ignore-scripts', ...platform, 'dynaquant'], target);
  return target;
}

/** npm with Node alone on its PATH. */
async function npm(url, args, cwd) {
  const bin = join(folder, 'bin');
  if (!existsSync(bin)) {
    mkdirSync(bin);
    symlinkSync(process.execPath, join(bin, 'node'));
  }
  const path = (process.env.PATH ?? '').split(':').find((each) => existsSync(join(each, 'npm')));
  const cli = realpathSync(join(path, 'npm'));
  const auth = `--//${new URL(url).host}/:_authToken=nobody`; // npm does not publish without one
  const options = [`--registry=${url}`, auth, `--cache=${join(folder, 'cache')}`, '--no-audit', '--no-fund'];
  return run(process.execPath, [cli, ...args, ...options], { cwd, env: { ...process.env, PATH: bin } });
}
