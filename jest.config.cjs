'use strict';

/** @type {import('jest').Config} */
module.exports = {
  testEnvironment: 'node',
  // By default one core idles, for who writes code meanwhile.
  maxWorkers: '100%',
  testMatch: ['<rootDir>/test/**/*.test.ts'],
  modulePathIgnorePatterns: [
    '<rootDir>/build/',
    '<rootDir>/build-',
    '<rootDir>/dist/',
    '<rootDir>/benchmarks/node_modules/',
    '<rootDir>/examples/service/',
  ],
  transform: { '^.+\\.ts$': ['<rootDir>/scripts/jest-transform.cjs', { tsconfig: 'tsconfig.test.json' }] },
  moduleNameMapper: {
    '^dynaquant$': '<rootDir>/src/index.ts',
    '^(\\.{1,2}/.*)\\.js$': '$1',
  },
};
