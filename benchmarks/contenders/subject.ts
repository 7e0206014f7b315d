// What a contender's file offers to child.ts.
import type { Job } from './index.js';

/** A layer that is ready to be called. */
export interface Subject {
  readonly version: string;
  /** One call as a user makes it: inputs in, results out. */
  call(): unknown;
  /** True where `call` gives a promise. */
  readonly asynchronous: boolean;
  /** The layer's output in what a call gave. */
  output(result: unknown): Float32Array;
}

export type Setup = (job: Job, tensors: ReadonlyMap<string, Float32Array>) => Subject | Promise<Subject>;

/** Why a contender cannot take part here; no failure. */
export class Skip extends Error {}
