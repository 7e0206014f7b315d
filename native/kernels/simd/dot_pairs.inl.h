// SPDX-License-Identifier: MIT
// dot_tile over `add_products`, which keeps two 32-bit sums a column. See scalar.h.

#include "ahead.inl.h"

constexpr bool kPlanned = false;
static_assert(kFarBytes == 0, "these products do not prefetch");
static_assert(!kBlockTiles, "these products read panel after panel");

template <int kRows, int kPanels>
inline void dot_tile(const uint8_t* rows, size_t stride, const Int8Panels& b, size_t panel,
                     S32 (&acc)[kRows][kPanels]) {
  for (int p = 0; p < kPanels; ++p) {
    const int8_t* weights = b.weights + (panel + p) * b.quads * kQuadBytes;
    Pairs sums[kRows];
#pragma GCC unroll 16
    for (int r = 0; r < kRows; ++r) sums[r] = no_pairs();
    for (size_t quad = 0; quad < b.quads; ++quad) {
      const Weights w = load_weights(weights + quad * kQuadBytes);
#pragma GCC unroll 16
      for (int r = 0; r < kRows; ++r) {
        add_products(sums[r], load_quad(rows + r * stride + quad * kQuad), w);
      }
    }
#pragma GCC unroll 16
    for (int r = 0; r < kRows; ++r) acc[r][p] = add(acc[r][p], join(sums[r]));
  }
}
