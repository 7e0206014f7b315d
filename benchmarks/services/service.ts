// What a server meets beside the time of a call. Each contender of a service runs in processes of its own.
import { execFileSync } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';

import { packageRoot } from '../run.js';

/** What was measured of one contender, by what it is, with its unit. */
export type Figures = Readonly<Record<string, number>>;

export interface ServiceRow {
  readonly contender: string;
  readonly figures?: Figures;
  /** Why nothing was measured. */
  readonly skip?: string;
}

/** ONNX Runtime's version, if it is installed. */
export function onnxRuntimeVersion(): string | undefined {
  const file = join(packageRoot, 'benchmarks', 'node_modules', 'onnxruntime-node', 'package.json');
  if (!existsSync(file)) return undefined;
  return (JSON.parse(readFileSync(file, 'utf8')) as { version: string }).version;
}

export interface Service {
  /** The word that chooses it. */
  readonly name: string;
  /** What is measured, in a sentence. */
  readonly title: string;
  /** @param folder - for its files */
  measure(folder: string, rounds: number): ServiceRow[];
}

/** The compiled script of this folder. */
export function scriptPath(name: string): string {
  return join(packageRoot, 'build', 'benchmarks', 'services', `${name}.js`);
}

/**
 * Runs a script that prints one JSON object: its figures, or `{ skip }`.
 *
 * @param flags - Node's own
 */
export function runScript(
  name: string,
  args: readonly string[],
  flags: readonly string[] = [],
): Figures | { skip: string } {
  const text = execFileSync(process.execPath, [...flags, scriptPath(name), ...args], {
    encoding: 'utf8',
    env: { ...process.env, DYNAQUANT_NUM_THREADS: '1' },
    maxBuffer: 2 ** 26,
  });
  return JSON.parse(text) as Figures | { skip: string };
}

/** What such a script prints. */
export function answer(figures: Figures | { skip: string }): void {
  process.stdout.write(`${JSON.stringify(figures)}\n`);
}

export function isSkip(value: Figures | { skip: string }): value is { skip: string } {
  return 'skip' in value;
}
