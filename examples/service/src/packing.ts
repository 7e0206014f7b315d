// Sequences of unequal length as one PackedSequence and back, without padding: a long one beside many short ones must
// not make memory for as many long ones.
import { nn, Tensor } from 'dynaquant';
import type { Model } from './models.js';
import { tensorOf, type Numbers } from './v2-tensors.js';

/** A sequence, and where its output goes: step after step, both. */
export interface Part {
  readonly steps: number;
  readonly input: Numbers;
  readonly output: Float32Array;
}

/** The first step of all parts, then the second of those that have one, and so on. The longest parts come first. */
export function pack(model: Model, parts: readonly Part[]): nn.utils.rnn.PackedSequence {
  const width = Math.max(1, model.input.features);
  const total = parts.reduce((sum, { steps }) => sum + steps, 0);
  const data = model.input.datatype === 'FP32' ? new Float32Array(total * width) : new BigInt64Array(total);
  const batchSizes: bigint[] = [];
  let at = 0;
  for (let step = 0; step < parts[0]!.steps; step++) {
    const count = countAt(parts, step);
    batchSizes.push(BigInt(count));
    for (let i = 0; i < count; i++, at += width)
      data.set(parts[i]!.input.subarray(step * width, (step + 1) * width) as never, at);
  }
  const sizes = new Tensor(BigInt64Array.from(batchSizes), [batchSizes.length]);
  return new nn.utils.rnn.PackedSequence(tensorOf(model, data), sizes);
}

/** Copies what a model made of {@link pack}'s result to the outputs of the same parts. */
export function unpack(model: Model, packed: Tensor, parts: readonly Part[]): void {
  const width = model.output.features;
  const data = packed.data as Float32Array;
  let at = 0;
  for (let step = 0; step < parts[0]!.steps; step++) {
    const count = countAt(parts, step);
    for (let i = 0; i < count; i++, at += width)
      parts[i]!.output.set(data.subarray(at, at + width), step * width);
  }
}

/** How many parts have a step. */
function countAt(parts: readonly Part[], step: number): number {
  let count = parts.length;
  while (parts[count - 1]!.steps <= step) count--;
  return count;
}
