import { execFileSync } from 'node:child_process';
import { cpSync, existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { gzipSync } from 'node:zlib';

import { testIf } from './support.js';

// The package @dynaquant/wasm32, which `npm run build:wasm` makes, in Node. browser.test.ts has it in a browser.

const root = join(__dirname, '..');
const folder = join(root, 'build', 'wasm32');
const isBuilt = existsSync(join(folder, 'package.json'));
const testBuilt = (name: string, f: () => void, timeout?: number): void =>
  testIf(isBuilt, 'npm run build:wasm', name, f, timeout);

const modules = { wasm: 'dynaquant.wasm', wasm_relaxed: 'dynaquant-relaxed.wasm' } as const;
type Table = keyof typeof modules;

// Node 20 has relaxed SIMD, but not by default.
const flags = process.version.startsWith('v20.') ? ['--experimental-wasm-relaxed-simd'] : [];

function node(args: string[], binary: string): string {
  const env = { ...process.env, DYNAQUANT_BINARY: binary };
  const options = { cwd: root, env, encoding: 'utf8', stdio: 'pipe', maxBuffer: 2 ** 28 } as const;
  return execFileSync(process.execPath, [...flags, ...args], options);
}
const fused = JSON.stringify(pathToFileURL(join(root, 'native/wasm/fused.mjs')).href);

/** The package with one module under both names, so that it is taken whatever the engine has. */
let copies: string;
beforeAll(() => {
  copies = mkdtempSync(join(tmpdir(), 'dynaquant-wasm32-'));
  if (!isBuilt) return;
  for (const [table, module] of Object.entries(modules)) {
    cpSync(folder, join(copies, table), { recursive: true });
    for (const name of Object.values(modules)) cpSync(join(folder, module), join(copies, table, name));
  }
});
afterAll(() => rmSync(copies, { recursive: true }));
const only = (table: Table): string => join(copies, table, 'index.js');

/** What x64 and arm64 processors have, but for x64 ones from before 2013. Others may multiply and add in two steps. */
const isFused = ['x64', 'arm64'].includes(process.arch);
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
  'computes the same bits as native code, with relaxed SIMD and without',
  () => {
    const digests = (binary: string): unknown => JSON.parse(node(['scripts/digest.mjs'], binary));
    const { scalar } = digests('') as Record<string, unknown>;
    expect(digests(only('wasm'))).toEqual({ wasm: scalar });
    if (isFused) expect(digests(only('wasm_relaxed'))).toEqual({ wasm_relaxed: scalar });
  },
  600_000,
);

testBuilt('takes products of words where activations do not fit seven bits', () => {
  // Ranges of 255 steps. Those of 127, in which -1 to 1 are half a step more than 63 on both sides, may have a 128.
  const code = `
    const dq = require('./dist/index.js');
    dq.manualSeed(0);
    const full = { activation: 'perTensor', weight: { qscheme: 'per_tensor_symmetric' }, reduceRange: false };
    const results = [];
    for (const qconfig of [full, undefined]) {
      const layer = new dq.nn.Linear(70, 33);
      const model = dq.quantization.quantizeDynamic(layer, qconfig && new Map([[dq.nn.Linear, qconfig]]));
      const x = dq.randn(9, 70).clamp(-1, 1);
      results.push([...model.forward(x).data]);
    }
    console.log(JSON.stringify(results));`;
  const expected = node(['-e', code], '');
  for (const table of ['wasm', ...(isFused ? ['wasm_relaxed'] : [])] as Table[]) {
    expect(node(['-e', code], only(table))).toBe(expected);
  }
});

