import { checkBoolean, checkOptions, rangeError, typeError } from '../errors.js';
import { callAttention, callProduct, type Heads } from '../native/call-matrix.js';
import { newFloats } from '../native/call.js';
import { bool, float32 } from '../tensor/dtype.js';
import { formatShape, sameShape } from '../tensor/shape.js';
import { checkTensor, resultTensor, type Tensor } from '../tensor/tensor.js';
import { dropout } from './functional/activation.js';

// What the forward of a MultiheadAttention does between its projections, for the float module and its quantized twin.

/** Options of the forward of a MultiheadAttention. */
export interface AttentionForwardOptions {
  /** `(B, S)`, or `(S)` without batch: of bool, which keys to leave out (true); of float, added to the scores. */
  keyPaddingMask?: Tensor | null;
  /** Whether to return the weights. Default: true. Without them a call is faster. */
  needWeights?: boolean;
  /** `(L, S)` or `(B * numHeads, L, S)`: as `keyPaddingMask`, for each query. */
  attnMask?: Tensor | null;
  /** Whether the weights are the means of all heads. Default: true. */
  averageAttnWeights?: boolean;
  /** Says that `attnMask`, which must be there, is the causal one. Default: false. */
  isCausal?: boolean;
}

/** The sizes and options of a MultiheadAttention. */
export interface AttentionConfig {
  readonly embedDim: number;
  readonly numHeads: number;
  readonly kdim: number;
  readonly vdim: number;
  readonly dropout: number;
  readonly batchFirst: boolean;
  readonly addZeroAttn: boolean;
}

/** Projections that lie beside each other in the rows of one result. */
export type Part = 'q' | 'k' | 'v' | 'kv' | 'qkv';

/** A projected tensor: rows of `stride` floats, of which those of the part begin at `offset`. */
export interface Projected {
  readonly data: Float32Array;
  readonly offset: number;
  readonly stride: number;
}

/** One row for all batches, to put behind the keys and values. */
export interface BiasRows {
  readonly k: Float32Array;
  readonly v: Float32Array;
}

interface Masks {
  readonly attnMask: Tensor | null;
  readonly keyPaddingMask: Tensor | null;
}

/** A call whose arguments were checked. */
export interface CheckedCall {
  readonly batch: number;
  readonly queries: number;
  readonly keys: number;
  /** Whether the input has a dimension of batches. */
  readonly isBatched: boolean;
  readonly mask: Heads | null;
  readonly causal: boolean;
  readonly needWeights: boolean;
  readonly averageAttnWeights: boolean;
  /** What to project, in the order in which {@link attendProjected} takes it. */
  readonly projections: readonly (readonly [part: Part, input: Tensor])[];
}

/**
 * Checks the arguments of a forward, and copies its masks.
 *
 * @param isSeparate - keys and values have weights of their own, because their sizes differ from the queries'
 * @param extra - keys that the module adds
 */
export function checkedCall(
  config: AttentionConfig,
  [query, key, value]: readonly [Tensor, Tensor, Tensor],
  given: AttentionForwardOptions | null | undefined,
  isSeparate: boolean,
  extra: number,
): CheckedCall {
  checkInputs(config, query, key, value);
  const options = checkedOptions(given ?? {});
  const isBatched = query.dim() === 3;
  const [batchAt, rowsAt] = config.batchFirst ? [0, 1] : [1, 0];
  const batch = isBatched ? query.shape[batchAt]! : 1;
  const queries = isBatched ? query.shape[rowsAt]! : query.shape[0]!;
  const keys = isBatched ? key.shape[rowsAt]! : key.shape[0]!;
  const { needWeights, averageAttnWeights, isCausal, ...masks } = options;
  checkMasks(masks, { batch, heads: config.numHeads, queries, keys, isBatched });
  if (isCausal && masks.attnMask === null) {
    throw rangeError('ERR_INVALID_ARG_VALUE', 'Need attn_mask if specifying the is_causal hint.');
  }
  // Then the mask says nothing more, as in PyTorch.
  const causal = isCausal && masks.keyPaddingMask === null && !needWeights && extra === 0;
  const sizes = { batch, heads: config.numHeads, queries, keys, extra };
  const mask = causal ? null : maskOf(masks, sizes);
  const projections: [Part, Tensor][] =
    key !== value || isSeparate
      ? [
          ['q', query],
          ['k', key],
          ['v', value],
        ]
      : query !== key
        ? [
            ['q', query],
            ['kv', key],
          ]
        : [['qkv', query]];
  return { batch, queries, keys, isBatched, mask, causal, needWeights, averageAttnWeights, projections };
}

