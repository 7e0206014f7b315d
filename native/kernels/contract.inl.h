// SPDX-License-Identifier: MIT
// What kernels.h asks of a kernel's caller. Each kernel begins with a check function, which is
// before it and empty except in builds with DYNAQUANT_CHECKS. Here is what several of them
// share.

DYNAQUANT_INLINE bool is_aligned(const void* p, size_t alignment) {
  return (uintptr_t)p % alignment == 0;
}
template <typename Element>
DYNAQUANT_INLINE bool is_array(const Element* p) {
  return p != nullptr && is_aligned(p, alignof(Element));
}
// Whether rows of `columns` elements lie one after the other.
DYNAQUANT_INLINE bool is_apart(size_t rows, size_t columns, size_t stride) {
  return rows <= 1 || stride >= columns;
}

DYNAQUANT_INLINE void check_params(const RowParams& params, size_t rows) {
  DYNAQUANT_CHECK(params.stride <= 1);
  DYNAQUANT_CHECK(is_array(params.scales));
  DYNAQUANT_CHECK(is_array(params.inverses));
  DYNAQUANT_CHECK(is_array(params.zero_points));
  if constexpr (!kChecks) return;
  for (size_t row = 0; row < (params.stride == 0 ? 1 : rows); ++row) {
    DYNAQUANT_CHECK(params.zero_points[row] >= 0 && params.zero_points[row] <= 255);
  }
}

DYNAQUANT_INLINE void check_panels(const Int8Panels& b) {
  DYNAQUANT_CHECK(is_aligned(b.weights, 64));
  DYNAQUANT_CHECK(is_aligned(b.column_sums, 64));
  DYNAQUANT_CHECK(is_aligned(b.scales, 64));
  DYNAQUANT_CHECK(is_aligned(b.bias, 64));
  DYNAQUANT_CHECK(b.block == 3 || b.block == kMaxBlock);
  DYNAQUANT_CHECK((b.plans != nullptr) == kLayout.planned);
  if constexpr (!kChecks) return;
  for (size_t panel = 0; kLayout.planned && panel < b.panels; ++panel) {
    if (b.plans[panel].products != Products::kChains) continue;
    size_t quads = 0;
    for (const uint8_t* chain = b.chains + b.plans[panel].first_chain; quads < b.quads; ++chain) {
      DYNAQUANT_CHECK(*chain >= 1);
      quads += *chain;
    }
    DYNAQUANT_CHECK(quads == b.quads);
  }
}
DYNAQUANT_INLINE void check_panels(const FloatPanels& b) {
  DYNAQUANT_CHECK(is_aligned(b.weights, 64));
  DYNAQUANT_CHECK(is_aligned(b.bias, 64));
}
DYNAQUANT_INLINE void check_panels(const HalfPanels& b) {
  DYNAQUANT_CHECK(is_aligned(b.weights, 32));
  DYNAQUANT_CHECK(is_aligned(b.bias, 64));
}

DYNAQUANT_INLINE void check_rows(const Int8Rows& a, size_t rows, const Int8Panels& b) {
  DYNAQUANT_CHECK(a.data != nullptr);
  DYNAQUANT_CHECK(b.quads >= 1);
  check_params(a.params, rows);
}
template <typename Panels>
DYNAQUANT_INLINE void check_rows(const FloatRows& a, size_t rows, const Panels& b) {
  DYNAQUANT_CHECK(is_array(a.data));
  DYNAQUANT_CHECK(is_apart(rows, b.depth, a.stride));
}

DYNAQUANT_INLINE void check_ranges(const RangeLanes* ranges, size_t stride) {
  DYNAQUANT_CHECK(is_array(ranges));
  DYNAQUANT_CHECK(stride <= 1);
}
