// Scores chunks that come through Redis, for `score` on this machine or another.
import { Redis } from 'ioredis';

import { redisOf } from './option-values.js';
import { startWorker } from './scoring/queue.js';

function urlOf(): string {
  if (process.argv.length > 2) throw new RangeError('it takes no arguments');
  const url = redisOf('REDIS_URL', process.env['REDIS_URL']);
  if (url === undefined || url === 'local')
    throw new RangeError('REDIS_URL should name the Redis of the run, as redis://host:6379');
  return url;
}

let url: string;
try {
  url = urlOf();
} catch (error) {
  console.error(`score-worker: ${(error as Error).message}`);
  process.exit(2);
}

const redis = new Redis(url, { maxRetriesPerRequest: null });
let last = '';
/** While Redis is away, each attempt to reach it fails with the same words. */
const log = (sentence: string): void => {
  if (sentence !== last) console.error(`score-worker ${process.pid}: ${sentence}`);
  last = sentence;
};
redis.on('error', () => undefined); // The worker tells as well.
const worker = startWorker(redis, log);

let stopping = false;
/** Finishes the chunk that is under way. A second signal does not wait for it: another worker will score it. */
async function stop(): Promise<void> {
  if (stopping) process.exit(1);
  stopping = true;
  await worker.close();
  redis.disconnect();
  process.exit(0);
}
process.on('SIGTERM', () => void stop());
process.on('SIGINT', () => void stop());
// Where `score` started it and was killed.
process.on('disconnect', () => process.exit(1));
