// SPDX-License-Identifier: MIT
// The range of floats, and floats to bytes.

DYNAQUANT_INLINE void check_range(const FloatRows& x, size_t rows, size_t columns,
                                  const RangeLanes* ranges, size_t stride) {
  DYNAQUANT_CHECK(is_array(x.data));
  DYNAQUANT_CHECK(is_apart(rows, columns, x.stride));
  check_ranges(ranges, stride);
}

inline bool range_kernel(const FloatRows& x, size_t rows, size_t columns, RangeLanes* ranges,
                         size_t ranges_stride) {
  check_range(x, rows, columns, ranges, ranges_stride);
  // 0 * x is 0 for a finite x and NaN for any other. Two of each, because one would wait for
  // itself.
  const F32 zero = set_f32(0.0f);
  F32 poison = zero, other_poison = zero;
  if (ranges_stride == 0 &&
      x.stride == columns) {  // one range, rows without gaps: treat them as one row
    columns *= rows;
    rows = 1;
  }
  for (size_t row = 0; row < rows; ++row) {
    RangeLanes* range = ranges + row * ranges_stride;
    F32 low = load(range->min), high = load(range->max);
    F32 other_low = low, other_high = high;
    const float* p = x.data + row * x.stride;
    size_t left = columns;
    const auto see = [&](F32 v, F32& least, F32& largest, F32& sum) {
      least = min(v, least);
      largest = max(v, largest);
      sum = fma(v, zero, sum);
    };
    for (; left >= 32; p += 32, left -= 32) {
      see(load(p), low, high, poison);
      see(load(p + 16), other_low, other_high, other_poison);
    }
    if (left >= 16) {
      see(load(p), low, high, poison);
      p += 16;
      left -= 16;
    }
    // Its padding is 0, which every range contains.
    if (left) see(load_first(p, left), low, high, poison);
    store(range->min, min(other_low, low));
    store(range->max, max(other_high, high));
  }
  return !any_nan(add(poison, other_poison));
}

DYNAQUANT_INLINE void check_quantize(const FloatRows& x, size_t rows, size_t columns,
                                     const RowParams& params, const uint8_t* out,
                                     size_t out_stride) {
  DYNAQUANT_CHECK(is_array(x.data));
  DYNAQUANT_CHECK(is_apart(rows, columns, x.stride));
  DYNAQUANT_CHECK(out != nullptr);
  DYNAQUANT_CHECK(is_apart(rows, (columns + 15) / 16 * 16, out_stride));
  check_params(params, rows);
  if constexpr (!kChecks) return;
  for (size_t row = 0; row < rows; ++row) {
    for (size_t column = 0; column < columns; ++column) {
      const float q = x.data[row * x.stride + column] * params.inverses[row * params.stride];
      DYNAQUANT_CHECK(q < 4194304 && q > -4194304);
    }
  }
}

// For vocabularies that have no faster way for several vectors.
template <typename Integers>
DYNAQUANT_INLINE void store_u8(uint8_t* p, const Integers (&v)[1], const Integers& zero) {
  store_u8(p, add(v[0], zero));
}

inline void quantize_kernel(const FloatRows& x, size_t rows, size_t columns,
                            const RowParams& params, uint8_t* out, size_t out_stride) {
  check_quantize(x, rows, columns, params, out, out_stride);
  for (size_t row = 0; row < rows; ++row) {
    const F32 inverse = set_f32(params.inverses[row * params.stride]);
    const S32 zero = set_s32(params.zero_points[row * params.stride]);
    const float* p = x.data + row * x.stride;
    uint8_t* q = out + row * out_stride;
    size_t left = columns;
    constexpr size_t kBlock = 16 * kStoredTogether;
    for (; left >= kBlock; p += kBlock, q += kBlock, left -= kBlock) {
      S32 v[kStoredTogether];
#pragma GCC unroll 4
      for (size_t i = 0; i < kStoredTogether; ++i) v[i] = round_s32(mul(load(p + 16 * i), inverse));
      store_u8(q, v, zero);
    }
    for (; left >= 16; p += 16, q += 16, left -= 16) {
      store_u8(q, add(round_s32(mul(load(p), inverse)), zero));
    }
    if (left) store_u8(q, add(round_s32(mul(load_first(p, left), inverse)), zero));
  }
}
