import { describe, rangeError, typeError } from './errors.js';
import { native } from './native/addon.js';

/**
 * Sets how many threads one call may use, the calling one included. With 1, every call stays on its own thread.
 * The number holds for the whole process, worker threads included, from the next call on. Results do not depend on it.
 *
 * Threads are shared: one call has them at a time, and others run on their own thread. Calls of `forwardAsync` run on at
 * most this many threads of the process, and each that runs leaves one fewer to the others. More threads than
 * {@link getNumThreads} gives by default are allowed, but only make calls slower.
 *
 * @param threads 1 to 256
 * @throws {TypeError} when `threads` is not an integer @throws {RangeError} outside 1 to 256
 */
export function setNumThreads(threads: number): void {
  if (!Number.isInteger(threads)) {
    throw typeError('ERR_INVALID_ARG_TYPE', `setNumThreads expects an integer, but got ${describe(threads)}`);
  }
  const { maxThreads } = native();
  if (threads < 1 || threads > maxThreads) {
    throw rangeError(
      'ERR_INVALID_ARG_VALUE',
      `setNumThreads expects 1 to ${maxThreads} threads, but got ${threads}`,
    );
  }
  native().setNumThreads(threads);
}

/**
 * How many threads one call may use. By default this is the number of CPUs that this process may use: those of its
 * affinity mask or, if that is less, of its container's quota (cgroup v1 or v2, rounded up). {@link setNumThreads} and
 * the environment variable `DYNAQUANT_NUM_THREADS` change it; `OMP_NUM_THREADS` lowers it, as in PyTorch.
 */
export function getNumThreads(): number {
  return native().getNumThreads();
}
