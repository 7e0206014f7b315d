import { spawn, spawnSync } from 'node:child_process';
import {
  closeSync,
  existsSync,
  openSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
  writeSync,
} from 'node:fs';
import { join } from 'node:path';

import * as nn from '../src/nn/index.js';
import {
  bestDynamicQConfig,
  defaultDynamicQConfig,
  float16DynamicQConfig,
  perChannelDynamicQConfig,
  quantizeDynamic,
  type ModuleClass,
  type QConfig,
} from '../src/quantization/index.js';
import { load, loadSync } from '../src/serialization/load.js';
import { modelFromStateDict } from '../src/serialization/model-from-state-dict.js';
import { saveSync } from '../src/serialization/save.js';
import { command, dynaquant, expectFailure, json, newFolder, Small } from './cli.js';
import { runNode, testWith } from './support.js';

const folder = newFolder();
afterAll(() => rmSync(folder, { recursive: true }));
const path = (name: string): string => join(folder, name);
saveSync(Small.seeded().stateDict(), path('model'));

interface Report {
  layers: { name: string; layer: number | null; type: string; error: number }[];
  outputFileBytes: number;
}

describe('the file is what quantizeDynamic and save write', () => {
  const tables = (qconfig: QConfig): Map<string, QConfig | null> =>
    new Map([
      ['', qconfig],
      ['embedding', null],
    ]);
  test.each<[string[], Parameters<typeof quantizeDynamic>[1], Parameters<typeof quantizeDynamic>[2]]>([
    [[], tables(defaultDynamicQConfig), {}],
    [['--per-channel'], tables(perChannelDynamicQConfig), {}],
    [['--per-row'], tables({ ...defaultDynamicQConfig, activation: 'perRow' }), {}],
    [['--full-range'], tables({ ...defaultDynamicQConfig, reduceRange: false }), {}],
    [['--best'], tables(bestDynamicQConfig), {}],
    [['--dtype', 'float16'], tables(float16DynamicQConfig), {}],
    [['--dtype', 'quint8'], new Set(['embedding']), { dtype: 'quint8' }],
    [['--dtype', 'quint4x2'], new Set(['embedding']), { dtype: 'quint4x2' }],
    [['--only', 'lstm'], new Set(['lstm']), {}],
    [['--only', 'decoder'], new Set(['decoder']), {}],
    [['--only', 'decoder.1', '--only', 'lstm'], new Set(['decoder.1', 'lstm']), {}],
    [['--exclude', 'decoder'], new Set(['lstm']), {}],
    [['--only', 'decoder', '--exclude', 'decoder.0'], new Set(['decoder.1']), {}],
  ])('%j', (args, spec, options) => {
    json(folder, 'quantize', 'model', '-o', 'out', ...args);
    saveSync(quantizeDynamic(Small.seeded(), spec, options).stateDict(), path('expected'));
    expect(readFileSync(path('out')).equals(readFileSync(path('expected')))).toBe(true);
    const { model, assumptions } = modelFromStateDict(loadSync(path('out')));
    expect([String(model), assumptions]).toEqual([
      String(quantizeDynamic(Small.seeded(), spec, options)),
      [],
    ]);
  });

  test('with a checkpoint of PyTorch, notes and all', async () => {
    const checkpoint = join(__dirname, 'fixtures', 'checkpoints', 'char-lm.pt');
    json(folder, 'quantize', checkpoint, '-o', 'char-lm', '--best');
    const { model } = modelFromStateDict(await load(checkpoint));
    const spec = new Map<ModuleClass, QConfig>([
      [nn.LSTM, bestDynamicQConfig],
      [nn.Linear, bestDynamicQConfig],
    ]);
    saveSync(quantizeDynamic(model, spec).stateDict(), path('expected'));
    expect(readFileSync(path('char-lm')).equals(readFileSync(path('expected')))).toBe(true);

    const float = Small.seeded().stateDict();
    float.notes.set('vocabulary', 'abc');
    saveSync(float, path('notes'));
    json(folder, 'quantize', 'notes', '-o', 'notes');
    expect(loadSync(path('notes')).notes.get('vocabulary')).toBe('abc');
  });

  test('of cells, and of a single layer without a name', () => {
    for (const module of [new nn.LSTM(3, 4, { projSize: 2 }), new nn.GRUCell(3, 4), new nn.RNN(2, 2)]) {
      saveSync(module.stateDict(), path('layer'));
      json(folder, 'quantize', 'layer', '-o', 'out');
      saveSync(quantizeDynamic(module).stateDict(), path('expected'));
      expect(readFileSync(path('out')).equals(readFileSync(path('expected')))).toBe(true);
    }
  });
});

