import { describe, rangeError, typeError, type Coded } from '../../errors.js';
import type { StreamPart } from '../../native/handles.js';
import { float32 } from '../../tensor/dtype.js';
import { formatShape } from '../../tensor/shape.js';
import { isTensor, resultTensor, type Tensor } from '../../tensor/tensor.js';
import { floatCatalogue, type CatalogueEntry, type Options } from '../catalogue.js';
import { Sequential } from '../container.js';
import { isModule, type Module } from '../module.js';
import { isPackedSequence, PackedSequence } from '../packed-sequence.js';
import { quantizedCatalogue } from '../quantized/catalogue.js';
import type { RNNConfig } from '../rnn-config.js';

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

/** The class whose `forward` a module has: its own, or one that it extends without another forward. */
function entryOfForward(module: Module): CatalogueEntry | undefined {
  const { forward } = Object.getPrototypeOf(module) as Module;
  return entries.find(
    ({ Class }) => module instanceof Class && forward === (Class.prototype as Module).forward,
  );
}

/**
 * The modules of a stack in their order, those of a Sequential one by one.
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
    const isSequential =
      module instanceof Sequential &&
      (Object.getPrototypeOf(module) as Module).forward === Sequential.prototype.forward;
    if (!isSequential) stages.push(stageOf(module, `${label} (${module.constructor.name})`));
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
  const entry = entryOfForward(module);
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

/** `[h]` or `[h, c]`, each `(layers, batch, features)`; without layers for a cell. */
export type States = readonly Tensor[];

/** A stage's results: the rows, and its next states as native code takes them. */
export interface StageResult {
  readonly rows: Tensor;
  readonly hn: Float32Array;
  readonly cn: Float32Array | null;
}

/** Runs a module that has states on `(rows, features)`: a row of each stream, or of packed sequences. */
export function runStage(
  stage: Stage,
  states: StageStates,
  rows: Tensor,
  batchSizes: Tensor | null,
  given: States,
): StageResult {
  const { shape } = rows;
  if (shape.length !== 2) {
    const sentence = `x should be (rows, features) for ${stage.label}, but is ${formatShape(shape)}`;
    throw rangeError('ERR_SHAPE', sentence);
  }
  if (states.isCell) return runCell(stage, states, rows, batchSizes, given);
  const { module } = stage;
  const [count, features] = shape as [number, number];
  const state = given.length === 1 ? given[0] : given;
  if (batchSizes !== null) {
    const [output, last] = module.forward(new PackedSequence(rows, batchSizes), state) as unknown[];
    if (!isPackedSequence(output)) throw wrongResult(stage);
    return checkedResult(stage, states, output.data, last, given);
  }
  const batched = states.batchFirst ? [count, 1, features] : [1, count, features];
  const [output, last] = module.forward(rows.reshape(batched), state) as unknown[];
  if (!isTensor(output)) throw wrongResult(stage);
  return checkedResult(stage, states, output.reshape(count, output.shape.at(-1)!), last, given);
}

/** A cell takes the rows step by step. Each step has the rows of the first streams, the others have ended. */
function runCell(
  stage: Stage,
  states: StageStates,
  rows: Tensor,
  batchSizes: Tensor | null,
  given: States,
): StageResult {
  const step = (x: Tensor, state: States): StageResult => {
    const result: unknown = stage.module.forward(x, state.length === 1 ? state[0] : state);
    const h: unknown = Array.isArray(result) ? result[0] : result;
    if (!isTensor(h)) throw wrongResult(stage);
    return checkedResult(stage, states, h, result, state);
  };
  if (batchSizes === null) return step(rows, given);
  const { hidden, cell } = states;
  const last = given.map(({ data }) => (data as Float32Array).slice());
  const out = new Float32Array(rows.shape[0]! * hidden);
  let row = 0;
  for (const size of batchSizes.toArray() as number[]) {
    const first = (data: Float32Array, width: number): Tensor =>
      resultTensor(data.subarray(0, size * width), [size, width]);
    const state = last.map((data, i) => first(data, i === 0 ? hidden : cell));
    const { hn, cn } = step(rows.slice(0, row, row + size), state);
    last[0]!.set(hn);
    if (cn !== null) last[1]!.set(cn);
    out.set(hn, row * hidden);
    row += size;
  }
  return { rows: resultTensor(out, [row, hidden]), hn: last[0]!, cn: last[1] ?? null };
}

/** A hook may have replaced the results, so they are checked before a stream is changed. */
function checkedResult(
  stage: Stage,
  { cell }: StageStates,
  rows: Tensor,
  last: unknown,
  given: States,
): StageResult {
  const list: unknown = cell > 0 ? last : [last];
  if (!Array.isArray(list)) throw wrongResult(stage);
  const [hn, cn] = given.map(({ data }, i) => {
    const next: unknown = list[i];
    if (!isTensor(next) || next.dtype !== float32 || next.numel !== data.length) throw wrongResult(stage);
    return next.checked('the state') as Float32Array;
  });
  return { rows, hn: hn!, cn: cn ?? null };
}

function wrongResult({ label }: Stage): Coded<TypeError> {
  return typeError(
    'ERR_INVALID_ARG_TYPE',
    `a hook of ${label} should return an output and states like its module's`,
  );
}
