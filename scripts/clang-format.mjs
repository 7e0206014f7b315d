// Runs clang-format, the binary that comes from npm, over every C++ file of native/, benchmarks/, test/ and
// scripts/release/: `node scripts/clang-format.mjs --check` or `--write`.
import { execFileSync } from 'node:child_process';
import { chmodSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import clangFormat from 'clang-format-node';

const modes = { '--check': ['--dry-run', '--Werror'], '--write': ['-i'] };
const [mode] = process.argv.slice(2);
if (!Object.hasOwn(modes, mode ?? '')) {
  console.error(`usage: clang-format.mjs ${Object.keys(modes).join('|')}`);
  process.exit(2);
}

const folder = (name) => fileURLToPath(new URL(`../${name}/`, import.meta.url));
const filesOf = (path, options) => readdirSync(path, options).map((name) => join(path, name));
const sources = [
  ...filesOf(folder('native'), { recursive: true }),
  ...['benchmarks', 'test', 'scripts/release'].flatMap((name) => filesOf(folder(name))),
]
  .filter((path) => /\.(h|cc)$/.test(path))
  .sort();

const binary = clangFormat.clangFormatPath;
// npm clients that block install scripts leave the binary as the archive had it.
if (process.platform !== 'win32') chmodSync(binary, 0o755);
try {
  execFileSync(binary, [...modes[mode], ...sources], { stdio: 'inherit' });
} catch (error) {
  process.exit(error.status ?? 1);
}
