// SPDX-License-Identifier: MIT
// Products of rows and panels in register tiles. A tile is at most kTileRows x kTileWidePanels, or
// one row x 4 panels: enough independent sums to hide the instructions' latency, few enough to stay
// in registers. Loops over tiles are written once, for int8 and float, over `multiply_tile`.

// What a row's params make of a panel: the start of its sums, which takes off what the zero point
// weighs, and the factor that makes them real numbers.
struct Dequantize {
  S32 seed;
  F32 scale;
};
DYNAQUANT_INLINE Dequantize dequantize(const Int8Rows& a, size_t row, const Int8Panels& b,
                                       size_t panel) {
  const size_t i = row * a.params.step, column = panel * kPanelColumns;
  const int32_t zero_point = a.params.zero_points[i] - kStoredOffset;
  return {mul(set_s32(-zero_point), load(b.column_sums + column)),
          mul(set_f32(a.params.scales[i]), load(b.scales + column))};
}

// The real results of kRows rows and the panels [panel, panel + kPanels), given to
// `use(row, panel, F32)`: fma(float(sum), scale * scales, bias). With kOneParams all rows share
// their params, and a panel's factors are made once.
template <int kRows, int kPanels, bool kOneParams, typename Use>
inline void multiply_int8_tile(const Int8Rows& a, size_t row, const Int8Panels& b, size_t panel,
                               const Use& use) {
  S32 acc[kRows][kPanels];
#pragma GCC unroll 4
  for (int p = 0; p < kPanels; ++p) {
    S32 seed = dequantize(a, row, b, panel + p).seed;
#pragma GCC unroll 16
    for (int r = 0; r < kRows; ++r) {
      if (!kOneParams) seed = dequantize(a, row + r, b, panel + p).seed;
      acc[r][p] = seed;
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
      use(row + r, panel + p, fma(to_f32(acc[r][p]), scale, bias));
    }
  }
}

template <int kRows, int kPanels, typename Use>
inline void multiply_tile(const Int8Rows& a, size_t row, const Int8Panels& b, size_t panel,
                          const Use& use) {
  if (kRows == 1 || a.params.step == 0) {
    multiply_int8_tile<kRows, kPanels, true>(a, row, b, panel, use);
  } else {
    multiply_int8_tile<kRows, kPanels, false>(a, row, b, panel, use);
  }
}

template <int kRows, int kPanels, typename Use>
inline void multiply_tile(const FloatRows& a, size_t row, const FloatPanels& b, size_t panel,
                          const Use& use) {
  F32 acc[kRows][kPanels];
#pragma GCC unroll 16
  for (int r = 0; r < kRows; ++r) {
#pragma GCC unroll 4
    for (int p = 0; p < kPanels; ++p) acc[r][p] = load(b.bias + (panel + p) * kPanelColumns);
  }
  const float* rows = a.data + row * a.stride;
  const size_t panel_floats = b.depth * kPanelColumns;
  const float* weights = b.weights + panel * panel_floats;
  for (size_t k = 0; k < b.depth; ++k) {
    F32 w[kPanels];
#pragma GCC unroll 4
    for (int p = 0; p < kPanels; ++p) w[p] = load(weights + p * panel_floats + k * kPanelColumns);
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
    for (int r = 0; r < kRows; ++r) use(row + r, panel + p, acc[r][p]);
  }
}

// Rows [row, row + count), count <= kRows, of `panels` panels from `panel`.
template <int kRows, typename Rows, typename Panels, typename Use>
inline void multiply_rows(const Rows& a, size_t row, size_t count, const Panels& b, size_t panel,
                          size_t panels, const Use& use) {
  if constexpr (kRows > 1) {
    if (count < kRows) {
      return multiply_rows<kRows - 1>(a, row, count, b, panel, panels, use);
    }
  }
  constexpr int kWide = kRows == 1 ? 4 : kTileWidePanels;
  for (; panels >= kWide; panel += kWide, panels -= kWide) {
    multiply_tile<kRows, kWide>(a, row, b, panel, use);
  }
  if constexpr (kWide > 1) {
    for (; panels; ++panel, --panels) multiply_tile<kRows, 1>(a, row, b, panel, use);
  }
}

// Rows of the next tile when `left` remain: 20 rows are 5 + 5 + 5 + 5, not 6 + 6 + 6 + 2, for tiles
// of few rows are the slow ones.
inline size_t tile_rows(size_t left) {
  const size_t tiles = (left + kTileRows - 1) / kTileRows;
  return (left + tiles - 1) / tiles;
}

template <typename Rows, typename Panels>
inline void gemm(const Rows& a, size_t rows, const Panels& b, float* out, size_t out_stride,
                 size_t columns) {
  const auto use = [=](size_t row, size_t panel, F32 v) {
    float* p = out + row * out_stride + panel * kPanelColumns;
    const size_t left = columns - panel * kPanelColumns;
    if (left >= kPanelColumns) {
      store(p, v);
    } else {
      store_first(p, v, left);
    }
  };
  // Panels outside, rows inside: four panels stay in L1 or L2 while all rows pass.
  constexpr size_t kBlock = 4;
  for (size_t panel = 0; panel < b.panels; panel += kBlock) {
    const size_t panels = b.panels - panel < kBlock ? b.panels - panel : kBlock;
    for (size_t row = 0; row < rows;) {
      const size_t count = tile_rows(rows - row);
      multiply_rows<kTileRows>(a, row, count, b, panel, panels, use);
      row += count;
    }
  }
}

inline void gemm_int8_kernel(const Int8Rows& a, size_t rows, const Int8Panels& b, float* out,
                             size_t out_stride, size_t columns) {
  gemm(a, rows, b, out, out_stride, columns);
}

inline void gemm_float_kernel(const FloatRows& a, size_t rows, const FloatPanels& b, float* out,
                              size_t out_stride, size_t columns) {
  gemm(a, rows, b, out, out_stride, columns);
}
