// SPDX-License-Identifier: MIT
// The integer sums of a tile, where the instruction set has no 8-bit dot product with 32-bit sums.
// Products of a quad come as two int16 lanes a column; what the packer proved of the weights
// (PanelPlan) says how many of them may be added before they are widened.

// One step of a sum in int16 lanes; the first one starts it.
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

// Chains: 64 multiply-adds a column in two instructions each quad, three more once a chain. The
// int32 sums stay in memory (L1): 12 int16 sums fill the registers.
template <int kRows>
inline void dot_chains(const uint8_t* rows, size_t stride, const int8_t* weights, size_t quads,
                       const uint8_t* chain, S32* acc, size_t acc_step) {
  while (quads) {
    const size_t length = *chain++;
    quads -= length;
    S16 sums[kRows];
    add_quad<kRows>(rows, stride, weights, true, sums);
    rows += kQuad;
    weights += kQuad * kPanelColumns;
    for (size_t i = 1; i < length; ++i) {
      add_quad<kRows>(rows, stride, weights, false, sums);
      rows += kQuad;
      weights += kQuad * kPanelColumns;
    }
#pragma GCC unroll 16
    for (int r = 0; r < kRows; ++r) {
      acc[r * acc_step] = widen(acc[r * acc_step], sums[r]);
    }
    keep_in_memory(acc);
  }
}

// Whole quads, `Dot` a type whose `add` takes their products into int32 sums.
template <typename Dot, int kRows, int kPanels>
inline void dot_quads(const uint8_t* rows, size_t stride, const int8_t* weights, size_t quads,
                      S32 (&acc)[kRows][kPanels]) {
  for (size_t quad = 0; quad < quads; ++quad) {
#pragma GCC unroll 4
    for (int p = 0; p < kPanels; ++p) {
      const auto w = Dot::load(weights + (p * quads + quad) * (kQuad * kPanelColumns));
#pragma GCC unroll 16
      for (int r = 0; r < kRows; ++r) {
        acc[r][p] = Dot::add(acc[r][p], load_quad(rows + r * stride + quad * kQuad), w);
      }
    }
  }
}

// acc[r][p] += the products of row r (bytes at rows + r * stride) and panel + p.
template <int kRows, int kPanels>
inline void dot_tile(const uint8_t* rows, size_t stride, const Int8Panels& b, size_t panel,
                     S32 (&acc)[kRows][kPanels]) {
  const size_t panel_bytes = b.quads * (kQuad * kPanelColumns);
  const int8_t* weights = b.weights + panel * panel_bytes;
  if constexpr (kPanels > 1) {
    // One row: bound by reading the weights, so chains win nothing that their branches do not lose.
    bool wide = false;
    for (int p = 0; p < kPanels; ++p) wide = wide || b.plans[panel + p].products == Products::kWide;
    if (wide) {
      dot_quads<WideDot>(rows, stride, weights, b.quads, acc);
    } else {
      dot_quads<PairsDot>(rows, stride, weights, b.quads, acc);
    }
  } else {
    const PanelPlan& plan = b.plans[panel];
    if (plan.products == Products::kWide) {
      dot_quads<WideDot>(rows, stride, weights, b.quads, acc);
    } else if (plan.products == Products::kPairs || kRows == 1) {
      dot_quads<PairsDot>(rows, stride, weights, b.quads, acc);
    } else {
      dot_chains<kRows>(rows, stride, weights, b.quads, b.chains + plan.first_chain, &acc[0][0], 1);
    }
  }
}
