// SPDX-License-Identifier: MIT
// Converts weights to int8 and float16, by PyTorch's formulas, to the bit. For activations see
// kernels/choose_params.h.
#ifndef DYNAQUANT_ENGINE_QUANTIZE_H_
#define DYNAQUANT_ENGINE_QUANTIZE_H_

#include <cstddef>
#include <cstdint>

namespace dynaquant {

// Rounds to nearest even without a library call, if |x| < 2^22: adding 1.5 * 2^23 leaves no bits
// for a fraction.
inline float round_to_even(float x) {
  constexpr float kMagic = 12582912.0f;
  return (x + kMagic) - kMagic;
}

// Quantizes a row-major weight matrix symmetrically to int8: one scale for all (scale_count 1) or
// one a row (scale_count == rows). scale = max(max|w| / 127.5, 2^-23), q = rne(w * (1 / scale))
// clamped to -128..127. Returns false, with the outputs undefined, if a weight is not finite.
bool quantize_weight(const float* weight, std::size_t rows, std::size_t depth,
                     std::size_t scale_count, std::int8_t* out, float* scales);

// Rounds weights to float16 (ties to even). Weights beyond its largest number become that number,
// +-65504. Returns false, with the output undefined, if a weight is not finite.
bool quantize_half(const float* weight, std::size_t count, std::uint16_t* out);

}  // namespace dynaquant

#endif  // DYNAQUANT_ENGINE_QUANTIZE_H_
