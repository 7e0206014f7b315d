import {
  checkBoolean,
  checkOptions,
  checkString,
  describe,
  isMap,
  isSet,
  rangeError,
  typeError,
} from '../errors.js';
import { collectIfExposed } from '../garbage.js';
import { onTrial } from '../nn/meta.js';
import { copyModule } from '../nn/copy-module.js';
import { copyHooks, isInstanceOf, isModule, type Module } from '../nn/module.js';
import { NonDynamicallyQuantizableLinear } from '../nn/multihead-attention.js';
import { freeHandle } from '../nn/native-weights.js';
import { quantizedCatalogue } from '../nn/quantized/catalogue.js';
import { checkQConfig } from '../nn/quantized/qconfig.js';
import { countLayers, stackOf } from './recurrent-layers.js';
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
  /** The quantized twin of a float module. */
  fromFloat(module: Module, qconfig: QConfig): Module;
}

/** What to quantize: types and dotted names, all with the qconfig of `dtype` (a set) or each with its own (a map). */
export type QConfigSpec =
  ReadonlySet<ModuleClass | string> | ReadonlyMap<ModuleClass | string, QConfig | null>;

/** Options of {@link quantizeDynamic}. */
export interface QuantizeDynamicOptions {
  /**
   * The weights' type, unless the spec is a map. `qint8` and `float16` are for all layers but embeddings; `quint8` and
   * `quint4x2` are for those. Default: `qint8`.
   */
  dtype?: DType;
  /** Float class to quantized class, by exact type. Default: {@link defaultDynamicMapping}. */
  mapping?: ReadonlyMap<ModuleClass, QuantizedModuleClass>;
  /**
   * Quantize the model itself instead of a copy, and release each float module as it is converted. Node frees its
   * memory at the next garbage collection: promptly in a process started with `node --expose-gc`. Default: false.
   */
  inplace?: boolean;
}

/** PyTorch's `DEFAULT_DYNAMIC_QUANT_MODULE_MAPPINGS`, and RNN. */
export const defaultDynamicMapping: ReadonlyMap<ModuleClass, QuantizedModuleClass> = new Map(
  quantizedCatalogue.map(({ float, Class }) => [float.Class, Class]),
);

const ownClasses: ReadonlySet<QuantizedModuleClass> = new Set(defaultDynamicMapping.values());

/** The classes that are converted as a unit. The modules in them are not converted by themselves. */
const fusedClasses: ReadonlySet<unknown> = new Set(
  quantizedCatalogue.filter(({ float }) => float.fromChildren !== undefined).map(({ float }) => float.Class),
);

/** For each dtype, the qconfig that the types and names in a set get. */
const defaultQConfigs: Partial<Record<DType, QConfig>> = {
  qint8: defaultDynamicQConfig,
  float16: float16DynamicQConfig,
  quint8: floatQParamsWeightOnlyQConfig,
  quint4x2: floatQParamsWeightOnlyQConfig4Bit,
};

/** The classes that are quantized to this dtype if there is no spec. */
function defaultTypes(dtype: DType): ModuleClass[] {
  return quantizedCatalogue
    .filter(({ defaultDtypes }) => defaultDtypes.includes(dtype))
    .map(({ float }) => float.Class);
}

/**
 * Replaces float modules by dynamically quantized ones, as `torch.ao.quantization.quantize_dynamic`. Weights become
 * INT8 (or float16) once, here; activations are quantized at each call.
 *
 * A module's qconfig is, in rising priority: its parent's, the spec's entry for its exact type, the entry
 * for its dotted name (the root's is `''`), its own property `qconfig`, which the result no longer has. `null`
 * excludes. The spec names a layer of a stacked LSTM, GRU or RNN too, as `lstm.0` (both directions of layer 0): it has
 * priority over what the module has. A module whose layers then differ becomes an `nn.RNNStack`, whose layers are
 * modules of these names; PyTorch cannot do that. A module is converted when it has one and its exact type is in the mapping: subclasses are left alone,
 * as in PyTorch, and a LinearReLU is converted as a unit or not at all. Forward hooks go over to the quantized
 * module. The result is in evaluation mode.
 *
 * Deliberate differences: RNN and LinearReLU are converted too, by default and when named (PyTorch skips RNN
 * always, LinearReLU by default); a root that is itself quantizable is converted and returned (PyTorch ignores it);
 * a module with two names stays one module (PyTorch converts one name, or makes two copies); no
 * random numbers are drawn; and a warning names each entry of the spec that finds nothing to quantize (an unknown name,
 * a type that has no quantized class or whose only instances are of subclasses).
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
  if (!isModule(model)) {
    throw typeError('ERR_INVALID_ARG_TYPE', `model should be a Module, got ${describe(model)}`);
  }
  checkOptions('quantizeDynamic', options, ['dtype', 'mapping', 'inplace']);
  const { dtype = qint8, mapping = defaultDynamicMapping, inplace = false } = options;
  checkMapping(mapping);
  checkBoolean('inplace', inplace);
  const qconfigs = resolveSpec(spec, dtype);

  const root = inplace ? model : copyModule(model);
  const plan = planOf(root, qconfigs, mapping);
  warnOfUnused(plan, qconfigs, mapping, spec === undefined || spec === null);
  // The plan must not keep the float modules that are about to be replaced.
  plan.named.clear();
  // All conversions in place are tried first, so that one that fails leaves the model as it was.
  if (inplace && plan.conversions.size > 1) tryAll(plan);
  return (replaceModules(root, plan, inplace) as M).eval();
}

interface Conversion {
  readonly trial: () => unknown;
  readonly convert: () => Module;
}

/** What `quantizeDynamic` will do with the modules of a model. */
interface Plan {
  readonly conversions: Map<Module, Conversion>;
  /** The modules that stay; their children may not. */
  readonly others: Set<Module>;
  /** All modules by name. */
  readonly named: Map<string, Module>;
  /** The entries of the spec that give a converted module its qconfig. */
  readonly used: Set<ModuleClass | string>;
}

