import {
  arrayName,
  checkOptions,
  describe,
  disposedError,
  isMap,
  isSet,
  listOf,
  rangeError,
  tagOf,
  typeError,
  type Coded,
} from '../errors.js';
import { closed, fixed } from '../nn/closed.js';
import { bufferNames, isModule, pack, Parameter, isParameter, type Module } from '../nn/module.js';
import { NonDynamicallyQuantizableLinear } from '../nn/multihead-attention.js';
import { isReachable, shareHandle, takeHandle, type SharedHandle } from '../nn/native-weights.js';
import { entryOf } from '../nn/quantized/catalogue.js';
import type { ModuleClass } from '../quantization/quantize-dynamic.js';
import { isTensor, Tensor, type TensorData } from '../tensor/index.js';

/**
 * A model as {@link share} describes it for other threads. It goes through `postMessage` and `workerData`; what it holds
 * is nobody's business.
 */
export interface SharedModel {
  /** @internal */
  readonly format: typeof format;
  /** The model and everything in it, once. The first is the model. @internal */
  /** @internal */
  readonly parts: readonly Part[];
}
const format = 'dynaquant shared model 1';

/** A property's value: the index of a part, a typed array, or a value that `postMessage` copies. */
type Value = { readonly part: number } | { readonly array: SharedArray } | { readonly copy: unknown };

/** A typed array on shared memory. To post the array itself takes Deno a second a megabyte. */
interface SharedArray {
  readonly type: string;
  readonly buffer: SharedArrayBuffer;
  readonly at: number;
  readonly length: number;
}

/** Which part holds which handle, and of which parts it was packed. */
type PartHandle = Omit<SharedHandle, 'tensors'> & { readonly tensors: readonly (number | null)[] };

type Part = { readonly handle?: PartHandle } & (
  | { readonly kind: 'array'; readonly values: readonly Value[] }
  | { readonly kind: 'map'; readonly entries: readonly (readonly [Value, Value])[] }
  | { readonly kind: 'module'; readonly of: ModulePart }
  | { readonly kind: 'object'; readonly properties: Properties }
  | { readonly kind: 'set'; readonly values: readonly Value[] }
  | { readonly kind: 'tensor'; readonly of: TensorPart }
);
type Properties = readonly (readonly [name: string, value: Value])[];

interface ModulePart {
  readonly className: string;
  /** The type in its metadata, by which the catalogue knows it. */
  readonly type: string;
  readonly sizes: object;
  readonly buffers: readonly string[];
  readonly properties: Properties;
}

interface TensorPart {
  readonly parameter: boolean;
  readonly data: SharedArray;
  readonly shape: readonly number[];
  readonly options: object;
}

/**
 * Describes a model so that other threads of this process can use it with the same weights in the same memory:
 *
 * ```ts
 * worker.postMessage(share(model));                       // here
 * parentPort.once('message', (shared) => fromShared(shared)); // there
 * ```
 *
 * Native weights are packed now, if they were not, and never copied. The arrays of tensors are replaced by such on
 * shared memory (`SharedArrayBuffer`), once, as PyTorch's `share_memory_()` does: a write in one thread is seen in all,
 * so nobody should write any more. The native weights live as long as a thread that has taken them up; until the first
 * has, keep `model` here. Other properties of modules are copied. Hooks stay here.
 *
 * @throws {TypeError} when `model` is not a Module, or a property of it cannot be copied (a function)
 * @throws {RangeError} (`ERR_TOO_LARGE`) when there is no memory for the arrays
 * @throws {Error} (`ERR_DISPOSED`) when a module of it was disposed
 */
export function share(model: Module): SharedModel {
  if (!isModule(model)) {
    throw typeError('ERR_INVALID_ARG_TYPE', `model should be a Module, got ${describe(model)}`);
  }
  const writer = new Writer();
  writer.value(model, describe(model));
  return { format, parts: writer.parts };
}

class Writer {
  readonly parts: Part[] = [];
  private readonly indices = new Map<object, number>();
  private readonly buffers = new Map<ArrayBufferLike, SharedArrayBuffer>();

  /** @param name - of the value in errors */
  value(value: unknown, name: string): Value {
    if (typeof value === 'function' || typeof value === 'symbol') {
      throw typeError('ERR_INVALID_ARG_TYPE', `${name} cannot be shared: it is ${describe(value)}`);
    }
    if (typeof value !== 'object' || value === null) return { copy: value };
    return this.reference(value, name);
  }

  private reference(value: object, name: string): Value {
    let part = this.indices.get(value);
    if (part === undefined) {
      const write = this.writerOf(value, name);
      if (write === undefined) return { copy: value };
      part = this.parts.length;
      this.indices.set(value, part);
      this.parts.push({ kind: 'array', values: [] }); // its place, for what refers to it from below
      this.parts[part] = write();
      this.addHandle(value, part, name);
    }
    return { part };
  }

