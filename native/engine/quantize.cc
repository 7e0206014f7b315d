// SPDX-License-Identifier: MIT
#include "engine/quantize.h"

#include <algorithm>
#include <cmath>

namespace dynaquant {
namespace {

// Round to nearest even without a library call, for |x| < 2^51 (2^22 in float): adding 1.5 * 2^52
// leaves no bits for a fraction.
inline double round_to_even(double x) {
  constexpr double kMagic = 6755399441055744.0;
  return (x + kMagic) - kMagic;
}
inline float round_to_even(float x) {
  constexpr float kMagic = 12582912.0f;
  return (x + kMagic) - kMagic;
}

}  // namespace

QuantizationParams choose_quantization_params(float min, float max, bool reduce_range) {
  constexpr double kLow = 0;
  const double high = reduce_range ? 127 : 255;
  constexpr float kSmallScale = 6.1e-5f;
  min = std::min(min, 0.0f);
  max = std::max(max, 0.0f);
  double scale = (static_cast<double>(max) - static_cast<double>(min)) / high;
  // ATen asks whether 1 / float(scale) is infinite, so as not to divide by it: that is so up to
  // 2^-128 (0x1p-128f is the largest float with an infinite reciprocal).
  if (static_cast<float>(scale) <= 0x1p-128f) scale = 0.1;
  if (scale < kSmallScale) {
    const float original = static_cast<float>(scale);
    scale = kSmallScale;
    if (min == 0.0f) {
      max = kSmallScale * static_cast<float>(high);
    } else if (max == 0.0f) {
      min = -kSmallScale * static_cast<float>(high);
    } else {
      const float amplifier = kSmallScale / original;
      min *= amplifier;
      max *= amplifier;
    }
  }
  const double min_steps = min / scale;
  const double max_steps = max / scale;
  const double from_min = kLow - min_steps;
  const double from_max = high - max_steps;
  const double min_error = kLow - std::abs(min_steps);
  const double max_error = high - std::abs(max_steps);
  const double zero_point = min_error < max_error ? from_min : from_max;
  return {scale, static_cast<std::int32_t>(round_to_even(std::clamp(zero_point, kLow, high)))};
}

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
