import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { has, testIf } from './support.js';

const root = join(__dirname, '..');
const compiler = process.env['CXX'] ?? 'g++';
const compile = (...args: string[]): { status: number | null; stderr: string } =>
  spawnSync(compiler, ['-std=c++17', '-Inative', ...args], { cwd: root, encoding: 'utf8' });
const testCompiled = (name: string, f: () => void): void => testIf(has(compiler), compiler, name, f, 120_000);

testCompiled('builds with DYNAQUANT_CHECKS find a call that breaks the contract', () => {
  const folder = mkdtempSync(join(tmpdir(), 'dynaquant-contract-'));
  try {
    const program = join(folder, 'contract');
    const sources = ['test/kernel-contract.cc', 'native/kernels/scalar.cc'];
    expect(compile('-DDYNAQUANT_CHECKS', ...sources, '-o', program)).toMatchObject({ status: 0 });
    const run = (mistake: string): unknown => {
      const { status, stderr } = spawnSync(program, [mistake], { encoding: 'utf8' });
      return [status, /a kernel needs (.*)/.exec(stderr)?.[1]];
    };
    expect(run('none')).toEqual([0, undefined]);
    for (const [mistake, sentence] of [
      ['alignment', 'is_aligned(b.weights, 64)'],
      ['stride', 'params.stride <= 1'],
      ['levels', 'levels == 127 || levels == 255'],
      ['infinity', 'q < 4194304 && q > -4194304'],
      ['columns', 'columns <= b.panels * kPanelColumns'],
      ['block', 'begin * Mode::kGates % block_panels(Mode::kGates) == 0'],
      ['width', 'w.width >= 1 && w.width <= kPanelColumns'],
      ['panels', 'w.width == kPanelColumns'],
      ['values', 'windows.values >= 1'],
      ['padding', 'step.cell[row * step.cell_stride + unit] == 0'],
    ] as const) {
      expect([mistake, run(mistake)]).toEqual([mistake, [null, sentence]]);
    }
  } finally {
    rmSync(folder, { recursive: true });
  }
});

// Weights packed block by block and read panel by panel would give wrong sums.
testCompiled('a vocabulary does not compile if its products cannot read what its tiles want', () => {
  const vocabulary = (products: string, blocks: boolean): unknown =>
    compile(
      '-fsyntax-only',
      `-DDYNAQUANT_PRODUCTS="${products}"`,
      `-DDYNAQUANT_BLOCK_TILES=${blocks}`,
      'native/kernels/scalar.cc',
    );
  const refusal = expect.stringContaining('these products read panel after panel');
  for (const products of ['chains.inl.h', 'dot_pairs.inl.h']) {
    expect(vocabulary(products, false)).toMatchObject({ status: 0 });
    expect(vocabulary(products, true)).toMatchObject({ status: 1, stderr: refusal });
  }
  expect(vocabulary('dot.inl.h', true)).toMatchObject({ status: 0 });
});
