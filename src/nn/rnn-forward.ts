import { describe, rangeError, typeError } from '../errors.js';
import { callRNN, type RNNCall, type RNNOutputs } from '../native/call.js';
import type { RNNHandle } from '../native/handles.js';
import { float32 } from '../tensor/dtype.js';
import { checkTensor, isTensor, resultTensor, Tensor } from '../tensor/tensor.js';
import { dropout as applyDropout } from './dropout.js';
import { checkPacked, isPackedSequence, PackedSequence } from './packed-sequence.js';
import { kindOf, type RNNConfig } from './rnn-config.js';

/** An LSTM's `[h, c]`. */
export type LSTMState = readonly [Tensor, Tensor];

/** The type of a recurrent module's output: packed for packed input, else a tensor. */
export type OutputOf<X> = X extends PackedSequence ? PackedSequence : Tensor;

/** The output and the last states: `[hn, cn]` for an LSTM, else `hn`. */
export type RNNResult = [Tensor | PackedSequence, Tensor | [Tensor, Tensor]];

/** The forward of every recurrent module, float or quantized: checks, allocates, calls the handle. */
export function forwardRNN(
  module: RNNConfig,
  handle: RNNHandle,
  input: Tensor | PackedSequence,
  state: LSTMState | Tensor | null | undefined,
  quantized: boolean,
): RNNResult {
  if (!isTensor(input) && isPackedSequence(input)) {
    return forwardPacked(module, handle, input, state, quantized);
  }
  const x = checkInput(input, quantized);
  const rank = x.shape.length;
  if (rank !== 2 && rank !== 3) {
    throw rangeError(
      'ERR_SHAPE',
      `${kindOf(module.mode)}: Expected input to be 2D or 3D, got ${rank}D instead`,
    );
  }
  checkFeatures(module, x);
  const batched = rank === 3;
  const swap = batched && module.batchFirst;
  const transposed = swap ? swapped(x) : x;
  const steps = transposed.shape[0]!;
  const batch = batched ? transposed.shape[1]! : 1;
  if (steps === 0) throw rangeError('ERR_SHAPE', 'Expected sequence length to be larger than 0 in RNN');
  const features = featuresOf(module);
  const result = runLayers(module, handle, {
    x: transposed.checked('input') as Float32Array,
    states: checkState(module, state, batched ? batch : null, true),
    steps,
    batch,
    rows: steps * batch,
    batchSizes: null,
    outputShape: batched ? [steps, batch, features] : [steps, features],
    batched,
  });
  if (swap) result[0] = swapped(result[0] as Tensor);
  return result;
}

/** The first two dimensions exchanged. No copy if one of them is 1, because the rows then keep their order. */
function swapped(tensor: Tensor): Tensor {
  const [a, b, features] = tensor.shape as [number, number, number];
  return a === 1 || b === 1 ? tensor.reshape(b, a, features) : tensor.transpose(0, 1);
}

/** The caller's states are in the caller's order, the handle's in the order of the packed data. */
function forwardPacked(
  module: RNNConfig,
  handle: RNNHandle,
  input: PackedSequence,
  state: LSTMState | Tensor | null | undefined,
  quantized: boolean,
): RNNResult {
  const { data, batchSizes, sorted, unsorted } = checkPacked(input);
  checkInput(data, quantized);
  if (data.dim() !== 2) throw rangeError('ERR_SHAPE', `input must have 2 dimensions, got ${data.dim()}`);
  checkFeatures(module, data);
  const batch = batchSizes[0]!;
  const states = checkState(module, state, batch, false);
  const rows = data.shape[0]!;
  const [output, last] = runLayers(module, handle, {
    x: data.checked('input') as Float32Array,
    states: states.map((each) => each && permuted(each, batch, module, sorted)) as States,
    steps: batchSizes.length,
    batch,
    rows,
    batchSizes: BigInt64Array.from(batchSizes, BigInt),
    outputShape: [rows, featuresOf(module)],
    batched: true,
  });
  const restored = (tensor: Tensor): Tensor =>
    resultTensor(permuted(tensor.data as Float32Array, batch, module, unsorted), tensor.shape);
  return [
    new PackedSequence(output as Tensor, input.batchSizes, input.sortedIndices, input.unsortedIndices),
    isTensor(last) ? restored(last) : [restored(last[0]), restored(last[1])],
  ];
}

/** `(directions of all layers, batch, features)` with the batch in another order. */
function permuted(
  data: Float32Array,
  batch: number,
  module: RNNConfig,
  order: readonly number[] | null,
): Float32Array {
  if (order === null) return data;
  const out = new Float32Array(data.length);
  const row = data.length / (directionsOf(module) * batch);
  for (let to = 0; to < data.length; to += row) {
    const i = to / row;
    const from = (i - (i % batch) + order[i % batch]!) * row;
    out.set(data.subarray(from, from + row), to);
  }
  return out;
}

type States = [h0: Float32Array | null, c0: Float32Array | null];

/** Checked sequences, in the order in which the handle takes them. */
interface Sequences {
  readonly x: Float32Array;
  readonly states: States;
  readonly steps: number;
  readonly batch: number;
  readonly rows: number;
  /** Null unless the sequences are packed. */
  readonly batchSizes: BigInt64Array | null;
  readonly outputShape: readonly number[];
  readonly batched: boolean;
}

