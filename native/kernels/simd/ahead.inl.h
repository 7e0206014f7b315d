// SPDX-License-Identifier: MIT
// Panels whose tiles prefetch into the L2 cache: for each quad that they read, the line `ahead`
// bytes from there and, where tiles take blocks, also the one `second` bytes further. Any address
// will do. Where tiles take blocks, an `ahead` of 0 prefetches nothing.
struct PrefetchingPanels : Int8Panels {
  ptrdiff_t ahead, second;
};

// What to call with each quad's place in a panel of its own.
struct NoPrefetch {
  DYNAQUANT_INLINE void operator()(const int8_t*) const {}
};
struct PrefetchAhead {
  ptrdiff_t ahead, second;
  DYNAQUANT_INLINE void operator()(const int8_t* line) const {
    __builtin_prefetch(line + ahead, 0, 2);
    if (kBlockTiles) __builtin_prefetch(line + ahead + second, 0, 2);
  }
};
DYNAQUANT_INLINE NoPrefetch prefetch_of(const Int8Panels&) { return {}; }
DYNAQUANT_INLINE PrefetchAhead prefetch_of(const PrefetchingPanels& b) {
  return {b.ahead, b.second};
}
