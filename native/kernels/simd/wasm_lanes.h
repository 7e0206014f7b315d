// SPDX-License-Identifier: MIT
// The lanes of WebAssembly's SIMD128: a vector is four of its values. wasm.h and wasm_relaxed.h add
// the fused multiply-add, and how tiles sum products. See scalar.h for what each operation means.

constexpr bool kFreeMasks = false;

struct F32 {
  v128_t v[4];
};
struct S32 {
  v128_t v[4];
};
struct Mask {  // all bits of a lane
  v128_t v[4];
};

constexpr int kTileRows = 3;
constexpr bool kBlockTiles = false;
constexpr size_t kFarBytes = 0;
constexpr int32_t kStoredOffset = 0;

// A vector of the values that `make(i)` returns.
template <typename Vector, typename Make>
DYNAQUANT_INLINE Vector each(const Make& make) {
  return {{make(0), make(1), make(2), make(3)}};
}

inline F32 set_f32(float x) {
  const v128_t v = wasm_f32x4_splat(x);
  return {{v, v, v, v}};
}
inline S32 set_s32(int32_t x) {
  const v128_t v = wasm_i32x4_splat(x);
  return {{v, v, v, v}};
}
inline F32 load(const float* p) {
  return each<F32>([=](int i) { return wasm_v128_load(p + 4 * i); });
}
inline S32 load(const int32_t* p) {
  return each<S32>([=](int i) { return wasm_v128_load(p + 4 * i); });
}
inline F32 load(const uint16_t* p) {
  return each<F32>([=](int i) {
    const v128_t half = wasm_u32x4_load16x4(p + 4 * i);
    const v128_t magnitude = wasm_v128_and(half, wasm_i32x4_splat(0x7fff));
    const v128_t sign = wasm_i32x4_shl(wasm_v128_and(half, wasm_i32x4_splat(0x8000)), 16);
    const v128_t value = wasm_f32x4_mul(wasm_i32x4_shl(magnitude, 13), wasm_f32x4_splat(0x1p112f));
    const v128_t special = wasm_v128_and(wasm_i32x4_ge(magnitude, wasm_i32x4_splat(0x7c00)),
                                         wasm_i32x4_splat(0x7f800000));
    return wasm_v128_or(value, wasm_v128_or(sign, special));
  });
}
inline S32 widen_u8(v128_t u8x16) {
  const v128_t low = wasm_u16x8_extend_low_u8x16(u8x16);
  const v128_t high = wasm_u16x8_extend_high_u8x16(u8x16);
  return {{wasm_u32x4_extend_low_u16x8(low), wasm_u32x4_extend_high_u16x8(low),
           wasm_u32x4_extend_low_u16x8(high), wasm_u32x4_extend_high_u16x8(high)}};
}
inline S32 load_u8(const uint8_t* p) { return widen_u8(wasm_v128_load(p)); }
inline S32 widen_u4(uint64_t u4x16) {
  const v128_t pairs = wasm_u64x2_splat(u4x16);
  const v128_t even = wasm_v128_and(pairs, wasm_i8x16_splat(15)), odd = wasm_u8x16_shr(pairs, 4);
  return widen_u8(
      wasm_i8x16_shuffle(even, odd, 0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23));
}
inline F32 load_first(const float* p, size_t count) {
  F32 v = set_f32(0.0f);
  __builtin_memcpy(&v, p, count * sizeof(float));
  return v;
}
inline Mask nonzero(v128_t u8x16) {
  const S32 v = widen_u8(u8x16);
  return each<Mask>([&](int i) { return wasm_i32x4_ne(v.v[i], wasm_i32x4_splat(0)); });
}
inline Mask load_mask(const uint8_t* p) { return nonzero(wasm_v128_load(p)); }
inline Mask load_mask_first(const uint8_t* p, size_t count) {
  v128_t u8x16 = wasm_i8x16_splat(0);
  __builtin_memcpy(&u8x16, p, count);
  return nonzero(u8x16);
}
inline F32 load_even(const float* p) {
  return each<F32>([=](int i) {
    return wasm_i32x4_shuffle(wasm_v128_load(p + 8 * i), wasm_v128_load(p + 8 * i + 3), 0, 2, 5, 7);
  });
}
inline void store(float* p, F32 v) {
  for (int i = 0; i < 4; ++i) wasm_v128_store(p + 4 * i, v.v[i]);
}
inline void store_first(float* p, F32 v, size_t count) {
  __builtin_memcpy(p, &v, count * sizeof(float));
}
inline v128_t ones_and_zeros(Mask m) {
  const v128_t low = wasm_i16x8_narrow_i32x4(m.v[0], m.v[1]);
  const v128_t high = wasm_i16x8_narrow_i32x4(m.v[2], m.v[3]);
  return wasm_v128_and(wasm_i8x16_narrow_i16x8(low, high), wasm_i8x16_splat(1));
}
inline void store_mask(uint8_t* p, Mask m) { wasm_v128_store(p, ones_and_zeros(m)); }
inline void store_mask_first(uint8_t* p, Mask m, size_t count) {
  const v128_t bytes = ones_and_zeros(m);
  __builtin_memcpy(p, &bytes, count);
}
inline void transpose_16x16(const float* in, size_t in_stride, float* out, size_t out_stride) {
  for (size_t row = 0; row < 16; row += 4) {
    for (size_t column = 0; column < 16; column += 4) {
      const float* p = in + row * in_stride + column;
      const v128_t a = wasm_v128_load(p), b = wasm_v128_load(p + in_stride);
      const v128_t c = wasm_v128_load(p + 2 * in_stride), d = wasm_v128_load(p + 3 * in_stride);
      const v128_t low_ab = wasm_i32x4_shuffle(a, b, 0, 4, 1, 5);
      const v128_t high_ab = wasm_i32x4_shuffle(a, b, 2, 6, 3, 7);
      const v128_t low_cd = wasm_i32x4_shuffle(c, d, 0, 4, 1, 5);
      const v128_t high_cd = wasm_i32x4_shuffle(c, d, 2, 6, 3, 7);
      float* q = out + column * out_stride + row;
      wasm_v128_store(q, wasm_i64x2_shuffle(low_ab, low_cd, 0, 2));
      wasm_v128_store(q + out_stride, wasm_i64x2_shuffle(low_ab, low_cd, 1, 3));
      wasm_v128_store(q + 2 * out_stride, wasm_i64x2_shuffle(high_ab, high_cd, 0, 2));
      wasm_v128_store(q + 3 * out_stride, wasm_i64x2_shuffle(high_ab, high_cd, 1, 3));
    }
  }
}
constexpr size_t kStoredTogether = 1;
inline void store_u8(uint8_t* p, S32 v) {
  const v128_t low = wasm_i16x8_narrow_i32x4(v.v[0], v.v[1]);
  const v128_t high = wasm_i16x8_narrow_i32x4(v.v[2], v.v[3]);
  wasm_v128_store(p, wasm_u8x16_narrow_i16x8(low, high));
}

