import { describe, rangeError, typeError, type Coded } from '../../errors.js';
import type { StreamPart } from '../../native/handles.js';
import { float32 } from '../../tensor/dtype.js';
import { formatShape } from '../../tensor/shape.js';
import { checkTensor, isTensor, resultTensor, type Tensor } from '../../tensor/tensor.js';
import { floatCatalogue, type CatalogueEntry, type Options } from '../catalogue.js';
import { Sequential } from '../container.js';
import { isModule, type Module } from '../module.js';
import { isPackedSequence, PackedSequence } from '../packed-sequence.js';
import { quantizedCatalogue } from '../quantized/catalogue.js';
import type { RNNConfig } from '../rnn-config.js';
import { RNNStack } from '../rnn-stack.js';

// Which modules serve live streams, and how the rows of many streams go through one of them.

/** A module of a stack. */
export interface Stage {
  readonly module: Module;
  /** Its place and name in error sentences. */
  readonly label: string;
  /** Null if it has no states. */
  readonly states: StageStates | null;
  /** Whether it runs modules of its own. */
  readonly composite: boolean;
}

export interface StageStates extends StreamPart {
  /** A cell takes one step a call, and has no dimension for layers. */
  readonly isCell: boolean;
  readonly batchFirst: boolean;
}

const entries: readonly CatalogueEntry[] = [...floatCatalogue, ...quantizedCatalogue];

/** A module's `forward` without hooks: its class's, or that of a class that it extends without another one. */
function forwardOf(module: Module): unknown {
  return (Object.getPrototypeOf(module) as Module).forward;
}

/**
 * The modules of a stack in their order, those of a Sequential or an RNNStack one by one.
 *
 * @throws {TypeError | RangeError} saying why a module cannot serve live streams
 */
export function stagesOf(model: unknown): Stage[] {
  const list = Array.isArray(model) ? (model as unknown[]) : [model];
  const stages: Stage[] = [];
  const add = (module: unknown, label: string): void => {
    if (!isModule(module)) {
      const expected = 'a Module, or an array of Modules';
      throw typeError('ERR_INVALID_ARG_TYPE', `model should be ${expected}, got ${describe(module)}`);
    }
    const forward = forwardOf(module);
    if (forward !== Sequential.prototype.forward && forward !== RNNStack.prototype.forward)
      stages.push(stageOf(module, `${label} (${module.constructor.name})`));
    else for (const [name, child] of module.namedChildren()) add(child, `${label}.${name}`);
  };
  list.forEach((module, i) => add(module, Array.isArray(model) ? `model[${i}]` : 'model'));
  stages.forEach(checkStage);
  if (!stages.some(({ states }) => states !== null)) {
    throw rangeError(
      'ERR_INVALID_ARG_VALUE',
      'model has no recurrent module, so its streams would have no state: call forward instead',
    );
  }
  return stages;
}

function refused(label: string, why: string): Coded<RangeError> {
  return rangeError('ERR_INVALID_ARG_VALUE', `${label} cannot serve live streams: ${why}`);
}

function stageOf(module: Module, label: string): Stage {
  const entry = entries.find(({ Class }) => (Class.prototype as Module).forward === forwardOf(module));
  if (entry === undefined) {
    const why =
      'whether its forward works row by row is not known. Pass the modules that it runs, as an array';
    throw refused(label, why);
  }
  if (entry.sizes.includes('hiddenSize')) {
    return { module, label, states: statesOf(module as Module & RNNConfig, label), composite: false };
  }
  if (entry.rowByRow !== true) throw refused(label, 'it does not give one row for each row of its input');
  const { dim, normalizedShape, maxNorm } = optionsOf(module);
  if (dim !== undefined && dim !== -1)
    throw refused(label, `its dim is ${describe(dim)}, and only -1 is the features of a row`);
  if (Array.isArray(normalizedShape) && normalizedShape.length > 1)
    throw refused(label, 'its normalizedShape has more dimensions than the features of a row');
  if (typeof maxNorm === 'number')
    throw refused(label, 'with maxNorm its forward changes the model, which all streams share');
  return { module, label, states: null, composite: entry.fromChildren !== undefined };
}

/** Options that only some classes have. */
function optionsOf(module: Module): Options {
  return module as unknown as Options;
}

/** The sizes of a recurrent module's or a cell's states. */
function statesOf(module: Module & RNNConfig, label: string): StageStates {
  const { mode, hiddenSize, projSize = 0, numLayers = 1, batchFirst = false, bidirectional } = module;
  if (bidirectional) throw refused(label, 'it is bidirectional, and would need the end of a stream first');
  return {
    layers: numLayers,
    hidden: projSize || hiddenSize,
    cell: mode === 'LSTM' ? hiddenSize : 0,
    isCell: bidirectional === undefined,
    batchFirst,
  };
}

/** Checks what may change while streams live. */
export function checkStage({ module, label, composite }: Stage): void {
  const { training } = module;
  const { activation, p, dropout, numLayers } = optionsOf(module);
  if (activation === 'perTensor') {
    throw refused(
      label,
      "its INT8 activations have one range for all rows of a call, so that a stream's results would depend on the streams beside it. Quantize it with a range for each row: bestDynamicQConfig, or activation: 'perRow'",
    );
  }
  if (training && (Number(p) > 0 || (Number(dropout) > 0 && Number(numLayers) > 1)))
    throw refused(label, 'it is in training, where it drops at random: call eval()');
  if (composite) {
    for (const [name, child] of module.namedChildren()) checkStage(stageOf(child, `${label}.${name}`));
  }
}

