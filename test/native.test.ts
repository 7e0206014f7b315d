import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { Worker } from 'node:worker_threads';

import { native } from '../src/native/addon.js';
import { callLookup } from '../src/native/call.js';
import type { EmbeddingTable, Int8LinearHandle, RNNHandleSizes, Slotted } from '../src/native/handles.js';
import { runRNN, writeWords, type RawRNNCall } from './native-calls.js';
import { runNode } from './support.js';

const root = join(__dirname, '..');
const isas = native().isas();

/** Runs a script with the built package and DYNAQUANT_ISA set. */
function run(isa: string, script: string): { status: number | null; output: string } {
  const env = { ...process.env, DYNAQUANT_ISA: isa };
  const { status, stdout, stderr } = runNode(['-e', script], { cwd: root, env });
  return { status, output: stdout + stderr };
}

describe('DYNAQUANT_ISA', () => {
  const script = `console.log(require('./dist/native/addon.js').native().isa())`;
  test.each(isas)('%s is obeyed', (isa) => expect(run(isa, script).output.trim()).toBe(isa));
  test('empty means the best', () => expect(run('', script).output.trim()).toBe(isas[0]));
  test('an unusable name throws at the first native use and lists what there is', () => {
    const { status, output } = run('mmx', script);
    expect(status).toBe(1);
    expect(output).toContain(
      `DYNAQUANT_ISA is 'mmx', which this machine cannot run; it has ${isas.join(', ')}`,
    );
    expect(run('mmx', `require('dynaquant'); console.log('loaded')`).output.trim()).toBe('loaded');
  });
});

describe('lifetime', () => {
  test('workers have an addon each and may be terminated while they compute', async () => {
    const script = `
      const { nn, randn } = require('dynaquant');
      const lstm = new nn.LSTM(32, 64);
      for (let i = 0; ; i++) { lstm.forward(randn(5, 2, 32)); if (i === 3) require('node:worker_threads').parentPort.postMessage(1); }`;
    const workers = Array.from({ length: 4 }, () => new Worker(script, { eval: true }));
    await Promise.all(workers.map((w) => new Promise((resolve) => w.once('message', resolve))));
    await Promise.all(workers.map((w) => w.terminate()));
  });
  test('10,000 models come and go without holding memory', () => {
    // Finalizers run between turns of the event loop, so the script yields as a service does.
    const script = `
      const { nn, quantization, randn } = require('dynaquant');
      const x = randn(1, 1, 64);
      const round = async (n) => {
        for (let i = 0; i < n; i++) quantization.quantizeDynamic(new nn.LSTM(64, 64)).forward(x);
        global.gc();
        await new Promise(setImmediate);
      };
      (async () => {
        for (let i = 0; i < 10; i++) await round(100);
        const before = process.memoryUsage().rss;
        for (let i = 0; i < 90; i++) await round(100);
        console.log((process.memoryUsage().rss - before) / 1e6);
      })();`;
    const { status, stdout: grown, stderr } = runNode(['--expose-gc', '-e', script], { cwd: root });
    expect([status, stderr]).toEqual([0, '']);
    // 9,000 models of 0.3 MB would be 2.7 GB.
    expect(Number(grown)).toBeLessThan(80);
  });
});

function int8(
  weights: number,
  scales: number,
  inFeatures: number,
  outFeatures: number,
  reduceRange = true,
): Int8LinearHandle {
  const matrix = { weight: new Int8Array(weights), scales: new Float32Array(scales).fill(1), bias: null };
  return new (native().Int8Linear)(matrix, inFeatures, outFeatures, false, reduceRange, false);
}

test('a borrowed method refuses a foreign receiver', () => {
  const addon = native();
  const float = new addon.FloatLinear({ weight: new Float32Array(1), bias: null }, 1, 1, false);
  const streams = new addon.StreamArena([{ layers: 1, hidden: 1, cell: 0 }]);
  const layer = int8(1, 1, 1, 1);
  expect(streams.open()).toBeGreaterThan(0);
  const methods = [
    [float.forward, [{}, null, layer, streams]],
    [float.dispose, [{}, null, layer, streams]],
    [streams.open, [{}, null, layer]],
    [streams.dispose, [{}, null, layer]],
  ] as [(...args: unknown[]) => unknown, unknown[]][];
  for (const [method, receivers] of methods)
    for (const receiver of receivers)
      expect(() => method.call(receiver, new Float32Array(1), new Float32Array(1))).toThrow();
});