function checkInputs(config: AttentionConfig, query: Tensor, key: Tensor, value: Tensor): void {
  const all = { query, key, value };
  for (const [name, tensor] of Object.entries(all)) {
    checkTensor(name, tensor);
    if (tensor.dtype !== float32) {
      const sentence = `mat1 and mat2 must have the same dtype, but got ${tensor.dtype} and float32`;
      throw typeError('ERR_DTYPE', `${name}: ${sentence}`);
    }
    tensor.checked(name);
  }
  const rank = query.dim();
  if (rank !== 2 && rank !== 3) {
    const sentence = `query should be unbatched 2D or batched 3D tensor but received ${rank}-D query tensor`;
    throw rangeError('ERR_SHAPE', sentence);
  }
  if (key.dim() !== rank || value.dim() !== rank) {
    throw rangeError(
      'ERR_SHAPE',
      `For ${rank === 2 ? 'unbatched (2-D)' : 'batched (3-D)'} query, expected key and value to be ${rank}-D but found ${key.dim()}-D and ${value.dim()}-D tensors respectively`,
    );
  }
  const { embedDim, kdim, vdim, batchFirst } = config;
  for (const [name, size] of [
    ['query', embedDim] as const,
    ['key', kdim] as const,
    ['value', vdim] as const,
  ]) {
    const got = all[name].shape[rank - 1]!;
    if (got === size) continue;
    const sentence = `was expecting embedding dimension of ${size}, but got ${got}`;
    throw rangeError('ERR_SHAPE', name === 'query' ? sentence : `${name}: ${sentence}`);
  }
  if (!sameShape(key.shape.slice(0, -1), value.shape.slice(0, -1))) {
    const shapes = `${formatShape(key.shape)} does not match value shape ${formatShape(value.shape)}`;
    throw rangeError('ERR_SHAPE', `key shape ${shapes}`);
  }
  const batchAt = batchFirst ? 0 : 1;
  if (rank === 3 && query.shape[batchAt] !== key.shape[batchAt]) {
    const batches = `${query.shape[batchAt]} and ${key.shape[batchAt]}`;
    throw rangeError('ERR_SHAPE', `query and key should have the same batch, got ${batches}`);
  }
}

function checkedOptions(options: AttentionForwardOptions): Required<AttentionForwardOptions> & Masks {
  const names = ['keyPaddingMask', 'needWeights', 'attnMask', 'averageAttnWeights', 'isCausal'];
  checkOptions('MultiheadAttention.forward', options, names);
  const { keyPaddingMask = null, needWeights = true, attnMask = null } = options;
  const { averageAttnWeights = true, isCausal = false } = options;
  checkBoolean('needWeights', needWeights);
  checkBoolean('averageAttnWeights', averageAttnWeights);
  checkBoolean('isCausal', isCausal);
  checkMask('attnMask', attnMask);
  checkMask('keyPaddingMask', keyPaddingMask);
  return { keyPaddingMask, needWeights, attnMask, averageAttnWeights, isCausal };
}

/** Refuses what is no mask. */
export function checkMask(name: string, mask: Tensor | null): void {
  if (mask === null) return;
  checkTensor(name, mask);
  if (mask.dtype === bool || mask.dtype === float32) return;
  const sentence = `only bool and floating types of ${name} are supported, got ${mask.dtype}`;
  throw typeError('ERR_DTYPE', sentence);
}

interface MaskSizes {
  readonly batch: number;
  readonly heads: number;
  readonly queries: number;
  readonly keys: number;
}

