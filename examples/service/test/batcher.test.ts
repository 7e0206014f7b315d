import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { Batcher, type BatcherOptions } from '../src/batcher.js';
import { type RequestError } from '../src/errors.js';

/** A batcher of numbers, which takes `milliseconds` to double those of a batch. */
function doubling(options: Partial<BatcherOptions>, milliseconds = 20) {
  const batches: number[][] = [];
  const run = async (jobs: readonly number[]): Promise<number[]> => {
    batches.push([...jobs]);
    await sleep(milliseconds);
    if (jobs.includes(13)) throw new Error('unlucky');
    return jobs.map((job) => 2 * job);
  };
  return { batcher: new Batcher(run, { maxBatch: 4, maxDelay: 0, maxQueue: 100, ...options }), batches };
}

test('what waits while a batch computes is the next batch, as much as fits', async () => {
  const { batcher, batches } = doubling({});
  const first = batcher.submit(1);
  await sleep(5);
  const rest = [2, 3, 4, 5, 6].map((job) => batcher.submit(job));
  assert.equal(batcher.depth, 5);
  assert.deepEqual(await Promise.all([first, ...rest]), [2, 4, 6, 8, 10, 12]);
  assert.deepEqual(batches, [[1], [2, 3, 4, 5], [6]]);
  assert.equal(batcher.depth, 0);
});

test('jobs of one turn of the event loop share a batch', async () => {
  const { batcher, batches } = doubling({});
  await Promise.all([1, 2, 3].map((job) => batcher.submit(job)));
  assert.deepEqual(batches, [[1, 2, 3]]);
});

test('jobs keep their order, and count by their rows', async () => {
  const { batcher, batches } = doubling({});
  await Promise.all([
    batcher.submit(1, 3),
    batcher.submit(2, 2),
    batcher.submit(3, 1),
    batcher.submit(4, 9),
    batcher.submit(5, 1),
  ]);
  assert.deepEqual(batches, [[1], [2, 3], [4], [5]]);
});

test('a job that comes alone is computed at once, whatever the delay', async () => {
  const { batcher } = doubling({ maxDelay: 1000 }, 0);
  for (let job = 0; job < 3; job++) {
    const begin = performance.now();
    await batcher.submit(job);
    assert.ok(performance.now() - begin < 200);
  }
});

test('where jobs come often, batches that are not full begin some time apart', async () => {
  const { batcher, batches } = doubling({ maxDelay: 100 }, 5);
  const begin = performance.now();
  await Promise.all([1, 2].map((job) => batcher.submit(job)));
  const early = batcher.submit(3);
  await sleep(20);
  await Promise.all([early, batcher.submit(4)]);
  const second = performance.now() - begin;
  assert.ok(second >= 95, `${second} ms`);
  await Promise.all([5, 6, 7, 8].map((job) => batcher.submit(job)));
  assert.ok(performance.now() - begin < second + 90, 'a full one does not wait');
  await sleep(110);
  const late = performance.now();
  await batcher.submit(9);
  assert.ok(performance.now() - late < 90, 'nor who comes later');
  assert.deepEqual(batches, [[1, 2], [3, 4], [5, 6, 7, 8], [9]]);
});

test('more than the queue holds is refused with 503 and a time to come back', async () => {
  const run = (jobs: readonly number[]): Promise<readonly number[]> => sleep(10, jobs);
  const options = { maxBatch: 1, maxDelay: 0, maxQueue: 3 };
  const batcher = new Batcher(run, options);
  const accepted = [batcher.submit(1, 2), batcher.submit(2)];
  await assert.rejects(batcher.submit(3), (error: RequestError) => {
    assert.equal(error.statusCode, 503);
    assert.ok(error.retryAfter! >= 1);
    assert.match(error.message, /^the queue should hold at most 3 rows, but 3 wait already: retry later$/);
    return true;
  });
  assert.deepEqual(await Promise.all(accepted), [1, 2]);
  assert.equal(await batcher.submit(4), 4);
});

test('nothing is computed for who has gone, unless it computes already', async () => {
  const { batcher, batches } = doubling({ maxBatch: 2 });
  let gone = false;
  const hasGone = (): boolean => gone;
  const jobs = [
    batcher.submit(1, 2, hasGone),
    batcher.submit(2, 5, hasGone),
    batcher.submit(3),
    batcher.submit(4, 1, hasGone),
    batcher.submit(5),
  ];
  await sleep(5);
  gone = true;
  const outcomes = await Promise.allSettled(jobs);
  assert.deepEqual(
    outcomes.map((outcome) => (outcome.status === 'fulfilled' ? outcome.value : outcome.reason.message)),
    [2, 'the client has gone', 6, 'the client has gone', 10],
  );
  assert.deepEqual(batches, [[1], [3, 5]]);
  assert.equal(batcher.depth, 0);
  await assert.rejects(batcher.submit(6, 1, hasGone), { statusCode: 499 });
  gone = false;
  assert.equal(await batcher.submit(7, 1, hasGone), 14);
});

test('where a batch fails, only the jobs fail that are to blame', async () => {
  const { batcher, batches } = doubling({});
  const outcomes = await Promise.allSettled([1, 13, 3].map((job) => batcher.submit(job)));
  assert.deepEqual(
    outcomes.map((outcome) => (outcome.status === 'fulfilled' ? outcome.value : String(outcome.reason))),
    [2, 'Error: unlucky', 6],
  );
  assert.deepEqual(batches, [[1, 13, 3], [1], [13, 3], [13], [3]]);
  assert.equal(await batcher.submit(4), 8);
});

test('a job that fails costs few batches more', async () => {
  const { batcher, batches } = doubling({ maxBatch: 64 });
  const jobs = Array.from({ length: 64 }, (_, i) => (i === 40 ? 13 : 100 + i));
  const outcomes = await Promise.allSettled(jobs.map((job) => batcher.submit(job)));
  assert.equal(outcomes.filter(({ status }) => status === 'rejected').length, 1);
  assert.equal(batches.length, 13); // two for each halving of 64, after the one that failed
});

test('full batches join those that compute, up to a limit; others wait', async () => {
  const { batcher, batches } = doubling({ maxRunning: 2, maxBatch: 2 }, 30);
  const first = batcher.submit(1);
  await sleep(5);
  const rest = [2, 3, 4, 5].map((job) => batcher.submit(job));
  await sleep(5);
  assert.deepEqual(batches, [[1], [2, 3]]);
  assert.deepEqual(await Promise.all([first, ...rest]), [2, 4, 6, 8, 10]);
  const alone = batcher.submit(6);
  await sleep(5);
  const other = batcher.submit(7);
  await sleep(5);
  assert.equal(batcher.depth, 1);
  await Promise.all([alone, other]);
  assert.deepEqual(batches, [[1], [2, 3], [4, 5], [6], [7]]);
});
