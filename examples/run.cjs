'use strict';
// `npm run recipe`, `npm run example -- NAME`: runs the compiled example, or prints how to compile it.
const { existsSync } = require('node:fs');
const { join } = require('node:path');

const [name = ''] = process.argv.splice(2, 1);
const built = join(__dirname, '..', 'build', 'examples', `${name}.js`);
const names = ['recipe', 'word-language-model', 'sentence-encoder', 'voice-detector', 'speaker-encoder'];

if (!names.includes(name)) {
  process.stderr.write(`npm run example -- NAME: NAME should be one of ${names.join(', ')}, got '${name}'\n`);
  process.exitCode = 2;
} else if (existsSync(built) && existsSync(join(__dirname, '..', 'dist', 'index.js'))) {
  require(built);
  require('../dist/garbage.js').collectGarbage(); // otherwise Node 20 may hang as it exits: see there
} else {
  process.stderr.write(`${name}: this checkout is not built yet: run \`npm run build\`\n`);
  process.exitCode = 1;
}
