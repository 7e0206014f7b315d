// SPDX-License-Identifier: MIT
// Products of rows and panels in register tiles. A tile is at most kTileRows x kTileWidePanels, or
// one row x 4 panels: enough independent sums to hide the instructions' latency, few enough to stay
// in registers. Loops over tiles are written once, for int8, float and float16, over
// `multiply_tile`.

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

// The real results of kRows rows and the panels [panel, panel + kPanels), given to `use(r, p,
// F32)`, both counted from the tile's first: fma(float(sum), scale * scales, bias). With kOneParams
// all rows share their params, and a panel's factors are made once.
template <int kRows, int kPanels, bool kOneParams, typename Use>
inline void multiply_int8_tile(const Int8Rows& a, size_t row, const Int8Panels& b, size_t panel,
                               Use use) {
  // One row's sums wait for memory: they begin with 0 and take their start in the end, so that no
  // product waits for more than its weights (H = 80 to 256: 1.5 to 4 %, H = 8 loses 1; a choice at
  // run time gains nothing).
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

template <int kRows, int kPanels, typename Use>
inline void multiply_tile(const Int8Rows& a, size_t row, const Int8Panels& b, size_t panel,
                          Use use) {
  if (kRows == 1 || a.params.step == 0) {
    multiply_int8_tile<kRows, kPanels, true>(a, row, b, panel, use);
  } else {
    multiply_int8_tile<kRows, kPanels, false>(a, row, b, panel, use);
  }
}

// Float weights take part in the sums from the bias on, float16 ones in sums of their own.
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

// A tile whose results go to memory: row r's of panel p to out[r * stride + 16 p].
template <int kRows, int kPanels, typename Rows, typename Panels>
inline void store_tile(const Rows& a, size_t row, const Panels& b, size_t panel, float* out,
                       size_t stride) {
  multiply_tile<kRows, kPanels>(a, row, b, panel, [=](size_t r, size_t p, F32 v) {
    store(out + r * stride + p * kPanelColumns, v);
  });
}

// The same, of wide tiles in a function of its own: inlined, several of their many sums share one
// frame, whose registers and constants they spill, which costs 4 to 5 of a row's 97 to 274 cycles.
template <int kRows, int kPanels, typename Rows, typename Panels>
DYNAQUANT_NOINLINE void store_wide_tile(const Rows& a, size_t row, const Panels& b, size_t panel,
                                        float* out, size_t stride) {
  store_tile<kRows, kPanels>(a, row, b, panel, out, stride);
}
template <int kRows, int kPanels, typename Rows, typename Panels>
DYNAQUANT_INLINE void store_block_tile(const Rows& a, size_t row, const Panels& b, size_t panel,
                                       float* out, size_t stride) {
  if constexpr (kTileWidePanels == 4) {
    store_wide_tile<kRows, kPanels>(a, row, b, panel, out, stride);
  } else {
    store_tile<kRows, kPanels>(a, row, b, panel, out, stride);
  }
}

// The same for rows [row, row + count), count <= kRows, and `panels` panels from `panel`, the start
// of a block and no more than one.
template <int kRows, typename Rows, typename Panels>
inline void store_rows(const Rows& a, size_t row, size_t count, const Panels& b, size_t panel,
                       size_t panels, float* out, size_t stride) {
  if constexpr (kRows > 1) {
    if (count == 1) return store_rows<1>(a, row, count, b, panel, panels, out, stride);
    if (count < kRows) {
      return store_rows<kRows - 1>(a, row, count, b, panel, panels, out, stride);
    }
  }
  if constexpr (kRows == 1 || kTileWidePanels == 4) {
    if (panels == 4) return store_block_tile<kRows, 4>(a, row, b, panel, out, stride);
    if (panels == 3) return store_block_tile<kRows, 3>(a, row, b, panel, out, stride);
    if (panels == 2) return store_block_tile<kRows, 2>(a, row, b, panel, out, stride);
    store_block_tile<kRows, 1>(a, row, b, panel, out, stride);
  } else {
    for (; panels; ++panel, --panels, out += kPanelColumns) {
      store_tile<kRows, 1>(a, row, b, panel, out, stride);
    }
  }
}

// Rows of the next tile when `left` remain: 20 rows are 5 + 5 + 5 + 5, not 6 + 6 + 6 + 2, for tiles
// of few rows are the slow ones.
inline size_t tile_rows(size_t left) {
  const size_t tiles = (left + kTileRows - 1) / kTileRows;
  return (left + tiles - 1) / tiles;
}

inline size_t block_of(const Int8Panels& b) { return b.block; }
inline size_t block_of(const FloatPanels&) { return kMaxBlock; }
inline size_t block_of(const HalfPanels&) { return kMaxBlock; }

// A matrix as its tiles are to see it. One of more than 8 MB comes from the last-level cache or
// from memory, slower than the first tile of a block's rows takes it, while the next tiles find it
// in L2: so the first tile fetches half of the next block's lines, and the second the other half.
// (8 rows of H = 2048: 17 % for one step, 8 % for 20. At 4 MB it gains nothing.)
template <typename Panels, bool kWideTiles = (kTileWidePanels > 1)>
class FarPanels {
 public:
  explicit FarPanels(const Panels& b) : b_(b) {}
  const Panels& of_tile(size_t) { return b_; }

 private:
  const Panels& b_;
};
template <>
class FarPanels<Int8Panels, true> {
 public:
  explicit FarPanels(const Int8Panels& b) : near_(b), far_(b) {
    const size_t panel_bytes = b.quads * (kQuad * kPanelColumns);
    next_block_ = b.panels * panel_bytes > kFar ? b.block * panel_bytes : 0;
  }
  const Int8Panels& of_tile(size_t tile) {
    if (next_block_ == 0 || tile > 1) return near_;
    far_.ahead = next_block_ + tile * (2 * kQuad * kPanelColumns);
    return far_;
  }

 private:
  static constexpr size_t kFar = size_t{8} << 20;
  const Int8Panels& near_;
  Int8Panels far_;
  size_t next_block_;
};

// The first `columns` of each row; `from` may be `to`.
inline void copy_rows(const float* from, size_t from_stride, size_t rows, size_t columns, float* to,
                      size_t to_stride, bool relu) {
  // The bound goes first, so a NaN passes and -0 stays.
  const F32 lowest = set_f32(relu ? 0.0f : -__builtin_inff());
  for (; rows; --rows, from += from_stride, to += to_stride) {
    size_t done = 0;
    for (; columns - done >= kPanelColumns; done += kPanelColumns) {
      store(to + done, max(lowest, load(from + done)));
    }
    if (done < columns) {
      const size_t left = columns - done;
      store_first(to + done, max(lowest, load_first(from + done, left)), left);
    }
  }
}

template <typename Rows, typename Panels>
inline void gemm_kernel(const Rows& a, size_t rows, const Panels& b, float* out, size_t out_stride,
                        size_t columns, bool relu) {
  // Panels outside, rows inside: a block stays in L1 or L2 while all rows pass.
  const size_t block = block_of(b);
  FarPanels<Panels> far(b);
  for (size_t panel = 0; panel < b.panels; panel += block) {
    const size_t panels = b.panels - panel < block ? b.panels - panel : block;
    const size_t left = columns - panel * kPanelColumns, whole = panels * kPanelColumns;
    alignas(64) float ragged[kTileRows * kMaxBlock * kPanelColumns];
    for (size_t row = 0, tile = 0; row < rows; ++tile) {
      const size_t count = tile_rows(rows - row);
      const Panels& seen = far.of_tile(tile);
      float* to = out + row * out_stride + panel * kPanelColumns;
      if (left >= whole) {
        store_rows<kTileRows>(a, row, count, seen, panel, panels, to, out_stride);
        if (relu) copy_rows(to, out_stride, count, whole, to, out_stride, relu);
      } else {
        store_rows<kTileRows>(a, row, count, seen, panel, panels, ragged, whole);
        copy_rows(ragged, whole, count, left, to, out_stride, relu);
      }
      row += count;
    }
  }
}
