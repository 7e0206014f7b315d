import { RequestError } from './errors.js';
import type { Model } from './models.js';

/**
 * Bytes of memory that an input takes until its answer is computed, and that the answer takes until it is sent. The
 * kernels have some four copies of the widest layer's outputs at a time. A number of the output takes 4 bytes as it was
 * computed, and as many in the answer, or some 20 in JSON.
 *
 * @param inputBytes - of the input
 * @param steps - of all sequences
 */
export function memoryOf(
  { output: { features }, widestLayer }: Model,
  inputBytes: number,
  steps: number,
  inJSON: boolean,
): { computing: number; answer: number } {
  return {
    computing: inputBytes + 4 * 4 * steps * widestLayer,
    answer: steps * features * (inJSON ? 24 : 8),
  };
}

/** Bounds what requests hold in memory: their bodies, what waits or computes, and answers that clients have not taken. */
export class MemoryBudget {
  private taken = 0;

  /** @param limit - in bytes */
  constructor(private readonly limit: number) {}

  /** How many bytes are taken. */
  get used(): number {
    return this.taken;
  }

  /**
   * Takes some bytes. The function that it returns gives so many of them back, or all that are left.
   *
   * @throws {RequestError} 503 when there is no room for them, 400 when there never will be
   */
  take(bytes: number): (some?: number) => void {
    if (bytes > this.limit)
      throw new RequestError(
        400,
        `a request with its answer should take at most ${this.limit} bytes of memory, but takes ${bytes}: send fewer sequences or steps`,
      );
    if (this.taken + bytes > this.limit)
      throw new RequestError(
        503,
        `all requests should take at most ${this.limit} bytes of memory, but take ${this.taken} already: retry later`,
        1,
      );
    this.taken += bytes;
    let left = bytes;
    return (some = left) => {
      this.taken -= some;
      left -= some;
    };
  }
}
