// SPDX-License-Identifier: MIT
// The addon, in Node.
const { readFileSync } = require('node:fs');
const { join } = require('node:path');
const { instantiateSync, moduleName } = require('./glue.mjs');

module.exports = instantiateSync(new WebAssembly.Module(readFileSync(join(__dirname, moduleName()))));
