import { checkBoolean, checkNumber, checkOptions, rangeError, typeError } from '../../errors.js';
import { callAttention, type Heads } from '../../native/call-matrix.js';
import { newFloats } from '../../native/call.js';
import { broadcastShape } from '../../tensor/broadcast.js';
import { bool, emptyArray, float32, float64, type DType } from '../../tensor/dtype.js';
import { formatShape, numelOf, sameShape } from '../../tensor/shape.js';
import { checkTensor, resultTensor, Tensor } from '../../tensor/tensor.js';
import { checkProbability } from '../arguments.js';
import { dropout } from './activation.js';

/** Options of {@link scaledDotProductAttention}. */
export interface AttentionOptions {
  /**
   * Broadcasts to `(..., queries, keys)`. Of bool, it says which keys a query sees (true = takes part); else it is
   * added to the scores. Default: none.
   */
  attnMask?: Tensor | null;
  /** The probability with which a weight becomes 0; it applies always, as in PyTorch. Default: 0. */
  dropoutP?: number;
  /** Query i sees the keys up to and with i only. Not with an `attnMask`. Default: false. */
  isCausal?: boolean;
  /** Default: `1 / sqrt(E)`. */
  scale?: number | null;
  /** Keys and values may have fewer heads (the third last dimension), each for several in a row of the query's. */
  enableGqa?: boolean;
}

/**
 * `softmax(query key^T * scale + mask) value`, with the softmax over the keys.
 *
 * Shape: query `(..., L, E)`, key `(..., S, E)`, value `(..., S, V)` give `(..., L, V)`, where `...` broadcasts. Float32
 * runs natively in one call; float64 in JavaScript. A query that sees no key gives zeros, as in PyTorch.
 *
 * @throws {TypeError} for another dtype, or dtypes that differ @throws {RangeError} when shapes do not fit
 */
export function scaledDotProductAttention(
  query: Tensor,
  key: Tensor,
  value: Tensor,
  options?: AttentionOptions,
): Tensor {
  checkTensor('query', query);
  checkTensor('key', key);
  checkTensor('value', value);
  const { attnMask, dropoutP, isCausal, scale, enableGqa } = checkedOptions(options);
  const group = checkShapes(query, key, value, enableGqa);
  checkMask(attnMask, query.dtype, isCausal);
  const batch = batchOf(query, key, value, group);
  const [queries, features] = [query.shape.at(-2)!, query.shape.at(-1)!];
  const [keys, valueFeatures] = [key.shape.at(-2)!, value.shape.at(-1)!];
  const scores = [...batch, queries, keys];
  const call = {
    q: expanded(query, batch),
    k: expanded(key, sharedBy(batch, group)),
    v: expanded(value, sharedBy(batch, group)),
    mask: attnMask && additive(attnMask, scores, query.dtype),
    scale: scale ?? (features === 0 ? 1 : 1 / Math.sqrt(features)),
    causal: isCausal,
    group,
  };
  const shape = [...batch, queries, valueFeatures];
  if (numelOf(shape) === 0 || keys === 0) {
    return new Tensor(emptyArray(query.dtype, numelOf(shape)), shape, { dtype: query.dtype });
  }
  if (query.dtype === float64) return attendHere(call, dropoutP);
  if (dropoutP === 0) return attend(call, shape, null);
  const weights = resultTensor(newFloats(numelOf(scores)), scores);
  attend(call, shape, weights.data as Float32Array);
  return dropout(weights, { p: dropoutP }).matmul(repeated(call.v, group));
}

interface Call {
  readonly q: Tensor;
  readonly k: Tensor;
  readonly v: Tensor;
  readonly mask: Tensor | null;
  readonly scale: number;
  readonly causal: boolean;
  /** Heads that share their keys and values. */
  readonly group: number;
}

/** The attention of heads that all have the same dimensions before the last two. The mask may lack leading ones. */
function attend(
  { q, k, v, mask, scale, causal, group }: Call,
  shape: readonly number[],
  weights: Float32Array | null,
): Tensor {
  const lead = shape.slice(0, -2);
  const heads = lead.at(-1) ?? 1;
  const batch = numelOf(lead.slice(0, -1));
  const [queries, features] = [q.shape.at(-2)!, q.shape.at(-1)!];
  const [keys, valueFeatures] = [v.shape.at(-2)!, v.shape.at(-1)!];
  const out = newFloats(numelOf(shape));
  callAttention({
    ...{ batch, heads, group, queries, keys, features, valueFeatures, scale, causal, weights },
    q: headsOf(q.checked('query') as Float32Array, heads, queries, features),
    k: headsOf(k.checked('key') as Float32Array, heads / group, keys, features),
    v: headsOf(v.checked('value') as Float32Array, heads / group, keys, valueFeatures),
    mask: mask && maskHeads(mask, lead),
    out: headsOf(out, heads, queries, valueFeatures),
  });
  return resultTensor(out, shape);
}

