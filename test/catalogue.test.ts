import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { construct, type CatalogueEntry } from '../src/nn/catalogue.js';
import * as nn from '../src/nn/index.js';
import { entryOf, quantizedCatalogue, twinOf, type QuantizedEntry } from '../src/nn/quantized/catalogue.js';
import {
  defaultDynamicMapping,
  defaultDynamicQConfig,
  float16DynamicQConfig,
  floatQParamsWeightOnlyQConfig,
  floatQParamsWeightOnlyQConfig4Bit,
  quantizeDynamic,
  type QConfig,
} from '../src/quantization/index.js';
import { loadSync } from '../src/serialization/load.js';
import { modelFromStateDict, StateDictModule } from '../src/serialization/model-from-state-dict.js';
import { saveSync } from '../src/serialization/save.js';
import type { DType, Tensor } from '../src/tensor/index.js';
import { argumentsOf, catalogue, example, exampleSizes, inputOf, metadataOf } from './catalogue.js';
import { bytesOf } from './support.js';

const folder = mkdtempSync(join(tmpdir(), 'dynaquant-test-'));
afterAll(() => rmSync(folder, { recursive: true }));

/** Exported classes of modules that are no kind of module themselves. */
const notInCatalogue: readonly unknown[] = [nn.Module];

/** The options that the constructor knows: its error for another one lists them. */
function optionsOfConstructor(entry: CatalogueEntry): string[] {
  try {
    construct(entry, { ...exampleSizes(entry), noSuchOption: 1 });
  } catch (error) {
    const match = /the options are (.*)$/.exec((error as Error).message);
    return match === null ? [] : match[1]!.split(', ');
  }
  return [];
}
/** The bits of a module's results, states too. */
function outputs(module: nn.Module, input: Tensor): string[] {
  const flat = (value: unknown): string[] =>
    Array.isArray(value) ? value.flatMap(flat) : [bytesOf(value as Tensor)];
  return flat(module.forward(input));
}
function shapesOf(module: nn.Module): unknown[] {
  return Array.from(module.stateDict(), ([name, { shape }]) => [name, shape]);
}
/** A module's state dict, saved and read again, as a model. */
function reloaded(module: nn.Module): ReturnType<typeof modelFromStateDict> {
  const path = join(folder, 'module.safetensors');
  saveSync(module.stateDict(), path);
  return modelFromStateDict(loadSync(path));
}
/** What a module's children and own tensors show. */
function partsOf(entry: CatalogueEntry, module: nn.Module): object | undefined {
  const own = new Map([...module.stateDict()].filter(([key]) => !key.includes('.')));
  return entry.partsOf?.(new Map(module.namedChildren()), own);
}
/** Metadata do not hold what these need. */
const isActivationWithOptions = (entry: CatalogueEntry): boolean =>
  entry.parameters === undefined &&
  entry.partsOf === undefined &&
  entry.sizes.length + Object.keys(entry.defaults).length > 0;

const named = (entries: readonly CatalogueEntry[]): [string, CatalogueEntry][] =>
  entries.map((entry) => [entry.type, entry]);

describe('the catalogue', () => {
  const { quantized, intrinsic } = nn;
  const exported = [nn, intrinsic, quantized, quantized.dynamic]
    .flatMap((room) => Object.values(room) as unknown[])
    .filter((value): value is CatalogueEntry['Class'] => {
      return typeof value === 'function' && (value === nn.Module || value.prototype instanceof nn.Module);
    });

  test('has every class of modules that nn exports', () => {
    expect(exported.length).toBeGreaterThan(30);
    for (const Class of exported) {
      if (notInCatalogue.includes(Class) || catalogue.some((entry) => entry.Class === Class)) continue;
      throw new Error(
        `${Class.name} is exported, but not in the catalogue: add a record for it to src/nn/catalogue.ts, or if it is quantized to src/nn/quantized/catalogue.ts`,
      );
    }
  });
  test('has no other classes', () => {
    for (const { Class } of catalogue) expect(exported).toContain(Class);
  });
  test('has each type once', () => {
    expect(new Set(catalogue.map(({ type }) => type)).size).toBe(catalogue.length);
    for (const entry of catalogue) expect(entryOf(entry.type)).toBe(entry);
    expect(entryOf('toString')).toBeUndefined();
  });
  test('gives quantizeDynamic PyTorch’s mapping and RNN first, in this order', () => {
    const { dynamic } = nn.quantized;
    expect([...defaultDynamicMapping].slice(0, 10)).toEqual([
      [nn.Linear, dynamic.Linear],
      [nn.intrinsic.LinearReLU, dynamic.LinearReLU],
      [nn.LSTM, dynamic.LSTM],
      [nn.GRU, dynamic.GRU],
      [nn.RNN, dynamic.RNN],
      [nn.LSTMCell, dynamic.LSTMCell],
      [nn.GRUCell, dynamic.GRUCell],
      [nn.RNNCell, dynamic.RNNCell],
      [nn.EmbeddingBag, nn.quantized.EmbeddingBag],
      [nn.Embedding, nn.quantized.Embedding],
    ]);
  });
  test('finds twins', () => {
    expect(twinOf('LSTM', 'qint8')?.type).toBe('DynamicQuantizedLSTM');
    expect(twinOf('Embedding', 'quint4x2')?.type).toBe('QuantizedEmbedding');
    expect(twinOf('LSTM', 'quint8')).toBeUndefined();
    expect(twinOf('DynamicQuantizedLSTM', 'qint8')).toBeUndefined();
  });
});

