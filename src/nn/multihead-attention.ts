import { takeSignal, type AsyncArguments } from '../async-options.js';
import { checkBoolean, checkOptions, checkSize, rangeError } from '../errors.js';
import { native } from '../native/addon.js';
import { callLinear, callLinearAsync } from '../native/call.js';
import type { LinearHandle } from '../native/handles.js';
import { computeHere } from '../turn.js';
import type { Tensor } from '../tensor/index.js';
import {
  attendProjected,
  checkedCall,
  type AttentionConfig,
  type AttentionForwardOptions,
  type BiasRows,
  type Part,
  type Projected,
} from './attention-forward.js';
import { checkProbability } from './arguments.js';
import { closed, fixed } from './closed.js';
import { fusable, products, productsOf } from './fusable.js';
import { isForwardReplaced } from './hooks.js';
import { xavierNormal_, xavierUniform_ } from './init.js';
import type { LayerParameter, Tensors } from './layer-parameters.js';
import { Linear } from './linear.js';
import { Module, pack, type ModuleMetadata } from './module.js';
import { freeHandle, packedHandle } from './native-weights.js';
import { emptyParameter, parameterData, type Parameter } from './parameter.js';

/** Options of MultiheadAttention. */
export interface MultiheadAttentionOptions {
  /** In training, the probability with which a weight becomes 0. Default: 0. */
  dropout?: number;
  /** Whether the projections have biases. Default: true. */
  bias?: boolean;
  /** Whether a learned key and value, `bias_k` and `bias_v`, come behind all others. Default: false. */
  addBiasKv?: boolean;
  /** Whether a key and a value of zeros come last. Default: false. */
  addZeroAttn?: boolean;
  /** The number of features of a key. Default: `embedDim`. */
  kdim?: number | null;
  /** The number of features of a value. Default: `embedDim`. */
  vdim?: number | null;
  /** Whether tensors are `(batch, length, features)`, not `(length, batch, features)`. Default: false. */
  batchFirst?: boolean;
}

/** A Linear that `quantizeDynamic` leaves alone unless its MultiheadAttention is quantized, as in PyTorch. */
export class NonDynamicallyQuantizableLinear extends Linear {}
fusable(NonDynamicallyQuantizableLinear);

/**
 * `MultiHead(Q, K, V) = concat(head_1, ..., head_h) W_out^T + b_out`,
 * `head_i = softmax(q_i k_i^T / sqrt(embedDim / numHeads) + mask) v_i`, where `q`, `k` and `v` are projections of query,
 * key and value, and `q_i` the i-th part of the features (Vaswani et al. 2017).
 *
 * Without a value it is the key, and without a key that is the query.
 *
 * Shape: query `(L, B, embedDim)`, key `(S, B, kdim)`, value `(S, B, vdim)`, or with `batchFirst` the batch first, or
 * without batch, give `[output, weights]`: the output is shaped as the query, the weights are `(B, L, S)`, the means of
 * all heads, or `(B, numHeads, L, S)`, or null if they are not wanted. A query that sees no key gets weights of 0; in
 * PyTorch they are NaN or 0, by the path that it takes.
 *
 * Parameters: `in_proj_weight` `(3 * embedDim, embedDim)`, or with another `kdim` or `vdim` `q_proj_weight`,
 * `k_proj_weight` and `v_proj_weight`; `in_proj_bias`, `bias_k`, `bias_v`, and those of the child `out_proj`. Where query,
 * key and value are one tensor, it is projected at once. Sizes and options are fixed at construction.
 */
export class MultiheadAttention extends Module {
  /** @internal */
  declare readonly [fixed]: AttentionConfig;
  /** The number of features of a query and of the output. */
  declare readonly embedDim: number;
  /** The number of features of a key. */
  declare readonly kdim: number;
  /** The number of features of a value. */
  declare readonly vdim: number;
  /** The number of heads. */
  declare readonly numHeads: number;
  /** In training, the probability with which a weight becomes 0. */
  declare readonly dropout: number;
  /** Whether tensors are `(batch, length, features)`. */
  declare readonly batchFirst: boolean;
  /** Whether a key and a value of zeros come last. */
  declare readonly addZeroAttn: boolean;
  /** The projections of queries, keys and values; null if these have weights of their own. */
  readonly in_proj_weight: Parameter | null;
  /** The projection of queries, or null. */
  readonly q_proj_weight: Parameter | null;
  /** The projection of keys, or null. */
  readonly k_proj_weight: Parameter | null;
  /** The projection of values, or null. */
  readonly v_proj_weight: Parameter | null;
  /** Of all three projections, or null. */
  readonly in_proj_bias: Parameter | null;
  /** A key behind all others, `(1, 1, embedDim)`, or null. */
  readonly bias_k: Parameter | null;
  /** A value behind all others, or null. */
  readonly bias_v: Parameter | null;
  /** The last projection. */
  readonly out_proj: Linear;