test('--json', () => {
  const size = expect.any(Number);
  const layer = (
    name: string,
    number: number | null,
    type: string,
    bytes: number,
    quantizedBytes: number,
  ) => ({
    ...{
      name,
      layer: number,
      type: `DynamicQuantized${type}`,
      bytes,
      quantizedBytes,
      error: size,
      maxError: size,
      input: 'random',
    },
  });
  const result = json<Report>(folder, 'quantize', 'model', '-o', 'out');
  expect(result).toEqual({
    input: 'model',
    output: 'out',
    dtype: 'qint8',
    floatBytes: size,
    quantizedBytes: size,
    inputFileBytes: statSync(path('model')).size,
    outputFileBytes: statSync(path('out')).size,
    layers: [
      layer('lstm', 0, 'LSTM', 4 * 2 * (20 * 6 + 20 * 5 + 40), 2 * (20 * 6 + 20 * 5 + 4 * 40)),
      layer('lstm', 1, 'LSTM', 4 * 2 * (20 * 10 + 20 * 5 + 40), 2 * (20 * 10 + 20 * 5 + 4 * 40)),
      layer('decoder.0', null, 'LinearReLU', 4 * (90 + 9), 90 + 36),
      layer('decoder.1', null, 'Linear', 4 * 27, 27),
    ],
    floatLayers: [
      {
        name: 'embedding',
        layer: null,
        type: 'Embedding',
        bytes: 4 * 120,
        reason: 'it can be quantized to quint8 or quint4x2',
        chosen: false,
      },
    ],
    assumptions: [],
    keys: [],
    prefix: '',
  });
  for (const { name, error } of result.layers)
    expect([name, error > 1e-4 && error < 0.1]).toEqual([name, true]);
  const best = json<Report>(folder, 'quantize', 'model', '-o', 'out', '--best');
  const mean = ({ layers }: Report): number =>
    layers.reduce((sum, { error }) => sum + error, 0) / layers.length;
  expect(mean(best)).toBeLessThan(mean(result));
});

test('text: layers, then sizes', () => {
  const { status, stdout, stderr } = dynaquant(folder, 'quantize', 'model', '-o', 'out');
  expect([status, stderr]).toEqual([0, '']);
  expect(stdout).toMatch(/^lstm, layer 0 +DynamicQuantizedLSTM +2\.08 kB to 760 B +error [\d.]+ %$/m);
  expect(stdout).toMatch(/\nmodel, [\d.]+ kB, became out, [\d.]+ kB: [\d.]+ times smaller\n$/);
});

test('a large layer: its tensors are those of quantizeDynamic, its error that of a part', () => {
  const lstm = new nn.LSTM(300, 1500, { numLayers: 1 });
  const linear = new nn.Linear(2000, 2500);
  saveSync(new nn.ModuleDict({ lstm, linear }).stateDict(), path('large'));
  for (const args of [[], ['--best']]) {
    const { layers } = json<Report>(folder, 'quantize', 'large', '-o', 'out', ...args);
    for (const { name, error } of layers) expect([name, error > 1e-4 && error < 0.05]).toEqual([name, true]);
  }
  const state = loadSync(path('out'));
  const expected = quantizeDynamic(lstm, new Map([['', bestDynamicQConfig]])).stateDict();
  for (const [key, tensor] of expected) expect(state.get(`lstm.${key}`)!.equal(tensor)).toBe(true);
  expect(state.metadata.get('lstm')).toEqual(expected.metadata.get(''));
}, 60_000);

