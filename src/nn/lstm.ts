import { checkBoolean, checkOptions, checkSize, describe } from '../errors.js';
import { fromSlot, native, newOutputs, throwUnlessOk, toSlot, type RNNHandle } from '../native.js';
import { float32, isTensor, resultTensor, sameShape, Tensor } from '../tensor.js';
import { dropout as applyDropout } from './dropout.js';
import { uniform_ } from './init.js';
import { emptyParameter, Module, type ModuleMetadata } from './module.js';
import { PackedOnce } from './packed-once.js';

/** `[h, c]`. */
export type LSTMState = readonly [Tensor, Tensor];

export interface LSTMOptions {
  /** Layers, each fed with the one before. Default: 1. */
  numLayers?: number;
  /** Use `bias_ih` and `bias_hh`. Default: true. */
  bias?: boolean;
  /** Input and output are `(batch, steps, features)`; states are not affected. Default: false. */
  batchFirst?: boolean;
  /** In training, the dropout probability between layers. Default: 0. */
  dropout?: number;
  /** A second LSTM reads each sequence backwards. Default: false. */
  bidirectional?: boolean;
}

export const lstmOptionNames = ['numLayers', 'bias', 'batchFirst', 'dropout', 'bidirectional'] as const;

type Floats = [Float32Array, Float32Array, Float32Array];

/** What the float and the quantized LSTM share: sizes, shapes and the call. Not public. */
export abstract class LSTMBase extends Module {
  readonly numLayers: number;
  readonly bias: boolean;
  readonly batchFirst: boolean;
  readonly dropout: number;
  readonly bidirectional: boolean;

  constructor(
    readonly inputSize: number,
    readonly hiddenSize: number,
    options: LSTMOptions = {},
    knownOptions: readonly string[] = lstmOptionNames,
  ) {
    super();
    checkSize('input_size', inputSize);
    checkSize('hidden_size', hiddenSize);
    checkOptions('LSTM', options, knownOptions);
    const { numLayers = 1, bias = true, batchFirst = false, dropout = 0, bidirectional = false } = options;
    checkSize('num_layers', numLayers);
    checkBoolean('bias', bias);
    checkBoolean('batchFirst', batchFirst);
    checkBoolean('bidirectional', bidirectional);
    if (typeof dropout !== 'number' || !(dropout >= 0 && dropout <= 1)) {
      throw new RangeError(
        `dropout should be a number in range [0, 1] representing the probability of an element being zeroed, got ${describe(dropout)}`,
      );
    }
    this.numLayers = numLayers;
    this.bias = bias;
    this.batchFirst = batchFirst;
    this.dropout = dropout;
    this.bidirectional = bidirectional;
  }

  protected abstract readonly inputDTypeError: (dtype: string) => string;
  protected abstract handle(): RNNHandle;

  /**
   * Runs the sequence.
   *
   * @param input - `(T, B, inputSize)`, or `(B, T, inputSize)` with `batchFirst`, or unbatched
   * `(T, inputSize)`; float32, T at least 1
   * @param state - `[h0, c0]`, each `(numLayers * directions, B, hiddenSize)` (unbatched: without B); absent:
   * zeros
   * @returns `[output, [hn, cn]]`: output `(T, B, directions * hiddenSize)`, forward features first, and the
   * last states in the shape of the first. After a short sequence the three may share one `ArrayBuffer`:
   * `clone()` before transferring one of them to another thread.
   * @throws {TypeError} for what is no float32 tensor
   * @throws {RangeError} for wrong shapes, and on INT8 layers for values that are not finite
   */
  override forward(input: Tensor, state?: LSTMState | null): [Tensor, [Tensor, Tensor]] {
    const { batchFirst, hiddenSize, numLayers } = this;
    const x = this.checkInput(input);
    const batched = x.shape.length === 3;
    const transposed = batched && batchFirst ? x.transpose(0, 1) : x;
    const steps = transposed.shape[0]!;
    const batch = batched ? transposed.shape[1]! : 1;
    if (steps === 0) throw new RangeError('Expected sequence length to be larger than 0 in RNN');
    const directions = this.bidirectional ? 2 : 1;
    const cells = numLayers * directions;
    const stateShape = batched ? [cells, batch, hiddenSize] : [cells, hiddenSize];
    const [h0, c0] = checkState(state, stateShape);

    const features = directions * hiddenSize;
    const count = steps * batch * features;
    const stateCount = cells * batch * hiddenSize;
    const data = transposed.checked('input') as Float32Array;
    const handle = this.handle();
    let y, hn, cn: Float32Array;
    if (this.training && this.dropout > 0 && numLayers > 1) {
      [y, hn, cn] = [count, stateCount, stateCount].map((n) => new Float32Array(n)) as Floats;
      this.forwardWithDropout(handle, data, h0, c0, y, hn, cn, steps, batch);
    } else {
      const addon = native();
      const { slots } = addon;
      setSizes(addon.sizes, steps, batch, 0, numLayers);
      const [yOut, hOut, cOut] = newOutputs(count, stateCount);
      const status = handle.forward(
        toSlot(slots, 0, data),
        h0 && toSlot(slots, 1, h0),
        c0 && toSlot(slots, 2, c0),
        yOut,
        hOut,
        cOut,
      );
      throwUnlessOk(status);
      y = fromSlot(slots, 3, yOut, count);
      hn = fromSlot(slots, 4, hOut, stateCount);
      cn = fromSlot(slots, 5, cOut, stateCount);
    }
    const out = resultTensor(y, batched ? [steps, batch, features] : [steps, features]);
    return [
      batched && batchFirst ? out.transpose(0, 1) : out,
      [resultTensor(hn, stateShape), resultTensor(cn, stateShape.slice())],
    ];
  }

