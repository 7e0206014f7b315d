// SPDX-License-Identifier: MIT
// AVX-VNNI: vpdpbusd on ymm registers, as processors without AVX-512 have it. See scalar.h for what
// each operation means. Tile: 6 rows x 1 panel = 12 sums + weights 2 + quad.
//
// The instruction is AVX-512's with another encoding (VEX). DYNAQUANT_AVXVNNI_EVEX, a test-only
// define, builds this same file with AVX-512's, which other processors run; a test reads the VEX
// encoding from the archive.

#include "ymm_lanes.h"

constexpr int kTileRows = 6;
constexpr bool kBlockTiles = false;
constexpr bool kInt8Blocks = false;
constexpr size_t kFarBytes = size_t{1} << 20;
constexpr int32_t kStoredOffset = 0;

#if defined(__GNUC__) && !defined(__clang__)
// Not the intrinsic: with it gcc 12 loads the quads of all rows of a tile first, and spills.
inline void dot_half(__m256i& sums, __m256i u8x32, __m256i s8x32) {
#ifdef DYNAQUANT_AVXVNNI_EVEX
  __asm__("vpdpbusd %2, %1, %0" : "+v"(sums) : "v"(u8x32), "v"(s8x32));
#else
  __asm__("%{vex%} vpdpbusd %2, %1, %0" : "+x"(sums) : "x"(u8x32), "x"(s8x32));
#endif
}
#elif defined(DYNAQUANT_AVXVNNI_EVEX)
inline void dot_half(__m256i& sums, __m256i u8x32, __m256i s8x32) {
  sums = _mm256_dpbusd_epi32(sums, u8x32, s8x32);
}
#else
inline void dot_half(__m256i& sums, __m256i u8x32, __m256i s8x32) {
  sums = _mm256_dpbusd_avx_epi32(sums, u8x32, s8x32);
}
#endif

inline S32 dot(S32 sums, Quad quad, Weights weights) {
  dot_half(sums.low, quad.u8x32, weights.low);
  dot_half(sums.high, quad.u8x32, weights.high);
  return sums;
}

#include "dot.inl.h"
