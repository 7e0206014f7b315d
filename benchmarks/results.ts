import type { Run } from './run.js';
export function updateResults(_run: Run): string {
  return '';
}
