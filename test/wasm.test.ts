import { execFileSync } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';

import { testIf } from './support.js';

// The package @dynaquant/wasm32, which `npm run build:wasm` makes, in Node. browser.test.ts has it in a browser.

const root = join(__dirname, '..');
const folder = join(root, 'build', 'wasm32');
const isBuilt = existsSync(join(folder, 'package.json'));
const testBuilt = (name: string, f: () => void, timeout?: number): void =>
  testIf(isBuilt, 'npm run build:wasm', name, f, timeout);

function node(args: string[], binary: string): string {
  const env = { ...process.env, DYNAQUANT_BINARY: binary };
  return execFileSync(process.execPath, args, { cwd: root, env, encoding: 'utf8', maxBuffer: 2 ** 28 });
}
const wasm = (script: string): unknown =>
  JSON.parse(
    node(
      [
        '-e',
        `const dq = require('./dist/index.js'); (async () => { ${script} })().then((result) => console.log(JSON.stringify(result)))`,
      ],
      join(folder, 'index.js'),
    ),
  );

testBuilt(
  'computes the same bits as native code',
  () => {
    const native = JSON.parse(node(['scripts/digest.mjs'], '')) as Record<string, unknown>;
    const digests = JSON.parse(node(['scripts/digest.mjs'], join(folder, 'index.js'))) as typeof native;
    expect(Object.keys(digests)).toEqual(['wasm']);
    expect(digests['wasm']).toEqual(native['scalar']);
  },
  600_000,
);

testBuilt('runs large calls, asynchronous ones, and many after memory has grown', () => {
  const result = wasm(`
    dq.manualSeed(0);
    const small = dq.quantization.quantizeDynamic(new dq.nn.LSTM(8, 8));
    const x = dq.randn(3, 1, 8);
    const before = small.forward(x)[0].data.join();
    const large = new dq.nn.Linear(3000, 3000);
    const input = dq.randn(200, 3000);
    const [a, b] = [large.forward(input), await large.forwardAsync(input)];
    dq.setNumThreads(4);
    return [a.equal(b), small.forward(x)[0].data.join() === before, dq.getNumThreads()];
  `);
  expect(result).toEqual([true, true, 1]);
});

testBuilt('throws the same errors', () => {
  const result = wasm(`
    const sentences = [];
    for (const call of [
      () => dq.quantization.quantizeDynamic(new dq.nn.LSTM(4, 4)).forward(dq.tensor([[[1, NaN, 2, 3]]])),
      () => dq.setNumThreads(0),
    ]) try { call(); } catch (error) { sentences.push(error.code); }
    return sentences;
  `);
  expect(result).toEqual(['ERR_NOT_FINITE', 'ERR_INVALID_ARG_VALUE']);
});

testBuilt('leaves arrays in shared memory as they are', () => {
  const result = wasm(`
    const data = new Float32Array(new SharedArrayBuffer(4 * 600)).fill(2);
    const sum = new dq.Tensor(data, [600]).add(1).sum().item();
    return [sum, data.every((value) => value === 2)];
  `);
  expect(result).toEqual([1800, true]);
});

testBuilt('is small: with the JavaScript of a page at most 600 KB compressed', () => {
  const sizes = ['dynaquant.wasm', 'index.mjs'].map(
    (name) => gzipSync(readFileSync(join(folder, name)), { level: 9 }).length,
  );
  expect(sizes.reduce((sum, size) => sum + size)).toBeLessThan(600_000);
});
