// SPDX-License-Identifier: MIT
// The lanes of AVX2 + FMA: a vector is two ymm registers. avx2.h and avxvnni.h add products and
// tiles. See scalar.h for what each operation means.

constexpr bool kFreeMasks = false;

struct F32 {
  __m256 low, high;
};
struct S32 {
  __m256i low, high;
};
struct Mask {  // all bits of a lane
  __m256 low, high;
};
struct Quad {
  __m256i u8x32;
};
struct Weights {
  __m256i low, high;
};
inline F32 set_f32(float x) { return {_mm256_set1_ps(x), _mm256_set1_ps(x)}; }
inline S32 set_s32(int32_t x) { return {_mm256_set1_epi32(x), _mm256_set1_epi32(x)}; }
inline F32 load(const float* p) { return {_mm256_loadu_ps(p), _mm256_loadu_ps(p + 8)}; }
inline S32 load(const int32_t* p) {
  return {_mm256_loadu_si256((const __m256i*)p), _mm256_loadu_si256((const __m256i*)(p + 8))};
}
inline F32 load(const uint16_t* p) {
  return {_mm256_cvtph_ps(_mm_loadu_si128((const __m128i*)p)),
          _mm256_cvtph_ps(_mm_loadu_si128((const __m128i*)(p + 8)))};
}
inline S32 load_u8(const uint8_t* p) {
  const __m128i u8x16 = _mm_loadu_si128((const __m128i*)p);
  return {_mm256_cvtepu8_epi32(u8x16), _mm256_cvtepu8_epi32(_mm_unpackhi_epi64(u8x16, u8x16))};
}
inline S32 widen_u4(uint64_t u4x16) {
  const __m256i shifts = _mm256_setr_epi32(0, 4, 8, 12, 16, 20, 24, 28),
                mask = _mm256_set1_epi32(15);
  const __m256i low = _mm256_set1_epi32((int32_t)u4x16);
  const __m256i high = _mm256_set1_epi32((int32_t)(u4x16 >> 32));
  return {_mm256_and_si256(_mm256_srlv_epi32(low, shifts), mask),
          _mm256_and_si256(_mm256_srlv_epi32(high, shifts), mask)};
}
// The first `count` of eight lanes.
inline __m256i first_lanes(int count) {
  return _mm256_cmpgt_epi32(_mm256_set1_epi32(count), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
}
inline F32 load_first(const float* p, size_t count) {
  const int n = (int)count;
  if (n == 8) return {_mm256_loadu_ps(p), _mm256_setzero_ps()};  // cheaper by far than masked
  if (n < 8) return {_mm256_maskload_ps(p, first_lanes(n)), _mm256_setzero_ps()};
  return {_mm256_loadu_ps(p), _mm256_maskload_ps(p + 8, first_lanes(n - 8))};
}
inline Mask nonzero(__m128i u8x16) {
  const __m256i zero = _mm256_setzero_si256();
  const __m128i high = _mm_unpackhi_epi64(u8x16, u8x16);
  return {_mm256_castsi256_ps(_mm256_cmpgt_epi32(_mm256_cvtepu8_epi32(u8x16), zero)),
          _mm256_castsi256_ps(_mm256_cmpgt_epi32(_mm256_cvtepu8_epi32(high), zero))};
}
inline Mask load_mask(const uint8_t* p) { return nonzero(_mm_loadu_si128((const __m128i*)p)); }
inline Mask load_mask_first(const uint8_t* p, size_t count) {
  __m128i u8x16 = _mm_setzero_si128();
  __builtin_memcpy(&u8x16, p, count);
  return nonzero(u8x16);
}
// p[0], p[2] ... p[14].
inline __m256 load_even_half(const float* p) {
  // Each half: two even values of the first load, two odd ones of the second.
  const __m256 mixed = _mm256_shuffle_ps(_mm256_loadu_ps(p), _mm256_loadu_ps(p + 7), 0xd8);
  return _mm256_castpd_ps(_mm256_permute4x64_pd(_mm256_castps_pd(mixed), 0xd8));
}
inline F32 load_even(const float* p) { return {load_even_half(p), load_even_half(p + 16)}; }
inline void store(float* p, F32 v) {
  _mm256_storeu_ps(p, v.low);
  _mm256_storeu_ps(p + 8, v.high);
}
inline void store_first(float* p, F32 v, size_t count) {
  const int n = (int)count;
  if (n == 8) {  // plain stores forward to the next step's loads, masked ones do not
    _mm256_storeu_ps(p, v.low);
  } else if (n < 8) {
    _mm256_maskstore_ps(p, first_lanes(n), v.low);
  } else {
    _mm256_storeu_ps(p, v.low);
    _mm256_maskstore_ps(p + 8, first_lanes(n - 8), v.high);
  }
}
inline __m128i ones_and_zeros(Mask m) {
  const __m256i s16 = _mm256_permute4x64_epi64(
      _mm256_packs_epi32(_mm256_castps_si256(m.low), _mm256_castps_si256(m.high)),
      _MM_SHUFFLE(3, 1, 2, 0));
  const __m128i s8 = _mm_packs_epi16(_mm256_castsi256_si128(s16), _mm256_extracti128_si256(s16, 1));
  return _mm_and_si128(s8, _mm_set1_epi8(1));
}
inline void store_mask(uint8_t* p, Mask m) { _mm_storeu_si128((__m128i*)p, ones_and_zeros(m)); }
inline void store_mask_first(uint8_t* p, Mask m, size_t count) {
  const __m128i bytes = ones_and_zeros(m);
  __builtin_memcpy(p, &bytes, count);
}
// Of two halves of four rows each, the four columns.
inline void transpose_8x4(const __m256 (&rows)[4], float* out, size_t out_stride) {
  const __m256 low01 = _mm256_unpacklo_ps(rows[0], rows[1]);
  const __m256 high01 = _mm256_unpackhi_ps(rows[0], rows[1]);
  const __m256 low23 = _mm256_unpacklo_ps(rows[2], rows[3]);
  const __m256 high23 = _mm256_unpackhi_ps(rows[2], rows[3]);
  _mm256_storeu_ps(out, _mm256_shuffle_ps(low01, low23, 0x44));
  _mm256_storeu_ps(out + out_stride, _mm256_shuffle_ps(low01, low23, 0xee));
  _mm256_storeu_ps(out + 2 * out_stride, _mm256_shuffle_ps(high01, high23, 0x44));
  _mm256_storeu_ps(out + 3 * out_stride, _mm256_shuffle_ps(high01, high23, 0xee));
}
inline void transpose_16x16(const float* in, size_t in_stride, float* out, size_t out_stride) {
#pragma GCC unroll 2
  for (int row = 0; row < 16; row += 8) {
#pragma GCC unroll 4
    for (int column = 0; column < 16; column += 4) {
      __m256 rows[4];  // row i, and behind it row i + 4
#pragma GCC unroll 4
      for (int i = 0; i < 4; ++i) {
        const float* p = in + (size_t)(row + i) * in_stride + column;
        rows[i] = _mm256_insertf128_ps(_mm256_castps128_ps256(_mm_loadu_ps(p)),
                                       _mm_loadu_ps(p + 4 * in_stride), 1);
      }
      transpose_8x4(rows, out + (size_t)column * out_stride + row, out_stride);
    }
  }
}
inline void store_u8(uint8_t* p, S32 v) {
  const __m256i s16 =
      _mm256_permute4x64_epi64(_mm256_packs_epi32(v.low, v.high), _MM_SHUFFLE(3, 1, 2, 0));
  _mm_storeu_si128((__m128i*)p,
                   _mm_packus_epi16(_mm256_castsi256_si128(s16), _mm256_extracti128_si256(s16, 1)));
}
constexpr size_t kStoredTogether = 4;
inline void store_u8(uint8_t* p, const S32 (&v)[4], S32 zero) {
  const __m256i zero16 = _mm256_packs_epi32(zero.low, zero.high);
  // Four lanes of each register, then the other four.
  const __m256i order = _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7);
#pragma GCC unroll 2
  for (int i = 0; i < 4; i += 2) {
    const __m256i upper = _mm256_adds_epi16(_mm256_packs_epi32(v[i].low, v[i].high), zero16);
    const __m256i lower =
        _mm256_adds_epi16(_mm256_packs_epi32(v[i + 1].low, v[i + 1].high), zero16);
    _mm256_storeu_si256((__m256i*)(p + 16 * i),
                        _mm256_permutevar8x32_epi32(_mm256_packus_epi16(upper, lower), order));
  }
}

