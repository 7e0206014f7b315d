import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { wheelFolder } from '../examples/wheels.js';

const folder = mkdtempSync(join(tmpdir(), 'dynaquant-'));
const wheels = join(folder, 'wheels');
const python = join(folder, 'python');
const { PYTHON } = process.env;
afterAll(() => rmSync(folder, { recursive: true, force: true }));
afterEach(() => {
  if (PYTHON === undefined) delete process.env['PYTHON'];
  else process.env['PYTHON'] = PYTHON;
});

/** A python whose pip unpacks a wheel with its arguments in it, then does what the script says. */
function usePython(script: string): void {
  const target =
    'for last; do case "$before" in --target) target=$last;; --requirement) list=$last;; esac; before=$last; done';
  writeFileSync(
    python,
    `#!/bin/sh\n${target}\nmkdir "$target/model"\necho "$@" > "$target/model/args"\ncat "$list" > "$target/model/list"\n${script}\n`,
    {
      mode: 0o755,
    },
  );
  process.env['PYTHON'] = python;
}

test('fetches a wheel once, by version and hash', () => {
  usePython('');
  const unpacked = wheelFolder('silero_vad', wheels);
  expect(unpacked).toBe(join(wheels, 'silero_vad-6.2.3'));
  expect(readFileSync(join(unpacked, 'model', 'list'), 'utf8')).toMatch(
    /^silero_vad==6\.2\.3 --hash=sha256:[0-9a-f]{64}$/,
  );
  expect(readFileSync(join(unpacked, 'model', 'args'), 'utf8')).toMatch(
    /^-m pip install .*--no-deps .*--only-binary :all: --require-hashes --target /,
  );
  process.env['PYTHON'] = join(folder, 'nowhere');
  expect(wheelFolder('silero_vad', wheels)).toBe(unpacked);
});

test('leaves nothing of a wheel that cannot be fetched, and says why', () => {
  usePython('echo "looking" >&2; echo "ERROR: THESE PACKAGES DO NOT MATCH THE HASHES" >&2; exit 1');
  expect(() => wheelFolder('Resemblyzer', wheels)).toThrow(
    /python -m pip could not fetch Resemblyzer==0\.1\.4: ERROR: THESE PACKAGES DO NOT MATCH THE HASHES$/,
  );
  process.env['PYTHON'] = join(folder, 'nowhere');
  expect(() => wheelFolder('Resemblyzer', wheels)).toThrow(/could not fetch Resemblyzer==0\.1\.4: .*ENOENT/);
  expect(readdirSync(wheels)).toEqual(['silero_vad-6.2.3']);
  expect(existsSync(join(wheels, 'Resemblyzer-0.1.4'))).toBe(false);
});

test('knows only the wheels of its list', () => {
  expect(() => wheelFolder('torch', wheels)).toThrow(/wheels\.txt has no wheel of torch$/);
});
