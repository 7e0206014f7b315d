import { checkBoolean, checkOptions, checkSize, describe } from '../errors.js';
import {
  fromSlot,
  native,
  newOutputs,
  throwUnlessOk,
  toSlot,
  type RNNHandle,
  type RNNMode,
} from '../native.js';
import { float32, isTensor, resultTensor, Tensor } from '../tensor.js';
import { dropout as applyDropout } from './dropout.js';
import { uniform_ } from './init.js';
import { rnnParameters, type LayerParameter, type RNNCellSizes, type RNNSizes } from './layer-parameters.js';
import { emptyParameter, Module, type ModuleMetadata } from './module.js';
import { PackedOnce } from './packed-once.js';
import { checkPacked, isPackedSequence, PackedSequence } from './utils/rnn.js';

/** An LSTM's `[h, c]`. */
export type LSTMState = readonly [Tensor, Tensor];

/** What a recurrent module makes of its input: a packed sequence of a packed sequence, else a tensor. */
export type OutputOf<X> = X extends PackedSequence ? PackedSequence : Tensor;

/** The options that all recurrent modules take. */
export interface RNNBaseOptions {
  /** Layers, each fed with the one before. Default: 1. */
  numLayers?: number;
  /** Use `bias_ih` and `bias_hh`. Default: true. */
  bias?: boolean;
  /** Input and output are `(batch, steps, features)`; states are not affected. Default: false. */
  batchFirst?: boolean;
  /** In training, the dropout probability between layers. Default: 0. */
  dropout?: number;
  /** A second one reads each sequence backwards. Default: false. */
  bidirectional?: boolean;
}

export interface LSTMOptions extends RNNBaseOptions {
  /** Features that each hidden state is projected to, by `weight_hr`; 0 for none. Default: 0. */
  projSize?: number;
}

export interface RNNOptions extends RNNBaseOptions {
  /** Default: `'tanh'`. */
  nonlinearity?: 'tanh' | 'relu';
}

/** What float and quantized recurrent modules are made of. */
export interface RNNConfig extends RNNSizes {
  readonly batchFirst: boolean;
  readonly dropout: number;
}

/** More is a mistake, or a file that means harm: their parameters alone would fill the memory. */
const mostLayers = 65536;

/**
 * The properties of a recurrent module, from its constructor's arguments.
 *
 * @throws {TypeError | RangeError} for sizes that are no positive integers, or unknown or wrong options
 */
export function rnnConfig(
  kind: 'LSTM' | 'GRU' | 'RNN',
  inputSize: number,
  hiddenSize: number,
  options: LSTMOptions & RNNOptions,
  moreOptions: readonly string[] = [],
): RNNConfig {
  checkSize('input_size', inputSize);
  checkSize('hidden_size', hiddenSize);
  if (kind !== 'LSTM' && Object.hasOwn(options ?? {}, 'projSize')) {
    throw new RangeError('proj_size argument is only supported for LSTM, not RNN or GRU');
  }
  const own = { LSTM: ['projSize'], GRU: [], RNN: ['nonlinearity'] }[kind];
  const common = ['numLayers', 'bias', 'batchFirst', 'dropout', 'bidirectional'];
  checkOptions(kind, options, [...common, ...own, ...moreOptions]);
  const { numLayers = 1, bias = true, batchFirst = false, dropout = 0, bidirectional = false } = options;
  const { projSize = 0, nonlinearity = 'tanh' } = options;
  checkSize('num_layers', numLayers);
  if (numLayers > mostLayers) {
    throw new RangeError(`num_layers should be at most ${mostLayers}, got ${numLayers}`);
  }
  checkBoolean('bias', bias);
  checkBoolean('batchFirst', batchFirst);
  checkBoolean('bidirectional', bidirectional);
  if (typeof dropout !== 'number' || !(dropout >= 0 && dropout <= 1)) {
    const sentence = `dropout should be a number in range [0, 1] representing the probability of an element being zeroed, got ${describe(dropout)}`;
    throw typeof dropout === 'number' ? new RangeError(sentence) : new TypeError(sentence);
  }
  if (!Number.isSafeInteger(projSize)) {
    throw new TypeError(`proj_size should be of type int, got: ${describe(projSize)}`);
  }
  if (projSize < 0) {
    throw new RangeError(
      `proj_size should be a positive integer or zero to disable projections, got ${projSize}`,
    );
  }
  if (projSize >= hiddenSize) {
    throw new RangeError(`proj_size has to be smaller than hidden_size, got ${projSize} and ${hiddenSize}`);
  }
  const mode = kind === 'RNN' ? nonlinearMode(nonlinearity) : kind;
  return { mode, inputSize, hiddenSize, projSize, numLayers, bias, batchFirst, dropout, bidirectional };
}

