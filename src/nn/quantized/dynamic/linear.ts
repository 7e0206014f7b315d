import { takeSignal, type AsyncOptions } from '../../../async-options.js';
import { checkBoolean, checkOptions, checkSize, rangeError, typeError } from '../../../errors.js';
import { native } from '../../../native/addon.js';
import type {
  HalfLinearHandle,
  HalfMatrix,
  Int8LinearHandle,
  Int8Matrix,
  LinearHandle,
} from '../../../native/handles.js';
import { float16, float32 } from '../../../tensor/dtype.js';
import { checkTensor, type Tensor } from '../../../tensor/tensor.js';
import { LinearReLU as FloatLinearReLU } from '../../intrinsic.js';
import type { LayerParameter } from '../../layer-parameters.js';
import {
  Linear as FloatLinear,
  linearForward,
  linearForwardAsync,
  linearParameters,
  type LinearOptions,
} from '../../linear.js';
import { closed, fixed } from '../../closed.js';
import { fusable, products } from '../../fusable.js';
import { isForwardReplaced } from '../../hooks.js';
import type { ModuleMetadata } from '../../module.js';
import { DynamicModule, type QuantizedMatrix } from './dynamic-module.js';
import {
  checkFloat,
  dynamicOptionNames,
  type DynamicQuantization,
  type DynamicOptions,
  type QConfig,
} from '../qconfig.js';

/** The float Linear's options, and how weights and activations are quantized. */
export interface QuantizedLinearOptions extends LinearOptions, DynamicOptions {}

/** What Linear and LinearReLU share. Their sizes and options are fixed at construction. Not public. */
abstract class QuantizedLinearBase extends DynamicModule<Int8LinearHandle | HalfLinearHandle> {
  /** @internal */
  declare readonly [fixed]: Pick<QuantizedLinearBase, 'inFeatures' | 'outFeatures'>;
  declare private readonly kind: 'Linear' | 'LinearReLU';
  /** The number of features of a row of the input. */
  declare readonly inFeatures: number;
  /** The number of features of a row of the output. */
  declare readonly outFeatures: number;
  /** Whether there is a bias, which stays float. */
  declare readonly bias: boolean;

  constructor(
    kind: 'Linear' | 'LinearReLU',
    inFeatures: number,
    outFeatures: number,
    options: QuantizedLinearOptions,
  ) {
    super();
    checkSize('in_features', inFeatures);
    checkSize('out_features', outFeatures);
    checkOptions(kind, options, ['bias', ...dynamicOptionNames]);
    const { bias = true } = options;
    checkBoolean('bias', bias);
    closed(this, { kind, inFeatures, outFeatures, bias });
    this.initialise(options);
  }

  /** @internal */
  static convert<Q extends QuantizedLinearBase>(
    Quantized: new (inFeatures: number, outFeatures: number, options: QuantizedLinearOptions) => Q,
    linear: FloatLinear,
    qconfig: QConfig,
    parts = 1,
  ): Q {
    const { weight, activation, reduceRange } = qconfig;
    const { dtype = 'qint8' } = weight;
    if (dtype !== 'qint8' && dtype !== float16) {
      throw rangeError(
        'ERR_INVALID_ARG_VALUE',
        `The only supported dtypes for dynamic quantized linear are qint8 and float16, got: ${dtype}`,
      );
    }
    const { inFeatures, outFeatures } = linear;
    const options = { bias: linear.bias !== null, dtype, activation, reduceRange };
    return new Quantized(inFeatures, outFeatures, options).quantize(linear.stateDict(), qconfig, parts);
  }

  /**
   * @throws {TypeError} for another dtype (`ERR_DTYPE`)
   * @throws {RangeError} for a wrong shape (`ERR_SHAPE`), in INT8 also for NaN or infinity (`ERR_NOT_FINITE`) and for
   * an output beyond float32 (`ERR_OVERFLOW`)
   */
  override forward(input: Tensor): Tensor {
    this.checkInput(input);
    return linearForward(this.handle(), input, this[fixed].outFeatures);
  }

  /** {@link forward} while the event loop goes on: see {@link Module.forwardAsync}. */
  override async forwardAsync(input: Tensor, options?: AsyncOptions): Promise<Tensor> {
    if (isForwardReplaced(this)) return (await super.forwardAsync(input, options)) as Tensor;
    const signal = takeSignal([input, options], 1);
    this.checkInput(input);
    return await linearForwardAsync(this.handle(), input, this[fixed].outFeatures, signal);
  }

  private checkInput(input: Tensor): void {
    const { inFeatures } = this[fixed];
    checkTensor('input', input);
    if (input.dtype !== float32)
      throw typeError('ERR_DTYPE', `expected scalar type Float but found ${input.dtype}`);
    if (input.dim() < 2) {
      throw rangeError(
        'ERR_SHAPE',
        `The dimension of input tensor should be larger than or equal to 2, got ${input.dim()}`,
      );
    }
    if (input.size(-1) !== inFeatures) {
      throw rangeError(
        'ERR_SHAPE',
        `The number of rows in the packB should be equal to K: ${input.size(-1)}, but it is ${inFeatures}`,
      );
    }
  }

