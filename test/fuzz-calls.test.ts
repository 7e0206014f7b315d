// The fuzz of scripts/fuzz-calls.mjs, some rounds of it. Time is not tested here, except that calls end.
import { spawnSync } from 'node:child_process';
import { join } from 'node:path';

const script = join(__dirname, '..', 'scripts', 'fuzz-calls.mjs');

test.each([1, 2, 3, 4])('seed %i', (seed) => {
  const args = [script, '--calls', '2500', '--seed', String(seed), '--seconds', '60'];
  const { stdout, stderr, status } = spawnSync(process.execPath, args, { encoding: 'utf8' });
  expect(`${stdout}${stderr}`).toMatch(
    /^2500 calls of \d+ functions: \d+ returned, \d+ refused, \d+ ended by the caller's own errors, 0 failures; slowest \d+ ms\n/,
  );
  expect(status).toBe(0);
});
