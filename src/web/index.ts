/** The library in browsers: everything that it is elsewhere, and `init`. */
export * from '../index.js';
export { init, type WasmLocator, type WasmSource } from './addon.js';