  protected override parameterList(): LayerParameter[] {
    return linearParameters(this);
  }
  protected override newHandle(
    quantization: DynamicQuantization,
    [matrix]: readonly QuantizedMatrix[],
  ): Int8LinearHandle | HalfLinearHandle {
    const { inFeatures, outFeatures } = this;
    const relu = this.kind === 'LinearReLU';
    const { HalfLinear, Int8Linear } = native();
    if (quantization.dtype === float16)
      return new HalfLinear(matrix as HalfMatrix, inFeatures, outFeatures, relu);
    const { activation, reduceRange } = quantization;
    const perRow = activation === 'perRow';
    return new Int8Linear(matrix as Int8Matrix, inFeatures, outFeatures, perRow, reduceRange, relu);
  }
  protected override unpackWeight(
    handle: Int8LinearHandle | HalfLinearHandle,
    _matrix: number,
    out: Int8Array | Uint16Array,
  ): void {
    handle.unpackWeight(out as never);
  }
  protected override reprName(): string {
    return `DynamicQuantized${this.kind}`;
  }
  override extraRepr(): string {
    const { inFeatures, outFeatures, dtype, qscheme } = this;
    const scheme = qscheme === undefined ? '' : `, qscheme=torch.${qscheme}`;
    return `in_features=${inFeatures}, out_features=${outFeatures}, dtype=torch.${dtype}${scheme}${this.quantizationRepr()}`;
  }
  protected override metadata(): ModuleMetadata {
    const { kind, inFeatures, outFeatures, bias } = this;
    return this.quantizedMetadata({ type: kind, inFeatures, outFeatures, bias });
  }
}

/**
 * `y = x W^T + b` with an INT8 weight, as `torch.ao.nn.quantized.dynamic.Linear` (fbgemm). The input is
 * quantized at each call, by default with one range over all of it, in 127 levels. The sums are exact int32, and
 * `y = fma(float(sum), scale_x * scale_w, bias)`. Equal to PyTorch bit for bit.
 *
 * `activation: 'perRow'` gives each row of the input its own range. A row's result then has the same bits alone and
 * in any batch. `reduceRange: false` takes 255 levels. See `quantization.ActivationMode`.
 *
 * `dtype: 'float16'` rounds the weight to float16 and computes in float32.
 *
 * Shape: `(*, inFeatures)` to `(*, outFeatures)`, float32, at least 2-D. Sizes and options are fixed at construction.
 */
export class Linear extends QuantizedLinearBase {
  /** A weight of zeros; `fromFloat` or `loadStateDict` fill it. */
  constructor(inFeatures: number, outFeatures: number, options: QuantizedLinearOptions = {}) {
    super('Linear', inFeatures, outFeatures, options);
  }

  /**
   * @throws {TypeError | RangeError} when `module` is not a Linear, or `qconfig` is not for a Linear
   * @throws {RangeError} when a weight or bias is not finite, or for INT8 `inFeatures` above 131,071 (65,793 with
   * the full range)
   */
  static fromFloat(module: FloatLinear, qconfig: QConfig): Linear {
    checkFloat(module, FloatLinear, qconfig);
    return this.convert(Linear, module, qconfig);
  }

  /** @internal */
  [products](): LinearHandle[] {
    return [this.handle()];
  }
}
fusable(Linear);

/** Several Linears of one size beside each other as one. Each keeps the integers that it would have alone. */
export function quantizedParts(linear: FloatLinear, qconfig: QConfig, parts: number): Linear {
  checkFloat(linear, FloatLinear, qconfig);
  return QuantizedLinearBase.convert(Linear, linear, qconfig, parts);
}

/**
 * `y = relu(x W^T + b)`, as `torch.ao.nn.intrinsic.quantized.dynamic.LinearReLU`. All else is as in {@link Linear},
 * the keys of its state dict too.
 */
export class LinearReLU extends QuantizedLinearBase {
  /** A weight of zeros; `fromFloat` or `loadStateDict` fill it. */
  constructor(inFeatures: number, outFeatures: number, options: QuantizedLinearOptions = {}) {
    super('LinearReLU', inFeatures, outFeatures, options);
  }

  /** Throws what {@link Linear.fromFloat} does. */
  static fromFloat(module: FloatLinearReLU, qconfig: QConfig): LinearReLU {
    checkFloat(module, FloatLinearReLU, qconfig);
    const linear = module.get(0);
    checkFloat(linear, FloatLinear, qconfig);
    return this.convert(LinearReLU, linear as FloatLinear, qconfig);
  }
}