/** A module's states of a step, `[h]` or `[h, c]`. Those of a layer are `(layers, B, features)`, a cell's `(B, features)`. */
export interface StepStates {
  readonly given: readonly Tensor[];
  /** Memory for the next ones. */
  readonly next: readonly Float32Array[];
}

/** Rows of many streams: a row of each, or their packed sequences. */
export interface StepRows {
  readonly data: Tensor;
  /** Null if there is one row of each. */
  readonly batchSizes: Tensor | null;
}

/** A call of a module's `forward`. Whoever makes it passes the result back. */
export interface ForwardCall {
  readonly module: Module;
  readonly args: readonly unknown[];
}
type Calls = Generator<ForwardCall, Tensor, unknown>;

/** Runs a stack on rows. Returns its output, and leaves the next states in `states`, which has those of each module. */
export function* runStages(stages: readonly Stage[], rows: StepRows, states: readonly StepStates[]): Calls {
  const { batchSizes } = rows;
  let { data } = rows;
  let part = 0;
  for (const stage of stages) {
    if (stage.states === null) data = (yield { module: stage.module, args: [data] }) as Tensor;
    else data = yield* runStage(stage, stage.states, { data, batchSizes }, states[part++]!);
  }
  return data;
}

/** Runs a module that has states. */
function* runStage(
  stage: Stage,
  { isCell, batchFirst }: StageStates,
  { data, batchSizes }: StepRows,
  states: StepStates,
): Calls {
  checkTensor('x', data); // a hook may have made it something else
  const { shape } = data;
  if (shape.length !== 2) {
    const sentence = `x should be (rows, features) for ${stage.label}, but is ${formatShape(shape)}`;
    throw rangeError('ERR_SHAPE', sentence);
  }
  const { module } = stage;
  if (isCell && batchSizes !== null) return yield* runSteps(stage, data, batchSizes, states);
  if (isCell) return stepOfCell(stage, yield { module, args: [data, stateOf(states)] }, states);
  if (batchSizes !== null) {
    const packed = new PackedSequence(data, batchSizes);
    const result = yield { module, args: [packed, stateOf(states)] };
    if (!Array.isArray(result) || !isPackedSequence(result[0])) throw wrongResult(stage);
    keep(stage, result[1], states);
    return result[0].data;
  }
  const [rows, features] = shape as [number, number];
  const input = data.reshape(batchFirst ? [rows, 1, features] : [1, rows, features]);
  const result = yield { module, args: [input, stateOf(states)] };
  if (!Array.isArray(result) || !isTensor(result[0])) throw wrongResult(stage);
  keep(stage, result[1], states);
  return result[0].reshape(rows, result[0].shape.at(-1)!);
}

/** The states as `forward` takes them. */
function stateOf({ given }: StepStates): unknown {
  return given.length === 1 ? given[0] : given;
}

/** A cell's h, which is its output too. */
function stepOfCell(stage: Stage, result: unknown, states: StepStates): Tensor {
  keep(stage, result, states);
  const h: unknown = Array.isArray(result) ? result[0] : result;
  return h as Tensor; // keep() has checked it
}

/** Packed sequences step by step. Each step has the rows of the first streams, because the longest come first. */
function* runSteps(stage: Stage, data: Tensor, batchSizes: Tensor, { given, next }: StepStates): Calls {
  const widths = given.map(({ shape }) => shape[1]!);
  given.forEach((tensor, i) => next[i]!.set(tensor.data as Float32Array));
  const out = new Float32Array(data.shape[0]! * widths[0]!);
  let row = 0;
  for (const size of batchSizes.toArray() as number[]) {
    const now = next.map((all, i) => all.subarray(0, size * widths[i]!));
    const states = {
      given: now.map((each, i) => resultTensor(each.slice(), [size, widths[i]!])),
      next: now,
    };
    const args = [data.slice(0, row, row + size), stateOf(states)];
    const h = stepOfCell(stage, yield { module: stage.module, args }, states);
    out.set(h.data as Float32Array, row * widths[0]!);
    row += size;
  }
  return resultTensor(out, [row, widths[0]!]);
}

/** Leaves a module's next states where they belong. A hook may have replaced them. */
function keep(stage: Stage, last: unknown, { next }: StepStates): void {
  const list: unknown = next.length === 1 ? [last] : last;
  next.forEach((kept, i) => {
    const state: unknown = Array.isArray(list) ? list[i] : undefined;
    if (!isTensor(state) || state.dtype !== float32 || state.numel !== kept.length) throw wrongResult(stage);
    const data = state.checked('the state') as Float32Array;
    if (data !== kept) kept.set(data);
  });
}

function wrongResult({ label }: Stage): Coded<TypeError> {
  return typeError(
    'ERR_INVALID_ARG_TYPE',
    `a hook of ${label} should return an output and states like its module's`,
  );
}
