/** The call of a whole encoder layer: see native/engine/encoder_layer.h. */
import { computeHere } from '../turn.js';
import { cached } from './addon.js';
import { callLater, isForHere } from './call-async.js';
import type { Heads } from './call-matrix.js';
import { newFloats, throwUnlessOk } from './call.js';
import type { LinearHandle } from './handles.js';

const functions = cached('encodeLayer', 'startEncodeLayer');

/** What normalizes each row. */
export interface RowNorm {
  readonly weight: Float32Array | null;
  readonly bias: Float32Array | null;
  readonly eps: number;
}

/** A layer, and what is particular to a call. No size is 0. */
export interface EncoderCall {
  /** Those of the attention's projections, of queries, keys and values and of the output; then of both Linears. */
  readonly linears: readonly LinearHandle[];
  readonly norm1: RowNorm;
  readonly norm2: RowNorm;
  readonly normFirst: boolean;
  readonly activation: 'relu' | 'gelu';
  readonly batch: number;
  /** Of a sequence. */
  readonly length: number;
  readonly width: number;
  /** Features between the two Linears. */
  readonly inner: number;
  readonly heads: number;
  readonly batchFirst: boolean;
  readonly causal: boolean;
  readonly mask: Heads | null;
}

const nowhere = { batchStep: 0, headStep: 0, rowStep: 0 };

/** In the order in which native/bindings/encoder_layer_binding.cc reads it. */
function geometryOf(call: EncoderCall): Float64Array {
  const { linears, norm1, norm2, width, heads } = call;
  const { batchStep, headStep, rowStep } = call.mask ?? nowhere;
  const numbers = linears.map((linear) => linear.share());
  return Float64Array.of(
    ...numbers,
    ...[norm1.eps, norm2.eps, call.normFirst ? 1 : 0, call.activation === 'gelu' ? 1 : 0],
    ...[call.batch, call.length, width, call.inner, heads, call.batchFirst ? 1 : 0],
    ...[1 / Math.sqrt(width / heads), call.causal ? 1 : 0, batchStep, headStep, rowStep],
  );
}

/** The arrays before the output, in native code's order. */
function arraysOf(x: Float32Array, { norm1, norm2, mask }: EncoderCall): (Float32Array | null)[] {
  return [x, norm1.weight, norm1.bias, norm2.weight, norm2.bias, mask === null ? null : mask.data];
}

/** Computes all rows of x. */
export function callEncoderLayer(x: Float32Array, call: EncoderCall): Float32Array {
  const out = newFloats(x.length);
  throwUnlessOk(functions().encodeLayer(...arraysOf(x, call), out, geometryOf(call)), '');
  return out;
}

/** The same at once, or on another thread. By then the input, the norms and the mask are copied. */
export function callEncoderLayerAsync(
  x: Float32Array,
  call: EncoderCall,
  signal: AbortSignal | undefined,
): Float32Array | Promise<Float32Array> {
  const rowNanoseconds = call.linears.reduce((sum, linear) => sum + linear.rowNanoseconds, 0);
  if (isForHere(call.batch * call.length * rowNanoseconds)) {
    return computeHere(() => callEncoderLayer(x, call));
  }
  const out = newFloats(x.length);
  return callLater(out, '', signal, (settle) =>
    functions().startEncodeLayer(...arraysOf(x, call), out, geometryOf(call), settle),
  );
}