/** Finds each module's qconfig, and so which modules to convert. */
function planOf(
  root: Module,
  qconfigs: ResolvedSpec,
  mapping: ReadonlyMap<ModuleClass, QuantizedModuleClass>,
): Plan {
  const plan: Plan = { conversions: new Map(), others: new Set(), named: new Map(), used: new Set() };
  const visit = (module: Module, name: string, inherited: Source, above: readonly Module[]): void => {
    if (above.includes(module)) {
      throw rangeError('ERR_INVALID_ARG_VALUE', `module '${name}' contains itself`);
    }
    plan.named.set(name, module);
    const source = ownSource(module, name, qconfigs) ?? inherited;
    const target = mapping.get(module.constructor as ModuleClass);
    if (!fusedClasses.has(above.at(-1)?.constructor)) {
      const sources = target === undefined ? [source] : layerSources(plan, module, name, source, qconfigs);
      if (target !== undefined && sources.some(({ qconfig }) => qconfig !== null)) {
        for (const { qconfig, key } of sources) if (qconfig !== null && key !== undefined) plan.used.add(key);
        if (!plan.conversions.has(module)) {
          plan.conversions.set(module, conversionOf(target, module, sources));
        }
      } else {
        plan.others.add(module);
      }
    }
    for (const [childName, child] of module.namedChildren()) {
      visit(child, name === '' ? childName : `${name}.${childName}`, source, [...above, module]);
    }
  };
  visit(root, '', { qconfig: null }, []);
  return plan;
}

/**
 * Where the qconfigs of a module's layers come from. A name such as `lstm.0` has priority over what the LSTM has. One
 * source if none is named, or if the module has no layers.
 */
function layerSources(
  { named }: Plan,
  module: Module,
  name: string,
  source: Source,
  qconfigs: ResolvedSpec,
): Source[] {
  const sources = Array.from({ length: countLayers(module) }, (_, i) => {
    const key = name === '' ? String(i) : `${name}.${i}`;
    named.set(key, module);
    const qconfig = qconfigs.get(key);
    return qconfig === undefined ? source : { qconfig, key };
  });
  return sources.some((each) => each !== source) ? sources : [source];
}

/** @param sources - of the module's qconfig, or of those of its layers */
function conversionOf(target: QuantizedModuleClass, module: Module, sources: readonly Source[]): Conversion {
  const [first, ...others] = sources.map(({ qconfig }) => qconfig);
  const convert = others.every((qconfig) => qconfig === first)
    ? (): Module => fromFloat(target, module, first!)
    : (): Module =>
        stackOf(module, (layer, i) => {
          const { qconfig } = sources[i]!;
          return qconfig === null ? layer : fromFloat(target, layer, qconfig);
        });
  // A trial of this package's classes packs nothing. Other classes may do anything, so they just run.
  const trial = ownClasses.has(target) ? (): unknown => onTrial(convert) : convert;
  return { trial, convert };
}

function fromFloat(target: QuantizedModuleClass, module: Module, qconfig: QConfig): Module {
  const result: unknown = target.fromFloat(module, qconfig);
  if (isModule(result)) return result;
  throw typeError(
    'ERR_INVALID_ARG_TYPE',
    `fromFloat of mapping's ${module.constructor.name} should give a Module, got ${describe(result)}`,
  );
}

/** Bytes of float weights, tried or replaced, after which garbage is collected. */
const collectEvery = 2 ** 25;

