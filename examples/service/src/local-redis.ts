// A Redis for this process alone, where none is given: Debian's redis-server on a socket in a temporary folder.
import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { Redis } from 'ioredis';

export interface LocalRedis {
  /** What `new Redis(…)` takes. */
  readonly url: string;
  stop(): Promise<void>;
}

/** Its input ends when the process that started it does, even one that was killed: then the server goes too. */
const guard =
  'folder=$1; shift; "$@" & server=$!; read -r line; kill $server; wait $server; rm -rf "$folder"';

/** @throws {Error} when there is no redis-server, or it does not start */
export async function startLocalRedis(): Promise<LocalRedis> {
  if (spawnSync('redis-server', ['--version']).status !== 0)
    throw new Error(
      'there is no redis-server: name one with REDIS_URL, or install it with `apt install redis-server` or ' +
        '`brew install redis`, or run `docker run -p 6379:6379 redis` and set REDIS_URL=redis://localhost:6379',
    );
  const folder = await mkdtemp(join(tmpdir(), 'dynaquant-redis-'));
  const socket = join(folder, 'redis.sock');
  const options = [
    '--port',
    '0',
    '--unixsocket',
    socket,
    '--dir',
    folder,
    '--save',
    '',
    '--appendonly',
    'no',
  ];
  // In a group of its own, so that Ctrl-C does not reach the server before those who use it are done.
  const shell = spawn('sh', ['-c', guard, 'sh', folder, 'redis-server', ...options], {
    detached: true,
    stdio: ['pipe', 'ignore', 'inherit'],
  });
  const stop = async (): Promise<void> => {
    shell.stdin.end();
    if (shell.exitCode === null) await once(shell, 'exit');
  };
  const probe = new Redis(socket, { lazyConnect: true, retryStrategy: null, maxRetriesPerRequest: 0 });
  probe.on('error', () => undefined);
  try {
    for (let waited = 0; ; waited += 20) {
      if (
        await probe.connect().then(
          () => true,
          () => false,
        )
      )
        return { url: socket, stop };
      if (waited >= 10_000) throw new Error('redis-server does not start');
      await sleep(20);
    }
  } catch (error) {
    await stop();
    throw error;
  } finally {
    probe.disconnect();
  }
}
