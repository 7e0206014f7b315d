// The record of a benchmark run: its JSON file, with the machine it was made on.
import { execFileSync } from 'node:child_process';
import { existsSync, mkdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { availableParallelism, cpus, type } from 'node:os';
import { dirname, join } from 'node:path';

import type { Contender } from './contenders/index.js';
import type { Hardware } from './roofline.js';
import type { ServiceRow } from './services/service.js';
import type { Timing } from './statistics.js';
import type { ModelTrial, Trial } from './trials.js';

/** A contender on a trial: its timing, or why there is none. */
interface Measured {
  readonly contender: Contender;
  /** Mean error against the float result, as a share of its mean magnitude. */
  readonly error?: number;
  readonly timing?: Timing;
  readonly skip?: string;
}

export interface Row extends Measured {
  readonly trial: Trial;
  /** The hardware's bound in microseconds, where it was measured. */
  readonly bound?: number;
  /** The mean number of quads in a chain of plain AVX2. It depends on the weights only. */
  readonly chain: number;
}

export interface ModelRow extends Measured {
  readonly trial: ModelTrial;
  /** The cosine of its output and the float result. */
  readonly cosine?: number;
  /** Of dynaquant: which share of its time goes where. */
  readonly profile?: Profile;
}

/** Shares of a call's time. */
export interface Profile {
  /** Not in matrix products, convolutions and recurrent layers. */
  readonly outsideProducts: number;
  /** Not in native code at all. */
  readonly outsideNative: number;
}

export interface Run {
  readonly date: string;
  readonly machine: { readonly cpu: string; readonly cores: number; readonly system: string };
  /** The instruction set of dynaquant's contenders. */
  readonly isa: string;
  /** The versions of Node, the compiler and each engine. */
  readonly versions: Readonly<Record<string, string>>;
  /** The least number of rounds; each timing has its own. */
  readonly rounds: number;
  readonly hardware: Hardware | null;
  readonly rows: readonly Row[];
  /** Whole models. Absent in older runs. */
  readonly models?: readonly ModelRow[];
  /** What services were measured, by their names. Absent in older runs. */
  readonly services?: Readonly<Record<string, readonly ServiceRow[]>>;
}

/** What was timed in a run. */
export function allRows({ rows, models = [] }: Run): readonly (Row | ModelRow)[] {
  return [...rows, ...models];
}

/** The checkout. */
export const packageRoot = dirname(require.resolve('dynaquant/package.json'));

/** dynaquant's version. */
export function packageVersion(): string {
  const { version } = JSON.parse(readFileSync(join(packageRoot, 'package.json'), 'utf8')) as {
    version: string;
  };
  return version;
}

/** @throws {Error} when the file is no run of the benchmark */
export function readRun(path: string): Run {
  const run = JSON.parse(readFileSync(path, 'utf8')) as Run | null;
  if (!Array.isArray(run?.rows)) throw new Error(`${path} is no run of the benchmark`);
  return run!;
}

export function writeFile(path: string, text: string): void {
  mkdirSync(dirname(path), { recursive: true });
  writeFileSync(path, text);
}

/** Processors of different generations share a name, so the family and the model number are added. */
export function machine(): Run['machine'] {
  const cpu = cpus()[0]?.model.trim() ?? 'unknown';
  const info = existsSync('/proc/cpuinfo') ? readFileSync('/proc/cpuinfo', 'utf8') : '';
  const [family, model] = ['cpu family', 'model'].map(
    (key) => new RegExp(`^${key}\\s*: (\\d+)`, 'm').exec(info)?.[1],
  );
  return {
    cpu: family === undefined ? cpu : `${cpu} (family ${family}, model ${model})`,
    cores: availableParallelism(),
    system: `${type()} ${process.arch}`,
  };
}

/** The C++ compiler, as node-gyp chooses it. */
export const compiler = process.env['CXX'] ?? 'g++';

/** For example `g++ 12.2.0`; undefined without a compiler. */
export function compilerVersion(): string | undefined {
  try {
    const text = execFileSync(compiler, ['--version'], {
      encoding: 'utf8',
      stdio: ['ignore', 'pipe', 'ignore'],
    });
    const line = text.split('\n')[0]!;
    return `${/clang/.test(line) ? 'clang' : 'g++'} ${/\d+\.\d+\.\d+/.exec(line)?.[0] ?? line}`;
  } catch {
    return undefined;
  }
}

/** Measures the hardware. Returns null if hardware.cc cannot be compiled here. */
export function measureHardware(threads: readonly number[]): Hardware | null {
  const source = join(packageRoot, 'benchmarks', 'hardware.cc');
  const program = join(packageRoot, 'build', 'bench', 'hardware');
  try {
    if (!existsSync(program) || statSync(program).mtimeMs < statSync(source).mtimeMs) {
      mkdirSync(dirname(program), { recursive: true });
      const flags = ['-O2', '-march=native', '-std=c++17', '-pthread'];
      execFileSync(compiler, [...flags, source, '-o', program], { stdio: ['ignore', 'ignore', 'pipe'] });
    }
    return JSON.parse(execFileSync(program, threads.map(String), { encoding: 'utf8' })) as Hardware;
  } catch (error) {
    process.stderr.write(`bench: no bound is shown, hardware.cc does not run: ${(error as Error).message}\n`);
    return null;
  }
}
