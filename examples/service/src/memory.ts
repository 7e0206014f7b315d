import { RequestError } from './errors.js';

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
