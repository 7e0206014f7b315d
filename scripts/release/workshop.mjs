// What the scripts of a release share: their folder, pinned tools, commands.
import { spawn } from 'node:child_process';
import { existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

export const root = fileURLToPath(new URL('../..', import.meta.url));
export const workshop = join(root, 'build-release');
export const tarballs = join(workshop, 'tarballs');

/** Runs a command and gives its standard output; what it says otherwise goes into the error. */
export const run = (command, args, options = {}) =>
  new Promise((resolve, reject) => {
    const child = spawn(command, args, { cwd: root, stdio: ['ignore', 'pipe', 'pipe'], ...options });
    const said = { stdout: '', stderr: '' };
    for (const name of Object.keys(said)) child[name]?.on('data', (text) => (said[name] += text));
    child.on('error', reject);
    child.on('close', (code, signal) => {
      if (code === 0) return resolve(said.stdout);
      const all = (said.stdout + said.stderr).slice(-8000);
      reject(new Error(`${command} ${args.join(' ')} ended with ${code ?? signal}\n${all}`));
    });
  });

/** Runs `make(folder)` unless it ran before for the same `version`. */
export async function once(name, version, make) {
  const folder = join(workshop, name);
  const stamp = join(folder, '.version');
  if (!existsSync(stamp) || readFileSync(stamp, 'utf8') !== version) {
    rmSync(folder, { recursive: true, force: true });
    mkdirSync(folder, { recursive: true });
    await make(folder);
    writeFileSync(stamp, version);
  }
  return folder;
}

/** Installs PyPI's wheels of a file with pinned hashes into a folder of their own. */
export function wheels(name, file, more = []) {
  const requirements = join(dirname(fileURLToPath(import.meta.url)), file);
  return once(name, readFileSync(requirements, 'utf8'), (folder) =>
    run('python3', [
      ...['-m', 'pip', 'install', '--quiet', '--disable-pip-version-check', '--no-deps', '--require-hashes'],
      ...['--only-binary=:all:', '--target', folder, '-r', requirements, ...more],
    ]),
  );
}

/** Works on all items, as many at a time as there are `workers`. */
export async function forEach(items, workers, work) {
  const queue = [...items];
  await Promise.all(
    Array.from({ length: workers }, async () => {
      while (queue.length > 0) await work(queue.shift());
    }),
  );
}
