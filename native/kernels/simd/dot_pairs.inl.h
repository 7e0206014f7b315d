// SPDX-License-Identifier: MIT
// The integer sums of a tile, where products are widened into two sums a column (plain NEON).

// acc[r][p] += the products of row r (bytes at rows + r * stride) and panel + p.
template <int kRows, int kPanels>
inline void dot_tile(const uint8_t* rows, size_t stride, const Int8Panels& b, size_t panel,
                     S32 (&acc)[kRows][kPanels]) {
  constexpr size_t kQuadBytes = kQuad * kPanelColumns;
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