describe('failures', () => {
  beforeEach(() => writeFileSync(path('kept'), 'as it was'));
  afterEach(() => {
    expect(readFileSync(path('kept'), 'utf8')).toBe('as it was');
    expect(readdirSync(folder).filter((name) => name.endsWith('.tmp'))).toEqual([]);
  });

  test.each<[string, string[], RegExp]>([
    ['NaN', ['nan'], /^dynaquant quantize: fc: weight should be finite to be quantized, but holds NaN/],
    ['an infinite bias', ['infinite'], /fc: bias should be finite, but holds NaN or infinity/],
    ['nothing to quantize', ['model', '--only', 'embedding'], /nothing to quantize to qint8/],
    ['no file', ['nobody'], /no such file/],
  ])('%s: exit code 1, and the output stays', (_, args, message) => {
    const linear = new nn.Linear(2, 2);
    const model = new nn.ModuleDict({ fc: linear });
    linear.bias!.data[1] = Infinity;
    saveSync(model.stateDict(), path('infinite'));
    linear.bias!.data[1] = 0;
    linear.weight.data[1] = NaN;
    saveSync(model.stateDict(), path('nan'));
    expectFailure(dynaquant(folder, 'quantize', ...args, '-o', 'kept'), 1, message);
  });
  test('an output that cannot be written', () => {
    expectFailure(
      dynaquant(folder, 'quantize', 'model', '-o', 'no/such/folder'),
      1,
      /no such file or directory/,
    );
    expectFailure(dynaquant(folder, 'quantize', 'model', '-o', '.'), 1, /./);
  });
  test.each([
    [['model'], /-o OUT is missing/],
    [['-o', 'kept'], /expected IN, got 0 file names/],
    [['model', 'model', '-o', 'kept'], /expected IN, got 2 file names/],
    [['model', '-o', 'kept.pt'], /-o should name a safetensors file, got 'kept.pt'/],
    [['model', '-o', 'kept', '--dtype', 'int4'], /--dtype should be qint8, float16.* got 'int4'/],
    [['model', '-o', 'kept', '--dtype', 'float16', '--best'], /go with --dtype qint8 only/],
    [
      ['model', '-o', 'kept', '--only', 'nobody'],
      /there is no module 'nobody'; there are embedding, lstm, decoder/,
    ],
    [['model', '-o', 'kept', '--nonsense'], /'--nonsense'/],
  ])('%j: exit code 2', (args, message) => {
    expectFailure(dynaquant(folder, 'quantize', ...args), 2, message);
  });
});

