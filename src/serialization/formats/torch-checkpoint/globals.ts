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
import { isBytes } from '../../../errors.js';
import type { Fail } from '../../file.js';
import { Storage, StorageType } from './storages.js';
import { isTensorRef, tensorRef, type Quantizer, type TensorRef } from './tensor-ref.js';
import {
  checkHashable,
  Dict,
  Global,
  isSize,
  itemsOf,
  List,
  nameOf,
  Opaque,
  Distinct,
  setItem,
  Tuple,
  UnknownGlobal,
} from './values.js';

// What the names in a checkpoint mean: those that PyTorch's own safe loader knows. A call of `torch._utils._rebuild_*` gives a TensorRef. Everything about it is
// checked at once, but its elements are read only after everything else in the file was checked.

/** `torch.float32` and the like, as values. */
class DTypeName extends Global {}
/** `torch.per_tensor_affine` and the like. */
class QSchemeName extends Global {}
/** The name of a class of tensors: `torch.FloatTensor`, `torch.Tensor`. */
class TensorTypeName extends Global {}

/** A dtype or qscheme without `torch.`; undefined for any other value. */
export function plainName(value: unknown): string | undefined {
  return value instanceof DTypeName || value instanceof QSchemeName
    ? value.name.slice('torch.'.length)
    : undefined;
}

/** The text that stands for a name: {@link plainName}, or that of a class of tensors or storages. */
export function textOf(value: unknown): string | undefined {
  return value instanceof TensorTypeName || value instanceof StorageType ? value.name : plainName(value);
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

/** The views whose elements are computed when they are read, which the last argument tells. */
function lazyView(metadata: unknown): { conjugate: boolean; negative: boolean } {
  const has = (key: string): boolean => metadata instanceof Dict && metadata.entries.get(key) === true;
  return { conjugate: has('conj'), negative: has('neg') };
}
const rebuildTensor: Call = ([storage, offset, size, stride, , , metadata], fail) =>
  tensorRef({ storage, offset, size, stride, ...lazyView(metadata) }, fail);
const rebuildTensorOfDType: Call = ([storage, offset, size, stride, , , dtype, metadata], fail) => {
  if (!(dtype instanceof DTypeName)) return fail(`a tensor should have a dtype, got ${nameOf(dtype)}`);
  const claim = { storage, offset, size, stride, dtype: plainName(dtype)! };
  return tensorRef({ ...claim, ...lazyView(metadata) }, fail);
};
const rebuildQuantizedTensor: Call = ([storage, offset, size, stride, scheme], fail) => {
  const quantizer = quantizerOf(scheme, size, fail);
  const claim = { storage, offset, size, stride };
  if (!(storage instanceof Storage && storage.dtype === 'qint32')) {
    return tensorRef({ ...claim, quantizer }, fail);
  }
  // No tensor here has this dtype.
  const { scale, zeroPoint, scales, zeroPoints, axis } = quantizer as Record<string, unknown>;
  return dictOf({
    dtype: 'qint32',
    int_repr: tensorRef({ ...claim, dtype: int32 }, fail),
    ...('scale' in quantizer ? { scale, zero_point: zeroPoint } : { scales, zero_points: zeroPoints, axis }),
  });
};
const isTensor = (value: unknown): boolean =>
  isTensorRef(value) || value instanceof Opaque || value instanceof Dict;
const rebuildParameter: Call = ([value], fail) =>
  isTensor(value) ? value : fail(`a parameter should be a tensor, got ${nameOf(value)}`);
const rebuildMetaTensor: Call = ([dtype, size, stride]) =>
  dictOf({ device: 'meta', dtype: plainName(dtype) ?? null, size, stride });
/** `(layout, (indices, values, size, …))`; other layouts than coo have two arrays of indices. */
const rebuildSparseTensor: Call = ([layout, parts], fail) => {
  const names: Readonly<Record<string, readonly string[]>> = {
    sparse_coo: ['indices', 'values', 'size'],
    sparse_csr: ['crow_indices', 'col_indices', 'values', 'size'],
    sparse_csc: ['ccol_indices', 'row_indices', 'values', 'size'],
    sparse_bsr: ['crow_indices', 'col_indices', 'values', 'size'],
    sparse_bsc: ['ccol_indices', 'row_indices', 'values', 'size'],
  };
  if (typeof layout !== 'string' || !Object.hasOwn(names, layout))
    return fail(`a sparse tensor should have a sparse layout, got ${nameOf(layout)}`);
  const items = itemsOf(parts);
  return dictOf({ layout, ...Object.fromEntries(names[layout]!.map((name, i) => [name, items[i] ?? null])) });
};
/** A tensor of a class that has no elements of its own: only its attributes, which its caller adds. */
const rebuildWrapper: Call = ([type, ...args], fail) =>
  type instanceof Global
    ? new Opaque(type.name, args)
    : fail(`a tensor should have a class, got ${nameOf(type)}`);
/** `(function, class, arguments, attributes)` of a tensor with attributes, or of a class of its own. */
const rebuildFromType: Call = ([rebuild, type, args, state], fail) => {
  const call =
    rebuild instanceof Global && rebuild.name.startsWith('torch._utils.') ? rebuild.call : undefined;
  if (call === undefined || !(type instanceof Global) || !(args instanceof Tuple))
    return fail(
      `a tensor should have a function, a class and arguments, got ${nameOf(rebuild)}, ${nameOf(type)}`,
    );
  const value = call(args.items, fail);
  if (type instanceof TensorTypeName) return value;
  const object = call === rebuildWrapper ? (value as Opaque) : new Opaque(type.name, [value]);
  object.state = state ?? null;
  return object;
};
const firstOf: Call = ([value], fail) =>
  isTensor(value) ? value : fail(`a tensor should be a tensor, got ${nameOf(value)}`);

/** A dict that describes what is no tensor here. */
function dictOf(parts: Readonly<Record<string, unknown>>): Dict {
  const dict = new Dict();
  for (const [key, value] of Object.entries(parts)) dict.entries.set(key, value);
  return dict;
}

const newSet: Call = ([items], fail) => {
  const set = new Distinct();
  for (const item of items === undefined ? [] : itemsOf(items)) {
    checkHashable(item, fail);
    set.items.add(item);
  }
  return set;
};
/** Python's `encode(text, 'latin1')`, as which pickle writes bytes. */
const encode: Call = ([text, encoding], fail) => {
  if (typeof text !== 'string' || typeof encoding !== 'string' || !/^latin-?1$/.test(encoding))
    return fail(`bytes should be a text in latin1, got ${nameOf(text)} in ${nameOf(encoding)}`);
  const bytes = new Uint8Array(text.length);
  for (let i = 0; i < text.length; i++) {
    const code = text.charCodeAt(i);
    if (code > 255) fail('bytes should be a text in latin1');
    bytes[i] = code;
  }
  return bytes;
};
const newBytes: Call = (args, fail) => {
  const [value] = args;
  if (value === undefined) return new Uint8Array(0);
  return isBytes(value) ? value : encode(args, fail);
};
/** A complex number as an element of a complex tensor: its two parts. */
const newComplex: Call = ([real, imaginary = 0], fail) =>
  typeof real === 'number' && typeof imaginary === 'number'
    ? new Tuple([real, imaginary])
    : fail('a complex number should have two parts');
const getLayout: Call = ([layout], fail) =>
  typeof layout === 'string' ? layout.replace(/^torch\./, '') : fail('a layout should have a name');

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
  'torch._utils._rebuild_meta_tensor_no_storage': rebuildMetaTensor,
  'torch._utils._rebuild_sparse_tensor': rebuildSparseTensor,
  'torch._utils._rebuild_wrapper_subclass': rebuildWrapper,
  'torch._utils._rebuild_device_tensor_from_cpu_tensor': firstOf,
  'torch._tensor._rebuild_from_type_v2': rebuildFromType,
  'torch.serialization._get_layout': getLayout,
  'builtins.set': newSet,
  'builtins.bytes': newBytes,
  'builtins.bytearray': newBytes,
  'builtins.complex': newComplex,
  '_codecs.encode': encode,
  // TorchScript's lists.
  ...Object.fromEntries(
    ['build_intlist', 'build_doublelist', 'build_boollist', 'build_tensorlist', 'restore_type_tag'].map(
      (name) => [`torch.jit._pickle.${name}`, ([list]: readonly unknown[]) => list ?? null],
    ),
  ),
  'torch.Size': newSize,
  'torch.device': newDevice,
};
const schemes = [
  'per_tensor_affine',
  'per_channel_affine',
  'per_tensor_symmetric',
  'per_channel_symmetric',
  'per_channel_affine_float_qparams',
];

