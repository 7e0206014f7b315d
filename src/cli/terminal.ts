import { collectGarbage } from '../garbage.js';

/** The command was called wrongly: exit code 2. */
export class UsageError extends Error {
  override readonly name = 'UsageError';
}

/** Text from a file, without characters that a terminal would obey or that change the order of others. */
export function printable(text: string): string {
  return text.replace(
    /[\p{Cc}\p{Cf}\p{Cs}\u2028\u2029]/gu,
    (character) => `\\u{${character.codePointAt(0)!.toString(16)}}`,
  );
}

/** One line of any error, without its stack. */
export function oneLine(error: unknown): string {
  const { message } = error as Partial<Error>;
  return printable((message ?? String(error)).replace(/\s*\n\s*/g, ' ')).trim();
}

export function formatBytes(bytes: number): string {
  if (bytes < 1000) return `${bytes} B`;
  const units = ['kB', 'MB', 'GB', 'TB'];
  let value = bytes / 1000;
  let unit = 0;
  for (; value >= 999.5 && unit < units.length - 1; unit++) value /= 1000;
  return `${value.toPrecision(3)} ${units[unit]}`;
}

export function formatPercent(fraction: number): string {
  const digits = { minimumSignificantDigits: 2, maximumSignificantDigits: 2, useGrouping: false };
  return `${(100 * fraction).toLocaleString('en', digits)} %`;
}

/** Columns as wide as their widest cell, the last one ragged. */
export function columns(rows: readonly (readonly string[])[]): string {
  const widths: number[] = [];
  for (const row of rows) row.forEach((cell, i) => (widths[i] = Math.max(widths[i] ?? 0, cell.length)));
  return rows
    .map((row) =>
      row
        .map((cell, i) => cell.padEnd(widths[i]!))
        .join('  ')
        .trimEnd(),
    )
    .join('\n');
}

/** One line on a terminal's stderr, rewritten as the work goes on; nothing in a log. */
export class ProgressBar {
  private readonly shown = process.stderr.isTTY === true;

  update(fraction: number, label: string): void {
    if (!this.shown) return;
    const width = 24;
    const full = Math.round(width * Math.min(1, fraction));
    const percent = `${Math.floor(100 * fraction)}`.padStart(3);
    const line = `[${'#'.repeat(full)}${'-'.repeat(width - full)}] ${percent} %  ${printable(label)}`;
    process.stderr.write(`\r\x1b[K${line.slice(0, (process.stderr.columns || 80) - 1)}`);
  }
  /** Removes the line. */
  end(): void {
    if (this.shown) process.stderr.write('\r\x1b[K');
  }
}

/** Handles the signals that came meanwhile, and frees memory. */
export async function breathe(): Promise<void> {
  await new Promise((resolve) => setImmediate(resolve));
  collectGarbage();
}
