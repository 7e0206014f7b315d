import { native, type Int8RNNHandle } from '../../../native.js';
import { Tensor } from '../../../tensor.js';
import {
  LSTMBase,
  lstmCellNames,
  lstmOptionNames,
  type LSTM as FloatLSTM,
  type LSTMOptions,
} from '../../lstm.js';
import type { ModuleMetadata } from '../../module.js';
import {
  activationMode,
  activationOptionNames,
  adoptedMode,
  checkDepths,
  checkQConfig,
  modeProblems,
  modeRepr,
  type ActivationMode,
  type Depths,
  type QConfig,
} from './qconfig.js';
import {
  checkQuantizedState,
  qint8Weight,
  quantizeWeight,
  weightScales,
  type WeightScales,
} from './weight.js';

/** The float LSTM's options, and how activations are quantized. */
export interface QuantizedLSTMOptions extends LSTMOptions, Partial<ActivationMode> {}

/** What is loaded: the integers live in the handle that was made of this record. */
interface Packed {
  /** W_ih and W_hh of each cell. */
  readonly weights: readonly WeightScales[];
  /** The biases, in the weights' order; null without. */
  readonly biases: readonly (Tensor | null)[];
  readonly mode: ActivationMode;
}

const handles = new WeakMap<Packed, Int8RNNHandle>();

/** A parameter of the float module: what it is called, and what it is here. */
interface Entry {
  readonly name: string;
  readonly kind: 'weight' | 'bias';
  readonly shape: readonly number[];
  /** Index of the matrix in the handle. */
  readonly matrix: number;
}

/**
 * An LSTM with INT8 weights, as `torch.ao.nn.quantized.dynamic.LSTM` (fbgemm). The input of a layer is
 * quantized once for the whole sequence, the hidden state once a step, by default each with one range over
 * the batch and 127 steps; the sums are exact int32; gates, biases and states stay float32. Results therefore
 * depend, as PyTorch's do, on who shares the batch and how a sequence is cut.
 *
 * `activation: 'perRow'` gives each vector its own range: x_t of each sequence, h_{t-1} of each sequence, and
 * between layers the vector of both directions. The results of a sequence then have the same bits alone and in
 * any batch and, in one direction, however it is cut into chunks that pass `[hn, cn]` on.
 * `reduceRange: false` takes 255 steps. See {@link ActivationMode}.
 *
 * Equations and shapes: the float LSTM's. What PyTorch's quantized LSTM refuses is allowed: `bias: false`
 * and unbatched input. NaN or infinity in input or state is a `RangeError`.
 */
export class LSTM extends LSTMBase {
  private packed: Packed;

  /** Weights of zeros; `fromFloat` or `loadStateDict` fill them. */
  constructor(inputSize: number, hiddenSize: number, options: QuantizedLSTMOptions = {}) {
    super(inputSize, hiddenSize, options, [...lstmOptionNames, ...activationOptionNames]);
    const mode = activationMode(options);
    checkDepths(this.depths(), mode);
    this.training = false;
    const state = new Map<string, Tensor>();
    for (const { name, kind, shape } of this.entries()) {
      const count = shape.reduce((product, n) => product * n, 1);
      state.set(
        name,
        kind === 'weight'
          ? qint8Weight(new Int8Array(count), shape, Float32Array.of(1), false)
          : new Tensor(new Float32Array(count), shape),
      );
    }
    this.packed = this.pack(state, mode);
  }