describe.each(named(catalogue))('%s', (type, entry) => {
  const isLayer = entry.parameters !== undefined;

  test('is what its modules print and say that they are', () => {
    const module = example(entry);
    expect(module.constructor).toBe(entry.Class);
    expect(metadataOf(module).type).toBe(type);
    expect(String(module)).toMatch(new RegExp(`^${type}\\(`));
  });
  test('has its defaults', () => {
    for (const option of entry.announced) expect(entry.defaults).toHaveProperty(option);
    if (entry.fromChildren !== undefined) return;
    const explicit = construct(entry, { ...entry.defaults, ...exampleSizes(entry) });
    expect(String(explicit)).toBe(String(example(entry)));
    expect(metadataOf(explicit)).toEqual(metadataOf(example(entry)));
  });
  test('has all options', () => {
    if (entry.fromChildren !== undefined) return;
    const module = example(entry);
    const shown = entry.sizesOf?.(module.stateDict()) ?? partsOf(entry, module) ?? {};
    const known = ['dtype', ...Object.keys(entry.defaults), ...Object.keys(shown)];
    expect(known).toEqual(expect.arrayContaining(optionsOfConstructor(entry)));
  });
  if (isLayer) {
    test('has its parameters, and finds its sizes in them', () => {
      const module = example(entry);
      const metadata = metadataOf(module);
      const parameters = entry.parameters!(metadata);
      expect(parameters.map(({ name, shape }) => [name, shape])).toEqual(shapesOf(module));
      expect(metadata).toMatchObject(entry.sizesOf!(module.stateDict(), metadata)!);
    });
    test('has metadata that are its constructor’s arguments', () => {
      const module = example(entry);
      const values = argumentsOf(module);
      for (const name of [...entry.sizes, ...Object.keys(entry.defaults)])
        expect(values).toHaveProperty(name);
      const again = construct(entry, values);
      expect(String(again)).toBe(String(module));
      expect(metadataOf(again)).toEqual(metadataOf(module));
    });
    test('is built from its tensors and its type, announcing what is assumed', () => {
      const state = new nn.StateDict();
      for (const [name, tensor] of example(entry).stateDict()) state.set(name, tensor);
      state.metadata.set('', { type });
      const { model, assumptions } = modelFromStateDict(state);
      expect(model.constructor).toBe(entry.Class);
      const assumed = entry.announced.map((key) => `${key} = ${JSON.stringify(entry.defaults[key])}`);
      expect(assumptions).toEqual(
        assumed.length === 0 ? [] : [`the model (${type}): assumed ${assumed.join(', ')}`],
      );
    });
  }
  test('comes back from a file with the same results', () => {
    const module = example(entry);
    const { model, assumptions } = reloaded(module);
    expect(assumptions).toEqual([]);
    if (isActivationWithOptions(entry)) {
      expect(model.constructor).toBe(StateDictModule);
      return;
    }
    expect(model.constructor).toBe(entry.Class);
    // A Dropout's probability matters in training only, and is in no file.
    expect(String(model)).toBe(String(module));
    const input = inputOf(entry);
    if (input !== undefined) expect(outputs(model, input)).toEqual(outputs(module, input));
  });
  test('runs on its sample input', () => {
    const input = inputOf(entry);
    if (input === undefined) return;
    for (const bits of outputs(example(entry), input)) expect(bits).not.toBe('');
  });
});

const qconfigs: Partial<Record<DType, QConfig>> = {
  qint8: defaultDynamicQConfig,
  float16: float16DynamicQConfig,
  quint8: floatQParamsWeightOnlyQConfig,
  quint4x2: floatQParamsWeightOnlyQConfig4Bit,
};
const twins = quantizedCatalogue.flatMap((entry) =>
  entry.dtypes.map((dtype): [string, DType, string, QuantizedEntry] => [
    entry.float.type,
    dtype,
    entry.type,
    entry,
  ]),
);

describe.each(twins)('%s to %s', (_, dtype, type, entry) => {
  const qconfig = qconfigs[dtype]!;

  test(`fromFloat and quantizeDynamic make a ${type}`, () => {
    const float = example(entry.float);
    const quantized = quantizeDynamic(float, new Map([['', qconfig]]));
    expect(quantized.constructor).toBe(entry.Class);
    expect(metadataOf(quantized)).toMatchObject({ type, dtype });
    expect(String(entry.Class.fromFloat(float, qconfig))).toBe(String(quantized));
    const input = inputOf(entry.float)!;
    expect(outputs(entry.Class.fromFloat(float, qconfig), input)).toEqual(outputs(quantized, input));
    expect(outputs(quantized, input)).not.toEqual(outputs(float, input));
  });
  test('by default where it should be', () => {
    const quantized = quantizeDynamic(example(entry.float), null, { dtype });
    expect(quantized.constructor).toBe(entry.defaultDtypes.includes(dtype) ? entry.Class : entry.float.Class);
  });
  test('comes back from a file with the same results', () => {
    const quantized = quantizeDynamic(example(entry.float), new Map([['', qconfig]]));
    const { model, assumptions } = reloaded(quantized);
    expect(assumptions).toEqual([]);
    expect(String(model)).toBe(String(quantized));
    const input = inputOf(entry.float)!;
    expect(outputs(model, input)).toEqual(outputs(quantized, input));
  });
});