const globals: ReadonlyMap<string, Global> = new Map(
  [
    ...Object.entries(calls).map(([name, call]) => new Global(name, call)),
    new Global('torch.ScriptObject'),
    new TensorTypeName('torch.Tensor'),
    new TensorTypeName('torch.nn.parameter.Parameter'),
    ...schemes.map((scheme) => new QSchemeName(`torch.${scheme}`)),
  ].map((global) => [global.name, global]),
);

/** What a name in a checkpoint means. Python 2, and pickle for its sake, call the built-in names `__builtin__`. */
export function findGlobal(module: string, name: string): Global {
  const full = `${module === '__builtin__' ? 'builtins' : module}.${name}`;
  const known = globals.get(full);
  if (known !== undefined) return known;
  if (module === 'torch' || module === 'torch.cuda' || module === 'torch.storage') {
    const [, type, kind] = /^(\w+?)(Storage|Tensor)$/.exec(name) ?? [];
    if (kind !== undefined && Object.hasOwn(storageTypes, type!))
      return new StorageType(full, storageTypes[type!]!);
  }
  if (module === 'torch.sparse' && /^[A-Z]\w*Tensor$/.test(name)) return new TensorTypeName(full);
  if (
    module === 'torch' &&
    /^(q?u?int\d+(x\d+)?|b?float\d+(_\w+)?|complex\d+|bits\d+(x\d+)?|bool)$/.test(name)
  ) {
    return new DTypeName(`torch.${name}`);
  }
  return new UnknownGlobal(full);
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
