// Tensors of the Open Inference Protocol: JSON, or bytes after the JSON, checked against what a model takes.
import { Tensor } from 'dynaquant';
import { RequestError, describe } from './errors.js';
import type { Model } from './models.js';

/** A tensor as a request has it, after the check against the JSON schema. */
export interface TensorJSON {
  readonly name: string;
  readonly shape: readonly number[];
  readonly datatype: string;
  readonly data?: readonly unknown[];
  readonly parameters?: { readonly binary_data_size?: number };
}

export type Numbers = Float32Array | BigInt64Array;

/** The sequences of a request, all of the same length. */
export interface Sequences {
  readonly batch: number;
  readonly steps: number;
  /** Sequence after sequence, step after step. */
  readonly data: Numbers;
  /** The axes of the request before its features, which the answer has too: (T) or (B, T). */
  readonly leading: readonly number[];
}

export interface SizeLimits {
  /** Sequences of a request. */
  readonly maxRows: number;
  /** Steps of a sequence. */
  readonly maxSteps: number;
}

/** @throws {RequestError} 400 with what is wrong */
export function sequencesOf(
  model: Model,
  input: TensorJSON,
  bytes: Buffer | undefined,
  limits: SizeLimits,
): Sequences {
  const { name, datatype } = model.input;
  if (input.name !== name) throw wrong(`inputs[0].name should be '${name}', got ${describe(input.name)}`);
  if (input.datatype !== datatype)
    throw wrong(`inputs[0].datatype should be ${datatype}, got ${describe(input.datatype)}`);
  const leading = leadingAxes(model, input.shape);
  const steps = leading.at(-1)!;
  const batch = leading.length === 2 ? leading[0]! : 1;
  if (batch > limits.maxRows)
    throw wrong(`inputs[0].shape should have at most ${limits.maxRows} sequences, got ${batch}`);
  if (steps > limits.maxSteps)
    throw wrong(`inputs[0].shape should have at most ${limits.maxSteps} steps, got ${steps}`);
  const data = bytes === undefined ? fromJSON(input) : fromBytes(bytes, input);
  checkValues(model, data, 'inputs[0].data');
  return { batch, steps, data, leading };
}

/** The axes before the features, which are (T) or (B, T). */
function leadingAxes({ input: { features } }: Model, shape: readonly number[]): readonly number[] {
  const axes = features === 0 ? 0 : 1; // a token has no axis of its own
  const rank = shape.length - axes;
  if (shape.every((n) => n > 0) && (rank === 1 || rank === 2) && (axes === 0 || shape.at(-1) === features))
    return shape.slice(0, rank);
  const last = axes === 0 ? '' : `, ${features}`;
  throw wrong(
    `inputs[0].shape should be [steps${last}] or [sequences, steps${last}], got [${shape.join(', ')}]`,
  );
}

/** The bytes of an input, which come after the JSON. */
function fromBytes(bytes: Buffer, { shape, datatype }: TensorJSON): Numbers {
  const size = (datatype === 'FP32' ? 4 : 8) * product(shape);
  if (bytes.length !== size) {
    const sentence = `inputs[0].parameters.binary_data_size should be ${size} for the shape [${shape.join(', ')}]`;
    throw wrong(`${sentence}, got ${bytes.length}`);
  }
  const { buffer } = new Uint8Array(bytes); // a copy: where the JSON ends is seldom aligned
  return datatype === 'FP32' ? new Float32Array(buffer) : new BigInt64Array(buffer);
}

/**
 * Numbers in JSON: all in one array, or nested as the shape says.
 *
 * @throws {RequestError} 400 that begins with `where`
 */
export function fromJSON({ data, shape, datatype }: TensorJSON, where = 'inputs[0].data'): Numbers {
  if (data === undefined)
    throw wrong(
      'inputs[0].data should be an array, or inputs[0].parameters.binary_data_size say how many bytes follow',
    );
  const numbers: number[] = [];
  const read = (list: readonly unknown[], axes: readonly number[], path: string): void => {
    if (list.length !== axes[0])
      throw wrong(
        `${path} should have ${axes[0]} elements for the shape [${shape.join(', ')}], got ${list.length}`,
      );
    list.forEach((value, i) => {
      if (axes.length > 1) {
        if (!Array.isArray(value)) throw wrong(`${path}[${i}] should be an array, got ${describe(value)}`);
        read(value, axes.slice(1), `${path}[${i}]`);
      } else if (typeof value !== 'number') {
        throw wrong(`${path}[${i}] should be a number, got ${describe(value)}`);
      } else if (datatype === 'INT64' && !Number.isSafeInteger(value)) {
        throw wrong(`${path}[${i}] should be an integer, got ${value}`);
      } else numbers.push(value);
    });
  };
  read(data, Array.isArray(data[0]) ? shape : [product(shape)], where);
  return datatype === 'FP32' ? Float32Array.from(numbers) : BigInt64Array.from(numbers, BigInt);
}

function product(shape: readonly number[]): number {
  return shape.reduce((all, n) => all * n, 1);
}

/**
 * Checks what a model takes: finite numbers, and tokens that it knows. One bad row would fail a whole batch.
 *
 * @throws {RequestError} 400 that begins with `where`
 */
export function checkValues(model: Model, data: Numbers, where: string): void {
  const { length } = data;
  if (model.input.datatype === 'FP32') {
    const floats = data as Float32Array;
    for (let i = 0; i < length; i++)
      if (!Number.isFinite(floats[i]))
        throw wrong(`${where}[${i}] should be a finite float32, got ${floats[i]}`);
  } else {
    const tokens = model.vocabulary?.length ?? 0;
    for (let i = 0; i < length; i++)
      if (data[i]! < 0 || data[i]! >= tokens)
        throw wrong(`${where}[${i}] should be a token from 0 to ${tokens - 1}, got ${data[i]}`);
  }
}

/** One sequence as a model's layers take it: (T, features), or (T) tokens. */
export function tensorOf({ input: { features } }: Model, data: Numbers): Tensor {
  return new Tensor(data, features === 0 ? [data.length] : [data.length / features, features]);
}

function wrong(sentence: string): RequestError {
  return new RequestError(400, sentence);
}
