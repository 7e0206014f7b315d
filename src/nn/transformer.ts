import { takeSignal, type AsyncOptions } from '../async-options.js';
import {
  checkBoolean,
  checkNumber,
  checkOneOf,
  checkOptions,
  checkSize,
  describe,
  rangeError,
  typeError,
} from '../errors.js';
import {
  callEncoderLayer,
  callEncoderLayerAsync,
  type EncoderCall,
  type RowNorm,
} from '../native/call-encoder.js';
import { emptyArray, float32 } from '../tensor/dtype.js';
import { checkTensor, resultTensor, type Tensor } from '../tensor/tensor.js';
import { GELU, ReLU } from './activation.js';
import { checkedCall, checkMask, type AttentionForwardOptions } from './attention-forward.js';
import { closed, fixed } from './closed.js';
import { ModuleList } from './container.js';
import { copyModule } from './copy-module.js';
import { Dropout } from './dropout.js';
import { fusable, isFusable, productsOf } from './fusable.js';
import { isForwardReplaced } from './hooks.js';
import { Linear } from './linear.js';
import { isModule, Module, type ModuleMetadata } from './module.js';
import { MultiheadAttention } from './multihead-attention.js';
import { LayerNorm } from './normalization.js';
import { parameterData } from './parameter.js';

/** Options of TransformerEncoderLayer. */
export interface TransformerEncoderLayerOptions {
  /** Features between the two Linears. Default: 2048. */
  dimFeedforward?: number;
  /** In training, the probability with which an element, or a weight of the attention, becomes 0. Default: 0.1. */
  dropout?: number;
  /** What comes after the first Linear. Default: `'relu'`. */
  activation?: 'relu' | 'gelu';
  /** The `eps` of both LayerNorms. Default: 1e-5. */
  layerNormEps?: number;
  /** Whether tensors are `(batch, length, features)`, not `(length, batch, features)`. Default: false. */
  batchFirst?: boolean;
  /** Whether a LayerNorm comes before each part, not after it. Default: false. */
  normFirst?: boolean;
  /** Whether Linears, projections and LayerNorms have biases. Default: true. */
  bias?: boolean;
}

/** Options of the forward of a TransformerEncoderLayer. */
export interface EncoderLayerForwardOptions {
  /** See `attnMask` of MultiheadAttention. */
  srcMask?: Tensor | null;
  /** See `keyPaddingMask` of MultiheadAttention. */
  srcKeyPaddingMask?: Tensor | null;
  /** Says that `srcMask`, which must be there, is the causal one. Default: false. */
  isCausal?: boolean;
}

const activations = { relu: new ReLU(), gelu: new GELU() };

/**
 * Self-attention, then two Linears, each part with a residual connection and a LayerNorm (Vaswani et al. 2017):
 * `x = norm1(x + self_attn(x))`, `y = norm2(x + linear2(activation(linear1(x))))`; with `normFirst`
 * `x = x + self_attn(norm1(x))`, `y = x + linear2(activation(linear1(norm2(x))))`.
 *
 * Shape: `(L, B, dModel)`, with `batchFirst` `(B, L, dModel)`, or `(L, dModel)`, to the same. The children have PyTorch's
 * names. Sizes and options are fixed at construction.
 */
export class TransformerEncoderLayer extends Module {
  /** @internal */
  declare readonly [fixed]: Pick<TransformerEncoderLayer, 'activation' | 'normFirst'>;
  /** The number of features. */
  declare readonly dModel: number;
  /** The number of heads. */
  declare readonly nhead: number;
  /** Features between the two Linears. */
  declare readonly dimFeedforward: number;
  /** What comes after the first Linear. */
  declare readonly activation: 'relu' | 'gelu';
  /** The `eps` of both LayerNorms. */
  declare readonly layerNormEps: number;
  /** Whether tensors are `(batch, length, features)`. */
  declare readonly batchFirst: boolean;
  /** Whether a LayerNorm comes before each part. */
  declare readonly normFirst: boolean;
  /** Whether there are biases. */
  declare readonly bias: boolean;
  /** The attention; quantized, its twin. */
  readonly self_attn: MultiheadAttention;
  /** The first of the two Linears. */
  readonly linear1: Linear;
  /** Between the Linears. */
  readonly dropout: Dropout;
  /** The second Linear. */
  readonly linear2: Linear;
  /** Of the attention. */
  readonly norm1: LayerNorm;
  /** Of the Linears. */
  readonly norm2: LayerNorm;
  /** After the attention. */
  readonly dropout1: Dropout;
  /** After the Linears. */
  readonly dropout2: Dropout;

