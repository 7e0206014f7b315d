import { join } from 'node:path';
import { Worker } from 'node:worker_threads';

import { native } from '../src/native/addon.js';
import { runNode } from './support.js';

const root = join(__dirname, '..');
const addon = native();
const long = 1e9; // ns: worth waking everybody

/** Runs a script with the built package; `pool` is testTeam. */
function run(script: string): { status: number | null; output: string; ms: number } {
  const start = performance.now();
  const { status, stdout, stderr } = runNode(
    ['-e', `const pool = require('./dist/native/addon.js').native().testTeam; ${script}`],
    { cwd: root, timeout: 20_000 },
  );
  return { status, output: stdout + stderr, ms: performance.now() - start };
}

describe('each index is covered exactly once', () => {
  test.each([1, 2, 3, 5, 8, 64])('by %d threads', (threads) => {
    for (const count of [0, 1, 2, 3, 7, 16, 17, 100, 1023, 4096]) {
      for (const grain of [0, 1, 2, 3, 16, 100, 5000]) {
        const [size, participants] = addon.testTeam(threads, long, count, grain, 30, 0);
        expect([1, threads]).toContain(size); // 1 where nobody can be had at the moment
        expect(participants).toBeLessThanOrEqual(
          Math.min(size, Math.max(1, Math.ceil(count / Math.max(grain, 1)))),
        );
      }
    }
  });
  test('in thousands of phases of one team', () => {
    for (let i = 0; i < 20; i++) addon.testTeam(2, long, 9, 1, 2000, 10);
  });
  test('by teams of changing size, with members that come late', () => {
    for (let i = 0; i < 3000; i++) addon.testTeam(1 + ((i * 7) % 9), long, 20, 1, 1 + (i % 3), 0);
  });
});

test('a team is never larger than 256, nor smaller than its caller', () => {
  expect(run(`console.log(pool(10000, 1e9, 1000, 1, 3, 0)[0], pool(0, 1e9, 10, 1, 3, 0)[0])`).output).toBe(
    '256 1\n',
  );
});

test('a second thread takes part', () => {
  // At some time at least: on a busy machine calls prefer to be alone.
  let most = 1;
  for (const end = Date.now() + 4000; most < 2 && Date.now() < end;) {
    most = addon.testTeam(2, long, 64, 1, 10, 10_000)[1];
  }
  expect(most).toBe(2);
});

test('a short call wakes nobody, a series of them does', () => {
  // In a process of its own, whose first call creates the thread.
  const { output } = run(`
    pool(2, 0, 8, 1, 1, 0);
    setTimeout(() => {
      const alone = pool(2, 0, 8, 1, 1, 0)[0];
      let most = 1;
      for (const end = Date.now() + 500; Date.now() < end; ) most = Math.max(most, pool(2, 0, 8, 1, 1, 100)[0]);
      console.log(alone, most);
    }, 300);`);
  expect(output).toBe('1 2\n');
});

describe('environments', () => {
  const loop = (rounds: number): string => `
    const { parentPort } = require('node:worker_threads');
    const pool = require('./dist/native/addon.js').native().testTeam;
    const sizes = [0, 0, 0, 0];
    for (let i = 0; i < ${rounds}; i++) {
      sizes[pool(3, 1e9, 50, 1, 20, 20)[0]]++;
      if (i === 10) parentPort.postMessage('running');
    }
    parentPort.postMessage(sizes);`;
  const start = (rounds: number): Worker => new Worker(loop(rounds), { eval: true });
  const message = (worker: Worker, wanted: (value: unknown) => boolean): Promise<unknown> =>
    new Promise((resolve, reject) =>
      worker.on('message', (value) => wanted(value) && resolve(value)).once('error', reject),
    );

  test('share one pool: it serves one call, others run alone', async () => {
    const workers = Array.from({ length: 4 }, () => start(2000));
    const sizes = (await Promise.all(workers.map((each) => message(each, Array.isArray)))) as number[][];
    const sum = (size: number): number => sizes.reduce((total, each) => total + each[size]!, 0);
    expect(sum(1) + sum(3)).toBe(8000);
    expect(sum(3)).toBeGreaterThan(0);
  });
  test('may be terminated while they compute', async () => {
    for (let i = 0; i < 5; i++) {
      const workers = Array.from({ length: 3 }, () => start(Infinity));
      await Promise.all(workers.map((each) => message(each, (value) => value === 'running')));
      await Promise.all(workers.map((worker) => worker.terminate()));
    }
    addon.testTeam(3, long, 50, 1, 20, 0);
  });
  test('may come and go, with the addon unloaded after each', () => {
    // Only workers load the addon here, so Node unmaps its code when they end: no thread may be left in it.
    const { status, stdout } = runNode(
      [
        '-e',
        `const { Worker } = require('node:worker_threads');
         const script = "require('./dist/native/addon.js').native().testTeam(3, 1e9, 50, 1, 50, 10)";
         const next = (left) => left === 0 ? console.log('done')
           : new Worker(script, { eval: true }).on('exit', () => next(left - 1));
         next(20);`,
      ],
      { cwd: root, timeout: 60_000 },
    );
    expect([status, stdout]).toEqual([0, 'done\n']);
  });
});

describe('a process', () => {
  test('that is idle uses no CPU', () => {
    const { output } = run(`
      pool(2, 1e9, 100, 1, 1000, 10);
      setTimeout(() => {
        const before = process.cpuUsage();
        setTimeout(() => {
          const { user, system } = process.cpuUsage(before);
          console.log(user + system);
        }, 300);
      }, 200);`);
    expect(Number(output)).toBeLessThan(15_000); // µs; a thread that spins would use 300,000
  });
  test.each([
    ['returns', ''],
    ['calls exit', 'process.exit(0);'],
    ['exits later', 'setTimeout(() => process.exit(0), 20);'],
    [
      'exits while a worker computes',
      `const { Worker } = require('node:worker_threads');
       const script = "const p = require('./dist/native/addon.js').native().testTeam; for (;;) p(3, 1e9, 50, 1, 20, 20)";
       new Worker(script, { eval: true }); setTimeout(() => process.exit(0), 200);`,
    ],
  ])('that %s ends at once', (_, end) => {
    for (let i = 0; i < 3; i++) {
      const { status, output, ms } = run(`pool(4, 1e9, 100, 1, 100, 10); ${end}`);
      expect([status, output]).toEqual([0, '']);
      expect(ms).toBeLessThan(5000);
    }
  });
});
