import { availableParallelism } from 'node:os';
import { join } from 'node:path';

import { getNumThreads, setNumThreads } from 'dynaquant';
import { native } from '../src/native/addon.js';
import { runNode } from './support.js';

const root = join(__dirname, '..');

/** Runs a script with the built package and DYNAQUANT_NUM_THREADS set. */
function run(threads: string, script: string, openMP = ''): { status: number | null; output: string } {
  const env = { ...process.env, DYNAQUANT_NUM_THREADS: threads, OMP_NUM_THREADS: openMP };
  const { status, stdout, stderr } = runNode(['-e', script], { cwd: root, env });
  return { status, output: stdout + stderr };
}
const print = `console.log(require('dynaquant').getNumThreads())`;

describe('setNumThreads', () => {
  const before = getNumThreads();
  afterAll(() => setNumThreads(before));

  test.each([1, 2, 256])('%d', (threads) => {
    setNumThreads(threads);
    expect(getNumThreads()).toBe(threads);
  });
  test.each<[unknown, string]>([
    ['2', "setNumThreads expects an integer, but got '2'"],
    [1.5, 'setNumThreads expects an integer, but got 1.5'],
    [NaN, 'setNumThreads expects an integer, but got NaN'],
    [2n, 'setNumThreads expects an integer, but got 2n'],
    [undefined, 'setNumThreads expects an integer, but got undefined'],
  ])('%p is a TypeError', (threads, message) => {
    expect(() => setNumThreads(threads as number)).toThrow(new TypeError(message));
  });
  test.each([0, -1, 257, 2 ** 40])('%d is a RangeError and changes nothing', (threads) => {
    setNumThreads(3);
    expect(() => setNumThreads(threads)).toThrow(
      new RangeError(`setNumThreads expects 1 to 256 threads, but got ${threads}`),
    );
    expect(getNumThreads()).toBe(3);
  });
});

describe('the default', () => {
  test('is what this process may use', () => {
    const quota = native().testCgroupQuota('') || Infinity;
    const expected = Math.min(availableParallelism(), quota);
    expect(run('', print).output.trim()).toBe(String(expected));
  });
  test('does not undo what another environment has set', () => {
    const script = `
      const { getNumThreads, setNumThreads } = require('dynaquant');
      setNumThreads(7);
      const { Worker } = require('node:worker_threads');
      const worker = "require('node:worker_threads').parentPort.postMessage(require('dynaquant').getNumThreads())";
      new Worker(worker, { eval: true }).on('message', (n) => console.log(n, getNumThreads()));`;
    expect(run('5', script).output.trim()).toBe('7 7');
  });
});

describe('DYNAQUANT_NUM_THREADS', () => {
  test.each(['1', '3', '256'])('%s is obeyed', (n) => expect(run(n, print).output.trim()).toBe(n));
  test.each(['0', '257', '-1', '2.5', 'all', ' 2', '1e1', '99999999999'])(
    '%p throws at the first native use',
    (threads) => {
      const { status, output } = run(threads, print);
      expect(status).toBe(1);
      expect(output).toContain(
        `DYNAQUANT_NUM_THREADS is '${threads}', which is no whole number from 1 to 256`,
      );
      expect(run(threads, `require('dynaquant'); console.log('loaded')`).output.trim()).toBe('loaded');
    },
  );
});

describe('OMP_NUM_THREADS', () => {
  const usual = Number(run('', print).output);
  // What torch.get_num_threads() says of PyTorch 2.15 on two CPUs.
  test.each<[string, number]>([
    ['1', 1],
    [' 1 ', 1],
    ['1,2', 1],
    ['0', usual],
    ['abc', usual],
    ['1.5', usual],
    ['-1', usual],
    ['99999999', availableParallelism()],
  ])('%p gives %d threads', (openMP, threads) => {
    expect(run('', print, openMP).output.trim()).toBe(String(threads));
  });
  test('counts less than DYNAQUANT_NUM_THREADS', () => {
    expect(run('3', print, '1').output.trim()).toBe('3');
  });
});
