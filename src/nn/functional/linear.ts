import { linearProduct } from '../../tensor/matrix.js';
import { checkTensor, tensorOf, type Tensor } from '../../tensor/tensor.js';

/**
 * `y = x W^T + b`, as the module `Linear`, which is faster where the weight stays the same.
 *
 * Shape: `(*, in)`, `(out, in)` and `(out)` give `(*, out)`; a weight `(in)` gives `(*)`. All have one dtype.
 *
 * @throws {TypeError} when dtypes differ @throws {RangeError} when shapes do not fit
 */
export function linear(input: Tensor, weight: Tensor, bias?: Tensor | null): Tensor {
  checkTensor('input', input);
  checkTensor('weight', weight);
  if (bias !== undefined && bias !== null) checkTensor('bias', bias);
  return tensorOf(linearProduct(input, weight, bias ?? undefined));
}
