import { CheckpointError } from '../errors.js';
import { float32, modelFromStateDict, nn, Tensor, type DType } from '../index.js';
import { entryOf, isQuantized, twinOf } from '../nn/quantized/catalogue.js';

/**
 * A module with tensors of its own, or one layer of a recurrent module. The command quantizes, runs and compares
 * layer by layer.
 */
export interface Layer {
  readonly name: string;
  /** Its number, if a recurrent module has several; else null. */
  readonly layer: number | null;
  /** The metadata of a module that is this layer alone. */
  readonly metadata: nn.ModuleMetadata;
  /** The names of its tensors in that module, and their keys in the state. */
  readonly keys: ReadonlyMap<string, string>;
}

/** The layers of a model in the order of its state. */
export function layersOf(state: nn.StateDict): Layer[] {
  const tensors = new Map<string, string[]>();
  for (const key of state.keys()) {
    const name = ownerOf(state, key);
    const list = tensors.get(name);
    if (list === undefined) tensors.set(name, [key]);
    else list.push(key);
  }
  return [...tensors].flatMap(([name, keys]) => split(state, name, keys));
}

/** The module that a key belongs to. That is a float LinearReLU itself, not one of its two children. */
export function ownerOf({ metadata }: nn.StateDict, key: string): string {
  const owner = parentOf(key);
  const above = parentOf(owner);
  return owner !== '' && metadata.get(above)?.type === 'LinearReLU' ? above : owner;
}

function parentOf(name: string): string {
  return name.slice(0, Math.max(0, name.lastIndexOf('.')));
}

function split(state: nn.StateDict, name: string, keys: readonly string[]): Layer[] {
  let metadata = state.metadata.get(name)!;
  const fused = metadata.type === 'LinearReLU' ? '0.' : '';
  const prefix = (name === '' ? '' : `${name}.`) + fused;
  const local = (key: string): string => key.slice(prefix.length);
  if (fused !== '') {
    const weight = state.get(`${prefix}weight`);
    if (weight === undefined) {
      throw new CheckpointError(`module '${name}' is LinearReLU by its metadata, but not by its tensors`);
    }
    // It is a container, so its metadata do not hold its sizes.
    const [outFeatures, inFeatures] = weight.shape;
    metadata = { ...metadata, inFeatures, outFeatures };
  }
  // The metadata of an unknown class may say anything, so its layers are not counted.
  const isKnown = entryOf(metadata.type)?.parameters !== undefined;
  const { numLayers = 1 } = (isKnown ? metadata : {}) as { numLayers?: number };
  if (numLayers === 1) {
    return [{ name, layer: null, metadata, keys: new Map(keys.map((key) => [local(key), key])) }];
  }
  return Array.from({ length: numLayers }, (_, layer) => {
    const own = new Map<string, string>();
    for (const key of keys) {
      const match = /^(.*_l)(\d+)((?:_reverse)?)$/.exec(local(key))!;
      if (Number(match[2]) === layer) own.set(`${match[1]}0${match[3]}`, key);
    }
    const inputSize = state.get(own.get('weight_ih_l0')!)!.shape[1]!;
    return { name, layer, metadata: { ...metadata, inputSize, numLayers: 1, dropout: 0 }, keys: own };
  });
}

export function titleOf({ name, layer }: Pick<Layer, 'name' | 'layer'>): string {
  const title = name === '' ? '(the model)' : name;
  return layer === null ? title : `${title}, layer ${layer}`;
}

/** A layer's name in options: `lstm.0` is the first of several layers of `lstm`. */
export function dottedName({ name, layer }: Pick<Layer, 'name' | 'layer'>): string {
  if (layer === null) return name;
  return name === '' ? String(layer) : `${name}.${layer}`;
}

/** Makes a recurrent module of several layers an RNNStack, as quantizeDynamic does: a module for each of its layers. */
export function stack(state: nn.StateDict, name: string): void {
  const layers = layersOf(state).filter((layer) => layer.name === name && layer.layer !== null);
  const keys = new Map<string, string>();
  for (const layer of layers)
    for (const [local, key] of layer.keys) keys.set(key, `${dottedName(layer)}.${local}`);
  rename(state, keys);
  const metadata = [...state.metadata];
  state.metadata.clear();
  for (const [each, about] of metadata) {
    state.metadata.set(each, each === name ? { type: 'RNNStack' } : about);
    if (each !== name) continue;
    for (const layer of layers) state.metadata.set(dottedName(layer), layer.metadata);
  }
}

/** Renames tensors, which keep their places. */
export function rename(state: nn.StateDict, keys: ReadonlyMap<string, string>): void {
  const entries = [...state];
  state.clear();
  for (const [key, tensor] of entries) state.set(keys.get(key) ?? key, tensor);
}

/** A layer with more bytes of float weights is run only in part, because running packs its weights once more. */
const largest = 16e6;

/** A layer as a module of its own over the state's tensors. A large layer is reduced to its first units, unless `whole`. */
export function moduleOf(state: nn.StateDict, layer: Layer, whole = false): nn.Module {
  const own = new nn.StateDict();
  let count = 0;
  for (const [local, key] of layer.keys) {
    own.set(local, state.get(key)!);
    count += own.get(local)!.numel;
  }
  const metadata =
    whole || 4 * count <= largest ? layer.metadata : reduce(own, layer.metadata, largest / (8 * count));
  if (metadata.type === 'LinearReLU') {
    const linear = modelFromStateDict(withMetadata(own, { type: 'Linear' })).model as nn.Linear;
    return new nn.intrinsic.LinearReLU(linear, new nn.ReLU()).eval();
  }
  return modelFromStateDict(withMetadata(own, metadata)).model;
}

