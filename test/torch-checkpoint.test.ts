import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';

import * as nn from '../src/nn/index.js';
import { quantizeDynamic } from '../src/quantization/index.js';
import { load, loadSync } from '../src/serialization/load.js';
import { halfToNumber, isTensor, Tensor } from '../src/tensor/index.js';
import {
  call,
  checkpoint,
  dict,
  floats,
  get,
  int,
  int64s,
  list,
  name,
  pickle,
  put,
  storage,
  stream,
  tar,
  tensor,
  text,
  tuple,
  withZip64,
  zip,
} from './checkpoint-files.js';
import { bytesOf, cpuMilliseconds, expectClose, type GoldenCase } from './support.js';

const fixtures = join(__dirname, 'fixtures');
const fixture = (...path: string[]): Buffer => readFileSync(join(fixtures, ...path));
type State = nn.StateDict;

/** What make_ckpt.py says of a folder's files. */
class Expected {
  readonly files: Record<string, GoldenCase>;
  private readonly bytes: Buffer;

  constructor(readonly folder: string) {
    this.files = JSON.parse(fixture(`${folder}_expected.json`).toString());
    this.bytes = fixture(`${folder}_expected.bin`);
  }
  raw({ offset, nbytes }: GoldenCase): Buffer {
    return this.bytes.subarray(offset, offset + nbytes);
  }
  floats(entry: GoldenCase): Tensor {
    return new Tensor(new Float32Array(new Uint8Array(this.raw(entry)).buffer), entry.shape);
  }

  /** Compares a loaded value with its description. */
  check(actual: unknown, expected: GoldenCase): void {
    switch (expected.kind) {
      case 'tensor':
        return this.checkTensor(actual as Tensor, expected);
      case 'qtensor': {
        const { dtype, shape, quantization } = actual as Tensor;
        expect(`torch.${dtype}`).toBe(expected.dtype);
        expect(shape).toEqual(expected.shape);
        expect(bytesOf(actual as Tensor)).toBe(this.raw(expected.int).toString('hex'));
        expect(`torch.${quantization!.qscheme}`).toBe(expected.qscheme);
        if (expected.qscheme === 'torch.per_tensor_affine') {
          expect([...quantization!.scales]).toEqual([expected.scale]);
          expect([...quantization!.zeroPoints]).toEqual([expected.zero_point]);
          return;
        }
        expect(quantization!.axis).toBe(expected.axis);
        const numbers = ({ dtype: type, ...entry }: GoldenCase): number[] => {
          const { buffer } = new Uint8Array(this.raw(entry));
          if (type === 'i64') return Array.from(new BigInt64Array(buffer), Number);
          return [...(type === 'f64' ? new Float64Array(buffer) : new Float32Array(buffer))];
        };
        // A table's scales and zero points were freed memory when PyTorch wrote them and the description.
        if (this.folder === 'ckpt-2.15' && expected.dtype !== 'torch.qint8') return;
        expect([...quantization!.scales]).toEqual(numbers(expected.scales));
        expect([...quantization!.zeroPoints]).toEqual(numbers(expected.zero_points));
        return;
      }
      case 'list':
      case 'tuple':
      case 'Size':
        expect(actual).toHaveLength(expected.items.length);
        expected.items.forEach((item: GoldenCase, i: number) => this.check((actual as unknown[])[i], item));
        return;
      case 'dict':
        return this.checkMap(actual as Map<string, unknown>, expected.items);
      case 'value':
        return expect(typeof actual === 'bigint' ? String(actual) : actual).toBe(expected.value);
      case 'other':
        return expect(actual).toBe(expected.repr.replace('torch.', ''));
      default:
        throw new Error(`unknown kind ${expected.kind}`);
    }
  }
  checkMap(actual: Map<string, unknown>, entries: Record<string, GoldenCase>): void {
    expect([...actual.keys()]).toEqual(Object.keys(entries));
    for (const [key, value] of actual) this.check(value, entries[key]);
  }

  private checkTensor(actual: Tensor, { torch_dtype, data, as_f32 }: GoldenCase): void {
    const shape = torch_dtype === 'torch.complex64' ? [...data.shape, 2] : (data ?? as_f32).shape;
    // numpy made scalars arrays of one.
    expect(actual.dim() === 0 ? [1] : actual.shape).toEqual(shape);
    if (as_f32 !== undefined) {
      const widened = Uint32Array.from(actual.data as Uint16Array, (bits) => bits << 16);
      expect(Buffer.from(widened.buffer).equals(this.raw(as_f32))).toBe(true);
    } else if (actual.dtype === 'float16' && data.dtype === 'f32') {
      const widened = Float32Array.from(actual.data as Uint16Array, halfToNumber);
      expect(Buffer.from(widened.buffer).equals(this.raw(data))).toBe(true);
    } else {
      const complex = torch_dtype === 'torch.complex64';
      expect(actual.dtype).toBe(complex ? 'float32' : torch_dtype.replace('torch.', ''));
      expect(bytesOf(actual)).toBe(this.raw(data).toString('hex'));
    }
  }
}

/** A description in PyTorch's packed keys, in the keys that quantized modules have here. */
function unpacked(entries: Record<string, GoldenCase>): Record<string, GoldenCase> {
  const result: Record<string, GoldenCase> = {};
  const add = (key: string, value: GoldenCase): void => {
    if (value.kind !== 'value') result[key] = value;
  };
  const directions = Object.keys(entries).some((key) => key.startsWith('gru.')) ? 2 : 1;
  for (const [key, value] of Object.entries(entries)) {
    const [, prefix, packed] = /^(.*?\.)(scale|zero_point|_packed_.*|_all_weight_values.*)$/.exec(key) ?? [];
    const items = (value.state ?? value).items;
    if (packed === undefined) result[key] = value;
    else if (packed === '_packed_params._packed_params') {
      add(`${prefix}weight`, items[0]);
      add(`${prefix}bias`, items[1]);
    } else if (packed === '_packed_params._packed_weight') add(`${prefix}weight`, value);
    else if (packed === '_packed_weight_hh') {
      const input = entries[`${prefix}_packed_weight_ih`].state.items;
      add(`${prefix}weight_ih`, input[0]);
      add(`${prefix}weight_hh`, items[0]);
      add(`${prefix}bias_ih`, input[1]);
      add(`${prefix}bias_hh`, items[1]);
    } else if (packed.startsWith('_all')) {
      const k = Number(packed.split('.')[1]);
      const suffix = `_l${Math.floor(k / directions)}${k % directions === 1 ? '_reverse' : ''}`;
      const [input, hidden] = items[4].items.map((each: GoldenCase) => each.state.items);
      add(`${prefix}weight_ih${suffix}`, input[0]);
      add(`${prefix}weight_hh${suffix}`, hidden[0]);
      add(`${prefix}bias_ih${suffix}`, input[1]);
      add(`${prefix}bias_hh${suffix}`, hidden[1]);
    }
  }
  return result;
}

