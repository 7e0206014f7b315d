import { checkBoolean, checkOptions, describe, tagOf } from '../errors.js';
import { collectGarbage } from '../memory.js';
import { GRUCell, LSTMCell, RNNCell } from '../nn/cells.js';
import { Embedding, EmbeddingBag } from '../nn/embedding.js';
import { GRU } from '../nn/gru.js';
import { LinearReLU } from '../nn/intrinsic.js';
import { Linear } from '../nn/linear.js';
import { LSTM } from '../nn/lstm.js';
import { onMeta } from '../nn/meta.js';
import { copyHooks, copyModule, isModule, type Module } from '../nn/module.js';
import { checkQConfig } from '../nn/quantized/qconfig.js';
import * as quantized from '../nn/quantized/index.js';
import { RNN } from '../nn/rnn.js';
import { qint8, type DType } from '../tensor/index.js';
import {
  defaultDynamicQConfig,
  float16DynamicQConfig,
  floatQParamsWeightOnlyQConfig,
  floatQParamsWeightOnlyQConfig4Bit,
  type QConfig,
} from './qconfig.js';

/** A class of modules, abstract or not. */
export type ModuleClass = abstract new (...args: never[]) => Module;

/** A quantized class: makes its instance from a float module. */
export interface QuantizedModuleClass {
  fromFloat(module: Module, qconfig: QConfig): Module;
}

/** What to quantize: types and dotted names, with `dtype`'s qconfig (a set) or each with its own (a map). */
export type QConfigSpec =
  ReadonlySet<ModuleClass | string> | ReadonlyMap<ModuleClass | string, QConfig | null>;

export interface QuantizeDynamicOptions {
  /**
   * The weights' type where the spec is no map. Default: `qint8`, which like `float16` is for Linear, LinearReLU
   * and the recurrent modules and cells; `quint8` and `quint4x2` are for embeddings.
   */
  dtype?: DType;
  /** Float class to quantized class, by exact type. Default: {@link defaultDynamicMapping}. */
  mapping?: ReadonlyMap<ModuleClass, QuantizedModuleClass>;
  /** Quantize the model itself instead of a copy, letting each float module go as it is converted. Default: false. */
  inplace?: boolean;
}

const layers: [ModuleClass, QuantizedModuleClass][] = [
  [Linear, quantized.dynamic.Linear as QuantizedModuleClass],
  [LinearReLU, quantized.dynamic.LinearReLU as QuantizedModuleClass],
  [LSTM, quantized.dynamic.LSTM as QuantizedModuleClass],
  [GRU, quantized.dynamic.GRU as QuantizedModuleClass],
  [RNN, quantized.dynamic.RNN as QuantizedModuleClass],
  [LSTMCell, quantized.dynamic.LSTMCell as QuantizedModuleClass],
  [GRUCell, quantized.dynamic.GRUCell as QuantizedModuleClass],
  [RNNCell, quantized.dynamic.RNNCell as QuantizedModuleClass],
];
const embeddings: [ModuleClass, QuantizedModuleClass][] = [
  [EmbeddingBag, quantized.EmbeddingBag as QuantizedModuleClass],
  [Embedding, quantized.Embedding as QuantizedModuleClass],
];

/** PyTorch's `DEFAULT_DYNAMIC_QUANT_MODULE_MAPPINGS`, and RNN. */
export const defaultDynamicMapping: ReadonlyMap<ModuleClass, QuantizedModuleClass> = new Map([
  ...layers,
  ...embeddings,
]);

const ownClasses: ReadonlySet<QuantizedModuleClass> = new Set(defaultDynamicMapping.values());

/** For each dtype the qconfig of a spec's types and names, and the types where there is no spec. */
const defaults: Partial<Record<DType, { qconfig: QConfig; types: readonly ModuleClass[] }>> = {
  qint8: { qconfig: defaultDynamicQConfig, types: layers.map(([type]) => type) },
  float16: { qconfig: float16DynamicQConfig, types: layers.map(([type]) => type) },
  quint8: { qconfig: floatQParamsWeightOnlyQConfig, types: [EmbeddingBag, Embedding] },
  quint4x2: { qconfig: floatQParamsWeightOnlyQConfig4Bit, types: [EmbeddingBag] },
};

