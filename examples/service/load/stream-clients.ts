// Clients of live streams that go on with another instance when one does not answer.
import { once } from 'node:events';
import { WebSocket } from 'ws';

/** Milliseconds for an answer. */
const patience = 10_000;

export interface Request {
  readonly sequenceId: string;
  readonly number: number;
  /** How many steps the stream has taken before. */
  readonly position: number;
  readonly rows: Float32Array;
  readonly end: boolean;
}
export interface Answer {
  readonly output: Buffer;
  readonly steps: number;
  readonly replayed: boolean;
}
/** How a client asks an instance. It throws when there is no answer, and the same request should be sent again. */
export interface Client {
  ask(port: number, request: Request): Promise<Answer>;
}

/** Over the infer route, in the protocol's binary form. The request's id makes it safe to send again. */
export class OverHttp implements Client {
  constructor(
    private readonly model: string,
    private readonly features: number,
  ) {}

  async ask(port: number, { sequenceId, number, position, rows, end }: Request): Promise<Answer> {
    const shape = [rows.length / this.features, this.features];
    const json = JSON.stringify({
      id: `r${number}`,
      parameters: {
        sequence_id: sequenceId,
        sequence_start: position === 0,
        sequence_end: end,
        sequence_steps: position,
        binary_data_output: true,
      },
      inputs: [{ name: 'x', datatype: 'FP32', shape, parameters: { binary_data_size: rows.byteLength } }],
    });
    const response = await fetch(`http://127.0.0.1:${port}/v2/models/${this.model}/infer`, {
      method: 'POST',
      headers: {
        'content-type': 'application/octet-stream',
        'inference-header-content-length': String(json.length),
      },
      body: Buffer.concat([Buffer.from(json), new Uint8Array(rows.buffer)]),
      signal: AbortSignal.timeout(patience),
    });
    const body = Buffer.from(await response.arrayBuffer());
    if (response.status === 503) throw new Error('503');
    if (!response.ok) throw new Fatal(`${response.status} ${body.toString()}`);
    const length = Number(response.headers.get('inference-header-content-length'));
    const { parameters } = JSON.parse(body.toString('utf8', 0, length)) as {
      parameters: { sequence_steps: number; sequence_replayed?: boolean };
    };
    return {
      output: body.subarray(length),
      steps: parameters.sequence_steps,
      replayed: parameters.sequence_replayed === true,
    };
  }
}

/** No attempt at another instance would help. */
export class Fatal extends Error {}

/** Over a WebSocket, which is opened again with the number of the last output. */
export class OverWebSocket implements Client {
  private socket: WebSocket | undefined;
  private port = 0;
  private readonly came: Buffer[] = [];

  constructor(private readonly model: string) {}

  async ask(port: number, { sequenceId, position, rows, end }: Request): Promise<Answer> {
    try {
      let replayed = false;
      if (this.socket?.readyState !== WebSocket.OPEN || this.port !== port) {
        this.port = port;
        // Where the stream is: one request further, if it was the answer that got lost.
        const { steps } = JSON.parse((await this.open(sequenceId, position)).toString()) as { steps: number };
        replayed = steps > position;
      }
      if (!replayed) this.socket!.send(rows);
      const answer = await this.next();
      if (end) await this.close();
      return { output: answer.subarray(8), steps: Number(answer.readBigUInt64LE(0)), replayed };
    } catch (error) {
      this.socket?.terminate();
      this.socket = undefined;
      throw error;
    }
  }

  private async open(sequenceId: string, position: number): Promise<Buffer> {
    this.socket?.terminate();
    const from = position === 0 ? 'start=true' : `last=${position}`;
    const query = `sequence_id=${sequenceId}&format=binary&${from}`;
    const socket = new WebSocket(`ws://127.0.0.1:${this.port}/v2/models/${this.model}/stream?${query}`);
    this.socket = socket;
    this.came.length = 0;
    socket.on('message', (data: Buffer, isBinary) => {
      if (this.socket !== socket) return;
      if (!isBinary && data.includes('"error"')) return; // the close frame follows, and says the same
      this.came.push(data);
      socket.emit('came');
    });
    socket.on('close', (code, reason) => socket.emit('came', code, reason.toString()));
    socket.on('error', () => {}); // closes as well
    return this.next();
  }

  private async next(): Promise<Buffer> {
    while (this.came.length === 0) {
      if (this.socket!.readyState === WebSocket.CLOSED) throw new Error('closed');
      const signal = AbortSignal.timeout(patience);
      const [code, reason] = (await once(this.socket!, 'came', { signal })) as [number?, string?];
      if (code !== undefined && ![1006, 1012, 1013].includes(code)) throw new Fatal(`${code} ${reason}`);
    }
    return this.came.shift()!;
  }

  /** Ends the stream. */
  private async close(): Promise<void> {
    this.socket!.send('{"end":true}');
    await this.next();
  }
}
