// SPDX-License-Identifier: MIT
// The addon, in browsers.
import { instantiate } from './glue.mjs';

/** The addon of WebAssembly code: an address, a Response, bytes or a compiled module. */
export async function load(source = new URL('./dynaquant.wasm', import.meta.url)) {
  return instantiate(await compiled(await source));
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