  /** Layer by layer, with dropout on what passes between them. */
  private forwardWithDropout(
    handle: RNNHandle,
    input: Float32Array,
    h0: Float32Array | null,
    c0: Float32Array | null,
    y: Float32Array,
    hn: Float32Array,
    cn: Float32Array,
    steps: number,
    batch: number,
  ): void {
    const perLayer = hn.length / this.numLayers;
    let x = input;
    for (let layer = 0; layer < this.numLayers; layer++) {
      const part = <A extends Float32Array | null>(state: A): A =>
        state && (state.subarray(layer * perLayer, (layer + 1) * perLayer) as typeof state);
      setSizes(native().sizes, steps, batch, layer, 1);
      throwUnlessOk(handle.forward(x, part(h0), part(c0), y, part(hn), part(cn)));
      if (layer < this.numLayers - 1) {
        x = applyDropout(new Tensor(y.slice(), [y.length]), this.dropout).data as Float32Array;
      }
    }
  }

  private checkInput(input: Tensor): Tensor {
    if (!isTensor(input)) throw new TypeError(`input should be a Tensor, got ${describe(input)}`);
    if (input.dtype !== float32) throw new TypeError(this.inputDTypeError(input.dtype));
    const rank = input.shape.length;
    if (rank !== 2 && rank !== 3) {
      throw new RangeError(`LSTM: Expected input to be 2D or 3D, got ${rank}D instead`);
    }
    const size = input.shape[rank - 1]!;
    if (size !== this.inputSize) {
      throw new RangeError(
        `input.size(-1) must be equal to input_size. Expected ${this.inputSize}, got ${size}`,
      );
    }
    return input;
  }

  override extraRepr(): string {
    const { inputSize, hiddenSize, numLayers, bias, batchFirst, dropout, bidirectional } = this;
    return [
      `${inputSize}, ${hiddenSize}`,
      numLayers !== 1 && `num_layers=${numLayers}`,
      !bias && 'bias=False',
      batchFirst && 'batch_first=True',
      dropout !== 0 && `dropout=${dropout === 1 ? '1.0' : dropout}`,
      bidirectional && 'bidirectional=True',
    ]
      .filter(Boolean)
      .join(', ');
  }
  protected override metadata(): ModuleMetadata {
    const { inputSize, hiddenSize, numLayers, bias, batchFirst, dropout, bidirectional } = this;
    return { type: 'LSTM', inputSize, hiddenSize, numLayers, bias, batchFirst, dropout, bidirectional };
  }
}

/** The parameters of one direction of one layer, by their names in PyTorch's order. */
export interface LSTMCellNames {
  weightIh: string;
  weightHh: string;
  biasIh: string;
  biasHh: string;
  /** Features that enter the cell. */
  inputSize: number;
}

/** The cells of an LSTM in PyTorch's order: layer 0 forward, layer 0 reverse, layer 1 forward, … */
export function lstmCellNames(lstm: LSTMBase): LSTMCellNames[] {
  const directions = lstm.bidirectional ? 2 : 1;
  return Array.from({ length: lstm.numLayers * directions }, (_, i) => {
    const layer = Math.floor(i / directions);
    const suffix = `_l${layer}${i % directions === 1 ? '_reverse' : ''}`;
    return {
      weightIh: `weight_ih${suffix}`,
      weightHh: `weight_hh${suffix}`,
      biasIh: `bias_ih${suffix}`,
      biasHh: `bias_hh${suffix}`,
      inputSize: layer === 0 ? lstm.inputSize : directions * lstm.hiddenSize,
    };
  });
}

const packed = new PackedOnce<RNNHandle>();

/**
 * A long short-term memory, as `torch.nn.LSTM`. For each step of each layer, with gate rows in the order
 * i, f, g, o:
 *
 * ```
 * i, f, o = sigmoid(W_i* x + b_i* + W_h* h + b_h*)     g = tanh(W_ig x + b_ig + W_hg h + b_hg)
 * c' = f * c + i * g                                   h' = o * tanh(c')
 * ```
 *
 * Parameters, for layer `k` (and `_reverse`): `weight_ih_l{k}` `[4 * hiddenSize, in]`, `weight_hh_l{k}`
 * `[4 * hiddenSize, hiddenSize]`, `bias_ih_l{k}` and `bias_hh_l{k}` `[4 * hiddenSize]`, at first all from
 * U(-s, s) with `s = 1 / sqrt(hiddenSize)`.
 */
