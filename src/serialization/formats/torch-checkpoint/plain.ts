import { CheckpointError, describe, isBytes } from '../../../errors.js';
import { StateDict } from '../../../nn/module.js';
import { float16, isRawTensor, isTensor, Tensor, uint8 } from '../../../tensor/index.js';
import type { Steps } from '../../file.js';
import { OpaqueValue } from '../../opaque-value.js';
import { describeInt8Weights, int8Weight, type Int8Weight } from '../torchao.js';
import { textOf } from './globals.js';
import { readTensor, type TensorSource } from './read-tensor.js';
import { Storage } from './storages.js';
import { isTensorRef, tensorRef } from './tensor-ref.js';
import { HalfRef, unpackModules } from './torch-packed-modules.js';
import {
  Dict,
  dictCost,
  Global,
  List,
  nameOf,
  objectCost,
  Opaque,
  Distinct,
  ScriptObject,
  slotCost,
  tensorCost,
  Tuple,
} from './values.js';

const maxDepth = 100;
/** The most values that a walk over everything may meet, if the file is smaller. A shared value counts each time. */
const maxItems = 10_000_000;

/**
 * A checkpoint's value as plain data. dict: a Map, or a StateDict if all of its values are tensors; set: a Set; list,
 * tuple, Size, complex number: an array; None: null; int: a number, or a bigint if a number is not exact; bytes,
 * storage: a Uint8Array; dtype, device, layout, tensor type: a string; any other object, class or function: an
 * OpaqueValue. An object that is in two places stays one object.
 */
export function toPlain(value: unknown, source: TensorSource): Steps<unknown> {
  return new Converter(source).convert(value);
}

class Converter {
  private readonly results = new Map<object, { value: unknown; items: number }>();
  private readonly open = new Set<object>();
  private readonly path: unknown[] = [];
  /** How many values the last converted value unfolds to, itself included. */
  private items = 0;
  private readonly int8Weights = new Map<unknown, Int8Weight>();

  constructor(private readonly source: TensorSource) {}

  *convert(value: unknown): Steps<unknown> {
    if (!isObject(value)) return this.flat(value);
    const flat = this.flat(value);
    if (flat !== undefined) return flat;
    if (this.open.has(value)) this.fail('contains itself');
    if (this.open.size >= maxDepth) this.fail(`is nested deeper than ${maxDepth}`);
    this.open.add(value);
    const result = yield* this.convertObject(value);
    this.open.delete(value);
    this.results.set(value, { value: result, items: this.items });
    return result;
  }

  /** What needs no steps: no object, one that was converted before, or one of no objects. Else undefined. */
  private flat(value: unknown): unknown {
    this.items = 1;
    if (!isObject(value)) return value;
    const known = this.results.get(value);
    if (known !== undefined) {
      this.items = known.items;
      return known.value;
    }
    const plain = this.copyOfScalars(value);
    if (plain !== undefined) this.results.set(value, { value: plain, items: this.items });
    return plain;
  }
  private copyOfScalars(value: object): unknown {
    if (value instanceof List || value instanceof Tuple) {
      if (value.items.some(isObject)) return undefined;
      this.spend(objectCost + slotCost * value.items.length);
      this.items = this.checkCount(1 + value.items.length);
      return value.items.slice();
    }
    if (!(value instanceof Dict) || value.attributes !== null) return undefined;
    for (const item of value.entries.values()) if (isObject(item)) return undefined;
    for (const key of value.entries.keys()) if (isObject(key)) return undefined;
    this.spend(dictCost + slotCost * value.entries.size);
    this.items = this.checkCount(1 + value.entries.size);
    return new Map(value.entries);
  }

