// SPDX-License-Identifier: MIT
// Packs a float matrix that lives for one call into panels, so that gemm_float can multiply with
// it.

DYNAQUANT_INLINE void check_pack(const FloatRows& b, size_t depth, size_t columns, bool transposed,
                                 const float* panels) {
  DYNAQUANT_CHECK(is_array(b.data));
  DYNAQUANT_CHECK(is_apart(transposed ? columns : depth, transposed ? depth : columns, b.stride));
  DYNAQUANT_CHECK(is_aligned(panels, 64));
}

// A panel whose columns are the matrix's rows.
inline void pack_transposed(const FloatRows& b, size_t depth, size_t columns, float* panel) {
  size_t k = 0;
  if (columns == kPanelColumns) {
    for (; depth - k >= kPanelColumns; k += kPanelColumns) {
      transpose_16x16(b.data + k, b.stride, panel + k * kPanelColumns, kPanelColumns);
    }
  }
  for (; k < depth; ++k) {
    float* to = panel + k * kPanelColumns;
    for (size_t column = 0; column < columns; ++column) to[column] = b.data[column * b.stride + k];
    for (size_t column = columns; column < kPanelColumns; ++column) to[column] = 0.0f;
  }
}

// Panels whose rows are parts of the matrix's rows: some rows of each panel in turn, so that whole
// lines arrive, which those of rows in pages of their own do slowly.
inline void pack_straight(const FloatRows& b, size_t depth, size_t columns, float* panels) {
  constexpr size_t kRows = 8;
  const size_t panel_size = depth * kPanelColumns;
  for (size_t begin = 0; begin < depth; begin += kRows) {
    const size_t end = depth - begin < kRows ? depth : begin + kRows;
    float* to = panels + begin * kPanelColumns;
    for (size_t column = 0; column < columns; column += kPanelColumns, to += panel_size) {
      const size_t left = columns - column;
      const float* from = b.data + begin * b.stride + column;
      float* q = to;
      for (size_t k = begin; k < end; ++k, from += b.stride, q += kPanelColumns) {
        store(q, left < kPanelColumns ? load_first(from, left) : load(from));
      }
    }
  }
}

inline void pack_kernel(const FloatRows& b, size_t depth, size_t columns, bool transposed,
                        float* panels) {
  check_pack(b, depth, columns, transposed, panels);
  if (!transposed) return pack_straight(b, depth, columns, panels);
  for (size_t column = 0; column < columns; column += kPanelColumns) {
    const size_t left = columns - column;
    pack_transposed({b.data + column * b.stride, b.stride}, depth,
                    left < kPanelColumns ? left : kPanelColumns, panels + column * depth);
  }
}

DYNAQUANT_INLINE void check_multiply_row(const float* x, const FloatRows& b, size_t depth,
                                         size_t columns, const float* out) {
  DYNAQUANT_CHECK(is_array(x) && is_array(b.data) && is_array(out));
  DYNAQUANT_CHECK(is_apart(depth, columns, b.stride));
}

// sum + the products of kDepth values of x with as many rows of b.
template <int kDepth>
DYNAQUANT_INLINE F32 add_products(F32 sum, const float* x, const FloatRows& b, size_t column) {
#pragma GCC unroll 8
  for (int k = 0; k < kDepth; ++k) {
    sum = fma(set_f32(x[k]), load(b.data + k * b.stride + column), sum);
  }
  return sum;
}
template <int kDepth>
inline void add_rows(const float* x, const FloatRows& b, size_t columns, bool first, float* out) {
  size_t column = 0;
  for (; columns - column >= 16; column += 16) {
    const F32 sum = first ? set_f32(0.0f) : load(out + column);
    store(out + column, add_products<kDepth>(sum, x, b, column));
  }
  if (column == columns) return;
  const size_t left = columns - column;
  F32 sum = first ? set_f32(0.0f) : load_first(out + column, left);
  for (int k = 0; k < kDepth; ++k) {
    sum = fma(set_f32(x[k]), load_first(b.data + k * b.stride + column, left), sum);
  }
  store_first(out + column, sum, left);
}

inline void multiply_row_kernel(const float* x, const FloatRows& b, size_t depth, size_t columns,
                                float* out) {
  check_multiply_row(x, b, depth, columns, out);
  size_t k = 0;
  for (; depth - k >= 8; k += 8) {
    add_rows<8>(x + k, {b.data + k * b.stride, b.stride}, columns, k == 0, out);
  }
  for (; k < depth; ++k) {
    add_rows<1>(x + k, {b.data + k * b.stride, b.stride}, columns, k == 0, out);
  }
}
