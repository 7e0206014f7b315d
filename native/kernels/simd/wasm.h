// SPDX-License-Identifier: MIT
// WebAssembly's SIMD128 without relaxed SIMD. See scalar.h for what each operation means.

// The bytes at places from 0 to 15.
DYNAQUANT_INLINE v128_t look(v128_t bytes, v128_t places) {
  return wasm_i8x16_swizzle(bytes, places);
}
#include "wasm_lanes.h"

constexpr bool kInt8Blocks = false;

// The fused multiply-add, which SIMD128 does not have. In double the product is exact and the sum
// is rounded to 53 bits, then to the 24 of a float. That is the same as rounding once, unless the
// 53 bits lie in the middle between two floats. They then lack what the first rounding took away.
// In the subnormal range floats have fewer bits, and their middles lie elsewhere.
struct Doubles {
  v128_t low, high;
};
DYNAQUANT_INLINE Doubles widen(v128_t f32x4) {
  return {wasm_f64x2_promote_low_f32x4(f32x4),
          wasm_f64x2_promote_low_f32x4(wasm_i64x2_shuffle(f32x4, f32x4, 1, 0))};
}
DYNAQUANT_INLINE v128_t multiply_add(v128_t a, v128_t b, v128_t c) {
  return wasm_f64x2_add(wasm_f64x2_mul(a, b), c);
}
DYNAQUANT_INLINE v128_t narrow(Doubles x) {
  return wasm_i64x2_shuffle(wasm_f32x4_demote_f64x2_zero(x.low),
                            wasm_f32x4_demote_f64x2_zero(x.high), 0, 2);
}
// Whether the bits below a float's are those of a middle: all of them are in the lower halves.
DYNAQUANT_INLINE v128_t is_middle(Doubles x) {
  const v128_t halves = wasm_i32x4_shuffle(x.low, x.high, 0, 2, 4, 6);
  return wasm_i32x4_eq(wasm_v128_and(halves, wasm_i32x4_splat(0x1fffffff)),
                       wasm_i32x4_splat(0x10000000));
}
// Up to the smallest normal number, but not 0. A sum that is rounded to 0 was exact.
DYNAQUANT_INLINE v128_t is_tiny(v128_t f32x4) {
  const v128_t moved = wasm_i32x4_add(wasm_i32x4_shl(f32x4, 1), wasm_i32x4_splat(0x7fffffff));
  return wasm_i32x4_lt(moved, wasm_i32x4_splat((int32_t)0x81000000u));
}
// a * b + c with the first rounding to odd: an inexact sum gets an odd last bit, so that it is no
// middle, and lies on the right side of each.
DYNAQUANT_INLINE v128_t multiply_add_to_odd(v128_t a, v128_t b, v128_t c) {
  const v128_t product = wasm_f64x2_mul(a, b), sum = wasm_f64x2_add(product, c);
  // What the rounding took away (Knuth's two-sum).
  const v128_t of_c = wasm_f64x2_sub(sum, product), of_product = wasm_f64x2_sub(sum, of_c);
  const v128_t rest = wasm_f64x2_add(wasm_f64x2_sub(product, of_product), wasm_f64x2_sub(c, of_c));
  const v128_t zero = wasm_f64x2_splat(0.0);
  // Also not where the sum is infinite or NaN, because then the rest is NaN.
  const v128_t inexact = wasm_v128_or(wasm_f64x2_lt(rest, zero), wasm_f64x2_gt(rest, zero));
  const v128_t even = wasm_i64x2_eq(wasm_v128_and(sum, wasm_i64x2_splat(1)), wasm_i64x2_splat(0));
  // The neighbour in the direction of the rest: its magnitude is one larger where the signs agree.
  const v128_t differ = wasm_i64x2_shr(wasm_v128_xor(sum, rest), 63);  // 0 or -1
  const v128_t step = wasm_v128_or(differ, wasm_i64x2_splat(1));
  return wasm_i64x2_add(sum, wasm_v128_and(step, wasm_v128_and(inexact, even)));
}
DYNAQUANT_NOINLINE F32 fma_to_odd(const F32& a, const F32& b, const F32& c) {
  return each<F32>([&](int i) {
    const Doubles x = widen(a.v[i]), y = widen(b.v[i]), z = widen(c.v[i]);
    return narrow(
        {multiply_add_to_odd(x.low, y.low, z.low), multiply_add_to_odd(x.high, y.high, z.high)});
  });
}
DYNAQUANT_INLINE F32 fma(F32 a, F32 b, F32 c) {
  F32 result;
  v128_t doubtful = wasm_i64x2_splat(0);
#pragma GCC unroll 4
  for (int i = 0; i < 4; ++i) {
    const Doubles x = widen(a.v[i]), y = widen(b.v[i]), z = widen(c.v[i]);
    const Doubles sums = {multiply_add(x.low, y.low, z.low), multiply_add(x.high, y.high, z.high)};
    result.v[i] = narrow(sums);
    doubtful = wasm_v128_or(doubtful, wasm_v128_or(is_middle(sums), is_tiny(result.v[i])));
  }
  if (__builtin_expect(wasm_v128_any_true(doubtful), 0)) return fma_to_odd(a, b, c);
  return result;
}
using HalfSum = F32;
inline HalfSum add_product(HalfSum sum, F32 x, const uint16_t* w) { return fma(x, load(w), sum); }
inline F32 total(HalfSum sum) { return sum; }

// An engine on x86 has 15 registers for values: a single row takes a panel at once, a tile of rows
// half a panel.
template <int kRows, int kPanels>
inline void dot_tile(const uint8_t* rows, size_t stride, const Int8Panels& b, size_t panel,
                     S32 (&acc)[kRows][kPanels]) {
#pragma GCC unroll 4
  for (int p = 0; p < kPanels; ++p) {
    const int8_t* weights = b.weights + (panel + p) * b.quads * kQuadBytes;
    S32* to[kRows];
#pragma GCC unroll 16
    for (int r = 0; r < kRows; ++r) to[r] = &acc[r][p];
    if constexpr (kRows == 1) {
      sum_words<kRows, 4>(rows, stride, weights, b.quads, 0, to);
    } else {
      sum_words<kRows, 2>(rows, stride, weights, b.quads, 0, to);
      sum_words<kRows, 2>(rows, stride, weights, b.quads, 2, to);
    }
  }
}
