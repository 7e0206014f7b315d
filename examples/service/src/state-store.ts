// Where the states of live streams are kept between steps, so that any instance can continue any stream.

/** What a store keeps of a stream. */
export interface StreamRecord {
  /** Drawn when the stream starts. With `steps` it is the record's version: no two records of a stream share both. */
  readonly epoch: string;
  /** How many steps the stream has taken. */
  readonly steps: number;
  /** The last request: its id, and a digest of its rows. */
  readonly requestId: string;
  readonly digest: string;
  /** The answer to the last request, for whoever did not get it: float32, little-endian. */
  readonly output: Uint8Array;
  /** As `nn.Streams` writes it; empty once the stream has ended. */
  readonly state: Uint8Array;
}

/** Replaces a stream's record, if it still has the version `before` (null if there was none). */
export interface Write {
  readonly key: string;
  readonly before: Version | null;
  readonly record: StreamRecord;
  /** After how many milliseconds without another write the record goes. */
  readonly keepFor: number;
}
export type Version = Pick<StreamRecord, 'epoch' | 'steps'>;

/** Each call rejects with a {@link StoreError} when the store fails. Calls of one turn of the event loop travel together. */
export interface StateStore {
  /** Undefined if there is no record, or if it has expired. */
  load(key: string): Promise<StreamRecord | undefined>;
  /** False, and nothing is written, if another record than `before` is there. */
  save(write: Write): Promise<boolean>;
  /** Whether it answers now. */
  ready(): Promise<boolean>;
  close(): Promise<void>;
}

/** The store failed: whether it has taken a write is not known. */
export class StoreError extends Error {
  override readonly name = 'StoreError';
  readonly statusCode = 503;
}
