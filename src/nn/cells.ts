import { takeSignal, type AsyncArguments } from '../async-options.js';
import { checkBoolean, checkOptions, checkSize, describe, rangeError, typeError } from '../errors.js';
import { callRNN, callRNNAsync, type RNNCall, type RNNOutputs } from '../native/call.js';
import type { RNNHandle, RNNMode } from '../native/handles.js';
import { float32 } from '../tensor/dtype.js';
import { checkTensor, isTensor, resultTensor, type Tensor } from '../tensor/tensor.js';
import { cellParameters, type RNNCellSizes } from './layer-parameters.js';
import { closed, closedGetters, fixed } from './closed.js';
import { isForwardReplaced } from './hooks.js';
import { Module, pack, type ModuleMetadata } from './module.js';
import { freeHandle } from './native-weights.js';
import { floatHandle, initParameters } from './rnn-base.js';
import { kindOf, nonlinearityOf, nonlinearMode } from './rnn-config.js';
import type { LSTMState } from './rnn-forward.js';

/** Options of LSTMCell and GRUCell. */
export interface CellOptions {
  /** Use `bias_ih` and `bias_hh`. Default: true. */
  bias?: boolean;
}

/** Options of RNNCell. */
export interface RNNCellOptions extends CellOptions {
  /** Default: `'tanh'`. */
  nonlinearity?: 'tanh' | 'relu';
}

/**
 * The properties of a cell, from its constructor's arguments.
 *
 * @throws {TypeError | RangeError} for sizes that are not positive integers, or unknown or wrong options
 */
export function cellConfig(
  kind: 'LSTM' | 'GRU' | 'RNN',
  inputSize: number,
  hiddenSize: number,
  options: RNNCellOptions,
  moreOptions: readonly string[] = [],
): RNNCellSizes {
  checkSize('input_size', inputSize);
  checkSize('hidden_size', hiddenSize);
  const own = kind === 'RNN' ? ['bias', 'nonlinearity'] : ['bias'];
  checkOptions(`${kind}Cell`, options, [...own, ...moreOptions]);
  const { bias = true, nonlinearity = 'tanh' } = options;
  checkBoolean('bias', bias);
  return { mode: kind === 'RNN' ? nonlinearMode(nonlinearity) : kind, inputSize, hiddenSize, bias };
}

/** PyTorch's `RNNCellBase.extra_repr`. */
export function cellRepr({ mode, inputSize, hiddenSize, bias }: RNNCellSizes): string {
  const nonlinearity = mode === 'RNN_RELU' ? ', nonlinearity=relu' : '';
  return `${inputSize}, ${hiddenSize}${bias ? '' : ', bias=False'}${nonlinearity}`;
}

/** What a state dict says about a cell: its type and its constructor's arguments. */
export function cellMetadata({ mode, inputSize, hiddenSize, bias }: RNNCellSizes): ModuleMetadata {
  const type = kindOf(mode);
  const nonlinearity = nonlinearityOf(mode);
  return { type: `${type}Cell`, inputSize, hiddenSize, bias, ...(type === 'RNN' && { nonlinearity }) };
}

/** The forward of every cell, float or quantized: one step of its handle. An LSTMCell gives `[h, c]`, others `h`. */
export function forwardCell(
  cell: RNNCellSizes,
  handle: RNNHandle,
  input: Tensor,
  state: LSTMState | Tensor | null | undefined,
  quantized: boolean,
): Tensor | [Tensor, Tensor] {
  const call = checkCellCall(cell, input, state, quantized);
  return shapedStates(cell, input.shape.length, callRNN(handle, call));
}

/** The forwardAsync of every cell. Until it returns it has copied what it needs. */
export async function forwardCellAsync(
  cell: RNNCellSizes,
  handle: RNNHandle,
  args: unknown[],
  signal: AbortSignal | undefined,
  quantized: boolean,
): Promise<Tensor | [Tensor, Tensor]> {
  const [input, state] = args as [Tensor, LSTMState | Tensor | null | undefined];
  const call = checkCellCall(cell, input, state, quantized);
  const rank = input.shape.length;
  return shapedStates(cell, rank, await callRNNAsync(handle, call, signal));
}

