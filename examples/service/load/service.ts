// The service in a process of its own, to be loaded.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { createServer, type AddressInfo } from 'node:net';
import { fileURLToPath } from 'node:url';
import { setTimeout as sleep } from 'node:timers/promises';

export interface Service {
  readonly port: number;
  /** Bytes of memory that the process has. Linux only; NaN elsewhere. */
  memory(): number;
  /** Whether it runs. */
  alive(): boolean;
  /** Sends SIGTERM, and resolves with the exit code. */
  stop(): Promise<number | null>;
  /** Sends SIGKILL, and resolves when it is dead. */
  kill(): Promise<void>;
}

// Who is stopped by a signal has no 'exit' of its own, and would leave services behind.
for (const signal of ['SIGINT', 'SIGTERM']) process.once(signal, () => process.exit(1));

/** Starts the service with one compute thread and options from `env`, and waits until it is ready. */
export async function startService(env: Record<string, string>): Promise<Service> {
  const port = await freePort();
  const main = fileURLToPath(new URL('../src/main.js', import.meta.url));
  const defaults = { PORT: String(port), DYNAQUANT_NUM_THREADS: '1', LOG_LEVEL: 'error', MAX_RATE: '0' };
  // As `npm start` does.
  const child = spawn(process.execPath, ['--v8-pool-size=0', main], {
    env: { ...process.env, ...defaults, ...env },
    stdio: ['ignore', 'inherit', 'inherit'],
  });
  const orphaned = (): boolean => child.kill('SIGKILL');
  process.on('exit', orphaned);
  const exit = once(child, 'exit') as Promise<[number | null]>;
  child.on('exit', () => process.off('exit', orphaned));
  while (!(await isReady(port))) {
    if (child.exitCode !== null) throw new Error('the service did not start');
    await sleep(20);
  }
  return {
    port,
    memory: () => memoryOf(child.pid!),
    alive: () => child.exitCode === null && child.signalCode === null,
    async stop() {
      child.kill('SIGTERM');
      return (await exit)[0];
    },
    async kill() {
      child.kill('SIGKILL');
      await exit;
    },
  };
}

export async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  server.close();
  await once(server, 'close');
  return port;
}

async function isReady(port: number): Promise<boolean> {
  try {
    return (await fetch(`http://127.0.0.1:${port}/v2/health/ready`)).ok;
  } catch {
    return false;
  }
}

function memoryOf(pid: number): number {
  try {
    const status = readFileSync(`/proc/${pid}/status`, 'utf8');
    return 1024 * Number(/VmRSS:\s+(\d+)/.exec(status)![1]);
  } catch {
    return NaN;
  }
}