/**
 * Replaces float modules by dynamically quantized ones: weights become INT8 (or float16) once, here; activations
 * are quantized at each call. PyTorch's `torch.ao.quantization.quantize_dynamic`.
 *
 * A module's qconfig is, in rising priority: its parent's, the spec's entry for its exact type, the entry
 * for its dotted name (the root's is `''`), its own property `qconfig`, which the result no longer has. `null`
 * excludes. A module is converted when it has one and its exact type is in the mapping: subclasses are left alone,
 * as in PyTorch, and a LinearReLU is converted as a unit or not at all. Forward hooks go over to the quantized
 * module. The result is in evaluation mode.
 *
 * Deliberate differences: RNN and LinearReLU are converted too, by default and when named (PyTorch skips RNN
 * always, LinearReLU by default); a root that is itself quantizable is converted and returned (PyTorch ignores it);
 * a module that stands under two names stays one module (PyTorch converts one name, or makes two copies); no
 * random numbers are drawn; and where an entry of the spec finds nothing to quantize (an unknown name, a type that
 * has no quantized class or whose only instances are of subclasses), a warning names it.
 *
 * @param model - a float model; left untouched unless `inplace`
 * @param spec - what to quantize; default: every module of the types that `dtype` is for
 * @throws {TypeError} for a spec, mapping, qconfig or option of the wrong kind
 * @throws {RangeError} for a `dtype` or qconfig that is not for these modules, weights that are not finite, or an
 * INT8 product deeper than 131,071 (65,793 with the full activation range); the model is then unchanged
 */
export function quantizeDynamic<M extends Module>(
  model: M,
  spec?: QConfigSpec | null,
  options: QuantizeDynamicOptions = {},
): M {
  if (!isModule(model)) throw new TypeError(`model should be a Module, got ${describe(model)}`);
  checkOptions('quantizeDynamic', options, ['dtype', 'mapping', 'inplace']);
  const { dtype = qint8, mapping = defaultDynamicMapping, inplace = false } = options;
  checkMapping(mapping);
  checkBoolean('inplace', inplace);
  const qconfigs = resolveSpec(spec, dtype);

  const root = inplace ? model : copyModule(model);
  const conversions = new Map<Module, { trial: () => void; convert: () => Module }>();
  const others = new Set<Module>();
  const named = new Map<string, Module>();
  const used = new Set<ModuleClass | string>();
  const visit = (module: Module, name: string, inherited: Source, above: readonly Module[]): void => {
    if (above.includes(module)) throw new RangeError(`module '${name}' contains itself`);
    named.set(name, module);
    const type = module.constructor as ModuleClass;
    const source = ownSource(module, name, qconfigs) ?? inherited;
    const { qconfig } = source;
    const target = mapping.get(type);
    // A fused module is a unit: what is in it is not converted by itself.
    const fused = above.at(-1)?.constructor === LinearReLU;
    if (qconfig !== null && target !== undefined && !fused) {
      if (source.key !== undefined) used.add(source.key);
      const conversion = (): Module => convert(target, module, qconfig);
      // The classes here need not pack in a trial; others may do anything.
      const trial = ownClasses.has(target) ? (): unknown => onMeta(conversion) : conversion;
      if (!conversions.has(module)) conversions.set(module, { trial, convert: conversion });
    } else if (!fused) {
      others.add(module);
    }
    for (const [childName, child] of module.namedChildren()) {
      visit(child, name === '' ? childName : `${name}.${childName}`, source, [...above, module]);
    }
  };
  visit(root, '', { qconfig: null }, []);
  const isDefault = spec === undefined || spec === null;
  warnOfUnused(qconfigs, isDefault, used, mapping, named, conversions);

  // Each float module is let go as soon as its twin stands, so that a large model never needs the memory of both.
  // Inplace, all conversions are tried before: one that fails leaves the model as it was.
  named.clear();
  if (inplace && conversions.size > 1) for (const { trial } of conversions.values()) trial();
  const twins = new WeakMap<Module, Module>();
  let released = 0;
  const twinOf = (module: Module): Module => {
    const twin = twins.get(module) ?? conversions.get(module)?.convert();
    if (twin === undefined) return module;
    if (conversions.delete(module)) {
      copyHooks(module, twin);
      released += bytesOf(module);
    }
    twins.set(module, twin);
    return twin;
  };
  const letGo = (module: Module): Module => {
    // What was replaced before this one; itself it is still held here.
    if (inplace && released > collectEvery) {
      collectGarbage();
      released = 0;
    }
    return twinOf(module);
  };
  for (const module of others) {
    module.replaceChildren(letGo);
    delete (module as { qconfig?: unknown }).qconfig;
  }
  return (twinOf(root) as M).eval();
}

function convert(target: QuantizedModuleClass, module: Module, qconfig: QConfig): Module {
  const result: unknown = target.fromFloat(module, qconfig);
  if (isModule(result)) return result;
  throw new TypeError(
    `fromFloat of mapping's ${module.constructor.name} should give a Module, got ${describe(result)}`,
  );
}

/** Bytes of float weights let go after which garbage is collected. */
const collectEvery = 2 ** 25;

function bytesOf(module: Module): number {
  let bytes = 0;
  for (const parameter of module.parameters()) bytes += parameter.data.byteLength;
  return bytes;
}

