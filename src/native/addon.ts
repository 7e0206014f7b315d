import { existsSync } from 'node:fs';
import { createRequire } from 'node:module';
import { availableParallelism } from 'node:os';
import { dirname, join, resolve } from 'node:path';

import { describe, rangeError, setupError, typeError } from '../errors.js';
import type { NativeAddon } from './handles.js';
import { machine, noBinary, reason, type Failure } from './no-binary.js';

let addon: NativeAddon | undefined;
let loadedFrom: string | undefined;
let named: string | undefined;

/** That of package.json, from which a binary has its own. */
const version = '0.1.0';

/** An addon, or the package of WebAssembly. */
const isBinary = /\.(node|js)$/;

/**
 * Names the file with the native code, where none can be found beside the package: in a bundle, in Electron's
 * `app.asar.unpacked`, in a layer. It must be of this version of dynaquant. The environment variable `DYNAQUANT_BINARY`
 * does the same; this call wins. A worker thread makes a call of its own.
 *
 * @param path of a `.node` file, or of the `index.js` of `@dynaquant/wasm32`, from the working directory on
 * @throws {TypeError} when `path` is not a string @throws {RangeError} when it does not end with `.node` or `.js`
 * @throws {Error} with the code `ERR_NATIVE_ADDON` when there is no such file, or another binary is in use
 */
export function setNativeBinary(path: string): void {
  if (typeof path !== 'string') {
    throw typeError(
      'ERR_INVALID_ARG_TYPE',
      `setNativeBinary: path should be a string, got ${describe(path)}`,
    );
  }
  if (!isBinary.test(path)) {
    const sentence = `setNativeBinary: path should be that of a .node or .js file, got ${describe(path)}`;
    throw rangeError('ERR_INVALID_ARG_VALUE', sentence);
  }
  const file = resolve(path);
  if (addon !== undefined && file !== loadedFrom) {
    throw setupError(
      'ERR_NATIVE_ADDON',
      `setNativeBinary should be called before the first use of dynaquant, which has loaded ${loadedFrom}`,
    );
  }
  if (!existsSync(file)) {
    throw setupError('ERR_NATIVE_ADDON', `setNativeBinary: there is no file ${file}`);
  }
  named = file;
}

/**
 * The addon, loaded at the first call. `DYNAQUANT_ISA` lowers the choice of instruction set,
 * `DYNAQUANT_NUM_THREADS`, or else `OMP_NUM_THREADS`, is the number of threads until `setNumThreads` changes it,
 * `DYNAQUANT_BINARY` is another binary than the installed one.
 *
 * @throws {Error} when there is no binary for this machine, `DYNAQUANT_ISA` names no instruction set that it
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
  const variable = process.env['DYNAQUANT_BINARY'] || undefined;
  let loaded: NativeAddon;
  if (named !== undefined) loaded = loadNamed('setNativeBinary', named);
  else if (variable !== undefined) loaded = loadNamed('DYNAQUANT_BINARY', variable);
  else loaded = loadInstalled();
  obeyEnvironment(loaded);
  return loaded;
}

/** Nothing else is tried when this file does not load. */
function loadNamed(by: string, path: string): NativeAddon {
  const file = resolve(path);
  if (!isBinary.test(file)) {
    const sentence = `${by} should be the path of a .node or .js file, got ${describe(path)}`;
    throw setupError('ERR_ENVIRONMENT', sentence);
  }
  try {
    return load(file);
  } catch (error) {
    const sentence = `${by} names ${file}, which does not load on ${machine()}: ${reason(error)}`;
    throw setupError('ERR_NATIVE_ADDON', sentence, { cause: error });
  }
}

/** What was built here, else what an optional dependency brought, else WebAssembly if that is installed. */
function loadInstalled(): NativeAddon {
  const root = packageRoot();
  const requests = [...installed(), '@dynaquant/wasm32'];
  if (root !== undefined) requests.unshift(join(root, 'build', 'Release', 'addon.node'));
  const failures: Failure[] = [];
  for (const request of requests) {
    try {
      return load(request, root);
    } catch (error) {
      failures.push({ request, error });
    }
  }
  throw noBinary(root, failures);
}

/**
 * What packages of this platform hold: by its place beside this package, else by its name. Tools that copy what a deployment
 * needs, as those of Next.js and Vercel, compute such a place and take the file along, if it is written out in the call. A
 * request by name they do not see, and no package.json goes with the file, so the name is that of the file.
 */
function installed(): string[] {
  // A package manager that knows nothing of C libraries installs both. The first does not load on musl.
  const libcs = process.platform === 'linux' ? ['', '-musl'] : [''];
  return libcs.map((libc) => {
    const name = `${process.platform}-${process.arch}${libc}`;
    const isBeside =
      typeof __dirname === 'string' &&
      existsSync(
        join(__dirname, '..', '..', '@dynaquant', `${process.platform}-${process.arch}${libc}`, 'addon.node'),
      );
    return isBeside
      ? join(__dirname, '..', '..', '@dynaquant', name, 'addon.node')
      : `@dynaquant/${name}/addon.node`;
  });
}

/** Bundlers leave the `require` that Node makes alone, and ES modules have no other. */
function load(request: string, from = here()): NativeAddon {
  const loaded = createRequire(join(from, 'package.json'))(request) as NativeAddon | null;
  if (typeof loaded?.selectIsa !== 'function') {
    throw setupError('ERR_NATIVE_ADDON', 'it is an addon, but not that of dynaquant');
  }
  if (loaded.version !== version) {
    const sentence = `it is of version ${loaded.version}, but this is dynaquant ${version}`;
    throw setupError('ERR_NATIVE_ADDON', sentence);
  }
  loadedFrom = request;
  return loaded;
}

/** The folder of this file, or of the program where a bundler made an ES module of it, or wrote a path of its own. */
function here(): string {
  if (typeof __dirname === 'string' && existsSync(__dirname)) return __dirname;
  return dirname(process.argv[1] ?? process.execPath);
}

/** Where this package is installed; as seen from a bundle, if this file became part of one. */
function packageRoot(): string | undefined {
  try {
    return dirname(createRequire(join(here(), 'package.json')).resolve('dynaquant/package.json'));
  } catch {
    return undefined;
  }
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
