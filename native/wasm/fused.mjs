// SPDX-License-Identifier: MIT
// Whether this engine has relaxed SIMD whose multiply-add rounds once on this processor. That is up to both of them,
// and the same in all calls. Only then does dynaquant-relaxed.wasm give the bits of every other build.

// (module (memory (export "m") 1)
//   (func (export "f") (v128.store offset=48 (i32.const 0) (f32x4.relaxed_madd
//     (v128.load (i32.const 0)) (v128.load offset=16 (i32.const 0)) (v128.load offset=32 (i32.const 0))))))
const code = Uint8Array.of(
  ...[0, 97, 115, 109, 1, 0, 0, 0, 1, 4, 1, 96, 0, 0, 3, 2, 1, 0, 5, 3, 1, 0, 1],
  ...[7, 9, 2, 1, 109, 2, 0, 1, 102, 0, 0, 10, 31, 1, 29, 0],
  ...[
    65, 0, 65, 0, 253, 0, 0, 0, 65, 0, 253, 0, 0, 16, 65, 0, 253, 0, 0, 32, 253, 133, 2, 253, 11, 0, 48, 11,
  ],
);

/** Exported for tests: an engine's `relaxed_madd` of four lanes, or what stands for it. */
export function roundsOnce(multiplyAdd) {
  const bit = 2 ** -12;
  // What rounding takes away from a product, which is nothing where the product is rounded first. It is subnormal in
  // the last but one, and the last product is near infinity.
  const pairs = [
    [1 + bit, 1 + bit],
    [-1 - 3 * bit, 1 + 5 * bit],
    [1 / 3, 3e7],
    [0.1, -0.7],
    [1.1e-20, 1.3e-15],
    [1e19, 3.3e19],
  ].map((pair) => pair.map(Math.fround));
  const cases = pairs.map(([a, b]) => {
    const c = -Math.fround(a * b);
    return [a, b, c, Math.fround(a * b + c)];
  });
  // A sum that double would round to the middle between two floats, and a float then to the wrong one.
  for (const sign of [1, -1]) {
    const [least, product] = [2 ** -60, 1 + 2 * bit];
    cases.push([sign * (1 + bit), 1 + bit, sign * least, sign * (product + 2 * bit * bit)]);
  }
  // Each in each lane.
  return cases.every((_, first) => {
    const four = [0, 1, 2, 3].map((lane) => cases[(first + lane) % cases.length]);
    const results = multiplyAdd(...[0, 1, 2].map((i) => four.map((values) => values[i])));
    return four.every((values, lane) => values[3] !== 0 && Object.is(results[lane], values[3]));
  });
}

let fused;
export function isFused() {
  return (fused ??= WebAssembly.validate(code) && roundsOnce(multiplyAddOf(code)));
}

function multiplyAddOf(code) {
  const { m: memory, f: run } = new WebAssembly.Instance(new WebAssembly.Module(code)).exports;
  const floats = new Float32Array(memory.buffer, 0, 16);
  return (a, b, c) => {
    floats.set([...a, ...b, ...c]);
    run();
    return [...floats.subarray(12)];
  };
}