/** The mode of an RNN or RNNCell. */
export function nonlinearMode(nonlinearity: unknown): RNNMode {
  if (nonlinearity === 'tanh') return 'RNN_TANH';
  if (nonlinearity === 'relu') return 'RNN_RELU';
  throw new RangeError(`Unknown nonlinearity ${describe(nonlinearity)}. Select from 'tanh' or 'relu'.`);
}

/** The nonlinearity of an RNN or RNNCell. */
export function nonlinearityOf(mode: RNNMode): 'tanh' | 'relu' {
  return mode === 'RNN_RELU' ? 'relu' : 'tanh';
}

/** `LSTM`, `GRU` or `RNN`. */
export function kindOf(mode: RNNMode): 'LSTM' | 'GRU' | 'RNN' {
  return mode === 'LSTM' || mode === 'GRU' ? mode : 'RNN';
}

/** PyTorch's `RNNBase.extra_repr`. */
export function rnnRepr(config: RNNConfig): string {
  const { inputSize, hiddenSize, projSize, numLayers, bias, batchFirst, dropout, bidirectional } = config;
  return [
    `${inputSize}, ${hiddenSize}`,
    projSize !== 0 && `proj_size=${projSize}`,
    numLayers !== 1 && `num_layers=${numLayers}`,
    !bias && 'bias=False',
    batchFirst && 'batch_first=True',
    dropout !== 0 && `dropout=${dropout === 1 ? '1.0' : dropout}`,
    bidirectional && 'bidirectional=True',
  ]
    .filter(Boolean)
    .join(', ');
}

/** What a state dict says of a recurrent module: its type and its constructor's arguments. */
export function rnnMetadata(config: RNNConfig): ModuleMetadata {
  const { mode, inputSize, hiddenSize, projSize, numLayers, bias, batchFirst, dropout, bidirectional } =
    config;
  const type = kindOf(mode);
  return {
    type,
    inputSize,
    hiddenSize,
    numLayers,
    bias,
    batchFirst,
    dropout,
    bidirectional,
    ...(type === 'LSTM' && { projSize }),
    ...(type === 'RNN' && { nonlinearity: nonlinearityOf(mode) }),
  };
}

/** The output, and the last states: `[hn, cn]` of an LSTM, else `hn`. */
type Result = [Tensor | PackedSequence, Tensor | [Tensor, Tensor]];

/** The forward of every recurrent module, float or quantized: checks, allocates, calls the handle. */
export function forwardRNN(
  module: RNNConfig & { readonly training: boolean },
  handle: RNNHandle,
  input: Tensor | PackedSequence,
  state: LSTMState | Tensor | null | undefined,
  dtypeError: (dtype: string) => string,
): Result {
  if (!isTensor(input) && isPackedSequence(input)) {
    return forwardPacked(module, handle, input, state, dtypeError);
  }
  const x = checkInput(input, dtypeError);
  const rank = x.shape.length;
  if (rank !== 2 && rank !== 3) {
    throw new RangeError(`${kindOf(module.mode)}: Expected input to be 2D or 3D, got ${rank}D instead`);
  }
  checkFeatures(module, x);
  const batched = rank === 3;
  const swap = batched && module.batchFirst;
  const transposed = swap ? x.transpose(0, 1) : x;
  const steps = transposed.shape[0]!;
  const batch = batched ? transposed.shape[1]! : 1;
  if (steps === 0) throw new RangeError('Expected sequence length to be larger than 0 in RNN');
  const features = featuresOf(module);
  const result = run(
    module,
    handle,
    transposed.checked('input') as Float32Array,
    checkState(module, state, batched ? batch : null, true),
    steps,
    batch,
    steps * batch,
    null,
    batched ? [steps, batch, features] : [steps, features],
    batched,
  );
  if (swap) result[0] = (result[0] as Tensor).transpose(0, 1);
  return result;
}

