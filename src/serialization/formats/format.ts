import { readBytes, type Budget, type OpenFile, type Steps } from '../file.js';

/** What readers get beside the file. */
export interface ReadContext {
  /** The memory that loading may take. A reader spends what it is about to allocate, before it does. */
  readonly budget: Budget;
  /** The names of recurrent modules whose two cells are two directions, not two layers. */
  readonly bidirectional: ReadonlySet<string>;
  /** The caller's own limit of the memory, in bytes; each further file gets it too. */
  readonly memoryLimit?: number;
  /** Whether a pickle that names unknown classes or functions is refused. */
  readonly strict: boolean;
}

/** How many of a file's first bytes {@link Format.recognises} gets. */
export const headSize = 512;

/**
 * A file format. A new one is a folder beside this file and a row in the list of index.ts; then tests with fixtures,
 * and a line in docs/files.md.
 */
export interface Format {
  readonly name: string;
  /**
   * Whether a file is of this format. `head` is its first {@link headSize} bytes, or all that it has. If these do not
   * tell, return steps that look elsewhere in `file` (a zip archive's directory is at the end).
   */
  recognises(head: Uint8Array, file: OpenFile): boolean | Steps<boolean>;
  /**
   * Returns a state dict or plain data. A format of several files takes the one that names the others, and opens those
   * with `file.openBeside`. Check what the file claims before you allocate memory for it.
   *
   * @throws {CheckpointError} for everything that is wrong with the file
   */
  read(file: OpenFile, context: ReadContext): Steps<unknown>;
}

/** The first of some formats that recognises a file; undefined if none does. */
export function* formatOf(file: OpenFile, among: readonly Format[]): Steps<Format | undefined> {
  const head = yield* readBytes(file, 0, Math.min(file.size, headSize));
  for (const format of among) {
    const answer = format.recognises(head, file);
    if (typeof answer === 'boolean' ? answer : yield* answer) return format;
  }
  return undefined;
}
