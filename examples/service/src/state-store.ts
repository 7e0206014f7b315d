// Where the states of live streams are kept between steps, so that any instance can continue any stream.
import { Redis } from 'ioredis';
import { RequestError } from './errors.js';

/** What a store keeps of a stream. It comes from outside: whoever reads it checks it. */
export interface StreamRecord {
  /** Drawn anew for each write, so that no two records share it. */
  readonly version: string;
  /** How many steps the stream has taken. */
  readonly steps: number;
  /** The last request: its id, and a digest of what it was. */
  readonly requestId: string;
  readonly digest: string;
  /** The answer to the last request, for who did not get it: float32, little-endian. */
  readonly output: Buffer;
  /** As `nn.Streams` writes it; empty once the stream has ended. */
  readonly state: Buffer;
}

/** Replaces a stream's record if it is the one that the writer knows. */
export interface Write {
  readonly key: string;
  /** The version of the record to replace; '' if there should be none. */
  readonly before: string;
  readonly record: StreamRecord;
  /** Milliseconds without another write after which the record goes. */
  readonly keepFor: number;
}

/**
 * Each call rejects with a RequestError of status 503 when the store fails; whether it took a write is then not known.
 * A key that holds something else is a 409.
 * Calls of one turn of the event loop travel together.
 */
export interface StateStore {
  /** Undefined if there is no record, or no more. */
  load(key: string): Promise<StreamRecord | undefined>;
  /** False if another record than that of version `before` is there; then nothing is written. */
  save(write: Write): Promise<boolean>;
  ready(): Promise<boolean>;
  close(): Promise<void>;
}

/** Keeps states in this process, for one instance without Redis: a restart forgets them. */
export class MemoryStore implements StateStore {
  private readonly records = new Map<string, { record: StreamRecord; until: number }>();
  private bytes = 0;
  private lastSweep = 0;

  /**
   * What exceeds a limit is refused until other streams have ended or been idle for too long.
   *
   * @param maxRecords - how many streams it keeps
   * @param maxBytes - of their states and last answers
   */
  constructor(
    private readonly maxRecords = 100_000,
    private readonly maxBytes = 256 * 2 ** 20,
  ) {}

  async load(key: string): Promise<StreamRecord | undefined> {
    return this.current(key);
  }

  async save({ key, before, record, keepFor }: Write): Promise<boolean> {
    if ((this.current(key)?.version ?? '') !== before) return false; // no turn between here and the write
    const now = performance.now();
    if (now - this.lastSweep > 1000) this.sweep(now);
    const old = this.records.get(key);
    if (old === undefined && this.records.size >= this.maxRecords) {
      const sentence = `the store should hold at most ${this.maxRecords} streams, and holds as many: end some, or retry later`;
      throw new RequestError(503, sentence, 1);
    }
    const more = sizeOf(record) - (old === undefined ? 0 : sizeOf(old.record));
    if (more > 0 && this.bytes + more > this.maxBytes) {
      const sentence = `the store should hold at most ${this.maxBytes} bytes of streams, and has no room for ${more} more: end some, or retry later`;
      throw new RequestError(503, sentence, 1);
    }
    this.bytes += more;
    this.records.set(key, { record, until: now + keepFor });
    return true;
  }

  private current(key: string): StreamRecord | undefined {
    const kept = this.records.get(key);
    return kept === undefined || kept.until <= performance.now() ? undefined : kept.record;
  }

  /** Forgets what has expired. */
  private sweep(now: number): void {
    for (const [key, { until, record }] of this.records) {
      if (until > now) continue;
      this.records.delete(key);
      this.bytes -= sizeOf(record);
    }
    this.lastSweep = now;
  }

  ready(): Promise<boolean> {
    return Promise.resolve(true);
  }
  async close(): Promise<void> {
    this.records.clear();
    this.bytes = 0;
  }
}

function sizeOf({ output, state }: StreamRecord): number {
  return output.length + state.length;
}

const fields = ['version', 'steps', 'requestId', 'digest', 'output', 'state'] as const;

/** Compare and set. Redis runs a script at one blow, so of two instances with the same `before` one writes. */
const compareAndSet = `
if (redis.call('HGET', KEYS[1], 'version') or '') ~= ARGV[1] then return 0 end
redis.call('HSET', KEYS[1], ${fields.map((field, i) => `'${field}', ARGV[${i + 3}]`).join(', ')})
redis.call('PEXPIRE', KEYS[1], ARGV[2])
return 1`;

interface Client extends Redis {
  compareAndSet(...args: readonly (string | number | Buffer)[]): Promise<number>;
}

/** Keeps states in Redis, for any number of instances. */
export class RedisStore implements StateStore {
  private readonly redis: Client;

  /**
   * @param url - such as `redis://localhost:6379`
   * @param options.timeout - milliseconds after which an answer is not expected any more
   * @param options.onError - told of each lost connection; the client connects again by itself
   */
  constructor(
    url: string,
    { timeout = 2000, onError = () => {} }: { timeout?: number; onError?: (error: Error) => void } = {},
  ) {
    this.redis = new Redis(url, {
      enableAutoPipelining: true,
      commandTimeout: timeout,
      maxRetriesPerRequest: 1,
      scripts: { compareAndSet: { lua: compareAndSet, numberOfKeys: 1 } },
    }) as Client;
    this.redis.on('error', onError);
  }

  async load(key: string): Promise<StreamRecord | undefined> {
    const [version, steps, requestId, digest, output, state] = await answerOf(
      key,
      this.redis.hmgetBuffer(key, ...fields),
    );
    if ([version, steps, requestId, digest, output, state].every((field) => field === null)) return undefined;
    const none = Buffer.alloc(0);
    return {
      version: String(version ?? ''),
      steps: Number(steps ?? NaN),
      requestId: String(requestId ?? ''),
      digest: String(digest ?? ''),
      output: output ?? none,
      state: state ?? none,
    };
  }

  async save({ key, before, record, keepFor }: Write): Promise<boolean> {
    const values = fields.map((field) => record[field]);
    return (await answerOf(key, this.redis.compareAndSet(key, before, keepFor, ...values))) === 1;
  }

  async ready(): Promise<boolean> {
    return this.redis.ping().then(
      () => true,
      () => false,
    );
  }

  async close(): Promise<void> {
    this.redis.disconnect();
  }
}

/** @throws {RequestError} 503, or 409 where Redis has something else under the key */
async function answerOf<T>(key: string, answer: Promise<T>): Promise<T> {
  try {
    return await answer;
  } catch (error) {
    const { name, message } = error as Error;
    if (message.includes('WRONGTYPE'))
      throw new RequestError(
        409,
        `the store should have a live stream under '${key}', but has something else: take another sequence_id`,
      );
    // What Redis says may help, such as that its memory is full. What the client says is for programmers.
    const why = name === 'ReplyError' ? `failed: ${message}` : 'did not, or too late';
    throw new RequestError(
      503,
      `the store of live streams should answer, but ${why}. Send the request again`,
      1,
    );
  }
}
