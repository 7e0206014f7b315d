import {
  bfloat16,
  bool,
  float16,
  float32,
  float64,
  int16,
  int32,
  int64,
  int8,
  qint8,
  quint4x2,
  quint8,
  uint8,
} from '../../../tensor/index.js';
import type { Fail } from '../../file.js';
import { StorageType } from './storages.js';
import { isTensorRef, tensorRef, type Quantizer, type TensorRef } from './tensor-ref.js';
import { Dict, Global, isSize, itemsOf, List, nameOf, setItem, Tuple } from './values.js';

// What the names in a checkpoint mean. A call of `torch._utils._rebuild_*` gives a TensorRef. Everything about it is
// checked at once, but its elements are read only after everything else in the file was checked.

/** `torch.float32` and the like, as values. */
class DTypeName extends Global {}
/** `torch.per_tensor_affine` and the like. */
class QSchemeName extends Global {}

/** A dtype or qscheme without `torch.`; undefined for any other value. */
export function plainName(value: unknown): string | undefined {
  return value instanceof DTypeName || value instanceof QSchemeName
    ? value.name.slice('torch.'.length)
    : undefined;
}

/** The dtypes of `torch.<X>Storage` and, in tar files, `torch.<X>Tensor`. */
const storageTypes: Readonly<Record<string, string>> = {
  Float: float32,
  Double: float64,
  Half: float16,
  BFloat16: bfloat16,
  Long: int64,
  Int: int32,
  Short: int16,
  Char: int8,
  Byte: uint8,
  Bool: bool,
  ComplexFloat: 'complex64',
  ComplexDouble: 'complex128',
  QInt8: qint8,
  QUInt8: quint8,
  QInt32: 'qint32',
  QUInt4x2: quint4x2,
  QUInt2x4: 'quint2x4',
  Untyped: 'untyped',
};

type Call = (args: readonly unknown[], fail: Fail) => unknown;

const newDict: Call = ([items], fail) => {
  const dict = new Dict();
  if (items instanceof Dict) items.entries.forEach((value, key) => dict.entries.set(key, value));
  else if (items instanceof List || items instanceof Tuple) {
    for (const pair of items.items) {
      const [key, value] = itemsOf(pair);
      setItem(dict, key, value, fail);
    }
  } else if (items !== undefined) fail(`a dict should be made of pairs, got ${nameOf(items)}`);
  return dict;
};

/** Refuses views whose elements are computed when they are read, which the last argument tells. */
function refuseLazyView(metadata: unknown, fail: Fail): void {
  if (metadata instanceof Dict && metadata.entries.size > 0)
    fail('a conjugate or negated view is not supported');
}
const rebuildTensor: Call = ([storage, offset, size, stride, , , metadata], fail) => {
  refuseLazyView(metadata, fail);
  return tensorRef({ storage, offset, size, stride }, fail);
};
const rebuildTensorOfDType: Call = ([storage, offset, size, stride, , , dtype, metadata], fail) => {
  if (!(dtype instanceof DTypeName)) return fail(`a tensor should have a dtype, got ${nameOf(dtype)}`);
  refuseLazyView(metadata, fail);
  return tensorRef({ storage, offset, size, stride, dtype: plainName(dtype)! }, fail);
};
const rebuildQuantizedTensor: Call = ([storage, offset, size, stride, scheme], fail) => {
  const quantizer = quantizerOf(scheme, size, fail);
  return tensorRef({ storage, offset, size, stride, quantizer }, fail);
};
const rebuildParameter: Call = ([value], fail) =>
  isTensorRef(value) ? value : fail(`a parameter should be a tensor, got ${nameOf(value)}`);

const newSize: Call = ([sizes], fail) =>
  sizes instanceof Tuple ? sizes : fail(`torch.Size should be of a tuple, got ${nameOf(sizes)}`);
const newDevice: Call = ([type, index], fail) => {
  if (typeof type !== 'string' || (index !== undefined && !isSize(index)))
    return fail('torch.device should be a name and an index');
  return index === undefined ? type : `${type}:${index}`;
};

const calls: Readonly<Record<string, Call>> = {
  'collections.OrderedDict': newDict,
  'collections.Counter': newDict,
  'torch._utils._rebuild_tensor': rebuildTensor,
  'torch._utils._rebuild_tensor_v2': rebuildTensor,
  'torch._utils._rebuild_tensor_v3': rebuildTensorOfDType,
  'torch._utils._rebuild_qtensor': rebuildQuantizedTensor,
  'torch._utils._rebuild_parameter': rebuildParameter,
  'torch._utils._rebuild_parameter_with_state': rebuildParameter,
  'torch.Size': newSize,
  'torch.device': newDevice,
};
const schemes = ['per_tensor_affine', 'per_channel_affine', 'per_channel_affine_float_qparams'];

const globals: ReadonlyMap<string, Global> = new Map(
  [
    ...Object.entries(calls).map(([name, call]) => new Global(name, call)),
    new Global('torch.ScriptObject'),
    ...schemes.map((scheme) => new QSchemeName(`torch.${scheme}`)),
  ].map((global) => [global.name, global]),
);

/** The globals of checkpoints. */
export function findGlobal(module: string, name: string): Global | undefined {
  const known = globals.get(`${module}.${name}`);
  if (known !== undefined) return known;
  if (module === 'torch' || module === 'torch.cuda' || module === 'torch.storage') {
    const [, type, kind] = /^(\w+?)(Storage|Tensor)$/.exec(name) ?? [];
    if (kind !== undefined && Object.hasOwn(storageTypes, type!))
      return new StorageType(`${module}.${name}`, storageTypes[type!]!);
  }
  if (module === 'torch' && /^(q?u?int\d+(x\d+)?|b?float\d+(_\w+)?|complex\d+|bool)$/.test(name)) {
    return new DTypeName(`torch.${name}`);
  }
  return undefined;
}

function quantizerOf(value: unknown, size: unknown, fail: Fail): Quantizer {
  const items = value instanceof Tuple ? value.items : [];
  const scheme = plainName(items[0]);
  if (scheme === 'per_tensor_affine') {
    const [, scale, zeroPoint] = items;
    if (typeof scale === 'number' && typeof zeroPoint === 'number') return { scale, zeroPoint };
  } else if (scheme !== undefined) {
    const [, scales, zeroPoints, axis] = items;
    const isList = (list: unknown): list is TensorRef | List => list instanceof List || isTensorRef(list);
    const rank = size instanceof Tuple ? size.items.length : 0;
    if (isList(scales) && isList(zeroPoints) && isSize(axis) && axis < rank)
      return { scales, zeroPoints, axis };
  }
  return fail('a quantizer should be a scheme with scales, zero points and an axis');
}
