// SPDX-License-Identifier: MIT
// The params of each range: choose_params.h in a loop.

// Reads a range's min and max and resets it. Resets with full-width stores: narrower ones would
// defeat store forwarding.
DYNAQUANT_INLINE void take_range(RangeLanes* range, float* min, float* max) {
  *min = reduce_min(load(range->min));
  *max = reduce_max(load(range->max));
  store(range->min, set_f32(0.0f));
  store(range->max, set_f32(0.0f));
}

DYNAQUANT_INLINE void store_params(const RowParams& params, size_t row, double scale,
                                   int32_t zero_point) {
  params.scales[row] = (float)scale;
  params.inverses[row] = 1.0f / (float)scale;
  params.zero_points[row] = zero_point;
}

DYNAQUANT_INLINE void check_choice(const RangeLanes* ranges, size_t count, int levels,
                                   const RowParams& params) {
  check_ranges(ranges, 1);
  DYNAQUANT_CHECK(levels == 127 || levels == 255);
  DYNAQUANT_CHECK(count <= 1 || params.stride == 1);
  if constexpr (!kChecks) return;
  for (size_t i = 0; i < count; ++i) {
    for (size_t lane = 0; lane < kPanelColumns; ++lane) {
      DYNAQUANT_CHECK(ranges[i].min[lane] <= 0 && ranges[i].max[lane] >= 0);
    }
  }
}

inline void choose_params_kernel(RangeLanes* ranges, size_t count, int levels,
                                 const RowParams& params) {
  check_choice(ranges, count, levels, params);
  const double high = (double)levels;
  // Many rows at once without a branch, so that the compiler makes vectors of them. A few rows, or
  // a block in which a scale was small, one by one.
  constexpr size_t kBlock = 64, kFew = 8;
  float min[kBlock], max[kBlock];
  size_t row = 0;
  for (; count - row >= kFew; row += kBlock < count - row ? kBlock : count - row) {
    const size_t rows = kBlock < count - row ? kBlock : count - row;
    for (size_t i = 0; i < rows; ++i) take_range(&ranges[row + i], &min[i], &max[i]);
    int small = 0;
    for (size_t i = 0; i < rows; ++i) {
      const float low = min[i] < 0.0f ? min[i] : 0.0f, top = max[i] > 0.0f ? max[i] : 0.0f;
      const double scale = plain_scale(low, top, high);
      small |= scale < (double)kSmallScale;
      store_params(params, row + i, scale, choose_zero_point(low, scale));
    }
    for (size_t i = 0; i < rows && small; ++i) {
      const ChosenParams chosen = choose_params(min[i], max[i], high);
      store_params(params, row + i, chosen.scale, chosen.zero_point);
    }
  }
  for (; row < count; ++row) {
    take_range(&ranges[row], min, max);
    const ChosenParams chosen = choose_params(*min, *max, high);
    store_params(params, row, chosen.scale, chosen.zero_point);
  }
}
