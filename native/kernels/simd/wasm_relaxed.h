// SPDX-License-Identifier: MIT
// WebAssembly's SIMD128 with relaxed SIMD, where its multiply-add rounds once: wasm/fused.mjs finds
// out. See scalar.h for what each operation means.

// The bytes at places from 0 to 15.
DYNAQUANT_INLINE v128_t look(v128_t bytes, v128_t places) {
  return wasm_i8x16_relaxed_swizzle(bytes, places);
}
#include "wasm_lanes.h"

constexpr bool kInt8Blocks = true;

inline F32 fma(F32 a, F32 b, F32 c) {
  return each<F32>([&](int i) { return wasm_f32x4_relaxed_madd(a.v[i], b.v[i], c.v[i]); });
}
using HalfSum = F32;
inline HalfSum add_product(HalfSum sum, F32 x, const uint16_t* w) { return fma(x, load(w), sum); }
inline F32 total(HalfSum sum) { return sum; }

// Products of bytes, of which the engines' instructions want one below 128 in each product: then
// the result is exact, and the same everywhere. A range of 128 values has such activations, but for
// a rare 128. Rows with larger ones take products of 16-bit numbers.
template <int kRows>
DYNAQUANT_INLINE bool are_small(const uint8_t* rows, size_t stride, size_t quads) {
  v128_t all = wasm_i32x4_splat(0);
  for (; quads >= 4; quads -= 4, rows += 16) {
#pragma GCC unroll 16
    for (int r = 0; r < kRows; ++r) all = wasm_v128_or(all, wasm_v128_load(rows + r * stride));
  }
  for (; quads != 0; --quads, rows += kQuad) {
#pragma GCC unroll 16
    for (int r = 0; r < kRows; ++r) {
      all = wasm_v128_or(all, wasm_v128_load32_zero(rows + r * stride));
    }
  }
  return wasm_i8x16_bitmask(all) == 0;
}
template <int kRows, int kQuarters>
DYNAQUANT_INLINE void sum_bytes(const uint8_t* rows, size_t stride, const int8_t* weights,
                                size_t quads, int first, S32* acc[kRows]) {
  int one = 1;
  __asm__("" : "+r"(one));  // else V8 makes the constant again for every quad
  const v128_t ones = wasm_i16x8_splat((int16_t)one);
  v128_t sums[kRows][kQuarters];
#pragma GCC unroll 16
  for (int r = 0; r < kRows; ++r) {
#pragma GCC unroll 4
    for (int i = 0; i < kQuarters; ++i) sums[r][i] = acc[r]->v[first + i];
  }
  weights += 16 * first;
  for (size_t quad = 0; quad < quads; ++quad, weights += kQuadBytes, rows += kQuad) {
    v128_t w[kQuarters];
#pragma GCC unroll 4
    for (int i = 0; i < kQuarters; ++i) w[i] = wasm_v128_load(weights + 16 * i);
#pragma GCC unroll 16
    for (int r = 0; r < kRows; ++r) {
      const v128_t four = wasm_v128_load32_splat(rows + r * stride);
#pragma GCC unroll 4
      for (int i = 0; i < kQuarters; ++i) {
        const v128_t pairs = wasm_i16x8_relaxed_dot_i8x16_i7x16(w[i], four);
        sums[r][i] = wasm_i32x4_add(sums[r][i], wasm_i32x4_dot_i16x8(pairs, ones));
      }
    }
  }
#pragma GCC unroll 16
  for (int r = 0; r < kRows; ++r) {
#pragma GCC unroll 4
    for (int i = 0; i < kQuarters; ++i) acc[r]->v[first + i] = sums[r][i];
  }
}

// An engine on x86 has 15 registers for values: a single row takes a panel at once, a tile of rows
// half a panel. Whether its rows are small is looked up once for a block.
template <int kRows, int kPanels>
inline void dot_tile(const uint8_t* rows, size_t stride, const Int8Panels& b, size_t panel,
                     S32 (&acc)[kRows][kPanels]) {
  const bool small = are_small<kRows>(rows, stride, b.quads);
#pragma GCC unroll 1
  for (int p = 0; p < kPanels; ++p) {
    const int8_t* weights = b.weights + (panel + p) * b.quads * kQuadBytes;
    S32* to[kRows];
#pragma GCC unroll 16
    for (int r = 0; r < kRows; ++r) to[r] = &acc[r][p];
    if constexpr (kRows == 1) {
      if (small) {
        sum_bytes<kRows, 4>(rows, stride, weights, b.quads, 0, to);
      } else {
        sum_words<kRows, 4>(rows, stride, weights, b.quads, 0, to);
      }
    } else if (small) {
      sum_bytes<kRows, 2>(rows, stride, weights, b.quads, 0, to);
      sum_bytes<kRows, 2>(rows, stride, weights, b.quads, 2, to);
    } else {
      sum_words<kRows, 2>(rows, stride, weights, b.quads, 0, to);
      sum_words<kRows, 2>(rows, stride, weights, b.quads, 2, to);
    }
  }
}
