// SPDX-License-Identifier: MIT
// Which tiles cover some rows and a block of panels. A tile is at most kTileRows rows x one panel
// (with kBlockTiles, or int8 with kInt8Blocks: x a block), or one row x a block: enough independent
// sums to hide the instructions' latency, few enough to stay in registers.

// Stores a tile's results: row r of panel p at out[r * stride + 16 p].
template <int kRows, int kPanels, typename Rows, typename Panels>
inline void store_tile(const Rows& a, size_t row, const Panels& b, size_t panel, float* out,
                       size_t stride) {
  multiply_tile<kRows, kPanels>(a, row, b, panel, [=](size_t r, size_t p, F32 v) {
    store(out + r * stride + p * kPanelColumns, v);
  });
}

// The same as a call. Inlined, several tiles of many sums would share one stack frame and spill
// each other's registers and constants (gcc 12).
template <int kRows, int kPanels, typename Rows, typename Panels>
DYNAQUANT_NOINLINE void store_tile_apart(const Rows& a, size_t row, const Panels& b, size_t panel,
                                         float* out, size_t stride) {
  store_tile<kRows, kPanels>(a, row, b, panel, out, stride);
}
template <int kRows, int kPanels, typename Rows, typename Panels>
DYNAQUANT_INLINE void store_block_tile(const Rows& a, size_t row, const Panels& b, size_t panel,
                                       float* out, size_t stride) {
  if constexpr (kBlockTiles) {
    store_tile_apart<kRows, kPanels>(a, row, b, panel, out, stride);
  } else {
    store_tile<kRows, kPanels>(a, row, b, panel, out, stride);
  }
}

template <typename Rows>
constexpr bool kTakesBlock = kBlockTiles;
template <>
constexpr bool kTakesBlock<Int8Rows> = kBlockTiles || kInt8Blocks;

// The same for rows [row, row + count), count <= kRows, and `panels` panels from `panel` on, which
// starts a block and is at most one block.
template <int kRows, typename Rows, typename Panels>
inline void store_rows(const Rows& a, size_t row, size_t count, const Panels& b, size_t panel,
                       size_t panels, float* out, size_t stride) {
  if constexpr (kRows > 1) {
    if (count == 1) return store_rows<1>(a, row, count, b, panel, panels, out, stride);
    if (count < kRows) {
      return store_rows<kRows - 1>(a, row, count, b, panel, panels, out, stride);
    }
  }
  if constexpr (kRows == 1 || kTakesBlock<Rows>) {
    if (panels == 4) return store_block_tile<kRows, 4>(a, row, b, panel, out, stride);
    if (panels == 3) return store_block_tile<kRows, 3>(a, row, b, panel, out, stride);
    if (panels == 2) return store_block_tile<kRows, 2>(a, row, b, panel, out, stride);
    store_block_tile<kRows, 1>(a, row, b, panel, out, stride);
  } else {
    for (; panels; ++panel, --panels, out += kPanelColumns) {
      store_tile<kRows, 1>(a, row, b, panel, out, stride);
    }
  }
}

// Rows of the next tile when `left` remain: 20 rows are 5 + 5 + 5 + 5, not 6 + 6 + 6 + 2, because
// tiles of few rows are slow.
inline size_t tile_rows(size_t left) {
  const size_t tiles = (left + kTileRows - 1) / kTileRows;
  return (left + tiles - 1) / tiles;
}
