import { existsSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { dirname, join } from 'node:path';

import { setupError } from '../errors.js';
import type { NativeAddon } from './handles.js';

let addon: NativeAddon | undefined;

/**
 * The addon, loaded at the first call. `DYNAQUANT_ISA` lowers the choice of instruction set,
 * `DYNAQUANT_NUM_THREADS`, or else `OMP_NUM_THREADS`, is the number of threads until `setNumThreads` changes it,
 * `DYNAQUANT_PREBUILD` is another folder with builds than the package's own.
 *
 * @throws {Error} when there is no build for this machine, `DYNAQUANT_ISA` names no instruction set that it
 * can run, or `DYNAQUANT_NUM_THREADS` is not a number of threads.
 */
export function native(): NativeAddon {
  return (addon ??= loadAddon());
}

/**
 * Gives some of the addon's functions, which are cached, because reading a property of the addon is slow. It is loaded
 * at the first call.
 */
export function cached<Name extends keyof NativeAddon>(
  ...names: readonly Name[]
): () => Pick<NativeAddon, Name> {
  let functions: Pick<NativeAddon, Name> | undefined;
  return () => {
    if (functions === undefined) {
      const loaded = native();
      functions = Object.fromEntries(names.map((name) => [name, loaded[name]])) as Pick<NativeAddon, Name>;
    }
    return functions;
  };
}

function loadAddon(): NativeAddon {
  const root = process.env['DYNAQUANT_PREBUILD'] || packageRoot();
  const named = process.env['DYNAQUANT_BINARY'];
  let loaded: NativeAddon | undefined;
  try {
    // eslint-disable-next-line @typescript-eslint/no-require-imports -- has no types, and loads lazily
    loaded = require(named || addonFile(root)) as NativeAddon;
  } catch (error) {
    loaded = named ? undefined : webAssembly();
    if (loaded === undefined) {
      throw setupError(
        'ERR_NATIVE_ADDON',
        `dynaquant has no native build for ${process.platform}-${process.arch} in ${named || root}: run \`npm run build\` there`,
        { cause: error },
      );
    }
  }
  obeyEnvironment(loaded);
  return loaded;
}

/** The package for platforms without a native build, if it is installed. */
function webAssembly(): NativeAddon | undefined {
  try {
    // eslint-disable-next-line @typescript-eslint/no-require-imports -- as above
    return require('@dynaquant/wasm32') as NativeAddon;
  } catch {
    return undefined;
  }
}

/** The folder of package.json. How far above it is depends on whether this file is part of the bundle. */
function packageRoot(): string {
  let folder = __dirname;
  while (!existsSync(join(folder, 'package.json')) && dirname(folder) !== folder) folder = dirname(folder);
  return folder;
}

/** What `npm run build` made here, else what `npm run prepack` made for the package. */
function addonFile(root: string): string {
  const built = join(root, 'build', 'Release', 'addon.node');
  if (existsSync(built)) return built;
  const libc = existsSync('/etc/alpine-release') ? 'musl' : 'glibc'; // prebuildify's tag, whatever the system
  return join(root, 'prebuilds', `${process.platform}-${process.arch}`, `addon.${libc}.node`);
}

function obeyEnvironment({ isas, selectIsa, maxThreads, setDefaultNumThreads }: NativeAddon): void {
  const wanted = process.env['DYNAQUANT_ISA'];
  if (wanted !== undefined && wanted !== '' && !selectIsa(wanted)) {
    throw setupError(
      'ERR_ENVIRONMENT',
      `DYNAQUANT_ISA is '${wanted}', which this machine cannot run; it has ${isas().join(', ')}`,
    );
  }
  const threads = process.env['DYNAQUANT_NUM_THREADS'];
  if (threads !== undefined && threads !== '') {
    if (!/^\d{1,9}$/.test(threads) || Number(threads) < 1 || Number(threads) > maxThreads) {
      throw setupError(
        'ERR_ENVIRONMENT',
        `DYNAQUANT_NUM_THREADS is '${threads}', which is no whole number from 1 to ${maxThreads}`,
      );
    }
    setDefaultNumThreads(Number(threads));
    return;
  }
  // As in PyTorch: the first of a list counts, no more than there are CPUs, and what is no number is ignored.
  const openMP = /^\s*(\d{1,9})\s*(,|$)/.exec(process.env['OMP_NUM_THREADS'] ?? '');
  const most = Number(openMP?.[1] ?? 0);
  if (most > 0) setDefaultNumThreads(Math.min(most, availableParallelism(), maxThreads));
}