  /** @throws {TypeError | RangeError} for sizes that are not positive integers, or options of the wrong kind */
  constructor(dModel: number, nhead: number, options?: TransformerEncoderLayerOptions) {
    super();
    const given = options === undefined ? {} : options;
    checkOptions('TransformerEncoderLayer', given, layerOptions);
    const { dimFeedforward = 2048, dropout = 0.1, activation = 'relu', layerNormEps = 1e-5 } = given;
    const { batchFirst = false, normFirst = false, bias = true } = given;
    checkSize('dim_feedforward', dimFeedforward);
    checkOneOf(
      'activation',
      activation,
      ['relu', 'gelu'],
      `activation should be relu/gelu, not ${describe(activation)}`,
    );
    checkNumber('layerNormEps', layerNormEps);
    checkBoolean('normFirst', normFirst);
    this.self_attn = new MultiheadAttention(dModel, nhead, { dropout, bias, batchFirst });
    closed(this, { dModel, nhead, dimFeedforward, activation, layerNormEps, batchFirst, normFirst, bias });
    this.linear1 = new Linear(dModel, dimFeedforward, { bias });
    this.dropout = new Dropout(dropout);
    this.linear2 = new Linear(dimFeedforward, dModel, { bias });
    this.norm1 = new LayerNorm(dModel, { eps: layerNormEps, bias });
    this.norm2 = new LayerNorm(dModel, { eps: layerNormEps, bias });
    this.dropout1 = new Dropout(dropout);
    this.dropout2 = new Dropout(dropout);
  }

  /** @throws {TypeError} for another dtype @throws {RangeError} when shapes do not fit */
  override forward(src: Tensor, options?: EncoderLayerForwardOptions): Tensor {
    checkSource(src);
    const masks = attentionOptions(options);
    const fused = encoderCall(this, src, masks);
    if (fused !== null) return resultTensor(callEncoderLayer(src.data as Float32Array, fused), src.shape);
    const { normFirst, activation } = this[fixed];
    const attend = (x: Tensor): Tensor => this.dropout1.forward(this.self_attn.forward(x, x, x, masks)[0]);
    const feed = (x: Tensor): Tensor => {
      const inner = activations[activation].forward(this.linear1.forward(x));
      return this.dropout2.forward(this.linear2.forward(this.dropout.forward(inner)));
    };
    if (normFirst) {
      const x = src.add(attend(this.norm1.forward(src)));
      return x.add(feed(this.norm2.forward(x)));
    }
    const x = this.norm1.forward(src.add(attend(src)));
    return this.norm2.forward(x.add(feed(x)));
  }

  /**
   * {@link forward} while the event loop goes on: see {@link Module.forwardAsync}. The layer runs as a whole, with the
   * weights that it has now. Where its children must compute one by one, because of a hook for example, each gets its
   * turn with the weights and the mode that it has when the one before it is done.
   */
  override async forwardAsync(
    src: Tensor,
    ...rest: [options?: EncoderLayerForwardOptions | AsyncOptions, asyncOptions?: AsyncOptions]
  ): Promise<Tensor> {
    const args: unknown[] = [src, ...rest];
    if (isForwardReplaced(this)) return (await super.forwardAsync(...args)) as Tensor;
    const signal = takeSignal(args, 2);
    const later = signal === undefined ? [] : [{ signal }];
    checkSource(src);
    const masks = attentionOptions(args[1] as EncoderLayerForwardOptions | undefined);
    const fused = encoderCall(this, src, masks);
    if (fused !== null) {
      const shape = [...src.shape];
      return resultTensor(await callEncoderLayerAsync(src.data as Float32Array, fused, signal), shape);
    }
    const { normFirst, activation } = this[fixed];
    // The caller may change its tensor as soon as this returns.
    const own = src.clone();
    const attend = async (x: Tensor): Promise<Tensor> => {
      // No pattern, because a hook may have returned anything.
      const outputs = await this.self_attn.forwardAsync(x, x, x, masks, ...later);
      return this.dropout1.forward(outputs[0]);
    };
    const feed = async (x: Tensor): Promise<Tensor> => {
      const inner = activations[activation].forward(await this.linear1.forwardAsync(x, ...later));
      return this.dropout2.forward(await this.linear2.forwardAsync(this.dropout.forward(inner), ...later));
    };
    if (normFirst) {
      const x = own.add(await attend(this.norm1.forward(own)));
      return x.add(await feed(this.norm2.forward(x)));
    }
    const x = this.norm1.forward(own.add(await attend(own)));
    return this.norm2.forward(x.add(await feed(x)));
  }

