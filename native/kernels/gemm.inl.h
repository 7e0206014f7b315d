// SPDX-License-Identifier: MIT
// A matrix product: rows times all panels, tile by tile.

inline size_t block_of(const Int8Panels& b) { return b.block; }
inline size_t block_of(const FloatPanels&) { return kMaxBlock; }
inline size_t block_of(const HalfPanels&) { return kMaxBlock; }

template <typename Rows, typename Panels>
DYNAQUANT_INLINE void check_product(const Rows& a, size_t rows, const Panels& b, const float* out,
                                    size_t out_stride, size_t columns) {
  check_rows(a, rows, b);
  check_panels(b);
  DYNAQUANT_CHECK(is_array(out));
  DYNAQUANT_CHECK(is_apart(rows, columns, out_stride));
  DYNAQUANT_CHECK(columns <= b.panels * kPanelColumns);
  DYNAQUANT_CHECK(columns + kPanelColumns > b.panels * kPanelColumns);
}

constexpr size_t kFarFloats = 128 << 10;  // a result of more floats prefetches its lines

template <typename Rows, typename Panels>
inline void gemm_kernel(const Rows& a, size_t rows, const Panels& b, float* out, size_t out_stride,
                        size_t columns, bool relu) {
  check_product(a, rows, b, out, out_stride, columns);
  // Panels outside, rows inside: a block stays in L1 or L2 while all rows pass.
  const size_t block = block_of(b);
  Tiles<Panels> tiles(b, rows, false);
  const bool far_result = kFarBytes != 0 && !kBlockTiles && rows * out_stride > kFarFloats;
  for (size_t panel = 0; panel < b.panels; panel += block) {
    const size_t panels = b.panels - panel < block ? b.panels - panel : block;
    const size_t left = columns - panel * kPanelColumns, whole = panels * kPanelColumns;
    alignas(64) float ragged[kTileRows * kMaxBlock * kPanelColumns];
    for (size_t row = 0, tile = 0; row < rows; ++tile) {
      const size_t count = tile_rows(rows - row);
      float* to = out + row * out_stride + panel * kPanelColumns;
      if (left >= whole) {
        if (far_result) prefetch_result(to, out_stride, count, whole);
        tiles.store(tile, a, row, count, panel, panels, to, out_stride);
        if (relu) copy_rows(to, out_stride, count, whole, to, out_stride, relu);
      } else {
        tiles.store(tile, a, row, count, panel, panels, ragged, whole);
        copy_rows(ragged, whole, count, left, to, out_stride, relu);
      }
      row += count;
    }
  }
}
