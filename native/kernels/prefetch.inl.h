// SPDX-License-Identifier: MIT
// Prefetches what comes more slowly than tiles take it: the weights of large int8 matrices, and the
// memory of large results.

// The bytes from the weights being read to those that the next block reads in their place, or 0 if
// there is nothing to gain. Matrices above kFarBytes come from the last-level cache or from memory,
// more slowly than a block's first tile takes them; later tiles find them in L2.
DYNAQUANT_NOINLINE ptrdiff_t next_block(const Int8Panels& b, bool backwards) {
  const size_t panel_bytes = b.quads * kQuadBytes;
  if (b.panels * panel_bytes <= kFarBytes) return 0;
  const ptrdiff_t bytes = (ptrdiff_t)(b.block * panel_bytes);
  return backwards ? -bytes : bytes;
}

// The rows of a tile, at most, and of the next one when `left` remain.
struct VectorTiles {
  static constexpr size_t kRows = kTileRows;
  DYNAQUANT_INLINE static size_t rows_of_next(size_t left) { return tile_rows(left); }
  // Completes the last tile.
  template <typename Rows>
  DYNAQUANT_INLINE static void finish(const Rows&) {}
};

// Stores tiles (tiles.inl.h). Tiles of a block's rows are numbered from 0. In general, all of them
// get the panels as they are.
template <typename Panels, bool kPrefetches, bool kTakesBlocks>
class PrefetchingTiles : public VectorTiles {
 public:
  PrefetchingTiles(const Panels& b, size_t, bool) : b_(b) {}
  template <typename Rows>
  DYNAQUANT_INLINE void store(size_t, const Rows& a, size_t row, size_t count, size_t panel,
                              size_t panels, float* out, size_t stride) const {
    store_rows<kTileRows>(a, row, count, b_, panel, panels, out, stride);
  }

 private:
  const Panels& b_;
};
// Int8: the second tile prefetches the next block.
template <>
class PrefetchingTiles<Int8Panels, true, false> : public VectorTiles {
 public:
  PrefetchingTiles(const Int8Panels& b, size_t, bool backwards) : b_(b), backwards_(backwards) {}
  template <typename Rows>
  DYNAQUANT_INLINE void store(size_t tile, const Rows& a, size_t row, size_t count, size_t panel,
                              size_t panels, float* out, size_t stride) const {
    const ptrdiff_t ahead = tile == 1 ? next_block(b_, backwards_) : 0;
    if (ahead != 0) {
      const PrefetchingPanels prefetching = {b_, ahead, 0};
      store_prefetching(a, row, count, prefetching, panel, panels, out, stride);
    } else {
      store_rows<kTileRows>(a, row, count, b_, panel, panels, out, stride);
    }
  }

 private:
  // A call, so that the tiles that do not prefetch stay what they are.
  template <typename Rows>
  DYNAQUANT_NOINLINE static void store_prefetching(const Rows& a, size_t row, size_t count,
                                                   const PrefetchingPanels& b, size_t panel,
                                                   size_t panels, float* out, size_t stride) {
    store_rows<kTileRows>(a, row, count, b, panel, panels, out, stride);
  }

  const Int8Panels& b_;
  const bool backwards_;
};
// Tiles that take blocks read several lines at once, and would wait for lines that come in bursts.
// So the first tiles prefetch one panel's lines of the next block each, one a quad; two tiles,
// which are all that there is, two panels' lines each.
template <>
class PrefetchingTiles<Int8Panels, true, true> : public VectorTiles {
 public:
  PrefetchingTiles(const Int8Panels& b, size_t rows, bool backwards)
      : b_{b, 0, 0}, ahead_(next_block(b, backwards)), panels_(rows > 2 * kTileRows ? 1 : 2) {}
  template <typename Rows>
  DYNAQUANT_INLINE void store(size_t tile, const Rows& a, size_t row, size_t count, size_t panel,
                              size_t panels, float* out, size_t stride) {
    const ptrdiff_t panel_bytes = (ptrdiff_t)(b_.quads * kQuadBytes);
    const size_t first = tile * panels_;
    b_.ahead = ahead_ == 0 || first >= b_.block ? 0 : ahead_ + (ptrdiff_t)first * panel_bytes;
    b_.second = panels_ == 1 ? 0 : panel_bytes;
    store_rows<kTileRows>(a, row, count, b_, panel, panels, out, stride);
  }

 private:
  PrefetchingPanels b_;
  const ptrdiff_t ahead_;
  const size_t panels_;
};
// Prefetches the lines of a result that will be written. Tiles of one panel write one line of a row
// at a time, and would wait for each that no near cache holds.
DYNAQUANT_INLINE void prefetch_result(const float* out, size_t stride, size_t rows,
                                      size_t columns) {
  for (size_t row = 0; row < rows; ++row) {
    for (size_t column = 0; column < columns; column += kPanelColumns) {
      __builtin_prefetch(out + row * stride + column, 1, 3);
    }
  }
}
