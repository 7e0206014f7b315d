import { describe, typeError } from '../errors.js';
import type { Tensor } from '../tensor/index.js';
import { ReLU } from './activation.js';
import { forwardFloat, Linear, linearHandle } from './linear.js';
import { pack } from './module.js';
import { freeHandle } from './native-weights.js';
import { Sequential } from './container.js';

/**
 * Linear and ReLU as a unit, as `torch.ao.nn.intrinsic.LinearReLU`: `y = relu(x W^T + b)`. Its children `'0'` and
 * `'1'` are the Linear and the ReLU. `quantizeDynamic` turns it into one quantized module.
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
    const fused = this.fusedLinear();
    return fused === undefined ? super.forward(input) : forwardFloat(this, fused, input, true);
  }
  /** The Linear, unless the two run one after the other, because they have hooks or were replaced by other modules. */
  private fusedLinear(): Linear | undefined {
    const linear = this.items.get('0')!;
    const relu = this.items.get('1')!;
    const fused =
      this.length === 2 &&
      linear.forward === Linear.prototype.forward &&
      relu.forward === ReLU.prototype.forward;
    return fused ? (linear as Linear) : undefined;
  }
  /** @internal */
  override [pack](): void {
    const fused = this.fusedLinear();
    if (fused !== undefined) linearHandle(this, fused, true);
  }

  /** Call this after a direct write into a parameter's `.data`, so that the next forward packs the weights again. */
  repack(): void {
    freeHandle(this);
  }
}