const oneUnit = {
  mode: 'LSTM',
  inputSize: 1,
  hiddenSize: 1,
  projSize: 0,
  numLayers: 1,
  directions: 1,
} satisfies RNNHandleSizes;
const floats = (n: number): Float32Array => new Float32Array(n);
const matrix = (n: number): { weight: Float32Array; bias: null } => ({ weight: floats(n), bias: null });

describe('native code checks lengths of its own', () => {
  const addon = native();
  const lstm = new addon.FloatRNN(oneUnit, [matrix(4), matrix(4)]);
  const one = (): Float32Array => floats(1);
  const rnn = (sizes: Partial<RNNHandleSizes>): unknown => new addon.FloatRNN({ ...oneUnit, ...sizes }, []);
  /** A call of the LSTM of one unit. */
  const run = (
    x: Slotted,
    y: Slotted,
    steps: number,
    batch: number,
    more: Partial<RawRNNCall> = {},
  ): unknown => runRNN(lstm, { steps, batch, x, y, hn: one(), cn: one(), ...more });
  // Four rows of x and y, states of two sequences.
  const packed = (steps: number, batch: number, ...sizes: number[]): unknown => {
    const batchSizes = BigInt64Array.from(sizes, BigInt);
    const [x, y, hn, cn] = [floats(4), floats(4), floats(2), floats(2)];
    return runRNN(lstm, { steps, batch, x, y, hn, cn, batchSizes });
  };
  test('packed sizes that fit', () => expect(packed(3, 2, 2, 1, 1)).toBe('ok'));
  test.each<[string, () => unknown]>([
    ['short weight', () => new addon.FloatLinear({ weight: new Float32Array(5), bias: null }, 2, 3, false)],
    ['short bias', () => new addon.FloatLinear({ weight: new Float32Array(6), bias: one() }, 2, 3, false)],
    ['overflowing size', () => new addon.FloatLinear({ weight: one(), bias: null }, 2 ** 40, 2 ** 40, false)],
    ['negative size', () => new addon.FloatLinear({ weight: one(), bias: null }, -1, 1, false)],
    [
      'wrong array',
      () => new addon.FloatLinear({ weight: new Int8Array(1) as never, bias: null }, 1, 1, false),
    ],
    ['scales', () => int8(6, 2, 2, 3)],
    ['depth', () => int8(131072, 1, 131072, 1)],
    ['full-range depth', () => int8(65794, 1, 65794, 1, false)],
    ['matrices', () => rnn({})],
    ['mode', () => rnn({ mode: 'RNN' as never })],
    ['projections of a GRU', () => rnn({ mode: 'GRU', projSize: 1 })],
    ['directions', () => rnn({ directions: 3 })],
    ['x', () => run(one(), one(), 2, 1)],
    ['y', () => run(floats(2), one(), 2, 1)],
    ['h0', () => run(one(), one(), 1, 1, { h0: floats(2) })],
    ['an output too large for its slot', () => run(floats(257), undefined, 257, 1)],
    ['an input too large for its slot', () => run(undefined, floats(257), 257, 1)],
    ['a missing h0', () => run(one(), one(), 1, 257, { inSlots: ['h0'] })],
    [
      'an hn with room for half of c',
      () => run(undefined, floats(2), 1, 2, { hn: floats(3), cn: undefined, joined: ['cn'] }),
    ],
    ['a y with room for h alone', () => run(one(), floats(2), 1, 1, { joined: ['hn', 'cn'] })],
    ['a y with room for all, but its own', () => run(one(), floats(3), 1, 1)],
    ['what is no array', () => run({} as never, one(), 1, 1)],
    ['steps', () => run(floats(0), floats(0), 0, 1)],
    ['batch', () => run(one(), one(), 1, -1)],
    ['layers', () => run(one(), one(), 1, 1, { firstLayer: 1 })],
    ['packed: too few sizes', () => packed(2, 1, 1)],
    ['packed: too many sizes', () => packed(1, 1, 1, 1)],
    ['packed: another batch', () => packed(2, 1, 2, 1)],
    ['packed: rising', () => packed(3, 2, 2, 1, 2)],
    ['packed: zero', () => packed(2, 1, 1, 0)],
    ['packed: negative', () => packed(2, 2, 2, -1)],
    ['packed: beyond memory', () => packed(2, 2 ** 53 - 1, 2 ** 53 - 1, 2 ** 53 - 1)],
    ['packed: rows', () => packed(3, 2, 2, 2, 1)],
    ['state', () => addon.randomSeed(new Uint8Array(3), 1)],
    [
      'misaligned state',
      () => addon.randomSeed(new Uint8Array(addon.generatorStateBytes + 1).subarray(1), 1),
    ],
    [
      'no arguments',
      () =>
        (addon.FloatRNN as unknown as new () => unknown) &&
        new (addon.FloatRNN as unknown as new () => unknown)(),
    ],
    ['no call', () => (addon.FloatLinear as unknown as () => void)()],
    ['no options', () => (addon.quantizeWeight as unknown as () => void)()],
    [
      'range',
      () => addon.randomIntegers(new Uint8Array(addon.generatorStateBytes), new BigInt64Array(1), 0n, 0n),
    ],
    [
      'no bigint',
      () =>
        addon.randomIntegers(new Uint8Array(addon.generatorStateBytes), new BigInt64Array(1), 0 as never, 1n),
    ],
  ])('%s', (_, f) => expect(f).toThrow());
});

