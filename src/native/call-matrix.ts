/** The hot calls of matrices: see call.ts. */
import { cached } from './addon.js';
import { arrayBit, callMemory, input, output, resultOf, throwUnlessOk } from './call.js';

const functions = cached('multiplyFloats', 'attend');

/** The sizes of a product, or of each of a batch of them. */
export interface ProductSizes {
  readonly rows: number;
  readonly depth: number;
  readonly columns: number;
  /** b is `[columns][depth]`, not `[depth][columns]`. */
  readonly transposed: boolean;
}

/** A dimension over which products repeat, and how many floats lie between the matrices of two neighbours. */
export interface BatchDim {
  readonly size: number;
  readonly aStep: number;
  readonly bStep: number;
}

/**
 * `a b`, or `a b^T` if `transposed`, for each index of `batch`, whose last dimension changes fastest. No size of it is
 * 0, and the matrices reach from the first to the last element of `a` and `b`. There is a bias only if `transposed`.
 */
export function callProduct(
  a: Float32Array,
  b: Float32Array,
  { rows, depth, columns, transposed }: ProductSizes,
  batch: readonly BatchDim[],
  bias: Float32Array | null,
): Float32Array {
  const memory = callMemory();
  const { callWords, callLayout } = memory;
  let count = rows * columns;
  for (const dim of batch) count *= dim.size;
  const aIn = input(memory, 0, a);
  const bIn = input(memory, 1, b);
  const out = output(count);
  const biasIn = input(memory, 3, bias);
  callWords[callLayout.arrays] = arrayBit(aIn, 0) + arrayBit(bIn, 1) + arrayBit(out, 2) + arrayBit(biasIn, 3);
  callWords[callLayout.given] = bias === null ? 0 : 1 << 3;
  callWords[callLayout.productRows] = rows;
  callWords[callLayout.productDepth] = depth;
  callWords[callLayout.productColumns] = columns;
  callWords[callLayout.productTransposed] = transposed ? 1 : 0;
  const dims =
    batch.length === 0
      ? undefined
      : Float64Array.from(batch.flatMap(({ size, aStep, bStep }) => [size, aStep, bStep]));
  throwUnlessOk(functions().multiplyFloats(aIn, bIn, out, biasIn, dims), '');
  return resultOf(memory, 2, out, count);
}

/** Rows of heads in an array: the first, and how many floats lie between neighbours. A row's elements are neighbours. */
export interface Heads {
  readonly data: Float32Array;
  readonly offset: number;
  readonly batchStep: number;
  readonly headStep: number;
  readonly rowStep: number;
}

/** What {@link callAttention} computes. No size but `features` and `valueFeatures` is 0. */
export interface AttentionCall {
  readonly batch: number;
  readonly heads: number;
  /** Heads that share their keys and values. */
  readonly group: number;
  readonly queries: number;
  readonly keys: number;
  /** Of a query and a key. */
  readonly features: number;
  /** Of a value and a result. */
  readonly valueFeatures: number;
  readonly scale: number;
  /** Query i sees the keys up to and with i only. */
  readonly causal: boolean;
  readonly q: Heads;
  readonly k: Heads;
  readonly v: Heads;
  /** Rows of keys, which are added to the scaled scores. */
  readonly mask: Heads | null;
  readonly out: Heads;
  /** `[batch][heads][queries][keys]`, for what the values are weighted with. */
  readonly weights: Float32Array | null;
}

const geometry = new Float64Array(29);
const nowhere = { offset: 0, batchStep: 0, headStep: 0, rowStep: 0 };

/** Fills `out`, and `weights`. */
export function callAttention(call: AttentionCall): void {
  const { q, k, v, mask, out } = call;
  geometry[0] = call.batch;
  geometry[1] = call.heads;
  geometry[2] = call.group;
  geometry[3] = call.queries;
  geometry[4] = call.keys;
  geometry[5] = call.features;
  geometry[6] = call.valueFeatures;
  geometry[7] = call.scale;
  geometry[8] = call.causal ? 1 : 0;
  let at = 9;
  for (const { offset, batchStep, headStep, rowStep } of [q, k, v, out, mask ?? nowhere]) {
    geometry[at++] = offset;
    geometry[at++] = batchStep;
    geometry[at++] = headStep;
    geometry[at++] = rowStep;
  }
  const status = functions().attend(
    q.data,
    k.data,
    v.data,
    mask === null ? null : mask.data,
    out.data,
    call.weights,
    geometry,
  );
  throwUnlessOk(status, '');
}