describe('a large checkpoint', () => {
  const layers = 10;
  const size = 1024;
  const floatBytes = layers * (2 * 4 * size * size + 8 * size) * 4;

  /** Writes ten LSTM layers piece by piece: 336 MB need not be in memory here. */
  const writeLarge = (
    file: string,
    prefixOf: (layer: number) => string,
    suffixOf: (layer: number) => string,
  ): void => {
    const header: Record<string, unknown> = {};
    let at = 0;
    for (let layer = 0; layer < layers; layer++) {
      for (const [name, shape] of [
        ['weight_ih', [4 * size, size]],
        ['weight_hh', [4 * size, size]],
        ['bias_ih', [4 * size]],
        ['bias_hh', [4 * size]],
      ] as const) {
        const bytes = 4 * shape.reduce((a: number, b: number) => a * b, 1);
        header[`${prefixOf(layer)}.${name}_${suffixOf(layer)}`] = {
          dtype: 'F32',
          shape,
          data_offsets: [at, (at += bytes)],
        };
      }
    }
    const json = Buffer.from(JSON.stringify(header));
    const length = Buffer.alloc(8);
    length.writeBigUInt64LE(BigInt(json.length));
    const descriptor = openSync(path(file), 'w');
    writeSync(descriptor, Buffer.concat([length, json]));
    const piece = new Float32Array(2 ** 18).map((_, i) => Math.sin(i * i) / 32);
    const bytes = new Uint8Array(piece.buffer);
    for (let left = floatBytes; left > 0; left -= bytes.length) {
      writeSync(descriptor, bytes, 0, Math.min(left, bytes.length));
    }
    closeSync(descriptor);
  };
  beforeAll(() => {
    const always = (text: string) => () => text;
    writeLarge('deep', always('lstm'), (layer) => `l${layer}`);
    writeLarge('wide', (layer) => `lstm${layer}`, always('l0'));
    writeFileSync(
      path('peak.cjs'),
      // Linux counts the memory of whoever started a process in its maxRSS, but not in VmHWM.
      `const { existsSync, readFileSync, writeFileSync } = require('fs');
      process.on('exit', () => {
        const status = existsSync('/proc/self/status') ? readFileSync('/proc/self/status', 'utf8') : '';
        writeFileSync('peak', /VmHWM:\\s+(\\d+) kB/.exec(status)?.[1] ?? String(process.resourceUsage().maxRSS));
      });`,
    );
  });
  const expectPeak = (...args: string[]): string => {
    const all = ['--require', path('peak.cjs'), ...args];
    const { status, stdout, stderr } = runNode(all, { cwd: folder });
    expect([status, stderr]).toEqual([0, '']);
    const peak = 1024 * Number(readFileSync(path('peak'), 'utf8'));
    expect(peak).toBeGreaterThan(floatBytes);
    expect(peak).toBeLessThan(1.3 * floatBytes);
    return stdout;
  };

  test.each(['deep', 'wide'])(
    'peaks below 1.3 times its float weights: %s',
    (file) => {
      const { layers: reports } = JSON.parse(
        expectPeak(command, 'quantize', file, '-o', file + '8', '--json'),
      ) as Report;
      expect(reports).toHaveLength(layers);
    },
    60_000,
  );

  test('so does quantizeDynamic in place, of a model whose state dict was let go', () => {
    writeFileSync(
      path('in-place.cjs'),
      `const { load, modelFromStateDict, quantization, save } = require(${JSON.stringify(join(__dirname, '..'))});
      (async () => {
        const state = await load('wide');
        const { model } = modelFromStateDict(state);
        state.clear();
        quantization.quantizeDynamic(model, null, { inplace: true });
        await save(model.stateDict(), 'in-place');
      })();`,
    );
    expectPeak('--expose-gc', path('in-place.cjs')); // a library does not expose it itself
    expect(readFileSync(path('in-place')).equals(readFileSync(path('wide8')))).toBe(true);
  }, 60_000);

  testWith('python3', 'shows a progress bar that moves, on a terminal', () => {
    const pty = ['-c', 'import pty, sys; pty.spawn(sys.argv[1:])'];
    const args = [...pty, process.execPath, command, 'quantize', 'deep', '-o', 'out'];
    const { stdout } = spawnSync('python3', args, {
      encoding: 'utf8',
      cwd: folder,
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    const shown = [...stdout.matchAll(/\[(#*)(-*)\] +(\d+) % {2}([^\r\x1b]*)/g)];
    const percents = shown.map((match) => Number(match[3]));
    expect(new Set(percents).size).toBeGreaterThanOrEqual(10);
    expect(percents).toEqual([...percents].sort((a, b) => a - b));
    expect(shown.map((match) => match[4])).toEqual(expect.arrayContaining(['lstm, layer 3', 'writing out']));
    for (const [, full, empty] of shown) expect(full!.length + empty!.length).toBe(24);
    expect(stdout.trimEnd()).toMatch(/times smaller$/);
  });

  test('an interrupt leaves no file, or a whole one', async () => {
    for (const milliseconds of [300, 900, 1300]) {
      rmSync(path('out'), { force: true });
      const child = spawn(process.execPath, [command, 'quantize', 'deep', '-o', 'out'], { cwd: folder });
      const timer = setTimeout(() => child.kill('SIGINT'), milliseconds);
      const code = await new Promise((resolve) => child.on('exit', resolve));
      clearTimeout(timer);
      expect([0, 130, null]).toContain(code);
      expect(readdirSync(folder).filter((name) => name.endsWith('.tmp'))).toEqual([]);
      if (existsSync(path('out'))) expect(loadSync(path('out')).size).toBe(4 * layers);
    }
  }, 60_000);
});
