// SPDX-License-Identifier: MIT
// Panels whose tiles prefetch: for each line of weights that they read, the line `ahead` bytes from
// there, into the L2 cache. Any address will do. Where tiles take blocks, 0 prefetches nothing.
struct PrefetchingPanels : Int8Panels {
  ptrdiff_t ahead;
};

// What to call with each line.
struct NoPrefetch {
  DYNAQUANT_INLINE void operator()(const int8_t*) const {}
};
struct PrefetchAhead {
  ptrdiff_t ahead;
  DYNAQUANT_INLINE void operator()(const int8_t* line) const {
    __builtin_prefetch(line + ahead, 0, 2);
  }
};
DYNAQUANT_INLINE NoPrefetch prefetch_of(const Int8Panels&) { return {}; }
DYNAQUANT_INLINE PrefetchAhead prefetch_of(const PrefetchingPanels& b) { return {b.ahead}; }
