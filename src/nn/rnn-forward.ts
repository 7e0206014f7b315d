import { describe, rangeError, typeError } from '../errors.js';
import { callRNN, callRNNAsync, type RNNCall, type RNNOutputs } from '../native/call.js';
import type { RNNHandle } from '../native/handles.js';
import { float32 } from '../tensor/dtype.js';
import { checkTensor, isTensor, resultTensor, Tensor } from '../tensor/tensor.js';
import { dropout as applyDropout } from './functional/activation.js';
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
  const call = checkSequences(module, input, state, quantized);
  const outputs = drops(module) ? callWithDropout(handle, call, module.dropout) : callRNN(handle, call);
  return shaped(module, call, outputs);
}

/** The forwardAsync of every recurrent module. Until it returns it has copied what it needs. */
export async function forwardRNNAsync(
  module: RNNConfig,
  handle: RNNHandle,
  input: Tensor | PackedSequence,
  state: LSTMState | Tensor | null | undefined,
  quantized: boolean,
  signal: AbortSignal | undefined,
): Promise<RNNResult> {
  const call = checkSequences(module, input, state, quantized);
  const outputs = drops(module)
    ? callWithDropoutAsync(handle, call, module.dropout, signal)
    : callRNNAsync(handle, call, signal);
  if (Array.isArray(outputs)) return shaped(module, call, outputs);
  const { packed } = call;
  const kept = packed === null ? call : { ...call, packed: copyOrder(packed) };
  return shaped(module, kept, await outputs);
}

/** Dropout between layers. */
function drops({ dropout, numLayers }: RNNConfig): boolean {
  return dropout > 0 && numLayers > 1;
}

