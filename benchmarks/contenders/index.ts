// The contenders, and how each is started: one process for each contender and trial, which speaks JSON lines.
import { join } from 'node:path';

import type { Profile } from '../run.js';
import type { Facets, ModelTrial, Trial } from '../trials.js';

export type Mode = 'pertensor' | 'perchannel' | 'perrow' | 'fullrange' | 'best';
const modes: readonly Mode[] = ['pertensor', 'perchannel', 'perrow', 'fullrange', 'best'];

export interface Contender {
  readonly name: string;
  readonly engine: 'dynaquant' | 'onnxruntime' | 'pytorch';
  /**
   * The weights: int8, or uint8 for int8 stored with a zero point of 128 (the same arithmetic, another instruction),
   * float16 with arithmetic in float32, or float.
   */
  readonly type: 'int8' | 'uint8' | 'float16' | 'float';
  /** How dynaquant chooses ranges and scales: a qconfig. */
  readonly mode?: Mode;
}

/** The others are compared with the first. */
export const contenders: readonly Contender[] = [
  { name: 'dynaquant-int8', engine: 'dynaquant', type: 'int8', mode: 'pertensor' },
  ...modes
    .slice(1)
    .map((mode): Contender => ({ name: `dynaquant-int8-${mode}`, engine: 'dynaquant', type: 'int8', mode })),
  { name: 'onnxruntime-int8', engine: 'onnxruntime', type: 'int8' },
  { name: 'onnxruntime-uint8', engine: 'onnxruntime', type: 'uint8' },
  { name: 'pytorch-int8', engine: 'pytorch', type: 'int8' },
  { name: 'dynaquant-float16', engine: 'dynaquant', type: 'float16' },
  { name: 'pytorch-float16', engine: 'pytorch', type: 'float16' },
  { name: 'dynaquant-float', engine: 'dynaquant', type: 'float' },
  { name: 'onnxruntime-float', engine: 'onnxruntime', type: 'float' },
  { name: 'pytorch-float', engine: 'pytorch', type: 'float' },
];

/** Contenders without modes are chosen with every mode. */
export function contenderFacets({ name, engine, type, mode }: Contender): Facets {
  return { name, engine, type, mode: mode ?? modes };
}

/** Whole models run in int8 and in float. */
export function runsModels({ type }: Contender): boolean {
  return type === 'int8' || type === 'float';
}

/** What a model's contenders find on disk, as prepare_model.py made it. */
export interface ModelFiles {
  /** The file of the weights, and the folder of the graphs. */
  readonly weights: string;
  readonly graphs: string;
  /** Of a stream: the shape of its LSTM's hidden state, and of its cell state. */
  readonly state?: readonly number[];
  /** Why there are no graphs. */
  readonly skip?: string;
}

/** What a contender's process is told when it starts. */
export interface Job<AnyTrial extends Trial | ModelTrial = Trial | ModelTrial> {
  readonly trial: AnyTrial;
  readonly contender: Contender;
  /** All tensors of the trial, float32, one after the other. */
  readonly file: string;
  readonly tensors: readonly (readonly [name: string, shape: readonly number[]])[];
  /** Of a whole model, whose tensors are `x` and `y` only. */
  readonly model?: ModelFiles;
  /** Whether it should say where a call's time goes, in place of rounds. */
  readonly profile?: boolean;
}

/** Its first answer, after it compared its output with the float result. */
export type Greeting =
  { version: string; error: number; cosine: number; usPerCall: number; profile?: Profile } | { skip: string };

/** The request that it then gets once a round. */
export interface RoundRequest {
  /** Calls between two readings of the clock. */
  calls: number;
  batches: number;
}

/** Its answer: for each batch, the microseconds a call. */
export interface RoundReply {
  batches: number[];
}

export function commandOf({ engine }: Contender, root: string): [command: string, ...args: string[]] {
  if (engine !== 'pytorch') return [process.execPath, join(root, 'build', 'benchmarks', 'child.js')];
  return [pythonCommand(), join(root, 'benchmarks', 'contenders', 'pytorch.py')];
}

export function pythonCommand(): string {
  return process.env['DYNAQUANT_BENCH_PYTHON'] ?? 'python3';
}
