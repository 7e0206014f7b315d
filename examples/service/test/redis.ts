// A redis-server of its own for each test file: Debian's, on a socket in a temporary folder.
import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';

/** Why tests that need Redis are skipped; false if they are not. With DYNAQUANT_REQUIRE_ALL they fail instead. */
export const withoutRedis: string | false =
  process.env.DYNAQUANT_REQUIRE_ALL === undefined && spawnSync('redis-server', ['--version']).status !== 0
    ? 'there is no redis-server (Debian has it in the package redis-server)'
    : false;

export interface TestRedis {
  /** As ioredis takes it. */
  readonly url: string;
  readonly pid: number;
  /** Ends it at once, and removes its folder. */
  stop(): Promise<void>;
}

/** Starts a Redis that keeps nothing on disk. */
export async function startRedis(...options: readonly string[]): Promise<TestRedis> {
  const folder = mkdtempSync(join(tmpdir(), 'dynaquant-redis-'));
  const url = join(folder, 'redis.sock');
  const memoryOnly = [
    '--port',
    '0',
    '--unixsocket',
    url,
    '--save',
    '',
    '--appendonly',
    'no',
    '--dir',
    folder,
  ];
  const server = spawn('redis-server', [...memoryOnly, ...options], { stdio: ['ignore', 'pipe', 'inherit'] });
  const ended = once(server, 'exit');
  const log: string[] = [];
  for await (const line of createInterface({ input: server.stdout })) {
    log.push(line);
    if (/ready to accept connections/i.test(line)) break;
  }
  server.stdout.resume(); // or it would stop once the pipe is full
  if (server.exitCode !== null) throw new Error(`redis-server should start, but said:\n${log.join('\n')}`);
  const stop = async (): Promise<void> => {
    server.kill('SIGKILL');
    await ended;
    rmSync(folder, { recursive: true, force: true });
  };
  return { url, pid: server.pid!, stop };
}
