// SPDX-License-Identifier: MIT
// The params of each range: choose_params.h in a loop.

inline void choose_params_kernel(RangeLanes* ranges, size_t count, int steps,
                                 const RowParams& params) {
  constexpr size_t kBlock = 64;
  const double high = (double)steps;
  float min[kBlock], max[kBlock];
  for (size_t row = 0; row < count; row += kBlock) {
    const size_t rows = count - row < kBlock ? count - row : kBlock;
    float* scales = params.scales + row;
    float* inverses = params.inverses + row;
    int32_t* zero_points = params.zero_points + row;
    for (size_t i = 0; i < rows; ++i) {
      RangeLanes& range = ranges[row + i];
      min[i] = reduce_min(load(range.min));
      max[i] = reduce_max(load(range.max));
      // Here, by stores as wide as the loads that follow: narrower ones do not forward to them.
      store(range.min, set_f32(0.0f));
      store(range.max, set_f32(0.0f));
    }
    // Many rows at once without a branch, which becomes vectors; where a scale was small, or for a
    // few rows, one by one.
    int small = rows < 8;
    if (!small) {
      for (size_t i = 0; i < rows; ++i) {
        const float low = min[i] < 0.0f ? min[i] : 0.0f, top = max[i] > 0.0f ? max[i] : 0.0f;
        const double scale = plain_scale(low, top, high);
        small |= scale < (double)kSmallScale;
        scales[i] = (float)scale;
        inverses[i] = 1.0f / (float)scale;
        zero_points[i] = choose_zero_point(low, scale);
      }
    }
    for (size_t i = 0; i < rows && small; ++i) {
      const ChosenParams chosen = choose_params(min[i], max[i], high);
      scales[i] = (float)chosen.scale;
      inverses[i] = 1.0f / (float)chosen.scale;
      zero_points[i] = chosen.zero_point;
    }
  }
}