/** Checks the arguments of a forward. Returns what the handle should run. */
function checkCellCall(
  cell: RNNCellSizes,
  input: Tensor,
  state: LSTMState | Tensor | null | undefined,
  quantized: boolean,
): RNNCall {
  checkCellInput(cell, input, quantized);
  const { shape } = input;
  const rank = shape.length;
  const batch = rank === 2 ? shape[0]! : 1;
  const absent = state === undefined || state === null;
  const states = absent ? null : checkCellState(cell, state, rank, batch, quantized);
  const floats = batch * cell.hiddenSize;
  return {
    x: input.checked('input') as Float32Array,
    h0: states && states[0],
    c0: states && states[1],
    steps: 1,
    batch,
    batchSizes: null,
    firstLayer: 0,
    layers: 1,
    yFloats: floats,
    hFloats: floats,
    cFloats: cell.mode === 'LSTM' ? floats : 0,
  };
}

function shapedStates(
  { mode, hiddenSize }: RNNCellSizes,
  rank: number,
  results: RNNOutputs,
): Tensor | [Tensor, Tensor] {
  const hn = results[1];
  const shape = rank === 2 ? [hn.length / hiddenSize, hiddenSize] : [hiddenSize];
  const h = resultTensor(hn, shape);
  return mode === 'LSTM' ? [h, resultTensor(results[2], shape.slice())] : h;
}

function checkCellInput({ mode, inputSize }: RNNCellSizes, input: Tensor, quantized: boolean): void {
  checkTensor('input', input);
  if (input.dtype !== float32) {
    throw typeError(
      'ERR_DTYPE',
      quantized
        ? `expected scalar type Float but found ${input.dtype}`
        : `mat1 and mat2 must have the same dtype, but got ${input.dtype} and float32`,
    );
  }
  const { shape } = input;
  const rank = shape.length;
  if (rank !== 1 && rank !== 2) {
    throw rangeError('ERR_SHAPE', `${kindOf(mode)}Cell: Expected input to be 1D or 2D, got ${rank}D instead`);
  }
  if (shape[rank - 1] !== inputSize) {
    throw rangeError(
      'ERR_SHAPE',
      `input has inconsistent input_size: got ${shape[rank - 1]}${quantized ? ',' : ''} expected ${inputSize}`,
    );
  }
}

function checkCellState(
  cell: RNNCellSizes,
  state: LSTMState | Tensor,
  rank: number,
  batch: number,
  quantized: boolean,
): [h0: Float32Array, c0: Float32Array | null] {
  if (cell.mode !== 'LSTM') {
    if (!isTensor(state))
      throw typeError('ERR_INVALID_ARG_TYPE', `state should be a Tensor h, got ${describe(state)}`);
    return [stateData(cell, state, rank, batch, 'hidden', quantized ? 'hidden' : 'hidden0'), null];
  }
  if (!Array.isArray(state) || state.length !== 2 || !isTensor(state[0]) || !isTensor(state[1])) {
    throw typeError(
      'ERR_INVALID_ARG_TYPE',
      `state should be a pair of Tensors [h, c], got ${describe(state)}`,
    );
  }
  const [h, c] = state as unknown as LSTMState;
  return [
    stateData(cell, h, rank, batch, 'hx[0]', quantized ? 'hidden[0]' : 'hidden0'),
    stateData(cell, c, rank, batch, 'hx[1]', quantized ? 'hidden[1]' : 'hidden1'),
  ];
}

