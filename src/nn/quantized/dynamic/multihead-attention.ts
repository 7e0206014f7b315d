import { takeSignal, type AsyncArguments } from '../../../async-options.js';
import { computeHere } from '../../../turn.js';
import type { LinearHandle } from '../../../native/handles.js';
import { float16, type Tensor } from '../../../tensor/index.js';
import {
  attendProjected,
  checkedCall,
  type AttentionConfig,
  type AttentionForwardOptions,
  type Attended,
  type CheckedCall,
  type Part,
  type Projected,
} from '../../attention-forward.js';
import { closed, fixed } from '../../closed.js';
import { fusable, products, productsOf } from '../../fusable.js';
import { isForwardReplaced } from '../../hooks.js';
import { Linear as FloatLinear } from '../../linear.js';
import { onMeta } from '../../meta.js';
import { Module, type ModuleMetadata } from '../../module.js';
import {
  attentionConfig,
  hasSeparateWeights,
  isPlainAttention,
  MultiheadAttention as FloatMultiheadAttention,
  type MultiheadAttentionOptions,
} from '../../multihead-attention.js';
import { emptyParameter, Parameter, parameterData } from '../../parameter.js';
import { checkFloat, dynamicOptionNames, type DynamicOptions, type QConfig } from '../qconfig.js';
import { Linear, quantizedParts } from './linear.js';

/** The float MultiheadAttention's options, and how weights and activations are quantized. */
export interface QuantizedMultiheadAttentionOptions extends MultiheadAttentionOptions, DynamicOptions {}

