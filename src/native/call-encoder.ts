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

/** The last number stays 0: benchmarks make it 1, and get the time of the products in the first one. */
const geometry = new Float64Array(20);

/** In the order in which native/bindings/encoder_layer_binding.cc reads it. Valid until the next call. */
function geometryOf(call: EncoderCall): Float64Array {
  const { linears, norm1, norm2, width, heads, mask } = call;
  for (let i = 0; i < 4; i++) geometry[i] = linears[i]!.share();
  geometry[4] = norm1.eps;
  geometry[5] = norm2.eps;
  geometry[6] = call.normFirst ? 1 : 0;
  geometry[7] = call.activation === 'gelu' ? 1 : 0;
  geometry[8] = call.batch;
  geometry[9] = call.length;
  geometry[10] = width;
  geometry[11] = call.inner;
  geometry[12] = heads;
  geometry[13] = call.batchFirst ? 1 : 0;
  geometry[14] = 1 / Math.sqrt(width / heads);
  geometry[15] = call.causal ? 1 : 0;
  geometry[16] = mask === null ? 0 : mask.batchStep;
  geometry[17] = mask === null ? 0 : mask.headStep;
  geometry[18] = mask === null ? 0 : mask.rowStep;
  return geometry;
}

/** The arrays before the output, in native code's order. */
function arraysOf(x: Float32Array, { norm1, norm2, mask }: EncoderCall): (Float32Array | null)[] {
  return [x, norm1.weight, norm1.bias, norm2.weight, norm2.bias, mask === null ? null : mask.data];
}

/** Computes all rows of x. `out` may be x. */
export function callEncoderLayer(
  x: Float32Array,
  call: EncoderCall,
  out = newFloats(x.length),
): Float32Array {
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
