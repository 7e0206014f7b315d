import { describe } from '../errors.js';
import { native } from '../native.js';
import { float32, isTensor, Tensor } from '../tensor.js';
import { Module } from './module.js';

/** `max(x, 0)`; a NaN stays NaN. */
export class ReLU extends Module {
  override forward(input: Tensor): Tensor {
    const { data, shape } = floatInput('ReLU', input);
    return new Tensor(
      data.map((x) => (x < 0 ? 0 : x)),
      shape,
    );
  }
}

/** `1 / (1 + exp(-x))`, within 2 ulp. */
export class Sigmoid extends Module {
  override forward(input: Tensor): Tensor {
    const { data, shape } = floatInput('Sigmoid', input);
    const out = new Float32Array(data.length);
    native().sigmoid(data, out);
    return new Tensor(out, shape);
  }
}

/** `tanh(x)`, within 2 ulp. */
export class Tanh extends Module {
  override forward(input: Tensor): Tensor {
    const { data, shape } = floatInput('Tanh', input);
    const out = new Float32Array(data.length);
    native().tanh(data, out);
    return new Tensor(out, shape);
  }
}

/** `exp(x_i) / sum_j exp(x_j)` along `dim`. */
export class Softmax extends Module {
  constructor(readonly dim: number) {
    super();
    checkDim('Softmax', dim);
  }
  override forward(input: Tensor): Tensor {
    return input.softmax(this.dim);
  }
  override extraRepr(): string {
    return `dim=${this.dim}`;
  }
}

/** `x_i - log(sum_j exp(x_j))` along `dim`. */
export class LogSoftmax extends Module {
  constructor(readonly dim: number) {
    super();
    checkDim('LogSoftmax', dim);
  }
  override forward(input: Tensor): Tensor {
    return input.logSoftmax(this.dim);
  }
  override extraRepr(): string {
    return `dim=${this.dim}`;
  }
}

/** Its input. */
export class Identity extends Module {
  override forward(input: Tensor): Tensor {
    return input;
  }
}

function checkDim(where: string, dim: unknown): void {
  if (!Number.isInteger(dim)) throw new TypeError(`${where}: dim should be an integer, got ${describe(dim)}`);
}

function floatInput(where: string, input: Tensor): { data: Float32Array; shape: readonly number[] } {
  if (!isTensor(input) || input.dtype !== float32) {
    throw new TypeError(
      `${where}: input should be a float32 Tensor, got ${isTensor(input) ? input.dtype : describe(input)}`,
    );
  }
  return { data: input.checked('input') as Float32Array, shape: input.shape };
}
