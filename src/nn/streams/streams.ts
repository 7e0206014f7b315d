import { takeSignal, type AsyncOptions } from '../../async-options.js';
import {
  checkOptions,
  describe,
  disposedError,
  rangeError,
  tagOf,
  typeError,
  type Coded,
} from '../../errors.js';
import { native } from '../../native/addon.js';
import { keepStates } from '../../native/call.js';
import type { StreamArena, StreamStatus } from '../../native/handles.js';
import { emptyArray, float32 } from '../../tensor/dtype.js';
import { formatShape } from '../../tensor/shape.js';
import { checkTensor, isTensor, resultTensor, type Tensor } from '../../tensor/tensor.js';
import { hasForwardAsync } from '../container.js';
import type { Module } from '../module.js';
import { checkPacked, isPackedSequence, PackedSequence } from '../packed-sequence.js';
import type { OutputOf } from '../rnn-forward.js';
import { areFinite, Fingerprint, loadedState, savedState } from './saved-state.js';
import { checkStage, runStages, stagesOf, type Stage, type StepRows, type StepStates } from './stages.js';

/** The streams of a step. A Float64Array is read by native code alone; an array of numbers is copied first. */
export type StreamIds = readonly number[] | Float64Array;

/** The arrays of one step. They are kept for the next one, unless hooks see them. */
interface StepArrays {
  /** How many streams they have room for. */
  readonly room: number;
  readonly ids: Float64Array;
  readonly slots: Int32Array;
  /** As native code gathers them, and as it takes the next ones. */
  readonly states: Float32Array;
  readonly next: Float32Array;
  /** What both hold for `count` streams: for each module that has states. */
  count: number;
  views: readonly StepStates[];
}

/** A step that has taken its streams. */
interface Step {
  readonly arrays: StepArrays;
  readonly count: number;
  /** The first module's input. */
  readonly rows: StepRows;
  /** Whether somebody else may keep the states that he sees. */
  readonly hooked: boolean;
}

/**
 * The states of many live streams of one recurrent model. A service that keeps thousands of streams open steps those
 * that have input now in one batch: their states are gathered, the model runs once, and their states are scattered
 * back. Each stream gets the same bits as alone through `forward`.
 *
 * ```ts
 * const streams = new nn.Streams([embedding, lstm, linear]);
 * const a = streams.open();
 * const b = streams.open();
 * const logits = streams.step([a, b], tokens); // tokens (2), logits (2, classes)
 * streams.close(a);
 * ```
 *
 * The model is a recurrent module (LSTM, GRU, RNN or a cell, in one direction), or several modules that run in a row,
 * as an array or a `Sequential`. At least one of them is recurrent, and each of these has its own state. The others
 * must work row by row, as Linear, Embedding, LayerNorm and the activations do. Float, float16 and INT8 modules may be
 * mixed, but INT8 ones must have `activation: 'perRow'`. What a module of your own runs is passed as an array:
 * `[model.embedding, model.lstm, model.head]`. The list is read at construction. The modules stay yours, and their
 * weights may change between steps.
 *
 * A stream takes the bytes of its states: `4 * numLayers * (hiddenSize + (projSize or hiddenSize))` for an LSTM,
 * `4 * numLayers * hiddenSize` for a GRU or RNN, and about 12 more. They are native memory, which only `rss` of
 * `process.memoryUsage()` shows, and come in blocks of 256 KB (or one stream, if that is more). A block whose streams
 * are all closed gives its memory back to the system; new streams fill the lowest gaps first.
 */
export class Streams {
  private readonly stages: readonly Stage[];
  /** Of a stream's states. */
  private readonly floats: number;
  private readonly fingerprint = new Fingerprint();
  private arena: StreamArena | null;
  private opened = 0;
  private spare: StepArrays | null = null;

  /**
   * @throws {TypeError} when `model` is neither a Module nor an array of Modules
   * @throws {RangeError} (`ERR_INVALID_ARG_VALUE`) when a module cannot serve streams, with the reason: it quantizes
   * activations per tensor, so that neighbours would change an answer; it is bidirectional; it is in training and
   * drops at random; it does not give a row for each row (EmbeddingBag); or it is not known to work row by row (a
   * class of your own). Also when none is recurrent.
   */
  constructor(model: Module | readonly Module[]) {
    this.stages = stagesOf(model);
    const parts = this.stages.flatMap(({ states }) => states ?? []);
    this.floats = parts.reduce((sum, { layers, hidden, cell }) => sum + layers * (hidden + cell), 0);
    this.arena = new (native().StreamArena)(parts);
  }