  protected override metadata(): ModuleMetadata {
    const { dModel, nhead, dimFeedforward, activation, layerNormEps, batchFirst, normFirst, bias } = this;
    const options = { dimFeedforward, dropout: this.dropout.p, activation, layerNormEps };
    return { type: 'TransformerEncoderLayer', dModel, nhead, ...options, batchFirst, normFirst, bias };
  }
}

fusable(TransformerEncoderLayer);

/** The layer as one native call, which gives the same bits; null where its children's own forwards must run. */
function encoderCall(
  layer: TransformerEncoderLayer,
  src: Tensor,
  masks: AttentionForwardOptions,
): EncoderCall | null {
  const { self_attn, linear1, linear2, norm1, norm2 } = layer;
  if (!keeps(layer.dropout) || !keeps(layer.dropout1) || !keeps(layer.dropout2)) return null;
  if (!isFusable(norm1) || !isFusable(norm2) || src.dtype !== float32 || src.numel === 0) return null;
  const attention = productsOf(self_attn);
  const first = productsOf(linear1);
  const last = productsOf(linear2);
  if (attention === null || first === null || last === null) return null;
  const config = self_attn[fixed];
  const { embedDim: width, numHeads: heads, batchFirst } = config;
  const { inFeatures, outFeatures: inner } = linear1[fixed];
  const { shape } = src;
  const rank = shape.length;
  if ((rank !== 2 && rank !== 3) || shape[rank - 1] !== width || inFeatures !== width) return null;
  if (linear2[fixed].inFeatures !== inner || linear2[fixed].outFeatures !== width) return null;
  const [norms1, norms2] = [rowNorm(norm1, width), rowNorm(norm2, width)];
  if (norms1 === null || norms2 === null) return null;
  const { batch, queries: length, causal, mask } = checkedCall(config, [src, src, src], masks, false, 0);
  const { normFirst, activation } = layer[fixed];
  const sizes = { batch, length, width, inner, heads };
  const linears = [...attention, first[0]!, last[0]!];
  return { linears, norm1: norms1, norm2: norms2, normFirst, activation, batchFirst, causal, mask, ...sizes };
}

/** Whether a Dropout returns its input. */
function keeps(dropout: Dropout): boolean {
  return isFusable(dropout) && (!dropout.training || dropout.p === 0);
}

/** The norm of rows of so many elements; null if it is of others. */
function rowNorm({ weight, bias, [fixed]: norm }: LayerNorm, width: number): RowNorm | null {
  const { normalizedShape, eps } = norm;
  if (normalizedShape.length !== 1 || normalizedShape[0] !== width) return null;
  return {
    weight: weight && parameterData('weight', weight, normalizedShape),
    bias: bias && parameterData('bias', bias, normalizedShape),
    eps,
  };
}

const layerOptions = [
  ...(['dimFeedforward', 'dropout', 'activation', 'layerNormEps'] as const),
  ...(['batchFirst', 'normFirst', 'bias'] as const),
];

function checkSource(src: Tensor): void {
  checkTensor('src', src);
  src.checked('src');
}

function attentionOptions(given: EncoderLayerForwardOptions | null | undefined): AttentionForwardOptions {
  const options = given ?? {};
  checkOptions('TransformerEncoderLayer.forward', options, ['srcMask', 'srcKeyPaddingMask', 'isCausal']);
  const { srcMask = null, srcKeyPaddingMask = null, isCausal = false } = options;
  checkMask('srcMask', srcMask);
  checkMask('srcKeyPaddingMask', srcKeyPaddingMask);
  return { attnMask: srcMask, keyPaddingMask: srcKeyPaddingMask, isCausal, needWeights: false };
}

/** Options of TransformerEncoder. */
export interface TransformerEncoderOptions {
  /** What comes after all layers. Default: nothing. */
  norm?: Module | null;
}

/** Options of the forward of a TransformerEncoder. */
export interface EncoderForwardOptions {
  /** See `attnMask` of MultiheadAttention. */
  mask?: Tensor | null;
  /** See `keyPaddingMask` of MultiheadAttention. */
  srcKeyPaddingMask?: Tensor | null;
  /** Says that `mask`, which must be there, is the causal one. Default: false. */
  isCausal?: boolean | null;
}

/**
 * Layers of a transformer's encoder, one after the other, and perhaps a norm. `layers` are copies of the layer that is
 * given, so that all begin with the same weights, as in PyTorch. Where keys are left out, their own rows of the result
 * are computed like all others; PyTorch's nested tensors make them 0.
 */
export class TransformerEncoder extends Module {
  /** The number of layers. */
  declare readonly numLayers: number;
  /** The layers. */
  readonly layers: ModuleList;
  /** What comes after the layers, or null. */
  readonly norm: Module | null;

