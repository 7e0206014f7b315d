import { setupError } from '../errors.js';
import type { NativeAddon } from '../native/handles.js';

// native/addon.ts of browsers: the addon is @dynaquant/wasm32, which takes time to load.

let addon: NativeAddon | undefined;
let loading: Promise<void> | undefined;

/** Where the WebAssembly code comes from: an address, a response of `fetch`, or bytes. */
export type WasmSource = string | URL | Response | Uint8Array | ArrayBuffer;

/** Gives that for the file's name, which the engine decides: `dynaquant.wasm`, or `dynaquant-relaxed.wasm`. */
export type WasmLocator = (file: string) => WasmSource | Promise<WasmSource>;

/**
 * Loads the WebAssembly code. Call it before anything else, and wait: models cannot compute before. Only browsers need
 * it, and only the first call loads.
 *
 * @param source default: the file that suits the browser, beside the JavaScript of `@dynaquant/wasm32`
 * @throws {Error} when the code cannot be loaded: the cause says why
 */
export async function init(source?: WasmSource | WasmLocator): Promise<void> {
  loading ??= loadAddon(source);
  try {
    await loading;
  } catch (cause) {
    loading = undefined;
    throw setupError('ERR_NATIVE_ADDON', 'init: the WebAssembly code of dynaquant cannot be loaded', {
      cause,
    });
  }
}

async function loadAddon(source: WasmSource | WasmLocator | undefined): Promise<void> {
  // @ts-expect-error -- a package that a build makes, without types
  const { load } = (await import('@dynaquant/wasm32')) as {
    load(source?: WasmSource | WasmLocator): Promise<NativeAddon>;
  };
  addon = await load(source);
}

/** The addon. @throws {Error} before it is loaded */
export function native(): NativeAddon {
  if (addon === undefined) {
    throw setupError('ERR_NATIVE_ADDON', 'dynaquant has no code to compute with yet: wait for init() first');
  }
  return addon;
}

/** Gives some of the addon's functions. */
export function cached(): () => NativeAddon {
  return native;
}