/**
 * What hostile sizes do, in a process of its own: for each case `undefined` when it threw, else what it gave. A crash
 * ends the process.
 */
function hostile(script: string): unknown[] {
  const { status, stdout, stderr } = runNode(
    [
      '-e',
      `const { nn, randn, zeros } = require('dynaquant');
       const addon = require('./dist/native/addon.js').native();
       const sizes = ${JSON.stringify(oneUnit)};
       const float = { weight: new Float32Array(4), bias: null };
       const half = { weight: new Uint16Array(4), bias: null };
       const int8 = { weight: new Int8Array(4), scales: new Float32Array(1), bias: null };
       const values = [0, -1, 1.5, 3, 5, NaN, Infinity, 2 ** 31, 2 ** 32, 2 ** 40, 2 ** 53 - 1, 2 ** 53, 2 ** 64, '1', '',
         undefined, null, {}, [], true, Symbol(), 1n];
       const tried = (f) => { try { return [String(f())]; } catch { return [null]; } };
       console.log(JSON.stringify((${script}).flat(9)));`,
    ],
    { cwd: root },
  );
  expect([status, stderr]).toEqual([0, '']);
  return JSON.parse(stdout) as unknown[];
}

describe('impossible sizes throw, and never end the process', () => {
  test('a quantized LSTM that was told it has no layers', () => {
    // A closed module's property cannot be redefined. The handle itself is tested below.
    const script = `['LSTM', 'GRU', 'RNN'].map((name) => tried(() => {
      const q = new nn.quantized.dynamic[name](1, 1);
      Object.defineProperty(q, 'numLayers', { value: 0 });
      return q.forward(randn(1, 1, 1));
    }))`;
    expect(hostile(script)).toEqual([null, null, null]);
  });
  const constructors: Record<string, string> = {
    FloatLinear: '(value) => new addon.FloatLinear(float, NAME, false)',
    HalfLinear: '(value) => new addon.HalfLinear(half, NAME, false)',
    Int8Linear: '(value) => new addon.Int8Linear(int8, NAME, false, true, false)',
    TestInt8Matrix: '(value) => new addon.TestInt8Matrix(int8, NAME, true)',
  };
  test.each(Object.entries(constructors))('new %s', (_, make) => {
    for (const sizes of ['value, 4', '4, value', 'value, value']) {
      const results = hostile(`values.map((value) => tried(() => (${make.replace('NAME', sizes)})(value)))`);
      expect(results).toEqual(results.map(() => null));
    }
  });
  test.each(['FloatRNN, float', 'HalfRNN, half', 'Int8RNN, int8'])('new %s', (names) => {
    const [name, kind] = names.split(', ');
    for (const size of ['inputSize', 'hiddenSize', 'projSize', 'numLayers', 'directions']) {
      // Any number of matrices, so that one of them fits a product of sizes, where there is such a number.
      const script = `[0, 1, 2, 3, 4, 6].map((count) => values.map((value) => tried(() => {
        new addon.${name}({ ...sizes, ${size}: value }, Array(count).fill(${kind}), false, true);
        return [count, value];
      })))`;
      // No projection, or three layers with six matrices, is an LSTM like any other.
      const allowed = { projSize: '2,0', numLayers: '6,3' }[size] ?? null;
      for (const result of hostile(script)) expect([null, allowed]).toContain(result);
    }
    const sparse = `[2 ** 31 - 1, 2 ** 20].map((numLayers) => tried(() =>
      new addon.${name}({ ...sizes, numLayers }, new Array(2 * numLayers), false, true)))`;
    expect(hostile(sparse)).toEqual([null, null]);
    const notThere = `[undefined, null, 1, 'LSTM', {}, [], sizes].map((value) => [
      tried(() => new addon.${name}(value, [${kind}, ${kind}])), tried(() => new addon.${name}(sizes, value)),
      tried(() => new addon.${name}(sizes, [value, value]))]).slice(0, -1)`;
    expect(hostile(notThere).every((result) => result === null)).toBe(true);
  });
  test('forward, whatever its words say', () => {
    const script = `(() => {
      const rnns = [new addon.FloatRNN(sizes, [float, float]), new addon.HalfRNN(sizes, [half, half]),
        new addon.Int8RNN(sizes, [int8, int8], false, true)];
      const linears = [new addon.FloatLinear(float, 2, 2, false), new addon.Int8Linear(int8, 2, 2, false, true, false)];
      const { callWords: words, callLayout: { slotFloats, ...at } } = addon;
      const numbers = values.filter((value) => typeof value === 'number' && value !== 0);
      const one = () => new Float32Array(1);
      const arguments = [undefined, one(), new Float32Array(257), new Float64Array(1), {}, null];
      const results = [];
      for (const word of new Set(Object.values(at))) {
        for (const value of numbers) for (const each of arguments) for (const handle of [...rnns, ...linears]) {
          words.fill(0).set([1, 1, 0, 1], at.rnnSteps);
          words[word] = value;
          results.push(tried(() => handle.forward(each, each, each, each, each, each)));
          results.push(tried(() => handle.forwardPacked(each, each, each, each, each, each, BigInt64Array.of(1n))));
        }
      }
      return [results.length];
    })()`;
    expect(hostile(script)).toEqual([expect.any(Number)]);
  });
  test('the functions', () => {
    const script = `(() => {
      const names = Object.keys(addon).filter((name) => typeof addon[name] === 'function' && !/^[A-Z]|NumThreads/.test(name));
      const arrays = [new Float32Array(8), new Uint8Array(8), new Int8Array(8), new Int32Array(8), new Float64Array(8),
        new BigInt64Array(8), new Uint8Array(addon.generatorStateBytes)];
      const placed = arrays.flatMap((array) => [[0, 2 ** 53 - 1], [2 ** 53 - 1, 1], [4, 2 ** 40]].map(
        ([offset, stride]) => ({ array, offset, stride })));
      const options = values.map((value) => ({ rows: value, columns: 5, stride: 8, scale: 1, inverseScale: 1, zeroPoint: value }));
      const all = [...values, ...arrays, ...placed, ...options];
      // Arguments by a generator with a fixed seed: mistakes in pairs and triples of them, too.
      let state = 1;
      const any = (list) => list[(state = (Math.imul(state, 1664525) + 1013904223) >>> 0) % 65537 % list.length];
      for (const name of names) {
        for (const value of all) for (let i = 0; i < 6; i++) {
          addon.callWords.fill(any([0, 1, 2, 4, 8, 32]));
          tried(() => addon[name](...Array.from({ length: 6 }, (_, j) => (j === i ? value : any(all)))));
        }
      }
      return [names.length];
    })()`;
    expect(Number(hostile(script)[0])).toBeGreaterThan(15);
  });
  test('tables of embeddings', () => {
    const out = floats(4);
    const table: EmbeddingTable = { data: floats(4), affines: null, bits: 32, width: 2 };
    for (const width of [0, -1, 1.5, NaN, 2 ** 53, 2 ** 40, 5, undefined as never]) {
      expect(() => callLookup({ ...table, width }, Int32Array.of(0), out)).toThrow();
    }
    writeWords({});
  });
});

test('every instruction set’s file is built everywhere', () => {
  const sources = readdirSync(join(root, 'native', 'kernels')).filter((f) => f.endsWith('.cc'));
  const gyp = readFileSync(join(root, 'binding.gyp'), 'utf8');
  for (const source of sources) {
    if (source.startsWith('wasm')) continue; // scripts/build-wasm.mjs
    expect(gyp).toContain(`native/kernels/${source}`);
  }
});
