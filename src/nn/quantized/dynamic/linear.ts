import { checkBoolean, checkOptions, checkSize, describe } from '../../../errors.js';
import { native, type Int8LinearHandle } from '../../../native.js';
import { float32, isTensor, Tensor } from '../../../tensor.js';
import { linearForward, type Linear as FloatLinear, type LinearOptions } from '../../linear.js';
import { Module, type ModuleMetadata } from '../../module.js';
import {
  activationMode,
  activationOptionNames,
  adoptedMode,
  checkDepths,
  checkQConfig,
  modeProblems,
  modeRepr,
  type ActivationMode,
  type QConfig,
} from './qconfig.js';
import {
  checkQuantizedState,
  qint8Weight,
  quantizeWeight,
  weightScales,
  type WeightScales,
} from './weight.js';

/** The float Linear's options, and how activations are quantized. */
export interface QuantizedLinearOptions extends LinearOptions, Partial<ActivationMode> {}

/** What is loaded: the integers live in the handle that was made of this record. */
interface Packed extends WeightScales {
  readonly bias: Tensor | null;
  readonly mode: ActivationMode;
}

const handles = new WeakMap<Packed, Int8LinearHandle>();

/**
 * `y = x W^T + b` with an INT8 weight, as `torch.ao.nn.quantized.dynamic.Linear` (fbgemm): the input is
 * quantized at each call, by default with one range over all of it, in 127 steps; the sums are exact int32;
 * `y = fma(float(sum), scale_x * scale_w, bias)`. Equal to PyTorch bit for bit.
 *
 * `activation: 'perRow'` gives each row of the input its own range: its result then has the same bits alone and
 * in any batch. `reduceRange: false` takes 255 steps. See {@link ActivationMode}.
 *
 * Shape: `(*, inFeatures)` to `(*, outFeatures)`, float32, at least 2-D.
 */
export class Linear extends Module {
  readonly bias: boolean;
  private packed: Packed;

  /** A weight of zeros; `fromFloat` or `loadStateDict` fill it. */
  constructor(
    readonly inFeatures: number,
    readonly outFeatures: number,
    options: QuantizedLinearOptions = {},
  ) {
    super();
    checkSize('in_features', inFeatures);
    checkSize('out_features', outFeatures);
    checkOptions('Linear', options, ['bias', ...activationOptionNames]);
    const { bias = true } = options;
    checkBoolean('bias', bias);
    const mode = activationMode(options);
    checkDepths([['in_features', inFeatures]], mode);
    this.bias = bias;
    const weight = qint8Weight(
      new Int8Array(outFeatures * inFeatures),
      [outFeatures, inFeatures],
      Float32Array.of(1),
      false,
    );
    const zeros = bias ? new Tensor(new Float32Array(outFeatures), [outFeatures]) : null;
    this.packed = this.pack(weight, zeros, mode);
  }

  /**
   * @throws {TypeError | RangeError} when `qconfig` is none
   * @throws {RangeError} when a weight or bias is not finite, or `inFeatures` above 131,071 (65,793 with the full
   * range)
   */
  static fromFloat(module: FloatLinear, qconfig: QConfig): Linear {
    checkQConfig('qconfig', qconfig);
    const { inFeatures, outFeatures, weight, bias } = module;
    const { activation, reduceRange } = qconfig;
    const result = new Linear(inFeatures, outFeatures, { bias: bias !== null, activation, reduceRange });
    const state: [string, Tensor][] = [['weight', quantizeWeight('weight', weight, qconfig)]];
    if (bias !== null) state.push(['bias', bias]);
    result.loadStateDict(state);
    return result;
  }

  /** What shares an activation range; `loadStateDict` takes it from the state dict's metadata. */
  get activation(): ActivationMode['activation'] {
    return this.packed.mode.activation;
  }
  /** Whether activations have 127 steps, or 255; `loadStateDict` takes it from the state dict's metadata. */
  get reduceRange(): boolean {
    return this.packed.mode.reduceRange;
  }

