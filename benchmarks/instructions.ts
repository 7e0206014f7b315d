// `npm run bench:instructions`: how many instructions fixed cases of the engine take. Unlike a time, the count
// does not depend on the machine's load, so CI compares it with instructions.json. Valgrind's callgrind counts; it
// does not know AVX-512, so the cases are scalar and avx2 only. The baseline has counts for each compiler; those of an
// unknown compiler are only printed. `--update` writes the baseline.
import { execFileSync, spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

import { compiler, compilerVersion, packageRoot } from './run.js';

/** Counts by `<isa> <case>`, by compiler. */
type Baseline = Record<string, Record<string, number>>;

const isas = ['scalar', 'avx2'];
/** Library code that a case calls (memcpy, malloc) may differ a little between systems. */
const tolerance = 0.005;
const baselinePath = join(packageRoot, 'benchmarks', 'instructions.json');

/** Compiles the engine, and links the kernels of the addon's own build, which are the ones shipped. */
function build(): string {
  const program = join(packageRoot, 'build', 'bench', 'instructions');
  mkdirSync(join(packageRoot, 'build', 'bench'), { recursive: true });
  const native = join(packageRoot, 'native');
  const sources = readdirSync(join(native, 'engine'))
    .filter((name) => name.endsWith('.cc'))
    .map((name) => join(native, 'engine', name));
  const archives = readdirSync(join(packageRoot, 'build', 'Release', 'obj.target'))
    .filter((name) => /^kernels_.*\.a$/.test(name))
    .map((name) => join(packageRoot, 'build', 'Release', 'obj.target', name));
  execFileSync(
    compiler,
    [
      ...['-O3', '-std=c++17', '-ffp-contract=off', `-I${native}`],
      ...['-no-pie', '-pthread'],
      join(packageRoot, 'benchmarks', 'instructions.cc'),
      ...sources,
      ...['dispatch', 'cpu_features', 'panels'].map((name) => join(native, 'kernels', `${name}.cc`)),
      ...archives,
      ...['-o', program],
    ],
    { stdio: 'inherit' },
  );
  return program;
}

function count(program: string, isa: string, name: string): number {
  const { stderr, status } = spawnSync(
    'valgrind',
    [
      ...['--tool=callgrind', '--toggle-collect=measured', '--callgrind-out-file=/dev/null'],
      ...[program, isa, name],
    ],
    { encoding: 'utf8' },
  );
  const collected = /Collected : (\d+)/.exec(stderr)?.[1];
  if (status !== 0 || collected === undefined || collected === '0') {
    throw new Error(`${name} does not run on ${isa}: ${stderr.trim().split('\n').at(-1)!}`);
  }
  return Number(collected);
}

function main(update: boolean): void {
  if (spawnSync('valgrind', ['--version']).error !== undefined) {
    process.stdout.write('skipped: needs valgrind\n');
    if (process.env['DYNAQUANT_REQUIRE_ALL'] === '1') process.exitCode = 1;
    return;
  }
  const program = build();
  const cases = execFileSync(program, { encoding: 'utf8' }).trim().split('\n');
  const key = compilerVersion()!;
  const baseline = existsSync(baselinePath)
    ? (JSON.parse(readFileSync(baselinePath, 'utf8')) as Baseline)
    : {};
  const known = baseline[key];
  if (known === undefined && !update)
    process.stdout.write(`No baseline for ${key}: counts are only shown.\n`);
  const counts: Record<string, number> = {};
  for (const isa of isas) {
    for (const name of cases) {
      const now = (counts[`${isa} ${name}`] = count(program, isa, name));
      const before = known?.[`${isa} ${name}`];
      const change = before === undefined ? 0 : now / before - 1;
      const worse = change > tolerance;
      const note = before === undefined ? '' : `${(100 * change).toFixed(2)} %${worse ? '  MORE' : ''}`;
      process.stdout.write(
        `${isa.padEnd(8)}${name.padEnd(26)}${now.toLocaleString('en').padStart(14)}  ${note}\n`,
      );
      if (worse && !update) process.exitCode = 1;
    }
  }
  if (update) {
    writeFileSync(baselinePath, `${JSON.stringify({ ...baseline, [key]: counts }, null, 2)}\n`);
    process.stdout.write(`${baselinePath}\n`);
  } else if (process.exitCode === 1) {
    process.stderr.write(
      'bench:instructions: more instructions than the baseline; if that is meant, --update\n',
    );
  }
}

main(process.argv.includes('--update'));
