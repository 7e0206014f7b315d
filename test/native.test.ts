import { execFileSync } from 'node:child_process';
import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { Worker } from 'node:worker_threads';

import { native, type Int8LinearHandle, type Slotted } from '../src/native.js';
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
  const script = `console.log(require('./dist/native.js').native().isa())`;
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
  const forward = float.forward as (...args: unknown[]) => unknown;
  for (const receiver of [{}, null, int8(1, 1, 1, 1)]) {
    expect(() => forward.call(receiver, new Float32Array(1), new Float32Array(1))).toThrow();
  }
});

describe('native code checks lengths of its own', () => {
  const addon = native();
  const lstm = new addon.FloatRNN('LSTM', 1, 1, 0, 1, 1, [
    { weight: new Float32Array(4), bias: null },
    { weight: new Float32Array(4), bias: null },
  ]);
  const one = (): Float32Array => new Float32Array(1);
  // An undefined array is in its slot; `sizes` are the steps, the batch and the first layer.
  const run = (x: Slotted, h0: Slotted | null, y: Slotted, ...sizes: number[]): unknown => {
    const all = [x, h0 ?? undefined, undefined, y, one(), one()] as const;
    const arrays = all.reduce((bits, array, i) => bits + (array === undefined ? 0 : 1 << i), 0);
    addon.sizes.set([...[...sizes, 0].slice(0, 3), 1, h0 === null ? 0 : 1, arrays]);
    return lstm.forward(...all);
  };
  // Four rows of x and y, states of two sequences.
  const packed = (steps: number, batch: number, ...batchSizes: number[]): unknown => {
    addon.sizes.set([steps, batch, 0, 1, 0, 63]);
    const floats = (n: number): Float32Array => new Float32Array(n);
    const sizes = BigInt64Array.from(batchSizes, BigInt);
    return lstm.forwardPacked(floats(4), undefined, undefined, floats(4), floats(2), floats(2), sizes);
  };
  test('packed sizes that fit', () => expect(packed(3, 2, 2, 1, 1)).toBe(0));
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
    ['matrices', () => new addon.FloatRNN('LSTM', 1, 1, 0, 1, 1, [])],
    ['mode', () => new addon.FloatRNN('RNN' as never, 1, 1, 0, 1, 1, [])],
    ['projections of a GRU', () => new addon.FloatRNN('GRU', 1, 1, 1, 1, 1, [])],
    ['directions', () => new addon.FloatRNN('LSTM', 1, 1, 0, 1, 3, [])],
    ['x', () => run(one(), null, one(), 2, 1)],
    ['y', () => run(new Float32Array(2), null, one(), 2, 1)],
    ['h0', () => run(one(), new Float32Array(2), one(), 1, 1)],
    ['an output too large for its slot', () => run(new Float32Array(257), null, undefined, 257, 1)],
    ['an input too large for its slot', () => run(undefined, null, new Float32Array(257), 257, 1)],
    ['a missing h0', () => run(one(), undefined, one(), 1, 257)],
    [
      'an hn with room for half of c',
      () => {
        addon.sizes.set([1, 2, 0, 1, 0, 0b11000]);
        return lstm.forward(
          undefined,
          undefined,
          undefined,
          new Float32Array(2),
          new Float32Array(3),
          undefined,
        );
      },
    ],
    ['a y with room for h alone', () => run(one(), null, new Float32Array(2), 1, 1)],
    ['what is no array', () => run({} as never, null, one(), 1, 1)],
    ['steps', () => run(new Float32Array(0), null, new Float32Array(0), 0, 1)],
    ['batch', () => run(one(), null, one(), 1, -1)],
    ['layers', () => run(one(), null, one(), 1, 1, 1)],
    ['packed: too few sizes', () => packed(2, 1, 1)],
    ['packed: too many sizes', () => packed(1, 1, 1, 1)],
    ['packed: another batch', () => packed(2, 1, 2, 1)],
    ['packed: rising', () => packed(3, 2, 2, 1, 2)],
    ['packed: zero', () => packed(2, 1, 1, 0)],
    ['packed: negative', () => packed(2, 2, 2, -1)],
    ['packed: beyond memory', () => packed(2, 2 ** 53 - 1, 2 ** 53 - 1, 2 ** 53 - 1)],
    ['packed: rows', () => packed(3, 2, 2, 2, 1)],
    ['state', () => addon.randomSeed(new Uint8Array(3), 1)],
    ['misaligned state', () => addon.randomSeed(new Uint8Array(2513).subarray(1), 1)],
    [
      'no arguments',
      () =>
        (addon.FloatRNN as unknown as new () => unknown) &&
        new (addon.FloatRNN as unknown as new () => unknown)(),
    ],
    ['no call', () => (addon.FloatLinear as unknown as () => void)()],
    ['no options', () => (addon.quantizeWeight as unknown as () => void)()],
    ['range', () => addon.randomIntegers(new Uint8Array(2512), new BigInt64Array(1), 0n, 0n)],
    ['no bigint', () => addon.randomIntegers(new Uint8Array(2512), new BigInt64Array(1), 0 as never, 1n)],
  ])('%s', (_, f) => expect(f).toThrow());
});

test('every instruction set’s file is built everywhere', () => {
  const sources = readdirSync(join(root, 'native', 'kernels')).filter((f) => f.endsWith('.cc'));
  const gyp = execFileSync('cat', [join(root, 'binding.gyp')], { encoding: 'utf8' });
  for (const source of sources) expect(gyp).toContain(`native/kernels/${source}`);
});
