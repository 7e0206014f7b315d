import { CheckpointError, describe } from '../../../errors.js';
import { StateDict } from '../../../nn/module.js';
import { float16, isTensor, Tensor } from '../../../tensor/index.js';
import type { Steps } from '../../file.js';
import { plainName } from './globals.js';
import { readTensor, type TensorSource } from './read-tensor.js';
import { isTensorRef } from './tensor-ref.js';
import { HalfRef, unpackModules } from './torch-packed-modules.js';
import { Dict, dictCost, List, nameOf, objectCost, slotCost, Tuple } from './values.js';

const maxDepth = 100;
/** The most values that a walk over everything may meet. A shared value counts each time that it is met. */
const maxItems = 10_000_000;

/**
 * A checkpoint's value as plain data. dict: a Map, or a StateDict if all of its values are tensors; list, tuple and
 * Size: an array; None: null; int: a number, or a bigint if a number is not exact; dtype, device: a string. An object
 * that is in two places stays one object.
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

  constructor(private readonly source: TensorSource) {}

  *convert(value: unknown): Steps<unknown> {
    if (typeof value !== 'object' || value === null) {
      this.items = 1;
      return value;
    }
    const known = this.results.get(value);
    if (known !== undefined) {
      this.items = known.items;
      return known.value;
    }
    if (this.open.has(value)) this.fail('contains itself');
    if (this.open.size >= maxDepth) this.fail(`is nested deeper than ${maxDepth}`);
    this.open.add(value);
    const result = yield* this.convertObject(value);
    this.open.delete(value);
    this.results.set(value, { value: result, items: this.items });
    return result;
  }

  private *convertObject(value: object): Steps<unknown> {
    if (value instanceof Dict) return yield* this.convertDict(value);
    if (value instanceof List || value instanceof Tuple) {
      this.spend(objectCost + slotCost * value.items.length);
      const array: unknown[] = [];
      let items = 1;
      for (const [i, item] of value.items.entries()) {
        array.push(yield* this.convertItem(i, item));
        items = this.count(items);
      }
      this.items = items;
      return array;
    }
    this.items = 1;
    this.spend(dictCost);
    if (isTensorRef(value)) return yield* readTensor(value, this.source, this.where);
    if (value instanceof HalfRef) return this.half(yield* readTensor(value.ref, this.source, this.where));
    return plainName(value) ?? this.fail(`is no tensor or plain data, but ${nameOf(value)}`);
  }

  private *convertDict(dict: Dict): Steps<Map<unknown, unknown>> {
    const { entries, metadata, assumptions, outputs } = unpackModules(dict, this.source);
    this.spend(dictCost + slotCost * dict.entries.size);
    const map = new StateDict() as Map<unknown, unknown>;
    let items = 1;
    for (const [key, value] of entries) {
      map.set(key, yield* this.convertItem(key, value));
      items = this.count(items);
    }
    this.items = items;
    const named = [...map].every(([key, value]) => typeof key === 'string' && isTensor(value));
    for (const [sentence, output] of outputs) if (yield* this.isStatic(output)) assumptions.push(sentence);
    // A state dict of a module without parameters still has its metadata.
    if (!named || (map.size === 0 && dict.attributes === null)) {
      const plain = new Map(map);
      // Extra state beside quantized modules makes it no state dict, but must not cost them their activation modes.
      if (metadata.size === 0) return plain;
      return Object.defineProperties(plain, {
        metadata: { value: metadata },
        assumptions: { value: assumptions },
      });
    }
    metadata.forEach((entry, name) => (map as StateDict).metadata.set(name, entry));
    (map as StateDict).assumptions.push(...assumptions);
    return map;
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

  private *convertItem(key: unknown, value: unknown): Steps<unknown> {
    this.path.push(key);
    const result = yield* this.convert(value);
    this.path.pop();
    return result;
  }

  private count(items: number): number {
    const sum = items + this.items;
    if (sum > maxItems) this.fail(`unfolds to more than ${maxItems} values`);
    return sum;
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
    this.path.length === 0 ? 'the checkpoint' : `key ${describe(this.path.map(String).join('.'))}`;
  private fail(what: string): never {
    throw new CheckpointError(`${this.where()}: ${what}`);
  }
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
