import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';

let collect: (() => void) | undefined;

/**
 * Collects garbage. The engine counts the memory of arrays late: weights that were let go would stay until they are as
 * large as all that was there before.
 *
 * For processes of our own (the command, the examples), because it changes a flag of V8. It is their last act, too:
 * Node 20 waits at its end for the compiler's threads, and hangs where one of those waits for a collection
 * (https://github.com/nodejs/node/issues/54918), which it does when many arrays came since the last one.
 */
export function collectGarbage(): void {
  if (collect === undefined) {
    setFlagsFromString('--expose-gc');
    collect = runInNewContext('gc') as () => void;
    setFlagsFromString('--no-expose-gc'); // contexts that others make shall not have it
  }
  collect();
}

/** Collects garbage if the process allows it (`node --expose-gc`): a library changes no flag of its user's process. */
export function collectIfExposed(): void {
  (globalThis as { gc?: () => void }).gc?.();
}