  /** @throws {TypeError | RangeError} when the layer or norm is no Module, or the number no positive integer */
  constructor(encoderLayer: Module, numLayers: number, options?: TransformerEncoderOptions) {
    super();
    if (!isModule(encoderLayer)) {
      const sentence = `encoderLayer should be a Module, got ${describe(encoderLayer)}`;
      throw typeError('ERR_INVALID_ARG_TYPE', sentence);
    }
    checkSize('num_layers', numLayers);
    if (numLayers > mostLayers) {
      const sentence = `num_layers should be at most ${mostLayers}, got ${numLayers}`;
      throw rangeError('ERR_INVALID_ARG_VALUE', sentence);
    }
    const given = options === undefined ? {} : options;
    checkOptions('TransformerEncoder', given, ['norm']);
    const { norm = null } = given;
    if (norm !== null && !isModule(norm))
      throw typeError('ERR_INVALID_ARG_TYPE', `norm should be a Module, got ${describe(norm)}`);
    closed(this, { numLayers });
    this.layers = new ModuleList(Array.from({ length: numLayers }, () => copyModule(encoderLayer)));
    this.norm = norm;
  }

  /** @throws what the layers throw */
  override forward(src: Tensor, options?: EncoderForwardOptions): Tensor {
    checkSource(src);
    const layerOptions = encoderOptions(options);
    const masks = attentionOptions(layerOptions);
    let x = src;
    let own: Float32Array | undefined;
    for (const layer of this.layers) {
      const isOurs = layer.constructor === TransformerEncoderLayer && isFusable(layer);
      const fused = isOurs ? encoderCall(layer as TransformerEncoderLayer, x, masks) : null;
      if (fused === null) {
        x = layer.forward(x, layerOptions) as Tensor;
        own = undefined;
      } else {
        // What only this loop sees is overwritten, because new memory is slow.
        own = callEncoderLayer(x.data as Float32Array, fused, own);
        x = resultTensor(own, x.shape);
      }
    }
    return this.norm === null ? x : (this.norm.forward(x) as Tensor);
  }

  /**
   * {@link forward} while the event loop goes on: see {@link Module.forwardAsync}. Each layer gets its turn with the
   * weights and the mode that it has when the one before it is done.
   */
  override async forwardAsync(
    src: Tensor,
    ...rest: [options?: EncoderForwardOptions | AsyncOptions, asyncOptions?: AsyncOptions]
  ): Promise<Tensor> {
    const args: unknown[] = [src, ...rest];
    if (isForwardReplaced(this)) return (await super.forwardAsync(...args)) as Tensor;
    const signal = takeSignal(args, 2);
    const later = signal === undefined ? [] : [{ signal }];
    checkSource(src);
    const { srcMask, srcKeyPaddingMask, isCausal } = encoderOptions(
      args[1] as EncoderForwardOptions | undefined,
    );
    // The caller may change its masks as soon as this returns, but the later layers need them.
    const layerOptions = {
      srcMask: srcMask?.clone() ?? null,
      srcKeyPaddingMask: srcKeyPaddingMask?.clone() ?? null,
      isCausal,
    };
    let x = src;
    for (const layer of this.layers) x = (await layer.forwardAsync(x, layerOptions, ...later)) as Tensor;
    return this.norm === null ? x : ((await this.norm.forwardAsync(x, ...later)) as Tensor);
  }

  protected override metadata(): ModuleMetadata {
    return { type: 'TransformerEncoder', numLayers: this.numLayers };
  }
}

/** More take seconds to copy, and memory until there is none. */
const mostLayers = 4096;

function encoderOptions(
  given: EncoderForwardOptions | null | undefined,
): Required<EncoderLayerForwardOptions> {
  const options = given ?? {};
  checkOptions('TransformerEncoder.forward', options, ['mask', 'srcKeyPaddingMask', 'isCausal']);
  const { mask = null, srcKeyPaddingMask = null, isCausal } = options;
  checkMask('mask', mask);
  checkMask('srcKeyPaddingMask', srcKeyPaddingMask);
  return { srcMask: mask, srcKeyPaddingMask, isCausal: isCausal ?? false };
}

/**
 * The causal mask for MultiheadAttention: `(size, size)`, 0 where query i sees key j <= i, -infinity elsewhere. PyTorch
 * has it as `nn.Transformer.generate_square_subsequent_mask`.
 *
 * @throws {TypeError | RangeError} when `size` is no positive integer
 */
export function generateSquareSubsequentMask(size: number): Tensor {
  checkSize('size', size);
  const data = emptyArray(float32, size * size) as Float32Array;
  for (let i = 0; i < size; i++) data.fill(-Infinity, i * size + i + 1, (i + 1) * size);
  return resultTensor(data, [size, size]);
}