function stateData(
  { mode, hiddenSize }: RNNCellSizes,
  state: Tensor,
  rank: number,
  batch: number,
  name: string,
  label: string,
): Float32Array {
  if (state.dtype !== float32) {
    throw typeError('ERR_DTYPE', `${label} should be a float32 Tensor, got ${state.dtype}`);
  }
  const { shape } = state;
  if (shape.length !== 1 && shape.length !== 2) {
    throw rangeError(
      'ERR_SHAPE',
      `${kindOf(mode)}Cell: Expected ${name} to be 1D or 2D, got ${shape.length}D instead`,
    );
  }
  if (shape.length !== rank) {
    throw rangeError(
      'ERR_SHAPE',
      `Expected ${rank}D ${label} (${rank === 2 ? 'batch x hidden_size' : 'hidden_size'}), but got ${shape.length}D tensor`,
    );
  }
  if (rank === 2 && shape[0] !== batch) {
    throw rangeError('ERR_SHAPE', `Input batch size ${batch} doesn't match ${label} batch size ${shape[0]}`);
  }
  if (shape[rank - 1] !== hiddenSize) {
    throw rangeError(
      'ERR_SHAPE',
      `${label} has inconsistent hidden_size: got ${shape[rank - 1]}, expected ${hiddenSize}`,
    );
  }
  return state.checked(label) as Float32Array;
}

/** PyTorch's `RNNCellBase`: what the float cells share. Not public. */
abstract class RNNCellBase extends Module implements RNNCellSizes {
  /** @internal */
  declare readonly [fixed]: RNNCellSizes;
  /** `LSTM`, `GRU`, `RNN_TANH` or `RNN_RELU`, as in PyTorch. */
  declare readonly mode: RNNMode;
  /** The number of features of the input. */
  declare readonly inputSize: number;
  /** The number of units, which is the width of the state. */
  declare readonly hiddenSize: number;
  /** Whether there are `bias_ih` and `bias_hh`. */
  declare readonly bias: boolean;

  constructor(config: RNNCellSizes) {
    super();
    closed(this, config);
    initParameters(this, cellParameters(config), config.hiddenSize);
  }

  /** Call this after a direct write into a parameter's `.data`, so that the next forward packs the weights again. */
  repack(): void {
    freeHandle(this);
  }
  override extraRepr(): string {
    return cellRepr(this);
  }
  protected override metadata(): ModuleMetadata {
    return cellMetadata(this);
  }
  protected step(input: Tensor, state: LSTMState | Tensor | null | undefined): Tensor | [Tensor, Tensor] {
    return forwardCell(this[fixed], this.handle(), input, state, false);
  }
  /** {@link step} on another thread. The arguments are those of forwardAsync. */
  protected async stepAsync(args: unknown[]): Promise<Tensor | [Tensor, Tensor]> {
    if (isForwardReplaced(this)) return (await super.forwardAsync(...args)) as Tensor;
    const signal = takeSignal(args, 2);
    return await forwardCellAsync(this[fixed], this.handle(), args, signal, false);
  }
  private handle(): RNNHandle {
    return floatHandle(this, cellParameters, 0, 1, 1);
  }
  /** @internal */
  override [pack](): void {
    this.handle();
  }
}

/**
 * One step of one layer of an {@link LSTM}, with its equations. Sizes and options are fixed at construction.
 *
 * Parameters, with H the hiddenSize: `weight_ih` `[4 * H, inputSize]`, `weight_hh` `[4 * H, H]`, `bias_ih` and
 * `bias_hh` `[4 * H]`, at first all from U(-s, s) with `s = 1 / sqrt(H)`.
 */
export class LSTMCell extends RNNCellBase {
  /** @throws {TypeError | RangeError} for sizes that are not positive integers, or unknown or wrong options */
  constructor(inputSize: number, hiddenSize: number, options: CellOptions = {}) {
    super(cellConfig('LSTM', inputSize, hiddenSize, options));
  }

