import { fileURLToPath } from 'node:url';

// What a release has a binary for. `target` is zig's name, `link` is for its linker. A binary of a platform without
// `runs` is only looked at.
const exports = fileURLToPath(new URL('exports.map', import.meta.url));
const elf = ['-Wl,-z,now', '-Wl,--gc-sections', `-Wl,--version-script=${exports}`];
const mach = ['-Wl,-undefined,dynamic_lookup', '-Wl,-dead_strip'];
const pe = ['-Wl,--gc-sections', '-Wl,-Brepro']; // no date of the link in it

export const platforms = [
  { os: 'linux', cpu: 'x64', libc: 'glibc', target: 'x86_64-linux-gnu.2.28', link: elf, runs: true },
  { os: 'linux', cpu: 'x64', libc: 'musl', target: 'x86_64-linux-musl', link: elf, runs: true },
  { os: 'linux', cpu: 'arm64', libc: 'glibc', target: 'aarch64-linux-gnu.2.28', link: elf, runs: true },
  { os: 'linux', cpu: 'arm64', libc: 'musl', target: 'aarch64-linux-musl', link: elf },
  { os: 'darwin', cpu: 'arm64', target: 'aarch64-macos.12.0', link: mach },
  { os: 'darwin', cpu: 'x64', target: 'x86_64-macos.12.0', link: mach },
  { os: 'win32', cpu: 'x64', target: 'x86_64-windows-gnu', link: pe, runs: true },
  { os: 'win32', cpu: 'arm64', target: 'aarch64-windows-gnu', link: pe },
].map((platform) => ({
  ...platform,
  name: `${platform.os}-${platform.cpu}${platform.libc === 'musl' ? '-musl' : ''}`,
}));

/** Those that are named, or all. */
export function chosen(names) {
  const unknown = names.filter((name) => platforms.every((platform) => platform.name !== name));
  if (unknown.length > 0) {
    throw new Error(`no platform ${unknown}; there are ${platforms.map(({ name }) => name).join(', ')}`);
  }
  return names.length === 0 ? platforms : platforms.filter(({ name }) => names.includes(name));
}
