import type { DType, TensorData } from './dtype.js';
import type { Elements } from './elements.js';

/** What an operation needs of a tensor. */
export interface Source extends Elements {
  readonly shape: readonly number[];
}

/** What an operation gives, of which Tensor makes one. The files of operations are below it. */
export interface Result {
  readonly data: TensorData;
  readonly shape: readonly number[];
  readonly dtype: DType;
}
