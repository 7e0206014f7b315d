// SPDX-License-Identifier: MIT
#include "engine/quantize.h"

#include <algorithm>
#include <cmath>
#include <cstring>

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

bool quantize_half(const float* weight, std::size_t count, std::uint16_t* out) {
  for (std::size_t i = 0; i < count; ++i) {
    if (!std::isfinite(weight[i])) return false;
    const float magnitude = std::min(std::fabs(weight[i]), 65504.0f);
    std::uint32_t bits;
    if (magnitude < 0x1p-14f) {
      // Below the normal numbers, float16 counts in units of 2^-24. Those are also the units of a
      // float of 1/2 and more, so that adding 1/2 rounds to them.
      const float sum = magnitude + 0.5f;
      std::memcpy(&bits, &sum, sizeof bits);
      bits -= 0x3f000000u;
    } else {
      // The fraction loses thirteen bits, and the exponent's bias becomes 15 instead of 127. If the
      // rounding carries out of the fraction, the exponent is the right place for it.
      std::memcpy(&bits, &magnitude, sizeof bits);
      bits = (bits - (112u << 23) + 0xfffu + (bits >> 13 & 1)) >> 13;
    }
    out[i] = static_cast<std::uint16_t>(bits | (std::signbit(weight[i]) ? 0x8000u : 0u));
  }
  return true;
}

}  // namespace dynaquant