  /** @throws {TypeError} for another dtype @throws {RangeError} for a wrong shape, or NaN or infinity */
  override forward(input: Tensor): Tensor {
    const { inFeatures, outFeatures } = this;
    if (!isTensor(input)) throw new TypeError(`input should be a Tensor, got ${describe(input)}`);
    if (input.dtype !== float32) throw new TypeError(`expected scalar type Float but found ${input.dtype}`);
    if (input.dim() < 2) {
      throw new RangeError(
        `The dimension of input tensor should be larger than or equal to 2, got ${input.dim()}`,
      );
    }
    if (input.size(-1) !== inFeatures) {
      throw new RangeError(
        `The number of rows in the packB should be equal to K: ${input.size(-1)}, but it is ${inFeatures}`,
      );
    }
    return linearForward(handles.get(this.packed)!, input, outFeatures);
  }

  protected override reprName(): string {
    return 'DynamicQuantizedLinear';
  }
  override extraRepr(): string {
    const qscheme = this.packed.perChannel ? 'torch.per_channel_affine' : 'torch.per_tensor_affine';
    return `in_features=${this.inFeatures}, out_features=${this.outFeatures}, dtype=torch.qint8, qscheme=${qscheme}${modeRepr(this.packed.mode)}`;
  }
  protected override metadata(): ModuleMetadata {
    const { inFeatures, outFeatures, bias } = this;
    return {
      type: 'DynamicQuantizedLinear',
      inFeatures,
      outFeatures,
      bias,
      dtype: 'qint8',
      qscheme: this.packed.perChannel ? 'per_channel_affine' : 'per_tensor_affine',
      ...this.packed.mode,
    };
  }
  protected override *ownState(): IterableIterator<[string, Tensor]> {
    const { inFeatures, outFeatures, packed } = this;
    const weight = new Int8Array(outFeatures * inFeatures);
    handles.get(packed)!.unpackWeight(weight);
    yield ['weight', qint8Weight(weight, [outFeatures, inFeatures], packed.scales, packed.perChannel)];
    if (packed.bias !== null) yield ['bias', packed.bias.clone()];
  }
  protected override checkOwnState(
    state: ReadonlyMap<string, Tensor>,
    prefix: string,
    metadata?: ModuleMetadata,
  ): string[] {
    const { inFeatures, outFeatures } = this;
    const expected = [
      ['weight', 'weight', [outFeatures, inFeatures]],
      ['bias', 'bias', [outFeatures]],
    ] as const;
    const problems = expected.flatMap(([name, kind, shape]) => {
      const value = state.get(name);
      return (value && checkQuantizedState(prefix + name, value, kind, shape)) ?? [];
    });
    const depths = [['in_features', inFeatures]] as const;
    return [...problems, ...modeProblems(prefix, metadata, this.packed.mode, depths)];
  }
  protected override loadOwnState(state: ReadonlyMap<string, Tensor>, metadata?: ModuleMetadata): void {
    const current = new Map(this.ownState());
    const bias = state.get('bias')?.clone() ?? current.get('bias') ?? null;
    const weight = state.get('weight') ?? current.get('weight')!;
    this.packed = this.pack(weight, bias, adoptedMode(metadata, this.packed.mode));
  }

  private pack(weight: Tensor, bias: Tensor | null, mode: ActivationMode): Packed {
    const packed = { ...weightScales(weight.quantization!), bias, mode };
    const matrix = {
      weight: weight.data as Int8Array,
      scales: packed.scales,
      bias: bias && (bias.data as Float32Array),
    };
    const handle = new (native().Int8Linear)(
      matrix,
      this.inFeatures,
      this.outFeatures,
      mode.activation === 'perRow',
      mode.reduceRange,
      false,
    );
    handles.set(packed, handle);
    return packed;
  }
}
