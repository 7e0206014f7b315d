// SPDX-License-Identifier: MIT
// Prefetches the weights of large int8 matrices, where tiles take whole blocks.

// Panels for dot_tile, and the byte distance from the weights being read to those to prefetch; 0
// prefetches nothing.
struct PrefetchingPanels : Int8Panels {
  size_t ahead;
};

// The panels that a tile gets. Tiles of a block's rows are numbered from 0. In general, all of them
// get the panels as they are.
template <typename Panels, bool kPrefetches = kBlockTiles>
class TilePanels {
 public:
  explicit TilePanels(const Panels& b) : b_(b) {}
  const Panels& of_tile(size_t) { return b_; }

 private:
  const Panels& b_;
};
// Tiles of int8 matrices above 8 MB also prefetch the next block. Such a matrix comes from the
// last-level cache or from memory, more slowly than a block's first tile consumes it; later tiles
// find it in L2. So the first tile prefetches half of the next block's lines and the second tile
// the other half. Smaller matrices gain nothing.
template <>
class TilePanels<Int8Panels, true> {
 public:
  explicit TilePanels(const Int8Panels& b) : b_{b, 0} {
    const size_t panel_bytes = b.quads * kQuadBytes;
    next_block_ = b.panels * panel_bytes > kFar ? b.block * panel_bytes : 0;
  }
  const PrefetchingPanels& of_tile(size_t tile) {
    b_.ahead = next_block_ == 0 || tile > 1 ? 0 : next_block_ + tile * (2 * kQuadBytes);
    return b_;
  }

 private:
  static constexpr size_t kFar = size_t{8} << 20;
  PrefetchingPanels b_;
  size_t next_block_;
};