  /** @throws {TypeError | RangeError} for sizes that are not positive integers, or options of the wrong kind */
  constructor(embedDim: number, numHeads: number, options?: MultiheadAttentionOptions) {
    super();
    const { bias, addBiasKv, ...config } = attentionConfig(
      embedDim,
      numHeads,
      options === undefined ? {} : options,
    );
    closed(this, config);
    const { kdim, vdim } = config;
    const isSeparate = hasSeparateWeights(config);
    const matrix = (rows: number, columns: number): Parameter => emptyParameter([rows, columns]);
    this.in_proj_weight = isSeparate ? null : matrix(3 * embedDim, embedDim);
    this.q_proj_weight = isSeparate ? matrix(embedDim, embedDim) : null;
    this.k_proj_weight = isSeparate ? matrix(embedDim, kdim) : null;
    this.v_proj_weight = isSeparate ? matrix(embedDim, vdim) : null;
    this.in_proj_bias = bias ? emptyParameter([3 * embedDim]) : null;
    this.bias_k = addBiasKv ? emptyParameter([1, 1, embedDim]) : null;
    this.bias_v = addBiasKv ? emptyParameter([1, 1, embedDim]) : null;
    // In the order in which PyTorch draws its random numbers.
    this.out_proj = new NonDynamicallyQuantizableLinear(embedDim, embedDim, { bias });
    for (const each of [this.in_proj_weight, this.q_proj_weight, this.k_proj_weight, this.v_proj_weight])
      if (each !== null) xavierUniform_(each);
    this.out_proj.bias?.data.fill(0 as never);
    if (this.bias_k !== null) xavierNormal_(this.bias_k);
    if (this.bias_v !== null) xavierNormal_(this.bias_v);
  }

  /**
   * @returns `[output, weights]`, where the weights are null if `needWeights` is false
   * @throws {TypeError} for another dtype @throws {RangeError} when shapes do not fit
   */
  override forward(
    query: Tensor,
    key?: Tensor,
    value?: Tensor,
    options?: AttentionForwardOptions,
  ): [output: Tensor, weights: Tensor | null] {
    const call = this.checkedCall(query, key, value, options);
    const projected = call.projections.map(([part, input]) => {
      const { handle, rows, count, x, stride } = this.projection(part, input);
      return { data: callLinear(handle, x, rows, count), offset: 0, stride };
    });
    const { output, weights } = this.attend(call, projected);
    return [this.out_proj.forward(output), weights];
  }

  /** {@link forward} while the event loop goes on: see {@link Module.forwardAsync}. The heads are computed at once. */
  override async forwardAsync(
    query: Tensor,
    ...rest: AsyncArguments<[key?: Tensor, value?: Tensor, options?: AttentionForwardOptions]>
  ): Promise<[output: Tensor, weights: Tensor | null]> {
    const args: unknown[] = [query, ...rest];
    if (isForwardReplaced(this)) return (await super.forwardAsync(...args)) as [Tensor, Tensor | null];
    const signal = takeSignal(args, 4);
    const call = this.checkedCall(...(args as Parameters<MultiheadAttention['forward']>));
    const projected = await Promise.all(
      call.projections.map(async ([part, input]) => {
        const { handle, rows, count, x, stride } = this.projection(part, input);
        return { data: await callLinearAsync(handle, x, rows, count, signal), offset: 0, stride };
      }),
    );
    const { output, weights } = computeHere(() => this.attend(call, projected));
    const asyncOptions = signal === undefined ? [] : [{ signal }];
    return [await this.out_proj.forwardAsync(output, ...asyncOptions), weights];
  }

  private checkedCall(
    query: Tensor,
    key: Tensor = query,
    value: Tensor = key,
    options?: AttentionForwardOptions,
  ): ReturnType<typeof checkedCall> {
    const config = this[fixed];
    const extra = (this.bias_k === null ? 0 : 1) + (config.addZeroAttn ? 1 : 0);
    return checkedCall(config, [query, key, value], options, hasSeparateWeights(config), extra);
  }

