// SPDX-License-Identifier: MIT
// Ranges, and floats to bytes.

inline void range_kernel(const FloatRows& x, size_t rows, size_t columns, Range* range) {
  F32 low = set_f32(range->min), high = set_f32(range->max);
  F32 poison = set_f32(0.0f);  // 0 * x is 0 for a finite x and NaN for any other
  const F32 zero = set_f32(0.0f);
  for (size_t row = 0; row < rows; ++row) {
    const float* p = x.data + row * x.stride;
    size_t left = columns;
    for (; left >= 16; p += 16, left -= 16) {
      const F32 v = load(p);
      low = min(v, low);
      high = max(v, high);
      poison = fma(v, zero, poison);
    }
    for (; left; ++p, --left) {  // one value in every lane: no lane of padding to mistake for data
      const F32 v = set_f32(*p);
      low = min(v, low);
      high = max(v, high);
      poison = fma(v, zero, poison);
    }
  }
  range->min = reduce_min(low);
  range->max = reduce_max(high);
  range->finite = range->finite && !any_nan(poison);
}

inline void quantize_kernel(const FloatRows& x, size_t rows, size_t columns, float inverse_scale,
                            int32_t zero_point, uint8_t* out, size_t out_stride) {
  const F32 inverse = set_f32(inverse_scale);
  const S32 zero = set_s32(zero_point);
  for (size_t row = 0; row < rows; ++row) {
    const float* p = x.data + row * x.stride;
    uint8_t* q = out + row * out_stride;
    size_t left = columns;
    for (; left >= 16; p += 16, q += 16, left -= 16) {
      store_u8(q, add(round_s32(mul(load(p), inverse)), zero));
    }
    if (left) store_u8(q, add(round_s32(mul(load_first(p, left), inverse)), zero));
  }
}
