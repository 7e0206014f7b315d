import { quantization } from 'dynaquant';

/** The ways to quantize a model: PyTorch's three, and two that PyTorch does not have. */
export const modes: Readonly<Record<string, quantization.QConfig>> = {
  'INT8 per tensor': quantization.defaultDynamicQConfig,
  'INT8 per channel': quantization.perChannelDynamicQConfig,
  'INT8 per row': quantization.perRowDynamicQConfig,
  'INT8 best': quantization.bestDynamicQConfig,
  float16: quantization.float16DynamicQConfig,
};

/** A mode's figures in an expected.json, which expected.py wrote with PyTorch, if PyTorch has that mode. */
export function pytorchs<Figures>(expected: object, mode: string): Figures | undefined {
  const key = mode.replace('INT8 ', '').replace(' ', '_');
  return (expected as Record<string, Figures | undefined>)[key];
}

/** Lines with columns below each other, the first to the left and the others to the right. */
export function table(rows: readonly (readonly string[])[]): string {
  const widths = rows[0]!.map((_, i) => Math.max(...rows.map((row) => row[i]!.length)));
  const cell = (text: string, i: number): string =>
    i === 0 ? text.padEnd(widths[0]!) : text.padStart(widths[i]! + 3);
  return rows.map((row) => row.map(cell).join('').trimEnd()).join('\n');
}
