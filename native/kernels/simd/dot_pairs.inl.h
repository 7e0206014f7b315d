// SPDX-License-Identifier: MIT
// dot_tile over `add_products`, which keeps two 32-bit sums a column: twice the registers of other
// products, so a tile is summed kPairsRows rows at a time. See scalar.h.

#include "ahead.inl.h"

constexpr bool kPlanned = false;
static_assert(kFarBytes == 0, "these products do not prefetch");
static_assert(!kBlockTiles, "these products read panel after panel");

// The rows from kFirst on.
template <int kFirst, int kRows, int kPanels>
inline void dot_rows(const uint8_t* rows, size_t stride, const int8_t* weights, size_t quads, int p,
                     S32 (&acc)[kRows][kPanels]) {
  constexpr int kCount = kRows - kFirst < kPairsRows ? kRows - kFirst : kPairsRows;
  Pairs sums[kCount];
#pragma GCC unroll 16
  for (int r = 0; r < kCount; ++r) sums[r] = no_pairs();
  for (size_t quad = 0; quad < quads; ++quad) {
    const Weights w = load_weights(weights + quad * kQuadBytes);
#pragma GCC unroll 16
    for (int r = 0; r < kCount; ++r) {
      add_products(sums[r], load_quad(rows + (kFirst + r) * stride + quad * kQuad), w);
    }
  }
#pragma GCC unroll 16
  for (int r = 0; r < kCount; ++r) {
    acc[kFirst + r][p] = add(acc[kFirst + r][p], join(sums[r]));
  }
  if constexpr (kFirst + kCount < kRows) {
    dot_rows<kFirst + kCount>(rows, stride, weights, quads, p, acc);
  }
}

template <int kRows, int kPanels>
inline void dot_tile(const uint8_t* rows, size_t stride, const Int8Panels& b, size_t panel,
                     S32 (&acc)[kRows][kPanels]) {
  for (int p = 0; p < kPanels; ++p) {
    const int8_t* weights = b.weights + (panel + p) * b.quads * kQuadBytes;
    dot_rows<0>(rows, stride, weights, b.quads, p, acc);
  }
}
