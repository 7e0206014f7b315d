// SPDX-License-Identifier: MIT
// The integer sums of a tile, where the instruction set has an 8-bit dot product with 32-bit sums
// (or, as scalar, does not care): weights of a quad into registers, then each row's four bytes.
// Tables whose `planned` is true have their own: chains.inl.h.

// acc[r][p] += the products of row r (bytes at rows + r * stride) and panel + p. A tile begins
// at the start of a block and has no more, or else the panels stand one after the other. Two quads
// a turn where tiles are wide: the end of the loop is mispredicted, the less the fewer its turns.
// (The scalar sums become slower.)
template <int kRows, int kPanels>
inline void dot_tile(const uint8_t* rows, size_t stride, const Int8Panels& b, size_t panel,
                     S32 (&acc)[kRows][kPanels]) {
  const int8_t* weights = b.weights + panel * b.quads * (kQuad * kPanelColumns);
#pragma GCC unroll(kTileWidePanels > 1 ? 2 : 1)
  for (size_t quad = 0; quad < b.quads; ++quad) {
    Weights w[kPanels];
#pragma GCC unroll 4
    for (int p = 0; p < kPanels; ++p) {
      w[p] = load_weights(weights + p * b.panel_stride + quad * b.quad_stride);
    }
#pragma GCC unroll 16
    for (int r = 0; r < kRows; ++r) {
      const Quad q = load_quad(rows + r * stride + quad * kQuad);
#pragma GCC unroll 4
      for (int p = 0; p < kPanels; ++p) acc[r][p] = dot(acc[r][p], q, w[p]);
    }
  }
}