  /**
   * @throws {TypeError | RangeError} when `qconfig` is none
   * @throws {RangeError} when a weight or bias is not finite, or a product is deeper than 131,071 (65,793 with
   * the full range)
   */
  static fromFloat(module: FloatLSTM, qconfig: QConfig): LSTM {
    checkQConfig('qconfig', qconfig);
    const { inputSize, hiddenSize, numLayers, bias, batchFirst, dropout, bidirectional } = module;
    const { activation, reduceRange } = qconfig;
    const options = { numLayers, bias, batchFirst, dropout, bidirectional, activation, reduceRange };
    const result = new LSTM(inputSize, hiddenSize, options);
    const state = module.stateDict();
    for (const { name, kind } of result.entries()) {
      if (kind === 'weight') state.set(name, quantizeWeight(name, state.get(name)!, qconfig));
    }
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

  protected override get inputDTypeError() {
    return (dtype: string): string => `expected scalar type Float but found ${dtype}`;
  }
  protected override handle(): Int8RNNHandle {
    return handles.get(this.packed)!;
  }
  protected override reprName(): string {
    return 'DynamicQuantizedLSTM';
  }
  override extraRepr(): string {
    return super.extraRepr() + modeRepr(this.packed.mode);
  }
  protected override metadata(): ModuleMetadata {
    return {
      ...super.metadata(),
      type: 'DynamicQuantizedLSTM',
      dtype: 'qint8',
      qscheme: this.packed.weights[0]!.perChannel ? 'per_channel_affine' : 'per_tensor_affine',
      ...this.packed.mode,
    };
  }

  protected override *ownState(): IterableIterator<[string, Tensor]> {
    const { weights, biases } = this.packed;
    for (const { name, kind, shape, matrix } of this.entries()) {
      if (kind === 'bias') {
        yield [name, biases[matrix]!.clone()];
        continue;
      }
      const integers = new Int8Array(shape[0]! * shape[1]!);
      this.handle().unpackWeight(matrix, integers);
      yield [name, qint8Weight(integers, shape, weights[matrix]!.scales, weights[matrix]!.perChannel)];
    }
  }
  protected override checkOwnState(
    state: ReadonlyMap<string, Tensor>,
    prefix: string,
    metadata?: ModuleMetadata,
  ): string[] {
    const problems = this.entries().flatMap(({ name, kind, shape }) => {
      const value = state.get(name);
      return (value && checkQuantizedState(prefix + name, value, kind, shape)) ?? [];
    });
    return [...problems, ...modeProblems(prefix, metadata, this.packed.mode, this.depths())];
  }
  protected override loadOwnState(state: ReadonlyMap<string, Tensor>, metadata?: ModuleMetadata): void {
    const next = new Map(this.ownState());
    for (const [name, value] of state) next.set(name, value);
    this.packed = this.pack(next, adoptedMode(metadata, this.packed.mode));
  }

  private depths(): Depths {
    const directions = this.bidirectional ? 2 : 1;
    return [
      ['input_size', this.inputSize],
      ['hidden_size (of all directions)', directions * this.hiddenSize],
    ];
  }

  /** The state dict's names, in PyTorch's order. */
  private entries(): Entry[] {
    const rows = 4 * this.hiddenSize;
    return lstmCellNames(this).flatMap((cell, i): Entry[] => {
      const input = { matrix: 2 * i };
      const hidden = { matrix: 2 * i + 1 };
      const weights: Entry[] = [
        { name: cell.weightIh, kind: 'weight', shape: [rows, cell.inputSize], ...input },
        { name: cell.weightHh, kind: 'weight', shape: [rows, this.hiddenSize], ...hidden },
      ];
      if (!this.bias) return weights;
      return [
        ...weights,
        { name: cell.biasIh, kind: 'bias', shape: [rows], ...input },
        { name: cell.biasHh, kind: 'bias', shape: [rows], ...hidden },
      ];
    });
  }

  private pack(state: ReadonlyMap<string, Tensor>, mode: ActivationMode): Packed {
    const weights: WeightScales[] = [];
    const biases: (Tensor | null)[] = [];
    const integers: Int8Array[] = [];
    for (const { name, kind, matrix } of this.entries()) {
      const value = state.get(name)!;
      if (kind === 'bias') {
        biases[matrix] = value.clone();
      } else {
        integers[matrix] = value.data as Int8Array;
        weights[matrix] = weightScales(value.quantization!);
        biases[matrix] = null;
      }
    }
    const { inputSize, hiddenSize, numLayers, bidirectional } = this;
    const matrices = weights.map(({ scales }, i) => ({
      weight: integers[i]!,
      scales,
      bias: biases[i] ? (biases[i].data as Float32Array) : null,
    }));
    const handle = new (native().Int8RNN)(
      'LSTM',
      inputSize,
      hiddenSize,
      0,
      numLayers,
      bidirectional ? 2 : 1,
      matrices,
      mode.activation === 'perRow',
      mode.reduceRange,
    );
    const packed = { weights, biases, mode };
    handles.set(packed, handle);
    return packed;
  }
}
