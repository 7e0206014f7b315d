// `npm run test:sanitize`: the tests again, on native code that watches what it does.
//
// 1. AddressSanitizer (with its leak detector) and UndefinedBehaviorSanitizer: the addon is built with them into
//    build-sanitized/, and jest and all that its tests start load that one instead of build/.
// 2. ThreadSanitizer: test/thread-pool-stress.cc and the thread pool alone, because Node is not built for it.
//
// A report fails the run, whichever process it comes from. Without the tools a part is skipped aloud, or fails where
// DYNAQUANT_REQUIRE_ALL=1.
import { execFileSync, spawnSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { isAbsolute, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = fileURLToPath(new URL('..', import.meta.url));
const compiler = process.env.CXX || 'c++';

// Test files that would show nothing new, each with the reason.
const leftOut = {
  benchmarks:
    'the benchmarks call the addon as other tests do; what these test is their arithmetic and words',
  contributing: 'it reads text files',
  dispatch: 'it builds for other processors and starts emulators, into which no sanitizer can be preloaded',
  layering: 'it reads text files',
  package: 'it reads the archives of build/ and starts npm pack',
  size: 'it reads text files',
  'torch-checkpoint': 'reading checkpoints is TypeScript alone, and these tests limit its time',
};
// Single tests of the other files.
const testsLeftOut = {
  '10,000 models come and go without holding memory':
    'it measures memory, of which a sanitizer needs several times as much',
  'a large file is held once': 'it measures memory',
};

const failures = [];

function skip(what, needs) {
  console.log(`${what}: skipped: needs ${needs}`);
  if (process.env.DYNAQUANT_REQUIRE_ALL === '1') failures.push(`${what} needs ${needs}`);
}

/** Where the compiler keeps a library of its own; undefined where it has none. */
function library(name) {
  const { stdout } = spawnSync(compiler, [`-print-file-name=${name}`], { encoding: 'utf8' });
  const path = stdout?.trim();
  return path && isAbsolute(path) ? path : undefined;
}

// The sanitizers of gcc 12 want the address space where it was before kernels chose it more freely.
const fixed = ['setarch', process.arch === 'x64' ? 'x86_64' : 'aarch64', '-R'];
const prefix = spawnSync(fixed[0], [...fixed.slice(1), 'true']).status === 0 ? fixed : [];

/** Runs a command in the checkout; its reports, from all its processes, become failures. */
function watch(what, command, environment) {
  const folder = mkdtempSync(join(tmpdir(), 'dynaquant-sanitize-'));
  const [program, ...args] = [...prefix, ...command];
  const { status, signal, error } = spawnSync(program, args, {
    cwd: root,
    stdio: 'inherit',
    env: { ...process.env, ...environment(join(folder, 'report')) },
  });
  for (const name of readdirSync(folder)) {
    console.error(readFileSync(join(folder, name), 'utf8'));
    failures.push(`${what}: a report, see above`);
  }
  rmSync(folder, { recursive: true });
  if (status !== 0) failures.push(`${what} ended with ${error ?? signal ?? status}`);
}

function addressAndUndefined() {
  const what = 'address and undefined';
  const libraries = [library('libasan.so'), library('libubsan.so')];
  if (libraries.includes(undefined)) return skip(what, "gcc's libasan and libubsan");

  const variant = join(root, 'scripts', 'build-variant.mjs');
  const folder = execFileSync(process.execPath, [variant, 'sanitized'], { encoding: 'utf8' }).trim();
  const names = Object.keys(testsLeftOut).join('|');
  const jest = [
    process.execPath,
    join('node_modules', 'jest', 'bin', 'jest.js'),
    `--testPathIgnorePatterns=/test/(${Object.keys(leftOut).join('|')})[^/]*$`,
    `--testNamePattern=^(?!.*(${names}))`,
  ];
  watch(what, jest, (report) => ({
    DYNAQUANT_PREBUILD: folder,
    LD_PRELOAD: libraries.join(' '),
    // 2: for good, because Node resets the signals' handlers when it starts.
    ASAN_OPTIONS: [
      ...['abort', 'segv', 'sigbus', 'sigill', 'sigfpe'].map((signal) => `handle_${signal}=2`),
      `log_path=${report}`,
      'exitcode=99',
    ].join(':'),
    // Of the two libraries only the first writes into its log: the second aborts, and the first logs that. The path
    // is given here too, because the second's is what both get.
    UBSAN_OPTIONS: `print_stacktrace=1:abort_on_error=1:log_path=${report}`,
  }));
}

function thread() {
  const what = 'thread';
  if (library('libtsan.so') === undefined) return skip(what, "gcc's libtsan");
  const uv = spawnSync(compiler, ['-E', '-x', 'c++', '-'], { input: '#include <uv.h>' });
  if (uv.status !== 0) return skip(what, "libuv's headers (Debian: libuv1-dev)");

  const folder = join(root, 'build-sanitized');
  mkdirSync(folder, { recursive: true });
  const program = join(folder, 'thread-pool-stress');
  const sources = readdirSync(join(root, 'native', 'engine'))
    .filter((name) => /^(thread_pool.*|cpu_count)\.cc$/.test(name) && name !== 'thread_pool_single.cc')
    .map((name) => join('native', 'engine', name));
  const flags = ['-std=c++17', '-O1', '-g1', '-fno-omit-frame-pointer', '-fsanitize=thread', '-Inative'];
  const args = [...flags, 'test/thread-pool-stress.cc', ...sources, '-luv', '-pthread', '-o', program];
  execFileSync(compiler, args, { cwd: root, stdio: 'inherit' });
  watch(what, [program], (report) => ({ TSAN_OPTIONS: `halt_on_error=1:log_path=${report}` }));
}

thread();
addressAndUndefined();
for (const failure of failures) console.error(`sanitize: ${failure}`);
process.exitCode = failures.length === 0 ? 0 : 1;
