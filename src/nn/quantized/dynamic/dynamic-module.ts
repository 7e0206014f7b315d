import { rangeError } from '../../../errors.js';
import { float16, notLoaded, numelOf, Tensor } from '../../../tensor/index.js';
import type { LayerParameter } from '../../layer-parameters.js';
import type { NativeHandle } from '../../../native/handles.js';
import { isOnTrial } from '../../meta.js';
import { closedGetters } from '../../closed.js';
import { checkAlive } from '../../dispose.js';
import { copied, Module, pack, type ModuleMetadata } from '../../module.js';
import { freeHandle, handleOf, setHandle, shareHandle, takeHandle } from '../../native-weights.js';
import { parameterData } from '../../parameter.js';
import {
  adoptedQuantization,
  dynamicQuantization,
  quantizationRepr,
  type ActivationMode,
  type DynamicQuantization,
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

/** A matrix as native handles take them. */
export interface QuantizedMatrix {
  weight: Int8Array | Uint16Array;
  /** Null for float16 weights. */
  scales: Float32Array | null;
  bias: Float32Array | null;
}

/**
 * What a module has loaded. It is replaced, never changed. It owns the handle, where the weights live; the module does
 * not, so that whoever copies a module's properties by himself gets its weights with them.
 */
interface Loaded {
  readonly quantization: DynamicQuantization;
  /** One entry for each matrix: its scales, or null for float16. */
  readonly scales: readonly (WeightScales | null)[];
  /** One entry for each matrix: its bias, or null if it has none. */
  readonly biases: readonly (Tensor | null)[];
  /** Whether there are no weights yet, because the float module had none. */
  readonly isMeta?: boolean;
}

/**
 * What dynamically quantized modules share: weights that live packed in a native handle, their state dict, and
 * how activations are quantized. A subclass closes its sizes, then calls `initialise`. Not public.
 */
export abstract class DynamicModule<Handle extends NativeHandle> extends Module {
  private loaded!: Loaded;

  /** The parameters by the float module's names, in its order. */
  protected abstract parameterList(): readonly LayerParameter[];
  protected abstract newHandle(
    quantization: DynamicQuantization,
    matrices: readonly QuantizedMatrix[],
  ): Handle;
  protected abstract unpackWeight(handle: Handle, matrix: number, out: Int8Array | Uint16Array): void;

  /** Makes weights of zeros. They are packed at the first use only, because most modules are loaded before it. */
  protected initialise(options: DynamicOptions): void {
    const quantization = dynamicQuantization(options);
    const [problem] = depthProblems(this.parameterList(), quantization);
    if (problem !== undefined) throw rangeError('ERR_INVALID_ARG_VALUE', problem);
    this.loaded = this.split(emptyState(this.parameterList(), quantization), quantization).loaded;
  }

  /**
   * Takes a float module's parameters, which have the same names here. Where a weight has one scale, each of `parts`
   * equal blocks of its rows has one.
   */
  protected quantize(state: ReadonlyMap<string, Tensor>, qconfig: QConfig, parts = 1): this {
    const parameters = this.parameterList();
    if (parameters.every(({ name }) => state.get(name)?.isMeta)) {
      const perChannel = qconfig.weight.qscheme === 'per_channel_symmetric' || parts > 1;
      const scales = this.loaded.scales.map((each) => each && { ...each, perChannel });
      this.loaded = { ...this.loaded, scales, isMeta: true };
      return this;
    }
    this.loadStateDict(
      parameters.map(({ name, kind, shape }) => {
        const value = state.get(name)!; // absent if the property was replaced, which parameterData refuses
        parameterData(name, value, shape);
        return [name, kind === 'weight' ? quantizeWeight(name, value, qconfig, parts) : value] as const;
      }),
    );
    return this;
  }

  /** The weights' type. */
  get dtype(): DynamicQuantization['dtype'] {
    return this.loaded.quantization.dtype;
  }
  /** Which activations share a range, in INT8 layers. `loadStateDict` takes it from the state dict's metadata. */
  get activation(): ActivationMode['activation'] | undefined {
    return this.loaded.quantization.activation;
  }
  /** Whether activations have 127 levels, not 255. `loadStateDict` takes it from the state dict's metadata. */
  get reduceRange(): boolean | undefined {
    return this.loaded.quantization.reduceRange;
  }
  static {
    closedGetters(this.prototype, 'dtype', 'activation', 'reduceRange');
  }

  protected handle(): Handle {
    const { loaded } = this;
    return (handleOf(loaded) as Handle | undefined) ?? this.handleOfZeros();
  }
  private handleOfZeros(): Handle {
    checkAlive(this);
    const { quantization, isMeta } = this.loaded;
    if (isMeta === true) throw notLoaded(this.parameterList()[0]!.name);
    const { matrices } = this.split(emptyState(this.parameterList(), quantization), quantization);
    const handle = this.newHandle(quantization, matrices);
    setHandle(this.loaded, handle);
    return handle;
  }
  /** @internal */
  override [pack](): void {
    this.handle();
  }
  protected override releaseWeights(): void {
    freeHandle(this.loaded);
  }
  /** A copy of a module holds the same weights, until one of both loads others or is disposed. */
  override [copied](): void {
    const { loaded } = this;
    this.loaded = { ...loaded };
    const shared = shareHandle(loaded);
    if (shared !== undefined) takeHandle(this.loaded, shared);
  }

  /** How the first weight is quantized. */
  protected get qscheme(): 'per_tensor_affine' | 'per_channel_affine' | undefined {
    const scales = this.loaded.scales[0]!;
    return scales === null ? undefined : scales.perChannel ? 'per_channel_affine' : 'per_tensor_affine';
  }
  /** What `extraRepr` adds to PyTorch's text. */
  protected quantizationRepr(): string {
    return quantizationRepr(this.loaded.quantization);
  }
  /** The quantized module's metadata, made from the float module's. */
  protected quantizedMetadata({ type, ...sizes }: ModuleMetadata): ModuleMetadata {
    const { qscheme } = this;
    return {
      type: `DynamicQuantized${type}`,
      ...sizes,
      ...(qscheme !== undefined && { qscheme }),
      ...this.loaded.quantization,
    };
  }

  protected override *ownState(): IterableIterator<[string, Tensor]> {
    const { quantization, scales, biases } = this.loaded;
    for (const { name, kind, shape, matrix } of this.parameterList()) {
      if (kind === 'bias') {
        yield [name, biases[matrix]!.clone()];
        continue;
      }
      const own = scales[matrix]!;
      const data = new (quantization.dtype === float16 ? Uint16Array : Int8Array)(numelOf(shape));
      this.unpackWeight(this.handle(), matrix, data);
      yield [
        name,
        own === null
          ? new Tensor(data, shape, { dtype: float16 })
          : qint8Weight(data as Int8Array, shape, own.scales, own.perChannel),
      ];
    }
  }
  protected override checkOwnState(
    state: ReadonlyMap<string, Tensor>,
    prefix: string,
    metadata?: ModuleMetadata,
  ): string[] {
    const { quantization } = this.loaded;
    const parameters = this.parameterList();
    const problems = parameters.flatMap((parameter) => {
      const value = state.get(parameter.name);
      return (
        (value && checkQuantizedState(prefix + parameter.name, value, parameter, quantization.dtype)) ?? []
      );
    });
    const next = adoptedQuantization(metadata, quantization);
    try {
      dynamicQuantization(next, `the metadata's ${prefix}`);
    } catch (error) {
      return [...problems, `${(error as Error).message}.`];
    }
    return [...problems, ...depthProblems(parameters, next, prefix).map((problem) => `${problem}.`)];
  }
  protected override loadOwnState(state: ReadonlyMap<string, Tensor>, metadata?: ModuleMetadata): void {
    if (state.size === 0) return;
    // A complete state replaces all weights, so the present ones need not be unpacked, which would copy them.
    const complete = this.parameterList().every(({ name }) => state.has(name));
    const quantization = adoptedQuantization(metadata, this.loaded.quantization);
    const { loaded, matrices } = this.split(
      complete ? state : new Map([...this.ownState(), ...state]),
      quantization,
    );
    if (!isOnTrial()) setHandle(loaded, this.newHandle(quantization, matrices));
    const before = this.loaded;
    this.loaded = loaded;
    freeHandle(before);
  }
  protected override *ownNames(): IterableIterator<string> {
    for (const { name } of this.parameterList()) yield name;
  }

  /** Splits a state into the record to keep and the matrices for its handle. */
  private split(
    state: ReadonlyMap<string, Tensor>,
    quantization: DynamicQuantization,
  ): { loaded: Loaded; matrices: QuantizedMatrix[] } {
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
        const own = value.quantization === undefined ? null : weightScales(value.quantization);
        scales[matrix] = own;
        biases[matrix] = null;
        matrices[matrix] = {
          weight: value.data as Int8Array | Uint16Array,
          scales: own && own.scales,
          bias: null,
        };
      }
    }
    return { loaded: { quantization, scales, biases }, matrices };
  }
}
