import { join } from 'node:path';

import { setupError } from '../errors.js';
import type { NativeAddon } from './handles.js';

let addon: NativeAddon | undefined;

/**
 * The addon, loaded at the first call. `DYNAQUANT_ISA` lowers the choice of instruction set,
 * `DYNAQUANT_NUM_THREADS` is the number of threads until `setNumThreads` changes it.
 *
 * @throws {Error} when there is no build for this machine, `DYNAQUANT_ISA` names no instruction set that it
 * can run, or `DYNAQUANT_NUM_THREADS` is not a number of threads.
 */
export function native(): NativeAddon {
  return (addon ??= loadAddon());
}

function loadAddon(): NativeAddon {
  const root = join(__dirname, '..', '..');
  let loaded: NativeAddon;
  try {
    // eslint-disable-next-line @typescript-eslint/no-require-imports -- has no types, and loads lazily
    loaded = (require('node-gyp-build') as (directory: string) => NativeAddon)(root);
  } catch (error) {
    throw setupError(
      'ERR_NATIVE_ADDON',
      `dynaquant has no native build for ${process.platform}-${process.arch} in ${root}: run \`npm run build\` there`,
      { cause: error },
    );
  }
  obeyEnvironment(loaded);
  return loaded;
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
  }
}