export class LSTM extends LSTMBase {
  /** @throws {TypeError | RangeError} for sizes that are no positive integers, or unknown or wrong options */
  constructor(inputSize: number, hiddenSize: number, options: LSTMOptions = {}) {
    super(inputSize, hiddenSize, options);
    const bound = 1 / Math.sqrt(hiddenSize);
    const rows = 4 * hiddenSize;
    for (const cell of lstmCellNames(this)) {
      const shapes: [string, number[]][] = [
        [cell.weightIh, [rows, cell.inputSize]],
        [cell.weightHh, [rows, hiddenSize]],
      ];
      if (this.bias) shapes.push([cell.biasIh, [rows]], [cell.biasHh, [rows]]);
      for (const [name, shape] of shapes) {
        const parameter = emptyParameter(shape);
        uniform_(parameter, -bound, bound);
        (this as unknown as Record<string, Tensor>)[name] = parameter;
      }
    }
  }

  protected override get inputDTypeError() {
    return (dtype: string): string =>
      `RNN input dtype (${dtype}) does not match weight dtype (float32). Convert input: input.float()`;
  }

  protected override handle(): RNNHandle {
    const parameters = parametersOf(this);
    return packed.get(this, parameters, () => {
      const { inputSize, hiddenSize, numLayers, bias } = this;
      const data = parameters.map((parameter) => parameter.checked() as Float32Array);
      const each = bias ? 4 : 2;
      const matrices = [];
      for (let i = 0; i < data.length; i += each) {
        matrices.push(
          { weight: data[i]!, bias: bias ? data[i + 2]! : null },
          { weight: data[i + 1]!, bias: bias ? data[i + 3]! : null },
        );
      }
      const directions = this.bidirectional ? 2 : 1;
      return new (native().FloatRNN)('LSTM', inputSize, hiddenSize, 0, numLayers, directions, matrices);
    });
  }

  /** To be called after a direct write into a parameter's `.data`: the next forward packs the weights again. */
  repack(): void {
    packed.forget(this);
  }
}

function setSizes(
  sizes: Float64Array,
  steps: number,
  batch: number,
  firstLayer: number,
  layers: number,
): void {
  sizes[0] = steps;
  sizes[1] = batch;
  sizes[2] = firstLayer;
  sizes[3] = layers;
}

const namesOf = new WeakMap<LSTM, string[]>();

/** All parameters in PyTorch's order; the names are looked up once, the properties at each call. */
function parametersOf(lstm: LSTM): Tensor[] {
  let names = namesOf.get(lstm);
  if (names === undefined) {
    names = lstmCellNames(lstm).flatMap((cell) =>
      lstm.bias ? [cell.weightIh, cell.weightHh, cell.biasIh, cell.biasHh] : [cell.weightIh, cell.weightHh],
    );
    namesOf.set(lstm, names);
  }
  const parameters = new Array<Tensor>(names.length);
  for (let i = 0; i < names.length; i++) {
    parameters[i] = (lstm as unknown as Record<string, Tensor>)[names[i]!]!;
  }
  return parameters;
}

function checkState(
  state: LSTMState | null | undefined,
  shape: readonly number[],
): [Float32Array | null, Float32Array | null] {
  if (state === undefined || state === null) return [null, null];
  if (!Array.isArray(state) || state.length !== 2 || !isTensor(state[0]) || !isTensor(state[1])) {
    throw new TypeError(`state should be a pair of Tensors [h0, c0], got ${describe(state)}`);
  }
  const [h0, c0] = state as LSTMState;
  const kind = shape.length === 3 ? 'batched 3-D' : 'unbatched 2-D';
  if (h0.dim() !== shape.length || c0.dim() !== shape.length) {
    throw new RangeError(
      `For ${kind} input, hx and cx should also be ${shape.length}-D but got (${h0.dim()}-D, ${c0.dim()}-D) tensors`,
    );
  }
  return [stateData(h0, shape, 0), stateData(c0, shape, 1)];
}

function stateData(tensor: Tensor, shape: readonly number[], index: number): Float32Array {
  if (tensor.dtype !== float32) {
    throw new TypeError(`hidden[${index}] should be a float32 Tensor, got ${tensor.dtype}`);
  }
  if (!sameShape(tensor.shape, shape)) {
    throw new RangeError(
      `Expected hidden[${index}] size (${shape.join(', ')}), got [${tensor.shape.join(', ')}]`,
    );
  }
  return tensor.checked(`hidden[${index}]`) as Float32Array;
}