  private attend(
    call: ReturnType<typeof checkedCall>,
    projected: readonly Projected[],
  ): ReturnType<typeof attendProjected> {
    const config = this[fixed];
    return attendProjected(config, call, projected, this.biasRows(), this.training ? config.dropout : 0);
  }

  private biasRows(): BiasRows | null {
    const { bias_k, bias_v } = this;
    if (bias_k === null || bias_v === null) return null;
    const shape = [1, 1, this[fixed].embedDim];
    return { k: parameterData('bias_k', bias_k, shape), v: parameterData('bias_v', bias_v, shape) };
  }

  /** How an input is projected. */
  private projection(
    part: Part,
    input: Tensor,
  ): { handle: LinearHandle; x: Float32Array; rows: number; count: number; stride: number } {
    const { embedDim } = this[fixed];
    const x = input.checked('input') as Float32Array;
    const rows = x.length / input.shape.at(-1)!;
    const stride = rowsOf[part][1] * embedDim;
    return { handle: this.partHandle(part), x, rows, count: rows * stride, stride };
  }

  /** The handle of the projections of a part, as the parameters are now. */
  private partHandle(part: Part): LinearHandle {
    const { embedDim, kdim, vdim } = this[fixed];
    const own = { q: this.q_proj_weight, k: this.k_proj_weight, v: this.v_proj_weight };
    const shared = this.in_proj_weight;
    const { in_proj_bias } = this;
    const separate = shared === null ? own[part as 'q'] : null;
    const tensors = [shared ?? separate, in_proj_bias];
    return packedHandle<LinearHandle>(this.ownerOf(part), tensors, () => {
      const [first, count] = rowsOf[part];
      const columns = separate === null ? embedDim : { q: embedDim, k: kdim, v: vdim }[part as 'q'];
      const weight =
        separate === null
          ? parameterData('in_proj_weight', shared, [3 * embedDim, embedDim])
          : parameterData(`${part}_proj_weight`, separate, [embedDim, columns]);
      const from = separate === null ? first * embedDim * embedDim : 0;
      const bias = in_proj_bias && parameterData('in_proj_bias', in_proj_bias, [3 * embedDim]);
      const matrix = {
        weight: weight.slice(from, from + count * embedDim * columns),
        bias: bias && bias.slice(first * embedDim, (first + count) * embedDim),
      };
      return new (native().FloatLinear)(matrix, columns, count * embedDim, false);
    });
  }

  /** Call this after a direct write into a parameter's `.data`, so that the next forward packs the weights again. */
  repack(): void {
    this.releaseWeights();
    this.out_proj.repack();
  }
  protected override releaseWeights(): void {
    for (const owner of Object.values(owners.get(this) ?? {})) freeHandle(owner);
    freeHandle(this);
  }
  /** What owns the packed projections of a part: the module itself those of self-attention. */
  private ownerOf(part: Part): object {
    if (part === 'qkv' || (part === 'q' && hasSeparateWeights(this[fixed]))) return this;
    let own = owners.get(this);
    if (own === undefined) owners.set(this, (own = { q: {}, k: {}, v: {}, kv: {} }));
    return own[part];
  }
  /** @internal */
  override [pack](): void {
    for (const part of hasSeparateWeights(this[fixed]) ? (['q', 'k', 'v'] as const) : (['qkv'] as const)) {
      this.partHandle(part);
    }
  }
  /** @internal */
  [products](): LinearHandle[] | null {
    const out = productsOf(this.out_proj);
    if (out === null || !isPlainAttention(this[fixed], this)) return null;
    return [this.partHandle('qkv'), ...out];
  }
  protected override metadata(): ModuleMetadata {
    const { embedDim, numHeads, kdim, vdim, dropout, batchFirst, addZeroAttn } = this[fixed];
    const options = { kdim, vdim, dropout, batchFirst, addZeroAttn };
    const shown = { bias: this.in_proj_bias !== null, addBiasKv: this.bias_k !== null };
    return { type: 'MultiheadAttention', embedDim, numHeads, ...shown, ...options };
  }
}

fusable(MultiheadAttention);

/** Whether an attention to its own queries is its two projections, and the heads between them. */
export function isPlainAttention(
  config: AttentionConfig,
  { bias_k, training }: Pick<MultiheadAttention, 'bias_k' | 'training'>,
): boolean {
  const drops = training && config.dropout > 0;
  return !drops && bias_k === null && !config.addZeroAttn && !hasSeparateWeights(config);
}

