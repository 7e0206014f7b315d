import { float16, Tensor } from '../../../tensor/index.js';
import type { LayerParameter } from '../../layer-parameters.js';
import { isOnMeta } from '../../meta.js';
import { Module, parameterData, type ModuleMetadata } from '../../module.js';
import {
  adoptedMode,
  dynamicMode,
  modeRepr,
  type ActivationMode,
  type DynamicMode,
  type DynamicOptions,
  type QConfig,
} from '../qconfig.js';
import {
  checkQuantizedState,
  depthProblems,
  emptyState,
  qint8Weight,
  quantizeWeight,
  weightScales,
  type WeightScales,
} from './weight.js';

/** A matrix as the native handles take it. */
export interface QuantizedMatrix {
  weight: Int8Array | Uint16Array;
  /** Of int8 weights. */
  scales: Float32Array | null;
  bias: Float32Array | null;
}

/** What is loaded: the weights live in the handle that was made of this record. */
interface Packed {
  readonly mode: DynamicMode;
  /** Of each matrix; null for float16. */
  readonly scales: readonly (WeightScales | null)[];
  /** Of each matrix; null without. */
  readonly biases: readonly (Tensor | null)[];
}

const handles = new WeakMap<Packed, object>();

/**
 * What dynamically quantized modules share: weights that live packed in a native handle, their state dict, and
 * the activation mode. A subclass sets its sizes, then calls `initialise`. Not public.
 */
export abstract class DynamicModule<Handle extends object> extends Module {
  private packed!: Packed;

  /** The parameters by the float module's names, in its order. */
  protected abstract parameterList(): readonly LayerParameter[];
  protected abstract newHandle(mode: DynamicMode, matrices: readonly QuantizedMatrix[]): Handle;
  protected abstract unpackWeight(handle: Handle, matrix: number, out: Int8Array | Uint16Array): void;

  /** Weights of zeros, which are packed when they are used: most modules are filled at once. */
  protected initialise(options: DynamicOptions): void {
    const mode = dynamicMode(options);
    const [problem] = depthProblems(this.parameterList(), mode);
    if (problem !== undefined) throw new RangeError(problem);
    this.packed = this.split(emptyState(this.parameterList(), mode), mode).packed;
  }

  /** Takes a float module's parameters, by the names they have here. */
  protected quantize(state: ReadonlyMap<string, Tensor>, qconfig: QConfig): this {
    this.loadStateDict(
      this.parameterList().map(({ name, kind, shape }) => {
        const value = state.get(name)!; // unless the property was replaced
        parameterData(name, value, shape);
        return [name, kind === 'weight' ? quantizeWeight(name, value, qconfig) : value] as const;
      }),
    );
    return this;
  }

  /** The weights' type. */
  get dtype(): DynamicMode['dtype'] {
    return this.packed.mode.dtype;
  }
  /** What shares an activation range (of INT8 layers); `loadStateDict` takes it from the state dict's metadata. */
  get activation(): ActivationMode['activation'] | undefined {
    return this.packed.mode.activation;
  }
  /** Whether activations have 127 steps, or 255; `loadStateDict` takes it from the state dict's metadata. */
  get reduceRange(): boolean | undefined {
    return this.packed.mode.reduceRange;
  }

  protected handle(): Handle {
    const { packed } = this;
    let handle = handles.get(packed) as Handle | undefined;
    if (handle === undefined) {
      const { matrices } = this.split(emptyState(this.parameterList(), packed.mode), packed.mode);
      handles.set(packed, (handle = this.newHandle(packed.mode, matrices)));
    }
    return handle;
  }
  /** How the (first) weight is quantized. */
  protected get qscheme(): 'per_tensor_affine' | 'per_channel_affine' | undefined {
    const scales = this.packed.scales[0]!;
    return scales === null ? undefined : scales.perChannel ? 'per_channel_affine' : 'per_tensor_affine';
  }
  /** What `extraRepr` adds to PyTorch's text. */
  protected modeRepr(): string {
    return modeRepr(this.packed.mode);
  }
  /** The float module's metadata as the quantized one's. */
  protected quantizedMetadata({ type, ...sizes }: ModuleMetadata): ModuleMetadata {
    const { qscheme } = this;
    return {
      type: `DynamicQuantized${type}`,
      ...sizes,
      ...(qscheme !== undefined && { qscheme }),
      ...this.packed.mode,
    };
  }

  protected override *ownState(): IterableIterator<[string, Tensor]> {
    const { mode, scales, biases } = this.packed;
    for (const { name, kind, shape, matrix } of this.parameterList()) {
      if (kind === 'bias') {
        yield [name, biases[matrix]!.clone()];
        continue;
      }
      const of = scales[matrix]!;
      const data = new (mode.dtype === float16 ? Uint16Array : Int8Array)(shape[0]! * shape[1]!);
      this.unpackWeight(this.handle(), matrix, data);
      yield [
        name,
        of === null
          ? new Tensor(data, shape, { dtype: float16 })
          : qint8Weight(data as Int8Array, shape, of.scales, of.perChannel),
      ];
    }
  }
  protected override checkOwnState(
    state: ReadonlyMap<string, Tensor>,
    prefix: string,
    metadata?: ModuleMetadata,
  ): string[] {
    const { mode } = this.packed;
    const parameters = this.parameterList();
    const problems = parameters.flatMap((parameter) => {
      const value = state.get(parameter.name);
      return (value && checkQuantizedState(prefix + parameter.name, value, parameter, mode.dtype)) ?? [];
    });
    const next = adoptedMode(metadata, mode);
    try {
      dynamicMode(next, `the metadata's ${prefix}`);
    } catch (error) {
      return [...problems, `${(error as Error).message}.`];
    }
    return [...problems, ...depthProblems(parameters, next, prefix).map((problem) => `${problem}.`)];
  }
  protected override loadOwnState(state: ReadonlyMap<string, Tensor>, metadata?: ModuleMetadata): void {
    // Unpacking costs another copy of the weights.
    const complete = this.parameterList().every(({ name }) => state.has(name));
    const mode = adoptedMode(metadata, this.packed.mode);
    const { packed, matrices } = this.split(complete ? state : new Map([...this.ownState(), ...state]), mode);
    // On meta this is a trial: all is checked by now.
    if (!isOnMeta()) handles.set(packed, this.newHandle(mode, matrices));
    this.packed = packed;
  }
  protected override *ownNames(): IterableIterator<string> {
    for (const { name } of this.parameterList()) yield name;
  }

  /** What is kept of a state, and the matrices for its handle. */
  private split(
    state: ReadonlyMap<string, Tensor>,
    mode: DynamicMode,
  ): { packed: Packed; matrices: QuantizedMatrix[] } {
    const scales: (WeightScales | null)[] = [];
    const biases: (Tensor | null)[] = [];
    const matrices: QuantizedMatrix[] = [];
    for (const { name, kind, matrix } of this.parameterList()) {
      const value = state.get(name)!;
      if (kind === 'bias') {
        const bias = value.clone();
        biases[matrix] = bias;
        matrices[matrix]!.bias = bias.data as Float32Array;
      } else {
        const of = value.quantization === undefined ? null : weightScales(value.quantization);
        scales[matrix] = of;
        biases[matrix] = null;
        matrices[matrix] = {
          weight: value.data as Int8Array | Uint16Array,
          scales: of && of.scales,
          bias: null,
        };
      }
    }
    return { packed: { mode, scales, biases }, matrices };
  }
}
