import type { AsyncOptions } from '../async-options.js';
import { describe, typeError } from '../errors.js';
import type { Tensor } from '../tensor/index.js';
import { ReLU } from './activation.js';
import { isForwardReplaced } from './hooks.js';
import { forwardFloat, forwardFloatAsync, Linear, linearHandle } from './linear.js';
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
    const linear = this.fusedLinear();
    return linear === undefined ? super.forward(input) : forwardFloat(this, linear, input, true);
  }

  /** {@link forward} while the event loop goes on: see {@link Module.forwardAsync}. */
  override async forwardAsync(input: Tensor, options?: AsyncOptions): Promise<Tensor> {
    const linear = isForwardReplaced(this) ? undefined : this.fusedLinear();
    if (linear === undefined) return await super.forwardAsync(input, options);
    return await forwardFloatAsync(this, linear, true, [input, options]);
  }

  /** The Linear, unless both must run one after the other: they have hooks, or were replaced by other modules. */
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
