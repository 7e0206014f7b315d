import { describe, typeError } from '../errors.js';
import type { Tensor } from '../tensor/index.js';
import { ReLU } from './activation.js';
import { forgetLinear, forwardFloat, Linear } from './linear.js';
import { Sequential } from './container.js';

/**
 * Linear and ReLU as a unit, as `torch.ao.nn.intrinsic.LinearReLU`: `y = relu(x W^T + b)`, with the children
 * `'0'` and `'1'` that it was made of. `quantizeDynamic` makes one quantized module of it.
 */
export class LinearReLU extends Sequential {
  /** @throws {TypeError} when the arguments are not exactly a Linear and a ReLU */
  constructor(linear: Linear, relu: ReLU) {
    if (linear?.constructor !== Linear || relu?.constructor !== ReLU) {
      const sentence = `Incorrect types for input modules: ${describe(linear)} and ${describe(relu)}`;
      throw typeError('ERR_INVALID_ARG_TYPE', sentence);
    }
    super(linear, relu);
  }

  /** @throws {TypeError} for another dtype @throws {RangeError} when the last dimension is not `inFeatures` */
  override forward(input: Tensor): Tensor {
    const linear = this.items.get('0')!;
    const relu = this.items.get('1')!;
    // With hooks, or with other modules in their place, one after the other.
    const fused =
      this.length === 2 &&
      linear.forward === Linear.prototype.forward &&
      relu.forward === ReLU.prototype.forward;
    return fused ? forwardFloat(this, linear as Linear, input, true) : (super.forward(input) as Tensor);
  }

  /** To be called after a direct write into a parameter's `.data`: the next forward packs the weights again. */
  repack(): void {
    forgetLinear(this);
  }
}