function checkMasks(
  { attnMask, keyPaddingMask }: Masks,
  { batch, heads, queries, keys, isBatched }: MaskSizes & { isBatched: boolean },
): void {
  if (attnMask !== null) {
    const rank = attnMask.dim();
    const expected = rank === 3 ? [batch * heads, queries, keys] : [queries, keys];
    if (!sameShape(attnMask.shape, expected)) {
      const got = `The shape of the ${rank}D attn_mask is ${formatShape(attnMask.shape)}`;
      throw rangeError('ERR_SHAPE', `${got}, but should be ${formatShape(expected)}.`);
    }
  }
  if (keyPaddingMask !== null) {
    const expected = isBatched ? [batch, keys] : [keys];
    if (!sameShape(keyPaddingMask.shape, expected)) {
      const got = formatShape(keyPaddingMask.shape);
      throw rangeError(
        'ERR_SHAPE',
        `Expected key_padded_mask.shape to be ${formatShape(expected)}, but got ${got}`,
      );
    }
  }
}

/** Both masks as one that is added. Added keys are never masked. */
function maskOf(
  { attnMask, keyPaddingMask }: Masks,
  { batch, heads, queries, keys, extra }: MaskSizes & { extra: number },
): Heads | null {
  if (attnMask === null && keyPaddingMask === null) return null;
  const isWhole = attnMask?.dim() === 3;
  const [b, h, l] = [
    keyPaddingMask !== null || isWhole ? batch : 1,
    isWhole ? heads : 1,
    attnMask ? queries : 1,
  ];
  const width = keys + extra;
  const data = newFloats(b * h * l * width);
  const rows = attnMask && additive('attnMask', attnMask);
  const padding = keyPaddingMask && additive('keyPaddingMask', keyPaddingMask);
  for (let row = 0; row < b * h * l; row++) {
    const to = row * width;
    const from = (isWhole ? row : row % l) * keys;
    const paddingFrom = Math.floor(row / (h * l)) * keys;
    for (let i = 0; i < keys; i++) {
      data[to + i] =
        (rows === null ? 0 : rows[from + i]!) + (padding === null ? 0 : padding[paddingFrom + i]!);
    }
    for (let i = keys; i < width; i++) data[to + i] = 0;
  }
  return {
    data,
    offset: 0,
    batchStep: b === 1 ? 0 : h * l * width,
    headStep: h === 1 ? 0 : l * width,
    rowStep: l === 1 ? 0 : width,
  };
}

/** What is added to scores: of bool, -infinity where true. */
function additive(name: string, mask: Tensor): Float32Array {
  const data = mask.checked(name) as Float32Array | Uint8Array;
  if (mask.dtype !== bool) return data as Float32Array;
  const out = new Float32Array(data.length);
  for (let i = 0; i < data.length; i++) if (data[i] !== 0) out[i] = -Infinity;
  return out;
}

/** What attention gives before the last projection, and the weights if they are wanted. */
export interface Attended {
  readonly output: Tensor;
  readonly weights: Tensor | null;
}

/** Attends to what was projected. `p` is the probability with which a weight becomes 0. */
export function attendProjected(
  config: AttentionConfig,
  call: CheckedCall,
  projected: readonly Projected[],
  biasRows: BiasRows | null,
  p: number,
): Attended {
  const { embedDim, numHeads: heads, batchFirst, addZeroAttn } = config;
  const { batch, queries, mask, causal, isBatched } = call;
  const features = embedDim / heads;
  const layout = { batchFirst, batch, features };
  const [q, k, v] = partsOf(projected, embedDim);
  let keys = call.keys;
  let kHeads = headsOf(k, keys, layout);
  let vHeads = headsOf(v, keys, layout);
  if (biasRows !== null || addZeroAttn) {
    const added = [...(biasRows ? [biasRows] : []), ...(addZeroAttn ? [zeroRows(embedDim)] : [])];
    kHeads = extended(
      kHeads,
      { batch, keys, embedDim, features },
      added.map((rows) => rows.k),
    );
    vHeads = extended(
      vHeads,
      { batch, keys, embedDim, features },
      added.map((rows) => rows.v),
    );
    keys += added.length;
  }
  const out = newFloats(batch * queries * embedDim);
  const shape = !isBatched
    ? [queries, embedDim]
    : batchFirst
      ? [batch, queries, embedDim]
      : [queries, batch, embedDim];
  const wanted = call.needWeights || p > 0;
  const weights = wanted ? newFloats(batch * heads * queries * keys) : null;
  const outHeads = headsOf({ data: out, offset: 0, stride: embedDim }, queries, layout);
  if (out.length > 0 && keys > 0) {
    const scale = 1 / Math.sqrt(features);
    const sizes = { batch, heads, group: 1, queries, keys, features, valueFeatures: features };
    const qHeads = headsOf(q, queries, layout);
    callAttention({ ...sizes, scale, causal, q: qHeads, k: kHeads, v: vHeads, mask, out: outHeads, weights });
  } else out.fill(0);
  const output = resultTensor(out, shape);
  if (weights === null) return { output, weights: null };
  const all = resultTensor(weights, [batch, heads, queries, keys]);
  const dropped = dropout(all, { p });
  if (p > 0) weigh(dropped.data as Float32Array, vHeads, outHeads, [batch, heads, queries, keys], features);
  return { output, weights: call.needWeights ? weightsOf(dropped, call) : null };
}

