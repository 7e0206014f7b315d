import { checkOptions } from '../errors.js';
import type { Tensor } from '../tensor/tensor.js';
import { closed, fixed } from './closed.js';
import {
  checkedOptions,
  interpolate,
  interpolateOptionNames,
  type InterpolateMode,
  type InterpolateOptions,
} from './functional/upsampling.js';
import { Module, pythonFloat } from './module.js';

/** Options of Upsample. */
export type UpsampleOptions = InterpolateOptions;

/** Another number of elements in the dimensions behind the channels: `functional.interpolate` with these options. */
export class Upsample extends Module {
  /** @internal */
  declare readonly [fixed]: Required<InterpolateOptions>;
  /** The sizes behind the channels, or null. */
  declare readonly size: number | readonly number[] | null;
  /** How many times as large they become, or null. */
  declare readonly scaleFactor: number | readonly number[] | null;
  /** How an element is found between others. */
  declare readonly mode: InterpolateMode;
  /** Whether the first and last elements stay where they are; null: not said. */
  declare readonly alignCorners: boolean | null;
  /** Whether distances follow from the sizes rather than from `scaleFactor`. */
  declare readonly recomputeScaleFactor: boolean | null;
  /** @throws {TypeError | RangeError} when the options do not fit together */
  constructor(options: UpsampleOptions) {
    super();
    checkOptions('Upsample', options, interpolateOptionNames);
    checkedOptions(options);
    const { size = null, scaleFactor = null, mode = 'nearest' } = options;
    const { alignCorners = null, recomputeScaleFactor = null } = options;
    closed(this, {
      size: Array.isArray(size) ? Object.freeze([...(size as number[])]) : size,
      scaleFactor: Array.isArray(scaleFactor) ? Object.freeze([...(scaleFactor as number[])]) : scaleFactor,
      mode,
      alignCorners,
      recomputeScaleFactor,
    });
  }
  /** @throws what `functional.interpolate` throws */
  override forward(input: Tensor): Tensor {
    const { size, scaleFactor, mode, alignCorners, recomputeScaleFactor } = this[fixed];
    return interpolate(input, { size, scaleFactor, mode, alignCorners, recomputeScaleFactor });
  }
  override extraRepr(): string {
    const { size, scaleFactor, mode } = this;
    const show = (value: number | readonly number[], text: (x: number) => string): string =>
      typeof value === 'number' ? text(value) : `(${value.map(text).join(', ')})`;
    const what =
      scaleFactor === null ? `size=${show(size!, String)}` : `scale_factor=${show(scaleFactor, pythonFloat)}`;
    return `${what}, mode='${mode}'`;
  }
}
