// Makes the package's programs few files: what `require('dynaquant')` loads, the command, what both share, and the
// readers of formats that few files have, which are loaded when one comes. Loading a hundred modules takes 30 ms more.
// White space and the names of variables are removed because V8 reads all of it at every start, and a disk holds
// it; the names of functions and classes stay, and so do lines, so that a stack trace can be read. The types become one
// file, which takes a quarter of the disk that two hundred small ones do.
import { build, transform } from 'esbuild';
import { rollup } from 'rollup';
import { dts } from 'rollup-plugin-dts';
import { minify } from 'terser';
import { mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { strictArguments } from './strict-arguments.cjs';

const root = fileURLToPath(new URL('..', import.meta.url));
const style = {
  platform: 'node',
  target: 'node20',
  minifyWhitespace: true,
  logLevel: 'warning',
};

// The sources, with their arguments counted.
const sources = (edit = (text) => text) => ({
  name: 'sources',
  setup: ({ onLoad }) =>
    onLoad({ filter: /src[\\/].*\.ts$/ }, ({ path }) => ({
      contents: edit(strictArguments(path, readFileSync(path, 'utf8'))),
      loader: 'ts',
    })),
});

// A `require` in the sources loads formats.js, which lies beside the file with that call. As a `require`, esbuild would
// put a wrapper around it, in which users' bundlers do not see what it loads.
const lazy = 'requireLazily';
const lazyFormats = (text) =>
  text.replace(/\brequire\(.\.\/formats\/index\.js.\)/, `${lazy}('./formats.js')`);

const { outputFiles } = await build({
  ...style,
  absWorkingDir: root,
  entryPoints: [
    { in: 'src/index.ts', out: 'index' },
    { in: 'src/cli/dynaquant.ts', out: 'cli/dynaquant' },
    { in: 'src/serialization/formats/index.ts', out: 'formats' },
  ],
  outdir: 'dist',
  chunkNames: 'shared-[hash]',
  bundle: true,
  splitting: true, // for which esbuild wants ES modules
  format: 'esm',
  minifySyntax: true,
  plugins: [sources(lazyFormats)],
  write: false,
});
const dist = join(root, 'dist');
for (const name of readdirSync(dist)) if (name.startsWith('shared-')) rmSync(join(dist, name));
// Names without hashes: with them, a change of one file changes another in nothing but the hash, of which Deno takes no
// notice (findings/deno-stale-code-cache.sh).
const shared = outputFiles.filter(({ path }) => basename(path).startsWith('shared-'));
const largestFirst = shared.sort((a, b) => b.text.length - a.text.length);
const names = largestFirst.map(({ path }, i) => [basename(path, '.js'), `shared-${i + 1}`]);
const renamed = (text) => names.reduce((renamedText, [from, to]) => renamedText.replaceAll(from, to), text);
for (const { path: hashed, text } of outputFiles) {
  const path = renamed(hashed);
  const modules = withVariables(renamed(text)).replaceAll(lazy, 'require');
  const { code } = await transform(modules, { ...style, format: 'cjs' });
  mkdirSync(dirname(path), { recursive: true });
  writeFileSync(path, await withShortVariables(withClassNames(code)));
}

// tsc wrote this file's first form, over the modules' own types.
const types = await rollup({ input: join(dist, 'index.d.ts'), plugins: [dts()], external: /^node:/ });
const [{ code: declarations }] = (await types.generate({ format: 'es' })).output;
const withTabs = declarations.replace(/^( {4})+/gm, (spaces) => '\t'.repeat(spaces.length / 4)); // 3 % shorter
writeFileSync(join(dist, 'index.d.ts'), withTabs);

// What a file of ours takes from another becomes a variable. As CommonJS esbuild would write `(0, file.name)` at each use,
// which calls a getter, in case the other file assigns to it later; none does (eslint.config.mjs). Of the shortest calls
// that took a quarter.
function withVariables(text) {
  return text.replace(
    /\bimport\{([^}]*)\}from("\.[^"]*")/g,
    (_, names, file) => `const{${names.replace(/\s+as\s+/g, ':')}}=require(${file})`,
  );
}

async function withShortVariables(text) {
  const { code } = await minify(text, {
    compress: false,
    mangle: { toplevel: true, keep_fnames: true, keep_classnames: true },
    format: { max_line_len: 110 },
  });
  return code;
}

// What only Node has, and what browsers have in its place.
const forBrowsers = {
  name: 'for browsers',
  setup: ({ onResolve, onLoad }) => {
    onResolve({ filter: /^@dynaquant.wasm32$/ }, () => ({
      path: join(root, 'native', 'wasm', 'browser.mjs'),
    }));
    onLoad({ filter: /wasm.browser\.mjs$/ }, async ({ path }) => ({ contents: await minifiedWasm(path) }));
    const web = (name) => ({ path: join(root, 'src', 'web', name) });
    onResolve({ filter: /native\/addon\.js$|^\.\/addon\.js$/ }, () => web('addon.ts'));
    onResolve({ filter: /\/garbage\.js$/ }, () => web('garbage.ts'));
    onResolve({ filter: /\/file-node(-\w+)?\.js$/ }, () => web('files.ts'));
  },
};

/** The addon and Node-API in JavaScript, whose names no one reads. */
async function minifiedWasm(path) {
  const { outputFiles } = await build({
    entryPoints: [path],
    bundle: true,
    minify: true,
    format: 'esm',
    legalComments: 'inline',
    write: false,
  });
  return outputFiles[0].text;
}

// All of it is in @dynaquant/wasm32, because who is in Node alone should not have it on the disk.
const [browser] = (
  await build({
    absWorkingDir: root,
    entryPoints: ['src/web/index.ts'],
    outfile: 'build/wasm32/index.mjs',
    bundle: true,
    format: 'esm',
    platform: 'browser',
    target: 'es2022',
    inject: ['src/web/globals.ts'],
    minifyWhitespace: true,
    minifySyntax: true,
    lineLimit: 110,
    logLevel: 'warning',
    plugins: [forBrowsers, sources()],
    write: false,
  })
).outputFiles;
mkdirSync(dirname(browser.path), { recursive: true });
writeFileSync(browser.path, withClassNames(browser.text));
writeFileSync(join(dist, 'browser.mjs'), "export * from '@dynaquant/wasm32';\n");
writeFileSync(
  join(dist, 'browser.d.mts'),
  `export * from './index.js';\n${readFileSync(join(dist, 'web', 'addon.d.ts'), 'utf8')
    .replace(/^import .*\n/gm, '')
    .replace(/\/\*\* The addon\.[^]*/, '')}`,
);

// A class says its own name, because esbuild puts a `_` before the name of a class whose body names it, and users'
// bundlers may shorten every name: metadata and sentences show them. A getter costs nothing at a start; esbuild's keepNames
// takes a sixth of it. test/package.test.ts compares all names. Stack traces show the name that stands after `class`.
function withClassNames(text) {
  return text.replace(
    /(\w+)(\s*=\s*class\b)(?:(\s+_?)(?!extends\b)(\w+))?([^{]*\{)/g,
    (_, variable, assigned, space = ' ', own = variable, rest) =>
      `${variable}${assigned}${space}${own}${rest}static get name(){return"${own}"}`,
  );
}
