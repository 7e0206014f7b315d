// Makes each of the package's two programs one file: what `require('dynaquant')` loads, and the command. Loading a
// hundred modules takes 30 ms more. White space is removed because V8 reads all of it at every start; names stay, and so
// do lines, so that a stack trace can be read.
import { build } from 'esbuild';
import { writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

const root = fileURLToPath(new URL('..', import.meta.url));
const { outputFiles } = await build({
  absWorkingDir: root,
  entryPoints: ['src/index.ts', 'src/cli/dynaquant.ts'],
  bundle: true,
  platform: 'node',
  target: 'node20',
  outdir: 'dist',
  minifyWhitespace: true,
  minifySyntax: true,
  lineLimit: 110,
  logLevel: 'warning',
  write: false,
});
for (const { path, text } of outputFiles) writeFileSync(path, withClassNames(text));

// esbuild puts a `_` before the name of a class whose body names it. Its keepNames would mend that, but it names every
// function at every start, which takes a sixth of a cold start. test/package.test.ts compares all names.
function withClassNames(text) {
  return text.replace(
    /=class _(\w+)[^{]*\{/g,
    (head, name) => `${head}static{Object.defineProperty(this,"name",{value:"${name}",configurable:!0})}`,
  );
}
