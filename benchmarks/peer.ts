// A contender's process, seen from here.
import { spawn, type ChildProcessByStdio } from 'node:child_process';
import { createInterface } from 'node:readline';
import type { Readable, Writable } from 'node:stream';

import {
  commandOf,
  type Greeting,
  type Job,
  type RoundReply,
  type RoundRequest,
} from './contenders/index.js';
import { packageRoot } from './run.js';

export class Peer {
  private readonly process: ChildProcessByStdio<Writable, Readable, Readable>;
  private readonly lines: AsyncIterator<string>;
  private errors = '';
  private absent: string | undefined;

  constructor(job: Job, isa: string | undefined) {
    const [command, ...args] = commandOf(job.contender, packageRoot);
    const env = { ...process.env, DYNAQUANT_NUM_THREADS: String(job.trial.threads) };
    if (isa !== undefined) Object.assign(env, { DYNAQUANT_ISA: isa });
    this.process = spawn(command, [...args, JSON.stringify(job)], { env, stdio: ['pipe', 'pipe', 'pipe'] });
    // A process that ends shows as the end of its output.
    this.process.on('error', () => (this.absent = `${command} does not start`));
    this.process.stdin.on('error', () => undefined);
    this.process.stderr.setEncoding('utf8').on('data', (text: string) => (this.errors += text));
    this.lines = createInterface({ input: this.process.stdout })[Symbol.asyncIterator]();
  }

  /** @throws {Error} when the process fails; where it cannot even start, that is a reason to skip */
  async greeting(): Promise<Greeting> {
    const { value, done } = await this.lines.next();
    if (this.absent !== undefined) return { skip: this.absent };
    return this.parse(value, done) as Greeting;
  }

  /** @throws {Error} when the process fails */
  async round(request: RoundRequest): Promise<RoundReply> {
    this.process.stdin.write(`${JSON.stringify(request)}\n`);
    const { value, done } = await this.lines.next();
    return this.parse(value, done) as RoundReply;
  }

  end(): void {
    this.process.stdin.end();
    // PyTorch may take long to exit. Killing it loses nothing.
    this.process.kill();
  }

  private parse(line: string, done: boolean | undefined): unknown {
    if (done !== true) return JSON.parse(line);
    const lines = this.errors.trim().split('\n');
    throw new Error(lines.findLast((text) => /^\w*Error: /.test(text)) ?? lines.at(-1)!);
  }
}
