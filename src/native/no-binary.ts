import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';

import { setupError, type Coded } from '../errors.js';

/** A binary that was tried, and what `require` said. */
export interface Failure {
  readonly request: string;
  readonly error: unknown;
}

/**
 * The error when no installed binary loads: what was looked for, and what can be done, as commands. `root` is where
 * dynaquant is installed; a bundle that runs without its node_modules has none.
 */
export function noBinary(root: string | undefined, failures: readonly Failure[]): Coded<Error> {
  const tried = failures.map(({ request, error }) => `  ${request}: ${reason(error)}`);
  const denied = failures.find(({ error }) => isDenied(error));
  const remedies = denied ? permission() : root === undefined ? bundled() : installed(root);
  const verb = denied ? 'may load no binary' : 'has no binary';
  const lines = [`dynaquant ${verb} for ${machine()}. It looked for`, ...tried, ...remedies];
  const loud = denied ?? failures.find(({ error }) => !isMissing(error));
  return setupError('ERR_NATIVE_ADDON', lines.join('\n'), { cause: (loud ?? failures[0])?.error });
}

/** What decides which binary fits. */
export function machine(): string {
  const libc = process.platform === 'linux' ? ` (${libcName() ?? 'unknown libc'})` : '';
  const { node, deno, bun } = process.versions;
  const runtime = deno ? `Deno ${deno}` : bun ? `Bun ${bun}` : `Node ${node}`;
  return `${process.platform}-${process.arch}${libc} with ${runtime}`;
}

/** Deno tells it only with `--allow-sys`. */
function libcName(): string | undefined {
  try {
    const report = process.report.getReport() as { header: { glibcVersionRuntime?: string } };
    const { glibcVersionRuntime } = report.header;
    return glibcVersionRuntime === undefined ? 'musl' : `glibc ${glibcVersionRuntime}`;
  } catch {
    return undefined;
  }
}

/** The first line of what `require` said; in short, if there is nothing of that name. */
export function reason(error: unknown): string {
  return isMissing(error) ? 'is not there' : String((error as Error).message).split('\n')[0]!;
}

function isMissing(error: unknown): boolean {
  return (error as { code?: string }).code === 'MODULE_NOT_FOUND';
}

/** Deno's error without `--allow-ffi`, and Node's with `--permission` or `--no-addons`. */
function isDenied(error: unknown): boolean {
  const { name, code } = error as { name?: string; code?: string };
  return name === 'NotCapable' || code === 'ERR_DLOPEN_DISABLED' || code === 'ERR_ACCESS_DENIED';
}

function permission(): string[] {
  if (process.versions['deno'] !== undefined) {
    return ['Run it with --allow-ffi, which loads the binary, and --allow-read, which finds it.'];
  }
  return ['Run it without --no-addons; with --permission, add --allow-addons and --allow-fs-read=FOLDER.'];
}

const elsewhere =
  'To use a binary that lies elsewhere: DYNAQUANT_BINARY=FILE, or setNativeBinary(FILE) before the first use.';

/** The name of this platform's package. */
function packageName(): string {
  const libc = libcName() === 'musl' && process.platform === 'linux' ? '-musl' : '';
  return `@dynaquant/${process.platform}-${process.arch}${libc}`;
}

function bundled(): string[] {
  const name = packageName();
  return [
    'It is part of a bundle, whose folder and those above have no node_modules with the binary. Either',
    `copy node_modules/${name} along with the bundle, or its addon.node alone, and name that.`,
    elsewhere,
  ];
}

function installed(root: string): string[] {
  if (existsSync(join(root, 'src'))) return ['Run `npm run build` in this checkout.'];
  const name = packageName();
  const version = optionalDependencies(root)[name];
  const install =
    version === undefined
      ? [`There is no package for this platform.`]
      : [
          'If optional dependencies were left out, or node_modules comes from another platform:',
          `  npm install --no-save ${name}@${version}`,
          `If a tool copied node_modules and left that package out: tell it to copy node_modules/${name}.`,
        ];
  return [
    ...install,
    'To build it, with Python 3, make and a C++17 compiler:',
    `  tar xf ${join(root, 'native.tar.xz')} -C ${root}`,
    `  npm install --no-save node-addon-api@8 node-gyp@12 && npx node-gyp rebuild -C ${root}`,
    '  (npm_config_disturl=URL takes Node\u2019s headers from a mirror, npm_config_nodedir=FOLDER from a folder)',
    elsewhere,
  ];
}

function optionalDependencies(root: string): Record<string, string> {
  try {
    const text = readFileSync(join(root, 'package.json'), 'utf8');
    return (JSON.parse(text) as { optionalDependencies?: Record<string, string> }).optionalDependencies ?? {};
  } catch {
    return {};
  }
}