  /** How a value is written; undefined if `postMessage` can copy it as it is. */
  private writerOf(value: object, name: string): (() => Part) | undefined {
    if (isModule(value)) return () => ({ kind: 'module', of: this.module(value, name) });
    if (isTensor(value)) return () => ({ kind: 'tensor', of: this.tensor(value) });
    if (Array.isArray(value)) return () => ({ kind: 'array', values: this.values(value, name) });
    if (isSet(value)) return () => ({ kind: 'set', values: this.values([...value], name) });
    if (isMap(value)) {
      const entries = (): (readonly [Value, Value])[] =>
        [...value].map(([key, item]) => [this.value(key, name), this.value(item, `${name}.${String(key)}`)]);
      return () => ({ kind: 'map', entries: entries() });
    }
    const prototype = Object.getPrototypeOf(value) as object | null;
    if (prototype !== null && Object.getPrototypeOf(prototype) !== null) return undefined; // of some class
    return () => ({ kind: 'object', properties: this.properties(value, name) });
  }

  private values(values: readonly unknown[], name: string): Value[] {
    return values.map((value, i) => this.value(value, `${name}.${i}`));
  }

  private properties(holder: object, name: string, without: object = {}): Properties {
    return Object.entries(holder)
      .filter(([key]) => !Object.hasOwn(without, key))
      .map(([key, value]) => [key, this.property(holder, key, value, name)]);
  }

  private property(holder: object, key: string, value: unknown, name: string): Value {
    if (!isPlainArray(value)) return this.value(value, `${name}.${key}`);
    const array = this.onSharedMemory(value);
    Reflect.set(holder, key, array);
    return { array: describeArray(array) };
  }

  private module(module: Module, name: string): ModulePart {
    const { type } = module['metadata']();
    module[pack]();
    const sizes = (module as { [fixed]?: object })[fixed] ?? {};
    return {
      className: module.constructor.name,
      type,
      sizes,
      buffers: [...bufferNames(module)],
      properties: this.properties(module, name, sizes),
    };
  }

  private tensor(tensor: Tensor): TensorPart {
    const { shape, dtype, quantization } = tensor;
    const data = this.onSharedMemory(tensor.checked());
    (tensor as { data: TensorData }).data = data;
    const options = { dtype, ...quantization };
    return { parameter: isParameter(tensor), data: describeArray(data), shape, options };
  }

  /** The same elements on shared memory. Arrays on one buffer stay on one. */
  private onSharedMemory(data: TensorData): TensorData {
    const { buffer } = data;
    if (tagOf(buffer) === 'SharedArrayBuffer') return data;
    let shared = this.buffers.get(buffer);
    if (shared === undefined) {
      try {
        shared = new SharedArrayBuffer(buffer.byteLength);
      } catch (cause) {
        const sentence = `cannot allocate ${buffer.byteLength} bytes of shared memory`;
        throw rangeError('ERR_TOO_LARGE', sentence, { cause });
      }
      new Uint8Array(shared).set(new Uint8Array(buffer));
      this.buffers.set(buffer, shared);
    }
    return new (data.constructor as ArrayClass)(shared, data.byteOffset, data.length);
  }

  private addHandle(owner: object, part: number, name: string): void {
    const handle = shareHandle(owner);
    if (handle === undefined) return;
    const tensors = handle.tensors.map((tensor) =>
      tensor === null ? null : (this.reference(tensor, name) as { part: number }).part,
    );
    this.parts[part] = { ...this.parts[part]!, handle: { ...handle, tensors } };
  }
}

/** Whether a value is a typed array, and of no subclass. */
function isPlainArray(value: unknown): value is TensorData {
  const name = arrayName(value);
  return name !== '' && name === (value as object).constructor.name;
}

type ArrayClass = new (buffer: SharedArrayBuffer, at: number, length: number) => TensorData;

function describeArray(array: TensorData): SharedArray {
  const { buffer, byteOffset, length } = array;
  return { type: arrayName(array), buffer: buffer as SharedArrayBuffer, at: byteOffset, length };
}

function arrayOf({ type, buffer, at, length }: SharedArray): TensorData {
  if (!/^(Big)?(I|Ui)nt\d+(Clamped)?Array$|^Float\d+Array$/.test(type))
    throw typeError('ERR_INVALID_ARG_TYPE', `shared holds ${describe(type)} where a typed array is named`);
  return new (Reflect.get(globalThis, type) as ArrayClass)(buffer, at, length);
}

/** Options of {@link fromShared}. */
export interface FromSharedOptions {
  /** The classes of the model's modules that are not this package's. Default: none. */
  classes?: Iterable<ModuleClass>;
}