function withMetadata(state: nn.StateDict, metadata: nn.ModuleMetadata): nn.StateDict {
  state.metadata.set('', metadata);
  return state;
}

/** Keeps about this part of a layer's units in its tensors. Returns the metadata of what is left. */
function reduce(own: nn.StateDict, metadata: nn.ModuleMetadata, part: number): nn.ModuleMetadata {
  const { outFeatures, hiddenSize, projSize = 0 } = metadata as unknown as Record<string, number>;
  const size = outFeatures ?? hiddenSize;
  if (size === undefined) return metadata;
  const units = Math.max(projSize + 1, Math.ceil(size * part));
  for (const [name, tensor] of own) {
    const [rows, columns = 1] = tensor.shape as [number, number?];
    if (/^weight_hr/.test(name)) own.set(name, cut(tensor, rows, rows, units));
    else own.set(name, cut(tensor, size, units, /^weight_hh/.test(name) && projSize === 0 ? units : columns));
  }
  return outFeatures === undefined ? { ...metadata, hiddenSize: units } : { ...metadata, outFeatures: units };
}

/** The first `units` rows of each block of `size` rows, and of these the first columns. */
function cut(tensor: Tensor, size: number, units: number, columns: number): Tensor {
  const { data, shape, dtype, quantization } = tensor;
  const [height, width = 1] = shape as [number, number?];
  const rows = Array.from({ length: height }, (_, row) => row).filter((row) => row % size < units);
  const out = new (data.constructor as Float32ArrayConstructor)(rows.length * columns);
  rows.forEach((row, i) => {
    out.set((data as Float32Array).subarray(row * width, row * width + columns), i * columns);
  });
  const pick = <A extends ArrayLike<number>>(values: A): A =>
    values.length === 1
      ? values
      : ((values as never as Float64Array).filter((_, row) => row % size < units) as never);
  return new Tensor(out, shape.length === 1 ? [rows.length] : [rows.length, columns], {
    dtype,
    ...(quantization && {
      ...quantization,
      scales: pick(quantization.scales),
      zeroPoints: pick(quantization.zeroPoints),
    }),
  });
}

/** The type of the module, or of its float module if it is quantized. */
export function floatType({ type }: nn.ModuleMetadata): string {
  const entry = entryOf(type);
  return isQuantized(entry) ? entry.float.type : type;
}

/** Random input for a layer (whole or reduced), from the global generator. Undefined if the layer cannot be run. */
export function randomInput(metadata: nn.ModuleMetadata): Tensor | undefined {
  return entryOf(metadata.type)?.sampleInput?.(metadata);
}

/** How far results are from the float layer's. */
export interface Difference {
  /** Mean of `|result - float|` over the mean of `|float|`. */
  readonly error: number;
  /** The largest `|result - float|`. */
  readonly maxError: number;
}

/** What a module gives. */
export interface Results {
  readonly output: Tensor;
  /** All numbers, those of the states too. */
  readonly numbers: Float32Array[];
}

export function run(module: nn.Module, input: Tensor): Results {
  const flat = (value: unknown): Float32Array[] =>
    Array.isArray(value) ? value.flatMap(flat) : [(value as Tensor).data as Float32Array];
  const result: unknown = module.forward(input);
  return { output: (Array.isArray(result) ? result[0] : result) as Tensor, numbers: flat(result) };
}

/** A tensor's elements, dequantized, as float32. */
export function numbersOf(tensor: Tensor): Float32Array {
  const float = tensor.quantization === undefined ? tensor.to(float32) : tensor.dequantize();
  return float.data as Float32Array;
}

export function difference(result: readonly Float32Array[], float: readonly Float32Array[]): Difference {
  let sum = 0;
  let scale = 0;
  let maxError = 0;
  float.forEach((wanted, k) => {
    const got = result[k]!;
    for (let i = 0; i < wanted.length; i++) {
      const error = Math.abs(got[i]! - wanted[i]!);
      sum += error;
      scale += Math.abs(wanted[i]!);
      // Not Math.max: a NaN must not be lost.
      if (!(error <= maxError)) maxError = error;
    }
  });
  return { error: sum === 0 ? 0 : sum / scale, maxError };
}

/** Bytes of a tensor's elements, scales and zero points. */
export function bytesOf({ data, scales, zeroPoints }: Tensor): number {
  return data.byteLength + (scales === undefined ? 0 : 4 * scales.length + zeroPoints!.byteLength);
}

export function totalBytes(state: ReadonlyMap<string, Tensor>): number {
  let total = 0;
  for (const tensor of state.values()) total += bytesOf(tensor);
  return total;
}

/** Whether such a module is to have weights of this dtype: some classes only where they are `named`. */
export function isQuantizable({ type }: nn.ModuleMetadata, dtype: DType, named: boolean): boolean {
  const twin = twinOf(type, dtype);
  return twin !== undefined && (named || twin.defaultDtypes.length > 0);
}
