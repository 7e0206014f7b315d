// SPDX-License-Identifier: MIT
#include "engine/quantize.h"

#include <algorithm>
#include <cmath>

namespace dynaquant {

bool quantize_weight(const float* weight, std::size_t rows, std::size_t depth,
                     std::size_t scale_count, std::int8_t* out, float* scales) {
  const std::size_t group = scale_count == 1 ? rows * depth : depth;
  for (std::size_t g = 0; g < scale_count; ++g, weight += group, out += group) {
    float largest = 0.0f;
    for (std::size_t i = 0; i < group; ++i) {
      if (!std::isfinite(weight[i])) return false;
      largest = std::max(largest, std::fabs(weight[i]));
    }
    constexpr float kEpsilon = 0x1p-23f;
    const float scale = std::max(largest / 127.5f, kEpsilon);
    const float inverse = 1.0f / scale;
    for (std::size_t i = 0; i < group; ++i) {
      const float q = round_to_even(weight[i] * inverse);
      out[i] = static_cast<std::int8_t>(std::clamp(q, -128.0f, 127.0f));
    }
    scales[g] = scale;
  }
  return true;
}

}  // namespace dynaquant
