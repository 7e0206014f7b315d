import { spawnSync } from 'node:child_process';
import { join } from 'node:path';
import * as nn from '../src/nn/index.js';
import { copyModule } from '../src/nn/copy-module.js';
import { bestDynamicQConfig, quantizeDynamic } from '../src/quantization/index.js';
import { randn } from '../src/random.js';
import type { Tensor } from '../src/tensor/index.js';
import { catalogue, example, inputOf } from './catalogue.js';

const disposed = expect.objectContaining({ name: 'Error', code: 'ERR_DISPOSED' }) as unknown;

function errorOf(call: () => unknown): unknown {
  try {
    call();
  } catch (error) {
    return error;
  }
  return 'nothing';
}

describe.each(catalogue.map((entry) => [entry.type, entry] as const))('%s', (_, entry) => {
  test('refuses everything that needs its weights after dispose(), and says so', () => {
    const module = example(entry);
    const state = module.stateDict();
    const text = String(module);
    module.dispose();
    const input = inputOf(entry);
    for (const call of [
      () => module.forward(input),
      () => module.stateDict(),
      () => module.loadStateDict(state),
      () => new nn.Sequential(module).stateDict(),
      () => new nn.Sequential(module).loadStateDict(state, { strict: false }),
      () => module.registerForwardHook(() => undefined),
    ])
      expect(errorOf(call)).toEqual(disposed);
    expect(String(errorOf(() => module.stateDict()))).toContain(`${module.constructor.name} was disposed`);
    expect(String(module)).toBe(text);
    module.dispose();
    expect(errorOf(() => copyModule(module).forward(input))).toEqual(disposed);
  });
});

test('dispose() reaches every module below', () => {
  const layers = [new nn.Linear(2, 3), new nn.LSTM(3, 2)];
  const model = new nn.Sequential(layers[0]!, new nn.Sequential(layers[1]!));
  model.dispose();
  for (const layer of layers) expect(errorOf(() => layer.forward(randn(1, 3)))).toEqual(disposed);
});

test('Symbol.dispose disposes', () => {
  const module = new nn.Linear(2, 3);
  module[Symbol.dispose]();
  expect(errorOf(() => module.forward(randn(1, 2)))).toEqual(disposed);
});

test('a hook that is removed afterwards does not bring forward back', () => {
  const module = quantizeDynamic(new nn.Linear(2, 3));
  const hook = module.registerForwardHook(() => undefined);
  module.dispose();
  hook.remove();
  expect(errorOf(() => module.forward(randn(1, 2)))).toEqual(disposed);
  expect(errorOf(() => Object.getPrototypeOf(module).forward.call(module, randn(1, 2)))).toEqual(disposed);
});

describe('copies', () => {
  const qconfigs = new Map([[nn.LSTM, bestDynamicQConfig]]);
  const x = randn(2, 1, 4);
  const out = (module: nn.LSTM): Tensor => module.forward(x)[0];
  test.each(['the copy', 'the original'])('%s may be disposed, and the other keeps its weights', (which) => {
    const original = quantizeDynamic(new nn.LSTM(4, 5), qconfigs);
    const expected = out(original);
    const copy = copyModule(original);
    const [gone, other] = which === 'the copy' ? [copy, original] : [original, copy];
    gone.dispose();
    expect(out(other).data).toEqual(expected.data);
    expect(errorOf(() => out(gone))).toEqual(disposed);
  });
  test('one may load other weights', () => {
    const [a, b] = [
      quantizeDynamic(new nn.LSTM(4, 5), qconfigs),
      quantizeDynamic(new nn.LSTM(4, 5), qconfigs),
    ];
    const [outA, outB] = [out(a), out(b)];
    const copy = copyModule(a);
    copy.loadStateDict(b.stateDict());
    expect(out(copy).data).toEqual(outB.data);
    expect(out(a).data).toEqual(outA.data);
  });
  test('whoever copies the properties by himself gets the same weights', () => {
    const original = quantizeDynamic(new nn.LSTM(4, 5), qconfigs);
    const copy = Object.create(
      Object.getPrototypeOf(original) as object,
      Object.getOwnPropertyDescriptors(original),
    ) as nn.LSTM;
    expect(out(copy).data).toEqual(out(original).data);
  });
});

test('a float module that quantizeDynamic replaced in place can still be used', () => {
  const lstm = new nn.LSTM(4, 5);
  const x = randn(2, 1, 4);
  const expected = lstm.forward(x)[0];
  quantizeDynamic(new nn.Sequential(lstm), undefined, { inplace: true });
  expect(lstm.forward(x)[0].data).toEqual(expected.data);
});

