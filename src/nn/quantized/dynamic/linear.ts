import { checkBoolean, checkOptions, checkSize, describe } from '../../../errors.js';
import { native, type Int8LinearHandle } from '../../../native.js';
import { float32, isTensor, Tensor } from '../../../tensor.js';
import { linearForward, type Linear as FloatLinear, type LinearOptions } from '../../linear.js';
import { Module, type ModuleMetadata } from '../../module.js';
import {
  checkDepth,
  checkQuantizedState,
  qint8Weight,
  quantizeWeight,
  weightScales,
  type QConfig,
  type WeightScales,
} from './weight.js';

/** What is loaded: the integers live in the handle that was made of this record. */
interface Packed extends WeightScales {
  readonly bias: Tensor | null;
}

const handles = new WeakMap<Packed, Int8LinearHandle>();

/**
 * `y = x W^T + b` with an INT8 weight, as `torch.ao.nn.quantized.dynamic.Linear` (fbgemm): the input is
 * quantized at each call, one range over all of it, in 127 steps; the sums are exact int32;
 * `y = fma(float(sum), scale_x * scale_w, bias)`. Equal to PyTorch bit for bit.
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
    options: LinearOptions = {},
  ) {
    super();
    checkSize('in_features', inFeatures);
    checkSize('out_features', outFeatures);
    checkOptions('Linear', options, ['bias']);
    const { bias = true } = options;
    checkBoolean('bias', bias);
    checkDepth('in_features', inFeatures);
    this.bias = bias;
    const weight = qint8Weight(
      new Int8Array(outFeatures * inFeatures),
      [outFeatures, inFeatures],
      Float32Array.of(1),
      false,
    );
    this.packed = this.pack(weight, bias ? new Tensor(new Float32Array(outFeatures), [outFeatures]) : null);
  }

  /** @throws {RangeError} when a weight or bias is not finite, or `inFeatures` above 131,071 */
  static fromFloat(module: FloatLinear, qconfig: QConfig): Linear {
    const { inFeatures, outFeatures, weight, bias } = module;
    const result = new Linear(inFeatures, outFeatures, { bias: bias !== null });
    const state: [string, Tensor][] = [['weight', quantizeWeight('weight', weight, qconfig)]];
    if (bias !== null) state.push(['bias', bias]);
    result.loadStateDict(state);
    return result;
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
    return `in_features=${this.inFeatures}, out_features=${this.outFeatures}, dtype=torch.qint8, qscheme=${qscheme}`;
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
      activation: 'perTensor',
      reduceRange: true,
    };
  }
  protected override *ownState(): IterableIterator<[string, Tensor]> {
    const { inFeatures, outFeatures, packed } = this;
    const weight = new Int8Array(outFeatures * inFeatures);
    handles.get(packed)!.unpackWeight(weight);
    yield ['weight', qint8Weight(weight, [outFeatures, inFeatures], packed.scales, packed.perChannel)];
    if (packed.bias !== null) yield ['bias', packed.bias.clone()];
  }
  protected override checkOwnState(state: ReadonlyMap<string, Tensor>, prefix: string): string[] {
    const { inFeatures, outFeatures } = this;
    const expected = [
      ['weight', 'weight', [outFeatures, inFeatures]],
      ['bias', 'bias', [outFeatures]],
    ] as const;
    return expected.flatMap(([name, kind, shape]) => {
      const value = state.get(name);
      return (value && checkQuantizedState(prefix + name, value, kind, shape)) ?? [];
    });
  }
  protected override loadOwnState(state: ReadonlyMap<string, Tensor>): void {
    const current = new Map(this.ownState());
    const bias = state.get('bias')?.clone() ?? current.get('bias') ?? null;
    this.packed = this.pack(state.get('weight') ?? current.get('weight')!, bias);
  }

  private pack(weight: Tensor, bias: Tensor | null): Packed {
    const packed = { ...weightScales(weight.quantization!), bias };
    const matrix = {
      weight: weight.data as Int8Array,
      scales: packed.scales,
      bias: bias && (bias.data as Float32Array),
    };
    const handle = new (native().Int8Linear)(matrix, this.inFeatures, this.outFeatures, false, true);
    handles.set(packed, handle);
    return packed;
  }
}
