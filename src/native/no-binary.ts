import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';

import { setupError, type Coded } from '../errors.js';

/** A binary that was tried, and what `require` said. */
export interface Failure {
  readonly request: string;
  readonly error: unknown;
}

/** The error when no installed binary loads: what was looked for, and what can be done, as commands. */
export function noBinary(root: string, failures: readonly Failure[]): Coded<Error> {
  const tried = failures.map(({ request, error }) => `  ${request}: ${reason(error)}`);
  const lines = [`dynaquant has no binary for ${machine()}. It looked for`, ...tried, ...remedies(root)];
  const loud = failures.find(({ error }) => !isMissing(error));
  return setupError('ERR_NATIVE_ADDON', lines.join('\n'), { cause: (loud ?? failures[0])?.error });
}

/** What decides which binary fits. */
export function machine(): string {
  const libc = process.platform === 'linux' ? ` (${libcName()})` : '';
  return `${process.platform}-${process.arch}${libc} with Node ${process.versions.node}`;
}

function libcName(): string {
  const report = process.report.getReport() as { header: { glibcVersionRuntime?: string } };
  const { glibcVersionRuntime } = report.header;
  return glibcVersionRuntime === undefined ? 'musl' : `glibc ${glibcVersionRuntime}`;
}

/** The first line of what `require` said; in short, if there is nothing of that name. */
export function reason(error: unknown): string {
  return isMissing(error) ? 'is not there' : String((error as Error).message).split('\n')[0]!;
}

function isMissing(error: unknown): boolean {
  return (error as { code?: string }).code === 'MODULE_NOT_FOUND';
}

function remedies(root: string): string[] {
  if (existsSync(join(root, 'src'))) return ['Run `npm run build` in this checkout.'];
  const libc = process.platform === 'linux' && libcName() === 'musl' ? '-musl' : '';
  const name = `@dynaquant/${process.platform}-${process.arch}${libc}`;
  const version = optionalDependencies(root)[name];
  const install =
    version === undefined
      ? `There is no package for this platform.`
      : `If optional dependencies were left out, or node_modules comes from another platform:\n  npm install --no-save ${name}@${version}`;
  return [
    install,
    'To build it, with Python 3, make and a C++17 compiler:',
    `  tar xzf ${join(root, 'native.tgz')} -C ${root}`,
    `  npm install --no-save node-addon-api@8 node-gyp@12 && npx node-gyp rebuild -C ${root}`,
    '  (npm_config_disturl=URL takes Node\u2019s headers from a mirror, npm_config_nodedir=FOLDER from a folder)',
    'To use a binary that lies elsewhere: DYNAQUANT_BINARY=FILE, or setNativeBinary(FILE) before the first use.',
  ];
}

function optionalDependencies(root: string): Record<string, string> {
  try {
    const text = readFileSync(join(root, 'package.json'), 'utf8');
    return (JSON.parse(text) as { optionalDependencies?: Record<string, string> }).optionalDependencies ?? {};
  } catch {
    return {}; // a bundle, far from any package.json
  }
}
