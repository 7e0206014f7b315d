import { mkdtempSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import * as nn from '../src/nn/index.js';
import { manualSeed } from '../src/random.js';
import { runNode, type Run } from './support.js';

export const command = join(__dirname, '..', 'dist', 'cli', 'dynaquant.js');

/** Runs the built command in a folder of its own. */
export function dynaquant(folder: string, ...args: string[]): Run {
  return runNode([command, ...args], { cwd: folder });
}

/** What `--json` prints; the command must succeed and say nothing else. */
export function json<T>(folder: string, ...args: string[]): T {
  const { status, stdout, stderr } = dynaquant(folder, ...args, '--json');
  expect([status, stderr]).toEqual([0, '']);
  return JSON.parse(stdout) as T;
}

/** The command fails with one line on stderr. */
export function expectFailure(result: Run, status: number, message: RegExp | string): void {
  expect([result.status, result.stdout]).toEqual([status, '']);
  expect(result.stderr).toMatch(/^dynaquant[^\n]*\n$/);
  expect(result.stderr).toMatch(message);
}

export function newFolder(): string {
  return mkdtempSync(join(tmpdir(), 'dynaquant-cli-'));
}

/** A small model of everything that the command quantizes, and more. */
export class Small extends nn.Module {
  embedding = new nn.Embedding(20, 6);
  lstm = new nn.LSTM(6, 5, { numLayers: 2, bidirectional: true });
  decoder = new nn.Sequential(
    new nn.intrinsic.LinearReLU(new nn.Linear(10, 9), new nn.ReLU()),
    new nn.Linear(9, 3, { bias: false }),
  );
  norm = new nn.LayerNorm(3);
  override forward(): never {
    throw new Error('not called');
  }
  static seeded(seed = 0): Small {
    manualSeed(seed);
    return new Small().eval();
  }
}