function tryAll({ conversions }: Plan): void {
  let tried = 0;
  for (const [module, { trial }] of conversions) {
    trial();
    tried += bytesOf(module);
    if (tried <= collectEvery) continue;
    collectIfExposed();
    tried = 0;
  }
}

/**
 * Replaces float modules by quantized ones and returns what replaces the root. Each float module is released as soon as
 * its twin is made, so that a large model never needs the memory of both.
 */
function replaceModules(root: Module, { conversions, others }: Plan, inplace: boolean): Module {
  const twins = new WeakMap<Module, Module>();
  let released = 0;
  const twinOf = (module: Module): Module => {
    const twin = twins.get(module) ?? conversions.get(module)?.convert();
    if (twin === undefined) return module;
    if (conversions.delete(module)) {
      copyHooks(module, twin);
      // Whoever still has the float module may use it: it would pack its weights again.
      for (const each of module.modules()) freeHandle(each);
      released += bytesOf(module);
    }
    twins.set(module, twin);
    return twin;
  };
  const collectAndConvert = (module: Module): Module => {
    // Collects the modules that were replaced before. `module` itself is still needed.
    if (inplace && released > collectEvery) {
      collectIfExposed();
      released = 0;
    }
    return twinOf(module);
  };
  for (const module of others) {
    module.replaceChildren(collectAndConvert);
    delete (module as { qconfig?: unknown }).qconfig;
  }
  return twinOf(root);
}

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
  checkString('dtype', dtype);
  if (isMap(spec)) {
    for (const [key, qconfig] of spec as ResolvedSpec) {
      checkKey(key);
      const name = typeof key === 'string' ? `'${key}'` : key.name;
      if (qconfig !== null) checkQConfig(`spec's qconfig for ${name}`, qconfig);
    }
    return spec as ResolvedSpec;
  }
  const qconfig = Object.hasOwn(defaultQConfigs, dtype) ? defaultQConfigs[dtype] : undefined;
  if (spec === undefined || spec === null) {
    if (qconfig === undefined) {
      throw rangeError(
        'ERR_INVALID_ARG_VALUE',
        `Don't know how to quantize with default settings for ${dtype}. Provide full qconfig please`,
      );
    }
    return new Map(defaultTypes(dtype).map((type) => [type, qconfig]));
  }
  if (!isSet(spec)) {
    throw typeError(
      'ERR_INVALID_ARG_TYPE',
      `spec should be a Set of module classes and names, or a Map of them to qconfigs, got ${describe(spec)}`,
    );
  }
  if (qconfig === undefined) {
    throw rangeError(
      'ERR_INVALID_ARG_VALUE',
      `Unknown dtype specified for quantize_dynamic: ${String(dtype)}`,
    );
  }
  const keys = [...(spec as ReadonlySet<ModuleClass | string>)];
  keys.forEach(checkKey);
  return new Map(keys.map((key) => [key, qconfig]));
}

/** A class that is meant to be left alone. */
const quietly: unknown = NonDynamicallyQuantizableLinear;

/**
 * Warns of the entries of a spec that quantize nothing. Most are mistakes, which cost memory and time later. A type
 * that the model does not have is no mistake.
 */
function warnOfUnused(
  { named, used, conversions }: Plan,
  qconfigs: ResolvedSpec,
  mapping: ReadonlyMap<ModuleClass, QuantizedModuleClass>,
  isDefault: boolean,
): void {
  // Whether something in a module is converted, perhaps by other entries, which have priority over this one.
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
      const subclass = [...named].find(
        ([, module]) =>
          module.constructor !== key && module.constructor !== quietly && isInstanceOf(module, key),
      );
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
  if (!isMap(mapping))
    throw typeError('ERR_INVALID_ARG_TYPE', `mapping should be a Map, got ${describe(mapping)}`);
  for (const [type, target] of mapping as ReadonlyMap<unknown, Partial<QuantizedModuleClass> | null>) {
    if (!isClass(type))
      throw typeError('ERR_INVALID_ARG_TYPE', `mapping should map module classes, got ${describe(type)}`);
    if (typeof target?.fromFloat !== 'function') {
      throw typeError(
        'ERR_INVALID_ARG_TYPE',
        `mapping's class for ${type.name} should have a static fromFloat, got ${describe(target)}`,
      );
    }
  }
}

/** Whether a value is a class: arrow functions have no prototype. */
function isClass(value: unknown): value is ModuleClass {
  return typeof value === 'function' && typeof value.prototype === 'object' && value.prototype !== null;
}

function checkKey(key: unknown): void {
  if (typeof key !== 'string' && !isClass(key)) {
    throw typeError(
      'ERR_INVALID_ARG_TYPE',
      `spec should hold module classes and names, got ${describe(key)}`,
    );
  }
}
