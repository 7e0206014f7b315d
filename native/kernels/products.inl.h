// SPDX-License-Identifier: MIT
// The products of a tile, kRows rows x kPanels panels, summed in registers. `multiply_tile` is one
// name for int8, float and float16, over which the loops over tiles (tiles.inl.h) are written once.

// The initial value of the sums of a row and a panel (minus the zero point times each column's
// sum), and the scale that turns the sums into real numbers.
struct Dequantize {
  S32 seed;
  F32 scale;
};
DYNAQUANT_INLINE Dequantize dequantize(const Int8Rows& a, size_t row, const Int8Panels& b,
                                       size_t panel) {
  const size_t i = row * a.params.stride, column = panel * kPanelColumns;
  const int32_t zero_point = a.params.zero_points[i] - kStoredOffset;
  return {mul(set_s32(-zero_point), load(b.column_sums + column)),
          mul(set_f32(a.params.scales[i]), load(b.scales + column))};
}

// Calls `use(r, p, F32)` with the real results of rows `row` + r and panels `panel` + p:
// fma(float(sum), scale * scales, bias). With kOneParams all rows share their params, and a panel's
// scale is computed once. Panels: Int8Panels, or PrefetchingPanels.
template <int kRows, int kPanels, bool kOneParams, typename Panels, typename Use>
inline void multiply_int8_tile(const Int8Rows& a, size_t row, const Panels& b, size_t panel,
                               Use use) {
  // A single row waits for memory. Its sums start at 0 and the initial values are added last, so
  // that no product waits for anything but its weights.
  constexpr bool kStartLast = kRows == 1;
  S32 acc[kRows][kPanels];
#pragma GCC unroll 4
  for (int p = 0; p < kPanels; ++p) {
    S32 seed = dequantize(a, row, b, panel + p).seed;
#pragma GCC unroll 16
    for (int r = 0; r < kRows; ++r) {
      if (!kOneParams) seed = dequantize(a, row + r, b, panel + p).seed;
      acc[r][p] = kStartLast ? set_s32(0) : seed;
    }
  }
  dot_tile<kRows, kPanels>(a.data + row * a.stride, a.stride, b, panel, acc);
#pragma GCC unroll 4
  for (int p = 0; p < kPanels; ++p) {
    F32 scale = dequantize(a, row, b, panel + p).scale;
    const F32 bias = load(b.bias + (panel + p) * kPanelColumns);
#pragma GCC unroll 16
    for (int r = 0; r < kRows; ++r) {
      if (!kOneParams) scale = dequantize(a, row + r, b, panel + p).scale;
      if (kStartLast) acc[r][p] = add(acc[r][p], dequantize(a, row, b, panel + p).seed);
      use(r, p, fma(to_f32(acc[r][p]), scale, bias));
    }
  }
}

template <int kRows, int kPanels, typename Panels, typename Use>
inline void multiply_tile(const Int8Rows& a, size_t row, const Panels& b, size_t panel, Use use) {
  if (kRows == 1 || a.params.stride == 0) {
    multiply_int8_tile<kRows, kPanels, true>(a, row, b, panel, use);
  } else {
    multiply_int8_tile<kRows, kPanels, false>(a, row, b, panel, use);
  }
}

// Sums with float weights start at the bias; sums with float16 weights start at 0, and the bias is
// added last.
DYNAQUANT_INLINE F32 sum_start(const FloatPanels& b, size_t column) {
  return load(b.bias + column);
}
DYNAQUANT_INLINE F32 sum_end(const FloatPanels&, size_t, F32 sum) { return sum; }
DYNAQUANT_INLINE F32 sum_start(const HalfPanels&, size_t) { return set_f32(0.0f); }
DYNAQUANT_INLINE F32 sum_end(const HalfPanels& b, size_t column, F32 sum) {
  return add(sum, load(b.bias + column));
}

template <int kRows, int kPanels, typename Panels, typename Use>
inline void multiply_floats_tile(const FloatRows& a, size_t row, const Panels& b, size_t panel,
                                 Use use) {
  F32 acc[kRows][kPanels];
#pragma GCC unroll 16
  for (int r = 0; r < kRows; ++r) {
#pragma GCC unroll 4
    for (int p = 0; p < kPanels; ++p) acc[r][p] = sum_start(b, (panel + p) * kPanelColumns);
  }
  const float* rows = a.data + row * a.stride;
  const size_t panel_size = b.depth * kPanelColumns;
  const auto* weights = b.weights + panel * panel_size;
  for (size_t k = 0; k < b.depth; ++k) {
    F32 w[kPanels];
#pragma GCC unroll 4
    for (int p = 0; p < kPanels; ++p) w[p] = load(weights + p * panel_size + k * kPanelColumns);
#pragma GCC unroll 16
    for (int r = 0; r < kRows; ++r) {
      const F32 x = set_f32(rows[r * a.stride + k]);
#pragma GCC unroll 4
      for (int p = 0; p < kPanels; ++p) acc[r][p] = fma(x, w[p], acc[r][p]);
    }
  }
#pragma GCC unroll 4
  for (int p = 0; p < kPanels; ++p) {
#pragma GCC unroll 16
    for (int r = 0; r < kRows; ++r) {
      use(r, p, sum_end(b, (panel + p) * kPanelColumns, acc[r][p]));
    }
  }
}

template <int kRows, int kPanels, typename Use>
inline void multiply_tile(const FloatRows& a, size_t row, const FloatPanels& b, size_t panel,
                          Use use) {
  multiply_floats_tile<kRows, kPanels>(a, row, b, panel, use);
}

template <int kRows, int kPanels, typename Use>
inline void multiply_tile(const FloatRows& a, size_t row, const HalfPanels& b, size_t panel,
                          Use use) {
  if constexpr (kRows > 1) {
    multiply_floats_tile<kRows, kPanels>(a, row, b, panel, use);
  } else {
    HalfSum acc[kPanels] = {};
    const size_t panel_size = b.depth * kPanelColumns;
    const float* x = a.data + row * a.stride;
    const uint16_t* weights = b.weights + panel * panel_size;
    for (size_t k = 0; k < b.depth; ++k, weights += kPanelColumns) {
      const F32 v = set_f32(x[k]);
#pragma GCC unroll 4
      for (int p = 0; p < kPanels; ++p) acc[p] = add_product(acc[p], v, weights + p * panel_size);
    }
#pragma GCC unroll 4
    for (int p = 0; p < kPanels; ++p) {
      use(0, p, sum_end(b, (panel + p) * kPanelColumns, total(acc[p])));
    }
  }
}
