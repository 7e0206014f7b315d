import { fileURLToPath } from 'node:url';

// What a release has a binary for. `target` is zig's name, `compile` and `link` are for its compiler and its linker. A
// binary of a platform without `runs` is only looked at.
const exports = fileURLToPath(new URL('exports.map', import.meta.url));
const sections = ['-ffunction-sections', '-fdata-sections'];
const elf = {
  compile: sections,
  link: ['-Wl,-z,now', '-Wl,--gc-sections', `-Wl,--version-script=${exports}`],
};
const mach = { compile: sections, link: ['-Wl,-undefined,dynamic_lookup', '-Wl,-dead_strip', '-Wl,-x'] };
// BUILDING_NODE_EXTENSION: Node-API's functions are imported (windows_host.cc). Brepro: no date of the link is in the file.
const pe = {
  compile: [...sections, '-DBUILDING_NODE_EXTENSION'],
  link: ['-Wl,--gc-sections', '-Wl,-Brepro'],
};

export const platforms = [
  { os: 'linux', cpu: 'x64', libc: 'glibc', target: 'x86_64-linux-gnu.2.28', ...elf, runs: true },
  { os: 'linux', cpu: 'x64', libc: 'musl', target: 'x86_64-linux-musl', ...elf, runs: true },
  { os: 'linux', cpu: 'arm64', libc: 'glibc', target: 'aarch64-linux-gnu.2.28', ...elf, runs: true },
  { os: 'linux', cpu: 'arm64', libc: 'musl', target: 'aarch64-linux-musl', ...elf, runs: true },
  { os: 'darwin', cpu: 'arm64', target: 'aarch64-macos.12.0', ...mach },
  { os: 'darwin', cpu: 'x64', target: 'x86_64-macos.12.0', ...mach },
  { os: 'win32', cpu: 'x64', target: 'x86_64-windows-gnu', ...pe, runs: true },
  { os: 'win32', cpu: 'arm64', target: 'aarch64-windows-gnu', ...pe },
].map((platform) => ({
  ...platform,
  name: `${platform.os}-${platform.cpu}${platform.libc === 'musl' ? '-musl' : ''}`,
}));

/** WebAssembly, installed where there is no binary. */
export const wasm32 = {
  name: 'wasm32',
  os: 'freebsd',
  cpu: 'x64',
  runs: true,
  asked: ['dynaquant', '@dynaquant/wasm32'],
};

/** Those that are named, or all. */
export function chosen(names) {
  const unknown = names.filter((name) => platforms.every((platform) => platform.name !== name));
  if (unknown.length > 0) {
    throw new Error(`no platform ${unknown}; there are ${platforms.map(({ name }) => name).join(', ')}`);
  }
  return names.length === 0 ? platforms : platforms.filter(({ name }) => names.includes(name));
}
