// A client that costs little beside the server on the same machine: bytes over kept connections, each checked.
import { once } from 'node:events';
import { connect, type Socket } from 'node:net';

export interface Answer {
  readonly status: number;
  /** In lower case. */
  readonly headers: ReadonlyMap<string, string>;
  readonly body: Buffer;
}

/** One kept connection, with one request at a time. */
export class Connection {
  private readonly chunks: Buffer[] = [];
  private received = 0;
  private wanted = Infinity;
  private pending: { resolve: (answer: Answer) => void; reject: (error: Error) => void } | undefined;
  /** Bytes that nobody asked for. */
  surplus = 0;

  private constructor(private readonly socket: Socket) {
    socket.setNoDelay(true);
    socket.on('data', (chunk: Buffer) => this.take(chunk));
    socket.on('error', (error) => this.pending?.reject(error));
    socket.on('close', () => this.pending?.reject(new Error('the server closed the connection')));
  }

  static async open(port: number): Promise<Connection> {
    const socket = connect(port, '127.0.0.1');
    await once(socket, 'connect');
    return new Connection(socket);
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
    this.chunks.push(chunk);
    this.received += chunk.length;
    if (this.wanted === Infinity) this.readHead();
    if (this.received < this.wanted) return;
    const bytes = Buffer.concat(this.chunks);
    this.surplus += bytes.length - this.wanted;
    const [head, bodyStart] = splitHead(bytes)!;
    const { resolve } = this.pending;
    const body = bytes.subarray(bodyStart, this.wanted);
    this.chunks.length = 0;
    this.received = 0;
    this.wanted = Infinity;
    this.pending = undefined;
    resolve({ ...head, body });
  }

  private readHead(): void {
    const split = splitHead(Buffer.concat(this.chunks));
    if (split !== undefined) this.wanted = split[1] + Number(split[0].headers.get('content-length') ?? 0);
  }
}

/** The status and headers of an answer, and where its body begins; undefined if they are not there yet. */
function splitHead(bytes: Buffer): [Omit<Answer, 'body'>, number] | undefined {
  const end = bytes.indexOf('\r\n\r\n');
  if (end === -1) return undefined;
  const [statusLine, ...lines] = bytes.toString('latin1', 0, end).split('\r\n');
  const headers = new Map(
    lines.map((line) => {
      const colon = line.indexOf(':');
      return [line.slice(0, colon).toLowerCase(), line.slice(colon + 1).trim()];
    }),
  );
  return [{ status: Number(statusLine!.split(' ')[1]), headers }, end + 4];
}
