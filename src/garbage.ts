import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';

let collect: (() => void) | undefined;

/**
 * Collects garbage. V8 counts the memory of arrays late, so released weights would stay until they are as large as
 * everything before them.
 *
 * Only for processes of our own (the command, the examples), because it changes a flag of V8. They also call it as
 * their last act. Node 20 waits at its end for the compiler's threads, and hangs if one of those waits for a collection
 * (https://github.com/nodejs/node/issues/54918), as it does if many arrays were made since the last collection.
 */
export function collectGarbage(): void {
  if (collect === undefined) {
    setFlagsFromString('--expose-gc');
    // Bun has none, and does without: it counts what native code tells of its memory.
    collect = (runInNewContext('globalThis.gc') as (() => void) | undefined) ?? ((): void => undefined);
    setFlagsFromString('--no-expose-gc'); // so that contexts made by others do not get it
  }
  collect();
}

/** Collects garbage if the process exposes it (`node --expose-gc`). A library must not change its user's V8 flags. */
export function collectIfExposed(): void {
  const { gc } = globalThis as { gc?: unknown };
  if (typeof gc === 'function') gc();
}
