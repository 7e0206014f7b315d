/** The hot calls of native/engine/rearrange.h. */
import { cached } from './addon.js';
import { throwUnlessOk } from './call.js';

const functions = cached('rearrange', 'mostMovedDims');

/** Arrays that native code moves: elements of 4 bytes, or of 8, which travel as two of 4. */
export type Movable = Float32Array | Int32Array | Float64Array | BigInt64Array;

/** A dimension of what is moved: how many elements, and how far apart they lie in both arrays. */
export interface MovedDim {
  readonly size: number;
  readonly from: number;
  readonly to: number;
}

let words: Float64Array | undefined;

/**
 * `out[outBegin + sum of i * to] = data[begin + sum of i * from]` for all indices i of the dimensions. None of them is
 * empty, and the last one has the smallest steps in `out`.
 */
export function callRearrange(
  data: Movable,
  begin: number,
  out: Movable,
  outBegin: number,
  dims: readonly MovedDim[],
): void {
  words ??= new Float64Array(3 + 3 * functions().mostMovedDims);
  const halves = data.BYTES_PER_ELEMENT / 4;
  let rank = 0;
  words[1] = begin * halves;
  words[2] = outBegin * halves;
  for (; rank < dims.length; rank++) {
    const { size, from, to } = dims[rank]!;
    words[3 * rank + 3] = size;
    words[3 * rank + 4] = from * halves;
    words[3 * rank + 5] = to * halves;
  }
  if (halves === 2) {
    words[3 * rank + 3] = 2;
    words[3 * rank + 4] = words[3 * rank + 5] = 1;
    rank++;
  }
  words[0] = rank;
  throwUnlessOk(functions().rearrange(data, out, words), '');
}