  /** How many streams are open. */
  get size(): number {
    return this.opened;
  }

  /**
   * Opens a stream, whose states are zeros.
   *
   * @returns its id: a positive integer. No other stream ever gets the same id.
   * @throws {RangeError} (`ERR_TOO_LARGE`) when there is no memory for another
   */
  open(): number {
    const id = this.live().open();
    if (id === 0) throw rangeError('ERR_TOO_LARGE', `there are too many streams: ${this.opened} are open`);
    this.opened++;
    return id;
  }

  /** Makes a stream's states zeros again. @throws {RangeError} (`ERR_STREAM`) when there is no such stream */
  reset(id: number): void {
    this.check(this.live().reset(checkId(id)), 'id', id);
  }

  /** Ends a stream. @throws {RangeError} (`ERR_STREAM`) when there is no such stream */
  close(id: number): void {
    this.check(this.live().close(checkId(id)), 'id', id);
    this.opened--;
  }

  /**
   * Takes the next step of some streams, or several steps. If it throws, no stream is changed. So one row that a
   * module refuses, as INT8 modules refuse NaN, is an error for all of them.
   *
   * @param ids - the streams, each once, in any order. A Float64Array costs no work in JavaScript.
   * @param x - one step: a row for each stream, in the order of `ids`, `(B, features)` float32, or `(B)` int32 or int64
   * when the first module is an Embedding. Several steps, of unequal length: a packed sequence for each stream, in the
   * order of `ids` (see `packSequence`).
   * @returns the last module's output: `(B, features)`, or packed if `x` is
   * @throws {TypeError} when an argument is of the wrong kind
   * @throws {RangeError} when there is no such stream, or one has two rows (`ERR_STREAM`), for wrong shapes
   * (`ERR_SHAPE`), and what the modules throw
   */
  step<X extends Tensor | PackedSequence>(ids: StreamIds, x: X): OutputOf<X> {
    const step = this.begin(ids, x);
    let output: Tensor | undefined;
    try {
      const run = this.run(step);
      let next = run.next();
      while (next.done !== true) {
        const { module, args } = next.value;
        next = run.next(module.forward(...args));
      }
      output = next.value;
    } finally {
      this.end(step, output !== undefined);
    }
    return shapedLike(x, output);
  }

  /**
   * {@link step} while the event loop goes on: see {@link Module.forwardAsync}, which it calls of each module. The
   * arguments may be changed right after the call. Steps of different streams may be under way at once, which is how
   * they use several threads. Until a stream's step has ended, it is an error (`ERR_STREAM`) to step, reset, close or
   * save it.
   *
   * @param options.signal - its abort cancels a step of which no module computes: the promise rejects with the signal's
   * reason, and no stream is changed
   */
  async stepAsync<X extends Tensor | PackedSequence>(
    ids: StreamIds,
    x: X,
    options: AsyncOptions = {},
  ): Promise<OutputOf<X>> {
    checkOptions('stepAsync', options, ['signal']);
    const signal = takeSignal([options]);
    const last = signal === undefined ? [] : [{ signal }];
    const own = copyOfPacked(x);
    const step = this.begin(ids, own);
    let output: Tensor | undefined;
    try {
      const run = this.run(step);
      let next = run.next();
      while (next.done !== true) {
        const { module, args } = next.value;
        // Without a turn in between until the first that is asynchronous has copied its input, which may be the caller's.
        const isAsync = hasForwardAsync(module);
        next = run.next(isAsync ? await module.forwardAsync(...args, ...last) : module.forward(...args));
      }
      output = next.value;
    } finally {
      this.end(step, output !== undefined);
    }
    return shapedLike(own, output);
  }