/** What owns the packed projections of parts, of modules whose queries, keys and values are not one tensor. */
const owners = new WeakMap<Module, Readonly<Record<'q' | 'k' | 'v' | 'kv', object>>>();

/** The first of a part's projections, and how many there are. */
const rowsOf: Readonly<Record<Part, readonly [first: number, count: number]>> = {
  q: [0, 1],
  k: [1, 1],
  v: [2, 1],
  kv: [1, 2],
  qkv: [0, 3],
};

/** Whether queries, keys and values have weights of their own, because their sizes differ. */
export function hasSeparateWeights({ embedDim, kdim, vdim }: AttentionSizes): boolean {
  return kdim !== embedDim || vdim !== embedDim;
}

/** Checks the arguments of the constructor. */
export function attentionConfig(
  embedDim: number,
  numHeads: number,
  options: MultiheadAttentionOptions,
  own: readonly string[] = [],
): AttentionConfig & { bias: boolean; addBiasKv: boolean } {
  checkSize('embed_dim', embedDim);
  checkSize('num_heads', numHeads);
  if (embedDim % numHeads !== 0) {
    const sentence = `embed_dim must be divisible by num_heads, got ${embedDim} and ${numHeads}`;
    throw rangeError('ERR_INVALID_ARG_VALUE', sentence);
  }
  const names = ['dropout', 'bias', 'addBiasKv', 'addZeroAttn', 'kdim', 'vdim', 'batchFirst'];
  checkOptions('MultiheadAttention', options, [...names, ...own]);
  const { dropout = 0, bias = true, addBiasKv = false, addZeroAttn = false, batchFirst = false } = options;
  const kdim = options.kdim ?? embedDim;
  const vdim = options.vdim ?? embedDim;
  checkProbability('dropout', dropout);
  checkSize('kdim', kdim);
  checkSize('vdim', vdim);
  for (const [name, value] of Object.entries({ bias, addBiasKv, addZeroAttn, batchFirst })) {
    checkBoolean(name, value);
  }
  return { embedDim, numHeads, kdim, vdim, dropout, bias, addBiasKv, addZeroAttn, batchFirst };
}

/** What the parameters of a MultiheadAttention depend on. */
export interface AttentionSizes {
  readonly embedDim: number;
  readonly kdim: number;
  readonly vdim: number;
  readonly bias?: boolean;
  readonly addBiasKv?: boolean;
}

/** Its own parameters, without those of `out_proj`. */
export function attentionParameters(sizes: AttentionSizes): LayerParameter[] {
  const { embedDim, kdim, vdim, bias = true, addBiasKv = false } = sizes;
  const weight = (name: string, rows: number, columns: number): LayerParameter => {
    return { name, kind: 'weight', shape: [rows, columns], columns: 'embed_dim', matrix: 0 };
  };
  const row = (name: string, shape: readonly number[]): LayerParameter => {
    return { name, kind: 'bias', shape, matrix: 0 };
  };
  return [
    ...(hasSeparateWeights(sizes)
      ? [
          weight('q_proj_weight', embedDim, embedDim),
          weight('k_proj_weight', embedDim, kdim),
          weight('v_proj_weight', embedDim, vdim),
        ]
      : [weight('in_proj_weight', 3 * embedDim, embedDim)]),
    ...(bias ? [row('in_proj_bias', [3 * embedDim])] : []),
    ...(addBiasKv ? [row('bias_k', [1, 1, embedDim]), row('bias_v', [1, 1, embedDim])] : []),
  ];
}

/** The sizes that the parameters of a MultiheadAttention show. */
export function attentionSizes(tensors: Tensors): Required<AttentionSizes> | undefined {
  const shared = tensors.get('in_proj_weight');
  const [q, k, v] = ['q', 'k', 'v'].map((part) => tensors.get(`${part}_proj_weight`));
  const first = shared ?? q;
  if (first?.dim() !== 2 || (shared === undefined && (k?.dim() !== 2 || v?.dim() !== 2))) return undefined;
  const embedDim = first.shape[1]!;
  const kdim = shared === undefined ? k!.shape[1]! : embedDim;
  const vdim = shared === undefined ? v!.shape[1]! : embedDim;
  return { embedDim, kdim, vdim, bias: tensors.has('in_proj_bias'), addBiasKv: tensors.has('bias_k') };
}
