// SPDX-License-Identifier: MIT
// Weights to int8 and float16, PyTorch's formulas to the bit. Activations: kernels/choose_params.h.
#ifndef DYNAQUANT_ENGINE_QUANTIZE_H_
#define DYNAQUANT_ENGINE_QUANTIZE_H_

#include <cstddef>
#include <cstdint>

namespace dynaquant {

// Round to nearest even without a library call, for |x| < 2^22: adding 1.5 * 2^23 leaves no bits
// for a fraction.
inline float round_to_even(float x) {
  constexpr float kMagic = 12582912.0f;
  return (x + kMagic) - kMagic;
}

// Quantizes a row-major weight matrix symmetrically to int8: one scale for all (scale_count 1) or
// one a row (scale_count == rows). scale = max(max|w| / 127.5, 2^-23), q = rne(w * (1 / scale))
// clamped to -128..127. Returns false, with the outputs undefined, when a weight is not finite.
bool quantize_weight(const float* weight, std::size_t rows, std::size_t depth,
                     std::size_t scale_count, std::int8_t* out, float* scales);

// Rounds weights to float16 (ties to even), those beyond it to its ends, +-65504. Returns false,
// with the output undefined, when a weight is not finite.
bool quantize_half(const float* weight, std::size_t count, std::uint16_t* out);

}  // namespace dynaquant

#endif  // DYNAQUANT_ENGINE_QUANTIZE_H_
