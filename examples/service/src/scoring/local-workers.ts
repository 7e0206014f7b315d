import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import { getNumThreads } from 'dynaquant';

const program = fileURLToPath(new URL('../score-worker.js', import.meta.url));
/** So many deaths with no chunk in between are no accident. */
const maxDeaths = 10;

/** Worker processes on this machine. One that dies is replaced. */
export class LocalWorkers {
  private readonly processes = new Set<ChildProcess>();
  private deaths = 0;
  private stopping = false;

  /** @param onGivenUp - called when workers die, one after the other, without scoring anything */
  constructor(
    private readonly redisUrl: string,
    private readonly count: number,
    private readonly onGivenUp: (error: Error) => void,
  ) {
    for (let i = 0; i < count; i++) this.start();
  }

  /** To be called for each chunk. */
  succeeded(): void {
    this.deaths = 0;
  }

  /** Lets them finish the chunks that are under way, but does not wait for long: the chunks are not lost. */
  async stop(): Promise<void> {
    this.stopping = true;
    const ends = [...this.processes].map(async (each) => {
      each.kill('SIGTERM');
      const timer = setTimeout(() => each.kill('SIGKILL'), 10_000);
      await once(each, 'exit');
      clearTimeout(timer);
    });
    await Promise.all(ends);
  }

  private start(): void {
    const threads = String(Math.max(1, Math.floor(getNumThreads() / this.count)));
    const worker = fork(program, {
      // In a group of its own, so that Ctrl-C reaches `score` alone, which lets it finish.
      detached: true,
      env: { ...process.env, DYNAQUANT_NUM_THREADS: threads, REDIS_URL: this.redisUrl },
      stdio: ['ignore', 'ignore', 'inherit', 'ipc'],
    });
    this.processes.add(worker);
    worker.once('error', this.onGivenUp); // It could not be started, or not be reached.
    worker.once('exit', (code, signal) => {
      this.processes.delete(worker);
      if (this.stopping) return;
      if (++this.deaths >= maxDeaths) {
        const how = signal === null ? `with code ${code}` : `by ${signal}`;
        this.onGivenUp(new Error(`${maxDeaths} workers ended and scored nothing, the last ${how}`));
      } else {
        setTimeout(() => !this.stopping && this.start(), 100 * this.deaths).unref();
      }
    });
  }
}
