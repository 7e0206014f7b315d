import { CheckpointError } from '../errors.js';
import { byteLengthOf, bytesOf, type TensorData } from '../tensor/index.js';
import { nextTurn } from '../turn.js';
import { inflateSync, type Unpacked } from './file-node-inflate.js';

// Files as the readers of formats see them. Nothing here or in `formats/` knows where a file comes from or needs Node:
// file-node.ts opens files of the file system and file-node-inflate.ts unpacks, another platform brings its own.

/**
 * The steps of a reader. Readers are generators, written once for both ways to run: what they yield may be a promise.
 * {@link runSync} hands it back as it is (files opened synchronously answer with values), {@link runAsync} awaits it.
 */
export type Steps<T> = Generator<unknown, T, unknown>;

/** A step of its own, after which the event loop goes on before the next one, where it waits for the result. */
export const pause: unique symbol = Symbol('pause');

export function runSync<T>(steps: Steps<T>): T {
  let step = steps.next();
  while (!step.done) step = steps.next(step.value);
  return step.value;
}

export async function runAsync<T>(steps: Steps<T>): Promise<T> {
  let step = steps.next();
  while (!step.done) {
    let value: unknown;
    try {
      value = await (step.value === pause ? nextTurn() : step.value);
    } catch (error) {
      step = steps.throw(error);
      continue;
    }
    step = steps.next(value);
  }
  return step.value;
}

/** A file as readers see it. Yield what its functions return, because it may be a promise. */
export interface OpenFile {
  readonly size: number;
  /** Reads at most `target.length` bytes from `position` on, and returns their number. */
  read(target: Uint8Array, position: number): unknown;
  close(): unknown;
  /** What raw deflate data unpacks to, in memory of its own. Throws when that is not what is claimed. */
  inflate(packed: Uint8Array, claim: Unpacked): unknown;
  /** Opens another file of the same folder. Null if the file is in no folder, as bytes in memory are not. */
  readonly openBeside: ((name: string) => unknown) | null;
}

export function bytesFile(bytes: Uint8Array): OpenFile {
  return {
    size: bytes.length,
    read: (target, position) => {
      const part = bytes.subarray(position, position + target.length);
      target.set(part);
      return part.length;
    },
    close: () => undefined,
    inflate: inflateSync,
    openBeside: null,
  };
}

/** The most bytes that one call asks for, because the operating system gives less than 2 GB at once. */
const largestRead = 2 ** 30;

/** Fills `target` from `position` on. */
export function* readInto(file: OpenFile, target: TensorData, position: number): Steps<void> {
  const length = byteLengthOf(target);
  for (let done = 0; done < length;) {
    const part = bytesOf(target, done, Math.min(length, done + largestRead));
    const count = (yield file.read(part, position + done)) as number;
    // A handle of the caller's own may answer anything.
    if (!(Number.isInteger(count) && count > 0 && count <= part.length))
      throw new CheckpointError(`offset ${position + done}: the file ends here`);
    done += count;
  }
}

/** Some bytes of the file. Allocates nothing for bytes that it does not have. */
export function* readBytes(file: OpenFile, position: number, length: number): Steps<Uint8Array<ArrayBuffer>> {
  if (!(position >= 0 && length >= 0 && position + length <= file.size)) {
    throw new CheckpointError(
      `offset ${position}: ${length} bytes should follow, but the file has ${file.size} bytes`,
    );
  }
  const target = new Uint8Array(length);
  yield* readInto(file, target, position);
  return target;
}

/** Opens another file of the same folder. `refuse` throws for one that cannot be opened. */
export function* openPart(
  open: NonNullable<OpenFile['openBeside']>,
  name: string,
  refuse: (cause: Error) => never,
): Steps<OpenFile> {
  try {
    return (yield open(name)) as OpenFile;
  } catch (error) {
    return refuse(error as Error);
  }
}

/** Throws a CheckpointError that names a place in the file. */
export type Fail = (what: string) => never;

/** A function that refuses the file because of something at this offset. */
export function failAt(offset: number): Fail {
  return (what) => {
    throw new CheckpointError(`offset ${offset}: ${what}`);
  };
}

/** Bytes as text, one character a byte. */
export function latin1(bytes: Uint8Array): string {
  return Array.from(bytes, (byte) => String.fromCharCode(byte)).join('');
}

/** The memory that values, and views that repeat elements, may take beyond the size of any file. */
const headroom = 2 ** 25;
/**
 * The memory that values may take for each byte of a pickle, header or directory, where this is more. Of what PyTorch
 * writes, many small dicts need most: 65 bytes a byte for `[{'done': True}, …]`, 23 for a log of three numbers a step.
 */
const bytesPerByte = 64;

/**
 * The memory that loading may take. It keeps a file from unfolding to much more than its own size: a file can use one
 * value many times, by memo or by view.
 */
export class Budget {
  left: number;
  /** The bytes of the pickles, headers and directories so far. */
  private described = 0;

  /** @param limit - the caller's own limit in bytes, in place of what the file's size allows */
  constructor(
    file: OpenFile,
    private readonly limit?: number,
  ) {
    this.left = limit ?? file.size + headroom;
  }
  /** Gives room for the values that so many bytes of a pickle, a header or a directory may describe. */
  earn(bytes: number): void {
    if (this.limit !== undefined) return;
    const before = Math.max(headroom, bytesPerByte * this.described);
    this.described += bytes;
    this.left += Math.max(headroom, bytesPerByte * this.described) - before;
  }
  /** Returns a function that undoes what happens from now on. */
  mark(): () => void {
    const { left, described } = this;
    return () => {
      this.left = left;
      this.described = described;
    };
  }
  /** Gives room for what the file may honestly hold beyond its own size. */
  allow(bytes: number): void {
    if (this.limit === undefined) this.left += bytes;
  }
  /** Takes room, or throws. `where` returns the beginning of the sentence. */
  spend(bytes: number, where: () => string): void {
    this.left -= bytes;
    if (this.left < 0) {
      const cause =
        this.limit === undefined
          ? 'far more than its own size; if you trust it, set memoryLimit'
          : `more than memoryLimit, ${this.limit} bytes`;
      throw new CheckpointError(`${where()}: the file unfolds to ${cause}`);
    }
  }
}
