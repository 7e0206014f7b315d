// SPDX-License-Identifier: MIT
// AVX-512 (F, BW, VL, DQ) with VNNI: a vector is one zmm register. See scalar.h for what each
// operation means. dot: one vpdpbusd, 64 multiply-adds, exact for the full u8 range too.
// Tile: 6 rows x 4 panels = 24 accumulators + 4 weights + quads. A group's gates stay in registers.

constexpr int kTileRows = 6;
constexpr bool kFreeMasks = true;
constexpr bool kBlockTiles = true;
constexpr bool kInt8Blocks = false;
constexpr size_t kFarBytes = size_t{128} << 10;
constexpr int32_t kStoredOffset = 0;

struct F32 {
  __m512 v;
};
struct S32 {
  __m512i v;
};
struct Mask {
  __mmask16 m;
};
struct Quad {
  __m512i u8x64;
};
struct Weights {
  __m512i s8x64;
};

inline F32 set_f32(float x) { return {_mm512_set1_ps(x)}; }
inline S32 set_s32(int32_t x) { return {_mm512_set1_epi32(x)}; }
inline F32 load(const float* p) { return {_mm512_loadu_ps(p)}; }
inline S32 load(const int32_t* p) { return {_mm512_loadu_si512(p)}; }
inline F32 load(const uint16_t* p) {
  return {_mm512_cvtph_ps(_mm256_loadu_si256((const __m256i*)p))};
}
inline S32 load_u8(const uint8_t* p) {
  return {_mm512_cvtepu8_epi32(_mm_loadu_si128((const __m128i*)p))};
}
inline S32 widen_u4(uint64_t u4x16) {
  const __m512i halves =
      _mm512_mask_set1_epi32(_mm512_set1_epi32((int32_t)u4x16), 0xff00, (int32_t)(u4x16 >> 32));
  const __m512i shifts =
      _mm512_setr_epi32(0, 4, 8, 12, 16, 20, 24, 28, 0, 4, 8, 12, 16, 20, 24, 28);
  return {_mm512_and_si512(_mm512_srlv_epi32(halves, shifts), _mm512_set1_epi32(15))};
}
inline __mmask16 first_lanes(size_t count) { return (__mmask16)((1u << count) - 1u); }
inline F32 load_first(const float* p, size_t count) {
  if (count == 8) return {_mm512_zextps256_ps512(_mm256_loadu_ps(p))};  // see store_first
  return {_mm512_maskz_loadu_ps(first_lanes(count), p)};
}
inline Mask load_mask(const uint8_t* p) {
  const __m128i u8x16 = _mm_loadu_si128((const __m128i*)p);
  return {_mm_test_epi8_mask(u8x16, u8x16)};
}
inline Mask load_mask_first(const uint8_t* p, size_t count) {
  const __m128i u8x16 = _mm_maskz_loadu_epi8(first_lanes(count), p);
  return {_mm_test_epi8_mask(u8x16, u8x16)};
}
inline F32 load_even(const float* p) {
  const __m512i even = _mm512_setr_epi32(0, 2, 4, 6, 8, 10, 12, 14, 17, 19, 21, 23, 25, 27, 29, 31);
  return {_mm512_permutex2var_ps(_mm512_loadu_ps(p), even, _mm512_loadu_ps(p + 15))};
}
inline void store(float* p, F32 v) { _mm512_storeu_ps(p, v.v); }
inline void store_first(float* p, F32 v, size_t count) {
  if (count == 8) {  // plain stores forward to the next step's loads, masked ones do not
    _mm256_storeu_ps(p, _mm512_castps512_ps256(v.v));
  } else {
    _mm512_mask_storeu_ps(p, first_lanes(count), v.v);
  }
}
inline __m128i ones_and_zeros(Mask m) { return _mm_maskz_set1_epi8(m.m, 1); }
inline void store_mask(uint8_t* p, Mask m) { _mm_storeu_si128((__m128i*)p, ones_and_zeros(m)); }
inline void store_mask_first(uint8_t* p, Mask m, size_t count) {
  _mm_mask_storeu_epi8(p, first_lanes(count), ones_and_zeros(m));
}
inline void transpose_16x16(const float* in, size_t in_stride, float* out, size_t out_stride) {
  __m512 a[16], b[16];
#pragma GCC unroll 16
  for (size_t i = 0; i < 16; ++i) a[i] = _mm512_loadu_ps(in + i * in_stride);
#pragma GCC unroll 8
  for (int i = 0; i < 16; i += 2) {
    b[i] = _mm512_unpacklo_ps(a[i], a[i + 1]);
    b[i + 1] = _mm512_unpackhi_ps(a[i], a[i + 1]);
  }
  // Quarter q of a[i + j] becomes column 4 q + j of the rows i..i + 3.
#pragma GCC unroll 4
  for (int i = 0; i < 16; i += 4) {
#pragma GCC unroll 2
    for (int j = 0; j < 2; ++j) {
      const __m512d upper = _mm512_castps_pd(b[i + j]), lower = _mm512_castps_pd(b[i + j + 2]);
      a[i + 2 * j] = _mm512_castpd_ps(_mm512_unpacklo_pd(upper, lower));
      a[i + 2 * j + 1] = _mm512_castpd_ps(_mm512_unpackhi_pd(upper, lower));
    }
  }
#pragma GCC unroll 4
  for (size_t j = 0; j < 4; ++j) {
    // Quarters 0 and 2, and quarters 1 and 3, of the upper and lower eight rows.
    const __m512 upper02 = _mm512_shuffle_f32x4(a[j], a[4 + j], 0x88);
    const __m512 upper13 = _mm512_shuffle_f32x4(a[j], a[4 + j], 0xdd);
    const __m512 lower02 = _mm512_shuffle_f32x4(a[8 + j], a[12 + j], 0x88);
    const __m512 lower13 = _mm512_shuffle_f32x4(a[8 + j], a[12 + j], 0xdd);
    float* column = out + j * out_stride;
    _mm512_storeu_ps(column, _mm512_shuffle_f32x4(upper02, lower02, 0x88));
    _mm512_storeu_ps(column + 4 * out_stride, _mm512_shuffle_f32x4(upper13, lower13, 0x88));
    _mm512_storeu_ps(column + 8 * out_stride, _mm512_shuffle_f32x4(upper02, lower02, 0xdd));
    _mm512_storeu_ps(column + 12 * out_stride, _mm512_shuffle_f32x4(upper13, lower13, 0xdd));
  }
}
inline void store_u8(uint8_t* p, S32 v) {
  _mm_storeu_si128((__m128i*)p,
                   _mm512_cvtusepi32_epi8(_mm512_max_epi32(v.v, _mm512_setzero_si512())));
}
constexpr size_t kStoredTogether = 4;
inline void store_u8(uint8_t* p, const S32 (&v)[4], S32 zero) {
  const __m512i zero16 = _mm512_packs_epi32(zero.v, zero.v);
  const __m512i upper = _mm512_adds_epi16(_mm512_packs_epi32(v[0].v, v[1].v), zero16);
  const __m512i lower = _mm512_adds_epi16(_mm512_packs_epi32(v[2].v, v[3].v), zero16);
  // Four lanes of each vector, then the next four.
  const __m512i order = _mm512_setr_epi32(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15);
  _mm512_storeu_si512(p, _mm512_permutexvar_epi32(order, _mm512_packus_epi16(upper, lower)));
}

