// SPDX-License-Identifier: MIT
// A row of an embedding table, dequantized on its way into a result.

// values(column, count): the first `count`, 1..16, of the row's values from `column` on.
template <typename Values>
DYNAQUANT_INLINE void gather_values(const Values& values, const TableRow& row, size_t columns,
                                    Gather gather, float* out) {
  const F32 scale = set_f32(row.scale), offset = set_f32(row.offset);
  for (size_t column = 0; column < columns; column += 16) {
    const size_t count = columns - column < 16 ? columns - column : 16;
    float* to = out + column;
    const F32 v = values(column, count);
    F32 result;
    if (gather == Gather::kSet) {
      result = fma(v, scale, offset);
    } else {
      const F32 before = count == 16 ? load(to) : load_first(to, count);
      result = gather == Gather::kAdd ? fma(v, scale, add(before, offset))
                                      : max(fma(v, scale, offset), before);
    }
    if (count == 16) {
      store(to, result);
    } else {
      store_first(to, result, count);
    }
  }
}

DYNAQUANT_INLINE void check_table_row(const TableRow& row, const float* out) {
  DYNAQUANT_CHECK(row.bits == 32 || row.bits == 8 || row.bits == 4);
  DYNAQUANT_CHECK(row.data != nullptr);
  DYNAQUANT_CHECK(row.bits < 32 || is_aligned(row.data, alignof(float)));
  DYNAQUANT_CHECK(row.bits == 4 || !row.high);
  DYNAQUANT_CHECK(is_array(out));
}

inline void gather_row_kernel(const TableRow& row, size_t columns, Gather gather, float* out) {
  check_table_row(row, out);
  if (row.bits == 32) {
    const float* p = (const float*)row.data;
    gather_values(
        [=](size_t column, size_t count) {
          return count == 16 ? load(p + column) : load_first(p + column, count);
        },
        row, columns, gather, out);
  } else if (row.bits == 8) {
    const uint8_t* p = (const uint8_t*)row.data;
    gather_values(
        [=](size_t column, size_t count) {
          if (count == 16) return to_f32(load_u8(p + column));
          uint8_t bytes[16] = {};
          for (size_t i = 0; i < count; ++i) bytes[i] = p[column + i];
          return to_f32(load_u8(bytes));
        },
        row, columns, gather, out);
  } else {
    const uint8_t* p = (const uint8_t*)row.data;
    const size_t first = row.high ? 1 : 0;  // a row may begin in the middle of a byte
    gather_values(
        [=](size_t column, size_t count) {
          const uint8_t* bytes = p + column / 2;
          const size_t needed = (first + count + 1) / 2;  // 1..9
          uint64_t u4x16 = 0;
          if (needed >= 8) {
            __builtin_memcpy(&u4x16, bytes, 8);
          } else {
            for (size_t i = 0; i < needed; ++i) u4x16 |= (uint64_t)bytes[i] << (8 * i);
          }
          if (first) u4x16 >>= 4;
          if (needed == 9) u4x16 |= (uint64_t)bytes[8] << 60;
          return to_f32(widen_u4(u4x16));
        },
        row, columns, gather, out);
  }
}
