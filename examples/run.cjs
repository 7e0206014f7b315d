'use strict';
// `npm run recipe`, `npm run word-language-model`: runs the compiled example, or prints how to compile it.
const { existsSync } = require('node:fs');
const { join } = require('node:path');

const [name] = process.argv.splice(2, 1);
const example = join(__dirname, '..', 'build', 'examples', `${name}.js`);
if (existsSync(example) && existsSync(join(__dirname, '..', 'dist', 'index.js'))) {
  require(example);
  require('../dist/garbage.js').collectGarbage(); // otherwise Node 20 may hang as it exits: see there
} else {
  process.stderr.write(`${name}: this checkout is not built yet: run \`npm run build\`\n`);
  process.exitCode = 1;
}
