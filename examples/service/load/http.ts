// A client that costs little beside the server on the same machine: bytes over kept connections, each checked.
import { once } from 'node:events';
import { connect, type Socket } from 'node:net';

export interface Answer {
  readonly status: number;
  /** In lower case. */
  readonly headers: ReadonlyMap<string, string>;
  readonly body: Buffer;
}

/** One kept connection, with one request at a time. Its answers are valid until the next request. */
export class Connection {
  /** What has been received of an answer. It grows, and is kept, because garbage collection would be measured too. */
  private bytes = Buffer.alloc(2 ** 15);
  private received = 0;
  private head: Head | undefined;
  private pending: { resolve: (answer: Answer) => void; reject: (error: Error) => void } | undefined;
  /** Bytes that nobody asked for. */
  surplus = 0;

  private constructor(private readonly socket: Socket) {
    socket.setNoDelay(true);
    socket.on('error', (error) => this.pending?.reject(error));
    socket.on('close', () => this.pending?.reject(new Error('the server closed the connection')));
  }

  static async open(port: number): Promise<Connection> {
    const onread = {
      buffer: inbox,
      callback: (length: number): boolean => (connection.take(inbox.subarray(0, length)), true),
    };
    const socket = connect({ port, host: '127.0.0.1', onread });
    const connection = new Connection(socket);
    await once(socket, 'connect');
    return connection;
  }

  /** Whether another request can be sent. */
  get isOpen(): boolean {
    return this.socket.writable && !this.socket.readableEnded;
  }

  send(...parts: readonly (string | Uint8Array)[]): Promise<Answer> {
    if (!this.isOpen) return Promise.reject(new Error('the server has closed the connection'));
    return new Promise((resolve, reject) => {
      this.pending = { resolve, reject };
      this.socket.cork();
      for (const part of parts) this.socket.write(part);
      this.socket.uncork();
    });
  }

  close(): void {
    this.socket.destroy();
  }

  private take(chunk: Buffer): void {
    if (this.pending === undefined) {
      this.surplus += chunk.length;
      return;
    }
    this.makeRoom(this.received + chunk.length);
    this.bytes.set(chunk, this.received);
    this.received += chunk.length;
    this.head ??= splitHead(this.bytes.subarray(0, this.received));
    if (this.head === undefined || this.received < this.head.end) return;
    const { status, headers, bodyStart, end } = this.head;
    const { resolve } = this.pending;
    this.surplus += this.received - end;
    this.received = 0;
    this.head = undefined;
    this.pending = undefined;
    resolve({ status, headers, body: this.bytes.subarray(bodyStart, end) });
  }

  private makeRoom(size: number): void {
    if (size <= this.bytes.length) return;
    const { bytes } = this;
    this.bytes = Buffer.alloc(2 * size);
    this.bytes.set(bytes.subarray(0, this.received));
  }
}

/** Where all connections read into. */
const inbox = Buffer.alloc(2 ** 16);

interface Head extends Omit<Answer, 'body'> {
  readonly bodyStart: number;
  readonly end: number;
}

/** The head of an answer; undefined if not all of it is there yet. */
function splitHead(bytes: Buffer): Head | undefined {
  const blank = bytes.indexOf('\r\n\r\n');
  if (blank === -1) return undefined;
  const [statusLine, ...lines] = bytes.toString('latin1', 0, blank).split('\r\n');
  const headers = new Map(
    lines.map((line) => {
      const colon = line.indexOf(':');
      return [line.slice(0, colon).toLowerCase(), line.slice(colon + 1).trim()];
    }),
  );
  const bodyStart = blank + 4;
  const end = bodyStart + Number(headers.get('content-length') ?? 0);
  return { status: Number(statusLine!.split(' ')[1]), headers, bodyStart, end };
}