/** The states come and go in the caller's order; the handle has them in the data's. */
function forwardPacked(
  module: RNNConfig & { readonly training: boolean },
  handle: RNNHandle,
  input: PackedSequence,
  state: LSTMState | Tensor | null | undefined,
  dtypeError: (dtype: string) => string,
): Result {
  const { data, batchSizes, sorted, unsorted } = checkPacked(input);
  checkInput(data, dtypeError);
  if (data.dim() !== 2) throw new RangeError(`input must have 2 dimensions, got ${data.dim()}`);
  checkFeatures(module, data);
  const batch = batchSizes[0]!;
  const states = checkState(module, state, batch, false);
  const [output, last] = run(
    module,
    handle,
    data.checked('input') as Float32Array,
    states.map((each) => each && permuted(each, batch, module, sorted)) as States,
    batchSizes.length,
    batch,
    data.shape[0]!,
    BigInt64Array.from(batchSizes, BigInt),
    [data.shape[0]!, featuresOf(module)],
    true,
  );
  const restored = (tensor: Tensor): Tensor =>
    resultTensor(permuted(tensor.data as Float32Array, batch, module, unsorted), tensor.shape);
  return [
    new PackedSequence(output as Tensor, input.batchSizes, input.sortedIndices, input.unsortedIndices),
    isTensor(last) ? restored(last) : [restored(last[0]), restored(last[1])],
  ];
}

/** `(cells, batch, features)` with the batch in another order. */
function permuted(
  data: Float32Array,
  batch: number,
  module: RNNConfig,
  order: readonly number[] | null,
): Float32Array {
  if (order === null) return data;
  const out = new Float32Array(data.length);
  const row = data.length / (cellsOf(module) * batch);
  for (let to = 0; to < data.length; to += row) {
    const i = to / row;
    const from = (i - (i % batch) + order[i % batch]!) * row;
    out.set(data.subarray(from, from + row), to);
  }
  return out;
}

type States = [h0: Float32Array | null, c0: Float32Array | null];

function run(
  module: RNNConfig & { readonly training: boolean },
  handle: RNNHandle,
  x: Float32Array,
  states: States,
  steps: number,
  batch: number,
  rows: number,
  batchSizes: BigInt64Array | null,
  outputShape: readonly number[],
  batched: boolean,
): Result {
  const { hiddenSize, numLayers } = module;
  const lstm = module.mode === 'LSTM';
  const cells = cellsOf(module);
  const projected = module.projSize || hiddenSize;
  const count = rows * outputShape[outputShape.length - 1]!;
  const hiddenCount = cells * batch * projected;
  const cellCount = lstm ? cells * batch * hiddenSize : 0;
  // Indexed, for taking arrays apart costs 15 ns each.
  const h0 = states[0];
  const c0 = states[1];
  let y, hn, cn: Float32Array;
  if (module.training && module.dropout > 0 && numLayers > 1) {
    y = new Float32Array(count);
    hn = new Float32Array(hiddenCount);
    cn = new Float32Array(cellCount);
    runWithDropout(module, handle, x, h0, c0, y, hn, cn, steps, batch, batchSizes);
  } else {
    const addon = native();
    const { slots } = addon;
    setSizes(addon.sizes, steps, batch, 0, numLayers);
    const outputs = newOutputs(count, hiddenCount, cellCount);
    const yOut = outputs[0];
    const hOut = outputs[1];
    const cOut = outputs[2];
    const xIn = toSlot(slots, 0, x);
    const hIn = h0 && toSlot(slots, 1, h0);
    const cIn = c0 && toSlot(slots, 2, c0);
    const cLast = lstm ? cOut : null;
    const status =
      batchSizes === null
        ? handle.forward(xIn, hIn, cIn, yOut, hOut, cLast)
        : handle.forwardPacked(xIn, hIn, cIn, yOut, hOut, cLast, batchSizes);
    throwUnlessOk(status, lstm ? 'hidden[0]' : 'hidden');
    y = fromSlot(slots, 3, yOut, count);
    hn = fromSlot(slots, 4, hOut, hiddenCount);
    cn = fromSlot(slots, 5, cOut, cellCount);
  }
  const output = resultTensor(y, outputShape);
  const hidden = resultTensor(hn, batched ? [cells, batch, projected] : [cells, projected]);
  if (!lstm) return [output, hidden];
  return [output, [hidden, resultTensor(cn, batched ? [cells, batch, hiddenSize] : [cells, hiddenSize])]];
}

