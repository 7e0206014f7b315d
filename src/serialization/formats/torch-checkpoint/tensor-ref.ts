import { quint4x2 } from '../../../tensor/index.js';
import type { Fail } from '../../file.js';
import { bytesOf, Storage } from './storages.js';
import { isSize, nameOf, Tuple, type List } from './values.js';

/** A tensor of a checkpoint whose elements are not read yet. Everything else about it is checked. */
export interface TensorRef {
  readonly storage: Storage;
  /** May be a dtype that tensors here do not have. */
  readonly dtype: string;
  readonly offset: number;
  readonly shape: readonly number[];
  readonly strides: readonly number[];
  readonly quantizer: Quantizer | null;
  /** Views whose elements are computed when they are read. */
  readonly conjugate: boolean;
  readonly negative: boolean;
}
export type Quantizer =
  | { readonly scale: number; readonly zeroPoint: number }
  | { readonly scales: TensorRef | List; readonly zeroPoints: TensorRef | List; readonly axis: number };

const tensorRefs = new WeakSet<object>();

export function isTensorRef(value: unknown): value is TensorRef {
  return typeof value === 'object' && value !== null && tensorRefs.has(value);
}

/** What a file says about a tensor. */
interface TensorClaim {
  readonly storage: unknown;
  readonly offset: unknown;
  readonly size: unknown;
  readonly stride: unknown;
  /** The dtype, if it is not the storage's. */
  readonly dtype?: string;
  readonly quantizer?: Quantizer;
  readonly conjugate?: boolean;
  readonly negative?: boolean;
}

/** PyTorch's own limit. */
const maxDimensions = 64;

export function tensorRef(claim: TensorClaim, fail: Fail): TensorRef {
  const { storage, offset, size, stride, quantizer = null, conjugate = false, negative = false } = claim;
  if (!(storage instanceof Storage)) return fail(`a tensor should have a storage, got ${nameOf(storage)}`);
  const shape = size instanceof Tuple ? size.items : [];
  const strides = stride instanceof Tuple ? stride.items : [];
  if (
    !(size instanceof Tuple && stride instanceof Tuple && isSize(offset)) ||
    !(shape.length === strides.length && shape.length <= maxDimensions) ||
    !(shape.every(isSize) && strides.every(isSize))
  ) {
    return fail('a tensor should have an offset, and sizes with strides that are not negative');
  }
  const dtype = claim.dtype ?? storage.dtype;
  const ref: TensorRef = { storage, dtype, offset, shape, strides, quantizer, conjugate, negative };
  if (dtype.startsWith('q') !== (quantizer !== null)) {
    fail(`a quantized tensor should have a quantizer, and no other, got a tensor of ${dtype}`);
  }
  const available = Math.floor(storage.size / bytesOf(dtype, fail));
  const needed = elementsNeeded(ref, fail);
  if (!(needed <= available) || !Number.isSafeInteger(countOf(shape))) {
    fail(
      `a tensor of shape [${shape.join(', ')}] with strides [${strides.join(', ')}] from ${offset} on is beyond its storage, which has ${available} elements`,
    );
  }
  tensorRefs.add(ref);
  return ref;
}

/** The least number of elements that the storage must have. */
function elementsNeeded(ref: TensorRef, fail: Fail): number {
  const { dtype, offset, shape, strides } = ref;
  if (countOf(shape) === 0) return 0;
  if (dtype === quint4x2) {
    if (offset !== 0 || !isContiguous(ref)) fail('a view of a quint4x2 tensor is not supported');
    return Math.ceil(countOf(shape) / 2);
  }
  return shape.reduce((sum, n, i) => sum + (n - 1) * strides[i]!, offset + 1);
}

/** The product of sizes, 0 even where others overflow. */
export function countOf(shape: readonly number[]): number {
  return shape.includes(0) ? 0 : shape.reduce((product, n) => product * n, 1);
}

export function isContiguous({ shape, strides }: TensorRef): boolean {
  let expected = 1;
  for (let i = shape.length - 1; i >= 0; i--) {
    if (shape[i] !== 1 && strides[i] !== expected) return false;
    expected *= shape[i]!;
  }
  return true;
}
