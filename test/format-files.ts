import { readFileSync } from 'node:fs';
import { join } from 'node:path';

import type { StateDict } from '../src/nn/module.js';
import type { RawTensor, Tensor } from '../src/tensor/index.js';
import { isRawTensor } from '../src/tensor/index.js';
import { bytesOf } from './support.js';

// The files of test/fixtures/formats, and what numpy and PyTorch say of them (make_formats.py).

interface Entry {
  dtype: string;
  shape: readonly number[];
  /** Hexadecimal. */
  bytes: string;
}

export const pathOf = (file: string): string => join(__dirname, 'fixtures', 'formats', file);
export const fixture = (file: string): Buffer => readFileSync(pathOf(file));
export const expected = JSON.parse(fixture('expected.json').toString()) as Record<
  string,
  Record<string, Entry>
>;

/** A tensor as `expected` has it. */
export function hexOf(tensor: Tensor | RawTensor): Entry {
  const { dtype, shape } = tensor;
  const bytes = isRawTensor(tensor) ? Buffer.from(tensor.bytes).toString('hex') : bytesOf(tensor);
  return { dtype, shape, bytes };
}

/** What a state dict holds, as `expected` has it. */
export function contentsOf(state: StateDict): Record<string, Entry> {
  return Object.fromEntries([...state, ...state.raw].map(([key, value]) => [key, hexOf(value)]));
}
