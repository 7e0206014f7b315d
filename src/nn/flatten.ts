import { checkInteger, checkOptions, describe, typeError } from '../errors.js';
import { integersOf, maxRank } from '../tensor/shape.js';
import { checkTensor, type Tensor } from '../tensor/tensor.js';
import { closed, fixed } from './closed.js';
import { Module } from './module.js';

/** Options of Flatten. */
export interface FlattenOptions {
  /** The first dimension of those that become one. Default: 1. */
  startDim?: number;
  /** The last one. Default: -1. */
  endDim?: number;
}

/** Makes one dimension of several: `input.flatten(startDim, endDim)`, which shares the input's memory. */
export class Flatten extends Module {
  /** @internal */
  declare readonly [fixed]: Pick<Flatten, 'startDim' | 'endDim'>;
  /** The first dimension of those that become one. */
  declare readonly startDim: number;
  /** The last one. */
  declare readonly endDim: number;
  /** @throws {TypeError} when a dimension is not an integer */
  constructor(options: FlattenOptions = {}) {
    super();
    checkOptions('Flatten', options, ['startDim', 'endDim']);
    const { startDim = 1, endDim = -1 } = options;
    checkInteger('startDim', startDim);
    checkInteger('endDim', endDim);
    closed(this, { startDim, endDim });
  }
  /** @throws {RangeError} when the input has no such dimensions */
  override forward(input: Tensor): Tensor {
    checkTensor('input', input);
    input.checked('input');
    return input.flatten(this[fixed].startDim, this[fixed].endDim);
  }
  override extraRepr(): string {
    return `start_dim=${this.startDim}, end_dim=${this.endDim}`;
  }
}

/** Makes several dimensions of one: `input.unflatten(dim, unflattenedSize)`, which shares the input's memory. */
export class Unflatten extends Module {
  /** @internal */
  declare readonly [fixed]: Pick<Unflatten, 'dim' | 'unflattenedSize'>;
  /** The dimension that becomes several. */
  declare readonly dim: number;
  /** Their sizes, of which one may be -1. */
  declare readonly unflattenedSize: readonly number[];
  /** @throws {TypeError} when an argument is no integer, or no list of integers */
  constructor(dim: number, unflattenedSize: readonly number[]) {
    super();
    checkInteger('dim', dim);
    if (!Array.isArray(unflattenedSize)) {
      const sentence = `unflattenedSize should be an array of sizes, got ${describe(unflattenedSize)}`;
      throw typeError('ERR_INVALID_ARG_TYPE', sentence);
    }
    const sizes = integersOf('unflattenedSize', unflattenedSize, maxRank);
    closed(this, { dim, unflattenedSize: Object.freeze(sizes) });
  }
  /** @throws {RangeError} when the sizes do not multiply up to that of the dimension */
  override forward(input: Tensor): Tensor {
    checkTensor('input', input);
    input.checked('input');
    return input.unflatten(this[fixed].dim, this[fixed].unflattenedSize);
  }
  override extraRepr(): string {
    const { dim, unflattenedSize: sizes } = this;
    return `dim=${dim}, unflattened_size=(${sizes.join(', ')}${sizes.length === 1 ? ',' : ''})`;
  }
}
