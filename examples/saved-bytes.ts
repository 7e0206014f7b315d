import { mkdtempSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { saveSync, type nn } from 'dynaquant';

/** The size of the file that a module's state dict is saved to. */
export function savedBytes(module: nn.Module): number {
  const folder = mkdtempSync(join(tmpdir(), 'dynaquant-'));
  try {
    const path = join(folder, 'model.safetensors');
    saveSync(module.stateDict(), path);
    return statSync(path).size;
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}