/** A qconfig, and the entry of the spec that it comes from. */
interface Source {
  readonly qconfig: QConfig | null;
  readonly key?: ModuleClass | string;
}

function ownSource(module: Module, name: string, qconfigs: ResolvedSpec): Source | undefined {
  const { qconfig } = module as { qconfig?: QConfig | null };
  if (qconfig !== undefined) {
    if (qconfig !== null) checkQConfig(`the qconfig of module '${name}'`, qconfig);
    return { qconfig };
  }
  for (const key of [name, module.constructor as ModuleClass]) {
    const entry = qconfigs.get(key);
    if (entry !== undefined) return { qconfig: entry, key };
  }
  return undefined;
}

type ResolvedSpec = ReadonlyMap<ModuleClass | string, QConfig | null>;

function resolveSpec(spec: QConfigSpec | null | undefined, dtype: DType): ResolvedSpec {
  if (tagOf(spec) === 'Map') {
    for (const [key, qconfig] of spec as ResolvedSpec) {
      checkKey(key);
      const name = typeof key === 'string' ? `'${key}'` : key.name;
      if (qconfig !== null) checkQConfig(`spec's qconfig for ${name}`, qconfig);
    }
    return spec as ResolvedSpec;
  }
  const known = Object.hasOwn(defaults, dtype) ? defaults[dtype] : undefined;
  if (spec === undefined || spec === null) {
    if (known === undefined) {
      throw new RangeError(
        `Don't know how to quantize with default settings for ${String(dtype)}. Provide full qconfig please`,
      );
    }
    return new Map(known.types.map((type) => [type, known.qconfig]));
  }
  if (tagOf(spec) !== 'Set') {
    throw new TypeError(
      `spec should be a Set of module classes and names, or a Map of them to qconfigs, got ${describe(spec)}`,
    );
  }
  if (known === undefined) {
    throw new RangeError(`Unknown dtype specified for quantize_dynamic: ${String(dtype)}`);
  }
  const keys = [...(spec as ReadonlySet<ModuleClass | string>)];
  keys.forEach(checkKey);
  return new Map(keys.map((key) => [key, known.qconfig]));
}

/**
 * What a spec asks for in vain is most often a mistake that costs memory and time later; but a type that the model
 * happens not to have is none.
 */
function warnOfUnused(
  qconfigs: ResolvedSpec,
  isDefault: boolean,
  used: ReadonlySet<ModuleClass | string>,
  mapping: ReadonlyMap<ModuleClass, QuantizedModuleClass>,
  named: ReadonlyMap<string, Module>,
  conversions: ReadonlyMap<Module, unknown>,
): void {
  // By other qconfigs, perhaps, that go before this entry's.
  const isConverted = (key: string): boolean =>
    [...named].some(
      ([name, module]) =>
        (key === '' || name === key || name.startsWith(`${key}.`)) && conversions.has(module),
    );
  const complaints: string[] = [];
  for (const [key, qconfig] of qconfigs) {
    if (typeof key === 'string') {
      const module = named.get(key);
      if (module === undefined) complaints.push(`there is no module '${key}'`);
      else if (qconfig !== null && !used.has(key) && !isConverted(key)) {
        complaints.push(`'${key}' (${describe(module)}) is and holds nothing to quantize`);
      }
    } else if (qconfig !== null && !used.has(key)) {
      const subclass = [...named].find(([, module]) => module.constructor !== key && module instanceof key);
      if (!mapping.has(key)) {
        if (!isDefault) complaints.push(`there is no quantized class for ${key.name}`);
      } else if (subclass !== undefined) {
        complaints.push(
          `${key.name} means exactly this type, but '${subclass[0]}' is a subclass, ${describe(subclass[1])}`,
        );
      }
    }
  }
  if (complaints.length > 0) process.emitWarning(`quantizeDynamic: ${complaints.join('; ')}`);
}

function checkMapping(mapping: unknown): void {
  if (tagOf(mapping) !== 'Map') throw new TypeError(`mapping should be a Map, got ${describe(mapping)}`);
  for (const [type, target] of mapping as ReadonlyMap<unknown, Partial<QuantizedModuleClass> | null>) {
    if (!isClass(type)) throw new TypeError(`mapping should map module classes, got ${describe(type)}`);
    if (typeof target?.fromFloat !== 'function') {
      throw new TypeError(
        `mapping's class for ${type.name} should have a static fromFloat, got ${describe(target)}`,
      );
    }
  }
}

/** Whether `instanceof` takes it: arrow functions are no classes. */
function isClass(value: unknown): value is ModuleClass {
  return typeof value === 'function' && typeof value.prototype === 'object' && value.prototype !== null;
}

function checkKey(key: unknown): void {
  if (typeof key !== 'string' && !isClass(key)) {
    throw new TypeError(`spec should hold module classes and names, got ${describe(key)}`);
  }
}
