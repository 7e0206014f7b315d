// Commands that score, and datasets for them.
import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

const programs = fileURLToPath(new URL('../src', import.meta.url));

export interface Command {
  readonly process: ChildProcess;
  /** What it has said so far. */
  said(): string;
  /** Its exit code, or the name of the signal that ended it. */
  readonly ended: Promise<number | string>;
}

export function start(
  program: 'score' | 'score-worker',
  args: readonly string[],
  env: NodeJS.ProcessEnv = {},
): Command {
  const child = spawn(process.execPath, [join(programs, `${program}.js`), ...args], {
    env: { ...process.env, ...env },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  let text = '';
  for (const stream of [child.stdout, child.stderr])
    stream.setEncoding('utf8').on('data', (more: string) => (text += more));
  const ended = once(child, 'close').then(([code, signal]: (number | string)[]) => code ?? signal!);
  return { process: child, said: () => text, ended };
}

export async function score(
  args: readonly string[],
  env: NodeJS.ProcessEnv = {},
): Promise<{ code: number | string; said: string }> {
  const command = start('score', args, env);
  const code = await command.ended;
  return { code, said: command.said() };
}

/** A folder that is removed when the process ends. */
export function temporaryFolder(): string {
  const folder = mkdtempSync(join(tmpdir(), 'dynaquant-score-'));
  process.on('exit', () => rmSync(folder, { recursive: true, force: true }));
  return folder;
}

export const read = (path: string): string => readFileSync(path, 'utf8');

/** Writes values as JSON Lines. */
export function writeLines(path: string, values: readonly unknown[]): string {
  writeFileSync(path, values.map((value) => `${JSON.stringify(value)}\n`).join(''));
  return path;
}

const words = 'In the beginning God created heaven and earth; and there was light, evening, morning'.split(
  ' ',
);

/** Rows for char-lm, of 5 to some 200 characters. */
export function texts(count: number): { id: number; text: string }[] {
  return Array.from({ length: count }, (_, id) => {
    const length = 1 + ((id * 7919) % 40);
    return { id, text: Array.from({ length }, (_, i) => words[(id + i * i) % words.length]).join(' ') };
  });
}

/** The processes that a process has started, on Linux. None when it has ended. */
export function childrenOf({ pid }: ChildProcess): number[] {
  try {
    return read(`/proc/${pid}/task/${pid}/children`).split(' ').filter(Boolean).map(Number);
  } catch {
    return [];
  }
}

/** The command line of a process, on Linux. Empty when it has ended. */
export function commandOf(pid: number): string {
  try {
    return read(`/proc/${pid}/cmdline`);
  } catch {
    return '';
  }
}
