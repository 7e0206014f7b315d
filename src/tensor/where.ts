import { chosen } from './elementwise.js';
import { operand, tensorOf, tensorOperand, type Tensor } from './tensor.js';

/**
 * `a` where `condition`, a bool tensor, is true, else `b`. All three are broadcast; `a` and `b` may be numbers.
 *
 * @throws {TypeError} when the condition is not a bool tensor @throws {RangeError} when shapes do not fit
 */
export function where(condition: Tensor, a: Tensor | number, b: Tensor | number): Tensor {
  const truth = tensorOperand('where: condition', condition);
  return tensorOf(chosen(truth, operand('where: a', a), operand('where: b', b)));
}