/**
 * MultiheadAttention with quantized projections. PyTorch, which has no such module, leaves them float. The children are
 * dynamically quantized Linears: `in_proj`, whose integers are those of three `nn.Linear`s beside each other, of queries,
 * keys and values, each with scales of its own; or `q_proj`, `k_proj` and `v_proj` where the float module has these; and
 * `out_proj`. Scores, softmax and the product with the values are float.
 *
 * `quantizeDynamic` makes it by default. To leave a MultiheadAttention float, as in PyTorch, give its name or class the
 * qconfig `null`. All else is as in the float module.
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
  /** Whether the projections have biases, which stay float. */
  declare readonly bias: boolean;
  /** The projections of queries, keys and values; null if these have weights of their own. */
  readonly in_proj: Linear | null;
  /** The projection of queries, or null. */
  readonly q_proj: Linear | null;
  /** The projection of keys, or null. */
  readonly k_proj: Linear | null;
  /** The projection of values, or null. */
  readonly v_proj: Linear | null;
  /** A key behind all others, `(1, 1, embedDim)`, or null. */
  readonly bias_k: Parameter | null;
  /** A value behind all others, or null. */
  readonly bias_v: Parameter | null;
  /** The last projection. */
  readonly out_proj: Linear;

  /** Weights of zeros; `fromFloat` or `loadStateDict` fill them. */
  constructor(embedDim: number, numHeads: number, options?: QuantizedMultiheadAttentionOptions) {
    super();
    const given = options === undefined ? {} : options;
    const { addBiasKv, ...config } = attentionConfig(embedDim, numHeads, given, dynamicOptionNames);
    closed(this, config);
    const { bias, kdim, vdim } = config;
    const quantization = Object.fromEntries(
      Object.entries(given).filter(([name]) => (dynamicOptionNames as readonly string[]).includes(name)),
    );
    const linear = (columns: number, rows: number): Linear =>
      new Linear(columns, rows, { bias, ...quantization });
    const isSeparate = hasSeparateWeights(config);
    this.in_proj = isSeparate ? null : linear(embedDim, 3 * embedDim);
    this.q_proj = isSeparate ? linear(embedDim, embedDim) : null;
    this.k_proj = isSeparate ? linear(kdim, embedDim) : null;
    this.v_proj = isSeparate ? linear(vdim, embedDim) : null;
    this.bias_k = addBiasKv ? emptyParameter([1, 1, embedDim]) : null;
    this.bias_v = addBiasKv ? emptyParameter([1, 1, embedDim]) : null;
    this.out_proj = linear(embedDim, embedDim);
  }

  /**
   * @throws {TypeError | RangeError} when `module` is not a MultiheadAttention, or `qconfig` is not for a Linear
   * @throws {RangeError} when a weight or bias is not finite, or for INT8 a projection is too deep
   */
  static fromFloat(module: FloatMultiheadAttention, qconfig: QConfig): MultiheadAttention {
    checkFloat(module, FloatMultiheadAttention, qconfig);
    const { embedDim, numHeads, kdim, vdim, dropout, batchFirst, addZeroAttn, in_proj_bias } = module;
    const options = { kdim, vdim, dropout, batchFirst, addZeroAttn, bias: in_proj_bias !== null };
    const shown = { ...options, addBiasKv: module.bias_k !== null };
    const twin = onMeta(() => new MultiheadAttention(embedDim, numHeads, shown));
    const quantized = (weight: Parameter | null, first: number, parts = 1): Linear => {
      const [rows, columns] = weight!.shape as [number, number];
      const linear = onMeta(() => new FloatLinear(columns, rows, { bias: options.bias }));
      const bias = in_proj_bias && parameterData('in_proj_bias', in_proj_bias, [3 * embedDim]);
      const own = bias && new Parameter(bias.slice(first, first + rows), [rows]);
      return quantizedParts(Object.assign(linear, { weight, bias: own }), qconfig, parts);
    };
    const projections =
      module.in_proj_weight === null
        ? {
            q_proj: quantized(module.q_proj_weight, 0),
            k_proj: quantized(module.k_proj_weight, embedDim),
            v_proj: quantized(module.v_proj_weight, 2 * embedDim),
          }
        : { in_proj: quantized(module.in_proj_weight, 0, 3) };
    const rows = { bias_k: copyOf(module.bias_k), bias_v: copyOf(module.bias_v) };
    return Object.assign(twin, projections, rows, { out_proj: Linear.fromFloat(module.out_proj, qconfig) });
  }

  /** As the float module's; the projections throw what a quantized Linear throws. */
  override forward(
    query: Tensor,
    key?: Tensor,
    value?: Tensor,
    options?: AttentionForwardOptions,
  ): [output: Tensor, weights: Tensor | null] {
    const call = this.checkedCall(query, key, value, options);
    const projected = call.projections.map(([part, input]) =>
      this.projected(part, this.projectionOf(part).forward(input)),
    );
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
    const later = signal === undefined ? [] : [{ signal }];
    const call = this.checkedCall(...(args as Parameters<MultiheadAttention['forward']>));
    const projected = await Promise.all(
      call.projections.map(async ([part, input]) =>
        this.projected(part, await this.projectionOf(part).forwardAsync(input, ...later)),
      ),
    );
    const { output, weights } = computeHere(() => this.attend(call, projected));
    return [await this.out_proj.forwardAsync(output, ...later), weights];
  }

  private checkedCall(
    query: Tensor,
    key: Tensor = query,
    value: Tensor = key,
    options?: AttentionForwardOptions,
  ): CheckedCall {
    const config = this[fixed];
    const extra = (this.bias_k === null ? 0 : 1) + (config.addZeroAttn ? 1 : 0);
    return checkedCall(config, [query, key, value], options, hasSeparateWeights(config), extra);
  }

  private attend(call: CheckedCall, projected: readonly Projected[]): Attended {
    const config = this[fixed];
    const { bias_k, bias_v } = this;
    const shape = [1, 1, config.embedDim];
    const rows =
      bias_k === null || bias_v === null
        ? null
        : { k: parameterData('bias_k', bias_k, shape), v: parameterData('bias_v', bias_v, shape) };
    return attendProjected(config, call, projected, rows, this.training ? config.dropout : 0);
  }

  /** The Linear that computes a part, and perhaps others beside it, because packed weights have no parts. */
  private projectionOf(part: Part): Linear {
    return (this.in_proj ?? { q: this.q_proj, k: this.k_proj, v: this.v_proj }[part as 'q'])!;
  }
  private projected(part: Part, { data, shape }: Tensor): Projected {
    const { embedDim } = this[fixed];
    const first = this.in_proj === null ? 0 : { q: 0, k: 1, v: 2, kv: 1, qkv: 0 }[part];
    return { data: data as Float32Array, offset: first * embedDim, stride: shape.at(-1)! };
  }

  /** @internal */
  [products](): LinearHandle[] | null {
    const { in_proj, out_proj } = this;
    if (in_proj === null || !isPlainAttention(this[fixed], this)) return null;
    const [first, last] = [productsOf(in_proj), productsOf(out_proj)];
    return first && last && [...first, ...last];
  }

  protected override reprName(): string {
    return 'DynamicQuantizedMultiheadAttention';
  }
  protected override metadata(): ModuleMetadata {
    const { embedDim, numHeads, kdim, vdim, dropout, batchFirst, addZeroAttn, bias } = this;
    const options = { kdim, vdim, dropout, batchFirst, addZeroAttn, bias, addBiasKv: this.bias_k !== null };
    const { dtype, activation, reduceRange } = this.out_proj;
    const quantization = dtype === float16 ? { dtype } : { dtype, activation, reduceRange };
    return { type: 'DynamicQuantizedMultiheadAttention', embedDim, numHeads, ...options, ...quantization };
  }
}

fusable(MultiheadAttention);

function copyOf(parameter: Parameter | null): Parameter | null {
  return parameter && new Parameter(parameter.checked().slice(), parameter.shape);
}
