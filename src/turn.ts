/**
 * How asynchronous calls share the thread of the event loop. Small ones compute in it. A loop that awaits one after the
 * other never leaves the queue of microtasks, and timers, sockets and files would wait for its end. So all such calls
 * together may take half a millisecond of a turn of the event loop; what comes later waits for the next turn, or runs
 * on another thread.
 */

const turnMilliseconds = 0.5;

let left = turnMilliseconds;
let renewing = false;

/** Whether there is time left in this turn. */
export function hasTime(): boolean {
  return left > 0;
}

/** Returns what `compute` does, and counts the time that it takes. */
export function computeHere<R>(compute: () => R): R {
  const start = performance.now();
  try {
    return compute();
  } finally {
    left -= performance.now() - start;
    // Not each turn, because most use little, and an immediate callback costs as much as a small call.
    if (left < turnMilliseconds / 2 && !renewing) {
      renewing = true;
      setImmediate(renew);
    }
  }
}

function renew(): void {
  left = turnMilliseconds;
  renewing = false;
}

/** Runs the slices of a long computation, with a turn of the event loop between them. */
export async function computeInSlices(slices: Iterable<() => void>): Promise<void> {
  let first = true;
  for (const slice of slices) {
    if (!first) await nextTurn();
    first = false;
    computeHere(slice);
  }
  if (!hasTime()) await nextTurn();
}

/** The next turn of the event loop. */
export function nextTurn(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}
