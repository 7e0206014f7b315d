import { describe } from '../errors.js';
import {
  arrayBit,
  arraysAt,
  fromSlot,
  memory,
  newOutput,
  shareBuffer,
  throwUnlessOk,
  toSlot,
  type RNNHandle,
} from '../native.js';
import { float32 } from '../tensor/dtype.js';
import { isTensor, resultTensor, Tensor } from '../tensor/tensor.js';
import { dropout as applyDropout } from './dropout.js';
import { checkPacked, isPackedSequence, PackedSequence } from './packed-sequence.js';
import { kindOf, type RNNConfig } from './rnn-config.js';

/** An LSTM's `[h, c]`. */
export type LSTMState = readonly [Tensor, Tensor];

/** What a recurrent module makes of its input: a packed sequence of a packed sequence, else a tensor. */
export type OutputOf<X> = X extends PackedSequence ? PackedSequence : Tensor;

/** The output, and the last states: `[hn, cn]` of an LSTM, else `hn`. */
export type RNNResult = [Tensor | PackedSequence, Tensor | [Tensor, Tensor]];

/** The forward of every recurrent module, float or quantized: checks, allocates, calls the handle. */
export function forwardRNN(
  module: RNNConfig & { readonly training: boolean },
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
  quantized: boolean,
): RNNResult {
  const { data, batchSizes, sorted, unsorted } = checkPacked(input);
  checkInput(data, quantized);
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
): RNNResult {
  const { hiddenSize, numLayers } = module;
  const lstm = module.mode === 'LSTM';
  const cells = cellsOf(module);
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
    count: rows * outputShape[outputShape.length - 1]!,
    hiddenCount: cells * batch * projected,
    cellCount: lstm ? cells * batch * hiddenSize : 0,
  };
  const drops = module.training && module.dropout > 0 && numLayers > 1;
  const results = drops ? callWithDropout(handle, call, module.dropout) : callRNN(handle, call);
  const output = resultTensor(results[0], outputShape);
  const hidden = resultTensor(results[1], batched ? [cells, batch, projected] : [cells, projected]);
  if (!lstm) return [output, hidden];
  const cell = resultTensor(results[2], batched ? [cells, batch, hiddenSize] : [cells, hiddenSize]);
  return [output, [hidden, cell]];
}

/** What a recurrent handle is to run. */
export interface RNNCall {
  readonly x: Float32Array;
  readonly h0: Float32Array | null;
  readonly c0: Float32Array | null;
  readonly steps: number;
  readonly batch: number;
  readonly batchSizes: BigInt64Array | null;
  readonly firstLayer: number;
  readonly layers: number;
  /** Elements of y, hn and cn, the last 0 where the mode has no c. */
  readonly count: number;
  readonly hiddenCount: number;
  readonly cellCount: number;
}

/** y, hn and cn: to be indexed, for taking arrays apart costs 15 ns each. */
export type RNNOutputs = [y: Float32Array, hn: Float32Array, cn: Float32Array];

/** Runs a handle: its arguments as native code wants them, and new arrays for its results. */
export function callRNN(handle: RNNHandle, call: RNNCall): RNNOutputs {
  const { slots, sizes } = memory();
  const { h0, c0, batchSizes, count, hiddenCount, cellCount } = call;
  const x = toSlot(slots, 0, call.x);
  const h = h0 === null ? undefined : toSlot(slots, 1, h0);
  const c = c0 === null ? undefined : toSlot(slots, 2, c0);
  const states = hiddenCount + cellCount;
  const share = shareBuffer(hiddenCount, cellCount);
  const all = share && count <= states; // y, hn and cn in y's buffer
  const pair = share && !all && cellCount > 0; // hn and cn in hn's
  const y = newOutput(all ? count + states : count);
  const hn = all ? undefined : newOutput(pair ? states : hiddenCount);
  const cn = all || pair ? undefined : newOutput(cellCount);
  sizes[0] = call.steps;
  sizes[1] = call.batch;
  sizes[2] = call.firstLayer;
  sizes[3] = call.layers;
  sizes[4] = (h0 === null ? 0 : 1) + (c0 === null ? 0 : 2);
  sizes[arraysAt] =
    arrayBit(x, 0) + arrayBit(h, 1) + arrayBit(c, 2) + arrayBit(y, 3) + arrayBit(hn, 4) + arrayBit(cn, 5);
  // A method for each, for a seventh argument costs 100 ns.
  const status =
    batchSizes === null
      ? handle.forward(x, h, c, y, hn, cn)
      : handle.forwardPacked(x, h, c, y, hn, cn, batchSizes);
  throwUnlessOk(status, cellCount === 0 ? 'hidden' : 'hidden[0]');
  if (all || pair) {
    const { buffer } = (all ? y : hn)!;
    const hiddenAt = all ? count : 0;
    return [
      all ? new Float32Array(buffer, 0, count) : y!,
      new Float32Array(buffer, 4 * hiddenAt, hiddenCount),
      new Float32Array(buffer, 4 * (hiddenAt + hiddenCount), cellCount),
    ];
  }
  return [
    fromSlot(slots, 3, y, count),
    fromSlot(slots, 4, hn, hiddenCount),
    fromSlot(slots, 5, cn, cellCount),
  ];
}

/** Layer by layer, with dropout on what passes between them. */
function callWithDropout(handle: RNNHandle, call: RNNCall, dropout: number): RNNOutputs {
  const { layers, count } = call;
  const hiddenCount = call.hiddenCount / layers;
  const cellCount = call.cellCount / layers;
  let { x } = call;
  let y!: Float32Array;
  const hn = new Float32Array(call.hiddenCount);
  const cn = new Float32Array(call.cellCount);
  for (let layer = 0; layer < layers; layer++) {
    if (layer > 0) x = applyDropout(new Tensor(y, [count]), dropout).data as Float32Array;
    const h0 = call.h0 && call.h0.subarray(layer * hiddenCount, (layer + 1) * hiddenCount);
    const c0 = call.c0 && call.c0.subarray(layer * cellCount, (layer + 1) * cellCount);
    const part = { ...call, x, h0, c0, firstLayer: layer, layers: 1, hiddenCount, cellCount };
    const outputs = callRNN(handle, part);
    y = outputs[0];
    hn.set(outputs[1], layer * hiddenCount);
    cn.set(outputs[2], layer * cellCount);
  }
  return [y, hn, cn];
}

function cellsOf({ numLayers, bidirectional }: RNNConfig): number {
  return bidirectional ? 2 * numLayers : numLayers;
}

/** Features of the output. */
function featuresOf({ hiddenSize, projSize, bidirectional }: RNNConfig): number {
  return (bidirectional ? 2 : 1) * (projSize || hiddenSize);
}

function checkInput(input: Tensor, quantized: boolean): Tensor {
  if (!isTensor(input)) throw new TypeError(`input should be a Tensor, got ${describe(input)}`);
  if (input.dtype !== float32) {
    throw new TypeError(
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