  /**
   * @param input - `(B, inputSize)`, or unbatched `(inputSize)`; float32
   * @param state - `[h, c]`, each `(B, H)` (unbatched: `(H)`); absent: zeros
   * @returns the next `[h, c]`
   * @throws {TypeError} when an argument is not a float32 tensor (`ERR_INVALID_ARG_TYPE`, `ERR_DTYPE`)
   * @throws {RangeError} for wrong shapes (`ERR_SHAPE`)
   */
  override forward(input: Tensor, state?: LSTMState | null): [Tensor, Tensor] {
    return this.step(input, state) as [Tensor, Tensor];
  }

  /** {@link forward} while the event loop goes on: see {@link Module.forwardAsync}. */
  override forwardAsync(
    input: Tensor,
    ...rest: AsyncArguments<[state?: LSTMState | null]>
  ): Promise<[Tensor, Tensor]> {
    return this.stepAsync([input, ...rest]) as Promise<[Tensor, Tensor]>;
  }
}

/**
 * One step of one layer of a {@link GRU}, with its equations. Sizes and options are fixed at construction.
 *
 * Parameters, with H the hiddenSize: `weight_ih` `[3 * H, inputSize]`, `weight_hh` `[3 * H, H]`, `bias_ih` and
 * `bias_hh` `[3 * H]`, at first all from U(-s, s) with `s = 1 / sqrt(H)`.
 */
export class GRUCell extends RNNCellBase {
  /** @throws {TypeError | RangeError} for sizes that are not positive integers, or unknown or wrong options */
  constructor(inputSize: number, hiddenSize: number, options: CellOptions = {}) {
    super(cellConfig('GRU', inputSize, hiddenSize, options));
  }

  /**
   * @param input - `(B, inputSize)`, or unbatched `(inputSize)`; float32
   * @param state - h `(B, H)` (unbatched: `(H)`); absent: zeros
   * @returns the next h
   * @throws {TypeError} when an argument is not a float32 tensor (`ERR_INVALID_ARG_TYPE`, `ERR_DTYPE`)
   * @throws {RangeError} for wrong shapes (`ERR_SHAPE`)
   */
  override forward(input: Tensor, state?: Tensor | null): Tensor {
    return this.step(input, state) as Tensor;
  }

  /** {@link forward} while the event loop goes on: see {@link Module.forwardAsync}. */
  override forwardAsync(input: Tensor, ...rest: AsyncArguments<[state?: Tensor | null]>): Promise<Tensor> {
    return this.stepAsync([input, ...rest]) as Promise<Tensor>;
  }
}

/**
 * One step of one layer of an {@link RNN}, with its equation. Sizes and options are fixed at construction.
 *
 * Parameters, with H the hiddenSize: `weight_ih` `[H, inputSize]`, `weight_hh` `[H, H]`, `bias_ih` and `bias_hh`
 * `[H]`, at first all from U(-s, s) with `s = 1 / sqrt(H)`.
 */
export class RNNCell extends RNNCellBase {
  /** @throws {TypeError | RangeError} for sizes that are not positive integers, or unknown or wrong options */
  constructor(inputSize: number, hiddenSize: number, options: RNNCellOptions = {}) {
    super(cellConfig('RNN', inputSize, hiddenSize, options));
  }

  /** What is applied to the sums. */
  get nonlinearity(): 'tanh' | 'relu' {
    return nonlinearityOf(this.mode);
  }
  static {
    closedGetters(this.prototype, 'nonlinearity');
  }

  /** One step. Arguments, result and errors are {@link GRUCell}'s. */
  override forward(input: Tensor, state?: Tensor | null): Tensor {
    return this.step(input, state) as Tensor;
  }

  /** {@link forward} while the event loop goes on: see {@link Module.forwardAsync}. */
  override forwardAsync(input: Tensor, ...rest: AsyncArguments<[state?: Tensor | null]>): Promise<Tensor> {
    return this.stepAsync([input, ...rest]) as Promise<Tensor>;
  }
}