inline F32 add(F32 a, F32 b) {
  return each<F32>([&](int i) { return wasm_f32x4_add(a.v[i], b.v[i]); });
}
inline F32 sub(F32 a, F32 b) {
  return each<F32>([&](int i) { return wasm_f32x4_sub(a.v[i], b.v[i]); });
}
inline F32 mul(F32 a, F32 b) {
  return each<F32>([&](int i) { return wasm_f32x4_mul(a.v[i], b.v[i]); });
}
inline F32 div(F32 a, F32 b) {
  return each<F32>([&](int i) { return wasm_f32x4_div(a.v[i], b.v[i]); });
}
inline F32 sqrt(F32 a) {
  return each<F32>([&](int i) { return wasm_f32x4_sqrt(a.v[i]); });
}

// pmin(b, a) is a < b ? a : b.
inline F32 min(F32 a, F32 b) {
  return each<F32>([&](int i) { return wasm_f32x4_pmin(b.v[i], a.v[i]); });
}
inline F32 max(F32 a, F32 b) {
  return each<F32>([&](int i) { return wasm_f32x4_pmax(b.v[i], a.v[i]); });
}
inline F32 abs(F32 a) {
  return each<F32>([&](int i) { return wasm_f32x4_abs(a.v[i]); });
}
inline F32 copy_sign(F32 magnitude, F32 sign) {
  const v128_t bit = wasm_i32x4_splat((int32_t)0x80000000u);
  return each<F32>(
      [&](int i) { return wasm_v128_or(magnitude.v[i], wasm_v128_and(sign.v[i], bit)); });
}
inline F32 keep_first(F32 a, size_t count, F32 b) {
  return each<F32>([&](int i) {
    const v128_t lane = wasm_i32x4_add(wasm_i32x4_make(0, 1, 2, 3), wasm_i32x4_splat(4 * i));
    const v128_t first = wasm_i32x4_lt(lane, wasm_i32x4_splat((int32_t)count));
    return wasm_v128_bitselect(a.v[i], b.v[i], first);
  });
}
template <int kDistance>
inline F32 swap_lanes(F32 a) {
  return each<F32>([&](int i) {
    if constexpr (kDistance >= 4) return a.v[i ^ (kDistance / 4)];
    if constexpr (kDistance == 2) return wasm_i32x4_shuffle(a.v[i], a.v[i], 2, 3, 0, 1);
    return wasm_i32x4_shuffle(a.v[i], a.v[i], 1, 0, 3, 2);
  });
}
inline F32 round_even(F32 a) {
  return each<F32>([&](int i) { return wasm_f32x4_nearest(a.v[i]); });
}
inline F32 floor(F32 a) {
  return each<F32>([&](int i) { return wasm_f32x4_floor(a.v[i]); });
}
inline Mask equal(F32 a, F32 b) {
  return each<Mask>([&](int i) { return wasm_f32x4_eq(a.v[i], b.v[i]); });
}
inline Mask less(F32 a, F32 b) {
  return each<Mask>([&](int i) { return wasm_f32x4_lt(a.v[i], b.v[i]); });
}
inline Mask less_equal(F32 a, F32 b) {
  return each<Mask>([&](int i) { return wasm_f32x4_le(a.v[i], b.v[i]); });
}
inline Mask opposite(Mask m) {
  return each<Mask>([&](int i) { return wasm_v128_not(m.v[i]); });
}
inline F32 select(Mask m, F32 yes, F32 no) {
  return each<F32>([&](int i) { return wasm_v128_bitselect(yes.v[i], no.v[i], m.v[i]); });
}
inline S32 bits_of(F32 a) { return {{a.v[0], a.v[1], a.v[2], a.v[3]}}; }
inline F32 float_of(S32 a) { return {{a.v[0], a.v[1], a.v[2], a.v[3]}}; }
template <int kShift>
inline S32 shift_right(S32 a) {
  return each<S32>([&](int i) { return wasm_i32x4_shr(a.v[i], kShift); });
}
inline S32 round_s32(F32 a) {
  return each<S32>([&](int i) {
    return wasm_i32x4_sub(wasm_f32x4_add(a.v[i], wasm_f32x4_splat(12582912.0f)),
                          wasm_i32x4_splat(0x4b400000));
  });
}
inline F32 to_f32(S32 a) {
  return each<F32>([&](int i) { return wasm_f32x4_convert_i32x4(a.v[i]); });
}
template <typename Entry>
inline F32 lookup(const Entry (&table)[8], F32 index) {
  // The lower halves of all entries, and the upper ones.
  const v128_t first = wasm_v128_load(table), last = wasm_v128_load(table + 4);
  const v128_t lower = wasm_i16x8_shuffle(first, last, 0, 2, 4, 6, 8, 10, 12, 14);
  const v128_t upper = wasm_i16x8_shuffle(first, last, 1, 3, 5, 7, 9, 11, 13, 15);
  return each<F32>([&](int i) {
    const v128_t entry = wasm_v128_and(index.v[i], wasm_i32x4_splat(7));
    const v128_t places = wasm_i32x4_add(wasm_i32x4_mul(entry, wasm_i32x4_splat(0x02020202)),
                                         wasm_i32x4_splat(0x01000100));
    return wasm_i16x8_shuffle(look(lower, places), look(upper, places), 0, 9, 2, 11, 4, 13, 6, 15);
  });
}
template <int kShift>
inline F32 add_shifted(F32 a, F32 b) {
  return each<F32>([&](int i) { return wasm_i32x4_add(a.v[i], wasm_i32x4_shl(b.v[i], kShift)); });
}
inline S32 add(S32 a, S32 b) {
  return each<S32>([&](int i) { return wasm_i32x4_add(a.v[i], b.v[i]); });
}
inline S32 sub(S32 a, S32 b) {
  return each<S32>([&](int i) { return wasm_i32x4_sub(a.v[i], b.v[i]); });
}
inline S32 mul(S32 a, S32 b) {
  return each<S32>([&](int i) { return wasm_i32x4_mul(a.v[i], b.v[i]); });
}
// Not for NaN, which a range never holds.
inline float reduce_min(F32 a) {
  v128_t m = wasm_f32x4_pmin(wasm_f32x4_pmin(a.v[0], a.v[1]), wasm_f32x4_pmin(a.v[2], a.v[3]));
  m = wasm_f32x4_pmin(m, wasm_i32x4_shuffle(m, m, 2, 3, 0, 1));
  return wasm_f32x4_extract_lane(wasm_f32x4_pmin(m, wasm_i32x4_shuffle(m, m, 1, 0, 3, 2)), 0);
}
inline float reduce_max(F32 a) {
  v128_t m = wasm_f32x4_pmax(wasm_f32x4_pmax(a.v[0], a.v[1]), wasm_f32x4_pmax(a.v[2], a.v[3]));
  m = wasm_f32x4_pmax(m, wasm_i32x4_shuffle(m, m, 2, 3, 0, 1));
  return wasm_f32x4_extract_lane(wasm_f32x4_pmax(m, wasm_i32x4_shuffle(m, m, 1, 0, 3, 2)), 0);
}
inline bool any_nan(F32 a) {
  v128_t numbers = wasm_f32x4_eq(a.v[0], a.v[0]);
  for (int i = 1; i < 4; ++i) numbers = wasm_v128_and(numbers, wasm_f32x4_eq(a.v[i], a.v[i]));
  return !wasm_i32x4_all_true(numbers);
}