/**
 * The model that {@link share} described, over the same weights: nothing is packed or copied, and no constructor runs.
 * It gives the same bits.
 *
 * @throws {TypeError} when `shared` is not what `share` returned, or an option is of the wrong kind
 * @throws {RangeError} (`ERR_OUT_OF_RANGE`) when a class is not among `classes`
 * @throws {RangeError} (`ERR_UNSUPPORTED`) when WebAssembly computes, and another thread shared the model
 * @throws {Error} (`ERR_DISPOSED`) when nobody in the process holds the weights any more
 */
export function fromShared(shared: SharedModel, options: FromSharedOptions = {}): Module {
  checkOptions('fromShared', options, ['classes']);
  const { classes: given = [] } = options;
  const classes = new Map<string, ModuleClass>();
  for (const each of listOf('classes', given)) {
    if (typeof each !== 'function') {
      throw typeError('ERR_INVALID_ARG_TYPE', `classes should hold module classes, got ${describe(each)}`);
    }
    classes.set(each.name, each as ModuleClass);
  }
  const { format: found, parts } = (shared ?? {}) as Partial<SharedModel>;
  if (found !== format || !Array.isArray(parts) || parts[0]?.kind !== 'module') {
    throw typeError(
      'ERR_INVALID_ARG_TYPE',
      `shared should be what share() returned, got ${describe(shared)}`,
    );
  }
  try {
    return new Reader(parts as readonly Part[], classes).part(0) as Module;
  } catch (error) {
    if ((error as Partial<Coded<Error>>).code !== undefined) throw error;
    const sentence = 'shared should be what share() returned, but it is damaged';
    throw typeError('ERR_INVALID_ARG_TYPE', sentence, { cause: error });
  }
}

class Reader {
  private readonly made: unknown[] = [];

  constructor(
    private readonly parts: readonly Part[],
    private readonly classes: ReadonlyMap<string, ModuleClass>,
  ) {}

  part(index: number): unknown {
    if (index in this.made) return this.made[index];
    const part = this.parts[index]!;
    const made = this.make(part, index);
    if (part.handle !== undefined) this.takeHandle(made, part.handle);
    return made;
  }

  /** Makes a part, and what is in it. It can be referred to before it is complete. */
  private make(part: Part, index: number): object {
    switch (part.kind) {
      case 'array': {
        const array = this.keep<unknown[]>(index, []);
        for (const value of part.values) array.push(this.value(value));
        return array;
      }
      case 'set': {
        const set = this.keep(index, new Set<unknown>());
        for (const value of part.values) set.add(this.value(value));
        return set;
      }
      case 'map': {
        const map = this.keep(index, new Map<unknown, unknown>());
        for (const [key, value] of part.entries) map.set(this.value(key), this.value(value));
        return map;
      }
      case 'object':
        return this.define(this.keep(index, {}), part.properties);
      case 'tensor': {
        const { parameter, data, shape, options } = part.of;
        return this.keep(index, new (parameter ? Parameter : Tensor)(arrayOf(data), shape, options));
      }
      case 'module': {
        const { sizes, buffers, properties } = part.of;
        const module = this.keep(index, Object.create(this.prototypeOf(part.of)) as Module);
        closed(module, sizes);
        this.define(module, properties);
        for (const name of buffers) {
          const value = (module as unknown as Record<string, Tensor>)[name]!;
          Reflect.deleteProperty(module, name);
          module.registerBuffer(name, value);
        }
        return module;
      }
    }
  }

  private keep<T extends object>(index: number, made: T): T {
    this.made[index] = made;
    return made;
  }

  private value(value: Value): unknown {
    if ('part' in value) return this.part(value.part);
    return 'array' in value ? arrayOf(value.array) : value.copy;
  }

  private define<T extends object>(holder: T, properties: Properties): T {
    for (const [key, value] of properties) {
      Object.defineProperty(holder, key, {
        value: this.value(value),
        writable: true,
        enumerable: true,
        configurable: true,
      });
    }
    return holder;
  }

  private prototypeOf({ className, type }: ModulePart): object {
    const own = entryOf(type)?.Class;
    const Class =
      this.classes.get(className) ??
      [own, NonDynamicallyQuantizableLinear].find((each) => each?.name === className);
    if (Class !== undefined) return Class.prototype as object;
    throw rangeError(
      'ERR_OUT_OF_RANGE',
      `${className} is no class of dynaquant: give it to fromShared in classes`,
    );
  }

  private takeHandle(owner: object, { tensors, ...handle }: PartHandle): void {
    if (!isReachable(handle)) {
      const sentence =
        'WebAssembly shares no weights between threads, because each has memory of its own: load the model in each';
      throw rangeError('ERR_UNSUPPORTED', `fromShared: ${sentence}`);
    }
    const packed = tensors.map((index) => (index === null ? null : (this.part(index) as Tensor)));
    try {
      takeHandle(owner, { ...handle, tensors: packed });
    } catch {
      throw disposedError(
        'the shared weights are gone: keep the model in the thread that shares it until others have taken it up',
      );
    }
  }
}
