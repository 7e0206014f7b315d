// ts-jest, of sources with the checks that are published with them.
'use strict';
const { default: tsJest } = require('ts-jest');
const { strictArguments } = require('./strict-arguments.cjs');

module.exports = {
  createTransformer(options) {
    const { process, getCacheKey, ...others } = bound(tsJest.createTransformer(options));
    return {
      ...others,
      process: (text, path, ...rest) => process(strictArguments(path, text), path, ...rest),
      getCacheKey: (text, path, ...rest) => getCacheKey(strictArguments(path, text), path, ...rest),
    };
  },
};

function bound(transformer) {
  return Object.fromEntries(
    ['process', 'getCacheKey'].map((name) => [name, (...args) => transformer[name](...args)]),
  );
}
