// SPDX-License-Identifier: MIT
// dot_tile over products in int16 lanes, for instruction sets without an 8-bit dot product. A
// panel's plan (PanelPlan) says how many quads may be added before they are widened. See scalar.h.

#include "ahead.inl.h"

constexpr bool kPlanned = true;
static_assert(!kBlockTiles, "these products read panel after panel");

// Adds a quad to sums in int16 lanes; the first quad starts them.
template <int kRows>
DYNAQUANT_INLINE void add_quad(const uint8_t* rows, size_t stride, const int8_t* weights,
                               bool first, S16 (&sums)[kRows]) {
  const Weights w = load_weights(weights);
#pragma GCC unroll 16
  for (int r = 0; r < kRows; ++r) {
    const Quad q = load_quad(rows + r * stride);
    sums[r] = first ? multiply_pairs(q, w) : add_pairs(sums[r], q, w);
  }
}

// Chains: two instructions a quad, and three more a chain. The int32 sums stay in memory (L1),
// because the int16 sums of a tile fill the registers. A call: inlined, several of them take 2 to 4
// % longer (gcc 12).
template <int kRows, typename Prefetch>
DYNAQUANT_NOINLINE void dot_chains(const uint8_t* rows, size_t stride, const int8_t* weights,
                                   size_t quads, const uint8_t* chain, S32* acc,
                                   Prefetch prefetch) {
  while (quads) {
    const size_t length = *chain++;
    quads -= length;
    S16 sums[kRows];
    prefetch(weights);
    add_quad<kRows>(rows, stride, weights, true, sums);
    rows += kQuad;
    weights += kQuadBytes;
    for (size_t i = 1; i < length; ++i) {
      prefetch(weights);
      add_quad<kRows>(rows, stride, weights, false, sums);
      rows += kQuad;
      weights += kQuadBytes;
    }
    S32* to = acc;
    __asm__("" : "+r"(to));  // one address, not one of each sum
#pragma GCC unroll 16
    for (int r = 0; r < kRows; ++r) widen_into(&to[r], sums[r]);
  }
}

// Quads one by one: `Dot::add` adds a quad's products to int32 sums.
template <typename Dot, int kRows, int kPanels, typename Prefetch>
inline void dot_quads(const uint8_t* rows, size_t stride, const int8_t* weights, size_t quads,
                      S32 (&acc)[kRows][kPanels], Prefetch prefetch) {
  for (size_t quad = 0; quad < quads; ++quad) {
#pragma GCC unroll 4
    for (int p = 0; p < kPanels; ++p) {
      const int8_t* line = weights + (p * quads + quad) * kQuadBytes;
      prefetch(line);
      const auto w = Dot::load(line);
#pragma GCC unroll 16
      for (int r = 0; r < kRows; ++r) {
        acc[r][p] = Dot::add(acc[r][p], load_quad(rows + r * stride + quad * kQuad), w);
      }
    }
  }
}

// The same for one panel, on a copy of the sums: a caller's sums that have an address would be
// stored for every quad.
template <typename Dot, int kRows, typename Prefetch>
inline void dot_copied(const uint8_t* rows, size_t stride, const int8_t* weights, size_t quads,
                       S32 (&acc)[kRows][1], Prefetch prefetch) {
  S32 sums[kRows][1];
#pragma GCC unroll 16
  for (int r = 0; r < kRows; ++r) sums[r][0] = acc[r][0];
  dot_quads<Dot>(rows, stride, weights, quads, sums, prefetch);
#pragma GCC unroll 16
  for (int r = 0; r < kRows; ++r) acc[r][0] = sums[r][0];
}

template <int kRows, int kPanels, typename Panels>
inline void dot_tile(const uint8_t* rows, size_t stride, const Panels& b, size_t panel,
                     S32 (&acc)[kRows][kPanels]) {
  const size_t panel_bytes = b.quads * kQuadBytes;
  const int8_t* weights = b.weights + panel * panel_bytes;
  const auto prefetch = prefetch_of(b);
  if constexpr (kPanels > 1) {
    // One row. Reading the weights takes the time, so chains would not win back their branches.
    bool sixteen_bit = false;
    for (int p = 0; p < kPanels; ++p) {
      sixteen_bit = sixteen_bit || b.plans[panel + p].products == Products::kSixteenBit;
    }
    if (sixteen_bit) {
      dot_quads<SixteenBitDot>(rows, stride, weights, b.quads, acc, prefetch);
    } else {
      dot_quads<PairsDot>(rows, stride, weights, b.quads, acc, prefetch);
    }
  } else {
    const PanelPlan& plan = b.plans[panel];
    if (plan.products == Products::kSixteenBit) {
      dot_quads<SixteenBitDot>(rows, stride, weights, b.quads, acc, prefetch);
    } else if (kRows == 1) {
      dot_quads<PairsDot>(rows, stride, weights, b.quads, acc, prefetch);
    } else if (plan.products == Products::kPairs) {
      dot_copied<TilePairsDot>(rows, stride, weights, b.quads, acc, prefetch);
    } else {
      dot_chains<kRows>(rows, stride, weights, b.quads, b.chains + plan.first_chain, &acc[0][0],
                        prefetch);
    }
  }
}
