import { describe } from '../../../errors.js';
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
  rawBits,
  uint8,
  type TensorData,
} from '../../../tensor/index.js';
import type { Fail } from '../../file.js';
import { Global, isSize, nameOf, Tuple } from './values.js';

/** Bytes of an element. quint4x2 counts bytes. complex tensors come as pairs of floats. */
export const elementBytes: Readonly<Record<string, number>> = {
  [float32]: 4,
  [float64]: 8,
  [float16]: 2,
  [bfloat16]: 2,
  [int8]: 1,
  [uint8]: 1,
  [int16]: 2,
  [int32]: 4,
  [int64]: 8,
  [bool]: 1,
  [qint8]: 1,
  [quint8]: 1,
  [quint4x2]: 1,
  complex64: 8,
  complex128: 16,
};

export function bytesOf(dtype: string, fail: Fail): number {
  if (Object.hasOwn(elementBytes, dtype)) return elementBytes[dtype]!;
  return rawBytes(dtype) ?? fail(`tensors of ${dtype} are not supported`);
}

/** Bytes of an element of a dtype with which nothing here computes. PyTorch gives integers of few bits a byte each. */
export function rawBytes(dtype: string): number | undefined {
  const bits = rawBits(dtype);
  if (bits !== undefined) return bits / 8;
  return /^(u?int[1-7]|bits(8|1x8|2x4|4x2))$/.test(dtype) ? 1 : undefined;
}

/** `torch.FloatStorage` and the like. */
export class StorageType extends Global {
  constructor(
    name: string,
    readonly dtype: string,
  ) {
    super(name);
  }
}

/** The bytes that tensors are views of. A storage may itself be a view of another one (`base`). */
export class Storage {
  /** All of its bytes, from the beginning of an array buffer; undefined until a view needs them. */
  bytes: TensorData | undefined;
  /** The arrays that were made of it, by the elements that they view. */
  readonly views = new Map<string, TensorData>();

  constructor(
    readonly key: string,
    readonly dtype: string,
    /** Elements; bytes if quint4x2 or untyped. */
    readonly count: number,
    readonly size: number,
    readonly base: Storage | null = null,
    readonly begin = 0,
  ) {}
}

/** The storages of a file, by key. */
export class Storages {
  private readonly byKey = new Map<string, Storage>();

  get(key: string): Storage | undefined {
    return this.byKey.get(key);
  }
  declare(key: unknown, type: unknown, count: unknown, fail: Fail): Storage {
    if (typeof key !== 'string' || !(type instanceof StorageType) || !isSize(count)) {
      return fail(`a storage should have a key, a type and a size, got ${describe(key)}, ${nameOf(type)}`);
    }
    const size = count * (type.dtype === 'untyped' ? 1 : bytesOf(type.dtype, fail));
    return this.add(new Storage(key, type.dtype, count, size), fail);
  }
  declareView(base: Storage, key: unknown, offset: unknown, count: unknown, fail: Fail): Storage {
    if (typeof key !== 'string' || !isSize(offset) || !isSize(count))
      return fail(`a view of a storage should have a key, an offset and a size, got ${describe(key)}`);
    const bytes = bytesOf(base.dtype, fail);
    if (!((offset + count) * bytes <= base.size))
      fail(`storage ${describe(key)} is a view beyond ${describe(base.key)}, which has ${base.size} bytes`);
    return this.add(new Storage(key, base.dtype, count, count * bytes, base, offset * bytes), fail);
  }
  /** `('storage', type, key, location, numel)`; in a stream followed by None or a view `(key, offset, numel)`. */
  readonly persistentLoad = (id: unknown, fail: Fail): Storage | Global => {
    const [kind, type, key, , count, view] = id instanceof Tuple ? id.items : [];
    if (kind === 'module') {
      if (type instanceof Global) return type;
      fail('a whole module is refused: save its state dict, torch.save(model.state_dict(), path)');
    }
    if (kind !== 'storage') fail(`a persistent id should be that of a storage, got ${nameOf(kind)}`);
    const storage = this.declare(key, type, count, fail);
    if (!(view instanceof Tuple)) return storage;
    return this.declareView(storage, view.items[0], view.items[1], view.items[2], fail);
  };

  /** Adds a storage. A file may name it again, but must say the same about it. */
  private add(storage: Storage, fail: Fail): Storage {
    const { key, dtype, size, base, begin } = storage;
    const known = this.byKey.get(key);
    if (known === undefined) {
      if (!Number.isSafeInteger(size)) fail(`storage ${describe(key)} is too large`);
      this.byKey.set(key, storage);
      return storage;
    }
    if (known.dtype !== dtype || known.size !== size || known.base !== base || known.begin !== begin) {
      fail(
        `storage ${describe(key)} is twice, as ${known.size} bytes of ${known.dtype} and ${size} of ${dtype}`,
      );
    }
    return known;
  }
}
