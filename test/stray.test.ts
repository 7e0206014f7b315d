// Checkpoints whose weights have other things beside them; those of make_stray.py, and hostile ones.
import { mkdtempSync, readFileSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { inspect } from 'node:util';

import * as nn from '../src/nn/index.js';
import { load, loadSync } from '../src/serialization/load.js';
import { modelFromStateDict } from '../src/serialization/model-from-state-dict.js';
import { OpaqueValue } from '../src/serialization/opaque-value.js';
import { RawTensor, tensor, type Tensor } from '../src/tensor/index.js';
import {
  call,
  checkpoint,
  dict,
  floats,
  get,
  int,
  list,
  name,
  put,
  storage,
  stream,
  tensor as pickledTensor,
  text,
  tuple,
  zip,
} from './checkpoint-files.js';
import { bytesOf, runNode, type GoldenCase } from './support.js';

type Values = Map<string, unknown>;
const root = join(__dirname, '..');
const folder = join(__dirname, 'fixtures', 'stray');
const fixture = <T = Values>(file: string, options = {}): T => loadSync<T>(join(folder, file), options);
const expected = JSON.parse(
  readFileSync(join(__dirname, 'fixtures', 'stray_expected.json'), 'utf8'),
) as GoldenCase;
const opaque = (type: string, ...args: unknown[]): object => ({ type, args, state: null, items: null });

function expectSame(actual: nn.StateDict, wanted: nn.StateDict): void {
  expect([...actual.keys()]).toEqual([...wanted.keys()]);
  for (const [key, value] of wanted) {
    expect(bytesOf(actual.get(key)!)).toBe(bytesOf(value));
    expect(actual.get(key)).toMatchObject({ shape: value.shape, dtype: value.dtype });
    expect(actual.get(key)!.quantization).toEqual(value.quantization);
  }
}

describe.each([
  ['safe.pt', {}],
  ['safe.pt', { strict: true }],
  ['safe_stream.pt', {}],
])('what PyTorch’s safe loader reads: %s %j', (file, options) => {
  const values = fixture(file, options);
  const array = (key: string): unknown => (values.get(key) as Tensor).toArray();
  const map = (key: string): Values => values.get(key) as Values;

  test('the weights beside it', () => {
    const state = values.get('state_dict') as nn.StateDict;
    expect(state).toBeInstanceOf(nn.StateDict);
    expect(new nn.GRU(2, 1).loadStateDict(state)).toEqual({ missingKeys: [], unexpectedKeys: [] });
  });
  test.each<[string, unknown]>([
    ['set', new Set([1, 2, 3])],
    ['bytes', Uint8Array.of(97, 98, 255)],
    ['bytearray', Uint8Array.of(97, 98, 99)],
    ['complex', [1, 2]],
    [
      'tuple keys',
      new Map([
        [['a', 'b'], 0],
        [['b', 'c'], 1],
      ]),
    ],
    ['key None', new Map([[null, 2]])],
    ['surrogate', ['a', '\ud83d', 'é\udc00x']],
    ['storage', Uint8Array.of(0, 0, 0x80, 0x3f)],
    ['typed storage', Uint8Array.of(2, 0, 3, 0)],
    ['layout', 'strided'],
    ['tensor type', 'torch.FloatTensor'],
    ['size', [2, 3]],
    [
      'meta',
      new Map<string, unknown>([
        ['device', 'meta'],
        ['dtype', 'float32'],
        ['size', [2, 3]],
        ['stride', [3, 1]],
      ]),
    ],
  ])('%s', (key, value) => expect(values.get(key)).toEqual(value));
  test('tensors with attributes', () => {
    expect(array('attribute')).toEqual([1, 1]);
    expect(array('parameter')).toEqual([3]);
  });
  test.each(['conj', 'imag', 'neg'])('%s: a view whose elements are computed', (key) =>
    expect(array(key)).toEqual(expected.safe[key]),
  );
  test('sparse tensors', () => {
    const sparse = map('sparse');
    expect([...sparse.keys()]).toEqual(['layout', 'indices', 'values', 'size']);
    expect([sparse.get('layout'), sparse.get('size')]).toEqual(['sparse_coo', [3, 2]]);
    const parts = (of: Values, ...keys: string[]): unknown =>
      keys.map((key) => JSON.parse(JSON.stringify((of.get(key) as Tensor).toArray(), numberOf)));
    const numberOf = (_: string, value: unknown): unknown =>
      typeof value === 'bigint' ? Number(value) : value;
    expect(parts(sparse, 'indices', 'values')).toEqual(expected.safe.sparse);
    expect(parts(map('csr'), 'crow_indices', 'col_indices', 'values')).toEqual(expected.safe.csr);
    expect(map('csr').get('layout')).toBe('sparse_csr');
  });
  test('qint32', () => {
    const { dtype, int_repr, scale, zero_point } = Object.fromEntries(map('qint32'));
    expect([dtype, scale, zero_point]).toEqual(['qint32', 0.1, 3]);
    expect((int_repr as Tensor).toArray()).toEqual(expected.safe.qint32);
  });
  test('dtypes that no layer computes with', () => {
    const state = values.get('raw') as nn.StateDict;
    expect([...state.keys()]).toEqual(['weight']);
    const raw = Object.entries(expected.safe.raw).slice(1) as [string, number[]][];
    expect([...state.raw.keys()]).toEqual(raw.map(([key]) => key));
    for (const [key, bytes] of raw) {
      const value = state.raw.get(key)!;
      expect(value).toBeInstanceOf(RawTensor);
      expect(value.dtype).toBe(key === 'transposed' ? 'uint16' : key);
      expect(value.shape).toEqual(key === 'transposed' ? [2, 2] : [2]);
      expect([...value.bytes]).toEqual(bytes);
    }
    const conjugate = values.get('complex32 conj') as RawTensor;
    expect([...conjugate.bytes]).toEqual(expected.safe['complex32 conj']);
  });
});

describe.each(['opaque.pt', 'opaque_protocol4.pt'])('what would need code: %s', (file) => {
  const values = fixture(file);
  const map = (entries: object): Values => new Map(Object.entries(entries));

  test('the weights beside it', async () => {
    const state = values.get('state_dict') as nn.StateDict;
    expect(new nn.GRU(2, 1).loadStateDict(state)).toEqual({ missingKeys: [], unexpectedKeys: [] });
    const again = await load<Values>(join(folder, file));
    expectSame(again.get('state_dict') as nn.StateDict, state);
  });
  test.each<[string, unknown]>([
    [
      'namespace',
      { type: 'argparse.Namespace', args: [], state: map({ lr: 0.1, layers: [1, 2] }), items: null },
    ],
    ['path', opaque('pathlib.PurePosixPath', 'data', 'train')],
    ['datetime', opaque('datetime.datetime', Uint8Array.of(0x07, 0xe8, 1, 2, 3, 0, 0, 0, 0, 0))],
    [
      'defaultdict',
      {
        type: 'collections.defaultdict',
        args: [opaque('builtins.list')],
        state: null,
        items: map({ a: [1] }),
      },
    ],
    ['frozenset', opaque('builtins.frozenset', [1])],
    ['slice', opaque('builtins.slice', 1, 2, null)],
    ['class', opaque('torch.nn.modules.activation.ReLU')],
    ['function', opaque('torch.nn.functional.relu')],
    ['enum', opaque('__main__.Stage', 'train')],
    ['words', { type: '__main__.Words', args: [], state: map({ unknown: 0 }), items: map({ a: 1 }) }],
    ['items', { type: '__main__.Items', args: [], state: null, items: [1, 2] }],
  ])('%s', (key, value) => {
    expect(values.get(key)).toBeInstanceOf(OpaqueValue);
    expect(values.get(key)).toEqual(value);
  });
  test('numpy’s scalars, arrays and random states', () => {
    const scalar = values.get('numpy float64') as OpaqueValue;
    const [dtype, bytes] = scalar.args as [OpaqueValue, Uint8Array];
    expect(scalar.type).toBe('numpy._core.multiarray.scalar');
    expect([dtype.type, dtype.args[0]]).toEqual(['numpy.dtype', 'f8']);
    expect(new Float64Array(bytes.slice().buffer)).toEqual(Float64Array.of(0.75));
    const [, whole] = (values.get('numpy int64') as OpaqueValue).args as [unknown, Uint8Array];
    expect(new BigInt64Array(whole.slice().buffer)).toEqual(BigInt64Array.of(7n));
    const [, shape, , , elements] = (values.get('numpy array') as OpaqueValue).state as [
      ...[unknown, number[], unknown, unknown, Uint8Array],
    ];
    expect(shape).toEqual([4]);
    expect(new Float32Array(elements.slice().buffer)).toEqual(Float32Array.of(0, 1, 2, 3));
    expect((values.get('numpy random state') as unknown[])[0]).toBe('MT19937');
  });
  test('configs, losses, callbacks and tensors of other classes', () => {
    const config = (values.get('config') as OpaqueValue).state as Values;
    const rate = (config.get('_content') as Values).get('lr') as OpaqueValue;
    expect((rate.state as Values).get('_val')).toBe(0.1);
    expect((rate.state as Values).get('_parent')).toBe(values.get('config'));
    expect(((values.get('loss') as OpaqueValue).state as Values).get('reduction')).toBe('mean');
    const callback = values.get('callback') as OpaqueValue;
    const trainer = (callback.state as Values).get('trainer') as Values;
    expect((trainer.get('callbacks') as unknown[])[0]).toBe(callback);
    expect((trainer.get('best') as Tensor).toArray()).toEqual([1, 2]);
    const subclass = values.get('subclass') as OpaqueValue;
    expect(subclass.type).toBe('__main__.Tagged');
    expect((subclass.args[0] as Tensor).toArray()).toEqual([1, 2]);
  });
  test('is refused if the caller is strict', async () => {
    const message =
      /offset \d+: '[\w.]+' is refused: a checkpoint holds tensors and plain data.*torch\.save\(model/;
    expect(() => fixture(file, { strict: true })).toThrow(message);
    await expect(load(join(folder, file), { strict: true })).rejects.toThrow(message);
  });
  test('is printed with its name', () => {
    const value = values.get('namespace');
    expect(String(value)).toBe('OpaqueValue(argparse.Namespace)');
    expect(inspect(value)).toMatch(/^OpaqueValue \{\s+type: 'argparse.Namespace',/);
  });
});

test('an OpaqueValue is no state dict and no tensor', () => {
  const module = fixture<never>('module.pt');
  const sentence =
    /got OpaqueValue\(__main__\.Net\), which only Python could make: save a state dict, torch\.save/;
  expect(() => new nn.Linear(1, 1).loadStateDict(module)).toThrow(sentence);
  expect(() => modelFromStateDict(module)).toThrow(sentence);
  expect(() => new nn.StateDict(module)).toThrow(sentence);
  expect(() => new nn.Linear(1, 1).forward(module)).toThrow(/got OpaqueValue\(__main__\.Net\)/);
  expect(() => new nn.StateDict(new Map([['weight', module]]))).toThrow(
    /got OpaqueValue\(__main__\.Net\) under 'weight'/,
  );
});

describe('whole modules', () => {
  test('have their weights in their state', () => {
    const net = fixture<OpaqueValue>('module.pt');
    const parts = (module: OpaqueValue, part: string): Values => (module.state as Values).get(part) as Values;
    const state = new nn.StateDict();
    const collect = (module: OpaqueValue, prefix: string): void => {
      for (const part of ['_parameters', '_buffers'])
        for (const [key, value] of parts(module, part)) state.set(prefix + key, value as Tensor);
      for (const [key, child] of parts(module, '_modules')) collect(child as OpaqueValue, `${prefix}${key}.`);
    };
    collect(net, '');
    expectSame(state, fixture<nn.StateDict>('module_state.pt'));
  });
  test('in a stream name their class in a persistent id', () => {
    const id = tuple(text('module'), name('__main__', 'Net'), text('net.py'), text('class Net: pass'));
    const value = `${id}Q)\x81}${text('_parameters')}}sb`;
    const net = loadSync<OpaqueValue>(stream(value));
    expect(net).toMatchObject({
      type: '__main__.Net',
      args: [],
      state: new Map([['_parameters', new Map()]]),
    });
    expect(() => loadSync(stream(value), { strict: true })).toThrow(/'__main__\.Net' is refused/);
  });
});

describe('TorchScript', () => {
  test.each(['scripted.pt', 'traced.pt'])('%s: the state dict, with PyTorch’s names', async (file) => {
    const wanted = fixture<nn.StateDict>('module_state.pt');
    expectSame(fixture<nn.StateDict>(file), wanted);
    const state = await load(join(folder, file));
    expectSame(state, wanted);
    expect(state.assumptions).toEqual([]);
    expect(() => fixture(file, { strict: true })).toThrow(/TorchScript archive is refused/);
  });
  test('modules that PyTorch quantized dynamically', () => {
    const state = fixture<nn.StateDict>('scripted_quantized.pt');
    const wanted = fixture<nn.StateDict>('quantized_state.pt');
    expectSame(state, wanted);
    expect(state.metadata).toEqual(wanted.metadata);
  });
  test('weights that are packed otherwise are left out, and named', () => {
    const state = fixture<nn.StateDict>('scripted_conv.pt');
    expect([...state.keys()]).toEqual(['scale', 'quant.scale', 'quant.zero_point']);
    expect(state.assumptions).toEqual([
      'conv is left out: it is a __torch__.torch.ao.nn.quantized.modules.conv.Conv1d, which packs its weights',
    ]);
  });
  test('a frozen module has lost their names', () => {
    const state = fixture<nn.StateDict>('frozen.pt');
    expect([...state].map(([key, { shape }]) => [key, shape])).toEqual([
      ['CONSTANTS.c0', [2, 3]],
      ['CONSTANTS.c1', [2]],
    ]);
    expect(state.assumptions).toEqual([
      'the module is frozen: its weights have no names but those in its code',
    ]);
  });
  test('modules in themselves, or nested too deep, are refused', () => {
    const archive = (value: string): Buffer =>
      zip([
        { name: 'a/data.pkl', data: Buffer.from(`\x80\x02${value}.`, 'latin1') },
        { name: 'a/constants.pkl', data: Buffer.from('\x80\x02).', 'latin1') },
      ]);
    const module = name('__torch__', 'Net') + ')\x81';
    const itself = `${module}${put(0)}}${text('a')}${get(0)}sb`;
    expect(() => loadSync(archive(itself))).toThrow(/key 'a\.a\.a.*: is nested deeper than 64/);
    // Each level names the one below it ten times.
    let wide = `${module}}b${put(0)}`;
    for (let level = 0; level < 30; level++) {
      const children = Array.from({ length: 10 }, (_, i) => text(`${i}`) + get(level));
      wide = `${wide}0${module}}(${children.join('')}ub${put(level + 1)}`;
    }
    expect(() => loadSync(archive(wide))).toThrow(/unfolds to far more than its own size/);
    expect([...loadSync(archive('N'))]).toEqual([]);
  });
});

describe('torchao', () => {
  const numbers = (rows: number[][]): Tensor => tensor(rows);
  const { torchao } = expected;
  const relu = new nn.ReLU();
  const furthest = (a: Tensor, b: Tensor): number =>
    Math.max(...Array.from(a.sub(b).data as Float32Array, Math.abs));

  test.each(['torchao.pt', 'torchao.safetensors'])('%s: its int8 Linears', async (file) => {
    for (const state of [fixture<nn.StateDict>(file), await load(join(folder, file))]) {
      expect([...state.keys()].sort()).toEqual(['0.bias', '0.weight', '2.weight']);
      for (const key of ['0.weight', '2.weight']) {
        const weight = state.get(key)!;
        expect(weight).toMatchObject({ dtype: 'qint8', quantization: { qscheme: 'per_channel_affine' } });
        expect(weight.intRepr().toArray()).toEqual(torchao.codes[key]);
        expect(weight.dequantize().toArray()).toEqual(torchao.weights[key]);
      }
      expect(state.notes.size).toBe(0);
      expect(state.metadata.get('0')).toEqual({
        type: 'DynamicQuantizedLinear',
        inFeatures: 8,
        outFeatures: 4,
        bias: true,
        dtype: 'qint8',
        qscheme: 'per_channel_affine',
        activation: 'perRow',
        reduceRange: false,
      });
      expect(state.assumptions).toEqual(
        ['0', '2'].map(
          (module) =>
            `${module} (DynamicQuantizedLinear): torchao has no zero points for its input; here each row of it is quantized with a scale and a zero point`,
        ),
      );
      const { model } = modelFromStateDict(state);
      const layer = (module: string): nn.quantized.dynamic.Linear => model.getSubmodule(module) as never;
      const output = layer('2').forward(relu.forward(layer('0').forward(numbers(torchao.input))));
      // Its input's ranges differ, so the outputs do, no more than each differs from the float model.
      expect(furthest(output, numbers(torchao.output))).toBeLessThan(0.01);
      expect(furthest(numbers(torchao.output), numbers(torchao.float))).toBeGreaterThan(0.001);
    }
  });
  test('weights without a quantized input', () => {
    const { assumptions } = fixture<nn.StateDict>('torchao_weight_only.pt');
    expect(assumptions[0]).toMatch(/^0 \(DynamicQuantizedLinear\): torchao leaves its input float; here/);
  });
  test('is refused if the caller is strict', () =>
    expect(() => fixture('torchao.pt', { strict: true })).toThrow(
      /'torchao\.quantization\.Int8Tensor' is refused/,
    ));
});

describe('large files of ordinary content load', () => {
  const count = 267_735;
  const memo = put;
  const double = (value: number): string => {
    const bytes = Buffer.alloc(8);
    bytes.writeDoubleBE(value);
    return `G${bytes.toString('latin1')}`;
  };
  const many = (n: number, each: (i: number) => string): string =>
    Array.from({ length: n }, (_, i) => each(i)).join('');

  test('a vocabulary of 267,735 words', () => {
    const words = many(count, (i) => `${text(`word${i}`)}${memo(i)}K\x01`);
    const value = loadSync<Values>(checkpoint(`}(${words}u`));
    expect(value.size).toBe(count);
    expect(value.get('word7')).toBe(1);
  });
  test('a log of 60,000 steps', () => {
    const keys = many(3, (i) => `${text('abc'[i]!)}${memo(i)}0`);
    const steps = many(
      60_000,
      (i) => `}${memo(i + 3)}(${get(0)}${double(i)}${get(1)}${double(0.5)}${get(2)}K\x02u`,
    );
    const value = loadSync<Values[]>(checkpoint(`${keys}](${steps}e`));
    expect(value).toHaveLength(60_000);
    expect(value[9]).toEqual(new Map([['a', 9], ['b', 0.5], ['c', 2]])); // prettier-ignore
  });
  test('a million losses', () => {
    const value = loadSync<number[]>(checkpoint(`](${many(1_000_000, (i) => double(i / 8))}e`));
    expect([value.length, value[9]]).toEqual([1_000_000, 9 / 8]);
  });
  test('31,337 small tensors', () => {
    const tensors = many(
      31_337,
      (i) => text(`series.${i}.bias`) + pickledTensor(storage(`${i}`, 2), 0, [2], [1]),
    );
    const storages = Object.fromEntries(Array.from({ length: 31_337 }, (_, i) => [i, floats(i, 1)]));
    const state = loadSync(checkpoint(`}(${tensors}u`, storages));
    expect(state.size).toBe(31_337);
    expect(state.get('series.7.bias')!.toArray()).toEqual([7, 1]);
  });
  test('31,337 small tensors as safetensors', () => {
    const entries = Array.from({ length: 31_337 }, (_, i): [string, object] => [
      `series.${i}.bias`,
      { dtype: 'F32', shape: [2], data_offsets: [8 * i, 8 * i + 8] },
    ]);
    const header = Buffer.from(JSON.stringify(Object.fromEntries(entries)));
    const length = Buffer.alloc(8);
    length.writeBigUInt64LE(BigInt(header.length));
    const state = loadSync(Buffer.concat([length, header, Buffer.alloc(8 * 31_337)]));
    expect(state.size).toBe(31_337);
  });
  test('what unfolds further does with a memoryLimit', async () => {
    // 30 times the same list of 10,000 numbers' worth of tuples.
    const items = list(...Array<string>(20_000).fill('K\x01'));
    const sets = Array<string>(100).fill(`${name('__builtin__', 'set')}${get(0)}\x85R`);
    const copies = Array<string>(200).fill(`${name('argparse', 'Namespace')}(${'N'.repeat(9)}tR`);
    const lists = checkpoint(tuple(items, put(0), ...sets, ...copies));
    expect(loadSync(lists)).toHaveLength(301);
    const many = checkpoint(
      tuple(
        tuple(...Array<string>(10_000).fill('N')),
        put(0),
        ...Array<string>(200).fill(`${name('a', 'B')})R${get(0)}R`),
      ),
    );
    expect(() => loadSync(many)).toThrow(
      /unfolds to far more than its own size; if you trust it, set memoryLimit/,
    );
    await expect(load(many)).rejects.toThrow(/memoryLimit/);
    expect(loadSync(many, { memoryLimit: 2 ** 28 })).toHaveLength(201);
    expect(await load(many, { memoryLimit: 2 ** 28 })).toHaveLength(201);
    expect(() => loadSync(many, { memoryLimit: 1000 })).toThrow(
      /unfolds to more than memoryLimit, 1000 bytes/,
    );
    expect(() => loadSync(many, { memoryLimit: -1 })).toThrow(/memoryLimit/);
    expect(() => loadSync(many, { strict: 1 as never })).toThrow(/strict should be a boolean/);
  });
});

describe('nothing is run, imported or changed', () => {
  /** Names by which pickles have run code. */
  const dangerous = `os.system os.popen os.execv os.spawnlp posix.system posix.popen nt.system nt.popen
    subprocess.Popen subprocess.call subprocess.run subprocess.check_output subprocess.getoutput pty.spawn
    builtins.eval builtins.exec builtins.compile builtins.open builtins.getattr builtins.setattr builtins.__import__
    builtins.globals builtins.breakpoint builtins.input __builtin__.eval __builtin__.execfile __builtin__.apply
    runpy.run_path runpy._run_code importlib.import_module imp.load_source pydoc.locate pkgutil.resolve_name
    pickle.loads pickle.load _pickle.loads cPickle.loads dill.loads cloudpickle.loads joblib.load marshal.loads
    shelve.open code.InteractiveInterpreter.runcode timeit.timeit cProfile.run profile.run bdb.Bdb.run pdb.run
    ctypes.CDLL ctypes.WinDLL operator.attrgetter operator.methodcaller operator.itemgetter functools.partial
    functools.reduce itertools.starmap types.FunctionType types.CodeType copyreg._reconstructor copyreg.__newobj__
    codecs.decode codecs.open webbrowser.open urllib.request.urlopen requests.get socket.socket shutil.rmtree
    shutil.copyfile pathlib.Path.unlink os.remove os.putenv sys.exit sys.modules signal.signal
    torch.hub.load torch.load torch.jit.load torch.utils.cpp_extension.load torch.ops.load_library torch.classes.load_library
    torch.storage._load_from_bytes torch.package.PackageImporter torch._dynamo.eval_frame.optimize
    numpy.load numpy.f2py.crackfortran.myeval numpy.testing._private.utils.runstring numpy.fromfile
    __torch__.Net
    child_process.execSync process.binding module.constructor globalThis.eval constructor.constructor __proto__.x
    Object.prototype require.fs`.split(/\s+/);
  const split = (full: string): [string, string] => {
    const at = full.lastIndexOf('.');
    return [full.slice(0, at), full.slice(at + 1)];
  };
  const forms = (full: string): string[] => {
    const [module, of] = split(full);
    const mention = name(module, of);
    const argument = text('process.exit(3)');
    return [
      mention,
      `${text(module)}${text(of)}\x93`,
      `${mention}${tuple(argument)}R`,
      `${mention}${tuple(argument)}R)R`,
      `${mention})\x81}${argument}${argument}sb`,
      `${mention}${tuple(argument)}\x81${tuple('N', dict(argument, argument))}b`,
      `${mention}${tuple(argument)}}\x92`,
      `${mention})\x81(${argument}e(${argument}${argument}u`,
    ];
  };

  test.each(dangerous)('%s is an inert OpaqueValue, and refused if strict', (full) => {
    const [module, of] = split(full);
    const shown = `${module === '__builtin__' ? 'builtins' : module}.${of}`;
    for (const form of forms(full)) {
      const value = loadSync<Values>(checkpoint(dict(text('x'), form, text('w'), pickledTensor(storage('0', 1), 0, [1], [1])), { 0: floats(5) })); // prettier-ignore
      expect((value.get('w') as Tensor).toArray()).toEqual([5]);
      expect(value.get('x')).toBeInstanceOf(OpaqueValue);
      expect((value.get('x') as OpaqueValue).type).toBe(shown);
      expect(() => loadSync(checkpoint(dict(text('x'), form)), { strict: true })).toThrow(
        `'${full}' is refused`,
      );
    }
  });

  test('in a process whose prototypes are frozen no module is loaded, and no function called', () => {
    const temporary = mkdtempSync(join(tmpdir(), 'dynaquant-test-'));
    const files = dangerous.flatMap(forms).map((form) => checkpoint(form).toString('base64'));
    writeFileSync(join(temporary, 'files.json'), JSON.stringify(files));
    const script = `
      const { loadSync } = require('dynaquant');
      const texts = JSON.parse(require('node:fs').readFileSync(process.argv[1]));
      const files = texts.map((text) => Buffer.from(text, 'base64'));
      loadSync(files[0]);
      const called = [];
      const forbid = (owner, names) => {
        for (const name of names) owner[name] = () => called.push(name);
      };
      const names = ['node:child_process', 'node:module', 'node:fs'];
      const [children, modules, fs] = names.map((name) => require(name));
      forbid(globalThis, ['eval', 'Function']);
      forbid(children, ['exec', 'execSync', 'spawn', 'spawnSync', 'fork', 'execFile', 'execFileSync']);
      forbid(modules, ['_load', '_resolveFilename']);
      forbid(fs, ['writeFileSync', 'openSync', 'readFileSync', 'unlinkSync']);
      forbid(process, ['exit', 'binding', 'dlopen', 'kill']);
      const seen = () => [process.moduleLoadList, Object.keys(require.cache), Object.getOwnPropertyNames(globalThis)].join();
      const before = seen();
      for (const file of files) loadSync(file);
      console.log(JSON.stringify([files.length, called, before === seen()]));`;
    const flags = ['--frozen-intrinsics', '--disallow-code-generation-from-strings', '--no-warnings'];
    const run = runNode([...flags, '-e', script, join(temporary, 'files.json')], { cwd: root });
    rmSync(temporary, { recursive: true });
    expect(run).toEqual({ status: 0, stdout: `[${files.length},[],true]\n`, stderr: '' });
  });

  test('names of prototypes are plain keys and types', () => {
    const names = ['__proto__', 'constructor', 'prototype', 'toString', 'type', 'args', 'state', 'then'];
    const before = Object.getOwnPropertyNames(Object.prototype).join();
    for (const each of names) {
      const attributes = dict(...names.flatMap((key) => [text(key), int(1)]));
      const value = loadSync<OpaqueValue>(
        checkpoint(`${name(each, each)}${tuple(text(each))}\x81${attributes}b`),
      );
      expect(value.type).toBe(`${each}.${each}`);
      expect(Object.keys(value)).toEqual(['type', 'args', 'state', 'items']);
      expect([...(value.state as Values).keys()]).toEqual(names);
      expect(Object.getPrototypeOf(value)).toBe(OpaqueValue.prototype);
      const state = loadSync<nn.StateDict>(
        checkpoint(dict(text(each), pickledTensor(storage('0', 1), 0, [1], [1])), { 0: floats(5) }),
      );
      expect([...state.keys()]).toEqual([each]);
      expect(Object.getPrototypeOf(state)).toBe(nn.StateDict.prototype);
    }
    expect(Object.getOwnPropertyNames(Object.prototype).join()).toBe(before);
    expect(({} as Record<string, unknown>)['x']).toBeUndefined();
  });
});

describe('hostile files', () => {
  const repeated = (value: string, times: number): string => value.repeat(times);
  const hundred = repeated('N', 100_000);
  const filled = `(${hundred}t${put(0)}`;
  test.each<[string, string, RegExp]>([
    [
      'an OpaqueValue’s arguments copied',
      tuple(filled, repeated(`${name('a', 'B')})R${get(0)}R`, 2000)),
      /far more/,
    ],
    ['a call of a call of a call', `${name('a', 'B')}${repeated(')R', 300_000)}`, /far more|nested deeper/],
    ['one state for many objects', tuple(`}(${Array.from({ length: 50_000 }, (_, i) => `${int(i)}N`).join('')}u${put(0)}`, repeated(`${name('a', 'B')})\x81${get(0)}b`, 2000)), /far more/], // prettier-ignore
    ['bytes of one text', tuple(text('a'.repeat(1_000_000)), put(0), repeated(`${name('_codecs', 'encode')}${get(0)}${text('latin1')}\x86R`, 2000)), /far more/], // prettier-ignore
    ['sets of one list', tuple(list(...Array.from({ length: 50_000 }, (_, i) => int(i))), put(0), repeated(`${name('__builtin__', 'set')}${get(0)}\x85R`, 2000)), /far more/], // prettier-ignore
    ['empty sets', repeated('\x8f', 400_000), /far more/],
    ['a list in a set', `\x8f(]\x90`, /should be hashable, got List/],
    ['a set in a set', call('__builtin__', 'set', list('\x8f')), /should be hashable, got a set/],
    [
      'bytes that are no latin1',
      call('_codecs', 'encode', text('ā'), text('latin1')),
      /bytes should be a text in latin1/,
    ],
    [
      'bytes of another encoding',
      call('_codecs', 'encode', text('a'), text('rot13')),
      /in latin1, got 'a' in 'rot13'/,
    ],
    [
      'a complex number of texts',
      call('__builtin__', 'complex', text('a')),
      /a complex number should have two parts/,
    ],
    ['half a surrogate', 'X\x02\x00\x00\x00\xed\xa0', /a string should be UTF-8/],
    [
      'a sparse tensor of no layout',
      call('torch._utils', '_rebuild_sparse_tensor', text('x'), tuple()),
      /a sparse layout, got 'x'/,
    ],
    ['a tensor made by another function', call('torch._tensor', '_rebuild_from_type_v2', name('torch._tensor', '_rebuild_from_type_v2'), name('a', 'B'), tuple(), '}'), /a function, a class and arguments/], // prettier-ignore
    ['a negative view of integers', dict(text('x'), call('torch._utils', '_rebuild_tensor_v2', storage('0', 1, 'Long'), int(0), tuple(int(1)), tuple(int(1)), '\x89', '}', dict(text('neg'), '\x88'))), /key 'x': a negative view of int64/], // prettier-ignore
    ['tuples of tuples in a key', `${Array.from({ length: 9 }).reduce<string>((value, _, i) => `(${value}${repeated(get(i - 1), i === 0 ? 0 : 9)}t${put(i)}`, 'N')}0}${get(8)}Ns`, /unfolds to more than|key/], // prettier-ignore
  ])('%s', (_, value, message) => {
    const start = process.cpuUsage();
    expect(() => loadSync(checkpoint(value, { 0: new Uint8Array(8) }))).toThrow(message);
    const { user, system } = process.cpuUsage(start);
    expect((user + system) / 1e6).toBeLessThan(5);
  });
  test('every fixture is small', () => {
    const sizes = readdirSync(folder).map((file) => readFileSync(join(folder, file)).length);
    expect(Math.max(...sizes)).toBeLessThan(10_000);
  });
});
