// SPDX-License-Identifier: MIT
// The integer sums of a tile, where the instruction set has an 8-bit dot product with 32-bit sums
// (or, as scalar, does not care): weights of a quad into registers, then each row's four bytes.
// Tables whose `planned` is true have their own: chains.inl.h.

// Two quads a turn where tiles are wide: the end of the loop is mispredicted, the less the fewer
// its turns. (The scalar sums become slower.)
template <int kRows, int kPanels>
DYNAQUANT_INLINE void dot_quads(const uint8_t* rows, size_t stride, const Int8Panels& b,
                                const int8_t* weights, size_t begin, size_t end,
                                S32 (&acc)[kRows][kPanels]) {
#pragma GCC unroll(kTileWidePanels > 1 ? 2 : 1)
  for (size_t quad = begin; quad < end; ++quad) {
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

// acc[r][p] += the products of row r (bytes at rows + r * stride) and panel + p. A tile begins
// at the start of a block and has no more, or else the panels stand one after the other.
// `halfway`, if any, is called in the middle.
template <int kRows, int kPanels, typename... Halfway>
inline void dot_tile(const uint8_t* rows, size_t stride, const Int8Panels& b, size_t panel,
                     S32 (&acc)[kRows][kPanels], const Halfway&... halfway) {
  const int8_t* weights = b.weights + panel * b.quads * (kQuad * kPanelColumns);
  const size_t middle = sizeof...(halfway) ? b.quads / 2 : b.quads;
  dot_quads(rows, stride, b, weights, 0, middle, acc);
  (halfway(), ...);
  if (sizeof...(halfway)) dot_quads(rows, stride, b, weights, middle, b.quads, acc);
}