inline F32 add(F32 a, F32 b) {
  return {_mm256_add_ps(a.low, b.low), _mm256_add_ps(a.high, b.high)};
}
inline F32 sub(F32 a, F32 b) {
  return {_mm256_sub_ps(a.low, b.low), _mm256_sub_ps(a.high, b.high)};
}
inline F32 mul(F32 a, F32 b) {
  return {_mm256_mul_ps(a.low, b.low), _mm256_mul_ps(a.high, b.high)};
}
inline F32 div(F32 a, F32 b) {
  return {_mm256_div_ps(a.low, b.low), _mm256_div_ps(a.high, b.high)};
}
inline F32 sqrt(F32 a) { return {_mm256_sqrt_ps(a.low), _mm256_sqrt_ps(a.high)}; }
inline F32 fma(F32 a, F32 b, F32 c) {
  return {_mm256_fmadd_ps(a.low, b.low, c.low), _mm256_fmadd_ps(a.high, b.high, c.high)};
}
using HalfSum = F32;
inline HalfSum add_product(HalfSum sum, F32 x, const uint16_t* w) { return fma(x, load(w), sum); }
inline F32 total(HalfSum sum) { return sum; }
inline F32 min(F32 a, F32 b) {
  return {_mm256_min_ps(a.low, b.low), _mm256_min_ps(a.high, b.high)};
}
inline F32 max(F32 a, F32 b) {
  return {_mm256_max_ps(a.low, b.low), _mm256_max_ps(a.high, b.high)};
}
inline F32 abs(F32 a) {
  const __m256 sign = _mm256_set1_ps(-0.0f);
  return {_mm256_andnot_ps(sign, a.low), _mm256_andnot_ps(sign, a.high)};
}
inline F32 copy_sign(F32 magnitude, F32 sign) {
  const __m256 bit = _mm256_set1_ps(-0.0f);
  return {_mm256_or_ps(magnitude.low, _mm256_and_ps(sign.low, bit)),
          _mm256_or_ps(magnitude.high, _mm256_and_ps(sign.high, bit))};
}
inline F32 keep_first(F32 a, size_t count, F32 b) {
  const __m256 low = _mm256_castsi256_ps(first_lanes((int)count));
  const __m256 high = _mm256_castsi256_ps(first_lanes((int)count - 8));
  return {_mm256_blendv_ps(b.low, a.low, low), _mm256_blendv_ps(b.high, a.high, high)};
}
template <int kDistance>
inline F32 swap_lanes(F32 a) {
  if constexpr (kDistance == 8) {
    return {a.high, a.low};
  } else if constexpr (kDistance == 4) {
    return {_mm256_permute2f128_ps(a.low, a.low, 1), _mm256_permute2f128_ps(a.high, a.high, 1)};
  } else {
    constexpr int kOrder = kDistance == 2 ? _MM_SHUFFLE(1, 0, 3, 2) : _MM_SHUFFLE(2, 3, 0, 1);
    return {_mm256_permute_ps(a.low, kOrder), _mm256_permute_ps(a.high, kOrder)};
  }
}
inline F32 round_even(F32 a) {
  constexpr int kMode = _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC;
  return {_mm256_round_ps(a.low, kMode), _mm256_round_ps(a.high, kMode)};
}
inline F32 floor(F32 a) { return {_mm256_floor_ps(a.low), _mm256_floor_ps(a.high)}; }
inline Mask equal(F32 a, F32 b) {
  return {_mm256_cmp_ps(a.low, b.low, _CMP_EQ_OQ), _mm256_cmp_ps(a.high, b.high, _CMP_EQ_OQ)};
}
inline Mask less(F32 a, F32 b) {
  return {_mm256_cmp_ps(a.low, b.low, _CMP_LT_OQ), _mm256_cmp_ps(a.high, b.high, _CMP_LT_OQ)};
}
inline Mask less_equal(F32 a, F32 b) {
  return {_mm256_cmp_ps(a.low, b.low, _CMP_LE_OQ), _mm256_cmp_ps(a.high, b.high, _CMP_LE_OQ)};
}
inline Mask opposite(Mask m) {
  const __m256 all = _mm256_castsi256_ps(_mm256_set1_epi32(-1));
  return {_mm256_xor_ps(m.low, all), _mm256_xor_ps(m.high, all)};
}
inline F32 select(Mask m, F32 yes, F32 no) {
  return {_mm256_blendv_ps(no.low, yes.low, m.low), _mm256_blendv_ps(no.high, yes.high, m.high)};
}
inline S32 bits_of(F32 a) { return {_mm256_castps_si256(a.low), _mm256_castps_si256(a.high)}; }
inline F32 float_of(S32 a) { return {_mm256_castsi256_ps(a.low), _mm256_castsi256_ps(a.high)}; }
template <int kShift>
inline S32 shift_right(S32 a) {
  return {_mm256_srai_epi32(a.low, kShift), _mm256_srai_epi32(a.high, kShift)};
}
inline S32 round_s32(F32 a) { return {_mm256_cvtps_epi32(a.low), _mm256_cvtps_epi32(a.high)}; }
inline F32 to_f32(S32 a) { return {_mm256_cvtepi32_ps(a.low), _mm256_cvtepi32_ps(a.high)}; }
template <typename Entry>
inline F32 lookup(const Entry (&table)[8], F32 index) {
  const __m256i entries = _mm256_load_si256((const __m256i*)table);
  return {
      _mm256_castsi256_ps(_mm256_permutevar8x32_epi32(entries, _mm256_castps_si256(index.low))),
      _mm256_castsi256_ps(_mm256_permutevar8x32_epi32(entries, _mm256_castps_si256(index.high)))};
}
template <int kShift>
inline F32 add_shifted(F32 a, F32 b) {
  const __m256i low = _mm256_slli_epi32(_mm256_castps_si256(b.low), kShift);
  const __m256i high = _mm256_slli_epi32(_mm256_castps_si256(b.high), kShift);
  return {_mm256_castsi256_ps(_mm256_add_epi32(_mm256_castps_si256(a.low), low)),
          _mm256_castsi256_ps(_mm256_add_epi32(_mm256_castps_si256(a.high), high))};
}
inline S32 add(S32 a, S32 b) {
  return {_mm256_add_epi32(a.low, b.low), _mm256_add_epi32(a.high, b.high)};
}
inline S32 sub(S32 a, S32 b) {
  return {_mm256_sub_epi32(a.low, b.low), _mm256_sub_epi32(a.high, b.high)};
}
inline S32 mul(S32 a, S32 b) {
  return {_mm256_mullo_epi32(a.low, b.low), _mm256_mullo_epi32(a.high, b.high)};
}
inline float reduce_min(F32 a) {
  const __m256 m8 = _mm256_min_ps(a.low, a.high);
  __m128 m = _mm_min_ps(_mm256_castps256_ps128(m8), _mm256_extractf128_ps(m8, 1));
  m = _mm_min_ps(m, _mm_movehl_ps(m, m));
  return _mm_cvtss_f32(_mm_min_ss(m, _mm_movehdup_ps(m)));
}
inline float reduce_max(F32 a) {
  const __m256 m8 = _mm256_max_ps(a.low, a.high);
  __m128 m = _mm_max_ps(_mm256_castps256_ps128(m8), _mm256_extractf128_ps(m8, 1));
  m = _mm_max_ps(m, _mm_movehl_ps(m, m));
  return _mm_cvtss_f32(_mm_max_ss(m, _mm_movehdup_ps(m)));
}
inline bool any_nan(F32 a) {
  return _mm256_movemask_ps(_mm256_or_ps(_mm256_cmp_ps(a.low, a.low, _CMP_UNORD_Q),
                                         _mm256_cmp_ps(a.high, a.high, _CMP_UNORD_Q))) != 0;
}

inline Quad load_quad(const uint8_t* p) {
  int32_t four;
  __builtin_memcpy(&four, p, sizeof four);
  return {_mm256_set1_epi32(four)};
}
inline Weights load_weights(const int8_t* p) {
  const __m256i* w = (const __m256i*)p;
  return {_mm256_load_si256(w), _mm256_load_si256(w + 1)};
}