function headsOf(data: Float32Array, heads: number, rows: number, features: number): Heads {
  const headStep = rows * features;
  return { data, offset: 0, batchStep: heads * headStep, headStep, rowStep: features };
}

/** A mask whose last dimension is that of the keys, for heads with these dimensions before their last two. */
function maskHeads(mask: Tensor, lead: readonly number[]): Heads {
  const missing = lead.length + 2 - mask.dim();
  const dims = [1, ...Array.from({ length: missing }, () => 1), ...mask.shape];
  const [heads, rows, keys] = dims.slice(-3) as [number, number, number];
  const batch = dims.slice(1, -3);
  const isShared = batch.every((size) => size === 1);
  if (!isShared && !sameShape(batch, lead.slice(0, -1))) {
    return maskHeads(expanded(mask, [...lead.slice(0, -1), heads]), lead);
  }
  return {
    data: mask.checked('attnMask') as Float32Array,
    offset: 0,
    batchStep: isShared ? 0 : heads * rows * keys,
    headStep: heads === 1 ? 0 : rows * keys,
    rowStep: rows === 1 ? 0 : keys,
  };
}

/** The same for float64. */
function attendHere({ q, k, v, mask, scale, causal, group }: Call, p: number): Tensor {
  let scores = q.matmul(repeated(k, group).transpose(-2, -1)).mul(scale);
  if (mask !== null) scores = scores.add(mask);
  const keys = scores.shape.at(-1)!;
  const queries = scores.shape.at(-2)!;
  const data = scores.data as Float64Array;
  for (let row = 0; row * keys < data.length; row++) {
    const seen = causal ? Math.min((row % queries) + 1, keys) : keys;
    softmaxRow(data.subarray(row * keys, (row + 1) * keys), seen);
  }
  return dropout(scores, { p }).matmul(repeated(v, group));
}

/** The softmax of the first `seen` elements, zeros for the others, and zeros alone if all those are -infinity. */
function softmaxRow(row: Float64Array, seen: number): void {
  let max = -Infinity;
  for (let i = 0; i < seen; i++) max = Math.max(max, row[i]!);
  let sum = 0;
  for (let i = 0; i < row.length; i++) {
    row[i] = i < seen && max !== -Infinity ? Math.exp(row[i]! - max) : 0;
    sum += row[i]!;
  }
  for (let i = 0; i < seen && sum !== 0; i++) row[i]! /= sum;
}

/** With these dimensions before the last two: itself if it has them, else a copy. */
function expanded(tensor: Tensor, lead: readonly number[]): Tensor {
  const shape = [...lead, ...tensor.shape.slice(-2)];
  return sameShape(shape, tensor.shape) ? tensor : tensor.expand(shape);
}

/** Each head `group` times. */
function repeated(heads: Tensor, group: number): Tensor {
  return group === 1 ? heads : heads.repeatInterleave(group, -3);
}

type Checked = Required<{ [K in keyof AttentionOptions]: NonNullable<AttentionOptions[K]> | null }> & {
  dropoutP: number;
  isCausal: boolean;
  enableGqa: boolean;
};

function checkedOptions(given: AttentionOptions | undefined): Checked {
  const options: AttentionOptions = given === undefined ? {} : given;
  const names = ['attnMask', 'dropoutP', 'isCausal', 'scale', 'enableGqa'];
  checkOptions('scaledDotProductAttention', options, names);
  const { attnMask = null, dropoutP = 0, isCausal = false, scale = null, enableGqa = false } = options;
  if (attnMask !== null) checkTensor('attnMask', attnMask);
  checkProbability('dropoutP', dropoutP);
  checkBoolean('isCausal', isCausal);
  if (scale !== null) checkNumber('scale', scale);
  checkBoolean('enableGqa', enableGqa);
  return { attnMask, dropoutP, isCausal, scale, enableGqa };
}

