// SPDX-License-Identifier: MIT
// dot_tile over `dot`, an 8-bit dot product with 32-bit sums: loads a quad of weights of each
// panel, then each row's four bytes. See scalar.h.

constexpr bool kPlanned = false;

#include "ahead.inl.h"

// clang takes an assembler line for a long one, and would leave these alone.
#ifdef __clang__
#define DYNAQUANT_TILE inline __attribute__((always_inline))
#else
#define DYNAQUANT_TILE inline
#endif

// Tiles of blocks take two quads an iteration: fewer iterations, fewer mispredicted loop exits.
// (Scalar sums would become slower.)
template <int kRows, int kPanels, typename Prefetch>
DYNAQUANT_TILE void dot_quads(const uint8_t* rows, size_t stride, const Int8Panels& b, size_t panel,
                              S32 (&acc)[kRows][kPanels], Prefetch prefetch) {
  const size_t panel_stride = kBlockTiles ? kQuadBytes : b.quads * kQuadBytes;
  const size_t quad_stride = kBlockTiles ? b.block * kQuadBytes : kQuadBytes;
  const int8_t* weights = b.weights + panel * b.quads * kQuadBytes;
#pragma GCC unroll(kBlockTiles ? 2 : 1)
  for (size_t quad = 0; quad < b.quads; ++quad) {
    prefetch(weights + quad * kQuadBytes);
    Weights w[kPanels];
#pragma GCC unroll 4
    for (int p = 0; p < kPanels; ++p) {
      w[p] = load_weights(weights + p * panel_stride + quad * quad_stride);
    }
#pragma GCC unroll 16
    for (int r = 0; r < kRows; ++r) {
      const Quad q = load_quad(rows + r * stride + quad * kQuad);
#pragma GCC unroll 4
      for (int p = 0; p < kPanels; ++p) acc[r][p] = dot(acc[r][p], q, w[p]);
    }
  }
}

template <int kRows, int kPanels, typename Panels>
DYNAQUANT_TILE void dot_tile(const uint8_t* rows, size_t stride, const Panels& b, size_t panel,
                             S32 (&acc)[kRows][kPanels]) {
  if constexpr (!kBlockTiles) {
    dot_quads(rows, stride, b, panel, acc, prefetch_of(b));
  } else {
    if constexpr (kRows > 2 && kPanels > 2) {
      if (b.ahead != 0) return dot_quads(rows, stride, b, panel, acc, prefetch_of(b));
    }
    dot_quads(rows, stride, b, panel, acc, NoPrefetch());
  }
}