interface Layout {
  readonly batchFirst: boolean;
  readonly batch: number;
  readonly features: number;
}

function headsOf({ data, offset, stride }: Projected, rows: number, layout: Layout): Heads {
  const { batchFirst, batch, features } = layout;
  return {
    data,
    offset,
    batchStep: batchFirst ? rows * stride : stride,
    headStep: features,
    rowStep: batchFirst ? stride : batch * stride,
  };
}

/** Queries, keys and values among what was projected: alone, or beside each other. */
function partsOf(projected: readonly Projected[], embedDim: number): [Projected, Projected, Projected] {
  const parts = projected.length === 1 ? [3] : projected.length === 2 ? [1, 2] : [1, 1, 1];
  return projected.flatMap((each, i) =>
    Array.from({ length: parts[i]! }, (_, j) => ({ ...each, offset: each.offset + j * embedDim })),
  ) as [Projected, Projected, Projected];
}

function zeroRows(embedDim: number): BiasRows {
  return { k: new Float32Array(embedDim), v: new Float32Array(embedDim) };
}

/** A copy with rows behind those of each batch. */
function extended(
  { data, offset, batchStep, rowStep }: Heads,
  { batch, keys, embedDim, features }: { batch: number; keys: number; embedDim: number; features: number },
  rows: readonly Float32Array[],
): Heads {
  const width = keys + rows.length;
  const out = newFloats(batch * width * embedDim);
  for (let b = 0; b < batch; b++) {
    for (let i = 0; i < width; i++) {
      const from = offset + b * batchStep + i * rowStep;
      out.set(rows[i - keys] ?? data.subarray(from, from + embedDim), (b * width + i) * embedDim);
    }
  }
  return { data: out, offset: 0, batchStep: width * embedDim, headStep: features, rowStep: embedDim };
}

/** Writes `weights` times the values into `out`. */
function weigh(
  weights: Float32Array,
  values: Heads,
  out: Heads,
  [batch, heads, queries, keys]: readonly [number, number, number, number],
  features: number,
): void {
  const own = new Float32Array(keys * features);
  for (let i = 0; i < batch * heads; i++) {
    const [b, h] = [Math.floor(i / heads), i % heads];
    for (let row = 0; row < keys; row++) {
      const from = values.offset + b * values.batchStep + h * values.headStep + row * values.rowStep;
      own.set(values.data.subarray(from, from + features), row * features);
    }
    const part = weights.subarray(i * queries * keys, (i + 1) * queries * keys);
    const sizes = { rows: queries, depth: keys, columns: features, transposed: false };
    const result = callProduct(part, own, sizes, [], null);
    for (let row = 0; row < queries; row++) {
      const to = out.offset + b * out.batchStep + h * out.headStep + row * out.rowStep;
      out.data.set(result.subarray(row * features, (row + 1) * features), to);
    }
  }
}

/** The weights as they are returned. */
function weightsOf(all: Tensor, { averageAttnWeights, isBatched }: CheckedCall): Tensor {
  const [batch, heads, queries, keys] = all.shape as [number, number, number, number];
  if (!averageAttnWeights) return isBatched ? all : all.reshape([heads, queries, keys]);
  const shape = isBatched ? [batch, queries, keys] : [queries, keys];
  const columns = queries * keys;
  if (batch * columns === 0) return resultTensor(new Float32Array(0), shape);
  const share = new Float32Array(heads).fill(1 / heads);
  const batches = [{ size: batch, aStep: 0, bStep: heads * columns }];
  const sizes = { rows: 1, depth: heads, columns, transposed: false };
  return resultTensor(callProduct(share, all.data as Float32Array, sizes, batches, null), shape);
}
