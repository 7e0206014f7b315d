// What a contender's file offers to child.ts.
import type { ModelTrial, Trial } from '../trials.js';
import type { Job, ModelFiles } from './index.js';

/** A layer or model that is ready to be called. */
export interface Subject {
  readonly version: string;
  /** One call as a user makes it: inputs in, results out. */
  call(): unknown;
  /** Whether `call` returns a promise. */
  readonly asynchronous: boolean;
  /** Takes the output out of what a call returned. */
  output(result: unknown): Float32Array;
}

export type Setup = (
  job: Job<Trial>,
  tensors: ReadonlyMap<string, Float32Array>,
) => Subject | Promise<Subject>;

export type ModelSetup = (
  job: Job<ModelTrial> & { model: ModelFiles },
  tensors: ReadonlyMap<string, Float32Array>,
) => Subject | Promise<Subject>;

/** The reason why a contender cannot take part here. It is not a failure. */
export class Skip extends Error {}
