// SPDX-License-Identifier: MIT
// Elements on their way to other places. Vectors are only loaded and stored, so that bits stay.

DYNAQUANT_INLINE void check_moves(const float* in, const Moves& m, const float* out) {
  DYNAQUANT_CHECK(is_array(in));
  DYNAQUANT_CHECK(is_array(out));
  DYNAQUANT_CHECK(m.rows <= 1 || m.out_row != 0);
  DYNAQUANT_CHECK(m.columns <= 1 || m.out_column != 0);
}

// One element. A float in a register of the compiler's choice could lose a NaN's bits.
DYNAQUANT_INLINE void move_bits(const float* in, float* out, size_t bytes = sizeof(float)) {
  __builtin_memcpy(out, in, bytes);
}

// Rows whose elements lie side by side here and there.
inline void move_runs(const float* in, const Moves& m, float* out) {
  const size_t whole = m.columns / 16 * 16, rest = m.columns - whole;
  for (size_t row = 0; row < m.rows; ++row, in += m.in_row, out += m.out_row) {
#pragma GCC unroll 4
    for (size_t i = 0; i < whole; i += 16) store(out + i, load(in + i));
    if (rest > 0) store_first(out + whole, load_first(in + whole, rest), rest);
  }
}

// Elements of 8 bytes.
inline void move_pairs(const float* in, const Moves& m, float* out) {
  for (size_t row = 0; row < m.rows; ++row, in += m.in_row, out += m.out_row) {
    move_bits(in, out, 2 * sizeof(float));
  }
}

// So few rows or columns are faster moved one by one.
constexpr size_t kFew = 9;

// A block at an edge: fewer than 16 rows or columns.
inline void transpose_edge(const float* in, size_t in_stride, size_t rows, size_t columns,
                           float* out, size_t out_stride) {
  if (rows < kFew || columns < kFew) {
    for (size_t r = 0; r < rows; ++r) {
      for (size_t c = 0; c < columns; ++c)
        move_bits(in + r * in_stride + c, out + c * out_stride + r);
    }
    return;
  }
  float block[16 * 16], transposed[16 * 16];
#pragma GCC unroll 4
  for (size_t r = 0; r < 16; ++r) {
    store(block + 16 * r, r < rows ? load_first(in + r * in_stride, columns) : set_f32(0.0f));
  }
  transpose_16x16(block, 16, transposed, 16);
#pragma GCC unroll 4
  for (size_t c = 0; c < columns; ++c) {
    store_first(out + c * out_stride, load(transposed + 16 * c), rows);
  }
}

// The rows of `in` become the columns of `out`, block by block. What is written stays in few lines.
inline void move_transposed(const float* in, size_t in_stride, size_t rows, size_t columns,
                            float* out, size_t out_stride) {
  for (size_t c = 0; c < columns; c += 16) {
    const size_t block_columns = columns - c < 16 ? columns - c : 16;
    for (size_t r = 0; r < rows; r += 16) {
      const size_t block_rows = rows - r < 16 ? rows - r : 16;
      const float* from = in + r * in_stride + c;
      float* to = out + c * out_stride + r;
      if (block_rows == 16 && block_columns == 16) {
        transpose_16x16(from, in_stride, to, out_stride);
      } else {
        transpose_edge(from, in_stride, block_rows, block_columns, to, out_stride);
      }
    }
  }
}

inline void move_singly(const float* in, const Moves& m, float* out) {
  for (size_t row = 0; row < m.rows; ++row, in += m.in_row, out += m.out_row) {
    const float* from = in;
    float* to = out;
    for (size_t i = 0; i < m.columns; ++i, from += m.in_column, to += m.out_column) {
      move_bits(from, to);
    }
  }
}

inline void move_kernel(const float* in, const Moves& m, float* out) {
  check_moves(in, m, out);
  if (m.in_column == 1 && m.out_column == 1) {
    if (m.columns == 2) {
      move_pairs(in, m, out);
    } else {
      move_runs(in, m, out);
    }
  } else if (m.in_column == 1 && m.out_row == 1 && m.in_row > 0 && m.out_column > 0) {
    move_transposed(in, (size_t)m.in_row, m.rows, m.columns, out, (size_t)m.out_column);
  } else {
    move_singly(in, m, out);
  }
}