inline F32 add(F32 a, F32 b) { return {_mm512_add_ps(a.v, b.v)}; }
inline F32 sub(F32 a, F32 b) { return {_mm512_sub_ps(a.v, b.v)}; }
inline F32 mul(F32 a, F32 b) { return {_mm512_mul_ps(a.v, b.v)}; }
inline F32 div(F32 a, F32 b) { return {_mm512_div_ps(a.v, b.v)}; }
inline F32 sqrt(F32 a) { return {_mm512_sqrt_ps(a.v)}; }
inline F32 fma(F32 a, F32 b, F32 c) { return {_mm512_fmadd_ps(a.v, b.v, c.v)}; }
// In ymm registers, because Zen 4 widens a ymm register of float16 in half a cycle and a zmm
// register in one and a half.
struct HalfSum {
  __m256 low, high;
};
inline HalfSum add_product(HalfSum sum, F32 x, const uint16_t* w) {
  const __m256 x8 = _mm512_castps512_ps256(x.v);
  return {_mm256_fmadd_ps(x8, _mm256_cvtph_ps(_mm_loadu_si128((const __m128i*)w)), sum.low),
          _mm256_fmadd_ps(x8, _mm256_cvtph_ps(_mm_loadu_si128((const __m128i*)(w + 8))), sum.high)};
}
inline F32 total(HalfSum sum) {
  return {_mm512_insertf32x8(_mm512_castps256_ps512(sum.low), sum.high, 1)};
}
inline F32 min(F32 a, F32 b) { return {_mm512_min_ps(a.v, b.v)}; }
inline F32 max(F32 a, F32 b) { return {_mm512_max_ps(a.v, b.v)}; }
inline F32 abs(F32 a) { return {_mm512_abs_ps(a.v)}; }
inline F32 copy_sign(F32 magnitude, F32 sign) {
  return {_mm512_or_ps(magnitude.v, _mm512_and_ps(sign.v, _mm512_set1_ps(-0.0f)))};
}
inline F32 keep_first(F32 a, size_t count, F32 b) {
  return {_mm512_mask_mov_ps(b.v, first_lanes(count), a.v)};
}
template <int kDistance>
inline F32 swap_lanes(F32 a) {
  if constexpr (kDistance >= 4) {
    constexpr int kOrder = kDistance == 8 ? _MM_SHUFFLE(1, 0, 3, 2) : _MM_SHUFFLE(2, 3, 0, 1);
    return {_mm512_shuffle_f32x4(a.v, a.v, kOrder)};
  } else {
    constexpr int kOrder = kDistance == 2 ? _MM_SHUFFLE(1, 0, 3, 2) : _MM_SHUFFLE(2, 3, 0, 1);
    return {_mm512_permute_ps(a.v, kOrder)};
  }
}
inline F32 round_even(F32 a) {
  return {_mm512_roundscale_ps(a.v, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC)};
}
inline F32 floor(F32 a) {
  return {_mm512_roundscale_ps(a.v, _MM_FROUND_TO_NEG_INF | _MM_FROUND_NO_EXC)};
}
inline Mask equal(F32 a, F32 b) { return {_mm512_cmp_ps_mask(a.v, b.v, _CMP_EQ_OQ)}; }
inline Mask less(F32 a, F32 b) { return {_mm512_cmp_ps_mask(a.v, b.v, _CMP_LT_OQ)}; }
inline Mask less_equal(F32 a, F32 b) { return {_mm512_cmp_ps_mask(a.v, b.v, _CMP_LE_OQ)}; }
inline Mask opposite(Mask m) { return {(__mmask16)~m.m}; }
inline F32 select(Mask m, F32 yes, F32 no) { return {_mm512_mask_blend_ps(m.m, no.v, yes.v)}; }
inline S32 bits_of(F32 a) { return {_mm512_castps_si512(a.v)}; }
inline F32 float_of(S32 a) { return {_mm512_castsi512_ps(a.v)}; }
template <int kShift>
inline S32 shift_right(S32 a) {
  return {_mm512_srai_epi32(a.v, kShift)};
}
inline S32 round_s32(F32 a) { return {_mm512_cvtps_epi32(a.v)}; }
inline F32 to_f32(S32 a) { return {_mm512_cvtepi32_ps(a.v)}; }
template <typename Entry>
inline F32 lookup(const Entry (&table)[8], F32 index) {
  const __m512i twice = _mm512_broadcast_i32x8(_mm256_load_si256((const __m256i*)table));
  return {_mm512_castsi512_ps(_mm512_permutexvar_epi32(_mm512_castps_si512(index.v), twice))};
}
template <int kShift>
inline F32 add_shifted(F32 a, F32 b) {
  return {_mm512_castsi512_ps(_mm512_add_epi32(
      _mm512_castps_si512(a.v), _mm512_slli_epi32(_mm512_castps_si512(b.v), kShift)))};
}
inline S32 add(S32 a, S32 b) { return {_mm512_add_epi32(a.v, b.v)}; }
inline S32 sub(S32 a, S32 b) { return {_mm512_sub_epi32(a.v, b.v)}; }
inline S32 mul(S32 a, S32 b) { return {_mm512_mullo_epi32(a.v, b.v)}; }
inline float reduce_min(F32 a) { return _mm512_reduce_min_ps(a.v); }
inline float reduce_max(F32 a) { return _mm512_reduce_max_ps(a.v); }
inline bool any_nan(F32 a) { return _mm512_cmp_ps_mask(a.v, a.v, _CMP_UNORD_Q) != 0; }

// In dot and load_quad no intrinsics: with them gcc 12 and clang 22 load the quads of all rows
// first, and spill sums. clang does so as long as it may move anything.
#ifdef __clang__
#define DYNAQUANT_ASM __asm__ volatile
inline Quad load_quad(const uint8_t* p) {
  Quad quad;
  DYNAQUANT_ASM("vpbroadcastd %1, %0" : "=v"(quad.u8x64) : "m"(*(const uint8_t (*)[4])p));
  return quad;
}
#else
#define DYNAQUANT_ASM __asm__
inline Quad load_quad(const uint8_t* p) {
  int32_t four;
  __builtin_memcpy(&four, p, sizeof four);
  return {_mm512_set1_epi32(four)};
}
#endif
inline Weights load_weights(const int8_t* p) { return {_mm512_load_si512(p)}; }
inline S32 dot(S32 sums, Quad quad, Weights weights) {
  DYNAQUANT_ASM("vpdpbusd %2, %1, %0" : "+v"(sums.v) : "v"(quad.u8x64), "v"(weights.s8x64));
  return sums;
}

#include "dot.inl.h"