/** Runs all layers, and shapes their results. */
function runLayers(
  module: RNNConfig,
  handle: RNNHandle,
  { x, states, steps, batch, rows, batchSizes, outputShape, batched }: Sequences,
): RNNResult {
  const { hiddenSize, numLayers } = module;
  const lstm = module.mode === 'LSTM';
  const directions = directionsOf(module);
  const projected = module.projSize || hiddenSize;
  const call: RNNCall = {
    x,
    h0: states[0],
    c0: states[1],
    steps,
    batch,
    batchSizes,
    firstLayer: 0,
    layers: numLayers,
    yFloats: rows * outputShape[outputShape.length - 1]!,
    hFloats: directions * batch * projected,
    cFloats: lstm ? directions * batch * hiddenSize : 0,
  };
  const drops = module.dropout > 0 && numLayers > 1;
  const results = drops ? callWithDropout(handle, call, module.dropout) : callRNN(handle, call);
  const output = resultTensor(results[0], outputShape);
  const hidden = resultTensor(results[1], batched ? [directions, batch, projected] : [directions, projected]);
  if (!lstm) return [output, hidden];
  const cell = resultTensor(results[2], batched ? [directions, batch, hiddenSize] : [directions, hiddenSize]);
  return [output, [hidden, cell]];
}

/** Runs layer by layer, with dropout between them. */
function callWithDropout(handle: RNNHandle, call: RNNCall, dropout: number): RNNOutputs {
  const { layers, yFloats } = call;
  const hFloats = call.hFloats / layers;
  const cFloats = call.cFloats / layers;
  let { x } = call;
  let y!: Float32Array;
  const hn = new Float32Array(call.hFloats);
  const cn = new Float32Array(call.cFloats);
  for (let layer = 0; layer < layers; layer++) {
    if (layer > 0) x = applyDropout(new Tensor(y, [yFloats]), dropout).data as Float32Array;
    const h0 = call.h0 && call.h0.subarray(layer * hFloats, (layer + 1) * hFloats);
    const c0 = call.c0 && call.c0.subarray(layer * cFloats, (layer + 1) * cFloats);
    const part = { ...call, x, h0, c0, firstLayer: layer, layers: 1, hFloats, cFloats };
    const outputs = callRNN(handle, part);
    y = outputs[0];
    hn.set(outputs[1], layer * hFloats);
    cn.set(outputs[2], layer * cFloats);
  }
  return [y, hn, cn];
}

/** The number of directions, in all layers together. */
function directionsOf({ numLayers, bidirectional }: RNNConfig): number {
  return bidirectional ? 2 * numLayers : numLayers;
}

/** Features of the output. */
function featuresOf({ hiddenSize, projSize, bidirectional }: RNNConfig): number {
  return (bidirectional ? 2 : 1) * (projSize || hiddenSize);
}

function checkInput(input: Tensor, quantized: boolean): Tensor {
  checkTensor('input', input);
  if (input.dtype !== float32) {
    throw typeError(
      'ERR_DTYPE',
      quantized
        ? `expected scalar type Float but found ${input.dtype}`
        : `RNN input dtype (${input.dtype}) does not match weight dtype (float32). Convert input: input.float()`,
    );
  }
  return input;
}

function checkFeatures({ inputSize }: RNNConfig, { shape }: Tensor): void {
  const size = shape[shape.length - 1]!;
  if (size !== inputSize) {
    throw rangeError(
      'ERR_SHAPE',
      `input.size(-1) must be equal to input_size. Expected ${inputSize}, got ${size}`,
    );
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
  const directions = directionsOf(module);
  const { hiddenSize, projSize } = module;
  const rank = batch === null ? 2 : 3;
  if (module.mode !== 'LSTM') {
    if (!isTensor(state))
      throw typeError('ERR_INVALID_ARG_TYPE', `state should be a Tensor h0, got ${describe(state)}`);
    if (sayRank && state.dim() !== rank)
      throw wrongRank(rank, `hx should also be ${rank}-D`, `${state.dim()}-D tensor`);
    return [stateData(state, directions, batch, hiddenSize, 'hidden'), null];
  }
  if (!Array.isArray(state) || state.length !== 2 || !isTensor(state[0]) || !isTensor(state[1])) {
    throw typeError(
      'ERR_INVALID_ARG_TYPE',
      `state should be a pair of Tensors [h0, c0], got ${describe(state)}`,
    );
  }
  const [h0, c0] = state as unknown as LSTMState;
  if (sayRank && (h0.dim() !== rank || c0.dim() !== rank)) {
    throw wrongRank(rank, `hx and cx should also be ${rank}-D`, `(${h0.dim()}-D, ${c0.dim()}-D) tensors`);
  }
  return [
    stateData(h0, directions, batch, projSize || hiddenSize, 'hidden[0]'),
    stateData(c0, directions, batch, hiddenSize, 'hidden[1]'),
  ];
}

function wrongRank(rank: number, expected: string, got: string): RangeError {
  return rangeError(
    'ERR_SHAPE',
    `For ${rank === 2 ? 'unbatched 2-D' : 'batched 3-D'} input, ${expected} but got ${got}`,
  );
}

function stateData(
  tensor: Tensor,
  directions: number,
  batch: number | null,
  features: number,
  name: string,
): Float32Array {
  if (tensor.dtype !== float32) {
    throw typeError('ERR_DTYPE', `${name} should be a float32 Tensor, got ${tensor.dtype}`);
  }
  const { shape } = tensor;
  const fits =
    batch === null
      ? shape.length === 2 && shape[0] === directions && shape[1] === features
      : shape.length === 3 && shape[0] === directions && shape[1] === batch && shape[2] === features;
  if (!fits) {
    const expected = batch === null ? [directions, features] : [directions, batch, features];
    throw rangeError(
      'ERR_SHAPE',
      `Expected ${name} size (${expected.join(', ')}), got [${shape.join(', ')}]`,
    );
  }
  return tensor.checked(name) as Float32Array;
}