/** Layer by layer, with dropout on what passes between them. */
function runWithDropout(
  { mode, dropout, numLayers }: RNNConfig,
  handle: RNNHandle,
  input: Float32Array,
  h0: Float32Array | null,
  c0: Float32Array | null,
  y: Float32Array,
  hn: Float32Array,
  cn: Float32Array,
  steps: number,
  batch: number,
  batchSizes: BigInt64Array | null,
): void {
  const lstm = mode === 'LSTM';
  let x = input;
  for (let layer = 0; layer < numLayers; layer++) {
    const part = <A extends Float32Array | null>(state: A): A => {
      const size = (state?.length ?? 0) / numLayers;
      return state && (state.subarray(layer * size, (layer + 1) * size) as typeof state);
    };
    setSizes(native().sizes, steps, batch, layer, 1);
    const status =
      batchSizes === null
        ? handle.forward(x, part(h0), part(c0), y, part(hn), lstm ? part(cn) : null)
        : handle.forwardPacked(x, part(h0), part(c0), y, part(hn), lstm ? part(cn) : null, batchSizes);
    throwUnlessOk(status, lstm ? 'hidden[0]' : 'hidden');
    if (layer < numLayers - 1) {
      x = applyDropout(new Tensor(y.slice(), [y.length]), dropout).data as Float32Array;
    }
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

function cellsOf({ numLayers, bidirectional }: RNNConfig): number {
  return bidirectional ? 2 * numLayers : numLayers;
}

/** Features of the output. */
function featuresOf({ hiddenSize, projSize, bidirectional }: RNNConfig): number {
  return (bidirectional ? 2 : 1) * (projSize || hiddenSize);
}

function checkInput(input: Tensor, dtypeError: (dtype: string) => string): Tensor {
  if (!isTensor(input)) throw new TypeError(`input should be a Tensor, got ${describe(input)}`);
  if (input.dtype !== float32) throw new TypeError(dtypeError(input.dtype));
  return input;
}

function checkFeatures({ inputSize }: RNNConfig, { shape }: Tensor): void {
  const size = shape[shape.length - 1]!;
  if (size !== inputSize) {
    throw new RangeError(`input.size(-1) must be equal to input_size. Expected ${inputSize}, got ${size}`);
  }
}

/** @param batch - null for unbatched input @param sayRank - whether a wrong rank has a sentence of its own */
function checkState(
  module: RNNConfig,
  state: LSTMState | Tensor | null | undefined,
  batch: number | null,
  sayRank: boolean,
): States {
  if (state === undefined || state === null) return [null, null];
  const cells = cellsOf(module);
  const { hiddenSize, projSize } = module;
  const rank = batch === null ? 2 : 3;
  if (module.mode !== 'LSTM') {
    if (!isTensor(state)) throw new TypeError(`state should be a Tensor h0, got ${describe(state)}`);
    if (sayRank && state.dim() !== rank)
      throw wrongRank(rank, `hx should also be ${rank}-D`, `${state.dim()}-D tensor`);
    return [stateData(state, cells, batch, hiddenSize, 'hidden'), null];
  }
  if (!Array.isArray(state) || state.length !== 2 || !isTensor(state[0]) || !isTensor(state[1])) {
    throw new TypeError(`state should be a pair of Tensors [h0, c0], got ${describe(state)}`);
  }
  const [h0, c0] = state as unknown as LSTMState;
  if (sayRank && (h0.dim() !== rank || c0.dim() !== rank)) {
    throw wrongRank(rank, `hx and cx should also be ${rank}-D`, `(${h0.dim()}-D, ${c0.dim()}-D) tensors`);
  }
  return [
    stateData(h0, cells, batch, projSize || hiddenSize, 'hidden[0]'),
    stateData(c0, cells, batch, hiddenSize, 'hidden[1]'),
  ];
}

function wrongRank(rank: number, expected: string, got: string): RangeError {
  return new RangeError(
    `For ${rank === 2 ? 'unbatched 2-D' : 'batched 3-D'} input, ${expected} but got ${got}`,
  );
}

function stateData(
  tensor: Tensor,
  cells: number,
  batch: number | null,
  features: number,
  name: string,
): Float32Array {
  if (tensor.dtype !== float32) {
    throw new TypeError(`${name} should be a float32 Tensor, got ${tensor.dtype}`);
  }
  const { shape } = tensor;
  const fits =
    batch === null
      ? shape.length === 2 && shape[0] === cells && shape[1] === features
      : shape.length === 3 && shape[0] === cells && shape[1] === batch && shape[2] === features;
  if (!fits) {
    const expected = batch === null ? [cells, features] : [cells, batch, features];
    throw new RangeError(`Expected ${name} size (${expected.join(', ')}), got [${shape.join(', ')}]`);
  }
  return tensor.checked(name) as Float32Array;
}

// The float modules ------------------------------------------------------------------------------------------

const packed = new PackedOnce<RNNHandle>();

/** Makes a float layer's parameters, all from U(-s, s) with `s = 1 / sqrt(hiddenSize)`. */
export function initParameters(
  module: Module,
  parameters: readonly LayerParameter[],
  hiddenSize: number,
): void {
  const bound = 1 / Math.sqrt(hiddenSize);
  for (const { name, shape } of parameters) {
    const parameter = uniform_(emptyParameter(shape), -bound, bound);
    (module as unknown as Record<string, Tensor>)[name] = parameter;
  }
}

const parametersOf = new WeakMap<Module, readonly LayerParameter[]>();

/** The handle of a float layer as its parameters are now. */
export function floatHandle<M extends Module & RNNCellSizes>(
  module: M,
  list: (module: M) => LayerParameter[],
  projSize: number,
  numLayers: number,
  directions: number,
): RNNHandle {
  // The names are looked up once, the properties at each call.
  let parameters = parametersOf.get(module);
  if (parameters === undefined) parametersOf.set(module, (parameters = list(module)));
  const tensors = new Array<Tensor>(parameters.length);
  for (let i = 0; i < tensors.length; i++) {
    tensors[i] = (module as unknown as Record<string, Tensor>)[parameters[i]!.name]!;
  }
  return packed.get(module, tensors, () => {
    const matrices: { weight: Float32Array; bias: Float32Array | null }[] = [];
    parameters.forEach(({ name, kind, matrix }, i) => {
      const data = tensors[i]!.checked(name) as Float32Array;
      if (kind === 'weight') matrices[matrix] = { weight: data, bias: null };
      else matrices[matrix]!.bias = data;
    });
    const { mode, inputSize, hiddenSize } = module;
    return new (native().FloatRNN)(mode, inputSize, hiddenSize, projSize, numLayers, directions, matrices);
  });
}

/** Forgets a float layer's packed weights. */
export function forgetHandle(module: Module): void {
  packed.forget(module);
}

/** PyTorch's `RNNBase`: what the float LSTM, GRU and RNN share. Not public. */
export abstract class RNNBase extends Module implements RNNConfig {
  declare readonly mode: RNNMode;
  declare readonly inputSize: number;
  declare readonly hiddenSize: number;
  declare readonly projSize: number;
  declare readonly numLayers: number;
  declare readonly bias: boolean;
  declare readonly batchFirst: boolean;
  declare readonly dropout: number;
  declare readonly bidirectional: boolean;

  constructor(config: RNNConfig) {
    super();
    Object.assign(this, config);
    const { dropout, numLayers } = config;
    if (dropout > 0 && numLayers === 1) {
      process.emitWarning(
        `dropout option adds dropout after all but last recurrent layer, so non-zero dropout expects num_layers greater than 1, but got dropout=${dropout} and num_layers=1`,
      );
    }
    initParameters(this, rnnParameters(config), config.hiddenSize);
  }

  /** To be called after a direct write into a parameter's `.data`: the next forward packs the weights again. */
  repack(): void {
    forgetHandle(this);
  }
  override extraRepr(): string {
    return rnnRepr(this);
  }
  protected override metadata(): ModuleMetadata {
    return rnnMetadata(this);
  }
  protected run(input: Tensor | PackedSequence, state: LSTMState | Tensor | null | undefined): Result {
    const handle = floatHandle(
      this,
      rnnParameters,
      this.projSize,
      this.numLayers,
      this.bidirectional ? 2 : 1,
    );
    return forwardRNN(this, handle, input, state, floatDTypeError);
  }
}

function floatDTypeError(dtype: string): string {
  return `RNN input dtype (${dtype}) does not match weight dtype (float32). Convert input: input.float()`;
}
