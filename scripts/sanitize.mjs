// `npm run test:sanitize`: the tests again, on native code that watches what it does.
//
// 1. ThreadSanitizer: test/thread-pool-stress.cc and test/executor-stress.cc with these parts of the engine alone,
//    because Node is not built for it.
// 2. AddressSanitizer and UndefinedBehaviorSanitizer: the addon is built with them into build-sanitized/, and jest and
//    everything that its tests start load that one instead of build/.
// 3. LeakSanitizer: scripts/digest.mjs alone. A process that calls process.exit() frees nothing, and what only V8's
//    heap points to then is a leak for the sanitizer; jest and many children of its tests end so.
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

const files = 'reading and writing files is TypeScript alone';
const programs = 'it starts programs that call what other tests call';

// Names of test files begin so that would show nothing new, each with the reason.
const leftOut = {
  benchmarks:
    'the benchmarks call the addon as other tests do; what these test is their arithmetic and words',
  browser: 'it starts a browser, into which no sanitizer can be preloaded',
  'char-lm': 'it compares figures of layers, which other tests call in more ways',
  cli: programs,
  contributing: 'it reads text files',
  dispatch: 'it builds for other processors and starts emulators, into which no sanitizer can be preloaded',
  docs: 'its programs call what other tests call; the rest of its time is spent in tsc and typedoc',
  'kernel-contract':
    'it compiles a program of its own that ends by a failed check, which a sanitizer would report',
  keras: files,
  layering: 'it reads text files',
  load: files,
  'model-from-state-dict': files,
  numpy: files,
  onnx: files,
  package: 'it reads the archives of build/ and starts npm pack',
  recipe: programs,
  save: files,
  sharded: files,
  size: 'it reads text files',
  stray: files,
  'torch-checkpoint': files,
  wasm: 'its code is in the memory of WebAssembly, which bounds every access',
  'word-language-model': programs,
};
// Single tests of the other files.
const testsLeftOut = {
  '10,000 models come and go without holding memory':
    'it measures memory, of which a sanitizer needs several times as much',
  'stays bounded in one turn of the event loop': 'these tests measure memory',
  'that cannot be had for': 'these tests limit the address space, of which a sanitizer reserves terabytes',
  'four threads that share a model use little more memory than one': 'it measures memory',
  '100,000 streams of an LSTM of 64 fit in 60 MB': 'it measures memory',
};

const failures = [];

// A list that names what is gone hides nothing, but misleads.
const testFiles = readdirSync(join(root, 'test')).filter((name) => name.endsWith('.test.ts'));
const texts = testFiles.map((name) => readFileSync(join(root, 'test', name), 'utf8'));
for (const file of Object.keys(leftOut))
  if (!testFiles.some((name) => name.startsWith(file)))
    failures.push(`there is no test file '${file}' to leave out`);
for (const name of Object.keys(testsLeftOut))
  if (!texts.some((text) => text.includes(name))) failures.push(`there is no test '${name}' to leave out`);

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

/** The environment in which Node loads the sanitized addon. */
function sanitized(binary, libraries, report, leaks) {
  const signals = ['abort', 'segv', 'sigbus', 'sigill', 'sigfpe'];
  return {
    DYNAQUANT_BINARY: binary,
    LD_PRELOAD: libraries.join(' '),
    ASAN_OPTIONS: [
      `log_path=${report}`,
      `detect_leaks=${leaks ? 1 : 0}`,
      'exitcode=99',
      // 2: nobody may replace the handler. Node resets all handlers when it starts.
      ...signals.map((signal) => `handle_${signal}=2`),
    ].join(':'),
    // libubsan cannot write into a log beside libasan, so it aborts, and libasan logs that. The path is given here
    // too, because libubsan hands its own to libasan.
    UBSAN_OPTIONS: `log_path=${report}:print_stacktrace=1:abort_on_error=1`,
  };
}

function addressAndUndefined() {
  const libraries = [library('libasan.so'), library('libubsan.so')];
  if (libraries.includes(undefined)) return skip('address and undefined', "gcc's libasan and libubsan");

  const variant = join(root, 'scripts', 'build-variant.mjs');
  const binary = execFileSync(process.execPath, [variant, 'sanitized'], { encoding: 'utf8' }).trim();
  const digest = [process.execPath, join('scripts', 'digest.mjs')];
  watch('leaks', digest, (report) => sanitized(binary, libraries, report, true));
  const jest = [
    process.execPath,
    join('node_modules', 'jest', 'bin', 'jest.js'),
    `--testPathIgnorePatterns=/test/(${Object.keys(leftOut).join('|')})[^/]*$`,
    '--testTimeout=60000',
    '--maxWorkers=100%',
    `--testNamePattern=^(?!.*(${Object.keys(testsLeftOut).join('|')}))`,
  ];
  watch('address and undefined', jest, (report) => sanitized(binary, libraries, report, false));
}

function thread() {
  const what = 'thread';
  if (library('libtsan.so') === undefined) return skip(what, "gcc's libtsan");

  const folder = join(root, 'build-sanitized');
  mkdirSync(folder, { recursive: true });
  const sources = readdirSync(join(root, 'native', 'engine'))
    .filter((name) => /^(thread_pool|executor|cpu_count)\.cc$/.test(name))
    .map((name) => join('native', 'engine', name));
  const flags = ['-std=c++17', '-O1', '-g1', '-fno-omit-frame-pointer', '-fsanitize=thread', '-Inative'];
  for (const name of ['thread-pool-stress', 'executor-stress']) {
    const program = join(folder, name);
    const args = [...flags, `test/${name}.cc`, ...sources, '-pthread', '-o', program];
    execFileSync(compiler, args, { cwd: root, stdio: 'inherit' });
    watch(what, [program], (report) => ({ TSAN_OPTIONS: `halt_on_error=1:log_path=${report}` }));
  }
}

thread();
addressAndUndefined();
for (const failure of failures) console.error(`sanitize: ${failure}`);
process.exitCode = failures.length === 0 ? 0 : 1;
