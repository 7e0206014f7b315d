// Calls every public function, constructor and method with random mixtures of right and hostile arguments, and with
// objects that earlier calls made. Each call ends within a second, with a result that is consistent or an error of this
// package. The calls are made in a child process, so that a crash or hang is told too. The seed determines every call.
//
//   node scripts/fuzz-calls.mjs [--calls 1000000] [--seed 1] [--seconds 1] [--from 0] [--trace FROM]
//
// --seconds: the most that a call may take. --from: the number of the first call, to repeat the round that it is in.
// --trace: prints each call from this number on, before it is made.

import { spawn } from 'node:child_process';
import { closeSync, mkdtempSync, openSync, readFileSync, rmSync, writeSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';

import { fuzz } from './fuzz-calls/run.mjs';

const { values } = parseArgs({
  options: {
    calls: { type: 'string', default: '1000000' },
    seed: { type: 'string', default: '1' },
    from: { type: 'string', default: '0' },
    seconds: { type: 'string', default: '1' },
    trace: { type: 'string', default: 'Infinity' },
    log: { type: 'string' },
  },
});

if (values.log === undefined) await watch();
else await work(values.log);

/** Runs this script in a child, and says which call it was in if it crashes or does not go on. */
async function watch() {
  const folder = mkdtempSync(join(tmpdir(), 'dynaquant-fuzz-'));
  const log = join(folder, 'call');
  closeSync(openSync(log, 'w'));
  const args = ['--no-warnings', fileURLToPath(import.meta.url), ...process.argv.slice(2), '--log', log];
  const child = spawn(process.execPath, args, { stdio: 'inherit', cwd: folder });
  const lastCall = () => readFileSync(log, 'utf8').trimEnd();
  let last = '';
  let since = Date.now();
  const mostMilliseconds = 1000 * Math.max(60, 10 * Number(values.seconds));
  const timer = setInterval(() => {
    const now = lastCall();
    if (now !== last) [last, since] = [now, Date.now()];
    else if (Date.now() - since > mostMilliseconds) child.kill('SIGKILL');
  }, 1000);
  const [code, signal] = await new Promise((done) => child.on('exit', (...how) => done(how)));
  clearInterval(timer);
  if (signal !== null || code > 1) console.log(`ended by ${signal ?? code} in ${lastCall()}`);
  rmSync(folder, { recursive: true });
  process.exitCode = code === 0 ? 0 : 1;
}

async function work(log) {
  const file = openSync(log, 'r+');
  const width = 2000;
  const totals = await fuzz({
    calls: Number(values.calls),
    seed: Number(values.seed),
    from: Number(values.from),
    seconds: Number(values.seconds),
    before(i, text) {
      writeSync(file, `call ${i}: ${text()}`.slice(0, width).padEnd(width), 0, 'latin1');
      if (i >= Number(values.trace)) console.log(`${i}: ${text()}`);
    },
    failed: (i, text, problem) => console.log(`call ${i} (--seed ${values.seed}): ${text}\n  ${problem}`),
  });
  const { calls, returned, refused, thrown, failures, slowest, callables, neverReturned } = totals;
  console.log(
    `${calls} calls of ${callables} functions: ${returned} returned, ${refused} refused, ${thrown} ended by the caller's own errors, ${failures} failures; slowest ${slowest.toFixed()} ms`,
  );
  if (neverReturned.length > 0) console.log(`never returned: ${neverReturned.join(', ')}`);
  process.exitCode = failures > 0 ? 1 : 0;
}