  private *convertObject(value: object): Steps<unknown> {
    if (value instanceof Dict) return yield* this.convertDict(value);
    if (value instanceof List || value instanceof Tuple) return yield* this.convertArray(value.items);
    if (value instanceof Distinct) return new Set(yield* this.convertArray([...value.items]));
    if (value instanceof Opaque) return yield* this.convertOpaque(value);
    this.items = 1;
    if (isBytes(value)) return value;
    this.spend(tensorCost);
    if (isTensorRef(value)) return yield* readTensor(value, this.source, this.where);
    if (value instanceof HalfRef)
      return this.half((yield* readTensor(value.ref, this.source, this.where)) as Tensor);
    if (value instanceof Storage) return yield* this.convertStorage(value);
    const text = textOf(value);
    if (text !== undefined) return text;
    if (this.source.strict) this.fail(`is no tensor or plain data, but ${nameOf(value)}`);
    if (value instanceof Global) return new OpaqueValue(value.name);
    if (value instanceof ScriptObject) return yield* this.convertScriptObject(value);
    return this.fail(`is no tensor or plain data, but ${nameOf(value)}`);
  }

  /** A list, tuple or set. */
  private *convertArray(values: readonly unknown[]): Steps<unknown[]> {
    this.spend(objectCost + slotCost * values.length);
    const array = values.slice();
    let items = 1 + array.length;
    for (let i = 0; i < array.length; i++) {
      const value = array[i];
      if (!isObject(value)) continue;
      array[i] = this.flat(value) ?? (yield* this.convertItem(i, value));
      items = this.count(items - 1);
    }
    this.items = this.checkCount(items);
    return array;
  }

  private *convertDict(dict: Dict): Steps<Map<unknown, unknown>> {
    const { entries, metadata, assumptions, outputs } = unpackModules(dict, this.source);
    const map = yield* this.convertEntries(entries, dict.entries.size);
    for (const [sentence, output] of outputs) if (yield* this.isStatic(output)) assumptions.push(sentence);
    const isNamed = [...map].every(
      ([key, value]) => typeof key === 'string' && (isTensor(value) || isRawTensor(value)),
    );
    // A state dict of a module without parameters still has its metadata.
    if (!isNamed || (map.size === 0 && dict.attributes === null)) {
      // Extra state beside quantized modules makes it no state dict, but must not cost them their activation modes.
      if (metadata.size === 0) return map;
      return Object.defineProperties(map, {
        metadata: { value: metadata },
        assumptions: { value: assumptions },
      });
    }
    const state = new StateDict();
    for (const [key, value] of map as Map<string, unknown>) {
      if (isTensor(value)) state.set(key, value);
      else if (isRawTensor(value)) state.raw.set(key, value);
    }
    metadata.forEach((entry, name) => state.metadata.set(name, entry));
    state.assumptions.push(...assumptions);
    if (this.int8Weights.size > 0) describeInt8Weights(state, this.int8Weights);
    return state;
  }

  /** Whether a module's scale and zero point of the output are those of a static quantization. */
  private *isStatic(output: readonly unknown[]): Steps<boolean> {
    const items = this.items;
    const values: unknown[] = [];
    for (const value of output) {
      const plain = yield* this.convert(value);
      values.push(isTensor(plain) && plain.numel === 1 ? Number(plain.data[0]) : plain);
    }
    this.items = items;
    const [scale = 1, zeroPoint = 0] = values;
    return scale !== 1 || zeroPoint !== 0;
  }

  private *convertEntries(
    entries: Iterable<readonly [unknown, unknown]>,
    size: number,
  ): Steps<Map<unknown, unknown>> {
    this.spend(dictCost + slotCost * size);
    const map = new Map<unknown, unknown>();
    let items = 1;
    for (const [key, value] of entries) {
      const plainKey = isObject(key) ? yield* this.convertItem('a key', key) : key;
      if (isObject(key)) items = this.count(items);
      map.set(plainKey, isObject(value) ? yield* this.convertItem(plainKey, value) : this.flat(value));
      items = this.count(items);
    }
    this.items = items;
    return map;
  }

