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

  constructor(job: Job, isa: string | undefined) {
    const [command, ...args] = commandOf(job.contender, packageRoot);
    const env = { ...process.env, DYNAQUANT_NUM_THREADS: String(job.trial.threads) };
    if (isa !== undefined) Object.assign(env, { DYNAQUANT_ISA: isa });
    this.process = spawn(command, [...args, JSON.stringify(job)], { env, stdio: ['pipe', 'pipe', 'pipe'] });
    // A process that is not there, or is gone, shows as the end of its output.
    this.process.on('error', (error) => (this.errors += `${error.message}\n`));
    this.process.stdin.on('error', () => undefined);
    this.process.stderr.setEncoding('utf8').on('data', (text: string) => (this.errors += text));
    this.lines = createInterface({ input: this.process.stdout })[Symbol.asyncIterator]();
  }

  greeting(): Promise<Greeting> {
    return this.next() as Promise<Greeting>;
  }

  round(request: RoundRequest): Promise<RoundReply> {
    this.process.stdin.write(`${JSON.stringify(request)}\n`);
    return this.next() as Promise<RoundReply>;
  }

  end(): void {
    this.process.stdin.end();
    // PyTorch may linger in its destructors; nothing is lost with it.
    this.process.kill();
  }

  private async next(): Promise<unknown> {
    const { value, done } = await this.lines.next();
    if (done !== true) return JSON.parse(value as string);
    const lines = this.errors.trim().split('\n');
    throw new Error(`its process ended: ${lines.find((line) => /error/i.test(line)) ?? lines.at(-1)!}`);
  }
}
