// SPDX-License-Identifier: MIT
// The params of each range: choose_params.h in a loop.

inline void choose_params_kernel(const RangeLanes* ranges, size_t count, int high,
                                 const RowParams& params) {
  constexpr size_t kBlock = 64;
  float min[kBlock], max[kBlock];
  for (size_t row = 0; row < count; row += kBlock) {
    const size_t rows = count - row < kBlock ? count - row : kBlock;
    for (size_t i = 0; i < rows; ++i) {
      min[i] = reduce_min(load(ranges[row + i].min));
      max[i] = reduce_max(load(ranges[row + i].max));
    }
    float* scales = params.scales + row;
    float* inverses = params.inverses + row;
    int32_t* zero_points = params.zero_points + row;
    for (size_t i = 0; i < rows; ++i) {
      const ChosenParams chosen = choose_params(min[i], max[i], (double)high);
      scales[i] = (float)chosen.scale;
      inverses[i] = 1.0f / (float)chosen.scale;
      zero_points[i] = chosen.zero_point;
    }
  }
}