  /** Unlike plain data, it may contain itself, as the objects of a training do. */
  private *convertOpaque(opaque: Opaque): Steps<unknown> {
    if (this.source.strict) this.fail(`is no tensor or plain data, but ${nameOf(opaque)}`);
    this.spend(tensorCost);
    const value = new OpaqueValue(opaque.type);
    this.results.set(opaque, { value, items: 1 });
    let items = 1;
    const convert = function* (this: Converter, name: string, part: unknown): Steps<unknown> {
      const result = yield* this.convertItem(name, part);
      items = this.count(items);
      return result;
    }.bind(this);
    const args = (yield* convert('args', new List([...opaque.args]))) as unknown[];
    for (const arg of args) value.args.push(arg);
    const filled = value as { state: unknown; items: unknown };
    if (opaque.state instanceof Dict) {
      // Attributes, even if their names are those of a packed module.
      filled.state = yield* this.convertEntries(opaque.state.entries, opaque.state.entries.size);
      items = this.count(items);
    } else if (opaque.state !== null) filled.state = yield* convert('state', opaque.state);
    if (opaque.items.length > 0) filled.items = yield* convert('items', new List(opaque.items));
    if (opaque.entries.size > 0) {
      filled.items = yield* this.convertEntries(opaque.entries, opaque.entries.size);
      items = this.count(items);
    }
    this.items = items;
    const weight = int8Weight(value);
    if (weight === undefined) return value;
    this.int8Weights.set(weight.tensor, weight);
    return weight.tensor;
  }

  private *convertScriptObject({ type, state }: ScriptObject): Steps<OpaqueValue> {
    const value = new OpaqueValue(type, [], yield* this.convertItem('state', state));
    this.items = this.count(1);
    return value;
  }

  /** The bytes of a storage that stands for itself. */
  private *convertStorage(storage: Storage): Steps<unknown> {
    const claim = {
      storage,
      offset: 0,
      size: new Tuple([storage.size]),
      stride: new Tuple([1]),
      dtype: uint8,
    };
    const ref = tensorRef(claim, (what) => this.fail(what));
    return ((yield* readTensor(ref, this.source, this.where)) as Tensor).data;
  }

  private *convertItem(key: unknown, value: unknown): Steps<unknown> {
    this.path.push(key);
    const result = yield* this.convert(value);
    this.path.pop();
    return result;
  }

  private count(items: number): number {
    return this.checkCount(items + this.items);
  }
  private checkCount(items: number): number {
    const most = Math.max(maxItems, this.source.file.size);
    if (items > most) this.fail(`unfolds to more than ${most} values`);
    return items;
  }
  private half(tensor: Tensor): Tensor {
    this.spend(2 * tensor.numel);
    const { buffer, byteOffset } = tensor.data as Float32Array;
    const bits = new Uint32Array(buffer, byteOffset, tensor.numel);
    const half = new Uint16Array(bits.length);
    for (let i = 0; i < half.length; i++) {
      const value = halfBits(bits[i]!);
      if (value < 0) this.fail('should hold the values of float16 weights');
      half[i] = value;
    }
    return new Tensor(half, tensor.shape, { dtype: float16 });
  }
  private spend(bytes: number): void {
    this.source.budget.spend(bytes, this.where);
  }
  private readonly where = (): string =>
    this.path.length === 0 ? 'the checkpoint' : `key ${describe(this.path.map(labelOf).join('.'))}`;
  private fail(what: string): never {
    throw new CheckpointError(`${this.where()}: ${what}`);
  }
}

function isObject(value: unknown): value is object {
  return typeof value === 'object' && value !== null;
}

/** A key as a part of a path. */
function labelOf(key: unknown): string {
  return typeof key === 'object' ? describe(key) : String(key);
}

/** The bits of the half that equals a float32, given its bits; -1 if there is none (or it is NaN). */
function halfBits(bits: number): number {
  const sign = (bits >>> 16) & 0x8000;
  const magnitude = bits & 0x7fffffff;
  if (magnitude === 0) return sign;
  const exponent = (magnitude >>> 23) - 112;
  if (exponent >= 31) return magnitude === 0x7f800000 ? sign | 0x7c00 : -1;
  if (exponent > 0) return (magnitude & 0x1fff) === 0 ? sign | ((magnitude >>> 13) - (112 << 10)) : -1;
  const shift = 14 - exponent; // a subnormal half
  const fraction = (magnitude & 0x7fffff) | 0x800000;
  return shift <= 24 && (fraction & ((1 << shift) - 1)) === 0 ? sign | (fraction >>> shift) : -1;
}
