// SPDX-License-Identifier: MIT
// The integer sums of a tile, where the instruction set has an 8-bit dot product with 32-bit sums
// (or, as scalar, does not care): weights of a quad into registers, then each row's four bytes.
// Tables whose `planned` is true have their own: chains.inl.h.

// A line into the L2 cache; any address will do.
DYNAQUANT_INLINE void fetch(const int8_t* line) {
#if defined(__GNUC__)
  __builtin_prefetch(line, 0, 2);
#else
  (void)line;
#endif
}

template <bool kFetch, int kRows, int kPanels>
inline void dot_quads(const uint8_t* rows, size_t stride, const Int8Panels& b, size_t panel,
                      S32 (&acc)[kRows][kPanels]) {
  constexpr size_t kQuadBytes = kQuad * kPanelColumns;
  constexpr bool kWide = kTileWidePanels > 1;
  const size_t panel_stride = kWide ? kQuadBytes : b.quads * kQuadBytes;
  const size_t quad_stride = kWide ? b.block * kQuadBytes : kQuadBytes;
  const int8_t* weights = b.weights + panel * b.quads * kQuadBytes;
#pragma GCC unroll(kWide ? 2 : 1)
  for (size_t quad = 0; quad < b.quads; ++quad) {
    Weights w[kPanels];
#pragma GCC unroll 4
    for (int p = 0; p < kPanels; ++p) {
      const int8_t* line = weights + p * panel_stride + quad * quad_stride;
      w[p] = load_weights(line);
      if (kFetch && p < 2) fetch(line + b.ahead);
    }
#pragma GCC unroll 16
    for (int r = 0; r < kRows; ++r) {
      const Quad q = load_quad(rows + r * stride + quad * kQuad);
#pragma GCC unroll 4
      for (int p = 0; p < kPanels; ++p) acc[r][p] = dot(acc[r][p], q, w[p]);
    }
  }
}

// acc[r][p] += the products of row r (bytes at rows + r * stride) and panel + p. Where tiles are
// wide, one begins at the start of a block and has no more; there two quads a turn: the end of the
// loop is mispredicted, the less the fewer its turns. (The scalar sums become slower.)
template <int kRows, int kPanels>
inline void dot_tile(const uint8_t* rows, size_t stride, const Int8Panels& b, size_t panel,
                     S32 (&acc)[kRows][kPanels]) {
  if constexpr (kTileWidePanels > 1 && kRows > 2 && kPanels > 2) {
    if (b.ahead != 0) return dot_quads<true>(rows, stride, b, panel, acc);
  }
  dot_quads<false>(rows, stride, b, panel, acc);
}
