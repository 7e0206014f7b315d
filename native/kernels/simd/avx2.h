// SPDX-License-Identifier: MIT
// AVX2 + FMA. See scalar.h for what each operation means.
// Products: vpmaddubsw (u8 x s8 -> s16 pairs), then either vpmaddwd with ones and vpaddd for each
// (32 multiply-adds in three instructions) or vpaddw along a chain (chains.inl.h). Tile: 6 rows x 1
// panel = 12 sums + weights 2 + quad and product: all 16 registers.

#include "ymm_lanes.h"

constexpr int kTileRows = 6;
constexpr bool kBlockTiles = false;
constexpr bool kInt8Blocks = false;
constexpr size_t kFarBytes = size_t{1} << 20;
constexpr int32_t kStoredOffset = 0;

struct S16 {
  __m256i low, high;
};

// Not intrinsics: with them compilers make all products of a tile first and spill its sums.
inline void add_s32(__m256i& sums, __m256i x) {
  __asm__("vpaddd %1, %0, %0" : "+x"(sums) : "x"(x));
}
inline void add_s16(__m256i& sums, __m256i x) {
  __asm__("vpaddw %1, %0, %0" : "+x"(sums) : "x"(x));
}

inline S16 multiply_pairs(Quad quad, Weights w) {
  return {_mm256_maddubs_epi16(quad.u8x32, w.low), _mm256_maddubs_epi16(quad.u8x32, w.high)};
}
inline S16 add_pairs(S16 sums, Quad quad, Weights w) {
  add_s16(sums.low, _mm256_maddubs_epi16(quad.u8x32, w.low));
  add_s16(sums.high, _mm256_maddubs_epi16(quad.u8x32, w.high));
  return sums;
}
inline S32 widen(S32 sums, S16 pairs) {
  const __m256i ones = _mm256_set1_epi16(1);
  add_s32(sums.low, _mm256_madd_epi16(pairs.low, ones));
  add_s32(sums.high, _mm256_madd_epi16(pairs.high, ones));
  return sums;
}

// In memory, where compilers would keep the int32 sums of a tile in registers that it has not.
inline void widen_into(__m256i* sums, __m256i s16) {
  __asm__(
      "vpmaddwd %[ones], %[s16], %[s16]\n\t"
      "vpaddd %[sums], %[s16], %[s16]\n\t"
      "vmovdqa %[s16], %[sums]"
      : [s16] "+x"(s16), [sums] "+m"(*sums)
      : [ones] "x"(_mm256_set1_epi16(1)));
}
inline void widen_into(S32* sums, S16 pairs) {
  widen_into(&sums->low, pairs.low);
  widen_into(&sums->high, pairs.high);
}

struct PairsDot {
  static Weights load(const int8_t* p) { return load_weights(p); }
  static S32 add(S32 sums, Quad quad, Weights w) { return widen(sums, multiply_pairs(quad, w)); }
};
// Six instructions in one piece, and half of the weights stay in memory: 12 sums, the other half,
// ones, quad and product are 16 registers.
struct TilePairsDot {
  struct Weights {
    __m256i low;
    const __m256i* high;
  };
  static Weights load(const int8_t* p) {
    const __m256i* w = (const __m256i*)p;
    return {_mm256_load_si256(w), w + 1};
  }
  static S32 add(S32 sums, Quad quad, const Weights& w) {
    __m256i product;
    __asm__(
        "vpmaddubsw %[w_low], %[quad], %[product]\n\t"
        "vpmaddwd %[ones], %[product], %[product]\n\t"
        "vpaddd %[product], %[low], %[low]\n\t"
        "vpmaddubsw %[w_high], %[quad], %[product]\n\t"
        "vpmaddwd %[ones], %[product], %[product]\n\t"
        "vpaddd %[product], %[high], %[high]"
        : [low] "+x"(sums.low), [high] "+x"(sums.high), [product] "=&x"(product)
        : [quad] "x"(quad.u8x32), [w_low] "x"(w.low), [w_high] "m"(*w.high),
          [ones] "x"(_mm256_set1_epi16(1)));
    return sums;
  }
};
// Bytes 0 and 2 of each column, and bytes 1 and 3, as int16 pairs. Two vpmaddwd where PairsDot has
// vpmaddubsw and vpmaddwd, and twice the additions.
struct SixteenBitDot {
  struct Weights {
    __m256i even_low, odd_low, even_high, odd_high;
  };
  static __m256i even(__m256i x) { return _mm256_srai_epi16(_mm256_slli_epi16(x, 8), 8); }
  static Weights load(const int8_t* p) {
    const auto w = load_weights(p);
    return {even(w.low), _mm256_srai_epi16(w.low, 8), even(w.high), _mm256_srai_epi16(w.high, 8)};
  }
  static S32 add(S32 sums, Quad quad, const Weights& w) {
    const __m256i even_s16x16 = _mm256_and_si256(quad.u8x32, _mm256_set1_epi16(0xff));
    const __m256i odd_s16x16 = _mm256_srli_epi16(quad.u8x32, 8);
    add_s32(sums.low, _mm256_madd_epi16(even_s16x16, w.even_low));
    add_s32(sums.low, _mm256_madd_epi16(odd_s16x16, w.odd_low));
    add_s32(sums.high, _mm256_madd_epi16(even_s16x16, w.even_high));
    add_s32(sums.high, _mm256_madd_epi16(odd_s16x16, w.odd_high));
    return sums;
  }
};

#include "chains.inl.h"
