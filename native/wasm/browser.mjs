// SPDX-License-Identifier: MIT
// The addon, in browsers.
import { isFused } from './fused.mjs';
import { instantiate, moduleName } from './glue.mjs';

/** The addon of WebAssembly code: an address, a Response, bytes or a compiled module, or what gives it for a name. */
export async function load(source = besideThis()) {
  return instantiate(await compiled(await (typeof source === 'function' ? source(moduleName()) : source)));
}

// Each address in one piece, because that is how bundlers find the files.
function besideThis() {
  return isFused()
    ? new URL('./dynaquant-relaxed.wasm', import.meta.url)
    : new URL('./dynaquant.wasm', import.meta.url);
}

async function compiled(source) {
  if (source instanceof WebAssembly.Module) return source;
  const isAddress = typeof source === 'string' || source instanceof URL;
  const response = isAddress ? await fetch(source) : source;
  if (!(response instanceof Response)) return WebAssembly.compile(response);
  if (!response.ok) throw new Error(`${response.url}: status ${response.status} ${response.statusText}`);
  // Not compileStreaming, which refuses what a server sends with another type than application/wasm.
  return WebAssembly.compile(await response.arrayBuffer());
}