describe.each([new Expected('ckpt'), new Expected('ckpt-2.15')])('PyTorch’s files in $folder', (expected) => {
  test('are all described', () => {
    expect(readdirSync(join(fixtures, expected.folder)).sort()).toEqual(Object.keys(expected.files).sort());
  });
  test.each(Object.keys(expected.files))('%s', async (file) => {
    const path = join(fixtures, expected.folder, file);
    const { must_fail, entries } = expected.files[file];
    if (must_fail === true) {
      expect(() => loadSync(path, { strict: true })).toThrow(
        /'torch\.\S+' is refused: a checkpoint holds tensors and plain data.*torch\.save\(model\.state_dict\(\)/,
      );
      await expect(load(path, { strict: true })).rejects.toMatchObject({ name: 'CheckpointError' });
      return;
    }
    for (const state of [loadSync(path), loadSync(readFileSync(path)), await load(path)]) {
      expected.checkMap(state, unpacked(entries));
      const tensors = [...state.values()].every(isTensor);
      expect(state instanceof nn.StateDict).toBe(tensors);
    }
  });
});

describe('quantized modules made from PyTorch’s files answer as PyTorch’s do', () => {
  const { GRU, GRUCell, LSTM, LSTMCell, Linear, LinearReLU, RNNCell } = nn.quantized.dynamic;
  const { Embedding, EmbeddingBag } = nn.quantized;
  const half = { dtype: 'float16' } as const;
  interface Answers {
    inputs: Tensor[];
    outputs: Tensor[];
  }
  const expected = new Expected('ckpt-2.15');
  const recorded = (file: string): Answers => {
    const { inputs, outputs } = expected.files[file];
    const tensors = (entries: GoldenCase[]): Tensor[] => entries.map((entry) => expected.floats(entry));
    return { inputs: tensors(inputs), outputs: tensors(outputs) };
  };
  const outputs = loadSync<Map<string, Map<string, Map<string, Tensor[]>>>>(
    fixture('checkpoints', 'outputs.pt'),
  );
  const saved = (file: string, child: string): Answers => {
    const answers = outputs.get(file)!.get(child)!;
    return { inputs: answers.get('inputs')!, outputs: answers.get('outputs')! };
  };
  /** What a state dict says of one child. */
  function childState(state: State, child: string): State {
    const result = new nn.StateDict();
    for (const [key, value] of state)
      if (key.startsWith(`${child}.`)) result.set(key.slice(child.length + 1), value);
    result.metadata.set('', state.metadata.get(child)!);
    return result;
  }

  // Modules start in another mode: theirs comes with the state.
  const other = { activation: 'perRow', reduceRange: false } as const;
  const bidirectional = { ...other, bidirectional: true };
  test.each<[file: string, child: string, module: nn.Module, exact: boolean]>([
    ['ckpt-2.15/q_lstm.pt', 'lstm', new LSTM(4, 3, other), false],
    ['ckpt-2.15/q_gru_bi2.pt', 'gru', new GRU(4, 3, { numLayers: 2, ...bidirectional }), false],
    ['checkpoints/layers.pt', 'gru', new GRU(4, 3, other), false],
    ['checkpoints/layers_per_channel.pt', 'gru', new GRU(4, 3, other), false],
    ['checkpoints/four_cells.pt', 'gru', new GRU(4, 4, { numLayers: 4, ...other }), false],
    [
      'checkpoints/layers_float16.pt',
      'lstm',
      new LSTM(4, 3, { numLayers: 2, bidirectional: true, ...half }),
      false,
    ],
    ['checkpoints/layers_float16.pt', 'gru', new GRU(4, 3, half), false],
    ['checkpoints/layers_float16.pt', 'fc', new Linear(4, 5, half), false],
    ['checkpoints/linear_relu.pt', '0', new LinearReLU(4, 5, other), true],
    ['checkpoints/cells.pt', 'lstm', new LSTMCell(4, 3, other), false],
    ['checkpoints/cells.pt', 'gru', new GRUCell(4, 3, other), false],
    ['checkpoints/cells.pt', 'rnn', new RNNCell(4, 3, other), false],
    ['checkpoints/cells_float16.pt', 'lstm', new LSTMCell(4, 3, half), false],
    ['checkpoints/cells_float16.pt', 'gru', new GRUCell(4, 3, half), false],
    ['checkpoints/cells_float16.pt', 'rnn', new RNNCell(4, 3, half), false],
    ['checkpoints/tables.pt', 'emb', new Embedding(5, 6), true],
    ['checkpoints/bags.pt', 'eight', new EmbeddingBag(5, 6), true],
    ['checkpoints/bags4.pt', 'four', new EmbeddingBag(5, 6, { dtype: 'quint4x2' }), true],

    ['ckpt-2.15/q_lstm_perchannel.pt', 'lstm', new LSTM(4, 3, other), false],
    ['ckpt-2.15/q_linear.pt', 'fc', new Linear(3, 2, other), true],
    ['ckpt-2.15/q_linear_perchannel.pt', 'fc', new Linear(3, 2, other), true],
    ['checkpoints/layers.pt', 'lstm', new LSTM(4, 3, { numLayers: 2, ...bidirectional }), false],
    ['checkpoints/layers.pt', 'fc', new Linear(4, 5, other), true],
    ['checkpoints/layers_per_channel.pt', 'lstm', new LSTM(4, 3, { numLayers: 2, ...bidirectional }), false],
    ['checkpoints/layers_per_channel.pt', 'fc', new Linear(4, 5, other), true],
    ['checkpoints/two_directions.pt', 'lstm', new LSTM(4, 4, bidirectional), false],
    ['checkpoints/two_layers.pt', 'lstm', new LSTM(4, 4, { numLayers: 2, ...other }), false],
    ['checkpoints/four_cells.pt', 'lstm', new LSTM(4, 4, { numLayers: 2, ...bidirectional }), false],
  ])('%s: %s', (path, child, module, exact) => {
    const [folder, file] = path.split('/') as [string, string];
    const options = file === 'two_directions.pt' ? { bidirectional: [child] } : {};
    const state = childState(loadSync(fixture(folder, file), options), child);
    expect(module.loadStateDict(state)).toEqual({ missingKeys: [], unexpectedKeys: [] });
    const { inputs, outputs: answers } = folder === 'checkpoints' ? saved(file, child) : recorded(file);
    const results = [module.forward(...inputs)].flat(2) as Tensor[];
    expect(results).toHaveLength(answers.length);
    results.forEach((result, i) => {
      if (exact) expect(bytesOf(result)).toBe(bytesOf(answers[i]!));
      else expectClose(result, answers[i]!);
    });
    // What the module saves is what it loaded.
    const again = module.stateDict();
    for (const [key, value] of state) {
      expect(bytesOf(again.get(key)!)).toBe(bytesOf(value));
      expect(again.get(key)!.quantization).toEqual(value.quantization);
    }
    // Of a bag or a LinearReLU the file does not tell the type.
    expect(again.metadata.get('')).toMatchObject({ ...state.metadata.get(''), type: expect.any(String) });
  });
  test('a table of freed memory is no table', () => {
    const state = childState(loadSync(fixture('ckpt-2.15', 'q_emb.pt')), 'emb');
    expect(() => new Embedding(5, 6).loadStateDict(state)).toThrow(/weight should have positive scales/);
  });
  test('a whole model, by a model that was quantized the same way', () => {
    class Model extends nn.Module {
      readonly emb = new nn.Embedding(7, 4);
      readonly lstm = new nn.LSTM(4, 3, { numLayers: 2 });
      readonly fc = new nn.Linear(3, 2);
      override forward(indices: Tensor): Tensor {
        return this.fc.forward(this.lstm.forward(this.emb.forward(indices))[0]);
      }
    }
    const model = quantizeDynamic(new Model());
    const state = loadSync(fixture('ckpt-2.15', 'q_model.pt'));
    expect(model.loadStateDict(state)).toEqual({ missingKeys: [], unexpectedKeys: [] });
    expect([...model.stateDict().keys()]).toEqual([...state.keys()]);
  });
});

describe('what a checkpoint holds', () => {
  const at = (value: unknown, ...path: unknown[]): unknown =>
    path.reduce(
      (from, key) => (Array.isArray(from) ? from[key as number] : (from as Map<unknown, unknown>).get(key)),
      value,
    );

  test.each(['training.pt', 'training_protocol4.pt', 'training_legacy.pt'])('of training: %s', (file) => {
    const value = loadSync<Map<string, unknown>>(fixture('checkpoints', file));
    expect(value instanceof nn.StateDict).toBe(false);
    expect([...value.keys()]).toEqual([
      'epoch',
      'model_state_dict',
      'optimizer',
      'scheduler',
      'losses',
      'rng',
      'names',
      'big',
    ]);
    expect(at(value, 'epoch')).toBe(7);
    const state = at(value, 'model_state_dict') as State;
    expect(state).toBeInstanceOf(nn.StateDict);
    expect(
      new nn.LSTM(4, 3).loadStateDict([...state].slice(0, 4).map(([key, t]) => [key.slice(5), t])),
    ).toBeTruthy();
    expect(at(value, 'optimizer', 'state', 0, 'exp_avg')).toMatchObject({ shape: [12, 4], dtype: 'float32' });
    expect(at(value, 'optimizer', 'param_groups', 0, 'betas')).toEqual([0.9, 0.999]);
    expect(at(value, 'optimizer', 'param_groups', 0, 'params')).toEqual([0, 1, 2, 3, 4, 5]);
    expect(at(value, 'scheduler', 'milestones')).toEqual(
      new Map([
        [2, 1],
        [5, 2],
      ]),
    );
    expect(at(value, 'losses')).toEqual([0.5, 0.25]);
    expect(at(value, 'rng')).toMatchObject({ shape: [16], dtype: 'uint8' });
    expect(at(value, 'names')).toEqual(['a', 'é']);
    expect(at(value, 'big')).toBe(-(2n ** 63n));
  });
  test('views of one storage', () => {
    const value = loadSync(fixture('checkpoints', 'views.pt'));
    const array = (key: string): unknown => value.get(key)!.toArray();
    const of = (count: number, f: (i: number) => unknown): unknown[] =>
      Array.from({ length: count }, (_, i) => f(i));
    expect(array('whole')).toEqual(of(24, (i) => i));
    expect(array('matrix')).toEqual(of(4, (i) => of(6, (j) => 6 * i + j)));
    expect(array('slice')).toEqual([
      [6, 7, 8],
      [9, 10, 11],
    ]);
    expect(array('column')).toEqual([1, 7, 13, 19]);
    expect(array('transposed')).toEqual(of(4, (k) => of(2, (i) => of(3, (j) => 12 * i + 4 * j + k))));
    expect(array('expanded')).toEqual([
      [0, 1, 2],
      [0, 1, 2],
    ]);
    expect(array('diagonal')).toEqual([0, 7, 14, 21]);
    expect(array('complex')).toEqual([
      [
        [1, 2],
        [0, 4],
      ],
      [
        [3, 0],
        [5, -1],
      ],
    ]);
    expect(value.get('double')).toMatchObject({ dtype: 'float64', shape: [1, 2] });
    expect(value.get('nothing')!.shape).toEqual([0, 3]);
    // The same elements in the same order share memory; nothing else does.
    expect(value.get('matrix')!.data).toBe(value.get('whole')!.data);
    expect(value.get('slice')!.data.buffer).not.toBe(value.get('whole')!.data.buffer);
  });
  test('tied weights stay tied', () => {
    const state = loadSync(fixture('checkpoints', 'tied.pt'));
    expect(state.get('a.weight')!.data).toBe(state.get('b.weight')!.data);
  });
  test('one tensor', () =>
    expect(loadSync<Tensor>(fixture('checkpoints', 'tensor.pt')).toArray()).toEqual([1, 2]));
  test('metadata of quantized modules, as far as the file tells', () => {
    const about = (file: string, options = {}): unknown =>
      Object.fromEntries(loadSync(fixture('checkpoints', file), options).metadata);
    const mode = { dtype: 'qint8', qscheme: 'per_tensor_affine', activation: 'perTensor', reduceRange: true };
    const lstm = { type: 'DynamicQuantizedLSTM', inputSize: 4, hiddenSize: 4, bias: true, ...mode };
    expect(about('two_layers.pt')).toEqual({ lstm: { ...lstm, numLayers: 2, bidirectional: false } });
    expect(about('two_directions.pt', { bidirectional: new Set(['lstm']) })).toEqual({
      lstm: { ...lstm, numLayers: 1, bidirectional: true },
    });
    expect(about('four_cells.pt')).toEqual({
      lstm: { ...lstm, numLayers: 2, bidirectional: true },
      gru: { ...lstm, type: 'DynamicQuantizedGRU', numLayers: 4, bidirectional: false },
    });
    const cell = { inputSize: 4, hiddenSize: 3, bias: true };
    expect(about('cells.pt')).toEqual({
      lstm: { type: 'DynamicQuantizedLSTMCell', ...cell, ...mode },
      gru: { type: 'DynamicQuantizedGRUCell', ...cell, ...mode },
      rnn: { type: 'DynamicQuantizedRNNCell', ...cell, ...mode },
    });
    expect(about('cells_float16.pt')).toMatchObject({
      gru: { dtype: 'float16', type: 'DynamicQuantizedGRUCell' },
    });
    const linear = { type: 'DynamicQuantizedLinear', inFeatures: 4, outFeatures: 5, bias: true };
    expect(about('linear_relu.pt')).toEqual({ 0: { ...linear, ...mode } });
    expect(about('no_versions.pt')).toEqual({ fc: { ...linear, ...mode } });
    const table = { numEmbeddings: 5, embeddingDim: 6, qscheme: 'per_channel_affine_float_qparams' };
    expect(about('tables.pt')).toEqual({ emb: { ...table, type: 'QuantizedEmbedding', dtype: 'quint8' } });
    expect(about('bags4.pt')).toEqual({
      four: { ...table, type: 'QuantizedEmbeddingBag', dtype: 'quint4x2' },
    });
  });
  test('Linears of older versions: other keys, and the full range', () => {
    const weight = call(
      'torch._utils',
      '_rebuild_qtensor',
      storage('0', 6, 'QInt8'),
      int(0),
      tuple(int(2), int(3)),
      tuple(int(3), int(1)),
      tuple(name('torch', 'per_tensor_affine'), `G?\xe0${'\0'.repeat(6)}`, int(0)),
      '\x89',
      call('collections', 'OrderedDict'),
    );
    const bias = tensor(storage('1', 2), 0, [2], [1]);
    const versioned = (entries: string, version: number): string =>
      `${call('collections', 'OrderedDict')}(${entries}u}${text('_metadata')}${dict(text('fc'), dict(text('version'), int(version)))}sb`;
    const storages = { 0: Uint8Array.of(1, 2, 3, 4, 5, 250), 1: floats(1, -1) };
    const dtype = text('fc._packed_params.dtype') + name('torch', 'qint8');
    const first = text('fc._packed_params.weight') + weight + text('fc._packed_params.bias') + bias;
    const third = dtype + text('fc._packed_params._packed_params') + tuple(weight, bias);
    for (const [value, reduceRange] of [
      [versioned(first, 1), false],
      [versioned(first + dtype, 3), false],
      [dict(first, dtype), false],
      [versioned(third, 3), false],
      [versioned(third, 4), true],
      [dict(third), true],
    ] as const) {
      const state = loadSync(checkpoint(value, storages));
      expect([...state.keys()]).toEqual(['fc.weight', 'fc.bias']);
      expect(state.get('fc.weight')!.intRepr().toArray()).toEqual([
        [1, 2, 3],
        [4, 5, -6],
      ]);
      expect(state.get('fc.weight')!.quantization!.scales).toEqual(Float64Array.of(0.5));
      expect(state.metadata.get('fc')).toMatchObject({ reduceRange });
      const module = new nn.quantized.dynamic.Linear(3, 2);
      module.loadStateDict([...state].map(([key, value]) => [key.slice(3), value]));
    }
  });
  test('keys of any kind', () => {
    const value = loadSync<Map<unknown, unknown>>(
      checkpoint(
        dict(text('__proto__'), int(1), text('constructor'), int(2), int(3), text('three'), '\x88', 'N'),
      ),
    );
    expect([...value]).toEqual([
      ['__proto__', 1],
      ['constructor', 2],
      [3, 'three'],
      [true, null],
    ]);
    expect(Object.getPrototypeOf(value)).toBe(Map.prototype);
    expect(({} as Record<string, unknown>)['1']).toBeUndefined();
  });
  test('an empty dict, an empty state dict', () => {
    expect(loadSync(checkpoint('}'))).toEqual(new Map());
    const empty = `${call('collections', 'OrderedDict')}}${text('_metadata')}}sb`;
    expect(loadSync(checkpoint(empty))).toBeInstanceOf(nn.StateDict);
  });
  test('storages that are parts of another, in a stream', () => {
    const part = (key: string, offset: number, count: number): string =>
      storage('a', 6, 'Float', tuple(text(key), int(offset), int(count)));
    const value = dict(
      text('x'),
      tensor(part('b', 1, 4), 0, [2, 2], [1, 2]),
      text('y'),
      tensor(part('c', 3, 3), 1, [2], [1]),
    );
    const state = loadSync(stream(value, [['a', 6, floats(0, 1, 2, 3, 4, 5)]]));
    expect(state.get('x')!.toArray()).toEqual([
      [1, 3],
      [2, 4],
    ]);
    expect(state.get('y')!.toArray()).toEqual([4, 5]);
    expect(() =>
      loadSync(stream(tensor(part('b', 4, 3), 0, [3], [1]), [['a', 6, floats(0, 1, 2, 3, 4, 5)]])),
    ).toThrow(/storage 'b' is a view beyond 'a', which has 24 bytes/);
  });
});

describe('what is refused', () => {
  const eight = { 0: new Uint8Array(8) };
  const two = storage('0', 2);
  const repeated = (value: string, times: number): string => value.repeat(times);
  const laughs = (): string => {
    let value = `${text('ha')}${put(0)}`;
    for (let level = 0; level < 12; level++) value += `(${repeated(get(level), 10)}t${put(level + 1)}`;
    return tuple(value);
  };
  const good = [
    { name: 'a/data.pkl', data: pickle(tensor(two, 0, [2], [1])) },
    { name: 'a/data/0', data: new Uint8Array(8) },
  ];
  const pickled = good[0]!;
  const stored = good[1]!;
  const inner = zip([{ ...stored, name: 'a/data/1' }]);
  const shifted = pickled.data.length + 30 + pickled.name.length;
  const oldTensor = (rank: number, ...numbers: number[]): Buffer =>
    tar([
      ['sys_info', pickle(dict(text('little_endian'), '\x88'))],
      [
        'storages',
        Buffer.concat([
          pickle(int(1)),
          pickle(tuple(int(7), text('cpu'), name('torch', 'FloatStorage'))),
          int64s(2),
          new Uint8Array(8),
          pickle(']'),
        ]),
      ],
      [
        'tensors',
        Buffer.concat([
          pickle(int(1)),
          pickle(tuple(int(9), int(7), name('torch', 'FloatTensor'))),
          int64s(rank, ...numbers),
        ]),
      ],
      ['pickle', pickle(dict(text('x'), `${text('9')}Q`))],
    ]);

  test('the files they are made from are good', () => {
    expect(loadSync(checkpoint(tensor(two, 0, [2], [1]), eight))).toMatchObject({ shape: [2] });
    expect(loadSync(zip(good))).toMatchObject({ shape: [2] });
    expect(loadSync(withZip64(zip(good)))).toMatchObject({ shape: [2] });
    expect(loadSync(stream(tensor(two, 0, [2], [1]), [['0', 2, new Uint8Array(8)]]))).toMatchObject({
      shape: [2],
    });
    expect(loadSync(oldTensor(1, 2, 1, 0)).get('x')).toMatchObject({ shape: [2] });
  });

  test.each<[string, () => Uint8Array, RegExp]>([
    // Code.
    [
      'os.system',
      () => checkpoint(call('posix', 'system', text('true'))),
      /offset \d+: 'posix.system' is refused/,
    ],
    [
      'os.system in a stream',
      () => stream(call('os', 'system', text('true'))),
      /offset \d+: 'os.system' is refused/,
    ],
    [
      'eval by STACK_GLOBAL',
      () => checkpoint(`${text('builtins')}${text('eval')}\x93`),
      /offset \d+: 'builtins.eval' is refused/,
    ],
    [
      'a dotted name',
      () => checkpoint(`${text('torch')}${text('_utils._rebuild_tensor_v2')}\x93${tuple()}R`),
      /should have a storage, got undefined/,
    ],
    [
      'a name of the prototype',
      () => checkpoint(name('torch', 'constructorStorage')),
      /'torch.constructorStorage' is refused/,
    ],
    [
      'a class of collections',
      () => checkpoint(name('collections', 'deque')),
      /'collections.deque' is refused/,
    ],
    ['INST', () => checkpoint('(ios\nsystem\n'), /offset \d+: opcode 0x69 \(INST\) is refused/],
    ['OBJ', () => checkpoint('(o'), /opcode 0x6f \(OBJ\) is refused/],
    ['an extension', () => checkpoint('\x82\x01'), /opcode 0x82 \(EXT1\) is refused/],
    ['LONG4', () => checkpoint('\x8b\xff\xff\xff\x7f'), /opcode 0x8b \(LONG4\) is refused/],
    [
      'BYTEARRAY8 beyond the file',
      () => checkpoint('\x96\xff\xff\xff\xff\xff\xff\xff\x7f'),
      /the pickle is cut off/,
    ],
    ['an opcode that is none', () => checkpoint('\xff'), /opcode 0xff is refused/],
    ['a call of a string', () => checkpoint(`${text('os')})R`), /REDUCE should call a function, got 'os'/],
    [
      'a call of a dtype',
      () => checkpoint(`${name('torch', 'float32')})R`),
      /REDUCE should call a function, got torch.float32/,
    ],
    [
      'NEWOBJ of another class',
      () => checkpoint(`${name('torch', 'Size')})\x81`),
      /NEWOBJ should make an object of a class, got torch.Size/,
    ],
    ['state for a list', () => checkpoint(']}b'), /BUILD should give state to a dict or an object, got List/],
    [
      'a function as a value',
      () => checkpoint(name('torch._utils', '_rebuild_tensor_v2')),
      /is no tensor or plain data, but torch._utils._rebuild_tensor_v2/,
    ],
    ['a whole module', () => stream(`${tuple(text('module'), 'N', 'N', 'N')}Q`), /a whole module is refused/],
    [
      'TorchScript',
      () => fixture('checkpoints', 'torchscript.pt'),
      /TorchScript archive is refused.*save the state dict/,
    ],
    ['a function', () => fixture('checkpoints', 'function.pt'), /'__builtin__.print' is refused/],
    [
      'a script object of another class',
      () =>
        checkpoint(
          dict(
            text('a._packed_weight_ih'),
            `${name('torch', 'ScriptObject')})\x81${tuple(tuple(), text('os.system'))}b`,
          ),
        ),
      /key 'a._packed_weight_ih': should be a quantized.LinearPackedParamsBase, got os.system/,
    ],
    [
      'a script object elsewhere',
      () => checkpoint(dict(text('a'), `${name('torch', 'ScriptObject')})\x81`)),
      /key 'a': is no tensor or plain data/,
    ],

    // Memory and time.
    [
      'a memo bomb',
      () => checkpoint(`N${repeated('\x94', 3_000_000)}`),
      /unfolds to far more than its own size/,
    ],
    ['a mark bomb', () => checkpoint(repeated('(', 3_000_000)), /unfolds to far more than its own size/],
    ['a dict bomb', () => checkpoint(repeated('}', 500_000)), /unfolds to far more than its own size/],
    ['a memo out of turn', () => checkpoint(`N${put(2 ** 32 - 1)}`), /memo 4294967295 is out of turn/],
    [
      'dicts made of one list',
      () => {
        const pairs = list(...Array.from({ length: 20_000 }, (_, i) => tuple(int(i), 'N')));
        const made = `${name('collections', 'OrderedDict')}${get(0)}\x85R`;
        return checkpoint(tuple(pairs, put(0), ...Array<string>(2000).fill(made)));
      },
      /unfolds to far more/,
    ],
    [
      'tensors of one endless shape',
      () => {
        const sizes = tuple(...Array<string>(100_000).fill('K\x01'));
        const made = call('torch._utils', '_rebuild_tensor', two, int(0), get(0), get(0));
        return checkpoint(tuple(sizes, put(0), ...Array<string>(10_000).fill(made)));
      },
      /sizes with strides/,
    ],
    [
      'quantized tensors of one list of scales',
      () => {
        const scales = list(...Array<string>(100_000).fill('K\x01'));
        const quantizer = tuple(name('torch', 'per_channel_affine'), get(0), get(0), int(0));
        const sizes = [tuple(int(100_000), int(0)), tuple(int(1), int(1))];
        const made = call(
          'torch._utils',
          '_rebuild_qtensor',
          storage('0', 0, 'QInt8'),
          int(0),
          ...sizes,
          quantizer,
        );
        return checkpoint(tuple(scales, put(0), ...Array<string>(3000).fill(made)));
      },
      /unfolds to far more/,
    ],
    ['an empty memo', () => checkpoint(get(2 ** 32 - 1)), /memo 4294967295 is empty/],
    ['billion-laughs tuples', () => checkpoint(laughs()), /unfolds to more than 10000000 values/],
    ['a list in itself', () => checkpoint(`]${put(0)}${get(0)}a`), /key '0': contains itself/],
    [
      'a dict in itself',
      () => checkpoint(`}${put(0)}${text('a')}${tuple(get(0))}s`),
      /key 'a.0': contains itself/,
    ],
    [
      'a metadata in itself',
      () => checkpoint(`}${put(0)}${text('a')}${get(0)}s${get(0)}b`),
      /contains itself/,
    ],
    ['deep nesting', () => checkpoint(`)${repeated('\x85', 100_000)}`), /is nested deeper than 100/],
    ['a string beyond the file', () => checkpoint(`X\xff\xff\xff\xff`), /the pickle is cut off/],
    ['a string of the negative', () => checkpoint(`X\x00\x00\x00\x80`), /the pickle is cut off/],
    ['no UTF-8', () => checkpoint('X\x01\x00\x00\x00\xff'), /a string should be UTF-8/],
    ['a long name', () => checkpoint(`c${repeated('a', 1000)}`), /a name of GLOBAL is too long/],
    [
      'no STOP',
      () => zip([{ name: 'a/data.pkl', data: Buffer.from('\x80\x02N', 'latin1') }]),
      /the pickle is cut off/,
    ],
    ['an empty pickle', () => zip([{ name: 'a/data.pkl', data: Buffer.alloc(0) }]), /the pickle is cut off/],
    [
      'no pickle',
      () => zip([{ name: 'a/data.pkl', data: Buffer.from('hello') }]),
      /a pickle should begin here/,
    ],
    [
      'protocol 1',
      () => zip([{ name: 'a/data.pkl', data: Buffer.from('\x80\x01N.', 'latin1') }]),
      /protocol 1 is not/,
    ],
    ['an empty stack', () => checkpoint('a'), /the stack is empty/],
    ['a pop beneath a mark', () => checkpoint('N(\x85'), /the stack is empty/],
    ['no mark', () => checkpoint('t'), /there is no mark/],
    ['values left over', () => checkpoint('NN'), /1 values are left on the stack/],
    ['a key without value', () => checkpoint('}(Nu'), /keys with values/],
    ['items for a tuple', () => checkpoint(')Na'), /APPEND should extend a list, got Tuple/],
    ['items for a list', () => checkpoint(']NNs'), /SETITEM should extend a dict, got List/],
    [
      'a key twice',
      () => checkpoint(dict(text('a'), 'N', text('a'), 'N')),
      /offset \d+: key 'a' stands twice/,
    ],
    [
      'a key that is a list',
      () => checkpoint(dict(']', 'N')),
      /a key of a dict, .* should be hashable, got List/,
    ],

    // Tensors.
    [
      'a negative size',
      () => checkpoint(tensor(two, 0, [-2], [1]), eight),
      /sizes with strides that are not negative/,
    ],
    [
      'a negative stride',
      () => checkpoint(tensor(two, 1, [2], [-1]), eight),
      /strides that are not negative/,
    ],
    ['a negative offset', () => checkpoint(tensor(two, -1, [1], [1]), eight), /should have an offset/],
    [
      'a size beyond 2^53',
      () => checkpoint(tensor(two, 0, [2n ** 62n], [0]), eight),
      /should have an offset, and sizes/,
    ],
    [
      'an overflowing shape',
      () => checkpoint(tensor(two, 0, Array(40).fill(2 ** 52), Array(40).fill(0)), eight),
      /is beyond its storage/,
    ],
    [
      'an overflowing stride',
      () => checkpoint(tensor(two, 0, [2, 2 ** 52], [2 ** 52, 2 ** 52]), eight),
      /is beyond its storage, which has 2 elements/,
    ],
    [
      'a tensor beyond its storage',
      () => checkpoint(tensor(two, 1, [2], [1]), eight),
      /shape \[2\] .* from 1 on is beyond/,
    ],
    ['an expanded element', () => checkpoint(tensor(two, 0, [2 ** 24], [0]), eight), /unfolds to far more/],
    [
      '65 dimensions',
      () => checkpoint(tensor(two, 0, Array(65).fill(1), Array(65).fill(1)), eight),
      /sizes with strides/,
    ],
    ['sizes without strides', () => checkpoint(tensor(two, 0, [1, 1], [1]), eight), /sizes with strides/],
    [
      'many views of a large storage',
      () =>
        checkpoint(
          list(
            ...Array.from({ length: 200 }, (_, i) => tensor(storage('0', 2 ** 18), i, [2 ** 18 - 200], [1])),
          ),
          { 0: new Uint8Array(2 ** 20) },
        ),
      /unfolds to far more/,
    ],
    [
      'a storage larger than the file',
      () => checkpoint(tensor(storage('0', 2 ** 40), 0, [2 ** 40], [1]), eight),
      /record data\/0 should have 4398046511104 bytes, got 8|unfolds/,
    ],
    [
      'a storage smaller than its record',
      () => checkpoint(tensor(storage('0', 1), 0, [1], [1]), eight),
      /record data\/0 should have 4 bytes, got 8/,
    ],
    [
      'a storage without record',
      () => checkpoint(tensor(storage('../0', 2), 0, [2], [1]), eight),
      /record data\/..\/0 should have 8 bytes, got none/,
    ],
    [
      'a storage of two sizes',
      () => checkpoint(tuple(two, storage('0', 1)), eight),
      /storage '0' is twice, as 8 bytes of float32 and 4/,
    ],
    [
      'a storage of two types',
      () => checkpoint(tuple(two, storage('0', 2, 'Int')), eight),
      /storage '0' is twice/,
    ],
    [
      'a persistent id that is none',
      () => checkpoint(`${text('storage')}Q`),
      /a persistent id should be that of a storage/,
    ],
    [
      'a negative storage',
      () => checkpoint(storage('0', -1), eight),
      /a storage should have a key, a type and a size/,
    ],
    [
      'scales of zero',
      () =>
        checkpoint(
          call(
            'torch._utils',
            '_rebuild_qtensor',
            storage('0', 8, 'QInt8'),
            int(0),
            tuple(int(8)),
            tuple(int(1)),
            tuple(name('torch', 'per_tensor_affine'), `G${'\0'.repeat(8)}`, int(0)),
          ),
          eight,
        ),
      /scales should be positive/,
    ],
    [
      'a plain tensor of a quantized storage',
      () => checkpoint(tensor(storage('0', 8, 'QInt8'), 0, [8], [1]), eight),
      /should have a quantizer/,
    ],

    // Zip archives.
    [
      'compressed',
      () => zip([{ ...pickled, method: 8 }, stored]),
      /'a\/data.pkl' is compressed or encrypted: write the file with torch.save/,
    ],
    ['encrypted', () => zip([{ ...pickled, flags: 1 }, stored]), /is compressed or encrypted/],
    [
      'path traversal',
      () => zip([...good, { name: 'a/../../etc/passwd', data: floats(1) }]),
      /record name 'a\/..\/..\/etc\/passwd' is refused/,
    ],
    [
      'an absolute path',
      () => zip([{ name: '/data.pkl', data: pickled.data }]),
      /record name '\/data.pkl' is refused/,
    ],
    ['a backslash', () => zip([...good, { name: 'a\\b', data: floats(1) }]), /record name 'a\\b' is refused/],
    ['a name twice', () => zip([...good, stored]), /record 'a\/data\/0' stands twice/],
    [
      'overlapping records',
      () =>
        zip([
          pickled,
          { name: 'a/data/0', data: inner },
          { name: 'a/data/1', data: floats(1), offset: shifted + 30 + 8, size: 8 },
        ]),
      /overlaps what begins at/,
    ],
    [
      'one record as two',
      () => zip([pickled, stored, { name: 'a/data/1', data: floats(), offset: shifted, size: 8 }]),
      /overlaps what begins at/,
    ],
    ['a record in the directory', () => zip([pickled, { ...stored, size: 4000 }]), /should end before/],
    [
      'a record that begins beyond the file',
      () => zip([pickled, { ...stored, offset: 0x7fffffff }]),
      /should end before/,
    ],
    [
      'another local name',
      () => zip([{ ...pickled, localName: 'b/data.pkl' }, stored]),
      /the local header of 'a\/data.pkl' should begin/,
    ],
    [
      'another folder',
      () => zip([...good, { name: 'b/x', data: floats(1) }]),
      /record 'b\/x' should be in 'a'/,
    ],
    [
      'another archive',
      () => zip([{ name: 'a/weights.npy', data: floats(1) }]),
      /an array of NumPy should begin here/,
    ],
    ['an empty archive', () => zip([]), /without 'data.pkl' is no checkpoint/],
    [
      'big-endian',
      () => zip([...good, { name: 'a/byteorder', data: Buffer.from('big') }]),
      /byteorder should be little, got 'big'/,
    ],
    ['a truncated archive', () => zip(good).subarray(0, -1), /a zip archive should end here/],
    ['a comment', () => zip(good, undefined, 'comment'), /a zip archive should end here/],
    [
      'more entries',
      () => zip(good, ([a, b, , , e, f]) => [a!, b!, 3, 3, e!, f!]),
      /3 entries should have more than 110 bytes/,
    ],
    [
      'fewer entries',
      () => zip(good, ([a, b, , , e, f]) => [a!, b!, 1, 1, e!, f!]),
      /1 entries should fill the central directory/,
    ],
    [
      '65,535 entries',
      () => zip(good, ([a, b, , , e, f]) => [a!, b!, 65535, 65535, e!, f!]),
      /65535 entries should have more than/,
    ],
    [
      'a directory elsewhere',
      () => zip(good, ([a, b, c, d, e]) => [a!, b!, c!, d!, e!, 0]),
      /the central directory should end at/,
    ],
    ['two disks', () => zip(good, ([, b, c, d, e, f]) => [1, b!, c!, d!, e!, f!]), /should be one file/],
    [
      'zip64 with other counts',
      () => withZip64(zip(good), ([, , ...rest]) => [9n, 9n, ...rest]),
      /zip64 record should say/,
    ],
    [
      'zip64 with another directory',
      () => withZip64(zip(good), ([a, b, , ...rest]) => [a!, b!, 2n ** 63n, ...rest]),
      /zip64 record should say/,
    ],
    [
      'zip64 elsewhere',
      () => withZip64(zip(good), ([a, b, c, d]) => [a!, b!, c!, d!, 2n ** 64n - 1n]),
      /the zip64 record should be at/,
    ],
    [
      'zip64 with 2^64 entries',
      () =>
        withZip64(
          zip(good, ([a, b, , , e, f]) => [a!, b!, 0xffff, 0xffff, e!, f!]),
          ([, , ...rest]) => [2n ** 64n - 1n, 2n ** 64n - 1n, ...rest],
        ),
      /entries should have more than/,
    ],
    [
      'a zip64 size of 2^63',
      () =>
        zip([
          pickled,
          {
            ...stored,
            size: 0xffffffff,
            extra: `\x01\x00\x10\x00${'\xff'.repeat(7)}\x7f${'\xff'.repeat(7)}\x7f`,
          },
        ]),
      /should end before/,
    ],
    [
      'a zip64 size that is missing',
      () => zip([pickled, { ...stored, size: 0xffffffff, extra: '\x01\x00\x04\x00\0\0\0\0' }]),
      /a zip64 size is missing/,
    ],

    // Streams.
    [
      'another protocol',
      () => stream('N', [], { protocol: 1000 }),
      /protocol version should be 1001, got 1000/,
    ],
    ['a big-endian writer', () => stream('N', [], { littleEndian: false }), /little-endian machine/],
    [
      'a storage that is not used',
      () => stream('N', [['0', 2, floats(1, 2)]]),
      /storage '0' is unknown or stands twice/,
    ],
    [
      'a storage twice',
      () =>
        stream(two, [
          ['0', 2, floats(1, 2)],
          ['0', 2, floats(1, 2)],
        ]),
      /storage '0' is unknown or stands twice/,
    ],
    ['a storage that is missing', () => stream(tensor(two, 0, [2], [1])), /storage '0' is missing/],
    [
      'another count',
      () => stream(tensor(two, 0, [2], [1]), [['0', 3, floats(1, 2, 3)]]),
      /2 elements of storage '0' should follow, got 3/,
    ],
    [
      'a count of 2^63',
      () => stream(tensor(two, 0, [2], [1]), [['0', 2n ** 63n, floats(1, 2)]]),
      /2 elements .* got -9223372036854775808/,
    ],
    [
      'a truncated stream',
      () => stream(tensor(two, 0, [2], [1]), [['0', 2, floats(1)]]),
      /of which 4 bytes are there/,
    ],
    [
      'nothing after the magic number',
      () => pickle('\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19'),
      /the pickle is cut off/,
    ],

    // Tar archives.
    [
      'a tar without storages',
      () => tar([['sys_info', pickle(dict(text('little_endian'), '\x88'))]]),
      /without 'storages' is no checkpoint/,
    ],
    ['path traversal in a tar', () => tar([['../pickle', pickle('N')]]), /name '..\/pickle' is refused/],
    [
      'a member twice',
      () =>
        tar([
          ['pickle', pickle('N')],
          ['pickle', pickle('N')],
        ]),
      /'pickle' stands twice/,
    ],
    [
      'a member beyond the file',
      () => tar([['pickle', pickle('N'), '77777777777']]),
      /'pickle' should end before/,
    ],
    [
      'a member of no size',
      () => tar([['pickle', pickle('N'), 'x']]),
      /a header of a tar archive should begin/,
    ],
    ['65 dimensions in a tar', () => oldTensor(65), /at most 64 dimensions, got 65/],
    ['-1 dimensions', () => oldTensor(-1), /at most 64 dimensions, got -1/],
    ['a negative size in a tar', () => oldTensor(1, -2, 1, 0), /sizes with strides that are not negative/],
    ['a tensor beyond its storage in a tar', () => oldTensor(1, 3, 1, 0), /beyond its storage/],
    ['a cut-off tensor', () => oldTensor(2, 1, 1), /a number is cut off|bytes should follow/],
    [
      '2^40 storages',
      () =>
        tar([
          ['sys_info', pickle(dict(text('little_endian'), '\x88'))],
          ['storages', pickle(int(2 ** 40))],
        ]),
      /the pickle is cut off/,
    ],
  ])('%s', async (_, make, message) => {
    const bytes = make();
    const start = cpuMilliseconds();
    expect(() => loadSync(bytes, { strict: true })).toThrow(message);
    expect(cpuMilliseconds() - start).toBeLessThan(3000); // a third of it outside of jest
    await expect(load(bytes, { strict: true })).rejects.toMatchObject({ name: 'CheckpointError' });
  });

  test('a long key is not written out for each tensor beneath it', () => {
    const tensors = Array.from({ length: 2000 }, (_, i) => int(i) + tensor(two, 0, [2], [1]));
    const bytes = checkpoint(dict(text('k'.repeat(1_000_000)), dict(...tensors)), eight);
    const start = cpuMilliseconds();
    expect([...loadSync<Map<string, Map<number, Tensor>>>(bytes).values()][0]!.size).toBe(2000);
    expect(cpuMilliseconds() - start).toBeLessThan(3000); // a third of it outside of jest
  });
});
