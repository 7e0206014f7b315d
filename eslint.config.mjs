import tseslint from 'typescript-eslint';

// Another realm (jest, a worker, a vm context) has its own constructors, and perhaps its own copy of this package.
const builtinInstanceof = {
  selector:
    "BinaryExpression[operator='instanceof'][right.name=/(Array|ArrayBuffer|Error|Promise|Map|Set)$/]",
  message: 'Use ArrayBuffer.isView, the Symbol.toStringTag or the name: instanceof fails across realms.',
};
// Where every class is one of the package's or its user's. Only functions that tell a kind (isTensor, isModule) may
// try instanceof before they look closer.
const anyInstanceof = {
  selector: "BinaryExpression[operator='instanceof']:not(FunctionDeclaration[id.name=/^is[A-Z]/] *)",
  message: 'Use isTensor, isModule or isInstanceOf: instanceof fails for another copy of the package.',
};
const noErrorWithoutCode = {
  selector: ':matches(NewExpression, CallExpression)[callee.name=/^(Type|Range|Syntax)?Error$/]',
  message: 'Use typeError, rangeError, setupError or CheckpointError of src/errors.ts, which have a code.',
};

// scripts/bundle.mjs takes an export's value once.
const noExportOfVariables = {
  selector: "ExportNamedDeclaration > VariableDeclaration[kind!='const']",
  message: 'Export a function that returns it: files of the bundle take the value of an export once.',
};

// Untyped rules for everything; the few rules that need types, where a forgotten await could hide.
export default tseslint.config(
  { ignores: ['build/', 'examples/service/build/', 'build-*/', 'dist/', 'docs/api/', 'test/fixtures/'] },
  tseslint.configs.strict,
  {
    linterOptions: { reportUnusedDisableDirectives: 'error' },
    rules: {
      eqeqeq: ['error', 'always', { null: 'ignore' }],
      'no-var': 'error',
      'prefer-const': 'error',
      'object-shorthand': 'error',
      'no-console': 'error',
      'no-restricted-syntax': ['error', builtinInstanceof],
      'max-lines': ['error', 500],
      '@typescript-eslint/consistent-type-imports': ['error', { fixStyle: 'inline-type-imports' }],
      '@typescript-eslint/no-unused-vars': ['error', { argsIgnorePattern: '^_' }],
      // Index arithmetic on typed arrays is in range by construction; `!` says so.
      '@typescript-eslint/no-non-null-assertion': 'off',
    },
  },
  {
    files: ['**/*.{ts,mts}'],
    languageOptions: {
      parserOptions: { project: './tsconfig.test.json', tsconfigRootDir: import.meta.dirname },
    },
    rules: {
      '@typescript-eslint/await-thenable': 'error',
      '@typescript-eslint/no-floating-promises': 'error',
      '@typescript-eslint/no-misused-promises': 'error',
      '@typescript-eslint/switch-exhaustiveness-check': [
        'error',
        { considerDefaultExhaustiveForUnions: true },
      ],
    },
  },
  // A package of its own. Where its dependencies are not installed, the rules that need types see less.
  {
    files: ['examples/service/**/*.ts'],
    languageOptions: {
      parserOptions: { project: './examples/service/tsconfig.json', tsconfigRootDir: import.meta.dirname },
    },
    rules: {
      '@typescript-eslint/no-floating-promises': [
        'error',
        {
          allowForKnownSafeCalls: [
            { from: 'package', package: 'node:test', name: ['test', 'before', 'after'] },
          ],
        },
      ],
    },
  },
  // An exception is a disable directive with its reason; one that is not needed is an error.
  {
    files: ['src/**'],
    rules: { 'max-lines-per-function': ['error', 60], 'max-params': ['error', 6] },
  },
  {
    files: ['src/**'],
    ignores: ['src/errors.ts'],
    rules: { 'no-restricted-syntax': ['error', builtinInstanceof, noErrorWithoutCode, noExportOfVariables] },
  },
  { files: ['test/**'], rules: { 'max-lines': 'off' } },
  { files: ['src/nn/module.ts'], rules: { '@typescript-eslint/no-explicit-any': 'off' } },
  {
    files: ['src/*.ts', 'src/tensor/**', 'src/nn/**', 'src/quantization/**'],
    ignores: ['src/errors.ts'],
    rules: { 'no-restricted-syntax': ['error', anyInstanceof, noErrorWithoutCode, noExportOfVariables] },
  },
  { files: ['**/*.cjs'], rules: { '@typescript-eslint/no-require-imports': 'off' } },
  { files: ['scripts/**', 'examples/**', 'benchmarks/**'], rules: { 'no-console': 'off' } },
);