constexpr bool kPlanned = false;

#include "ahead.inl.h"

// Products of 16-bit numbers, which i32x4.dot adds in pairs: two sums a column, joined at the end
// of the depth. Where i is a column's quarter of a panel, sums[2 * i] has those of its columns 0
// and 1, and sums[2 * i + 1] of its columns 2 and 3.
template <int kRows, int kQuarters>
DYNAQUANT_INLINE void sum_words(const uint8_t* rows, size_t stride, const int8_t* weights,
                                size_t quads, int first, S32* acc[kRows]) {
  v128_t sums[kRows][2 * kQuarters];
#pragma GCC unroll 16
  for (int r = 0; r < kRows; ++r) {
#pragma GCC unroll 8
    for (int i = 0; i < 2 * kQuarters; ++i) sums[r][i] = wasm_i32x4_splat(0);
  }
  weights += 16 * first;
  for (size_t quad = 0; quad < quads; ++quad, weights += kQuadBytes, rows += kQuad) {
    v128_t w[2 * kQuarters];
#pragma GCC unroll 8
    for (int i = 0; i < 2 * kQuarters; ++i) w[i] = wasm_i16x8_load8x8(weights + 8 * i);
#pragma GCC unroll 16
    for (int r = 0; r < kRows; ++r) {
      const v128_t four = wasm_u16x8_extend_low_u8x16(wasm_v128_load32_splat(rows + r * stride));
#pragma GCC unroll 8
      for (int i = 0; i < 2 * kQuarters; ++i) {
        sums[r][i] = wasm_i32x4_add(sums[r][i], wasm_i32x4_dot_i16x8(four, w[i]));
      }
    }
  }
#pragma GCC unroll 16
  for (int r = 0; r < kRows; ++r) {
#pragma GCC unroll 4
    for (int i = 0; i < kQuarters; ++i) {
      const v128_t a = sums[r][2 * i], b = sums[r][2 * i + 1];
      const v128_t joined = wasm_i32x4_add(wasm_i32x4_shuffle(a, b, 0, 2, 4, 6),
                                           wasm_i32x4_shuffle(a, b, 1, 3, 5, 7));
      acc[r]->v[first + i] = wasm_i32x4_add(acc[r]->v[first + i], joined);
    }
  }
}
