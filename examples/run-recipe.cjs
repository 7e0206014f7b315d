'use strict';
// `npm run recipe`: the compiled recipe, or one line that says how to compile it.
const { existsSync } = require('node:fs');
const { join } = require('node:path');

const recipe = join(__dirname, '..', 'build', 'examples', 'recipe.js');
if (existsSync(recipe) && existsSync(join(__dirname, '..', 'dist', 'index.js'))) {
  require(recipe);
} else {
  process.stderr.write('recipe: this checkout is not built yet: run `npm run build`\n');
  process.exitCode = 1;
}