  /**
   * A stream's state as bytes, with which {@link fromBuffer} goes on, bit for bit: here, in another process or on
   * another machine. (INT8 modules have the same bits on every machine; float ones on those of one instruction set.)
   * They hold a version, the model's fingerprint, the states and a checksum: 32 bytes more than the states.
   *
   * The fingerprint is a hash of all modules' types, options and weights. It is computed at the first call, here or of
   * {@link fromBuffer}, and again after weights have changed: in about 0.1 s for 100 MB of float weights, and up to 1 s
   * for 100 MB of INT8 or float16 weights, which must be unpacked. (A direct write into a parameter's `.data` does not
   * count as a change.)
   *
   * @throws {RangeError} when there is no such stream (`ERR_STREAM`), or its state is NaN or infinity, which a float
   * module's can be (`ERR_NOT_FINITE`)
   */
  toBuffer(id: number): Uint8Array {
    const states = new Float32Array(this.floats);
    this.check(this.live().read(checkId(id), states), 'id', id);
    if (!areFinite(states))
      throw rangeError(
        'ERR_NOT_FINITE',
        `the state of stream ${id} should be finite, but holds NaN or infinity`,
      );
    return savedState(states, this.fingerprint.of(this.stages));
  }

  /**
   * Opens a stream with a state that {@link toBuffer} returned, from a model with the same modules and weights.
   *
   * @returns its id
   * @throws {TypeError} when `bytes` is no Uint8Array
   * @throws {RangeError} (`ERR_STREAM`) when the bytes are damaged or truncated, or of another model; nothing is opened
   */
  fromBuffer(bytes: Uint8Array): number {
    const arena = this.live();
    const states = loadedState(bytes, this.floats, this.fingerprint.of(this.stages));
    const id = this.open();
    arena.write(id, states);
    return id;
  }

  /** Frees the memory of all streams at once. Any other call throws an Error (`ERR_DISPOSED`) afterwards. */
  dispose(): void {
    this.arena?.dispose();
    this.arena = null;
    this.spare = null;
    this.opened = 0;
  }
  /** {@link dispose}, for `using` declarations. */
  [Symbol.dispose](): void {
    this.dispose();
  }

  private live(): StreamArena {
    if (this.arena === null) throw disposedError('these Streams were disposed');
    return this.arena;
  }

  /** Throws unless the status is that of success. */
  private check(status: StreamStatus, name: string, id: number): void {
    if (status === 0) return;
    const why = {
      ok: '',
      noStream: 'there is no such stream, or it was closed',
      inStep: 'a step of this stream has not ended',
      twice: 'a step takes each stream once; pass a PackedSequence for several steps',
    }[native().streamStatusNames[status]!];
    throw rangeError('ERR_STREAM', `${name} is ${id}: ${why}`);
  }

  /** Takes the streams of a step and gathers their states. */
  private begin(ids: StreamIds, x: Tensor | PackedSequence): Step {
    this.live();
    this.stages.forEach(checkStage);
    checkIds(ids);
    const packed = !isTensor(x) && isPackedSequence(x) ? checkPacked(x) : null;
    const data = packed === null ? (x as Tensor) : packed.data;
    if (packed === null) checkTensor('x', x);
    data.checked('x');
    const count = packed === null ? data.shape[0] : packed.batchSizes[0]!;
    if (count !== ids.length) {
      const got = packed === null ? `is ${formatShape(data.shape)}` : `has ${count} sequences`;
      const wanted = packed === null ? 'a row' : 'a sequence';
      throw rangeError('ERR_SHAPE', `x should have ${wanted} for each of the ${ids.length} ids, but ${got}`);
    }
    const arrays = this.takeArrays(count);
    const inOrder = idsInOrder(ids, packed && packed.sorted, count, arrays.ids);
    const status = this.live().begin(inOrder, count, arrays.slots, arrays.states);
    if (status !== 0) {
      this.spare = arrays;
      const index = arrays.slots[0]!;
      this.check(status, `ids[${packed?.sorted?.[index] ?? index}]`, inOrder[index]!);
    }
    const hooked = this.stages.some(({ module }) => Object.hasOwn(module, 'forward'));
    return { arrays, count, hooked, rows: { data, batchSizes: packed && (x as PackedSequence).batchSizes } };
  }

  private *run({ rows, arrays }: Step): ReturnType<typeof runStages> {
    const output = yield* runStages(this.stages, rows, arrays.views);
    this.live(); // it may have been disposed of meanwhile
    return output;
  }