describe('the choice of a module', () => {
  const tables = (options: string[], binary: string): string =>
    node([...options, '-p', 'require("./dist/native/addon.js").native().isas().join()'], binary).trim();
  testBuilt('is the one with relaxed SIMD where that rounds once', () => {
    expect(tables([], join(folder, 'index.js'))).toBe(isFused ? 'wasm_relaxed' : 'wasm');
  });
  // V8 then multiplies and adds in two instructions, as it does on older processors.
  (process.arch === 'x64' ? testBuilt : test.skip)('is the other where it rounds twice', () => {
    expect(tables(['--no-enable-fma3'], join(folder, 'index.js'))).toBe('wasm');
    expect(() => tables(['--no-enable-fma3'], only('wasm_relaxed'))).toThrow(
      /dynaquant-relaxed\.wasm would give other results here: take dynaquant\.wasm/,
    );
  });
  testBuilt('is told to a page that says where the files are', () => {
    const code = `
      const { readFileSync } = require('node:fs');
      import(${JSON.stringify(pathToFileURL(join(root, 'native/wasm/browser.mjs')).href)}).then(async ({ load }) => {
        const addon = await load((file) => Promise.resolve(readFileSync(${JSON.stringify(folder)} + '/' + file)));
        console.log(addon.isas().join());
      });`;
    expect(node(['-e', code], '').trim()).toBe(isFused ? 'wasm_relaxed' : 'wasm');
  });
  test('takes no other rounding for one, in no lane', () => {
    const code = `
      const twice = (a, b, c) => Math.fround(Math.fround(a * b) + c);
      const inDouble = (a, b, c) => Math.fround(a * b + c);
      // In double the sum gets an odd last bit where it is inexact, so that a float is rounded to as if at once.
      const once = (a, b, c) => {
        const product = a * b, sum = product + c, ofC = sum - product;
        const rest = product - (sum - ofC) + (c - ofC);
        const bits = new BigInt64Array(Float64Array.of(sum).buffer);
        if (rest !== 0 && bits[0] % 2n === 0n) bits[0] += rest > 0 === sum > 0 ? 1n : -1n;
        return Math.fround(new Float64Array(bits.buffer)[0]);
      };
      const lanes = (f, lane = -1) => (a, b, c) => a.map((x, i) => (i === lane ? f : once)(x, b[i], c[i]));
      import(${fused}).then(({ roundsOnce }) => {
        const wrong = [twice, inDouble].flatMap((f) => [0, 1, 2, 3].map((lane) => roundsOnce(lanes(f, lane))));
        console.log(JSON.stringify([roundsOnce(lanes()), ...wrong]));
      });`;
    expect(JSON.parse(node(['-e', code], ''))).toEqual([true, ...Array.from({ length: 8 }, () => false)]);
  });
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

// Sizes have 32 bits there. Each of these calls wants more than 2^32 bytes, of which 2^32 would leave a few.
testBuilt(
  'refuses calls that need more memory than there can be',
  () => {
    const result = wasm(`
    const codes = [];
    for (const call of [
      () => new dq.nn.RNN(1, 1).forward(dq.zeros(1, 2 ** 25 + 1, 1)),
      () => dq.quantization.quantizeDynamic(new dq.nn.LSTM(1, 1)).forward(dq.zeros(1, 2 ** 25 + 1, 1)),
      () => new dq.Tensor(new Float32Array(2 ** 30 + 16), [2 ** 30 + 16]).sum(),
      () => dq.zeros(2 ** 16, 1).add(dq.zeros(1, 2 ** 16)),
    ]) try { codes.push(call()); } catch (error) { codes.push(error.code); }
    return [...codes, dq.ones(2).sum().item()];
  `);
    expect(result).toEqual([...Array.from({ length: 4 }, () => 'ERR_TOO_LARGE'), 2]);
  },
  60_000,
);

testBuilt('does not take an overflown size for one of an array', () => {
  const result = wasm(`
    const addon = require('./dist/native/addon.js').native();
    const [depth, rows] = [2 ** 16, 2 ** 16]; // inputs of 2^32 floats
    const handle = new addon.FloatLinear({ weight: new Float32Array(depth), bias: null }, depth, 1, false);
    const { callWords, callLayout } = addon.callMemory;
    callWords[callLayout.arrays] = 3;
    callWords[callLayout.linearRows] = rows;
    try { handle.forward(new Float32Array(0), new Float32Array(rows)); } catch ({ message }) { return message; }
  `);
  expect(result).toBe('x has 0 elements instead of 4294967295');
});

testBuilt('shares a model within a thread, and refuses that of another', () => {
  const result = wasm(`
    const { Worker } = require('node:worker_threads');
    const quantized = () => dq.quantization.quantizeDynamic(new dq.nn.Linear(4, 4));
    const model = quantized(), x = dq.randn(2, 4), shared = dq.share(model);
    const same = dq.fromShared(structuredClone(shared)).forward(x).equal(model.forward(x));
    // The other thread shares a model too, so that the number is one of its own.
    const code = \`
      const dq = require('./dist/index.js');
      const { parentPort, workerData } = require('node:worker_threads');
      dq.share(dq.quantization.quantizeDynamic(new dq.nn.Linear(4, 4)));
      try { dq.fromShared(workerData); } catch ({ code, message }) { parentPort.postMessage([code, message]); }\`;
    const worker = new Worker(code, { eval: true, workerData: shared });
    const error = await new Promise((resolve, reject) => worker.once('message', resolve).once('error', reject));
    return [same, ...error];
  `);
  const sentence = 'WebAssembly shares no weights between threads, because each has memory of its own';
  expect(result).toEqual([true, 'ERR_UNSUPPORTED', `fromShared: ${sentence}: load the model in each`]);
});

testBuilt('is small: with the JavaScript of a page at most 600 KB compressed', () => {
  const compressed = (file: string): number => gzipSync(readFileSync(file), { level: 9 }).length;
  const common = compressed(join(folder, 'index.mjs'));
  // A page loads one of them.
  for (const name of Object.values(modules)) {
    expect(common + compressed(join(folder, name))).toBeLessThan(600_000);
  }
});
