import { execFileSync, spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';

import { native } from '../src/native/addon.js';
import { StateDict } from '../src/nn/module.js';
import type { QConfig } from '../src/quantization/index.js';
import { Tensor } from '../src/tensor/index.js';

interface TensorEntry {
  dtype: 'f32' | 'f64' | 'i64' | 'i32' | 'i8' | 'u8';
  shape: number[];
  offset: number;
  nbytes: number;
}

const arrays = {
  f32: Float32Array,
  f64: Float64Array,
  i64: BigInt64Array,
  i32: Int32Array,
  i8: Int8Array,
  u8: Uint8Array,
};

// eslint-disable-next-line @typescript-eslint/no-explicit-any -- each group has its own shape of case
export type GoldenCase = any;

/** A group of reference data made with PyTorch (test/fixtures/make_*.py). */
export class Golden {
  readonly cases: GoldenCase[];
  private readonly entries: Record<string, TensorEntry>;
  private readonly bytes: ArrayBuffer;

  constructor(name: string) {
    const path = join(__dirname, 'fixtures', name);
    const manifest = JSON.parse(readFileSync(`${path}.json`, 'utf8'));
    this.cases = manifest.cases;
    this.entries = manifest.tensors;
    this.bytes = new Uint8Array(readFileSync(`${path}.bin`)).buffer;
  }

  tensor(name: string): Tensor {
    const entry = this.entries[name];
    if (entry === undefined) throw new Error(`no tensor ${name}`);
    const { dtype, shape, offset, nbytes } = entry;
    return new Tensor(new arrays[dtype](this.bytes.slice(offset, offset + nbytes)), shape);
  }

  /** A case's named inputs. */
  inputs(c: GoldenCase): Record<string, Tensor | undefined> {
    return Object.fromEntries(
      Object.entries<string>(c.inputs).map(([name, key]) => [name, this.tensor(key)]),
    );
  }

  /** `{ parameter: tensor name }` as a state dict. */
  state(names: Record<string, string>): StateDict {
    const state = new StateDict();
    for (const [key, name] of Object.entries(names)) state.set(key, this.tensor(name));
    return state;
  }
}

export function golden(name: string): Golden {
  return new Golden(name);
}

/** Python's keyword arguments as options: camelCase, and infinity, which JSON does not have, from its name. */
export function optionsOf(kwargs: Record<string, unknown>): Record<string, unknown> {
  return Object.fromEntries(
    Object.entries(kwargs).map(([name, value]) => [
      name.replace(/_(.)/g, (_, letter: string) => letter.toUpperCase()),
      value === 'Infinity' ? Infinity : value,
    ]),
  );
}

/** Bits, so that -0 and 0 differ and NaN equals itself. */
export function bytesOf(tensor: Tensor): string {
  const { buffer, byteOffset, byteLength } = tensor.data;
  return Buffer.from(buffer as ArrayBuffer, byteOffset, byteLength).toString('hex');
}

/** What this process has computed so far: unlike a clock, it does not count what others do on the machine. */
export function cpuMilliseconds(): number {
  const { user, system } = process.cpuUsage();
  return (user + system) / 1000;
}

/** The reference tolerance of everything that is not exact: 2e-6 absolute + 1e-6 relative. */
export function expectClose(actual: Tensor, expected: Tensor): void {
  expect(actual.shape).toEqual(expected.shape);
  let worst = 0;
  for (let i = 0; i < actual.data.length; i++) {
    const want = Number(expected.data[i]);
    const error = Math.abs(Number(actual.data[i]) - want);
    worst = Math.max(worst, Number.isNaN(error) ? Infinity : error - 1e-6 * Math.abs(want));
  }
  expect(worst).toBeLessThanOrEqual(2e-6);
}

/** Runs `f` with an instruction set chosen for every handle built in it. */
export function withIsa<R>(isa: string, f: () => R): R {
  const before = native().isa();
  if (!native().selectIsa(isa)) throw new Error(`${isa} does not run here`);
  try {
    return f();
  } finally {
    native().selectIsa(before);
  }
}

/** Deterministic numbers for tests that do not test the generator (mulberry32). */
export function pseudoRandom(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
  };
}

