import { checkNumber, rangeError } from '../errors.js';
import { formatShape, integersOf } from '../tensor/shape.js';
import type { Tensor } from '../tensor/tensor.js';
import { closed, fixed, record } from './closed.js';
import { pad, type PadMode } from './functional/padding.js';
import { Module, pythonFloat } from './module.js';

/** Elements before and behind a dimension, for the last one first: one number for all, or `[left, right, top, bottom]`. */
export type Padding = number | readonly number[];

/** Pads the last one or two dimensions. */
abstract class PadModule extends Module {
  /** @internal */
  declare readonly [fixed]: { padding: readonly number[]; mode: PadMode; value?: number };
  /** Elements before and behind the last dimension, then those of the dimension before it. */
  declare readonly padding: readonly number[];

  protected constructor(dims: 1 | 2, padding: Padding, mode: PadMode) {
    super();
    const list = Array.isArray(padding) ? (padding as unknown[]) : new Array(2 * dims).fill(padding);
    const given = integersOf('padding', list, 2 * dims);
    if (given.length !== 2 * dims) {
      const sentence = `padding should be one integer or ${2 * dims}, got ${formatShape(given)}`;
      throw rangeError('ERR_SHAPE', sentence);
    }
    closed(this, { padding: Object.freeze(given) });
    record(this, { mode });
  }
  /** A larger tensor, or a smaller one where the padding is negative. @throws what {@link functional.pad} throws */
  override forward(input: Tensor): Tensor {
    const { padding, ...options } = this[fixed];
    return pad(input, padding, options);
  }
  override extraRepr(): string {
    return `(${this.padding.join(', ')})`;
  }
}

abstract class ConstantPad extends PadModule {
  /** What the padding holds. */
  declare readonly value: number;
  protected constructor(dims: 1 | 2, padding: Padding, value: number) {
    checkNumber('value', value);
    super(dims, padding, 'constant');
    closed(this, { value });
  }
  /** The padding and the value. */
  override extraRepr(): string {
    const { value } = this;
    return `padding=(${this.padding.join(', ')}), value=${Number.isInteger(value) ? value : pythonFloat(value)}`;
  }
}

/** `value` before and behind the last dimension. Shape: `(*, L)` of any dtype to `(*, left + L + right)`. */
export class ConstantPad1d extends ConstantPad {
  /** @throws {TypeError | RangeError} when `padding` is not one integer or two, or `value` no number */
  constructor(padding: Padding, value: number) {
    super(1, padding, value);
  }
}

/** `value` around the last two dimensions. Shape: `(*, H, W)` of any dtype. */
export class ConstantPad2d extends ConstantPad {
  /** @throws {TypeError | RangeError} when `padding` is not one integer or four, or `value` no number */
  constructor(padding: Padding, value: number) {
    super(2, padding, value);
  }
}

/** 0 before and behind the last dimension. Shape: `(*, L)` of any dtype to `(*, left + L + right)`. */
export class ZeroPad1d extends PadModule {
  /** @throws {TypeError | RangeError} when `padding` is not one integer or two */
  constructor(padding: Padding) {
    super(1, padding, 'constant');
  }
}

/** 0 around the last two dimensions. Shape: `(*, H, W)` of any dtype. */
export class ZeroPad2d extends PadModule {
  /** @throws {TypeError | RangeError} when `padding` is not one integer or four */
  constructor(padding: Padding) {
    super(2, padding, 'constant');
  }
}

/** The last dimension mirrored at its edge elements. Shape: `(C, L)` or `(N, C, L)`; the padding is less than L. */
export class ReflectionPad1d extends PadModule {
  /** @throws {TypeError | RangeError} when `padding` is not one integer or two */
  constructor(padding: Padding) {
    super(1, padding, 'reflect');
  }
}

/** The last two dimensions mirrored at their edge elements. Shape: `(C, H, W)` or `(N, C, H, W)`. */
export class ReflectionPad2d extends PadModule {
  /** @throws {TypeError | RangeError} when `padding` is not one integer or four */
  constructor(padding: Padding) {
    super(2, padding, 'reflect');
  }
}

/** The edge elements of the last dimension repeated. Shape: `(C, L)` or `(N, C, L)`. */
export class ReplicationPad1d extends PadModule {
  /** @throws {TypeError | RangeError} when `padding` is not one integer or two */
  constructor(padding: Padding) {
    super(1, padding, 'replicate');
  }
}

/** The edge elements of the last two dimensions repeated. Shape: `(C, H, W)` or `(N, C, H, W)`. */
export class ReplicationPad2d extends PadModule {
  /** @throws {TypeError | RangeError} when `padding` is not one integer or four */
  constructor(padding: Padding) {
    super(2, padding, 'replicate');
  }
}

/** The last dimension continued from its other end. Shape: `(C, L)` or `(N, C, L)`; the padding is at most L. */
export class CircularPad1d extends PadModule {
  /** @throws {TypeError | RangeError} when `padding` is not one integer or two */
  constructor(padding: Padding) {
    super(1, padding, 'circular');
  }
}

/** The last two dimensions continued from their other ends. Shape: `(C, H, W)` or `(N, C, H, W)`. */
export class CircularPad2d extends PadModule {
  /** @throws {TypeError | RangeError} when `padding` is not one integer or four */
  constructor(padding: Padding) {
    super(2, padding, 'circular');
  }
}
