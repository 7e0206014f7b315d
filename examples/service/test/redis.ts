// A redis-server for a test, which keeps nothing on disk.
import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { tmpdir } from 'node:os';
import { createInterface } from 'node:readline';
import { freePort } from '../load/service.js';

/** Why tests that need Redis are skipped; false if they are not. With DYNAQUANT_REQUIRE_ALL they fail instead. */
export const withoutRedis: string | false =
  process.env.DYNAQUANT_REQUIRE_ALL === undefined && spawnSync('redis-server', ['--version']).status !== 0
    ? 'there is no redis-server (Debian has it in the package redis-server)'
    : false;

export interface TestRedis {
  readonly url: string;
  readonly pid: number;
  /** Ends it at once. */
  stop(): Promise<void>;
}

/** Starts a redis-server on a free port. */
export async function startRedis(...options: readonly string[]): Promise<TestRedis> {
  const port = await freePort();
  const memoryOnly = ['--port', String(port), '--save', '', '--appendonly', 'no', '--dir', tmpdir()];
  const server = spawn('redis-server', [...memoryOnly, ...options], { stdio: ['ignore', 'pipe', 'inherit'] });
  const ended = once(server, 'exit');
  const log: string[] = [];
  let ready = false;
  for await (const line of createInterface({ input: server.stdout })) {
    log.push(line);
    ready = /ready to accept connections/i.test(line);
    if (ready) break;
  }
  if (!ready) throw new Error(`redis-server should start, but said:\n${log.join('\n')}`);
  server.stdout.resume(); // or it would stop once the pipe is full
  const stop = async (): Promise<void> => {
    server.kill('SIGKILL');
    await ended;
  };
  return { url: `redis://127.0.0.1:${port}`, pid: server.pid!, stop };
}
