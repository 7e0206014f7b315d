import { checkBoolean, checkOptions, checkSize, checkNumber, rangeError } from '../errors.js';
import { callNormalize } from '../native/call-reduce.js';
import { checkedShape, formatShape } from '../tensor/shape.js';
import { resultTensor, type Tensor } from '../tensor/tensor.js';
import { floatInput } from './activation.js';
import { closed, fixed } from './closed.js';
import type { LayerParameter, Tensors } from './layer-parameters.js';
import { Module, pythonFloat, type ModuleMetadata } from './module.js';
import { emptyParameter, parameterData, type Parameter } from './parameter.js';

/** Options of LayerNorm. */
export interface LayerNormOptions {
  /** Added to the variance. Default: 1e-5. */
  eps?: number;
  /** Whether there is a `weight`, at first ones, and a `bias`, at first zeros. Default: true. */
  elementwiseAffine?: boolean;
  /** Whether there is a `bias` beside the weight. Default: true. */
  bias?: boolean;
}

/**
 * `y = (x - mean) / sqrt(variance + eps) * weight + bias`. Mean and (biased) variance are taken over the last
 * dimensions, those of `normalizedShape`. The same bits whatever other rows share the call.
 *
 * Shape: float32 `(*, ...normalizedShape)` to the same. `weight` and `bias` have `normalizedShape`. Sizes and options
 * are fixed at construction.
 */
export class LayerNorm extends Module {
  /** @internal */
  declare readonly [fixed]: Pick<LayerNorm, 'normalizedShape' | 'eps'>;
  /** The last dimensions, over which each mean and variance is taken. */
  declare readonly normalizedShape: readonly number[];
  /** What is added to a variance before its root is taken. */
  declare readonly eps: number;
  /** Whether there is a weight. */
  declare readonly elementwiseAffine: boolean;
  /** Of shape `normalizedShape`, or null. */
  readonly weight: Parameter | null;
  /** Of shape `normalizedShape`, or null. */
  readonly bias: Parameter | null;

  /** @throws {TypeError | RangeError} for a shape that is not of positive integers, or an option of the wrong kind */
  constructor(normalizedShape: number | readonly number[], options: LayerNormOptions = {}) {
    super();
    const given = Array.isArray(normalizedShape) ? (normalizedShape as number[]) : [normalizedShape];
    const shape = checkedShape(given);
    if (shape.length === 0) {
      throw rangeError(
        'ERR_SHAPE',
        'Expected normalized_shape to be at least 1-dimensional, i.e., containing at least one element, but got normalized_shape = []',
      );
    }
    shape.forEach((size) => checkSize('normalized_shape', size));
    checkOptions('LayerNorm', options, ['eps', 'elementwiseAffine', 'bias']);
    const { eps = 1e-5, elementwiseAffine = true, bias = true } = options;
    checkNumber('eps', eps);
    if (!(eps >= 0)) throw rangeError('ERR_INVALID_ARG_VALUE', `eps should not be negative, got ${eps}`);
    checkBoolean('elementwiseAffine', elementwiseAffine);
    checkBoolean('bias', bias);
    closed(this, { normalizedShape: Object.freeze([...shape]), eps, elementwiseAffine });
    this.weight = elementwiseAffine ? emptyParameter(this.normalizedShape) : null;
    this.weight?.data.fill(1 as never);
    this.bias = elementwiseAffine && bias ? emptyParameter(this.normalizedShape) : null;
  }

  /** @throws {TypeError} for another dtype @throws {RangeError} for another shape */
  override forward(input: Tensor): Tensor {
    const { normalizedShape, eps } = this[fixed];
    const { data: x, shape } = floatInput('LayerNorm', input);
    const start = shape.length - normalizedShape.length;
    let fits = start >= 0;
    let size = 1;
    // A loop, because methods of a frozen array are slow.
    for (let i = 0; i < normalizedShape.length; i++) {
      fits &&= normalizedShape[i] === shape[start + i];
      size *= normalizedShape[i]!;
    }
    if (!fits) {
      const expected = normalizedShape.join(', ');
      throw rangeError(
        'ERR_SHAPE',
        `Given normalized_shape=[${expected}], expected input with shape [*, ${expected}], but got input of size${formatShape(shape)}`,
      );
    }
    const weight = this.weight && parameterData('weight', this.weight, normalizedShape);
    const bias = this.bias && parameterData('bias', this.bias, normalizedShape);
    if (x.length === 0) return resultTensor(new Float32Array(0), shape.slice());
    const rows = x.length / size;
    const call = { norm: 'layer', rows, length: size, groups: 1, repeat: 1, weight, bias, eps } as const;
    return resultTensor(callNormalize(x, call), shape.slice());
  }

  override extraRepr(): string {
    const { normalizedShape: shape, eps, elementwiseAffine } = this;
    const affine = elementwiseAffine ? 'True' : 'False';
    const tuple = shape.length === 1 ? `(${shape[0]},)` : `(${shape.join(', ')})`;
    return `${tuple}, eps=${pythonFloat(eps)}, elementwise_affine=${affine}, bias=${this.bias === null ? 'False' : 'True'}`;
  }
  protected override metadata(): ModuleMetadata {
    const { normalizedShape, eps, elementwiseAffine } = this;
    return { type: 'LayerNorm', normalizedShape, eps, elementwiseAffine, bias: this.bias !== null };
  }
}

/** What the parameters of a LayerNorm depend on. */
export interface NormSizes {
  readonly normalizedShape: readonly number[];
  readonly elementwiseAffine: boolean;
  readonly bias: boolean;
}

export function normParameters({ normalizedShape, elementwiseAffine, bias }: NormSizes): LayerParameter[] {
  if (!elementwiseAffine) return [];
  const names = bias ? (['weight', 'bias'] as const) : (['weight'] as const);
  return names.map((name) => ({ name, kind: name, shape: normalizedShape, matrix: 0 }));
}

/** The sizes that the parameters of a LayerNorm show. Without parameters only its metadata tell them. */
export function normSizes(tensors: Tensors, metadata?: object): Partial<NormSizes> | undefined {
  const weight = tensors.get('weight');
  if (weight === undefined) {
    if (metadata === undefined || tensors.size > 0) return undefined;
    const { normalizedShape } = metadata as NormSizes;
    return { normalizedShape, elementwiseAffine: false };
  }
  const bias = tensors.has('bias');
  // Only a 1-D weight with a bias tells a LayerNorm: other modules have weights of many shapes, and an RMSNorm has a
  // weight without a bias.
  if (metadata === undefined && !(bias && weight.dim() === 1)) return undefined;
  return { normalizedShape: weight.shape, elementwiseAffine: true, bias };
}
