// SPDX-License-Identifier: MIT
// Products of rows and panels in register tiles. A tile is at most kTileRows x kTileWidePanels, or
// one row x 4 panels: enough independent sums to hide the instructions' latency, few enough to stay
// in registers. Loops over tiles are written once, for int8 and float, over `Sums`.

// Sums of one tile: acc[row][panel].
template <int kRows, int kPanels>
inline void dot_tile(const Int8Rows& a, size_t row, const Int8Panels& b, size_t panel,
                     S32 (&acc)[kRows][kPanels]) {
#pragma GCC unroll 16
  for (int r = 0; r < kRows; ++r) {
#pragma GCC unroll 4
    for (int p = 0; p < kPanels; ++p) acc[r][p] = set_s32(0);
  }
  const uint8_t* rows = a.data + row * a.stride;
  const size_t panel_bytes = b.quads * kQuad * kPanelColumns;
  const int8_t* weights = b.weights + panel * panel_bytes;
  for (size_t quad = 0; quad < b.quads; ++quad) {
#pragma GCC unroll 16
    for (int r = 0; r < kRows; ++r) {
      const Quad q = load_quad(rows + r * a.stride + quad * kQuad);
#pragma GCC unroll 4
      for (int p = 0; p < kPanels; ++p) {
        acc[r][p] = dot(acc[r][p], q, weights + p * panel_bytes + quad * (kQuad * kPanelColumns));
      }
    }
  }
}

template <int kRows, int kPanels>
inline void dot_tile(const FloatRows& a, size_t row, const FloatPanels& b, size_t panel,
                     F32 (&acc)[kRows][kPanels]) {
#pragma GCC unroll 16
  for (int r = 0; r < kRows; ++r) {
#pragma GCC unroll 4
    for (int p = 0; p < kPanels; ++p) acc[r][p] = load(b.bias + (panel + p) * kPanelColumns);
  }
  const float* rows = a.data + row * a.stride;
  const size_t panel_floats = b.depth * kPanelColumns;
  const float* weights = b.weights + panel * panel_floats;
  for (size_t k = 0; k < b.depth; ++k) {
#pragma GCC unroll 16
    for (int r = 0; r < kRows; ++r) {
      const F32 x = set_f32(rows[r * a.stride + k]);
#pragma GCC unroll 4
      for (int p = 0; p < kPanels; ++p) {
        acc[r][p] = fma(x, load(weights + p * panel_floats + k * kPanelColumns), acc[r][p]);
      }
    }
  }
}

// Sums to real numbers: fma(float(sum - zero_point * column_sum), scale * scales, bias).
inline F32 finish(S32 sum, const Int8Rows& a, const Int8Panels& b, size_t panel) {
  const size_t column = panel * kPanelColumns;
  const S32 centred = sub(sum, mul(set_s32(a.zero_point), load(b.column_sums + column)));
  return fma(to_f32(centred), mul(set_f32(a.scale), load(b.scales + column)),
             load(b.bias + column));
}
inline F32 finish(F32 sum, const FloatRows&, const FloatPanels&, size_t) { return sum; }

template <typename Rows>
struct SumOf;
template <>
struct SumOf<Int8Rows> {
  using Type = S32;
};
template <>
struct SumOf<FloatRows> {
  using Type = F32;
};

// The real results of kRows rows and the panels [panel, panel + kPanels), given to
// `use(row, panel, F32)`.
template <int kRows, int kPanels, typename Rows, typename Panels, typename Use>
inline void multiply_tile(const Rows& a, size_t row, const Panels& b, size_t panel,
                          const Use& use) {
  typename SumOf<Rows>::Type acc[kRows][kPanels];
  dot_tile<kRows, kPanels>(a, row, b, panel, acc);
#pragma GCC unroll 4
  for (int p = 0; p < kPanels; ++p) {
#pragma GCC unroll 16
    for (int r = 0; r < kRows; ++r) use(row + r, panel + p, finish(acc[r][p], a, b, panel + p));
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
