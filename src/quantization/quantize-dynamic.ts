import { checkOptions, describe } from '../errors.js';
import { Linear } from '../nn/linear.js';
import { LSTM } from '../nn/lstm.js';
import { copyHooks, copyModule, isModule, type Module } from '../nn/module.js';
import { Linear as QuantizedLinear } from '../nn/quantized/dynamic/linear.js';
import { LSTM as QuantizedLSTM } from '../nn/quantized/dynamic/lstm.js';
import { checkQConfig } from '../nn/quantized/dynamic/qconfig.js';
import { qint8, type DType } from '../tensor.js';
import { defaultDynamicQConfig, type QConfig } from './qconfig.js';

/** A class of modules, abstract or not. */
export type ModuleClass = abstract new (...args: never[]) => Module;

/** A quantized class: makes its instance from a float module. */
export interface QuantizedModuleClass {
  fromFloat(module: Module, qconfig: QConfig): Module;
}

/** What to quantize: types and dotted names, with the default qconfig (a set) or each with its own (a map). */
export type QConfigSpec =
  ReadonlySet<ModuleClass | string> | ReadonlyMap<ModuleClass | string, QConfig | null>;

export interface QuantizeDynamicOptions {
  /** The weights' type where the spec is no map. Default, and for now the only one: `qint8`. */
  dtype?: DType;
  /** Float class to quantized class, by exact type. Default: {@link defaultDynamicMapping}. */
  mapping?: ReadonlyMap<ModuleClass, QuantizedModuleClass>;
  /** Quantize the model itself instead of a copy. Default: false. */
  inplace?: boolean;
}

/** PyTorch's `DEFAULT_DYNAMIC_QUANT_MODULE_MAPPINGS`, as far as the classes exist. */
export const defaultDynamicMapping: ReadonlyMap<ModuleClass, QuantizedModuleClass> = new Map<
  ModuleClass,
  QuantizedModuleClass
>([
  [Linear, QuantizedLinear as QuantizedModuleClass],
  [LSTM, QuantizedLSTM as QuantizedModuleClass],
]);

/**
 * Replaces float modules by dynamically quantized ones: weights become INT8 once, here; activations are
 * quantized at each call. PyTorch's `torch.ao.quantization.quantize_dynamic`.
 *
 * A module's qconfig is, in rising priority: its parent's, the spec's entry for its exact type, the entry
 * for its dotted name (the root's is `''`). `null` in a map excludes. Subclasses of a mapped type are left
 * alone, as in PyTorch. The result is in evaluation mode.
 *
 * Two deliberate differences: a root that is itself quantizable is converted and returned (PyTorch ignores
 * it silently), and a module that stands under two names stays one module (PyTorch converts one name, or
 * makes two copies). It also draws no random numbers.
 *
 * @param model - a float model; left untouched unless `inplace`
 * @param spec - what to quantize; default: every Linear and LSTM
 * @throws {TypeError} for a spec, mapping, qconfig or option of the wrong kind
 * @throws {RangeError} for a `dtype` that is not supported, weights that are not finite, or a product deeper
 * than 131,071 (65,793 with the full activation range); the model is then unchanged
 */
export function quantizeDynamic<M extends Module>(
  model: M,
  spec?: QConfigSpec | null,
  options: QuantizeDynamicOptions = {},
): M {
  if (!isModule(model)) throw new TypeError(`model should be a Module, got ${describe(model)}`);
  checkOptions('quantizeDynamic', options, ['dtype', 'mapping', 'inplace']);
  const { dtype = qint8, mapping = defaultDynamicMapping, inplace = false } = options;
  if (tagOf(mapping) !== 'Map') throw new TypeError(`mapping should be a Map, got ${describe(mapping)}`);
  const qconfigs = resolveSpec(spec, dtype);

  const root = inplace ? model : copyModule(model);
  // Converted first, swapped after: a failed conversion leaves even an inplace model as it was.
  const converted = new Map<Module, Module>();
  const visited = new Set<Module>();
  const visit = (module: Module, name: string, inherited: QConfig | null): void => {
    const byType = qconfigs.get(module.constructor as ModuleClass);
    const byName = qconfigs.get(name);
    const qconfig = byName !== undefined ? byName : byType !== undefined ? byType : inherited;
    const target = mapping.get(module.constructor as ModuleClass);
    if (qconfig !== null && target !== undefined && !converted.has(module)) {
      const quantized = target.fromFloat(module, qconfig);
      copyHooks(module, quantized);
      converted.set(module, quantized);
    }
    visited.add(module);
    for (const [childName, child] of module.namedChildren()) {
      visit(child, name === '' ? childName : `${name}.${childName}`, qconfig);
    }
  };
  visit(root, '', null);
  for (const module of visited) module.replaceChildren((child) => converted.get(child) ?? child);
  const result = (converted.get(root) ?? root) as M;
  return result.eval();
}

function resolveSpec(
  spec: QConfigSpec | null | undefined,
  dtype: DType,
): ReadonlyMap<ModuleClass | string, QConfig | null> {
  if (tagOf(spec) === 'Map') {
    for (const [key, qconfig] of spec as ReadonlyMap<ModuleClass | string, QConfig | null>) {
      checkKey(key);
      const name = typeof key === 'string' ? `'${key}'` : key.name;
      if (qconfig !== null) checkQConfig(`spec's qconfig for ${name}`, qconfig);
    }
    return spec as ReadonlyMap<ModuleClass | string, QConfig | null>;
  }
  if (spec === undefined || spec === null) {
    if (dtype !== qint8) {
      throw new RangeError(
        `Don't know how to quantize with default settings for ${String(dtype)}. Provide full qconfig please`,
      );
    }
    return new Map([...defaultDynamicMapping.keys()].map((type) => [type, defaultDynamicQConfig]));
  }
  if (tagOf(spec) !== 'Set') {
    throw new TypeError(
      `spec should be a Set of module classes and names, or a Map of them to qconfigs, got ${describe(spec)}`,
    );
  }
  if (dtype !== qint8) throw new RangeError(`Unknown dtype specified for quantize_dynamic: ${String(dtype)}`);
  const keys = [...(spec as ReadonlySet<ModuleClass | string>)];
  keys.forEach(checkKey);
  return new Map(keys.map((key) => [key, defaultDynamicQConfig]));
}

function checkKey(key: unknown): void {
  if (typeof key !== 'string' && typeof key !== 'function') {
    throw new TypeError(`spec should hold module classes and names, got ${describe(key)}`);
  }
}

function tagOf(value: unknown): string {
  return Object.prototype.toString.call(value).slice(8, -1);
}