describe('memory', () => {
  // In processes of their own: each prints how many MB it grew between its 100th repetition and its last.
  const index = join(__dirname, '..', 'dist', 'index.js');
  const growth = (setup: string, body: string, count: number): number => {
    const script = `
      const d = require(${JSON.stringify(index)});
      const { writeFileSync } = require('node:fs');
      ${setup}
      const rss = () => process.memoryUsage.rss() / 2 ** 20;
      let first;
      let most = 0;
      for (let i = 0; i < ${count}; i++) {
        if (i === 100) first = most;
        if (i % 10 === 0) most = Math.max(most, rss());
        ${body}
      }
      console.log(most - first);`;
    const { status, stdout, stderr } = spawnSync(process.execPath, ['-e', script], { encoding: 'utf8' });
    if (status !== 0) throw new Error(stderr);
    return Number(stdout);
  };
  const x = 'const x = d.zeros(1, 256);';
  const file = `${JSON.stringify(join(__dirname, '..', 'build', 'dispose.safetensors'))}`;
  // 256 x 256 floats a turn: without what frees them, 1000 turns would take 250 MB. Deno frees later than Node: up to
  // 115 MB were seen there, no more after 6000 turns than after 1000.
  const bound = process.versions['deno'] === undefined ? 64 : 160;
  test.each([
    ['repack and forward', `const m = new d.nn.Linear(256, 256); ${x}`, 'm.repack(); m.forward(x);'],
    [
      'copy_ and forward',
      `const m = new d.nn.Linear(256, 256); const other = d.randn(256, 256); ${x}`,
      'm.weight.copy_(other); m.forward(x);',
    ],
    [
      'loadStateDict of a file',
      `const m = d.quantization.quantizeDynamic(new d.nn.Linear(512, 512)); d.saveSync(m.stateDict(), ${file});`,
      `m.loadStateDict(d.loadSync(${file}));`,
    ],
    [
      'quantizeDynamic, whose results are dropped',
      `const m = new d.nn.Linear(512, 512);`,
      'd.quantization.quantizeDynamic(m).forward(d.zeros(1, 512));',
    ],
    [
      'quantizeDynamic in place',
      '',
      'd.quantization.quantizeDynamic(new d.nn.Sequential(new d.nn.Linear(256, 256)), undefined, { inplace: true });',
    ],
    [
      'modules that are made and disposed',
      x,
      'const m = new d.nn.Linear(256, 256); m.forward(x); m.dispose();',
    ],
  ])('of %s stays bounded in one turn of the event loop', (_, setup, body) => {
    expect(growth(setup, body, 1000)).toBeLessThan(bound);
  });

  // A process that may have 400 MB more than Node itself reserves.
  (process.platform === 'linux' ? test.each : test.skip.each)([
    [
      'packed weights',
      'new (native().FloatLinear)({ weight, bias: null }, 8192, 8192, false)',
      /^cannot allocate \d{9} bytes$/,
    ],
    [
      'results',
      'new d.nn.Linear(1, 4096).forward(d.zeros(65536, 1))',
      /^cannot allocate 1073741824 bytes for the results$/,
    ],
    ['arrays', 'd.zeros(8192, 8192)', /^cannot allocate 67108864 elements of float32 \(268435456 bytes\)$/],
  ])('that cannot be had for %s is a RangeError that names the size', (_, make, sentence) => {
    const script = `
      const d = require(${JSON.stringify(index)});
      const { native } = require(${JSON.stringify(join(index, '..', 'native', 'addon.js'))});
      const weight = new Float32Array(8192 * 8192);
      const kept = [];
      try {
        for (;;) kept.push(${make});
      } catch ({ name, code, message }) {
        kept.length = 0;
        console.log(JSON.stringify({ name, code, message }));
      }`;
    const kilobytes =
      'require("node:fs").readFileSync("/proc/self/status", "utf8").match(/VmPeak:\\s*(\\d+)/)[1]';
    const peak = spawnSync(process.execPath, ['-p', kilobytes], { encoding: 'utf8' }).stdout;
    const { status, stdout, stderr } = spawnSync(
      'sh',
      // There is room for two of 256 MB. V8 itself may abort the process where little is left.
      ['-c', `ulimit -v ${Number(peak) + 700_000}; exec "$0" -e "$1"`, process.execPath, script],
      { encoding: 'utf8' },
    );
    expect([status, stderr]).toEqual([0, '']);
    const error = JSON.parse(stdout) as { message: string };
    expect(error).toMatchObject({ name: 'RangeError', code: 'ERR_TOO_LARGE' });
    expect(error.message).toMatch(sentence);
  });
});
