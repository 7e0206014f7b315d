// Sequences of unequal length in one batch, without padding: a long one beside many short ones must not take the memory
// of as many long ones.
import { SpanStatusCode, context, trace, type Link } from '@opentelemetry/api';
import { nn, Tensor } from 'dynaquant';
import type { Model } from './models.js';
import { tracer } from './observe.js';
import { tensorOf, type Numbers } from './v2-tensors.js';

/** Steps of a stream, and where their outputs go. */
export interface Part {
  /** In `nn.Streams`. */
  readonly id: number;
  readonly input: Numbers;
  readonly output: Float32Array;
}

/** The span of the request that is served here, for the batch that it becomes part of. */
export function linkToRequest(): Link | undefined {
  const span = trace.getSpanContext(context.active());
  return span === undefined ? undefined : { context: span };
}

/** Steps streams together, and fills the outputs of all. @param links - to the spans of their requests */
export async function stepTogether(
  streams: nn.Streams,
  model: Model,
  parts: readonly Part[],
  links: readonly (Link | undefined)[] = [],
): Promise<void> {
  const span = tracer.startSpan('batch', {
    attributes: { model: model.name, rows: parts.length },
    links: links.filter((link) => link !== undefined),
  });
  try {
    await compute(streams, model, parts);
  } catch (error) {
    span.setStatus({ code: SpanStatusCode.ERROR, message: (error as Error).message });
    throw error;
  } finally {
    span.end();
  }
}

async function compute(streams: nn.Streams, model: Model, parts: readonly Part[]): Promise<void> {
  const longestFirst = [...parts].sort((a, b) => b.output.length - a.output.length);
  const ids = longestFirst.map(({ id }) => id);
  const { rows, batchSizes } = pack(model, longestFirst);
  if (batchSizes.length === 1) {
    // Steps of one each need no PackedSequence, which would be copied once more.
    unpack(model, await streams.stepAsync(ids, rows), longestFirst);
  } else {
    const sizes = new Tensor(BigInt64Array.from(batchSizes, BigInt), [batchSizes.length]);
    const { data } = await streams.stepAsync(ids, new nn.utils.rnn.PackedSequence(rows, sizes));
    unpack(model, data, longestFirst);
  }
}

/** The first step of all parts, then the second of those that have one, and so on. */
function pack(model: Model, parts: readonly Part[]): { rows: Tensor; batchSizes: readonly number[] } {
  const width = Math.max(1, model.input.features);
  const size = parts.reduce((sum, { input }) => sum + input.length, 0);
  const data = model.input.datatype === 'FP32' ? new Float32Array(size) : new BigInt64Array(size);
  const batchSizes: number[] = [];
  let at = 0;
  for (let start = 0; start < parts[0]!.input.length; start += width) {
    let count = 0;
    for (; count < parts.length && parts[count]!.input.length > start; count++, at += width)
      data.set(parts[count]!.input.subarray(start, start + width) as never, at);
    batchSizes.push(count);
  }
  return { rows: tensorOf(model, data), batchSizes };
}

function unpack(model: Model, packed: Tensor, parts: readonly Part[]): void {
  const width = model.output.features;
  const data = packed.data as Float32Array;
  let at = 0;
  for (let start = 0; start < parts[0]!.output.length; start += width)
    for (let i = 0; i < parts.length && parts[i]!.output.length > start; i++, at += width)
      parts[i]!.output.set(data.subarray(at, at + width), start);
}