/** How a process ended, and what it said. */
export interface Run {
  status: number | null;
  stdout: string;
  stderr: string;
}

/** Runs Node; a process that hangs is ended, and its signal ends `stderr`. */
export function runNode(
  args: readonly string[],
  options: { cwd?: string; env?: NodeJS.ProcessEnv; timeout?: number } = {},
): Run {
  const { status, stdout, stderr, signal } = spawnSync(process.execPath, args, {
    encoding: 'utf8',
    timeout: 120_000,
    killSignal: 'SIGKILL',
    ...options,
  });
  return { status, stdout, stderr: stderr + (signal ?? '') };
}

/** Whether a program can be run. */
export function has(tool: string): boolean {
  return spawnSync(tool, ['--version']).error === undefined;
}

/** A test that needs what is not everywhere: skipped aloud without it, or failed where all tools are required. */
export function testIf(
  there: boolean,
  needs: string,
  name: string,
  f: jest.ProvidesCallback,
  timeout?: number,
): void {
  if (there || process.env['DYNAQUANT_REQUIRE_ALL'] === '1') test(name, f, timeout);
  else test.skip(`${name} (skipped: needs ${needs})`, f);
}
export function testWith(tool: string, name: string, f: () => void): void {
  testIf(has(tool), tool, name, f);
}

const isaRows = readFileSync(join(__dirname, '../native/kernels/isas.inl.h'), 'utf8');
// The rows between the conditions: of x64, of arm64, of WebAssembly (two), of every other architecture.
const [x64Isas, arm64Isas, , , , commonIsas] = isaRows
  .slice(isaRows.indexOf('#if defined(__x86_64__)'))
  .split(/^#.*\n/m)
  .slice(1)
  .map((rows) => Array.from(rows.matchAll(/^DYNAQUANT_(?:INT8_)?ISA\((\w+)/gm), (match) => match[1]!));

/** Every instruction set that is built for an architecture, best first. */
export const builtIsas: Readonly<Record<string, readonly string[]>> = {
  x64: [...x64Isas!, ...commonIsas!],
  arm64: [...arm64Isas!, ...commonIsas!],
};

/** What scalar kernels have of C; the others have instructions for it. */
const functions = ['fmaf', 'floorf', 'rintf', 'sqrtf', 'memcpy', 'memset'];

/** Each archive of a build defines its one table, and asks for nothing but what C has. */
export function expectOnlyTables(nm: string, release: string, architecture: string): void {
  for (const isa of builtIsas[architecture]!) {
    const archive = join(release, 'obj.target', `kernels_${isa}.a`);
    const symbols = execFileSync(nm, ['-C', archive], { encoding: 'utf8' }).split('\n');
    const shared = symbols.filter((line) => / [A-TV-ZWVuwv] /.test(line));
    const table = isaRows.includes(`\nDYNAQUANT_INT8_ISA(${isa},`) ? 'int8_kernels' : 'kernel_table';
    expect(shared.map((line) => line.replace(/^\S* /, ''))).toEqual([`D ${table}_${isa}`]);
    const wanted = symbols.filter((line) => / U /.test(line)).map((line) => line.trim().slice(2));
    const base = new RegExp(`^DYNAQUANT_INT8_ISA\\(${isa}, (\\w+)\\)`, 'm').exec(isaRows)?.[1];
    const others = ['_GLOBAL_OFFSET_TABLE_', `kernel_table_${base}`];
    for (const symbol of wanted) expect([...functions, ...others]).toContain(symbol);
  }
}

const flags = [false, true];

/** Every combination of activation ranges (a row each), steps (255) and weight scales (a channel each). */
export const modes = flags.flatMap((rows) =>
  flags.flatMap((full) =>
    flags.map((channel) => ({ rows, full, channel, qconfig: qconfigOf(rows, full, channel) })),
  ),
);
export const everyQConfig = modes.map(({ qconfig }) => qconfig);

export function qconfigOf(rows: boolean, full: boolean, channel: boolean): QConfig {
  return {
    weight: { qscheme: channel ? 'per_channel_symmetric' : 'per_tensor_symmetric' },
    activation: rows ? 'perRow' : 'perTensor',
    reduceRange: !full,
  };
}