/** Returns how many heads of the query share their keys and values. */
function checkShapes(query: Tensor, key: Tensor, value: Tensor, enableGqa: boolean): number {
  const [q, k, v] = [query.shape, key.shape, value.shape];
  if (Math.min(q.length, k.length, v.length) < 2) {
    throw rangeError(
      'ERR_SHAPE',
      `Expected query, key, and value to all be at least 2 dimensional, but got query.dim: ${q.length} key.dim: ${k.length} and value.dim: ${v.length} instead.`,
    );
  }
  const { dtype } = query;
  if ((dtype !== float32 && dtype !== float64) || key.dtype !== dtype || value.dtype !== dtype) {
    throw typeError(
      'ERR_DTYPE',
      `Expected query, key, and value to have the same dtype, float32 or float64, but got query.dtype: ${dtype} key.dtype: ${key.dtype} and value.dtype: ${value.dtype} instead.`,
    );
  }
  if (q.at(-1) !== k.at(-1)) throw unfit('query and key', q, k, 'the last dimension');
  if (k.at(-2) !== v.at(-2)) throw unfit('key and value', k, v, 'the second last dimension');
  if (!enableGqa) return 1;
  const [heads, keyHeads, valueHeads] = [q.at(-3) ?? 1, k.at(-3) ?? 1, v.at(-3) ?? 1];
  if (keyHeads !== valueHeads || keyHeads === 0 || heads % keyHeads !== 0) {
    const sentence = 'Number of heads in key and value must divide the number of heads in query';
    throw rangeError('ERR_SHAPE', `${sentence}, but got ${heads}, ${keyHeads} and ${valueHeads}`);
  }
  return heads / keyHeads;
}

function unfit(names: string, a: readonly number[], b: readonly number[], where: string): Error {
  const shapes = `${formatShape(a)} and ${formatShape(b)}`;
  return rangeError('ERR_SHAPE', `Expected ${names} to have the same size in ${where}, but got ${shapes}`);
}

function checkMask(mask: Tensor | null, dtype: DType, isCausal: boolean): void {
  if (mask === null) return;
  if (isCausal) {
    const sentence = 'Explicit attn_mask should not be set when is_causal=True';
    throw rangeError('ERR_INVALID_ARG_VALUE', `_scaled_dot_product_attention: ${sentence}`);
  }
  if (mask.dtype !== bool && mask.dtype !== dtype) {
    throw typeError(
      'ERR_DTYPE',
      `Expected attn_mask dtype to be bool or to match query dtype, but got attn_mask.dtype: ${mask.dtype} and query.dtype: ${dtype} instead.`,
    );
  }
}

/** The dimensions before the last two, with the query's heads. */
function batchOf(query: Tensor, key: Tensor, value: Tensor, group: number): readonly number[] {
  const [q, k, v] = [query, key, value].map(({ shape }) => shape.slice(0, -2)) as [
    number[],
    number[],
    number[],
  ];
  if (sameShape(q, k) && sameShape(q, v)) return q;
  const all = (lead: number[]): number[] => lead.map((n, i) => (i === lead.length - 1 ? n * group : n));
  return broadcastShape(broadcastShape(q, all(k)), all(v));
}

/** The same with the heads of keys and values. */
function sharedBy(batch: readonly number[], group: number): readonly number[] {
  return group === 1 ? batch : batch.map((n, i) => (i === batch.length - 1 ? n / group : n));
}

/** A mask to add, with at least two dimensions, of which the last one is that of the keys. */
function additive(mask: Tensor, scores: readonly number[], dtype: DType): Tensor {
  const shape = broadcastShape(scores, mask.shape);
  if (!sameShape(shape, scores)) {
    throw rangeError(
      'ERR_SHAPE',
      `output with shape ${formatShape(scores)} doesn't match the broadcast shape ${formatShape(shape)}`,
    );
  }
  const floats = mask.dtype === bool ? ofTruth(mask, dtype) : mask;
  const matrix = floats.dim() < 2 ? floats.reshape([1, floats.numel]) : floats;
  return matrix.shape.at(-1) === scores.at(-1)
    ? matrix
    : matrix.expand([...matrix.shape.slice(0, -1), scores.at(-1)!]);
}

/** 0 where true, -infinity where false. */
function ofTruth(mask: Tensor, dtype: DType): Tensor {
  const from = mask.checked('attnMask') as Uint8Array;
  const data = emptyArray(dtype, from.length) as Float32Array;
  for (let i = 0; i < from.length; i++) if (from[i] === 0) data[i] = -Infinity;
  return new Tensor(data, mask.shape, { dtype });
}