/** Checks the arguments of a forward. */
function checkSequences(
  module: RNNConfig,
  input: Tensor | PackedSequence,
  state: LSTMState | Tensor | null | undefined,
  quantized: boolean,
): Sequences {
  if (!isTensor(input) && isPackedSequence(input)) {
    return checkPackedSequences(module, input, state, quantized);
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
  const data = transposed.checked('input') as Float32Array;
  const states = checkState(module, state, batched ? batch : null, true);
  return {
    x: data,
    h0: states[0],
    c0: states[1],
    steps,
    batch,
    batchSizes: null,
    firstLayer: 0,
    layers: module.numLayers,
    yFloats: steps * batch * features,
    hFloats: hiddenFloats(module, batch),
    cFloats: cellFloats(module, batch),
    outputShape: batched ? [steps, batch, features] : [steps, features],
    batched,
    swap,
    packed: null,
  };
}

/** The first two dimensions exchanged. No copy if one of them is 1, because the rows then keep their order. */
function swapped(tensor: Tensor): Tensor {
  const [a, b, features] = tensor.shape as [number, number, number];
  return a === 1 || b === 1 ? tensor.reshape(b, a, features) : tensor.transpose(0, 1);
}

/** The caller's states are in the caller's order, the handle's in the order of the packed data. */
function checkPackedSequences(
  module: RNNConfig,
  input: PackedSequence,
  state: LSTMState | Tensor | null | undefined,
  quantized: boolean,
): Sequences {
  const { data, batchSizes, sorted, unsorted } = checkPacked(input);
  checkInput(data, quantized);
  if (data.dim() !== 2) throw rangeError('ERR_SHAPE', `input must have 2 dimensions, got ${data.dim()}`);
  checkFeatures(module, data);
  const batch = batchSizes[0]!;
  const [h0, c0] = checkState(module, state, batch, false);
  const outputShape = [data.shape[0]!, featuresOf(module)] as const;
  return {
    x: data.checked('input') as Float32Array,
    h0: h0 && permuted(h0, batch, module, sorted),
    c0: c0 && permuted(c0, batch, module, sorted),
    steps: batchSizes.length,
    batch,
    batchSizes: BigInt64Array.from(batchSizes, BigInt),
    firstLayer: 0,
    layers: module.numLayers,
    yFloats: outputShape[0] * outputShape[1],
    hFloats: hiddenFloats(module, batch),
    cFloats: cellFloats(module, batch),
    outputShape,
    batched: true,
    swap: false,
    packed: { input, unsorted },
  };
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

/** Checked sequences, in the order in which the handle takes them, through all layers; and what the caller gets. */
interface Sequences extends RNNCall {
  readonly outputShape: readonly number[];
  readonly batched: boolean;
  /** Whether the caller has the batch before the steps. */
  readonly swap: boolean;
  /** Null unless the sequences are packed. */
  readonly packed: PackedOrder | null;
}

/** The order of packed sequences: as the input says it to the output, and where each state belongs. */
interface PackedOrder {
  readonly input: Pick<PackedSequence, 'batchSizes' | 'sortedIndices' | 'unsortedIndices'>;
  readonly unsorted: readonly number[] | null;
}

function copyOrder({ input, unsorted }: PackedOrder): PackedOrder {
  const { batchSizes, sortedIndices, unsortedIndices } = input;
  const copies = {
    batchSizes: batchSizes.clone(),
    sortedIndices: sortedIndices && sortedIndices.clone(),
    unsortedIndices: unsortedIndices && unsortedIndices.clone(),
  };
  return { input: copies, unsorted };
}

/** The result of a forward, from what the handle gave. */
function shaped(module: RNNConfig, sequences: Sequences, results: RNNOutputs): RNNResult {
  const { batch, batched, packed } = sequences;
  if (packed !== null) results = inCallersOrder(module, sequences, results);
  const { hiddenSize } = module;
  const directions = directionsOf(module);
  const projected = module.projSize || hiddenSize;
  const output = shapedOutput(sequences, results[0]);
  const hidden = resultTensor(results[1], batched ? [directions, batch, projected] : [directions, projected]);
  if (module.mode !== 'LSTM') return [output, hidden];
  const cell = resultTensor(results[2], batched ? [directions, batch, hiddenSize] : [directions, hiddenSize]);
  return [output, [hidden, cell]];
}

function shapedOutput({ outputShape, swap, packed }: Sequences, data: Float32Array): Tensor | PackedSequence {
  const output = resultTensor(data, outputShape);
  if (packed === null) return swap ? swapped(output) : output;
  const { batchSizes, sortedIndices, unsortedIndices } = packed.input;
  return new PackedSequence(output, batchSizes, sortedIndices, unsortedIndices);
}

/** The states of packed sequences as the caller has them. */
function inCallersOrder(
  module: RNNConfig,
  { batch, packed }: Sequences,
  [y, hn, cn]: RNNOutputs,
): RNNOutputs {
  const { unsorted } = packed!;
  return [y, permuted(hn, batch, module, unsorted), permuted(cn, batch, module, unsorted)];
}

/** Runs layer by layer, with dropout between them. */
function callWithDropout(handle: RNNHandle, call: RNNCall, dropout: number): RNNOutputs {
  const layers = layersWithDropout(call, dropout);
  let next = layers.next();
  while (next.done !== true) next = layers.next(callRNN(handle, next.value));
  return next.value;
}

async function callWithDropoutAsync(
  handle: RNNHandle,
  call: RNNCall,
  dropout: number,
  signal: AbortSignal | undefined,
): Promise<RNNOutputs> {
  // Each layer copies its input when it starts. Those of deeper layers are read later.
  const { h0, c0 } = call;
  const layers = layersWithDropout({ ...call, h0: h0 && h0.slice(), c0: c0 && c0.slice() }, dropout);
  let next = layers.next();
  while (next.done !== true) {
    if (signal?.aborted === true) throw signal.reason;
    next = layers.next(await callRNNAsync(handle, next.value, signal));
  }
  return next.value;
}

/** The calls of single layers, each of which gets its outputs back before the next. */
function* layersWithDropout(call: RNNCall, dropout: number): Generator<RNNCall, RNNOutputs, RNNOutputs> {
  const { layers, yFloats } = call;
  const hFloats = call.hFloats / layers;
  const cFloats = call.cFloats / layers;
  let { x } = call;
  let y!: Float32Array;
  const hn = new Float32Array(call.hFloats);
  const cn = new Float32Array(call.cFloats);
  for (let layer = 0; layer < layers; layer++) {
    if (layer > 0) x = applyDropout(new Tensor(y, [yFloats]), { p: dropout }).data as Float32Array;
    const h0 = call.h0 && call.h0.subarray(layer * hFloats, (layer + 1) * hFloats);
    const c0 = call.c0 && call.c0.subarray(layer * cFloats, (layer + 1) * cFloats);
    const outputs = yield { ...call, x, h0, c0, firstLayer: layer, layers: 1, hFloats, cFloats };
    y = outputs[0];
    hn.set(outputs[1], layer * hFloats);
    cn.set(outputs[2], layer * cFloats);
  }
  return [y, hn, cn];
}

/** Elements of hn. */
function hiddenFloats(module: RNNConfig, batch: number): number {
  return directionsOf(module) * batch * (module.projSize || module.hiddenSize);
}

/** Elements of cn. */
function cellFloats(module: RNNConfig, batch: number): number {
  return module.mode === 'LSTM' ? directionsOf(module) * batch * module.hiddenSize : 0;
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

/**
 * Checks a state before the input, which another module checks.
 *
 * @returns false for input of a wrong kind or rank, with which no state can be checked
 */
export function checkInitialState(module: RNNConfig, input: unknown, state: LSTMState | Tensor): boolean {
  if (!isTensor(input)) {
    if (!isPackedSequence(input)) return false;
    checkState(module, state, checkPacked(input).batchSizes[0]!, false);
    return true;
  }
  const rank = input.dim();
  if (rank !== 2 && rank !== 3) return false;
  checkState(module, state, rank === 2 ? null : input.shape[module.batchFirst ? 0 : 1]!, true);
  return true;
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