  /** Lets go of a step's streams, with their next states if the step succeeded. */
  private end({ arrays, count, hooked }: Step, succeeded: boolean): void {
    if (this.arena === null) return;
    this.arena.end(arrays.slots, count, succeeded ? arrays.next : undefined);
    if (!hooked) this.spare = arrays;
  }

  private takeArrays(count: number): StepArrays {
    let arrays = this.spare;
    this.spare = null;
    if (arrays === null || arrays.room < count) {
      // Twice as many as before, so that growing steps do not each allocate.
      const room = Math.max(count, 2 * (arrays?.room ?? 0));
      arrays = {
        room,
        ids: new Float64Array(room),
        slots: new Int32Array(room),
        states: emptyArray(float32, room * this.floats),
        next: emptyArray(float32, room * this.floats),
        count: -1,
        views: [],
      };
    }
    if (arrays.count !== count) {
      arrays.count = count;
      arrays.views = viewsOf(this.stages, arrays, count);
    }
    return arrays;
  }
}

/** Each module's part of a step's states. */
function viewsOf(stages: readonly Stage[], { states, next }: StepArrays, count: number): StepStates[] {
  let start = 0;
  return stages.flatMap(({ states: sizes }) => {
    if (sizes === null) return [];
    const { layers, hidden, cell, isCell } = sizes;
    const views: StepStates & { given: Tensor[]; next: Float32Array[] } = { given: [], next: [] };
    for (const width of cell === 0 ? [hidden] : [hidden, cell]) {
      const end = start + layers * count * width;
      const shape = isCell ? [count, width] : [layers, count, width];
      views.given.push(resultTensor(states.subarray(start, end), shape));
      views.next.push(next.subarray(start, end));
      start = end;
    }
    // Not a cell's, because its h is also its output.
    if (!isCell) keepStates(views.given[0]!.data as Float32Array, views.next);
    return [views];
  });
}

/** Packed sequences are read until a step has ended, so they are copied first if it is asynchronous. */
function copyOfPacked<X extends Tensor | PackedSequence>(x: X): X {
  if (isTensor(x) || !isPackedSequence(x)) return x;
  checkPacked(x);
  const { data, batchSizes, sortedIndices, unsortedIndices } = x;
  const [sorted, unsorted] = [sortedIndices, unsortedIndices].map((each) => each && each.clone());
  return new PackedSequence(data.clone(), batchSizes.clone(), sorted, unsorted) as X;
}

/** A stack's output in the form of its input. */
function shapedLike<X extends Tensor | PackedSequence>(x: X, output: Tensor): OutputOf<X> {
  if (isTensor(x)) return output as OutputOf<X>;
  const { batchSizes, sortedIndices, unsortedIndices } = x as PackedSequence;
  return new PackedSequence(output, batchSizes, sortedIndices, unsortedIndices) as OutputOf<X>;
}

function checkId(id: unknown): number {
  if (typeof id !== 'number')
    throw typeError(
      'ERR_INVALID_ARG_TYPE',
      `id should be a number that open() returned, got ${describe(id)}`,
    );
  return id;
}

function checkIds(ids: unknown): asserts ids is StreamIds {
  if (!Array.isArray(ids) && !isFloat64Array(ids)) throw wrongIds(describe(ids));
}

function isFloat64Array(ids: unknown): ids is Float64Array {
  return ArrayBuffer.isView(ids) && tagOf(ids) === 'Float64Array';
}

/** Ids are up to 2^53, so they do not fit into an Int32Array. */
function wrongIds(got: string): Coded<TypeError> {
  const sentence = `ids should be an array of numbers that open() returned, or a Float64Array, got ${got}`;
  return typeError('ERR_INVALID_ARG_TYPE', sentence);
}

/** So few are copied in any case, because V8 keeps small arrays where native code cannot read them. */
const fewIds = 8;

/** The ids as native code takes them, in the order of the packed sequences if there is one. */
function idsInOrder(
  ids: StreamIds,
  order: readonly number[] | null,
  count: number,
  to: Float64Array,
): Float64Array {
  if (order === null && count > fewIds && isFloat64Array(ids)) return ids;
  for (let i = 0; i < count; i++) {
    const id: unknown = ids[order === null ? i : order[i]!];
    if (typeof id !== 'number') throw wrongIds(`an array with ${describe(id)}`);
    to[i] = id;
  }
  return to;
}
