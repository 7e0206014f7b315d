import { rangeError, someOf } from '../errors.js';
import { quantization, type DType, type nn } from '../index.js';
import { entryOf, isQuantized, quantizedCatalogue } from '../nn/quantized/catalogue.js';
import { isFloatingPoint } from '../tensor/index.js';
import { dottedName, isQuantizable, type Layer } from './layers.js';
import { UsageError } from './terminal.js';

/** What the options of `quantize` say about the layers. */
export interface ChoiceOptions {
  dtype: string;
  perChannel: boolean;
  perRow: boolean;
  fullRange: boolean;
  only: string[];
  exclude: string[];
  /** `NAME=MODE`. */
  layer: string[];
}

/** What becomes of a layer: quantized, or float. */
export interface Choice {
  readonly layer: Layer;
  readonly qconfig: quantization.QConfig | null;
  /** Why it stays float. */
  readonly reason?: string;
  /** Whether it stays float because the options say so. */
  readonly chosen?: boolean;
}

const floatQParams = 'per_channel_affine_float_qparams';

function qconfigOf({ dtype, perChannel, perRow, fullRange }: ChoiceOptions): quantization.QConfig {
  switch (dtype) {
    case 'qint8':
      return {
        weight: { qscheme: perChannel ? 'per_channel_symmetric' : 'per_tensor_symmetric' },
        activation: perRow ? 'perRow' : 'perTensor',
        reduceRange: !fullRange,
      };
    case 'float16':
    case 'quint8':
    case 'quint4x2':
      if (perChannel || perRow || fullRange) {
        throw new UsageError(`--per-channel, --per-row, --full-range and --best go with --dtype qint8 only`);
      }
      return { weight: dtype === 'float16' ? { dtype } : { dtype, qscheme: floatQParams } };
    default:
      throw new UsageError(`--dtype should be qint8, float16, quint8 or quint4x2, got '${dtype}'`);
  }
}

const modes: Readonly<Record<string, quantization.QConfig | null>> = {
  float: null,
  qint8: quantization.defaultDynamicQConfig,
  best: quantization.bestDynamicQConfig,
  float16: quantization.float16DynamicQConfig,
  quint8: quantization.floatQParamsWeightOnlyQConfig,
  quint4x2: quantization.floatQParamsWeightOnlyQConfig4Bit,
};

function dtypeOf({ weight }: quantization.QConfig): DType {
  return weight.dtype ?? 'qint8';
}

/** What becomes of each layer that has a quantized class or float matrices. */
export function choose(state: nn.StateDict, layers: readonly Layer[], options: ChoiceOptions): Choice[] {
  const { only, exclude } = options;
  const base = qconfigOf(options);
  const own = options.layer.map(parse);
  checkNames(state, layers, [...only, ...exclude, ...own.map(({ name }) => name)]);
  const used = new Set<string>();
  const choices = layers.flatMap((layer): Choice[] => {
    const isIn = (module: string): boolean => namesOf(layer).some((name) => within(name, module));
    const mine = own.filter(({ name }) => isIn(name)).sort((a, b) => b.name.length - a.name.length);
    const selected = (only.length === 0 || only.some(isIn)) && !exclude.some(isIn);
    const qconfig = mine.length > 0 ? mine[0]!.qconfig : selected ? base : null;
    if (qconfig !== null && isQuantizable(layer.metadata, dtypeOf(qconfig), mine.length > 0)) {
      if (mine.length > 0) used.add(mine[0]!.name);
      return [{ layer, qconfig }];
    }
    if (!holdsFloatMatrix(state, layer)) return [];
    const chosen = qconfig === null;
    const reason = chosen ? 'as the options say' : reasonOf(layer);
    return [{ layer, qconfig: null, reason, chosen }];
  });
  for (const { name, mode, qconfig } of own) {
    if (qconfig !== null && !used.has(name))
      throw new UsageError(`--layer ${name}=${mode}: nothing in ${name} can be quantized to ${mode}`);
  }
  return choices;
}

function parse(text: string): { name: string; mode: string; qconfig: quantization.QConfig | null } {
  const at = text.lastIndexOf('=');
  const [name, mode] = [text.slice(0, Math.max(at, 0)), text.slice(at + 1)];
  const qconfig = Object.hasOwn(modes, mode) ? modes[mode] : undefined;
  if (at < 0 || qconfig === undefined) {
    const known = Object.keys(modes).join(', ');
    throw new UsageError(`--layer should be NAME=MODE with a mode among ${known}, got '${text}'`);
  }
  return { name, mode, qconfig };
}

function checkNames(state: nn.StateDict, layers: readonly Layer[], names: readonly string[]): void {
  const known = new Set([...state.metadata.keys(), ...layers.flatMap(namesOf)]);
  for (const name of names) {
    if (known.has(name)) continue;
    const others = [...state.metadata.keys()].filter((each) => each !== '');
    throw new UsageError(`there is no module '${name}'; there are ${someOf(others, 12)}`);
  }
}

function within(name: string, module: string): boolean {
  return module === '' || name === module || name.startsWith(`${module}.`);
}

/** What a layer may be called. The only one of a recurrent module has two names. */
function namesOf(layer: Layer): string[] {
  const name = dottedName(layer);
  const isOnly = layer.layer === null && layer.metadata['numLayers'] === 1;
  return isOnly ? [name, dottedName({ ...layer, layer: 0 })] : [name];
}

function holdsFloatMatrix(state: nn.StateDict, { metadata, keys }: Layer): boolean {
  if (isQuantized(entryOf(metadata.type))) return false;
  return [...keys.values()].some((key) => {
    const { dtype, shape } = state.get(key)!;
    return shape.length >= 2 && isFloatingPoint(dtype);
  });
}

function reasonOf({ metadata: { type } }: Layer): string {
  const twins = quantizedCatalogue.filter(({ float }) => float.type === type);
  if (twins.length === 0) return 'there is no quantized class for it';
  return `it can be quantized to ${twins.flatMap(({ dtypes }) => dtypes).join(' or ')}`;
}

/** @throws {RangeError} when nothing is to be quantized */
export function checkChoices(input: string, dtype: string, choices: readonly Choice[]): void {
  if (choices.some(({ qconfig }) => qconfig !== null)) return;
  throw rangeError(
    'ERR_INVALID_ARG_VALUE',
    `${input} has nothing to quantize to ${dtype} in what was chosen`,
  );
}

/** The names of recurrent modules whose layers are to differ. */
export function mixedModules(choices: readonly Choice[]): string[] {
  const qconfigs = new Map<string, Set<quantization.QConfig | null>>();
  for (const { layer, qconfig } of choices) {
    if (layer.layer === null) continue;
    const own = qconfigs.get(layer.name) ?? new Set();
    qconfigs.set(layer.name, own.add(qconfig));
  }
  return [...qconfigs].flatMap(([name, own]) => (own.size > 1 ? [name] : []));
}
