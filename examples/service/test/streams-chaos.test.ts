import assert from 'node:assert/strict';
import { test } from 'node:test';
import { runChaos } from '../load/streams.js';
import { withoutRedis } from './redis.js';

test('streams over instances that are killed answer as alone', { skip: withoutRedis }, async () => {
  const report = await runChaos({ seconds: 6, streams: 50, instances: 3, every: 1, pause: 100 });
  assert.deepEqual(report.errors, []);
  assert.equal(report.mismatches, 0);
  assert.ok(report.kills >= 1, `${report.kills} kills`);
  assert.ok(report.retries > 0);
  assert.ok(report.requests > report.streams);
});
